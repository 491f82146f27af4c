"""How the cost of a meta-gradient grows with the tasks, all at once and in chunks; `_build/bench_cost.png`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from metarl_lite.lesson import plot

from .rows import Row, row

SIZES, CHUNK = [1, 4, 16, 20, 64, 256, 1024], 20
AT_ONCE = 64  # all at once, no more than so many


def one_cost(num_tasks: int, chunk: int) -> dict[str, float]:
    """Seconds and peak memory of one meta-gradient in a fresh process; `chunk` 0 means all tasks at once."""
    repeats = "3" if num_tasks <= AT_ONCE else "1"
    command = [sys.executable, "-m", "tests.benchmarks.one_cost", str(num_tasks), str(chunk), repeats]
    result: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    # A figure of 0 would mean that nothing was measured.
    if min(result.values()) <= 0:
        raise SystemExit(f"{' '.join(command)} measured nothing: {result}")
    return result


def cost() -> Iterator[Row]:
    """Seconds and memory of a second-order meta-gradient, and a picture of both."""
    found: dict[int, dict[int, dict[str, float]]] = {0: {}, CHUNK: {}}
    most = {(20, 0): 1000.0, (1024, CHUNK): 4000.0}  # MB
    for chunk, seen in found.items():
        for n in SIZES:
            if chunk == 0 and n > AT_ONCE:
                continue
            seen[n] = one_cost(n, chunk)
            how = f"N = {n}, " + (f"chunks of {chunk}" if chunk else "all at once")
            yield row(f"meta-gradient, {how}", seen[n]["seconds"], "s")
            yield row(f"peak memory, {how}", seen[n]["peak_mb"], "MB", most.get((n, chunk)), at_least=False)
    draw(found)


def draw(found: dict[int, dict[int, dict[str, float]]]) -> None:
    """Seconds and memory against the number of tasks."""
    fig, axes = plot.figure(columns=2, width=8.0)
    labels = {"seconds": "seconds a meta-gradient", "peak_mb": "peak memory (MB)"}
    for ax, (key, label) in zip(axes, labels.items(), strict=True):
        for chunk, seen in found.items():
            name, role = (f"in chunks of {chunk}", "method") if chunk else ("all tasks at once", "rival")
            plot.curve(ax, list(seen), [one[key] for one in seen.values()], name, role=role)
        ax.set(xscale="log", yscale="log", xlabel="tasks N", ylabel=label)
    plot.legend(fig)
    plot.render(fig).save(Path("_build") / "bench_cost.png")
