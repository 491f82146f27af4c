"""Equations of chapter 6, computed from their symbols, against `adapt`, `tile` and autograd."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.algorithms.inner import adapt
from metarl_lite.algorithms.maml import meta_gradient
from metarl_lite.lesson.exercises import find
from metarl_lite.losses import policy_gradient
from metarl_lite.oracles.meta_gradient import quadratic_meta_gradient
from metarl_lite.oracles.navigation import agnostic_bound, mean_distance, standing_still_return
from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.records.actors import actor
from metarl_lite.returns import with_advantages
from metarl_lite.rng import generator, normal
from metarl_lite.rollout import draw_noise, rollout
from metarl_lite.tasks.navigation import PointGoal
from metarl_lite.types import Params, Rollout

ALPHA = 0.5


def small() -> tuple[MLPPolicy, Rollout, Rollout]:
    """A policy of 17 numbers, and fixed support and query episodes of three tasks."""
    gen, tasks = generator(3), PointGoal(horizon=5, dtype=torch.float64)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(2,))
    params, task = tile(policy.params(), 3), tasks.sample(3, gen)
    support, query = (with_advantages(rollout(tasks, policy, params, task, 4, gen)) for _ in range(2))
    return policy, support, query


def of_task(batch: Rollout, i: int) -> Rollout:
    return batch.each(lambda x: x[i : i + 1])


def unflatten(vector: Tensor, like: Params) -> Params:
    parts = vector.split([p.numel() for p in like.values()])
    return {name: part.reshape(p.shape) for (name, p), part in zip(like.items(), parts, strict=True)}


def test_eq_maml_objective() -> None:
    policy, support, query = small()
    adapted = adapt(policy, tile(policy.params(), 3), support, policy_gradient, ALPHA)
    mine = policy_gradient(policy, adapted, query).mean()

    total = 0.0
    for i in range(3):
        theta = policy.params()
        loss = policy_gradient(policy, tile(theta, 1), of_task(support, i)).sum()
        slopes = torch.autograd.grad(loss, list(theta.values()))
        phi = {name: p - ALPHA * g for (name, p), g in zip(theta.items(), slopes, strict=True)}
        total += policy_gradient(policy, tile(phi, 1), of_task(query, i)).item()
    assert abs(mine.item() - total / 3) < 1e-12


def test_eq_meta_gradient() -> None:
    policy, support, query = small()
    theta = policy.params()
    adapted = adapt(policy, tile(theta, 3), support, policy_gradient, ALPHA)
    mine = torch.autograd.grad(policy_gradient(policy, adapted, query).mean(), list(theta.values()))

    flat = torch.cat([p.detach().flatten() for p in theta.values()])
    expected = torch.zeros_like(flat)
    for i in range(3):

        def loss(vector: Tensor, batch: Rollout) -> Tensor:
            return policy_gradient(policy, tile(unflatten(vector, theta), 1), batch).sum()

        inner = torch.func.grad(loss)(flat, of_task(support, i))
        hessian = torch.autograd.functional.hessian(lambda v, i=i: loss(v, of_task(support, i)), flat)
        outer = torch.func.grad(loss)(flat - ALPHA * inner, of_task(query, i))
        expected += (torch.eye(len(flat)) - ALPHA * hessian) @ outer / 3
    torch.testing.assert_close(torch.cat([g.flatten() for g in mine]), expected, rtol=0, atol=1e-10)


def test_the_repaired_sketch_task_by_task_is_the_batched_meta_gradient() -> None:
    gen, tasks = generator(5), PointGoal(horizon=8, dtype=torch.float64)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(4,))
    task, config = tasks.sample(3, gen), MAMLConfig(num_tasks=3, episodes=4, inner_lr=ALPHA, gae_lambda=1.0)
    noise = [draw_noise(tasks, policy, 3, 4, gen) for _ in range(2)]
    batched, _ = meta_gradient(tasks, policy, policy.params(), task, config, noise)

    theta = policy.params()
    for i in range(3):
        this = {name: leaf[i : i + 1] for name, leaf in task.items()}
        params, drawn = tile(theta, 1), [part[i : i + 1] for part in noise]
        support = with_advantages(rollout(tasks, policy, params, this, 4, noise=drawn[0]), normalise=True)
        slopes = torch.autograd.grad(
            policy_gradient(policy, params, support).sum(), list(params.values()), create_graph=True
        )
        phi = {name: p - ALPHA * g for (name, p), g in zip(params.items(), slopes, strict=True)}
        query = with_advantages(rollout(tasks, policy, phi, this, 4, noise=drawn[1]), normalise=True)
        (policy_gradient(policy, phi, query).sum() / 3).backward()
    for name, p in theta.items():
        assert p.grad is not None
        torch.testing.assert_close(batched[name], p.grad, rtol=0, atol=1e-10)


def test_best_start_of_bowls_is_where_their_meta_gradient_vanishes() -> None:
    gen = generator(0)
    curvatures, centres = normal((5,), gen, torch.float64).exp(), normal((5,), gen, torch.float64)
    theta = find("6.1").reference(curvatures, centres, 0.1)
    matrices, points = curvatures.reshape(5, 1, 1), centres.reshape(5, 1)
    assert quadratic_meta_gradient(theta.reshape(1), matrices, points, 0.1).abs().item() < 1e-13
    assert quadratic_meta_gradient(theta.reshape(1), matrices, points, 0.2).abs().item() > 1e-4


@pytest.mark.parametrize("seed", [0, 7, 19])  # of 20 seeds, two of the least gains and one of the middle
def test_returns_rise_with_a_small_inner_step_and_fall_with_the_long_one_of_the_sketch(seed: int) -> None:
    tasks = PointGoal(horizon=20, dtype=torch.float64)
    policy = MLPPolicy.for_tasks(tasks, generator(seed), hidden=(8,))
    task, params = tasks.sample(100, generator(1 + seed)), tile(policy.params(), 100)
    first, second = (draw_noise(tasks, policy, 100, 10, generator(n + seed)) for n in (2, 3))
    support = with_advantages(rollout(tasks, policy, params, task, 10, noise=first))
    before = rollout(tasks, policy, params, task, 10, noise=second).returns().mean()
    gains = []
    for rate in (0.005, ALPHA):
        after = adapt(policy, params, support, policy_gradient, rate, create_graph=False)
        gains.append((rollout(tasks, policy, after, task, 10, noise=second).returns().mean() - before).item())
    assert gains[0] > 0.5
    assert gains[1] < -5


# --- Numbers that are written in the inner loop -----------------------------------------------------------------------

Parameters = torch.nn.ParameterDict
Losses = tuple[Callable[[Parameters], Tensor], Callable[[Parameters], Tensor]]  # of the support and of the query


def kept_in_the_graph(theta: Parameters, losses: Losses) -> None:
    slopes = torch.autograd.grad(losses[0](theta), list(theta.values()), create_graph=True)
    phi = {name: p - ALPHA * g for (name, p), g in zip(theta.items(), slopes, strict=True)}
    losses[1](phi).backward()  # type: ignore[arg-type,no-untyped-call]


def on_a_copy(theta: Parameters, losses: Losses) -> None:
    in_place(copy.deepcopy(theta), losses)


def loaded_into_another(theta: Parameters, losses: Losses) -> None:
    other = Parameters({name: torch.zeros_like(p) for name, p in theta.items()})
    other.load_state_dict(theta.state_dict())
    in_place(other, losses)


def in_place(theta: Parameters, losses: Losses) -> None:
    slopes = torch.autograd.grad(losses[0](theta), list(theta.values()))
    for p, g in zip(theta.values(), slopes, strict=True):
        p.data -= ALPHA * g
    losses[1](theta).backward()  # type: ignore[no-untyped-call]


def by_an_optimiser(theta: Parameters, losses: Losses) -> None:
    sgd = torch.optim.SGD(theta.parameters(), lr=ALPHA)
    losses[0](theta).backward()  # type: ignore[no-untyped-call]
    sgd.step()
    sgd.zero_grad()
    losses[1](theta).backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("inner_loop", "has_gradients", "stays"),
    [
        (kept_in_the_graph, True, True),
        (on_a_copy, False, True),
        (loaded_into_another, False, True),
        (in_place, True, False),
        (by_an_optimiser, True, False),
    ],
)
def test_two_assertions_find_what_one_would_miss(
    inner_loop: Callable[..., None], has_gradients: bool, stays: bool
) -> None:
    policy, support, query = small()
    theta = Parameters({name: p.detach().clone() for name, p in tile(policy.params(), 3).items()})
    start = copy.deepcopy(theta)
    losses = [lambda params, batch=b: policy_gradient(policy, params, batch).sum() for b in (support, query)]
    inner_loop(theta, losses)
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in theta.values()) == has_gradients
    assert all(torch.equal(p, start[name]) for name, p in theta.items()) == stays


def test_a_path_that_ignores_the_task_can_gain_a_little_over_standing_still() -> None:
    """Through the nine windows around the origin, and back: each ends the episodes whose goal lies in it."""
    tasks, steps = PointGoal(), 100
    side = torch.tensor([-0.02, 0.0, 0.02], dtype=torch.float64)
    ring = torch.tensor([(x, y) for x in side.tolist() for y in side.tolist()], dtype=torch.float64)
    path = torch.cat([ring, torch.zeros(steps - 9, 2, dtype=torch.float64)])  # no step is longer than 0.1
    total = -mean_distance(path).sum()
    inside = torch.cartesian_prod(*[(torch.arange(40, dtype=torch.float64) + 0.5) / 2000 - 0.01] * 2)  # of a window
    for s, place in enumerate(ring):  # an episode that ends at step s is spared the distances that follow
        after = torch.cdist(place + inside, path[s + 1 :]).mean(0).sum()
        total = total + (2 * tasks.radius) ** 2 * after
    assert standing_still_return() + 0.001 < total < agnostic_bound(tasks)
    assert round(agnostic_bound(tasks), 2) == -38.20


def test_several_steps_multiply_their_brackets_with_the_first_step_on_the_left() -> None:
    def loss(x: Tensor) -> Tensor:
        return (x[0] ** 2 - x[1]) ** 2 + 0.5 * x[0] * x[1] ** 2

    theta = torch.tensor([0.7, -0.4], dtype=torch.float64, requires_grad=True)
    end = find("6.3").reference(loss, theta, 0.1, 3)
    (mine,) = torch.autograd.grad(loss(end), theta)
    point, brackets = theta.detach(), []
    for _ in range(3):
        hessian = torch.autograd.functional.hessian(loss, point)
        brackets.append(torch.eye(2, dtype=torch.float64) - 0.1 * hessian)
        point = point - 0.1 * torch.func.grad(loss)(point)
    slope = torch.func.grad(loss)(point)
    torch.testing.assert_close(mine, torch.linalg.multi_dot([*brackets, slope]), rtol=0, atol=1e-12)
    assert (mine - torch.linalg.multi_dot([*brackets[::-1], slope])).norm() > 1e-2


def test_beyond_the_places_explored_rewards_vary_alike_whatever_the_distance_of_the_goal() -> None:
    """So a step from advantages that are not normalised would lead as far for a near goal as for a far one."""
    tasks, policy, gen = PointGoal(), actor("navigation-maml"), generator(20)
    assert isinstance(policy, MLPPolicy)
    task = tasks.sample(300, gen)
    support = with_advantages(rollout(tasks, policy, tile(policy.params(), 300), task, 20, gen), gae_lambda=0.98)
    taken = support.mask.sum((1, 2))
    spread = ((support.advantages.square() * support.mask).sum((1, 2)) / taken).sqrt()
    distance = task["goal"].norm(dim=1)
    near, middle, far = (
        spread[(distance > low) & (distance < high)].mean() for low, high in ((0.2, 0.35), (0.35, 0.5), (0.5, 1.0))
    )
    assert max(near, middle, far) < 1.1 * min(near, middle, far)
    assert spread[distance < 0.1].mean() > 3 * far, "nearer ones end early by luck"
