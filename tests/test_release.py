"""`make release` finds each thing that is not as the release has it, and prints what tags a folder that agrees."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import release
from tools.set_repo import ROOT
from tools.setup_cell import setup_cell

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git on this machine")

URL = "https://github.com/ann/book"
PYPROJECT = f"""\
[project]
dependencies = ["numpy>=2.0", "torch>=2.6"]
[project.urls]
Repository = "{URL}"
"""
CHANGELOG = """\
# Changes

## 1.2.0 (May 2027)

### Added
- Something.

## 1.1.0 (April 2027)

### Fixed
- Something else.
"""


def git(root: Path, *words: str) -> str:
    who = [
        "-c",
        "user.name=Ann",
        "-c",
        "user.email=ann@example.org",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "tag.gpgsign=false",
    ]
    return subprocess.run(["git", *who, *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def notebook(source: str) -> str:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": "# One"},
        {"cell_type": "code", "metadata": {"tags": ["setup"]}, "source": source.splitlines(keepends=True)},
    ]
    return json.dumps({"cells": cells})


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "a change")


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A repository that can be released as 1.2.0."""
    root = tmp_path / "a book"
    write(root, "pyproject.toml", PYPROJECT)
    write(root, "metarl_lite/__init__.py", '"""A package."""\n\n__version__ = "1.2.0"\n')
    write(root, "CHANGELOG.md", CHANGELOG)
    write(root, "CITATION.cff", "cff-version: 1.2.0\nversion: 1.2.0\n")
    write(root, "README.md", f"`pip install git+{URL}@v1.2.0`.\n\n  version = {{1.2.0}},\n")
    for name in ("book/00_zero.ipynb", "book/part/01_one.ipynb"):
        write(root, name, notebook(setup_cell(root)))
    git(root, "init", "--quiet")
    commit(root)
    return root


def replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        text = (root / name).read_text(encoding="utf-8")
        assert old in text
        write(root, name, text.replace(old, new))
        commit(root)

    return change


def uncommitted(root: Path) -> None:
    """A file that git does not know."""
    write(root, "new.txt", "new")


def taken(root: Path) -> None:
    """The tag is there, and the folder has gone on."""
    git(root, "tag", "-a", "v1.2.0", "-m", "1.2.0")
    commit(root)


def no_setup(root: Path) -> None:
    """A notebook has lost its setup cell."""
    write(root, "book/00_zero.ipynb", json.dumps({"cells": []}))
    commit(root)


PACKAGE, ZERO, ONE = "metarl_lite/__init__.py", "book/00_zero.ipynb", "book/part/01_one.ipynb"
FAULTS = {
    "version": (replace(PACKAGE, '"1.2.0"', '"1.2"'), f"{PACKAGE}: __version__ is '1.2'"),
    "heading": (replace("CHANGELOG.md", "## 1.2.0 ", "## 1.2.1 "), "CHANGELOG.md: the first heading is '## 1.2.1"),
    "no date": (replace("CHANGELOG.md", "(May 2027)", ""), "CHANGELOG.md: the heading '## 1.2.0 ' has not just a date"),
    "unreleased": (replace("CHANGELOG.md", "(May 2027)", "(not released yet)"), "CHANGELOG.md: the heading"),
    "empty": (replace("CHANGELOG.md", "- Something.\n", ""), "CHANGELOG.md: nothing stands under 'Added' of 1.2.0"),
    "older": (replace("CHANGELOG.md", "(April 2027)", "(not released yet)"), "CHANGELOG.md: an older version is not"),
    "citation": (replace("CITATION.cff", "\nversion: 1.2.0", "\nversion: 1.1.0"), "CITATION.cff: it says 1.1.0"),
    "bibtex": (replace("README.md", "{1.2.0}", "{1.1.0}"), "README.md: it says 1.1.0"),
    "readme's tag": (replace("README.md", "@v1.2.0", "@main"), "README.md: it says main"),
    "setup cell": (replace(ZERO, "@v1.2.0", "@v1.1.0"), f"{ZERO}: the setup cell installs v1.1.0"),
    "other setup": (replace(ONE, "(1)", "(2)"), f"{ONE}: the setup cell is not the canonical one"),
    "no setup": (no_setup, f"{ZERO}: there is no setup cell"),
    "uncommitted": (uncommitted, "git: not committed: new.txt"),
    "tag": (taken, "git: the tag v1.2.0 is on another commit"),
}  # fmt: skip


def test_a_folder_that_agrees_gets_the_commands_and_no_tag(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(ready) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1:] == ['    git tag -a v1.2.0 -m "metarl_lite 1.2.0"', "    git push origin HEAD v1.2.0"]
    assert git(ready, "tag") == ""
    git(ready, "tag", "-a", "v1.2.0", "-m", "1.2.0")  # on this very commit: what is left is to push it
    assert release.main(ready) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["    git push origin HEAD v1.2.0"]


@pytest.mark.parametrize("name", FAULTS)
def test_each_disagreement_is_named_with_its_file_and_what_to_do(
    ready: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change, words = FAULTS[name]
    change(ready)
    assert release.main(ready) == 1
    out = capsys.readouterr().out
    assert f"\n{words}" in out
    assert "git tag" not in out
    if name != "version":  # another version is another folder: then all of it disagrees
        assert out.startswith("1 thing stands between this folder and 1.2.0:\n")
        assert len(out.splitlines()) == 3, "what, and a line of what to do"


def test_a_development_version_hears_what_stands_between_it_and_the_release(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace("metarl_lite/__init__.py", "1.2.0", "1.2.0.dev0")(ready)
    replace("CHANGELOG.md", "(May 2027)", "(not released yet)")(ready)
    write(ready, "book/00_zero.ipynb", notebook(setup_cell(ready)))
    commit(ready)
    assert release.main(ready) == 1
    out = capsys.readouterr().out
    assert out.startswith("3 things stand between this folder and 1.2.0:\n")
    assert "__version__ is '1.2.0.dev0', which is under development\n    write __version__ = \"1.2.0\"" in out
    assert (
        "book/00_zero.ipynb: the setup cell installs main, for v1.2.0\n    when __version__ is 1.2.0: make execute"
        in out
    )


def test_a_folder_without_git_is_named(ready: Path) -> None:
    shutil.rmtree(ready / ".git")
    assert [str(found) for found in release.git(ready, "1.2.0")] == [
        "git: this folder is no clone with a commit\n    run this in a clone of the repository"
    ]


def test_this_repository_is_read_by_every_check() -> None:
    version, found = release.disagreements(ROOT)
    assert release.RELEASE.fullmatch(version)
    assert all(one.where and one.what and one.remedy for one in found)
