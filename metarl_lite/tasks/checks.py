"""All that a family promises, asked at once: for those who write one."""

from __future__ import annotations

import torch
from torch import Tensor

from ..rng import generator
from ..types import Task
from .base import TaskDistribution, check_like, index_task
from .door import check_batch
from .finite import is_pure
from .gym_env import spaces
from .promises import Asked, check_members, check_signatures


def check_family(tasks: TaskDistribution, seed: int = 0) -> None:
    """Refuses a family that breaks a promise of `TaskDistribution`, and names the member that does.

    `rollout` and `trial` look at one step by themselves, and then at what was played. This looks at all of it, as
    `gymnasium.utils.env_checker.check_env` does for an environment: sizes and types; tasks that a generator decides,
    and nothing else; methods that keep any leading dimensions, change no argument and give the same once more; rows
    of a batch that do not depend on each other; and whole episodes that end only where they may and stay finite and
    within their bounds.

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
        pair = tasks.sample(2, generator(seed))
        spread = {name: leaf.unsqueeze(1) for name, leaf in pair.items()}
        for task, lead in ((tasks.default_task(), ()), (pair, (2,)), (spread, (2, 3))):
            habits = Asked(tasks, task, lead).habits(generator(seed))
            for what, right in habits.items():
                raise ValueError(
                    f"{type(tasks).__name__} gives the {what} in another type than "
                    f"{right}. rollout and trial convert it; give it in that type."
                )
    together = _play(tasks, 4, seed)
    if is_pure(tasks):
        _check_bounds(tasks, together["observe"])
        for row in range(4):
            _check_alone(tasks, together, _play(tasks, 4, seed, row), row)


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
    if tasks.discrete:
        actions = torch.randint(tasks.action_size, shape, generator=gen)
    else:
        wide = (*shape, tasks.action_size)
        actions = 2 * tasks.action_scale * torch.randn(wide, generator=gen)
        actions = actions.to(tasks.dtype)
    if row is not None:
        part = slice(row, row + 1)
        task = index_task(task, part)
        first, noise, actions = first[part], noise[part], actions[part]
    tasks.begin()
    state = tasks.reset(task, first)
    alive, steps = torch.ones(len(first), dtype=torch.bool), []
    for t in range(tasks.horizon):
        seen = tasks.observe(task, state)
        after, reward, ended = tasks.step(task, state, actions[:, t], noise[:, t])
        steps.append((seen, reward.masked_fill(~alive, 0), alive, ended & alive))
        running = alive.reshape(-1, *(1,) * (after.ndim - 1))
        state, alive = torch.where(running, after, state), alive & ~ended
    last = tasks.observe(task, state)
    seen, reward, was, ended = (
        torch.stack(s, 1).unsqueeze(1) for s in zip(*steps, strict=True)
    )
    check_batch(
        tasks, seen, actions.unsqueeze(1), reward, was, ended, last.unsqueeze(1)
    )
    seen = torch.cat([seen, last[:, None, None]], 2)
    return {"observe": seen, "step (reward)": reward, "step (terminated)": ended}


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
