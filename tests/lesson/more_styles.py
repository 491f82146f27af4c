"""Right answers as other people would write them: loops, vmap, numpy, other formulas; from chapter 7 on."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from metarl_lite.evaluate.probe import linear_probe
from metarl_lite.tasks.bus_grid import BusGrid
from metarl_lite.types import Task

Loss = Callable[[Tensor], Tensor]


def first_order_by_hand(curvatures: Tensor, centres: Tensor, lr: float, steps: int) -> float:
    def slope(theta: float) -> float:
        total = 0.0
        for a, c in zip(curvatures.tolist(), centres.tolist(), strict=True):
            phi = theta
            for _ in range(steps):
                phi -= lr * a * (phi - c)
            total += a * (phi - c)
        return total

    return -slope(0.0) / (slope(1.0) - slope(0.0))


def sum_of_slopes(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    total = torch.zeros_like(theta)
    for _ in range(steps):
        total = total + torch.func.grad(loss)(theta - lr * total)
    return total


def reptile_with_sgd(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    phi = theta.detach().clone().requires_grad_()
    optimiser = torch.optim.SGD([phi], lr=lr)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(phi).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return (theta - phi) / lr


def all_sequences(theta: Tensor, alpha: float, pulls: int) -> Tensor:
    """Every support by itself, in order."""
    p = torch.special.expit(theta)
    total: Tensor | float = 0.0
    for support in itertools.product((0, 1), repeat=pulls):
        chance = math.prod([p if arm else 1 - p for arm in support])
        total = total + chance * torch.special.expit(theta + alpha * np.mean(support) * (1 - p))
    assert isinstance(total, Tensor)
    return total


def boxes_one_by_one(log_prob: Tensor, mask: Tensor) -> Tensor:
    out, past = [], torch.zeros_like(log_prob[..., 0])
    for t in range(log_prob.shape[-1]):
        past = past + torch.where(mask[..., t] > 0, log_prob[..., t], 0.0)
        out.append(torch.exp(past) / torch.exp(past).detach())
    return torch.stack(out, -1)


def cg_in_other_words(product: Any, x: Tensor, residual: Tensor, direction: Tensor) -> list[Tensor]:
    ad = product(direction)
    step = torch.dot(residual, residual) / torch.dot(direction, ad)
    new = residual.sub(ad, alpha=step.item())
    return [
        x.add(direction, alpha=step.item()),
        new,
        new + direction * (new.norm() / residual.norm()).square(),
    ]


def kl_of_torch(mean_p: Tensor, std_p: Tensor, mean_q: Tensor, std_q: Tensor) -> Tensor:
    p, q = (Independent(Normal(mean, std), 1) for mean, std in ((mean_p, std_p), (mean_q, std_q)))
    return kl_divergence(p, q)


def kl_by_coordinates(mean_p: Tensor, std_p: Tensor, mean_q: Tensor, std_q: Tensor) -> Tensor:
    total: Any = 0
    for mp, sp, mq, sq in zip(*(x.unbind(-1) for x in (mean_p, std_p, mean_q, std_q)), strict=True):
        total = total + torch.log(sq) - torch.log(sp) + (sp**2 + (mp - mq) ** 2 - sq**2) / (2 * sq**2)
    return total  # type: ignore[no-any-return]


def halving(judge: Any, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
    length = 1.0
    while tries:
        loss, kl = judge(start + length * step)
        if kl <= max_kl and loss < before:
            return start + length * step
        length, tries = length / 2, tries - 1
    return start


def all_tries_at_once(judge: Any, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> list[float]:
    points = [start + step / 2**k for k in range(tries)]
    good = [loss < before and kl <= max_kl for loss, kl in map(judge, points)]
    return (points[good.index(True)] if any(good) else start).tolist()


def learn_one_by_one(wins: Tensor, losses: Tensor, arm: Tensor, reward: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    wins, losses = wins.clone(), losses.clone()
    for n, (a, r) in enumerate(zip(arm.tolist(), reward.tolist(), strict=True)):
        (wins if r else losses)[n, a] += 1
    return wins, losses, torch.distributions.Beta(wins + 1, losses + 1).mean


def plan_one_by_one(mean: Tensor, win: Tensor, loss: Tensor) -> tuple[list[Any], list[Any]]:
    q = (mean + mean * win + loss - mean * loss).numpy()
    return q.max(-1).tolist(), q.argmax(-1).tolist()


def bonus_by_cases(wins: Tensor, losses: Tensor) -> list[float]:
    out = []
    for (w, w2), (m, m2) in zip(wins.tolist(), losses.tolist(), strict=True):
        mu, other = (w + 1) / (w + m + 2), (w2 + 1) / (w2 + m2 + 2)
        outcomes = ((mu, (w + 2) / (w + m + 3)), (1 - mu, (w + 1) / (w + m + 3)))
        out.append(sum(chance * max(after, other) for chance, after in outcomes) - max(mu, other))
    return out


def scores_by_hand(wins: Tensor, losses: Tensor, c: float) -> np.ndarray[Any, Any]:
    w, m = wins.numpy() + 1, losses.numpy() + 1
    t = 1 + wins.sum(1).numpy() + losses.sum(1).numpy()
    return w / (w + m) + c * np.sqrt(2 * np.log(t)[:, None] / (w + m))


def input_as_a_list(
    observations: Tensor, actions: Tensor, rewards: Tensor, dones: Tensor, arms: int, j: int
) -> list[float]:
    one_hot = [float(j > 0 and a == actions[j - 1]) for a in range(arms)]
    last = [rewards[j - 1].item(), dones[j - 1].item()] if j else [0.0, 1.0]
    return [*observations[j].tolist(), *one_hot, *last]


def return_of_taken_steps(rewards: Tensor, mask: Tensor, discount: float) -> Tensor:
    """The steps that were taken, in a row, forwards from each."""
    out, row = torch.zeros_like(rewards), rewards[mask > 0]
    ahead = [sum(discount**k * r for k, r in enumerate(row[j:].tolist())) for j in range(len(row))]
    out[mask > 0] = torch.tensor(ahead, dtype=rewards.dtype)
    return out


def lives_by_accumulation(tasks: int, episodes: int, steps: int, read: Any, remember: Any) -> list[Any]:
    out = []
    for task in range(tasks):
        inputs = (read(task, e, t) for e in range(episodes) for t in range(steps))
        row = list(itertools.accumulate(inputs, remember, initial=0.0))[1:]
        out.append([row[e * steps : (e + 1) * steps] for e in range(episodes)])
    return out


def fair_by_groups(advantages: Tensor, group: int) -> np.ndarray[Any, Any]:
    x = advantages.numpy()
    parts = [x[i : i + group] - x[i : i + group].mean(0) for i in range(0, len(x), group)]
    centred = np.concatenate(parts)
    return centred / centred.std()


def slope_by_autograd(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    log_prob = log_prob.detach().requires_grad_()
    ratio = (log_prob - old_log_prob).exp()
    gain = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    (slope,) = torch.autograd.grad(gain.sum(), log_prob)
    return slope


def minibatches_as_lists(count: int, length: int, parts: int, gen: torch.Generator) -> tuple[list[int], ...]:
    order = torch.randperm(count, generator=gen).tensor_split(parts)
    return tuple([int(i) * length + j for i in part for j in range(length)] for part in order)


def paired_by_hand(mine: Tensor, theirs: Tensor) -> tuple[float, float]:
    apart = [a - b for a, b in zip(mine.tolist(), theirs.tolist(), strict=True)]
    return statistics.mean(apart), statistics.stdev(apart) / math.sqrt(len(apart))


def belief_by_counting(actions: Tensor, rewards: Tensor, arms: int) -> list[list[float]]:
    won, lost, out = [1.0] * arms, [1.0] * arms, []
    for action, reward in zip(actions.tolist(), rewards.tolist(), strict=True):
        out.append([w / (w + m) for w, m in zip(won, lost, strict=True)])
        (won if reward else lost)[action] += 1
    return out


def score_by_numpy(
    features: Tensor, targets: Tensor, new_features: Tensor, new_targets: Tensor
) -> np.ndarray[Any, Any]:
    read = linear_probe(features.flatten(0, 1), targets.flatten(0, 1))(new_features.flatten(0, 1)).numpy()
    right = new_targets.flatten(0, 1).numpy()
    return 1 - ((right - read) ** 2).mean(0) / right.var(0)


def staying_by_counting(choices: Tensor, common: Tensor, rewards: Tensor) -> tuple[list[list[float]], float]:
    kinds: dict[tuple[bool, bool], list[bool]] = {}
    for session in zip(choices.tolist(), common.tolist(), rewards.tolist(), strict=True):
        for (choice, usual, paid), (then, *_) in itertools.pairwise(zip(*session, strict=True)):
            kinds.setdefault((paid > 0, usual), []).append(then == choice)
    (a, b), (c, d) = [[statistics.mean(kinds[paid, usual]) for usual in (True, False)] for paid in (True, False)]
    return [[a, b], [c, d]], a - b - c + d


def loss_with_two_codes(code: Tensor, actor: Any, decoder: Any, advantages: Tensor, rewards: Tensor) -> Tensor:
    numbers = torch.tensor(code.tolist(), dtype=code.dtype)
    acting = torch.dot(advantages, actor(numbers)) / len(code)
    return torch.nn.functional.mse_loss(decoder(code), rewards) - acting


def overtakes_by_walking(quick: Tensor, slow: Tensor) -> int:
    lead, since = 0.0, 0
    for k, (a, b) in enumerate(zip(quick.tolist(), slow.tolist(), strict=True), start=1):
        lead += b - a
        since = 0 if lead <= 0 else since or k
    return since


def lead_of_whole_lives(support: Tensor, query: Tensor, memory: Tensor) -> Any:
    lived = support.shape[1] + query.shape[1]
    return ((support.sum(1) + query.sum(1)) / lived - memory.mean(1)).numpy()


def lead_by_statistics(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    leads = [a.mean().item() - b.mean().item() for a, b in zip(ours, theirs, strict=True)]
    return statistics.mean(leads), statistics.stdev(leads) / len(leads) ** 0.5


def returns_one_by_one(tasks: BusGrid, plan: Tensor, task: Task, guess: Tensor, goal: Tensor) -> list[float]:
    earned = []
    for buses, y, g in zip(task["buses"], guess.tolist(), goal.tolist(), strict=True):
        state, total, over = tasks.reset({"buses": buses}, torch.tensor([g / 4])), 0.0, False
        for _ in range(tasks.horizon):
            if not over:
                action = plan[y, g, 5 * state[0] + state[1]]
                state, reward, ended = tasks.step({"buses": buses}, state, action, torch.zeros(0))
                total, over = total + reward.item(), bool(ended)
        earned.append(total)
    return earned


def posterior_by_listing(buses: Tensor, rides: list[tuple[int, int]]) -> Any:
    agree = [all(z[bus] == corner for bus, corner in rides) for z in buses.tolist()]
    return np.array(agree) / sum(agree)


def steps_by_autograd(start: Tensor, sizes: Tensor, x: Tensor, y: Tensor) -> Tensor:
    k = torch.stack([start] * len(y)).requires_grad_()
    for size in sizes.tolist():
        (slope,) = torch.autograd.grad((torch.einsum("bnd,bd->bn", x, k) - y).square().mean(1).sum() / 2, k)
        k = (k.detach() - size * slope).requires_grad_()
    return k.detach()


def crossing_by_halving(d: int, sigma: float) -> float:
    """Where the two errors, of a number of pairs that need not be whole, are equal."""
    low, high = d + 1.0 + 1e-9, 1e4
    for _ in range(200):
        n = (low + high) / 2
        cloning, step = sigma**2 * d / (n - d - 1), d * (1 - n / (n + d + 1 + sigma**2))
        low, high = (low, n) if cloning < step else (n, high)
    return high


def meta_loss_by_autograd(start: Tensor, step: Tensor, x: Tensor, y: Tensor, new_x: Tensor, new_y: Tensor) -> Tensor:
    losses = []
    for shown, done, new, then in zip(x, y, new_x, new_y, strict=True):
        (slope,) = torch.autograd.grad((shown @ start - done).square().mean() / 2, start, create_graph=True)
        losses.append((new @ (start - step * slope) - then).square().mean() / 2)
    return torch.stack(losses).mean()


def loss_by_task(predicted: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
    found = []
    for guess, done, shown in zip(predicted, actions, mask.bool(), strict=True):
        off = (guess - done)[shown] * 10  # [steps that are shown, 2]
        found.append((off**2).sum() / (2 * len(off)))
    return torch.stack(found)


def meta_loss_by_func(theta: Tensor, alpha: Tensor, shown: Any, query: Any) -> Tensor:
    def cloning(weights: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        return torch.nn.functional.mse_loss(states @ weights, actions)  # two coordinates: their mean is half their sum

    slopes = torch.func.vmap(torch.func.grad(cloning), in_dims=(None, 0, 0))(theta, *shown)
    return torch.func.vmap(cloning)(theta - alpha * slopes, *query).mean()


MORE: dict[str, list[Any]] = {
    "7.1": [first_order_by_hand],
    "7.2": [sum_of_slopes, reptile_with_sgd],
    "7.3": [lambda loss, theta, rates: torch.addcmul(theta, rates, torch.func.grad(loss)(theta), value=-1)],
    "8.1": [all_sequences],
    "8.2": [boxes_one_by_one],
    "8.3": [{"dice": "NEITHER", "plain": " neither", "e_maml": "ii", "dice_sampled": np.str_("Neither")}],
    "9.1": [cg_in_other_words],
    "9.2": [kl_of_torch, kl_by_coordinates],
    "9.3": [halving, all_tries_at_once],
    "10.1": [learn_one_by_one],
    "10.2": [plan_one_by_one],
    "10.3": [bonus_by_cases],
    "10.4": [scores_by_hand],
    "11.1": [input_as_a_list],
    "11.2": [return_of_taken_steps],
    "11.3": [lives_by_accumulation],
    "11.4": [fair_by_groups],
    "12.1": [slope_by_autograd],
    "12.2": [minibatches_as_lists],
    "12.3": [paired_by_hand],
    "13.1": [belief_by_counting],
    "13.2": [score_by_numpy],
    "13.3": [staying_by_counting],
    "13.4": [loss_with_two_codes],
    "14.1": [234.0, np.int64(234)],
    "14.2": [overtakes_by_walking],
    "14.3": [lead_of_whole_lives],
    "14.4": [lead_by_statistics],
    "14.5": [0.4, np.float64(0.4), torch.tensor(0.4, dtype=torch.float64)],
    "14.6": [returns_one_by_one],
    "14.7": [posterior_by_listing],
    "15.1": [steps_by_autograd],
    "15.2": [crossing_by_halving],
    "15.3": [
        {"trained on 20 pairs": 2.80796, "summed": np.float64(84 / 41), "alpha fixed at 1": 4.2, "first order": 84 / 41}
    ],
    "15.4": [meta_loss_by_autograd],
    "15.5": [loss_by_task],
    "15.6": [meta_loss_by_func],
    "15.7": [0.540302, np.cos(1), torch.tensor(math.cos(1))],
}
