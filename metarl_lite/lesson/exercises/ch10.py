"""Exercises of chapter 10: learn from a pull, plan one step back, the bonus with two pulls left, UCB1's bonus."""

from __future__ import annotations

import torch
from torch import Tensor

from ...rng import generator, uniform
from .base import Case, Exercise

F64 = torch.float64
Learned = tuple[Tensor, Tensor, Tensor]
Planned = tuple[Tensor, Tensor]


# --- 10.1: learn from a pull ------------------------------------------------------------------------------------------


def _learn(wins: Tensor, losses: Tensor, arm: Tensor, reward: Tensor) -> Learned:
    pulled = torch.nn.functional.one_hot(arm, wins.shape[-1])
    wins = wins + pulled * reward.unsqueeze(-1)
    losses = losses + pulled * (1 - reward.unsqueeze(-1))
    return wins, losses, (wins + 1) / (wins + losses + 2)


def _counted(wins: Tensor, losses: Tensor, arm: Tensor, reward: Tensor) -> Planned:
    wins, losses, _ = _learn(wins, losses, arm, reward)
    return wins, losses


def _with_mean(wins: Tensor, losses: Tensor) -> Learned:
    return wins, losses, (wins + 1) / (wins + losses + 2)


def _no_prior(wins: Tensor, losses: Tensor, arm: Tensor, reward: Tensor) -> Learned:
    wins, losses = _counted(wins, losses, arm, reward)
    return wins, losses, wins / (wins + losses)


def _half_a_prior(wins: Tensor, losses: Tensor, arm: Tensor, reward: Tensor) -> Learned:
    wins, losses = _counted(wins, losses, arm, reward)
    return wins, losses, (wins + 1) / (wins + losses + 1)


def _mode(wins: Tensor, losses: Tensor, arm: Tensor, reward: Tensor) -> Learned:
    wins, losses = _counted(wins, losses, arm, reward)
    return wins, losses, wins / (wins + losses).clamp(min=1)


def _in_place(wins: Tensor, losses: Tensor, arm: Tensor, reward: Tensor) -> Learned:
    after = _counted(wins, losses, arm, reward)
    return _with_mean(wins.copy_(after[0]), losses.copy_(after[1]))


def _pulls() -> list[Case]:
    counts = torch.tensor([[2.0, 0.0, 0.0], [0.0, 3.0, 1.0]], dtype=F64)
    losses = torch.tensor([[1.0, 0.0, 4.0], [2.0, 0.0, 1.0]], dtype=F64)
    none = torch.zeros(2, 2, dtype=F64)
    return [
        (none, none.clone(), torch.tensor([0, 1]), torch.tensor([1.0, 0.0], dtype=F64)),
        (counts, losses, torch.tensor([1, 0]), torch.tensor([0.0, 1.0], dtype=F64)),
        (counts, losses, torch.tensor([2, 2]), torch.tensor([1.0, 0.0], dtype=F64)),
    ]


# --- 10.2: one step back ----------------------------------------------------------------------------------------------


def _plan(mean: Tensor, win: Tensor, loss: Tensor) -> Planned:
    q = mean * (1 + win) + (1 - mean) * loss
    best = q.max(-1)
    return best.values, best.indices


def _best(q: Tensor) -> Planned:
    value, arm = q.max(-1)
    return value, arm


def _averaged(mean: Tensor, win: Tensor, loss: Tensor) -> Planned:
    q = mean * (1 + win) + (1 - mean) * loss
    return q.mean(-1), q.argmax(-1)


def _greedily(mean: Tensor, win: Tensor, loss: Tensor) -> Planned:
    q, arm = mean * (1 + win) + (1 - mean) * loss, mean.argmax(-1)
    return q.gather(-1, arm.unsqueeze(-1)).squeeze(-1), arm


def _steps() -> list[Case]:
    mean, win, loss = torch.tensor([[0.5, 0.6], [2 / 3, 0.6], [0.5, 0.4]], dtype=F64)
    cases: list[Case] = [(mean, win, loss)]
    for seed, shape in ((0, (6, 3)), (1, (4, 2, 5))):
        gen = generator(seed)
        mean, loss, more = (uniform(shape, gen, F64) for _ in range(3))
        cases.append((mean, loss + more, loss))
    return cases


# --- 10.3: the bonus --------------------------------------------------------------------------------------------------


def _bonus(wins: Tensor, losses: Tensor) -> Tensor:
    n = wins + losses
    mean, other = ((wins + 1) / (n + 2)).unbind(-1)
    after_win = (wins[..., 0] + 2) / (n[..., 0] + 3)
    after_loss = (wins[..., 0] + 1) / (n[..., 0] + 3)
    seen = mean * torch.maximum(after_win, other) + (1 - mean) * torch.maximum(after_loss, other)
    return seen - torch.maximum(mean, other)


