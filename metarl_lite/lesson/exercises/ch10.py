"""Exercises of chapter 10: learn from a pull, plan one step back, the bonus with two pulls left, UCB1's bonus."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...rng import generator, uniform
from .base import Case, Exercise

F64 = torch.float64
Learned = tuple[Tensor, Tensor, Tensor]
Planned = tuple[Tensor, Tensor]


def _learn(wins: Tensor, losses: Tensor, arm: Tensor, reward: Tensor) -> Learned:
    pulled = torch.nn.functional.one_hot(arm, wins.shape[-1])
    wins, losses = wins + pulled * reward.unsqueeze(-1), losses + pulled * (1 - reward).unsqueeze(-1)
    return wins, losses, (wins + 1) / (wins + losses + 2)


def _no_prior(wins: Tensor, losses: Tensor, arm: Tensor, reward: Tensor) -> Learned:
    wins, losses, _ = _learn(wins, losses, arm, reward)
    return wins, losses, wins / (wins + losses)


def _half_a_prior(wins: Tensor, losses: Tensor, arm: Tensor, reward: Tensor) -> Learned:
    wins, losses, _ = _learn(wins, losses, arm, reward)
    return wins, losses, (wins + 1) / (wins + losses + 1)


def _mode(wins: Tensor, losses: Tensor, arm: Tensor, reward: Tensor) -> Learned:
    wins, losses, _ = _learn(wins, losses, arm, reward)
    return wins, losses, wins / (wins + losses).clamp(min=1)


def _all_arms(wins: Tensor, losses: Tensor, arm: Tensor, reward: Tensor) -> Learned:
    wins, losses = wins + reward.unsqueeze(-1), losses + (1 - reward).unsqueeze(-1)
    return wins, losses, (wins + 1) / (wins + losses + 2)


def _wins_only(wins: Tensor, losses: Tensor, arm: Tensor, reward: Tensor) -> Learned:
    wins, _, _ = _learn(wins, losses, arm, reward)
    return wins, losses, (wins + 1) / (wins + losses + 2)


def _before(wins: Tensor, losses: Tensor, arm: Tensor, reward: Tensor) -> Learned:
    after_wins, after_losses, _ = _learn(wins, losses, arm, reward)
    return after_wins, after_losses, (wins + 1) / (wins + losses + 2)


def _swapped_outcomes(wins: Tensor, losses: Tensor, arm: Tensor, reward: Tensor) -> Learned:
    return _learn(wins, losses, arm, 1 - reward)


def _pulls() -> list[Case]:
    counts = torch.tensor([[2.0, 0.0, 0.0], [0.0, 3.0, 1.0]], dtype=F64)
    losses = torch.tensor([[1.0, 0.0, 4.0], [2.0, 0.0, 1.0]], dtype=F64)
    none = torch.zeros(2, 2, dtype=F64)
    return [
        (none, none.clone(), torch.tensor([0, 1]), torch.tensor([1.0, 0.0], dtype=F64)),
        (counts, losses, torch.tensor([1, 0]), torch.tensor([0.0, 1.0], dtype=F64)),
        (counts, losses, torch.tensor([2, 2]), torch.tensor([1.0, 0.0], dtype=F64)),
    ]


def _plan(mean: Tensor, win: Tensor, loss: Tensor) -> Planned:
    value, arm = (mean * (1 + win) + (1 - mean) * loss).max(-1)
    return value, arm


def _no_reward(mean: Tensor, win: Tensor, loss: Tensor) -> Planned:
    value, arm = (mean * win + (1 - mean) * loss).max(-1)
    return value, arm


def _always_paid(mean: Tensor, win: Tensor, loss: Tensor) -> Planned:
    value, arm = (1 + mean * win + (1 - mean) * loss).max(-1)
    return value, arm


def _swapped(mean: Tensor, win: Tensor, loss: Tensor) -> Planned:
    value, arm = (mean * (1 + loss) + (1 - mean) * win).max(-1)
    return value, arm


def _evenly(mean: Tensor, win: Tensor, loss: Tensor) -> Planned:
    value, arm = (mean + (win + loss) / 2).max(-1)
    return value, arm


def _averaged(mean: Tensor, win: Tensor, loss: Tensor) -> Planned:
    q = mean * (1 + win) + (1 - mean) * loss
    return q.mean(-1), q.argmax(-1)


def _greedily(mean: Tensor, win: Tensor, loss: Tensor) -> Planned:
    q, arm = mean * (1 + win) + (1 - mean) * loss, mean.argmax(-1)
    return q.gather(-1, arm.unsqueeze(-1)).squeeze(-1), arm


def _luckily(mean: Tensor, win: Tensor, loss: Tensor) -> Planned:
    """The best outcome of each pull instead of the mean over its outcomes."""
    value, arm = (mean + torch.maximum(win, loss)).max(-1)
    return value, arm


def _steps() -> list[Case]:
    mean, win, loss = torch.tensor([[0.5, 0.6], [2 / 3, 0.6], [0.5, 0.4]], dtype=F64)
    cases: list[Case] = [(mean, win, loss)]
    for seed, shape in ((0, (6, 3)), (1, (4, 2, 5))):
        gen = generator(seed)
        mean, loss, more = (uniform(shape, gen, F64) for _ in range(3))
        cases.append((mean, loss + more, loss))
    return cases


def _means(wins: Tensor, losses: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The means of both arms, and of the first after a win and after a loss."""
    (w, w2), (m, m2) = wins.unbind(-1), losses.unbind(-1)
    return (w + 1) / (w + m + 2), (w2 + 1) / (w2 + m2 + 2), (w + 2) / (w + m + 3), (w + 1) / (w + m + 3)


