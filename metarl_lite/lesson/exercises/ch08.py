"""Exercises of chapter 8: supports listed one by one, the magic box, and which estimator aims at which objective."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ...rng import generator, normal
from .base import Case, Exercise


def _chance(p: Tensor, pulls: int, ones: int) -> Tensor:
    return math.comb(pulls, ones) * p**ones * (1 - p) ** (pulls - ones)


def _step(p: Tensor, pulls: int, ones: int) -> Tensor:
    return ones / pulls * (1 - p)


def _objective(theta: Tensor, alpha: float, pulls: int) -> Tensor:
    p, total = theta.sigmoid(), torch.zeros_like(theta)
    for k in range(pulls + 1):
        total = total + _chance(p, pulls, k) * (theta + alpha * _step(p, pulls, k)).sigmoid()
    return total


def _chance_detached(theta: Tensor, alpha: float, pulls: int) -> Tensor:
    p, total = theta.sigmoid(), torch.zeros_like(theta)
    for k in range(pulls + 1):
        total = total + _chance(p, pulls, k).detach() * (theta + alpha * _step(p, pulls, k)).sigmoid()
    return total


def _step_detached(theta: Tensor, alpha: float, pulls: int) -> Tensor:
    p, total = theta.sigmoid(), torch.zeros_like(theta)
    for k in range(pulls + 1):
        total = total + _chance(p, pulls, k) * (theta + alpha * _step(p, pulls, k).detach()).sigmoid()
    return total


def _both_detached(theta: Tensor, alpha: float, pulls: int) -> Tensor:
    p, total = theta.sigmoid().detach(), torch.zeros_like(theta)
    for k in range(pulls + 1):
        total = total + _chance(p, pulls, k) * (theta + alpha * _step(p, pulls, k)).sigmoid()
    return total


def _one_order(theta: Tensor, alpha: float, pulls: int) -> Tensor:
    p, total = theta.sigmoid(), torch.zeros_like(theta)
    for k in range(pulls + 1):
        chance = p**k * (1 - p) ** (pulls - k)
        total = total + chance * (theta + alpha * _step(p, pulls, k)).sigmoid()
    return total


def _infinite_support(theta: Tensor, alpha: float, pulls: int) -> Tensor:
    p = theta.sigmoid()
    return (theta + alpha * p * (1 - p)).sigmoid()


def _summed_pulls(theta: Tensor, alpha: float, pulls: int) -> Tensor:
    return _objective(theta, alpha * pulls, pulls)


def _none_pays_left_out(theta: Tensor, alpha: float, pulls: int) -> Tensor:
    return _objective(theta, alpha, pulls) - _chance(theta.sigmoid(), pulls, 0) * theta.sigmoid()


def _last_left_out(theta: Tensor, alpha: float, pulls: int) -> Tensor:
    p = theta.sigmoid()
    return _objective(theta, alpha, pulls) - p**pulls * (theta + alpha * (1 - p)).sigmoid()


def _value_and_slope(answer: Callable[..., Tensor], theta: Tensor, alpha: float, pulls: int) -> tuple[Tensor, Tensor]:
    """The objective and its derivative; zero where no path leads back to theta."""
    value = answer(theta, alpha, pulls)
    if not (isinstance(value, Tensor) and value.requires_grad):
        return value, torch.zeros_like(theta)
    (slope,) = torch.autograd.grad(value.sum(), theta, allow_unused=True)
    return value.detach(), torch.zeros_like(theta) if slope is None else slope


def _coins() -> list[Case]:
    numbers = ((1.0, 8.0, 5), (-0.5, 2.0, 1), (0.3, 4.0, 3))
    return [
        (torch.tensor(theta, dtype=torch.float64, requires_grad=True), alpha, pulls) for theta, alpha, pulls in numbers
    ]


def _box(log_prob: Tensor, mask: Tensor) -> Tensor:
    past = (log_prob * mask).cumsum(-1)
    return (past - past.detach()).exp()


def _averaged(log_prob: Tensor, mask: Tensor) -> Tensor:
    past = (log_prob * mask).cumsum(-1) / mask.shape[-1]
    return (past - past.detach()).exp()


def _running_mean(log_prob: Tensor, mask: Tensor) -> Tensor:
    past = (log_prob * mask).cumsum(-1) / torch.arange(1, mask.shape[-1] + 1)
    return (past - past.detach()).exp()


def _over_episodes(log_prob: Tensor, mask: Tensor) -> Tensor:
    past = (log_prob * mask).cumsum(-1) / mask.shape[1]
    return (past - past.detach()).exp()


def _no_stop(log_prob: Tensor, mask: Tensor) -> Tensor:
    return (log_prob * mask).cumsum(-1).exp()


def _no_mask(log_prob: Tensor, mask: Tensor) -> Tensor:
    past = log_prob.cumsum(-1)
    return (past - past.detach()).exp()


def _mask_too_late(log_prob: Tensor, mask: Tensor) -> Tensor:
    past = log_prob.cumsum(-1) * mask
    return (past - past.detach()).exp()


def _masked_result(log_prob: Tensor, mask: Tensor) -> Tensor:
    return _box(log_prob, mask) * mask


def _own_step(log_prob: Tensor, mask: Tensor) -> Tensor:
    return ((log_prob - log_prob.detach()) * mask).exp()


def _whole_episode(log_prob: Tensor, mask: Tensor) -> Tensor:
    whole = (log_prob * mask).sum(-1, keepdim=True)
    return (whole - whole.detach()).exp().expand_as(log_prob)


def _wrong_dimension(log_prob: Tensor, mask: Tensor) -> Tensor:
    past = (log_prob * mask).cumsum(1)
    return (past - past.detach()).exp()


def _straight(log_prob: Tensor, mask: Tensor) -> Tensor:
    past = (log_prob * mask).cumsum(-1)
    return 1 + past - past.detach()


def _all_stopped(log_prob: Tensor, mask: Tensor) -> Tensor:
    return torch.ones_like(log_prob)


def _three_orders(
    answer: Callable[..., Tensor], log_prob: Tensor, mask: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The boxes, and the first two derivatives of their weighted sum with respect to every log-probability."""
    boxes = answer(log_prob, mask)
    zeros = torch.zeros_like(log_prob)
    if not (isinstance(boxes, Tensor) and boxes.requires_grad and boxes.shape == log_prob.shape):
        return boxes, zeros, zeros
    (first,) = torch.autograd.grad((boxes * weights).sum(), log_prob, create_graph=True)
    if not first.requires_grad:
        return boxes.detach(), first, zeros
    (second,) = torch.autograd.grad((first * weights).sum(), log_prob, allow_unused=True)
    return boxes.detach(), first.detach(), zeros if second is None else second


