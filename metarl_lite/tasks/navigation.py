"""Navigation: find a place that differs from task to task and is never observed."""

from __future__ import annotations

import torch
from torch import Tensor

from ..given import counts
from ..rng import check_generator, uniform
from ..types import Task
from .base import TaskDistribution, check_positive


class PointGoal(TaskDistribution):
    r"""A point on the plane walks to a hidden goal; the 2-D navigation of Finn et al. (2017).

    The goal is uniform on $[-\frac12, \frac12]^2$, the start is the origin, and the agent sees its own
    position only:

    $$ x_{t+1} = x_t + \mathrm{clip}(a_t, -0.1, 0.1), \qquad r_t = -\lVert x_{t+1} - g \rVert_2 . $$

    The reward follows the move; actions are clipped per coordinate. An episode ends once both coordinates are
    within .01 of the goal. The paper's text gives the squared distance; its code, and its published numbers,
    the distance.

    Task: `goal` `[..., 2]`. State and observation: position `[..., 2]`. Length unit: the side of the goal
    square.

    Source: Finn, Abbeel and Levine (2017), section 5.3, and their released code.
    """

    name = "point-goal"
    observation_size = 2
    action_size = 2
    discrete = False
    can_terminate = True
    max_step = 0.1
    action_scale = 0.1
    action_limit = max_step
    radius = 0.01

    def __init__(self, horizon: int = 100, dtype: torch.dtype = torch.float32) -> None:
        (self.horizon,), self.dtype = counts(horizon=horizon), dtype
        self.task_shape = {"goal": (2,)}

    def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
        check_positive(num_tasks=num_tasks)
        return {"goal": uniform((num_tasks, 2), gen, self.dtype) - 0.5}

    def default_task(self) -> Task:
        return {"goal": torch.tensor([0.3, 0.4], dtype=self.dtype)}

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        return noise.new_zeros((*noise.shape[:-1], 2))

    def step(
        self, task: Task, state: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        state = state + action.clamp(-self.max_step, self.max_step)
        x, y = (state - task["goal"]).abs().unbind(-1)
        return state, -torch.hypot(x, y), torch.maximum(x, y) < self.radius

    def observe(self, task: Task, state: Tensor) -> Tensor:
        return state

    def observation_bounds(self) -> tuple[Tensor, Tensor]:
        # one step to spare for rounding
        reach = torch.full((2,), self.max_step * (self.horizon + 1))
        return -reach, reach


class GridGoal(TaskDistribution):
    r"""A grid with one rewarding cell that must be searched for; GridNavi of Zintgraf et al. (2020).

    The agent starts in the corner (0, 0); the goal is uniform over the cells outside the start's 2 x 2
    corner. Actions: 0 stay, 1 up, 2 right, 3 down, 4 left; a move off the grid leaves the agent where it is.
    After the move the reward is +1 on the goal and -.1 elsewhere. An episode always lasts `horizon` steps.

    Task: `goal` `[..., 2]` (column, row; integers). State: `[..., 2]` integers. Observation: the cell
    one-hot, `[..., size * size]`.

    Source: Zintgraf et al. (2020), section 5.1 (5 x 5, horizon 15, 4 episodes of one task).
    """

    name = "grid-goal"
    action_size = 5
    discrete = True
    moves = torch.tensor([[0, 0], [0, 1], [1, 0], [0, -1], [-1, 0]])

    def __init__(
        self, size: int = 5, horizon: int = 15, dtype: torch.dtype = torch.float32
    ) -> None:
        size, horizon = counts(size=size, horizon=horizon)
        if size < 3:
            raise ValueError(
                f"size = {size}: the goal is outside the start's 2 x 2: use at least "
                "size=3."
            )
        self.size, self.horizon, self.dtype = size, horizon, dtype
        self.observation_size = size * size
        self.task_shape = {"goal": (2,)}

    def goals(self) -> Tensor:
        """All possible goals, `[size^2 - 4, 2]`: the family is finite."""
        cells = torch.cartesian_prod(torch.arange(self.size), torch.arange(self.size))
        return cells[(cells > 1).any(-1)]

    def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
        check_positive(num_tasks=num_tasks)
        check_generator(gen)
        goals = self.goals().to(gen.device)
        return {
            "goal": goals[
                torch.randint(
                    len(goals), (num_tasks,), generator=gen, device=gen.device
                )
            ]
        }

    def default_task(self) -> Task:
        return {"goal": torch.tensor([self.size - 1, self.size - 1])}

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        return torch.zeros(
            (*noise.shape[:-1], 2), dtype=torch.long, device=noise.device
        )

    def step(
        self, task: Task, state: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        state = (state + self.moves.to(state.device)[action]).clamp(0, self.size - 1)
        found = (state == task["goal"]).all(-1)
        reward = torch.where(found, 1.0, -0.1).to(self.dtype)
        return state, reward, torch.zeros_like(found)

    def observe(self, task: Task, state: Tensor) -> Tensor:
        cell = state[..., 0] * self.size + state[..., 1]
        return torch.nn.functional.one_hot(cell, self.size**2).to(self.dtype)

    def check_task(self, task: Task, num_tasks: int | None = None) -> None:
        """Refuses, besides wrong shapes, a goal that is no cell of the grid: nobody could find it."""
        super().check_task(task, num_tasks)
        goals = task["goal"].reshape(-1, 2)
        outside = (goals < 0) | (goals >= self.size) | (goals != goals.round())
        if bool(outside.any()):
            bad = goals[outside.any(-1)][0].tolist()
            raise ValueError(
                f"task['goal'] of {self.name} holds {bad}, and its cells are (column, "
                f"row), integers 0 ... {self.size - 1}: such as "
                f"{self.default_task()['goal'].tolist()}, or make the grid greater by "
                "size=."
            )


class WarmGrid(GridGoal):
    r"""`GridGoal` with a reward in every step: how near the goal is, in steps of the grid.

    $$ r_t = -0.1\, \lVert x_{t+1} - g \rVert_1 $$

    The same cells, goals and moves; but where the sparse reward says nothing before the goal is found, each of these
    says on which side it lies. What differs between the two is what adaptation has to go by.
    """

    name = "warm-grid"

    def step(
        self, task: Task, state: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        state, reward, ended = super().step(task, state, action, noise)
        distance = (state - task["goal"]).abs().sum(-1)
        return state, -0.1 * distance.to(reward.dtype), ended
