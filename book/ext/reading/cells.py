"""What a reader sees open is concept: setup, imports and cells that mostly draw are folded, answers are veiled.

A fold is `<details>`, which works without scripts. Setup and imports are folded by their tags, the others by the tag
`hide-input`. The answer to a "Predict before you run" is what the following cells put out, with the lines that draw,
print or assert it, and the first sentences after them, equations and all: it lies under a veil that the reader lifts.
In print everything is there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.transforms.post_transforms import SphinxPostTransform

from .numbers import TAG

PREDICT = "Predict before you run"
TITLE = re.compile(r"\A#@title .*\n")
PROMPTS = {"setup": "setup", "imports": "imports"}
LIFT, IN_WORDS = "I have made my prediction: show what happens", "Show the answer in words"
SWITCH = '<p class="code-switch" hidden><button type="button" aria-pressed="false">Show all code</button></p>'


class veil(nodes.General, nodes.Element):
    """What lies hidden until the reader lifts it; `prediction` counts the questions of the page."""


def visit_veil(self: Any, node: veil) -> None:
    """A fold that says what it hides."""
    self.body.append(f'<details class="veil" data-prediction="{node["prediction"]}">\n')
    self.body.append(f"<summary>{node['says']}</summary>\n")


def depart_veil(self: Any, node: veil) -> None:
    """Ends it."""
    self.body.append("</details>\n")


def visit_fold(self: Any, node: Any) -> None:
    """A folded code cell: myst-nb's own names the fold twice, once for eyes and once for screen readers."""
    classes = " ".join(["hide", *node["classes"]])
    self.body.append(f'<details class="code-fold {classes}">\n<summary>{node["prompt_show"]}</summary>\n')


def depart_fold(self: Any, node: Any) -> None:
    """Ends it."""
    self.body.append("</details>\n")


def is_cell(node: nodes.Node) -> bool:
    """Whether this is a code cell of a notebook."""
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"


def output(cell: nodes.Element) -> nodes.Element | None:
    """The container of what a cell has put out."""
    last = cell.children[-1]
    return last if last.get("nb_element") == "cell_code_output" else None


def fold_cells(document: nodes.document) -> int:
    """Marks the cells that are folded; returns how many there are. The page gets a switch if there is any."""
    folded = 0
    for cell in document.findall(is_cell):
        tags = cell.get("cell_metadata", {}).get("tags", [])
        names = [PROMPTS[tag] for tag in tags if tag in PROMPTS]
        if names or "hide-input" in tags:
            what = names[0] if names else "figure" if has_figure(cell) else "code"
            cell["hide_mode"] = "input"
            cell["prompt_show"] = {
                "setup": "Show the setup",
                "imports": "Show the imports",
                "figure": "Show the code of this figure",
                "code": "Show the code",
            }[what]
            cell["prompt_hide"] = cell["prompt_show"]
            drop_title(cell)
            folded += 1
    title = next(iter(document.findall(nodes.title)), None)
    if folded and title is not None:
        title.parent.insert(title.parent.index(title) + 1, nodes.raw("", SWITCH, format="html"))
    return folded


def drop_title(cell: nodes.Element) -> None:
    """Colab's title of a folded cell says nothing here, where the figure has a caption."""
    for block in cell.findall(nodes.literal_block):
        text = TITLE.sub("", block.astext())
        block.rawsource, block.children = text, []
        block += nodes.Text(text)
        return


def has_figure(cell: nodes.Element) -> bool:
    """Whether a cell puts out a picture or a player."""
    return any(isinstance(node, nodes.figure) for node in cell.findall())


