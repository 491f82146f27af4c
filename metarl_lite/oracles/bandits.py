"""Bandits: the gradient of a softmax policy in closed form, and agents that adapt by counting."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..rng import uniform

#: Picks the arm of every task, `[N]`, from its wins and losses so far, `[N, k]` each: `rule(wins, losses, gen)`.
Rule = Callable[[Tensor, Tensor, torch.Generator], Tensor]


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


def greedy(wins: Tensor, losses: Tensor, gen: torch.Generator) -> Tensor:
    """Pulls the arm that has the highest mean under the posterior of a uniform prior, (wins + 1) / (pulls + 2)."""
    return ((wins + 1) / (wins + losses + 2)).argmax(-1)


def thompson(wins: Tensor, losses: Tensor, gen: torch.Generator) -> Tensor:
    """Draws a probability for each arm from its posterior, Beta(wins + 1, losses + 1), and pulls the arm drawn highest.

    Source: Thompson (1933).
    """
    for_wins = torch._standard_gamma(wins + 1, generator=gen)  # two gamma numbers make a beta number
    for_losses = torch._standard_gamma(losses + 1, generator=gen)
    return (for_wins / (for_wins + for_losses)).argmax(-1)


def in_turn(wins: Tensor, losses: Tensor, gen: torch.Generator) -> Tensor:
    """Pulls the arm that has been pulled least, whatever it has paid: nothing but exploration."""
    return (wins + losses).argmin(-1)


def play(rule: Rule, probabilities: Tensor, pulls: int, gen: torch.Generator) -> Tensor:
    """Lets an agent that counts play every bandit, and gives the mean reward of each arm that it pulls, `[N, pulls]`.

    The mean reward of an arm is its probability; the 0 or 1 that is drawn from it is seen by the agent alone. So the
    result has the expectation of the rewards and less noise.

    Args:
        rule: how to choose, such as `greedy`, `thompson` or `in_turn`.
        probabilities: the tasks, `[N, k]`.
        pulls: how many; one pull is one episode.
        gen: draws the rewards, and what the rule needs.
    """
    wins, losses, paid = torch.zeros_like(probabilities), torch.zeros_like(probabilities), []
    for _ in range(pulls):
        arm = rule(wins, losses, gen).unsqueeze(-1)  # [N, 1]
        paid.append(probabilities.gather(-1, arm))
        won = (uniform(tuple(arm.shape), gen, probabilities.dtype) < paid[-1]).to(probabilities.dtype)
        wins, losses = wins.scatter_add(-1, arm, won), losses.scatter_add(-1, arm, 1 - won)
    return torch.cat(paid, -1)
