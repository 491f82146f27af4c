"""The optimum of the two-step task against every behaviour there is, and against the player that is said to earn it."""

from __future__ import annotations

import math

import pytest

from metarl_lite.evaluate.two_step import bayes_rule, play_two_step
from metarl_lite.oracles.two_step import two_step_optimal_value
from metarl_lite.rng import generator
from metarl_lite.tasks import TwoStep


def every_behaviour(rounds: int, p: float = 0.5, common: float = 0.75, change: float = 0.025) -> float:
    """The best over all choices after all that can be seen: which place was reached, and whether it paid."""
    if not rounds:
        return 0.0
    values = []
    for action in (1, 2):
        value = 0.0
        for place in (1, 2):
            led = common if place == action else 1 - common
            for reward in (0, 1):
                ones, twos = (0.9 if (place == good) == bool(reward) else 0.1 for good in (1, 2))
                seen = p * ones + (1 - p) * twos
                after = p * ones / seen
                after = (1 - change) * after + change * (1 - after)
                value += led * seen * (reward + every_behaviour(rounds - 1, after, common, change))
        values.append(value)
    return max(values)


@pytest.mark.parametrize("rounds", [1, 2, 3, 4, 5])
def test_the_optimum_is_that_of_all_behaviours(rounds: int) -> None:
    assert two_step_optimal_value(rounds) == pytest.approx(every_behaviour(rounds), rel=1e-12)


def test_two_rounds_by_hand() -> None:
    # after a signal that is right with .9 the places change with .025: .9 * .975 + .1 * .025 = .88
    assert two_step_optimal_value(2) == pytest.approx(0.5 + 0.1 + 0.8 * (0.75 * 0.88 + 0.25 * 0.12))


def test_a_change_that_is_forgotten_or_a_sure_transition_is_another_task() -> None:
    assert abs(two_step_optimal_value(4) - every_behaviour(4, change=0.0)) > 0.01
    assert abs(two_step_optimal_value(4) - every_behaviour(4, common=1.0)) > 0.1


def test_the_bayes_optimal_player_earns_it() -> None:
    tasks, count = TwoStep(20, vary_transitions=False), 40_000
    task = tasks.sample(count, generator(0))
    earned = play_two_step(tasks, task, bayes_rule(tasks), True, generator(1), sharpness=1e6).rewards.sum(1)
    error = earned.std().item() / math.sqrt(count)
    assert abs(earned.mean().item() - two_step_optimal_value(10)) < 4 * error


@pytest.mark.parametrize("rounds", [0, 25, True, 2.0])
def test_rounds_out_of_range_are_named(rounds: int) -> None:
    with pytest.raises(ValueError, match=f"rounds = {rounds}"):
        two_step_optimal_value(rounds)
