"""Exercises of chapter 9: one iteration of conjugate gradients, the KL divergence of Gaussians."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ...rng import generator, normal
from .base import Case, Exercise

Product = Callable[[Tensor], Tensor]
Triple = tuple[Tensor, Tensor, Tensor]

TWICE = (
    "The numbers are right, but `product` is called more than once, and it is what costs: keep its result. The new "
    "residual needs no product of its own."
)


# --- 9.1: conjugate gradients -----------------------------------------------------------------------------------------


def _cg_iteration(product: Product, x: Tensor, residual: Tensor, direction: Tensor) -> Triple:
    image = product(direction)
    length = (residual @ residual) / (direction @ image)
    left = residual - length * image
    share = (left @ left) / (residual @ residual)
    return x + length * direction, left, left + share * direction


def _step(product: Product, x: Tensor, residual: Tensor, direction: Tensor, length: Tensor) -> Triple:
    """With another length of the step."""
    left = residual - length * product(direction)
    return x + length * direction, left, left + (left @ left) / (residual @ residual) * direction


def _turn(new_direction: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Triple]:
    """x and residual right, and another new direction: of old residual, new residual and old direction."""

    def answer(product: Product, x: Tensor, residual: Tensor, direction: Tensor) -> Triple:
        x, left, _ = _cg_iteration(product, x, residual, direction)
        return x, left, new_direction(residual, left, direction)

    return answer


def _two_products(product: Product, x: Tensor, residual: Tensor, direction: Tensor) -> Triple:
    length = (residual @ residual) / (direction @ product(direction))
    return _step(product, x, residual, direction, length)


def _residual_by_direction(product: Product, x: Tensor, residual: Tensor, direction: Tensor) -> Triple:
    length = (residual @ residual) / (direction @ product(direction))
    left = residual - length * direction
    return x + length * direction, left, left + (left @ left) / (residual @ residual) * direction


def _residual_grows(product: Product, x: Tensor, residual: Tensor, direction: Tensor) -> Triple:
    image = product(direction)
    length = (residual @ residual) / (direction @ image)
    left = residual + length * image
    return x + length * direction, left, left + (left @ left) / (residual @ residual) * direction


def _calls_of_product(seen: list[Case], given: Mapping[str, Any]) -> str:
    return TWICE if len(seen) > 1 else ""


def _systems() -> list[Case]:
    """The second iteration of three small systems, where residual and direction are no longer the same."""
    cases: list[Case] = []
    for seed, size in ((0, 2), (1, 3), (2, 5)):
        gen = generator(seed)
        root = normal((size, size), gen, torch.float64)
        matrix, b = root @ root.mT + torch.eye(size, dtype=torch.float64), normal((size,), gen, torch.float64)

        def product(v: Tensor, matrix: Tensor = matrix) -> Tensor:
            """The product with a symmetric matrix."""
            return matrix @ v

        cases.append((product, *_cg_iteration(product, torch.zeros_like(b), b, b)))
    return cases


# --- 9.2: the divergence ----------------------------------------------------------------------------------------------


def _kl(mean_p: Tensor, std_p: Tensor, mean_q: Tensor, std_q: Tensor) -> Tensor:
    apart = std_p**2 + (mean_p - mean_q) ** 2
    return ((std_q / std_p).log() + apart / (2 * std_q**2) - 0.5).sum(-1)


def _kl_of(log: Tensor, apart: Tensor, below: Tensor) -> Tensor:
    return (log.log() + apart / (2 * below) - 0.5).sum(-1)


def _gaussians() -> list[Case]:
    cases: list[Case] = []
    for seed, shape in ((3, (2,)), (4, (3, 2)), (5, (2, 4, 3))):
        gen = generator(seed)
        cases.append(tuple(normal(shape, gen, torch.float64).exp().requires_grad_() for _ in range(4)))
    return cases


EXERCISES = [
    Exercise(
        "9.1",
        "one iteration of conjugate gradients",
        reference=_cg_iteration,
        cases=_systems,
        calls={"product": _calls_of_product},
        parts=("the new x", "the new residual", "the new direction"),
        tolerance=1e-6,
        mistakes={
            TWICE: _two_products,
            "The curvature is measured along the residual, but you walk along the direction: which of the two does "
            "the product belong to?": lambda product, x, residual, direction: _step(
                product, x, residual, direction, (residual @ residual) / (residual @ product(residual))
            ),
            "This length ignores how curved A is along the direction.": lambda product, x, residual, direction: _step(
                product, x, residual, direction, (residual @ residual) / (direction @ direction)
            ),
            "The step goes the wrong way: residual and direction point downhill.": (
                lambda product, x, residual, direction: _step(
                    product, x, residual, direction, -(residual @ residual) / (direction @ product(direction))
                )
            ),
            "The length is upside down: the more curved A is, the shorter the step.": (
                lambda product, x, residual, direction: _step(
                    product, x, residual, direction, (direction @ product(direction)) / (residual @ residual)
                )
            ),
            "x and residual are right, but the new direction is the residual itself: that is steepest descent, which "
            "forgets where it has been.": _turn(lambda residual, left, direction: left),
            "x and residual are right. The share of the old direction is upside down: it shrinks as the residual "
            "does.": _turn(lambda residual, left, direction: left + (residual @ residual) / (left @ left) * direction),
            "x and residual are right. The new direction starts from the old residual; it should start from the new "
            "one.": _turn(
                lambda residual, left, direction: residual + (left @ left) / (residual @ residual) * direction
            ),
            "x and residual are right. The share belongs to the old direction, not to the old residual.": _turn(
                lambda residual, left, direction: left + (left @ left) / (residual @ residual) * residual
            ),
            "x and residual are right. The share of the old direction is a ratio of lengths; it should be one of "
            "squared lengths.": _turn(
                lambda residual, left, direction: left + left.norm() / residual.norm() * direction
            ),
            "x and residual are right. The share of the old direction is added, not subtracted.": _turn(
                lambda residual, left, direction: left - (left @ left) / (residual @ residual) * direction
            ),
            "x and residual are right. The old direction enters in full; its share is the ratio of the residuals.": (
                _turn(lambda residual, left, direction: left + direction)
            ),
            "x is right. The residual lives where b lives: it changes by A times the step, not by the step.": (
                _residual_by_direction
            ),
            "x is right. The residual has grown by the step's part; it is b - A x, so that is subtracted.": (
                _residual_grows
            ),
        },
        praise="Ten of these are all the linear algebra that TRPO does.",
    ),
    Exercise(
        "9.2",
        "the KL divergence of two policies",
        reference=_kl,
        cases=_gaussians,
        derivatives={"mean_p": "mean_p", "std_p": "std_p", "mean_q": "mean_q", "std_q": "std_q"},
        tolerance=1e-6,
        mistakes={
            "This is the mean over the action's coordinates. They are independent, so their divergences add.": (
                lambda mp, sp, mq, sq: _kl(mp, sp, mq, sq) / mp.shape[-1]
            ),
            "This adds up over all states as well. Only the action's coordinates are summed, the last dimension.": (
                lambda mp, sp, mq, sq: _kl(mp, sp, mq, sq).sum()
            ),
            "These are the divergences of the single coordinates: sum them.": (
                lambda mp, sp, mq, sq: _kl(*(x.unsqueeze(-1) for x in (mp, sp, mq, sq)))
            ),
            "This is KL(q || p). The divergence is not symmetric: p is the policy that acted.": (
                lambda mp, sp, mq, sq: _kl(mq, sq, mp, sp)
            ),
            "The variances have changed places in the quadratic part: distances are measured in units of q.": (
                lambda mp, sp, mq, sq: _kl_of(sq / sp, sq**2 + (mp - mq) ** 2, sp**2)
            ),
            "The quadratic part is divided by the variance of p: distances are measured in units of q.": (
                lambda mp, sp, mq, sq: _kl_of(sq / sp, sp**2 + (mp - mq) ** 2, sp**2)
            ),
            "Standard deviations stand where variances belong. Which of them are squared?": (
                lambda mp, sp, mq, sq: _kl_of(sq / sp, sp + (mp - mq) ** 2, sq)
            ),
            "The variance of q below the line has to be squared: it is a standard deviation.": (
                lambda mp, sp, mq, sq: _kl_of(sq / sp, sp**2 + (mp - mq) ** 2, sq)
            ),
            "The arguments are standard deviations already: no exponential.": (
                lambda mp, sp, mq, sq: _kl(mp, sp.exp(), mq, sq.exp())
            ),
            "The logarithm is upside down. It should be large where q is broad and p narrow.": (
                lambda mp, sp, mq, sq: _kl_of(sp / sq, sp**2 + (mp - mq) ** 2, sq**2)
            ),
            "A policy has a divergence of 0 from itself; yours has 1/2 for each coordinate.": (
                lambda mp, sp, mq, sq: _kl(mp, sp, mq, sq) + 0.5 * mp.shape[-1]
            ),
            "The 1/2 is subtracted once for each coordinate, not once in all.": (
                lambda mp, sp, mq, sq: _kl(mp, sp, mq, sq) + 0.5 * mp.shape[-1] - 0.5
            ),
            "The distance of the means has to be squared.": (
                lambda mp, sp, mq, sq: _kl_of(sq / sp, sp**2 + (mp - mq), sq**2)
            ),
        },
        praise="This is gaussian_kl of the package, which works with log standard deviations.",
    ),
]
