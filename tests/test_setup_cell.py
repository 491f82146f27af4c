"""The setup cell gets a student the package of the page, and keeps still where there is nothing to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import metarl_lite
from tools import setup_cell as tool
from tools.set_repo import ROOT
from tools.setup_cell import setup_cell

# What `subprocess.run` is in the cell below: it writes down the command, and puts the new package where pip would.
PRETEND = """\
import subprocess, sys
from pathlib import Path

sys.dont_write_bytecode = True
site = Path(sys.argv[1])
sys.path[:] = [str(site), *(path for path in sys.path if not (Path(path) / "metarl_lite").exists())]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in str(finder).lower()]

def install(command, check):
    assert check
    print(*command[1:])
    (site / "metarl_lite").mkdir(exist_ok=True)
    (site / "metarl_lite" / "__init__.py").write_text("__version__ = '99.0.0'")
    (site / "metarl_lite" / "new.py").write_text("here = True")

subprocess.run = install
"""
AFTERWARDS = """

import metarl_lite.new
print(metarl_lite.__version__, metarl_lite.new.here)
"""


def old_package(site: Path, version: str) -> None:
    (site / "metarl_lite").mkdir()
    (site / "metarl_lite" / "__init__.py").write_text(
        f"__version__ = {version!r}\nfrom . import old\n", encoding="utf-8"
    )
    (site / "metarl_lite" / "old.py").write_text("", encoding="utf-8")


def run(site: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRETEND + code, str(site)], cwd=site, capture_output=True, text=True, check=False
    )


def test_where_the_package_is_there_nothing_is_printed_or_fetched() -> None:
    assert tool.version() == metarl_lite.__version__
    refuse = "import subprocess\nsubprocess.run = None\n"
    done = subprocess.run(
        [sys.executable, "-c", refuse + setup_cell()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("release", ["0.4.0", "0.4.0.dev0"])
def test_it_is_short_and_names_what_it_installs(release: str) -> None:
    cell = setup_cell(release=release)
    lines = cell.splitlines()
    assert len(lines) <= 28
    assert max(map(len, lines)) <= 88
    assert "--no-deps" in cell
    assert ("@main" in cell) == ("has no tag yet" in cell) == release.endswith("dev0")
    assert ("@v0.4.0" in cell) == (release == "0.4.0")
    for need in tool.needs():
        assert f'"{need}"' in cell


@pytest.mark.parametrize("before", [None, "0.3.0", "0.4.0.dev0"])
def test_a_package_that_is_missing_or_too_old_is_replaced_without_a_restart(tmp_path: Path, before: str | None) -> None:
    if before:
        old_package(tmp_path, before)
    imported = "import metarl_lite\nassert 'metarl_lite.old' in sys.modules\n" if before else ""
    done = run(
        tmp_path, imported + setup_cell(release="0.4.0") + AFTERWARDS + "assert 'metarl_lite.old' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr
    command, after = done.stdout.splitlines()
    assert command.startswith("-m pip install --quiet --no-deps git+https://")
    assert command.endswith("@v0.4.0")
    assert after == "99.0.0 True"


@pytest.mark.parametrize("before", ["0.4.0", "0.4.1", "0.10.0", "1.0.0.dev0"])
def test_a_package_of_the_page_or_newer_stays(tmp_path: Path, before: str) -> None:
    old_package(tmp_path, before)
    done = run(tmp_path, setup_cell(release="0.4.0"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_page_of_a_development_version_installs_main_and_says_so(tmp_path: Path) -> None:
    done = run(tmp_path, setup_cell(release="0.4.0.dev0"))
    notice, command = done.stdout.splitlines()
    assert notice == "0.4.0.dev0 has no tag yet: this is the branch main, and numbers may differ"
    assert command.endswith("@main")


def test_a_dependency_that_is_too_old_is_named_before_anything_is_installed(tmp_path: Path) -> None:
    folder = tmp_path / "matplotlib-3.9.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: matplotlib\nVersion: 3.9.2\n", encoding="utf-8")
    done = run(tmp_path, setup_cell(release="0.4.0"))
    assert done.returncode == 1
    assert "matplotlib 3.9.2, too old: %pip install 'matplotlib>=3.10', restart" in done.stderr
    assert done.stdout == ""
