"""Exercises of chapter 12, continued: the error of a difference."""

from __future__ import annotations

import torch
from torch import Tensor

from ...rng import generator, normal
from .base import Case, Exercise

Pair = tuple[Tensor, Tensor]


def _paired(mine: Tensor, theirs: Tensor) -> Pair:
    apart = mine - theirs
    return apart.mean(), apart.std() / len(apart) ** 0.5


def _of(apart: Tensor, error: Tensor) -> Pair:
    return apart.mean(), error


def _scores() -> list[Case]:
    """Two agents on the same tasks; what the tasks have in common is large, small, or of the opposite sign."""
    cases: list[Case] = []
    for seed, (count, common) in enumerate(((5, 3.0), (12, 0.2), (8, -1.0))):
        gen = generator(seed)
        luck, mine, theirs = (normal((count,), gen, torch.float64) for _ in range(3))
        cases.append((6 + common * luck + mine, 5 + abs(common) * luck + 2 * theirs))
    return cases


EXERCISES = [
    Exercise(
        "12.3",
        "the error of a difference",
        reference=_paired,
        cases=_scores,
        parts=("the mean difference", "its standard error"),
        tolerance=1e-6,
        mistakes={
            "This is the error for two independent sets of tasks. Both agents met the same ones: take the difference "
            "task by task first, and what a task gives to both is gone.": lambda mine, theirs: _of(
                mine - theirs, ((mine.var() + theirs.var()) / len(mine)).sqrt()
            ),
            "This is the spread from task to task. The mean of many tasks varies less.": lambda mine, theirs: _of(
                mine - theirs, (mine - theirs).std()
            ),
            "The error of a mean falls with the root of the number of tasks.": lambda mine, theirs: _of(
                mine - theirs, (mine - theirs).std() / len(mine)
            ),
            "This is the variance of the mean; its root is the standard error.": lambda mine, theirs: _of(
                mine - theirs, (mine - theirs).var() / len(mine)
            ),
            "The spread is taken around the sample's own mean, so its square is divided by N - 1.": (
                lambda mine, theirs: _of(mine - theirs, (mine - theirs).std(correction=0) / len(mine) ** 0.5)
            ),
            "N - 1 belongs to the variance. The error of the mean has N below its root.": lambda mine, theirs: _of(
                mine - theirs, (mine - theirs).std() / (len(mine) - 1) ** 0.5
            ),
            "The spread is measured from 0. It should be measured from the mean difference.": (
                lambda mine, theirs: _of(mine - theirs, ((mine - theirs).square().mean() / len(mine)).sqrt())
            ),
            "These are the sizes of the differences, without their signs: gains and losses should cancel.": (
                lambda mine, theirs: _paired((mine - theirs).abs(), 0 * mine)
            ),
            "Standard deviations do not add. And the tasks are the same for both.": lambda mine, theirs: _of(
                mine - theirs, (mine.std() + theirs.std()) / len(mine) ** 0.5
            ),
            "Standard deviations do not subtract: two agents of equal spread can still differ on every task.": (
                lambda mine, theirs: _of(mine - theirs, (mine.std() - theirs.std()).abs() / len(mine) ** 0.5)
            ),
            "The sign is turned: mine minus theirs.": lambda mine, theirs: _paired(theirs, mine),
            "The error is right. The first number is the share of tasks won; asked for is the mean difference.": (
                lambda mine, theirs: ((mine > theirs).double().mean(), _paired(mine, theirs)[1])
            ),
        },
        praise="Where luck is most of the spread, this is the cheapest way to a smaller error.",
    ),
]
