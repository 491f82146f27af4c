"""Exercises of chapter 7: where first order settles, Reptile's direction, a step with learned rates."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .base import Case, Exercise

Loss = Callable[[Tensor], Tensor]


# --- 7.1: where first order settles -----------------------------------------------------------------------------------


def _weighted(weights: Tensor, centres: Tensor) -> Tensor:
    return (weights * centres).sum() / weights.sum()


def _first_order_start(curvatures: Tensor, centres: Tensor, lr: float, steps: int) -> Tensor:
    weights = curvatures * (1 - lr * curvatures) ** steps
    return (weights * centres).sum() / weights.sum()


def _bowls() -> list[Case]:
    curvatures = [[4.0, 0.5], [1.0, 2.0, 3.0], [0.5, 0.7, 2.5]]
    centres = [[-1.0, 1.0], [0.0, 1.0, -2.0], [2.0, 1.0, -1.0]]
    return [
        (torch.tensor(a, dtype=torch.float64), torch.tensor(c, dtype=torch.float64), lr, steps)
        for a, c, lr, steps in zip(curvatures, centres, (0.2, 0.1, 0.3), (1, 2, 3), strict=True)
    ]


# --- 7.2: Reptile -----------------------------------------------------------------------------------------------------


def _reptile_direction(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    phi = theta.detach()
    for _ in range(steps):
        phi = phi.requires_grad_()
        (slope,) = torch.autograd.grad(loss(phi), phi)
        phi = (phi - lr * slope).detach()
    return (theta.detach() - phi) / lr


def _moved_theta(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    phi = theta.detach()  # the same memory
    for _ in range(steps):
        (slope,) = torch.autograd.grad(loss(theta), theta)
        phi -= lr * slope
    return (theta.detach() - phi) / lr


def _last_slope(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    """The slope of the last step alone, which is FOMAML's gradient."""
    return _reptile_direction(loss, theta, lr, steps) - _reptile_direction(loss, theta, lr, steps - 1)


def _quartic(theta: Tensor) -> Tensor:
    """A sum of fourth powers."""
    return (theta**4).sum() / 4


def _valley(theta: Tensor) -> Tensor:
    """A valley that is curved."""
    return (theta[1] - theta[0] ** 2) ** 2 + 0.1 * theta[0] ** 2


def _walks() -> list[Case]:
    starts = ((_quartic, (1.0, -0.5, 2.0), 0.05, 2), (_valley, (1.0, -0.5), 0.1, 3), (_quartic, (1.5,), 0.1, 1))
    return [
        (loss, torch.tensor(start, dtype=torch.float64, requires_grad=True), lr, steps)
        for loss, start, lr, steps in starts
    ]


# --- 7.3: learned rates -----------------------------------------------------------------------------------------------


def _meta_sgd_step(loss: Loss, theta: Tensor, rates: Tensor) -> Tensor:
    (slope,) = torch.autograd.grad(loss(theta), theta, create_graph=True)
    return theta - rates * slope


def _first_order(loss: Loss, theta: Tensor, rates: Tensor) -> Tensor:
    (slope,) = torch.autograd.grad(loss(theta), theta)
    return theta - rates * slope


def _in_place(loss: Loss, theta: Tensor, rates: Tensor) -> Tensor:
    (slope,) = torch.autograd.grad(loss(theta), theta)
    theta.data -= rates.data * slope
    return theta


def _rated_starts() -> list[Case]:
    """The last with a rate that has become negative, as the second may."""
    starts = (
        (_quartic, (1.0, -0.5, 2.0), (0.1, 0.2, 0.05)),
        (_valley, (1.0, -0.5), (0.05, 0.2)),
        (_quartic, (1.0, -0.5, 2.0), (0.1, -0.2, 0.05)),
    )
    return [
        (loss, *(torch.tensor(values, dtype=torch.float64, requires_grad=True) for values in pair))
        for loss, *pair in starts
    ]


