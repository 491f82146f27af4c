"""Exercises of chapter 6: where to start, the outer loss of a meta-batch, several steps that stay in the graph."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...algorithms.inner import adapt
from ...losses import policy_gradient
from ...policies.base import tile
from ...policies.mlp import MLPPolicy
from ...returns import with_advantages
from ...rng import generator
from ...rollout import rollout
from ...tasks.navigation import PointGoal
from ...types import Params, Rollout
from .base import Case, Exercise

Loss = Callable[[Tensor], Tensor]


# --- 6.1: the best start ----------------------------------------------------------------------------------------------


def _best_start(curvatures: Tensor, centres: Tensor, lr: float) -> Tensor:
    weights = curvatures * (1 - lr * curvatures) ** 2
    return (weights * centres).sum() / weights.sum()


def _weighted(weights: Tensor, centres: Tensor) -> Tensor:
    return (weights * centres).sum() / weights.sum()


def _bowls() -> list[Case]:
    curvatures = [[4.0, 0.5], [1.0, 2.0, 3.0], [0.5, 0.5, 6.0]]
    centres = [[-1.0, 1.0], [0.0, 1.0, -2.0], [2.0, 1.0, -1.0]]
    return [
        (torch.tensor(a, dtype=torch.float64), torch.tensor(c, dtype=torch.float64), lr)
        for a, c, lr in zip(curvatures, centres, (0.2, 0.1, 0.3), strict=True)
    ]


# --- 6.2: the outer loss ----------------------------------------------------------------------------------------------


def _outer_loss(policy: MLPPolicy, theta: Params, support: Rollout, query: Rollout, lr: float) -> Tensor:
    params = tile(theta, len(support.rewards))
    adapted = adapt(policy, params, support, policy_gradient, lr)
    return policy_gradient(policy, adapted, query).mean()


def _first_order(policy: MLPPolicy, theta: Params, support: Rollout, query: Rollout, lr: float) -> Tensor:
    params = tile(theta, len(support.rewards))
    return policy_gradient(policy, adapt(policy, params, support, policy_gradient, lr, False), query).mean()


def _copied(policy: MLPPolicy, theta: Params, support: Rollout, query: Rollout, lr: float) -> Tensor:
    copy = {name: p.detach().clone().requires_grad_() for name, p in theta.items()}
    return _outer_loss(policy, copy, support, query, lr)


def _not_adapted(policy: MLPPolicy, theta: Params, support: Rollout, query: Rollout, lr: float) -> Tensor:
    return policy_gradient(policy, tile(theta, len(support.rewards)), query).mean()


def _each_task(policy: MLPPolicy, theta: Params, support: Rollout, query: Rollout, lr: float) -> Tensor:
    params = tile(theta, len(support.rewards))
    return policy_gradient(policy, adapt(policy, params, support, policy_gradient, lr), query)


def _loss_of_step(policy: MLPPolicy, theta: Params, support: Rollout, query: Rollout, lr: float) -> Tensor:
    params = tile(theta, len(support.rewards))
    return policy_gradient(policy, adapt(policy, params, support, policy_gradient, lr), support).mean()


def _in_place(policy: MLPPolicy, theta: Params, support: Rollout, query: Rollout, lr: float) -> Tensor:
    """One shared set of parameters that each task's step writes into."""
    loss = policy_gradient(policy, tile(theta, len(support.rewards)), support).mean()
    for p, g in zip(theta.values(), torch.autograd.grad(loss, list(theta.values())), strict=True):
        p.data -= lr * g
    return policy_gradient(policy, tile(theta, len(support.rewards)), query).mean()


def _meta_batch() -> list[Case]:
    cases: list[Case] = []
    for seed, num_tasks in ((0, 3), (1, 2)):
        gen, tasks = generator(seed), PointGoal(horizon=5, dtype=torch.float64)
        policy = MLPPolicy.for_tasks(tasks, gen, hidden=(4,))
        params, task = tile(policy.params(), num_tasks), tasks.sample(num_tasks, gen)
        support, query = (with_advantages(rollout(tasks, policy, params, task, 3, gen)) for _ in range(2))
        cases.append((policy, policy.params(), support, query, 0.5))
    return cases


def _in_words(policy: MLPPolicy, theta: Params, support: Rollout, query: Rollout, lr: float) -> str:
    n, e, t = support.rewards.shape
    return f"with an untrained policy, {n} tasks, {e} episodes of {t} steps in support and query, lr = {lr}"


# --- 6.3: several steps -----------------------------------------------------------------------------------------------


