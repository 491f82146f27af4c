"""What every chapter keeps to, as functions that say in words what a stored notebook breaks.

`breaches(path)` is used by tests/notebooks/test_standard.py and by `python -m tools.execute --check`. Each check takes
a `Chapter` and yields sentences; a chapter that keeps to the standard gives none.
"""

from __future__ import annotations

import ast
import itertools
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tools import contents, equations, fold
from tools.contents import ROOT
from tools.notebook_format import absolute_paths, alts, output_texts, parse
from tools.set_repo import current
from tools.setup_cell import setup_cell

TAGS = {"setup", "imports", "exercise", "check", "animation", "page-numbers", "nbval-ignore-output", "hide-input"}
SECTIONS = ("Exercises", "Common mistakes", "Quiz", "Summary", "Further reading")
# What was 30 lines of 100 columns is 34 of 88. Alt texts are not counted, nor are imports in the median.
MAX_CODE_CELLS, MAX_WORDS, MAX_LINES, MAX_MEDIAN, MAX_WIDTH = 25, 2500, 34, 14, 88
MAX_SECONDS, MAX_BYTES, MAX_FILMS, MIN_ALT = 60.0, 2_000_000, 3, 20
PLAYER = 'class="mrl-player"'

DETAILS = re.compile(r"<details\b.*?</details>", re.DOTALL)
FENCE = re.compile(r"^[ ]*```.*?^[ ]*```[ ]*$", re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
FORMULA = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.DOTALL)
EQUATION = re.compile(r"<!--\s*eq:\s*(.*?)\s*-->")
HEADING = re.compile(r"^#{1,6} .*$", re.MULTILINE)
EXERCISE = re.compile(r"^### Exercise (\d+\.\d+)\b.*$", re.MULTILINE)
MYST = {
    "a MyST directive": re.compile(r"^[ ]*(?:`{3,}|:{3,})\{", re.MULTILINE),
    "a MyST role": re.compile(r"\{[a-zA-Z][\w:.+-]*\}`"),
    "a MyST label": re.compile(r"^\([\w-]+\)=\s*$", re.MULTILINE),
    "a picture that is not an output": re.compile(r"!\[[^\]]*\]\(|<img\b"),
}


@dataclass(frozen=True)
class ExerciseText:
    """One exercise as the notebook has it; `solutions` are the python blocks of its solution."""

    name: str
    stubs: list[str]
    checks: list[str]
    hints: list[str]
    solutions: list[str]


@dataclass(frozen=True)
class Chapter:
    """A stored notebook, with the views of it that the checks need."""

    path: Path
    notebook: Any
    earlier: tuple[Chapter, ...] = ()  # the notebooks of the same chapter that come before this one
    divided: bool = False  # the chapter has more than this notebook

    @classmethod
    def read(cls, path: Path, root: Path = ROOT) -> Chapter:
        """The notebook as it is stored; the contents of root tell which others belong to its chapter."""
        parts = contents.parts(path, root)
        before = itertools.takewhile(lambda part: not part.samefile(path), parts)
        earlier = tuple(cls(part, parse(part.read_text(encoding="utf-8"))) for part in before)
        return cls(path, parse(path.read_text(encoding="utf-8")), earlier, len(parts) > 1)

    @property
    def number(self) -> int:
        """Chapter 6 is stored as 06_topic.ipynb, and a second part of it as 06b_topic.ipynb."""
        return contents.number(self.path)

    @cached_property
    def code(self) -> list[Any]:
        """The code cells."""
        return [cell for cell in self.notebook.cells if cell.cell_type == "code"]

    @cached_property
    def prose(self) -> str:
        """All Markdown in order."""
        return "\n\n".join(cell.source for cell in self.notebook.cells if cell.cell_type == "markdown")

    def tagged(self, tag: str) -> list[Any]:
        """The code cells with this tag."""
        return [cell for cell in self.code if tag in cell.metadata.get("tags", [])]

    def section(self, title: str) -> str:
        """The Markdown below the heading `## title`, up to the next heading of its rank."""
        inside, kept = False, []
        for heading, body in _parts(self.prose):
            if heading.startswith(("# ", "## ")):
                inside = heading.strip() == f"## {title}"
                kept += [body] if inside else []
            elif inside:
                kept += [heading, body]
        return "".join(kept)

    @cached_property
    def exercises(self) -> list[ExerciseText]:
        """The exercises in order, each from its heading to the next heading."""
        found: list[ExerciseText] = []
        inside = False
        for cell in self.notebook.cells:
            if cell.cell_type == "markdown":
                for title, body in _parts(cell.source):
                    match = EXERCISE.match(title)
                    inside = bool(match) or (inside and not title)
                    if match:
                        found.append(ExerciseText(match[1], [], [], [], []))
                    if inside:
                        found[-1].hints.extend(re.findall(r"<summary>\s*Hint (\d)\s*</summary>", body))
                        found[-1].solutions.extend(_solutions(body))
            elif inside and "exercise" in cell.metadata.get("tags", []):
                found[-1].stubs.append(cell.source)
            elif inside and "check" in cell.metadata.get("tags", []):
                found[-1].checks.append(cell.source)
        return found


