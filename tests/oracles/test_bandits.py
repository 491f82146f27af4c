"""The bandit's closed form against finite differences, and agents that count against values known exactly."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.oracles.bandits import Rule, exact_policy_gradient, expected_reward, greedy, in_turn, play, thompson
from metarl_lite.rng import generator, normal, uniform

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


# --- Agents that count ------------------------------------------------------------------------------------------------


def counts(*rows: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Wins and losses of the arms of one task, `[1, k]` each."""
    wins, losses = torch.tensor(rows, dtype=F64).T
    return wins.unsqueeze(0), losses.unsqueeze(0)


def test_greedy_takes_the_highest_posterior_mean() -> None:
    # (wins + 1) / (pulls + 2): 3/5, 2/3 and 1/2. By the plain share of wins, 1 of 1 and 2 of 3, it is the second, too.
    assert greedy(*counts((2, 1), (1, 0), (0, 0)), generator(0)).item() == 1
    assert greedy(*counts((0, 1), (0, 0), (0, 2)), generator(0)).item() == 1  # an untried arm beats one that failed
    assert greedy(*counts((9, 1), (1, 0)), generator(0)).item() == 0  # 10/12 against 2/3


def test_in_turn_takes_the_least_tried() -> None:
    assert in_turn(*counts((2, 1), (1, 0), (0, 2)), generator(0)).item() == 1
    arms = torch.linspace(0.1, 0.9, 4, dtype=F64).expand(3, 4)
    torch.testing.assert_close(play(in_turn, arms, 8, generator(0)), torch.cat([arms, arms], 1))


def test_thompson_takes_an_arm_as_often_as_it_is_likely_to_be_the_best() -> None:
    """Beta(2, 1) against Beta(1, 1): P(x > y) is the mean of x, 2/3."""
    wins = torch.tensor([[1.0, 0.0]], dtype=F64).expand(40_000, 2)
    share = (thompson(wins, torch.zeros_like(wins), generator(0)) == 0).double().mean().item()
    assert abs(share - 2 / 3) < 4 * math.sqrt(2 / 9 / 40_000)


def check_play(function: Any) -> None:
    """Two arms, two pulls, greedy: 13/12 in all (exact, and here the optimum); a win is repeated, a loss left."""
    arms = uniform((40_000, 2), generator(0), F64)
    paid = function(greedy, arms, 2, generator(1))
    assert paid.shape == (40_000, 2)
    assert torch.equal(paid[:, 0], arms[:, 0])
    total = paid.sum(1)
    assert abs(total.mean() - 13 / 12) < 4 * total.std() / 200
    sure = torch.tensor([[1.0, 0.5], [0.0, 0.5]], dtype=F64)
    expected = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.5, 0.5]], dtype=F64)
    torch.testing.assert_close(function(greedy, sure, 3, generator(2))[:, :2], expected[:, :2])


def test_play() -> None:
    check_play(play)


@pytest.mark.parametrize(("rule", "low", "high"), [(greedy, 6.53, 6.62), (in_turn, 4.9, 5.1), (thompson, 5.55, 6.0)])
def test_ten_pulls_of_five_arms_pay_what_is_known(rule: Rule, low: float, high: float) -> None:
    """Greedy 6.574 by a long simulation, below the Bayes-optimal 6.660; Duan et al. (2016) print 6.6, 5.0 and 5.7."""
    total = play(rule, uniform((20_000, 5), generator(3), F64), 10, generator(4)).sum(1).mean()
    assert low < total < high


def test_play_repeats_with_its_seed_and_leaves_the_global_state_alone() -> None:
    arms, state = uniform((50, 3), generator(0), F64), torch.get_rng_state()
    first = play(thompson, arms, 20, generator(1))
    assert torch.equal(first, play(thompson, arms, 20, generator(1)))
    assert not torch.equal(first, play(thompson, arms, 20, generator(2)))
    assert torch.equal(state, torch.get_rng_state())


def never_learns(rule: Rule, probabilities: Tensor, pulls: int, gen: torch.Generator) -> Tensor:
    return play(lambda wins, losses, g: rule(0 * wins, 0 * losses, g), probabilities, pulls, gen)


def counts_wins_as_losses(rule: Rule, probabilities: Tensor, pulls: int, gen: torch.Generator) -> Tensor:
    return play(lambda wins, losses, g: rule(losses, wins, g), probabilities, pulls, gen)


def knows_the_answer(rule: Rule, probabilities: Tensor, pulls: int, gen: torch.Generator) -> Tensor:
    return play(lambda wins, losses, g: probabilities.argmax(-1), probabilities, pulls, gen)


@pytest.mark.parametrize("broken", [never_learns, counts_wins_as_losses, knows_the_answer])
def test_a_broken_agent_fails_the_check(broken: Any) -> None:
    with pytest.raises(AssertionError):
        check_play(broken)
