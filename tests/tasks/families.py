"""One small member of every family, for tests that hold for all of them."""

from __future__ import annotations

from collections.abc import Callable

import torch

from metarl_lite.tasks import (
    BernoulliBandit,
    CartPoleTasks,
    DependentBandit,
    ElevenArms,
    GridGoal,
    PendulumTasks,
    PointGoal,
    TabularMDP,
    TaskDistribution,
    TwoStep,
)

SMALL: dict[str, Callable[[torch.dtype], TaskDistribution]] = {
    "bernoulli-bandit": lambda dtype: BernoulliBandit(3, horizon=6, dtype=dtype),
    "dependent-bandit": lambda dtype: DependentBandit(horizon=6, dtype=dtype),
    "eleven-arms": lambda dtype: ElevenArms(dtype=dtype),
    "two-step": lambda dtype: TwoStep(horizon=14, dtype=dtype),
    "tabular-mdp": lambda dtype: TabularMDP(4, 3, horizon=6, dtype=dtype),
    "point-goal": lambda dtype: PointGoal(horizon=12, dtype=dtype),
    "grid-goal": lambda dtype: GridGoal(4, horizon=7, dtype=dtype),
    "cartpole": lambda dtype: CartPoleTasks(horizon=40, dtype=dtype),
    "pendulum": lambda dtype: PendulumTasks(horizon=9, dtype=dtype),
}


def random_actions(tasks: TaskDistribution, shape: tuple[int, ...], gen: torch.Generator) -> torch.Tensor:
    if tasks.discrete:
        return torch.randint(tasks.action_size, shape, generator=gen)
    return 2 * tasks.action_scale * torch.randn((*shape, tasks.action_size), generator=gen, dtype=tasks.dtype)
