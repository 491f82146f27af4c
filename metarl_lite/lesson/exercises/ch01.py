"""Exercises of chapter 1: a constant behaviour, a drop with its standard error, a goal from three rewards."""

from __future__ import annotations

import torch
from torch import Tensor

from ...oracles.navigation import locate_goal
from ...rng import generator, normal, uniform
from .base import Case, Exercise


def _goals(seed: int, count: int) -> Tensor:
    return uniform((count, 2), generator(seed), torch.float64) - 0.5


def _constant_return(place: Tensor, goals: Tensor, horizon: int) -> Tensor:
    distance: Tensor = (goals - place).norm(dim=-1).mean()
    return -horizon * distance


def _distance_to_the_mean(place: Tensor, goals: Tensor, horizon: int) -> Tensor:
    distance: Tensor = (goals.mean(0) - place).norm()
    return -horizon * distance


def _squared(place: Tensor, goals: Tensor, horizon: int) -> Tensor:
    return -horizon * ((goals - place) ** 2).sum(-1).mean()


def _positive(place: Tensor, goals: Tensor, horizon: int) -> Tensor:
    return -_constant_return(place, goals, horizon)


def _one_step(place: Tensor, goals: Tensor, horizon: int) -> Tensor:
    return _constant_return(place, goals, 1)


def _summed(place: Tensor, goals: Tensor, horizon: int) -> Tensor:
    return _constant_return(place, goals, horizon) * len(goals)


def _per_coordinate(place: Tensor, goals: Tensor, horizon: int) -> Tensor:
    return -horizon * (goals - place).abs().mean()


def _drop_cases() -> list[Case]:
    """Returns that differ more from task to task than from episode to episode, as they do in the chapter."""
    gen = generator(11)
    cases: list[Case] = []
    for home, tasks, episodes in ((-2.0, 6, 4), (-0.7, 20, 5)):
        level = -40 + 15 * normal((tasks, 1), gen, torch.float64)
        cases.append((home, level + 3 * normal((tasks, episodes), gen, torch.float64)))
    return cases


def _drop(home: float, returns: Tensor) -> tuple[Tensor, Tensor]:
    drops = home - returns.mean(1)
    return drops.mean(), drops.std() / len(drops) ** 0.5


def _over_episodes(home: float, returns: Tensor) -> tuple[Tensor, Tensor]:
    drops = (home - returns).flatten()
    return drops.mean(), drops.std() / len(drops) ** 0.5


def _spread(home: float, returns: Tensor) -> tuple[Tensor, Tensor]:
    drops = home - returns.mean(1)
    return drops.mean(), drops.std()


def _by_the_number(home: float, returns: Tensor) -> tuple[Tensor, Tensor]:
    drops = home - returns.mean(1)
    return drops.mean(), drops.std() / len(drops)


def _of_episodes(home: float, returns: Tensor) -> tuple[Tensor, Tensor]:
    drops = home - returns.mean(0)
    return drops.mean(), drops.std() / len(drops) ** 0.5


def _biased(home: float, returns: Tensor) -> tuple[Tensor, Tensor]:
    drops = home - returns.mean(1)
    return drops.mean(), drops.std(unbiased=False) / len(drops) ** 0.5


def _other_sign(home: float, returns: Tensor) -> tuple[Tensor, Tensor]:
    mean, error = _drop(home, returns)
    return -mean, error


def _goal_cases() -> list[Case]:
    cases: list[Case] = []
    places = torch.tensor([[[0.1, 0.0], [0.0, 0.1], [0.0, 0.0]], [[0.3, -0.2], [-0.1, 0.25], [0.4, 0.1]]]).double()
    for positions, goal in zip(places, _goals(5, 2), strict=True):
        cases.append((positions, -(positions - goal).norm(dim=1)))
    return cases


def _find_goal(positions: Tensor, rewards: Tensor) -> Tensor:
    return locate_goal(positions, -rewards)


def _solve(positions: Tensor, size: Tensor, factor: float = 2) -> Tensor:
    goal: Tensor = torch.linalg.solve(factor * (positions[1:] - positions[0]), size[1:] - size[0])
    return goal


def _no_factor(positions: Tensor, rewards: Tensor) -> Tensor:
    return _solve(positions, (positions**2).sum(1) - rewards**2, factor=1)


def _not_squared(positions: Tensor, rewards: Tensor) -> Tensor:
    return _solve(positions, (positions**2).sum(1) + rewards)


def _sign_of_rho(positions: Tensor, rewards: Tensor) -> Tensor:
    return _solve(positions, (positions**2).sum(1) + rewards**2)


def _distances_only(positions: Tensor, rewards: Tensor) -> Tensor:
    return _solve(positions, -(rewards**2))


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
            "distances then.": _distance_to_the_mean,
            "These are squared distances; the reward is minus the distance itself.": _squared,
            "The sign is wrong: distance costs, so every return here is negative.": _positive,
            "This is what one step pays; an episode has `horizon` of them.": _one_step,
            "This is the sum over goals; the mean is asked for.": _summed,
            "You average over the two coordinates. A distance is one number for each goal: the norm of its "
            "offset.": _per_coordinate,
        },
        praise="With many goals from the square and place 0 it comes to -38.26.",
    ),
    Exercise(
        "1.2",
        "a drop and its standard error",
        reference=_drop,
        cases=_drop_cases,
        mistakes={
            "The mean is right, but the error counts every episode as an independent number. Episodes of one task "
            "share it: reduce each task to one number first.": _over_episodes,
            "The second number is the spread of the drops from task to task, not yet the error of their mean.": _spread,
            "The error of a mean falls with the root of the number of tasks, not with the number "
            "itself.": _by_the_number,
            "You averaged over tasks and took the spread over episodes. Which of the dimensions of [N, E] was "
            "drawn from p(T)?": _of_episodes,
            "Close: this is the standard deviation with N below the line. As an estimate for all tasks it needs "
            "N - 1.": _biased,
            "The error is right and the sign of the mean is not: a drop is positive where the new tasks go "
            "worse.": _other_sign,
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
            "Your matrix lacks the factor 2 of the equation.": _no_factor,
            "The right-hand side wants squares of the distances.": _not_squared,
            "Look at the sign with which the squared distances enter.": _sign_of_rho,
            "You left out the squared lengths of the positions; they do not cancel unless all are equally far from "
            "the origin.": _distances_only,
        },
        praise="This learner needs three rewards where the next chapters spend whole episodes: it knows geometry.",
    ),
]
