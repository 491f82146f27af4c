"""Model-agnostic meta-learning: learn parameters from which one gradient step suffices.

Source: Finn, Abbeel and Levine (2017), algorithm 3.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..policies.base import check_fit
from ..policies.mlp import MLPPolicy
from ..rng import check_generator
from ..rollout import Noise, draw_noise
from ..state import History, State, identity
from ..tasks.base import TaskDistribution, check_kind, index_task
from ..tasks.leaves import tasks_in
from ..training import train
from ..types import Params, Task
from .checks import learnable, noises
from .configs import MAMLConfig
from .footprint import check_inner_memory, tasks_at_once
from .inner import mean_returns
from .outer import Proximal, Seen, TrustRegion, adam
from .relatives import GRADIENTS, maml_gradient


@torch.inference_mode(False)  # gradients are on, wherever this is called
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

    Tasks are worked through in chunks of `config.chunk_size`, or of as many as `tasks_at_once` says; the sum,
    and so the result but for rounding, is the same.

    Args:
        tasks: the family.
        policy: the network.
        theta: the initialisation; leaves without a task dimension that require a gradient.
        task: the meta-batch, leaves `[N, ...]`.
        config: inner steps, learning rate and the like.
        noise: one for each inner step, and a last one for the episodes after adaptation.

    Returns:
        The meta-gradient, shaped like `theta`; and mean returns `[inner_steps + 1, N]` after 0, 1, ... inner steps.

    Raises:
        ValueError: for noise of another number of steps or tasks; and what `rollout` and `adapt` refuse.
        Diverged: if a loss is not finite, or an inner step leads to what is not.

    Source: Finn et al. (2017), algorithm 3, line 10.
    """
    check_kind(MAMLConfig, config=config)
    theta, num_tasks = learnable(theta), tasks_in(task)
    noise = noises(noise, config.inner_steps + 1, num_tasks)
    chunk = tasks_at_once(tasks, config, num_tasks)
    gradient = GRADIENTS.get(config.algorithm, maml_gradient)
    total = {name: torch.zeros_like(p) for name, p in theta.items()}
    curves = []
    for start in range(0, num_tasks, chunk):
        part = slice(start, min(start + chunk, num_tasks))
        grads, batches = gradient(
            tasks,
            policy,
            theta,
            index_task(task, part),
            config,
            [drawn[part] for drawn in noise],
        )
        curves.append(mean_returns(batches))
        for name, g in grads.items():
            total[name] += g / num_tasks
    return total, torch.cat(curves, 1)


class Adam:
    """The plain outer update: Adam on the meta-gradient, its length clipped."""

    def __init__(self, theta: Params, config: MAMLConfig) -> None:
        self.theta, self.config, self.adam = theta, config, adam(theta, config)

    def step(
        self,
        tasks: TaskDistribution,
        policy: MLPPolicy,
        task: Task,
        noise: Sequence[Noise],
    ) -> tuple[Tensor, Seen]:
        """Changes theta in place; returns `[inner_steps + 1, N]`, and what happened."""
        gradient, returns = meta_gradient(
            tasks, policy, self.theta, task, self.config, noise
        )
        norm = self.adam.step(list(gradient.values()))
        self.adam.end_iteration()
        return returns, {"grad_norm": norm}


#: Outer updates by name: each changes theta by `step`, and says what happened.
OUTER: dict[str, type[Adam | TrustRegion | Proximal]] = {
    "adam": Adam,
    "trpo": TrustRegion,
    "promp": Proximal,
}


@dataclass(repr=False)
class MAMLHistory(History):
    """What training saw, one entry for each meta-iteration."""

    returns: list[list[float]] = field(default_factory=list)  # after 0, 1, ... steps
    grad_norm: list[float] = field(default_factory=list)  # before it was clipped
    kl: list[float] = field(default_factory=list)  # "trpo": adapted; "promp": start
    accepted: list[float] = field(default_factory=list)  # "trpo": 1 for a step, else 0


