"""Right answers as other people would write them: loops, vmap, numpy, other formulas; chapters 0 to 6."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarl_lite.evaluate.intervals import iqm
from metarl_lite.losses import policy_gradient
from metarl_lite.policies.base import tile
from metarl_lite.returns import with_advantages
from metarl_lite.rollout import rollout

Loss = Callable[[Tensor], Tensor]


def backward_step(loss: Loss, theta: Tensor, lr: float) -> Tensor:
    loss(theta).backward(create_graph=True)  # type: ignore[no-untyped-call]
    assert theta.grad is not None
    return loss(theta - lr * theta.grad)


def sweeps(p: float, discount: float) -> tuple[float, float, float]:
    first = last = 0.0
    for _ in range(200):
        first, last = discount * (p * last + (1 - p) * first), p + discount * (1 - p) * last
    return first, last, 0.0


def solved(p: float, discount: float) -> np.ndarray[Any, Any]:
    moves = np.array([[1 - p, p, 0], [0, 1 - p, p], [0, 0, 0]])
    return np.linalg.solve(np.eye(3) - discount * moves, np.array([0, p, 0]))


def halved_bias(half_life: float) -> Tensor:
    return -torch.tensor(2.0).double().pow(1 / half_life).sub(1).log()


def mean_of_returns(place: Tensor, goals: Tensor, horizon: int) -> float:
    return statistics.mean(-sum(math.dist(place, goal) for _ in range(horizon)) for goal in goals.tolist())


def drop_by_hand(home: float, returns: Tensor) -> list[float]:
    drops = [home - statistics.mean(row) for row in returns.tolist()]
    return [statistics.mean(drops), statistics.stdev(drops) / math.sqrt(len(drops))]


def goal_by_elimination(positions: Tensor, rewards: Tensor) -> list[float]:
    (x1, y1), (x2, y2), (x3, y3) = positions.tolist()
    r1, r2, r3 = (-rewards).tolist()
    a, b, c, d = 2 * (x2 - x1), 2 * (y2 - y1), 2 * (x3 - x1), 2 * (y3 - y1)
    e, f = (x2**2 + y2**2 - r2**2) - (x1**2 + y1**2 - r1**2), (x3**2 + y3**2 - r3**2) - (x1**2 + y1**2 - r1**2)
    det = a * d - b * c
    return [(e * d - b * f) / det, (a * f - e * c) / det]


def ring_one_by_one(num_tasks: int, radius: float, gen: torch.Generator) -> dict[str, list[list[float]]]:
    angles = [2 * math.pi * torch.rand((), generator=gen).item() for _ in range(num_tasks)]
    return {"goal": [[radius * math.cos(a), radius * math.sin(a)] for a in angles]}


def ring_of_normals(num_tasks: int, radius: float, gen: torch.Generator) -> dict[str, Tensor]:
    points = torch.randn(num_tasks, 2, generator=gen, dtype=torch.float64)
    return {"goal": radius * points / points.norm(dim=-1, keepdim=True)}


def step_by_coordinates(task: dict[str, Tensor], state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    moved = state + torch.maximum(torch.minimum(action, torch.tensor(0.1)), torch.tensor(-0.1)) + task["wind"]
    x, y = moved.unbind(-1)
    return moved, -torch.hypot(x - 0.3, y - 0.4)


def split_by_lots(goals: Tensor, num_test: int, gen: torch.Generator) -> list[Any]:
    lots = torch.rand(len(goals), generator=gen)
    test = lots >= lots.sort().values[-num_test]
    return [goals[~test].tolist(), goals[test].numpy()]


def split_one_by_one(goals: Tensor, num_test: int, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    left, test = goals.tolist(), []
    for _ in range(num_test):
        test.append(left.pop(int(torch.randint(len(left), (1,), generator=gen))))
    return torch.tensor(left), torch.tensor(test)


def curve_by_hand(rewards: Tensor) -> list[float]:
    table = rewards.tolist()
    return [statistics.mean(sum(task[e]) for task in table) for e in range(len(table[0]))]


def discounted_by_matrix(rewards: Tensor, discount: float) -> Tensor:
    t = torch.arange(rewards.shape[-1])
    weight = torch.where(t[:, None] <= t, discount ** (t - t[:, None]).abs().double(), 0.0)
    return rewards @ weight.mT


def loss_task_by_task(terms: Tensor, advantages: Tensor, mask: Tensor) -> list[Tensor]:
    out = []
    for one, advantage, taken in zip(terms, advantages, mask, strict=True):
        on = taken.bool()
        out.append(-(one[on].sum(-1) * advantage[on]).mean())
    return out


def loss_by_vmap(terms: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    def of_one(one: Tensor, advantage: Tensor, taken: Tensor) -> Tensor:
        return -torch.einsum("eta,et,et->", one, advantage, taken) / taken.sum()

    return torch.func.vmap(of_one)(terms, advantages, mask)


def gae_by_sums(rewards: Tensor, values: Tensor, terminated: Tensor, discount: float, lam: float) -> Tensor:
    """Forwards from every step, until the episode ends."""
    out = torch.zeros_like(rewards)
    for n, e, t in np.ndindex(*rewards.shape):
        weight = 1.0
        for k in range(t, rewards.shape[-1]):
            ends = bool(terminated[n, e, k]) or k == rewards.shape[-1] - 1
            following = 0.0 if ends else discount * values[n, e, k + 1]
            out[n, e, t] += weight * (rewards[n, e, k] + following - values[n, e, k])
            if ends:
                break
            weight *= discount * lam
    return out


def baseline_by_normal_equations(observations: Tensor, targets: Tensor, mask: Tensor) -> np.ndarray[Any, Any]:
    n, e, t, _ = observations.shape
    out = np.zeros((n, e, t))
    for task in range(n):
        on = mask[task].numpy() > 0
        time = np.broadcast_to(np.arange(t) / t, (e, t))
        x = np.concatenate([observations[task].numpy(), time[..., None], np.ones((e, t, 1))], -1)
        weights = np.linalg.solve(x[on].T @ x[on], x[on].T @ targets[task].numpy()[on])
        out[task] = (x @ weights) * on
    return out


def step_one_task_at_a_time(params: dict[str, Tensor], loss_fn: Any, lr: float) -> dict[str, Tensor]:
    new = dict(params)
    for task in range(len(loss_fn(params))):
        grads = torch.autograd.grad(loss_fn(params)[task], tuple(params.values()), create_graph=True)
        new = {name: new[name] - lr * grad for name, grad in zip(params, grads, strict=True)}
    return new


def step_by_functions(params: dict[str, Tensor], loss_fn: Any, lr: float) -> dict[str, Tensor]:
    grads = torch.func.grad(lambda p: loss_fn(p).sum())(params)
    return {name: params[name] - lr * grads[name] for name in reversed(params)}


def own_step(policy: Any, params: dict[str, Tensor], batch: Any, lr: float) -> dict[str, Tensor]:
    loss = policy_gradient(policy, params, batch).sum()
    grads = torch.autograd.grad(loss, list(params.values()), create_graph=True)
    return {name: p - lr * g for (name, p), g in zip(params.items(), grads, strict=True)}


def return_with_own_step(
    tasks: Any, policy: Any, theta: Any, task: Any, episodes: int, lr: float, gen: Any
) -> list[float]:
    params = {name: p.repeat(len(task["goal"]), *[1] * p.ndim).requires_grad_() for name, p in theta.items()}
    support = with_advantages(rollout(tasks, policy, params, task, episodes, gen))
    query = rollout(tasks, policy, own_step(policy, params, support, lr), task, episodes, gen)
    return query.rewards.sum(-1).mean(-1).tolist()


def start_by_hand(curvatures: Tensor, centres: Tensor, lr: float) -> float:
    """Where the slope of the mean loss after a step, a line, is 0."""

    def slope(theta: float) -> float:
        pairs = zip(curvatures.tolist(), centres.tolist(), strict=True)
        return sum(a * (1 - lr * a) * (theta - lr * a * (theta - c) - c) for a, c in pairs)

    return -slope(0.0) / (slope(1.0) - slope(0.0))


def outer_loss_by_hand(policy: Any, theta: Any, support: Any, query: Any, lr: float) -> Tensor:
    params = tile(theta, len(support.rewards))
    losses = policy_gradient(policy, own_step(policy, params, support, lr), query)
    return sum(losses) / len(losses)  # type: ignore[return-value]


def steps_by_recursion(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    if steps == 0:
        return theta
    return steps_by_recursion(loss, theta - lr * torch.func.grad(loss)(theta), lr, steps - 1)


STYLES: dict[str, list[Any]] = {
    "0.1": [lambda loss, theta, lr: loss(theta - lr * torch.func.grad(loss)(theta)), backward_step],
    "0.2": [sweeps, solved],
    "0.3": [halved_bias, lambda k: np.float64(-math.log(2 ** (1 / k) - 1))],
    "1.1": [mean_of_returns],
    "1.2": [drop_by_hand],
    "1.3": [goal_by_elimination],
    "2.1": [ring_one_by_one, ring_of_normals],
    "2.2": [step_by_coordinates],
    "2.3": [split_by_lots, split_one_by_one],
    "3.1": [curve_by_hand, lambda rewards: torch.einsum("net->e", rewards) / len(rewards)],
    "3.2": [lambda scores: iqm(torch.stack([row.mean() for row in scores])).item()],
    "3.3": [lambda scores, rows, columns: [iqm(scores[r].T[c].T.mean(-1)).item() for r, c in zip(rows, columns)]],  # noqa: B905
    "3.4": [22.0, np.int64(22), torch.tensor(22.0)],
    "4.1": [discounted_by_matrix],
    "4.2": [loss_task_by_task, loss_by_vmap],
    "4.3": [gae_by_sums],
    "4.4": [baseline_by_normal_equations],
    "5.1": [
        lambda x, weight, bias: torch.einsum("nbi,nij->nbj", x, weight) + bias[:, None],
        lambda x, weight, bias: torch.func.vmap(lambda a, w, b: a @ w + b)(x, weight, bias),
        lambda x, weight, bias: [a @ w + b for a, w, b in zip(x, weight, bias, strict=True)],
    ],
    "5.2": [step_one_task_at_a_time, step_by_functions],
    "5.3": [return_with_own_step],
    "6.1": [start_by_hand],
    "6.2": [outer_loss_by_hand],
    "6.3": [steps_by_recursion],
}
