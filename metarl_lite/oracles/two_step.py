"""The two-step task: what the best player can earn who knows how the places are reached."""

from __future__ import annotations

import torch

from ..tasks.base import check_positive
from ..tasks.two_step import TwoStep

#: A session of more rounds has more histories than are worth a wait: 2^23 here.
MOST_ROUNDS = 24


def two_step_optimal_value(rounds: int) -> float:
    r"""The most that `rounds` rounds of `TwoStep(vary_transitions=False)` can pay on average, exactly.

    Let p be the probability that place 1 is the good one. A reward there, or none at place 2, says "1" and is right
    with probability .9, wherever the player was led. So every choice tells equally much, the one that leads to the
    likelier place is the best, and

    $$ V = \sum_{t=1}^{R} \Big( .1 + .8\, \mathbb E \big[ .75\, m_t + .25\, (1 - m_t) \big] \Big),
       \qquad m_t = \max(p_t, 1 - p_t) . $$

    The expectation runs over all $2^{t-1}$ histories of such signals; after each round the places change with
    probability h = .025, $p \leftarrow (1 - h)\, p + h\, (1 - p)$. One round pays .5, as much as any choice.

    Args:
        rounds: R, two steps each.

    Raises:
        ValueError: if that is not a positive integer, or more than 24: there would be too many histories.

    Source: the probabilities are those of Wang et al. (2016), section 3.2.1.
    """
    check_positive(rounds=rounds)
    if rounds > MOST_ROUNDS:
        raise ValueError(
            f"rounds = {rounds}: 2^{rounds - 1} histories would have to be told apart; "
            f"at most {MOST_ROUNDS} rounds, and 10 for an answer at once."
        )
    bad, good = TwoStep.reward_probabilities  # bad = 1 - good, or a signal would lean
    common, change = TwoStep.common_probability, TwoStep.switch_probability
    p = torch.full((1,), 0.5, dtype=torch.float64)  # [2^t] place 1 is the good one
    likely, value = torch.ones_like(p), 0.0  # [2^t] of the history
    for _ in range(rounds):
        known = torch.maximum(p, 1 - p)
        led = common * known + (1 - common) * (1 - known)  # to the good place
        value += (likely * (bad + (good - bad) * led)).sum().item()
        says_one = good * p + bad * (1 - p)
        after = torch.cat([good * p / says_one, bad * p / (1 - says_one)])
        likely = torch.cat([likely * says_one, likely * (1 - says_one)])
        p = (1 - change) * after + change * (1 - after)
    return value
