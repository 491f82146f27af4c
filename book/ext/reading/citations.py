"""Author and year in running text become links: "Duan et al. (2016)", "(Finn, Abbeel and Levine, 2017)".

They are looked up in the bibliography, so a work that is not in it is a warning, and the build fails.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from docutils import nodes
from pybtex.richtext import Text
from sphinx.util import logging

from .texts import Link, link_texts, pending, words

LOG = logging.getLogger(__name__)
PARTICLE = r"(?:(?:van|von|van der|de|Van|De) )"
SURNAME = rf"{PARTICLE}?(?=[^\W\d_])[A-ZÀ-ÖØ-Þ][\w’'-]+"
AUTHORS = rf"(?P<authors>{SURNAME}(?:,\s+{SURNAME})*(?:(?P<others>\s+et\s+al\.)|,?\s+and\s+{SURNAME})?)"
YEAR = r"(?:19|20)\d\d"
#: "Duan et al. (2016)" and "Duan et al. (2016, section 3)" in a sentence; "Amari, 1998" within brackets.
CITED = re.compile(rf"{AUTHORS}(?:\s+\((?P<told>{YEAR})(?:\)|(?=[,;]))|,\s+(?P<aside>{YEAR})(?=[,;.)]))")
VENUES = ("journal", "booktitle", "publisher", "school", "institution")
ARXIV = "https://arxiv.org/abs/"


@dataclass(frozen=True)
class Work:
    """An entry of references.bib, as far as the text and its hover card need it."""

    key: str
    surnames: tuple[str, ...]
    year: str
    aliases: tuple[str, ...]  # other ways in which the text may name it, such as "Finn et al. (2017)"
    title: str
    venue: str
    link: str

    @property
    def label(self) -> str:
        """Author and year, as a text would say it."""
        return f"{named(self.surnames)} ({self.year})"

    def card(self) -> str:
        """What a reader sees who points at a citation, in HTML."""
        where = f' <a href="{html.escape(self.link)}">{html.escape(short(self.link))}</a>' if self.link else ""
        venue = f"{html.escape(self.venue)}." if self.venue else ""
        return (
            f"<p><b>{html.escape(self.label)}</b></p><p><i>{html.escape(self.title)}</i>. {venue}{where}</p>"
            if self.surnames
            else f"<p><b>{html.escape(self.title)}</b> ({self.year}). {venue}{where}</p>"
        )


def named(surnames: tuple[str, ...]) -> str:
    """One, two or three names in full, of more the first."""
    if len(surnames) > 3:
        return f"{surnames[0]} et al."
    return " and ".join([", ".join(surnames[:-1]), surnames[-1]] if len(surnames) > 1 else surnames)


def short(link: str) -> str:
    """How a link is shown: arXiv:1611.02779, doi:10..., or the host."""
    for start, shown in ((ARXIV, "arXiv:"), ("https://doi.org/", "doi:")):
        if link.startswith(start):
            return shown + link.removeprefix(start)
    return link.removeprefix("https://").removeprefix("http://").split("/")[0]


def plain(field: str) -> str:
    """A field of a BibTeX entry without TeX."""
    return re.sub(r"\$\^2\$", "²", str(Text.from_latex(field.replace("$^2$", "²"))))


def work(key: str, entry: Any) -> Work:
    """An entry as pybtex has read it."""
    fields = entry.fields
    people = entry.persons.get("author") or entry.persons.get("editor") or []
    surnames = tuple(plain(" ".join([*person.prelast_names, *person.last_names])) for person in people)
    venue = next((fields[name] for name in VENUES if name in fields), "")
    link = f"https://doi.org/{fields['doi']}" if "doi" in fields else fields.get("url", "")
    if not link and "eprint" in fields:
        link = ARXIV + fields["eprint"]
    aliases = tuple(plain(alias).strip() for alias in fields.get("alias", "").split(";") if alias.strip())
    return Work(key, surnames, fields["year"], aliases, plain(fields["title"]), plain(venue), link)


class Library:
    """The bibliography, to be asked for works by author and year."""

    def __init__(self, works: Mapping[str, Work]) -> None:
        self.works = dict(works)

    @classmethod
    def read(cls, entries: Mapping[str, Any]) -> Library:
        """All entries of a file of pybtex."""
        return cls({key: work(key, entry) for key, entry in entries.items()})

    def find(self, surnames: list[str], others: bool, year: str) -> list[str]:
        """The keys of the works that these names and this year may mean; one that says so in its alias is the one."""
        said = f"{surnames[0]} et al." if others else named_in_full(surnames)
        alias = f"{said} ({year})"
        if meant := [key for key, work in self.works.items() if alias in work.aliases]:
            return meant
        found = [w for w in self.works.values() if w.year == year and fits(w.surnames, surnames, others)]
        return [w.key for w in found]


def named_in_full(surnames: list[str]) -> str:
    """All names: A, B and C."""
    return " and ".join([", ".join(surnames[:-1]), surnames[-1]]) if len(surnames) > 1 else surnames[0]


def fits(surnames: tuple[str, ...], said: list[str], others: bool) -> bool:
    """Whether a work with these authors may be cited by what was said: all of them, or the first and `et al.`"""
    enough = len(surnames) > len(said) if others else len(surnames) == len(said)
    return enough and surnames[: len(said)] == tuple(said)


def citations(text: str) -> Iterator[tuple[re.Match[str], list[str]]]:
    """Each citation of a text with the surnames that it names."""
    for match in CITED.finditer(text):
        bare = re.sub(r"\s+et\s+al\.$", "", match["authors"])
        yield match, [name.strip() for name in re.split(r",?\s+and\s+|,\s+", bare)]


class Citing:
    """Finds the citations of one page; what they lead to is collected for the bibliography's links back."""

    def __init__(self, library: Library, page: str, strict: bool = True) -> None:
        self.library, self.page, self.strict = library, page, strict
        self.cited: dict[str, str] = {}  # key -> the anchor of its first citation

    def find(self, text: str, parent: nodes.Element) -> list[Link]:
        """The links of one text."""
        return [link for match, surnames in citations(text) if (link := self._link(match, surnames, parent))]

    def _link(self, match: re.Match[str], surnames: list[str], parent: nodes.Element) -> Link | None:
        year, others = match["told"] or match["aside"], bool(match["others"])
        for first in range(len(surnames)):  # "For RL, Duan et al. (2016)": what comes before a name may look like one
            keys = self.library.find(surnames[first:], others, year)
            if len(keys) == 1:
                start = match.start() + (match[0].index(surnames[first]) if first else 0)
                shown = words(match.string[start : match.end()], "citation")
                if keys[0] not in self.cited:
                    self.cited[keys[0]] = f"cited-{keys[0]}"
                    shown["ids"].append(self.cited[keys[0]])
                return Link(start, match.end(), pending("", "book-cite", keys[0], self.page, shown))
            if len(keys) > 1:
                break
        if not self.strict:
            return None
        what = f"may mean any of {', '.join(keys)}: give one an alias" if keys else "is in no entry"
        said = " ".join(match[0].split())
        LOG.warning("%s of references.bib: %r", what, said, location=parent, type="book", subtype="citation")
        return None


def link_citations(document: nodes.document, library: Library, page: str, strict: bool = True) -> dict[str, str]:
    """Makes the links of one page; gives back which works it cites first where.

    Where it is not strict, a work that is in no entry is left as it is: docstrings name sources of a line of code, too.
    """
    citing = Citing(library, page, strict)
    link_texts(document, citing.find)
    return citing.cited
