"""The inner loop: a few gradient steps for every task by itself, and the numbers of a run.

Source: Finn, Abbeel and Levine (2017), algorithm 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..losses import LOSSES, check_loss
from ..policies.mlp import MLPPolicy
from ..returns import with_advantages
from ..rollout import Noise, rollout
from ..tasks.base import TaskDistribution
from ..types import LossFunction, Params, Rollout, Task
from .configs import MAMLConfig

#: Sizes of an inner step by the name of the parameter that takes it; who is not named
#: stays where it is.
Rates = dict[str, float | Tensor]


def adapt(
    policy: MLPPolicy,
    params: Params,
    batch: Rollout,
    loss_fn: LossFunction,
    lr: float | Rates,
    create_graph: bool = True,
) -> Params:
    r"""One gradient step for every task by itself: the inner loop of MAML.

    $$ \phi_i = \theta_i - \alpha \nabla_{\theta_i} L_i(\theta_i) $$

    The result stays a differentiable function of `params`. With `create_graph=False` the inner gradient counts as a
    constant, and the outer gradient through the step is the first-order one.

    Args:
        policy: the network.
        params: leaves `[N, ...]`.
        batch: what the loss is computed from.
        loss_fn: `loss_fn(policy, params, batch)` gives `[N]`.
        lr: alpha; or a rate for each parameter by name, and then parameters that are not named stay as they are.
        create_graph: keep the graph of the gradient, for second derivatives.

    Returns:
        New parameters, leaves `[N, ...]`; the given ones are unchanged.

    Raises:
        Diverged: if the loss of a task is not finite.

    Source: Finn et al. (2017), equation 1.
    """
    loss = loss_fn(policy, params, batch)  # [N]
    check_loss(loss, "before an inner step")
    rates = lr if isinstance(lr, dict) else dict.fromkeys(params, lr)
    grads = torch.autograd.grad(
        loss.sum(), [params[name] for name in rates], create_graph=create_graph
    )
    steps = {
        name: rate * g for (name, rate), g in zip(rates.items(), grads, strict=True)
    }
    return {name: p - steps[name] if name in steps else p for name, p in params.items()}


def one_rate(params: Params, alpha: float) -> Rates:
    """MAML: every parameter moves at the same rate, alpha."""
    return dict.fromkeys(params, alpha)


def last_layer_rate(params: Params, alpha: float) -> Rates:
    """ANIL, "almost no inner loop": only the last layer moves. Source: Raghu et al. (2020), section 4."""
    last = max(int(name[1:]) for name in params if name[0] == "w")
    return dict.fromkeys([f"w{last}", f"b{last}"], alpha)


def learned_rates(params: Params, alpha: float) -> Rates:
    """Meta-SGD: every single weight has a rate of its own, learned with it. Source: Li et al. (2017), equation 2."""
    rates: Rates = {
        name: params[f"lr_{name}"] for name in params if f"lr_{name}" in params
    }
    if not rates:
        raise ValueError(
            "this policy carries no learned rates: train it with maml, or add them: "
            "policy.with_rates(0.1)."
        )
    return rates


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
    """A rollout of every task with its advantages, as `config` wants them."""
    batch = rollout(tasks, policy, params, task, config.episodes, noise=noise)
    return with_advantages(batch, config.discount, config.gae_lambda, config.normalise)


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
    """
    support, loss_fn = [], LOSSES[config.inner_loss]
    for step, drawn in enumerate(noise):
        batch = sample(tasks, policy, params, task, config, drawn)
        rates = step_sizes(params, config, step)
        params = adapt(policy, params, batch, loss_fn, rates, create_graph)
        support.append(batch)
    return params, support


def mean_returns(batches: Sequence[Rollout]) -> Tensor:
    """Mean undiscounted returns of each batch and task, `[len(batches), N]`."""
    return torch.stack([batch.returns().mean(1) for batch in batches])
