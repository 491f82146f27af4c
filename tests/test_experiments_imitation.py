"""The recorded runs of imitation: half a run is none, and what is recorded is what it says."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from metarl_lite.apps.imitation import ImitationConfig, LinearExpert, imitation_error
from metarl_lite.apps.imitators import OneStep
from metarl_lite.experiments import imitation as experiments
from metarl_lite.oracles.imitation import best_step, conditioned_error, step_error
from metarl_lite.rng import generator

CONFIG = ImitationConfig(iterations=3, num_tasks=4)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments, "TEST_EXPERTS", 20)
    monkeypatch.setattr(experiments, "WAY_EXPERTS", 20)


def test_an_interrupted_run_is_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*given: Any) -> tuple[float, float]:
        signal.raise_signal(signal.SIGINT)
        return 0.0, 0.0

    with monkeypatch.context() as patch:
        patch.setattr(experiments, "imitation_error", interrupted)
        with pytest.raises(KeyboardInterrupt):
            experiments.imitation_run(CONFIG, tmp_path, method="one_step", seed=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", experiments.METHODS)
def test_a_run_repeats_and_says_what_was_learned(method: str, tmp_path: Path) -> None:
    first, again = (experiments.imitation_run(CONFIG, tmp_path, method=method, seed=1) for _ in range(2))
    assert first == again
    assert first != experiments.imitation_run(CONFIG, tmp_path, method=method, seed=2)
    assert first["total_steps"] == 3 * 4 * 25
    assert first["iterations"] == [1]
    assert len(first["test_errors"]) == 1
    assert list(first["by_pairs"]) == [str(n) for n in experiments.SHOWN]
    assert ("start" in first, "step" in first) == (method != "conditioned", method in ("one_step", "first_order"))


def test_what_is_tested_is_an_error_and_its_second_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a step whose error is exact: all of it, and without that of the posterior mean."""
    monkeypatch.setattr(experiments, "TEST_EXPERTS", 20_000)
    alpha = best_step(4, 7, 0.5)
    imitator = OneStep(4, generator(0), alpha)
    imitator._params["start"].zero_()
    found, exact = experiments.tested(imitator, 7), step_error(alpha, 4, 7, 0.5)
    assert abs(found["error"] - exact) < 4.5 * found["standard_error"]
    assert abs(found["apart"] - (exact - conditioned_error(4, 7, 0.5))) < 4.5 * found["standard_error_apart"]
    assert found["standard_error_apart"] < found["standard_error"]
    mean, error = imitation_error(LinearExpert(pairs=7), imitator.imitate, 20_000, generator(experiments.TEST_SEED))
    assert (found["error"], found["standard_error"]) == (round(mean, 5), round(error, 5))
