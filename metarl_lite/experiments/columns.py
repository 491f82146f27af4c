"""The columns of the scoreboard: tasks whose optimum is known, and what the best behaviour earns that learns nothing.

A column says which game is played and what counts; `COLUMNS` has them all, and one more is one more entry there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..algorithms.configs import MAMLConfig
from ..oracles.bandits import eleven_arms_agnostic_value, eleven_arms_value
from ..oracles.bayes import bayes_optimal_value, dependent_arms_regret
from ..oracles.grid import gridnavi_agnostic_value, gridnavi_known_value, gridnavi_optimal_value
from ..oracles.navigation import goal_known_return
from ..oracles.posterior import known_mdp_value
from ..oracles.two_step import two_step_optimal_value
from ..tasks.bandits import BernoulliBandit, DependentBandit, ElevenArms
from ..tasks.base import TaskDistribution
from ..tasks.navigation import GridGoal, PointGoal
from ..tasks.tabular import TabularMDP
from ..tasks.two_step import TwoStep
from ..types import Task

#: A number that holds in expectation over tasks, or one for each task, `[N]`.
Value = float | Tensor
#: Chooses the actions of all tasks, knowing the step of the episode, the state and its luck: `choose(t, state, gen)`.
Choose = Callable[[int, Tensor, torch.Generator], Tensor]


class Bounds(NamedTuple):
    """What a return is measured between."""

    agnostic: Value  # of the best behaviour that learns nothing: the share 0
    optimum: Value  # of the best that learns: the share 1


@dataclass(frozen=True)
class Column:
    """A task with a known optimum, and the budgets of those who are trained on it."""

    title: str  # above the column
    game: str  # what is played and what counts
    optimum: str  # which optimum the share 1 is
    tasks: TaskDistribution
    episodes: int  # E, of a trial with a memory
    instances: int  # test tasks, the same for all
    bounds: Callable[[Task], Bounds]  # of the trial's return, or of its last episode's
    blind: Choose  # the best behaviour that learns nothing
    gradient: MAMLConfig  # inner steps + 1, times episodes, are the trial
    memory: dict[str, Any] = field(default_factory=dict)  # fields of an RL2Config
    known: float | None = None  # the return if the task is told, where that is not the optimum
    last: bool = False  # whether only the last episode counts
    hidden: tuple[int, ...] = ()  # of a policy without memory: a table if there are none

    def counted(self, returns: Tensor) -> Tensor:
        """What counts of the returns of a trial's episodes `[N, E]`: their sum, or the last, `[N]`."""
        return returns[:, -1] if self.last else returns.sum(1)


def share(returns: Value, bounds: Bounds) -> tuple[float, float | None]:
    r"""The share of the possible that was reached, and its standard error over tasks.

    $$ \hat s = \frac{\sum_i (R_i - R_i^{0})}{\sum_i (R_i^{*} - R_i^{0})}, \qquad
       \mathrm{se}(\hat s) = \frac{1}{\sqrt N\, (\bar R^{*} - \bar R^{0})}
       \operatorname{sd}_i \big( R_i - R_i^{0} - \hat s\, (R_i^{*} - R_i^{0}) \big) $$

    where the optimum $R^*$ and the best without learning $R^0$ are those of each task, or their expectations.

    Args:
        returns: R, `[N]`; a single number is a mean, of which no error is known.
        bounds: of the column.
    """
    r, low, high = (torch.as_tensor(x, dtype=torch.float64) for x in (returns, *bounds))
    gained, span = r - low, high - low
    value = (gained.mean() / span.mean()).item()
    if not isinstance(returns, Tensor):
        return value, None
    rest = gained - value * span
    return value, (rest.std() / math.sqrt(len(rest)) / span.mean()).item()


def always(action: int) -> Choose:
    """Takes one action, whatever happens."""
    return lambda t, state, gen: torch.full(state.shape[:1], action)


def up_twice(t: int, state: Tensor, gen: torch.Generator) -> Tensor:
    """To the nearest cell of the grid that can be the goal, and stays: (0, 2)."""
    return torch.full(state.shape[:1], 1 if t < 2 else 0)


def stand_still(t: int, state: Tensor, gen: torch.Generator) -> Tensor:
    """Does not move."""
    return torch.zeros_like(state)


def _arms(task: Task) -> Bounds:
    return Bounds(10 / 2, bayes_optimal_value(5, 10))


def _pair(task: Task) -> Bounds:
    return Bounds(20 / 2, 20 * 0.75 - dependent_arms_regret(None, 20))