def _parts(source: str) -> list[tuple[str, str]]:
    """Markdown cut at its headings, as (heading, what follows); code blocks hold no headings."""
    blank = FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), source)
    cuts = [match.span() for match in HEADING.finditer(blank)]
    starts = [(0, 0), *cuts]
    ends = [*[start for start, _ in cuts], len(source)]
    return [(source[a:b], source[b:end]) for (a, b), end in zip(starts, ends, strict=True)]


def _solutions(body: str) -> list[str]:
    blocks = []
    for details in DETAILS.findall(body):
        if re.search(r"<summary>\s*Solution\s*</summary>", details):
            code = re.findall(r"^```python\n(.*?)^```\s*$", details, re.DOTALL | re.MULTILINE)
            blocks.append("\n".join(code))
    return blocks


def executed(chapter: Chapter) -> Iterator[str]:
    """Every code cell was executed, once, in order, without error or stderr."""
    counts = [cell.execution_count for cell in chapter.code]
    if counts != list(range(1, len(counts) + 1)):
        yield f"the cells were not executed once each in order: execution counts are {counts}"
    for place, cell in enumerate(chapter.code, start=1):
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"code cell {place} ended in {output.ename}: {output.evalue}"
            if output.get("name") == "stderr":
                yield f"code cell {place} wrote to stderr: {output.text[:80]!r}"


def portable_outputs(chapter: Chapter) -> Iterator[str]:
    """No output shows a path or an address in memory."""
    for place, cell in enumerate(chapter.code, start=1):
        for output in cell.outputs:
            for found in absolute_paths(output):
                yield f"code cell {place} shows a path of one machine: {found}"
            for shown in output_texts(output):
                if match := re.search(r"\bat 0x[0-9a-f]{6,}", shown):
                    yield f"code cell {place} shows an address in memory: {match[0]!r}"


def portable_markdown(chapter: Chapter) -> Iterator[str]:
    """Markdown that Colab, GitHub and JupyterLab understand too."""
    bare = FORMULA.sub("", chapter.prose)
    for name, pattern in MYST.items():
        if match := pattern.search(bare):
            yield f"the text holds {name}: {match[0].strip()!r}"


def tags(chapter: Chapter) -> Iterator[str]:
    """Setup cell first and canonical, imports second, no unknown tag and no hidden instruction to nbval."""
    for place, cell in enumerate(chapter.code, start=1):
        if unknown := set(cell.metadata.get("tags", [])) - TAGS:
            yield f"code cell {place} has unknown tags: {', '.join(sorted(unknown))}"
        if re.search(r"#\s*(NBVAL_\w+|PYTEST_VALIDATE\w*)", cell.source):
            yield f"code cell {place} gives nbval an order in a comment"
    for place, tag in enumerate(("setup", "imports")):
        if [chapter.code.index(cell) for cell in chapter.tagged(tag)] != [place]:
            yield f"exactly one code cell, number {place + 1}, must have the tag {tag!r}"
    for cell in chapter.tagged("setup"):
        if cell.source != setup_cell():
            yield "the setup cell is not the canonical one; run `python -m tools.execute` on this notebook"
        if cell.outputs:
            yield "the setup cell prints something"