def _second_pull(wins: Tensor, losses: Tensor) -> Tensor:
    mean, other, won, lost = _means(wins, losses)
    return mean * torch.maximum(won, other) + (1 - mean) * torch.maximum(lost, other)


def _bonus(wins: Tensor, losses: Tensor) -> Tensor:
    mean, other, _, _ = _means(wins, losses)
    return _second_pull(wins, losses) - torch.maximum(mean, other)


def _whole_worth(wins: Tensor, losses: Tensor) -> Tensor:
    return _means(wins, losses)[0] + _second_pull(wins, losses)


def _beyond_the_reward(wins: Tensor, losses: Tensor) -> Tensor:
    return _second_pull(wins, losses)


def _against_the_first(wins: Tensor, losses: Tensor) -> Tensor:
    return _second_pull(wins, losses) - _means(wins, losses)[0]


def _never_changes_its_mind(wins: Tensor, losses: Tensor) -> Tensor:
    mean, _, won, lost = _means(wins, losses)
    return mean * won + (1 - mean) * lost - mean


def _after_a_win(wins: Tensor, losses: Tensor) -> Tensor:
    mean, other, won, _ = _means(wins, losses)
    return mean * (torch.maximum(won, other) - torch.maximum(mean, other))


def _even_chances(wins: Tensor, losses: Tensor) -> Tensor:
    mean, other, won, lost = _means(wins, losses)
    return (torch.maximum(won, other) + torch.maximum(lost, other)) / 2 - torch.maximum(mean, other)


def _two_arms() -> list[Case]:
    return [
        (torch.tensor([[0.0, 0.0]], dtype=F64), torch.tensor([[0.0, 0.0]], dtype=F64)),
        (
            torch.tensor([[0.0, 3.0], [3.0, 0.0], [1.0, 5.0], [9.0, 0.0]], dtype=F64),
            torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 5.0], [0.0, 4.0]], dtype=F64),
        ),
    ]


def _ucb(wins: Tensor, losses: Tensor, c: float) -> Tensor:
    count = wins + losses + 2
    t = (wins + losses).sum(-1, keepdim=True) + 1
    return (wins + 1) / count + c * (2 * t.log() / count).sqrt()


def _pulls_so_far(wins: Tensor, losses: Tensor, c: float) -> Tensor:
    count, t = wins + losses + 2, (wins + losses).sum(-1, keepdim=True)
    return (wins + 1) / count + c * (2 * t.log() / count).sqrt()


def _first_counts_as_pulls(wins: Tensor, losses: Tensor, c: float) -> Tensor:
    count = wins + losses + 2
    return (wins + 1) / count + c * (2 * count.sum(-1, keepdim=True).log() / count).sqrt()


def _own_clock(wins: Tensor, losses: Tensor, c: float) -> Tensor:
    count = wins + losses + 2
    return (wins + 1) / count + c * (2 * count.log() / count).sqrt()


def _bare_counts(wins: Tensor, losses: Tensor, c: float) -> Tensor:
    count, t = wins + losses, (wins + losses).sum(-1, keepdim=True) + 1
    return wins / count + c * (2 * t.log() / count).sqrt()


def _no_two(wins: Tensor, losses: Tensor, c: float) -> Tensor:
    return _ucb(wins, losses, c / math.sqrt(2))


