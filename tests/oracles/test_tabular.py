"""Dynamic programming against brute force: every policy, every trajectory, one by one."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.oracles.tabular import policy_value, value_iteration
from metarl_lite.rng import generator, normal, uniform

F64 = torch.float64


def mdp(seed: int, states: int = 2, actions: int = 2, lead: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
    gen = generator(seed)
    weights = uniform((*lead, states, actions, states), gen, F64)
    return weights / weights.sum(-1, keepdim=True), normal((*lead, states, actions), gen, F64)


def enumerate_return(policy: Tensor, transitions: Tensor, rewards: Tensor, start: int, discount: float) -> Tensor:
    """The expected return from `start`, as a sum over every trajectory; `policy` is `[T, S, A]`, by time step."""
    horizon, states, actions = policy.shape
    total = torch.zeros((), dtype=F64)
    for acts in product(range(actions), repeat=horizon):
        for path in product(range(states), repeat=horizon):
            chance, gain, state = torch.ones((), dtype=F64), torch.zeros((), dtype=F64), start
            for t, (action, following) in enumerate(zip(acts, path, strict=True)):
                chance = chance * policy[t, state, action] * transitions[state, action, following]
                gain = gain + discount**t * rewards[state, action]
                state = following
            total = total + chance * gain
    return total


def check_policy_value(function: Any) -> None:
    for seed, discount in ((0, 1.0), (1, 0.8)):
        transitions, rewards = mdp(seed)
        policy = normal((2, 2), generator(seed + 10), F64).softmax(-1)
        values = function(policy, transitions, rewards, 3, discount)
        assert values.shape == (4, 2)
        for start in range(2):
            for t in range(4):  # at step t there are 3 - t to go, whatever came before
                over_time = policy.expand(3 - t, 2, 2)
                brute = enumerate_return(over_time, transitions, rewards, start, discount)
                torch.testing.assert_close(values[t, start], brute)


def check_value_iteration(function: Any) -> None:
    """All 64 deterministic policies of three steps, time-dependent ones included."""
    for seed, discount in ((2, 1.0), (4, 0.7)):  # the greedy choice is not the best in either
        transitions, rewards = mdp(seed)
        values, greedy = function(transitions, rewards, 3, discount)
        assert values.shape == (4, 2)
        assert greedy.shape == (3, 2)
        choices = [torch.tensor(choice).reshape(3, 2) for choice in product(range(2), repeat=6)]
        for start in range(2):
            every = [
                enumerate_return(torch.nn.functional.one_hot(c, 2).to(F64), transitions, rewards, start, discount)
                for c in choices
            ]
            torch.testing.assert_close(values[0, start], torch.stack(every).max())
            own = torch.nn.functional.one_hot(greedy, 2).to(F64)
            reached = enumerate_return(own, transitions, rewards, start, discount)
            torch.testing.assert_close(reached, values[0, start])


def test_policy_value_is_the_mean_over_all_trajectories() -> None:
    check_policy_value(policy_value)


def test_value_iteration_finds_the_best_of_all_policies() -> None:
    check_value_iteration(value_iteration)


def test_nothing_is_expected_after_the_horizon() -> None:
    transitions, rewards = mdp(0)
    assert torch.equal(
        policy_value(torch.full((2, 2), 0.5, dtype=F64), transitions, rewards, 4)[-1], torch.zeros(2, dtype=F64)
    )
    assert torch.equal(value_iteration(transitions, rewards, 4)[0][-1], torch.zeros(2, dtype=F64))


def test_the_gradient_of_a_value_is_its_slope() -> None:
    transitions, rewards = mdp(3, states=3)
    logits = normal((3, 2), generator(4), F64).requires_grad_()

    def value(x: Tensor) -> Tensor:
        return policy_value(x.softmax(-1), transitions, rewards, 5, 0.9)[0]

    assert torch.autograd.gradcheck(value, logits, eps=1e-6, atol=1e-8)


def test_many_tasks_at_once_are_solved_like_one_by_one() -> None:
    transitions, rewards = mdp(5, states=4, actions=3, lead=(6,))
    policy = normal((6, 4, 3), generator(6), F64).softmax(-1)
    values, greedy = value_iteration(transitions, rewards, 5, 0.9)
    expected = policy_value(policy, transitions, rewards, 5, 0.9)
    for i in range(6):
        alone = value_iteration(transitions[i], rewards[i], 5, 0.9)
        torch.testing.assert_close(values[:, i], alone[0])
        assert torch.equal(greedy[:, i], alone[1])
        torch.testing.assert_close(expected[:, i], policy_value(policy[i], transitions[i], rewards[i], 5, 0.9))


def test_no_policy_is_worth_more_than_the_optimum() -> None:
    transitions, rewards = mdp(7, states=5, actions=3, lead=(20,))
    best = value_iteration(transitions, rewards, 8)[0]
    policy = normal((20, 5, 3), generator(8), F64).softmax(-1)
    assert (policy_value(policy, transitions, rewards, 8) <= best + 1e-12).all()


# --- Broken variants --------------------------------------------------------------------------------------------------


def discounts_the_reward(policy: Tensor, transitions: Tensor, rewards: Tensor, horizon: int, discount: float) -> Tensor:
    return policy_value(policy, transitions, discount * rewards, horizon, discount)


def sums_over_the_wrong_state(
    policy: Tensor, transitions: Tensor, rewards: Tensor, horizon: int, discount: float
) -> Tensor:
    return policy_value(policy, transitions.transpose(-3, -1), rewards, horizon, discount)


def one_step_too_many(policy: Tensor, transitions: Tensor, rewards: Tensor, horizon: int, discount: float) -> Tensor:
    return policy_value(policy, transitions, rewards, horizon + 1, discount)[:-1]


def stationary_greedy(transitions: Tensor, rewards: Tensor, horizon: int, discount: float) -> tuple[Tensor, Tensor]:
    """Greedy for the next reward only, as if one step were left at every step."""
    action = rewards.argmax(-1)
    policy = torch.nn.functional.one_hot(action, rewards.shape[-1]).to(rewards.dtype)
    return policy_value(policy, transitions, rewards, horizon, discount), action.expand(horizon, -1)


def backwards_in_time(transitions: Tensor, rewards: Tensor, horizon: int, discount: float) -> tuple[Tensor, Tensor]:
    values, actions = value_iteration(transitions, rewards, horizon, discount)
    return values.flip(0), actions.flip(0)


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        (check_policy_value, discounts_the_reward),
        (check_policy_value, sums_over_the_wrong_state),
        (check_policy_value, one_step_too_many),
        (check_value_iteration, stationary_greedy),
        (check_value_iteration, backwards_in_time),
    ],
    ids=lambda function: function.__name__,
)
def test_a_broken_variant_fails_its_check(check: Any, broken: Any) -> None:
    with pytest.raises(AssertionError):
        check(broken)
