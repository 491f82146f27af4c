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


def _best_start(curvatures: Tensor, centres: Tensor, lr: float) -> Tensor:
    weights = curvatures * (1 - lr * curvatures) ** 2
    return (weights * centres).sum() / weights.sum()


def _best_without_step(curvatures: Tensor, centres: Tensor, lr: float) -> Tensor:
    return (curvatures * centres).sum() / curvatures.sum()


def _one_bracket(curvatures: Tensor, centres: Tensor, lr: float) -> Tensor:
    weights = curvatures * (1 - lr * curvatures)
    return (weights * centres).sum() / weights.sum()


def _brackets_only(curvatures: Tensor, centres: Tensor, lr: float) -> Tensor:
    weights = (1 - lr * curvatures) ** 2
    return (weights * centres).sum() / weights.sum()


def _plain_mean(curvatures: Tensor, centres: Tensor, lr: float) -> Tensor:
    return centres.mean()


def _bowls() -> list[Case]:
    curvatures = [[4.0, 0.5], [1.0, 2.0, 3.0], [0.5, 0.5, 6.0]]
    centres = [[-1.0, 1.0], [0.0, 1.0, -2.0], [2.0, 1.0, -1.0]]
    return [
        (torch.tensor(a, dtype=torch.float64), torch.tensor(c, dtype=torch.float64), lr)
        for a, c, lr in zip(curvatures, centres, (0.2, 0.1, 0.3), strict=True)
    ]


def _outer_loss(policy: MLPPolicy, theta: Params, support: Rollout, query: Rollout, lr: float) -> Tensor:
    adapted = adapt(policy, tile(theta, len(support.rewards)), support, policy_gradient, lr)
    return policy_gradient(policy, adapted, query).mean()


def _first_order(policy: MLPPolicy, theta: Params, support: Rollout, query: Rollout, lr: float) -> Tensor:
    params = tile(theta, len(support.rewards))
    return policy_gradient(policy, adapt(policy, params, support, policy_gradient, lr, False), query).mean()


def _copied(policy: MLPPolicy, theta: Params, support: Rollout, query: Rollout, lr: float) -> Tensor:
    copy = {name: p.detach().clone().requires_grad_() for name, p in theta.items()}
    return _outer_loss(policy, copy, support, query, lr)


def _support_again(policy: MLPPolicy, theta: Params, support: Rollout, query: Rollout, lr: float) -> Tensor:
    return _outer_loss(policy, theta, support, support, lr)


def _adapted_on_query(policy: MLPPolicy, theta: Params, support: Rollout, query: Rollout, lr: float) -> Tensor:
    return _outer_loss(policy, theta, query, query, lr)


def _not_adapted(policy: MLPPolicy, theta: Params, support: Rollout, query: Rollout, lr: float) -> Tensor:
    return policy_gradient(policy, tile(theta, len(support.rewards)), query).mean()


def _summed(policy: MLPPolicy, theta: Params, support: Rollout, query: Rollout, lr: float) -> Tensor:
    return len(support.rewards) * _outer_loss(policy, theta, support, query, lr)


def _value_and_gradient(
    answer: Callable[..., Tensor], policy: MLPPolicy, theta: Params, support: Rollout, query: Rollout, lr: float
) -> tuple[Tensor, Params]:
    """The outer loss and the meta-gradient through it; zeros where no path leads back."""
    value = answer(policy, theta, support, query, lr)
    grads: tuple[Tensor | None, ...] = (None,) * len(theta)
    if isinstance(value, Tensor) and value.requires_grad:
        grads = torch.autograd.grad(value.sum(), list(theta.values()), allow_unused=True)
        value = value.detach()
    pairs = zip(theta.items(), grads, strict=True)
    return value, {name: torch.zeros_like(p) if g is None else g for (name, p), g in pairs}


def _meta_batch() -> list[Case]:
    cases: list[Case] = []
    for seed, num_tasks in ((0, 3), (1, 2)):
        gen, tasks = generator(seed), PointGoal(horizon=5, dtype=torch.float64)
        policy = MLPPolicy.for_tasks(tasks, gen, hidden=(4,))
        params, task = tile(policy.params(), num_tasks), tasks.sample(num_tasks, gen)
        support, query = (with_advantages(rollout(tasks, policy, params, task, 3, gen)) for _ in range(2))
        cases.append((policy, policy.params(), support, query, 0.5))
    return cases


