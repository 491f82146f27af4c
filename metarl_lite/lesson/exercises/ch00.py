"""Exercises of the primer: through a gradient step, values of a chain, a gate that forgets by halves."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .base import Case, Exercise

Loss = Callable[[Tensor], Tensor]


def _bowl(theta: Tensor) -> Tensor:
    """A quadratic bowl whose curvature differs from coordinate to coordinate."""
    scale = torch.arange(1, theta.numel() + 1, dtype=theta.dtype)
    return 0.5 * (scale * (theta - 1) ** 2).sum()


def _quartic(theta: Tensor) -> Tensor:
    """A sum of fourth powers."""
    return (theta**4).sum() / 4


def _loss_cases() -> list[Case]:
    cases: list[Case] = []
    for loss, start, lr in ((_bowl, (0.0, 3.0), 0.3), (_quartic, (1.0, -0.5, 2.0), 0.1)):
        cases.append((loss, torch.tensor(start, dtype=torch.float64, requires_grad=True), lr))
    return cases


def _after_one_step(loss: Loss, theta: Tensor, lr: float) -> Tensor:
    (grad,) = torch.autograd.grad(loss(theta), theta, create_graph=True)
    return loss(theta - lr * grad)


def _first_order(loss: Loss, theta: Tensor, lr: float) -> Tensor:
    (grad,) = torch.autograd.grad(loss(theta), theta)
    return loss(theta - lr * grad)


def _in_place(loss: Loss, theta: Tensor, lr: float) -> Tensor:
    (grad,) = torch.autograd.grad(loss(theta), theta)
    theta.data -= lr * grad
    return loss(theta)


def _slope(loss: Loss, theta: Tensor) -> Tensor:
    (grad,) = torch.autograd.grad(loss(theta), theta, create_graph=True)
    return grad


def _chain_values(p: float, discount: float) -> Tensor:
    last = p / (1 - discount * (1 - p))
    first = p * discount * last / (1 - discount * (1 - p))
    return torch.tensor([first, last, 0.0])


def _given_last(p: float, discount: float, first: Callable[[float], float]) -> Tensor:
    """The right values of states 1 and 2, and another one of state 0."""
    last = p / (1 - discount * (1 - p))
    return torch.tensor([first(last), last, 0.0])


def _logit(z: float) -> float:
    return math.log(z / (1 - z))


def _keep_bias(half_life: float) -> float:
    keep = 0.5 ** (1 / half_life)
    return math.log(keep / (1 - keep))


EXERCISES = [
    Exercise(
        "0.1",
        "the loss after one step",
        reference=_after_one_step,
        cases=_loss_cases,
        derivatives={"theta": "theta"},
        tolerance=1e-6,
        mistakes={
            "The value is right, but its gradient is the first-order one: the inner gradient counts as a "
            "constant. Look at the arguments of torch.autograd.grad.": _first_order,
            "The value is right, but no gradient reaches theta: the step begins at a copy of it.": (
                lambda loss, theta, lr: _after_one_step(loss, theta.detach().clone().requires_grad_(), lr)
            ),
            "The value is right, but it is a number without a graph: .item(), .detach(), .data or torch.no_grad has "
            "cut it off.": lambda loss, theta, lr: _after_one_step(loss, theta, lr).item(),
            "Your step overwrites theta, so its gradient is taken where the step ends and not where it began. Make a "
            "new tensor.": _in_place,
            "This is where the step leads. Asked for is the loss there.": (
                lambda loss, theta, lr: theta - lr * _slope(loss, theta)
            ),
            "This is the gradient that the step follows. Take the step, and return the loss where it ends.": (
                lambda loss, theta, lr: _slope(loss, theta)
            ),
            "Your step goes uphill: a loss is made smaller by subtracting its gradient.": (
                lambda loss, theta, lr: _after_one_step(loss, theta, -lr)
            ),
            "This is the loss before the step; evaluate it at the point the step leads to.": (
                lambda loss, theta, lr: loss(theta)
            ),
            "The step is as long as the gradient: lr is missing.": (
                lambda loss, theta, lr: _after_one_step(loss, theta, 1.0)
            ),
        },
        praise="This is the outer objective of MAML, for one task and without the sampling.",
    ),
    Exercise(
        "0.2",
        "values of the chain",
        reference=_chain_values,
        cases=[(0.8, 0.9), (0.5, 1.0), (0.3, 0.5)],
        mistakes={
            "Nothing follows state 2: its value is 0, and the 1 is paid on the way in.": (
                lambda p, discount: _chain_values(p, discount) + torch.tensor([0.0, 0.0, 1.0])
            ),
            "A move that fails does not end the episode: the agent stays and tries again.": (
                lambda p, discount: torch.tensor([p * discount * p, p, 0.0])
            ),
            "One discount too many: the reward of the next move is not discounted.": (
                lambda p, discount: discount * _chain_values(p, discount)
            ),
            "These are the values if no move ever failed: where does p enter?": (
                lambda p, discount: torch.tensor([discount, 1.0, 0.0])
            ),
            "These are the values without a discount: where does gamma enter?": (
                lambda p, discount: _chain_values(p, 1.0)
            ),
            "V(1) and V(2) are right. The first move can fail as well, so V(0) is less than gamma V(1).": (
                lambda p, discount: _given_last(p, discount, lambda last: discount * last)
            ),
            "V(1) and V(2) are right. V(0) lacks a discount: V(1) is earned one move later.": (
                lambda p, discount: _given_last(p, discount, lambda last: p * last / (1 - discount * (1 - p)))
            ),
            "V(1) and V(2) are right. A first move that fails does not end the episode: the agent tries again.": (
                lambda p, discount: _given_last(p, discount, lambda last: p * discount * last)
            ),
            "V(1) and V(2) are right. Only the move into state 2 is paid: V(0) has no reward of its own.": (
                lambda p, discount: _given_last(
                    p, discount, lambda last: p * (1 + discount * last) / (1 - discount * (1 - p))
                )
            ),
            "The values stand in the wrong order: state 0 first.": lambda p, discount: _chain_values(p, discount).flip(
                0
            ),
        },
        praise="The same system of equations, with more states, gives the exact values in later chapters.",
    ),
    Exercise(
        "0.3",
        "a gate that forgets by halves",
        reference=_keep_bias,
        cases=[(1.0,), (10.0,), (100.0,)],
        mistakes={
            "The sign is reversed: a gate near 1 keeps, so a longer memory needs a larger bias.": (
                lambda half_life: -_keep_bias(half_life)
            ),
            "This memory falls to 1/e in that time; it should fall to a half.": (
                lambda half_life: _logit(math.exp(-1 / half_life))
            ),
            "This is the gate, not the bias that opens it: undo the sigmoid.": lambda half_life: 0.5 ** (1 / half_life),
            "The sigmoid is undone by ln(z / (1 - z)), not by ln z.": lambda half_life: math.log(2) / -half_life,
            "The gate multiplies, step after step; it takes nothing away. After k steps z^k is left.": (
                lambda half_life: _logit(1 - 0.5 / half_life)
            ),
        },
        praise="At a bias of 0 a memory is halved at every step; remembering a hundred steps takes about 5.",
    ),
]
