"""A chapter in miniature that keeps to the standard, and ways to break it, each with what must be said about it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat

from tools.fold import TITLE, fold
from tools.notebook_format import dumps, normalise
from tools.set_repo import current

Notebook = Any
NAME = "06_outer_loop.ipynb"
ALT = "Return rises from -40 to -17 in five meta-iterations."

OPENING = f"""# The outer loop

*You will train an initialisation from which one step is enough.*

[Open in Colab](https://colab.research.google.com/github/{current()}/blob/main/book/{NAME})
(save a copy in Drive first: File, Save a copy in Drive)

**What you will be able to do**

- differentiate through an update
- say why a deep copy stops the gradient
- train MAML

**Before you start**: [chapter 5](05_inner_loop.ipynb).

**Run time**: about 12 seconds."""

HINTS = """<details><summary>Hint 1</summary>

A nudge.

</details>
<details><summary>Hint 2</summary>

The idea.

</details>
<details><summary>Hint 3</summary>

Nearly the code.

</details>
<details><summary>Solution</summary>

```python
{solution}
```

</details>"""

CLOSING = """## Common mistakes

- A deep copy.

## Quiz

1. First?

<details><summary>Answer</summary>

Yes.

</details>

2. Second?

<details><summary>Answer</summary>

No, for `# this is no heading`.

</details>

3. Third?

<details><summary>Answer</summary>

Perhaps.

</details>

## Summary

- It works.

## Further reading

- Finn, Abbeel and Levine (2017)."""


def build() -> Notebook:
    """The miniature, as it is stored after a run that took 12.3 seconds."""
    markdown, code, output = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell, nbformat.v4.new_output
    shown = {
        "text/markdown": "`metarl_lite.algorithms.inner.adapt`\n\n```python\ndef adapt(): ...\n```",
        "text/plain": "# adapt",
    }
    picture = output(
        "display_data",
        data={"image/png": "aGFsbG8=", "text/plain": f"[Figure: {ALT}]"},
        metadata={"image/png": {"alt": ALT}},
    )
    film = output(
        "display_data", data={"text/html": '<div class="mrl-player"></div>', "text/plain": "[Animation: ...]"}
    )

    def said(text: str) -> Any:
        return output("stream", name="stdout", text=text)

    cells = [
        markdown(OPENING),
        code("", metadata={"tags": ["setup"]}),
        code("import torch", metadata={"tags": ["imports"]}),
        markdown("## A question\n\nClaim.\n\n<!-- eq: inner_step -->\n$$ \\phi = \\theta - \\alpha g \\tag{6.1} $$"),
        code("show_source(adapt)", outputs=[output("display_data", data=shown)]),
        code("plot.show(fig, ALT)", outputs=[picture]),
        code("plot.animate(...)", metadata={"tags": ["animation", "nbval-ignore-output"]}, outputs=[film]),
        code("print(1 + 1)", outputs=[said("2\n")]),
        markdown("## Exercises\n\n### Exercise 6.1: one inner step\n\nWrite it."),
        code("def step(theta):\n    # your code here\n    return None", metadata={"tags": ["exercise"]}),
        code('check("6.1", step)', metadata={"tags": ["check"]}, outputs=[said("6.1: not attempted yet.\n")]),
        markdown(HINTS.format(solution="def step(theta):\n    # a comment is no heading\n    return 2 * theta")),
        markdown("### Exercise 6.2: standing still\n\nPredict it."),
        code("still = None", metadata={"tags": ["exercise"]}),
        code('check("6.2", still)', metadata={"tags": ["check"]}, outputs=[said("6.2: not attempted yet.\n")]),
        markdown(HINTS.format(solution="still = -38.26") + "\n\n" + CLOSING),
    ]
    for count, cell in enumerate((cell for cell in cells if cell.cell_type == "code"), start=1):
        cell.execution_count = count
    notebook = normalise(nbformat.v4.new_notebook(cells=cells), seconds=12.3)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            fold(cell)
    return notebook


def store(folder: Path, break_it: Callable[[Notebook], None] = lambda notebook: None, name: str = NAME) -> Path:
    """The miniature is broken and written, as a file of that name."""
    notebook = copy.deepcopy(build())
    break_it(notebook)
    for place, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{place:02d}"
    path = folder / name
    path.write_text(dumps(notebook), encoding="utf-8")
    return path


def renumbered(notebook: Notebook, name: str, start: int, count: int) -> None:
    """Makes it a notebook of another name, with count of the two exercises, numbered from start on."""
    chapter, part = int(name[:2]), " bcdef".find(name[2]) if name[2] != "_" else 0
    for cell in notebook.cells:
        cell.source = cell.source.replace("tag{6.1}", f"tag{{{chapter}.{part + 1}}}")  # each part has one equation
        cell.source = cell.source.replace(NAME, f"{name}.ipynb")
        for place in (2, 1):
            cell.source = cell.source.replace(f" 6.{place}", f" {chapter}.{start + place - 1}")
            cell.source = cell.source.replace(f'"6.{place}', f'"{chapter}.{start + place - 1}')
    if count == 1:
        first = next(place for place, cell in enumerate(notebook.cells) if "standing still" in cell.source)
        del notebook.cells[first : first + 3]
        notebook.cells[-1].source = CLOSING
        for place, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
            cell.execution_count = place + 1


def book(root: Path, names: list[str], counts: list[int] | None = None) -> list[Path]:
    """A book of miniatures of these names, and its _toc.yml; a second part's exercises go on where the first's end."""
    (root / "book").mkdir()
    (root / "book" / "intro.md").write_text("# A small book\n", encoding="utf-8")
    paths, ends = [], dict.fromkeys([name[:2] for name in names], 1)
    for name, count in zip(names, counts or [2] * len(names), strict=True):

        def change(notebook: Notebook, name: str = name, count: int = count) -> None:
            renumbered(notebook, name, ends[name[:2]], count)

        paths.append(store(root / "book", change, f"{name}.ipynb"))
        ends[name[:2]] += count
    write_contents(root, names)
    return paths


def write_contents(root: Path, names: list[str]) -> None:
    """The _toc.yml of a book of these notebooks."""
    lines = ["format: jb-book", "root: book/intro", "parts:", "  - caption: All", "    chapters:"]
    lines += [f"      - file: book/{name}" for name in names]
    (root / "_toc.yml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def code(notebook: Notebook, source: str) -> Any:
    """The code cell whose source begins so, below its title if it is folded."""

    def begins(cell: Any) -> bool:
        folded = cell.source.startswith(TITLE)
        return bool((cell.source.partition("\n")[2] if folded else cell.source).startswith(source))

    return next(cell for cell in notebook.cells if cell.cell_type == "code" and begins(cell))


def replace(old: str, new: str) -> Callable[[Notebook], None]:
    """Break it by a change of its text."""

    def change(notebook: Notebook) -> None:
        assert any(old in cell.source for cell in notebook.cells), old
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)

    return change


def outputs(source: str, **fields: Any) -> Callable[[Notebook], None]:
    """Break it by another output of one cell."""

    def change(notebook: Notebook) -> None:
        code(notebook, source).outputs = [nbformat.v4.new_output(**fields)]

    return change


def stdout(text: str, name: str = "stdout") -> Callable[[Notebook], None]:
    """Break it by what a cell printed."""
    return outputs("print", output_type="stream", name=name, text=text)


def tags(source: str, *names: str) -> Callable[[Notebook], None]:
    """Break it by other tags of one cell."""

    def change(notebook: Notebook) -> None:
        code(notebook, source).metadata["tags"] = list(names)

    return change


def alt(text: str, cells: bool = True) -> Callable[[Notebook], None]:
    """Break it by another alt text of the figure, in the cell too or in the output alone."""

    def change(notebook: Notebook) -> None:
        cell = code(notebook, "plot.show")
        cell.outputs[0].metadata["image/png"]["alt"] = text
        if cells:
            cell.metadata["mystnb"] = {"image": {"alt": text}}

    return change


def repeat(source: str, times: int) -> Callable[[Notebook], None]:
    """Break it by more of the same cell."""

    def change(notebook: Notebook) -> None:
        cell = code(notebook, source)
        place = notebook.cells.index(cell)
        notebook.cells[place:place] = [copy.deepcopy(cell) for _ in range(times)]

    return change


def seconds(value: float | None) -> Callable[[Notebook], None]:
    """Break it by other recorded seconds."""

    def change(notebook: Notebook) -> None:
        notebook.metadata["metarl_lite"] = {} if value is None else {"seconds": value}

    return change


def unexecuted(notebook: Notebook) -> None:
    """One cell was not executed."""
    code(notebook, "print").execution_count = None


def two_figures(notebook: Notebook) -> None:
    """A cell shows two figures."""
    cell = code(notebook, "plot.show")
    cell.outputs.append(copy.deepcopy(cell.outputs[0]))
    cell.outputs[1].metadata["image/png"]["alt"] = "Another text of enough characters."


def two_cells_of_numbers(notebook: Notebook) -> None:
    """Two cells are left out of nbval's comparison."""
    tags("print", "page-numbers", "nbval-ignore-output")(notebook)
    repeat("print", 1)(notebook)


def film_with_text(notebook: Notebook) -> None:
    """A film's cell prints besides, which nbval would not compare."""
    code(notebook, "plot.animate").outputs.append(nbformat.v4.new_output("stream", name="stdout", text="a claim\n"))


def no_form(notebook: Notebook) -> None:
    """A folded cell stands open on Colab."""
    del code(notebook, "plot.show").metadata["cellView"]


def no_setup(notebook: Notebook) -> None:
    """The setup cell is gone."""
    notebook.cells.remove(code(notebook, "import subprocess"))


def tall(notebook: Notebook) -> None:
    """Every cell has sixteen lines."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = "\n".join(LONG.splitlines()[:16])


LONG = "\n".join(f"x{place} = {place}" for place in range(35))
BROKEN: dict[str, tuple[Callable[[Notebook], None], str]] = {
    "unexecuted": (unexecuted, "not executed once each in order"),
    "out of order": (repeat("print", 1), "not executed once each in order"),
    "stderr": (stdout("a warning\n", name="stderr"), "wrote to stderr"),
    "error": (outputs("print", output_type="error", ename="KeyError", evalue="q", traceback=[]), "ended in KeyError"),
    "path": (stdout("saved to /home/someone/x.json\n"), "a path of one machine: /home/someone/x.json"),
    "windows path": (stdout("saved to C:\\Users\\x\n"), "a path of one machine"),
    "address": (stdout("<object object at 0x7f3a5c0d1e20>\n"), "an address in memory"),
    "directive": (replace("Claim.", ":::{note}\nClaim.\n:::"), "a MyST directive"),
    "fenced directive": (replace("Claim.", "```{figure} x.png\n```"), "a MyST directive"),
    "role": (replace("Claim.", "See {ref}`here`."), "a MyST role"),
    "label": (replace("## A question", "(a-label)=\n## A question"), "a MyST label"),
    "picture": (replace("Claim.", "![alt](x.png)"), "a picture that is not an output"),
    "unknown tag": (tags("print", "nbval-skip"), "unknown tags: nbval-skip"),
    "order in a comment": (replace("print(1 + 1)", "# NBVAL_IGNORE_OUTPUT\nprint(1 + 1)"), "gives nbval an order"),
    "no setup": (no_setup, "number 1, must have the tag 'setup'"),
    "other setup": (replace("set_num_threads(1)", "set_num_threads(2)"), "not the canonical one"),
    "two imports": (tags("print", "imports"), "number 2, must have the tag 'imports'"),
    "no promise": (
        replace("*You will train an initialisation from which one step is enough.*", "Words."),
        "the promise",
    ),
    "other link": (replace("/blob/main/book/06", "/blob/main/book/05"), "the link to Colab"),
    "no copy": (replace("ave a copy in Drive", "ave a copy"), "'save a copy in Drive'"),
    "no run time": (replace("**Run time**", "Run time"), "'Run time'"),
    "no needs": (replace("**Before you start**", "Before"), "'Before you start'"),
    "two goals": (replace("- train MAML\n", ""), "3 to 5 points, not 2"),
    "sections in another order": (replace("## Summary", "## Quiz"), "once each, in this order"),
    "no feedback": (replace("3. Third?", "Third?"), "the quiz has 2 numbered questions and 3 <details>"),
    "one exercise": (replace("### Exercise 6.2", "### A task"), "2 to 4 exercises called 6.1, 6.2"),
    "wrong number": (replace("### Exercise 6.2", "### Exercise 6.3"), "2 to 4 exercises called 6.1, 6.2"),
    "no stub": (tags("still = None"), "needs one cell tagged 'exercise'"),
    "stub outside": (tags("print", "exercise"), "stands outside an exercise"),
    "two hints": (replace("<summary>Hint 3</summary>", "<summary>More</summary>"), "needs Hint 1, Hint 2, Hint 3"),
    "no solution": (replace("```python\nstill = -38.26\n```", "-38.26"), "exercise 6.2 needs one Solution"),
    "check of another": (replace('check("6.2"', 'check("6.1"'), 'does not call check("6.2"'),
    "many cells": (repeat("print", 17), "code cells; at most 25"),
    "many words": (replace("Claim.", "word " * 2600), "words outside exercises"),
    "long cell": (replace("print(1 + 1)", LONG), "has 35 lines; at most 34"),
    "wide cell": (replace("print(1 + 1)", "print(" + "1 + " * 30 + "1)"), "characters; at most 88"),
    "long median": (tall, "the median cell has 16 lines"),
    "no alt": (alt(""), "alt text ''; at least 20"),
    "short alt": (alt("A curve."), "at least 20 characters"),
    "same alt twice": (repeat("plot.show", 1), "repeats an alt text"),
    "alt not in the cell": (
        alt("A quite different alternative text.", cells=False),
        "lacks its alt text in its metadata",
    ),
    "open drawing": (tags("plot.show"), "(mostly draws) has no tag 'hide-input'"),
    "open on Colab": (no_form, "folded on the page and not on Colab"),
    "no title": (replace("#@title Imports\n", ""), "folded on the page and not on Colab"),
    "no number": (replace(" \\tag{6.1}", ""), "equation 'inner_step' has no number, and is 6.1 of the book"),
    "another number": (replace("\\tag{6.1}", "\\tag{6.2}"), "has number 6.2, and is 6.1"),
    "two figures": (two_figures, "shows 2 figures"),
    "film that prints": (film_with_text, "it needs both tags and no other output"),
    "film without a tag": (tags("plot.animate", "animation"), "it needs both tags"),
    "ignored without a film": (tags("print", "nbval-ignore-output"), "but shows no film"),
    "page numbers with a picture": (tags("plot.show", "page-numbers", "nbval-ignore-output"), "may show nothing else"),
    "page numbers that nbval compares": (tags("print", "page-numbers"), "it needs the tag nbval-ignore-output"),
    "two cells of page numbers": (two_cells_of_numbers, "2 cells print page numbers"),
    "four films": (repeat("plot.animate", 3), "4 films; at most 3"),
    "no source": (
        outputs("show_source", output_type="display_data", data={"text/plain": "x"}),
        "no function of the package",
    ),
    "slow": (seconds(61.0), "recorded seconds are 61.0"),
    "another run time": (replace("about 12 seconds", "about 40 seconds"), "says about 40 seconds, but 12.3"),
    "no seconds": (seconds(None), "recorded seconds are None"),
    "large": (stdout("x" * 2_000_001), "at most 2000000"),
}
