"""The inner loop: a few gradient steps for every task by itself, and the numbers of a run.

Source: Finn, Abbeel and Levine (2017), algorithm 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .losses import LOSSES, check_loss
from .policies import MLPPolicy
from .returns import with_advantages
from .rollout import Noise, rollout
from .tasks.base import TaskDistribution, check_positive
from .types import LossFunction, Params, Rollout, Task

#: Sizes of an inner step by the name of the parameter that takes it; who is not named stays where it is.
Rates = dict[str, float | Tensor]

#: What `MAMLConfig.algorithm` may be.
ALGORITHMS = ("maml", "fomaml", "reptile", "anil", "meta_sgd", "e_maml")


@dataclass(frozen=True)
class MAMLConfig:
    """The numbers of a MAML run."""

    iterations: int = 100  # meta-updates
    num_tasks: int = 20  # N, tasks of each meta-batch
    episodes: int = 20  # E, episodes to adapt from, and as many after each step
    inner_steps: int = 1  # gradient steps of the inner loop
    inner_lr: float = 0.1  # alpha, one number for all parameters; where it starts for algorithm="meta_sgd"
    later_steps: float = 1.0  # factor on the inner rates after the first step; Finn et al. (2017) test with 0.5
    outer_lr: float = 3e-3  # of Adam
    final_lr: float | None = None  # outer_lr falls to this on a straight line over the iterations; None: it stays
    algorithm: str = "maml"  # or "fomaml", "reptile", "anil", "meta_sgd", "e_maml"
    inner_loss: str = "policy_gradient"  # or "dice", "linearised": what is differentiated for an inner step
    discount: float = 0.99  # gamma
    gae_lambda: float = 0.98  # lambda
    normalise: bool = True  # advantages of each task to mean 0 and standard deviation 1
    max_grad_norm: float = 1.0  # clips the meta-gradient's length
    max_kl: float = 0.01  # outer="trpo": delta, how far the adapted policies may move in one step
    damping: float = 1e-3  # outer="trpo": added to the Fisher matrix's diagonal
    cg_iterations: int = 10  # outer="trpo": products with the Fisher matrix to find a direction
    curvature_episodes: int = 2  # outer="trpo": episodes of each task that the Fisher matrix is taken from
    clip: float = 0.2  # outer="promp": epsilon, how far from 1 a ratio still counts
    epochs: int = 5  # outer="promp": steps of Adam on the same episodes
    kl_penalty: float = 5e-4  # outer="promp": eta, weight of the KL divergence of the initialisation
    chunk_size: int | None = None  # tasks differentiated at once; None for all. Changes memory, not the result

    def __post_init__(self) -> None:
        for name in ("iterations", "num_tasks", "episodes", "cg_iterations", "curvature_episodes", "epochs"):
            check_positive(**{name: getattr(self, name)})
        if self.chunk_size is not None:
            check_positive(chunk_size=self.chunk_size)
        if isinstance(self.inner_steps, bool) or not isinstance(self.inner_steps, int) or self.inner_steps < 0:
            raise ValueError(f"inner_steps = {self.inner_steps!r}: 0 (no adaptation) or a positive integer is needed.")
        for name in ("inner_lr", "later_steps", "outer_lr", "max_grad_norm", "max_kl", "clip"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"{name} = {value!r}: a positive number is needed, such as {name}=0.1.")
        for name in ("discount", "gae_lambda", "damping", "kl_penalty"):
            if not isinstance(getattr(self, name), int | float):
                raise ValueError(f"{name} = {getattr(self, name)!r}: a number is needed, such as {name}=0.001.")
        for name in ("discount", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)}: it must lie between 0 and 1, such as {name}=0.99.")
        for name in ("damping", "kl_penalty"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"{name} = {getattr(self, name)}: a number of at least 0 is needed, such as {name}=0.001."
                )
        if self.final_lr is not None and not 0 <= self.final_lr <= self.outer_lr:
            raise ValueError(f"final_lr = {self.final_lr!r}: it must lie between 0 and outer_lr = {self.outer_lr}.")
        for name, known in (("algorithm", ALGORITHMS), ("inner_loss", tuple(LOSSES))):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} = {getattr(self, name)!r}: choose one of {', '.join(map(repr, known))}. ('linearised' is "
                    "LVC; an outer update goes to maml(..., outer='trpo').)"
                )
        if self.algorithm == "meta_sgd" and self.inner_steps == 0:
            raise ValueError("inner_steps = 0: meta_sgd learns the rates of inner steps, so at least one is needed.")
        if self.algorithm == "e_maml" and self.chunk_size is not None:
            raise ValueError(
                f"chunk_size = {self.chunk_size}: E-MAML compares every task with all others of its meta-batch, so it "
                "cannot take them in parts: leave out chunk_size, or use a smaller num_tasks."
            )


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
    grads = torch.autograd.grad(loss.sum(), [params[name] for name in rates], create_graph=create_graph)
    steps = {name: rate * g for (name, rate), g in zip(rates.items(), grads, strict=True)}
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
    rates: Rates = {name: params[f"lr_{name}"] for name in params if f"lr_{name}" in params}
    if not rates:
        raise ValueError(
            "this policy carries no learned rates: train it with maml, or add them: policy.with_rates(0.1)."
        )
    return rates


def step_sizes(params: Params, config: MAMLConfig, step: int = 0) -> Rates:
    """The rates of an inner step, counted from 0, that the configuration asks for.

    Raises:
        ValueError: if the parameters include learned rates and the algorithm would not use them.
    """
    if config.algorithm != "meta_sgd" and any(name.startswith("lr_") for name in params):
        raise ValueError(
            f"this policy carries learned rates, which algorithm = {config.algorithm!r} would not use: "
            "algorithm='meta_sgd' does."
        )
    rule = {"anil": last_layer_rate, "meta_sgd": learned_rates}.get(config.algorithm, one_rate)
    rates = rule(params, config.inner_lr)
    factor = 1.0 if step == 0 else config.later_steps
    return rates if factor == 1 else {name: factor * rate for name, rate in rates.items()}


def sample(
    tasks: TaskDistribution, policy: MLPPolicy, params: Params, task: Task, config: MAMLConfig, noise: Noise
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
    support: list[Rollout] = []
    for step, drawn in enumerate(noise):
        support.append(sample(tasks, policy, params, task, config, drawn))
        rates = step_sizes(params, config, step)
        params = adapt(policy, params, support[-1], LOSSES[config.inner_loss], rates, create_graph)
    return params, support


def mean_returns(batches: Sequence[Rollout]) -> Tensor:
    """Mean undiscounted returns of each batch and task, `[len(batches), N]`."""
    return torch.stack([batch.returns().mean(1) for batch in batches])
