"""What is known of the whole book before its first page is read: chapters, numbers, terms, works, public names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from . import figures, package, reference, terms
from .citations import Library
from .numbers import TAG, Numbers

NOTEBOOK = re.compile(r"(?P<number>\d\d)(?P<letter>[b-z]?)_\w+")


def listed(contents: Path) -> list[str]:
    """The pages that _toc.yml names, in reading order."""

    def walk(entry: Any) -> list[str]:
        below = [found for name in ("parts", "chapters", "sections") for e in entry.get(name, []) for found in walk(e)]
        return [entry[name] for name in ("root", "file") if name in entry] + below

    return walk(yaml.safe_load(contents.read_text(encoding="utf-8")))


@dataclass
class Book:
    """Made once for each build."""

    root: Path
    pages: list[str]  # in reading order
    package: package.Package
    library: Library
    glossary: terms.Glossary
    numbers: Numbers = field(default_factory=Numbers)
    chapter: dict[str, int] = field(default_factory=dict)  # page -> number of its chapter
    figures_before: dict[str, int] = field(default_factory=dict)
    scopes: dict[str, package.Scope] = field(default_factory=dict)
    used_in: dict[str, dict[str, str]] = field(default_factory=dict)  # full name -> page -> what to call it
    examples: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path, works: Mapping[str, Any]) -> Book:
        """From the files in root: the notebooks and pages, the package, and the bibliography as pybtex read it."""
        folder = root / "book"
        book = cls(
            root,
            listed(root / "_toc.yml"),
            package.Package(root / "metarl_lite"),
            Library.read(works),
            terms.Glossary(terms.listed(folder / "glossary.md") if (folder / "glossary.md").is_file() else []),
        )
        found = reference.examples(folder / "api_examples.txt")
        book.examples = {book.package.canonical(name): example for name, example in found.items()}
        for page in book.pages:
            if (root / f"{page}.ipynb").is_file() and (match := NOTEBOOK.fullmatch(Path(page).name)):
                book.add(page, int(match["number"]), match["letter"])
        return book

    def add(self, page: str, number: int, letter: str) -> None:
        """A notebook, after the ones before it."""
        notebook = json.loads((self.root / f"{page}.ipynb").read_text(encoding="utf-8"))
        cells = notebook["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        prose = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        before = sum(figures_of == number for figures_of in self._figures_of.values())
        self.chapter[page], self.figures_before[page] = number, before
        self.numbers.chapters.setdefault(number, page)
        for place in range(before + 1, before + figures.count(notebook) + 1):
            self.numbers.figures[f"{number}.{place}"] = page
        self.numbers.equations |= dict.fromkeys(TAG.findall(prose), page)
        self.scopes[page] = package.scope_of(code, self.package)
        name = f"chapter {number}{letter}" if number else "the primer"
        for full in package.uses(code, self.package):
            self.used_in.setdefault(full, {})[page] = name

    @property
    def _figures_of(self) -> dict[str, int]:
        return {figure: int(figure.split(".")[0]) for figure in self.numbers.figures}