def _several_steps(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    phi = theta
    for _ in range(steps):
        (grad,) = torch.autograd.grad(loss(phi), phi, create_graph=True)
        phi = phi - lr * grad
    return phi


def _stale(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    (grad,) = torch.autograd.grad(loss(theta), theta, create_graph=True)
    return theta - steps * lr * grad


def _kept_graphs(loss: Loss, theta: Tensor, lr: float, steps: int, keep: Callable[[int], bool]) -> Tensor:
    """Only some steps keep the graph of their slope."""
    phi = theta
    for place in range(steps):
        (grad,) = torch.autograd.grad(loss(phi), phi, create_graph=keep(place))
        phi = phi - lr * grad
    return phi


def _cut(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    """Detached after every step: the path back to theta is lost after the first."""
    phi = theta
    for place in range(steps):
        start = phi if place == 0 else phi.detach().requires_grad_()
        phi = _several_steps(loss, start, lr, 1)
    return phi


def _in_place_steps(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    for _ in range(steps):
        (grad,) = torch.autograd.grad(loss(theta), theta)
        theta.data -= lr * grad
    return theta


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


EXERCISES = [
    Exercise(
        "6.1",
        "the best start",
        reference=_best_start,
        cases=_bowls,
        mistakes={
            "This is the best point to stay at: the step does not enter. Judge the loss at phi.": (
                lambda curvatures, centres, lr: _weighted(curvatures, centres)
            ),
            "Here the step enters once. It enters twice: the landing point moves with theta, and so does the "
            "distance that is left.": (
                lambda curvatures, centres, lr: _weighted(curvatures * (1 - lr * curvatures), centres)
            ),
            "The brackets are right, but the loss of a sharp bowl counts more per distance.": (
                lambda curvatures, centres, lr: _weighted((1 - lr * curvatures) ** 2, centres)
            ),
            "The tasks do not count alike: what a step leaves of a loss depends on the curvature.": (
                lambda curvatures, centres, lr: centres.mean()
            ),
            "The weights are right. A weighted mean is divided by their sum, not by their number.": (
                lambda curvatures, centres, lr: (curvatures * (1 - lr * curvatures) ** 2 * centres).mean()
            ),
            "The weights are right. A weighted mean is divided by their sum.": (
                lambda curvatures, centres, lr: (curvatures * (1 - lr * curvatures) ** 2 * centres).sum()
            ),
            "The bracket is 1 - alpha a: the step goes downhill.": (
                lambda curvatures, centres, lr: _weighted(curvatures * (1 + lr * curvatures) ** 2, centres)
            ),
            "The curvature stands below the line; a sharp bowl weighs more by itself, not less.": (
                lambda curvatures, centres, lr: _weighted((1 - lr * curvatures) ** 2 / curvatures, centres)
            ),
        },
        praise="The start helps where the step cannot.",
    ),
    Exercise(
        "6.2",
        "the outer loss",
        reference=_outer_loss,
        cases=_meta_batch,
        derivatives={"theta": "theta"},
        words=_in_words,
        tolerance=1e-6,
        mistakes={
            "The value is right, its gradient is the first-order one. Look at the arguments of adapt.": _first_order,
            "The value is right, but no gradient reaches theta: parameters are copied or detached.": _copied,
            "The adapted policies are judged on the support, which they have already seen.": _loss_of_step,
            "The step is taken on the query; it should be taken on the support.": (
                lambda policy, theta, support, query, lr: _outer_loss(policy, theta, query, query, lr)
            ),
            "Support and query have changed places.": (
                lambda policy, theta, support, query, lr: _outer_loss(policy, theta, query, support, lr)
            ),
            "The loss is taken at theta, before the step. Which parameters are the adapted ones?": _not_adapted,
            "This is the sum over the tasks; the mean is asked for.": (
                lambda policy, theta, support, query, lr: (
                    len(support.rewards) * _outer_loss(policy, theta, support, query, lr)
                )
            ),
            "These are the losses of each task, [N]; return their mean.": _each_task,
            "Every inner step is N times too short: the inner losses are averaged over the tasks. adapt sums them.": (
                lambda policy, theta, support, query, lr: _outer_loss(
                    policy, theta, support, query, lr / len(support.rewards)
                )
            ),
            "The step goes uphill: adapt takes lr as it is.": (
                lambda policy, theta, support, query, lr: _outer_loss(policy, theta, support, query, -lr)
            ),
            "Your step writes into theta, for all tasks together. Each task adapts a copy of its own: tile, then "
            "adapt.": _in_place,
        },
        praise="Its gradient is what meta_gradient computes, chunk by chunk.",
    ),
    Exercise(
        "6.3",
        "several steps",
        reference=_several_steps,
        cases=_walks,
        derivatives={"theta": "theta"},
        tolerance=1e-6,
        mistakes={
            "Every step uses the slope at theta. From the second step on it should be the slope at phi.": _stale,
            "The end point is right, but its derivative is the first-order one. Look at the arguments of "
            "torch.autograd.grad.": (
                lambda loss, theta, lr, steps: _kept_graphs(loss, theta, lr, steps, lambda place: False)
            ),
            "The end point is right, but only the last step is differentiated: the slopes before it count as "
            "constants.": lambda loss, theta, lr, steps: _kept_graphs(
                loss, theta, lr, steps, lambda place: place == steps - 1
            ),
            "The end point is right, but only the first step is differentiated: the later slopes count as constants.": (
                lambda loss, theta, lr, steps: _kept_graphs(loss, theta, lr, steps, lambda place: place == 0)
            ),
            "The end point is right, but only the first step is connected to theta: a later one begins at a "
            "detached copy.": _cut,
            "The end point is right, but the walk begins at a copy of theta, so no gradient reaches it.": (
                lambda loss, theta, lr, steps: _several_steps(loss, theta.detach().clone().requires_grad_(), lr, steps)
            ),
            "The end point is right, but your walk has moved theta itself: where it began is lost, and so is its "
            "gradient. Make a new tensor in every step.": _in_place_steps,
            "One step too few.": lambda loss, theta, lr, steps: _several_steps(loss, theta, lr, steps - 1),
            "One step too many.": lambda loss, theta, lr, steps: _several_steps(loss, theta, lr, steps + 1),
            "There is one step, however many are asked for: is `return` inside the loop?": (
                lambda loss, theta, lr, steps: _several_steps(loss, theta, lr, 1)
            ),
            "Your steps go uphill: a loss is made smaller by subtracting its gradient.": (
                lambda loss, theta, lr, steps: _several_steps(loss, theta, -lr, steps)
            ),
        },
        praise="The same loop, with episodes drawn before each step, is inner_loop.",
    ),
]
