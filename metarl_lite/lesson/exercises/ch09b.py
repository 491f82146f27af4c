"""Exercises of chapter 9, continued: a line search that may refuse."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from .base import Case, Exercise

Judge = Callable[[Tensor], tuple[float, float]]

TWICE = (
    "The point is right, but `judge` is called twice at the same place, and it is what costs: keep both its numbers."
)
TOO_OFTEN = "The point is right, but `judge` is asked about more points than `tries`."


def _backtrack(judge: Judge, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
    for k in range(tries):
        candidate = start + 0.5**k * step
        loss, kl = judge(candidate)
        if loss < before and kl <= max_kl:
            return candidate
    return start


Good = Callable[[float, float, float, float], bool]


def _search(good: Good, point: Callable[[int], float] = lambda k: 0.5**k, more: int = 0) -> Callable[..., Tensor]:
    """A search with another condition, of (loss, before, kl, max_kl), other lengths of the step, or other tries."""

    def answer(judge: Judge, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
        for k in range(tries + more):
            candidate = start + point(k) * step
            loss, kl = judge(candidate)
            if good(loss, before, kl, max_kl):
                return candidate
        return start

    return answer


def _both(loss: float, before: float, kl: float, max_kl: float) -> bool:
    return loss < before and kl <= max_kl


def _last_tried(judge: Judge, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
    candidate = start
    for k in range(tries):
        candidate = start + 0.5**k * step
        if _both(*_in_turn(judge(candidate), before, max_kl)):
            break
    return candidate


def _in_turn(judged: tuple[float, float], before: float, max_kl: float) -> tuple[float, float, float, float]:
    return judged[0], before, judged[1], max_kl


def _walking(judge: Judge, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
    candidate = start
    for k in range(tries):
        candidate = candidate + 0.5**k * step
        if _both(*_in_turn(judge(candidate), before, max_kl)):
            return candidate
    return start


def _best_of_all(judge: Judge, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
    points = [start + 0.5**k * step for k in range(tries)]
    judged = [(judge(point), place) for place, point in enumerate(points)]
    good = [(loss, place) for (loss, kl), place in judged if loss < before and kl <= max_kl]
    return points[min(good)[1]] if good else start


def _asked_twice(judge: Judge, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
    for k in range(tries):
        candidate = start + 0.5**k * step
        if judge(candidate)[0] < before and judge(candidate)[1] <= max_kl:
            return candidate
    return start


def _asked_too_often(judge: Judge, start: Tensor, step: Tensor, before: float, max_kl: float, tries: int) -> Tensor:
    judged = [judge(start + 0.5**k * step) for k in range(tries + 1)]
    good = [k for k, (loss, kl) in enumerate(judged[:tries]) if loss < before and kl <= max_kl]
    return start + 0.5 ** good[0] * step if good else start


def _calls_of_judge(seen: list[Case], given: Mapping[str, Any]) -> str:
    places = [tuple(torch.as_tensor(point).flatten().tolist()) for (point,) in seen]
    if len(set(places)) < len(places):
        return TWICE
    return TOO_OFTEN if len(places) > given["tries"] else ""


def _bowl(point: Tensor) -> tuple[float, float]:
    """A loss that is least at 1, with a divergence of the square of the distance from 0."""
    return ((point - 1) ** 2).sum().item(), (point**2).sum().item()


def _broken_far_away(point: Tensor) -> tuple[float, float]:
    """A loss that is nan beyond 2."""
    loss, kl = _bowl(point)
    return (math.nan if kl > 4 else loss), 0.0


def _divergence_broken(point: Tensor) -> tuple[float, float]:
    """A loss that is least at 1, with a divergence that is nan beyond 1/2."""
    loss, kl = _bowl(point)
    return loss, (math.nan if kl > 0.25 else kl)


def _broken_nearby(point: Tensor) -> tuple[float, float]:
    """A loss that is nan below 1."""
    loss, kl = _bowl(point)
    return (math.nan if kl < 1 else loss), kl


def _searches() -> list[Case]:
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    before = _bowl(zero)[0]
    return [
        (_bowl, zero, 0.8 * one, before, 1.0, 10),  # the full step will do
        (_bowl, zero, 6.0 * one, before, 4.0, 10),  # too long for the loss, then for neither: 1.5
        (_bowl, zero, 1.6 * one, before, 0.05, 4),  # the bound decides, at the last of four tries
        (_bowl, zero, -0.5 * one, before, 1.0, 6),  # uphill: nothing improves
        (_bowl, zero, 1.6 * one, before, 0.02, 4),  # a fifth try would do
        (_broken_far_away, zero, 12.0 * one, before, 1.0, 10),
        (_bowl, zero, 0.5 * one, before, _bowl(0.5 * one)[1], 1),  # at the bound, which will do
        (_bowl, zero, 2.0 * one, before, 9.0, 5),  # as good as before, and not better: 1
        (_divergence_broken, zero, 1.5 * one, before, 1.0, 5),
        (_broken_nearby, zero, 0.8 * one, before, 9.0, 4),  # good only beyond the full step
        (_bowl, 0.25 * one, 3.0 * one, _bowl(0.25 * one)[0], 1.0, 5),  # from elsewhere than 0
    ]


EXERCISES = [
    Exercise(
        "9.3",
        "a step that may be refused",
        reference=_backtrack,
        cases=_searches,
        calls={"judge": _calls_of_judge},
        tolerance=1e-6,
        mistakes={
            TWICE: _asked_twice,
            TOO_OFTEN: _asked_too_often,
            "When nothing works, this returns the last candidate, which was refused. Return the start.": _last_tried,
            "This looks at the KL divergence only. A step inside the region can still make the loss worse.": (
                _search(lambda loss, before, kl, max_kl: kl <= max_kl)
            ),
            "This looks at the loss only. The bound is what makes its estimate worth trusting.": (
                _search(lambda loss, before, kl, max_kl: loss < before)
            ),
            "One of the two conditions is enough here. Both must hold.": (
                _search(lambda loss, before, kl, max_kl: loss < before or kl <= max_kl)
            ),
            "A loss or a divergence that is not a number is accepted: nan >= before is False, and so is nan < before. "
            "Ask for what you want, not against what you fear.": (
                _search(lambda loss, before, kl, max_kl: not (loss >= before or kl > max_kl))
            ),
            "A point is taken that is as good as before, and no better: ask for a loss *below* before.": (
                _search(lambda loss, before, kl, max_kl: loss <= before and kl <= max_kl)
            ),
            "A divergence of exactly max_kl will do: at most.": (
                _search(lambda loss, before, kl, max_kl: loss < before and kl < max_kl)
            ),
            "The best of all tries is taken. Asked for is the first that will do, with the longest step.": _best_of_all,
            "Each candidate begins where the last one ended. All begin at the start.": _walking,
            "The full step is never tried.": _search(_both, lambda k: 0.5 ** (k + 1)),
            "The k-th candidate is step / (k + 1). Halve it each time: 1, 1/2, 1/4, ...": (
                _search(_both, lambda k: 1 / (k + 1))
            ),
            "The step is doubled. Halve it each time: 1, 1/2, 1/4, ...": _search(_both, lambda k: 2.0**k),
            "The step is subtracted: try start + step.": _search(_both, lambda k: -(0.5**k)),
            "One try too many.": _search(_both, more=1),
            "One try too few.": _search(_both, more=-1),
        },
        praise="A refusal costs one iteration; a bad step can cost the run.",
    ),
]
