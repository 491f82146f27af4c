"""Exercises of chapter 1: a constant behaviour, a drop with its standard error, a goal from three rewards."""

from __future__ import annotations

import torch
from torch import Tensor

from ...rng import generator, normal, uniform
from .base import Case, Exercise

Pair = tuple[Tensor, Tensor]


def _goals(seed: int, count: int) -> Tensor:
    return uniform((count, 2), generator(seed), torch.float64) - 0.5


def _constant_return(place: Tensor, goals: Tensor, horizon: int) -> Tensor:
    distance: Tensor = (goals - place).norm(dim=-1)
    return -horizon * distance.mean()


def _drop_cases() -> list[Case]:
    """Returns that differ more from task to task than from episode to episode, as they do in the chapter."""
    gen = generator(11)
    cases: list[Case] = []
    for home, tasks, episodes in ((-2.0, 6, 4), (-0.7, 20, 5)):
        level = -40 + 15 * normal((tasks, 1), gen, torch.float64)
        cases.append((home, level + 3 * normal((tasks, episodes), gen, torch.float64)))
    better_and_worse = torch.tensor([[1.0, 2.0], [-2.0, 0.0]], dtype=torch.float64)
    cases.append((0.5, better_and_worse))
    return cases


def _drop(home: float, returns: Tensor) -> Pair:
    drops = home - returns.mean(1)
    return drops.mean(), drops.std() / len(drops) ** 0.5


def _of(drops: Tensor, count: float) -> Pair:
    return drops.mean(), drops.std() / count


def _goal_cases() -> list[Case]:
    cases: list[Case] = []
    places = torch.tensor([[[0.1, 0.0], [0.0, 0.1], [0.0, 0.0]], [[0.3, -0.2], [-0.1, 0.25], [0.4, 0.1]]]).double()
    for positions, goal in zip(places, _goals(5, 2), strict=True):
        cases.append((positions, -(positions - goal).norm(dim=1)))
    return cases


def _find_goal(positions: Tensor, rewards: Tensor) -> Tensor:
    return _solve(positions, (positions**2).sum(1) - rewards**2)


def _solve(positions: Tensor, size: Tensor, factor: float = 2) -> Tensor:
    goal: Tensor = torch.linalg.solve(factor * (positions[1:] - positions[0]), size[1:] - size[0])
    return goal