def says_it(statement: ast.stmt) -> bool:
    """Whether a statement asserts, prints or draws; what a definition does later does not count."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return False
    for node in ast.walk(statement):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call) and re.match(r"(print|show_table|plot\.\w+)\(", ast.unparse(node)):
            return True
    return False


def first_answer(code: str) -> int:
    """The number of lines of a cell before the first that may give its outcome away, with the comments above that."""
    lines = code.splitlines()
    ends = [statement.lineno - 1 for statement in ast.parse(code).body if says_it(statement)]
    if not ends:
        return len(lines)
    above = takewhile(lambda line: line.startswith("#"), reversed(lines[: ends[0]]))
    return ends[0] - len(list(above))


def part(cell: nodes.Element) -> nodes.Element | None:
    """Parts the code of a cell before its first line that answers; returns the container of the second part, if any."""
    source = cell.children[0]
    block = next(iter(source.findall(nodes.literal_block)), None)
    if block is None or cell.get("hide_mode"):
        return None
    code = block.astext()
    kept, lines = first_answer(code), code.splitlines()
    if kept == len(lines) or not any(line.strip() for line in lines[:kept]):
        return None
    rest = source.deepcopy()
    for container, text in ((source, lines[:kept]), (rest, lines[kept:])):
        shown = next(iter(container.findall(nodes.literal_block)))
        shown.rawsource, shown.children = "\n".join(text).strip("\n"), []
        shown += nodes.Text(shown.rawsource)
    cell.insert(1, rest)
    return rest


def ends_sentence(block: nodes.Element) -> bool:
    """Whether a paragraph or an equation ends with a full stop, say."""
    text = TAG.sub("", block.astext()).rstrip(" \n\\,;}$")
    return text.endswith((".", "?", "!", ":"))


def steps(document: nodes.document) -> Iterator[nodes.Element]:
    """The blocks of a page in reading order: what its sections hold, without the sections themselves."""
    for child in document.children:
        if isinstance(child, nodes.section):
            yield from steps(child)
        elif isinstance(child, nodes.Element):
            yield child


def veil_answers(document: nodes.document) -> int:
    """Marks what answers each prediction; returns how many there are."""
    asked, waiting, covered = 0, False, False
    for block in steps(document):
        if predicts(block):
            asked, waiting, covered = asked + 1, True, False
        elif waiting and is_cell(block) and output(block) is not None:
            output(block)["veil"], covered = asked, True
            if (rest := part(block)) is not None:
                rest["veil"] = asked
        elif waiting and covered and not is_cell(block) and not isinstance(block, nodes.comment | nodes.raw):
            if isinstance(block, nodes.paragraph | nodes.math_block):
                block["veil"] = asked
            waiting = isinstance(block, nodes.paragraph | nodes.math_block) and not ends_sentence(block)
    return asked


def predicts(block: nodes.Node) -> bool:
    """Whether a paragraph asks for a prediction, in bold."""
    return isinstance(block, nodes.paragraph) and any(
        strong.astext().startswith(PREDICT) for strong in block.findall(nodes.strong)
    )


def next_of(node: nodes.Element) -> nodes.Element:
    """What follows in the same parent; an empty element where nothing does."""
    siblings = node.parent.children[node.parent.index(node) + 1 :]
    shown = (s for s in siblings if isinstance(s, nodes.Element) and not isinstance(s, nodes.comment | nodes.raw))
    return next(shown, nodes.Element())


def wrap(blocks: list[nodes.Element], cover: veil) -> None:
    """Puts neighbours under one veil."""
    parent = blocks[0].parent
    parent.insert(parent.index(blocks[0]), cover)
    for block in blocks:
        parent.remove(block)
        block.attributes.pop("veil", None)
        cover += block


class FoldsOnThePage(SphinxPostTransform):  # type: ignore[misc]
    """In HTML what is marked is put under its veil."""

    default_priority = 198
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """All veils of a page."""
        for node in list(self.document.findall(lambda n: isinstance(n, nodes.Element) and "veil" in n)):
            if "veil" not in node:  # under that of the lines before it
                continue
            words = isinstance(node, nodes.paragraph | nodes.math_block)
            cover = veil(prediction=node["veil"], says=IN_WORDS if words else LIFT)
            if words:
                sentence, after = [node], next_of(node)
                while "veil" in after and isinstance(after, nodes.paragraph | nodes.math_block):
                    sentence.append(after)
                    after = next_of(after)
                wrap(sentence, cover)
            elif node.get("nb_element") == "cell_code_source":
                wrap([node, next_of(node)], cover)
            else:
                cover.extend(node.children)
                node.children = []
                node += cover


def setup(app: Any) -> None:
    """Registers what this module adds."""
    app.add_node(veil, html=(visit_veil, depart_veil))
    app.add_node(HideCodeCellNode, override=True, html=(visit_fold, depart_fold))
    app.add_post_transform(FoldsOnThePage)
