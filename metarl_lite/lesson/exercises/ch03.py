"""Exercises on measuring: the adaptation curve, the score of a method, the bootstrap's heart, a number of seeds."""

from __future__ import annotations

import torch
from torch import Tensor

from ...evaluate.intervals import iqm
from ...rng import generator, normal
from .base import Case, Exercise

F64 = torch.float64


def _reward_cases() -> list[Case]:
    gen = generator(31)
    return [(normal(shape, gen, F64) + torch.arange(shape[1], dtype=F64)[:, None],) for shape in ((4, 3, 5), (6, 5, 2))]


def _curve(rewards: Tensor) -> Tensor:
    return rewards.sum(-1).mean(0)


def _score_cases() -> list[Case]:
    gen = generator(32)
    seeds, tasks = normal((5, 1), gen, F64), 3 * normal((1, 8), gen, F64)
    scores = seeds + tasks.exp() + normal((5, 8), gen, F64)
    scores[2] -= 30  # a seed that failed
    return [(scores,), (normal((10, 4), gen, F64).exp(),)]


def _score(scores: Tensor) -> Tensor:
    return iqm(scores.mean(1))


def _draw_cases() -> list[Case]:
    gen, cases = generator(33), list[Case]()
    for seeds, tasks, draws in ((5, 7, 4), (6, 6, 3)):
        scores = normal((seeds, 1), gen, F64) + normal((1, tasks), gen, F64) + normal((seeds, tasks), gen, F64)
        picks = (torch.randint(n, (draws, n), generator=gen) for n in (seeds, tasks))
        cases.append((scores, *picks))
    return cases


def _tables(scores: Tensor, which_seeds: Tensor, which_tasks: Tensor) -> Tensor:
    """The drawn seeds on the drawn tasks, `[B, S, M]`."""
    return scores[which_seeds.unsqueeze(-1), which_tasks.unsqueeze(1)]


def _redraw(scores: Tensor, which_seeds: Tensor, which_tasks: Tensor) -> Tensor:
    return iqm(scores[which_seeds.unsqueeze(-1), which_tasks.unsqueeze(1)].mean(-1))


def _pairs_off(scores: Tensor, which_seeds: Tensor, which_tasks: Tensor) -> Tensor:
    """Fails where the lists differ in length, as pairing off does."""
    return iqm(scores[which_seeds, which_tasks])


EXERCISES = [
    Exercise(
        "3.1",
        "an adaptation curve",
        reference=_curve,
        cases=_reward_cases,
        mistakes={
            "This is the mean reward of a step; a return is the sum over the episode's steps.": (
                lambda rewards: rewards.mean((0, 2))
            ),
            "You average over the episodes so far; J_K looks at episode K alone.": (
                lambda rewards: _curve(rewards).cumsum(0) / torch.arange(1, rewards.shape[1] + 1)
            ),
            "You add up the episodes so far: that is the paid objective, not the curve.": (
                lambda rewards: _curve(rewards).cumsum(0)
            ),
            "You sum over tasks; an expectation over tasks is a mean.": lambda rewards: rewards.sum((0, 2)),
            "These are the returns of each task by itself, [N, E]; the curve is their mean over tasks.": (
                lambda rewards: rewards.sum(-1)
            ),
            "You average over the episodes, [N]; the curve keeps them apart and averages over tasks.": (
                lambda rewards: rewards.sum(-1).mean(1)
            ),
            "You sum over the tasks and keep time: the return sums over the last dimension.": (
                lambda rewards: rewards.mean((0, 1))
            ),
        },
        tolerance=1e-6,
        praise="Its first number is the zero-shot return.",
    ),
    Exercise(
        "3.2",
        "the score of a method",
        reference=_score,
        cases=_score_cases,
        mistakes={
            "The failed seed decides: this is the mean over seeds as well.": lambda scores: scores.mean(),
            "You trim tasks and average seeds; it should be the other way round.": lambda scores: iqm(
                scores, dim=1
            ).mean(),
            "You trim tasks, too; hard tasks belong to the expectation.": lambda scores: iqm(iqm(scores, dim=1)),
            "You trim single scores, so tasks and seeds alike; reduce one dimension at a time.": (
                lambda scores: iqm(scores.flatten())
            ),
            "The dimensions are exchanged: rows are seeds, columns are tasks.": lambda scores: iqm(scores.mean(0)),
            "You trim the seeds anew on every task, so each task drops other seeds. First reduce each seed to one "
            "number.": lambda scores: iqm(scores, dim=0).mean(),
            "This is the median of the seeds; the IQM averages the middle half.": (
                lambda scores: scores.mean(1).quantile(0.5)
            ),
            "The mean over tasks is right. Reduce the seeds, too: one number for the method.": (
                lambda scores: scores.mean(1)
            ),
        },
        tolerance=1e-6,
        praise="Of five seeds the best and the worst now count nothing.",
    ),
    Exercise(
        "3.3",
        "seeds and tasks, drawn again",
        reference=_redraw,
        cases=_draw_cases,
        mistakes={
            "The drawn tasks are not used: this interval speaks of the given tasks only.": (
                lambda scores, which_seeds, which_tasks: iqm(scores.mean(1)[which_seeds])
            ),
            "The drawn seeds are not used; it is they that vary most.": (
                lambda scores, which_seeds, which_tasks: iqm(scores[:, which_tasks].mean(-1), dim=0)
            ),
            "Over seeds you take the mean; the score of exercise 3.2 takes the IQM.": (
                lambda scores, which_seeds, which_tasks: _tables(scores, which_seeds, which_tasks).mean((1, 2))
            ),
            "You average over seeds and trim tasks; look which dimension is which.": (
                lambda scores, which_seeds, which_tasks: iqm(_tables(scores, which_seeds, which_tasks).mean(1))
            ),
            "You trim seeds and tasks; of tasks the mean is taken.": (
                lambda scores, which_seeds, which_tasks: iqm(iqm(_tables(scores, which_seeds, which_tasks)))
            ),
            "You trim single scores of each table. First the mean over its tasks, then the IQM over its seeds.": (
                lambda scores, which_seeds, which_tasks: iqm(_tables(scores, which_seeds, which_tasks).flatten(1))
            ),
            "scores[rows, columns] pairs the lists off; every drawn seed is needed on every drawn task.": _pairs_off,
        },
        tolerance=1e-6,
        praise="The package multiplies by counts in place of building the tables; the result is the same.",
    ),
    Exercise(
        "3.4",
        "how many seeds",
        reference=22,
        tolerance=0.0,
        form="a whole number",
        mistakes={
            "That would do if only one of the two had noise: the difference of two means has twice the variance.": (
                11,
                10.824,
                10.8,
                10,
            ),
            "21.6 seeds cannot be run, and 21 are not quite enough: round up.": (21.65, 21.648, 21.6482, 21.6, 21.7),
            "With one seed fewer than you need the probability is still a little above 5 %: round up.": 21,
            "Solve for n, not for its root: the square is missing.": (7, 6.58, 6.6, 6),
            "Three seeds get the order wrong in 27 % of all cases.": 3,
            "1.96 leaves 2.5 % on each side. Only one of the sides is the wrong order: 1.645.": (31, 30.73, 30.7, 30),
            "The difference is half of one standard deviation: d = 0.5 stands below the line.": (2, 1.35, 1.353, 5.41),
        },
        praise="For a difference half as large it would take four times as many.",
    ),
]
