"""Exercises of chapter 10, continued: the scores of UCB1."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import Case, Exercise

F64 = torch.float64


def _ucb(wins: Tensor, losses: Tensor, c: float) -> Tensor:
    n = wins + losses + 2
    t = (wins + losses).sum(-1, keepdim=True) + 1
    return (wins + 1) / n + c * (2 * t.log() / n).sqrt()


def _scored(wins: Tensor, n: Tensor, t: Tensor, c: float) -> Tensor:
    return (wins + 1) / n + c * (2 * t.log() / n).sqrt()


def _bare_counts(wins: Tensor, losses: Tensor, c: float) -> Tensor:
    n, t = wins + losses, (wins + losses).sum(-1, keepdim=True) + 1
    return wins / n + c * (2 * t.log() / n).sqrt()


def _counts() -> list[Case]:
    wins = torch.tensor([[2.0, 0.0, 1.0], [0.0, 7.0, 1.0]], dtype=F64)
    losses = torch.tensor([[1.0, 1.0, 4.0], [1.0, 3.0, 0.0]], dtype=F64)
    return [(wins, losses, 0.2), (wins, losses, 1.0), (0 * wins, 0 * losses, 0.5)]


EXERCISES = [
    Exercise(
        "10.4",
        "the scores of UCB1",
        reference=_ucb,
        cases=_counts,
        tolerance=1e-6,
        mistakes={
            "t counts this pull: before the first, ln t is ln 1 = 0 and not the logarithm of 0.": (
                lambda wins, losses, c: _scored(wins, wins + losses + 2, (wins + losses).sum(-1, keepdim=True), c)
            ),
            "The first success and failure of each arm count for n_a. They are no pulls, so not for t.": (
                lambda wins, losses, c: _scored(wins, wins + losses + 2, (wins + losses + 2).sum(-1, keepdim=True), c)
            ),
            "The invented counts are no pulls: t is one more than the pulls so far.": (
                lambda wins, losses, c: _scored(
                    wins, wins + losses + 2, (wins + losses + 2).sum(-1, keepdim=True) + 1, c
                )
            ),
            "The logarithm is of t, the pulls of all arms, and not of n_a: an arm left alone must grow more "
            "attractive.": lambda wins, losses, c: _scored(wins, wins + losses + 2, wins + losses + 2, c),
            "t is that of each bandit by itself; yours counts the pulls of all bandits.": (
                lambda wins, losses, c: _scored(wins, wins + losses + 2, (wins + losses).sum() + 1, c)
            ),
            "Counts start at one success and one failure; yours divides by 0 at an arm never tried.": _bare_counts,
            "The factor 2 below the root is missing.": lambda wins, losses, c: _ucb(wins, losses, c / math.sqrt(2)),
            "The factor 2 stands below the root, not before it.": (
                lambda wins, losses, c: _ucb(wins, losses, c * math.sqrt(2))
            ),
            "c stands before the root, not below it.": lambda wins, losses, c: _ucb(wins, losses, math.sqrt(c)),
            "The bonus is not scaled: c is missing.": lambda wins, losses, c: _ucb(wins, losses, 1.0),
            "The root is missing.": lambda wins, losses, c: (
                _ucb(wins, losses, 0.0) + (_ucb(wins, losses, 1.0) - _ucb(wins, losses, 0.0)) ** 2 * c
            ),
            "This is the bonus alone. The score is the mean and the bonus.": (
                lambda wins, losses, c: _ucb(wins, losses, c) - _ucb(wins, losses, 0.0)
            ),
        },
        praise="An arm that is left alone gains with ln t: it is never given up for good.",
    ),
]
