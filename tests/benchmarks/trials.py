"""RL2 by the clock: the live bandit and GridNavi of chapters 11 and 12, five seeds each, against their exact optima."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from tqdm import tqdm

from metarl_lite.algorithms.configs import RL2Config
from metarl_lite.algorithms.rl2 import rl2
from metarl_lite.evaluate.curves import trial_returns
from metarl_lite.oracles import bayes_optimal_value, gridnavi_optimal_value
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.rng import generator
from metarl_lite.tasks import BernoulliBandit, GridGoal, TaskDistribution

from .rows import Row, row

BANDIT = RL2Config(iterations=1000, episodes=10, lr=0.02, entropy=0.05, discount=1.0, gae_lambda=1.0)
GRID = RL2Config(iterations=139, num_tasks=64, episodes=4, algorithm="ppo", epochs=1, gae_lambda=0.95, minibatches=8)
FRESH_SEED = 2_000_003  # of the test tasks


def one(tasks: TaskDistribution, config: RL2Config, seed: int, instances: int) -> tuple[float, float]:
    """Trains a seed: seconds of training, and the mean return of a trial on so many fresh instances."""
    gen = generator(seed)
    policy = GRUPolicy.for_tasks(tasks, gen)
    start = time.perf_counter()
    policy, _ = rl2(tasks, policy, config, gen)
    seconds = time.perf_counter() - start
    test = generator(FRESH_SEED)
    task = tasks.sample(instances, test)
    return seconds, trial_returns(tasks, policy, task, config.episodes, test).double().sum(1).mean().item()


def bandit() -> Iterator[Row]:
    """Five arms, ten pulls, A2C: what is above chance, as a share of what can be."""
    tasks, optimum, seconds, shares = BernoulliBandit(5, horizon=1), bayes_optimal_value(5, 10), [], []
    one(tasks, RL2Config(iterations=2), 0, 10)  # warm
    for seed in tqdm(range(5), desc="rl2, bandit", disable=None):
        spent, value = one(tasks, BANDIT, seed, 100_000)  # a standard error of .002 in the share
        seconds.append(spent)
        shares.append((value - 5) / (optimum - 5))
        yield row(f"rl2 bandit k=5, n=10: share of the optimum, seed {seed}", shares[-1], "")
    yield row("rl2 bandit: share of the optimum, median", statistics.median(shares), "", 0.97)
    yield row("rl2 bandit: seconds of training, median", statistics.median(seconds), "s", 20, at_least=False)


def gridnavi() -> Iterator[Row]:
    """A hidden goal on a grid, four episodes, PPO: the return as a share of the Bayes optimum."""
    tasks, best, seconds, shares = GridGoal(), gridnavi_optimal_value(5, 15, 4), [], []
    for seed in tqdm(range(3), desc="rl2, GridNavi", disable=None):
        spent, value = one(tasks, GRID, seed, 21_000)
        seconds.append(spent)
        shares.append(value / best)
        yield row(f"rl2 GridNavi: return / optimum, seed {seed}", shares[-1], "")
    steps = GRID.iterations * GRID.num_tasks * GRID.trials * GRID.episodes * tasks.horizon
    middle = statistics.median(seconds)
    yield row("rl2 GridNavi: return / optimum, median", statistics.median(shares), "", 0.95)
    yield row("rl2 GridNavi: seconds of training, median", middle, "s", 40, at_least=False)
    yield row("rl2 GridNavi: with updates", steps / middle / 1e3, "k env steps/s", 80)