def opening(chapter: Chapter) -> Iterator[str]:
    """The first cell says what the chapter is, promises and needs."""
    cell = chapter.notebook.cells[0]
    first = cell.source if cell.cell_type == "markdown" else ""
    link = f"https://colab.research.google.com/github/{current()}/blob/main/book/{chapter.path.name}"
    wanted = {
        "a title (`# ...`)": re.match(r"# \S", first),
        "the promise, one sentence in italics below the title": re.match(
            r"# .*\n\n\*[^*].*?[.!?]\*\s*\n", first, re.DOTALL
        ),
        f"the link to Colab, {link}": f"]({link})" in first,
        "'save a copy in Drive'": re.search(r"save a copy in Drive", first, re.IGNORECASE),
        "'Before you start'": "**Before you start**" in first,
        "'Run time'": "**Run time**" in first,
    }
    for name, found in wanted.items():
        if not found:
            yield f"the first cell lacks {name}"
    goals = re.search(r"\*\*What you will be able to do\*\*:?\s*\n\n((?:[-*] .*\n?(?:  .*\n?)*)+)", first)
    count = len(re.findall(r"^[-*] ", goals[1], re.MULTILINE)) if goals else 0
    if not 3 <= count <= 5:
        yield f"'**What you will be able to do**' must be followed by 3 to 5 points, not {count}"


def sections(chapter: Chapter) -> Iterator[str]:
    """The closing sections are there, in order, and the quiz has feedback."""
    titles = [title.removeprefix("## ").strip() for title, _ in _parts(chapter.prose) if title.startswith("## ")]
    if [title for title in titles if title in SECTIONS] != list(SECTIONS):
        yield f"the sections {', '.join(SECTIONS)} must come once each, in this order"
    yield from quiz(chapter)


def quiz(chapter: Chapter) -> Iterator[str]:
    """Three to five questions, each with feedback to unfold."""
    text = chapter.section("Quiz")
    questions = len(re.findall(r"^\d+\. ", DETAILS.sub("", text), re.MULTILINE))
    answers = len(DETAILS.findall(text))
    if not 3 <= questions <= 5 or answers != questions:
        yield f"the quiz has {questions} numbered questions and {answers} <details>; wanted are 3 to 5, one to each"


def exercises(chapter: Chapter) -> Iterator[str]:
    """Two to four exercises, each with a stub, a check, three hints and one solution.

    They are numbered through the chapter: a second notebook goes on where the first one ended. A chapter of several
    notebooks may spread its exercises over them, but none goes without.
    """
    names = [exercise.name for exercise in chapter.exercises]
    earlier = len([exercise for part in chapter.earlier for exercise in part.exercises])
    wanted = [f"{chapter.number}.{place}" for place in range(earlier + 1, earlier + len(names) + 1)]
    least = 1 if chapter.divided else 2
    if not least <= len(names) <= 4 or names != wanted:
        start = f"{chapter.number}.{earlier + 1}, {chapter.number}.{earlier + 2}"
        yield f"{least} to 4 exercises called {start}, ... are wanted, found {names}"
    yield from exercise_parts(chapter)


def exercise_parts(chapter: Chapter) -> Iterator[str]:
    """What there is of exercises is complete."""
    for exercise in chapter.exercises:
        if len(exercise.stubs) != 1 or len(exercise.checks) != 1:
            yield f"exercise {exercise.name} needs one cell tagged 'exercise' and one tagged 'check'"
        if exercise.hints != ["1", "2", "3"]:
            yield f"exercise {exercise.name} needs Hint 1, Hint 2, Hint 3, found {exercise.hints}"
        if len(exercise.solutions) != 1 or not exercise.solutions[0].strip():
            yield f"exercise {exercise.name} needs one Solution in <details> with a ```python block"
        if exercise.checks and f'check("{exercise.name}"' not in exercise.checks[0]:
            yield f'exercise {exercise.name}: its check cell does not call check("{exercise.name}", ...)'
    if len(chapter.tagged("exercise")) != len(chapter.exercises):
        yield "a cell tagged 'exercise' stands outside an exercise"


