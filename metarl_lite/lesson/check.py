"""Exercises are checked on the spot, and functions are shown as they are."""

from __future__ import annotations

import inspect
import linecache
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from .exercises import find
from .exercises.base import Case, Exercise
from .exercises.compare import brief, describe, difference


@dataclass(frozen=True)
class Verdict:
    """What `check` found: `status` is correct, unattempted, mistake, form, value, changed or error."""

    status: str
    message: str


@dataclass(frozen=True)
class Outcome:
    """One call: what it returned or what it raised, and the case as the call left it."""

    result: Any
    error: Exception | None
    case: Case


class _Unattempted(Exception):
    """The stub has not been filled in: it returned None."""


def check(name: str, attempt: Any) -> None:
    """An answer to an exercise is judged and one message is printed; it never raises because of the answer.

    Args:
        name: the exercise, such as "6.1".
        attempt: the function (or class) you wrote, or the value you predict.

    Raises:
        ValueError: there is no such exercise.
    """
    print(f"{name}: {verdict(name, attempt).message}")


def passes(name: str, attempt: Any) -> bool:
    """The answer is correct; nothing is printed. For tests and graders."""
    return verdict(name, attempt).status == "correct"


@torch.inference_mode(False)  # gradients are on, wherever this is called
def verdict(name: str, attempt: Any) -> Verdict:
    """The judgement on an answer, with the message that `check` prints."""
    exercise = find(name)
    if attempt is None or attempt is ...:
        return _unattempted(exercise)
    if not exercise.asks_for_function:
        return _judge_value(exercise, attempt)
    if not callable(attempt):
        return Verdict(
            "form",
            f"a function is asked for, but you gave {describe(attempt)}. Pass the "
            "function itself.",
        )
    return _judge_function(exercise, attempt)


def _unattempted(exercise: Exercise) -> Verdict:
    if exercise.asks_for_function:
        return Verdict(
            "unattempted",
            "not attempted yet. Fill in the function above, then run this cell again.",
        )
    return Verdict(
        "unattempted",
        "not attempted yet. Replace None above by your answer, then run this cell "
        "again.",
    )


def _correct(exercise: Exercise) -> Verdict:
    return Verdict("correct", f"correct. {exercise.praise}".strip())


def _judge_value(exercise: Exercise, attempt: Any) -> Verdict:
    found = difference(attempt, exercise.reference, exercise.tolerance, "the answer")
    if found is None:
        return _correct(exercise)
    for message, wrong in exercise.mistakes.items():
        if difference(attempt, wrong, exercise.tolerance) is None:
            return Verdict("mistake", message)
    kind, sentence = found
    return Verdict(
        kind,
        sentence
        if kind == "form"
        else f"not yet. {brief(attempt)} is not the answer; try a hint.",
    )


def _judge_function(exercise: Exercise, attempt: Callable[..., Any]) -> Verdict:
    mine = _run(exercise, attempt)
    if isinstance(mine[0].error, (_Unattempted, NotImplementedError)):
        return _unattempted(exercise)
    right = _run(exercise, exercise.reference)
    found = [
        _compare(a, b, exercise.tolerance) for a, b in zip(mine, right, strict=True)
    ]
    if not any(found):
        return _correct(exercise)
    for message, wrong in exercise.mistakes.items():
        pairs = zip(mine, _run(exercise, wrong), strict=True)
        if not any(_compare(a, b, exercise.tolerance) for a, b in pairs):
            return Verdict("mistake", message)
    place = next(place for place, difference in enumerate(found) if difference)
    kind, sentence = found[place] or ("", "")
    for index, part in enumerate(exercise.parts):
        sentence = sentence.replace(f"result[{index}]", part)
    error = mine[place].error
    if error is not None and not isinstance(error, _Unattempted):
        return Verdict("error", _error_message(attempt, error))
    case = _case_message(exercise, exercise.fresh_cases()[place])
    return Verdict(
        kind, f"not yet. In case {place + 1} of {len(found)}, {sentence}\n  {case}"
    )


def _run(exercise: Exercise, answer: Callable[..., Any]) -> list[Outcome]:
    """The outcome of every case, each on arguments of its own."""
    watched = answer if inspect.isclass(answer) else _refusing_none(answer)
    outcomes = []
    for case in exercise.fresh_cases():
        try:
            outcomes.append(Outcome(exercise.call(watched, case), None, case))
        except (
            Exception
        ) as error:  # whatever a student's code raises is reported, not passed on
            outcomes.append(Outcome(None, error, case))
    return outcomes


def _refusing_none(answer: Callable[..., Any]) -> Callable[..., Any]:
    def watched(*args: Any, **kwargs: Any) -> Any:
        result = answer(*args, **kwargs)
        if result is None or result is ...:
            raise _Unattempted(
                "your function returns None here; look for a branch without `return`."
            )
        return result

    return watched


def _compare(mine: Outcome, other: Outcome, tolerance: float) -> tuple[str, str] | None:
    """The first difference of two outcomes: in the error, the result, or what became of the arguments."""
    if mine.error is not None or other.error is not None:
        same = type(mine.error) is type(other.error) and str(mine.error) == str(
            other.error
        )
        return (
            None
            if same
            else ("value", str(mine.error or "an error should have been raised."))
        )
    found = difference(mine.result, other.result, tolerance)
    if (
        found is None
        and difference(mine.case, other.case, 0.0, "the argument") is not None
    ):
        return (
            "changed",
            "the result is right, but your function changes its arguments; make new "
            "tensors.",
        )
    return found


def _error_message(attempt: Callable[..., Any], error: Exception) -> str:
    """The exception, and the last line of the student's own code on the way to it."""
    lines = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename in _files(attempt)
    ]
    where = ""
    if lines:
        text = (
            lines[-1].line
            or linecache.getline(lines[-1].filename, lines[-1].lineno or 0)
        ).strip()
        where = f"\n  in line {lines[-1].lineno} of your cell: {text}"
    return f"your function raises {type(error).__name__}: {error}{where}"


def _files(attempt: Any) -> set[str]:
    members = (
        [attempt, *vars(attempt).values()]
        if inspect.isclass(attempt)
        else [inspect.unwrap(attempt)]
    )
    return {
        member.__code__.co_filename for member in members if hasattr(member, "__code__")
    }


def _case_message(exercise: Exercise, case: Case) -> str:
    if not isinstance(case, dict):
        names = list(
            inspect.signature(
                exercise.reference if exercise.through is None else exercise.through
            ).parameters
        )
        case = dict(zip(names[exercise.through is not None :], case, strict=False))
    shown = {name: brief(value) for name, value in case.items()}
    return "with " + ", ".join(
        f"{n} = {s if len(s) <= 120 else s[:110] + ' ...'}" for n, s in shown.items()
    )
