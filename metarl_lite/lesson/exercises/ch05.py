"""Exercises of chapter 5: a layer of N networks, one step for every task, the adapted return."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...algorithms.inner import adapt
from ...losses import policy_gradient
from ...policies.base import tile
from ...policies.layers import linear
from ...policies.mlp import MLPPolicy
from ...returns import with_advantages
from ...rng import generator, normal
from ...rollout import rollout
from ...tasks.navigation import PointGoal
from ...types import Params, Task
from .base import Case, Exercise

LossOfTasks = Callable[[Params], Tensor]


def _layer(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return linear(x, weight, bias)


def _bias_by_sample(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x @ weight + bias


def _one_network(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x @ weight[0] + bias[0]


def _transposed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x @ weight.mT + bias.unsqueeze(1)


def _no_bias(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x @ weight


def _layers() -> list[Case]:
    # As many samples as networks and as many outputs as inputs: here the mistakes raise no error.
    gen = generator(0)
    return [
        tuple(normal(shape, gen, torch.float64) for shape in ((n, n, i), (n, i, i), (n, i)))
        for n, i in ((3, 4), (2, 3))
    ]


def _inner_step(params: Params, loss_fn: LossOfTasks, lr: float) -> Params:
    grads = torch.autograd.grad(loss_fn(params).sum(), list(params.values()), create_graph=True)
    return {name: p - lr * g for (name, p), g in zip(params.items(), grads, strict=True)}


def _mean_over_tasks(params: Params, loss_fn: LossOfTasks, lr: float) -> Params:
    return _inner_step(params, loss_fn, lr / len(loss_fn(params)))


def _uphill(params: Params, loss_fn: LossOfTasks, lr: float) -> Params:
    return _inner_step(params, loss_fn, -lr)


def _first_order(params: Params, loss_fn: LossOfTasks, lr: float) -> Params:
    grads = torch.autograd.grad(loss_fn(params).sum(), list(params.values()))
    return {name: p - lr * g for (name, p), g in zip(params.items(), grads, strict=True)}


def _cut_off(params: Params, loss_fn: LossOfTasks, lr: float) -> Params:
    return {name: p.detach() for name, p in _inner_step(params, loss_fn, lr).items()}


def _gradient_only(params: Params, loss_fn: LossOfTasks, lr: float) -> Params:
    return {name: p - q for (name, p), q in zip(params.items(), _inner_step(params, loss_fn, lr).values(), strict=True)}


def _step_and_slope(
    answer: Callable[..., Params], params: Params, loss_fn: LossOfTasks, lr: float
) -> tuple[Params, Params]:
    """The adapted parameters, and the gradient of the loss there with respect to where the step began."""
    adapted = answer(params, loss_fn, lr)
    none = {name: torch.zeros_like(p) for name, p in params.items()}
    if not isinstance(adapted, dict) or not all(isinstance(p, Tensor) for p in adapted.values()):
        return adapted, none
    if set(adapted) != set(params) or not all(p.requires_grad for p in adapted.values()):
        return adapted, none
    slopes = torch.autograd.grad(loss_fn(adapted).sum(), list(params.values()), allow_unused=True)
    pairs = zip(params.items(), slopes, strict=True)
    plain = {name: p.detach() for name, p in adapted.items()}
    return plain, {name: torch.zeros_like(p) if g is None else g for (name, p), g in pairs}


def _step_cases() -> list[Case]:
    cases: list[Case] = []
    for seed, num_tasks in ((0, 3), (1, 4)):
        gen = generator(seed)
        x, y = normal((num_tasks, 5, 2), gen, torch.float64), normal((num_tasks, 5, 1), gen, torch.float64)
        weight, bias = normal((num_tasks, 2, 1), gen, torch.float64), normal((num_tasks, 1), gen, torch.float64)

        def loss_fn(params: Params, x: Tensor = x, y: Tensor = y) -> Tensor:
            return (linear(x, params["w"], params["b"]).tanh() - y).square().mean((1, 2))  # [N]

        cases.append(({"w": weight.requires_grad_(), "b": bias.requires_grad_()}, loss_fn, 0.3))
    return cases


def _adapted_return(
    tasks: PointGoal, policy: MLPPolicy, theta: Params, task: Task, episodes: int, lr: float, gen: torch.Generator
) -> Tensor:
    params = tile(theta, len(task["goal"]))
    support = with_advantages(rollout(tasks, policy, params, task, episodes, gen))
    adapted = adapt(policy, params, support, policy_gradient, lr)
    return rollout(tasks, policy, adapted, task, episodes, gen).returns().mean(1)


def _return_of_support(
    tasks: PointGoal, policy: MLPPolicy, theta: Params, task: Task, episodes: int, lr: float, gen: torch.Generator
) -> Tensor:
    return rollout(tasks, policy, tile(theta, len(task["goal"])), task, episodes, gen).returns().mean(1)


def _not_adapted(
    tasks: PointGoal, policy: MLPPolicy, theta: Params, task: Task, episodes: int, lr: float, gen: torch.Generator
) -> Tensor:
    _return_of_support(tasks, policy, theta, task, episodes, lr, gen)
    return _return_of_support(tasks, policy, theta, task, episodes, lr, gen)


def _wrong_way(
    tasks: PointGoal, policy: MLPPolicy, theta: Params, task: Task, episodes: int, lr: float, gen: torch.Generator
) -> Tensor:
    return _adapted_return(tasks, policy, theta, task, episodes, -lr, gen)


def _summed(
    tasks: PointGoal, policy: MLPPolicy, theta: Params, task: Task, episodes: int, lr: float, gen: torch.Generator
) -> Tensor:
    return episodes * _adapted_return(tasks, policy, theta, task, episodes, lr, gen)


def _return_cases() -> list[Case]:
    cases: list[Case] = []
    for seed, num_tasks, episodes in ((0, 3, 4), (1, 2, 5)):
        gen, tasks = generator(seed), PointGoal(horizon=8, dtype=torch.float64)
        policy = MLPPolicy.for_tasks(tasks, gen, hidden=(8,))
        cases.append((tasks, policy, policy.params(), tasks.sample(num_tasks, gen), episodes, 2.0, gen))
    return cases


EXERCISES = [
    Exercise(
        "5.1",
        "a layer of N networks",
        reference=_layer,
        cases=_layers,
        tolerance=1e-6,
        mistakes={
            "The bias is lined up with the samples: sample b gets the bias of network b.": _bias_by_sample,
            "All samples pass through the first network; each network has weights of its own.": _one_network,
            "The weights are transposed: here they are [N, I, J], unlike in torch.nn.Linear.": _transposed,
            "The bias is missing.": _no_bias,
        },
        praise="N networks for the price of one call.",
    ),
    Exercise(
        "5.2",
        "one step for every task",
        reference=_inner_step,
        cases=_step_cases,
        through=_step_and_slope,
        tolerance=1e-6,
        mistakes={
            "Every step is N times too short: the losses are averaged over the tasks.": _mean_over_tasks,
            "Your step goes uphill: a loss is made smaller by subtracting its gradient.": _uphill,
            "The new parameters are right, but their derivative is the first-order one. Look at the arguments "
            "of torch.autograd.grad.": _first_order,
            "The numbers are right, but the new parameters carry no gradient: they are detached.": _cut_off,
            "This is the step alone; return where it leads.": _gradient_only,
        },
        praise="This is adapt, less its check that the loss is finite.",
    ),
    Exercise(
        "5.3",
        "the adapted return",
        reference=_adapted_return,
        cases=_return_cases,
        tolerance=1e-6,
        mistakes={
            "This is the return of the support, earned before the step.": _return_of_support,
            "The fresh episodes are played with theta. Which parameters has adapt returned?": _not_adapted,
            "The adapted policies are worse than they should be: look at the sign of the step.": _wrong_way,
            "This is the sum over the episodes; the mean is asked for.": _summed,
        },
        praise="Support, step, query: all of the inner loop.",
    ),
]
