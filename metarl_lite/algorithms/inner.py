"""The inner loop: a few gradient steps for every task by itself, and the numbers of a run.

Source: Finn, Abbeel and Levine (2017), algorithm 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..given import check_callable, switches
from ..losses import LOSSES, check_loss, check_losses, check_used
from ..policies.mlp import MLPPolicy
from ..returns import with_advantages
from ..rollout import Noise, rollout
from ..tasks.base import TaskDistribution
from ..types import LossFunction, Params, Rollout, Task
from .checks import Rates, check_step, learnable, noises, rates_of, tasks_of
from .configs import MAMLConfig


@torch.inference_mode(False)  # gradients are on, wherever this is called
def adapt(
    policy: MLPPolicy,
    params: Params,
    batch: Rollout,
    loss_fn: LossFunction,
    lr: float | Tensor | Rates,
    create_graph: bool = True,
) -> Params:
    r"""One gradient step for every task by itself: the inner loop of MAML.

    $$ \phi_i = \theta_i - \alpha \nabla_{\theta_i} L_i(\theta_i) $$

    The result stays a differentiable function of `params`. With `create_graph=False` the inner gradient counts as a
    constant, and the outer gradient through the step is the first-order one.

    A parameter that the loss does not use stays as it is. So does one that requires no gradient, a frozen layer; but
    where none of them requires one, as after `load`, all of them move. Under the transforms of `torch.func`, which do
    not ask what requires a gradient, all move that have a rate, and nothing is said of numbers that are not finite.

    Args:
        policy: the network.
        params: leaves `[N, ...]`.
        batch: what the loss is computed from.
        loss_fn: `loss_fn(policy, params, batch)` gives `[N]`.
        lr: alpha; or a rate for each parameter by name, and then parameters that are not named stay as they are. A
            rate is a number, or a tensor that broadcasts to its parameter.
        create_graph: keep the graph of the gradient, for second derivatives.

    Returns:
        New parameters, leaves `[N, ...]`; the given ones are unchanged.

    Raises:
        ValueError: if the loss is not one number for each task, a rate has no parameter or does not fit it, or the
            parameters have no task dimension.
        Diverged: if the loss of a task is not finite, its gradient is not, or the step leads to what is not.

    Source: Finn et al. (2017), equation 1.
    """
    params = learnable(params)
    rates, num_tasks = rates_of(params, lr), tasks_of(params)
    check_callable("policy params batch", loss_fn=loss_fn)

    def losses(moving: Params) -> Tensor:
        return check_losses(loss_fn(policy, params | moving, batch), num_tasks)  # [N]

    grads = gradient(losses, {name: params[name] for name in rates}, create_graph)
    used = {n: g for n, g in zip(rates, grads, strict=True) if g is not None}
    steps = {name: rates[name] * g for name, g in used.items()}
    adapted = {n: p - steps[n] if n in steps else p for n, p in params.items()}
    check_step(params, used, rates, adapted)
    return adapted


def gradient(
    losses: Callable[[Params], Tensor], params: Params, create_graph: bool
) -> tuple[Tensor | None, ...]:
    """The gradient of the sum of losses `[N]`, for each parameter in order; None where they do not use it.

    Under a transform of `torch.func` that is again such a transform: autograd would see no more than the innermost
    one's tensors, and take all others for unused.
    """
    (create_graph,) = switches(create_graph=create_graph)
    if torch._C._are_functorch_transforms_active():
        found = torch.func.grad(lambda moving: losses(moving).sum())(params).values()
        return tuple(g if create_graph else g.detach() for g in found)
    loss = losses(params)
    check_loss(loss, "before an inner step")
    grads = torch.autograd.grad(
        loss.sum(), list(params.values()), create_graph=create_graph, allow_unused=True
    )
    check_used(grads)
    return grads


def one_rate(params: Params, alpha: float) -> Rates:
    """MAML: every parameter moves at the same rate, alpha."""
    return dict.fromkeys(params, alpha)


def last_layer_rate(params: Params, alpha: float) -> Rates:
    """ANIL, "almost no inner loop": only the last layer moves. Source: Raghu et al. (2020), section 4."""
    named = [name[1:] for name in params if name.startswith("w")]
    layers = [int(number) for number in named if number.isdigit()]
    if not layers:
        raise ValueError(
            "these parameters have no layers w0, w1, ...: ANIL moves the last layer "
            "of an MLPPolicy."
        )
    last = max(layers)
    return dict.fromkeys([f"w{last}", f"b{last}"], alpha)


def learned_rates(params: Params, alpha: float) -> Rates:
    """Meta-SGD: every single weight has a rate of its own, learned with it. Source: Li et al. (2017), equation 2."""
    own = [name for name in params if not name.startswith("lr_")]
    missing = [name for name in own if f"lr_{name}" not in params]
    if missing:
        raise ValueError(
            f"this policy carries no learned rates of {', '.join(missing)}: train it "
            "with maml, or add them: policy.with_rates(0.1)."
        )
    return {name: params[f"lr_{name}"] for name in own}


def step_sizes(params: Params, config: MAMLConfig, step: int = 0) -> Rates:
    """The rates of an inner step, counted from 0, that the configuration asks for.

    Raises:
        ValueError: if the parameters include learned rates and the algorithm would not use them.
    """
    if config.algorithm != "meta_sgd" and any(
        name.startswith("lr_") for name in params
    ):
        raise ValueError(
            "this policy carries learned rates, which algorithm = "
            f"{config.algorithm!r} would not use: algorithm='meta_sgd' does."
        )
    rules = {"anil": last_layer_rate, "meta_sgd": learned_rates}
    rates = rules.get(config.algorithm, one_rate)(params, config.inner_lr)
    if step == 0 or config.later_steps == 1:
        return rates
    return {name: config.later_steps * rate for name, rate in rates.items()}


def sample(
    tasks: TaskDistribution,
    policy: MLPPolicy,
    params: Params,
    task: Task,
    config: MAMLConfig,
    noise: Noise,
) -> Rollout:
    """A rollout of every task with its advantages, as `config` wants them.

    Raises:
        ValueError: where normalised advantages would be 0, whatever is done: there is one step, and nothing beside it.
    """
    if config.normalise and config.episodes * tasks.horizon == 1:
        raise ValueError(
            f"episodes = 1 of {tasks.name}, whose horizon is 1: the advantage of one "
            "step, normalised, is 0; set episodes=20, say, or normalise=False."
        )
    batch = rollout(tasks, policy, params, task, config.episodes, noise=noise)
    return with_advantages(batch, config.discount, config.gae_lambda, config.normalise)


@torch.inference_mode(False)  # gradients are on, wherever this is called
def inner_loop(
    tasks: TaskDistribution,
    policy: MLPPolicy,
    params: Params,
    task: Task,
    config: MAMLConfig,
    noise: Sequence[Noise],
    create_graph: bool = True,
) -> tuple[Params, list[Rollout]]:
    """Takes one step of adaptation, from fresh episodes, for each element of `noise`.

    Returns:
        The adapted parameters `[N, ...]`, and the episodes that each step was taken from.

    Raises:
        ValueError: where there is no sequence of noise.
    """
    support, loss_fn = [], LOSSES[config.inner_loss]
    for step, drawn in enumerate(noises(noise)):
        batch = sample(tasks, policy, params, task, config, drawn)
        rates = step_sizes(params, config, step)
        params = adapt(policy, params, batch, loss_fn, rates, create_graph)
        support.append(batch)
    return params, support


def mean_returns(batches: Sequence[Rollout]) -> Tensor:
    """Mean undiscounted returns of each batch and task, `[len(batches), N]`."""
    return torch.stack([batch.returns().mean(1) for batch in batches])
