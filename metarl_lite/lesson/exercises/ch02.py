"""Exercises of chapter 2: goals on a ring, a step with wind, a split of a finite family."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import torch
from torch import Tensor

from ...rng import generator, normal, uniform
from ...tasks.navigation import GridGoal
from ...types import Task
from .base import Case, Exercise, Facts
from .outcome import Draw

Split = tuple[Tensor, Tensor]
PLACE = (0.3, 0.4)

NO_CIRCLE = (
    "These goals are not all equally far from the origin: the distance is the radius itself, and only the"
    " direction is drawn."
)
OTHER_RADIUS = "These goals lie on a circle around the origin, but not on that of the given radius."
LOPSIDED = "Some directions come more often than others. Draw the angle uniformly on a whole turn, not the coordinates."
TOO_EVEN = (
    "These directions are spaced too evenly for chance. Goals are independent of one another: an angle is"
    " drawn for each."
)
IN_A_ROW = (
    "The goals follow one another in order, so where one is tells where the next is: draw an angle for each by itself."
)
ALL_IN_TRAINING = "Your training part still holds the test goals: all of them are in it."
TWICE = "Some goals are in both parts, or twice in one, and others in none: shuffle once, without replacement, and cut."
IN_ORDER = "The split is the same for every seed. Without a shuffle you test on the last columns."
FAVOURED = "Over many seeds some goals are tested much more often than others."
FEW_SETS = (
    "Over many seeds the same few test sets come back, such as goals that stand side by side in the list."
    " Every set of goals should be possible: shuffle them all."
)
SAME = "Twice the same seed, and two different results: some of your chance does not come from gen."
FIXED = "Two seeds, and the same result: no chance, or none that comes from gen."
RESTARTED = (
    "Asked twice with one generator, you give the same result twice: draw from gen itself, and start no other from its "
    "seed."
)


def _as_drawn(results: list[list[float]]) -> Facts:
    """What holds of all that is drawn with a generator: of seeds 1, 1, 2, and of a second draw from the first."""
    first, again, second, other = results
    yield first == again, SAME
    yield first != other, FIXED
    yield first != second, RESTARTED


def _four(draw: Draw) -> list[Any]:
    gen = generator(1)
    return draw(gen, generator(1), gen, generator(2))


# --- 2.1: goals on a ring ---------------------------------------------------------------------------------------------


def _ring(num_tasks: int, radius: float, gen: torch.Generator) -> Task:
    angle = 2 * torch.pi * uniform((num_tasks,), gen, torch.float32)
    return {"goal": radius * torch.stack([angle.cos(), angle.sin()], -1)}


def _facts_of_ring(draw: Draw, num_tasks: int, radius: float) -> Facts:
    goals = [task["goal"].double() for task in _four(draw)]
    far, goal = goals[0].norm(dim=1), goals[0]
    flat = bool(((far - far.mean()).abs() < 1e-4).all())
    yield flat, NO_CIRCLE
    yield abs(far.mean().item() - radius) < 1e-4, OTHER_RADIUS
    yield from _as_drawn([goal.flatten().tolist() for goal in goals])
    angle = torch.atan2(goal[:, 1], goal[:, 0])
    waves = [abs(f(k * angle).mean().item()) for k in (1, 2, 3, 4) for f in (torch.cos, torch.sin)]
    yield max(waves) < 0.09, LOPSIDED  # each has a standard deviation of .011
    gaps = angle.sort().values.diff() * num_tasks / (2 * math.pi)
    yield 1.7 < gaps.square().mean().item() < 2.4, TOO_EVEN  # 2 +- .03 where goals are independent, 1 on a grid
    yield abs((angle[1:] - angle[:-1]).cos().mean().item()) < 0.09, IN_A_ROW


def _at(angle: Tensor, radius: float | Tensor) -> Task:
    return {"goal": torch.stack([radius * angle.cos(), radius * angle.sin()], -1)}


def _even(num_tasks: int) -> Tensor:
    return 2 * math.pi * torch.arange(num_tasks) / num_tasks


_seeds = itertools.count()


def _somewhere() -> torch.Generator:
    return generator(next(_seeds))  # as torch.rand without a generator would


# --- 2.2: a step with wind --------------------------------------------------------------------------------------------


def _reward(state: Tensor) -> Tensor:
    distance: Tensor = (state - torch.tensor(PLACE)).norm(dim=-1)
    return -distance


def _wind_step(task: Task, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    state = state + action.clamp(-0.1, 0.1) + task["wind"]
    reward = -(state - torch.tensor([0.3, 0.4])).norm(dim=-1)
    return state, reward


def _arriving(state: Tensor) -> tuple[Tensor, Tensor]:
    return state, _reward(state)


def _in_place(task: Task, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    state += action.clamp(-0.1, 0.1) + task["wind"]
    return state, _reward(state)


def _wind_cases() -> list[Case]:
    gen = generator(21)

    def draw(*shape: int) -> Tensor:
        return normal(shape, gen, torch.float32)

    batch = ({"wind": 0.05 * draw(3, 1, 2)}, 0.3 * draw(3, 4, 2), 0.2 * draw(3, 4, 2))
    single = ({"wind": 0.05 * draw(2)}, 0.3 * draw(2), 0.2 * draw(2))
    return [batch, single]


# --- 2.3: a split of a finite family ----------------------------------------------------------------------------------


def _split(goals: Tensor, num_test: int, gen: torch.Generator) -> Split:
    shuffled = goals[torch.randperm(len(goals), generator=gen)]
    return shuffled[:-num_test], shuffled[-num_test:]


def _facts_of_split(draw: Draw, goals: Tensor, num_test: int) -> Facts:
    rows = [tuple(row) for row in goals.tolist()]
    splits = [[[tuple(row) for row in p.tolist()] for p in parts] for parts in _four(draw)]
    train, test = splits[0]
    yield not set(rows) <= set(train), ALL_IN_TRAINING
    yield not set(train) & set(test) and set(train + test) == set(rows), TWICE
    yield splits[0] != splits[3] or splits[0] != splits[2] or splits[0] != splits[1], IN_ORDER
    yield from _as_drawn([[x for row in sorted(split[1]) for x in row] for split in splits])
    place = {row: index for index, row in enumerate(rows)}
    sets = [frozenset(place[tuple(row)] for row in parts[1].tolist())
            for parts in draw(*map(generator, range(10, 310)))]  # fmt: skip
    chosen = Counter(index for one in sets for index in one)
    share, count = num_test / len(rows), len(sets)
    yield all(abs(chosen[index] / count - share) < 0.2 for index in range(len(rows))), FAVOURED
    yield len(set(sets)) > 0.9 * count, FEW_SETS


def _shifted(goals: Tensor, num_test: int, gen: torch.Generator) -> Split:
    first = int(torch.randint(len(goals), (1,), generator=gen))
    turned = goals.roll(first, 0)
    return turned[:-num_test], turned[-num_test:]


def _with_replacement(goals: Tensor, num_test: int, gen: torch.Generator) -> Split:
    drawn = goals[torch.randint(len(goals), (len(goals),), generator=gen)]
    return drawn[:-num_test], drawn[-num_test:]


def _first_half_only(goals: Tensor, num_test: int, gen: torch.Generator) -> Split:
    half = len(goals) // 2
    order = torch.cat([half + torch.randperm(len(goals) - half, generator=gen), torch.randperm(half, generator=gen)])
    return goals[order[:-num_test]], goals[order[-num_test:]]


EXERCISES = [
    Exercise(
        "2.1",
        "goals on a ring",
        reference=_ring,
        cases=[(4000, 0.5), (4000, 2.0)],
        facts=_facts_of_ring,
        mistakes={
            NO_CIRCLE: lambda n, radius, gen: _at(
                2 * math.pi * uniform((n,), gen, torch.float32), radius * uniform((n,), gen, torch.float32)
            ),
            OTHER_RADIUS: (lambda n, radius, gen: _ring(n, 1.0, gen)),
            SAME: lambda n, radius, gen: _ring(n, radius, _somewhere()),
            FIXED: lambda n, radius, gen: _at(_even(n), radius),
            RESTARTED: lambda n, radius, gen: _ring(n, radius, generator(gen.initial_seed())),
            LOPSIDED: lambda n, radius, gen: _at(math.pi * uniform((n,), gen, torch.float32), radius),
            TOO_EVEN: lambda n, radius, gen: _at(_even(n) + 2 * math.pi * uniform((1,), gen, torch.float32), radius),
            IN_A_ROW: lambda n, radius, gen: _at(2 * math.pi * uniform((n,), gen, torch.float32).sort().values, radius),
        },
        praise="A new family is often no more than a new sample: reset, step and observe can stay those of PointGoal.",
    ),
    Exercise(
        "2.2",
        "a step with wind",
        reference=_wind_step,
        cases=_wind_cases,
        parts=("the next state", "the reward"),
        mistakes={
            "Actions beyond 0.1 must be clipped, each coordinate by itself.": (
                lambda task, state, action: _arriving(state + action + task["wind"])
            ),
            "You clip the sum of action and wind; only the action is limited, the wind comes on top.": (
                lambda task, state, action: _arriving(state + (action + task["wind"]).clamp(-0.1, 0.1))
            ),
            "You clip the place; only the action is limited.": (
                lambda task, state, action: _arriving((state + action + task["wind"]).clamp(-0.1, 0.1))
            ),
            "The length of the action is clipped. Each coordinate is clipped by itself.": (
                lambda task, state, action: _arriving(
                    state + action * (0.1 / action.norm(dim=-1, keepdim=True)).clamp(max=1) + task["wind"]
                )
            ),
            "The wind does not blow.": lambda task, state, action: _arriving(state + action.clamp(-0.1, 0.1)),
            "The wind blows against its direction: it is added.": (
                lambda task, state, action: _arriving(state + action.clamp(-0.1, 0.1) - task["wind"])
            ),
            "Your reward is paid for the place before the move.": (
                lambda task, state, action: (_wind_step(task, state, action)[0], _reward(state))
            ),
            "The state is right, but its reward forgets the wind: measure from the next state.": (
                lambda task, state, action: (
                    _wind_step(task, state, action)[0],
                    _reward(state + action.clamp(-0.1, 0.1)),
                )
            ),
            "One distance for the whole batch: the norm must run over the last dimension only.": (
                lambda task, state, action: (
                    _wind_step(task, state, action)[0],
                    -(_wind_step(task, state, action)[0] - torch.tensor(PLACE)).norm(),
                )
            ),
            "The reward is minus the distance, not minus its square.": (
                lambda task, state, action: (
                    _wind_step(task, state, action)[0],
                    -(_wind_step(task, state, action)[1] ** 2),
                )
            ),
            "The sign of the reward: being far away costs.": (
                lambda task, state, action: (
                    _wind_step(task, state, action)[0],
                    -_wind_step(task, state, action)[1],
                )
            ),
            "The numbers are right, but the caller's state has changed: `state += ...` writes into it. Make a new "
            "tensor, state = state + ...": _in_place,
        },
        praise="It moves one point and a batch of any shape by the same lines.",
    ),
    Exercise(
        "2.3",
        "a split of a finite family",
        reference=_split,
        cases=[(GridGoal().goals(), 5), (GridGoal(6).goals(), 8)],
        facts=_facts_of_split,
        parts=("the training goals", "the test goals"),
        mistakes={
            ALL_IN_TRAINING: (lambda goals, num_test, gen: (goals, _split(goals, num_test, gen)[1])),
            TWICE: _with_replacement,
            IN_ORDER: (lambda goals, num_test, gen: (goals[:-num_test], goals[-num_test:])),
            SAME: lambda goals, num_test, gen: _split(goals, num_test, _somewhere()),
            RESTARTED: lambda goals, num_test, gen: _split(goals, num_test, generator(gen.initial_seed())),
            FAVOURED: _first_half_only,
            FEW_SETS: _shifted,
            "The two parts are in the wrong order: training first, then test.": (
                lambda goals, num_test, gen: _split(goals, num_test, gen)[::-1]
            ),
        },
        praise="Keep the seed of the split with your results: it belongs to the question.",
    ),
]