def _c_below_the_root(wins: Tensor, losses: Tensor, c: float) -> Tensor:
    return _ucb(wins, losses, math.sqrt(c))


def _bonus_alone(wins: Tensor, losses: Tensor, c: float) -> Tensor:
    return _ucb(wins, losses, c) - (wins + 1) / (wins + losses + 2)


def _counts() -> list[Case]:
    wins = torch.tensor([[2.0, 0.0, 1.0], [0.0, 7.0, 1.0]], dtype=F64)
    losses = torch.tensor([[1.0, 1.0, 4.0], [1.0, 3.0, 0.0]], dtype=F64)
    return [(wins, losses, 0.2), (wins, losses, 1.0), (0 * wins, 0 * losses, 0.5)]


EXERCISES = [
    Exercise(
        "10.1",
        "learn from a pull",
        reference=_learn,
        cases=_pulls,
        parts=("the wins", "the losses", "the means"),
        tolerance=1e-6,
        mistakes={
            "The counts are right. The mean leaves the prior out: for an arm never pulled it is 0 / 0.": _no_prior,
            "The counts are right. Your mean of an arm never pulled is 1: the prior counts as one win and one "
            "loss.": _half_a_prior,
            "The counts are right. This is the most likely probability, the mode, and not the mean.": _mode,
            "You count the reward for every arm. Only the pulled one has shown anything.": _all_arms,
            "A pull that pays nothing teaches as much as one that pays: count the losses, too.": _wins_only,
            "The counts are right, but the means are those from before the pull.": _before,
            "Wins and losses have changed places.": _swapped_outcomes,
        },
        praise="Nothing else has to be remembered: these counts are the whole state.",
    ),
    Exercise(
        "10.2",
        "one step back",
        reference=_plan,
        cases=_steps,
        parts=("the value", "the arm"),
        tolerance=1e-6,
        mistakes={
            "The pull's own reward is missing: a win pays 1, besides what comes after.": _no_reward,
            "A reward of 1 is added whatever happens. Only a win pays.": _always_paid,
            "Win and loss have changed places: mean is the chance of a win.": _swapped,
            "A win and a loss are not equally likely: their chances are mean and 1 - mean.": _evenly,
            "This is the average over arms. The agent picks one: take the best.": _averaged,
            "The arm is chosen by its mean, as greedy does, and not by all that the pull is worth.": _greedily,
            "You may choose the arm, but not the outcome: take the mean over win and loss.": _luckily,
        },
        praise="Repeat it from the last pull to the first, and you have the optimum.",
    ),
    Exercise(
        "10.3",
        "the bonus with two pulls left",
        reference=_bonus,
        cases=_two_arms,
        tolerance=1e-6,
        mistakes={
            "This is all that the two pulls earn. How much of it is due to what the first one shows?": _whole_worth,
            "This is what the second pull earns. How much would it earn if the first had shown nothing?": (
                _beyond_the_reward
            ),
            "Without the first pull you would not have to pull arm 1 next: compare with the better of both means.": (
                _against_the_first
            ),
            "The second pull is always of arm 1 here. What the first has shown may make arm 2 the better choice; an "
            "outcome that changes nothing you do is worth nothing.": _never_changes_its_mind,
            "You count the gain after a win only. A loss may change the choice, too.": _after_a_win,
            "A win and a loss are not equally likely, unless the mean is 1/2.": _even_chances,
        },
        praise="For two fresh arms it is 1/12, so two pulls are worth 1/2 + 1/2 + 1/12 = 13/12.",
    ),
    Exercise(
        "10.4",
        "the scores of UCB1",
        reference=_ucb,
        cases=_counts,
        tolerance=1e-6,
        mistakes={
            "t counts this pull: before the first, ln t is ln 1 = 0 and not the logarithm of 0.": _pulls_so_far,
            "The first success and failure of each arm count for n_a. They are no pulls, so not for t.": (
                _first_counts_as_pulls
            ),
            "The logarithm is of t, the pulls of all arms, and not of n_a: an arm left alone must grow more "
            "attractive.": _own_clock,
            "Counts start at one success and one failure; yours divides by 0 at an arm never tried.": _bare_counts,
            "The factor 2 below the root is missing.": _no_two,
            "c stands before the root, not below it.": _c_below_the_root,
            "This is the bonus alone. The score is the mean and the bonus.": _bonus_alone,
        },
        praise="An arm that is left alone gains with ln t: it is never given up for good.",
    ),
]