def _eleven(task: Task) -> Bounds:
    return Bounds(eleven_arms_agnostic_value(5), eleven_arms_value(5))


def _rounds(task: Task) -> Bounds:
    return Bounds(10 / 2, two_step_optimal_value(10))


def _grid(task: Task) -> Bounds:
    return Bounds(gridnavi_agnostic_value(), gridnavi_optimal_value())


def _mdps(task: Task) -> Bounds:
    return Bounds(10.0 * 10, 10 * known_mdp_value(TabularMDP(), task))


def _plane(task: Task) -> Bounds:
    tasks = PointGoal()
    return Bounds(-tasks.horizon * task["goal"].norm(dim=-1), goal_known_return(tasks, task))


#: Every column by its key in the record.
COLUMNS: dict[str, Column] = {
    "arms": Column(
        "Five arms", "ten pulls of five Bernoulli arms, uniform priors; all ten count", "Bayes-optimal, exact",
        BernoulliBandit(5, horizon=1), 10, 40_000, _arms, always(0),
        MAMLConfig(iterations=60, num_tasks=100, episodes=5, inner_steps=1, inner_lr=10.0, outer_lr=0.03),
        {"iterations": 400, "num_tasks": 64, "discount": 1.0, "gae_lambda": 1.0}, known=10 * 5 / 6,
    ),
    "pair": Column(
        "Two arms", "twenty pulls of two dependent arms, $p_2 = 1 - p_1$ and $p_1$ uniform; all twenty count",
        "Bayes-optimal, exact",
        DependentBandit(horizon=1), 20, 40_000, _pair, always(0),
        MAMLConfig(iterations=60, num_tasks=100, episodes=4, inner_steps=4, inner_lr=3.0, outer_lr=0.03),
        {"iterations": 400, "num_tasks": 64, "discount": 1.0, "gae_lambda": 1.0}, known=20 * 0.75,
    ),
    "eleven": Column(
        "Eleven arms", "five pulls; one of ten arms pays 5, the eleventh tells which; all five count",
        "Bayes-optimal, exact",
        ElevenArms(horizon=1), 5, 10_000, _eleven, always(0), MAMLConfig(),
        {"iterations": 700, "discount": 1.0, "gae_lambda": 0.8, "entropy": 1.0, "lr": 0.02, "reward_scale": 0.2},
        known=25.0,
    ),
    "rounds": Column(
        "Two steps", "one session of ten rounds of the two-step task; where a choice commonly leads is "
        "always the same, which place pays is not", "Bayes-optimal, exact",
        TwoStep(20, vary_transitions=False), 1, 40_000, _rounds, always(0), MAMLConfig(),
        {"iterations": 200, "discount": 0.5, "lr": 0.02}, known=10 * (0.1 + 0.8 * 0.75),
    ),
    "grid": Column(
        "GridNavi", "four episodes of 15 steps on a 5 x 5 grid, a hidden goal; all four count", "Bayes-optimal, exact",
        GridGoal(), 4, 4000, _grid, up_twice,
        MAMLConfig(iterations=100, num_tasks=50, episodes=1, inner_steps=3, inner_lr=10.0, outer_lr=0.03),
        {"iterations": 200, "num_tasks": 64, "entropy": 0.05}, known=gridnavi_known_value(),
    ),
    "mdps": Column(
        "Random MDPs", "ten episodes of ten steps, 10 states, 5 actions; all ten count",
        "**a bound**: the process known; nobody knows the Bayes optimum, which is lower",
        TabularMDP(), 10, 4000, _mdps, always(0),
        MAMLConfig(iterations=60, num_tasks=40, episodes=2, inner_steps=4, inner_lr=10.0, outer_lr=0.03),
        {"iterations": 150, "trials": 4, "common_noise": True, "discount": 0.0, "final_discount": 0.95,
         "gae_lambda": 1.0, "value_weight": 0.0, "entropy": 0.1},
    ),
    "plane": Column(
        "2-D plane", "2-D navigation: one episode of 100 steps after practice that does not count: 20 "
        "episodes for gradient steps, one for a memory",
        "goal known, exact for each goal: three steps of practice tell it",
        PointGoal(), 2, 100, _plane, stand_still, MAMLConfig(),
        {"iterations": 60, "discount": 0.9, "lr": 3e-3, "entropy": 0.0, "reward_scale": 0.1},
        last=True, hidden=(64, 64),
    ),
}  # fmt: skip