def _episodes() -> list[Case]:
    cases: list[Case] = []
    for seed, shape, ends in ((0, (2, 3, 4), (4, 2, 3)), (1, (1, 2, 5), (5, 3))):
        gen = generator(seed)
        log_prob = (-normal(shape, gen, torch.float64).abs()).requires_grad_()
        mask = (torch.arange(shape[2]) < torch.tensor(ends).unsqueeze(-1)).double().expand(shape).clone()
        cases.append((log_prob, mask, normal(shape, gen, torch.float64)))
    return cases


_AIMS = {"plain": "neither", "dice": "neither", "e_maml": "II", "dice_sampled": "neither"}

EXERCISES = [
    Exercise(
        "8.1",
        "list the supports",
        reference=_objective,
        cases=_coins,
        through=_value_and_slope,
        parts=("the value", "its derivative with respect to theta"),
        tolerance=1e-6,
        mistakes={
            "The value is right, but its derivative is that of plain autodiff: the chances of the supports count as "
            "constants.": _chance_detached,
            "The value is right, but the step counts as a constant: it moves with theta too.": _step_detached,
            "The value is right, but p counts as a constant: both the chances and the steps move with "
            "theta.": _both_detached,
            "A support with k pulls of arm 1 can come about in several orders.": _one_order,
            "This is objective I: the step that an infinite support would give.": _infinite_support,
            "The step is too long: g is the mean over the pulls.": _summed_pulls,
            "The support without a single pull of arm 1 is missing. It leads nowhere, but it happens.": (
                _none_pays_left_out
            ),
            "The last support is missing: k runs up to and including pulls.": _last_left_out,
        },
        praise="The whole gradient, because the chance stayed in the graph.",
    ),
    Exercise(
        "8.2",
        "the magic box",
        reference=_box,
        cases=_episodes,
        through=_three_orders,
        parts=("the boxes", "the first derivative", "the second derivative"),
        tolerance=1e-6,
        mistakes={
            "The exponent is divided by the number of steps. It is a sum.": _averaged,
            "The exponent is a running mean. It is a running sum.": _running_mean,
            "The exponent is divided by the number of episodes. It is a sum over the past of one episode.": (
                _over_episodes
            ),
            "The boxes are not 1: nothing stops the gradient in the exponent.": _no_stop,
            "Steps that were never taken, with mask 0, count.": _no_mask,
            "The mask comes after the sum. A step that was never taken should not enter it at all.": _mask_too_late,
            "The boxes are 0 where the mask is 0; they should be 1 everywhere.": _masked_result,
            "Each box knows its own step only, and not the past: this is LVC's ratio.": _own_step,
            "Each box knows the whole episode: a reward is credited to actions that came after it.": _whole_episode,
            "The sum runs over the episodes. It should run over time.": _wrong_dimension,
            "Value and first derivative are right, the second derivative is not: what function keeps itself under "
            "differentiation?": _straight,
            "Boxes of 1 without a graph: the stop acts on everything.": _all_stopped,
        },
        praise="Worth 1, whatever happens, and right at every order.",
    ),
    Exercise(
        "8.3",
        "which objective?",
        reference=_AIMS,
        mistakes={
            "Three are right. DiCE has the Hessian of I, but multiplies it by the slope at a sampled step: compare its "
            "column with that of I.": _AIMS | {"dice": "I"},
            "Three are right. DiCE comes near II, and is not equal to it.": _AIMS | {"dice": "II"},
            "Three are right. Plain autodiff differentiates the sampled step, but not the choice of the sample.": (
                _AIMS | {"plain": "II"}
            ),
            "Three are right. Plain autodiff is what is run for objective I. Compare the numbers.": (
                _AIMS | {"plain": "I"}
            ),
            "Three are right. E-MAML with DiCE's Hessian counts the missing curvature twice.": (
                _AIMS | {"dice_sampled": "II"}
            ),
            "Plain autodiff is what is run for I, and DiCE mends its Hessian; but do the numbers agree?": (
                _AIMS | {"plain": "I", "dice": "I"}
            ),
            "DiCE and the sampling term are right by themselves for different things. Compare the numbers.": (
                _AIMS | {"dice": "I", "dice_sampled": "II"}
            ),
        },
        praise="One of four is unbiased for anything; whether it is useful is another question.",
    ),
]
