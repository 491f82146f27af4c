"""Bandits: the gradient of a softmax policy in closed form, and agents that adapt by counting."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..given import check_callable, check_result, counts, real
from ..rng import uniform
from ..tasks.base import check_positive

#: Picks the arm of every task, `[N]`, from its wins and losses so far, `[N, k]` each:
#: `rule(wins, losses, gen)`.
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
    objective = expected_reward(logits, rewards).unsqueeze(-1)
    return logits.softmax(-1) * (rewards - objective)


def greedy(wins: Tensor, losses: Tensor, gen: torch.Generator) -> Tensor:
    """Pulls the arm that has the highest mean under the posterior of a uniform prior, (wins + 1) / (pulls + 2)."""
    return ((wins + 1) / (wins + losses + 2)).argmax(-1)


def thompson(wins: Tensor, losses: Tensor, gen: torch.Generator) -> Tensor:
    """Draws a probability for each arm from its posterior, Beta(wins + 1, losses + 1), and pulls the arm drawn highest.

    Source: Thompson (1933).
    """
    # two gamma numbers make a beta number
    for_wins = torch._standard_gamma(wins + 1, generator=gen)
    for_losses = torch._standard_gamma(losses + 1, generator=gen)
    return (for_wins / (for_wins + for_losses)).argmax(-1)


def ots(samples: int = 20) -> Rule:
    r"""A rule that draws several bandits from the posterior, believes the likeliest of them, and pulls its best arm.

    Optimistic only in name: of the draws $p^{(1)}, \dots, p^{(S)}$, `[k]` each, it keeps the one of highest density,

    $$ \log q(p) = \sum_a \big[ w_a \ln p_a + l_a \ln (1 - p_a) \big] + \text{const} . $$

    With one draw it is `thompson`; with many it nears the posterior's mode, and explores ever less.

    Args:
        samples: S, at least 1.

    Source: "optimistic Thompson sampling" as Duan et al. (2016) describe it.
    """
    (samples,) = counts(samples=samples)

    def rule(wins: Tensor, losses: Tensor, gen: torch.Generator) -> Tensor:
        shape = (samples, *wins.shape)
        for_wins = torch._standard_gamma((wins + 1).expand(shape), generator=gen)
        for_losses = torch._standard_gamma((losses + 1).expand(shape), generator=gen)
        drawn = for_wins / (for_wins + for_losses)  # [S, N, k]
        density = torch.xlogy(wins, drawn) + torch.xlogy(losses, 1 - drawn)
        likeliest = density.sum(-1).argmax(0, keepdim=True)  # [1, N]
        return drawn.argmax(-1).gather(0, likeliest).squeeze(0)

    return rule


def ucb1(c: float) -> Rule:
    r"""A rule that pulls the arm with the highest upper confidence bound: its mean and a bonus for being little known.

    $$ a_t = \arg\max_a \; \frac{w_a + 1}{n_a} + c \sqrt{\frac{2 \ln t}{n_a}}, \qquad n_a = w_a + l_a + 2 $$

    for pull t = 1, 2, ... Counts start at one success and one failure, so an arm never tried has mean 1/2 and a
    finite bonus.

    Args:
        c: the weight of the bonus, 0 or more; 1 is the textbook's, and for short games it explores far too much.

    Source: Auer et al. (2002); the weight and the first counts as in Duan et al. (2016).
    """
    if not 0 <= real(c) < math.inf:
        raise ValueError(
            f"c = {c!r}: the weight of the bonus is a number of 0 or more, such as 0.2."
        )

    def rule(wins: Tensor, losses: Tensor, gen: torch.Generator) -> Tensor:
        count = wins + losses + 2
        pull = (wins + losses).sum(
            -1, keepdim=True
        ) + 1  # [N, 1] the number of this one
        return ((wins + 1) / count + c * (2 * pull.log() / count).sqrt()).argmax(-1)

    return rule


def epsilon_greedy(epsilon: float) -> Rule:
    """A rule that pulls any arm with probability epsilon, all equally likely, and is `greedy` otherwise.

    Args:
        epsilon: from 0 (greedy) to 1 (random).
    """
    if not 0 <= real(epsilon) <= 1:
        raise ValueError(
            f"epsilon = {epsilon!r}: a probability is needed, from 0 to 1, such as 0.1."
        )

    def rule(wins: Tensor, losses: Tensor, gen: torch.Generator) -> Tensor:
        explore = uniform(tuple(wins.shape[:-1]), gen, wins.dtype) < epsilon
        stray, best = random_arm(wins, losses, gen), greedy(wins, losses, gen)
        return torch.where(explore, stray, best)

    return rule


def random_arm(wins: Tensor, losses: Tensor, gen: torch.Generator) -> Tensor:
    """Pulls any arm, all equally likely, whatever has been seen: its reward is the mean of the arms."""
    return (uniform(tuple(wins.shape[:-1]), gen, wins.dtype) * wins.shape[-1]).long()


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
    check_callable("wins losses gen", rule=rule)
    (pulls,), paid = counts(pulls=pulls), []
    wins = losses = torch.zeros_like(probabilities)
    for _ in range(pulls):
        arm = check_arms(rule(wins, losses, gen), probabilities).unsqueeze(-1)  # [N, 1]
        paid.append(probabilities.gather(-1, arm))
        chance = uniform(tuple(arm.shape), gen, probabilities.dtype)
        won = (chance < paid[-1]).to(probabilities.dtype)
        wins = wins.scatter_add(-1, arm, won)
        losses = losses.scatter_add(-1, arm, 1 - won)
    return torch.cat(paid, -1)


def check_arms(arms: Any, probabilities: Tensor) -> Tensor:
    """What a rule gave, if it is the number of an arm for each task, `[N]`."""
    count, k = probabilities.shape
    wanted = f"the number of an arm, 0 ... {k - 1}, for each task."
    found = check_result(arms, {"N": count}, "the rule", wanted)
    if found.is_floating_point() or bool(((found < 0) | (found >= k)).any()):
        raise ValueError(
            f"the rule gave {found.min().item()} to {found.max().item()}, of type "
            f"{found.dtype}, and needed is {wanted}"
        )
    return found


def arms_played(
    rule: Rule, probabilities: Tensor, pulls: int, gen: torch.Generator
) -> Tensor:
    """Which arm an agent pulls when, `[N, pulls]`: the game that `play` would play with the same generator.

    Args:
        rule: how to choose.
        probabilities: the tasks, `[N, k]`.
        pulls: how many.
        gen: draws the rewards, and what the rule needs.
    """
    arms = []

    def noted(wins: Tensor, losses: Tensor, gen: torch.Generator) -> Tensor:
        arms.append(rule(wins, losses, gen))
        return arms[-1]

    play(noted, probabilities, pulls, gen)
    return torch.stack(arms, -1)


def eleven_arms_value(pulls: int = 5) -> float:
    r"""The most that n pulls of `ElevenArms` can pay on average: 20.55 for 5.

    $$ V = .55 + 5\, (n - 1) \quad (n \ge 2), \qquad V = 1.4 \quad (n = 1) $$

    The eleventh arm pays .55 on average and tells which of the others pays 5. To search among m of them instead finds
    the target with probability 1/m a pull, and every miss pays 1.

    Raises:
        ValueError: if `pulls` is not a positive integer.
    """
    check_positive(pulls=pulls)
    return 0.55 + 5 * (pulls - 1) if pulls > 1 else 1.4


def eleven_arms_agnostic_value(pulls: int = 5) -> float:
    """The most that n pulls of `ElevenArms` pay on average to who learns nothing from them: 1.4 a pull, 7 for 5.

    Each of the ten arms pays (5 + 9) / 10 on average, and the eleventh .55.
    """
    check_positive(pulls=pulls)
    return 1.4 * pulls
