"""From here to gymnasium: the registered ids, and many environments by a name.

Importing the package registers an id for each family: `metarl_lite/BernoulliBandit-v0`,
`DependentBandit-v0`, `ElevenArms-v0`, `TwoStep-v0`, `TabularMDP-v0`, `PointGoal-v0`, `GridGoal-v0`, `CartPole-v0` and
`Pendulum-v0`. Keywords that `gymnasium.make` and
`gymnasium.make_vec` do not know are arguments of the family:

    gymnasium.make("metarl_lite/GridGoal-v0", size=7, task={"goal": [6, 3]})

What `terminated`, `truncated` and the action spaces mean is said in gym_env.py.
"""

from __future__ import annotations

from typing import Any

import gymnasium

from ..types import Task
from .base import TaskDistribution
from .families import FAMILIES
from .gym_env import TaskEnv
from .gym_tasks import GymTasks
from .gym_vector import TaskVectorEnv

__all__ = ["GymTasks", "TaskEnv", "TaskVectorEnv", "make_vec", "register"]

NAMESPACE = "metarl_lite"


def make_vec(
    tasks: TaskDistribution | str,
    num_envs: int,
    task: Task | None = None,
    **options: Any,
) -> TaskVectorEnv:
    """A vector environment of a family, its name, or its gymnasium id; the arguments are `TaskVectorEnv`'s.

    Raises:
        ValueError: for an unknown name or id, a task that does not fit, or `num_envs` that is not positive.
    """
    if isinstance(tasks, str) and tasks.startswith(f"{NAMESPACE}/"):
        known = {gym_id(family): name for name, family in FAMILIES.items()}
        if tasks not in known:
            raise ValueError(
                f"there is no id {tasks!r}; make_vec knows {', '.join(sorted(known))}."
            )
        tasks = known[tasks]
    return TaskVectorEnv(tasks, num_envs, task, **options)


def register() -> None:
    """Makes the ids known to gymnasium; importing the package does it, and doing it again changes nothing."""
    for name, family in FAMILIES.items():
        if gym_id(family) not in gymnasium.registry:
            gymnasium.register(
                gym_id(family),
                entry_point=f"{__name__}:TaskEnv",
                vector_entry_point=f"{__name__}:TaskVectorEnv",
                kwargs={"tasks": name, "horizon": family().horizon},
                # No wrappers: a task is set where it is, and these environments
                # enforce the order of reset and step themselves.
                order_enforce=False,
                disable_env_checker=True,
            )


def gym_id(family: type[TaskDistribution]) -> str:
    """The family's id in gymnasium's registry: `metarl_lite/PointGoal-v0` for `PointGoal`."""
    return f"{NAMESPACE}/{family.__name__.removesuffix('Tasks')}-v0"
