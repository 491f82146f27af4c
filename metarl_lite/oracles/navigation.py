"""What is possible on the plane: the best path to a known goal, and the best behaviour that knows nothing."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..tasks.base import check_like
from ..tasks.navigation import PointGoal
from ..types import Task


def standing_still_return(horizon: int = 100) -> float:
    r"""The expected return of never moving: minus the horizon times the mean distance of a goal from the origin.

    $$ -T\, \mathbb E \lVert g \rVert = -T\, \frac{\sqrt2 + \operatorname{asinh} 1}{6} \approx -38.260
       \quad (T = 100, \; g \sim U[-\tfrac12, \tfrac12]^2) $$

    Among behaviours that ignore the task, none does better in a world without early ends: each point of its path is
    at best the point of least mean distance to the goals, and that is the centre, where it starts. As an episode ends
    at its goal, a path that sweeps the plane can gain a little; `agnostic_bound` says how little.
    """
    return -horizon * (math.sqrt(2) + math.asinh(1)) / 6


def mean_distance(points: Tensor) -> Tensor:
    r"""The mean distance from each point `[..., 2]` to a goal that is uniform on the unit square around 0, `[...]`.

    $$ d(x) = \sum_{u, v} \pm F(u, v), \qquad
       F(u, v) = \frac{u v \sqrt{u^2 + v^2}}{3} + \frac{u^3 \operatorname{asinh}(v / |u|)
       + v^3 \operatorname{asinh}(u / |v|)}{6} $$

    where u and v run over the ends of the square as seen from the point, $\pm\frac12 - x$, and an end on the left or
    below turns the sign. F is the integral of the distance over the rectangle from 0 to (u, v).
    """
    total = torch.zeros_like(points[..., 0])
    for right in (1, -1):
        for upper in (1, -1):
            u, v = right / 2 - points[..., 0], upper / 2 - points[..., 1]
            bend = u**3 * torch.asinh(
                v / u.abs().clamp(min=1e-12)
            ) + v**3 * torch.asinh(u / v.abs().clamp(min=1e-12))
            total = total + right * upper * (u * v * torch.hypot(u, v) / 3 + bend / 6)
    return total


def agnostic_bound(tasks: PointGoal) -> float:
    r"""No behaviour that ignores the task has an expected return above this; it is `standing_still_return` plus .06.

    Without early ends the return is $-\sum_t d(x_t)$, see `mean_distance`. An episode ends once the goal lies in the
    window of side $w = .02$ around $x_s$. The steps $t > s$ that this saves would have cost at most
    $w^2 (\lVert x_t \rVert + \lVert x_s \rVert + c)$ in expectation, with $c = w\, d(0)$ the mean distance within a
    window, and summed over all pairs $s < t$

    $$ \mathbb E R \le T \max_x \big[ w^2 (T - 1) \lVert x \rVert - d(x) \big] + \tfrac12 T (T - 1)\, w^2 c . $$
    """
    check_like(PointGoal, "radius horizon", tasks=tasks)
    area, pairs = (2 * tasks.radius) ** 2, tasks.horizon * (tasks.horizon - 1) / 2
    # beyond the square d grows faster than the first term
    line = torch.linspace(-0.5, 0.5, 401, dtype=torch.float64)
    points = torch.cartesian_prod(line, line)
    best = (
        (area * (tasks.horizon - 1) * points.norm(dim=-1) - mean_distance(points))
        .max()
        .item()
    )
    within = (
        2 * tasks.radius * mean_distance(torch.zeros(2, dtype=torch.float64)).item()
    )
    bound: float = tasks.horizon * best + pairs * area * within
    return bound


def goal_known_return(tasks: PointGoal, task: Task) -> Tensor:
    r"""The optimal return of each task when the goal is known, `[N]`.

    $$ a_t = \mathrm{clip}(g - x_t, -0.1, 0.1) $$

    Coordinates move independently, and this makes both offsets as small as possible at every step, so it makes every
    single reward as large as possible.
    """
    check_like(PointGoal, "step horizon", tasks=tasks)
    state = torch.zeros_like(task["goal"])
    total = torch.zeros_like(state[..., 0])
    alive = torch.ones_like(total, dtype=torch.bool)
    for _ in range(tasks.horizon):
        state, reward, terminated = tasks.step(
            task, state, task["goal"] - state, state[..., :0]
        )
        total = total + reward * alive
        alive = alive & ~terminated
    return total


def locate_goal(positions: Tensor, distances: Tensor) -> Tensor:
    r"""The one point `[..., 2]` at given distances `[..., 3]` from three positions `[..., 3, 2]` not on a line.

    Subtracting the first circle's equation from the others leaves two linear equations,

    $$ 2 (x_k - x_1)^\top g = \lVert x_k \rVert^2 - \lVert x_1 \rVert^2 - \rho_k^2 + \rho_1^2, \qquad k = 2, 3 . $$
    """
    size = (positions**2).sum(-1) - distances**2  # [..., 3]
    matrix = 2 * (positions[..., 1:, :] - positions[..., :1, :])  # [..., 2, 2]
    found: Tensor = torch.linalg.solve(matrix, size[..., 1:] - size[..., :1])
    return found


def probing_return(tasks: PointGoal, task: Task) -> Tensor:
    """The return of each task for a learner that steps right, up-left and down, solves for the goal, and goes; `[N]`.

    It never sees the goal: three rewards tell it. So this is what knowing the family, though not the task, is worth
    at least.
    """
    check_like(PointGoal, "max_step step horizon", tasks=tasks)
    state = goal = torch.zeros_like(task["goal"])
    total, alive = (
        torch.zeros_like(state[..., 0]),
        torch.ones_like(state[..., 0], dtype=torch.bool),
    )
    positions, distances = [], []
    probes = tasks.max_step * torch.tensor(
        [[1.0, 0.0], [-1.0, 1.0], [0.0, -1.0]], dtype=state.dtype
    )
    for t in range(tasks.horizon):
        action = probes[t].expand_as(state) if t < 3 else goal - state
        state, reward, terminated = tasks.step(task, state, action, state[..., :0])
        total, alive = total + reward * alive, alive & ~terminated
        positions.append(state)
        distances.append(-reward)
        if t == 2:
            goal = locate_goal(torch.stack(positions, -2), torch.stack(distances, -1))
    return total
