"""The first use of a glossary term in each section becomes a link to the glossary, if it is surely the term.

Many terms are everyday words too: "return" is a verb, a "trial" may be one and error. These count only after a word
that makes them a noun, so some uses are missed, and few are wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from docutils import nodes

from .texts import Link, link_texts, pending, words

BLOCK = re.compile(r"^```\{glossary\}\n(.*?)^```", re.DOTALL | re.MULTILINE)
#: Words that are verbs as well, or mean something else in everyday language.
EVERYDAY = {"return", "support", "query", "mask", "probe", "discount", "advantage", "trial", "coverage", "adaptation"}
BEFORE = (
    r"(?:the|a|an|its|their|this|that|these|those|each|every|one|two|whole|mean|expected|total|new|no|of|per|fresh|"
    r"zero-shot|adapted|discounted|undiscounted|average|high|higher|low|lower|own|linear|whose|several|many|in|"
    r"more|all)\s+"
)
#: "the return of the prodigal" is no return, "an advantage over" no advantage, and "a support for" no support.
NOT_AFTER = {"advantage": r"(?!s?\s+(?:of|over|in|to)\b)", "trial": r"(?!s?\s+and\s+error)", "support": r"(?!\s+for\b)"}
#: Not linked at all: too common to help.
SILENT = {"Task", "Episode"}


def listed(glossary: Path) -> list[str]:
    """The terms of the page, in its order."""
    blocks = BLOCK.findall(glossary.read_text(encoding="utf-8"))
    return [line.strip() for block in blocks for line in block.splitlines() if line and not line[0].isspace()]


def forms(term: str) -> str:
    """A pattern of the ways in which a text writes a term: in capitals or not, in the plural, over a line's end."""
    spaced = re.sub(r"(?:\\ |\s)+", r"\\s+", re.escape(term))
    if sum(letter.isupper() for letter in term.split()[0]) > 1 or any(letter in term for letter in "²0123456789"):
        return spaced + ("" if term.endswith("²") else r"s?")
    first = re.escape(term[0])
    return f"[{first.upper()}{first.lower()}]{spaced[len(first) :]}{plural(term)}"


def plural(term: str) -> str:
    """How the last word may end in the plural."""
    if term.endswith(("s", "x", "ing", "ion")) and not term.endswith("ation"):
        return "s?" if term.endswith("ion") else ""
    return "s?"


def pattern(term: str) -> re.Pattern[str]:
    """What is to be found of a term: whole words, and after a telling word where it is an everyday one."""
    key = term.lower()
    before = BEFORE if key in EVERYDAY else ""
    after = NOT_AFTER.get(key, "")
    tail = r"(?![\w²])(?!-\w)"
    return re.compile(rf"(?<![\w-]){before}(?P<term>{forms(term)}){tail}{after}")


class Glossary:
    """The terms, ready to be looked for: longer ones first, so that "policy gradient" is not a gradient."""

    def __init__(self, terms: Iterable[str]) -> None:
        chosen = [term for term in terms if term not in SILENT]
        self.patterns = {term: pattern(term) for term in sorted(chosen, key=len, reverse=True)}

    def find(self, text: str, seen: set[str]) -> list[tuple[int, int, str]]:
        """Where terms stand in a text that were not seen before, in order; none overlaps another."""
        found: list[tuple[int, int, str]] = []
        taken: list[tuple[int, int]] = []
        for term, looks in self.patterns.items():
            for match in looks.finditer(text):
                start, end = match.span("term")
                if any(start < b and a < end for a, b in taken):
                    continue
                taken.append((start, end))  # a shorter term within it is not looked for, seen or not
                if term not in seen:
                    seen.add(term)
                    found.append((start, end, term))
        return sorted(found)


def link_terms(document: nodes.document, glossary: Glossary, page: str) -> None:
    """Makes the links of one page; a section begins at its heading and ends at the next one."""
    seen: dict[int, set[str]] = {}

    def find(text: str, parent: nodes.Element) -> list[Link]:
        section = parent
        while section.parent is not None and not isinstance(section, nodes.section):
            section = section.parent
        if id(section) not in seen:
            seen[id(section)] = set(marked(section))
        known = seen[id(section)]
        found = glossary.find(text, known)
        return [
            Link(start, end, pending("std", "term", term, page, words(text[start:end], "xref", "std", "std-term")))
            for start, end, term in found
        ]

    link_texts(document, find)


def marked(section: nodes.Element) -> list[str]:
    """The terms that the source of a section itself links to the glossary, outside of the sections within it."""
    found = []
    for child in section.children:
        if isinstance(child, nodes.Element) and not isinstance(child, nodes.section):
            found += [
                node["reftarget"] for node in child.findall() if isinstance(node, nodes.Element)
                and node.get("reftype") == "term"
            ]  # fmt: skip
    return found
