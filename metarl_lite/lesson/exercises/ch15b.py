"""Exercises of chapter 15, continued: the loss of what was shown, a step that teaches nothing, moves for actions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...rng import generator, normal, uniform
from .base import Case, Exercise

F64 = torch.float64


# --- 15.5: the loss of what was shown ---------------------------------------------------------------------------------


def _loss(predicted: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
    each = ((predicted - actions) / 0.1).square().sum(-1) / 2  # [N, E, T]
    return (each * mask).sum((1, 2)) / mask.sum((1, 2))


def _all_steps(predicted: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
    return _loss(predicted, actions, torch.ones_like(mask))


def _divided_by_all(predicted: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
    return _loss(predicted, actions, mask) * mask.mean((1, 2))


def _by_episode(predicted: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
    each = ((predicted - actions) / 0.1).square().sum(-1) / 2
    return ((each * mask).sum(2) / mask.sum(2)).mean(1)


def _root(predicted: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
    each: Tensor = ((predicted - actions) / 0.1).norm(dim=-1) / 2
    return (each * mask).sum((1, 2)) / mask.sum((1, 2))


def _shown() -> list[Case]:
    cases: list[Case] = []
    for seed, (n, e, t) in ((0, (3, 2, 5)), (1, (2, 4, 3))):
        gen = generator(seed)
        predicted, actions = normal((n, e, t, 2), gen, F64), normal((n, e, t, 2), gen, F64)
        lasts = 1 + (t * uniform((n, e, 1), gen, F64)).floor()  # of each episode at least one step
        cases.append((predicted, actions, (torch.arange(t) < lasts).double()))
    return cases


# --- 15.6: the step that teaches nothing ------------------------------------------------------------------------------

Pairs = tuple[Tensor, Tensor]


def _cloning(weights: Tensor, shown: Pairs) -> Tensor:
    states, actions = shown
    return (states @ weights - actions).square().sum(-1).mean(-1) / 2  # [N]


def _adapted(theta: Tensor, alpha: Tensor, shown: Pairs, keep: bool = True, sign: float = -1.0) -> Tensor:
    weights = theta.expand(len(shown[0]), *theta.shape)
    (grad,) = torch.autograd.grad(_cloning(weights, shown).sum(), weights, create_graph=keep)
    return weights + sign * alpha * grad


def _meta(theta: Tensor, alpha: Tensor, shown: Pairs, query: Pairs) -> Tensor:
    return _cloning(_adapted(theta, alpha, shown), query).mean()


def _one_gradient(theta: Tensor, alpha: Tensor, shown: Pairs, query: Pairs) -> Tensor:
    """One step for all tasks together, on the mean of their losses."""
    weights = theta.expand(len(shown[0]), *theta.shape)
    (grad,) = torch.autograd.grad(_cloning(weights, shown).mean(), weights, create_graph=True)
    return _cloning(weights - alpha * grad, query).mean()


def _fresh(theta: Tensor, alpha: Tensor, shown: Pairs, query: Pairs) -> Tensor:
    """The step is taken from a copy, as the colleague does."""
    copied = theta.detach().clone().requires_grad_()
    return _cloning(_adapted(copied, alpha, shown), query).mean()


def _tasks() -> list[Case]:
    cases: list[Case] = []
    for seed in (0, 1):
        gen = generator(seed)
        theta = normal((2, 2), gen, F64).requires_grad_()
        alpha = torch.tensor(0.3, dtype=F64, requires_grad=True)
        pairs = [(normal((4, n, 2), gen, F64), normal((4, n, 2), gen, F64)) for n in (6, 5)]
        cases.append((theta, alpha, *pairs))
    return cases


EXERCISES = [
    Exercise(
        "15.5",
        "the loss of what was shown",
        reference=_loss,
        cases=_shown,
        tolerance=1e-6,
        mistakes={
            "Steps that are not shown count as well. The mask is 0 there.": _all_steps,
            "The sum is right. Divide it by the number of steps that are shown: who is shown less is not less wrong.": (
                _divided_by_all
            ),
            "This is the mean of each episode's own mean. All steps of a task that are shown count alike.": _by_episode,
            "This is the distance itself; asked for is half its square.": _root,
            "The unit is missing: an error is measured in steps of 0.1.": (
                lambda predicted, actions, mask: _loss(predicted, actions, mask) / 100
            ),
            "Half of the squared error is asked for.": lambda predicted, actions, mask: (
                2 * _loss(predicted, actions, mask)
            ),
            "This is one number for all tasks together. Each has a loss of its own, [N].": (
                lambda predicted, actions, mask: _loss(predicted, actions, mask).mean()
            ),
            "This is the mean of the two coordinates; a squared distance is their sum.": (
                lambda predicted, actions, mask: _loss(predicted, actions, mask) / 2
            ),
        },
        praise="The same loss serves the inner step, the outer one, and cloning from scratch.",
    ),
    Exercise(
        "15.6",
        "a step that teaches nothing",
        reference=_meta,
        cases=_tasks,
        derivatives={"theta": "theta", "alpha": "alpha"},
        tolerance=1e-6,
        mistakes={
            "Its value is right, and theta gets no gradient from it: something is still cut off.": _fresh,
            "The gradient of theta is the first-order one. The step itself depends on theta through its gradient; "
            "that part is lost.": lambda theta, alpha, shown, query: _cloning(
                _adapted(theta, alpha, shown, keep=False), query
            ).mean(),
            "It is judged on the demonstration that was shown. Judge on the other one.": (
                lambda theta, alpha, shown, query: _meta(theta, alpha, shown, shown)
            ),
            "The roles are exchanged: the step is taken on what is shown, and judged on the query.": (
                lambda theta, alpha, shown, query: _meta(theta, alpha, query, shown)
            ),
            "The step climbs: the gradient is to be subtracted.": lambda theta, alpha, shown, query: _cloning(
                _adapted(theta, alpha, shown, sign=1.0), query
            ).mean(),
            "This is judged before the step: nothing was adapted.": lambda theta, alpha, shown, query: _cloning(
                theta + 0 * alpha, query
            ).mean(),
            "The step descends the mean over tasks, so it is N times too short. Tasks are independent: sum.": (
                _one_gradient
            ),
            "The losses of the tasks are summed; the outer loss is their mean.": lambda theta, alpha, shown, query: (
                4 * _meta(theta, alpha, shown, query)
            ),
        },
        praise="This is MIL for a linear policy, rate included.",
    ),
    Exercise(
        "15.7",
        "moves in place of actions",
        reference=math.cos(1.0),
        form="a number",
        tolerance=1e-5,
        mistakes={
            "Right, but rounded: give four digits at least, or let Python say it.": 0.54,
            "This is how far it goes astray, sideways. How much nearer does it come?": math.sin(1.0),
            "This is at the far side of a square of half-width 1. The first coordinate is at most a half.": math.cos(
                2.0
            ),
            "This is in the middle of the square, where nothing is turned. Where is the turn greatest?": 1.0,
            "This is in units of the square's side. Give it as a share of a step.": 0.1 * math.cos(1.0),
            "It is turned away from the goal by at most 1 radian: less than a quarter of a circle.": (0.0, -1.0),
        },
        praise="So it winds its way to the goal, and stands still where the expert does.",
    ),
]
