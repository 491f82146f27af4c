"""Exercises of the primer: through a gradient step, values of a chain, a gate that forgets by halves."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .base import Case, Exercise

Loss = Callable[[Tensor], Tensor]


def _bowl(theta: Tensor) -> Tensor:
    """A quadratic whose curvature differs from coordinate to coordinate."""
    scale = torch.arange(1, theta.numel() + 1, dtype=theta.dtype)
    return 0.5 * (scale * (theta - 1) ** 2).sum()


def _quartic(theta: Tensor) -> Tensor:
    """A loss whose curvature depends on where one stands."""
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


def _copied(loss: Loss, theta: Tensor, lr: float) -> Tensor:
    return _after_one_step(loss, theta.detach().clone().requires_grad_(), lr)


def _uphill(loss: Loss, theta: Tensor, lr: float) -> Tensor:
    return _after_one_step(loss, theta, -lr)


def _no_step(loss: Loss, theta: Tensor, lr: float) -> Tensor:
    return loss(theta)


def _value_and_slope(answer: Callable[..., Tensor], loss: Loss, theta: Tensor, lr: float) -> tuple[Tensor, Tensor]:
    """The loss after the step, and its gradient where the step began (0 if no path leads back)."""
    value = answer(loss, theta, lr)
    if not (isinstance(value, Tensor) and value.requires_grad):
        return value, torch.zeros_like(theta)
    (slope,) = torch.autograd.grad(value, theta, allow_unused=True)
    return value.detach(), torch.zeros_like(theta) if slope is None else slope


def _chain_values(p: float, discount: float) -> Tensor:
    last = p / (1 - discount * (1 - p))
    first = p * discount * last / (1 - discount * (1 - p))
    return torch.tensor([first, last, 0.0])


def _end_is_worth_one(p: float, discount: float) -> Tensor:
    return _chain_values(p, discount) + torch.tensor([0.0, 0.0, 1.0])


def _slip_ends(p: float, discount: float) -> Tensor:
    return torch.tensor([p * discount * p, p, 0.0])


def _reward_discounted(p: float, discount: float) -> Tensor:
    return discount * _chain_values(p, discount)


def _stuck_undiscounted(p: float, discount: float) -> Tensor:
    return torch.tensor([discount, 1.0, 0.0])


def _logit(z: float) -> float:
    return math.log(z / (1 - z))


def _keep_bias(half_life: float) -> float:
    return _logit(math.exp(math.log(0.5) / half_life))


def _wrong_way(half_life: float) -> float:
    return -_keep_bias(half_life)


def _e_folding(half_life: float) -> float:
    return _logit(math.exp(-1 / half_life))


def _gate_itself(half_life: float) -> float:
    return math.exp(math.log(0.5) / half_life)


EXERCISES = [
    Exercise(
        "0.1",
        "the loss after one step",
        reference=_after_one_step,
        cases=_loss_cases,
        through=_value_and_slope,
        tolerance=1e-6,
        mistakes={
            "The value is right, but its gradient is the first-order one: the inner gradient counts as a "
            "constant. Look at the arguments of torch.autograd.grad.": _first_order,
            "The value is right, but no gradient reaches theta: the step begins at a copy of it.": _copied,
            "Your step goes uphill: a loss is made smaller by subtracting its gradient.": _uphill,
            "This is the loss before the step; evaluate it at the point the step leads to.": _no_step,
        },
        praise="This is the outer objective of MAML, for one task and without the sampling.",
    ),
    Exercise(
        "0.2",
        "values of the chain",
        reference=_chain_values,
        cases=[(0.8, 0.9), (0.5, 1.0), (0.3, 0.5)],
        mistakes={
            "Nothing follows state 2: its value is 0, and the 1 is paid on the way in.": _end_is_worth_one,
            "A move that fails does not end the episode: the agent stays and tries again.": _slip_ends,
            "One discount too many: the reward of the next move is not discounted.": _reward_discounted,
            "These are the values if no move ever failed: where does p enter?": _stuck_undiscounted,
        },
        praise="The same system of equations, with more states, gives the exact values in later chapters.",
    ),
    Exercise(
        "0.3",
        "a gate that forgets by halves",
        reference=_keep_bias,
        cases=[(1.0,), (10.0,), (100.0,)],
        mistakes={
            "The sign is reversed: a gate near 1 keeps, so a longer memory needs a larger bias.": _wrong_way,
            "This memory falls to 1/e in that time; it should fall to a half.": _e_folding,
            "This is the gate, not the bias that opens it: undo the sigmoid.": _gate_itself,
        },
        praise="At a bias of 0 a memory is halved at every step; remembering a hundred steps takes about 5.",
    ),
]
