"""The pages of the book in their order, from _toc.yml: whatever deals with all notebooks asks here.

A chapter is one notebook, `08_topic.ipynb`, or several, the further ones with a letter: `08b_topic.ipynb`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
NAME = re.compile(r"(?P<number>\d\d)(?P<letter>[b-z]?)_\w+")


def pages(root: Path = ROOT) -> list[str]:
    """All pages as _toc.yml names them, such as `book/01_generalisation_problem`, in reading order.

    Raises:
        ValueError: _toc.yml is missing, or is not what such a file is.
    """
    contents = root / "_toc.yml"
    try:
        read = yaml.safe_load(contents.read_text(encoding="utf-8"))
        found = [read["root"], *_files(read.get("parts", [])), *_files(read.get("chapters", []))]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{contents} cannot be read as the contents of a book: {error!r}") from error
    if twice := sorted({page for page in found if found.count(page) > 1}):
        raise ValueError(f"{contents} names {', '.join(twice)} more than once")
    return found


def _files(entries: list[dict[str, Any]]) -> list[str]:
    """The pages below parts, chapters and sections, to any depth."""
    found = []
    for entry in entries:
        if "glob" in entry:
            raise TypeError(f"pages are named one by one, not by the pattern {entry['glob']!r}")
        found += [entry["file"]] if "file" in entry else []
        for below in ("chapters", "sections"):
            found += _files(entry.get(below, []))
    return found


def notebooks(root: Path = ROOT) -> list[Path]:
    """The notebooks of the book, in reading order.

    Raises:
        ValueError: an entry of _toc.yml leads to no file, or to a notebook with another kind of name; it is named.
    """
    contents, found = root / "_toc.yml", []
    for page in pages(root):
        notebook = root / f"{page.removesuffix('.ipynb')}.ipynb"
        if notebook.is_file():
            if not NAME.fullmatch(notebook.stem):
                raise ValueError(f"{contents} names {page}, but a notebook is called 08_topic, or 08b_topic for a part")
            found.append(notebook)
        elif not (root / f"{page.removesuffix('.md')}.md").is_file():
            raise ValueError(f"{contents} names {page}, and there is no file {page}.ipynb or {page}.md in {root}")
    return found


def number(notebook: Path) -> int:
    """The chapter's number: 8 for 08_topic.ipynb and for 08b_topic.ipynb.

    Raises:
        ValueError: that is no name of a chapter's notebook.
    """
    match = NAME.fullmatch(notebook.stem)
    if match is None:
        raise ValueError(f"{notebook.name} is no name of a chapter's notebook; 08_topic.ipynb and 08b_topic.ipynb are")
    return int(match["number"])


def parts(notebook: Path, root: Path = ROOT) -> list[Path]:
    """The notebooks of the same chapter, in reading order; one that is not in the contents is alone."""
    listed = notebooks(root)
    if not any(path.samefile(notebook) for path in listed):
        return [notebook]
    return [path for path in listed if number(path) == number(notebook)]


def chapters(root: Path = ROOT) -> dict[int, list[Path]]:
    """The notebooks of each chapter, by its number."""
    found: dict[int, list[Path]] = {}
    for path in notebooks(root):
        found.setdefault(number(path), []).append(path)
    return found


def faults(root: Path = ROOT) -> list[str]:
    """What is wrong between _toc.yml and the files in book/, in words; an empty list if they agree."""
    listed = notebooks(root)
    found = [
        f"{path.relative_to(root).as_posix()} lies there and is not in _toc.yml"
        for path in sorted((root / "book").rglob("*"))
        if path.suffix == ".ipynb" and path not in listed and ".ipynb_checkpoints" not in path.parts
    ]
    if listed != sorted(listed, key=lambda path: path.name.replace("_", " ")):  # 08_x before 08b_x
        found.append("the notebooks are not in the order of their names")
    numbers = chapters(root)
    if sorted(numbers) != list(range(len(numbers))):
        found.append(f"the chapters are not numbered from 0 without a gap: {sorted(numbers)}")
    for chapter, of_it in numbers.items():
        letters = [NAME.fullmatch(path.stem)["letter"] for path in of_it]  # type: ignore[index]
        if letters != ["", *"bcdefghijklmnopqrstuvwxyz"][: len(letters)]:
            found.append(f"the notebooks of chapter {chapter} have the letters {letters}, not none, b, c, ...")
    return found


def main(root: Path = ROOT) -> int:
    """Prints the pages in their order, or what is wrong with them."""
    try:
        notebooks(root)
        print("\n".join(pages(root)))
    except ValueError as error:
        print(f"{error}. Mend {root / '_toc.yml'}, or put the file there.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
