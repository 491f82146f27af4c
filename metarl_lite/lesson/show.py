"""A chapter shows the code that it runs: the source of what it imports, and what one function changes of another."""

from __future__ import annotations

import ast
import difflib
import inspect
import textwrap
from collections.abc import Callable
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
