"""RL2: a recurrent policy is trained, by ordinary reinforcement learning, on trials; its memory learns to learn.

Source: Duan et al. (2016); Wang et al. (2016).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch

from ..optim import ClippedAdam
from ..policies.base import check_fit
from ..policies.gru import GRUPolicy, by_columns
from ..ram import check_memory
from ..rng import check_generator
from ..rollout import draw_noise, trial
from ..state import History, State, identity
from ..tasks.base import TaskDistribution, check_kind
from ..training import train
from .actor_critic import STEPS
from .configs import RL2Config


@dataclass(repr=False)
class RL2History(History):
    """What training saw, one entry for each iteration."""

    returns: list[float] = field(default_factory=list)  # mean return of a trial
    first: list[float] = field(default_factory=list)  # of its first episode
    last: list[float] = field(default_factory=list)  # and of its last
    entropy: list[float] = field(default_factory=list)  # of the policy, nats
    value_error: list[float] = field(default_factory=list)  # critic's mean square
    kl: list[float] = field(default_factory=list)  # acting to last tried, estimated
    grad_norm: list[float] = field(default_factory=list)  # before it was clipped


def rl2_iteration(
    tasks: TaskDistribution, config: RL2Config, state: State
) -> dict[str, Any]:
    """One iteration: fresh tasks, trials of each with one memory from end to end, and a step of actor and critic.

    Args:
        tasks: the family.
        config: the numbers of the run.
        state: the run; its `theta` is changed.

    Returns:
        What was seen: mean returns, environment steps, and what the update says.
    """
    gen, policy, theta, adam = state.gen, state.policy, state.theta, state.adam
    task = tasks.sample(config.num_tasks, gen)
    task = {k: leaf.repeat_interleave(config.trials, 0) for k, leaf in task.items()}
    rows = config.num_tasks * config.trials  # B
    copies = config.trials if config.common_noise else 1
    noise = draw_noise(
        tasks, policy, rows // copies, config.episodes, gen, copies=copies
    )
    # A2C's gradient goes through the acting itself; PPO only looks at its memories.
    a2c = config.algorithm == "a2c"
    acting = theta if a2c else {name: p.detach() for name, p in theta.items()}
    batch = trial(
        tasks, policy, by_columns(acting), task, config.episodes,
        noise=noise, memories=not policy.separate,
    )  # fmt: skip
    now, step = config.at(state.iteration), STEPS[config.algorithm]
    seen = step(policy, theta, adam, batch, config, now, gen)
    adam.end_iteration()
    returns = batch.returns().mean(0)  # [E]
    seen |= {"first": returns[0].item(), "last": returns[-1].item()}
    return {"returns": returns.sum().item(), "steps": batch.rewards.numel(), **seen}


def rl2(
    tasks: TaskDistribution,
    policy: GRUPolicy,
    config: RL2Config,
    gen: torch.Generator,
    callback: Callable[[int, GRUPolicy, RL2History], bool | None] | None = None,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 50,
    leg: int = 1,
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
            an uninterrupted run would have ended, to the bit. Folders that do not exist are made.
        every: iterations from one writing of that file to the next.
        leg: 2 or more goes on from the end of the leg before, which the file holds, by `config.iterations` more, with
            rates, discount and entropy of its own; `policy` and `gen` are again those that the first leg began with.

    Returns:
        The trained policy and its history. After Ctrl-C, what was trained so far.

    Raises:
        ValueError: if a batch needs more memory than there is, or the checkpoint belongs to another run.
        Diverged: if a loss is not finite; the error names the iteration and carries the last good policy.
        NotSaved: if the checkpoint cannot be written; the error carries what was trained.

    Source: Duan et al. (2016), section 2.2; Wang et al. (2016), section 2.2.
    """
    check_fit(tasks, policy, GRUPolicy)
    check_generator(gen)
    check_kind(RL2Config, config=config)
    _check_memory(policy, config, config.episodes * tasks.horizon)
    theta = policy.params()
    adam = ClippedAdam(
        theta, config.lr, config.final_lr, config.iterations, config.max_grad_norm
    )
    state = State(
        policy, theta, adam, gen, RL2History(), asdict(config),
        identity("rl2", tasks, policy, gen), leg,
    )  # fmt: skip
    iterate = partial(rl2_iteration, tasks, config)
    rates = f"lr = {config.lr}"
    return train("rl2", state, iterate, rates, callback, checkpoint, every)


def _check_memory(policy: GRUPolicy, config: RL2Config, length: int) -> None:
    """Refuses trials whose update would not fit: every step of every trial leaves its gates behind for the gradient."""
    trials, ppo = config.num_tasks * config.trials, config.algorithm == "ppo"
    at_once = math.ceil(trials / (config.minibatches if ppo else 1))
    numbers = at_once * policy.numbers_of_a_step
    if ppo:  # and before its steps a pass over all trials, which leaves no gates
        numbers += trials * (
            2 * policy.input_size + (7 if policy.separate else 4) * policy.hidden
        )
    check_memory(
        policy.dtype.itemsize * length * numbers,
        f"one step on {at_once} trials of {length} steps with {policy.hidden} hidden "
        "units",
        "lower num_tasks or trials, use algorithm='ppo' with more minibatches, or "
        "make the trial shorter.",
    )
