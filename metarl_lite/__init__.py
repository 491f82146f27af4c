"""metarl_lite: a small, complete package for meta-reinforcement learning, and the code of the book on it."""

from .check import check, show_diff, show_source
from .checkpoint import load, recorded, save
from .evaluate import adaptation_curve, bootstrap_interval, iqm, t_interval
from .losses import policy_gradient
from .maml import MAMLConfig, adapt, inner_loop, maml, meta_gradient
from .policies import MLPPolicy, tile
from .returns import discounted_returns, gae, linear_baseline, with_advantages
from .rng import generator
from .rollout import draw_noise, rollout
from .tasks import (
    BernoulliBandit,
    CartPoleTasks,
    FiniteTasks,
    GridGoal,
    GymTasks,
    PendulumTasks,
    PointGoal,
    TabularMDP,
    TaskDistribution,
    make_tasks,
)
from .types import Diverged, Rollout

__version__ = "0.2.0"

__all__ = [
    "BernoulliBandit",
    "CartPoleTasks",
    "Diverged",
    "FiniteTasks",
    "GridGoal",
    "GymTasks",
    "MAMLConfig",
    "MLPPolicy",
    "PendulumTasks",
    "PointGoal",
    "Rollout",
    "TabularMDP",
    "TaskDistribution",
    "adapt",
    "adaptation_curve",
    "bootstrap_interval",
    "check",
    "discounted_returns",
    "draw_noise",
    "gae",
    "generator",
    "inner_loop",
    "iqm",
    "linear_baseline",
    "load",
    "make_tasks",
    "maml",
    "meta_gradient",
    "policy_gradient",
    "recorded",
    "rollout",
    "save",
    "show_diff",
    "show_source",
    "t_interval",
    "tile",
    "with_advantages",
]
