"""The command line: `python -m metarl_lite reproduce maml-navigation`, and `list` for all that is recorded."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from .checkpoint import write_atomically
from .evaluate import adaptation_curve
from .maml import History, MAMLConfig, maml
from .policies import MLPPolicy
from .rng import generator
from .tasks.base import FiniteTasks
from .tasks.navigation import PointGoal

try:
    import typer
except ImportError:
    raise SystemExit("the command line needs typer: python -m pip install typer rich") from None

TEST_SEED = 1_000_003  # of the held-out tasks; no training run uses it
RECORDED = Path(__file__).parent / "recorded"
Run = Callable[[MAMLConfig], dict[str, Any]]
app = typer.Typer(add_completion=False, help="Recorded results of metarl_lite.")


def navigation_run(seed: int, config: MAMLConfig, *, num_training_tasks: int | None, every: int) -> dict[str, Any]:
    """One seed of MAML on 2-D navigation, tested every few iterations on 100 held-out goals."""
    tasks, gen = PointGoal(), generator(seed)
    test = tasks.sample(100, generator(TEST_SEED))
    policy = MLPPolicy.for_tasks(tasks, gen)
    train = tasks if num_training_tasks is None else FiniteTasks(tasks, tasks.sample(num_training_tasks, gen))
    iterations, seconds, curves = [0], [0.0], [_test(tasks, policy, test, config)]
    clock = {"spent": 0.0, "since": time.perf_counter()}

    def record(iteration: int, policy: MLPPolicy, history: History) -> None:
        clock["spent"] += time.perf_counter() - clock["since"]  # evaluation is not training time
        if (iteration + 1) % every == 0:
            iterations.append(iteration + 1)
            seconds.append(round(clock["spent"], 3))
            curves.append(_test(tasks, policy, test, config))
        clock["since"] = time.perf_counter()

    policy, _ = maml(train, policy, config, gen, callback=record)
    result: dict[str, Any] = {"iterations": iterations, "test_returns": curves, "training_seconds": seconds}
    if isinstance(train, FiniteTasks):
        result["returns_on_training_tasks"] = _test(tasks, policy, train.pool, config)
    return result


def _test(tasks: PointGoal, policy: MLPPolicy, test: dict[str, torch.Tensor], config: MAMLConfig) -> list[float]:
    curve = adaptation_curve(tasks, policy, test, config, generator(TEST_SEED + 1))  # [inner_steps + 1, N]
    return [round(value, 4) for value in curve.mean(1).tolist()]


def maml_navigation() -> dict[str, Run]:
    """MAML on 2-D navigation, ten seeds, 100 iterations."""
    return {f"seed {seed}": partial(navigation_run, seed, num_training_tasks=None, every=5) for seed in range(10)}


def meta_overfitting() -> dict[str, Run]:
    """MAML on 2-D navigation with few training goals, five seeds each: return on seen and on new goals."""
    return {
        f"{count} training tasks, seed {seed}": partial(navigation_run, seed, num_training_tasks=count, every=25)
        for seed in range(5)
        for count in (1, 2, 4, 8, 16, 64)
    }


EXPERIMENTS: dict[str, Callable[[], dict[str, Run]]] = {
    "maml-navigation": maml_navigation,
    "meta-overfitting": meta_overfitting,
}


@app.command("list")
def list_records() -> None:
    """Names of all recorded results, and whether each is there and complete."""
    for name, experiment in EXPERIMENTS.items():
        record = _read(RECORDED / f"{name}.json")
        done = f"{len(record['runs'])} of {len(experiment())} runs" if record else "not recorded"
        typer.echo(f"{name:20s} {done:16s} {(experiment.__doc__ or '').splitlines()[0]}")


@app.command()
def reproduce(name: str, folder: Path = RECORDED, quick: bool = False) -> None:
    """Runs a recorded experiment again. Interrupt it as you like: finished runs are kept, and the next call goes on.

    With --quick, two iterations of the first run only, in a temporary folder: a check that it works.
    """
    if name not in EXPERIMENTS:
        raise SystemExit(f"no experiment {name!r}; known are {', '.join(EXPERIMENTS)}.")
    torch.set_num_threads(1)
    config, runs = MAMLConfig(), EXPERIMENTS[name]()
    if quick:
        config, runs = MAMLConfig(iterations=2), dict(list(runs.items())[:1])
        folder = Path(tempfile.mkdtemp()) if folder == RECORDED else folder
    path = folder / f"{name}.json"
    record = _read(path)
    if record and record["config"] != asdict(config):
        raise SystemExit(f"{path} holds runs of another configuration; move it away, or choose another --folder.")
    record = record or {"name": name, "command": f"python -m metarl_lite reproduce {name}", "config": asdict(config)}
    record |= {"versions": _versions(), "machine": _machine()}
    record.setdefault("runs", {})
    for key, run in runs.items():
        if key not in record["runs"]:
            typer.echo(f"{name}: {key} ({len(record['runs']) + 1} of {len(runs)})")
            record["runs"][key] = run(config)
            write_atomically(path, (json.dumps(record, indent=1) + "\n").encode())
    typer.echo(f"{name}: {len(record['runs'])} runs in {path}")


def _read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def _versions() -> dict[str, str]:
    own = {name: metadata.version(name) for name in ("numpy", "torch", "gymnasium")}
    return {"python": platform.python_version(), **own}


def _machine() -> str:
    return f"{platform.machine()}, one thread of {os.cpu_count()} cores"


if __name__ == "__main__":
    app()
