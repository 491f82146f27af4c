"""MAML on 2-D navigation by the clock: acting, an iteration beside its floor, and training until it has learned."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from tqdm import tqdm

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.algorithms.maml import OUTER, MAMLHistory, maml
from metarl_lite.evaluate.curves import adaptation_curve
from metarl_lite.experiments import FRESH_SEED, TUNED
from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.rollout import draw_noise, rollout
from metarl_lite.tasks import PointGoal

from .floor import floor
from .plain_numpy import plain_rollout
from .rows import Row, row


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


def yardstick() -> Iterator[Row]:
    """A matrix product, to compare machines by."""
    a = torch.ones(1000, 1000)
    yield row("product of two 1000 x 1000 matrices", best_of(20, (1, lambda: a @ a))[0] * 1e3, "ms")


def sampling() -> Iterator[Row]:
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
    yield row("sampling, one initialisation for all tasks", steps / fresh / 1e6, "M env steps/s", 1.5)
    yield row("sampling, parameters of its own for each task", steps / adapted / 1e6, "M env steps/s", 1.5)
    yield row("plain numpy environment and policy", steps / plain / 1e6, "M env steps/s")
    yield row("sampling (own parameters) / plain numpy", plain / adapted, "times", 15)


def iteration() -> Iterator[Row]:
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
    targets = {"adam": 0.2, "trpo": 0.8}
    for outer, least in seconds.items():
        yield row(f"s per meta-iteration, {outer}", least, "s", targets.get(outer), False)
    parts = {name: min(f[name] for f in floors) for name in floors[0]}
    for name, value in parts.items():
        yield row(f"floor: {name}", value * 1e3, "ms")
    yield row("floor / time, adam", parts["sum"] / seconds["adam"], "", 0.45)


def seconds_to(goal: float, config: MAMLConfig, seed: int, limit: float) -> tuple[float, int]:
    """Seconds and iterations of training until held-out tasks earn `goal`, infinite where it takes over `limit`.

    Evaluated every 5 iterations; the goal is reached where an evaluation and the next one are at least that.
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
        return clock["spent"] >= limit or (len(tests) > 1 and min(one[2] for one in tests[-2:]) >= goal)

    maml(tasks, policy, config, gen, callback=test_now)
    reached = (one for one, after in pairwise(tests) if min(one[2], after[2]) >= goal)
    first = next(reached, (float("inf"), -1, 0.0))
    return first[0], first[1]


def five_seeds(goal: float, config: MAMLConfig, limit: float, target: float, what: str) -> Iterator[Row]:
    """Seconds to a return, seed by seed, and their median."""
    found = []
    for seed in tqdm(range(5), desc=what, disable=None):
        found.append(seconds_to(goal, config, seed, limit))
        yield row(f"{what}, seed {seed}", found[-1][0], "s")
    yield row(f"{what}, median", statistics.median(s for s, _ in found), "s", target, at_least=False)
    yield row(f"{what}: iterations, median", statistics.median(n for _, n in found), "iterations")


def to_minus_18() -> Iterator[Row]:
    """MAML as it comes, until it earns -18 on held-out goals."""
    yield from five_seeds(-18, MAMLConfig(iterations=100_000), 20, 5, "seconds to -18")


def tuned() -> Iterator[Row]:
    """MAML as it was tuned for 250 iterations, until it earns -14."""
    yield from five_seeds(-14, replace(TUNED, iterations=250), 60, 60, "seconds to -14, tuned")
