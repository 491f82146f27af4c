"""Exercises of chapter 12: what the clip lets through, minibatches of whole trials, the error of a difference."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...rng import generator, normal
from .base import Case, Exercise

Pair = tuple[Tensor, Tensor]


# --- 12.1: what reaches the gradient ----------------------------------------------------------------------------------


def _slope(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    ratio = (log_prob - old_log_prob).exp()
    beyond = ((ratio > 1 + clip) & (advantages > 0)) | ((ratio < 1 - clip) & (advantages < 0))
    return torch.where(beyond, 0, ratio * advantages)


def _both_sides(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Clips whatever lies outside, also where the step has made things worse."""
    ratio = (log_prob - old_log_prob).exp()
    return torch.where((ratio - 1).abs() > clip, 0, ratio * advantages)


def _never_clipped(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    return (log_prob - old_log_prob).exp() * advantages


def _the_gain(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    ratio = (log_prob - old_log_prob).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def _slope_in_ratio(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    open_ = _slope(log_prob, old_log_prob, advantages, clip) != 0
    return torch.where(open_, advantages, 0)


def _good_actions_only(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Treats every action as a good one: stops above 1 + clip, whatever the advantage."""
    ratio = (log_prob - old_log_prob).exp()
    return torch.where(ratio > 1 + clip, 0, ratio * advantages)


def _wrong_side(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    return _slope(log_prob, old_log_prob, -advantages, clip) * -1


def _upside_down(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    return _slope(old_log_prob, log_prob, advantages, clip)


def _difference_for_ratio(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    ratio = 1 + log_prob - old_log_prob
    beyond = ((ratio > 1 + clip) & (advantages > 0)) | ((ratio < 1 - clip) & (advantages < 0))
    return torch.where(beyond, 0, ratio * advantages)


def _steps() -> list[Case]:
    """Ratios on both sides of the clip for advantages of both signs, and two random batches."""
    ratio = torch.tensor([0.5, 0.9, 1.0, 1.1, 1.5], dtype=torch.float64)
    old = torch.tensor([-1.0, -2.0, -0.5, -1.5, -1.0], dtype=torch.float64)
    ones = torch.ones(5, dtype=torch.float64)
    cases: list[Case] = [(old + ratio.log(), old, 2 * ones, 0.2), (old + ratio.log(), old, -3 * ones, 0.2)]
    for seed in (0, 1):
        gen = generator(seed)
        new, old, advantages = (normal((3, 4), gen, torch.float64) for _ in range(3))
        cases.append((old + 0.4 * new - 2, old - 2, advantages, 0.1 + 0.2 * seed))
    return cases


# --- 12.2: minibatches of whole trials --------------------------------------------------------------------------------


def _whole(count: int, length: int, parts: int, gen: torch.Generator) -> list[Tensor]:
    steps = torch.arange(count * length).reshape(count, length)
    return [steps[part].flatten() for part in torch.randperm(count, generator=gen).tensor_split(parts)]


def _shuffled_steps(count: int, length: int, parts: int, gen: torch.Generator) -> list[Tensor]:
    return list(torch.randperm(count * length, generator=gen).tensor_split(parts))


def _in_order(count: int, length: int, parts: int, gen: torch.Generator) -> list[Tensor]:
    steps = torch.arange(count * length).reshape(count, length)
    return [steps[part].flatten() for part in torch.arange(count).tensor_split(parts)]


def _in_a_table(count: int, length: int, parts: int, gen: torch.Generator) -> list[Tensor]:
    steps = torch.arange(count * length).reshape(count, length)
    return [steps[part] for part in torch.randperm(count, generator=gen).tensor_split(parts)]


def _of_equal_size(count: int, length: int, parts: int, gen: torch.Generator) -> list[Tensor]:
    """`chunk` fills the first parts, and can give fewer of them than were asked for."""
    steps = torch.arange(count * length).reshape(count, length)
    return [steps[part].flatten() for part in torch.randperm(count, generator=gen).chunk(parts)]


def _trials_themselves(count: int, length: int, parts: int, gen: torch.Generator) -> list[Tensor]:
    return list(torch.randperm(count, generator=gen).tensor_split(parts))


def _remainder_lost(count: int, length: int, parts: int, gen: torch.Generator) -> list[Tensor]:
    steps, size = torch.arange(count * length).reshape(count, length), count // parts
    order = torch.randperm(count, generator=gen)
    return [steps[order[i * size : (i + 1) * size]].flatten() for i in range(parts)]


def _step_by_step(count: int, length: int, parts: int, gen: torch.Generator) -> list[Tensor]:
    """All first steps, then all second ones: whole trials, but their steps no longer follow one another."""
    steps = torch.arange(count * length).reshape(count, length)
    return [steps[part].T.flatten() for part in torch.randperm(count, generator=gen).tensor_split(parts)]


def _time_first(count: int, length: int, parts: int, gen: torch.Generator) -> list[Tensor]:
    """Takes the flat batch for one that runs through all trials at each step."""
    steps = torch.arange(count * length).reshape(length, count).T
    return [steps[part].flatten() for part in torch.randperm(count, generator=gen).tensor_split(parts)]


def _drawn_again(count: int, length: int, parts: int, gen: torch.Generator) -> list[Tensor]:
    steps = torch.arange(count * length).reshape(count, length)
    return [steps[part].flatten() for part in torch.randint(count, (count,), generator=gen).tensor_split(parts)]


def _cut_in_time(count: int, length: int, parts: int, gen: torch.Generator) -> list[Tensor]:
    steps = torch.arange(count * length).reshape(count, length)
    return [steps[:, part].flatten() for part in torch.randperm(length, generator=gen).tensor_split(parts)]


def _parted(answer: Callable[..., list[Tensor]], count: int, length: int, parts: int, seed: int) -> list[list[int]]:
    return [torch.as_tensor(part).tolist() for part in answer(count, length, parts, generator(seed))]


# --- 12.3: the error of a difference ----------------------------------------------------------------------------------


def _paired(mine: Tensor, theirs: Tensor) -> Pair:
    apart = mine - theirs
    return apart.mean(), apart.std() / len(apart) ** 0.5


def _unpaired(mine: Tensor, theirs: Tensor) -> Pair:
    count = len(mine)
    return mine.mean() - theirs.mean(), ((mine.var() + theirs.var()) / count).sqrt()


def _spread(mine: Tensor, theirs: Tensor) -> Pair:
    return (mine - theirs).mean(), (mine - theirs).std()


def _divided_by_count(mine: Tensor, theirs: Tensor) -> Pair:
    return (mine - theirs).mean(), (mine - theirs).std() / len(mine)


def _variance(mine: Tensor, theirs: Tensor) -> Pair:
    return (mine - theirs).mean(), (mine - theirs).var() / len(mine)


def _biased(mine: Tensor, theirs: Tensor) -> Pair:
    return (mine - theirs).mean(), (mine - theirs).std(correction=0) / len(mine) ** 0.5


def _added(mine: Tensor, theirs: Tensor) -> Pair:
    return mine.mean() - theirs.mean(), (mine.std() + theirs.std()) / len(mine) ** 0.5


def _subtracted(mine: Tensor, theirs: Tensor) -> Pair:
    return mine.mean() - theirs.mean(), (mine.std() - theirs.std()).abs() / len(mine) ** 0.5


def _turned(mine: Tensor, theirs: Tensor) -> Pair:
    return _paired(theirs, mine)


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
        "12.1",
        "what the clip lets through",
        reference=_slope,
        cases=_steps,
        tolerance=1e-6,
        mistakes={
            "You stop on both sides. Where a step has made a good action less likely, or a bad one likelier, nothing "
            "is clipped: the minimum takes the lower of the two gains.": _both_sides,
            "Nothing is clipped here. Which of the two gains does the minimum take, and has it a slope?": (
                _never_clipped
            ),
            "This is the gain itself. Asked for is its slope in log_prob.": _the_gain,
            "This is the slope in the ratio. The slope of the ratio in log_prob is the ratio itself.": _slope_in_ratio,
            "A good action stops above 1 + clip. And a bad one?": _good_actions_only,
            "The sides are exchanged: with a positive advantage the ratio is to grow, and stops counting above.": (
                _wrong_side
            ),
            "The ratio is upside down: the new probability stands above the old one.": _upside_down,
            "A difference of log-probabilities is not yet a ratio: take its exponential.": _difference_for_ratio,
        },
        praise="Inside the clip this is the policy gradient; beyond it the step falls silent.",
    ),
    Exercise(
        "12.2",
        "minibatches of whole trials",
        reference=_whole,
        cases=[(6, 4, 3, 0), (7, 3, 3, 1), (5, 1, 5, 2)],
        through=_parted,
        mistakes={
            "The steps are shuffled: each minibatch holds shreds of nearly every trial, and no memory can be "
            "unrolled over shreds.": _shuffled_steps,
            "The trials are whole, but always in the same order, so the same ones always share a minibatch. Draw "
            "`torch.randperm(count, generator=gen)`.": _in_order,
            "Each minibatch is a table with a row to a trial. Asked for is one row: flatten it.": _in_a_table,
            "The parts are not those of `tensor_split`, which differ by one trial at most.": _of_equal_size,
            "These are numbers of trials. Asked for are the numbers of their steps in the flat batch.": (
                _trials_themselves
            ),
            "Where `parts` does not divide `count`, trials are left out. `tensor_split` gives parts of unequal "
            "length.": _remainder_lost,
            "The trials are whole, but their steps do not follow one another: trial by trial, each in time.": (
                _step_by_step
            ),
            "In the flat batch the steps of one trial stand side by side: step j of trial i is number "
            "i * length + j.": _time_first,
            "The trials are drawn with replacement, so some come twice and others never. One pass takes each once.": (
                _drawn_again
            ),
            "You part the time and not the trials: each minibatch has some steps of every trial.": _cut_in_time,
        },
        praise="`ppo` indexes the first dimension of the batch, which comes to the same.",
    ),
    Exercise(
        "12.3",
        "the error of a difference",
        reference=_paired,
        cases=_scores,
        parts=("the mean difference", "its standard error"),
        tolerance=1e-6,
        mistakes={
            "This is the error for two independent sets of tasks. Both agents met the same ones: take the difference "
            "task by task first, and what a task gives to both is gone.": _unpaired,
            "This is the spread from task to task. The mean of many tasks varies less.": _spread,
            "The error of a mean falls with the root of the number of tasks.": _divided_by_count,
            "This is the variance of the mean; its root is the standard error.": _variance,
            "The spread is taken around the sample's own mean, so its square is divided by N - 1.": _biased,
            "Standard deviations do not add. And the tasks are the same for both.": _added,
            "Standard deviations do not subtract: two agents of equal spread can still differ on every task.": (
                _subtracted
            ),
            "The sign is turned: mine minus theirs.": _turned,
        },
        praise="Where luck is most of the spread, this is the cheapest way to a smaller error.",
    ),
]