EXERCISES = [
    Exercise(
        "1.1",
        "the return of a constant behaviour",
        reference=_constant_return,
        cases=[
            (torch.zeros(2, dtype=torch.float64), _goals(1, 7), 100),
            (torch.tensor([0.3, 0.4], dtype=torch.float64), _goals(2, 12), 30),
        ],
        mistakes={
            "This is the distance to the mean goal. Take the distance to each goal first, and the mean of those "
            "distances then.": lambda place, goals, horizon: -horizon * (goals.mean(0) - place).norm(),
            "These are squared distances; the reward is minus the distance itself.": (
                lambda place, goals, horizon: -horizon * ((goals - place) ** 2).sum(-1).mean()
            ),
            "The sign is wrong: distance costs, so every return here is negative.": (
                lambda place, goals, horizon: -_constant_return(place, goals, horizon)
            ),
            "This is what one step pays; an episode has `horizon` of them.": (
                lambda place, goals, horizon: _constant_return(place, goals, 1)
            ),
            "This is the sum over goals; the mean is asked for.": (
                lambda place, goals, horizon: _constant_return(place, goals, horizon) * len(goals)
            ),
            "These are the returns for each goal by itself; return their mean.": (
                lambda place, goals, horizon: -horizon * (goals - place).norm(dim=-1)
            ),
            "You average over the two coordinates. A distance is one number for each goal: the norm of its "
            "offset.": lambda place, goals, horizon: -horizon * (goals - place).abs().mean(),
            "A distance is the root of the sum of squares, not the sum of the absolute offsets.": (
                lambda place, goals, horizon: -horizon * (goals - place).abs().sum(-1).mean()
            ),
            "This is the norm of all offsets together. Each goal has a distance of its own: the norm runs over the "
            "last dimension.": lambda place, goals, horizon: -horizon * (goals - place).norm(),
            "The place is not used: these are distances from the origin.": (
                lambda place, goals, horizon: _constant_return(0 * place, goals, horizon)
            ),
        },
        praise="With many goals from the square and place 0 it comes to -38.26.",
    ),
    Exercise(
        "1.2",
        "a drop and its standard error",
        reference=_drop,
        cases=_drop_cases,
        parts=("the mean drop", "its standard error"),
        mistakes={
            "The mean is right, but the error counts every episode as an independent number. Episodes of one task "
            "share it: reduce each task to one number first.": (
                lambda home, returns: _of((home - returns).flatten(), returns.numel() ** 0.5)
            ),
            "The second number is the spread of the drops from task to task, not yet the error of their mean.": (
                lambda home, returns: _of(home - returns.mean(1), 1)
            ),
            "The error of a mean falls with the root of the number of tasks, not with the number "
            "itself.": lambda home, returns: _of(home - returns.mean(1), len(returns)),
            "The second number is the variance of the mean. Its root is the standard error.": (
                lambda home, returns: (_drop(home, returns)[0], _drop(home, returns)[1] ** 2)
            ),
            "The spread is that of the tasks, but it is divided by the root of the number of episodes. How many "
            "things were drawn from p(T)?": (lambda home, returns: _of(home - returns.mean(1), returns.numel() ** 0.5)),
            "You averaged over tasks and took the spread over episodes. Which of the dimensions of [N, E] was "
            "drawn from p(T)?": lambda home, returns: _of(home - returns.mean(0), returns.shape[1] ** 0.5),
            "Close: this is the standard deviation with N below the line. As an estimate for all tasks it needs "
            "N - 1.": lambda home, returns: (
                _drop(home, returns)[0],
                (home - returns.mean(1)).std(correction=0) / len(returns) ** 0.5,
            ),
            "The error is right and the sign of the mean is not: a drop is positive where the new tasks go "
            "worse.": lambda home, returns: (-_drop(home, returns)[0], _drop(home, returns)[1]),
            "The error is right. The first number is the mean return; how far is it below `home`?": (
                lambda home, returns: (returns.mean(), _drop(home, returns)[1])
            ),
            "A drop may be negative, where a new task goes better: no absolute values.": (
                lambda home, returns: _of((home - returns.mean(1)).abs(), len(returns) ** 0.5)
            ),
        },
        praise="The same two lines serve for every comparison between tasks in this book.",
    ),
    Exercise(
        "1.3",
        "a goal from three rewards",
        reference=_find_goal,
        cases=_goal_cases,
        tolerance=1e-6,
        mistakes={
            "Your matrix lacks the factor 2 of the equation.": (
                lambda positions, rewards: _solve(positions, (positions**2).sum(1) - rewards**2, factor=1)
            ),
            "The right-hand side wants squares of the distances.": (
                lambda positions, rewards: _solve(positions, (positions**2).sum(1) + rewards)
            ),
            "Look at the sign with which the squared distances enter.": (
                lambda positions, rewards: _solve(positions, (positions**2).sum(1) + rewards**2)
            ),
            "You left out the squared lengths of the positions; they do not cancel unless all are equally far from "
            "the origin.": lambda positions, rewards: _solve(positions, -(rewards**2)),
            "This is the goal mirrored at the origin: one side of the equation has the wrong sign.": (
                lambda positions, rewards: -_find_goal(positions, rewards)
            ),
            "This is the offset from the first position; add the position itself.": (
                lambda positions, rewards: _find_goal(positions, rewards) - positions[0]
            ),
        },
        praise="This learner needs three rewards where the next chapters spend whole episodes: it knows geometry.",
    ),
]
