"""The families of tasks by name."""

from __future__ import annotations

from typing import Any

from .bandits import BernoulliBandit, DependentBandit, ElevenArms
from .base import TaskDistribution, blame_options
from .navigation import GridGoal, PointGoal
from .physics import CartPoleTasks, PendulumTasks
from .tabular import TabularMDP
from .two_step import TwoStep

#: Every family of the package by its name.
FAMILIES: dict[str, type[TaskDistribution]] = {
    family.name: family
    for family in (
        BernoulliBandit,
        DependentBandit,
        ElevenArms,
        TwoStep,
        TabularMDP,
        PointGoal,
        GridGoal,
        CartPoleTasks,
        PendulumTasks,
    )
}


def make_tasks(name: str, **options: Any) -> TaskDistribution:
    """A family by its name: `make_tasks("grid-goal", size=7)` is `GridGoal(size=7)`.

    Args:
        name: a key of `FAMILIES`.
        options: arguments of the family.

    Raises:
        ValueError: if there is no such family or no such option, naming those that there are.
    """
    if not isinstance(name, str) or name not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise ValueError(
            f"there is no family of tasks {name!r}; make_tasks knows {known}."
        )
    try:
        return FAMILIES[name](**options)
    except TypeError:
        blame_options(FAMILIES[name], options)
        raise
