"""Recorded runs of MAML: half a run is none."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.checkpoint import load
from metarl_lite.experiments import initialisations
from metarl_lite.experiments import maml as experiments
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.tasks import CartPoleTasks, PointGoal

CONFIG = MAMLConfig(iterations=3, num_tasks=2, episodes=2)


def test_an_interrupted_run_is_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tested: list[int] = []

    def test(*given: Any) -> list[float]:
        tested.append(len(tested))
        if len(tested) == 2:  # after the first iteration
            signal.raise_signal(signal.SIGINT)
        return [0.0, 0.0]

    monkeypatch.setattr(experiments, "_test", test)
    with pytest.raises(KeyboardInterrupt):
        experiments.navigation_run(0, CONFIG, tmp_path, every=1)
    assert len(tested) == 2
    result = experiments.navigation_run(0, CONFIG, tmp_path, every=1)
    assert result["iterations"] == [0, 1, 2, 3]


def test_an_interrupted_initialisation_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the second iteration; then again, to the end; beside a training in one piece."""
    tasks = CartPoleTasks(horizon=5)
    monkeypatch.setitem(initialisations.FAMILIES, "toy", tasks)
    monkeypatch.setattr(initialisations, "TEST_TASKS", 4)
    apart, whole = tmp_path / "apart", tmp_path / "whole"
    apart.mkdir()
    whole.mkdir()

    class Interrupted(initialisations.Stopwatch):
        def __call__(self, iteration: int, policy: Any, history: Any) -> None:
            super().__call__(iteration, policy, history)
            if iteration == 1:
                signal.raise_signal(signal.SIGINT)

    def run(folder: Path) -> dict[str, Any]:
        return initialisations.initialisation_run(CONFIG, folder, family="toy", training="maml")

    with monkeypatch.context() as patch:
        patch.setattr(initialisations, "Stopwatch", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(apart)
    assert [path.name for path in apart.iterdir()] == ["toy-maml.state"]
    first, second = run(apart), run(whole)
    assert [path.name for path in apart.iterdir()] == ["toy-maml.safetensors"]
    first.pop("training_seconds"), second.pop("training_seconds")
    assert first == second
    assert first["env_steps"] == 3 * 2 * 4 * 5  # iterations, tasks, episodes of both halves, steps
    one, other = (load(folder / "toy-maml.safetensors") for folder in (apart, whole))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_initialisation_that_nobody_trained_is_that_of_the_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initialisations, "TEST_TASKS", 4)
    result = initialisations.initialisation_run(CONFIG, tmp_path, family="navigation", training="random")
    assert result["env_steps"] == result["total_steps"] == 0
    policy = MLPPolicy.for_tasks(PointGoal(), generator(0))
    again = load(tmp_path / "navigation-random.safetensors")
    assert all(torch.equal(p, again[name]) for name, p in policy.params().items())
