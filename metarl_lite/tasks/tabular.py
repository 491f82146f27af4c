"""Random Markov decision processes with finitely many states: the tasks whose optimum can be computed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..given import counts, real
from ..rng import generator, normal, uniform
from ..types import Task
from .base import TaskDistribution, check_positive, index_task


class TabularMDP(TaskDistribution):
    r"""Finite decision processes whose transitions and rewards are drawn once per task.

    $$ P(\cdot \mid s, a) \sim \mathrm{Dirichlet}(1, \dots, 1), \qquad R(s, a) \sim \mathcal N(1, 1), \qquad
       r_t \sim \mathcal N\big(R(s_t, a_t), \sigma^2\big) . $$

    Every episode starts in state 0 and lasts `horizon` steps. The noise of the reward has standard deviation
    `reward_noise`, sigma; 0 makes rewards deterministic and leaves the transitions of a given noise as they
    were.

    Task: `transitions` `[..., S, A, S]`, rows that sum to 1; `rewards` `[..., S, A]`, means. State: `[...,
    1]`, integer. Observation: the state one-hot, `[..., S]`.

    Raises:
        ValueError: if a size is not a positive integer, or `reward_noise` is negative or not finite.

    Source: Duan et al. (2016), section 3.1 (S = 10, A = 5, T = 10, sigma = 1); Osband et al. (2013).
    """

    name = "tabular-mdp"
    discrete = True
    # one number for the transition, two for the normal noise of the reward
    noise_size = 3

    def __init__(
        self,
        num_states: int = 10,
        num_actions: int = 5,
        horizon: int = 10,
        reward_noise: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        num_states, num_actions, horizon = counts(
            num_states=num_states, num_actions=num_actions, horizon=horizon
        )
        if not 0 <= real(reward_noise) < math.inf:
            raise ValueError(
                f"reward_noise = {reward_noise}: a standard deviation is finite and at "
                "least 0; use reward_noise=1.0, or reward_noise=0 for deterministic "
                "rewards."
            )
        self.observation_size, self.action_size = num_states, num_actions
        self.horizon, self.dtype = horizon, dtype
        self.reward_noise = float(reward_noise)
        pairs = (num_states, num_actions)
        self.task_shape = {"transitions": (*pairs, num_states), "rewards": pairs}

    def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
        check_positive(num_tasks=num_tasks)
        # Exponential numbers, brought to the sum 1, are Dirichlet(1, ..., 1).
        lengths = -torch.log1p(
            -uniform((num_tasks, *self.task_shape["transitions"]), gen, self.dtype)
        )
        rewards = 1 + normal((num_tasks, *self.task_shape["rewards"]), gen, self.dtype)
        return {
            "transitions": lengths / lengths.sum(-1, keepdim=True),
            "rewards": rewards,
        }

    def default_task(self) -> Task:
        return index_task(self.sample(1, generator(0)), 0)

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        return torch.zeros(
            (*noise.shape[:-1], 1), dtype=torch.long, device=noise.device
        )

    def step(
        self, task: Task, state: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        lead, size = action.shape, self.observation_size
        pair = state * self.action_size + action.unsqueeze(-1)  # [..., 1] which (s, a)
        rows = (
            task["transitions"].flatten(-3, -2).expand(*lead, -1, size)
        )  # [..., S A, S]
        row = rows.gather(-2, pair.unsqueeze(-1).expand(*lead, 1, size))  # [..., 1, S]
        means = task["rewards"].flatten(-2).expand(*lead, -1)  # [..., S A]
        mean = means.gather(-1, pair).squeeze(-1)
        reward = mean + self.reward_noise * box_muller(noise[..., 1], noise[..., 2])
        ended = torch.zeros_like(reward, dtype=torch.bool)
        return pick(row.squeeze(-2), noise[..., :1]), reward, ended

    def observe(self, task: Task, state: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(state.squeeze(-1), self.observation_size).to(
            self.dtype
        )

    def check_task(self, task: Task, num_tasks: int | None = None) -> None:
        """Refuses, besides wrong shapes, transitions that are not probabilities."""
        super().check_task(task, num_tasks)
        rows = task["transitions"]
        sums = rows.sum(-1)
        if bool((rows < 0).any()) or bool(((sums - 1).abs() > 1e-4).any()):
            raise ValueError(
                f"task['transitions'] of {self.name} has a least entry of "
                f"{rows.min().item():.4g} and rows that sum to {sums.min().item():.4g} "
                f"... {sums.max().item():.4g}; every row [s, a, :] must hold "
                "probabilities, at least 0 and with the sum 1: divide it by its sum."
            )


def pick(probabilities: Tensor, noise: Tensor) -> Tensor:
    """Turns a uniform number, `noise` `[..., 1]`, into an outcome `[..., 1]` by inverting the distribution.

    An outcome of probability 0 is never picked, nor is one past the end where rounding leaves the sum below
    1.
    """
    cumulative = probabilities.cumsum(-1)
    passed = (noise >= cumulative) & (cumulative < cumulative[..., -1:])
    return passed.sum(-1, keepdim=True)


def box_muller(u: Tensor, v: Tensor) -> Tensor:
    r"""Turns two numbers from U[0, 1) into one standard normal, which is always finite.

    $$ z = \sqrt{-2 \log(1 - u)} \, \cos 2 \pi v $$

    Source: Box and Muller (1958).
    """
    return (-2 * torch.log1p(-u)).sqrt() * torch.cos(2 * math.pi * v)
