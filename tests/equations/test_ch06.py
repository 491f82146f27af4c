"""Equations of chapter 6, computed from their symbols, against `adapt`, `tile` and autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.algorithms.inner import adapt
from metarl_lite.algorithms.maml import meta_gradient
from metarl_lite.lesson.exercises import find
from metarl_lite.losses import policy_gradient
from metarl_lite.oracles.meta_gradient import quadratic_meta_gradient
from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
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
