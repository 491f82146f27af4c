"""What a lesson keeps to, beyond what `tools/standard.py` asks of every notebook: one evening, one idea at a time.

`shortfalls(path)` says in words what a stored notebook lacks. Notebooks that were written before the standard stand in
`NOT_YET`, a list that may only shrink: tests/notebooks/test_lesson.py fails for a notebook that is neither a lesson nor
listed, and for one that is listed and has become a lesson.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools import contents
from tools.contents import ROOT
from tools.notebook_format import alts, output_texts, parse
from tools.standard import (
    COMMENT,
    DETAILS,
    EQUATION,
    FENCE,
    PLAYER,
    Chapter,
    Check,
    height_of,
    words,
)

#: The notebooks of version 0.3.0, written for chapters of 25 cells; take out what has become a lesson, add none.
NOT_YET = frozenset(
    {
        "00_primer",
        "01_generalisation_problem",
        "02_task_distributions",
        "03_measuring_adaptation",
        "04_policy_gradients",
        "05_inner_loop",
        "06_outer_loop",
        "07_second_order_or_not",
        "08_gradient_you_did_not_take",
        "09_steps_you_can_trust",
        "10_optimal_exploration",
        "11_rl2_from_the_inside",
        "12_rl2_with_ppo",
        "13_what_the_memory_knows",
    }
)
MAX_OPEN_CELLS, MAX_OPEN_LINES, MAX_LESSON_WORDS, MAX_FIGURES, MAX_MINUTES = 16, 15, 2000, 8, 90
#: Kinds of exercise that are no retyping, as a comment below an exercise's heading says: `<!-- kind: broken -->`.
KINDS = ("derivation", "prediction", "broken", "experiment")
KIND = re.compile(r"<!--\s*kind:\s*(.*?)\s*-->")
TAG = re.compile(r"\\tag\{([^}]*)\}")
TIME = re.compile(r"\*\*Reading time\*\*: about (\d+) minutes")
SHOWN = re.compile(r"`(metarl_lite(?:\.\w+)+)`\s+```python\n")
TABLE_ROW = re.compile(r"^\|\s*`([\w.]+)(?:\([^`]*\))?`\s*\|", re.MULTILINE)
CHECK = re.compile(r"_?check_")
CITED = re.compile(r"\b[A-Z][\w'’-]+(?: et al\.| and [A-Z][\w'’-]+)? \(?(?:19|20)\d\d")


def folded(cell: Any) -> bool:
    """The page shows this cell closed, and so does Colab."""
    return "hide-input" in cell.metadata.get("tags", []) and cell.metadata.get("cellView") == "form"


def opening(chapter: Chapter) -> Iterator[str]:
    """A picture before the first section, the minutes it takes, and the setup folded away."""
    for cell in chapter.notebook.cells:
        if cell.cell_type == "markdown" and re.search(r"^## ", cell.source, re.MULTILINE):
            yield "no picture stands before the first section"
            break
        if cell.cell_type == "code" and _figures(cell):
            break
    found = TIME.search(chapter.notebook.cells[0].source)
    if not found or not 10 <= int(found[1]) <= MAX_MINUTES:
        yield f"the first cell must say '**Reading time**: about N minutes', with the exercises, at most {MAX_MINUTES}"
    for tag in ("setup", "imports"):
        for cell in chapter.tagged(tag):
            if not folded(cell):
                yield f"the {tag} cell is not folded: it needs the tag hide-input and Colab's cellView 'form'"


def lengths(chapter: Chapter) -> Iterator[str]:
    """What stands open can be read in an evening: cells, their lines, words and figures."""
    asides = {"setup", "imports", "exercise", "check"}
    unfolded = [cell for cell in chapter.code if not folded(cell) and not asides & set(cell.metadata.get("tags", []))]
    if len(unfolded) > MAX_OPEN_CELLS:
        yield f"{len(unfolded)} code cells stand open; at most {MAX_OPEN_CELLS}"
    for cell in unfolded:
        if (height := height_of(cell.source)) > MAX_OPEN_LINES:
            place = chapter.code.index(cell) + 1
            yield f"code cell {place} stands open with {height} lines; at most {MAX_OPEN_LINES}"
    if (count := words(chapter)) > MAX_LESSON_WORDS:
        yield f"{count} words outside exercises and <details>; at most {MAX_LESSON_WORDS}"
    if (count := sum(map(_figures, chapter.code))) > MAX_FIGURES:
        yield f"{count} figures; at most {MAX_FIGURES}"


def _figures(cell: Any) -> int:
    """Pictures and films among a cell's outputs."""
    films = sum(PLAYER in "".join(output_texts(output)) for output in cell.outputs)
    return len(alts(cell)) + films


def numbered(chapter: Chapter) -> Iterator[str]:
    """Every marked equation has a number that a reader sees, in order through the chapter, and that the text names."""
    earlier = sum(len(EQUATION.findall(part.prose)) for part in chapter.earlier)
    text = COMMENT.sub("", re.sub(r"\$\$.*?\$\$", "", chapter.prose, flags=re.DOTALL))
    for place, (name, formula) in enumerate(marked(chapter), start=earlier + 1):
        number = f"{chapter.number}.{place}"
        if TAG.findall(formula) != [number]:
            yield f"the equation {name} needs \\tag{{{number}}}, it has {TAG.findall(formula) or 'none'}"
        elif f"({number})" not in text:
            yield f"the text never refers to the equation {name} as ({number})"


