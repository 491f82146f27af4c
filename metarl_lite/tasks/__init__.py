"""Families of tasks, and gymnasium in both directions. Importing this registers the gymnasium ids."""

from .bandits import BernoulliBandit, DependentBandit, ElevenArms
from .base import TaskDistribution, index_task
from .checks import check_family
from .families import FAMILIES, make_tasks
from .finite import FiniteTasks
from .gym import TaskEnv, TaskVectorEnv, make_vec, register
from .gym_tasks import GymTasks
from .navigation import GridGoal, PointGoal
from .physics import CartPoleTasks, PendulumTasks
from .tabular import TabularMDP
from .two_step import TwoStep

__all__ = [
    "FAMILIES",
    "BernoulliBandit",
    "CartPoleTasks",
    "DependentBandit",
    "ElevenArms",
    "FiniteTasks",
    "GridGoal",
    "GymTasks",
    "PendulumTasks",
    "PointGoal",
    "TabularMDP",
    "TaskDistribution",
    "TaskEnv",
    "TaskVectorEnv",
    "TwoStep",
    "check_family",
    "index_task",
    "make_tasks",
    "make_vec",
    "register",
]

register()
