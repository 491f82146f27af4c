"""MAML or RL2: every world plays, every training costs what it says, and outside is outside."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from metarl_lite.experiments import versus
from metarl_lite.experiments.versus import METHODS, RATES, SHORT_POLES, WORLDS, Spent, World
from metarl_lite.oracles.grid import gridnavi_agnostic_value, gridnavi_known_value
from metarl_lite.rng import generator
from metarl_lite.tasks.navigation import GridGoal

LITTLE = Spent(iterations=1, instances=6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", sorted(WORLDS))
def test_every_method_plays_in_every_world(
    name: str, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = 1 if name == "poles" else 2  # four times takes its time
    monkeypatch.setattr(versus, "LONGER", longer)
    result = versus.versus_run(name, method, 0, lambda name, method: 1.0, LITTLE, tmp_path)
    world = WORLDS[name]
    assert len(result["inside"]) == len(result["outside"]) == longer * world.episodes
    assert (result["env_steps"] == 0) == (method == "scratch")


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_repeats_itself(method: str, tmp_path: Path) -> None:
    first, again = (
        versus.versus_run("grid", method, 0, lambda name, method: 1.0, LITTLE, tmp_path) | {"training_seconds": 0}
        for _ in range(2)
    )
    assert first == again


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_the_trained_methods_of_a_world_cost_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps that a training would take, without taking them: none falls short of the world's by a tenth."""
    world, planned = WORLDS[name], {}

    class Enough(Exception):
        pass

    def plan(tasks: Any, policy: Any, config: Any, *rest: Any) -> Any:
        trials = getattr(config, "trials", None)
        episodes = config.episodes * (trials or config.inner_steps + 1)
        planned[len(planned)] = config.iterations * config.num_tasks * episodes * tasks.horizon
        raise Enough

    monkeypatch.setattr(versus, "rl2", plan)
    monkeypatch.setattr(versus, "maml", plan)
    for method in METHODS[:4]:
        with pytest.raises(Enough):
            versus.train(world, method, 1.0, 0, Spent())
    assert len(planned) == 4
    for steps in planned.values():
        assert 0.9 * world.steps <= steps <= world.steps


def test_tasks_outside_are_none_that_training_meets() -> None:
    goals = versus.far_goals(500, generator(0))["goal"]
    assert goals.shape == (500, 2)
    assert (goals.abs().amax(-1) > 0.5).all()
    assert (goals.abs() <= 1).all()
    known = {tuple(goal) for goal in WORLDS["grid"].tasks.goals().tolist()}  # type: ignore[attr-defined]
    assert not known & {tuple(goal) for goal in versus.corner_goals(500, generator(0))["goal"].tolist()}
    assert versus.poor_arms(500, generator(0))["probabilities"].max() <= 0.3
    for name, (low, high) in versus.POLES.items():
        below, above = SHORT_POLES.ranges[name]
        assert above < low or below >= high


def test_tasks_outside_are_tasks_of_the_family() -> None:
    for world in WORLDS.values():
        task = world.outside(20, generator(0))
        world.tasks.check_task(task, 20)


def test_the_rate_is_that_of_the_best_score() -> None:
    runs = {versus.rate_name("grid", "MAML", rate): {"score": -((rate - 1.0) ** 2)} for rate in RATES}
    assert versus.best_rate({"runs": runs}, "grid", "MAML") == 1.0


def test_an_interrupted_training_is_not_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Short:
        returns, steps = [0.0], 1

    monkeypatch.setattr(versus, "maml", lambda tasks, policy, *rest: (policy, Short()))
    with pytest.raises(KeyboardInterrupt):
        versus.rate_run("grid", "MAML", 1.0, Spent(iterations=2, instances=6), tmp_path)


def test_rates_are_chosen_on_other_tasks_than_those_of_the_test() -> None:
    assert len({versus.VALIDATION_SEED, versus.TEST_SEED}) == 2
    assert isinstance(WORLDS["plane"], World)
    first, second = (WORLDS["plane"].tasks.sample(5, generator(s)) for s in (versus.VALIDATION_SEED, versus.TEST_SEED))
    assert not torch.equal(first["goal"], second["goal"])


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_a_rate_scales_what_it_is_said_to_and_chance_comes_from_the_seed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, met = WORLDS[name], []

    class Enough(Exception):
        pass

    def see(tasks: Any, policy: Any, config: Any, gen: torch.Generator, *rest: Any) -> Any:
        met.append((config, gen.initial_seed()))
        raise Enough

    monkeypatch.setattr(versus, "rl2", see)
    monkeypatch.setattr(versus, "maml", see)
    for method in METHODS[:4]:
        for rate in (1.0, 3.0):
            with pytest.raises(Enough):
                versus.train(world, method, rate, 7, Spent())
        (one, first), (three, second) = met[-2:]
        scaled = "lr" if method in METHODS[:2] else "inner_lr"
        assert getattr(three, scaled) == pytest.approx(3 * getattr(one, scaled))
        assert first == second == 7


def test_both_ranges_are_tested_on_the_tasks_of_the_seed_that_was_asked_for(tmp_path: Path) -> None:
    def run(seed: int) -> dict[str, Any]:
        return versus.versus_run("plane", "scratch", 0, lambda *_: 1.0, Spent(instances=30, seed=seed), tmp_path)

    first, second = run(1), run(2)
    assert first["inside"] != second["inside"]
    assert first["outside"] != second["outside"]
    assert first["inside"][0] > first["outside"][0]  # nothing is learned yet: far goals are farther


@pytest.mark.parametrize("name", ["grid", "warm grid"])
def test_the_bounds_of_the_grids(name: str) -> None:
    """Against the closed forms where there are some, and against thousands of drawn paths where there are none."""
    tasks = WORLDS[name].tasks
    assert isinstance(tasks, GridGoal)
    goals = {"goal": tasks.goals()}
    known, blind = versus.straight_there(tasks, goals), versus.along_a_path(tasks, goals).mean()
    distance = goals["goal"].sum(1)
    if name == "grid":
        assert known.mean() * 4 == pytest.approx(gridnavi_known_value(), abs=1e-4)
        assert blind * 4 == pytest.approx(gridnavi_agnostic_value(), abs=1e-4)
    else:
        assert torch.allclose(known, -0.1 * distance * (distance - 1) / 2, atol=1e-5)
        # Where the goal lies by row and by column is told apart, so each coordinate wants its median, straight away.
        assert blind == pytest.approx(best_of_drawn_paths(tasks), abs=1e-4)


def best_of_drawn_paths(tasks: GridGoal) -> float:
    """All paths that go up and right for at most eight steps and then stay, each played."""
    goals, best = tasks.goals(), -1e9
    cells = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    paid = -0.1 * (cells.unsqueeze(0) - goals.unsqueeze(1)).abs().sum(-1).float().mean(0).reshape(5, 5)
    for length in range(9):
        for moves in product((0, 1), repeat=length):
            column = row = 0
            total, t = 0.0, 0
            for right in moves:
                column, row, t = min(column + right, 4), min(row + 1 - right, 4), t + 1
                total += paid[column, row].item()
            best = max(best, total + (tasks.horizon - t) * paid[column, row].item())
    return best


def test_bounds_lie_around_what_is_learned() -> None:
    for name in WORLDS:
        found = versus.bounds_run(name, Spent(), Path())
        for where in ("inside", "outside"):
            assert found[where].get("blind", -math.inf) < found[where]["known"]
    flat = versus.bounds_run("arms", Spent(), Path())
    assert flat["inside"]["known"] == pytest.approx(5 / 6, abs=0.02)