def marked(chapter: Chapter) -> list[tuple[str, str]]:
    """The marked equations in order: their names and what stands between the dollars after the mark."""
    return re.findall(r"<!--\s*eq:\s*(\w+)\s*-->\s*\$\$(.*?)\$\$", chapter.prose, re.DOTALL)


def helpers_shown(chapter: Chapter) -> Iterator[str]:
    """What a shown function calls of the package was shown before, or stands in a table, `| name | what it does |`."""
    known = {last(row) for row in TABLE_ROW.findall(chapter.prose)}
    for notebook in read_before(chapter):
        known |= {last(row) for row in TABLE_ROW.findall(notebook.prose)}
        known |= {last(name) for cell in notebook.code for name in shown(cell)}
    for cell in chapter.code:
        known |= {last(name) for name in shown(cell)}
        for name in shown(cell):
            if strange := sorted(calls(name) - known):
                yield f"{name} is shown, and what it calls was neither shown nor told in a table: {', '.join(strange)}"


def read_before(chapter: Chapter) -> list[Chapter]:
    """The notebooks that a reader has read before this one."""
    root = chapter.path.resolve().parent.parent
    before = itertools.takewhile(lambda path: not path.samefile(chapter.path), contents.notebooks(root))
    return [Chapter(path, parse(path.read_text(encoding="utf-8"))) for path in before]


def last(name: str) -> str:
    """The last part of a dotted name, by which code calls it."""
    return name.split(".")[-1]


def shown(cell: Any) -> list[str]:
    """The functions and classes of the package whose source this cell displays."""
    data = [output.get("data", {}).get("text/markdown", "") for output in cell.outputs]
    return [name for text in data for name in SHOWN.findall("".join(text))]


def calls(name: str) -> set[str]:
    """The functions and classes of the package that a function of it names, by the names that its source has.

    The doors of `metarl_lite.given` are left out, and what is called `check_...`: they refuse; their names say what.

    Raises:
        ValueError: the package has no such function.
    """
    thing = _resolve(name)
    functions = [f for _, f in inspect.getmembers(thing, inspect.isfunction)] if inspect.isclass(thing) else [thing]
    found = set()
    for function in map(inspect.unwrap, functions):
        if function.__module__ != thing.__module__:
            continue  # inherited, and so not in the source that is shown
        for used in _names(function.__code__):
            value = function.__globals__.get(used)
            home = getattr(value, "__module__", None) or ""
            ours = home.startswith("metarl_lite") and home != "metarl_lite.given"
            if ours and not CHECK.match(used) and callable(value) and value is not thing and not _is_type_alone(value):
                found.add(used)
    return found


def _names(code: types.CodeType) -> set[str]:
    """Global names in a function and in the functions within it."""
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _is_type_alone(value: Any) -> bool:
    """An alias such as Params, which code names in annotations only."""
    return not inspect.isclass(value) and not inspect.isroutine(inspect.unwrap(value))


def _resolve(name: str) -> Any:
    """The object of a dotted name such as metarl_lite.policies.gru.GRUPolicy.unroll."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing: Any = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            thing = getattr(thing, part, None)
        if thing is not None:
            return thing
    raise ValueError(f"{name} is shown, and the package has nothing of that name: execute the notebook again")


def exercises(chapter: Chapter) -> Iterator[str]:
    """Three or four exercises to a chapter, and in each lesson one that is no retyping."""
    names = [exercise.name for part in (*chapter.earlier, chapter) for exercise in part.exercises]
    if not chapter.divided and not 3 <= len(names) <= 4:
        yield f"3 or 4 exercises are wanted, found {len(names)}"
    kinds = KIND.findall(chapter.section("Exercises"))
    if unknown := sorted(set(kinds) - set(KINDS)):
        yield f"an exercise is of the kind {unknown[0]!r}; the kinds are {', '.join(KINDS)}"
    elif not kinds:
        yield f"no exercise is more than retyping: mark one with `<!-- kind: ... -->`, of {', '.join(KINDS)}"


def closing(chapter: Chapter) -> Iterator[str]:
    """Mistakes and further reading have sources, which the build links to the bibliography."""
    for title, least in (("Common mistakes", 1), ("Further reading", 3)):
        text = DETAILS.sub("", FENCE.sub("", chapter.section(title)))
        if (count := len(CITED.findall(text))) < least:
            yield f"'{title}' cites {count} sources by author and year; at least {least}"


CHECKS: tuple[Check, ...] = (opening, lengths, numbered, helpers_shown, exercises, closing)


def shortfalls(path: Path, root: Path = ROOT) -> list[str]:
    """What this notebook lacks to be a lesson, in words; an empty list for a lesson."""
    chapter = Chapter.read(path, root)
    return [sentence for check in CHECKS for sentence in check(chapter)]
