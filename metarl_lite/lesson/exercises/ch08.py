"""Exercises of chapter 8: supports listed one by one, the magic box, and which estimator aims at which objective."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ...rng import generator, normal
from .base import Case, Exercise

# --- 8.1: list the supports -------------------------------------------------------------------------------------------


def _objective(theta: Tensor, alpha: float, pulls: int) -> Tensor:
    p, total = theta.sigmoid(), torch.zeros_like(theta)
    for k in range(pulls + 1):
        chance = math.comb(pulls, k) * p**k * (1 - p) ** (pulls - k)
        total = total + chance * (theta + alpha * k / pulls * (1 - p)).sigmoid()
    return total


Number = Callable[[Tensor], Tensor]


def _with(
    theta: Tensor,
    alpha: float,
    pulls: int,
    chance: Number | None = None,
    step: Number | None = None,
    orders: bool = True,
) -> Tensor:
    """The objective with a change of the chance or of the step of each support."""
    p, total = theta.sigmoid(), torch.zeros_like(theta)
    for k in range(pulls + 1):
        weight = (math.comb(pulls, k) if orders else 1) * p**k * (1 - p) ** (pulls - k)
        way = alpha * k / pulls * (1 - p)
        total = total + (chance or Tensor.clone)(weight) * (theta + (step or Tensor.clone)(way)).sigmoid()
    return total


def _one_end(theta: Tensor, alpha: float, pulls: int, ones: int) -> Tensor:
    """What one support adds."""
    p = theta.sigmoid()
    chance = math.comb(pulls, ones) * p**ones * (1 - p) ** (pulls - ones)
    return chance * (theta + alpha * ones / pulls * (1 - p)).sigmoid()


def _infinite_support(theta: Tensor, alpha: float, pulls: int) -> Tensor:
    p = theta.sigmoid()
    return (theta + alpha * p * (1 - p)).sigmoid()


def _coins() -> list[Case]:
    numbers = ((1.0, 8.0, 5), (-0.5, 2.0, 1), (0.3, 4.0, 3))
    return [
        (torch.tensor(theta, dtype=torch.float64, requires_grad=True), alpha, pulls) for theta, alpha, pulls in numbers
    ]


# --- 8.2: the magic box -----------------------------------------------------------------------------------------------


def _box(log_prob: Tensor, mask: Tensor) -> Tensor:
    past = (log_prob * mask).cumsum(-1)
    return (past - past.detach()).exp()


def _worth_one(exponent: Tensor) -> Tensor:
    return (exponent - exponent.detach()).exp()


def _from_here(x: Tensor) -> Tensor:
    return x.flip(-1).cumsum(-1).flip(-1)


def _straight(log_prob: Tensor, mask: Tensor) -> Tensor:
    past = (log_prob * mask).cumsum(-1)
    return 1 + past - past.detach()


def _episodes() -> list[Case]:
    cases: list[Case] = []
    for seed, shape, ends in ((0, (2, 3, 4), (4, 2, 3)), (1, (1, 2, 5), (5, 3))):
        gen = generator(seed)
        log_prob = (-normal(shape, gen, torch.float64).abs()).requires_grad_()
        mask = (torch.arange(shape[2]) < torch.tensor(ends).unsqueeze(-1)).double().expand(shape).clone()
        cases.append((log_prob, mask))
    return cases


# --- 8.3: which objective? --------------------------------------------------------------------------------------------

_AIMS = {"plain": "neither", "dice": "neither", "e_maml": "II", "dice_sampled": "neither"}

EXERCISES = [
    Exercise(
        "8.1",
        "list the supports",
        reference=_objective,
        cases=_coins,
        derivatives={"theta": "theta"},
        tolerance=1e-6,
        mistakes={
            "The value is right, but its derivative is that of plain autodiff: the chances of the supports count as "
            "constants.": lambda theta, alpha, pulls: _with(theta, alpha, pulls, chance=Tensor.detach),
            "The value is right, but the step counts as a constant: it moves with theta too.": (
                lambda theta, alpha, pulls: _with(theta, alpha, pulls, step=Tensor.detach)
            ),
            "The value is right, but p counts as a constant: both the chances and the steps move with theta.": (
                lambda theta, alpha, pulls: _with(theta, alpha, pulls, chance=Tensor.detach, step=Tensor.detach)
            ),
            "A support with k pulls of arm 1 can come about in several orders.": (
                lambda theta, alpha, pulls: _with(theta, alpha, pulls, orders=False)
            ),
            "This is objective I: the step that an infinite support would give.": _infinite_support,
            "The step is too long: g is the mean over the pulls.": (
                lambda theta, alpha, pulls: _objective(theta, alpha * pulls, pulls)
            ),
            "The step goes downhill. This is a reward: it is to grow.": (
                lambda theta, alpha, pulls: _objective(theta, -alpha, pulls)
            ),
            "The reward is taken before the step; it is that of theta plus alpha times g.": (
                lambda theta, alpha, pulls: _objective(theta, 0.0, pulls)
            ),
            "The support without a single pull of arm 1 is missing. It leads nowhere, but it happens.": (
                lambda theta, alpha, pulls: _objective(theta, alpha, pulls) - _one_end(theta, alpha, pulls, 0)
            ),
            "The last support is missing: k runs up to and including pulls.": (
                lambda theta, alpha, pulls: _objective(theta, alpha, pulls) - _one_end(theta, alpha, pulls, pulls)
            ),
            "You average over the supports. Their chances add up to 1 already: sum.": (
                lambda theta, alpha, pulls: _objective(theta, alpha, pulls) / (pulls + 1)
            ),
        },
        praise="The whole gradient, because the chance stayed in the graph.",
    ),
    Exercise(
        "8.2",
        "the magic box",
        reference=_box,
        cases=_episodes,
        derivatives={"log_prob": "log_prob"},
        orders=2,
        tolerance=1e-6,
        mistakes={
            "The exponent is divided by the number of steps. It is a sum.": (
                lambda log_prob, mask: _worth_one((log_prob * mask).cumsum(-1) / mask.shape[-1])
            ),
            "The exponent is a running mean. It is a running sum.": (
                lambda log_prob, mask: _worth_one((log_prob * mask).cumsum(-1) / torch.arange(1, mask.shape[-1] + 1))
            ),
            "The exponent is divided by the number of episodes. It is a sum over the past of one episode.": (
                lambda log_prob, mask: _worth_one((log_prob * mask).cumsum(-1) / mask.shape[1])
            ),
            "The boxes are not 1: nothing stops the gradient in the exponent.": (
                lambda log_prob, mask: (log_prob * mask).cumsum(-1).exp()
            ),
            "Steps that were never taken, with mask 0, count.": lambda log_prob, mask: _worth_one(log_prob.cumsum(-1)),
            "The mask comes after the sum. A step that was never taken should not enter it at all.": (
                lambda log_prob, mask: _worth_one(log_prob.cumsum(-1) * mask)
            ),
            "The boxes are 0 where the mask is 0; they should be 1 everywhere.": (
                lambda log_prob, mask: _box(log_prob, mask) * mask
            ),
            "Each box knows its own step only, and not the past: this is LVC's ratio.": (
                lambda log_prob, mask: _worth_one(log_prob * mask)
            ),
            "Each box knows the whole episode: a reward is credited to actions that came after it.": (
                lambda log_prob, mask: _worth_one((log_prob * mask).sum(-1, keepdim=True)).expand_as(log_prob)
            ),
            "The sum runs from each step to the end. It should run over the past.": (
                lambda log_prob, mask: _worth_one(_from_here(log_prob * mask))
            ),
            "The step itself is missing in its own sum: up to *and including* step t.": (
                lambda log_prob, mask: _worth_one((log_prob * mask).cumsum(-1) - log_prob * mask)
            ),
            "The sum runs over the episodes. It should run over time.": (
                lambda log_prob, mask: _worth_one((log_prob * mask).cumsum(1))
            ),
            "The boxes are 0: the exponential is missing.": (
                lambda log_prob, mask: (log_prob * mask).cumsum(-1) - (log_prob * mask).cumsum(-1).detach()
            ),
            "Value and first derivative are right, the second derivative is not: what function keeps itself under "
            "differentiation?": _straight,
            "Boxes of 1 without a graph: the stop acts on everything.": lambda log_prob, mask: torch.ones_like(
                log_prob
            ),
        },
        praise="Worth 1, whatever happens, and right at every order.",
    ),
    Exercise(
        "8.3",
        "which objective?",
        reference=_AIMS,
        form='a dict with the keys "plain", "dice", "e_maml" and "dice_sampled", and "I", "II" or "neither" for each,',
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
            "Three are right. E-MAML differentiates what is sampled: with the sampling term nothing is left out.": (
                _AIMS | {"e_maml": "I"},
                _AIMS | {"e_maml": "neither"},
            ),
            "Three are right. E-MAML with DiCE's Hessian counts the missing curvature twice.": (
                _AIMS | {"dice_sampled": "II"},
                _AIMS | {"dice_sampled": "I"},
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
