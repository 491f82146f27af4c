"""Tables: columns for a page, lines for a terminal, and nothing in a cell that differs from machine to machine."""

from __future__ import annotations

from typing import Any

import pytest
from myst_parser.docutils_ import Parser

from metarl_lite.lesson.show import show_table


def published(monkeypatch: pytest.MonkeyPatch, *given: Any, **options: Any) -> dict[str, str]:
    """What a notebook gets of a table."""
    found: list[dict[str, str]] = []
    monkeypatch.setitem(show_table.__globals__, "publish", found.append)
    show_table(*given, **options)
    (bundle,) = found
    return bundle


def test_a_table_is_markdown_and_text(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = published(monkeypatch, ["rule", "$k$ = 5", "10"], [["greedy", "6.574", 7], ["UCB1", "6.65", 12]])
    assert bundle == {
        "text/markdown": "| rule | $k$ = 5 | 10 |\n| :-- | --: | --: |\n| greedy | 6.574 | 7 |\n| UCB1 | 6.65 | 12 |",
        "text/plain": "rule    $k$ = 5  10\ngreedy    6.574   7\nUCB1       6.65  12",
    }


def test_alignment_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = published(monkeypatch, ["a", "b", "c"], [["long", "long", "long"]], align="rcl")
    assert bundle["text/markdown"].splitlines()[1] == "| --: | :-: | :-- |"
    assert bundle["text/plain"] == "   a   b    c\nlong  long  long"


def test_a_bar_in_a_cell_divides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from docutils.core import publish_doctree
    from docutils.nodes import entry

    bundle = published(monkeypatch, ["p(a | s)", "n"], [["0.5 | 0.5", 3]])
    page = publish_doctree(bundle["text/markdown"], parser=Parser())
    assert [cell.astext() for cell in page.findall(entry)] == ["p(a | s)", "n", "0.5 | 0.5", "3"]


def test_without_a_notebook_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["a", "b"], [[1, "2"]])
    assert capsys.readouterr().out == "a  b\n1  2\n"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((["a"], [[0.5]]), r"a cell is 0\.5; give a text or a whole number"),
        ((["a"], [[True]]), "a cell is True"),
        ((["a"], [["x\ny"]]), "give each line a row of its own"),
        ((["a", "b"], [["x"]]), r"the row \['x'\] has 1 cells, and the head has 2"),
        (([], []), "for 0 columns"),
        ((["a"], [], "lr"), "align is 'lr' for 1 columns"),
        ((["a"], [], "x"), "give each one of l, c, r"),
    ],
)
def test_what_is_no_table_is_refused(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        show_table(*given)
