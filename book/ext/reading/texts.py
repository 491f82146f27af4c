"""Where running text may be turned into links: not in headings, code, formulas, or what is a link already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from docutils import nodes
from sphinx import addnodes

#: No words below these become links.
CLOSED = (
    nodes.title,
    nodes.caption,
    nodes.literal,
    nodes.literal_block,
    nodes.reference,
    nodes.footnote_reference,
    nodes.math,
    nodes.math_block,
    nodes.raw,
    nodes.comment,
    nodes.image,
    nodes.term,
    addnodes.pending_xref,
    addnodes.desc_signature,
    addnodes.toctree,
)


@dataclass(frozen=True)
class Link:
    """A stretch of a text, from start to end, and the node that takes its place."""

    start: int
    end: int
    node: nodes.Node


Finder = Callable[[str, Any], Sequence[Link]]


def join(root: nodes.Element) -> None:
    """Texts that lie side by side become one: the parser begins another one at each line's end."""
    for element in list(root.findall(nodes.Element)):
        if sum(isinstance(child, nodes.Text) for child in element.children) < 2:
            continue
        kept: list[nodes.Node] = []
        for is_text, group in groupby(element.children, lambda child: isinstance(child, nodes.Text)):
            children = list(group)
            kept += [nodes.Text("".join(map(str, children)))] if is_text and len(children) > 1 else children
        element.children = []
        element.extend(kept)


def open_texts(root: nodes.Element) -> Iterator[nodes.Text]:
    """The texts in which links may be made, in the order of the page."""
    for child in list(root.children):
        if isinstance(child, nodes.Text):
            yield child
        elif isinstance(child, nodes.Element) and not isinstance(child, CLOSED):
            yield from open_texts(child)


def replace(text: nodes.Text, links: Sequence[Link]) -> None:
    """The node of each link takes the place of its words; links are in order and do not overlap."""
    words, parent, done, pieces = str(text), text.parent, 0, []
    for link in links:
        if link.start > done:
            pieces.append(nodes.Text(words[done : link.start]))
        pieces.append(link.node)
        done = link.end
    if done < len(words):
        pieces.append(nodes.Text(words[done:]))
    place = parent.index(text)
    parent.remove(text)
    for piece in reversed(pieces):
        parent.insert(place, piece)


def link_texts(root: nodes.Element, find: Finder) -> None:
    """Runs a finder over every open text; it gets the words and the node that they stand in."""
    for text in list(open_texts(root)):
        if links := find(str(text), text.parent):
            replace(text, links)


def pending(domain: str, kind: str, target: str, page: str, shown: nodes.Node, **more: Any) -> addnodes.pending_xref:
    """A reference that Sphinx resolves when all pages are read, and complains about if it cannot."""
    node = addnodes.pending_xref(
        "", shown, refdomain=domain, reftype=kind, reftarget=target, refdoc=page, refexplicit=True, refwarn=True
    )
    node.attributes.update(more)
    return node


def words(text: str, *classes: str) -> nodes.inline:
    """Words as they stand, to be put into a link."""
    return nodes.inline("", text, classes=list(classes))


def title_of(node: nodes.Node | None) -> str:
    """The heading of the section that a node stands in, "" outside of any."""
    while node is not None and not isinstance(node, nodes.section):
        node = node.parent
    return next((child.astext() for child in node.children if isinstance(child, nodes.title)), "") if node else ""
