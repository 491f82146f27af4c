"""What mostly draws is found and folded, once; what computes stays open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.notebooks import miniature
from tools import fold
from tools.notebook_format import parse

DRAWING = """fig, ax = plot.figure()
for x in rows:
    ax.plot(x, x)
ax.set(xlabel="x")
plot.show(fig, "A line that rises, and a second one that falls.")"""
COMPUTING = """gen = generator(0)
batch = rollout(tasks, policy, params, task, 10, gen)
assert batch.rewards.mean() > 0
plot.show(plot.batch(batch), "Ten episodes.")"""
HELPER = """def frame(ax, item):
    ax.plot(item)
    ax.set(title=item)


plot.animate(frame, rows)"""
OWN_AXES = """(figure, panels), sizes = plot.figure(rows=2), [1, 2]
panels[0].plot(sizes)
panels[1].plot(sizes)
panels[0].set(ylabel="size")"""


def cell(source: str, *tags: str, alt: str = "") -> Any:
    metadata = {"image/png": {"alt": alt}}
    outputs = [nbformat.v4.new_output("display_data", data={"image/png": ""}, metadata=metadata)] if alt else []
    return nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)} if tags else {}, outputs=outputs)


@pytest.mark.parametrize("source", [DRAWING, HELPER, OWN_AXES, "plot.show(fig, ALT)"])
def test_what_mostly_draws_is_found(source: str) -> None:
    assert fold.mostly_draws(cell(source))


@pytest.mark.parametrize(
    "source", [COMPUTING, "x = 1", "", "def draw():\n    return 1\n\ndraw()", "show_source(adapt)"]
)
def test_what_computes_is_left_open(source: str) -> None:
    assert not fold.mostly_draws(cell(source))


@pytest.mark.parametrize("tag", ["exercise", "check"])
def test_an_exercise_is_never_folded(tag: str) -> None:
    assert not fold.mostly_draws(cell(DRAWING, tag))


def test_a_folded_cell_has_a_tag_a_form_and_a_title_and_keeps_them() -> None:
    drawing = cell(DRAWING, "animation", alt="A line that rises, and a second one that falls. More words.")
    fold.fold(drawing)
    assert drawing.metadata["tags"] == ["animation", "hide-input"]
    assert drawing.metadata["cellView"] == "form"
    assert drawing.source == f"#@title A line that rises, and a second one that falls\n{DRAWING}"
    drawing.source = drawing.source.replace("A line that rises", "A better title")
    again = drawing.source
    fold.fold(drawing)
    assert drawing.source == again
    assert fold.faults(nbformat.v4.new_notebook(cells=[drawing])) == []


@pytest.mark.parametrize(
    ("alt", "title"),
    [
        ("Left: eight carts. Right: four pendulums.", "Eight carts. Right: four pendulums"),
        ("Two graphs. One is cut.", "Two graphs. One is cut"),
        ("Return against steps, and what is known of it. More.", "Return against steps, and what is known of it"),
        ("word " * 30, "Word " + "word " * 14 + "..."),
        ("", "Draw"),
    ],
)
def test_a_title_is_the_beginning_of_the_alternative_text(alt: str, title: str) -> None:
    assert fold.title(cell(DRAWING, alt=alt)) == title


def test_setup_and_imports_are_folded_by_their_names() -> None:
    for tag, title in (("setup", "Setup"), ("imports", "Imports")):
        made = cell("import torch", tag)
        fold.fold(made)
        assert made.source == f"#@title {title}\nimport torch"
        assert made.metadata["tags"] == [tag, "hide-input"]


def test_an_open_cell_is_left_alone() -> None:
    made = cell(COMPUTING)
    fold.fold(made)
    assert made.source == COMPUTING
    assert not made.metadata


def open_up(notebook: Any) -> None:
    """Takes away what the miniature has of folds."""
    for made in notebook.cells:
        if made.cell_type == "code" and made.source.startswith(fold.TITLE) and "setup" not in made.metadata["tags"]:
            made.source = made.source.partition("\n")[2]
        tags = [tag for tag in made.metadata.get("tags", []) if tag != "hide-input"]
        made.metadata.pop("cellView", None)
        made.metadata.pop("tags", None)
        if tags:
            made.metadata["tags"] = tags


def test_the_command_folds_a_book_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    miniature.book(tmp_path, ["00_first"])
    path = tmp_path / "book" / "00_first.ipynb"
    whole = path.read_text(encoding="utf-8")
    assert fold.main(["--check"], tmp_path) == 0
    miniature.store(tmp_path / "book", lambda n: (miniature.renumbered(n, "00_first", 1, 2), open_up(n))[0], path.name)
    assert path.read_text(encoding="utf-8") != whole
    assert fold.main(["--check"], tmp_path) == 1
    assert "code cell 4 (mostly draws) has no tag" in capsys.readouterr().out
    assert fold.main([], tmp_path) == 0
    assert capsys.readouterr().out == "book/00_first.ipynb\n"
    assert path.read_text(encoding="utf-8") == whole
    assert fold.main([], tmp_path) == 0
    assert capsys.readouterr().out == ""
    assert fold.main(["--other"], tmp_path) == 2
    assert not fold.faults(parse(whole))
