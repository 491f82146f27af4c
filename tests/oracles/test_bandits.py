"""The bandit's closed form against enumeration, finite differences and a number worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.oracles.bandits import exact_policy_gradient, expected_reward
from metarl_lite.rng import generator, normal

F64 = torch.float64


def test_expected_reward_by_hand() -> None:
    logits = torch.tensor([0.0, math.log(3.0)], dtype=F64)  # probabilities 1/4 and 3/4
    assert expected_reward(logits, torch.tensor([1.0, 5.0], dtype=F64)).item() == pytest.approx(4.0, abs=1e-12)
    assert expected_reward(logits + 7, torch.tensor([1.0, 5.0], dtype=F64)).item() == pytest.approx(4.0, abs=1e-12)


def check_gradient(gradient: Any) -> None:
    """Central differences, for 2 to 5 arms and several bandits at once."""
    for arms in (2, 3, 5):
        logits, rewards = normal((4, arms), generator(arms), F64), normal((4, arms), generator(arms + 1), F64)
        got, step = gradient(logits, rewards), 1e-6
        for arm in range(arms):
            nudge = torch.zeros(arms, dtype=F64)
            nudge[arm] = step
            slope = (expected_reward(logits + nudge, rewards) - expected_reward(logits - nudge, rewards)) / (2 * step)
            torch.testing.assert_close(got[:, arm], slope, atol=1e-8, rtol=1e-7)


def test_the_gradient_is_the_slope() -> None:
    check_gradient(exact_policy_gradient)


def test_the_gradient_by_hand() -> None:
    # pi = (1/4, 3/4) and J = 4, so the gradient is (1/4 (1 - 4), 3/4 (5 - 4)).
    got = exact_policy_gradient(torch.tensor([0.0, math.log(3.0)], dtype=F64), torch.tensor([1.0, 5.0], dtype=F64))
    torch.testing.assert_close(got, torch.tensor([-0.75, 0.75], dtype=F64))


def test_the_gradient_does_not_feel_a_reward_that_all_arms_pay() -> None:
    logits, rewards = normal((3, 4), generator(0), F64), normal((3, 4), generator(1), F64)
    got = exact_policy_gradient(logits, rewards)
    torch.testing.assert_close(exact_policy_gradient(logits, rewards + 100), got, atol=1e-11, rtol=0)
    torch.testing.assert_close(got.sum(-1), torch.zeros(3, dtype=F64), atol=1e-12, rtol=0)


def without_the_mean(logits: Tensor, rewards: Tensor) -> Tensor:
    return logits.softmax(-1) * rewards


def sampled_once(logits: Tensor, rewards: Tensor) -> Tensor:
    """The score of the likeliest arm times its pay: one vote, not the mean of all."""
    arm = logits.argmax(-1, keepdim=True)
    one_hot = torch.zeros_like(logits).scatter(-1, arm, 1.0)
    return rewards.gather(-1, arm) * (one_hot - logits.softmax(-1))


@pytest.mark.parametrize("broken", [without_the_mean, sampled_once])
def test_a_broken_gradient_fails_the_check(broken: Any) -> None:
    with pytest.raises(AssertionError):
        check_gradient(broken)
