"""Hover cards: what a link leads to, in a few lines, stored in the page that has the link, so that no network is asked.

Each page that is linked to gives its cards by anchor when it is read; a page gets those of its own links when it is
written. `book/static/reading.js` shows them.
"""

from __future__ import annotations

import html
import json
import posixpath
import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote

from docutils import nodes
from sphinx import addnodes

HREF = re.compile(r'<a\b[^>]*?\bhref="([^"#:?]*)#([^"]+)"')
LONGEST = 220  # characters of a signature; what is longer ends in dots


def inline(node: nodes.Node) -> str:
    """A node's words as a line of HTML: code, emphasis and formulas stay, links become words, citations go."""
    if isinstance(node, nodes.Text):
        return html.escape(str(node), quote=False)
    if isinstance(node, nodes.math | nodes.math_block):
        opens, closes = (r"\(", r"\)") if isinstance(node, nodes.math) else (r"\[", r"\]")
        return f"{opens}{html.escape(node.astext(), quote=False)}{closes}"
    if isinstance(node, nodes.literal):
        return f"<code>{html.escape(node.astext(), quote=False)}</code>"
    if isinstance(node, nodes.raw | nodes.comment) or node.get("refdomain") == "cite":
        return ""
    words = "".join(map(inline, node.children))
    tag = "em" if isinstance(node, nodes.emphasis) else "b" if isinstance(node, nodes.strong) else ""
    return f"<{tag}>{words}</{tag}>" if tag else words


def of_terms(document: nodes.document) -> Iterator[tuple[str, str]]:
    """The cards of a glossary: each term's anchor, and its definition."""
    for item in document.findall(nodes.definition_list_item):
        terms = [child for child in item.children if isinstance(child, nodes.term)]
        says = [child for child in item.children if isinstance(child, nodes.definition)]
        for term in terms:
            for anchor in term["ids"]:
                paragraphs = [tidy(inline(paragraph)) for paragraph in says[0].children] if says else []
                yield anchor, f"<p><b>{inline(term)}</b></p>" + "".join(f"<p>{p}</p>" for p in paragraphs if p)


def tidy(text: str) -> str:
    """Takes out the gaps that citations leave."""
    return re.sub(r"\s+([.,;:)])", r"\1", re.sub(r"\s+", " ", text)).strip()


def of_objects(document: nodes.document) -> Iterator[tuple[str, str]]:
    """The cards of a reference page: each object's signature, and the first sentence of what is said of it."""
    for described in document.findall(addnodes.desc):
        if described.get("domain") != "py":
            continue
        content = next((child for child in described.children if isinstance(child, addnodes.desc_content)), None)
        said = [c for c in content.children if isinstance(c, nodes.paragraph)] if content else []
        first = next((c for c in said if not c.astext().startswith("Bases: ")), None)
        says = f"<p>{sentence(tidy(inline(first)))}</p>" if first is not None else ""
        for signature in described.findall(addnodes.desc_signature):
            if signature.parent is described:
                for anchor in signature["ids"]:
                    yield anchor, f"<p><code>{html.escape(signature_text(signature), quote=False)}</code></p>{says}"


def signature_text(signature: addnodes.desc_signature) -> str:
    """A signature in one line, with dots where it is long."""
    kept = [child for child in signature.children if not isinstance(child, addnodes.only | nodes.reference)]
    text = " ".join("".join(map(bare, kept)).split())
    return text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " ..."


def bare(node: nodes.Node) -> str:
    """The words of a node; where Sphinx holds two wordings of a type, the short one."""
    if isinstance(node, nodes.Text):
        return str(node)
    if isinstance(node, addnodes.pending_xref_condition) and node.get("condition") != "resolved":
        return ""
    if isinstance(node, addnodes.desc_returns):
        return f" -> {''.join(map(bare, node.children))}"
    if isinstance(node, addnodes.desc_parameterlist):
        return f"({', '.join(map(bare, node.children))})"
    return "".join(map(bare, node.children))


def sentence(text: str) -> str:
    """The first sentence."""
    return re.split(r"(?<=[.!?])\s+(?=[A-Z<\\])", text, maxsplit=1)[0]


def used(page: str, body: str, cards: dict[str, dict[str, str]], address: Callable[[str], str]) -> dict[str, str]:
    """The cards of a page's own links, by the link as it stands there; the page itself is ``""``."""
    pages = {address(name): name for name in cards}
    here, found = address(page), {}
    for target, anchor in HREF.findall(body):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(here), unquote(target))) if target else here
        card = cards.get(pages.get(path, ""), {}).get(unquote(anchor))
        if card is not None:
            found[f"{target}#{anchor}"] = card
    return found


def script(found: dict[str, str]) -> str:
    """The cards as an element that no browser shows or runs."""
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"), sort_keys=True).replace("</", "<\\/")
    return f'<script type="application/json" id="book-cards">{text}</script>\n'
