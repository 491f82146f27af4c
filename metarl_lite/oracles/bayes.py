"""The bandit as a belief MDP: the states are what has been seen, and a dynamic programme gives the best exploration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from ..given import counts
from .bandits import Rule

F64 = torch.float64

#: A dynamic programme that would need more memory is refused.
MOST_BYTES = 2**30


def bayes_optimal_value(arms: int, pulls: int) -> float:
    r"""The highest expected total reward of n pulls of k independent Bernoulli arms with uniform priors.

    The belief about an arm that has won w times and lost l times is Beta(w + 1, l + 1), so the counts $b$ of all
    arms are the state of an MDP that is known. Its optimum is the best that any learner can do,

    $$ V_n(b) = 0, \qquad V_t(b) = \max_a \Big[ \mu_a \big(1 + V_{t+1}(b + \text{win}_a)\big)
       + (1 - \mu_a)\, V_{t+1}(b + \text{loss}_a) \Big], \qquad \mu_a = \frac{w_a + 1}{w_a + l_a + 2} . $$

    Arms are alike before they are pulled, so a belief is a multiset of counts, in which order does not matter, and
    arms beyond the number of pulls never matter.

    Args:
        arms: k.
        pulls: n.

    Raises:
        ValueError: if a number is not a positive integer, or if there are too many beliefs; the message counts them.

    Source: Bellman (1956); Duff (2002).
    """
    return plan(arms, pulls)[0][2].item()


def beliefs(arms: int, pulls: int) -> list[tuple[Tensor, Tensor]]:
    """All that can have been seen after t = 0, ..., pulls - 1 pulls, and what the next pull makes of it.

    An arm that has been pulled n times and has won w of them is of kind n (n + 1) / 2 + w. A belief is the row of
    its arms' kinds, highest first.

    Returns:
        For each t the beliefs `[S, k]` and, for each arm and a loss or a win, the row of the belief that follows
        among those of t + 1, `[S, k, 2]`; empty at the end.
    """
    # by kind
    times_pulled = torch.repeat_interleave(
        torch.arange(pulls + 1), torch.arange(1, pulls + 2)
    )
    now, levels = torch.zeros(1, arms, dtype=torch.long), []
    for _ in range(pulls - 1):
        after = now[:, None, None, :].repeat(1, arms, 2, 1)  # [S, k, 2, k]
        for a in range(arms):
            lost = now[:, a] + times_pulled[now[:, a]] + 1
            after[:, a, :, a] = torch.stack([lost, lost + 1], -1)
        after = after.sort(-1, descending=True).values.flatten(0, 2)
        place = _place(after)
        levels.append((now, place.view(-1, arms, 2)))
        now = torch.empty(int(place.max()) + 1, arms, dtype=torch.long)
        now[place] = after  # equal rows share a place
    return [*levels, (now, torch.empty(0, arms, 2, dtype=torch.long))]


def _place(rows: Tensor) -> Tensor:
    """The place of each row `[R, k]` among the distinct rows in order, `[R]`."""
    place, base = torch.zeros_like(rows[:, 0]), int(rows.max()) + 1
    for column in rows.unbind(1):
        place = torch.unique(place * base + column, return_inverse=True)[1]
    return place


def plan(arms: int, pulls: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """The optimum from the last pull back: by t the `beliefs`, the kind of arm to pull `[S]` and the value `[S]`."""
    arms, pulls = counts(arms=arms, pulls=pulls)
    kept = min(arms, pulls)
    # cheap, and refuses the hopeless
    _check_size(arms, pulls, math.comb(pulls + 3, 4) / 2 if kept > 1 else pulls, 12)
    _check_size(arms, pulls, count_beliefs(kept, pulls), 2 * kept**2 + 3 * kept + 2)
    ahead, levels = torch.zeros(0, dtype=F64), []
    for now, after in reversed(beliefs(kept, pulls)):
        pulled = (((8 * now + 1).to(F64).sqrt() - 1) / 2).floor()
        mean = (now - pulled * (pulled + 1) / 2 + 1) / (pulled + 2)  # [S, k]
        q = mean
        if len(after):
            loss, win = ahead[after].unbind(-1)
            q = mean * (1 + win) + (1 - mean) * loss
        ahead, best = q.max(1)
        levels.append((now, now.gather(1, best.unsqueeze(1)).squeeze(1), ahead))
    return levels[::-1]


def bayes_optimal(arms: int, pulls: int) -> Rule:
    """A rule that earns `bayes_optimal_value(arms, pulls)`: it looks up what it has seen in the plan.

    Args:
        arms: k.
        pulls: n; the rule plays games of exactly this length, and of no other is it the best.

    Raises:
        ValueError: as `bayes_optimal_value`, and in play if the tasks have not had equally many pulls, fewer than n.
    """
    levels = plan(arms, pulls)

    def rule(wins: Tensor, losses: Tensor, gen: torch.Generator) -> Tensor:
        tried = (wins + losses).long()
        t, kind = int(tried[0].sum()), tried * (tried + 1) // 2 + wins.long()  # [N, k]
        if wins.shape[-1] != arms or t >= pulls or (tried.sum(-1) != t).any():
            raise ValueError(
                f"wins {list(wins.shape)} after {t} pulls: this rule plays {arms} "
                f"arms, {pulls} times."
            )
        known, best, _ = levels[t]
        mine = kind.sort(-1, descending=True).values[:, : known.shape[1]]
        chosen = best[_place(torch.cat([known, mine]))[len(known) :]]  # [N]
        return (kind == chosen.unsqueeze(1)).long().argmax(-1)

    return rule


@dataclass(frozen=True)
class TwoArms:
    """The optimum for two arms at every belief, by how often each was pulled: `values[n1, n2][w1, w2]`.

    `values` are expected total rewards from here to the end; `advantages` say how much better it is to pull the
    first arm than the second, 0 where that is indifferent. Tables `[n1 + 1, n2 + 1]` are indexed by the wins.
    """

    values: dict[tuple[int, int], Tensor]
    advantages: dict[tuple[int, int], Tensor]

    def actions(self, first: int, second: int) -> Tensor:
        """The optimal arm, 0 or 1 (0 where both are), after so many pulls of each, by wins `[n1 + 1, n2 + 1]`."""
        return (self.advantages[first, second] < 0).long()


def bayes_optimal_two_arms(pulls: int) -> TwoArms:
    r"""The value and the best arm at every belief about two arms with uniform priors, in a game of n pulls.

    $$ Q_1 = \mu_1 \big(1 + V_{n_1 + 1, n_2}(w_1 + 1, w_2)\big) + (1 - \mu_1)\, V_{n_1 + 1, n_2}(w_1, w_2), \qquad
       V = \max(Q_1, Q_2), \qquad \mu_1 = \frac{w_1 + 1}{n_1 + 2} $$

    with V = 0 where $n_1 + n_2 = n$, and $Q_2$ likewise. It shares no code with `bayes_optimal_value`.

    Args:
        pulls: n; for 100 there are 4.6 million beliefs.

    Raises:
        ValueError: if that is not a positive integer, or if there are too many beliefs.
    """
    (pulls,) = counts(pulls=pulls)
    _check_size(2, pulls, math.comb(pulls + 4, 4), 2)
    values = {
        (n, pulls - n): torch.zeros(n + 1, pulls - n + 1, dtype=F64)
        for n in range(pulls + 1)
    }
    advantages = {}
    for t in reversed(range(pulls)):
        for first in range(t + 1):
            second = t - first
            # [n1 + 1, 1]
            mean1 = (torch.arange(1, first + 2, dtype=F64) / (first + 2)).unsqueeze(1)
            mean2 = torch.arange(1, second + 2, dtype=F64) / (second + 2)  # [n2 + 1]
            after1, after2 = values[first + 1, second], values[first, second + 1]
            q1 = mean1 * (1 + after1[1:]) + (1 - mean1) * after1[:-1]
            q2 = mean2 * (1 + after2[:, 1:]) + (1 - mean2) * after2[:, :-1]
            gap = q1 - q2
            values[first, second] = torch.maximum(q1, q2)
            # rounding is no preference
            advantages[first, second] = torch.where(gap.abs() < 1e-12, 0.0, gap)
    return TwoArms(values, advantages)


def dependent_arms_regret(
    probabilities: Tensor | Sequence[float] | None, pulls: int
) -> float:
    r"""The least expected regret of n pulls of two arms of which one pays as often as the other fails, $p_2 = 1 - p_1$.

    A win of the first arm and a loss of the second say the same about $p_1$. So every pull teaches equally much
    whichever arm it is, nothing is gained by exploring, and the greedy choice is Bayes-optimal. With u of t pulls in
    favour of the first arm,

    $$ \mathbb E R_n = n\, \mathbb E \max(p_1, 1 - p_1)
       - \sum_{t=0}^{n-1} \sum_{u=0}^{t}
         \max\big( \mathbb E [p_1 \mathbf 1_u],\, \mathbb E [(1 - p_1) \mathbf 1_u] \big) . $$

    Args:
        probabilities: equally likely values of $p_1$, or None for $p_1 \sim U[0, 1]$.
        pulls: n.

    Raises:
        ValueError: if a value is not a probability, or `pulls` not a positive integer.

    Source: the tasks are those of Wang et al. (2016), section 3.1.1.
    """
    (pulls,) = counts(pulls=pulls)
    won: Iterator[tuple[Tensor, Tensor]]
    if probabilities is None:
        best, won = 0.75, map(_means_if_uniform, range(pulls))
    else:
        p = torch.as_tensor(probabilities, dtype=F64)
        if p.ndim != 1 or not p.numel() or not ((p >= 0) & (p <= 1)).all():
            raise ValueError(
                f"probabilities = {p.tolist()}: a list of numbers from 0 to 1 is "
                "needed, or None."
            )
        best, won = torch.maximum(p, 1 - p).mean().item(), _means_if_listed(p, pulls)
    earned = 0.0
    for first, second in tqdm(won, "dependent arms", pulls, leave=False, delay=3):
        earned += torch.maximum(first, second).sum().item()
    return pulls * best - earned


def _means_if_uniform(t: int) -> tuple[Tensor, Tensor]:
    """E[p; u of t in favour] and E[1 - p; u of t in favour] for u = 0, ..., t, with p uniform."""
    u = torch.arange(t + 1, dtype=F64)
    return (u + 1) / ((t + 1) * (t + 2)), (t - u + 1) / ((t + 1) * (t + 2))


def _means_if_listed(p: Tensor, pulls: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The same for t = 0, ..., pulls - 1, with p any of the values of a list."""
    p = p.unsqueeze(1)
    likely = torch.ones_like(p) / len(p)  # of p and u in favour, [m, t + 1]
    for _ in range(pulls):
        first, second = p * likely, (1 - p) * likely
        yield first.sum(0), second.sum(0)
        nothing = torch.zeros_like(p)
        likely = torch.cat([nothing, first], 1) + torch.cat([second, nothing], 1)


