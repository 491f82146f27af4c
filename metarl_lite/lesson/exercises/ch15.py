"""Exercises of chapter 15, part 1: several steps, when cloning wins, four changed trainings, a loop to mend."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...oracles.imitation import best_step, step_error
from ...rng import generator, normal
from .base import Case, Exercise

F64 = torch.float64


# --- 15.1: several steps ----------------------------------------------------------------------------------------------


def _apply(x: Tensor, k: Tensor) -> Tensor:
    return (x @ k.unsqueeze(-1)).squeeze(-1)


def _slope(k: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The gradient of half the mean squared error, [N, d]."""
    return _apply(x.mT, _apply(x, k) - y) / x.shape[1]


def _steps(start: Tensor, sizes: Tensor, x: Tensor, y: Tensor) -> Tensor:
    k = start.expand(len(x), -1)
    for size in sizes:
        k = k - size * _slope(k, x, y)
    return k


def _from_the_start(start: Tensor, sizes: Tensor, x: Tensor, y: Tensor) -> Tensor:
    k = start.expand(len(x), -1)
    return k - sizes.sum() * _slope(k, x, y)


def _first_only(start: Tensor, sizes: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return _steps(start, sizes[:1], x, y)


def _same_size(start: Tensor, sizes: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return _steps(start, sizes[0].expand(len(sizes)), x, y)


def _averaged(start: Tensor, sizes: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """One answer for all experts: the gradient of the mean of their losses."""
    k = start.expand(len(x), -1)
    for size in sizes:
        k = k - size * _slope(k, x, y) / len(x)
    return k


def _from_zero(start: Tensor, sizes: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return _steps(0 * start, sizes, x, y)


def _demonstrations() -> list[Case]:
    cases: list[Case] = []
    for seed, (tasks, pairs, d, steps) in enumerate(((3, 4, 2, 1), (3, 5, 4, 3), (1, 2, 3, 2), (2, 1, 3, 2))):
        gen = generator(seed)
        x, y, start = (normal(shape, gen, F64) for shape in ((tasks, pairs, d), (tasks, pairs), (d,)))
        sizes = torch.tensor([0.5, 0.3, 0.2], dtype=F64)[:steps]
        cases.append((start, sizes, x, y))
    return cases


# --- 15.2: when cloning wins ------------------------------------------------------------------------------------------


def _crossing(d: int, sigma: float) -> float:
    return (d + 1 + sigma**2) ** 2 / (d + 1)


# --- 15.3: four changed trainings -------------------------------------------------------------------------------------


def _error(alpha: float) -> float:
    return step_error(alpha, 4, 5, 0.5)


BEST = best_step(4, 5, 0.5)
PREDICTED = {
    "first order": _error(BEST),
    "summed": _error(BEST),
    "alpha fixed at 1": _error(1.0),
    "trained on 20 pairs": _error(best_step(4, 20, 0.5)),
}


# --- 15.4: a loop to mend ---------------------------------------------------------------------------------------------


def _half(k: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return ((_apply(x, k) - y) ** 2).mean(1) / 2


def _lesson_loss(
    start: Tensor, step: Tensor, x: Tensor, y: Tensor, new_x: Tensor, new_y: Tensor
) -> Tensor:  # fmt: skip
    k = start - step * _slope(start.expand(len(x), -1), x, y)
    return _half(k, new_x, new_y).mean()


def _stepped(start: Tensor, step: Tensor, slope: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return _half(start - step * slope, x, y).mean()


def _cut(start: Tensor, step: Tensor, x: Tensor, y: Tensor, new_x: Tensor, new_y: Tensor) -> Tensor:
    return _stepped(start, step, _slope(start.expand(len(x), -1), x, y).detach(), new_x, new_y)


def _step_cut(start: Tensor, step: Tensor, x: Tensor, y: Tensor, new_x: Tensor, new_y: Tensor) -> Tensor:
    return _lesson_loss(start, step.detach(), x, y, new_x, new_y)


def _meta_batches() -> list[Case]:
    cases: list[Case] = []
    for seed, (tasks, pairs, new, d) in enumerate(((3, 2, 4, 2), (4, 5, 20, 4), (2, 1, 3, 2))):
        gen = generator(10 + seed)
        shapes = ((tasks, pairs, d), (tasks, pairs), (tasks, new, d), (tasks, new))
        x, y, new_x, new_y = (normal(shape, gen, F64) for shape in shapes)
        start, step = normal((d,), gen, F64).requires_grad_(), torch.tensor(0.4, dtype=F64, requires_grad=True)
        cases.append((start, step, x, y, new_x, new_y))
    return cases


def _words_of_batch(start: Tensor, step: Tensor, x: Tensor, y: Tensor, new_x: Tensor, new_y: Tensor) -> str:
    tasks, pairs, d = x.shape
    return f"of {tasks} experts with d = {d}, {pairs} pairs shown and {new_x.shape[1]} new ones; step = {step.item():g}"


EXERCISES = [
    Exercise(
        "15.1",
        "several steps",
        reference=_steps,
        cases=_demonstrations,
        tolerance=1e-6,
        mistakes={
            "Every step takes the gradient at the start. The second is to take it where the first has led.": (
                _from_the_start
            ),
            "Only one step is taken: go through all the sizes.": _first_only,
            "All steps have the size of the first one.": _same_size,
            "You begin at 0. Begin at `start`.": _from_zero,
            "The steps go uphill: a gradient is subtracted.": lambda start, sizes, x, y: _steps(start, -sizes, x, y),
            "The loss is half the mean square, so its gradient has no factor 2.": (
                lambda start, sizes, x, y: _steps(start, 2 * sizes, x, y)
            ),
            "The gradient is that of a sum over the pairs. The loss is a mean: divide by n.": (
                lambda start, sizes, x, y: _steps(start, sizes * x.shape[1], x, y)
            ),
            "You have taken the mean over the experts, too. Each has a loss and a step of its own.": _averaged,
            "The gradient leaves out what k itself predicts: the error of an action is k's prediction minus y.": (
                lambda start, sizes, x, y: start + sizes.sum() * _apply(x.mT, y) / x.shape[1]
            ),
        },
        praise="Two learned sizes in a row reach 1.46, where one reaches 2.05.",
    ),
    Exercise(
        "15.2",
        "when cloning from scratch wins",
        reference=_crossing,
        cases=[(4, 0.5), (4, 2.0), (1, 1.0), (7, 0.3), (2, 3.0)],
        mistakes={
            "Beyond this the mean of cloning is finite. Where does it become the smaller of the two?": (
                lambda d, sigma: d + 1.0
            ),
            "The noise enters with its variance, sigma squared.": lambda d, sigma: (d + 1 + sigma) ** 2 / (d + 1),
            "The best step also knows of the noise: its size is n / (n + d + 1 + sigma^2).": (
                lambda d, sigma: d + 1 + sigma**2
            ),
            "One factor too few: multiply both sides out once more, with both denominators.": (
                lambda d, sigma: (d + 1 + sigma**2) / (d + 1)
            ),
            "The mean of cloning has n - d - 1 below it, and not n - d.": (
                lambda d, sigma: (d + 1 + sigma**2) * (d + sigma**2) / (d + 1)
            ),
            "This is rounded up to whole pairs. Return the number itself, before it is rounded.": (
                lambda d, sigma: math.ceil(_crossing(d, sigma))
            ),
            "This is the first n for which cloning wins. Return the number that n must exceed, not rounded.": (
                lambda d, sigma: math.floor(_crossing(d, sigma)) + 1
            ),
        },
        praise="For the experts of this page it is 5.51, so cloning wins from six pairs on; with sigma = 2, from 17.",
    ),
    Exercise(
        "15.3",
        "four changed trainings",
        reference=PREDICTED,
        form="a dictionary of four numbers",
        mistakes={
            "Without the second derivative you expect a worse error. Which parameters lose a part of their gradient, "
            "and where do they come to rest all the same?": tuple(
                PREDICTED | {"first order": wrong} for wrong in (4.0, _error(0.1), _error(1.0))
            ),
            "With the sum in place of the mean a step is n times as long for the same alpha. But alpha is learned.": (
                tuple(PREDICTED | {"summed": wrong} for wrong in (_error(5 * BEST), _error(BEST / 5)))
            ),
            "At alpha = 1 the step is too long in the directions where five situations happen to be large: put 1 into "
            "`step_error`.": tuple(PREDICTED | {"alpha fixed at 1": wrong} for wrong in (_error(BEST), 4.0, 0.0)),
            "What is trained on 20 pairs has the alpha that is best for 20; the test shows 5.": tuple(
                PREDICTED | {"trained on 20 pairs": wrong}
                for wrong in (_error(BEST), step_error(best_step(4, 20, 0.5), 4, 20, 0.5))
            ),
            "All four are right as far as they go, but rounded: give what `step_error` returns.": tuple(
                {name: round(error, digits) for name, error in PREDICTED.items()} for digits in (2, 1)
            ),
        },
        praise="Two changes are invisible in the result, and one is worse than not to adapt at all.",
    ),
    Exercise(
        "15.4",
        "too good to be true",
        reference=_lesson_loss,
        cases=_meta_batches,
        tolerance=1e-6,
        derivatives={"start": "the start", "step": "the step size"},
        words=_words_of_batch,
        mistakes={
            "The step is still taken on the pairs that the answer is then judged on. The expert has shown x and y.": (
                lambda start, step, x, y, new_x, new_y: _lesson_loss(start, step, new_x, new_y, new_x, new_y)
            ),
            "Now the step is right, but it is judged on the pairs that it was taken on.": (
                lambda start, step, x, y, new_x, new_y: _lesson_loss(start, step, x, y, x, y)
            ),
            "Demonstration and new pairs have changed places.": (
                lambda start, step, x, y, new_x, new_y: _lesson_loss(start, step, new_x, new_y, x, y)
            ),
            "The numbers are right, but the gradient of the start does not go through the step. Was there a "
            "`detach`, or a missing create_graph=True?": _cut,
            "The numbers are right, but nothing can be learned about the step size: it is cut off.": _step_cut,
            "No step is taken at all: this judges the start.": (
                lambda start, step, x, y, new_x, new_y: _half(start.expand(len(x), -1), new_x, new_y).mean()
            ),
            "The loss of the step is a sum over the pairs here; the lesson's is half their mean.": (
                lambda start, step, x, y, new_x, new_y: _lesson_loss(start, step * x.shape[1], x, y, new_x, new_y)
            ),
            "One step for all experts: the gradient is that of the mean of their losses.": (
                lambda start, step, x, y, new_x, new_y: _lesson_loss(start, step / len(x), x, y, new_x, new_y)
            ),
            "The step is twice too long: the loss (15.2) is half the mean square, so its gradient has no factor 2.": (
                lambda start, step, x, y, new_x, new_y: _lesson_loss(start, 2 * step, x, y, new_x, new_y)
            ),
            "Both losses, that of the step and that of the new pairs, lack the half of (15.2).": (
                lambda start, step, x, y, new_x, new_y: 2 * _lesson_loss(start, 2 * step, x, y, new_x, new_y)
            ),
            "What you return is twice the loss: (15.2) is half the mean square.": (
                lambda start, step, x, y, new_x, new_y: 2 * _lesson_loss(start, step, x, y, new_x, new_y)
            ),
            "The step goes uphill.": (
                lambda start, step, x, y, new_x, new_y: _lesson_loss(start, -step, x, y, new_x, new_y)
            ),
        },
        praise="And remember how you found out: a number better than the best possible is an error, not a success.",
    ),
]
