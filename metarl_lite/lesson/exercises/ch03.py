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


def _mean_reward(rewards: Tensor) -> Tensor:
    return rewards.mean((0, 2))


def _running_mean(rewards: Tensor) -> Tensor:
    curve = _curve(rewards)
    return curve.cumsum(0) / torch.arange(1, len(curve) + 1)


def _running_total(rewards: Tensor) -> Tensor:
    return _curve(rewards).cumsum(0)


def _summed_over_tasks(rewards: Tensor) -> Tensor:
    return rewards.sum((0, 2))


def _score_cases() -> list[Case]:
    gen = generator(32)
    seeds, tasks = normal((5, 1), gen, F64), 3 * normal((1, 8), gen, F64)
    scores = seeds + tasks.exp() + normal((5, 8), gen, F64)
    scores[2] -= 30  # a seed that failed
    return [(scores,), (normal((10, 4), gen, F64).exp(),)]


def _score(scores: Tensor) -> Tensor:
    return iqm(scores.mean(1))


def _plain_mean(scores: Tensor) -> Tensor:
    return scores.mean()


def _trims_tasks(scores: Tensor) -> Tensor:
    return iqm(scores, dim=1).mean()


def _trims_both(scores: Tensor) -> Tensor:
    return iqm(iqm(scores, dim=1))


def _trims_single_scores(scores: Tensor) -> Tensor:
    return iqm(scores.flatten())


def _wrong_way_round(scores: Tensor) -> Tensor:
    return iqm(scores.mean(0))


def _median(scores: Tensor) -> Tensor:
    return scores.mean(1).quantile(0.5)


def _draw_cases() -> list[Case]:
    gen, cases = generator(33), list[Case]()
    for seeds, tasks, draws in ((5, 7, 4), (6, 6, 3)):
        scores = normal((seeds, 1), gen, F64) + normal((1, tasks), gen, F64) + normal((seeds, tasks), gen, F64)
        picks = (torch.randint(n, (draws, n), generator=gen) for n in (seeds, tasks))
        cases.append((scores, *picks))
    return cases


def _redraw(scores: Tensor, which_seeds: Tensor, which_tasks: Tensor) -> Tensor:
    tables = scores[which_seeds.unsqueeze(-1), which_tasks.unsqueeze(1)]  # [B, S, M]
    return iqm(tables.mean(-1))


def _seeds_only(scores: Tensor, which_seeds: Tensor, which_tasks: Tensor) -> Tensor:
    return iqm(scores.mean(1)[which_seeds])


def _tasks_only(scores: Tensor, which_seeds: Tensor, which_tasks: Tensor) -> Tensor:
    return iqm(scores[:, which_tasks].mean(-1), dim=0)


def _mean_over_seeds(scores: Tensor, which_seeds: Tensor, which_tasks: Tensor) -> Tensor:
    return scores[which_seeds.unsqueeze(-1), which_tasks.unsqueeze(1)].mean((1, 2))


def _swapped(scores: Tensor, which_seeds: Tensor, which_tasks: Tensor) -> Tensor:
    return iqm(scores[which_seeds.unsqueeze(-1), which_tasks.unsqueeze(1)].mean(1))


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
            "This is the mean reward of a step; a return is the sum over the episode's steps.": _mean_reward,
            "You average over the episodes so far; J_K looks at episode K alone.": _running_mean,
            "You add up the episodes so far: that is the paid objective, not the curve.": _running_total,
            "You sum over tasks; an expectation over tasks is a mean.": _summed_over_tasks,
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
            "The failed seed decides: this is the mean over seeds as well.": _plain_mean,
            "You trim tasks and average seeds; it should be the other way round.": _trims_tasks,
            "You trim tasks, too; hard tasks belong to the expectation.": _trims_both,
            "You trim single scores, so tasks and seeds alike; reduce one dimension at a time.": _trims_single_scores,
            "The dimensions are exchanged: rows are seeds, columns are tasks.": _wrong_way_round,
            "This is the median of the seeds; the IQM averages the middle half.": _median,
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
            "The drawn tasks are not used: this interval speaks of the given tasks only.": _seeds_only,
            "The drawn seeds are not used; it is they that vary most.": _tasks_only,
            "Over seeds you take the mean; the score of exercise 3.2 takes the IQM.": _mean_over_seeds,
            "You average over seeds and trim tasks; look which dimension is which.": _swapped,
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
        mistakes={
            "That would do if only one of the two had noise: the difference of two means has twice the variance.": 11,
            "With one seed fewer than you need the probability is still a little above 5 %: round up.": 21,
            "Solve for n, not for its root: the square is missing.": 7,
            "Three seeds get the order wrong in 27 % of all cases.": 3,
        },
        praise="For a difference half as large it would take four times as many.",
    ),
]
