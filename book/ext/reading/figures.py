"""Pictures and players of a notebook become figures with a number, a caption and an anchor.

Sphinx numbers figures that the source marks as such; the pictures of a notebook are outputs. They are counted here,
through all notebooks of a chapter. The caption is what the notebook gives in a comment before the cell,
`<!-- caption: ... -->`, and otherwise the first sentence of the alternative text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from .numbers import anchor

GIVEN = re.compile(r"<!--\s*caption:\s*(.+?)\s*-->", re.DOTALL)
PLAYER = "mrl-player"
ALT = re.compile(r'<img\b[^>]*\balt="([^"]*)"')
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-ZΑ-Ω“\"])")
#: "Left: ... Right: ..." says what there is to see in several sentences.
PANEL = re.compile(r"(?:On the |At the )?(?:Left|Right|Top|Bottom|Above|Below|First|Upper|Lower)\b")


BRIEF = 9  # words of a sentence that says no more than what kind of picture it is
SHORT = 45  # words of an alternative text that is a caption as it stands


class book_figure(nodes.figure):
    """A figure that Sphinx does not count, since we do."""


def visit_figure(self: Any, node: book_figure) -> None:
    """As any figure."""
    self.visit_figure(node)


def depart_figure(self: Any, node: book_figure) -> None:
    """As any figure."""
    self.depart_figure(node)


def is_figure(output: Any) -> bool:
    """Whether a stored output is a picture or a player, and so has a number."""
    data = output.get("data", {})
    shown = data.get("text/html", "")
    return "image/png" in data or PLAYER in (shown if isinstance(shown, str) else "".join(shown))


def count(notebook: Any) -> int:
    """How many figures a stored notebook has."""
    return sum(is_figure(output) for cell in notebook["cells"] for output in cell.get("outputs", []))


def caption(alt: str) -> str:
    """A short alternative text, or the first sentence of a long one; the second one too where the first names no more
    than a kind of picture, and the next ones where the picture has panels, each with a sentence of its own.
    """
    if len(alt.split()) <= SHORT:
        return closed(" ".join(alt.split()))
    sentences = SENTENCE.split(" ".join(alt.split()))
    kept = sentences[: 2 if len(sentences[0].split()) < BRIEF else 1]
    if any(map(PANEL.match, sentences[:2])):
        kept = [sentences[0], *(sentence for sentence in sentences[1:3] if PANEL.match(sentence))]
    return closed(" ".join(kept))


def closed(text: str) -> str:
    """A sentence with its stop."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def is_part(name: str) -> Callable[[nodes.Node], bool]:
    """Asks a node whether it is this part of a notebook."""
    return lambda node: isinstance(node, nodes.container) and node.get("nb_element") == name


def bundles(document: nodes.document) -> Iterator[tuple[nodes.container, nodes.container, str]]:
    """Each cell with an output that is a figure, the output, and the alternative text."""
    for cell in document.findall(is_part("cell_code")):
        for bundle in list(cell.findall(is_part("mime_bundle"))):
            images = list(bundle.findall(nodes.image))
            players = [raw for raw in bundle.findall(nodes.raw) if PLAYER in raw.astext()]
            if images:
                yield cell, bundle, images[0].get("alt", "")
            elif players:
                alt = ALT.search(players[0].astext())
                yield cell, bundle, html.unescape(alt[1]) if alt else ""


def given(cell: nodes.Element) -> str | None:
    """The caption in the comment that ends the text before a cell."""
    place = cell.parent.index(cell)
    before = cell.parent.children[place - 1] if place else None
    text = before.astext() if isinstance(before, nodes.comment | nodes.raw) else ""
    match = GIVEN.search(text if isinstance(before, nodes.raw) else f"<!--{text}-->")
    return " ".join(match[1].split()) if match else None


def number_figures(document: nodes.document, chapter: int, before: int = 0) -> list[str]:
    """Makes figures of the outputs of one notebook, `before` of whose chapter come earlier; returns their numbers."""
    numbers = []
    for place, (cell, bundle, alt) in enumerate(list(bundles(document)), start=before + 1):
        number = f"{chapter}.{place}"
        text = given(cell) or caption(alt)
        shown = nodes.caption("", "", nodes.strong("", f"Figure {number}."), nodes.Text(f" {text}"))
        figure = book_figure("", ids=[anchor("figure", number)], classes=["book-figure"], number=number)
        bundle.parent.replace(bundle, figure)
        figure += [bundle, shown]
        numbers.append(number)
    return numbers


class FiguresInPrint(SphinxPostTransform):  # type: ignore[misc]
    """LaTeX counts figures itself and lets them float; ours stay where they are, with the numbers of the pages."""

    default_priority = 400
    formats = ("latex",)

    def run(self, **kwargs: Any) -> None:
        """All figures of the book."""
        for figure in list(self.document.findall(book_figure)):
            text = figure.children[-1]
            paragraph = nodes.paragraph("", "", *[child.deepcopy() for child in text.children])
            figure.replace_self([*figure.children[:-1], nodes.container("", paragraph, ids=figure["ids"])])


def setup(app: Any) -> None:
    """Registers what this module adds."""
    app.add_node(book_figure, html=(visit_figure, depart_figure))
    app.add_post_transform(FiguresInPrint)
