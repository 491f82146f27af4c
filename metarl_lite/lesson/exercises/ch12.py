"""Exercises of chapter 12: what the clip lets through, minibatches of whole trials."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...rng import generator, normal
from .base import Case, Exercise

# --- 12.1: what reaches the gradient ----------------------------------------------------------------------------------


def _slope(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    ratio = (log_prob - old_log_prob).exp()
    too_far = torch.where(advantages > 0, ratio > 1 + clip, ratio < 1 - clip)
    return torch.where(too_far, 0, ratio * advantages)


def _ratio(log_prob: Tensor, old_log_prob: Tensor) -> Tensor:
    return (log_prob - old_log_prob).exp()


def _open(stopped: Callable[[Tensor, Tensor, float], Tensor]) -> Callable[..., Tensor]:
    """The slope with another rule for where it stops, of (ratio, advantages, clip)."""

    def answer(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
        ratio = _ratio(log_prob, old_log_prob)
        return torch.where(stopped(ratio, advantages, clip), 0, ratio * advantages)

    return answer


def _the_gain(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    ratio = _ratio(log_prob, old_log_prob)
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def _slope_in_ratio(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    return torch.where(_slope(log_prob, old_log_prob, advantages, clip) != 0, advantages, 0)


def _difference_for_ratio(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    ratio = 1 + log_prob - old_log_prob
    return torch.where(torch.where(advantages > 0, ratio > 1 + clip, ratio < 1 - clip), 0, ratio * advantages)


def _clamped(log_prob: Tensor, old_log_prob: Tensor, advantages: Tensor, clip: float) -> Tensor:
    return _ratio(log_prob, old_log_prob).clamp(1 - clip, 1 + clip) * advantages


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
    order = torch.randperm(count, generator=gen)
    return [steps[part].flatten() for part in order.tensor_split(parts)]


def _table(count: int, length: int) -> Tensor:
    return torch.arange(count * length).reshape(count, length)


def _order(count: int, gen: torch.Generator) -> Tensor:
    return torch.randperm(count, generator=gen)


def _remainder_lost(count: int, length: int, parts: int, gen: torch.Generator) -> list[Tensor]:
    size, order = count // parts, _order(count, gen)
    return [_table(count, length)[order[i * size : (i + 1) * size]].flatten() for i in range(parts)]


def _sorted_in_parts(count: int, length: int, parts: int, gen: torch.Generator) -> list[Tensor]:
    """The trials of each part in the order of their numbers."""
    return [_table(count, length)[part.sort().values].flatten() for part in _order(count, gen).tensor_split(parts)]


def _drawn_again(count: int, length: int, parts: int, gen: torch.Generator) -> list[Tensor]:
    drawn = torch.randint(count, (count,), generator=gen)
    return [_table(count, length)[part].flatten() for part in drawn.tensor_split(parts)]


def _cut_in_time(count: int, length: int, parts: int, gen: torch.Generator) -> list[Tensor]:
    return [_table(count, length)[:, part].flatten() for part in _order(length, gen).tensor_split(parts)]


def _batches() -> list[Case]:
    """Two of them differ in the seed alone."""
    return [
        (count, length, parts, generator(seed))
        for count, length, parts, seed in ((6, 4, 3, 0), (7, 3, 3, 1), (7, 3, 3, 3), (5, 1, 5, 2))
    ]


EXERCISES = [
    Exercise(
        "12.1",
        "what the clip lets through",
        reference=_slope,
        cases=_steps,
        tolerance=1e-6,
        mistakes={
            "You stop on both sides. Where a step has made a good action less likely, or a bad one likelier, nothing "
            "is clipped: the minimum takes the lower of the two gains.": _open(
                lambda ratio, advantages, clip: (ratio - 1).abs() > clip
            ),
            "Nothing is clipped here. Which of the two gains does the minimum take, and has it a slope?": _open(
                lambda ratio, advantages, clip: ratio < 0
            ),
            "This is the gain itself. Asked for is its slope in log_prob.": _the_gain,
            "This is the slope in the ratio. The slope of the ratio in log_prob is the ratio itself.": _slope_in_ratio,
            "A good action stops above 1 + clip. And a bad one?": _open(
                lambda ratio, advantages, clip: ratio > 1 + clip
            ),
            "A bad action stops below 1 - clip. And a good one?": _open(
                lambda ratio, advantages, clip: ratio < 1 - clip
            ),
            "The sides are exchanged: with a positive advantage the ratio is to grow, and stops counting above.": _open(
                lambda ratio, advantages, clip: torch.where(advantages < 0, ratio > 1 + clip, ratio < 1 - clip)
            ),
            "The sign is turned: this is the slope of a loss. Asked for is that of the gain.": (
                lambda log_prob, old, advantages, clip: -_slope(log_prob, old, advantages, clip)
            ),
            "The ratio is clamped, and its slope with it. Where the gain is flat, the slope is 0.": _clamped,
            "The ratio is upside down: the new probability stands above the old one.": (
                lambda log_prob, old, advantages, clip: _slope(old, log_prob, advantages, clip)
            ),
            "A difference of log-probabilities is not yet a ratio: take its exponential.": _difference_for_ratio,
            "This is the mean over the steps. Each has a slope of its own.": (
                lambda log_prob, old, advantages, clip: _slope(log_prob, old, advantages, clip).mean()
            ),
        },
        praise="Inside the clip this is the policy gradient; beyond it the step falls silent.",
    ),
    Exercise(
        "12.2",
        "minibatches of whole trials",
        reference=_whole,
        cases=_batches,
        mistakes={
            "The steps are shuffled: each minibatch holds shreds of nearly every trial, and no memory can be "
            "unrolled over shreds.": (
                lambda count, length, parts, gen: list(_order(count * length, gen).tensor_split(parts))
            ),
            "The trials are whole, but always in the same order, so the same ones always share a minibatch. Draw "
            "`torch.randperm(count, generator=gen)`.": (
                lambda count, length, parts, gen: [part.flatten() for part in _table(count, length).tensor_split(parts)]
            ),
            "The right trials share a minibatch, but they are sorted in it. They come in the order that was drawn.": (
                _sorted_in_parts
            ),
            "Each minibatch is a table with a row to a trial. Asked for is one row: flatten it.": (
                lambda count, length, parts, gen: [
                    _table(count, length)[part] for part in _order(count, gen).tensor_split(parts)
                ]
            ),
            "The parts are not those of `tensor_split`, which differ by one trial at most.": (
                lambda count, length, parts, gen: [
                    _table(count, length)[part].flatten() for part in _order(count, gen).chunk(parts)
                ]
            ),
            "`parts` is their number. Yours gives each minibatch so many trials.": (
                lambda count, length, parts, gen: [
                    _table(count, length)[part].flatten() for part in torch.split(_order(count, gen), parts)
                ]
            ),
            "These are numbers of trials. Asked for are the numbers of their steps in the flat batch.": (
                lambda count, length, parts, gen: list(_order(count, gen).tensor_split(parts))
            ),
            "Where `parts` does not divide `count`, trials are left out. `tensor_split` gives parts of unequal "
            "length.": _remainder_lost,
            "The trials are whole, but their steps do not follow one another: trial by trial, each in time.": (
                lambda count, length, parts, gen: [
                    _table(count, length)[part].T.flatten() for part in _order(count, gen).tensor_split(parts)
                ]
            ),
            "In the flat batch the steps of one trial stand side by side: step j of trial i is number "
            "i * length + j.": lambda count, length, parts, gen: [
                _table(length, count).T[part].flatten() for part in _order(count, gen).tensor_split(parts)
            ],
            "The trials are drawn with replacement, so some come twice and others never. One pass takes each once.": (
                _drawn_again
            ),
            "You part the time and not the trials: each minibatch has some steps of every trial.": _cut_in_time,
            "The order does not come from gen: the same seed gives another one every time.": (
                lambda count, length, parts, gen: [
                    _table(count, length)[part].flatten() for part in torch.randperm(count).tensor_split(parts)
                ]
            ),
        },
        praise="`ppo` indexes the first dimension of the batch, which comes to the same.",
    ),
]
