"""Notebooks go to whichever worker is free, and their coverage is judged whatever the number of workers.

A repository in miniature, with our tests/conftest.py and test_nbval.py, three notebooks and a package of two modules.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.conftest import Spread
from tests.notebooks import miniature
from tools.contents import ROOT
from tools.notebook_format import dumps, normalise

KEPT = ["pyproject.toml", "tests/__init__.py", "tests/conftest.py", "tests/notebooks/__init__.py"]
KEPT += ["tests/notebooks/page_numbers.py"]
NAMES = ["00_quick", "01_slow", "01b_slower"]
MODULE = "def double(x):\n    return 2 * x\n\n\ndef triple(x):\n    y = 3 * x\n    return y\n"
FILE = "import time\nimport pytest\n\n@pytest.mark.parametrize('x', range({}))\ndef test_{}(x):\n    time.sleep(0.05)\n"


def notebook(path: Path, source: str, shown: str, seconds: float) -> None:
    output = nbformat.v4.new_output("stream", name="stdout", text=shown)
    cell = nbformat.v4.new_code_cell(source, execution_count=1, outputs=[output])
    stored = normalise(nbformat.v4.new_notebook(cells=[cell]), seconds=seconds)
    path.write_text(dumps(stored), encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "small"
    shutil.copytree(ROOT / "tools", root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in [*KEPT, "tests/notebooks/test_nbval.py"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    (root / "tests" / "test_many.py").write_text(FILE.format(8, "many"), encoding="utf-8")
    (root / "tests" / "test_few.py").write_text(FILE.format(4, "few"), encoding="utf-8")
    (root / "metarl_lite").mkdir()
    (root / "metarl_lite" / "__init__.py").write_text('__version__ = "0"\n', encoding="utf-8")
    (root / "metarl_lite" / "taught.py").write_text(MODULE, encoding="utf-8")
    (root / "book").mkdir()
    (root / "book" / "intro.md").write_text("# Small\n", encoding="utf-8")
    miniature.write_contents(root, NAMES)
    wait = "import time; time.sleep({}); from metarl_lite.taught import {name}; print({name}(7))"
    notebook(root / "book" / "00_quick.ipynb", "print(42)", "42\n", 0.1)
    notebook(root / "book" / "01_slow.ipynb", wait.format(1, name="double"), "14\n", 1.0)
    notebook(root / "book" / "01b_slower.ipynb", wait.format(2, name="triple"), "21\n", 2.0)
    return root


def run(root: Path, *options: str) -> tuple[int, str]:
    """Pytest's exit status and output, in the miniature."""
    inherited = ("PYTEST_", "COV_CORE_", "COVERAGE_")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(inherited)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--basetemp", "temporary", *options],
        cwd=root, env=clean | {"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def workers(printed: str) -> dict[str, str]:
    """The worker of each test, in the order in which they ended."""
    return {name: worker for worker, name in re.findall(r"^\[(gw\d)\].*PASSED tests/(\S+)", printed, re.MULTILINE)}


def test_a_notebook_is_a_unit_of_its_own_and_elsewhere_a_file_is() -> None:
    spread = object.__new__(Spread)
    assert spread._split_scope("tests/test_maml.py::test_x[a::b]") == "tests/test_maml.py"
    assert spread._split_scope("tests/site/test_site.py::test_page[x]") == "tests/site/test_site.py"
    for name in ("test_outputs_are_reproduced[08b_x]", "test_coverage"):
        assert spread._split_scope(f"tests/notebooks/test_nbval.py::{name}") == f"tests/notebooks/test_nbval.py::{name}"


@pytest.mark.slow
def test_files_stay_on_a_worker_and_notebooks_are_given_out_one_by_one(root: Path) -> None:
    status, printed = run(root)
    assert status == 0, printed
    assert re.search(r"^=+ 17 passed in ", printed, re.MULTILINE), printed
    ran = workers(printed)
    assert len(ran) == 17
    for name in ("many", "few"):
        assert len({worker for test, worker in ran.items() if test.startswith(f"test_{name}.py")}) == 1
    notebooks = [test for test in ran if "reproduced" in test]
    assert len({worker for test, worker in ran.items() if "test_nbval.py" in test}) == 2, ran
    assert "slower" in notebooks[0] or "slower" in notebooks[1]
    assert list(ran)[-1].endswith("test_coverage")


@pytest.mark.slow
@pytest.mark.parametrize("number", ["0", "1", "4"])
def test_coverage_is_judged_with_any_number_of_workers(root: Path, number: str) -> None:
    status, printed = run(root, "-n", number)
    assert status == 0, printed
    assert re.search(r"^=+ 17 passed in ", printed, re.MULTILINE), printed
    (root / "metarl_lite" / "taught.py").write_text(MODULE + "\n\ndef never():\n    x = 1\n    return x\n")
    status, printed = run(root, "-n", number, "tests/notebooks/test_nbval.py")
    assert status == 1, printed
    assert "FAILED tests/notebooks/test_nbval.py::test_coverage" in printed
    assert "the notebooks cover 77.8 % of the lines they teach" in printed
    assert "1 failed, 4 passed" in printed


@pytest.mark.slow
def test_a_module_that_no_notebook_imports_is_noticed(root: Path) -> None:
    (root / "metarl_lite" / "forgotten.py").write_text("x = 1\n", encoding="utf-8")
    status, printed = run(root)
    assert status == 1, printed
    assert "modules that no notebook imports" in printed
    assert "forgotten.py" in printed


@pytest.mark.slow
def test_a_notebook_that_fails_leaves_no_verdict_and_says_so(root: Path) -> None:
    notebook(root / "book" / "01_slow.ipynb", "print(1)", "2\n", 1.0)
    status, printed = run(root)
    assert status == 1, printed
    assert "coverage cannot be told, since not all notebooks were run and passed: {'01_slow': 'failed'}" in printed
    assert "2 failed, 15 passed" in printed


@pytest.mark.slow
@pytest.mark.parametrize("options", [("-k", "quick or slower or coverage"), ("-n", "0", "-k", "coverage")])
def test_a_partial_run_says_that_it_was_one(root: Path, options: tuple[str, ...]) -> None:
    status, printed = run(root, *options)
    assert status == 0, printed
    assert re.search(r"SKIPPED.*a partial run: coverage is of all notebooks, and not chosen were .*01_slow", printed)
