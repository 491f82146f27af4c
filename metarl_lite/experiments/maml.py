"""The recorded experiments of chapters 6 to 9: MAML and its relatives on 2-D navigation."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..algorithms.configs import MAMLConfig
from ..algorithms.maml import MAMLHistory, maml, meta_gradient
from ..evaluate.curves import adaptation_curve
from ..policies.mlp import MLPPolicy
from ..ram import keep_freed_memory
from ..rng import generator
from ..rollout import draw_noise
from ..tasks.finite import FiniteTasks
from ..tasks.navigation import PointGoal
from ..types import Task
from .base import FRESH_SEED, TEST_SEED, Experiment, budget

RELATIVES = ("maml", "fomaml", "reptile", "anil", "meta_sgd")  # of chapter 7
ESTIMATORS: dict[str, dict[str, Any]] = {  # of chapter 8
    "plain": {},
    "dice": {"inner_loss": "dice"},
    "linearised": {"inner_loss": "linearised"},
    "e_maml": {"algorithm": "e_maml"},
}
OUTER_UPDATES: dict[str, dict[str, Any]] = {  # of chapter 9
    "adam": {},
    "trpo": {},
    "promp": {"outer_lr": 1e-3},  # five steps of Adam an iteration, each shorter than those of "adam"
}
#: Chosen by the return on the test goals of TEST_SEED.
TUNED = MAMLConfig(iterations=200, inner_lr=0.03, gae_lambda=0.9, final_lr=0.0)


def navigation_run(
    seed: int,
    config: MAMLConfig,
    folder: Path,
    *,
    every: int,
    training_tasks: int | None = None,
    test_steps: int | None = None,
    test_seed: int = TEST_SEED,
    halved: bool = False,
    outer: str = "adam",
    **changes: Any,
) -> dict[str, Any]:
    """One seed of meta-training on 2-D navigation, tested every few iterations on 100 held-out goals.

    Args:
        seed: of the policy, the tasks and the noise.
        config: of the experiment.
        folder: not used; a run is short enough to be begun again.
        every: iterations from test to test.
        training_tasks: train on a pool of so many goals; None for ever new ones.
        test_steps: inner steps of the test, if others than those of training.
        test_seed: draws the goals and the noise of the test.
        halved: at the end, test once more with inner steps of half the size after the first.
        outer: the outer update.
        changes: fields in which this run differs from `config`.
    """
    config, tasks, gen = replace(config, **changes), PointGoal(), generator(seed)
    test_config = config if test_steps is None else replace(config, inner_steps=test_steps)
    test = tasks.sample(100, generator(test_seed))
    policy = MLPPolicy.for_tasks(tasks, gen)
    if config.algorithm == "meta_sgd":
        policy = policy.with_rates(config.inner_lr)
    train = tasks if training_tasks is None else FiniteTasks(tasks, tasks.sample(training_tasks, gen))
    iterations, seconds, curves = [0], [0.0], [_test(tasks, policy, test, test_config, test_seed)]
    clock = {"spent": 0.0, "since": time.process_time()}  # of this process: others count for little

    def record(iteration: int, policy: MLPPolicy, history: MAMLHistory) -> None:
        clock["spent"] += time.process_time() - clock["since"]  # evaluation is not training time
        if (iteration + 1) % every == 0:
            iterations.append(iteration + 1)
            seconds.append(round(clock["spent"], 3))
            curves.append(_test(tasks, policy, test, test_config, test_seed))
        clock["since"] = time.process_time()

    policy, history = maml(train, policy, config, gen, callback=record, outer=outer)
    if len(history.returns) < config.iterations:  # Ctrl-C: `maml` has said so; half a run is not to be recorded
        raise KeyboardInterrupt
    result: dict[str, Any] = {"iterations": iterations, "test_returns": curves, "training_seconds": seconds}
    result |= budget(history.steps, config.iterations)
    if halved:
        result["halved_returns"] = _test(tasks, policy, test, replace(test_config, later_steps=0.5), test_seed)
    if isinstance(train, FiniteTasks):
        result["returns_on_training_tasks"] = _test(tasks, policy, train.pool, config, test_seed)
    return result


def _test(tasks: PointGoal, policy: MLPPolicy, test: Task, config: MAMLConfig, seed: int) -> list[float]:
    curve = adaptation_curve(tasks, policy, test, config, generator(seed + 1))  # [inner_steps + 1, N]
    return [round(value, 4) for value in curve.mean(1).tolist()]


def cost_run(config: MAMLConfig, folder: Path, **changes: Any) -> dict[str, float]:
    """The cost of a meta-gradient, measured in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(cost, (replace(config, **changes), 5))


