"""Bandits: the smallest tasks in which exploring pays."""

from __future__ import annotations

import torch
from torch import Tensor

from ..rng import uniform
from ..types import Task
from .base import TaskDistribution, check_positive


class BernoulliBandit(TaskDistribution):
    r"""k arms that pay 1 with an unknown probability each, drawn from U[0, 1] once per task.

    $$ p_a \sim U[0, 1], \qquad r_t \sim \mathrm{Bernoulli}(p_{a_t}) . $$

    There is one state and its observation is the constant 1: a constant 0 would silence every weight of the
    first layer. One pull is one step; `horizon` counts the pulls of an episode.

    Task: `probabilities` `[..., k]`. State: `[..., 1]`, always 1.

    Source: Duan et al. (2016), section 3.1.
    """

    name = "bernoulli-bandit"
    observation_size = 1
    discrete = True
    noise_size = 1

    def __init__(self, num_arms: int = 5, horizon: int = 10, dtype: torch.dtype = torch.float32) -> None:
        check_positive(num_arms=num_arms, horizon=horizon)
        self.action_size, self.horizon, self.dtype = num_arms, horizon, dtype
        self.task_shape = {"probabilities": (num_arms,)}

    def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
        check_positive(num_tasks=num_tasks)
        return {"probabilities": uniform((num_tasks, self.action_size), gen, self.dtype)}

    def default_task(self) -> Task:
        return {"probabilities": torch.linspace(0.1, 0.9, self.action_size, dtype=self.dtype)}

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        return noise.new_ones((*noise.shape[:-1], 1))

    def step(self, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        table = task["probabilities"].expand(*action.shape, self.action_size)
        paid = noise[..., 0] < table.gather(-1, action.unsqueeze(-1)).squeeze(-1)
        return state, paid.to(self.dtype), torch.zeros_like(paid)

    def observe(self, task: Task, state: Tensor) -> Tensor:
        return state
