"""What became of one call: its result, its gradients, what it did to its arguments; and how two outcomes differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ...rng import generator, normal
from .base import Case, Exercise
from .compare import ANY, Difference, difference, frozen, shaped
from .guard import called, tried

#: By argument and order: its gradient, None where no path leads there. No dict at all: the result has no graph.
Slopes = dict[tuple[str, int], list[Tensor] | None]

CUT = "it carries no gradient: .item(), .detach(), .data, torch.no_grad or a tensor made from numbers cuts it off."
LOST = "no gradient reaches {name}: on the way something is copied, detached or taken as a number."
GONE = (
    "its gradient cannot be computed, as a part of the graph is gone: a backward() frees it, and writing into a tensor "
    "that is still needed spoils it."
)


class Unreadable(Exception):
    """What a function returned cannot be looked at."""


@dataclass(frozen=True)
class Outcome:
    """One call, as plain data that nothing can change any more."""

    result: Any
    error: BaseException | None = None
    slopes: Slopes | None = None
    broken: bool = False  # gradients could not be computed
    changed: tuple[str, ...] = ()  # arguments
    complaint: str = ""  # about calls
    printed: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)


def run(exercise: Exercise, answer: Callable[..., Any], case: Case, chance: int = 0) -> Outcome:
    """Calls an answer on one case."""
    given = exercise.named(case)
    before, seen = frozen(given), {name: list[Case]() for name in exercise.calls}
    watched = [_watched(value, seen[name]) if name in seen else value for name, value in given.items()]
    back = called(answer, *watched, chance=chance)
    read = tried(frozen, back.value)
    error = back.error or (Unreadable() if read.error else None)
    slopes = tried(_slopes, exercise, back.value, given) if exercise.derivatives and error is None else None
    return Outcome(
        read.value,
        error,
        slopes.value if slopes else None,
        bool(slopes and slopes.error),
        _changed(given, before),
        _complaint(exercise, seen, before) if error is None else "",
        back.printed,
        before,
    )


class Stopped(Exception):
    """Drawing came to an end: an error, an argument changed, or something else than what was asked for."""

    def __init__(self, outcome: Outcome, fault: Difference | None = None) -> None:
        self.outcome, self.fault = outcome, fault


class Draw:
    """Draws answers to a case, one for each generator that it is given, and stops at what is none."""

    def __init__(self, exercise: Exercise, answer: Callable[..., Any], case: Case) -> None:
        self.exercise, self.answer, self.case = exercise, answer, case
        self.right = frozen(exercise.reference(*case, generator(0)))
        self.printed = ""

    def __call__(self, *gens: torch.Generator) -> list[Any]:
        """The answers, all with one and the same global chance, which goes on from each to the next."""
        given, before = self.exercise.named(self.case), frozen(self.exercise.named(self.case))
        back = called(lambda: [frozen(self.answer(*self.case, gen)) for gen in gens])
        self.printed = self.printed or back.printed
        drawn: list[Any] = back.value or [None]
        changed = _changed(given, before)
        outcome = Outcome(drawn[0], back.error, changed=changed, printed=back.printed, arguments=before)
        if back.error is not None:
            raise Stopped(outcome)
        for one in drawn:
            if (found := difference(one, self.right, ANY, parts=self.exercise.parts)) is not None:
                raise Stopped(outcome, found)
        if changed:
            raise Stopped(outcome, ("changed", f"your function changes its argument `{changed[0]}`; make new tensors."))
        return [shaped(one, self.right) for one in drawn]

    def like(self, wrong: Callable[..., Any], outcome: Outcome) -> bool:
        """Whether another answer returns something of the same form."""
        other = called(lambda: frozen(wrong(*self.case, generator(0))))
        return other.error is None and difference(outcome.result, other.value, ANY) is None


def _watched(function: Callable[..., Any], seen: list[Case]) -> Callable[..., Any]:
    def watched(*arguments: Any) -> Any:
        seen.append(frozen(arguments))
        return function(*arguments)

    return watched


def _complaint(exercise: Exercise, seen: Mapping[str, list[Case]], given: Mapping[str, Any]) -> str:
    """What is wrong with how functions were called; what cannot be judged has no complaint."""
    found = [tried(judge, seen[name], given) for name, judge in exercise.calls.items()]
    return next((one.value for one in found if one.value), "")


def _changed(now: Mapping[str, Any], before: Mapping[str, Any]) -> tuple[str, ...]:
    """The arguments that are not what they were; what is no data is not looked into."""
    found = {name: tried(_difference, value, before[name]) for name, value in now.items()}
    return tuple(name for name, one in found.items() if one.value or one.error)


def _difference(now: Any, before: Any) -> Difference | None:
    return difference(frozen(now), before, 0.0)


# --- Gradients --------------------------------------------------------------------------------------------------------


def _slopes(exercise: Exercise, result: Any, given: Mapping[str, Any]) -> Slopes | None:
    """Gradients of a sum of the result's numbers, with weights that are fixed and look random; None: no graph."""
    home, found = SimpleNamespace(**given), Slopes()
    total = _weighted(_stacked(result), 0)
    for order in range(1, exercise.orders + 1):
        if total is None:
            break
        graph, first = order < exercise.orders, list[Tensor]()
        for name in exercise.derivatives:
            leaves = _leaves(attrgetter(name)(home))
            grads = torch.autograd.grad(total, leaves, create_graph=graph, retain_graph=True, allow_unused=True)
            first += [g for g in grads if g is not None]
            zeros = [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, grads, strict=True)]
            found[name, order] = None if all(g is None for g in grads) else frozen(zeros)
        total = _weighted(first, order)
    return found or None


