"""Marked equations get the next number of their chapter, and what the text says of them goes with it."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from tests.notebooks import miniature
from tools import equations
from tools.notebook_format import dumps

TEXT = """By equation (6.1), or (6.2), and `f(6.1)`, $(6.1)$, a share of (0.5):

<!-- eq: second -->
$$ x = 1,
   y = 2 . $$

Between them

$$ z = 3 $$

<!-- eq: first -->
$$ a = \\text{(6.1)} \\tag{6.1} $$"""


def notebook(text: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])


def test_equations_are_numbered_in_order_and_mentions_follow() -> None:
    book = {Path("06_outer.ipynb"): notebook(TEXT), Path("07_next.ipynb"): notebook("As in (6.1).")}
    equations.number(book)
    text = book[Path("06_outer.ipynb")].cells[0].source
    assert "y = 2 . \\tag{6.1} $$" in text
    assert "$$ a = \\text{(6.1)} \\tag{6.2} $$" in text
    assert "$$ z = 3 $$" in text
    assert text.startswith("By equation (6.2), or (6.2), and `f(6.1)`, $(6.1)$, a share of (0.5):")
    assert book[Path("07_next.ipynb")].cells[0].source == "As in (6.2)."


def test_a_second_time_nothing_changes() -> None:
    book = {Path("06_outer.ipynb"): notebook(TEXT)}
    equations.number(book)
    once = dumps(book[Path("06_outer.ipynb")])
    equations.number(book)
    assert dumps(book[Path("06_outer.ipynb")]) == once


def test_numbers_go_on_through_the_parts_of_a_chapter() -> None:
    book = {Path(f"{name}_x.ipynb"): notebook(TEXT) for name in ("06", "06b", "07")}
    equations.number(book)
    shown = [[number for _, number in equations.marked(part.cells[0].source)] for part in book.values()]
    assert shown == [["6.1", "6.2"], ["6.3", "6.4"], ["7.1", "7.2"]]


def test_what_is_wrong_is_said() -> None:
    found = equations.faults(6, notebook(TEXT), [])
    assert [fault.split("; ")[0] for fault in found] == [
        "equation 'second' has no number, and is 6.1 of the book",
        "equation 'first' has number 6.1, and is 6.2 of the book",
    ]
    assert equations.faults(6, notebook(TEXT), [notebook(TEXT)])[0].startswith(
        "equation 'second' has no number, and is 6.3"
    )


def test_the_command_numbers_a_book_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    miniature.book(tmp_path, ["00_first", "00b_second"])
    assert equations.main(["--check"], tmp_path) == 0
    path = tmp_path / "book" / "00b_second.ipynb"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace(" \\\\tag{0.2}", ""), encoding="utf-8")
    capsys.readouterr()
    assert equations.main(["--check"], tmp_path) == 1
    assert "00b_second.ipynb: equation 'inner_step' has no number, and is 0.2" in capsys.readouterr().out
    assert equations.main([], tmp_path) == 0
    assert capsys.readouterr().out == "book/00b_second.ipynb\n"
    assert path.read_text(encoding="utf-8") == whole
    assert equations.main([], tmp_path) == 0
    assert capsys.readouterr().out == ""
    assert equations.main(["--other"], tmp_path) == 2
