"""Bandits with a softmax policy: their expected reward and its gradient in closed form."""

from __future__ import annotations

from torch import Tensor


def expected_reward(logits: Tensor, rewards: Tensor) -> Tensor:
    r"""The expected reward of one pull, $J = \sum_a \pi_a r_a$ with $\pi = \mathrm{softmax}(\text{logits})$, `[...]`.

    Shapes: `logits` and mean `rewards` of the arms `[..., k]`.
    """
    return (logits.softmax(-1) * rewards).sum(-1)


def exact_policy_gradient(logits: Tensor, rewards: Tensor) -> Tensor:
    r"""The gradient of the expected reward with respect to the logits, `[..., k]`.

    $$ \frac{\partial J}{\partial \theta_a} = \pi_a \,(r_a - J) $$

    Source: Sutton and Barto (2018), section 2.8.
    """
    return logits.softmax(-1) * (rewards - expected_reward(logits, rewards).unsqueeze(-1))
