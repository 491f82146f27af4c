"""Acting: the whole meta-batch, tasks x episodes, moves as one batch of tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .policies.base import Policy
from .policies.gru import GRUPolicy
from .policies.mlp import MLPPolicy
from .ram import check_memory
from .tasks.base import TaskDistribution, check_kind, check_positive
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
    tasks: TaskDistribution,
    policy: Policy,
    num_tasks: int,
    episodes: int,
    gen: torch.Generator,
    *,
    copies: int = 1,
) -> Noise:
    """Draws what `rollout` and `trial` consume for N tasks and E episodes.

    With more `copies` the rows are N x copies, and so many in a row meet the same chance of the world, in its resets
    and steps, while each has chance of its own for its actions. Step j of all of them then has the same luck, whatever
    was done there, and what they earn differs by their actions: common random numbers.

    Raises:
        ValueError: if this chance, and what is played with it, needs more memory than there is.

    Source: Ng and Jordan (2000) for fixing the chance of a simulator; Schulman et al. (2015), section 5.2.
    """
    check_positive(num_tasks=num_tasks, episodes=episodes, copies=copies)
    shape = (episodes, tasks.horizon)
    _check_size(tasks, policy, num_tasks * copies, episodes)
    reset, step = tasks.draw_reset((num_tasks, episodes), gen), tasks.draw((num_tasks, *shape), gen)
    action = policy.noise((num_tasks * copies, *shape), gen)
    return Noise(reset.repeat_interleave(copies, 0), step.repeat_interleave(copies, 0), action)


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
    _check_fit(tasks, policy, MLPPolicy)
    num_tasks = policy.num_tasks(params)
    tasks.check_task(task, num_tasks)
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


@torch.no_grad()
def trial(
    tasks: TaskDistribution,
    policy: GRUPolicy,
    params: Params,
    task: Task,
    episodes: int,
    gen: torch.Generator | None = None,
    *,
    noise: Noise | None = None,
) -> Rollout:
    """Lets one recurrent policy live through `episodes` episodes of every task, with one memory over all of them.

    The memory is empty at the beginning of the trial, and of the trial only: at an episode's end the world goes back to
    its start, the agent does not. The first input of the next episode carries the reward and the done that ended the
    last one.

    Args:
        tasks: the family.
        policy: the network.
        params: its parameters, without a task dimension.
        task: the tasks, leaves `[N, ...]`; each stays fixed over its whole trial.
        episodes: E.
        gen: draws the noise, unless
        noise: it is given.

    Returns:
        A `Rollout` `[N, E, T, ...]`, without gradient; its episodes follow one another.

    Raises:
        ValueError: for a task of wrong shape, a size that is not positive, or a reward that is not finite.
        Diverged: if the policy's own actions are not finite.

    Source: Duan et al. (2016), section 2.2 and figure 1.
    """
    _check_fit(tasks, policy, GRUPolicy, params)
    num_tasks = _count(task)
    tasks.check_task(task, num_tasks)
    if noise is None:
        if gen is None:
            raise ValueError("a trial needs chance from somewhere: pass gen=generator(seed) or noise=draw_noise(...).")
        noise = draw_noise(tasks, policy, num_tasks, episodes, gen)
    memory, action, reward, done = policy.first(num_tasks, noise.step.device)
    seen, acted, paid, running, ended, last = [], [], [], [], [], []
    for e in range(episodes):
        state = tasks.reset(task, noise.reset[:, e])
        alive = torch.ones_like(done, dtype=torch.bool)
        for t in range(tasks.horizon):
            seen.append(tasks.observe(task, state))
            memory = policy.remember(params, memory, policy.input(seen[-1], action, reward, done))
            acted.append(policy.sample(policy.distribution(params, memory), noise.action[:, e, t]))
            after, reward, terminated = tasks.step(task, state, acted[-1], noise.step[:, e, t])
            running.append(alive)
            if tasks.can_terminate:  # after an end the state stays where it is, and nothing more is paid
                after = torch.where(alive.reshape(-1, *(1,) * (after.ndim - 1)), after, state)
                reward, terminated = reward.masked_fill(~alive, 0), terminated & alive
                alive = alive & ~terminated
            state, action = after, policy.encode(acted[-1])
            paid.append(reward)
            ended.append(terminated)
            done = torch.ones_like(done) if t == tasks.horizon - 1 else (~alive).to(done.dtype)
        last.append(tasks.observe(task, state))

    def episodic(steps: list[Tensor]) -> Tensor:
        return torch.stack(steps, 1).reshape(num_tasks, episodes, tasks.horizon, *steps[0].shape[1:])

    _check_finite(tasks, episodic(acted), episodic(paid))
    return Rollout(
        observations=episodic(seen),
        actions=episodic(acted),
        rewards=episodic(paid),
        mask=episodic(running).to(reward.dtype),
        terminated=episodic(ended),
        last_observations=torch.stack(last, 1),
    )


def _count(task: Task) -> int:
    """How many tasks these seem to be; a single task, or what is no task at all, is left to `check_task` to name."""
    leaf = next(iter(task.values()), None) if isinstance(task, dict) else None
    return len(leaf) if isinstance(leaf, Tensor) and leaf.ndim else 1


def _check_size(tasks: TaskDistribution, policy: Policy, rows: int, episodes: int) -> None:
    """Refuses what would not fit: for every step its chance, observation, action, reward and the ends."""
    numbers = tasks.noise_size + policy.observation_size + 2 * policy.action_size + 4
    check_memory(
        policy.dtype.itemsize * rows * episodes * tasks.horizon * numbers,
        f"to play {rows} times {episodes} episodes of {tasks.horizon} steps",
        "take fewer tasks at a time, or fewer episodes.",
    )


def _check_fit(tasks: TaskDistribution, policy: Policy, kind: type, params: Params | None = None) -> None:
    check_kind(kind, policy=policy)
    if params is not None:
        policy.check_params(params)
    mine = (policy.observation_size, policy.action_size, policy.discrete)
    if mine != (wanted := (tasks.observation_size, tasks.action_size, tasks.discrete)):
        raise ValueError(
            f"this policy has (observation_size, action_size, discrete) = {mine}, but {tasks.name} has {wanted}: "
            f"make one with {type(policy).__name__}.for_tasks(tasks, gen)."
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
