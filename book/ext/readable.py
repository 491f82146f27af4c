"""Plain text of a page's nodes, for the search and for descriptions: no TeX, no code, nothing that is folded away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.entities import name2codepoint
from typing import Any

from docutils import nodes
from sphinx import addnodes

FOLD = re.compile(r"<details[^>]*>\s*<summary>(?P<summary>.*?)</summary>|</details>", re.DOTALL)
#: What a fold of a chapter is called that gives something away.
SECRET = re.compile(r"Hint|Solution|Answer")
#: Nodes that have nothing to say in a sentence.
SILENT = (nodes.Invisible, nodes.raw, nodes.image, nodes.literal_block, addnodes.desc_signature, addnodes.index)

COMMAND = re.compile(r"\\([A-Za-z]+)")
#: Commands that a reader needs not see, and those whose sign has another name in HTML.
DROPPED = re.compile(
    r"left|right|[bB]igg?[lr]?|math(cal|rm|bf|bb)|boldsymbol|text|operatorname|displaystyle|bar|hat|tilde"
)
SIGNS = {"le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "neq": "≠", "infty": "∞", "in": "∈", "sim": "~", "to": "→"}
SIGNS |= {"cdot": "·", "times": "×", "partial": "∂", "mid": "|", "approx": "≈", "varepsilon": "ε", "ell": "ℓ"}
SIGNS |= {
    "dots": "…",
    "ldots": "…",
    "star": "*",
    "top": "T",
    "log": "log ",
    "exp": "exp ",
    "max": "max ",
    "min": "min ",
}


def formula(tex: str) -> str:
    r"""`\pi_\theta(a|s)` as π_θ(a|s); what needs more than one line, or a sign without a letter, is an ellipsis."""

    def sign(match: re.Match[str]) -> str:
        name = match[1]
        if name in SIGNS or DROPPED.fullmatch(name):
            return SIGNS.get(name, "")
        return chr(name2codepoint[name]) if name in name2codepoint else match[0]

    text = COMMAND.sub(sign, re.sub(r"\\([,;:! ]|q?quad\b)", " ", tex))
    text = re.sub(r"([_^])\{(\w+)\}", r"\1\2", text).replace("\\{", "(").replace("\\}", ")")
    text = re.sub(r"\{([^{}]*)\}", r"\1", text)
    return "…" if re.search(r"[\\{}&]", text) else " ".join(text.split())


def words(node: Any) -> Iterator[str]:
    """The pieces of text below a node, in order."""
    if isinstance(node, nodes.math):
        yield formula(node.astext())
    elif isinstance(node, nodes.math_block):
        yield " … "
    elif isinstance(node, nodes.Text):
        yield str(node)
    elif node.get("refdomain") == "cite":
        return  # the key of a work that has no name yet
    elif not isinstance(node, SILENT) and "cell" not in node.get("classes", []):
        for child in node.children:
            yield from words(child)
            if isinstance(child, nodes.list_item) and child.parent and child is not child.parent.children[-1]:
                yield ";"
            if not isinstance(child, nodes.Inline | nodes.Text | nodes.math):
                yield " "


def text_of(node: Any) -> str:
    """What a node says, on one line."""
    return " ".join("".join(words(node)).split())


def folded(parent: Any) -> Iterator[tuple[Any, str | None]]:
    """Each child of a node with the summary of the fold that it lies in."""
    summary: str | None = None
    for child in parent.children:
        text = child.astext() if isinstance(child, nodes.raw) and child.get("format") == "html" else ""
        marks = list(FOLD.finditer(text))
        for mark in marks:
            summary = mark["summary"]
        if not marks:
            yield child, summary
