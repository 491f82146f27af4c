"""The door for families: what one gives is looked at once, where it comes in, and what is wrong bears its name.

Whoever brings a family of his own promises what `TaskDistribution` says. `admit` tries one step with it the first time
that it is met; `check_batch` looks at the episodes that were played with it, all at once. Neither costs a step of the
loops anything.
"""

from __future__ import annotations

import weakref
from copy import copy
from typing import Any

import torch
from torch import Tensor

from ..given import described
from ..rng import generator
from ..types import Diverged, Task
from .base import TaskDistribution, index_task
from .finite import FiniteTasks, is_pure
from .promises import TRIED, Asked, Habits, check_members, check_signatures

# Families that were met before, by identity and the number of leading dimensions.
_met: dict[tuple[int, int], tuple[weakref.ref[TaskDistribution], Habits]] = {}


def admit(
    tasks: TaskDistribution, task: Task, lead: tuple[int, ...]
) -> TaskDistribution:
    """Lets a family in, with the tasks that are to be played; numbers of another type than promised are converted.

    Args:
        tasks: the family; it is tried the first time that it is met.
        task: leaves `[N, ...]`, or `[...]` where `lead` is empty.
        lead: the leading dimensions of what will be played: `(N, E)`, `(N,)` or `()`.

    Returns:
        The family itself, or a copy whose rewards, ends, states or observations are converted.

    Raises:
        ValueError: for tasks that are not of this family, or a family that breaks a promise; the member is named.
    """
    family = tasks.tasks if isinstance(tasks, FiniteTasks) else tasks
    key = (id(family), len(lead))
    met, habits = _met.get(key, (None, {}))
    known = met is not None and met() is family
    if not known:
        check_members(family)
        check_signatures(family)
    tasks.check_task(task, lead[0] if lead else None)
    if not known:
        habits = _habits(family, task, len(lead))
        _met[key] = weakref.ref(family, lambda _: _met.pop(key, None)), habits
    tasks.begin()
    return _converting(tasks, habits) if habits else tasks


def _habits(tasks: TaskDistribution, task: Task, dimensions: int) -> Habits:
    """Tries a family on the first and the last task, again and again, as far as there are such dimensions."""
    if not is_pure(tasks):
        return {}  # it holds state, and looks itself at what comes in
    with torch.inference_mode(False), torch.no_grad():
        lead = TRIED[:dimensions]
        if lead:
            task = index_task(task, [-(n % 2) for n in range(lead[0])])
            alone = (1,) * (dimensions - 1)
            task = {
                k: v.reshape(lead[0], *alone, *v.shape[1:]) for k, v in task.items()
            }
        device = next((v.device for v in task.values()), torch.device("cpu"))
        return Asked(tasks, task, lead).habits(generator(0, device))


def _converting(tasks: TaskDistribution, habits: Habits) -> TaskDistribution:
    """A copy of the family whose numbers are of the promised types."""
    other = copy(tasks)

    def step(
        task: Task, state: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        after, reward, ended = tasks.step(task, state, action, noise)
        return (
            after.to(habits.get("state", after.dtype)),
            reward.to(habits.get("reward", reward.dtype)),
            ended.to(habits.get("terminated", ended.dtype)),
        )

    def observe(task: Task, state: Tensor) -> Tensor:
        return tasks.observe(task, state).to(tasks.dtype)

    vars(other).update(step=step, observe=observe)  # before those of the class
    return other


def check_actions(tasks: TaskDistribution, actions: Any, lead: tuple[int, ...]) -> None:
    """Refuses what are no actions of a family's: a policy with an `act` or a `sample` of its own may give anything.

    Args:
        tasks: the family.
        actions: what the policy gave first.
        lead: the dimensions in front: `(N, E)` or `(N,)`.

    Raises:
        ValueError: for another shape or type, or a discrete action that there is none of.
    """
    size, discrete = tasks.action_size, tasks.discrete
    shape, given = lead if discrete else (*lead, size), described(actions)
    if isinstance(actions, Tensor):
        fits = actions.shape == shape and not actions.is_complex()
        if fits and discrete and actions.dtype in INTEGERS:
            check_choices(tasks, actions, torch.ones_like(actions, dtype=torch.bool))
            return
        if fits and not discrete:
            return
        given += f" of {actions.dtype}"
    needed = f"integers 0 ... {size - 1}" if discrete else f"{size} numbers each"
    raise ValueError(
        f"the policy gave {given} for actions, and {tasks.name} takes {needed}, a "
        f"tensor of shape {list(shape)}: mend the act or sample of its class."
    )


# Types of tensors that can be discrete actions; an index of bytes or truth values
# would be a mask.
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8)


