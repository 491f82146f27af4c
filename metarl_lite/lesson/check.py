"""Exercises are checked on the spot: what is wrong with an answer is said in words."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .exercises import find
from .exercises.base import Case, Exercise
from .exercises.compare import Difference, difference, frozen
from .exercises.guard import sandbox, tried
from .exercises.outcome import Draw, Outcome, Stopped, alike, fault, run
from .exercises.words import brief, describe, frames, of_case, of_error

SHOWN = 2000  # characters of what a function printed


@dataclass(frozen=True)
class Verdict:
    """What `check` found.

    `status` is correct, unattempted, mistake, form, value, changed, gradient or error; `printed` is what the function
    printed in the call that the message speaks of.
    """

    status: str
    message: str
    printed: str = ""


def check(name: str, attempt: Any) -> None:
    """An answer to an exercise is judged and one message is printed; it never raises because of the answer.

    Args:
        name: the exercise, such as "6.1".
        attempt: the function you wrote, or the value you predict.

    Raises:
        ValueError: there is no such exercise.
    """
    found = verdict(name, attempt)
    if found.printed.strip():
        print(found.printed.rstrip("\n")[:SHOWN])
    print(f"{name}: {found.message}")


def passes(name: str, attempt: Any) -> bool:
    """The answer is correct; nothing is printed. For tests and graders."""
    exercise = find(name)
    if exercise.asks_for_function and exercise.facts is None and callable(attempt):
        with sandbox():
            return not any(fault(*pair, exercise) for pair in _pairs(exercise, attempt))
    return _judged(exercise, attempt).status == "correct"


def verdict(name: str, attempt: Any) -> Verdict:
    """The judgement on an answer, with the message that `check` prints."""
    return _judged(find(name), attempt)


def _judged(exercise: Exercise, attempt: Any) -> Verdict:
    """The judgement on an answer to an exercise."""
    with sandbox():
        if attempt is None or attempt is ...:
            return _unattempted(exercise)
        if not exercise.asks_for_function:
            return _judge_value(exercise, attempt)
        if not callable(attempt):
            return Verdict(
                "form",
                f"a function is asked for, but you gave {describe(attempt)}. Pass the "
                "function itself, without brackets.",
            )
        judge = _judge_function if exercise.facts is None else _judge_draws
        return judge(exercise, attempt)


def _unattempted(exercise: Exercise) -> Verdict:
    what = (
        "Fill in the function above"
        if exercise.asks_for_function
        else "Replace None above by your answer"
    )
    message = f"not attempted yet. {what}, then run this cell again."
    return Verdict("unattempted", message)


def _correct(exercise: Exercise, printed: str = "") -> Verdict:
    return Verdict("correct", f"correct. {exercise.praise}".strip(), printed)


# --- Values ---------------------------------------------------------------------------


def _judge_value(exercise: Exercise, attempt: Any) -> Verdict:
    read = tried(frozen, attempt)
    if read.error is not None:
        return _form_of_value(exercise, attempt)
    attempt = read.value
    entries = attempt.values() if isinstance(attempt, dict) else ()
    if any(entry is None or entry is ... for entry in entries):
        message = "not finished yet: an entry is still empty."
        return Verdict("unattempted", message)
    found = difference(attempt, exercise.reference, exercise.tolerance)
    if found is None:
        return _correct(exercise)
    for message, wrong in exercise.mistakes.items():
        for one in wrong if isinstance(wrong, tuple) else (wrong,):
            if difference(attempt, one, max(exercise.tolerance, 1e-3)) is None:
                return Verdict("mistake", message)
    if found[0] == "form":
        return _form_of_value(exercise, attempt)
    return Verdict("value", f"not yet. {_what_is_off(exercise, attempt)}; try a hint.")


def _what_is_off(exercise: Exercise, attempt: Any) -> str:
    """Names the entries of a dictionary of numbers that are off by more than 1 %."""
    right = exercise.reference
    if isinstance(right, dict) and all(
        type(entry) is float for entry in right.values()
    ):
        off = [repr(key) for key in right if difference(attempt[key], right[key], 1e-2)]
        if off:
            return f"Not right: {', '.join(off)}"
    return f"{brief(attempt)} is not the answer"


def _form_of_value(exercise: Exercise, attempt: Any) -> Verdict:
    """Says what kind of answer is asked for, and not which."""
    form = exercise.form or "a number"
    return Verdict("form", f"{form} is asked for, but yours is {describe(attempt)}.")


# --- Functions ------------------------------------------------------------------------


def _pairs(
    exercise: Exercise, attempt: Callable[..., Any]
) -> Iterator[tuple[Outcome, Outcome]]:
    """The outcomes of an answer and of the reference, case by case."""
    right = _outcomes(exercise, exercise.reference)
    return zip(_outcomes(exercise, attempt), right, strict=True)


def _outcomes(exercise: Exercise, answer: Callable[..., Any]) -> Iterator[Outcome]:
    """The outcome of every case, each on arguments of its own."""
    for chance, case in enumerate(exercise.fresh_cases()):
        yield run(exercise, answer, case, chance)


def _judge_function(exercise: Exercise, attempt: Callable[..., Any]) -> Verdict:
    pairs = list(_pairs(exercise, attempt))
    if _is_stub(attempt, pairs[0][0]):
        return _unattempted(exercise)
    found = [fault(*pair, exercise) for pair in pairs]
    if not any(found):
        return _correct(exercise, pairs[0][0].printed)
    kinds = {kind for kind, _ in filter(None, found)}
    for message, wrong in exercise.mistakes.items() if kinds != {"mistake"} else ():
        others = zip(pairs, _outcomes(exercise, wrong), strict=True)
        if all(alike(mine, other, exercise) for (mine, _), other in others):
            return Verdict("mistake", message, pairs[0][0].printed)
    place = next(place for place, difference in enumerate(found) if difference)
    return _message(exercise, attempt, pairs[place][0], found[place], place)


def _is_stub(attempt: Callable[..., Any], first: Outcome) -> bool:
    """Whether nothing has been written yet: None is returned at once, or the student says so."""
    if isinstance(first.error, NotImplementedError):
        torchs_own = "not implemented for" in str(first.error)
        return bool(frames(attempt, first.error)) and not torchs_own
    code = getattr(attempt, "__code__", None)
    if first.error is not None or not (first.result is None or first.result is ...):
        return False
    return code is None or not (
        code.co_names or code.co_nlocals > code.co_argcount or first.printed
    )


def _message(
    exercise: Exercise,
    attempt: Callable[..., Any],
    mine: Outcome,
    found: Difference | None,
    place: int,
) -> Verdict:
    kind, sentence = found or ("", "")
    if kind == "mistake":
        return Verdict(kind, sentence, mine.printed)
    if mine.error is not None:
        where = _line(attempt, mine.error)
        return Verdict("error", of_error(mine.error) + where, mine.printed)
    if mine.result is None or mine.result is ...:
        sentence = "your function returns None: look for a branch without `return`."
        if mine.printed:
            sentence = "your function prints something and returns None: return it."
    count = len(exercise.fresh_cases())
    case = _words_of_case(exercise, exercise.fresh_cases()[place])
    message = f"not yet. In case {place + 1} of {count}, {sentence}\n  {case}"
    return Verdict(kind, message.rstrip(), mine.printed)


def _line(attempt: Callable[..., Any], error: BaseException) -> str:
    """The last line of the student's own code on the way to an error."""
    lines = frames(attempt, error)
    if not lines:
        return ""
    file, number = lines[-1]
    return (
        f"\n  in line {number} of your cell: {linecache.getline(file, number).strip()}"
    )


def _words_of_case(exercise: Exercise, case: Case) -> str:
    if exercise.words is not None:
        return exercise.words(*case)
    return of_case(exercise.named(case))


# --- Functions that draw at random ----------------------------------------------------


def _judge_draws(exercise: Exercise, attempt: Callable[..., Any]) -> Verdict:
    assert exercise.facts is not None
    printed = ""
    for place, case in enumerate(exercise.fresh_cases()):
        draw = Draw(exercise, attempt, case)
        try:
            facts = exercise.facts(draw, *case)
            wrong = next((text for holds, text in facts if not holds), "")
        except Stopped as stop:
            mine = stop.outcome
            if _is_stub(attempt, mine):
                return _unattempted(exercise)
            for message, wrong_answer in exercise.mistakes.items():
                if (
                    stop.fault
                    and stop.fault[0] == "form"
                    and draw.like(wrong_answer, mine)
                ):
                    return Verdict("mistake", message, mine.printed)
            return _message(exercise, attempt, mine, stop.fault, place)
        printed = printed or draw.printed
        if wrong:
            return Verdict("mistake", wrong, draw.printed)
    return _correct(exercise, printed)
