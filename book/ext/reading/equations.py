"""Equations with a number of their own: the notebook says `\\tag{6.3}`, which Colab shows; the page adds an anchor.

In HTML the number is text beside the formula, so that it stays in view where a long formula scrolls, and can be found.
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
    """In HTML the tag becomes a number beside the formula, which leads to itself; LaTeX has it outside of `split`."""
    tag, tex = node["tag"], TAG.sub("", node.astext()).strip()
    if form == "latex":
        tex = f"\\begin{{split}}{tex}\\end{{split}}" if r"\\" in tex else tex
        tex = f"\\begin{{equation*}}\n{tex}\n\\tag{{{tag}}}\n\\end{{equation*}}"
        node["nowrap"] = True
    node.children = []
    node += nodes.Text(tex)
    if form == "html":
        name = anchor("equation", tag)
        number = nodes.reference("", f"({tag})", refid=name, internal=True, classes=["equation-number"])
        box = nodes.container("", classes=["numbered-equation"], ids=[name])
        node["ids"].remove(name)
        node.replace_self(box)
        box += [node, nodes.paragraph("", "", number)]


class NumberEquations(SphinxPostTransform):  # type: ignore[misc]
    """Sphinx runs this for each page, or for the whole book in print."""

    default_priority = 300

    def run(self, **kwargs: Any) -> None:
        """All tagged equations."""
        form = self.app.builder.format
        for node in list(self.document.findall(nodes.math_block)):
            if "tag" in node and form in ("html", "latex"):
                number_equation(node, form)
