"""Model-agnostic meta-learning: learn parameters from which one gradient step suffices.

Source: Finn, Abbeel and Levine (2017), algorithm 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

from .losses import policy_gradient
from .policies import MLPPolicy, tile
from .returns import with_advantages
from .rollout import Noise, draw_noise, rollout
from .tasks.base import TaskDistribution, check_positive, index_task
from .types import Diverged, LossFunction, Params, Rollout, Task


@dataclass(frozen=True)
class MAMLConfig:
    """The numbers of a MAML run."""

    iterations: int = 100  # meta-updates
    num_tasks: int = 20  # N, tasks of each meta-batch
    episodes: int = 20  # E, episodes to adapt from, and as many after each step
    inner_steps: int = 1  # gradient steps of the inner loop
    inner_lr: float = 0.1  # alpha, one number for all parameters
    outer_lr: float = 3e-3  # of Adam
    first_order: bool = False  # leave out the derivative of the inner gradient (FOMAML)
    discount: float = 0.99  # gamma
    gae_lambda: float = 1.0  # lambda
    normalise: bool = True  # advantages of each task to mean 0 and standard deviation 1
    max_grad_norm: float = 1.0  # clips the meta-gradient's length
    chunk_size: int | None = None  # tasks differentiated at once; None for all. Changes memory, not the result

    def __post_init__(self) -> None:
        check_positive(iterations=self.iterations, num_tasks=self.num_tasks, episodes=self.episodes)
        if self.chunk_size is not None:
            check_positive(chunk_size=self.chunk_size)
        if isinstance(self.inner_steps, bool) or not isinstance(self.inner_steps, int) or self.inner_steps < 0:
            raise ValueError(f"inner_steps = {self.inner_steps!r}: 0 (no adaptation) or a positive integer is needed.")
        for name in ("inner_lr", "outer_lr", "max_grad_norm"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"{name} = {value!r}: a positive number is needed, such as {name}=0.1.")
        for name in ("discount", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)}: it must lie between 0 and 1, such as {name}=0.99.")


def adapt(
    policy: MLPPolicy,
    params: Params,
    batch: Rollout,
    loss_fn: LossFunction,
    lr: float,
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
        lr: alpha.
        create_graph: keep the graph of the gradient, for second derivatives.

    Returns:
        New parameters, leaves `[N, ...]`; the given ones are unchanged.

    Raises:
        Diverged: if the loss of a task is not finite.

    Source: Finn et al. (2017), equation 1.
    """
    loss = loss_fn(policy, params, batch)  # [N]
    _check_loss(loss, f"before an inner step of size {lr}")
    grads = torch.autograd.grad(loss.sum(), list(params.values()), create_graph=create_graph)
    return {name: p - lr * g for (name, p), g in zip(params.items(), grads, strict=True)}


def inner_loop(
    tasks: TaskDistribution,
    policy: MLPPolicy,
    params: Params,
    task: Task,
    config: MAMLConfig,
    noise: Sequence[Noise],
    create_graph: bool = True,
) -> tuple[Params, list[Tensor]]:
    """Takes one step of adaptation, from fresh episodes, for each element of `noise`.

    Returns:
        The adapted parameters `[N, ...]`, and the undiscounted returns `[N, E]` of the episodes before each step.
    """
    returns = []
    for drawn in noise:
        support = rollout(tasks, policy, params, task, config.episodes, noise=drawn)
        returns.append(support.returns())
        support = with_advantages(support, config.discount, config.gae_lambda, config.normalise)
        params = adapt(policy, params, support, policy_gradient, config.inner_lr, create_graph)
    return params, returns


