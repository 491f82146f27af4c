"""Two versions in turn: what another revision takes, what this tree takes, and the ratio of the two.

Absolute times differ by a factor of two from minute to minute on a machine that others use; times of the processor,
taken in turn, hardly. Each version is a process of its own that does what it is told, see worker.py.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from metarl_lite.oracles import bayes_optimal_value, gridnavi_optimal_value
from tools.set_repo import ROOT

from .rows import Measurement, Row, row


class Version:
    """A process that measures one version of the package."""

    def __init__(self, tree: Path) -> None:
        # PYTHONSAFEPATH: the worker's own folder is not the first to be searched.
        environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
        environment |= {"TQDM_DISABLE": "1"}
        command = [sys.executable, str(Path(__file__).with_name("worker.py"))]
        self.process = subprocess.Popen(
            command, cwd=tree, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def do(self, work: str, **options: Any) -> dict[str, float]:
        """One piece of work: its seconds of the processor, and what it found."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"work": work, **options}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the measuring process ended with status {self.process.wait()}: its message is above")
        found: dict[str, float] = json.loads(answer)
        return found

    def close(self) -> None:
        """Ends the process, whatever it is doing, and closes its pipes."""
        self.process.kill()
        with self.process:
            pass


@dataclass(frozen=True)
class Pair:
    """Another revision and this tree."""

    old: Version
    new: Version


@contextmanager
def both(revision: str) -> Iterator[Pair]:
    """The two versions, ready to measure; the other one in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="against-") as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, revision], cwd=ROOT, check=True)
        versions = [Version(tree), Version(ROOT)]
        try:
            yield Pair(*versions)
        finally:
            for version in versions:
                version.close()
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)


def in_turn(*works: tuple[Version, dict[str, Any]], rounds: int, desc: str) -> list[list[dict[str, float]]]:
    """What each work found in each round, the works taken in turn; a first round of each does not count."""
    found: list[list[dict[str, float]]] = [[] for _ in works]
    for number in tqdm(range(rounds + 1), desc=desc, disable=None):
        for seen, (version, options) in zip(found, works, strict=True):
            answer = version.do(**options)
            if number:
                seen.append(answer)
    return found


def middle(answers: list[dict[str, float]], key: str = "seconds") -> float:
    return statistics.median(answer[key] for answer in answers)


def an_iteration(pair: Pair, name: str, target: float | None, work: dict[str, Any]) -> Iterator[Row]:
    """Seconds of the processor for some iterations of training."""
    old, new = (middle(found) for found in in_turn((pair.old, work), (pair.new, work), rounds=7, desc=name))
    count = work["iterations"]
    yield row(f"{name}: s of an iteration, there", old / count, "s")
    yield row(f"{name}: s of an iteration, here", new / count, "s")
    yield row(f"{name}: here / there", new / old, "", target, at_least=False)


def growth(pair: Pair, name: str, times: float, larger: dict[str, Any]) -> Iterator[Row]:
    """The cost of a task and step where there are more of them, over that of 20 tasks and 100 steps; here alone."""
    small = {"work": "meta", "iterations": 2}
    works = (pair.new, small), (pair.new, {"work": "meta", "iterations": 1, **larger})
    few, many = (middle(found) for found in in_turn(*works, rounds=3, desc=name))
    yield row(f"{name}: cost of a task and step / that at N = 20, T = 100", 2 * many / few / times, "", 1.1, False)


def training(pair: Pair, work: str, instances: int, floor: float, best: float, target: float) -> Iterator[Row]:
    """Five seeds of a whole run: seconds of the processor, and the share of the optimum that was reached."""
    there, here = [], []
    for seed in tqdm(range(5), desc=work, disable=None):
        for version, found in ((pair.old, there), (pair.new, here)):
            found.append(version.do(work, seed=seed, instances=instances))
    for where, found in (("there", there), ("here", here)):
        yield row(
            f"{work}, trained: share of the optimum, {where}", (middle(found, "return") - floor) / (best - floor), ""
        )
        yield row(f"{work}, trained: seconds, {where}", middle(found), "s")
    yield row(f"{work}, trained: seconds, here / there", middle(here) / middle(there), "", target, at_least=False)


def measurements(pair: Pair) -> dict[str, Measurement]:
    """What can be measured against another revision, by name."""
    bandit, grid = bayes_optimal_value(5, 10), gridnavi_optimal_value(5, 15, 4)
    iterations: dict[str, tuple[float | None, dict[str, Any]]] = {
        "adam": (0.87, {"work": "meta", "iterations": 2}),
        "trpo": (None, {"work": "meta", "iterations": 1, "outer": "trpo"}),
        "bandit": (0.55, {"work": "bandit", "iterations": 20}),
        "gridnavi": (None, {"work": "gridnavi", "iterations": 2}),
    }
    return {
        **{f"iteration-{name}": partial(an_iteration, pair, name, *one) for name, one in iterations.items()},
        "growth-horizon": partial(growth, pair, "T = 400", 4, {"horizon": 400}),
        "growth-tasks": partial(growth, pair, "N = 1024", 1024 / 20, {"num_tasks": 1024}),
        "trained-bandit": partial(training, pair, "bandit", 100_000, 5.0, bandit, 0.6),
        "trained-gridnavi": partial(training, pair, "gridnavi", 21_000, 0.0, grid, 0.7),
    }
