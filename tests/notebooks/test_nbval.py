"""Every notebook is run anew by nbval in strict mode, and together they cover the modules that they teach.

The notebooks are run by a pytest of their own, in an empty folder: the options of this one are not theirs.
"""

from __future__ import annotations

import fnmatch
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import coverage
import pytest

from tools import contents
from tools.contents import ROOT
from tools.execute import environment
from tools.standard import Chapter, recorded_seconds

# The longest first: tests/conftest.py leaves them in this order, so that no worker ends long before the other.
NOTEBOOKS = sorted(contents.notebooks(), key=lambda path: -(recorded_seconds(Chapter.read(path)) or 0.0))
LEAST_PERCENT = 95.0
PATIENCE_S = 240.0  # for the notebooks that another worker still runs when this one is through


@pytest.fixture
def measured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this run in which all its workers leave what they have measured, and how each notebook ended."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "coverage-of-notebooks"
    folder.mkdir(exist_ok=True)
    return folder


def nbval(notebook: Path, scratch: Path, data_file: Path) -> subprocess.CompletedProcess[str]:
    """One strict run of one notebook in a kernel of this interpreter; its coverage goes to data_file."""
    (scratch / "pytest.ini").write_text("[pytest]\n")
    inherited = ("PYTEST_", "COV_CORE_", "COVERAGE_")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(inherited)}
    command = [
        sys.executable, "-m", "pytest", str(notebook), "--nbval", "--nbval-current-env", "--nbval-cell-timeout=280",
        "-c", str(scratch / "pytest.ini"), "--rootdir", str(scratch), "-p", "no:xdist", "-p", "no:cacheprovider",
        "-p", "tests.notebooks.page_numbers",
        "--cov=metarl_lite", "--cov-report=", f"--cov-config={ROOT / 'pyproject.toml'}", "--color=no", "-q",
    ]  # fmt: skip
    return subprocess.run(
        command, cwd=scratch, env=clean | environment(str(scratch)) | {"COVERAGE_FILE": str(data_file)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace", check=False,
    )  # fmt: skip


def test_a_changed_output_is_noticed(tmp_path: Path) -> None:
    # nbval has to fail on a number that differs, or the tests above would prove nothing.
    import nbformat

    def stored(shown: str) -> Path:
        output = nbformat.v4.new_output("stream", name="stdout", text=shown)
        cell = nbformat.v4.new_code_cell("print(6 * 7)", execution_count=1, outputs=[output])
        path = tmp_path / f"stored_{shown.strip()}.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
        return path

    assert nbval(stored("42\n"), tmp_path, tmp_path / ".coverage").returncode == 0
    wrong = nbval(stored("43\n"), tmp_path, tmp_path / ".coverage")
    assert wrong.returncode == 1, wrong.stdout
    assert "43" in wrong.stdout


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_reproduced(notebook: Path, tmp_path: Path, measured: Path) -> None:
    end = "failed"
    try:
        done = nbval(notebook, tmp_path, measured / f".coverage.{notebook.stem}")
        assert done.returncode == 0, f"{notebook.name} does not reproduce its stored outputs:\n{done.stdout}"
        assert list(measured.glob(f".coverage.{notebook.stem}*")), f"no coverage was measured:\n{done.stdout}"
        end = "passed"
    finally:
        (measured / f"{notebook.stem}.{end}").touch()


def chosen(items: list[pytest.Item]) -> set[str]:
    """The notebooks that this run runs, on whichever worker; fewer than all, where only some were asked for."""
    ours = [item for item in items if getattr(item, "function", None) is test_outputs_are_reproduced]
    return {item.callspec.params["notebook"].stem for item in ours}  # type: ignore[attr-defined]


def ended(folder: Path, stems: set[str], patience_s: float) -> dict[str, str]:
    """How each notebook ended, as soon as all have, or what is known when patience is."""
    until = time.monotonic() + patience_s
    while True:
        ends = {path.stem: path.suffix[1:] for path in folder.glob("*.*ed") if path.stem in stems}
        if set(ends) == stems or time.monotonic() > until:
            return ends
        time.sleep(0.2)


def test_coverage(request: pytest.FixtureRequest, measured: Path) -> None:
    # The last in its file, and so given out when all notebooks have begun; those of other workers are waited for.
    stems = {path.stem for path in NOTEBOOKS}
    if left_out := stems - chosen(request.session.items):
        pytest.skip(f"a partial run: coverage is of all notebooks, and not chosen were {', '.join(sorted(left_out))}")
    ends = ended(measured, stems, PATIENCE_S)
    if lacking := {stem: ends.get(stem, "no end") for stem in sorted(stems) if ends.get(stem) != "passed"}:
        pytest.fail(f"coverage cannot be told, since not all notebooks were run and passed: {lacking}", pytrace=False)
    uncovered, percent, table = coverage_of([str(path) for path in measured.glob(".coverage.*")])
    assert not uncovered, "modules that no notebook imports"
    assert percent >= LEAST_PERCENT, f"the notebooks cover {percent:.1f} % of the lines they teach:\n{table}"


def coverage_of(data_files: list[str]) -> tuple[list[str], float, str]:
    """Of the modules that are taught: those never imported, the percentage of lines that ran, and what did not run."""
    report = coverage.Coverage(data_file=None, config_file=str(ROOT / "pyproject.toml"))
    report.combine(data_files, strict=True, keep=True)
    # pytest-cov lists every file of the package as measured; one that was imported has lines that ran.
    data = report.get_data()
    seen = {Path(name).resolve() for name in data.measured_files() if data.lines(name)}
    omitted = report.get_option("run:omit") or []
    taught = [
        path for path in (ROOT / "metarl_lite").rglob("*.py") if not any(fnmatch.fnmatch(str(path), p) for p in omitted)
    ]
    table = io.StringIO()
    percent = report.report(file=table, show_missing=True, skip_covered=True, omit=omitted)
    imported = [path.resolve() in seen or not path.read_text(encoding="utf-8").strip() for path in taught]
    return [path.name for path, was in zip(taught, imported, strict=True) if not was], percent, table.getvalue()
