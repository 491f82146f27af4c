"""Exercises of chapter 9: one iteration of conjugate gradients, the KL divergence of Gaussians, a line search."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ...rng import generator, normal
from .base import Case, Exercise

Product = Callable[[Tensor], Tensor]
Judge = Callable[[Tensor], tuple[float, float]]
Triple = tuple[Tensor, Tensor, Tensor]


def _cg_iteration(product: Product, x: Tensor, residual: Tensor, direction: Tensor) -> Triple:
    image = product(direction)
    length = (residual @ residual) / (direction @ image)
    left = residual - length * image
    return x + length * direction, left, left + (left @ left) / (residual @ residual) * direction


def _image_of_residual(product: Product, x: Tensor, residual: Tensor, direction: Tensor) -> Triple:
    """The step length of steepest descent: the curvature along the residual, not along the direction."""
    length = (residual @ residual) / (residual @ product(residual))
    left = residual - length * product(direction)
    return x + length * direction, left, left + (left @ left) / (residual @ residual) * direction


def _without_curvature(product: Product, x: Tensor, residual: Tensor, direction: Tensor) -> Triple:
    length = (residual @ residual) / (direction @ direction)
    left = residual - length * product(direction)
    return x + length * direction, left, left + (left @ left) / (residual @ residual) * direction


def _steepest_descent(product: Product, x: Tensor, residual: Tensor, direction: Tensor) -> Triple:
    x, left, _ = _cg_iteration(product, x, residual, direction)
    return x, left, left


def _upside_down(product: Product, x: Tensor, residual: Tensor, direction: Tensor) -> Triple:
    x, left, _ = _cg_iteration(product, x, residual, direction)
    return x, left, left + (residual @ residual) / (left @ left) * direction


def _stale_residual(product: Product, x: Tensor, residual: Tensor, direction: Tensor) -> Triple:
    x, left, _ = _cg_iteration(product, x, residual, direction)
    return x, left, residual + (left @ left) / (residual @ residual) * direction


def _unsquared(product: Product, x: Tensor, residual: Tensor, direction: Tensor) -> Triple:
    x, left, _ = _cg_iteration(product, x, residual, direction)
    return x, left, left + left.norm() / residual.norm() * direction


def _residual_by_direction(product: Product, x: Tensor, residual: Tensor, direction: Tensor) -> Triple:
    length = (residual @ residual) / (direction @ product(direction))
    left = residual - length * direction
    return x + length * direction, left, left + (left @ left) / (residual @ residual) * direction


def _systems() -> list[Case]:
    """The second iteration of three small systems, where residual and direction are no longer the same."""
    cases: list[Case] = []
    for seed, size in ((0, 2), (1, 3), (2, 5)):
        gen = generator(seed)
        root = normal((size, size), gen, torch.float64)
        matrix, b = root @ root.mT + torch.eye(size, dtype=torch.float64), normal((size,), gen, torch.float64)

        def product(v: Tensor, matrix: Tensor = matrix) -> Tensor:
            return matrix @ v

        cases.append((product, *_cg_iteration(product, torch.zeros_like(b), b, b)))
    return cases


def _kl(mean_p: Tensor, std_p: Tensor, mean_q: Tensor, std_q: Tensor) -> Tensor:
    apart = std_p**2 + (mean_p - mean_q) ** 2
    return ((std_q / std_p).log() + apart / (2 * std_q**2) - 0.5).sum(-1)


def _kl_mean(mean_p: Tensor, std_p: Tensor, mean_q: Tensor, std_q: Tensor) -> Tensor:
    return _kl(mean_p, std_p, mean_q, std_q) / mean_p.shape[-1]


def _kl_of_all(mean_p: Tensor, std_p: Tensor, mean_q: Tensor, std_q: Tensor) -> Tensor:
    return _kl(mean_p, std_p, mean_q, std_q).sum()


def _kl_swapped(mean_p: Tensor, std_p: Tensor, mean_q: Tensor, std_q: Tensor) -> Tensor:
    return _kl(mean_q, std_q, mean_p, std_p)


def _kl_other_variance(mean_p: Tensor, std_p: Tensor, mean_q: Tensor, std_q: Tensor) -> Tensor:
    apart = std_q**2 + (mean_p - mean_q) ** 2
    return ((std_q / std_p).log() + apart / (2 * std_p**2) - 0.5).sum(-1)


def _kl_deviations(mean_p: Tensor, std_p: Tensor, mean_q: Tensor, std_q: Tensor) -> Tensor:
    return ((std_q / std_p).log() + (std_p + (mean_p - mean_q) ** 2) / (2 * std_q) - 0.5).sum(-1)


def _kl_log_inverted(mean_p: Tensor, std_p: Tensor, mean_q: Tensor, std_q: Tensor) -> Tensor:
    apart = std_p**2 + (mean_p - mean_q) ** 2
    return ((std_p / std_q).log() + apart / (2 * std_q**2) - 0.5).sum(-1)


def _kl_without_half(mean_p: Tensor, std_p: Tensor, mean_q: Tensor, std_q: Tensor) -> Tensor:
    return _kl(mean_p, std_p, mean_q, std_q) + 0.5 * mean_p.shape[-1]


def _kl_unsquared(mean_p: Tensor, std_p: Tensor, mean_q: Tensor, std_q: Tensor) -> Tensor:
    apart = std_p**2 + (mean_p - mean_q)
    return ((std_q / std_p).log() + apart / (2 * std_q**2) - 0.5).sum(-1)


def _gaussians() -> list[Case]:
    cases: list[Case] = []
    for seed, shape in ((3, (2,)), (4, (3, 2)), (5, (2, 4, 3))):
        gen = generator(seed)
        cases.append(tuple(normal(shape, gen, torch.float64).exp() for _ in range(4)))
    return cases


def _backtrack(judge: Judge, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
    for k in range(tries):
        candidate = start + 0.5**k * step
        loss, kl = judge(candidate)
        if loss < before and kl <= max_kl:
            return candidate
    return start


def _last_tried(judge: Judge, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
    candidate = start
    for k in range(tries):
        candidate = start + 0.5**k * step
        loss, kl = judge(candidate)
        if loss < before and kl <= max_kl:
            break
    return candidate


def _kl_only(judge: Judge, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
    return _backtrack(lambda point: (-math.inf, judge(point)[1]), start, step, before, max_kl, tries)


def _loss_only(judge: Judge, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
    return _backtrack(lambda point: (judge(point)[0], -math.inf), start, step, before, max_kl, tries)


def _either(judge: Judge, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
    for k in range(tries):
        loss, kl = judge(start + 0.5**k * step)
        if loss < before or kl <= max_kl:
            return start + 0.5**k * step
    return start


def _refused_when_worse(judge: Judge, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
    """Says when to go on instead of when to stop: a loss that is not a number is then accepted."""
    for k in range(tries):
        loss, kl = judge(start + 0.5**k * step)
        if loss >= before or kl > max_kl:
            continue
        return start + 0.5**k * step
    return start


def _walking(judge: Judge, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
    candidate = start
    for k in range(tries):
        candidate = candidate + 0.5**k * step
        loss, kl = judge(candidate)
        if loss < before and kl <= max_kl:
            return candidate
    return start


def _half_first(judge: Judge, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
    return _backtrack(judge, start, 0.5 * step, before, max_kl, tries)


def _divided(judge: Judge, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
    for k in range(tries):
        candidate = start + step / (k + 1)
        loss, kl = judge(candidate)
        if loss < before and kl <= max_kl:
            return candidate
    return start


def _one_try_more(judge: Judge, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
    return _backtrack(judge, start, step, before, max_kl, tries + 1)


def _one_try_less(judge: Judge, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
    return _backtrack(judge, start, step, before, max_kl, tries - 1)


def _bowl(point: Tensor) -> tuple[float, float]:
    """The loss is smallest at 1, and what counts as a KL divergence from 0 is the square of the distance."""
    return ((point - 1) ** 2).sum().item(), (point**2).sum().item()


def _broken_far_away(point: Tensor) -> tuple[float, float]:
    """As `_bowl`, but too far from the start the loss is not a number."""
    loss, kl = _bowl(point)
    return (math.nan if kl > 4 else loss), 0.0


def _searches() -> list[Case]:
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    before = _bowl(zero)[0]
    return [
        (_bowl, zero, 0.8 * one, before, 1.0, 10),  # the full step will do
        (_bowl, zero, 6.0 * one, before, 4.0, 10),  # too long for the loss, then for neither: 1.5
        (_bowl, zero, 1.6 * one, before, 0.05, 4),  # the bound decides, at the last of four tries
        (_bowl, zero, -0.5 * one, before, 1.0, 6),  # uphill: nothing improves
        (_bowl, zero, 1.6 * one, before, 0.02, 4),  # a fifth try would do
        (_broken_far_away, zero, 12.0 * one, before, 1.0, 10),
        (_bowl, zero, 0.5 * one, before, _bowl(0.5 * one)[1], 1),  # at the bound, which will do
    ]


EXERCISES = [
    Exercise(
        "9.1",
        "one iteration of conjugate gradients",
        reference=_cg_iteration,
        cases=_systems,
        parts=("the new x", "the new residual", "the new direction"),
        tolerance=1e-6,
        mistakes={
            "The curvature is measured along the residual, but you walk along the direction: which of the two does "
            "the product belong to?": _image_of_residual,
            "This length ignores how curved A is along the direction.": _without_curvature,
            "x and residual are right, but the new direction is the residual itself: that is steepest descent, which "
            "forgets where it has been.": _steepest_descent,
            "x and residual are right. The share of the old direction is upside down: it shrinks as the residual "
            "does.": _upside_down,
            "x and residual are right. The new direction starts from the old residual; it should start from the new "
            "one.": _stale_residual,
            "x and residual are right. The share of the old direction is a ratio of lengths; it should be one of "
            "squared lengths.": _unsquared,
            "x is right. The residual lives where b lives: it changes by A times the step, not by the step.": (
                _residual_by_direction
            ),
        },
        praise="Ten of these are all the linear algebra that TRPO does.",
    ),
    Exercise(
        "9.2",
        "the KL divergence of two policies",
        reference=_kl,
        cases=_gaussians,
        tolerance=1e-6,
        mistakes={
            "This is the mean over the action's coordinates. They are independent, so their divergences add.": _kl_mean,
            "This adds up over all states as well. Only the action's coordinates are summed, the last dimension.": (
                _kl_of_all
            ),
            "This is KL(q || p). The divergence is not symmetric: p is the policy that acted.": _kl_swapped,
            "The variances have changed places in the quadratic part: distances are measured in units of q.": (
                _kl_other_variance
            ),
            "Standard deviations stand where variances belong. Which of them are squared?": _kl_deviations,
            "The logarithm is upside down. It should be large where q is broad and p narrow.": _kl_log_inverted,
            "A policy has a divergence of 0 from itself; yours has 1/2 for each coordinate.": _kl_without_half,
            "The distance of the means has to be squared.": _kl_unsquared,
        },
        praise="This is gaussian_kl of the package, which works with log standard deviations.",
    ),
    Exercise(
        "9.3",
        "a step that may be refused",
        reference=_backtrack,
        cases=_searches,
        tolerance=1e-6,
        mistakes={
            "When nothing works, this returns the last candidate, which was refused. Return the start.": _last_tried,
            "This looks at the KL divergence only. A step inside the region can still make the loss worse.": _kl_only,
            "This looks at the loss only. The bound is what makes its estimate worth trusting.": _loss_only,
            "One of the two conditions is enough here. Both must hold.": _either,
            "A loss that is not a number is accepted: nan >= before is False, and so is nan < before. Ask for what "
            "you want, not against what you fear.": _refused_when_worse,
            "Each candidate begins where the last one ended. All begin at the start.": _walking,
            "The full step is never tried.": _half_first,
            "The k-th candidate is step / (k + 1). Halve it each time: 1, 1/2, 1/4, ...": _divided,
            "One try too many.": _one_try_more,
            "One try too few.": _one_try_less,
        },
        praise="A refusal costs one iteration; a bad step can cost the run.",
    ),
]
