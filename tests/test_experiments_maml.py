"""Recorded runs of MAML: half a run is none."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.experiments import maml as experiments

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
