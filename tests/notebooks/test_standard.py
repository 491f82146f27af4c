"""Every stored notebook keeps to the standard of chapters, and each check of that standard can fail."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from tests.notebooks import miniature
from tools import standard
from tools.execute import find
from tools.notebook_format import ROOT, dumps, normalise
from tools.standard import Chapter, breaches

NOTEBOOKS = find([])
MAX_SECONDS_OF_ALL = 24.0 * len(NOTEBOOKS)  # on average; one alone may take 60


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_keeps_to_the_standard(path: Path) -> None:
    assert breaches(path) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_in_normal_form(path: Path) -> None:
    stored = path.read_text(encoding="utf-8")
    assert dumps(normalise(nbformat.reads(stored, as_version=4))) == stored, "run `python -m tools.execute` on it"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_marked_equations_have_a_test_of_their_name(path: Path) -> None:
    tests = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    for name in standard.equations(Chapter.read(path)):
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), f"{name!r} is no name of a function"
        assert re.search(rf"^ *def test_eq_{name}\(", tests, re.MULTILINE), f"no test_eq_{name} under tests/"


def test_all_notebooks_together_take_a_few_minutes() -> None:
    seconds = {path.stem: standard.recorded_seconds(Chapter.read(path)) or 0.0 for path in NOTEBOOKS}
    assert sum(seconds.values()) <= MAX_SECONDS_OF_ALL, seconds


def test_there_is_a_notebook_for_every_chapter_of_the_contents() -> None:
    contents = re.findall(
        r"^\s*- file: book/(\d\d_\w+)$", (ROOT / "_toc.yml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [path.stem for path in NOTEBOOKS] == sorted(contents)


# --- The checks themselves, on a miniature chapter ----------------------------------------------------------------


def test_the_miniature_keeps_to_the_standard(tmp_path: Path) -> None:
    assert breaches(miniature.store(tmp_path)) == []


@pytest.mark.parametrize(("break_it", "expected"), miniature.BROKEN.values(), ids=miniature.BROKEN.keys())
def test_each_breach_is_found(break_it: Callable[[miniature.Notebook], None], expected: str, tmp_path: Path) -> None:
    found = breaches(miniature.store(tmp_path, break_it))
    assert any(expected in sentence for sentence in found), found


def test_a_primer_needs_no_exercises_and_no_closing_sections(tmp_path: Path) -> None:
    def lighter(notebook: miniature.Notebook) -> None:
        del notebook.cells[3:]

    assert breaches(miniature.store(tmp_path, lighter, name="00_primer.ipynb")) == []
    assert breaches(miniature.store(tmp_path, lighter, name="06_outer_loop.ipynb")) != []


def test_words_leave_out_exercises_code_details_and_comments() -> None:
    text = """Two words.

```python
not counted at all
```

<!-- nor this --> A [link text](https://example.org/a/b) and $x + y$.

$$ a + b $$

<details><summary>Answer</summary>

Hidden words.

</details>

## Exercises

Nothing of this.

## Summary

End."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    counted = ["Two", "words", "A", "link", "text", "and", "formula", "Exercises", "Summary", "End"]
    assert standard.words(Chapter(Path("01_x.ipynb"), notebook)) == len(counted)


def test_a_comment_in_a_solution_is_no_heading() -> None:
    text = "## Exercises\n\n```python\n## no heading\n```\n\nStill here.\n\n## Quiz\n\n1. Why?"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    assert Chapter(Path("01_x.ipynb"), notebook).section("Exercises").strip().endswith("Still here.")
