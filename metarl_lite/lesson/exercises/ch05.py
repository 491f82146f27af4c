"""Exercises of chapter 5: a layer of N networks, one step for every task, the adapted return."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...algorithms.inner import adapt
from ...losses import policy_gradient
from ...policies.base import tile
from ...policies.mlp import MLPPolicy
from ...returns import with_advantages
from ...rng import generator, normal
from ...rollout import rollout
from ...tasks.navigation import PointGoal
from ...types import Params, Rollout, Task
from .base import Case, Exercise

LossOfTasks = Callable[[Params], Tensor]


# --- 5.1: a layer -----------------------------------------------------------------------------------------------------


def _layer(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x @ weight + bias.unsqueeze(1)


def _layers() -> list[Case]:
    # As many samples as networks and as many outputs as inputs: here the mistakes raise no error.
    gen = generator(0)
    return [
        tuple(normal(shape, gen, torch.float64).requires_grad_() for shape in ((n, n, i), (n, i, i), (n, i)))
        for n, i in ((3, 4), (2, 3), (2, 2))
    ]


# --- 5.2: one step ----------------------------------------------------------------------------------------------------


def _inner_step(params: Params, loss_fn: LossOfTasks, lr: float) -> Params:
    total = loss_fn(params).sum()
    grads = torch.autograd.grad(total, list(params.values()), create_graph=True)
    return {name: p - lr * g for (name, p), g in zip(params.items(), grads, strict=True)}


def _first_order(params: Params, loss_fn: LossOfTasks, lr: float) -> Params:
    grads = torch.autograd.grad(loss_fn(params).sum(), list(params.values()))
    return {name: p - lr * g for (name, p), g in zip(params.items(), grads, strict=True)}


def _first_task_only(params: Params, loss_fn: LossOfTasks, lr: float) -> Params:
    return _inner_step(params, lambda p: loss_fn(p)[:1], lr)


def _in_place(params: Params, loss_fn: LossOfTasks, lr: float) -> Params:
    for p, g in zip(params.values(), torch.autograd.grad(loss_fn(params).sum(), list(params.values())), strict=True):
        p.data -= lr * g
    return params


def _gradient_only(params: Params, loss_fn: LossOfTasks, lr: float) -> Params:
    return {name: p - q for (name, p), q in zip(params.items(), _inner_step(params, loss_fn, lr).values(), strict=True)}


def _step_cases() -> list[Case]:
    cases: list[Case] = []
    for seed, num_tasks in ((0, 3), (1, 4)):
        gen = generator(seed)
        x, y = normal((num_tasks, 5, 2), gen, torch.float64), normal((num_tasks, 5, 1), gen, torch.float64)
        weight, bias = normal((num_tasks, 2, 1), gen, torch.float64), normal((num_tasks, 1), gen, torch.float64)

        def loss_fn(params: Params, x: Tensor = x, y: Tensor = y) -> Tensor:
            """A squared error for each task."""
            return ((x @ params["w"] + params["b"].unsqueeze(1)).tanh() - y).square().mean((1, 2))  # [N]

        cases.append(({"w": weight.requires_grad_(), "b": bias.requires_grad_()}, loss_fn, 0.3))
    return cases


# --- 5.3: the adapted return ------------------------------------------------------------------------------------------


def _adapted_return(
    tasks: PointGoal, policy: MLPPolicy, theta: Params, task: Task, episodes: int, lr: float, gen: torch.Generator
) -> Tensor:
    params = tile(theta, len(task["goal"]))
    support = with_advantages(rollout(tasks, policy, params, task, episodes, gen))
    adapted = adapt(policy, params, support, policy_gradient, lr)
    query = rollout(tasks, policy, adapted, task, episodes, gen)
    return query.returns().mean(1)


Adapted = Callable[[MLPPolicy, Params, Rollout, float], Params]


def _normally(policy: MLPPolicy, params: Params, support: Rollout, lr: float) -> Params:
    return adapt(policy, params, with_advantages(support), policy_gradient, lr)


def _of(score: Callable[[Rollout, Rollout], Tensor], adapted: Adapted = _normally) -> Callable[..., Tensor]:
    """An answer that scores support and query, after another step."""

    def answer(
        tasks: PointGoal, policy: MLPPolicy, theta: Params, task: Task, episodes: int, lr: float, gen: torch.Generator
    ) -> Tensor:
        params = tile(theta, len(task["goal"]))
        support = rollout(tasks, policy, params, task, episodes, gen)
        query = rollout(tasks, policy, adapted(policy, params, support, lr), task, episodes, gen)
        return score(support, query)

    return answer


def _mean(support: Rollout, query: Rollout) -> Tensor:
    return query.returns().mean(1)


def _return_cases() -> list[Case]:
    cases: list[Case] = []
    for seed, num_tasks, episodes in ((0, 3, 4), (1, 2, 5)):
        gen, tasks = generator(seed), PointGoal(horizon=8, dtype=torch.float64)
        policy = MLPPolicy.for_tasks(tasks, gen, hidden=(8,))
        cases.append((tasks, policy, policy.params(), tasks.sample(num_tasks, gen), episodes, 2.0, gen))
    return cases


def _in_words(
    tasks: PointGoal, policy: MLPPolicy, theta: Params, task: Task, episodes: int, lr: float, gen: torch.Generator
) -> str:
    return (
        f"with {len(task['goal'])} goals, an untrained policy, {episodes} episodes of {tasks.horizon} steps, lr = {lr}"
    )


EXERCISES = [
    Exercise(
        "5.1",
        "a layer of N networks",
        reference=_layer,
        cases=_layers,
        derivatives={"x": "x", "weight": "weight", "bias": "bias"},
        tolerance=1e-6,
        mistakes={
            "The bias is lined up with the samples: sample b gets the bias of network b.": (
                lambda x, weight, bias: x @ weight + bias
            ),
            "All samples pass through the first network; each network has weights of its own.": (
                lambda x, weight, bias: x @ weight[0] + bias[0]
            ),
            "The weights are transposed: here they are [N, I, J], unlike in torch.nn.Linear.": (
                lambda x, weight, bias: x @ weight.mT + bias.unsqueeze(1)
            ),
            "The bias is lined up with the wrong dimension: its extra one belongs in the middle, [N, 1, J].": (
                lambda x, weight, bias: x @ weight + bias.unsqueeze(-1)
            ),
            "The bias is missing.": lambda x, weight, bias: x @ weight,
            "The bias is subtracted.": lambda x, weight, bias: x @ weight - bias.unsqueeze(1),
            "The layer is linear, without an activation.": lambda x, weight, bias: _layer(x, weight, bias).tanh(),
        },
        praise="N networks for the price of one call.",
    ),
    Exercise(
        "5.2",
        "one step for every task",
        reference=_inner_step,
        cases=_step_cases,
        derivatives={"params": "params"},
        tolerance=1e-6,
        mistakes={
            "Every step is N times too short: the losses are averaged over the tasks.": (
                lambda params, loss_fn, lr: _inner_step(params, loss_fn, lr / len(loss_fn(params)))
            ),
            "Your step goes uphill: a loss is made smaller by subtracting its gradient.": (
                lambda params, loss_fn, lr: _inner_step(params, loss_fn, -lr)
            ),
            "The new parameters are right, but their derivative is the first-order one. Look at the arguments "
            "of torch.autograd.grad.": _first_order,
            "The numbers are right, but the new parameters carry no gradient: they are detached.": (
                lambda params, loss_fn, lr: {k: p.detach() for k, p in _inner_step(params, loss_fn, lr).items()}
            ),
            "The numbers are right, but the start is overwritten: after `p.data -= ...` or an optimiser's step it is "
            "lost, and no gradient can come back to it. Make new tensors.": _in_place,
            "The numbers are right, but the step begins at a copy of the parameters, so no gradient reaches them.": (
                lambda params, loss_fn, lr: _inner_step(
                    {name: p.detach().clone().requires_grad_() for name, p in params.items()}, loss_fn, lr
                )
            ),
            "Only the first task has moved. Each has its loss, and all are differentiated: sum them.": _first_task_only,
            "This is the step alone; return where it leads.": _gradient_only,
        },
        praise="This is adapt, less its check that the loss is finite.",
    ),
    Exercise(
        "5.3",
        "the adapted return",
        reference=_adapted_return,
        cases=_return_cases,
        words=_in_words,
        tolerance=1e-6,
        mistakes={
            "This is the return of the support, earned before the step.": _of(
                lambda support, _: support.returns().mean(1)
            ),
            "The fresh episodes are played with theta. Which parameters has adapt returned?": _of(
                _mean, lambda policy, params, support, lr: params
            ),
            "The adapted policies are worse than they should be: look at the sign of the step.": _of(
                _mean, lambda policy, params, support, lr: _normally(policy, params, support, -lr)
            ),
            "This is the sum over the episodes; the mean is asked for.": _of(lambda _, query: query.returns().sum(1)),
            "This is the mean over the tasks as well. Each has a return of its own, [N].": _of(
                lambda _, query: query.returns().mean()
            ),
            "You average over the tasks and keep the episodes apart; it should be the other way round.": _of(
                lambda _, query: query.returns().mean(0)
            ),
            "These are the returns of single episodes, [N, E]; return their mean for each task.": _of(
                lambda _, query: query.returns()
            ),
            "This is the reward of a mean step; a return is the sum over an episode's steps.": _of(
                lambda _, query: query.rewards.mean((1, 2))
            ),
            "The advantages are normalised, so the step has another length. Call with_advantages without options.": _of(
                _mean,
                lambda policy, params, support, lr: adapt(
                    policy, params, with_advantages(support, normalise=True), policy_gradient, lr
                ),
            ),
            "The step is N times too short: the inner losses are averaged over the tasks.": _of(
                _mean, lambda policy, params, support, lr: _normally(policy, params, support, lr / len(support.rewards))
            ),
        },
        praise="Support, step, query: all of the inner loop.",
    ),
]
