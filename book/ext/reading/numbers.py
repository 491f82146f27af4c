"""Chapters, figures and equations by their numbers: "chapter 5", "figure 6.3", "equation (6.3)" become links."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from docutils import nodes
from sphinx.util import logging

from .texts import Link, link_texts, pending, title_of, words

LOG = logging.getLogger(__name__)
CHAPTERS = re.compile(r"\b[Cc]hapters?\s+\d{1,2}(?:(?:,\s+|\s+(?:and|or|to)\s+|,\s+and\s+)\d{1,2})*\b(?!\.\d)")
FIGURES = re.compile(r"\b[Ff]ig(?:ure|ures|\.)\s+\d{1,2}\.\d{1,2}(?:(?:,\s+|\s+(?:and|or|to)\s+)\d{1,2}\.\d{1,2})*\b")
#: "equation (6.3)", "equations (6.1) and (6.2)"; and "(6.3)" alone, which is one only if there is such an equation.
EQUATIONS = re.compile(r"(?P<word>\b[Ee]q(?:uation|uations|\.)\s+)?\((?P<number>\d{1,2}\.\d{1,2})\)")
JOINED = re.compile(r",?\s+(?:and|or|to)\s+|,\s+")
TAG = re.compile(r"\s*\\tag\{(\d{1,2}\.\d{1,2})\}")
#: In these sections "chapter 3" is one of somebody else's book.
OTHERS = ("Further reading",)


@dataclass
class Numbers:
    """What has a number in the book, and the page that it is on."""

    chapters: dict[int, str] = field(default_factory=dict)  # the first page of each
    figures: dict[str, str] = field(default_factory=dict)
    equations: dict[str, str] = field(default_factory=dict)


def anchor(kind: str, number: str) -> str:
    """The name by which a page knows its figure or equation."""
    return f"{kind}-{number.replace('.', '-')}"


def link_numbers(document: nodes.document, numbers: Numbers, page: str) -> None:
    """Makes the links of one page."""

    def find(text: str, parent: nodes.Element) -> list[Link]:
        links = [*figure_links(text, numbers, page, parent), *equation_links(text, numbers, page, parent)]
        if title_of(parent) not in OTHERS:
            links += chapter_links(text, numbers, page)
        return sorted(links, key=lambda link: link.start)

    link_texts(document, find)


def chapter_links(text: str, numbers: Numbers, page: str) -> Iterator[Link]:
    """`chapter 5` is one link; of `chapters 4 to 9` each number is one. A chapter that is not there yet is none."""
    for match in CHAPTERS.finditer(text):
        found = list(re.finditer(r"\d+", match[0]))
        for place in found:
            target = numbers.chapters.get(int(place[0]))
            if target is None or target == page:
                continue
            start = match.start() + (0 if len(found) == 1 else place.start())
            end = match.start() + place.end()
            yield Link(start, end, pending("std", "doc", f"/{target}", page, words(text[start:end], "std", "std-doc")))


def figure_links(text: str, numbers: Numbers, page: str, parent: Any) -> Iterator[Link]:
    """Figures with numbers must be there; "the figure above" has none and is left alone."""
    for match in FIGURES.finditer(text):
        found = list(re.finditer(r"\d+\.\d+", match[0]))
        for place in found:
            start = match.start() + (0 if len(found) == 1 else place.start())
            end = match.start() + place.end()
            if known("figure", place[0], numbers.figures, parent):
                yield Link(start, end, reference("figure", place[0], page, text[start:end]))


def equation_links(text: str, numbers: Numbers, page: str, parent: Any) -> Iterator[Link]:
    """Equations that are called so must be there; a number in brackets may be another one."""
    said = False  # whether the word stood before the last one: "equations (6.1) and (6.2)"
    last = 0
    for match in EQUATIONS.finditer(text):
        number, joined = match["number"], JOINED.fullmatch(text[last : match.start()])
        said, last = bool(match["word"]) or (said and bool(joined)), match.end()
        if number in numbers.equations or (said and known("equation", number, numbers.equations, parent)):
            yield Link(match.start(), match.end(), reference("equation", number, page, match[0]))


def known(kind: str, number: str, there: Mapping[str, str], parent: Any) -> bool:
    """Whether there is one; a text that speaks of one that is not there is wrong."""
    if number not in there:
        LOG.warning("there is no %s %s", kind, number, location=parent, type="book", subtype=kind)
    return number in there


def reference(kind: str, number: str, page: str, text: str) -> nodes.Node:
    """A link by number."""
    return pending("", f"book-{kind}", number, page, words(text, f"{kind}-reference"))
