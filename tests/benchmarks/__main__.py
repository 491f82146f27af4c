"""The benchmark: `make bench`, or `python -m tests.benchmarks [sampling] [iteration] [maml] [rl2] [cost]`.

Prints one table and writes `_build/bench.json`, `{"versions": {...}, "rows": [{name, value, unit, target, holds}]}`,
and `_build/bench_cost.png`. One torch thread. Absolute targets are for a quiet machine; the matrix product that the
table begins with tells how yours compares.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.algorithms.maml import OUTER, MAMLHistory, maml
from metarl_lite.evaluate.curves import adaptation_curve
from metarl_lite.experiments import FRESH_SEED, TUNED
from metarl_lite.lesson import plot
from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.rollout import draw_noise, rollout
from metarl_lite.tasks import PointGoal

from .floor import floor
from .plain_numpy import plain_rollout
from .rows import row
from .trials import rl2_rows

BUILD = Path("_build")


def best_of(rounds: int, *works: tuple[int, Callable[[], object]]) -> list[float]:
    """The least seconds of each work, the works taken in turn: the machine's noise only ever adds, and to all alike.

    Each work is (how often in a round, what to do); a first call of each does not count.
    """
    best = [float("inf")] * len(works)
    for _, work in works:
        work()
    for _ in range(rounds):
        for i, (times, work) in enumerate(works):
            for _ in range(times):
                start = time.perf_counter()
                work()
                best[i] = min(best[i], time.perf_counter() - start)
    return best


def yardstick() -> list[dict[str, Any]]:
    """A matrix product, to compare machines by."""
    a = torch.ones(1000, 1000)
    return [row("yardstick: product of two 1000 x 1000 matrices", best_of(20, (1, lambda: a @ a))[0] * 1e3, "ms")]


def sampling() -> list[dict[str, Any]]:
    """Steps a second of 20 tasks x 20 episodes x 100 steps, beside a plain numpy environment with the same policy."""
    tasks, gen = PointGoal(), generator(0)
    policy = MLPPolicy.for_tasks(tasks, gen)
    task = tasks.sample(20, gen)
    noise = draw_noise(tasks, policy, 20, 20, gen)
    shared = tile(policy.params(), 20)
    own = {name: p.detach().contiguous() for name, p in shared.items()}
    params = {name: p.detach().numpy() for name, p in policy.params().items()}
    goals, action_noise = task["goal"].numpy(), noise.action.numpy()
    batch = rollout(tasks, policy, shared, task, 20, noise=noise)
    same = plain_rollout(params, goals, action_noise)
    if not np.allclose(same, batch.rewards.numpy(), atol=1e-3):
        raise SystemExit("the plain numpy environment and PointGoal disagree; the ratio would mean nothing")
    steps = float(batch.mask.sum())
    fresh, adapted, plain = best_of(
        4,
        (15, lambda: rollout(tasks, policy, shared, task, 20, gen)),
        (15, lambda: rollout(tasks, policy, own, task, 20, gen)),
        (1, lambda: plain_rollout(params, goals, action_noise)),
    )
    return [
        row("sampling, one initialisation for all tasks", steps / fresh / 1e6, "M env steps/s", 1.5),
        row("sampling, parameters of its own for each task", steps / adapted / 1e6, "M env steps/s", 1.5),
        row("plain numpy environment and policy", steps / plain / 1e6, "M env steps/s"),
        row("sampling (own parameters) / plain numpy", plain / adapted, "times", 15),
    ]


def maml_seed(seed: int, config: MAMLConfig, seconds: float) -> tuple[float, int, float, float]:
    """Trains for so many seconds. Seconds and iterations to -18, the last test return, and seconds an iteration.

    Evaluated every 5 iterations; -18 is reached where an evaluation and the next one are at least that.
    """
    tasks, gen = PointGoal(), generator(seed)
    policy = MLPPolicy.for_tasks(tasks, gen)
    test = tasks.sample(100, generator(FRESH_SEED))
    clock = {"spent": 0.0, "since": time.perf_counter()}
    tests: list[tuple[float, int, float]] = []  # seconds, iterations, return

    def test_now(iteration: int, policy: MLPPolicy, history: MAMLHistory) -> bool:
        clock["spent"] += time.perf_counter() - clock["since"]  # evaluation is not training time
        if (iteration + 1) % 5 == 0:
            curve = adaptation_curve(tasks, policy, test, config, generator(FRESH_SEED + 1))
            tests.append((clock["spent"], iteration + 1, curve[-1].mean().item()))
        clock["since"] = time.perf_counter()
        return clock["spent"] >= seconds

    maml(tasks, policy, config, gen, callback=test_now)
    reached = (one for one, after in pairwise(tests) if min(one[2], after[2]) >= -18)
    first = next(reached, (float("inf"), -1, 0.0))
    return first[0], first[1], tests[-1][2], tests[-1][0] / tests[-1][1]


def maml_rows() -> list[dict[str, Any]]:
    """MAML on 2-D navigation, five seeds: as it comes, for 20 s, and tuned, for 60 s or 250 iterations."""
    plain, tuned = MAMLConfig(iterations=100_000), replace(TUNED, iterations=250)
    works = [(config, seconds, seed) for config, seconds in ((plain, 20), (tuned, 60)) for seed in range(5)]
    found = [maml_seed(seed, config, seconds) for config, seconds, seed in tqdm(works, desc="maml, five seeds, twice")]
    seconds, iterations, last, each = (list(column) for column in zip(*found[:5], strict=True))
    rows = [row(f"seconds to -18, seed {seed}", value, "s") for seed, value in enumerate(seconds)]
    return [
        *rows,
        row("seconds to -18, median", statistics.median(seconds), "s", 5, at_least=False),
        row("seeds at -18 within 100 iterations and 20 s", sum(s <= 20 for s in seconds), "of 5", 4),
        row("iterations to -18, median", statistics.median(iterations), "iterations"),
        row("s per meta-iteration in training, median", statistics.median(each), "s"),
        row("test return after 20 s of training, median", statistics.median(last), ""),
        row("seconds to -18, tuned, median", statistics.median(r[0] for r in found[5:]), "s", 5, at_least=False),
        row("test return after 60 s of training, tuned, median", statistics.median(r[2] for r in found[5:]), "", -14),
    ]


def iteration() -> list[dict[str, Any]]:
    """One meta-iteration of 20 tasks x 20 episodes x 100 steps, and the floor under it, in turn."""
    tasks, gen = PointGoal(), generator(0)
    policy, config = MLPPolicy.for_tasks(tasks, gen), MAMLConfig(iterations=1)
    floors = [floor()]
    seconds = {outer: float("inf") for outer in OUTER}
    for _ in range(5):
        for outer in OUTER:
            start = time.perf_counter()
            maml(tasks, policy, config, gen, outer=outer)
            seconds[outer] = min(seconds[outer], time.perf_counter() - start)
        floors.append(floor())
    parts = {name: min(f[name] for f in floors) for name in floors[0]}
    targets = {"adam": 0.2, "trpo": 0.8}
    return [
        *(row(f"s per meta-iteration, {outer}", s, "s", targets.get(outer), False) for outer, s in seconds.items()),
        *(row(f"floor: {name}", value * 1e3, "ms") for name, value in parts.items()),
        row("floor / time, adam", parts["sum"] / seconds["adam"], "", 0.45),
    ]


def one_cost(num_tasks: int, chunk: int) -> dict[str, float]:
    """Seconds and peak memory of one meta-gradient in a fresh process; `chunk` 0 means all tasks at once."""
    repeats = "3" if num_tasks <= 64 else "1"
    command = [sys.executable, "-m", "tests.benchmarks.cost", str(num_tasks), str(chunk), repeats]
    # A figure of 0 would mean that nothing was measured.
    result: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    if min(result.values()) <= 0:
        raise SystemExit(f"{' '.join(command)} measured nothing: {result}")
    return result


def cost() -> list[dict[str, Any]]:
    """Cost of a second-order meta-gradient against the number of tasks, all at once and in chunks of 20."""
    sizes, chunk = [1, 4, 16, 64, 256, 1024], 20
    whole = {n: one_cost(n, 0) for n in tqdm([1, 4, 16, 20, 64], desc="cost, all at once")}
    parts = {n: one_cost(n, chunk) for n in tqdm(sizes, desc="cost, in chunks")}
    fig, axes = plot.figure(columns=2, width=8.0)
    for ax, key, label in zip(
        axes, ("seconds", "peak_mb"), ("seconds a meta-gradient", "peak memory (MB)"), strict=True
    ):
        plot.curve(ax, sorted(whole), [whole[n][key] for n in sorted(whole)], "all tasks at once", role="rival")
        plot.curve(ax, sizes, [parts[n][key] for n in sizes], f"in chunks of {chunk}", role="method")
        ax.set(xscale="log", yscale="log", xlabel="tasks N", ylabel=label)
    plot.legend(fig)
    plot.render(fig).save(BUILD / "bench_cost.png")
    rows = [row(f"meta-gradient, N = {n}, chunks of {chunk}", parts[n]["seconds"], "s") for n in sizes]
    rows += [row(f"peak memory, N = {n}, chunks of {chunk}", parts[n]["peak_mb"], "MB") for n in sizes[:-1]]
    rows += [
        row("meta-gradient, N = 20, all at once", whole[20]["seconds"], "s"),
        row("peak memory, N = 20, all at once", whole[20]["peak_mb"], "MB", 1000, at_least=False),
        row(f"peak memory, N = 1024, chunks of {chunk}", parts[1024]["peak_mb"], "MB", 4000, at_least=False),
    ]
    return rows


PARTS = {"sampling": sampling, "iteration": iteration, "maml": maml_rows, "rl2": rl2_rows, "cost": cost}


def main(names: list[str]) -> None:
    """Runs the named parts, or all."""
    unknown = set(names) - set(PARTS)
    if unknown:
        raise SystemExit(f"no benchmark {sorted(unknown)}; known are {sorted(PARTS)}")
    torch.set_num_threads(1)
    BUILD.mkdir(exist_ok=True)
    rows = yardstick()
    for name in names or PARTS:
        rows += PARTS[name]()
    versions = {name: metadata.version(name) for name in ("numpy", "torch", "gymnasium")}
    versions |= {"python": platform.python_version(), "machine": platform.machine()}
    (BUILD / "bench.json").write_text(json.dumps({"versions": versions, "rows": rows}, indent=1) + "\n")
    width = max(len(r["name"]) for r in rows)
    for r in rows:
        verdict = "" if r["target"] is None else f"target {r['target']:8s} " + ("holds" if r["holds"] else "MISSED")
        print(f"{r['name']:{width}s} {r['value']:12.3f} {r['unit']:14s} {verdict}")
    print(f"written: {BUILD / 'bench.json'}")


if __name__ == "__main__":
    main(sys.argv[1:])
