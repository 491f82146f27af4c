"""One demonstration: what was recorded, what was chosen by it, and that a run repeats."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from metarl_lite.apps.demonstrations import TurnedPlane
from metarl_lite.apps.one_shot_training import OneShotConfig
from metarl_lite.experiments import one_shot
from metarl_lite.experiments.base import TEST_SEED
from metarl_lite.records.results import recorded
from metarl_lite.rng import generator

SMALL = OneShotConfig(iterations=2, num_tasks=4, hidden=8)


def test_the_best_of_the_recorded_rates_were_chosen() -> None:
    runs = recorded("one-shot-rates")["runs"]
    for method, rates in one_shot.RATES.items():
        reached = {rate: runs[one_shot.rate_name(method, rate)]["score"]["success"] for rate in rates}
        assert one_shot.CHOSEN[method] == max(reached, key=lambda rate: reached[rate])


def test_everyone_who_is_trained_has_seen_as_much() -> None:
    record = recorded("one-shot")
    for name, run in record["runs"].items():
        if "expert" in name:
            continue
        seen = run["demonstrations"]
        share = 0 if "scratch" in name else 0.5 if "same" in name else 1
        assert seen == share * 2 * record["config"]["num_tasks"] * record["config"]["iterations"], name
        assert run["env_steps"] == 20 * seen


def test_validation_is_not_the_test() -> None:
    tasks = TurnedPlane()
    seeds = [one_shot.VALIDATION_SEED, *(TEST_SEED + seed for seed in range(5))]
    goals = [tasks.sample(64, generator(seed))["goal"] for seed in seeds]
    apart = torch.cdist(torch.cat(goals), torch.cat(goals)).fill_diagonal_(1.0)
    assert apart.min() > 0


@pytest.mark.parametrize("name", ["mil, seed 0", "conditioned, until arrival, seed 0"])
def test_a_run_repeats(name: str, tmp_path: Path) -> None:
    runs = [one_shot.RUNS[name](SMALL, tmp_path) for _ in range(2)]
    assert runs[0]["scores"] == runs[1]["scores"]
    assert runs[0]["changes"] == runs[1]["changes"]
    assert set(runs[0]["scores"]) == set(one_shot.exams(TurnedPlane(), TEST_SEED, 2))


def test_exams_differ_in_one_thing_each() -> None:
    found = one_shot.exams(TurnedPlane(), 0, 2)
    one = found["1 shown"]
    for name, exam in found.items():
        same_world = torch.equal(exam.task["goal"], one.task["goal"])
        assert same_world
        assert torch.equal(exam.noise.reset, one.noise.reset) == (name != "same start")
        assert len(exam.shown) == int(name.split()[0]) if name[0].isdigit() else len(exam.shown) == 1
    assert not torch.equal(found["moves"].shown.batch.actions, one.shown.batch.actions)
    assert found["until arrival"].shown.batch.mask.sum() < one.shown.batch.mask.sum()
    assert torch.equal(found["3 shown"].shown.batch.actions[:, :1], one.shown.batch.actions)


def test_the_record_s_experts_are_experts() -> None:
    for seed in range(5):
        scores = recorded("one-shot")["runs"][f"expert, seed {seed}"]["scores"]
        assert scores["noise 0.0"]["success"] == 1.0
        assert 0.5 < scores["noise 0.05"]["success"] < 1.0  # worse, and good enough to be shown


@pytest.mark.slow
def test_cloning_from_scratch_repeats_its_record(tmp_path: Path) -> None:
    """No training before it: the same tasks, demonstrations and starts, to a few episodes of other arithmetic."""
    config = OneShotConfig()
    again = one_shot.cloned_run(config, tmp_path, name="scratch", seed=0)["scores"]
    stored = recorded("one-shot")["runs"]["scratch, seed 0"]["scores"]
    assert again["1 shown"]["success"] == pytest.approx(stored["1 shown"]["success"], abs=0.1)
