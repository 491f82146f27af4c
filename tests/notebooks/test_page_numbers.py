"""The cell of page numbers: its words are the same, its numbers within 5 %, when nbval runs the notebook anew."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from tests.notebooks.page_numbers import differences
from tests.notebooks.test_nbval import nbval


@pytest.mark.parametrize(
    ("shown", "passed"), [("after a step  -12.1", True), ("after a step  -11.0", False), ("after one  -12.3", False)]
)
def test_page_numbers_are_compared_within_five_percent(shown: str, passed: bool, tmp_path: Path) -> None:
    output = nbformat.v4.new_output("stream", name="stdout", text=f"{shown}\n")
    tags = {"tags": ["page-numbers", "nbval-ignore-output"]}
    cell = nbformat.v4.new_code_cell("print('after a step  -12.3')", execution_count=1, outputs=[output], metadata=tags)
    path = tmp_path / "numbers.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    done = nbval(path, tmp_path, tmp_path / ".coverage")
    assert (done.returncode == 0) == passed, done.stdout
    assert passed or f"stored: '{shown}', printed now: 'after a step  -12.3'" in done.stdout


@pytest.mark.parametrize(
    ("stored", "printed", "same"),
    [
        ("a 1.00\nb 2", "a 1.04\nb 2", True),
        ("a 1.00\nb 2", "a 1.00", False),
        ("a 1.00 2", "a 1.00", False),
        ("a −1.0", "a -1.0", True),
        ("a 0.01", "a -0.01", False),
        ("a 0", "a 0.0", True),
        ("1e-3 of it", "1.02e-3 of it", True),
        ("", "", True),
    ],
)
def test_numbers_are_near_and_words_the_same(stored: str, printed: str, same: bool) -> None:
    assert (differences(stored, printed) == []) == same