def maml_iteration(
    tasks: TaskDistribution,
    config: MAMLConfig,
    update: Adam | TrustRegion | Proximal,
    state: State,
) -> dict[str, Any]:
    """One meta-iteration: fresh tasks, the chance of all their episodes, and an outer step through the inner ones.

    Args:
        tasks: the family.
        config: the numbers of the run.
        update: the outer update; it changes `state.theta`.
        state: the run.

    Returns:
        What was seen: mean returns after 0, 1, ... inner steps, environment steps, and what the update says.
    """
    gen, policy = state.gen, state.policy
    task = tasks.sample(config.num_tasks, gen)
    noise = [
        draw_noise(tasks, policy, config.num_tasks, config.episodes, gen)
        for _ in range(config.inner_steps + 1)
    ]
    returns, seen = update.step(tasks, policy, task, noise)  # [inner_steps + 1, N]
    steps = returns.numel() * config.episodes * tasks.horizon
    return {"returns": returns.mean(1).tolist(), "steps": steps, **seen}


def maml(
    tasks: TaskDistribution,
    policy: MLPPolicy,
    config: MAMLConfig,
    gen: torch.Generator,
    callback: Callable[[int, MLPPolicy, MAMLHistory], bool | None] | None = None,
    *,
    outer: str = "adam",
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 50,
    leg: int = 1,
) -> tuple[MLPPolicy, MAMLHistory]:
    """Trains an initialisation from which `config.inner_steps` gradient steps solve a task.

    Args:
        tasks: the family; a fresh meta-batch is drawn in each iteration.
        policy: where training starts; it is not changed.
        config: the numbers of the run.
        gen: draws tasks and noise. The same seed gives the same result, to the bit, on one thread.
        callback: called after each iteration with (iteration, policy so far, history); training ends early where it
            returns True.
        outer: the outer update: "adam", "trpo" (`TrustRegion`) or "promp" (`Proximal`).
        checkpoint: a file that keeps the state of the run. Where it exists training goes on from it, and ends where
            an uninterrupted run would have ended, to the bit. Folders that do not exist are made.
        every: iterations from one writing of that file to the next.
        leg: 2 or more goes on from the end of the leg before, which the file holds, by `config.iterations` more, with
            rates of its own; `policy` and `gen` are again those that the first leg began with.

    Returns:
        The trained policy and its history. After Ctrl-C, what was trained so far.

    Raises:
        ValueError: if an iteration needs more memory than there is, or the checkpoint belongs to another run.
        Diverged: if a loss is not finite; the error names the iteration and carries the last good policy.
        NotSaved: if the checkpoint cannot be written; the error carries what was trained.
    """
    check_fit(tasks, policy, MLPPolicy)
    check_generator(gen)
    policy = _checked(policy, config, outer)
    check_inner_memory(tasks, policy, config, config.num_tasks, outer)
    theta = policy.params()
    update = OUTER[outer](theta, config)
    state = State(
        policy, theta, update.adam, gen, MAMLHistory(), asdict(config),
        identity("maml", tasks, policy, gen, outer=outer), leg,
    )  # fmt: skip
    iterate = partial(maml_iteration, tasks, config, update)
    rates = f"inner_lr = {config.inner_lr} and outer_lr = {config.outer_lr}"
    return train("maml", state, iterate, rates, callback, checkpoint, every)


def _checked(policy: MLPPolicy, config: MAMLConfig, outer: str) -> MLPPolicy:
    """The policy that training starts from: with rates where the algorithm learns them."""
    check_kind(MAMLConfig, config=config)
    if not isinstance(outer, str) or outer not in OUTER:
        known = ", ".join(map(repr, OUTER))
        raise ValueError(f"outer = {outer!r}: choose one of {known}.")
    if config.algorithm == "meta_sgd" and not policy.has_rates:
        return policy.with_rates(config.inner_lr)
    return policy
