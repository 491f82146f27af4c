"""The setup cell gets a student the package of the page, and keeps still where there is nothing to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import metarl_lite
from tests.notebooks import miniature
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
    assert len(lines) <= 34  # as any cell
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


def test_a_clone_beside_the_notebook_is_not_the_package(tmp_path: Path) -> None:
    """A folder `metarl_lite`, as `git clone` makes it: Python imports it, and nothing is in it."""
    beside = tmp_path / "beside"
    (beside / "metarl_lite" / "book").mkdir(parents=True)
    site = tmp_path / "site"
    site.mkdir()
    done = run(site, f"sys.path.insert(0, {str(beside)!r})\n" + setup_cell(release="0.4.0") + AFTERWARDS)
    assert done.returncode == 0, done.stderr
    command, after = done.stdout.splitlines()
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


def old_dependency(site: Path, name: str, version: str) -> None:
    """A package of which nothing is there but what an installer writes down; to import it raises."""
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    (site / f"{name}.py").write_text(f"from {name} import what_only_a_newer_one_has\n", encoding="utf-8")


@pytest.mark.parametrize("before", [None, "0.3.0", "0.4.0", "9.0.0"])
@pytest.mark.parametrize(
    ("name", "version", "need"),
    [
        ("matplotlib", "3.9.2", "matplotlib>=3.10"),
        ("gymnasium", "0.29.1", "gymnasium>=1.1"),
        ("torch", "2.5.1+cpu", "torch>=2.6"),
        ("numpy", "1.26.4", "numpy>=2.0"),
        ("numpy", "2.0.0rc1", "numpy>=2.0"),
    ],
)
def test_a_dependency_that_is_too_old_is_named_whatever_else_is_there(
    tmp_path: Path, before: str | None, name: str, version: str, need: str
) -> None:
    """Before anything is imported that would not bear it, and before anything is installed."""
    old_dependency(tmp_path, name, version)
    if before:
        old_package(tmp_path, before)
        (tmp_path / "metarl_lite" / "old.py").write_text(f"import {name}\n", encoding="utf-8")
    done = run(tmp_path, setup_cell(release="0.4.0"))
    assert done.returncode == 1
    (error,) = done.stderr.splitlines()[-1:]
    assert error == (
        f"ImportError: {name} {version} (0: missing), too old: %pip install '{need}', then restart the kernel"
    )
    assert done.stdout == ""


def test_all_that_is_missing_or_too_old_is_named_at_once(tmp_path: Path) -> None:
    hidden = "import importlib.metadata as m\nreal = m.distributions\n"
    hidden += "m.distributions = lambda name: [] if name in ('tqdm', 'safetensors') else real(name=name)\n"
    done = run(tmp_path, hidden + setup_cell(release="0.4.0"))
    assert done.returncode == 1
    assert "tqdm 0, safetensors 0 (0: missing)" in done.stderr
    assert "%pip install 'tqdm>=4.66' 'safetensors>=0.4.3', then restart the kernel" in done.stderr


@pytest.mark.parametrize("version", ["2.6.0", "2.6.0+cu124", "2.10.1", "3.0.0.dev20261101"])
def test_a_dependency_that_is_new_enough_is_left_in_peace(tmp_path: Path, version: str) -> None:
    old_package(tmp_path, "0.4.0")
    folder = tmp_path / f"torch-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n", encoding="utf-8")
    done = run(tmp_path, setup_cell(release="0.4.0"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_one_command_writes_it_into_every_notebook_and_touches_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = miniature.book(tmp_path, ["08_first", "08b_second"])
    stored = first.read_bytes(), second.read_bytes()
    first.write_text(first.read_text(encoding="utf-8").replace("import subprocess", "import os", 1), encoding="utf-8")
    assert first.read_bytes() != stored[0]
    assert tool.main(tmp_path) == [first]
    assert capsys.readouterr().out == "book/08_first.ipynb\n"
    assert (first.read_bytes(), second.read_bytes()) == stored
    assert tool.main(tmp_path) == []
