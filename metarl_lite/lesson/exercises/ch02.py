"""Exercises of chapter 2: goals on a ring, a step with wind, a split of a finite family."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...rng import generator, normal, uniform
from ...tasks.navigation import GridGoal
from ...types import Task
from .base import Case, Exercise

Sample = Callable[[int, float, torch.Generator], Task]
Split = Callable[[Tensor, int, torch.Generator], tuple[Tensor, Tensor]]
PLACE = (0.3, 0.4)


def _facts_of_ring(sample: Sample, num_tasks: int, radius: float) -> Any:
    """What can be said of a random answer without knowing how it draws."""
    task = sample(num_tasks, radius, generator(1))
    if not isinstance(task, dict) or set(task) != {"goal"} or not isinstance(task["goal"], Tensor):
        return task
    goal, again = task["goal"], sample(num_tasks, radius, generator(1))["goal"]
    if goal.shape != (num_tasks, 2):
        return {"goal": goal}
    angle = torch.atan2(goal[:, 1], goal[:, 0])
    waves = [abs((k * angle).cos().mean().item()) for k in (1, 2, 4)] + [abs(angle.sin().mean().item())]
    return {
        "goal": torch.zeros_like(goal),  # right in kind and shape
        "goals on the circle": bool(((goal.norm(dim=1) - radius).abs() < 1e-4).all()),
        "goals in all directions alike": max(waves) < 0.06,
        "the same tasks from the same seed": torch.equal(goal, again),
    }


def _on_circle(angle: Tensor, radius: float | Tensor) -> Task:
    return {"goal": torch.stack([radius * angle.cos(), radius * angle.sin()], -1)}


def _ring(num_tasks: int, radius: float, gen: torch.Generator) -> Task:
    return _on_circle(2 * math.pi * uniform((num_tasks,), gen, torch.float32), radius)


def _disc(num_tasks: int, radius: float, gen: torch.Generator) -> Task:
    draws = uniform((2, num_tasks), gen, torch.float32)
    return _on_circle(2 * math.pi * draws[0], radius * draws[1])


def _half(num_tasks: int, radius: float, gen: torch.Generator) -> Task:
    return _on_circle(math.pi * uniform((num_tasks,), gen, torch.float32), radius)


_seeds = itertools.count()


def _own_chance(num_tasks: int, radius: float, gen: torch.Generator) -> Task:
    return _ring(num_tasks, radius, generator(next(_seeds)))  # as torch.rand without a generator would


def _move(task: Task, state: Tensor, action: Tensor) -> Tensor:
    return state + action.clamp(-0.1, 0.1) + task["wind"]


def _reward(state: Tensor) -> Tensor:
    distance: Tensor = (state - state.new_tensor(PLACE)).norm(dim=-1)
    return -distance


def _wind_step(task: Task, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    state = _move(task, state, action)
    return state, _reward(state)


def _not_clipped(task: Task, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    state = state + action + task["wind"]
    return state, _reward(state)


def _wind_clipped(task: Task, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    state = state + (action + task["wind"]).clamp(-0.1, 0.1)
    return state, _reward(state)


def _paid_before(task: Task, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    return _move(task, state, action), _reward(state)


def _unpushed_reward(task: Task, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    return _move(task, state, action), _reward(state + action.clamp(-0.1, 0.1))


def _one_distance(task: Task, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    state = _move(task, state, action)
    return state, -(state - state.new_tensor(PLACE)).norm()


def _squared(task: Task, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    state = _move(task, state, action)
    return state, -(_reward(state) ** 2)


def _wind_cases() -> list[Case]:
    gen = generator(21)

    def draw(*shape: int) -> Tensor:
        return normal(shape, gen, torch.float32)

    batch = ({"wind": 0.05 * draw(3, 1, 2)}, 0.3 * draw(3, 4, 2), 0.2 * draw(3, 4, 2))
    single = ({"wind": 0.05 * draw(2)}, 0.3 * draw(2), 0.2 * draw(2))
    return [batch, single]


def _facts_of_split(split: Split, goals: Tensor, num_test: int) -> Any:
    parts = split(goals, num_test, generator(1))
    if not isinstance(parts, (tuple, list)) or len(parts) != 2 or not all(isinstance(p, Tensor) for p in parts):
        return parts
    train, test = ({tuple(row) for row in part.tolist()} for part in parts)
    again, other = split(goals, num_test, generator(1)), split(goals, num_test, generator(2))
    return {
        "the sizes of both parts": tuple(len(part) for part in parts),
        "a goal in both": bool(train & test),
        "every goal in one of them": train | test == {tuple(row) for row in goals.tolist()},
        "the same split from the same seed": torch.equal(parts[1], again[1]),
        "another split from another seed": not torch.equal(parts[1], other[1]),
    }


def _split(goals: Tensor, num_test: int, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    shuffled = goals[torch.randperm(len(goals), generator=gen)]
    return shuffled[:-num_test], shuffled[-num_test:]


def _with_replacement(goals: Tensor, num_test: int, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    drawn = goals[torch.randint(len(goals), (len(goals),), generator=gen)]
    return drawn[:-num_test], drawn[-num_test:]


def _all_in_training(goals: Tensor, num_test: int, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    return goals, _split(goals, num_test, gen)[1]


def _in_order(goals: Tensor, num_test: int, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    return goals[:-num_test], goals[-num_test:]


def _swapped(goals: Tensor, num_test: int, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    train, test = _split(goals, num_test, gen)
    return test, train


def _own_shuffle(goals: Tensor, num_test: int, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    return _split(goals, num_test, generator(next(_seeds)))


EXERCISES = [
    Exercise(
        "2.1",
        "goals on a ring",
        reference=_ring,
        cases=[(4000, 0.5), (4000, 2.0)],
        through=_facts_of_ring,
        mistakes={
            "These goals fill the disc: the distance from the origin is the radius itself, and only the direction is "
            "drawn.": _disc,
            "Some directions come more often than others. Draw the angle uniformly on a whole turn, not the "
            "coordinates.": _half,
            "Twice the same seed, and two different results: some of your chance does not come from gen.": _own_chance,
        },
        praise="A new family is often no more than a new sample: reset, step and observe can stay those of PointGoal.",
    ),
    Exercise(
        "2.2",
        "a step with wind",
        reference=_wind_step,
        cases=_wind_cases,
        mistakes={
            "Actions beyond 0.1 must be clipped, each coordinate by itself.": _not_clipped,
            "You clip the sum of action and wind; only the action is limited, the wind comes on top.": _wind_clipped,
            "Your reward is paid for the place before the move.": _paid_before,
            "The state is right, but its reward forgets the wind: measure from the next state.": _unpushed_reward,
            "One distance for the whole batch: the norm must run over the last dimension only.": _one_distance,
            "The reward is minus the distance, not minus its square.": _squared,
        },
        praise="It moves one point and a batch of any shape by the same lines.",
    ),
    Exercise(
        "2.3",
        "a split of a finite family",
        reference=_split,
        cases=[(GridGoal().goals(), 5), (GridGoal(6).goals(), 8)],
        through=_facts_of_split,
        mistakes={
            "Some goals are in both parts and others in none: shuffle once, without replacement, and "
            "cut.": _with_replacement,
            "Your training part still holds the test goals: all of them are in it.": _all_in_training,
            "The split is the same for every seed. Without a shuffle you test on the last columns.": _in_order,
            "The two parts are in the wrong order: training first, then test.": _swapped,
            "Twice the same seed, and two different splits: some of your chance does not come from gen.": _own_shuffle,
        },
        praise="Keep the seed of the split with your results: it belongs to the question.",
    ),
]
