"""Pictures of an episode, as gymnasium's `rgb_array`: what an agent that remembers could have seen of it, and no more.

The task stays hidden here too, since pictures can be observations (`gymnasium.wrappers.AddRenderObservation`): a goal
is drawn once it was found, a pole has the nominal length. Below each picture stand the rewards so far, a bar for each
step, in units of the largest: blue up, orange down.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import singledispatch
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .bandits import BernoulliBandit, ElevenArms
from .base import TaskDistribution
from .finite import FiniteTasks
from .navigation import GridGoal, PointGoal
from .physics import CartPoleTasks, PendulumTasks
from .tabular import TabularMDP
from .two_step import TwoStep

Array = NDArray[Any]
Point = tuple[float, float]
SIDE, STRIP = 256, 48  # pixels of the picture, and of the strip of rewards below it

WHITE, LIGHT, GREY, BLACK = (255,) * 3, (225,) * 3, (150,) * 3, (30,) * 3
BLUE, ORANGE, GREEN, GOLD = (0, 114, 178), (213, 94, 0), (0, 158, 115), (240, 190, 40)


@dataclass
class Trace:
    """An episode so far: what was seen, in which states, and what was done and paid."""

    states: list[Tensor] = field(default_factory=list)
    observations: list[Array] = field(default_factory=list)
    actions: list[Tensor] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)

    def add(
        self, state: Tensor, observation: Array, action: Tensor, reward: float
    ) -> None:
        """One more step: what it led to, what was done and what it paid."""
        self.states.append(state)
        self.observations.append(observation)
        self.actions.append(action)
        self.rewards.append(reward)


class Canvas:
    """A picture on the unit square, x to the right and y up, and a strip below it, where y is negative."""

    def __init__(self) -> None:
        self.pixels = np.full((SIDE + STRIP, SIDE, 3), WHITE, np.float32)
        self.x = (np.arange(SIDE)[None, :] + 0.5) / SIDE
        self.y = 1 - (np.arange(SIDE + STRIP)[:, None] + 0.5) / SIDE

    def disc(self, centre: Point, radius: float, colour: tuple[int, ...]) -> None:
        """A filled circle."""
        x, y = centre
        corners = (x - radius, y - radius), (x + radius, y + radius)
        self._paint(*corners, colour, lambda u, v: np.hypot(u - x, v - y) - radius)

    def box(self, low: Point, high: Point, colour: tuple[int, ...]) -> None:
        """A filled rectangle."""

        def beyond(u: Array, v: Array) -> Array:
            across = np.maximum(low[0] - u, u - high[0])
            return np.maximum(across, np.maximum(low[1] - v, v - high[1]))

        self._paint(low, high, colour, beyond)

    def line(self, a: Point, b: Point, width: float, colour: tuple[int, ...]) -> None:
        """A straight stroke with round ends."""
        ahead = (b[0] - a[0], b[1] - a[1])
        square = max(ahead[0] ** 2 + ahead[1] ** 2, 1e-12)

        def beyond(u: Array, v: Array) -> Array:
            along = ((u - a[0]) * ahead[0] + (v - a[1]) * ahead[1]) / square
            t = np.clip(along, 0, 1)
            away = np.hypot(u - a[0] - t * ahead[0], v - a[1] - t * ahead[1])
            return away - width / 2

        low = (min(a[0], b[0]) - width, min(a[1], b[1]) - width)
        high = (max(a[0], b[0]) + width, max(a[1], b[1]) + width)
        self._paint(low, high, colour, beyond)

    def _paint(
        self,
        low: Point,
        high: Point,
        colour: tuple[int, ...],
        beyond: Callable[[Array, Array], Array],
    ) -> None:
        """Colours what lies within a shape; at its border a pixel is covered in part."""
        left, right = (
            int(np.clip(x * SIDE + d, 0, SIDE)) for x, d in ((low[0], -1), (high[0], 2))
        )
        top, bottom = (
            int(np.clip((1 - y) * SIDE + d, 0, SIDE + STRIP))
            for y, d in ((high[1], -1), (low[1], 2))
        )
        part = self.pixels[top:bottom, left:right]
        distance = beyond(self.x[:, left:right], self.y[top:bottom])
        cover = np.clip(0.5 - SIDE * distance, 0, 1)[..., None]
        part += cover * (np.array(colour, np.float32) - part)


def picture(tasks: TaskDistribution, trace: Trace) -> Array:
    """The episode as a picture, `[304, 256, 3]`, of type uint8."""
    canvas = Canvas()
    draw(tasks, canvas, trace)
    _rewards(canvas, trace.rewards, int(tasks.horizon))
    return canvas.pixels.round().astype(np.uint8)


def frames_per_second(tasks: TaskDistribution) -> int:
    """Real time where steps have a length in seconds, and else four steps a second."""
    return round(1 / getattr(tasks, "time_step", 0.25))


def _rewards(canvas: Canvas, rewards: list[float], horizon: int) -> None:
    """The strip: a slot for each step of the horizon."""
    middle, half, width = -STRIP / SIDE / 2, 0.4 * STRIP / SIDE, 0.96 / horizon
    most = max((abs(reward) for reward in rewards), default=0.0) or 1.0
    for t, reward in enumerate(rewards):
        left, tip = 0.02 + t * width, middle + half * reward / most
        low, high = (left, min(middle, tip)), (left + 0.9 * width, max(middle, tip))
        canvas.box(low, high, BLUE if reward > 0 else ORANGE)
    canvas.line((0.02, middle), (0.98, middle), 0.004, GREY)


@singledispatch
def draw(tasks: TaskDistribution, canvas: Canvas, trace: Trace) -> None:
    """Draws the episode; of a family that is not known here, the numbers of the last observation as bars."""
    seen = trace.observations[-1]
    most = max(max(float(np.abs(o).max()) for o in trace.observations), 1e-12)
    width = 0.9 / len(seen)
    for i, number in enumerate(seen):
        left, tip = 0.05 + i * width, 0.5 + 0.45 * float(number) / most
        low, high = (left, min(0.5, tip)), (left + 0.8 * width, max(0.5, tip))
        canvas.box(low, high, BLUE if number > 0 else ORANGE)
    canvas.line((0.05, 0.5), (0.95, 0.5), 0.004, GREY)


@draw.register
def _(tasks: FiniteTasks, canvas: Canvas, trace: Trace) -> None:
    draw(tasks.tasks, canvas, trace)


@draw.register(BernoulliBandit)
@draw.register(ElevenArms)
def _(tasks: TaskDistribution, canvas: Canvas, trace: Trace) -> None:
    """A column for each arm: how often it was pulled, grey, and what it paid, green; a dot under the last one."""
    most = 5.0 if isinstance(tasks, ElevenArms) else 1.0  # that one pull can pay
    pulls = np.zeros((2, tasks.action_size))
    for action, reward in zip(trace.actions, trace.rewards, strict=True):
        pulls[:, int(action)] += 1, reward / most
    width, scale = 0.9 / tasks.action_size, 0.8 / max(pulls[0].max(), tasks.horizon / 2)
    for arm, (count, paid) in enumerate(pulls.T):
        left, right = 0.05 + (arm + 0.1) * width, 0.05 + (arm + 0.9) * width
        canvas.box((left, 0.12), (right, 0.125), BLACK)
        canvas.box((left, 0.125), (right, 0.125 + scale * count), GREY)
        canvas.box((left, 0.125), (right, 0.125 + scale * paid), GREEN)
        if trace.actions and arm == int(trace.actions[-1]):
            canvas.disc(((left + right) / 2, 0.06), 0.025, BLUE)


@draw.register
def _(tasks: TwoStep, canvas: Canvas, trace: Trace) -> None:
    """The three places, the way that was taken last, and gold where it paid."""
    where = {0: (0.5, 0.2), 1: (0.22, 0.75), 2: (0.78, 0.75)}
    path = [int(state[0]) for state in trace.states]
    for place in (1, 2):
        canvas.line(where[0], where[place], 0.01, LIGHT)
    if len(path) > 1:
        canvas.line(where[path[-2]], where[path[-1]], 0.03, BLUE)
    for place, centre in where.items():
        canvas.disc(centre, 0.12, GREY)
        canvas.disc(centre, 0.11, BLUE if place == path[-1] else WHITE)
    if trace.rewards and path[-1] == 0:
        canvas.disc(where[path[-2]], 0.06, GOLD if trace.rewards[-1] > 0 else LIGHT)


@draw.register
def _(tasks: TabularMDP, canvas: Canvas, trace: Trace) -> None:
    """The states in a circle, larger the more often they were visited, with the last transition."""
    count, path = tasks.observation_size, [int(state[0]) for state in trace.states]
    turn = [math.pi / 2 - 2 * math.pi * i / count for i in range(count)]
    where = [(0.5 + 0.38 * math.cos(a), 0.5 + 0.38 * math.sin(a)) for a in turn]
    for one, two in pairwise(path):
        canvas.line(where[one], where[two], 0.006, LIGHT)
    if len(path) > 1:
        canvas.line(where[path[-2]], where[path[-1]], 0.02, BLUE)
    largest = min(0.09, 1.0 / count)
    for state, centre in enumerate(where):
        share = math.sqrt(path.count(state) / len(path))
        canvas.disc(centre, largest * (0.4 + 0.6 * share), GREY)
    canvas.disc(where[path[-1]], 0.4 * largest, BLUE)


@draw.register
def _(tasks: GridGoal, canvas: Canvas, trace: Trace) -> None:
    """The cells, blue where the agent was, gold where it was paid; the goal is hidden until it is found."""
    width = 0.96 / tasks.size
    path = [(int(state[0]), int(state[1])) for state in trace.states]
    found = {cell for cell, r in zip(path[1:], trace.rewards, strict=True) if r > 0}
    for cell in np.ndindex(tasks.size, tasks.size):
        low = (0.02 + cell[0] * width, 0.02 + cell[1] * width)
        colour = GOLD if cell in found else (190, 215, 235) if cell in path else LIGHT
        canvas.box(low, (low[0] + 0.94 * width, low[1] + 0.94 * width), colour)
    x, y = (0.02 + (place + 0.47) * width for place in path[-1])
    canvas.disc((x, y), 0.3 * width, BLUE)


@draw.register
def _(tasks: PointGoal, canvas: Canvas, trace: Trace) -> None:
    """The square in which goals can lie, and the way: the better a place was paid, the greener it is."""
    path = np.array([state.tolist() for state in trace.states])
    wide = 0.75  # half of what is seen; doubled until all of the way is
    while np.abs(path).max() > wide:
        wide *= 2
    path = 0.5 + path / (2 * wide)
    low, high = 0.5 - 0.25 / wide, 0.5 + 0.25 / wide
    canvas.box((low, low), (high, high), LIGHT)
    canvas.disc((0.5, 0.5), 0.012, BLACK)
    paid = np.array(trace.rewards)
    for place, reward in zip(path[1:], paid, strict=True):
        share = (reward - paid.min()) / max(float(np.ptp(paid)), 1e-12)
        colour = tuple(
            int(o + share * (g - o)) for o, g in zip(ORANGE, GREEN, strict=True)
        )
        canvas.disc((place[0], place[1]), 0.015, colour)
    canvas.disc((path[-1, 0], path[-1, 1]), 0.03, BLUE)


@draw.register
def _(tasks: CartPoleTasks, canvas: Canvas, trace: Trace) -> None:
    """The cart on its track between the ends, with a pole of the nominal length, and the last push in orange."""
    position, _, angle, _ = trace.states[-1].tolist()
    metre = 0.45 / tasks.max_position
    x, y = 0.5 + metre * position, 0.35
    canvas.line((0.05, y), (0.95, y), 0.006, GREY)
    for end in (0.05, 0.95):
        canvas.line((end, y - 0.03), (end, y + 0.03), 0.006, GREY)
    if trace.actions:
        push = 0.12 if int(trace.actions[-1]) else -0.12
        canvas.line((x, y), (x + push, y), 0.02, ORANGE)
    canvas.box((x - 0.06, y - 0.03), (x + 0.06, y + 0.03), BLACK)
    pole = 2 * metre * tasks.nominal["length"]
    tip = (x + pole * math.sin(angle), y + pole * math.cos(angle))
    canvas.line((x, y), tip, 0.03, BLUE)
    canvas.disc((x, y), 0.012, WHITE)


@draw.register
def _(tasks: PendulumTasks, canvas: Canvas, trace: Trace) -> None:
    """The pendulum, and the last torque as a bar: to the left it turns counter-clockwise."""
    angle, _ = trace.states[-1].tolist()
    tip = (0.5 - 0.33 * math.sin(angle), 0.55 + 0.33 * math.cos(angle))
    canvas.line((0.5, 0.55), tip, 0.07, BLUE)
    canvas.disc((0.5, 0.55), 0.02, BLACK)
    canvas.line((0.5, 0.05), (0.5, 0.09), 0.006, GREY)
    if trace.actions:
        torque = max(-1.0, min(1.0, float(trace.actions[-1]) / tasks.action_limit))
        canvas.line((0.5, 0.07), (0.5 - 0.3 * torque, 0.07), 0.025, ORANGE)