def cost(config: MAMLConfig, repeats: int) -> dict[str, float]:
    """Seconds (best of `repeats`) of one meta-gradient, and the memory that this process has needed since import."""
    torch.set_num_threads(1)
    keep_freed_memory()
    after_import = peak_mb()
    tasks, gen = PointGoal(), generator(0)
    policy = MLPPolicy.for_tasks(tasks, gen)
    if config.algorithm == "meta_sgd":
        policy = policy.with_rates(config.inner_lr)
    theta = policy.params()
    best = float("inf")
    for _ in range(repeats):
        task = tasks.sample(config.num_tasks, gen)
        start = time.perf_counter()
        noise = [
            draw_noise(tasks, policy, config.num_tasks, config.episodes, gen) for _ in range(config.inner_steps + 1)
        ]
        meta_gradient(tasks, policy, theta, task, config, noise)
        best = min(best, time.perf_counter() - start)
    return {"seconds": round(best, 4), "peak_mb": round(peak_mb() - after_import, 1)}


def peak_mb() -> float:
    """The most memory that this process has held so far, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: getrusage would count what the parent held when it started this process
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes there and KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


EXPERIMENTS: dict[str, Experiment] = {
    "maml-navigation": Experiment(
        "MAML on 2-D navigation, ten seeds",
        {f"seed {seed}": partial(navigation_run, seed, every=5) for seed in range(10)},
    ),
    "maml-best": Experiment(
        "MAML on 2-D navigation, tuned: lower lambda and inner rate, an outer rate that falls to zero; ten seeds",
        # These numbers were chosen on the test goals of the other experiments, so this one is tested on new goals.
        {f"seed {seed}": partial(navigation_run, seed, every=10, test_seed=FRESH_SEED) for seed in range(10)},
        TUNED,
    ),
    "meta-overfitting": Experiment(
        "MAML on 2-D navigation with few training goals, five seeds each: return on seen and on new goals",
        {
            f"{count} training tasks, seed {seed}": partial(navigation_run, seed, training_tasks=count, every=25)
            for seed in range(5)
            for count in (1, 2, 4, 8, 16, 64)
        },
    ),
    "maml-relatives": Experiment(
        "MAML, FOMAML, Reptile, ANIL and Meta-SGD on 2-D navigation, five seeds each",
        {
            f"{algorithm}, seed {seed}": partial(navigation_run, seed, every=10, algorithm=algorithm)
            for seed in range(5)
            for algorithm in RELATIVES
        },
    ),
    "maml-cost": Experiment(
        "Seconds and peak memory of one meta-gradient of MAML and its relatives",
        {
            f"{algorithm}, {steps} inner steps": partial(cost_run, algorithm=algorithm, inner_steps=steps)
            for steps in (1, 3)
            for algorithm in RELATIVES
        },
    ),
    "maml-rates": Experiment(
        "MAML on 2-D navigation over a grid of inner and outer learning rates, two seeds each",
        {
            f"inner {inner:g}, outer {outer:g}, seed {seed}": partial(
                navigation_run, seed, every=10, inner_lr=inner, outer_lr=outer
            )
            for seed in range(2)
            for inner in (0.01, 0.03, 0.1, 0.3, 1.0)
            for outer in (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
        },
        MAMLConfig(iterations=50),
    ),
    "maml-steps": Experiment(
        "Tuned MAML on 2-D navigation, trained with one and three inner steps, tested with 0 to 5; five seeds each",
        {
            f"{steps} inner steps, seed {seed}": partial(
                navigation_run, seed, every=25, inner_steps=steps, test_steps=5, halved=True, test_seed=FRESH_SEED
            )
            for seed in range(5)
            for steps in (1, 3)
        },
        TUNED,
    ),
    "maml-estimators": Experiment(
        "MAML on 2-D navigation with three Hessians (plain, DiCE, LVC), and with the sampling term; five seeds each",
        {
            f"{name}, seed {seed}": partial(navigation_run, seed, every=10, **changes)
            for seed in range(5)
            for name, changes in ESTIMATORS.items()
        },
    ),
    "maml-outer": Experiment(
        "MAML on 2-D navigation with Adam, TRPO and ProMP outside, five seeds each",
        {
            f"{outer}, seed {seed}": partial(navigation_run, seed, every=5, outer=outer, **changes)
            for seed in range(5)
            for outer, changes in OUTER_UPDATES.items()
        },
    ),
    "trpo-curvature": Experiment(
        "TRPO's Fisher matrix from 2 and from all 20 episodes of each task, three seeds each",
        {
            f"{count} episodes, seed {seed}": partial(
                navigation_run, seed, every=10, outer="trpo", curvature_episodes=count
            )
            for seed in range(3)
            for count in (2, 20)
        },
        MAMLConfig(iterations=50),
    ),
}
