"""Exercises of chapter 14: a fair budget, where one overtakes, a comparison to repair, how sure a lead is."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ...rng import generator, normal
from .base import Case, Exercise

F64 = torch.float64


# --- 14.1: the same budget --------------------------------------------------------------------------------------------


def _iterations(tasks: int, episodes: int, steps: int, horizon: int, iterations: int, trial: int) -> int:
    """How many trials of `trial` episodes cost what a run of MAML costs."""
    return iterations * tasks * (steps + 1) * episodes * horizon // (trial * horizon)


# A run of MAML: 20 tasks, 2 episodes, 4 inner steps, horizon 20, 375 iterations. Trials of 10 episodes, 32 a batch.
FAIR = _iterations(20, 2, 4, 20, 375, 10) // 32


# --- 14.2: where one overtakes ----------------------------------------------------------------------------------------


def _overtakes(quick: Tensor, slow: Tensor) -> int:
    ahead = (slow.cumsum(0) > quick.cumsum(0)).tolist()
    return next((k + 1 for k in range(len(ahead)) if all(ahead[k:])), 0)


def _first(ahead: Callable[[Tensor, Tensor], Tensor], add: int = 1) -> Callable[[Tensor, Tensor], int]:
    """The first episode at which something holds."""

    def answer(quick: Tensor, slow: Tensor) -> int:
        found = ahead(quick, slow).nonzero().flatten().tolist()
        return found[0] + add if found else 0

    return answer


def _episode_wise(quick: Tensor, slow: Tensor) -> int:
    ahead = (slow > quick).tolist()
    return next((k + 1 for k in range(len(ahead)) if all(ahead[k:])), 0)


def _from_zero(quick: Tensor, slow: Tensor) -> int:
    return max(_overtakes(quick, slow) - 1, 0)


def _curves() -> list[Case]:
    k = torch.arange(12, dtype=F64)
    flat, rising = torch.full((12,), 5.0, dtype=F64), 8 - 7 * 0.7**k
    bump = rising.clone()
    bump[0] = 6.0  # ahead at first, then behind, then ahead for good
    bump[1:4] = 1.0
    return [(flat, rising), (flat, bump), (flat, flat - 1), (rising[:5] - 1, rising[:5])]


# --- 14.3: a comparison to repair -------------------------------------------------------------------------------------


def _lead(support: Tensor, query: Tensor, memory: Tensor) -> Tensor:
    return torch.cat([support, query], 1).mean(1) - memory.mean(1)


def _lives() -> list[Case]:
    cases: list[Case] = []
    for seed, (tasks, before, after) in enumerate(((4, 2, 6), (6, 3, 3))):
        gen = generator(seed)
        support = normal((tasks, before), gen, F64) - 3
        query, memory = normal((tasks, after), gen, F64) + 2, normal((tasks, before + after), gen, F64)
        cases.append((support, query, memory))
    return cases


# --- 14.4: how sure a lead is -----------------------------------------------------------------------------------------


def _sure(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    seeds = (ours - theirs).mean((1, 2))  # [S]
    return seeds.mean(), seeds.std() / math.sqrt(len(seeds))


def _with_error(error: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The right lead, and another error."""
    return lambda ours, theirs: (_sure(ours, theirs)[0], error(ours, theirs))


def _of(values: Tensor) -> Tensor:
    return values.std() / math.sqrt(values.numel())


def _apart(ours: Tensor, theirs: Tensor) -> Tensor:
    return (_of(ours.mean((1, 2))).square() + _of(theirs.mean((1, 2))).square()).sqrt()


def _seeds() -> list[Case]:
    cases: list[Case] = []
    for seed, shape in enumerate(((5, 40, 6), (8, 25, 4))):
        gen = generator(seed)
        luck = 3 * normal((1, *shape[1:]), gen, F64)  # of the tasks, which both meet
        ours, theirs = (
            normal(shape, gen, F64) + luck + 0.8 * normal((shape[0], 1, 1), gen, F64) + shift for shift in (1.0, 0.0)
        )
        cases.append((ours, theirs))
    return cases


