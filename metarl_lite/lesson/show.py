"""A chapter shows the code that it runs: the source of what it imports, and what one function changes of another.

Tables are shown here, too.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from ..given import check_callable, switches
from .page import publish


def show_source(*things: Callable[..., Any], docstring: bool = False) -> None:
    """The source of functions and classes is displayed, so that a chapter shows the code that it runs.

    Docstrings are left out unless `docstring` is true, since the chapter's text stands in their place. A line
    above each block names the module.
    """
    (docstring,), blocks = switches(docstring=docstring), []
    for thing in things:
        source = _source(thing)
        module = thing.__module__ if thing.__module__ != "__main__" else "this notebook"
        blocks.append(
            (
                f"{module}.{thing.__qualname__}",
                source if docstring else _without_docstrings(source),
            )
        )
    markdown = "\n\n".join(
        f"`{name}`\n\n```python\n{source}\n```" for name, source in blocks
    )
    publish(
        {
            "text/markdown": markdown,
            "text/plain": "\n\n".join(f"# {name}\n{source}" for name, source in blocks),
        }
    )


def show_diff(
    old: Callable[..., Any], new: Callable[..., Any], context: int = 2
) -> None:
    """What one function changes of another is displayed: lines with - go, lines with + come; no docstrings."""
    before, after = (
        _without_docstrings(_source(thing)).splitlines() for thing in (old, new)
    )
    names = [f"{thing.__module__}.{thing.__qualname__}" for thing in (old, new)]
    lines = list(
        difflib.unified_diff(before, after, names[0], names[1], n=context, lineterm="")
    )
    source = "\n".join(line for line in lines if not line.startswith("@@"))
    publish({"text/markdown": f"```diff\n{source}\n```", "text/plain": source})


def show_table(
    head: Sequence[str], rows: Sequence[Sequence[str | int]], align: str = ""
) -> None:
    """A table is displayed as one: in columns on a page and in a notebook, in lines where text is all there is.

    A test of the notebook compares it cell by cell. So cells are texts and whole numbers: of a number with a fraction
    the caller says how many digits hold on every processor.

    Args:
        head: the title of each column; Markdown, `$k$` for one.
        rows: the cells, Markdown too; each row is as long as the head.
        align: a letter for each column: `l`, `c` or `r`. Without it the first is on the left, the others on the right.

    Raises:
        ValueError: the rows are of another length than the head, a cell is no text and no whole number, it has a line
            break, or `align` is something else.
    """
    titles = [_cell(title) for title in head]
    cells = [[_cell(cell) for cell in row] for row in rows]
    align = align or "l" + "r" * (len(titles) - 1)
    if not titles or len(align) != len(titles) or set(align) - set("lcr"):
        raise ValueError(
            f"align is {align!r} for {len(titles)} columns; give each one of l, c, r."
        )
    for row in cells:
        if len(row) != len(titles):
            raise ValueError(
                f"the row {row!r} has {len(row)} cells, and the head has "
                f"{len(titles)}: give every row one cell for each title."
            )
    rule = [{"l": ":--", "c": ":-:", "r": "--:"}[letter] for letter in align]
    escaped = [[cell.replace("|", r"\|") for cell in row] for row in [titles, *cells]]
    lines = [f"| {' | '.join(row)} |" for row in [escaped[0], rule, *escaped[1:]]]
    plain = _columns([titles, *cells], align)
    publish({"text/markdown": "\n".join(lines), "text/plain": plain})


def _cell(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(
            f"a cell is {value!r}; give a text or a whole number, such as "
            "f'{x:.2f}' with as many digits as hold on every processor."
        )
    if "\n" in str(value):
        raise ValueError(f"a cell is {value!r}; give each line a row of its own.")
    return str(value)


def _columns(table: list[list[str]], align: str) -> str:
    """The same table in type of one width, two spaces between its columns."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    place = {"l": str.ljust, "c": str.center, "r": str.rjust}
    rows = (zip(row, widths, align, strict=True) for row in table)
    lines = ["  ".join(place[a](cell, width) for cell, width, a in row) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _source(thing: Any) -> str:
    check_callable(thing=thing)
    try:
        return textwrap.dedent(inspect.getsource(inspect.unwrap(thing))).rstrip()
    except (TypeError, OSError):
        raise ValueError(
            f"{thing!r} has no source in Python that could be shown: give a function "
            "or a class that was written in it."
        ) from None


def _without_docstrings(source: str) -> str:
    """The source less the docstrings of the thing itself and of its methods; the rest is unchanged."""
    lines: list[str | None] = list(source.splitlines())
    for node in ast.walk(ast.parse(source)):
        if (
            not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            or ast.get_docstring(node) is None
        ):
            continue
        first = node.body[0]
        start, end = first.lineno - 1, first.end_lineno or first.lineno
        lines[start:end] = [None] * (end - start)
        if len(node.body) == 1:
            lines[start] = " " * first.col_offset + "..."
        elif lines[end : end + 1] == [""]:
            lines[end] = None
    return "\n".join(line for line in lines if line is not None)
