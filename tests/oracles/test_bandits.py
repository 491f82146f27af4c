"""The bandit's closed form against finite differences, and agents that count against values known exactly."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.oracles.bandits import (
    Rule,
    arms_played,
    eleven_arms_agnostic_value,
    eleven_arms_value,
    epsilon_greedy,
    exact_policy_gradient,
    expected_reward,
    greedy,
    in_turn,
    ots,
    play,
    random_arm,
    thompson,
    ucb1,
)
from metarl_lite.oracles.gittins import gittins
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


@pytest.mark.parametrize(("rule", "known", "rounded"), [(greedy, 6.568351, 0), (in_turn, 5.0, 0), (thompson, 5.7, 0.1)])
def test_ten_pulls_of_five_arms_pay_what_is_known(rule: Rule, known: float, rounded: float) -> None:
    """Greedy as an exact sum has it, below the Bayes-optimal 6.660; for Thompson Duan et al. (2016) print 5.7."""
    total = play(rule, uniform((20_000, 5), generator(3), F64), 10, generator(4)).sum(1)
    assert abs(total.mean() - known) < 4 * total.std() / 20_000**0.5 + rounded


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


# --- More rules -------------------------------------------------------------------------------------------------------


def test_ucb1_by_hand() -> None:
    # After 4 pulls t is 5. Means 3/5 and 1/3, bonuses c sqrt(2 ln 5 / 5) = .802 c and c sqrt(2 ln 5 / 3) = 1.036 c: the
    # second arm is pulled once .234 c exceeds 4/15.
    state = counts((2, 1), (0, 1))
    assert ucb1(1.13)(*state, generator(0)).item() == 0
    assert ucb1(1.15)(*state, generator(0)).item() == 1
    assert ucb1(0)(*state, generator(0)).item() == greedy(*state, generator(0)).item()


def test_one_draw_of_ots_is_thompson() -> None:
    wins = torch.tensor([[1.0, 0.0, 4.0]]).expand(1000, 3)
    assert torch.equal(
        ots(1)(wins, 1 - wins.clamp(max=1), generator(0)), thompson(wins, 1 - wins.clamp(max=1), generator(0))
    )


def test_many_draws_of_ots_follow_the_mode() -> None:
    """Modes of Beta(4, 3) and Beta(9, 8): 3/5 and 8/15; of one draw the first is the higher in about 60 of 100."""
    wins, losses = (x.expand(2000, 2) for x in counts((3, 2), (8, 7)))
    shares = [(ots(s)(wins, losses, generator(0)) == 0).double().mean().item() for s in (1, 10, 1000)]
    assert shares[0] < shares[1] < shares[2]
    assert shares[2] > 0.9


def test_epsilon_greedy_is_greedy_but_for_its_share() -> None:
    wins, losses = (x.expand(40_000, 4) for x in counts((1, 5), (9, 1), (0, 0), (2, 2)))
    share = (epsilon_greedy(0.4)(wins, losses, generator(0)) == 1).double().mean().item()
    assert abs(share - 0.7) < 4 * math.sqrt(0.21 / 40_000)  # .6, and a quarter of .4
    assert (epsilon_greedy(0)(wins, losses, generator(0)) == 1).all()


@pytest.mark.parametrize("rule", [random_arm, epsilon_greedy(1)])
def test_random_arms_are_equally_likely(rule: Rule) -> None:
    wins, losses = (x.expand(40_000, 5) for x in counts((1, 5), (9, 1), (0, 0), (2, 2), (0, 3)))
    share = rule(wins, losses, generator(0)).bincount(minlength=5) / 40_000
    assert share.shape == (5,)
    assert ((share - 0.2).abs() < 4 * math.sqrt(0.16 / 40_000)).all()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ucb1(-0.1), "c = -0.1"),
        (lambda: ucb1(math.nan), "c = nan"),
        (lambda: ots(0), "samples = 0"),
        (lambda: ots(1.5), "samples = 1.5"),  # type: ignore[arg-type]
        (lambda: epsilon_greedy(1.1), "epsilon = 1.1"),
        (lambda: epsilon_greedy(-0.1), "epsilon = -0.1"),
    ],
)
def test_a_setting_out_of_range_is_named(make: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize("rule", [thompson, ucb1(0.2), ots(3), epsilon_greedy(0.3), random_arm, gittins(12, 0.9)])
def test_arms_played_are_those_of_play(rule: Rule) -> None:
    arms = uniform((50, 3), generator(0), F64)
    played = arms_played(rule, arms, 12, generator(1))
    assert played.shape == (50, 12)
    assert torch.equal(arms.gather(1, played), play(rule, arms, 12, generator(1)))


# --- Numbers of simulations that others made --------------------------------------------------------------------------

INSTANCES = 20_000  # of the simulations below: their standard errors are ours, to a few parts in a hundred
BEST_DISCOUNT, BEST_C = {10: 0.9, 100: 0.99, 500: 0.999}, {10: 0.1, 100: 0.2, 500: 0.2}
TOTALS = {  # pulls, arms: Gittins at the best discount, UCB1 at the best c, greedy
    (10, 5): (6.636, 6.655, 6.574),
    (100, 5): (78.60, 78.33, 75.05),
    (100, 10): (83.63, 83.33, 77.85),
    (100, 50): (85.26, 84.97, 78.21),
    (500, 5): (406.97, 406.1, 382.6),
    (500, 10): (441.57, 439.6, 401.1),
    (500, 50): (463.22, 457.4, 403.0),
}


def rule_of(name: str, pulls: int) -> Rule:
    if name == "gittins":
        return gittins(pulls, BEST_DISCOUNT[pulls])
    return ucb1(BEST_C[pulls]) if name == "ucb1" else greedy


def check_total(rule: Rule, pulls: int, arms: int, instances: int, known: float) -> None:
    """Within 3 standard errors of the difference of the two simulations."""
    total = play(rule, uniform((instances, arms), generator(11), F64), pulls, generator(12)).sum(1)
    error = total.std() * math.sqrt(1 / instances + 1 / INSTANCES)
    assert abs(total.mean() - known) < 3 * error, (total.mean().item(), error.item())


@pytest.mark.parametrize("column", ["gittins", "ucb1", "greedy"])
@pytest.mark.parametrize(("pulls", "arms"), [(10, 5), (100, 5), (100, 10)])
def test_rules_earn_what_is_known(column: str, pulls: int, arms: int) -> None:
    known = TOTALS[pulls, arms][["gittins", "ucb1", "greedy"].index(column)]
    check_total(rule_of(column, pulls), pulls, arms, 4000, known)


@pytest.mark.slow
@pytest.mark.parametrize("column", ["gittins", "ucb1", "greedy"])
@pytest.mark.parametrize(("pulls", "arms"), TOTALS)
def test_rules_earn_what_is_known_to_the_last_digit(column: str, pulls: int, arms: int) -> None:
    known = TOTALS[pulls, arms][["gittins", "ucb1", "greedy"].index(column)]
    check_total(rule_of(column, pulls), pulls, arms, INSTANCES, known)


REGRETS = [(thompson, 2.79), (ucb1(1), 5.46), (greedy, 2.83), (random_arm, 100 / 6)]  # the last is exact


@pytest.mark.parametrize(("rule", "known"), REGRETS)
def test_regret_of_a_hundred_pulls_of_two_arms(rule: Rule, known: float) -> None:
    """The best of two pays 2/3. Here the regret of each instance is against its own best arm, which has less noise."""
    arms = uniform((INSTANCES, 2), generator(21), F64)
    regret = 100 * arms.max(1).values - play(rule, arms, 100, generator(22)).sum(1)
    error = regret.std() * math.sqrt(2 / INSTANCES)
    assert abs(regret.mean() - known) < 3 * error, (regret.mean().item(), error.item())
    assert regret.mean() > 1.748246 + 3 * error  # the Bayes optimum


def test_ots_draws_twenty_bandits_if_nothing_is_said() -> None:
    bandits = uniform((500, 5), generator(0), torch.float64)
    drawn = {n: arms_played(ots(n) if n else ots(), bandits, 10, generator(1)) for n in (0, 10, 20)}
    assert torch.equal(drawn[0], drawn[20])
    assert not torch.equal(drawn[0], drawn[10])


@cache
def searched(possible: frozenset[int], pulls: int) -> float:
    """The best over all pulls of the eleven arms, if the target is one of these, each equally likely."""
    if not pulls:
        return 0.0
    tells = sum((g + 1) / 10 for g in possible) / len(possible) + 5 * (pulls - 1)
    values = [tells, *(1.0 + searched(possible, pulls - 1) for a in range(10) if a not in possible)]
    for arm in possible:
        hit = 1 / len(possible)
        missed = 1 + searched(possible - {arm}, pulls - 1) if len(possible) > 1 else 0.0
        values.append(hit * 5 * pulls + (1 - hit) * missed)
    return max(values)


@pytest.mark.parametrize("pulls", [1, 2, 3, 5])
def test_the_eleven_arms_pay_what_the_best_of_all_behaviours_earns(pulls: int) -> None:
    assert eleven_arms_value(pulls) == pytest.approx(searched(frozenset(range(10)), pulls), rel=1e-12)


def test_eleven_arms_by_hand() -> None:
    assert eleven_arms_value() == pytest.approx(0.55 + 4 * 5)
    assert eleven_arms_agnostic_value() == pytest.approx(5 * (5 + 9 * 1) / 10)


@pytest.mark.parametrize("value", [eleven_arms_value, eleven_arms_agnostic_value])
def test_pulls_of_the_eleven_arms_are_positive(value: Any) -> None:
    with pytest.raises(ValueError, match="pulls = 0: a positive integer"):
        value(0)
