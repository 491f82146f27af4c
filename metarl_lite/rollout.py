"""Acting: the whole meta-batch, tasks x episodes, moves as one batch of tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .given import counts, described, switches
from .policies.base import Policy, check_fit
from .policies.distributions import check_logits
from .policies.gru import GRUPolicy
from .policies.mlp import MLPPolicy
from .ram import check_memory
from .rng import generator
from .tasks.base import TaskDistribution, check_like
from .tasks.door import admit, check_actions, check_batch
from .tasks.leaves import tasks_in
from .tasks.promises import check_members
from .types import Params, Rollout, Task


@dataclass(frozen=True)
class Noise:
    """All the chance of a rollout, drawn before it begins. The same noise gives the same episodes."""

    reset: Tensor  # [N, E, R] uniform, for the first state
    step: Tensor  # [N, E, T, Z] uniform, for the dynamics
    action: Tensor  # [N, E, T, A] for the policy

    def __getitem__(self, index: slice | tuple[slice, slice]) -> Noise:
        """The noise of some of the tasks, or of some tasks and some of their episodes."""
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
    num_tasks, episodes, copies = counts(
        num_tasks=num_tasks, episodes=episodes, copies=copies
    )
    _check_size(tasks, policy, num_tasks * copies, episodes)
    shape = (episodes, tasks.horizon)
    reset = tasks.draw_reset((num_tasks, episodes), gen).repeat_interleave(copies, 0)
    step = tasks.draw((num_tasks, *shape), gen).repeat_interleave(copies, 0)
    return Noise(reset, step, policy.noise((num_tasks * copies, *shape), gen))


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
    deterministic: bool = False,
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
        deterministic: take the most probable action in each step instead of drawing one.

    Returns:
        A `Rollout` `[N, E, T, ...]`, without gradient.

    Raises:
        ValueError: for a task of wrong shape or batch, a size that is not positive, or a family that breaks a promise
            of `TaskDistribution`, such as a reward or an observation that is not finite; or for actions of the policy's
            that are none of the family's.
        Diverged: if the policy's own actions are not finite, or its logits are such that none can be drawn.
    """
    check_fit(tasks, policy, MLPPolicy)
    num_tasks = policy.num_tasks(params)
    tasks = admit(tasks, task, (num_tasks, episodes))
    noise = _chance(tasks, policy, num_tasks, episodes, gen, noise)
    task = {name: leaf.unsqueeze(1) for name, leaf in task.items()}  # [N, 1, ...]
    state = tasks.reset(task, noise.reset)  # [N, E, ...]
    alive = torch.ones(noise.action.shape[:2], dtype=torch.bool, device=state.device)
    steps = _Steps()
    for t in range(tasks.horizon):
        seen = tasks.observe(task, state)
        action = policy.act(params, seen, noise.action[:, :, t], deterministic)
        if t == 0:
            check_actions(tasks, action, (num_tasks, episodes))
        after, reward, ended = tasks.step(task, state, action, noise.step[:, :, t])
        steps.add(seen, action, reward, alive, ended)
        if tasks.can_terminate:
            after, alive = frozen(alive, state, after), alive & ~ended
        state = after
    batch = steps.rollout(tasks, (num_tasks, episodes), tasks.observe(task, state))
    policy.check_drawn(params, batch)
    return batch


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
    deterministic: bool = False,
    memories: bool = False,
) -> Rollout:
    """Lets one recurrent policy live through `episodes` episodes of every task, with one memory over all of them.

    The memory is empty at the beginning of the trial, and of the trial only: at an episode's end the world goes back to
    its start, the agent does not. The first input of the next episode carries the reward and the done that ended the
    last one, at whatever step that was: after an early end the memory is frozen, and what it is to read next with it.
    So an agent in a loop that resets at once after an end remembers the same.

    Args:
        tasks: the family.
        policy: the network.
        params: its parameters, without a task dimension.
        task: the tasks, leaves `[N, ...]`; each stays fixed over its whole trial.
        episodes: E.
        gen: draws the noise, unless
        noise: it is given.
        deterministic: take the most probable action in each step instead of drawing one.
        memories: keep the agent's as well; they are functions of `params`, if these require a gradient.

    Returns:
        A `Rollout` `[N, E, T, ...]`; its episodes follow one another. Nothing but its memories has a gradient.

    Raises:
        ValueError: for a task of wrong shape, a size that is not positive, or a family that breaks a promise of
            `TaskDistribution`, such as a reward or an observation that is not finite; or for actions of the policy's
            that are none of the family's.
        Diverged: if the policy's own actions are not finite, or its logits are such that none can be drawn.

    Source: Duan et al. (2016), section 2.2 and figure 1.
    """
    check_fit(tasks, policy, GRUPolicy, params)
    num_tasks, (memories,) = tasks_in(task), switches(memories=memories)
    tasks = admit(tasks, task, (num_tasks,))
    noise = _chance(tasks, policy, num_tasks, episodes, gen, noise)
    # An empty memory; and of the last step no action, no reward, and done.
    memory, *came = policy.first(num_tasks, noise.step.device)
    steps, last, kept, over = _Steps(), [], [], came[-1]
    for e in range(episodes):
        state, alive = tasks.reset(task, noise.reset[:, e]), over > 0  # [N, ...], [N]
        for t in range(tasks.horizon):
            seen, before = tasks.observe(task, state), memory
            with torch.set_grad_enabled(memories):
                memory = policy.remember(params, before, policy.input(seen, *came))
                if tasks.can_terminate:
                    memory = frozen(alive, before, memory)
            chosen = policy.distribution(params, memory)
            taken = policy.sample(chosen, noise.action[:, e, t], deterministic)
            if e == t == 0:
                check_actions(tasks, taken, (num_tasks,))
            after, reward, ended = tasks.step(task, state, taken, noise.step[:, e, t])
            done = over if t == tasks.horizon - 1 else ended.to(policy.dtype)
            now = [policy.encode(taken), reward, done]
            if tasks.can_terminate:
                now = [frozen(alive, x, y) for x, y in zip(came, now, strict=True)]
                after = frozen(alive, state, after)
            steps.add(seen, taken, reward, alive, ended)
            kept += [memory] * memories
            state, came = after, now
            if tasks.can_terminate:
                alive = alive & ~ended
        last.append(tasks.observe(task, state))
    batch = steps.rollout(tasks, (num_tasks, episodes), torch.stack(last, 1))
    check_logits(chosen)  # once: a memory that is no number remains none
    with torch.set_grad_enabled(memories):
        return replace(batch, memories=torch.stack(kept, 1)) if memories else batch


