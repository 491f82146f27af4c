"""Folds what is no concept: `python -m tools.fold` marks setup, imports and cells that mostly draw; `--check` looks.

A cell that mostly draws gets the tag `hide-input`, which the rendered book folds, and Colab's form view with a title,
`#@title ...`, and so do setup and imports. A title that is there is kept, so an author may write a better one.
No output changes.
"""

from __future__ import annotations

import ast
import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools import contents
from tools.notebook_format import alts, dumps, parse, write

#: A cell mostly draws if this share of its lines is in statements that do, and half of its statements.
LEAST_LINES, LEAST_STATEMENTS = 0.6, 0.5
OPEN = {"setup", "imports", "exercise", "check"}  # tags of cells that do not draw, or are to be seen
TITLE = "#@title "
FORMS = {"setup": "Setup", "imports": "Imports"}
WIDEST = 76  # of a title, which has dots behind it where it was cut, and is a line of a cell
PANEL = re.compile(r"^(?:Left|Above|Top): ")
BRIEF = 5  # words; of a shorter sentence the next one is taken along
PLAYER_ALT = re.compile(r'<img\b[^>]*\balt="([^"]*)"')


def share(source: str) -> tuple[float, float]:
    """Which part of a cell's lines, and of its statements, draws; blocks count by what is in them."""
    tree = ast.parse(source)
    drawn = pens(tree)
    statements = list(leaves(tree.body))
    drawing = [statement for statement in statements if draws(statement, drawn)]
    if not statements:
        return 0.0, 0.0
    return sum(map(_height, drawing)) / sum(map(_height, statements)), len(drawing) / len(statements)


def _height(statement: ast.stmt) -> int:
    return (statement.end_lineno or statement.lineno) - statement.lineno + 1


def leaves(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that hold no others."""
    for statement in body:
        below = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody", "handlers")]
        if not any(below):
            yield statement
        for block in below:
            yield from leaves(block)


def pens(tree: ast.Module) -> set[str]:
    """The names that draw: `plot`, what comes from it, axes by their usual names, and functions that mostly draw."""
    names = {"plot", "plt", "ax", "axes", "fig"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and draws(node, {"plot"}):
            names |= {name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            inside = list(leaves(node.body))
            if 2 * sum(draws(statement, names) for statement in inside) > len(inside):
                names.add(node.name)
    return names


def draws(statement: ast.AST, names: set[str]) -> bool:
    """Whether a statement calls one of these, or a method of one."""
    return any(isinstance(node, ast.Call) and _root(node.func) in names for node in ast.walk(statement))


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def mostly_draws(cell: Any) -> bool:
    """Whether a code cell is one that a reader of the page need not see."""
    if set(tags(cell)) & OPEN:
        return False
    lines, statements = share(cell.source)
    return lines >= LEAST_LINES and statements >= LEAST_STATEMENTS


def tags(cell: Any) -> list[str]:
    """The tags of a cell."""
    return list(cell.metadata.get("tags", []))


def title(cell: Any) -> str:
    """What a folded cell is called: setup, imports, or the beginning of its picture's alternative text."""
    for tag, name in FORMS.items():
        if tag in tags(cell):
            return name
    shown = [alt for alt in alts(cell) if alt]
    pages = ["".join(output.get("data", {}).get("text/html", "")) for output in cell.outputs]
    shown += [html.unescape(match[1]) for page in pages for match in PLAYER_ALT.finditer(page)]
    if not shown:
        return "Draw"
    sentences = re.split(r"(?<=[.!?])\s", PANEL.sub("", " ".join(shown[0].split())))
    words = " ".join(sentences[: 2 if len(sentences[0].split()) < BRIEF else 1]).rstrip(".")
    words = words[0].upper() + words[1:]
    return words if len(words) <= WIDEST else f"{words[:WIDEST].rsplit(' ', 1)[0].rstrip(',;:')} ..."


def fold(cell: Any) -> None:
    """Marks one cell, if it is to be folded; one that is marked stays as it is."""
    if (mostly_draws(cell) or set(tags(cell)) & {*FORMS}) and "hide-input" not in tags(cell):
        cell.metadata["tags"] = [*tags(cell), "hide-input"]
    if "hide-input" in tags(cell):
        cell.metadata["cellView"] = "form"
        if not cell.source.startswith(TITLE):
            cell.source = f"{TITLE}{title(cell)}\n{cell.source}"


def faults(notebook: Any) -> list[str]:
    """Which cells are not folded that should be, or only half, in words."""
    found = []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for place, cell in enumerate(code, start=1):
        folded = "hide-input" in tags(cell)
        what = next((tag for tag in FORMS if tag in tags(cell)), "mostly draws" if mostly_draws(cell) else "")
        if what and not folded:
            found.append(f"code cell {place} ({what}) has no tag 'hide-input'; run `python -m tools.fold`")
        elif folded and (cell.metadata.get("cellView") != "form" or not cell.source.startswith(TITLE)):
            found.append(f"code cell {place} is folded on the page and not on Colab; run `python -m tools.fold`")
    return found


def main(arguments: list[str], root: Path = contents.ROOT) -> int:
    """The command: marks the cells and says in which notebooks it did; with --check, what is wrong."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m tools.fold [--check]", file=sys.stderr)
        return 2
    found = []
    for path in contents.notebooks(root):
        before = path.read_text(encoding="utf-8")
        notebook = parse(before)
        found += [f"{path.name}: {fault}" for fault in faults(notebook)]
        for cell in notebook.cells:
            if not arguments and cell.cell_type == "code":
                fold(cell)
        if not arguments and (after := dumps(notebook)) != before:
            write(path, after)
            print(path.relative_to(root).as_posix())
    if arguments:
        print("\n".join(found) or "every cell that mostly draws is folded")
    return bool(arguments and found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
