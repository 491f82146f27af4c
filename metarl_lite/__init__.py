"""metarl_lite: a small, complete package for meta-reinforcement learning, and the code of the book on it."""

from .belief import BeliefPolicy
from .check import check, show_diff, show_source
from .checkpoint import actor, load, recorded, save
from .evaluate import adaptation_curve, bootstrap_interval, iqm, t_interval, trial_returns
from .losses import policy_gradient
from .maml import MAMLConfig, adapt, inner_loop, maml, meta_gradient
from .policies import MLPPolicy, tile
from .recurrent import GRUPolicy
from .returns import discounted_returns, gae, linear_baseline, with_advantages
from .rl2 import RL2Config, rl2
from .rng import generator
from .rollout import draw_noise, rollout, trial
from .tasks import (
    BernoulliBandit,
    CartPoleTasks,
    DependentBandit,
    ElevenArms,
    FiniteTasks,
    GridGoal,
    GymTasks,
    PendulumTasks,
    PointGoal,
    TabularMDP,
    TaskDistribution,
    TwoStep,
    make_tasks,
)
from .types import Diverged, Rollout

__version__ = "0.4.0.dev0"

__all__ = [
    "BeliefPolicy",
    "BernoulliBandit",
    "CartPoleTasks",
    "DependentBandit",
    "Diverged",
    "ElevenArms",
    "FiniteTasks",
    "GRUPolicy",
    "GridGoal",
    "GymTasks",
    "MAMLConfig",
    "MLPPolicy",
    "PendulumTasks",
    "PointGoal",
    "RL2Config",
    "Rollout",
    "TabularMDP",
    "TaskDistribution",
    "TwoStep",
    "actor",
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
    "rl2",
    "rollout",
    "save",
    "show_diff",
    "show_source",
    "t_interval",
    "tile",
    "trial",
    "trial_returns",
    "with_advantages",
]
