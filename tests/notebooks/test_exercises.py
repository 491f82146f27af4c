"""Every exercise as its chapter has it: the stub runs, the solution passes, each known mistake gets its own message.

A stub, a solution and a check may use what the cell tagged "imports" brings in, and nothing else: each is run in a
namespace in which only that cell was run before.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from metarl_lite.lesson.check import passes, verdict
from metarl_lite.lesson.exercises import of_chapter
from tools import contents
from tools.standard import Chapter, ExerciseText


@cache
def read(path: Path) -> Chapter:
    return Chapter.read(path)


WRITTEN = [
    pytest.param(path, exercise, id=f"{path.stem}-{exercise.name}")
    for path in contents.notebooks()
    for exercise in read(path).exercises
]


def said(chapter: Chapter, answer: str, check: str) -> str:
    """What the check cell prints for this answer."""
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for source in [*(cell.source for cell in chapter.tagged("imports")), answer, check]:
            exec(compile(source, f"<{chapter.path.name}>", "exec"), names)
    return printed.getvalue()


@pytest.mark.parametrize("number", contents.chapters())
def test_the_chapter_and_the_package_have_the_same_exercises(number: int) -> None:
    # A chapter of several notebooks has its exercises spread over them, in order.
    written = [exercise.name for path in contents.chapters()[number] for exercise in read(path).exercises]
    if written or number:
        assert list(of_chapter(number)) == written


@pytest.mark.parametrize(("path", "exercise"), WRITTEN)
def test_stub_runs_and_is_not_attempted(path: Path, exercise: ExerciseText) -> None:
    message = said(read(path), exercise.stubs[0], exercise.checks[0])
    assert message.startswith(f"{exercise.name}: not attempted yet."), message


@pytest.mark.parametrize(("path", "exercise"), WRITTEN)
def test_solution_passes(path: Path, exercise: ExerciseText) -> None:
    message = said(read(path), exercise.solutions[0], exercise.checks[0])
    assert message.startswith(f"{exercise.name}: correct."), message


@pytest.mark.parametrize(("path", "exercise"), WRITTEN)
def test_reference_passes_and_each_mistake_gets_its_message(path: Path, exercise: ExerciseText) -> None:
    known = of_chapter(read(path).number)[exercise.name]
    assert passes(known.name, known.reference)
    assert known.mistakes, "an exercise names at least one likely mistake"
    for message, wrong in known.mistakes.items():
        for one in wrong if isinstance(wrong, tuple) else (wrong,):
            found = verdict(known.name, one)
            assert (found.status, found.message) == ("mistake", message)


@pytest.mark.parametrize(("path", "exercise"), WRITTEN)
def test_messages_call_the_arguments_as_the_stub_does(path: Path, exercise: ExerciseText) -> None:
    known = of_chapter(read(path).number)[exercise.name]
    stub = ast.parse(exercise.stubs[0]).body[0]
    assert isinstance(stub, ast.FunctionDef) == known.asks_for_function
    if isinstance(stub, ast.FunctionDef):
        assert [argument.arg for argument in stub.args.args] == list(inspect.signature(known.reference).parameters)
