"""The standard of lessons: new notebooks are bound by it, and the list of those that are not may only shrink."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks import miniature
from tests.notebooks.miniature import Notebook, code, replace
from tools import contents, lesson
from tools.lesson import shortfalls

#: Those that stood in the list when it was begun: fewer may be left, and none may be new.
WRITTEN_BEFORE = {f"{number:02d}" for number in range(14)}


@pytest.mark.parametrize("path", contents.notebooks(), ids=lambda path: path.stem)
def test_notebook_is_a_lesson_or_is_known_not_to_be_one_yet(path: Path) -> None:
    found = shortfalls(path)
    if path.stem in lesson.NOT_YET:
        assert found, f"{path.stem} is a lesson now: take it out of tools/lesson.py's NOT_YET"
    else:
        assert found == []


def test_the_list_holds_only_what_was_written_before_the_standard() -> None:
    assert {path.stem for path in contents.notebooks()} >= lesson.NOT_YET
    assert len(lesson.NOT_YET) == len({stem[:2] for stem in lesson.NOT_YET})
    assert {stem[:2] for stem in lesson.NOT_YET} <= WRITTEN_BEFORE
    assert all(stem[2] == "_" for stem in lesson.NOT_YET), "a second part of a chapter is new"


# --- The checks themselves, on a miniature lesson -------------------------------------------------------------------


def as_lesson(notebook: Notebook) -> None:
    """The miniature chapter becomes a lesson."""
    for change in (
        replace("**Run time**", "**Reading time**: about 60 minutes with the exercises.\n\n**Run time**"),
        replace("alpha g \\tag{6.1} $$", "alpha g \\tag{6.1} $$\n\nBy (6.1) it moves."),
        replace("Write it.", "<!-- kind: broken -->\n\nWrite it."),
        replace("- A deep copy.", "- A deep copy, as in the first version of Antoniou et al. (2019)."),
        replace("- Finn", "- Duan et al. (2016), Wang et al. (2016)\n- Nichol and Schulman (2018); Finn"),
        replace("Claim.", "Claim.\n\n| name | what it does |\n|---|---|\n| `tasks_of(params)` | counts tasks |\n"
                "| `gradient` | of the sum |\n| `rates_of` | a step size each |\n| `learnable` | not frozen |"),
    ):  # fmt: skip
        change(notebook)
    opening = copy.deepcopy(code(notebook, "plot.show"))
    opening.outputs[0].metadata["image/png"]["alt"] = opening.metadata["mystnb"]["image"]["alt"] = "Before and after."
    notebook.cells.insert(3, opening)
    exercise = [cell for cell in notebook.cells if "still" in cell.source or "Exercise 6.2" in cell.source]
    third = [copy.deepcopy(cell) for cell in exercise[:3]]
    for cell in third:
        cell.source = cell.source.replace("6.2", "6.3")
    place = notebook.cells.index(exercise[2]) + 1
    notebook.cells[place:place] = [copy.deepcopy(hints()), *third]


def hints() -> Any:
    """Three hints and a solution, as a cell."""
    import nbformat

    return nbformat.v4.new_markdown_cell(miniature.HINTS.format(solution="still = -38.26"))


def fold(source: str, cell_view: str = "form") -> Callable[[Notebook], None]:
    """One cell is folded."""

    def change(notebook: Notebook) -> None:
        cell = code(notebook, source)
        cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
        cell.metadata["cellView"] = cell_view

    return change


def unfold(source: str) -> Callable[[Notebook], None]:
    """One folded cell stands open."""

    def change(notebook: Notebook) -> None:
        code(notebook, source).metadata["tags"].remove("hide-input")

    return change


def in_text(name: str) -> Callable[[Notebook], None]:
    """What is shown is another function of the package."""

    def change(notebook: Notebook) -> None:
        shown = code(notebook, "show_source").outputs[0]["data"]
        shown["text/markdown"] = shown["text/markdown"].replace("metarl_lite.algorithms.inner.adapt", name)

    return change


def stored(folder: Path, break_it: Callable[[Notebook], None] = lambda notebook: None) -> Path:
    def change(notebook: Notebook) -> None:
        as_lesson(notebook)
        break_it(notebook)

    (folder / "book").mkdir()
    path = miniature.store(folder / "book", change)
    miniature.write_contents(folder, [path.stem])
    (folder / "book" / "intro.md").write_text("# A small book\n", encoding="utf-8")
    return path


def test_the_miniature_lesson_is_one(tmp_path: Path) -> None:
    assert shortfalls(stored(tmp_path), tmp_path) == []


def test_a_chapter_of_the_old_standard_is_no_lesson(tmp_path: Path) -> None:
    miniature.book(tmp_path, ["06_outer_loop"])
    assert len(shortfalls(tmp_path / "book" / "06_outer_loop.ipynb", tmp_path)) >= 6


BROKEN: dict[str, tuple[Callable[[Notebook], None], str]] = {
    "no picture": (lambda notebook: notebook.cells.pop(3), "no picture stands before the first section"),
    "no reading time": (replace("**Reading time**", "Reading time"), "'**Reading time**: about N minutes'"),
    "too long": (replace("about 60 minutes", "about 120 minutes"), "at most 90"),
    "open setup": (unfold("import subprocess"), "the setup cell is not folded"),
    "open imports": (unfold("import torch"), "the imports cell is not folded"),
    "folded on one side": (lambda notebook: code(notebook, "import torch").metadata.pop("cellView"), "is not folded"),
    "many open cells": (miniature.repeat("print", 15), "17 code cells stand open; at most 16"),
    "a long cell": (replace("print(1 + 1)", "\n".join(["print(1 + 1)"] * 16)), "stands open with 16 lines; at most 15"),
    "many words": (replace("Claim.", "word " * 2000), "words outside exercises"),
    "many figures": (miniature.repeat("plot.show", 6), "9 figures; at most 8"),
    "no number": (replace(" \\tag{6.1}", ""), "needs \\tag{6.1}, it has none"),
    "wrong number": (replace("\\tag{6.1}", "\\tag{6.2}"), "needs \\tag{6.1}, it has ['6.2']"),
    "unnamed": (replace("By (6.1) it moves.", "It moves."), "never refers to the equation inner_step as (6.1)"),
    "helper untold": (replace("| `rates_of` | a step size each |\n", ""), "shown nor told in a table: rates_of"),
    "class untold": (in_text("metarl_lite.evaluate.probe.linear_probe"), "nor told in a table: Probe"),
    "two exercises": (replace("### Exercise 6.3", "### A task"), "3 or 4 exercises are wanted, found 2"),
    "retyping": (replace("<!-- kind: broken -->", ""), "no exercise is more than retyping"),
    "unknown kind": (replace("kind: broken", "kind: hard"), "of the kind 'hard'"),
    "no source of a mistake": (replace(" of Antoniou et al. (2019)", ""), "'Common mistakes' cites 0"),
    "little to read": (replace("- Duan et al. (2016), Wang et al. (2016)\n", ""), "'Further reading' cites 2"),
}  # fmt: skip


@pytest.mark.parametrize(("break_it", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_each_shortfall_is_found(break_it: Callable[[Notebook], None], expected: str, tmp_path: Path) -> None:
    found = shortfalls(stored(tmp_path, break_it), tmp_path)
    assert any(expected in sentence for sentence in found), found


def test_a_folded_cell_may_be_long(tmp_path: Path) -> None:
    def change(notebook: Notebook) -> None:
        replace("print(1 + 1)", "\n".join(["print(1 + 1)"] * 30))(notebook)
        fold("print")(notebook)

    assert shortfalls(stored(tmp_path, change), tmp_path) == []


def test_what_is_shown_and_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"metarl_lite\.gone\.adapt is shown, .* execute the notebook again"):
        shortfalls(stored(tmp_path, in_text("metarl_lite.gone.adapt")), tmp_path)


def test_what_an_earlier_lesson_has_shown_is_known(tmp_path: Path) -> None:
    root = tmp_path
    miniature.book(root, ["05_first", "06_outer_loop"])
    first, second = contents.notebooks(root)
    name = "metarl_lite.algorithms.inner.inner_loop"

    def told(path: Path) -> list[str]:
        return [sentence for sentence in shortfalls(path, root) if name in sentence]

    miniature.store(root / "book", in_text(name), second.name)
    assert any("step_sizes" in sentence and "adapt" not in sentence.split(":")[1] for sentence in told(second))
    miniature.store(root / "book", in_text("metarl_lite.policies.mlp.MLPPolicy"), first.name)
    assert any("adapt" in sentence.split(":")[1] for sentence in told(second))
