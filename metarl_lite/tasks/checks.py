"""All that a family promises, asked at once: for those who write one."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ..rng import generator
from ..types import Task
from .base import TaskDistribution, check_like, index_task
from .door import check_batch
from .finite import FiniteTasks, is_pure
from .gym_env import spaces
from .promises import TRIED, Asked, check_members, check_signatures

DRAWN = 32  # tasks in a draw, so that two kinds of them are as good as never alike
NEXT = 256  # tasks that are played next to each other
KEPT = 2**22  # numbers of their observations


def check_family(tasks: TaskDistribution, seed: int = 0) -> None:
    """Refuses a family that breaks a promise of `TaskDistribution`, and names the member that does.

    `rollout` and `trial` look at one step by themselves, and then at what was played. This looks at all of it, as
    `gymnasium.utils.env_checker.check_env` does for an environment: sizes and types; tasks that a generator decides,
    and nothing else; methods that keep any leading dimensions, change no argument and give the same once more; rows
    of a batch that do not depend on each other; and whole episodes that end only where they may and stay finite and
    within their bounds.

    There is a warning where all tasks are the same, and where many of them play alike, observations, rewards and ends,
    whatever is done: where `step` does not read the task, say, or `reset` draws a goal of its own. Not noticed is a
    leaf that nothing reads beside others that count, and a reset that moves the goal of the task that it is given.

    A family that holds state (it has a method `begin`, as `GymTasks` does) is not asked to be pure.

    Args:
        tasks: the family.
        seed: of the tasks and the actions that are tried.

    Raises:
        ValueError: naming the member, what it gave, and what was promised.
    """
    check_like(TaskDistribution, "action_scale", tasks=tasks)
    check_members(tasks)
    check_signatures(tasks)
    _check_sample(tasks, seed)
    tasks.check_task(tasks.default_task())
    spaces(tasks)
    if is_pure(tasks):
        some = tasks.sample(TRIED[0], generator(seed))
        spread = {name: leaf.unsqueeze(1) for name, leaf in some.items()}
        for k, task in enumerate((tasks.default_task(), some, spread)):
            _check_types(tasks, task, TRIED[:k], seed)
    together = _play(tasks, 4, seed)
    if is_pure(tasks):
        _check_bounds(tasks, together["observe"])
        for row in range(4):
            _check_alone(tasks, together, _play(tasks, 4, seed, row), row)
        _tell_alike(tasks, seed)


def _check_sample(tasks: TaskDistribution, seed: int) -> None:
    """Tasks of any number, which the generator decides, and nothing else."""
    kind, before = type(tasks).__name__, torch.get_rng_state()
    for count in (1, 3):
        try:
            tasks.check_task(tasks.sample(count, generator(seed)), count)
        except ValueError as error:
            raise ValueError(f"{kind}.sample({count}, gen): {error}") from None
    one, two = tasks.sample(3, generator(seed)), tasks.sample(3, generator(seed))
    if not all(torch.equal(one[leaf], two[leaf]) for leaf in one):
        raise ValueError(
            f"{kind}.sample gives other tasks for the same seed: draw all of their "
            "chance from gen, as in metarl_lite.rng.uniform(shape, gen, dtype)."
        )
    if not torch.equal(before, torch.get_rng_state()):
        raise ValueError(
            f"{kind}.sample draws from torch's global state: pass generator=gen."
        )
    _check_draws(tasks, seed)


def _check_draws(tasks: TaskDistribution, seed: int) -> None:
    """Tasks that are drawn one by one; a warning where there is only one."""
    draws = [tasks.sample(DRAWN, generator(seed + k)) for k in range(3)]
    if any(bool((x != x[:1]).any()) for draw in draws for x in draw.values()):
        return
    kind = type(tasks).__name__
    if any(not torch.equal(x, draws[0][n]) for draw in draws for n, x in draw.items()):
        raise ValueError(
            f"{kind}.sample({DRAWN}, gen) gives one task {DRAWN} times: draw each of "
            "them by itself, as in metarl_lite.rng.uniform((num_tasks,), gen, dtype)."
        )
    if tasks.task_shape and not isinstance(tasks, FiniteTasks):
        warnings.warn(
            f"{kind}.sample gives the same task each time: there is nothing to adapt "
            "to. Draw it from gen; if one task is all that is meant, all is well.",
            stacklevel=4,
        )


def _check_types(
    tasks: TaskDistribution, task: Task, lead: tuple[int, ...], seed: int
) -> None:
    """Refuses numbers of another type than promised, by what is to blame: the method, or a leaf of the task."""
    habits = Asked(tasks, task, lead).habits(generator(seed))
    if not habits:
        return
    what, right = next(iter(habits.items()))
    kind, other = type(tasks).__name__, dict(task)
    for name, leaf in task.items():
        if leaf.is_floating_point() and leaf.dtype != tasks.dtype:
            other[name] = leaf.to(tasks.dtype)
            if what not in Asked(tasks, other, lead).habits(generator(seed)):
                raise ValueError(
                    f"{kind}.{'sample' if lead else 'default_task'} gives the leaf "
                    f"{name!r} in {leaf.dtype}, and so the {what} comes in another "
                    f"type than {right}: give the leaf in {tasks.dtype}, the family's."
                )
    raise ValueError(
        f"{kind} gives the {what} in another type than {right}. rollout and trial "
        "convert it; give it in that type."
    )


def _tell_alike(tasks: TaskDistribution, seed: int) -> None:
    """Warns where it makes no difference which task is played, all else being the same."""
    gen, count = generator(seed), max(4, min(NEXT, KEPT // tasks.observation_size))
    task = tasks.sample(count, gen)
    # each row has its neighbour's task instead, at the same place of the batch
    other = {name: leaf.roll(1, 0) for name, leaf in task.items()}
    if all(torch.equal(leaf, other[name]) for name, leaf in task.items()):
        return
    first, alive = tasks.draw_reset((count,), gen), torch.ones(count, dtype=torch.bool)
    one, two = tasks.reset(task, first), tasks.reset(other, first)
    for _ in range(tasks.horizon):
        if not torch.equal(tasks.observe(task, one), tasks.observe(other, two)):
            return
        action, noise = _actions(tasks, (count,), gen), tasks.draw((count,), gen)
        one, reward, ended = _moved(tasks, task, one, action, noise, alive)
        two, *others = _moved(tasks, other, two, action, noise, alive)
        if not (torch.equal(reward, others[0]) and torch.equal(ended, others[1])):
            return
        alive = alive & ~ended
    if torch.equal(tasks.observe(task, one), tasks.observe(other, two)):
        warnings.warn(
            f"{type(tasks).__name__} plays {count} tasks like others, to the bit, for "
            f"{tasks.horizon} steps with the same chance and actions: do reset, step "
            "and observe read the task that they are given, and does reset draw none "
            "of its own? If a task shows only later, as where a goal is reached, all "
            "is well.",
            stacklevel=3,
        )


Episodes = dict[str, Tensor]


def _play(
    tasks: TaskDistribution, count: int, seed: int, row: int | None = None
) -> Episodes:
    """An episode of each task with random actions, `[N, 1, T, ...]`; of one of them alone, with the same chance."""
    gen = generator(seed)
    task: Task = tasks.sample(count, gen)
    first, noise = (
        tasks.draw_reset((count,), gen),
        tasks.draw((count, tasks.horizon), gen),
    )
    shape = (count, tasks.horizon)
    actions = _actions(tasks, shape, gen)
    if row is not None:
        part = slice(row, row + 1)
        task = index_task(task, part)
        first, noise, actions = first[part], noise[part], actions[part]
    tasks.begin()
    state = tasks.reset(task, first)
    alive, steps = torch.ones(len(first), dtype=torch.bool), []
    for t in range(tasks.horizon):
        seen = tasks.observe(task, state)
        state, reward, ended = _moved(
            tasks, task, state, actions[:, t], noise[:, t], alive
        )
        steps.append((seen, reward, alive, ended))
        alive = alive & ~ended
    last = tasks.observe(task, state)
    seen, reward, was, ended = (
        torch.stack(s, 1).unsqueeze(1) for s in zip(*steps, strict=True)
    )
    check_batch(
        tasks, seen, actions.unsqueeze(1), reward, was, ended, last.unsqueeze(1)
    )
    seen = torch.cat([seen, last[:, None, None]], 2)
    return {"observe": seen, "step (reward)": reward, "step (terminated)": ended}


def _actions(
    tasks: TaskDistribution, shape: tuple[int, ...], gen: torch.Generator
) -> Tensor:
    """Actions at random, wider than those of a policy that has not learned."""
    if tasks.discrete:
        return torch.randint(tasks.action_size, shape, generator=gen)
    actions = torch.randn((*shape, tasks.action_size), generator=gen)
    return (2 * tasks.action_scale * actions).to(tasks.dtype)


def _moved(
    tasks: TaskDistribution,
    task: Task,
    state: Tensor,
    action: Tensor,
    noise: Tensor,
    alive: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """A step of those that are alive: the next state, what is paid, and whom it ends."""
    after, reward, ended = tasks.step(task, state, action, noise)
    running = alive.reshape(-1, *(1,) * (after.ndim - 1))
    state = torch.where(running, after, state)
    return state, reward.masked_fill(~alive, 0), ended & alive


def _check_bounds(tasks: TaskDistribution, seen: Tensor) -> None:
    low, high = tasks.observation_bounds()
    outside = (seen < low) | (seen > high)
    if bool(outside.any()):
        place = int(outside.nonzero()[0, -1])
        raise ValueError(
            f"{type(tasks).__name__}.observation_bounds says that number {place} of an "
            f"observation lies between {low[place].item():g} and "
            f"{high[place].item():g}, and observe gave {seen[outside][0].item():g}."
        )


def _check_alone(
    tasks: TaskDistribution, together: Episodes, alone: Episodes, row: int
) -> None:
    """An episode is the same with others beside it and without, up to rounding."""
    for member, many in together.items():
        one, two = many[row].to(torch.float64), alone[member][0].to(torch.float64)
        if not torch.allclose(one, two, rtol=1e-3, atol=1e-4):
            raise ValueError(
                f"{type(tasks).__name__}.{member} gives a task something else alone "
                "than beside others: rows of a batch must not depend on each other."
            )
