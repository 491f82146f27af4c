"""Exercises of chapter 11, continued: where a memory begins, a fair comparison."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...rng import generator, uniform
from .base import Case, Exercise

Read = Callable[[int, int, int], float]
Remember = Callable[[float, float], float]


# --- 11.3: where a memory begins --------------------------------------------------------------------------------------


def _memories(tasks: int, episodes: int, steps: int, read: Read, remember: Remember) -> Tensor:
    out = []
    for task in range(tasks):
        memory = 0.0
        for episode in range(episodes):
            for step in range(steps):
                memory = remember(memory, read(task, episode, step))
                out.append(memory)
    return torch.tensor(out).reshape(tasks, episodes, steps)


def _never_empty(tasks: int, episodes: int, steps: int, read: Read, remember: Remember) -> Tensor:
    flat = _memories(1, tasks * episodes, steps, lambda _, e, t: read(e // episodes, e % episodes, t), remember)
    return flat.reshape(tasks, episodes, steps)


def _empty_each_episode(tasks: int, episodes: int, steps: int, read: Read, remember: Remember) -> Tensor:
    flat = _memories(tasks * episodes, 1, steps, lambda n, _, t: read(n // episodes, n % episodes, t), remember)
    return flat.reshape(tasks, episodes, steps)


def _noted_before(tasks: int, episodes: int, steps: int, read: Read, remember: Remember) -> Tensor:
    after = _memories(tasks, episodes, steps, read, remember).flatten(1)
    return torch.cat([torch.zeros(tasks, 1), after[:, :-1]], 1).reshape(tasks, episodes, steps)


def _read(task: int, episode: int, step: int) -> float:
    """The number 1 + task + episode / 10 + step / 100."""
    return 1.0 + task + 0.1 * episode + 0.01 * step


def _halved(memory: float, x: float) -> float:
    """Half the memory plus twice the input."""
    return 0.5 * memory + 2 * x


def _added(memory: float, x: float) -> float:
    """The memory plus the input."""
    return memory + x


# --- 11.4: a fair comparison ------------------------------------------------------------------------------------------


def _fair(advantages: Tensor, group: int) -> Tensor:
    groups = advantages.reshape(-1, group, advantages.shape[-1])
    centred = (groups - groups.mean(1, keepdim=True)).reshape(advantages.shape)
    return centred / centred.square().mean().sqrt()


def _groups(advantages: Tensor, group: int) -> Tensor:
    return advantages.reshape(-1, group, advantages.shape[-1])


def _scaled(centred: Tensor) -> Tensor:
    return centred / centred.square().mean().sqrt()


def _not_scaled(advantages: Tensor, group: int) -> Tensor:
    groups = _groups(advantages, group)
    return (groups - groups.mean(1, keepdim=True)).reshape(advantages.shape)


def _interleaved(advantages: Tensor, group: int) -> Tensor:
    groups = advantages.reshape(group, -1, advantages.shape[-1])
    return _scaled((groups - groups.mean(0, keepdim=True)).reshape(advantages.shape))


def _each_group_scaled(advantages: Tensor, group: int) -> Tensor:
    centred = _groups(_not_scaled(advantages, group), group)
    return (centred / centred.square().mean((1, 2), keepdim=True).sqrt()).reshape(advantages.shape)


def _each_step_scaled(advantages: Tensor, group: int) -> Tensor:
    centred = _not_scaled(advantages, group)
    return centred / centred.square().mean(0).sqrt()


def _batches() -> list[Case]:
    gen = generator(2)
    return [(3 * uniform(shape, gen, torch.float64) + 1, group) for shape, group in (((6, 4), 3), ((8, 3), 2))]


EXERCISES = [
    Exercise(
        "11.3",
        "where a memory begins",
        reference=_memories,
        cases=[
            (2, 2, 3, _read, _halved),
            (3, 1, 2, _read, _halved),
            (1, 3, 2, _read, _added),
            (2, 3, 1, _read, _added),
        ],
        mistakes={
            "The memory of one task flows into the next: a trial begins without any.": _never_empty,
            "The memory is emptied at each episode's start. Then nothing can be learned from one episode for the "
            "next.": _empty_each_episode,
            "The memory is emptied at every step: that is no memory.": (
                lambda tasks, episodes, steps, read, remember: _memories(
                    tasks, episodes, steps, read, lambda _, x: remember(0.0, x)
                )
            ),
            "These are the inputs, not the memory.": (
                lambda tasks, episodes, steps, read, remember: _memories(tasks, episodes, steps, read, lambda _, x: x)
            ),
            "You note the memory before it has taken in the input of the step.": _noted_before,
            "Memory and input have changed places: remember(memory, x).": (
                lambda tasks, episodes, steps, read, remember: _memories(
                    tasks, episodes, steps, read, lambda memory, x: remember(x, memory)
                )
            ),
            "The numbers are right, in one row. Give them the shape [tasks, episodes, steps].": (
                lambda tasks, episodes, steps, read, remember: _memories(
                    tasks, episodes, steps, read, remember
                ).flatten()
            ),
        },
        praise="One line, in one of three possible places: it decides whether the agent can adapt.",
    ),
    Exercise(
        "11.4",
        "compared with the other trials of the task",
        reference=_fair,
        cases=_batches,
        tolerance=1e-6,
        mistakes={
            "The mean is taken over the trials of all tasks. Then a lucky task still praises everything that was done "
            "in it.": lambda advantages, group: _scaled(advantages - advantages.mean(0)),
            "The mean runs over the steps too. An early step has more reward ahead of it than a late one: compare "
            "like with like.": lambda advantages, group: _scaled(
                (_groups(advantages, group) - _groups(advantages, group).mean((1, 2), keepdim=True)).reshape(
                    advantages.shape
                )
            ),
            "One mean for all tasks and steps is subtracted. Compare with the trials of the same task, at the same "
            "step.": lambda advantages, group: _scaled(advantages - advantages.mean()),
            "This is the mean over time of each trial by itself. Compare with the other trials, at the same step.": (
                lambda advantages, group: _scaled(advantages - advantages.mean(1, keepdim=True))
            ),
            "The groups are mixed up: the trials of a task stand in a row, so the shape is (tasks, group, steps).": (
                _interleaved
            ),
            "Nothing is subtracted: the advantages are only scaled.": lambda advantages, group: _scaled(advantages),
            "The mean is right; the result is not brought to standard deviation 1.": _not_scaled,
            "The mean is right; the scale is the mean square and not its root.": (
                lambda advantages, group: (
                    _not_scaled(advantages, group) / _not_scaled(advantages, group).square().mean()
                )
            ),
            "Almost: divide by the root of the mean square. std() divides by one less.": (
                lambda advantages, group: _not_scaled(advantages, group) / _not_scaled(advantages, group).std()
            ),
            "The mean is right; the scale is that of the advantages before it was subtracted.": (
                lambda advantages, group: _not_scaled(advantages, group) / advantages.square().mean().sqrt()
            ),
            "Each task is scaled by itself. Then a task in which nothing differs counts as much as one in which much "
            "was at stake. One scale for all.": _each_group_scaled,
            "Each step is scaled by itself. One scale for all.": _each_step_scaled,
        },
        praise="This is compared(...) of the package, which also heeds the mask.",
    ),
]
