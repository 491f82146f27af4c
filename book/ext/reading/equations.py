"""Equations with a number of their own: the notebook says `\\tag{6.3}`, which Colab shows; the page adds an anchor.

In HTML Sphinx sets the number, so the tag is taken out: two numbers, or one inside `split`, would be wrong.
"""

from __future__ import annotations

import html
from typing import Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from .numbers import TAG, anchor


def anchor_equations(document: nodes.document) -> dict[str, str]:
    """Gives each tagged equation of a page its anchor; returns their cards by anchor."""
    cards = {}
    for node in document.findall(nodes.math_block):
        if match := TAG.search(node.astext()):
            name = anchor("equation", match[1])
            node["tag"] = match[1]
            if name not in node["ids"]:
                node["ids"].insert(0, name)
            cards[name] = f"<div>\\[{html.escape(node.astext().strip(), quote=False)}\\]</div>"
    return cards


def number_equation(node: nodes.math_block, form: str) -> None:
    """The tag becomes the writer's number in HTML; LaTeX has it outside of what is split over lines."""
    tex = TAG.sub("", node.astext()).strip()
    if form == "html":
        node["number"] = node["tag"]
    else:
        tex = f"\\begin{{split}}{tex}\\end{{split}}" if r"\\" in tex else tex
        tex = f"\\begin{{equation*}}\n{tex}\n\\tag{{{node['tag']}}}\n\\end{{equation*}}"
        node["nowrap"] = True
    node.children = []
    node += nodes.Text(tex)


class NumberEquations(SphinxPostTransform):  # type: ignore[misc]
    """Sphinx runs this for each page, or for the whole book in print."""

    default_priority = 300

    def run(self, **kwargs: Any) -> None:
        """All tagged equations."""
        form = self.app.builder.format
        for node in self.document.findall(nodes.math_block):
            if "tag" in node and form in ("html", "latex"):
                number_equation(node, form)
