"""Bandits: the smallest tasks in which exploring pays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..given import counts, real
from ..rng import check_generator, uniform
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

    def __init__(
        self, num_arms: int = 5, horizon: int = 10, dtype: torch.dtype = torch.float32
    ) -> None:
        num_arms, horizon = counts(num_arms=num_arms, horizon=horizon)
        self.action_size, self.horizon, self.dtype = num_arms, horizon, dtype
        self.task_shape = {"probabilities": (num_arms,)}

    def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
        check_positive(num_tasks=num_tasks)
        return {
            "probabilities": uniform((num_tasks, self.action_size), gen, self.dtype)
        }

    def default_task(self) -> Task:
        return {
            "probabilities": torch.linspace(
                0.1, 0.9, self.action_size, dtype=self.dtype
            )
        }

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        return noise.new_ones((*noise.shape[:-1], 1))

    def step(
        self, task: Task, state: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        table = task["probabilities"].expand(*action.shape, self.action_size)
        paid = noise[..., 0] < table.gather(-1, action.unsqueeze(-1)).squeeze(-1)
        return state, paid.to(self.dtype), torch.zeros_like(paid)

    def observe(self, task: Task, state: Tensor) -> Tensor:
        return state

    def check_task(self, task: Task, num_tasks: int | None = None) -> None:
        """Refuses, besides wrong shapes, what is no probability."""
        super().check_task(task, num_tasks)
        table = task["probabilities"]
        if bool(((table < 0) | (table > 1)).any()):
            raise ValueError(
                f"task['probabilities'] of {self.name} runs from {table.min().item():g}"
                f" to {table.max().item():g}; an arm pays 1 with a probability from 0 "
                "to 1: divide what an arm pays in 100 pulls by 100, say."
            )


class DependentBandit(BernoulliBandit):
    r"""Two arms whose probabilities sum to 1, so that each pull of one arm tells as much about the other.

    $$ p_1 \sim U[0, 1] \quad \text{or equally likely one of the given values}, \qquad p_2 = 1 - p_1 . $$

    Everything but what is drawn is `BernoulliBandit`'s. Wang et al. call the values (.1, .9) easy, (.25, .75) medium
    and (.4, .6) hard.

    Args:
        values: what p_1 can be, each equally likely; U[0, 1] unless given.
        horizon: pulls of an episode.
        dtype: floating-point type.

    Raises:
        ValueError: if there is no value, or one that is not a probability.

    Source: Wang et al. (2016), section 3.1.2.
    """

    name = "dependent-bandit"

    def __init__(
        self,
        values: Sequence[float] | None = None,
        horizon: int = 100,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(2, horizon, dtype)
        given = tuple(map(real, values)) if np.iterable(values) else ()
        if values is not None and not (given and all(0 <= p <= 1 for p in given)):
            raise ValueError(
                f"values = {values!r}: at least one probability from 0 to 1 is needed, "
                "such as values=(.1, .9); leave it out for U[0, 1]."
            )
        self.values = None if values is None else given

    def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
        check_positive(num_tasks=num_tasks)
        check_generator(gen)
        if self.values is None:
            first = uniform((num_tasks,), gen, self.dtype)
        else:
            which = torch.randint(
                len(self.values), (num_tasks,), generator=gen, device=gen.device
            )
            first = torch.tensor(self.values, dtype=self.dtype, device=gen.device)[
                which
            ]
        return {"probabilities": torch.stack([first, 1 - first], -1)}

    def check_task(self, task: Task, num_tasks: int | None = None) -> None:
        """Refuses, besides what is no probability, two that do not sum to 1."""
        super().check_task(task, num_tasks)
        sums = task["probabilities"].sum(-1)
        if bool(((sums - 1).abs() > 1e-4).any()):
            raise ValueError(
                f"task['probabilities'] of {self.name} sum to {sums.min().item():.4g} "
                f"... {sums.max().item():.4g}; its arms depend on each other, p and "
                "1 - p: for others there is BernoulliBandit(2)."
            )


class ElevenArms(TaskDistribution):
    r"""Ten arms of which one pays 5, and an eleventh that pays little and tells which one it is.

    $$ r(a) = \begin{cases} 5 & a = g \\ 1 & a \ne g, \; a < 10 \\ (g + 1) / 10 & a = 10 \end{cases},
       \qquad g \sim U\{0, \dots, 9\} . $$

    Actions count from 0, so the eleventh arm is action 10; it pays the target's place among the ten, counted from 1,
    divided by 10. Nothing is left to chance. Who pulls it first and then the target earns .55 + 20 on average in the
    5 pulls of an episode, and no behaviour earns more.

    Task: `target` `[...]`, an integer 0 ... 9. State and observation: `[..., 1]`, always 1.

    Source: Wang et al. (2016), section 3.1.3.
    """

    name = "eleven-arms"
    observation_size = 1
    action_size = 11
    discrete = True

    def __init__(self, horizon: int = 5, dtype: torch.dtype = torch.float32) -> None:
        (self.horizon,), self.dtype = counts(horizon=horizon), dtype
        self.task_shape = {"target": ()}

    def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
        check_positive(num_tasks=num_tasks)
        check_generator(gen)
        return {
            "target": torch.randint(10, (num_tasks,), generator=gen, device=gen.device)
        }

    def default_task(self) -> Task:
        return {"target": torch.tensor(6)}

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        return noise.new_ones((*noise.shape[:-1], 1))

    def step(
        self, task: Task, state: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        target = task["target"]
        tells = (target + 1).to(self.dtype) / 10
        reward = torch.where(
            action == 10, tells, torch.where(action == target, 5.0, 1.0).to(self.dtype)
        )
        return state, reward, torch.zeros_like(reward, dtype=torch.bool)

    def observe(self, task: Task, state: Tensor) -> Tensor:
        return state

    def check_task(self, task: Task, num_tasks: int | None = None) -> None:
        """Refuses, besides wrong shapes, a target that is none of the ten."""
        super().check_task(task, num_tasks)
        target = task["target"]
        if bool(((target < 0) | (target > 9) | (target != target.round())).any()):
            raise ValueError(
                f"task['target'] of {self.name} runs from {target.min().item()} to "
                f"{target.max().item()}; it is an integer 0 ... 9, the action that "
                "pays 5 (the eleventh arm, 10, is the one that tells)."
            )
