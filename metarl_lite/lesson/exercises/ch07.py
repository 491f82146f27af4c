"""Exercises of chapter 7: where first order settles, Reptile's direction, a step with learned rates."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .base import Case, Exercise

Loss = Callable[[Tensor], Tensor]


def _weighted(weights: Tensor, centres: Tensor) -> Tensor:
    return (weights * centres).sum() / weights.sum()


def _first_order_start(curvatures: Tensor, centres: Tensor, lr: float, steps: int) -> Tensor:
    return _weighted(curvatures * (1 - lr * curvatures) ** steps, centres)


def _maml_start(curvatures: Tensor, centres: Tensor, lr: float, steps: int) -> Tensor:
    return _first_order_start(curvatures, centres, lr, 2 * steps)


def _one_step(curvatures: Tensor, centres: Tensor, lr: float, steps: int) -> Tensor:
    return _first_order_start(curvatures, centres, lr, 1)


def _one_bracket_more(curvatures: Tensor, centres: Tensor, lr: float, steps: int) -> Tensor:
    return _first_order_start(curvatures, centres, lr, steps + 1)


def _no_step(curvatures: Tensor, centres: Tensor, lr: float, steps: int) -> Tensor:
    return _first_order_start(curvatures, centres, lr, 0)


def _brackets_only(curvatures: Tensor, centres: Tensor, lr: float, steps: int) -> Tensor:
    return _weighted((1 - lr * curvatures) ** steps, centres)


def _one_long_step(curvatures: Tensor, centres: Tensor, lr: float, steps: int) -> Tensor:
    return _weighted(curvatures * (1 - steps * lr * curvatures), centres)


def _bowls() -> list[Case]:
    curvatures = [[4.0, 0.5], [1.0, 2.0, 3.0], [0.5, 0.7, 2.5]]
    centres = [[-1.0, 1.0], [0.0, 1.0, -2.0], [2.0, 1.0, -1.0]]
    return [
        (torch.tensor(a, dtype=torch.float64), torch.tensor(c, dtype=torch.float64), lr, steps)
        for a, c, lr, steps in zip(curvatures, centres, (0.2, 0.1, 0.3), (1, 2, 3), strict=True)
    ]


def _reptile_direction(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    phi = theta.detach()
    for _ in range(steps):
        phi = phi.requires_grad_()
        (slope,) = torch.autograd.grad(loss(phi), phi)
        phi = (phi - lr * slope).detach()
    return (theta.detach() - phi) / lr


def _not_divided(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    return lr * _reptile_direction(loss, theta, lr, steps)


def _towards_the_end(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    return -_reptile_direction(loss, theta, lr, steps)


def _mean_slope(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    return _reptile_direction(loss, theta, lr, steps) / steps


def _stale(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    return steps * _reptile_direction(loss, theta, lr, 1)


def _last_slope(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    """The slope of the last step alone, which is FOMAML's gradient."""
    return _reptile_direction(loss, theta, lr, steps) - _one_short(loss, theta, lr, steps)


