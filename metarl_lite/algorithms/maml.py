"""Model-agnostic meta-learning: learn parameters from which one gradient step suffices.

Source: Finn, Abbeel and Levine (2017), algorithm 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

from ..policies.mlp import MLPPolicy
from ..ram import keep_freed_memory
from ..rollout import Noise, draw_noise
from ..tasks.base import TaskDistribution, check_kind, index_task
from ..types import Diverged, Params, Task
from .configs import MAMLConfig
from .inner import adapt, inner_loop, mean_returns
from .outer import Proximal, Seen, TrustRegion, adam
from .relatives import GRADIENTS, maml_gradient

__all__ = ["OUTER", "Adam", "History", "MAMLConfig", "adapt", "inner_loop", "maml", "meta_gradient"]


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
    gradient = GRADIENTS.get(config.algorithm, maml_gradient)
    total = {name: torch.zeros_like(p) for name, p in theta.items()}
    curves = []
    for start in range(0, num_tasks, chunk):
        part = slice(start, min(start + chunk, num_tasks))
        grads, batches = gradient(
            tasks, policy, theta, index_task(task, part), config, [drawn[part] for drawn in noise]
        )
        curves.append(mean_returns(batches))
        for name, g in zip(theta, grads, strict=True):
            total[name] += g / num_tasks
    return total, torch.cat(curves, 1)


class Adam:
    """The plain outer update: Adam on the meta-gradient, its length clipped."""

    def __init__(self, theta: Params, config: MAMLConfig) -> None:
        self.theta, self.config, self.adam = theta, config, adam(theta, config)

    def step(
        self, tasks: TaskDistribution, policy: MLPPolicy, task: Task, noise: Sequence[Noise]
    ) -> tuple[Tensor, Seen]:
        """Changes theta in place; returns `[inner_steps + 1, N]`, and what happened."""
        gradient, returns = meta_gradient(tasks, policy, self.theta, task, self.config, noise)
        norm = self.adam.step(list(gradient.values()))
        self.adam.end_iteration()
        return returns, {"grad_norm": norm}


#: Outer updates by name: each changes theta by `step`, and says what happened.
OUTER: dict[str, type[Adam | TrustRegion | Proximal]] = {"adam": Adam, "trpo": TrustRegion, "promp": Proximal}


@dataclass(repr=False)
class History:
    """What training saw, one entry for each meta-iteration."""

    returns: list[list[float]] = field(default_factory=list)  # mean undiscounted return after 0, 1, ... inner steps
    grad_norm: list[float] = field(default_factory=list)  # length of the meta-gradient, before it was clipped
    kl: list[float] = field(default_factory=list)  # trpo: of the adapted policies; promp: of the initialisation
    accepted: list[float] = field(default_factory=list)  # trpo: 1 where the line search found a step, else 0

    def add(self, returns: Tensor, seen: Seen) -> None:
        """Notes one meta-iteration: mean returns `[inner_steps + 1, N]`, and what the update has seen."""
        self.returns.append(returns.mean(1).tolist())
        for name, value in seen.items():
            getattr(self, name).append(value)

    def __repr__(self) -> str:
        last = f", last returns {[round(r, 2) for r in self.returns[-1]]}" if self.returns else ""
        return f"History({len(self.returns)} iterations{last})"


def maml(
    tasks: TaskDistribution,
    policy: MLPPolicy,
    config: MAMLConfig,
    gen: torch.Generator,
    callback: Callable[[int, MLPPolicy, History], bool | None] | None = None,
    *,
    outer: str = "adam",
) -> tuple[MLPPolicy, History]:
    """Trains an initialisation from which `config.inner_steps` gradient steps solve a task.

    Args:
        tasks: the family; a fresh meta-batch is drawn in each iteration.
        policy: where training starts; it is not changed.
        config: the numbers of the run.
        gen: draws tasks and noise. The same seed gives the same result, to the bit, on one thread.
        callback: called after each iteration with (iteration, policy so far, history); training ends early where it
            returns True.
        outer: the outer update: "adam", "trpo" (`TrustRegion`) or "promp" (`Proximal`).

    Returns:
        The trained policy and its history. After Ctrl-C, what was trained so far.

    Raises:
        Diverged: if a loss is not finite; the error names the iteration and carries the last good policy.
    """
    keep_freed_memory()
    policy = _checked(policy, config, outer)
    theta = policy.params()
    update = OUTER[outer](theta, config)
    history, iteration = History(), 0
    try:
        for iteration in tqdm(range(config.iterations), desc="maml", leave=False):
            task = tasks.sample(config.num_tasks, gen)
            noise = [
                draw_noise(tasks, policy, config.num_tasks, config.episodes, gen) for _ in range(config.inner_steps + 1)
            ]
            returns, seen = update.step(tasks, policy, task, noise)
            policy = policy.replace(theta)
            history.add(returns, seen)
            if callback is not None and callback(iteration, policy, history):
                break
    except KeyboardInterrupt:
        print(f"maml: interrupted in iteration {iteration} of {config.iterations}; this is what was trained so far.")
    except Diverged as error:
        rates = f"inner_lr = {config.inner_lr} and outer_lr = {config.outer_lr}"
        raise error.with_state("maml", rates, iteration, policy, history) from error
    return policy, history


def _checked(policy: MLPPolicy, config: MAMLConfig, outer: str) -> MLPPolicy:
    """The policy that training starts from: with rates where the algorithm learns them."""
    check_kind(MLPPolicy, policy=policy)
    check_kind(MAMLConfig, config=config)
    if outer not in OUTER:
        raise ValueError(f"outer = {outer!r}: choose one of {', '.join(map(repr, OUTER))}.")
    if config.algorithm == "meta_sgd" and not policy.has_rates:
        return policy.with_rates(config.inner_lr)
    return policy