def check_choices(tasks: TaskDistribution, actions: Tensor, alive: Tensor) -> None:
    """Refuses, by its place, a discrete action beyond those that there are; -1 would be the last one for an index."""
    least, most = actions.aminmax()
    if bool((least >= 0) & (most < tasks.action_size)):
        return
    wrong = ((actions < 0) | (actions >= tasks.action_size)) & alive
    if bool(wrong.any()):
        place = wrong.nonzero()[0].tolist()
        where = ", ".join(f"{n} {i}" for n, i in zip(PLACES, place, strict=False))
        raise ValueError(
            f"the policy gave the action {actions[tuple(place)].item()} ({where}), and "
            f"{tasks.name} takes integers 0 ... {tasks.action_size - 1}: mend the act "
            "or sample of its class."
        )


# The dimensions of a batch, for messages.
PLACES = ("task", "episode", "step")


def check_batch(
    tasks: TaskDistribution,
    observations: Tensor,
    actions: Tensor,
    rewards: Tensor,
    alive: Tensor,
    ended: Tensor,
    last: Tensor,
) -> None:
    """Looks at all that was played at once: ends that cannot be, and numbers that are not finite.

    What comes first is named, since the rest may follow from it: an observation, an action or a reward. Steps after an
    early end are nobody's business.

    Args:
        tasks: the family.
        observations: `[N, E, T, O]`.
        actions: `[N, E, T, A]`, or `[N, E, T]` where discrete.
        rewards: `[N, E, T]`.
        alive: `[N, E, T]`, whether the episode was running before the step.
        ended: `[N, E, T]`, whether the step ended it.
        last: `[N, E, O]`, what was seen after the last step.

    Raises:
        ValueError: naming the family, the task, the episode and the step.
        Diverged: if the policy's own actions are not finite.
    """
    if not tasks.can_terminate and bool(ended.any()):
        n, e, t = ended.nonzero()[0].tolist()
        raise ValueError(ends_in_spite(tasks, f"task {n} in episode {e} at step {t}"))
    parts = [observations, rewards, last]
    if actions.is_floating_point():
        parts.append(actions)
    elif tasks.discrete:
        check_choices(tasks, actions, alive)
    # A sum is quick, and finite where all is; a large one is looked at again.
    if not all(bool(part.sum().isfinite()) for part in parts):
        _blame(tasks, observations, actions, rewards, alive, last)


def ends_in_spite(tasks: TaskDistribution, where: str) -> str:
    """The words for an episode that ends although `can_terminate` says that none does."""
    return (
        f"{tasks.name} ended {where}: {type(tasks).__name__}.step gave terminated=True "
        "although can_terminate is False. Set can_terminate = True; without it an "
        "episode goes on, and is paid, to its horizon."
    )


def _blame(
    tasks: TaskDistribution,
    observations: Tensor,
    actions: Tensor,
    rewards: Tensor,
    alive: Tensor,
    last: Tensor,
) -> None:
    """Raises for the first number that is not finite, if there is one."""
    seen = ~observations.isfinite().all(-1)  # [N, E, T]
    acted = ~actions.isfinite().reshape(*rewards.shape, -1).all(-1)
    events = torch.stack([seen, acted, ~rewards.isfinite()], -1)  # [N, E, T, 3]
    events = (events & alive.unsqueeze(-1)).flatten(2)  # [N, E, 3 T], in their order
    events = torch.cat([events, ~last.isfinite().all(-1, keepdim=True)], -1)
    if not bool(events.any()):
        return
    n, e, place = events.nonzero()[0].tolist()
    t, what = place // 3, place % 3
    if what == 1 and t < rewards.shape[-1]:
        raise Diverged(
            f"the policy of task {n} gave the action {actions[n, e, t].tolist()} in "
            f"episode {e} at step {t}: its parameters have diverged. Lower the "
            "learning rate they were adapted or trained with."
        )
    if what == 2:
        given, when = f"the reward {rewards[n, e, t].item()}", f"at step {t}"
        mend = "rewards must be finite. Look at its step function"
    else:
        full = t == rewards.shape[-1]
        given = (
            f"the observation {short(last[n, e] if full else observations[n, e, t])}"
        )
        t = int(alive[n, e].sum()) if full else t
        when = f"at step {t - 1}" if t else "at its reset, before step 0"
        mend = "observations must be finite. Look at its step and observe functions"
    raise ValueError(
        f"the environment {tasks.name} gave {given} to task {n} in episode {e} {when}; "
        f"{mend} with that task and the action before it."
    )


def short(numbers: Tensor) -> str:
    """An observation as text; of a long one, where it is not finite."""
    if numbers.numel() <= 8:
        return str(numbers.tolist())
    bad = int((~numbers.isfinite()).nonzero()[0])
    return f"with {numbers[bad].item()} at place {bad}"