def _several_steps(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    phi = theta
    for _ in range(steps):
        (grad,) = torch.autograd.grad(loss(phi), phi, create_graph=True)
        phi = phi - lr * grad
    return phi


def _stale(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    (grad,) = torch.autograd.grad(loss(theta), theta, create_graph=True)
    return theta - steps * lr * grad


def _without_graph(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    phi = theta
    for _ in range(steps):
        (grad,) = torch.autograd.grad(loss(phi), phi)
        phi = phi - lr * grad
    return phi


def _cut(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    """Detached after every step: the path back to theta is lost after the first."""
    phi = theta
    for place in range(steps):
        start = phi if place == 0 else phi.detach().requires_grad_()
        phi = _several_steps(loss, start, lr, 1)
    return phi


def _from_a_copy(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    return _several_steps(loss, theta.detach().clone().requires_grad_(), lr, steps)


def _one_short(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    return _several_steps(loss, theta, lr, steps - 1)


def _uphill(loss: Loss, theta: Tensor, lr: float, steps: int) -> Tensor:
    return _several_steps(loss, theta, -lr, steps)


def _end_and_slope(
    answer: Callable[..., Tensor], loss: Loss, theta: Tensor, lr: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Where the steps end, and the gradient of the loss there with respect to where they began."""
    end = answer(loss, theta, lr, steps)
    if not (isinstance(end, Tensor) and end.requires_grad):
        return end, torch.zeros_like(theta)
    (slope,) = torch.autograd.grad(loss(end), theta, allow_unused=True)
    return end.detach(), torch.zeros_like(theta) if slope is None else slope


def _quartic(theta: Tensor) -> Tensor:
    return (theta**4).sum() / 4


def _valley(theta: Tensor) -> Tensor:
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
            "This is the best point to stay at: the step does not enter. Judge the loss at phi.": _best_without_step,
            "Here the step enters once. It enters twice: the landing point moves with theta, and so does the "
            "distance that is left.": _one_bracket,
            "The brackets are right, but the loss of a sharp bowl counts more per distance.": _brackets_only,
            "The tasks do not count alike: what a step leaves of a loss depends on the curvature.": _plain_mean,
        },
        praise="The start helps where the step cannot.",
    ),
    Exercise(
        "6.2",
        "the outer loss",
        reference=_outer_loss,
        cases=_meta_batch,
        through=_value_and_gradient,
        parts=("the value", "its gradient with respect to theta"),
        tolerance=1e-6,
        mistakes={
            "The value is right, its gradient is the first-order one. Look at the arguments of adapt.": _first_order,
            "The value is right, but no gradient reaches theta: parameters are copied or detached.": _copied,
            "The adapted policies are judged on the support, which they have already seen.": _support_again,
            "The step is taken on the query; it should be taken on the support.": _adapted_on_query,
            "The loss is taken at theta, before the step. Which parameters are the adapted ones?": _not_adapted,
            "This is the sum over the tasks; the mean is asked for.": _summed,
        },
        praise="Its gradient is what meta_gradient computes, chunk by chunk.",
    ),
    Exercise(
        "6.3",
        "several steps",
        reference=_several_steps,
        cases=_walks,
        through=_end_and_slope,
        parts=("the end point", "its derivative with respect to theta"),
        tolerance=1e-6,
        mistakes={
            "Every step uses the slope at theta. From the second step on it should be the slope at phi.": _stale,
            "The end point is right, but its derivative is the first-order one. Look at the arguments of "
            "torch.autograd.grad.": _without_graph,
            "The end point is right, but only the first step is connected to theta: a later one begins at a "
            "detached copy.": _cut,
            "The end point is right, but the walk begins at a copy of theta, so no gradient reaches it.": _from_a_copy,
            "One step too few.": _one_short,
            "Your steps go uphill: a loss is made smaller by subtracting its gradient.": _uphill,
        },
        praise="The same loop, with episodes drawn before each step, is inner_loop.",
    ),
]