def _moved_theta(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    return torch.zeros_like(theta)


def _one_short(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    return _reptile_direction(loss, theta, lr, steps - 1)


def _end(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    return theta.detach() - lr * _reptile_direction(loss, theta, lr, steps)


def _without_its_graph(answer: Callable[..., Tensor], loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    """The direction as numbers: whether it still hangs on a graph makes no difference."""
    found = answer(loss, theta, lr, steps)
    return found.detach() if isinstance(found, Tensor) else found


def _quartic(theta: Tensor) -> Tensor:
    return (theta**4).sum() / 4


def _valley(theta: Tensor) -> Tensor:
    return (theta[1] - theta[0] ** 2) ** 2 + 0.1 * theta[0] ** 2


def _walks() -> list[Case]:
    starts = ((_quartic, (1.0, -0.5, 2.0), 0.05, 2), (_valley, (1.0, -0.5), 0.1, 3))
    return [
        (loss, torch.tensor(start, dtype=torch.float64, requires_grad=True), lr, steps)
        for loss, start, lr, steps in starts
    ]


def _meta_sgd_step(loss: Loss, theta: Tensor, rates: Tensor) -> Tensor:
    (slope,) = torch.autograd.grad(loss(theta), theta, create_graph=True)
    return theta - rates * slope


def _first_order(loss: Loss, theta: Tensor, rates: Tensor) -> Tensor:
    (slope,) = torch.autograd.grad(loss(theta), theta)
    return theta - rates * slope


def _constant_rates(loss: Loss, theta: Tensor, rates: Tensor) -> Tensor:
    return _meta_sgd_step(loss, theta, rates.detach())


def _from_a_copy(loss: Loss, theta: Tensor, rates: Tensor) -> Tensor:
    return _meta_sgd_step(loss, theta.detach().clone().requires_grad_(), rates)


def _one_rate(loss: Loss, theta: Tensor, rates: Tensor) -> Tensor:
    return _meta_sgd_step(loss, theta, rates.mean())


def _uphill(loss: Loss, theta: Tensor, rates: Tensor) -> Tensor:
    return _meta_sgd_step(loss, theta, -rates)


def _step_and_gradients(
    answer: Callable[..., Tensor], loss: Loss, theta: Tensor, rates: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Where the step ends, and how the loss there changes with the start and with the rates."""
    end = answer(loss, theta, rates)
    grads: tuple[Tensor | None, ...] = (None, None)
    if isinstance(end, Tensor) and end.requires_grad:
        grads = torch.autograd.grad(loss(end), (theta, rates), allow_unused=True)
        end = end.detach()
    of_theta, of_rates = (torch.zeros_like(p) if g is None else g for p, g in zip((theta, rates), grads, strict=True))
    return end, of_theta, of_rates


def _rated_starts() -> list[Case]:
    starts = ((_quartic, (1.0, -0.5, 2.0), (0.1, 0.2, 0.05)), (_valley, (1.0, -0.5), (0.05, 0.2)))
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
            "This is where MAML settles: it multiplies by every bracket twice, first order does it once.": _maml_start,
            "This is right for one step only; `steps` does not enter.": _one_step,
            "There is one bracket too many. The slope is taken at the end of the last step.": _one_bracket_more,
            "No step enters: this is the best point to stay at.": _no_step,
            "The brackets are right, but a slope is the curvature times the distance.": _brackets_only,
            "Several steps are not one long step: each shrinks the distance that the one before it left.": (
                _one_long_step
            ),
        },
        praise="With twice the steps it settles where MAML does.",
    ),
    Exercise(
        "7.2",
        "Reptile's direction",
        reference=_reptile_direction,
        cases=_walks,
        through=_without_its_graph,
        tolerance=1e-6,
        mistakes={
            "This is the difference itself; it has to be divided by the learning rate.": _not_divided,
            "The sign is turned around: descending this would lead away from where the walk ended.": _towards_the_end,
            "This is the mean of the slopes; Reptile has their sum.": _mean_slope,
            "Every step uses the slope at theta. From the second step on it should be the slope at phi.": _stale,
            "This is the slope of the last step alone, FOMAML's gradient. Reptile uses the whole walk.": _last_slope,
            "Zero everywhere: your walk has moved theta itself. It must stay as it is.": _moved_theta,
            "One step too few.": _one_short,
            "This is the end of the walk. What is asked for is the way there, per learning rate.": _end,
        },
        praise="A second-order effect without a second derivative.",
    ),
    Exercise(
        "7.3",
        "a step with learned rates",
        reference=_meta_sgd_step,
        cases=_rated_starts,
        through=_step_and_gradients,
        parts=("the end point", "the gradient of the start", "the gradient of the rates"),
        tolerance=1e-6,
        mistakes={
            "The end point and the gradient of the rates are right; that of theta is the first-order one. Look at "
            "the arguments of torch.autograd.grad.": _first_order,
            "The end point is right, but no gradient reaches the rates: they enter as numbers.": _constant_rates,
            "The end point is right, but the step begins at a copy of theta, so no gradient reaches it.": _from_a_copy,
            "All weights move at the mean rate. Each has its own: multiply entry by entry.": _one_rate,
            "Your step goes uphill: a loss is made smaller by subtracting its gradient.": _uphill,
        },
        praise="Rates that get a gradient can be learned like any weight.",
    ),
]
