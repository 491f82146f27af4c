"""Small Markov decision processes, solved exactly by dynamic programming."""

from __future__ import annotations

import torch
from torch import Tensor


def value_iteration(
    transitions: Tensor, rewards: Tensor, horizon: int, discount: float = 1.0
) -> tuple[Tensor, Tensor]:
    r"""Optimal values before step t, with T - t steps to go, backwards from the horizon.

    $$ V_t(s) = \max_a \Big[ r(s, a) + \gamma \sum_{s'} P(s' \mid s, a)\, V_{t+1}(s') \Big], \qquad V_T = 0 $$

    Args:
        transitions: P, `[..., S, A, S]`.
        rewards: mean rewards, `[..., S, A]`.
        horizon: T.
        discount: gamma.

    Returns:
        Values `[T + 1, ..., S]` and greedy actions `[T, ..., S]`, both by time step.
    """
    value = torch.zeros_like(rewards[..., 0])  # [..., S]
    values, actions = [value], []
    for _ in range(horizon):
        # [..., S, A]
        q = rewards + discount * (transitions @ value[..., None, :, None]).squeeze(-1)
        value, action = q.max(-1)
        values.append(value)
        actions.append(action)
    return torch.stack(values[::-1]), torch.stack(actions[::-1])


def policy_value(
    policy: Tensor,
    transitions: Tensor,
    rewards: Tensor,
    horizon: int,
    discount: float = 1.0,
) -> Tensor:
    r"""Exact values of a stationary policy, `[T + 1, ..., S]`; differentiable, so autograd gives the exact gradient.

    $$ V_t(s) = \sum_a \pi(a \mid s) \Big[ r(s, a) + \gamma \sum_{s'} P(s' \mid s, a)\, V_{t+1}(s') \Big] $$

    Args:
        policy: action probabilities, `[..., S, A]`.
        transitions: P, `[..., S, A, S]`.
        rewards: mean rewards, `[..., S, A]`.
        horizon: T.
        discount: gamma.
    """
    value = torch.zeros_like(rewards[..., 0])
    values = [value]
    for _ in range(horizon):
        # [..., S, A]
        q = rewards + discount * (transitions @ value[..., None, :, None]).squeeze(-1)
        value = (policy * q).sum(-1)
        values.append(value)
    return torch.stack(values[::-1])
