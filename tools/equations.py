"""The numbers of equations: `python -m tools.equations` writes `\\tag{6.3}` into the notebooks; `--check` only looks.

An equation that carries `<!-- eq: name -->` gets the next number of its chapter, through all of its notebooks. Colab
shows the tag, and the rendered book makes an anchor of it. Where a number changes, so does every "(6.3)" in the text
that meant it. Written twice, nothing changes.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools import contents
from tools.notebook_format import dumps, parse, write

MARKED = re.compile(r"<!--\s*eq:\s*(?P<name>.*?)\s*-->\s*\n\$\$(?P<tex>.*?)\$\$", re.DOTALL)
TAG = re.compile(r"\s*\\tag\{([\d.]+)\}")
DISPLAYED = re.compile(r"\$\$.*?\$\$", re.DOTALL)
#: A number in brackets, as in "equation (6.3)"; whether it means an equation, the old numbers say.
MENTION = re.compile(r"\((\d{1,2}\.\d{1,2})\)")


def marked(source: str) -> list[tuple[str, str | None]]:
    """The marked equations of a cell: the name of each, and the number that it bears."""
    return [(match["name"], tag[1] if (tag := TAG.search(match["tex"])) else None) for match in MARKED.finditer(source)]


def tagged(source: str, numbers: Iterator[str]) -> str:
    """The cell with the next numbers on its marked equations, each behind the formula and before the dollars."""

    def with_tag(match: re.Match[str]) -> str:
        tex = TAG.sub("", match["tex"]).rstrip()
        begin = match[0][: match.start("tex") - match.start()]
        return f"{begin}{tex} \\tag{{{next(numbers)}}} $$"

    return MARKED.sub(with_tag, source)


def renamed(source: str, new: dict[str, str]) -> str:
    """The cell with its mentions of old numbers brought up to date; formulas and code are left alone."""
    kept = re.compile(rf"{DISPLAYED.pattern}|```.*?```|`[^`\n]*`|\$[^$\n]+\$", re.DOTALL)
    done, pieces = 0, []
    for match in kept.finditer(source):
        pieces += [_mentions(source[done : match.start()], new), match[0]]
        done = match.end()
    return "".join([*pieces, _mentions(source[done:], new)])


def _mentions(text: str, new: dict[str, str]) -> str:
    return MENTION.sub(lambda match: f"({new.get(match[1], match[1])})", text)


def prose(notebook: Any) -> list[Any]:
    """The Markdown cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def number(notebooks: dict[Path, Any]) -> None:
    """Numbers the equations of all notebooks, in place; they come in reading order."""
    counts: dict[int, int] = {}
    new: dict[str, str] = {}
    for path, notebook in notebooks.items():
        chapter = contents.number(path)
        for cell in prose(notebook):
            found = marked(cell.source)
            first = counts.get(chapter, 0) + 1
            counts[chapter] = first + len(found) - 1
            numbers = [f"{chapter}.{place}" for place in range(first, first + len(found))]
            new |= {old: number for (_, old), number in zip(found, numbers, strict=True) if old}
            cell.source = tagged(cell.source, iter(numbers))
    moved = {old: number for old, number in new.items() if old != number}
    for notebook in notebooks.values():
        for cell in prose(notebook):
            cell.source = renamed(cell.source, moved)


def faults(chapter: int, notebook: Any, earlier: Sequence[Any] = ()) -> list[str]:
    """What is wrong with the numbers of one notebook, in words; `earlier` are those of its chapter before it."""
    count = sum(len(marked(cell.source)) for part in earlier for cell in prose(part))
    found = [equation for cell in prose(notebook) for equation in marked(cell.source)]
    wanted = [f"{chapter}.{place}" for place in range(count + 1, count + len(found) + 1)]
    return [
        f"equation {name!r} {f'has number {has}' if has else 'has no number'}, and is {number} of the book; "
        "run `python -m tools.equations`"
        for (name, has), number in zip(found, wanted, strict=True)
        if has != number
    ]


def _read(path: Path) -> Any:
    return parse(path.read_text(encoding="utf-8"))


def _faults(path: Path, root: Path) -> list[str]:
    parts = contents.parts(path, root)
    return faults(contents.number(path), _read(path), [_read(part) for part in parts[: parts.index(path)]])


def main(arguments: list[str], root: Path = contents.ROOT) -> int:
    """The command: writes the numbers and says in which notebooks it did; with --check, what is wrong."""
    paths = contents.notebooks(root)
    if arguments == ["--check"]:
        found = [f"{path.name}: {fault}" for path in paths for fault in _faults(path, root)]
        print("\n".join(found) or "every marked equation has its number")
        return bool(found)
    if arguments:
        print("usage: python -m tools.equations [--check]", file=sys.stderr)
        return 2
    notebooks = {path: _read(path) for path in paths}
    before = {path: json.dumps(notebook) for path, notebook in notebooks.items()}
    number(notebooks)
    for path, notebook in notebooks.items():
        if json.dumps(notebook) != before[path]:
            write(path, dumps(notebook))
            print(path.relative_to(root).as_posix())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