EXERCISES = [
    Exercise(
        "7.1",
        "where first order settles",
        reference=_first_order_start,
        cases=_bowls,
        mistakes={
            "This is where MAML settles: it multiplies by every bracket twice, first order does it once.": (
                lambda curvatures, centres, lr, steps: _first_order_start(curvatures, centres, lr, 2 * steps)
            ),
            "This is right for one step only; `steps` does not enter.": (
                lambda curvatures, centres, lr, steps: _first_order_start(curvatures, centres, lr, 1)
            ),
            "There is one bracket too many. The slope is taken at the end of the last step.": (
                lambda curvatures, centres, lr, steps: _first_order_start(curvatures, centres, lr, steps + 1)
            ),
            "There is one bracket too few: every step shrinks the distance once.": (
                lambda curvatures, centres, lr, steps: _first_order_start(curvatures, centres, lr, steps - 1)
            ),
            "No step enters: this is the best point to stay at.": (
                lambda curvatures, centres, lr, steps: _weighted(curvatures, centres)
            ),
            "The brackets are right, but a slope is the curvature times the distance.": (
                lambda curvatures, centres, lr, steps: _weighted((1 - lr * curvatures) ** steps, centres)
            ),
            "Several steps are not one long step: each shrinks the distance that the one before it left.": (
                lambda curvatures, centres, lr, steps: _weighted(curvatures * (1 - steps * lr * curvatures), centres)
            ),
            "The tasks do not count alike: what the steps leave of a slope depends on the curvature.": (
                lambda curvatures, centres, lr, steps: centres.mean()
            ),
            "The weights are right. A weighted mean is divided by their sum, not by their number.": (
                lambda curvatures, centres, lr, steps: (curvatures * (1 - lr * curvatures) ** steps * centres).mean()
            ),
            "The weights are right. A weighted mean is divided by their sum.": (
                lambda curvatures, centres, lr, steps: (curvatures * (1 - lr * curvatures) ** steps * centres).sum()
            ),
        },
        praise="With twice the steps it settles where MAML does.",
    ),
    Exercise(
        "7.2",
        "Reptile's direction",
        reference=_reptile_direction,
        cases=_walks,
        tolerance=1e-6,
        mistakes={
            "This is the difference itself; it has to be divided by the learning rate.": (
                lambda loss, theta, lr, steps: lr * _reptile_direction(loss, theta, lr, steps)
            ),
            "The sign is turned around: descending this would lead away from where the walk ended.": (
                lambda loss, theta, lr, steps: -_reptile_direction(loss, theta, lr, steps)
            ),
            "This is the mean of the slopes; Reptile has their sum.": (
                lambda loss, theta, lr, steps: _reptile_direction(loss, theta, lr, steps) / steps
            ),
            "Every step uses the slope at theta. From the second step on it should be the slope at phi.": (
                lambda loss, theta, lr, steps: steps * _reptile_direction(loss, theta, lr, 1)
            ),
            "This is the slope of the last step alone, FOMAML's gradient. Reptile uses the whole walk.": _last_slope,
            "Zero everywhere: your walk has moved theta itself. detach() shares its memory, and `-=` writes into it.": (
                _moved_theta
            ),
            "One step too few.": lambda loss, theta, lr, steps: _reptile_direction(loss, theta, lr, steps - 1),
            "One step too many.": lambda loss, theta, lr, steps: _reptile_direction(loss, theta, lr, steps + 1),
            "There is one step, however many are asked for: is `return` inside the loop?": (
                lambda loss, theta, lr, steps: _reptile_direction(loss, theta, lr, 1)
            ),
            "The walk goes uphill: a loss is made smaller by subtracting its gradient.": (
                lambda loss, theta, lr, steps: -_reptile_direction(loss, theta, -lr, steps)
            ),
            "This is the end of the walk. What is asked for is the way there, per learning rate.": (
                lambda loss, theta, lr, steps: theta.detach() - lr * _reptile_direction(loss, theta, lr, steps)
            ),
        },
        praise="A second-order effect without a second derivative.",
    ),
    Exercise(
        "7.3",
        "a step with learned rates",
        reference=_meta_sgd_step,
        cases=_rated_starts,
        derivatives={"theta": "theta", "rates": "the rates"},
        tolerance=1e-6,
        mistakes={
            "The end point and the gradient of the rates are right; that of theta is the first-order one. Look at "
            "the arguments of torch.autograd.grad.": _first_order,
            "The end point is right, but no gradient reaches the rates: they enter as numbers.": (
                lambda loss, theta, rates: _meta_sgd_step(loss, theta, rates.detach())
            ),
            "The end point is right, but the step begins at a copy of theta, so no gradient reaches it.": (
                lambda loss, theta, rates: _meta_sgd_step(loss, theta.detach().clone().requires_grad_(), rates)
            ),
            "The end point is right, but your step has moved theta itself: where it began is lost. Make a new "
            "tensor.": _in_place,
            "All weights move at the mean rate. Each has its own: multiply entry by entry.": (
                lambda loss, theta, rates: _meta_sgd_step(loss, theta, rates.mean())
            ),
            "The rates are multiplied with the slope as vectors, which gives one number. Multiply entry by entry.": (
                lambda loss, theta, rates: theta - rates @ (theta - _meta_sgd_step(loss, theta, torch.ones_like(theta)))
            ),
            "Your step goes uphill: a loss is made smaller by subtracting its gradient.": (
                lambda loss, theta, rates: _meta_sgd_step(loss, theta, -rates)
            ),
            "A learned rate may become negative, where that lowers the loss. abs() turns it round.": (
                lambda loss, theta, rates: _meta_sgd_step(loss, theta, rates.abs())
            ),
            "A learned rate may become negative, where that lowers the loss. Yours is stopped at 0.": (
                lambda loss, theta, rates: _meta_sgd_step(loss, theta, rates.clamp(min=0))
            ),
            "The tensor holds the rates themselves, not their logarithms.": (
                lambda loss, theta, rates: _meta_sgd_step(loss, theta, rates.exp())
            ),
        },
        praise="Rates that get a gradient can be learned like any weight.",
    ),
]
