"""Say what stands between this folder and a release, or print the commands that tag it: `make release`.

A release is a tag vX.Y.Z on a commit whose files all say X.Y.Z: `__version__`, the citation, the README, the heading of
the changelog, and the setup cell of every notebook, which installs that tag. Nothing is changed here, and nothing is
tagged: the tag is the word of the maintainer.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.set_repo import ROOT, current
from tools.setup_cell import is_development, setup_cell, version

RELEASE = re.compile(r"\d+\.\d+\.\d+")
MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
DATE = re.compile(rf"\((?:\d{{4}}-\d\d-\d\d|(?:{MONTH}) \d{{4}})\)")


@dataclass(frozen=True)
class Disagreement:
    """One thing that is not yet as the release has it."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n    {self.remedy}"


# --- The checks: each takes the folder and the release that it is to be ---------------------------


def package(root: Path, release: str) -> Iterator[Disagreement]:
    """`__version__` is that of a release."""
    own = version(root)
    if own != release or not RELEASE.fullmatch(own):
        kind = "under development" if is_development(own) else "not of the form X.Y.Z"
        remedy = f'write __version__ = "{release}"'
        yield Disagreement("metarl_lite/__init__.py", f"__version__ is {own!r}, which is {kind}", remedy)


def changelog(root: Path, release: str) -> Iterator[Disagreement]:
    """The first heading is the release, with its date and nothing else, and something stands below it."""
    name, wanted = "CHANGELOG.md", f"## {release} (Month YEAR)"
    first, *older = re.split(r"^## ", _text(root / name), flags=re.MULTILINE)[1:] or [""]
    heading, _, below = first.partition("\n")
    if not heading.startswith(f"{release} "):
        yield Disagreement(name, f"the first heading is {'## ' + heading!r}", f"write {wanted!r}")
    elif not DATE.fullmatch(heading.removeprefix(release).strip()):
        yield Disagreement(name, f"the heading {'## ' + heading!r} has not just a date", f"write {wanted!r}")
    for section in re.findall(r"^### (.*)\n+(?=### |\Z)", below, flags=re.MULTILINE):
        yield Disagreement(name, f"nothing stands under {section!r} of {release}", "say it, or drop the section")
    for line in (text.partition("\n")[0] for text in older):
        if "not released" in line:
            yield Disagreement(name, f"an older version is not released: {'## ' + line!r}", "date it, or join the two")


def citation(root: Path, release: str) -> Iterator[Disagreement]:
    """CITATION.cff names the release."""
    yield from _says(root, "CITATION.cff", r'^version: "?([^"\n]+)"?$', release, f"version: {release}")


def readme(root: Path, release: str) -> Iterator[Disagreement]:
    """README.md cites the release and installs its tag."""
    yield from _says(root, "README.md", r"^\s+version\s+= \{(.+)\},$", release, f"version = {{{release}}},")
    address = re.escape(current(root).url)
    tag = f"v{release}"
    yield from _says(root, "README.md", rf"git\+{address}@([\w.]+\w)", tag, f"git+{current(root).url}@{tag}")


def setup_cells(root: Path, release: str) -> Iterator[Disagreement]:
    """Every notebook of the book installs the tag of the release."""
    wanted = setup_cell(root, release)
    notebooks = sorted(path for path in (root / "book").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    if not notebooks:
        yield Disagreement("book", "there is no notebook", "run this in a clone of the whole repository")
    for path in notebooks:
        name = path.relative_to(root).as_posix()
        cells = [cell for cell in json.loads(_text(path))["cells"] if "setup" in cell["metadata"].get("tags", [])]
        sources = [_source(cell) for cell in cells]
        if sources != [wanted]:
            found = re.findall(r"git\+\S+?@([\w.]+\w)", "\n".join(sources))
            what = f"the setup cell installs {', '.join(found)}" if found else "there is no setup cell that installs"
            if found == [f"v{release}"]:
                what = "the setup cell is not the canonical one"
            yield Disagreement(name, f"{what}, for v{release}", f"when __version__ is {release}: make execute")


def git(root: Path, release: str) -> Iterator[Disagreement]:
    """All is committed, and the tag is not taken by another commit."""
    if _git(root, "rev-parse", "--verify", "HEAD") is None:
        yield Disagreement("git", "this folder is no clone with a commit", "run this in a clone of the repository")
        return
    changed = (_git(root, "status", "--porcelain") or "").splitlines()
    if changed:
        listed = ", ".join(line[3:] for line in changed[:5]) + (" and others" if len(changed) > 5 else "")
        yield Disagreement("git", f"not committed: {listed}", "commit or remove them")
    head = _git(root, "rev-parse", "HEAD")
    tagged = _git(root, "rev-parse", "--verify", f"refs/tags/v{release}^{{commit}}")
    if tagged not in {None, head}:
        remedy = "a published tag stays where it is: set __version__ to the next version"
        yield Disagreement("git", f"the tag v{release} is on another commit, {str(tagged)[:9]}", remedy)


CHECKS = (package, changelog, citation, readme, setup_cells, git)


# --- What they share ------------------------------------------------------------------------------


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _source(cell: dict[str, Any]) -> str:
    return cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])


def _says(root: Path, name: str, pattern: str, wanted: str, line: str) -> Iterator[Disagreement]:
    found = re.findall(pattern, _text(root / name), re.MULTILINE)
    if set(found) != {wanted}:
        others = ", ".join(sorted(set(found) - {wanted}))
        yield Disagreement(name, f"it says {others}" if others else f"it does not say {wanted}", f"write {line}")


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine
        return None
    return done.stdout.rstrip("\n") if done.returncode == 0 else None


# --- The command ----------------------------------------------------------------------------------


def disagreements(root: Path = ROOT) -> tuple[str, list[Disagreement]]:
    """The release that this folder is or is on the way to, and all that speaks against it."""
    release = version(root).partition(".dev")[0]
    return release, [found for check in CHECKS for found in check(root, release)]


def main(root: Path = ROOT) -> int:
    """The command: 0 and the commands that tag, or 1 and what disagrees."""
    release, found = disagreements(root)
    if found:
        stands = "thing stands" if len(found) == 1 else "things stand"
        print(f"{len(found)} {stands} between this folder and {release}:")
        print(*found, sep="\n")
        return 1
    tag = f"v{release}"
    print(f"All files agree on {release}, and all is committed. To release it, from this commit:")
    if _git(root, "rev-parse", "--verify", f"refs/tags/{tag}") is None:
        print(f'    git tag -a {tag} -m "metarl_lite {release}"')
    print(f"    git push origin HEAD {tag}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
