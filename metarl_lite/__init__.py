"""metarl_lite: a small, complete package for meta-reinforcement learning, and the code of the book on it."""

from .algorithms.configs import MAMLConfig, RL2Config
from .algorithms.inner import adapt, inner_loop
from .algorithms.maml import maml, meta_gradient
from .algorithms.rl2 import rl2
from .checkpoint import load, save
from .evaluate.curves import adaptation_curve, trial_returns
from .evaluate.intervals import bootstrap_interval, iqm, t_interval
from .evaluate.learners import (
    fixed_learner,
    gradient_learner,
    memory_learner,
    oracle_learner,
    returns_by_episode,
)
from .lesson.check import check
from .lesson.show import show_diff, show_source, show_table
from .losses import policy_gradient
from .policies.base import tile
from .policies.belief import BeliefPolicy
from .policies.gru import GRUPolicy
from .policies.mlp import MLPPolicy
from .policies.player import player
from .records.actors import actor
from .records.results import recorded
from .returns import discounted_returns, gae, linear_baseline, with_advantages
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
    check_family,
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
    "check_family",
    "discounted_returns",
    "draw_noise",
    "fixed_learner",
    "gae",
    "generator",
    "gradient_learner",
    "inner_loop",
    "iqm",
    "linear_baseline",
    "load",
    "make_tasks",
    "maml",
    "memory_learner",
    "meta_gradient",
    "oracle_learner",
    "player",
    "policy_gradient",
    "recorded",
    "returns_by_episode",
    "rl2",
    "rollout",
    "save",
    "show_diff",
    "show_source",
    "show_table",
    "t_interval",
    "tile",
    "trial",
    "trial_returns",
    "with_advantages",
]
