"""MAML or RL2: every world plays, every training costs what it says, and outside is outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from metarl_lite.experiments import versus
from metarl_lite.experiments.versus import METHODS, RATES, SHORT_POLES, WORLDS, Spent, World
from metarl_lite.rng import generator

LITTLE = Spent(iterations=2, instances=30)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", sorted(WORLDS))
def test_every_method_plays_in_every_world(name: str, method: str, tmp_path: Path) -> None:
    result = versus.versus_run(name, method, 0, lambda name, method: 1.0, LITTLE, tmp_path)
    world = WORLDS[name]
    assert len(result["inside"]) == len(result["outside"]) == world.episodes
    assert (result["env_steps"] == 0) == (method == "scratch")
    again = versus.versus_run(name, method, 0, lambda name, method: 1.0, LITTLE, tmp_path)
    assert {**again, "training_seconds": 0} == {**result, "training_seconds": 0}


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
        versus.rate_run("grid", "MAML", 1.0, LITTLE, tmp_path)


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
