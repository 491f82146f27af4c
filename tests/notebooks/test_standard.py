"""Every stored notebook keeps to the standard of chapters, and each check of that standard can fail."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from tests.notebooks import miniature
from tools import contents, standard
from tools.notebook_format import ROOT, dumps, normalise
from tools.standard import Chapter, breaches

NOTEBOOKS = contents.notebooks()
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
    assert without_a_test(Chapter.read(path)) == []


def without_a_test(chapter: Chapter) -> list[str]:
    """The marked equations that no test has the name of; a chapter's parts share their file in tests/equations."""
    tests = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    names = standard.equation_names(chapter)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names), f"a name is no name of a function: {names}"
    return [name for name in names if not re.search(rf"^ *def test_eq_{name}\(", tests, re.MULTILINE)]


def test_all_notebooks_together_take_a_few_minutes() -> None:
    seconds = {path.stem: standard.recorded_seconds(Chapter.read(path)) or 0.0 for path in NOTEBOOKS}
    assert sum(seconds.values()) <= MAX_SECONDS_OF_ALL, seconds


def test_contents_and_notebooks_agree() -> None:
    assert contents.faults() == []


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


# --- A miniature book, with a chapter of two notebooks ------------------------------------------------------------


NAMES = ["00_primer", "01_small", "02_first", "02b_second", "03_last"]


@pytest.mark.parametrize("counts", [(2, 2), (1, 2), (2, 1)])
def test_a_chapter_s_exercises_may_be_spread_over_two_notebooks(tmp_path: Path, counts: tuple[int, int]) -> None:
    paths = miniature.book(tmp_path, NAMES, [2, 2, *counts, 2])
    assert contents.faults(tmp_path) == []
    assert contents.chapters(tmp_path) == {0: paths[:1], 1: paths[1:2], 2: paths[2:4], 3: paths[4:]}
    assert [Chapter.read(path, tmp_path).number for path in paths] == [0, 1, 2, 2, 3]
    for path in paths:
        assert breaches(path, tmp_path) == []


def test_a_second_notebook_goes_on_with_the_numbers_of_the_first(tmp_path: Path) -> None:
    paths = miniature.book(tmp_path, NAMES)
    names = [exercise.name for path in paths[2:4] for exercise in Chapter.read(path, tmp_path).exercises]
    assert names == ["2.1", "2.2", "2.3", "2.4"]

    def starts_again(notebook: miniature.Notebook) -> None:
        miniature.renumbered(notebook, "02b_second", 1, 2)

    def leaves_a_gap(notebook: miniature.Notebook) -> None:
        miniature.renumbered(notebook, "02b_second", 4, 2)

    def has_none(notebook: miniature.Notebook) -> None:
        miniature.renumbered(notebook, "02b_second", 3, 1)
        for cell in notebook.cells:
            cell.source = cell.source.replace("### Exercise 2.3", "### A task")

    for break_it in (starts_again, leaves_a_gap, has_none):
        miniature.store(tmp_path / "book", break_it, "02b_second.ipynb")
        found = breaches(paths[3], tmp_path)
        assert any("1 to 4 exercises called 2.3, 2.4, ... are wanted" in sentence for sentence in found), found
        assert breaches(paths[2], tmp_path) == []


def test_a_chapter_of_one_notebook_still_needs_two_exercises(tmp_path: Path) -> None:
    paths = miniature.book(tmp_path, NAMES, [2, 1, 2, 2, 2])
    assert any(
        "2 to 4 exercises called 1.1, 1.2, ... are wanted" in sentence for sentence in breaches(paths[1], tmp_path)
    )


def test_an_equation_of_a_second_part_needs_its_test_too(tmp_path: Path) -> None:
    paths = miniature.book(tmp_path, NAMES)
    second = paths[3]
    assert without_a_test(Chapter.read(second, tmp_path)) == []
    second.write_text(second.read_text(encoding="utf-8").replace("eq: inner_step", "eq: nobody_tests_this"))
    assert without_a_test(Chapter.read(second, tmp_path)) == ["nobody_tests_this"]


def test_a_notebook_that_is_not_in_the_contents_is_noticed(tmp_path: Path) -> None:
    miniature.book(tmp_path, NAMES)
    miniature.store(tmp_path / "book", name="04_new.ipynb")
    (tmp_path / "book" / "drafts").mkdir()
    miniature.store(tmp_path / "book" / "drafts", name="anything.ipynb")
    assert contents.faults(tmp_path) == [
        "book/04_new.ipynb lies there and is not in _toc.yml",
        "book/drafts/anything.ipynb lies there and is not in _toc.yml",
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["00_primer", "02_gap"], ["the chapters are not numbered from 0 without a gap: [0, 2]"]),
        (["00_primer", "00b_more", "01c_x", "01_y"], ["not in the order", "chapter 1 have the letters"]),
        (["00_primer", "01b_alone"], ["chapter 1 have the letters ['b'], not none, b, c"]),
    ],
)
def test_contents_in_disorder_are_noticed(names: list[str], expected: list[str], tmp_path: Path) -> None:
    miniature.book(tmp_path, names)
    found = contents.faults(tmp_path)
    assert len(found) == len(expected), found
    assert all(words in sentence for words, sentence in zip(expected, found, strict=True)), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("root: book/intro\nchapters:\n- file: book/01_lost\n", "names book/01_lost, and there is no file"),
        ("root: book/intro\nchapters:\n- file: book/talk\n", "names book/talk, but a notebook is called 08_topic"),
        ("root: book/intro\nchapters:\n- file: book/intro\n", "names book/intro more than once"),
        ("root: book/intro\nchapters:\n- glob: book/*\n", "named one by one, not by the pattern"),
        ("chapters: []\n", "cannot be read as the contents of a book: KeyError('root')"),
        ("root: [", "cannot be read as the contents"),
        ("", "cannot be read as the contents"),
        (None, "cannot be read as the contents"),
    ],
)
def test_wrong_contents_are_an_error_that_names_file_and_entry(text: str | None, expected: str, tmp_path: Path) -> None:
    miniature.book(tmp_path, [])
    miniature.store(tmp_path / "book", name="talk.ipynb")
    (tmp_path / "_toc.yml").unlink()
    if text is not None:
        (tmp_path / "_toc.yml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"_toc\.yml") as error:
        contents.notebooks(tmp_path)
    assert expected in str(error.value)


def test_sections_are_read_to_any_depth(tmp_path: Path) -> None:
    one, two = miniature.book(tmp_path, ["00_x", "01_y"])
    text = "root: book/intro\nchapters:\n- file: book/00_x\n  sections:\n  - file: book/01_y.ipynb\n"
    (tmp_path / "_toc.yml").write_text(text, encoding="utf-8")
    assert contents.notebooks(tmp_path) == [one, two]


# --- How text is read ---------------------------------------------------------------------------------------------


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


def test_the_contents_are_printed_or_what_is_wrong_with_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert contents.main() == 0
    assert capsys.readouterr().out.splitlines() == contents.pages()
    (tmp_path / "_toc.yml").write_text("root: book/none\n")
    assert contents.main(tmp_path) == 1
    assert re.search(r"_toc\.yml names book/none, and there is no file", capsys.readouterr().err)
