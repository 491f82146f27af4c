"""Seconds and peak memory of one meta-gradient, in a process of its own: `python -m tests.benchmarks.cost 20 0 3`."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import torch

from metarl_lite.maml import MAMLConfig, meta_gradient
from metarl_lite.policies import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.rollout import draw_noise
from metarl_lite.tasks import PointGoal


def peak_mb() -> float:
    """The most memory that this process has held so far, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: getrusage would count what the parent held when it started this process
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes there and KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main(num_tasks: int, chunk: int, repeats: int) -> None:
    """Prints the seconds of one meta-gradient and the peak memory less the process's size after import."""
    torch.set_num_threads(1)
    after_import = peak_mb()
    tasks, gen = PointGoal(), generator(0)
    policy = MLPPolicy.for_tasks(tasks, gen)
    theta = policy.params()
    config = MAMLConfig(num_tasks=num_tasks, chunk_size=chunk or None)
    best = float("inf")
    for _ in range(repeats):
        task = tasks.sample(num_tasks, gen)
        start = time.perf_counter()
        noise = [draw_noise(tasks, policy, num_tasks, config.episodes, gen) for _ in range(2)]
        meta_gradient(tasks, policy, theta, task, config, noise)
        best = min(best, time.perf_counter() - start)
    print(json.dumps({"seconds": best, "peak_mb": peak_mb() - after_import}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