def lengths(chapter: Chapter) -> Iterator[str]:
    """A chapter can be read in a sitting and a cell at a glance."""
    if len(chapter.code) > MAX_CODE_CELLS:
        yield f"{len(chapter.code)} code cells; at most {MAX_CODE_CELLS}"
    if (count := words(chapter)) > MAX_WORDS:
        yield f"{count} words outside exercises and <details>; at most {MAX_WORDS}"
    own = [cell for cell in chapter.code if cell not in chapter.tagged("setup")]
    heights = [height_of(cell.source) for cell in own]
    for cell, height in zip(own, heights, strict=True):
        place = chapter.code.index(cell) + 1
        if height > MAX_LINES:
            yield f"code cell {place} has {height} lines; at most {MAX_LINES}"
        if (width := max(map(len, cell.source.splitlines()), default=0)) > MAX_WIDTH:
            yield f"code cell {place} has a line of {width} characters; at most {MAX_WIDTH}"
    typical = [height for cell, height in zip(own, heights, strict=True) if cell not in chapter.tagged("imports")]
    if typical and statistics.median(typical) > MAX_MEDIAN:
        yield f"the median cell has {statistics.median(typical):g} lines; at most {MAX_MEDIAN}"


def height_of(source: str) -> int:
    """Lines of a cell, less those in which the alt text of its picture goes on, and the title of a folded one."""
    beyond: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("show", "animate")
        ):
            texts = [a for a in node.args if isinstance(a, ast.Constant | ast.JoinedStr)]
            beyond |= {line for a in texts for line in range(a.lineno + 1, (a.end_lineno or 0) + 1)}
    return len(source.splitlines()) - len(beyond) - source.startswith(fold.TITLE)


def words(chapter: Chapter) -> int:
    """Words of the running text: no exercises, nothing to unfold, no code, a formula in the line counts as one."""
    prose = chapter.prose.replace(chapter.section("Exercises") or "\0", "")
    for pattern in (DETAILS, FENCE, COMMENT, re.compile(r"\$\$.*?\$\$", re.DOTALL)):
        prose = pattern.sub(" ", prose)
    prose = re.sub(r"\]\([^)]*\)", "] ", re.sub(r"\$[^$\n]+\$", "formula", prose))
    return len(re.findall(r"\w[\w'’.-]*", prose))


def pictures(chapter: Chapter) -> Iterator[str]:
    """One figure to a cell, each with an alt text of its own, in the output and for the rendered book in the cell."""
    seen: set[str] = set()
    for place, cell in enumerate(chapter.code, start=1):
        texts = alts(cell)
        if len(texts) > 1:
            yield f"code cell {place} shows {len(texts)} figures; the rendered book has one alt text to a cell"
        for alt in texts:
            if len(alt) < MIN_ALT:
                yield f"code cell {place} shows a figure with alt text {alt!r}; at least {MIN_ALT} characters"
            if alt in seen:
                yield f"code cell {place} repeats an alt text: {alt!r}"
            if cell.metadata.get("mystnb", {}).get("image", {}).get("alt") != alt:
                yield f"code cell {place} lacks its alt text in its metadata; run `python -m tools.execute`"
            seen.add(alt)


def folds(chapter: Chapter) -> Iterator[str]:
    """Setup, imports and cells that mostly draw are folded, on the page and on Colab."""
    yield from fold.faults(chapter.notebook)


def numbers(chapter: Chapter) -> Iterator[str]:
    """Every marked equation shows the next number of its chapter."""
    yield from equations.faults(chapter.number, chapter.notebook, [part.notebook for part in chapter.earlier])


