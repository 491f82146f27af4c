"""What an experiment is, and the seeds of what it is tested on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..algorithms.configs import MAMLConfig
from ..records.actors import WEIGHTS

TEST_SEED = 1_000_003  # of the held-out tasks; no training run uses it
FRESH_SEED = 2_000_003  # of other ones, for what was chosen by looking at those

#: One recorded run: it is given the configuration of its experiment, and a folder for files that it keeps.
Run = Callable[[Any, Path], dict[str, Any]]


def budget(steps: int, iterations: int, before: int = 0) -> dict[str, Any]:
    """What a training has cost, with what it began with, and when it stopped: in every record of one.

    Args:
        steps: of the environment, in this training.
        iterations: of it.
        before: steps of the agents that it began with, and of those that they began with.
    """
    return {
        "env_steps": steps,
        "total_steps": before + steps,
        "stopping": f"after {iterations} iterations; the last parameters are kept, whatever came before",
    }


class Stopwatch:
    """A callback of trainings that measures how long one takes, as if it were done in one piece: seconds of one core.

    The time of this process alone, so that whatever else a machine does counts for little.
    """

    def __init__(self) -> None:
        self.began, self.seen = time.process_time(), 0

    def __call__(self, iteration: int, policy: Any, history: Any) -> None:
        """Called after each iteration."""
        self.seen += 1

    def seconds(self, iterations: int) -> float:
        """Of all of so many iterations, however many were done before this process began."""
        return round((time.process_time() - self.began) * iterations / max(self.seen, 1), 1)


def weights_folder(folder: Path) -> Path:
    """The package's own records have their weights in the package's folder for them, others beside the record."""
    return WEIGHTS if folder.resolve() == WEIGHTS.with_name("recorded").resolve() else folder


@dataclass(frozen=True)
class Experiment:
    """Runs by name, what they have in common, and what they show."""

    summary: str
    runs: dict[str, Run]
    config: Any = field(default_factory=MAMLConfig)  # a MAMLConfig or an RL2Config; each run says how it differs