def meta_gradient(
    tasks: TaskDistribution,
    policy: MLPPolicy,
    theta: Params,
    task: Task,
    config: MAMLConfig,
    noise: Sequence[Noise],
) -> tuple[Params, Tensor]:
    r"""The gradient of the adapted policies' loss with respect to the initialisation they share.

    $$ \nabla_\theta \frac1N \sum_i L_i\big(\phi_i(\theta)\big) $$

    Tasks are worked through in chunks of `config.chunk_size`; the sum, and so the result, is the same.

    Args:
        tasks: the family.
        policy: the network.
        theta: the initialisation; leaves without a task dimension that require a gradient.
        task: the meta-batch, leaves `[N, ...]`.
        config: inner steps, learning rate and the like.
        noise: one for each inner step, and a last one for the episodes after adaptation.

    Returns:
        The meta-gradient, shaped like `theta`; and mean returns `[inner_steps + 1, N]` after 0, 1, ... inner steps.

    Source: Finn et al. (2017), algorithm 3, line 10.
    """
    num_tasks = len(noise[0].action)
    chunk = config.chunk_size or num_tasks
    total = {name: torch.zeros_like(p) for name, p in theta.items()}
    curves = []
    for start in range(0, num_tasks, chunk):
        part = slice(start, min(start + chunk, num_tasks))
        task_part, noise_part = index_task(task, part), [drawn[part] for drawn in noise]
        params = tile(theta, part.stop - part.start)
        params, returns = inner_loop(
            tasks, policy, params, task_part, config, noise_part[:-1], create_graph=not config.first_order
        )
        query = rollout(tasks, policy, params, task_part, config.episodes, noise=noise_part[-1])
        curves.append(torch.stack([r.mean(1) for r in (*returns, query.returns())]))
        query = with_advantages(query, config.discount, config.gae_lambda, config.normalise)
        loss = policy_gradient(policy, params, query)  # [N]
        _check_loss(loss, f"after inner steps of size {config.inner_lr}")
        for name, g in zip(theta, torch.autograd.grad(loss.sum(), list(theta.values())), strict=True):
            total[name] += g / num_tasks
    return total, torch.cat(curves, 1)


@dataclass(repr=False)
class History:
    """What training saw, one entry for each meta-iteration."""

    returns: list[list[float]] = field(default_factory=list)  # mean undiscounted return after 0, 1, ... inner steps
    grad_norm: list[float] = field(default_factory=list)  # length of the meta-gradient, before it was clipped

    def __repr__(self) -> str:
        last = f", last returns {[round(r, 2) for r in self.returns[-1]]}" if self.returns else ""
        return f"History({len(self.returns)} iterations{last})"


def maml(
    tasks: TaskDistribution,
    policy: MLPPolicy,
    config: MAMLConfig,
    gen: torch.Generator,
    callback: Callable[[int, MLPPolicy, History], bool | None] | None = None,
) -> tuple[MLPPolicy, History]:
    """Trains an initialisation from which `config.inner_steps` gradient steps solve a task.

    Args:
        tasks: the family; a fresh meta-batch is drawn in each iteration.
        policy: where training starts; it is not changed.
        config: the numbers of the run.
        gen: draws tasks and noise. The same seed gives the same result, to the bit, on one thread.
        callback: called after each iteration with (iteration, policy so far, history); training ends early where it
            returns True.

    Returns:
        The trained policy and its history. After Ctrl-C, what was trained so far.

    Raises:
        Diverged: if a loss is not finite; the error names the iteration and carries the last good policy.
    """
    theta = policy.params()
    optimiser = torch.optim.Adam(theta.values(), lr=config.outer_lr)
    history, iteration = History(), 0
    try:
        for iteration in tqdm(range(config.iterations), desc="maml", leave=False):
            task = tasks.sample(config.num_tasks, gen)
            noise = [
                draw_noise(tasks, policy, config.num_tasks, config.episodes, gen) for _ in range(config.inner_steps + 1)
            ]
            gradient, returns = meta_gradient(tasks, policy, theta, task, config, noise)
            for name, p in theta.items():
                p.grad = gradient[name]
            norm = torch.nn.utils.clip_grad_norm_(theta.values(), config.max_grad_norm, error_if_nonfinite=False)
            _check_loss(norm, "in the length of the meta-gradient")
            optimiser.step()
            policy = policy.replace(theta)
            history.returns.append(returns.mean(1).tolist())
            history.grad_norm.append(norm.item())
            if callback is not None and callback(iteration, policy, history):
                break
    except KeyboardInterrupt:
        print(f"maml: interrupted in iteration {iteration} of {config.iterations}; this is what was trained so far.")
    except Diverged as error:
        raise _with_state(error, iteration, policy, history, config) from error
    return policy, history


def _check_loss(loss: Tensor, where: str) -> None:
    if not bool(torch.isfinite(loss).all()):
        bad = loss[~torch.isfinite(loss)].flatten()[0].item()
        raise Diverged(f"a loss of {bad} {where}: losses must be finite. Try a learning rate ten times smaller.")


def _with_state(error: Diverged, iteration: int, policy: MLPPolicy, history: History, config: MAMLConfig) -> Diverged:
    full = Diverged(
        f"maml stopped in iteration {iteration} with inner_lr = {config.inner_lr} and outer_lr = {config.outer_lr}: "
        f"{error} The last good parameters are this error's .policy, the record so far its .history."
    )
    full.iteration, full.policy, full.history = iteration, policy, history
    return full
