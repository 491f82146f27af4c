"""What `against.py` has done in two versions of the package, each in a process of its own: a line in, a line out.

It uses names that both versions have, those of `metarl_lite` itself, and must run where `tests` is another version's.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from metarl_lite import (
    GRUPolicy,
    MAMLConfig,
    MLPPolicy,
    RL2Config,
    generator,
    make_tasks,
    maml,
    rl2,
    trial_returns,
)

BANDIT: dict[str, Any] = {
    "iterations": 1000, "episodes": 10, "lr": 0.02, "entropy": 0.05, "discount": 1.0, "gae_lambda": 1.0
}  # fmt: skip
GRID: dict[str, Any] = {
    "iterations": 139, "num_tasks": 64, "episodes": 4, "algorithm": "ppo", "epochs": 1, "gae_lambda": 0.95,
    "minibatches": 8,
}  # fmt: skip
FRESH_SEED = 2_000_003  # of the test tasks


def meta(iterations: int = 2, horizon: int = 100, outer: str = "adam", **config: Any) -> dict[str, float]:
    """Iterations of MAML on 2-D navigation."""
    tasks, gen = make_tasks("point-goal", horizon=horizon), generator(0)
    policy = MLPPolicy.for_tasks(tasks, gen)
    config = {"num_tasks": 20, **config}
    maml(tasks, policy, MAMLConfig(iterations=iterations, **config), gen, outer=outer)
    return {}


def recurrent(family: str, settings: dict[str, Any], instances: int, seed: int, **config: Any) -> dict[str, float]:
    """Iterations of RL2, and what a trial of so many fresh instances then earns."""
    tasks, gen = make_tasks(family, **({"horizon": 1} if family == "bernoulli-bandit" else {})), generator(seed)
    policy = GRUPolicy.for_tasks(tasks, gen)
    chosen = RL2Config(**(settings | config))
    start = time.process_time()
    policy, _ = rl2(tasks, policy, chosen, gen)
    spent = time.process_time() - start
    if not instances:
        return {"seconds": spent}
    test = generator(FRESH_SEED)
    returns = trial_returns(tasks, policy, tasks.sample(instances, test), chosen.episodes, test)
    return {"seconds": spent, "return": returns.double().sum(1).mean().item()}


def bandit(instances: int = 0, seed: int = 0, **config: Any) -> dict[str, float]:
    return recurrent("bernoulli-bandit", BANDIT, instances, seed, **config)


def gridnavi(instances: int = 0, seed: int = 0, **config: Any) -> dict[str, float]:
    return recurrent("grid-goal", GRID, instances, seed, **config)


WORKS: dict[str, Callable[..., dict[str, float]]] = {"meta": meta, "bandit": bandit, "gridnavi": gridnavi}

if __name__ == "__main__":
    torch.set_num_threads(1)
    for line in sys.stdin:
        order = json.loads(line)
        start = time.process_time()
        found = WORKS[order.pop("work")](**order)
        print(json.dumps({"seconds": time.process_time() - start, **found}), flush=True)
