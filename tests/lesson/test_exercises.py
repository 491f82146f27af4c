"""What an exercise must refuse, for every exercise of the book: nearly right numbers, other shapes, more than asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metarl_lite.lesson.check import passes, verdict
from metarl_lite.lesson.exercises import chapters, of_chapter
from metarl_lite.lesson.exercises.base import Exercise
from metarl_lite.lesson.exercises.compare import difference

EXERCISES = [exercise for number in chapters() for exercise in of_chapter(number).values()]


def changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """An answer with all its numbers that are no counts changed."""
    if isinstance(value, Tensor):
        return change(value) if value.is_floating_point() else value
    if isinstance(value, float):
        return change(torch.tensor(value, dtype=torch.float64)).item()
    if isinstance(value, dict):
        return {name: changed(part, change) for name, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(changed(part, change) for part in value))
    if isinstance(value, tuple | list):
        return type(value)(changed(part, change) for part in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [entry.name for entry in dataclasses.fields(value)]
        return dataclasses.replace(value, **{name: changed(getattr(value, name), change) for name in names})
    return value


def answers(exercise: Exercise) -> list[Any]:
    """What the right answer returns, case by case."""
    gen = (torch.Generator(),) if exercise.facts else ()
    return [exercise.reference(*case, *gen) for case in exercise.fresh_cases()]


def altered(exercise: Exercise, change: Callable[[Tensor], Tensor]) -> Any:
    """The right answer, but for what it returns."""
    if not exercise.asks_for_function:
        return changed(exercise.reference, change)
    return lambda *args, **kwargs: changed(exercise.reference(*args, **kwargs), change)


def ids(exercise: Exercise) -> str:
    return exercise.name


def test_there_are_exercises_in_every_chapter() -> None:
    assert chapters() == list(range(16))
    assert len(EXERCISES) >= 40
    assert max(exercise.tolerance for exercise in EXERCISES) <= 1e-5
    assert Exercise("6.1", "a title", reference=1.0).tolerance == 1e-5


#: What is asked for in these is no real number.
COUNTS = {"2.3", "3.4", "8.3", "12.2", "14.1", "14.2"}


@pytest.mark.parametrize("exercise", EXERCISES, ids=ids)
def test_an_answer_that_is_off_by_a_thousandth_is_refused(exercise: Exercise) -> None:
    right = altered(exercise, lambda x: x)
    assert verdict(exercise.name, right).status == "correct"
    near = verdict(exercise.name, altered(exercise, lambda x: x * 1.001))
    assert (near.status == "correct") == (exercise.name in COUNTS), near.message


def shapes(value: Any) -> list[tuple[int, ...]]:
    """Of all tensors in an answer."""
    if isinstance(value, Tensor):
        return [tuple(value.shape)]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return [shape for part in parts for shape in shapes(part)]


def transposed(x: Tensor) -> Tensor:
    return x.movedim(0, -1) if x.ndim > 1 else x


def lined_up(x: Tensor) -> Tensor:
    return x.reshape(1) if not x.ndim else x.unsqueeze(-1)


@pytest.mark.parametrize("change", [transposed, lined_up], ids=lambda f: f.__name__)
def test_the_right_numbers_in_another_shape_are_refused(change: Callable[[Tensor], Tensor]) -> None:
    """Wherever a tensor is compared as it is returned, and its shape really is another."""
    met = 0
    for exercise in EXERCISES:
        if not exercise.asks_for_function:
            continue
        results = answers(exercise)
        other = [changed(result, change) for result in results]
        if [shapes(x) for x in results] != [shapes(x) for x in other]:
            met += 1
            assert verdict(exercise.name, altered(exercise, change)).status in ("form", "error", "mistake")
    assert met >= (15 if change is transposed else 40)


def test_the_right_numbers_without_their_gradient_are_refused() -> None:
    """Of every exercise that asks for something to be differentiated."""
    asked = [exercise for exercise in EXERCISES if exercise.derivatives]
    assert {e.name for e in asked} == {
        "0.1",
        "4.2",
        "5.1",
        "5.2",
        "6.2",
        "6.3",
        "7.3",
        "8.1",
        "8.2",
        "9.2",
        "13.4",
        "15.4",
        "15.6",
    }
    for exercise in asked:
        detached = verdict(exercise.name, altered(exercise, torch.Tensor.detach))
        assert detached.status in ("gradient", "mistake"), exercise.name
        half = verdict(exercise.name, altered(exercise, lambda x: x.detach() + 0.5 * (x - x.detach())))
        assert half.status in ("gradient", "mistake"), exercise.name


#: What no reader knows: the checker's own words, and how Python shows an object.
INSIDES = (
    "result[",
    "object of type",
    "<function",
    "<lambda",
    "0x",
    "outcome",
    "Outcome",
    "metarl_lite/lesson",
    "_watched",
)


def odd_answers() -> list[Callable[..., Any]]:
    def raising(*given: Any) -> Any:
        raise ValueError("my own words")

    def overwriting(*given: Any) -> Any:
        for value in given:
            for x in value.values() if isinstance(value, dict) else [value]:
                if isinstance(x, Tensor):
                    x.data.zero_()
        return given[0]

    def without_arguments() -> int:
        return 1

    return [
        raising, overwriting, lambda *given: "much", lambda *given: given, lambda *given: given[0],
        lambda *given: {}, lambda *given: torch.ones(2, 3, 4, 5), lambda *given: 7.0, lambda *given: (1.0, 2.0),
        lambda *given: torch.tensor([7.0]), lambda *given: print("here"), without_arguments, lambda *given: object,
        lambda *given: {"goal": torch.zeros(len(given), 2)}, lambda *given: [torch.zeros(3)] * 3,
    ]  # fmt: skip


@pytest.mark.parametrize("exercise", EXERCISES, ids=ids)
def test_a_message_speaks_of_the_exercise_and_is_short(exercise: Exercise) -> None:
    turn = EXERCISES.index(exercise) % 3
    for answer in odd_answers()[turn::3]:  # each of them at a third of the exercises
        found = verdict(exercise.name, answer)
        assert found.status != "correct"
        assert not [words for words in INSIDES if words in found.message], found.message
        assert len(found.message.splitlines()) <= 4, found.message
        assert max(map(len, found.message.splitlines())) < 420, found.message


@pytest.mark.parametrize("name", ["0.1", "4.2", "7.3", "12.3"])
def test_numbers_of_another_function_do_not_fit_the_next_case(name: str) -> None:
    """What is right in the first case alone is refused: nobody is asked for one number."""
    exercise = next(exercise for exercise in EXERCISES if exercise.name == name)
    first = answers(exercise)[0]
    assert not passes(name, lambda *given: first)


@pytest.mark.parametrize("right", [2.0, torch.tensor(2.0), np.float64(2.0), 2])
@pytest.mark.parametrize("answer", [[2.0], (2.0,), torch.tensor([2.0]), np.array([2.0]), np.array([[2.0]])])
def test_a_number_in_a_list_is_no_number(answer: Any, right: Any) -> None:
    found = difference(answer, right, 1e-6)
    assert found is not None
    assert found[0] == "form"


@pytest.mark.parametrize("right", [torch.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3)])
def test_a_table_is_not_its_transpose_nor_its_row_of_numbers(right: Any) -> None:
    for answer in (right.T, right.reshape(3, 2), right.reshape(6), right.reshape(2, 3, 1), right[:1]):
        found = difference(answer, right, 1e-6)
        assert found is not None
        assert found[0] == "form"
    assert difference(right, right, 1e-6) is None


def test_a_column_does_not_pass_for_a_row_of_equal_numbers() -> None:
    """Broadcasting would make them equal."""
    assert difference(torch.ones(3, 1), torch.ones(3), 1e-6) is not None
    assert difference(torch.ones(1), torch.ones(3), 1e-6) is not None
    assert difference(1.0, torch.ones(3), 1e-6) is not None


@pytest.mark.parametrize("answer", [(1.0,), (1.0, 2.0, 3.0), ()])
def test_more_or_less_than_was_asked_for_is_refused(answer: Any) -> None:
    found = difference(answer, (1.0, 2.0), 1e-6)
    assert found is not None
    assert found[0] == "form"


def test_the_tolerance_is_absolute_below_one_and_relative_above() -> None:
    for right in (0.0, 1e-3, 1.0, 1e3):
        allowed = 1e-5 * (1 + right)
        for sign in (1, -1):
            assert difference(right + 0.9 * sign * allowed, right, 1e-5) is None
            assert difference(right + 1.1 * sign * allowed, right, 1e-5) is not None
            got, expected = torch.tensor([right + 1.1 * sign * allowed, 2.0]), torch.tensor([right, 2.0])
            assert difference(got.double(), expected.double(), 9e-6) is not None