EXERCISES = [
    Exercise(
        "14.1",
        "how many iterations are fair",
        reference=FAIR,
        form="a whole number",
        mistakes={
            "The episodes that judge the adapted policies are lived as well: every task costs S + 1 times E episodes, "
            "not S.": _iterations(20, 2, 3, 20, 375, 10) // 32,
            "Here only the episodes that are adapted from once are counted; there are four steps, and a judgement "
            "after them.": _iterations(20, 2, 0, 20, 375, 10) // 32,
            "As many iterations are not as many steps: compare what one iteration of either lives through.": 375,
            "This is the number of trials. An iteration has 32 of them.": _iterations(20, 2, 4, 20, 375, 10),
            "This is what it comes to if a trial of the memory were one episode. It is ten.": _iterations(
                20, 2, 4, 20, 375, 1
            )
            // 32,
            "Rounded up, it costs more than MAML does; take the last whole iteration.": FAIR + 1,
        },
        praise="Fewer iterations, the same experience: that is what makes the curves comparable.",
    ),
    Exercise(
        "14.2",
        "where one overtakes",
        reference=_overtakes,
        cases=_curves,
        mistakes={
            "This is where a single episode is better. What was lost before must be earned back first: compare "
            "the sums so far.": _episode_wise,
            "This is the first episode that is better. What was lost before must be earned back first: compare "
            "the sums so far.": _first(lambda quick, slow: slow > quick),
            "It is ahead here, but falls behind again later: from this K on it must stay ahead.": _first(
                lambda quick, slow: slow.cumsum(0) > quick.cumsum(0)
            ),
            "This counts the episodes from 0, K from 1.": _from_zero,
            "The two curves have changed places.": lambda quick, slow: _overtakes(slow, quick),
            "This is how often it is ahead. Asked for is from which K on.": lambda quick, slow: int(
                (slow.cumsum(0) > quick.cumsum(0)).sum()
            ),
        },
        praise="A method that learns later is the better one only for who lives long enough.",
    ),
    Exercise(
        "14.3",
        "a comparison to repair",
        reference=_lead,
        cases=_lives,
        mistakes={
            "This is the comparison as it was. Which episodes did MAML live, and which of them are counted?": (
                lambda support, query, memory: query.mean(1) - memory.mean(1)
            ),
            "Now the memory is excused from its first episodes as well. They cost something: count all, of both.": (
                lambda support, query, memory: query.mean(1) - memory[:, support.shape[1] :].mean(1)
            ),
            "The mean of two means counts a short part as much as a long one: every *episode* weighs the same.": (
                lambda support, query, memory: (support.mean(1) + query.mean(1)) / 2 - memory.mean(1)
            ),
            "The sign is turned: MAML less the memory.": lambda support, query, memory: -_lead(support, query, memory),
            "This is the lead of a whole life, not of an episode: take means.": (
                lambda support, query, memory: support.sum(1) + query.sum(1) - memory.sum(1)
            ),
            "Each task has a lead of its own, [N].": (
                lambda support, query, memory: _lead(support, query, memory).mean()
            ),
        },
        praise="Adaptation is not free. What it is adapted from belongs to the bill.",
    ),
    Exercise(
        "14.4",
        "how sure a lead is",
        reference=_sure,
        cases=_seeds,
        parts=("the lead", "its standard error"),
        mistakes={
            "This error counts tasks as if each had been trained for anew. All tasks of a seed meet the same agent: "
            "first the mean within each seed, then the spread of these.": _with_error(
                lambda ours, theirs: _of((ours - theirs).mean(2))
            ),
            "This error counts every episode as independent. Those of one seed share an agent: first the mean within "
            "each seed, then the spread of these.": _with_error(lambda ours, theirs: _of(ours - theirs)),
            "This is the error over tasks, as if no other seed could have come out differently.": _with_error(
                lambda ours, theirs: _of((ours - theirs).mean((0, 2)))
            ),
            "Both met the same tasks, in the same order: take the difference seed by seed, and then its spread.": (
                _with_error(_apart)
            ),
            "This is the spread of one seed's lead. The mean of S of them is surer, by the root of S.": _with_error(
                lambda ours, theirs: (ours - theirs).mean((1, 2)).std()
            ),
            "The spread is divided by S; variances are, a standard deviation is by its root.": _with_error(
                lambda ours, theirs: (ours - theirs).mean((1, 2)).std() / len(ours)
            ),
            "The spread is about the mean of so few: divide by S - 1, as std() does.": _with_error(
                lambda ours, theirs: (ours - theirs).mean((1, 2)).std(correction=0) / math.sqrt(len(ours))
            ),
        },
        praise="Five seeds are five numbers, however many tasks each of them has met.",
    ),
]