def frozen(alive: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """What was there `[..., K]` where an episode had ended before the step, what there is now where it was `alive`."""
    return torch.where(
        alive.reshape(*alive.shape, *(1,) * (after.ndim - alive.ndim)), after, before
    )


class _Steps:
    """Steps are collected one by one, and become a `Rollout`."""

    def __init__(self) -> None:
        self.columns: list[tuple[Tensor, ...]] = []

    def add(self, *step: Tensor) -> None:
        """One step of all episodes: observation, action, reward, alive before it, ended by it."""
        self.columns.append(step)

    def rollout(
        self, tasks: TaskDistribution, lead: tuple[int, int], last: Tensor
    ) -> Rollout:
        """All steps, `[N, E, T, ...]`, whether they were `[N, E, ...]` each or `[N, ...]` episode by episode."""
        time = self.columns[0][2].ndim

        def joined(which: int) -> Tensor:
            column = torch.stack([step[which] for step in self.columns], time)
            return column.reshape(*lead, tasks.horizon, *column.shape[time + 1 :])

        observations, actions, rewards, alive, ended = map(joined, range(5))
        # After an end nothing more is paid, nor does anything end.
        rewards, ended = rewards.masked_fill(~alive, 0), ended & alive
        check_batch(tasks, observations, actions, rewards, alive, ended, last)
        mask = alive.to(rewards.dtype)
        return Rollout(observations, actions, rewards, mask, ended, last)


def _chance(
    tasks: TaskDistribution,
    policy: Policy,
    num_tasks: int,
    episodes: int,
    gen: torch.Generator | None,
    noise: Noise | None,
) -> Noise:
    """The noise that was given, if this family and policy can play it, or what `gen` draws."""
    if noise is not None:
        check_like(Noise, "reset step action", noise=noise)
        made = f"draw_noise(tasks, policy, {num_tasks}, {episodes}, gen)"
        device = noise.step.device if isinstance(noise.step, Tensor) else "cpu"
        like = draw_noise(tasks, policy, 1, 1, generator(0, device))
        for name, right in vars(like).items():
            part, shape = getattr(noise, name), (num_tasks, episodes, *right.shape[2:])
            fits = isinstance(part, Tensor) and part.shape == shape
            if not fits or torch.promote_types(part.dtype, right.dtype) != right.dtype:
                kind = f" of {part.dtype}" if isinstance(part, Tensor) else ""
                raise ValueError(
                    f"noise.{name} is {described(part)}{kind}: {num_tasks} tasks and "
                    f"{episodes} episodes need shape {list(shape)} of {right.dtype}, "
                    f"as {made} draws it."
                )
            # in one pass, both nan where one number is; a family may draw nothing
            ends = torch.stack((part if part.numel() else torch.zeros(1)).aminmax())
            drawn = ends.isfinite()
            if policy.discrete and name == "action":
                drawn = (ends >= 0) & (ends < 1)
            if not bool(drawn.all()):
                raise ValueError(
                    f"noise.{name} holds {ends[~drawn][0].item()}, which {made} never "
                    "draws."
                )
        return noise
    if gen is None:
        raise ValueError(
            "rollout and trial need chance from somewhere: pass gen=generator(seed) or "
            "noise=draw_noise(...)."
        )
    return draw_noise(tasks, policy, num_tasks, episodes, gen)


def _check_size(
    tasks: TaskDistribution, policy: Policy, rows: int, episodes: int
) -> None:
    """Refuses what would not fit: for every step its chance, observation, action, reward and the ends."""
    check_like(TaskDistribution, "action_scale", tasks=tasks)
    check_like(Policy, "noise", policy=policy)
    check_members(tasks)
    numbers = tasks.noise_size + policy.observation_size + 2 * policy.action_size + 4
    check_memory(
        policy.dtype.itemsize * rows * episodes * tasks.horizon * numbers,
        f"to play {rows} times {episodes} episodes of {tasks.horizon} steps",
        "take fewer tasks at a time, or fewer episodes.",
    )
