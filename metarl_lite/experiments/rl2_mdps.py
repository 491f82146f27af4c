"""The recorded experiment of chapter 12 on random decision processes: RL2 beside posterior sampling and greedy."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from ..algorithms.configs import RL2Config
from ..evaluate.curves import trial_returns
from ..oracles.posterior import Rule, greedy, known_mdp_value, learn_mdps, psrl
from ..policies.gru import GRUPolicy
from ..rng import generator
from ..tasks.tabular import TabularMDP
from ..types import Rollout, Task
from .base import TEST_SEED, Experiment
from .rl2 import compared, train

#: Decision processes: at first only the next reward counts, which already teaches to remember what was paid where.
MDPS = RL2Config(
    iterations=7000,
    num_tasks=32,
    trials=4,
    common_noise=True,
    discount=0.0,
    final_discount=0.95,
    gae_lambda=1.0,
    value_weight=0.0,
    entropy=0.1,
)
#: Longer trials start from the agent of the next shorter ones, which remembers well. What is left to learn is to
#: explore for longer: a pair that was tried pays at the next visits of its state, ten steps from one to the next.
FROM_SHORTER: dict[str, Any] = {
    "num_tasks": 8,
    "trials": 16,
    "lr": 5e-3,
    "entropy": 0.03,
    "discount": 0.97,
    "final_discount": 0.99,
}
TO_25: dict[str, Any] = {"start": "mdp-n10", "iterations": 1500, **FROM_SHORTER}
TO_50: dict[str, Any] = {"start": "mdp-n25-first", "iterations": 350, **FROM_SHORTER}
MDP_CELLS: dict[int, dict[str, Any]] = {
    25: {"start": "mdp-n25-first", "iterations": 2500, **FROM_SHORTER, "lr": 3e-3, "discount": 0.98},
    50: {"start": "mdp-n50-first", "iterations": 600, **FROM_SHORTER, "lr": 3e-3, "discount": 0.98},
    75: {"start": "mdp-n50", "iterations": 300, **FROM_SHORTER, "lr": 3e-3, "discount": 0.98},
    100: {"start": "mdp-n75", "iterations": 200, **FROM_SHORTER, "lr": 3e-3, "discount": 0.98},
}


def mdp_run(
    config: RL2Config, folder: Path, *, episodes: int, start: str | None = None, hidden: int = 128, keys: bool = False,
    instances: int = 4000, part: str = "", **changes: Any,
) -> dict[str, Any]:  # fmt: skip
    """One agent for random decision processes in trials of n episodes, beside the agents that count."""
    tasks, config = TabularMDP(), replace(config, episodes=episodes, **changes)
    name = f"mdp-n{episodes}{part}"
    policy, result = train(name, tasks, config, folder, start, hidden, seed=episodes, keys=keys)
    return result | mdp_scores(policy, tasks, episodes, instances) | {"changes": changes}


def mdp_scores(policy: GRUPolicy, tasks: TabularMDP, episodes: int, instances: int) -> dict[str, Any]:
    """An agent and those that count, on the same decision processes, by the mean rewards of what they do.

    "psrl 0" believes, wrongly, that mean rewards are 0 on average, and "known" is the exact value of knowing the
    process.
    """
    task = tasks.sample(instances, generator(TEST_SEED))
    mine = trial_returns(tasks, policy, task, episodes, generator(TEST_SEED + 1), score=mean_rewards_of_pairs)
    agents: dict[str, tuple[Rule, float, float]] = {  # rule, prior mean, epsilon
        "random": (greedy, 1.0, 1.0),
        "greedy": (greedy, 1.0, 0.0),
        "psrl": (psrl, 1.0, 0.0),
        "psrl 0": (psrl, 0.0, 0.0),
    }
    others = {"known": episodes * known_mdp_value(tasks, task).double()}
    for seed, (name, (rule, prior, epsilon)) in enumerate(agents.items(), TEST_SEED + 2):
        others[name] = learn_mdps(rule, tasks, task, episodes, generator(seed), prior, epsilon).double().sum(1)
    return compared(mine.double().sum(1), others)


def mean_rewards_of_pairs(task: Task, batch: Rollout) -> Tensor:
    """The mean reward of the state and action of every step of a decision process, summed over episodes, `[N, E]`."""
    pairs = batch.observations.argmax(-1) * task["rewards"].shape[-1] + batch.actions  # [N, E, T]
    return task["rewards"].flatten(1).gather(1, pairs.flatten(1)).reshape(pairs.shape).sum(-1)


EXPERIMENTS: dict[str, Experiment] = {
    "rl2-mdps": Experiment(
        "RL2 on random decision processes of ten states and five actions, beside the agents that count",
        {
            "n=10": partial(mdp_run, episodes=10, keys=True),
            "25 episodes, first": partial(mdp_run, episodes=25, part="-first", **TO_25),
            "50 episodes, first": partial(mdp_run, episodes=50, part="-first", **TO_50),
        }
        | {f"n={episodes}": partial(mdp_run, episodes=episodes, **options) for episodes, options in MDP_CELLS.items()},
        MDPS,
    ),
}