def count_beliefs(arms: int, pulls: int) -> float:
    r"""How many beliefs the plan for n pulls of k arms holds: multisets of at most k tried arms, under n pulls in all.

    With m + 1 kinds of arms that have been pulled m times, it is the number of terms with $j \le k$ and $t < n$ in

    $$ \prod_{m \ge 1} \sum_{i \ge 0} \binom{m + i}{i}\, y^i x^{m i} \; = \; \sum_{j, t} c_{j t}\, y^j x^t . $$
    """
    ways = torch.zeros(arms + 1, pulls, dtype=F64)  # c, by tried arms and pulls
    ways[0, 0] = 1
    for m in range(1, pulls):
        before = ways.clone()
        for i in range(1, min(arms, (pulls - 1) // m) + 1):
            ways[i:, i * m :] += math.comb(m + i, i) * before[:-i, : -i * m]
    return ways.sum().item()


def _check_size(arms: int, pulls: int, beliefs: float, numbers: float) -> None:
    """Refuses what would not fit: `numbers` of 8 bytes for each of so many beliefs."""
    if 8 * numbers * beliefs > MOST_BYTES:
        raise ValueError(
            f"arms = {arms}, pulls = {pulls}: {beliefs:.3g} beliefs or more, about "
            f"{8 * numbers * beliefs / 2**30:.3g} GiB of memory; "
            f"{MOST_BYTES / 2**30:.3g} GiB are allowed. Take fewer pulls or arms."
        )
