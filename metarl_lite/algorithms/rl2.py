"""RL2: a recurrent policy is trained, by ordinary reinforcement learning, on trials; its memory learns to learn.

Source: Duan et al. (2016); Wang et al. (2016).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import torch
from tqdm import tqdm

from ..checkpoint import Training
from ..optim import ClippedAdam
from ..policies.gru import GRUPolicy
from ..ram import check_memory, keep_freed_memory
from ..rollout import draw_noise, trial
from ..tasks.base import TaskDistribution, check_kind, check_positive
from ..types import Diverged, Rollout
from .actor_critic import UPDATES, Seen
from .configs import RL2Config

__all__ = ["RL2Config", "RL2History", "rl2"]


@dataclass(repr=False)
class RL2History:
    """What training saw, one entry for each iteration."""

    returns: list[float] = field(default_factory=list)  # mean undiscounted return of a trial
    first: list[float] = field(default_factory=list)  # mean return of its first episode
    last: list[float] = field(default_factory=list)  # and of its last
    entropy: list[float] = field(default_factory=list)  # of the policy, nats
    value_error: list[float] = field(default_factory=list)  # mean squared error of the critic, scaled rewards
    kl: list[float] = field(default_factory=list)  # of the policy that acted to the last one that was tried, estimated
    grad_norm: list[float] = field(default_factory=list)  # length of the gradient, before it was clipped

    def add(self, batch: Rollout, seen: Seen) -> None:
        """Notes one iteration."""
        returns = batch.returns().mean(0)  # [E]
        for name, value in {
            "returns": returns.sum().item(), "first": returns[0].item(), "last": returns[-1].item(), **seen
        }.items():  # fmt: skip
            getattr(self, name).append(value)

    def __repr__(self) -> str:
        last = f", last return {self.returns[-1]:.2f}" if self.returns else ""
        return f"RL2History({len(self.returns)} iterations{last})"


def rl2(
    tasks: TaskDistribution,
    policy: GRUPolicy,
    config: RL2Config,
    gen: torch.Generator,
    callback: Callable[[int, GRUPolicy, RL2History], bool | None] | None = None,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 50,
) -> tuple[GRUPolicy, RL2History]:
    """Trains a policy with a memory to maximise the return of whole trials: several episodes of one task.

    Args:
        tasks: the family; fresh tasks are drawn in each iteration.
        policy: where training starts; it is not changed.
        config: the numbers of the run.
        gen: draws tasks and noise. The same seed gives the same result, to the bit, on one thread.
        callback: called after each iteration with (iteration, policy so far, history); training ends early where it
            returns True.
        checkpoint: a file that keeps the state of the run. Where it exists training goes on from it, and ends where
            an uninterrupted run would have ended, to the bit.
        every: iterations from one writing of that file to the next.

    Returns:
        The trained policy and its history. After Ctrl-C, what was trained so far.

    Raises:
        ValueError: if a batch needs more memory than there is, or the checkpoint belongs to another run.
        Diverged: if a loss is not finite; the error names the iteration and carries the last good policy.

    Source: Duan et al. (2016), section 2.2; Wang et al. (2016), section 2.2.
    """
    keep_freed_memory()
    check_positive(every=every)
    check_kind(GRUPolicy, policy=policy)
    check_kind(RL2Config, config=config)
    _check_memory(policy, config, config.episodes * tasks.horizon)
    theta = policy.params()
    adam = ClippedAdam(theta, config.lr, config.final_lr, config.iterations, config.max_grad_norm)
    history, update, iteration = RL2History(), UPDATES[config.algorithm], 0
    rows, copies = config.num_tasks * config.trials, config.trials if config.common_noise else 1
    state = Training(theta, adam, gen, history, {"tasks": tasks.name, "horizon": tasks.horizon, **asdict(config)})
    if checkpoint is not None:
        iteration = state.restore(checkpoint)
        policy = policy.replace(theta)
    bar = tqdm(range(iteration, config.iterations), desc="rl2", leave=False, initial=iteration, total=config.iterations)
    try:
        for iteration in bar:
            task = tasks.sample(config.num_tasks, gen)
            task = {name: leaf.repeat_interleave(config.trials, 0) for name, leaf in task.items()}
            noise = draw_noise(tasks, policy, rows // copies, config.episodes, gen, copies=copies)
            batch = trial(tasks, policy, theta, task, config.episodes, noise=noise)
            now = replace(config, discount=config.discount_at(iteration))
            seen = update(policy, theta, adam, batch, now, config.entropy_at(iteration), gen)
            adam.end_iteration()
            policy = policy.replace(theta)
            history.add(batch, seen)
            stop = callback is not None and callback(iteration, policy, history)
            if checkpoint is not None and (stop or (iteration + 1) % every == 0 or iteration + 1 == config.iterations):
                state.save(checkpoint, iteration + 1)
            if stop:
                break
    except KeyboardInterrupt:
        print(f"rl2: interrupted in iteration {iteration} of {config.iterations}; this is what was trained so far.")
    except Diverged as error:
        raise error.with_state("rl2", f"lr = {config.lr}", iteration, policy, history) from error
    return policy, history


def _check_memory(policy: GRUPolicy, config: RL2Config, length: int) -> None:
    """Refuses trials whose update would not fit: every step of every trial leaves its gates behind for the gradient."""
    trials, ppo = config.num_tasks * config.trials, config.algorithm == "ppo"
    at_once = math.ceil(trials / (config.minibatches if ppo else 1))
    numbers = at_once * policy.numbers_of_a_step
    if ppo:  # and before its steps a pass over all trials, which leaves no gates
        numbers += trials * (2 * policy.input_size + (7 if policy.separate else 5) * policy.hidden)
    check_memory(
        policy.dtype.itemsize * length * numbers,
        f"one step on {at_once} trials of {length} steps with {policy.hidden} hidden units",
        "lower num_tasks or trials, use algorithm='ppo' with more minibatches, or make the trial shorter.",
    )
