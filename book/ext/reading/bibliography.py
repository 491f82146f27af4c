"""The page of the bibliography: works by author and year, each with the places that cite it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from docutils import nodes
from pybtex.plugin import register_plugin
from pybtex.style.formatting.plain import Style as Plain
from pybtex.style.labels import BaseLabelStyle
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

from .citations import work


class AuthorYear(BaseLabelStyle):  # type: ignore[misc]
    """Labels as the text cites: Duan et al. (2016)."""

    def format_labels(self, entries: list[Any]) -> Iterator[str]:
        """One for each entry; two of one year by the same authors get a letter, since a label leads to one work."""
        labels = [work(entry.key, entry).label for entry in entries]
        for place, label in enumerate(labels):
            same = [other for other, text in enumerate(labels) if text == label]
            yield label if len(same) == 1 else label.replace(")", f"{'abcdefgh'[same.index(place)]})")


class Style(Plain):  # type: ignore[misc]
    """Entries as in BibTeX's plain, labels by author and year."""

    default_label_style = AuthorYear


register_plugin("pybtex.style.formatting", "authoryear", Style)


def entries(citations: list[nodes.citation], said: Mapping[str, nodes.Node]) -> nodes.definition_list:
    """The works as a list of definitions: the label, the entry, and who cites it."""
    listed = nodes.definition_list("", classes=["bibliography"])
    for citation in citations:
        label, *paragraphs = citation.children
        term = nodes.term("", label.astext(), ids=citation["ids"])
        cited = [said[anchor] for anchor in citation["ids"] if anchor in said]
        listed += nodes.definition_list_item("", term, nodes.definition("", *paragraphs, *cited))
    return listed


def back(places: list[tuple[str, str, str]], page: str, builder: Any) -> nodes.paragraph:
    """`Cited in`, with a link to each page's first citation; places are page, anchor, and what to call it."""
    paragraph = nodes.paragraph("", "Cited in ", classes=["cited-in"])
    for count, (cites, anchor, title) in enumerate(places):
        if count:
            paragraph += nodes.Text(", ")
        paragraph += make_refnode(builder, page, cites, anchor, nodes.inline("", title))
    paragraph += nodes.Text(".")
    return paragraph


class LinkBack(SphinxPostTransform):  # type: ignore[misc]
    """After sphinxcontrib-bibtex has made its citations, they become our list."""

    default_priority = 6
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """The bibliography of a page, if it has one."""
        citations = list(self.document.findall(nodes.citation))
        if not citations:
            return
        domain = self.env.get_domain("cite")
        keys = {citation.citation_id: citation.key for citation in domain.citations}
        places = self.places(domain)
        said = {
            anchor: back(places[keys[anchor]], self.env.docname, self.app.builder)
            for citation in citations
            for anchor in citation["ids"]
            if keys.get(anchor) in places
        }
        parent = citations[0].parent
        parent.replace_self(entries(citations, said))

    def places(self, domain: Any) -> dict[str, list[tuple[str, str, str]]]:
        """For each work the pages that cite it, in the book's order, each with its first citation."""
        found: dict[str, dict[str, str]] = {}
        for page, cited in self.env.book_cited.items():
            for key, anchor in cited.items():
                found.setdefault(key, {})[page] = anchor
        for reference in domain.citation_refs:
            for target in reference.targets:
                found.setdefault(target.key, {}).setdefault(reference.docname, reference.citation_ref_id)
        order = {page: place for place, page in enumerate(self.app.book.pages)}
        return {
            key: [
                (page, cited[page], self.env.titles[page].astext())
                for page in sorted(cited, key=lambda page: order.get(page, len(order)))
            ]
            for key, cited in found.items()
        }
