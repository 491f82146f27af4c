"""Acting: the whole meta-batch, tasks x episodes, moves as one batch of tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .policies import MLPPolicy
from .tasks.base import TaskDistribution, check_positive
from .types import Diverged, Params, Rollout, Task


@dataclass(frozen=True)
class Noise:
    """All the chance of a rollout, drawn before it begins. The same noise gives the same episodes."""

    reset: Tensor  # [N, E, R] uniform, for the first state
    step: Tensor  # [N, E, T, Z] uniform, for the dynamics
    action: Tensor  # [N, E, T, A] for the policy

    def __getitem__(self, index: slice) -> Noise:
        """The noise of some of the tasks."""
        return Noise(self.reset[index], self.step[index], self.action[index])


def draw_noise(
    tasks: TaskDistribution, policy: MLPPolicy, num_tasks: int, episodes: int, gen: torch.Generator
) -> Noise:
    """Draws what `rollout` consumes for N tasks and E episodes."""
    check_positive(num_tasks=num_tasks, episodes=episodes)
    shape = (num_tasks, episodes, tasks.horizon)
    return Noise(tasks.draw_reset(shape[:2], gen), tasks.draw(shape, gen), policy.noise(shape, gen))


@torch.no_grad()
def rollout(
    tasks: TaskDistribution,
    policy: MLPPolicy,
    params: Params,
    task: Task,
    episodes: int,
    gen: torch.Generator | None = None,
    *,
    noise: Noise | None = None,
) -> Rollout:
    """Lets every task's policy act for `episodes` episodes of its task, all at once.

    Args:
        tasks: the family.
        policy: the network.
        params: a set of parameters for every task, leaves `[N, ...]`.
        task: the tasks, leaves `[N, ...]`; they stay fixed over all the episodes.
        episodes: E.
        gen: draws the noise, unless
        noise: it is given.

    Returns:
        A `Rollout` `[N, E, T, ...]`, without gradient.

    Raises:
        ValueError: for a task of wrong shape or batch, a size that is not positive, or a reward that is not finite.
        Diverged: if the policy's own actions are not finite.
    """
    num_tasks = policy.num_tasks(params)
    tasks.check_task(task, num_tasks)
    _check_fit(tasks, policy)
    if noise is None:
        if gen is None:
            raise ValueError("rollout needs chance from somewhere: pass gen=generator(seed) or noise=draw_noise(...).")
        noise = draw_noise(tasks, policy, num_tasks, episodes, gen)
    task = {name: leaf.unsqueeze(1) for name, leaf in task.items()}  # [N, 1, ...], the same for all episodes
    state = tasks.reset(task, noise.reset)
    alive = torch.ones(num_tasks, episodes, dtype=torch.bool, device=state.device)
    seen, acted, paid, running, ended = [], [], [], [], []
    for t in range(tasks.horizon):
        seen.append(tasks.observe(task, state))
        acted.append(policy.act(params, seen[-1], noise.action[:, :, t]))
        after, reward, terminated = tasks.step(task, state, acted[-1], noise.step[:, :, t])
        paid.append(reward)
        running.append(alive)
        ended.append(terminated)
        if tasks.can_terminate:  # after an end the state stays where it is
            after = torch.where(alive.reshape(*alive.shape, *(1,) * (after.ndim - 2)), after, state)
            alive = alive & ~terminated
        state = after
    mask, actions = torch.stack(running, 2), torch.stack(acted, 2)
    rewards = torch.stack(paid, 2).masked_fill(~mask, 0)  # [N, E, T]
    _check_finite(tasks, actions, rewards)
    return Rollout(
        observations=torch.stack(seen, 2),
        actions=actions,
        rewards=rewards,
        mask=mask.to(rewards.dtype),
        terminated=torch.stack(ended, 2) & mask,
        last_observations=tasks.observe(task, state),
    )


def _check_fit(tasks: TaskDistribution, policy: MLPPolicy) -> None:
    mine = (policy.observation_size, policy.action_size, policy.discrete)
    if mine != (wanted := (tasks.observation_size, tasks.action_size, tasks.discrete)):
        raise ValueError(
            f"this policy has (observation_size, action_size, discrete) = {mine}, but {tasks.name} has {wanted}: "
            "make one with MLPPolicy.for_tasks(tasks, gen)."
        )


def _check_finite(tasks: TaskDistribution, actions: Tensor, rewards: Tensor) -> None:
    if actions.is_floating_point() and not bool(torch.isfinite(actions).all()):
        n, e, t = (~torch.isfinite(actions)).nonzero()[0, :3].tolist()
        raise Diverged(
            f"the policy of task {n} gave the action {actions[n, e, t].tolist()} in episode {e} at step {t}: its "
            "parameters have diverged. Lower the learning rate they were adapted or trained with."
        )
    if not bool(torch.isfinite(rewards).all()):
        n, e, t = (~torch.isfinite(rewards)).nonzero()[0].tolist()
        raise ValueError(
            f"the environment {tasks.name} gave the reward {rewards[n, e, t].item()} to task {n} in episode {e} at "
            f"step {t}; rewards must be finite. Look at its step function with that task and the action before it."
        )