def _means(wins: Tensor, losses: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The means of both arms, and of the first after a win and after a loss."""
    (w, w2), (m, m2) = wins.unbind(-1), losses.unbind(-1)
    return (w + 1) / (w + m + 2), (w2 + 1) / (w2 + m2 + 2), (w + 2) / (w + m + 3), (w + 1) / (w + m + 3)


def _second_pull(wins: Tensor, losses: Tensor) -> Tensor:
    mean, other, won, lost = _means(wins, losses)
    return mean * torch.maximum(won, other) + (1 - mean) * torch.maximum(lost, other)


def _never_changes_its_mind(wins: Tensor, losses: Tensor) -> Tensor:
    mean, _, won, lost = _means(wins, losses)
    return mean * won + (1 - mean) * lost - mean


def _after_a_win(wins: Tensor, losses: Tensor) -> Tensor:
    mean, other, won, _ = _means(wins, losses)
    return mean * (torch.maximum(won, other) - torch.maximum(mean, other))


def _even_chances(wins: Tensor, losses: Tensor) -> Tensor:
    mean, other, won, lost = _means(wins, losses)
    return (torch.maximum(won, other) + torch.maximum(lost, other)) / 2 - torch.maximum(mean, other)


def _chances_swapped(wins: Tensor, losses: Tensor) -> Tensor:
    mean, other, won, lost = _means(wins, losses)
    return (1 - mean) * torch.maximum(won, other) + mean * torch.maximum(lost, other) - torch.maximum(mean, other)


def _two_arms() -> list[Case]:
    return [
        (torch.tensor([[0.0, 0.0]], dtype=F64), torch.tensor([[0.0, 0.0]], dtype=F64)),
        (
            torch.tensor(
                [[0.0, 3.0], [3.0, 0.0], [1.0, 5.0], [9.0, 0.0], [1.0, 4.0], [0.0, 2.0], [0.0, 9.0]], dtype=F64
            ),
            torch.tensor(
                [[0.0, 1.0], [1.0, 0.0], [1.0, 5.0], [0.0, 4.0], [2.0, 5.0], [1.0, 3.0], [0.0, 1.0]], dtype=F64
            ),
        ),
    ]


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
            "You count the reward for every arm. Only the pulled one has shown anything.": (
                lambda wins, losses, arm, reward: _with_mean(
                    wins + reward.unsqueeze(-1), losses + (1 - reward).unsqueeze(-1)
                )
            ),
            "A pull that pays nothing teaches as much as one that pays: count the losses, too.": (
                lambda wins, losses, arm, reward: _with_mean(_counted(wins, losses, arm, reward)[0], losses)
            ),
            "A loss is counted for the arms that were not pulled, too. They have shown nothing.": (
                lambda wins, losses, arm, reward: _with_mean(
                    _counted(wins, losses, arm, reward)[0],
                    losses + 1 - torch.nn.functional.one_hot(arm, wins.shape[-1]) * reward.unsqueeze(-1),
                )
            ),
            "Every pull counts as a loss, also one that pays.": lambda wins, losses, arm, reward: _with_mean(
                _counted(wins, losses, arm, reward)[0], losses + torch.nn.functional.one_hot(arm, wins.shape[-1])
            ),
            "The counts are right, but the means are those from before the pull.": (
                lambda wins, losses, arm, reward: (
                    *_counted(wins, losses, arm, reward),
                    (wins + 1) / (wins + losses + 2),
                )
            ),
            "Wins and losses have changed places.": (
                lambda wins, losses, arm, reward: _learn(wins, losses, arm, 1 - reward)
            ),
            "The numbers are right, but the given counts have changed: `+=` writes into them. Make new tensors.": (
                _in_place
            ),
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
            "The pull's own reward is missing: a win pays 1, besides what comes after.": (
                lambda mean, win, loss: _best(mean * win + (1 - mean) * loss)
            ),
            "A reward of 1 is added whatever happens. Only a win pays.": (
                lambda mean, win, loss: _best(1 + mean * win + (1 - mean) * loss)
            ),
            "Only the pull's own reward is counted, and nothing of what comes after.": (
                lambda mean, win, loss: _best(mean)
            ),
            "Win and loss have changed places: mean is the chance of a win.": (
                lambda mean, win, loss: _best(mean * (1 + loss) + (1 - mean) * win)
            ),
            "A loss is missing: with probability 1 - mean the pull leads to `loss`.": (
                lambda mean, win, loss: _best(mean * (1 + win))
            ),
            "A win and a loss are not equally likely: their chances are mean and 1 - mean.": (
                lambda mean, win, loss: _best(mean + (win + loss) / 2)
            ),
            "This is the average over arms. The agent picks one: take the best.": _averaged,
            "The worst arm is chosen; take the best.": lambda mean, win, loss: tuple(
                (mean * (1 + win) + (1 - mean) * loss).min(-1)
            ),
            "The arm is chosen by its mean, as greedy does, and not by all that the pull is worth.": _greedily,
            "You may choose the arm, but not the outcome: take the mean over win and loss.": (
                lambda mean, win, loss: _best(mean + torch.maximum(win, loss))
            ),
            "Value and arm have changed places.": lambda mean, win, loss: _plan(mean, win, loss)[::-1],
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
            "This is all that the two pulls earn. How much of it is due to what the first one shows?": (
                lambda wins, losses: _means(wins, losses)[0] + _second_pull(wins, losses)
            ),
            "This is what the second pull earns. How much would it earn if the first had shown nothing?": _second_pull,
            "Without the first pull you would not have to pull arm 1 next: compare with the better of both means.": (
                lambda wins, losses: _second_pull(wins, losses) - _means(wins, losses)[0]
            ),
            "The second pull is always of arm 1 here. What the first has shown may make arm 2 the better choice; an "
            "outcome that changes nothing you do is worth nothing.": _never_changes_its_mind,
            "You count the gain after a win only. A loss may change the choice, too.": _after_a_win,
            "A win and a loss are not equally likely, unless the mean is 1/2.": _even_chances,
            "The chances of a win and of a loss have changed places.": _chances_swapped,
            "This is the bonus of the second arm; the first is pulled.": (
                lambda wins, losses: _bonus(wins.flip(-1), losses.flip(-1))
            ),
            "The sign is turned: what is shown can only help.": lambda wins, losses: -_bonus(wins, losses),
        },
        praise="For two fresh arms it is 1/12, so two pulls are worth 1/2 + 1/2 + 1/12 = 13/12.",
    ),
]
