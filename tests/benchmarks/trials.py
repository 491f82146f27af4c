"""RL2 by the clock: the live bandit and GridNavi of chapters 11 and 12, five seeds each, against their exact optima."""

from __future__ import annotations

import statistics
import time
from typing import Any

from tqdm import tqdm

from metarl_lite.algorithms.configs import RL2Config
from metarl_lite.algorithms.rl2 import rl2
from metarl_lite.evaluate.curves import trial_returns
from metarl_lite.oracles import bayes_optimal_value, gridnavi_optimal_value
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.rng import generator
from metarl_lite.tasks import BernoulliBandit, GridGoal, TaskDistribution

from .rows import row

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


def rl2_rows() -> list[dict[str, Any]]:
    """Seconds, share of the Bayes optimum, and steps a second with updates; medians of five seeds."""
    bandit, grid = BernoulliBandit(5, horizon=1), GridGoal()
    optimum, best = bayes_optimal_value(5, 10), gridnavi_optimal_value(5, 15, 4)
    one(bandit, RL2Config(iterations=2), 0, 10)  # warm
    b = [one(bandit, BANDIT, seed, 500_000) for seed in tqdm(range(5), desc="rl2, bandit")]
    g = [one(grid, GRID, seed, 21_000) for seed in tqdm(range(5), desc="rl2, GridNavi")]
    shares = [(value - 5) / (optimum - 5) for _, value in b]
    steps = GRID.iterations * GRID.num_tasks * GRID.trials * GRID.episodes * grid.horizon
    return [
        *(row(f"rl2 bandit k=5, n=10: share of the optimum, seed {i}", s, "") for i, s in enumerate(shares)),
        row("rl2 bandit: share of the optimum, median", statistics.median(shares), "", 0.97),
        row("rl2 bandit: seconds of training, median", statistics.median(s for s, _ in b), "s", 20, at_least=False),
        *(row(f"rl2 GridNavi: return / optimum, seed {i}", value / best, "") for i, (_, value) in enumerate(g)),
        row("rl2 GridNavi: return / optimum, median", statistics.median(v for _, v in g) / best, "", 0.95),
        row("rl2 GridNavi: seconds of training, median", statistics.median(s for s, _ in g), "s", 40, at_least=False),
        row("rl2 GridNavi: with updates", steps / statistics.median(s for s, _ in g) / 1e3, "k env steps/s", 80),
    ]