def films(chapter: Chapter) -> Iterator[str]:
    """nbval passes over players and the cell of page numbers and nothing else; there are at most three films."""
    for place, cell in enumerate(chapter.code, start=1):
        if "page-numbers" in cell.metadata.get("tags", []):
            continue
        shown = [PLAYER in "".join(output_texts(output)) for output in cell.outputs]
        labels = {"nbval-ignore-output", "animation"} & set(cell.metadata.get("tags", []))
        if any(shown) and (shown != [True] or len(labels) != 2):
            yield f"code cell {place} shows a film: it needs both tags and no other output"
        if labels and not any(shown):
            yield f"code cell {place} is tagged {', '.join(sorted(labels))} but shows no film"
    if (count := len(chapter.tagged("animation"))) > MAX_FILMS:
        yield f"{count} films; at most {MAX_FILMS}"


def page_numbers(chapter: Chapter) -> Iterator[str]:
    """One cell may print to more digits than hold everywhere: tests/notebooks/page_numbers.py compares within 5 %."""
    cells = chapter.tagged("page-numbers")
    if len(cells) > 1:
        yield f"{len(cells)} cells print page numbers; at most one may"
    for cell in cells:
        place = chapter.code.index(cell) + 1
        if "nbval-ignore-output" not in cell.metadata["tags"] or not cell.outputs:
            yield f"code cell {place} prints page numbers: it needs the tag nbval-ignore-output, and an output"
        if any(output.output_type != "stream" for output in cell.outputs):
            yield f"code cell {place} prints page numbers, and may show nothing else"


def sources(chapter: Chapter) -> Iterator[str]:
    """At least one function of the package is shown."""
    blocks = [o.data["text/markdown"] for c in chapter.code for o in c.outputs if "text/markdown" in o.get("data", {})]
    if not any("`metarl_lite." in block and "```python" in block for block in blocks):
        yield "no function of the package is shown with show_source"


def cost(chapter: Chapter) -> Iterator[str]:
    """The recorded seconds and the size of the file stay small."""
    seconds = recorded_seconds(chapter)
    if seconds is None or seconds > MAX_SECONDS:
        yield f"recorded seconds are {seconds}; at most {MAX_SECONDS:g}, recorded by `python -m tools.execute`"
    stated = re.search(r"\*\*Run time\*\*: about (\d+) seconds", chapter.notebook.cells[0].source)
    if stated and seconds and not seconds / 2 <= float(stated[1]) <= 2 * seconds:
        yield f"the first cell says about {stated[1]} seconds, but {seconds} were recorded"
    if (size := chapter.path.stat().st_size) > MAX_BYTES:
        yield f"the file has {size} bytes; at most {MAX_BYTES}"


def recorded_seconds(chapter: Chapter) -> float | None:
    """What the last execution took, None if it was not recorded."""
    seconds = chapter.notebook.metadata.get("metarl_lite", {}).get("seconds")
    return None if seconds is None else float(seconds)


def equation_names(chapter: Chapter) -> list[str]:
    """The names of the marked equations, each of which has a test of that name."""
    return EQUATION.findall(chapter.prose)


Check = Callable[[Chapter], Iterator[str]]
ALWAYS: tuple[Check, ...] = (
    executed, portable_outputs, portable_markdown, tags, pictures, films, folds, numbers, page_numbers, cost,
)  # fmt: skip
OF_CHAPTERS: tuple[Check, ...] = (*ALWAYS, opening, sections, exercises, lengths, sources)
OF_PRIMER: tuple[Check, ...] = (*ALWAYS, exercise_parts)


def breaches(path: Path, root: Path = ROOT) -> list[str]:
    """Everything that this notebook breaks of the standard, in words; an empty list if it keeps to it."""
    chapter = Chapter.read(path, root)
    checks = OF_CHAPTERS if chapter.number else OF_PRIMER
    return [sentence for check in checks for sentence in check(chapter)]
