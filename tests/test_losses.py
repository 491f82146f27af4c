"""The gradient of the policy-gradient loss against numbers worked out by hand; broken losses must not pass."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.losses import policy_gradient
from metarl_lite.policies import MLPPolicy, tile
from metarl_lite.returns import with_advantages
from metarl_lite.rng import generator
from metarl_lite.rollout import rollout
from metarl_lite.tasks.navigation import PointGoal
from metarl_lite.types import Params, Rollout

F64 = torch.float64


def tensor(*numbers: Any) -> Tensor:
    return torch.tensor(numbers, dtype=F64)


def gaussian() -> tuple[MLPPolicy, Params, Rollout]:
    """One task, one episode of two steps: mean = w s + b in two coordinates, standard deviation 1.

    The differences from the mean are (.5, .75) at the first step and (-1, 2.75) at the second.
    """
    policy = MLPPolicy(1, 2, generator(0), hidden=(), dtype=F64)
    params = {"w0": tensor([[0.5, -1.0]]), "b0": tensor([0.0, 0.25]), "log_std": tensor([0.0, 0.0])}
    params = {name: p.requires_grad_() for name, p in params.items()}
    ones = torch.ones(1, 1, 2, dtype=F64)
    batch = Rollout(
        observations=tensor([[[1.0], [2.0]]]).reshape(1, 1, 2, 1),
        actions=tensor([1.0, 0.0], [0.0, 1.0]).reshape(1, 1, 2, 2),
        rewards=ones,
        mask=ones,
        terminated=torch.zeros(1, 1, 2, dtype=torch.bool),
        last_observations=torch.zeros(1, 1, 1, dtype=F64),
        advantages=tensor(2.0, -1.0).reshape(1, 1, 2),
    )
    return policy, params, batch


def gradient(loss_fn: Any, policy: MLPPolicy, params: Params, batch: Rollout) -> Params:
    loss = loss_fn(policy, params, batch)
    assert loss.shape == batch.rewards.shape[:1], "one loss per task"
    return dict(zip(params, torch.autograd.grad(loss.sum(), list(params.values())), strict=True))


def check_gradient_by_hand(loss_fn: Any) -> None:
    policy, params, batch = gaussian()
    got = gradient(loss_fn, policy, params, batch)
    # -(2 (.5, .75) - 1 (-1, 2.75)) / 2, the same with s = 1 and s = 2 before the terms, and -sum A (z^2 - 1) / 2.
    torch.testing.assert_close(got["b0"], tensor([-1.0, 0.625]))
    torch.testing.assert_close(got["w0"], tensor([[-1.5, 2.0]]))
    torch.testing.assert_close(got["log_std"], tensor([0.75, 3.71875]))


def check_mask(loss_fn: Any) -> None:
    """The second step was never taken: it counts neither in the sum nor in the number of steps."""
    policy, params, batch = gaussian()
    got = gradient(loss_fn, policy, params, replace(batch, mask=tensor(1.0, 0.0).reshape(1, 1, 2)))
    torch.testing.assert_close(got["b0"], tensor([-1.0, -1.5]))
    torch.testing.assert_close(got["w0"], tensor([[-1.0, -1.5]]))


def check_categorical(loss_fn: Any) -> None:
    policy = MLPPolicy(1, 2, generator(0), hidden=(), discrete=True, dtype=F64)
    params = {"w0": tensor([[0.0, 0.0]]), "b0": tensor([0.0, math.log(3)])}  # probabilities 1/4 and 3/4
    params = {name: p.requires_grad_() for name, p in params.items()}
    one = torch.ones(1, 1, 1, dtype=F64)
    ended, seen = torch.zeros(1, 1, 1, dtype=torch.bool), torch.ones(1, 1, 1, 1, dtype=F64)
    batch = Rollout(seen, torch.zeros(1, 1, 1, dtype=torch.long), one, one, ended, seen[:, :, 0], 2 * one)
    torch.testing.assert_close(gradient(loss_fn, policy, params, batch)["b0"], tensor([-1.5, 1.5]))


def check_tasks_are_apart(loss_fn: Any) -> None:
    """The gradient of the summed loss is that of a loop over tasks."""
    tasks, gen = PointGoal(horizon=30, dtype=F64), generator(0)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(4,), init_std=0.02)
    params = {name: p.clone().requires_grad_() for name, p in tile(policy.params(), 3).items()}
    batch = with_advantages(rollout(tasks, policy, params, {"goal": tensor([0, 0], [0.2, 0.1], [-0.3, 0.4])}, 5, gen))
    assert (batch.mask == 0).any(), "some episodes should end early, or the mask is not tried"
    together = gradient(loss_fn, policy, params, batch)
    for i in range(3):
        own = {name: p[i : i + 1].detach().requires_grad_() for name, p in params.items()}
        fields = {name: None if x is None else x[i : i + 1] for name, x in vars(batch).items()}
        alone = gradient(loss_fn, policy, own, Rollout(**fields))
        for name in params:
            torch.testing.assert_close(together[name][i], alone[name][0], atol=1e-12, rtol=1e-9)


CHECKS = [check_gradient_by_hand, check_mask, check_categorical, check_tasks_are_apart]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_policy_gradient(check: Any) -> None:
    check(policy_gradient)


def test_a_batch_without_advantages_is_refused_with_the_remedy() -> None:
    policy, params, batch = gaussian()
    with pytest.raises(ValueError, match=r"no advantages yet: .*with_advantages"):
        policy_gradient(policy, params, replace(batch, advantages=None))


# --- Broken variants --------------------------------------------------------------------------------------------------


def mean_over_coordinates(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    """Gotcha: log_prob(...).mean over the coordinates of an action; the logs of independent densities add up."""
    return policy_gradient(policy, params, batch) / batch.actions.shape[-1]


def uphill(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    return -policy_gradient(policy, params, batch)


def without_a_mask(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    return policy_gradient(policy, params, replace(batch, mask=torch.ones_like(batch.mask)))


def divided_by_all_steps(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    return policy_gradient(policy, params, batch) * batch.mask.mean((1, 2))


def summed_over_steps(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    return policy_gradient(policy, params, batch) * batch.mask.sum((1, 2))


def mixes_tasks(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    return policy_gradient(policy, params, batch) * batch.mask.sum((1, 2)) / batch.mask.sum((1, 2)).mean()


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        (check_gradient_by_hand, mean_over_coordinates),
        (check_gradient_by_hand, uphill),
        (check_gradient_by_hand, summed_over_steps),
        (check_mask, without_a_mask),
        (check_mask, divided_by_all_steps),
        (check_categorical, uphill),
        (check_tasks_are_apart, mixes_tasks),
    ],
    ids=lambda function: function.__name__,
)
def test_a_broken_variant_fails_its_check(check: Any, broken: Any) -> None:
    with pytest.raises(AssertionError):
        check(broken)