def _leaves(value: Any) -> list[Tensor]:
    """The tensors in an argument or a result, in order."""
    if isinstance(value, Mapping):
        value = [value[key] for key in sorted(value)]
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in _leaves(part)]
    return [value] if isinstance(value, Tensor) else []


def _stacked(value: Any) -> list[Tensor]:
    """The tensors in a result; a list of equal ones is what they are as one tensor."""
    if isinstance(value, Mapping):
        return [leaf for key in sorted(value) for leaf in _stacked(value[key])]
    if isinstance(value, (tuple, list)):
        parts = [leaf for part in value for leaf in _stacked(part)]
        return [torch.stack(parts)] if len(parts) == len(value) and len({x.shape for x in parts}) == 1 else parts
    return _leaves(value)


def _weighted(leaves: list[Tensor], order: int) -> Tensor | None:
    """A sum that weighs every number differently, but for a scalar, which counts as it is."""
    total = None
    for place, leaf in enumerate(leaves):
        if leaf.requires_grad:
            weights = normal(tuple(leaf.shape), generator(100 * order + place), torch.float64).to(leaf.dtype)
            term = (leaf * weights).sum() if leaf.ndim else leaf
            total = term if total is None else total + term
    return total


# --- Differences ------------------------------------------------------------------------------------------------------


def fault(mine: Outcome, right: Outcome, exercise: Exercise) -> Difference | None:
    """The first thing in which an outcome is not the right one: error, result, arguments, gradients, calls."""
    if mine.error is not None:
        return "error", ""
    found = difference(mine.result, right.result, exercise.tolerance, parts=exercise.parts)
    changed = f"your function changes its argument `{mine.changed[0]}`; make new tensors." if mine.changed else ""
    if found is not None:
        return found[0], f"{found[1]} And {changed}" if changed else found[1]
    if changed:
        return "changed", f"the result is right, but {changed}"
    if exercise.derivatives and (wrong := _wrong_slope(mine, right, exercise)):
        return "gradient", wrong
    return ("mistake", mine.complaint) if mine.complaint else None


def _wrong_slope(mine: Outcome, right: Outcome, exercise: Exercise) -> str:
    """What is wrong with the gradients, "" where nothing is."""
    single = isinstance(right.result, Tensor) and not right.result.ndim
    start = "the value is right, but " if single else "the numbers are right, but "
    if mine.broken or mine.slopes is None:
        return start + (GONE if mine.broken else CUT)
    for (name, order), slope in (right.slopes or {}).items():
        so_called, got = exercise.derivatives[name], mine.slopes.get((name, order))
        if slope is None and got is None:
            continue
        if got is None and order == 1:
            return start + LOST.format(name=so_called)
        slope = slope or [torch.zeros_like(x) for x in got or []]
        got = got or [torch.zeros_like(x) for x in slope]
        found = difference(got, slope, exercise.tolerance, parts=("it",) * (len(slope) == 1))
        if found is not None:
            which = "gradient" if exercise.orders == 1 else ("first derivative", "second derivative")[order - 1]
            told = f": {found[1]}" if single and len(slope) == 1 else "."
            return f"{start}the {which} with respect to {so_called} is not{told}"
    return ""


def alike(mine: Outcome, other: Outcome, exercise: Exercise) -> bool:
    """Whether two outcomes are of the same mistake; how often functions were called does not matter."""
    if mine.error is not None or other.error is not None:
        return type(mine.error) is type(other.error) and str(mine.error) == str(other.error)
    if difference(mine.result, other.result, exercise.tolerance) or mine.changed != other.changed:
        return False
    if mine.broken or other.broken or mine.slopes is None or other.slopes is None:
        return mine.broken == other.broken and (mine.slopes is None) == (other.slopes is None)
    pairs = [(slope, other.slopes.get(key)) for key, slope in mine.slopes.items()]
    return mine.slopes.keys() == other.slopes.keys() and all(
        (a is None) == (b is None) and difference(a, b, exercise.tolerance) is None for a, b in pairs
    )
