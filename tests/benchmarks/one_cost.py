"""Seconds and peak memory of a meta-gradient, in its own process: `python -m tests.benchmarks.one_cost 20 0 3`."""

from __future__ import annotations

import json
import sys

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.experiments import cost

if __name__ == "__main__":
    num_tasks, chunk, repeats = map(int, sys.argv[1:4])
    print(json.dumps(cost(MAMLConfig(num_tasks=num_tasks, chunk_size=chunk or None), repeats)))
