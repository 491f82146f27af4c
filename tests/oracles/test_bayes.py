"""The Bayes optimum against recursions over all histories in fractions, and against values known to many digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import pytest
import torch

from metarl_lite.oracles.bandits import Rule, greedy, play
from metarl_lite.oracles.bayes import (
    bayes_optimal,
    bayes_optimal_two_arms,
    bayes_optimal_value,
    count_beliefs,
    dependent_arms_regret,
    plan,
)
from metarl_lite.rng import generator, uniform

F64 = torch.float64
Counts = tuple[tuple[int, int], ...]  # wins and losses of each arm, in order


def after(seen: Counts, arm: int, won: bool) -> Counts:
    wins, losses = seen[arm]
    return (*seen[:arm], (wins + won, losses + (not won)), *seen[arm + 1 :])


@cache
def q_values(seen: Counts, left: int) -> tuple[Fraction, ...]:
    """The worth of each arm with so many pulls left, exactly, and without any use of symmetry."""
    q = []
    for arm, (wins, losses) in enumerate(seen):
        mean = Fraction(wins + 1, wins + losses + 2)
        won, lost = (max(q_values(after(seen, arm, x), left - 1)) if left > 1 else 0 for x in (True, False))
        q.append(mean * (1 + won) + (1 - mean) * lost)
    return tuple(q)


@pytest.mark.parametrize(("arms", "pulls"), [(1, 1), (1, 6), (2, 1), (2, 7), (3, 2), (3, 6), (4, 5), (6, 4)])
def test_the_value_by_brute_force(arms: int, pulls: int) -> None:
    expected = float(max(q_values(((0, 0),) * arms, pulls)))
    assert bayes_optimal_value(arms, pulls) == pytest.approx(expected, abs=1e-12)


def check_value(function: Callable[[int, int], float]) -> None:
    two = {1: 0.5, 2: 13 / 12, 3: 5 / 3, 5: 2.888889, 10: 6.021786, 20: 12.431265, 50: 31.996712}
    known = [(2, n, value) for n, value in two.items()] + [(5, 10, 6.659988), (10, 10, 6.713951), (50, 10, 6.713951)]
    for arms, pulls, value in known:
        assert function(arms, pulls) == pytest.approx(value, abs=5e-7)


def test_the_values_that_are_known() -> None:
    check_value(bayes_optimal_value)


def test_a_hundred_pulls_of_two_arms() -> None:
    value = bayes_optimal_value(2, 100)
    assert value == pytest.approx(64.918421, abs=1e-6)  # one of the last digit that is given
    assert 100 * 2 / 3 - value == pytest.approx(1.748246, abs=1e-6)  # the regret: the better arm pays 2/3


def worth(rule: Rule, arms: int, pulls: int) -> float:
    """The exact expected reward of a rule, over all it may see."""

    def value(seen: Counts, left: int) -> float:
        if not left:
            return 0.0
        wins, losses = torch.tensor(seen, dtype=F64).T.unsqueeze(1)  # [1, k] each
        arm = int(rule(wins, losses, generator(0)))
        mean = (seen[arm][0] + 1) / (sum(seen[arm]) + 2)
        won, lost = (value(after(seen, arm, x), left - 1) for x in (True, False))
        return mean * (1 + won) + (1 - mean) * lost

    return value(((0, 0),) * arms, pulls)


def greedily(arms: int, pulls: int) -> float:
    """What greedy earns, exactly, in games short enough to go through all that it may see; longer ones are right."""
    return worth(greedy, arms, pulls) if pulls <= 5 else bayes_optimal_value(arms, pulls)


def one_pull_less(arms: int, pulls: int) -> float:
    return bayes_optimal_value(arms, pulls - 1) + bayes_optimal_value(arms, 1) if pulls > 1 else 0.5


def one_arm_less(arms: int, pulls: int) -> float:
    return bayes_optimal_value(arms - 1, pulls)


@pytest.mark.parametrize("broken", [greedily, one_pull_less, one_arm_less])
def test_a_broken_value_fails_the_check(broken: Callable[[int, int], float]) -> None:
    with pytest.raises(AssertionError):
        check_value(broken)


@pytest.mark.parametrize(("arms", "pulls"), [(1, 5), (2, 12), (3, 10), (8, 8)])
def test_beliefs_are_counted_before_they_are_made(arms: int, pulls: int) -> None:
    levels = plan(arms, pulls)
    assert sum(len(known) for known, _, _ in levels) == count_beliefs(arms, pulls)
    assert all(len(known.unique(dim=0)) == len(known) for known, _, _ in levels)


@pytest.mark.parametrize(("arms", "pulls"), [(2, 300), (5, 100), (20, 30), (1000, 1000)])
def test_too_large_a_game_is_refused_at_once(arms: int, pulls: int) -> None:
    with pytest.raises(ValueError, match=rf"arms = {arms}, pulls = {pulls}: .* beliefs or more, about .* GiB"):
        bayes_optimal_value(arms, pulls)


@pytest.mark.parametrize("bad", [0, -1, 2.0, True])
def test_what_is_no_number_of_arms_or_pulls_is_named(bad: Any) -> None:
    with pytest.raises(ValueError, match=f"arms = {bad}"):
        bayes_optimal_value(bad, 3)
    with pytest.raises(ValueError, match=f"pulls = {bad}"):
        bayes_optimal(2, bad)
    with pytest.raises(ValueError, match=f"pulls = {bad}"):
        bayes_optimal_two_arms(bad)
    with pytest.raises(ValueError, match=f"pulls = {bad}"):
        dependent_arms_regret(None, bad)


# --- Two arms, every belief -------------------------------------------------------------------------------------------


def test_two_arms_at_every_belief_by_brute_force() -> None:
    pulls = 7
    best = bayes_optimal_two_arms(pulls)
    for n1 in range(pulls):
        for n2 in range(pulls - n1):
            for w1 in range(n1 + 1):
                for w2 in range(n2 + 1):
                    q1, q2 = q_values(((w1, n1 - w1), (w2, n2 - w2)), pulls - n1 - n2)
                    assert best.values[n1, n2][w1, w2].item() == pytest.approx(float(max(q1, q2)), abs=1e-12)
                    assert best.advantages[n1, n2][w1, w2].item() == pytest.approx(float(q1 - q2), abs=1e-12)
                    assert best.actions(n1, n2)[w1, w2].item() == (q2 > q1)


@pytest.mark.parametrize("pulls", [1, 4, 33, 100])
def test_two_implementations_agree(pulls: int) -> None:
    best = bayes_optimal_two_arms(pulls)
    assert best.values[0, 0].item() == pytest.approx(bayes_optimal_value(2, pulls), abs=1e-11)
    for (n1, n2), gap in best.advantages.items():
        assert torch.equal(gap, -best.advantages[n2, n1].T)  # arms have no names


def test_two_arms_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="GiB"):
        bayes_optimal_two_arms(400)


# --- The rule ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arms", "pulls"), [(2, 1), (2, 8), (3, 6), (7, 5)])
def test_the_rule_earns_the_optimum(arms: int, pulls: int) -> None:
    optimum = bayes_optimal_value(arms, pulls)
    assert worth(bayes_optimal(arms, pulls), arms, pulls) == pytest.approx(optimum, abs=1e-12)
    assert worth(greedy, arms, pulls) < optimum + 1e-12


def test_greedy_and_a_plan_for_another_length_earn_less() -> None:
    assert worth(greedy, 2, 8) < bayes_optimal_value(2, 8) - 1e-3
    longer = bayes_optimal(2, 40)
    assert worth(longer, 2, 8) < bayes_optimal_value(2, 8) - 1e-3


def test_the_rule_in_play() -> None:
    arms = uniform((4000, 5), generator(0), torch.float32)
    total = play(bayes_optimal(5, 10), arms, 10, generator(1)).sum(1)
    assert abs(total.mean() - 6.659988) < 4 * total.std() / 4000**0.5


def test_the_rule_refuses_another_game() -> None:
    rule, none = bayes_optimal(2, 3), torch.zeros(1, 2)
    with pytest.raises(ValueError, match="this rule plays 2 arms, 3 times"):
        rule(none + 2, none, generator(0))
    with pytest.raises(ValueError, match="this rule plays 2 arms, 3 times"):
        rule(torch.zeros(1, 3), torch.zeros(1, 3), generator(0))
    with pytest.raises(ValueError, match="this rule plays 2 arms, 3 times"):
        rule(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.zeros(2, 2), generator(0))


# --- Dependent arms ---------------------------------------------------------------------------------------------------


def weight(values: tuple[Fraction, ...] | None, first: int, second: int) -> Fraction:
    """E[p^first (1 - p)^second]: the chance of one history with so many votes for each arm."""
    if values is None:
        return Fraction(math.factorial(first) * math.factorial(second), math.factorial(first + second + 1))
    return sum((p**first * (1 - p) ** second for p in values), Fraction(0)) / len(values)


def best_of_histories(values: tuple[Fraction, ...] | None, pulls: int) -> Fraction:
    """The most that can be earned, by a recursion over every history of arms and outcomes, explored or not."""

    def earned(history: tuple[tuple[int, bool], ...]) -> Fraction:
        """The optimal reward from here on, times the chance of the history."""
        if len(history) == pulls:
            return Fraction(0)
        totals = []
        for arm in (0, 1):
            votes = sum((a == 0) == won for a, won in (*history, (arm, True)))  # for the first arm
            chance_of_win = weight(values, votes, len(history) + 1 - votes)
            totals.append(chance_of_win + earned((*history, (arm, True))) + earned((*history, (arm, False))))
        return max(totals)

    return earned(())


@pytest.mark.parametrize("values", [(".1", ".9"), (".4", ".6"), (".2", ".5", ".7"), ("0", "1"), (".3",), None])
@pytest.mark.parametrize("pulls", [1, 2, 5])
def test_dependent_arms_by_brute_force(values: tuple[str, ...] | None, pulls: int) -> None:
    exact = None if values is None else tuple(Fraction(v) for v in values)
    best = Fraction(3, 4) if exact is None else sum((max(p, 1 - p) for p in exact), Fraction(0)) / len(exact)
    expected = float(pulls * best - best_of_histories(exact, pulls))
    given = None if exact is None else [float(p) for p in exact]
    assert dependent_arms_regret(given, pulls) == pytest.approx(expected, abs=1e-12)


def test_dependent_arms_that_are_known() -> None:
    assert dependent_arms_regret([0.1, 0.9], 100) == pytest.approx(0.625, abs=5e-5)
    assert dependent_arms_regret(torch.tensor([0.9, 0.1]), 100) == pytest.approx(0.625, abs=5e-5)
    fine = (torch.arange(2000, dtype=F64) + 0.5) / 2000
    assert dependent_arms_regret(None, 100) == pytest.approx(dependent_arms_regret(fine, 100), abs=1e-4)


@pytest.mark.parametrize("bad", [[], [0.5, 1.5], [-0.1], [[0.1, 0.9]], [math.nan], 0.5])
def test_dependent_arms_refuse_what_is_no_list_of_probabilities(bad: Any) -> None:
    with pytest.raises(ValueError, match="a list of numbers from 0 to 1 is needed"):
        dependent_arms_regret(bad, 10)
