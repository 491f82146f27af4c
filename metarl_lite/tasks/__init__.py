"""Families of tasks, and gymnasium in both directions. Importing this registers the gymnasium ids."""

from .bandits import BernoulliBandit, DependentBandit, ElevenArms
from .base import FiniteTasks, TaskDistribution, index_task
from .families import FAMILIES, make_tasks
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
    "index_task",
    "make_tasks",
    "make_vec",
    "register",
]

register()
