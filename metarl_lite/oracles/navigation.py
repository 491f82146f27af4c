"""What is possible on the plane: the best path to a known goal, and the best behaviour that knows nothing."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..tasks.navigation import PointGoal
from ..types import Task


def standing_still_return(horizon: int = 100) -> float:
    r"""The expected return of never moving: minus the horizon times the mean distance of a goal from the origin.

    $$ -T\, \mathbb E \lVert g \rVert = -T\, \frac{\sqrt2 + \operatorname{asinh} 1}{6} \approx -38.260
       \quad (T = 100, \; g \sim U[-\tfrac12, \tfrac12]^2) $$

    No behaviour that ignores the task does better: each point of its path is at best the point of least mean distance
    to the goals, and that is the centre, where it starts.
    """
    return -horizon * (math.sqrt(2) + math.asinh(1)) / 6


def goal_known_return(tasks: PointGoal, task: Task) -> Tensor:
    r"""The optimal return of each task when the goal is known, `[N]`.

    $$ a_t = \mathrm{clip}(g - x_t, -0.1, 0.1) $$

    Coordinates move independently, and this makes both offsets as small as possible at every step, so it makes every
    single reward as large as possible.
    """
    state = torch.zeros_like(task["goal"])
    total = torch.zeros_like(state[..., 0])
    alive = torch.ones_like(total, dtype=torch.bool)
    for _ in range(tasks.horizon):
        state, reward, terminated = tasks.step(task, state, task["goal"] - state, state[..., :0])
        total = total + reward * alive
        alive = alive & ~terminated
    return total
