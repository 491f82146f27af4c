"""Every notebook is run anew by nbval in strict mode, and together they cover the modules that they teach.

The notebooks are run by a pytest of their own, in an empty folder: the options of this one are not theirs.
"""

from __future__ import annotations

import fnmatch
import io
import os
import subprocess
import sys
from pathlib import Path

import coverage
import pytest

from tools.execute import environment, find
from tools.notebook_format import ROOT

NOTEBOOKS = find([])
LEAST_PERCENT = 95.0
_passed: set[Path] = set()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("coverage")


def nbval(notebook: Path, scratch: Path, data_file: Path) -> subprocess.CompletedProcess[str]:
    """One strict run of one notebook in a kernel of this interpreter; its coverage goes to data_file."""
    (scratch / "pytest.ini").write_text("[pytest]\n")
    inherited = ("PYTEST_", "COV_CORE_", "COVERAGE_")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(inherited)}
    command = [
        sys.executable, "-m", "pytest", str(notebook), "--nbval", "--nbval-current-env", "--nbval-cell-timeout=280",
        "-c", str(scratch / "pytest.ini"), "--rootdir", str(scratch), "-p", "no:xdist", "-p", "no:cacheprovider",
        "--cov=metarl_lite", "--cov-report=", f"--cov-config={ROOT / 'pyproject.toml'}", "--color=no", "-q",
    ]  # fmt: skip
    return subprocess.run(
        command, cwd=scratch, env=clean | environment(str(scratch)) | {"COVERAGE_FILE": str(data_file)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace", check=False,
    )  # fmt: skip


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_reproduced(notebook: Path, tmp_path: Path, measured: Path) -> None:
    done = nbval(notebook, tmp_path, measured / f".coverage.{notebook.stem}")
    assert done.returncode == 0, f"{notebook.name} does not reproduce its stored outputs:\n{done.stdout}"
    assert list(measured.glob(f".coverage.{notebook.stem}*")), f"no coverage was measured:\n{done.stdout}"
    _passed.add(notebook)


def test_coverage(measured: Path) -> None:
    # After the runs above, in the same file and so in the same worker.
    if missing := set(NOTEBOOKS) - _passed:
        pytest.skip(f"not all notebooks were run and passed: {', '.join(sorted(path.stem for path in missing))}")
    report = coverage.Coverage(data_file=str(measured / ".combined"), config_file=str(ROOT / "pyproject.toml"))
    report.combine([str(path) for path in measured.glob(".coverage.*")], strict=True, keep=True)
    seen = {Path(name).resolve() for name in report.get_data().measured_files()}
    omitted = report.get_option("run:omit") or []
    taught = [
        path for path in (ROOT / "metarl_lite").rglob("*.py") if not any(fnmatch.fnmatch(str(path), p) for p in omitted)
    ]
    assert not [path.name for path in taught if path.resolve() not in seen], "modules that no notebook imports"
    table = io.StringIO()
    percent = report.report(file=table, show_missing=True, skip_covered=True)
    assert percent >= LEAST_PERCENT, f"the notebooks cover {percent:.1f} % of the lines they teach:\n{table.getvalue()}"


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
