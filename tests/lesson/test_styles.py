"""At least three right answers to every exercise that are not the reference: in other words, types and containers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.lesson.check import _judged as judged
from metarl_lite.lesson.exercises import chapters, find, of_chapter
from metarl_lite.lesson.exercises.base import Exercise

from .more_styles import MORE
from .other_styles import STYLES

ALL = STYLES | MORE
FUNCTIONS = [e.name for number in chapters() for e in of_chapter(number).values() if e.asks_for_function]


def test_every_exercise_has_an_answer_in_other_words() -> None:
    assert list(ALL) == [name for number in chapters() for name in of_chapter(number)]


@pytest.mark.parametrize(("name", "place"), [(name, place) for name in ALL for place in range(len(ALL[name]))])
def test_another_style_is_right(name: str, place: int) -> None:
    found = judged(find(name), ALL[name][place])
    assert found.status == "correct", found.message


def each(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Every tensor of a result changed."""
    if isinstance(value, dict):
        return {name: each(part, change) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [each(part, change) for part in value]
    return change(value if isinstance(value, Tensor) else torch.tensor(value))


def answering(exercise: Exercise, change: Callable[[Tensor], Any]) -> Callable[..., Any]:
    return lambda *given: each(exercise.reference(*given), change)


def in_another_precision(x: Tensor) -> Tensor:
    """Counts become floating-point numbers, single precision double, and the other way round."""
    return x.float() if x.dtype in (torch.float64, torch.int64) else x.double()


def in_another_container(x: Tensor) -> Any:
    """Lists and numbers of Python, arrays of numpy; a list of tensors where there is a gradient."""
    if x.requires_grad:
        return list(x) if x.ndim else x
    return x.tolist() if x.ndim < 2 else x.numpy()


@pytest.mark.parametrize("change", [in_another_precision, in_another_container], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_another_type_is_right(name: str, change: Callable[[Tensor], Any]) -> None:
    found = judged(find(name), answering(find(name), change))
    assert found.status == "correct", found.message
