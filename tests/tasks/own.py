"""A family as somebody may write it for himself: small, right, and easily broken in one place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metarl_lite.rng import uniform
from metarl_lite.tasks import TaskDistribution
from metarl_lite.types import Task


class Own(TaskDistribution):
    """A number moves by what is chosen less 1, and by a push of chance; its distance to the goal is what it costs."""

    name = "own"
    observation_size, action_size, discrete, horizon = 2, 3, True, 6
    task_shape = {"goal": ()}  # noqa: RUF012
    noise_size = reset_noise_size = 1

    def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
        return {"goal": uniform((num_tasks,), gen, self.dtype)}

    def default_task(self) -> Task:
        return {"goal": torch.tensor(0.5)}

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        return 0.1 * noise

    def step(self, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> Any:
        state = state + 0.1 * (action.unsqueeze(-1) - 1) + 0.01 * noise
        reward = -(state[..., 0] - task["goal"]).abs()
        return state, reward, torch.zeros_like(reward, dtype=torch.bool)

    def observe(self, task: Task, state: Tensor) -> Tensor:
        return torch.cat([state, state**2], -1)

    def observation_bounds(self) -> tuple[Tensor, Tensor]:
        return torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 1.0])


def variant(**members: Any) -> type[Own]:
    """The family with other members; a function is a method."""
    return type("Variant", (Own,), members)


def stepping(change: Any) -> type[Own]:
    """The family whose step returns what `change(after, reward, ended)` makes of it."""

    def step(self: Own, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> Any:
        return change(*Own.step(self, task, state, action, noise))

    return variant(step=step)
