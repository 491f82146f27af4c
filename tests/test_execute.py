"""Notebooks are run in place and stored in one form, or, if anything is wrong with them, not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tools import execute, notebook_format
from tools.notebook_format import ROOT, absolute_paths, dumps, normalise, same_but_for_seconds, write
from tools.setup_cell import setup_cell

ALT = "Return rises from -40 to -17 in five meta-iterations."


def stored(folder: Path, *sources: str, name: str = "01_small.ipynb") -> Path:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    path = folder / name
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def texts(path: Path) -> list[str]:
    return ["".join(output.get("text", "")) for cell in load(path)["cells"] for output in cell["outputs"]]


def test_a_notebook_is_run_in_order_and_stored_in_normal_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = (
        "from metarl_lite import plot\nfig, ax = plot.figure()\nplot.curve(ax, [0, 1], [0, 1])\n"
        f"plot.show(fig, {ALT!r})"
    )
    path = stored(tmp_path, "import os\nx = 6", "print(x * 7)\nprint(os.getcwd().split('/')[-1][:4])", figure)
    assert execute.main([str(path)]) == 0
    notebook = load(path)
    assert texts(path)[0].splitlines()[0] == "42"
    assert [cell["execution_count"] for cell in notebook["cells"]] == [1, 2, 3]
    assert [cell["id"] for cell in notebook["cells"]] == ["cell-01", "cell-02", "cell-03"]
    assert notebook["metadata"]["kernelspec"] == notebook_format.KERNELSPEC
    assert "version" not in notebook["metadata"]["language_info"]
    assert notebook["metadata"]["metarl_lite"]["seconds"] >= 0
    assert notebook["cells"][2]["metadata"] == {"mystnb": {"image": {"alt": ALT}}}
    assert path.read_text(encoding="utf-8").endswith("}\n")
    assert "code cell 3 of 3" in capsys.readouterr().out

    before = path.read_bytes(), path.stat().st_mtime_ns
    notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
    assert dumps(normalise(notebook)) == path.read_text(encoding="utf-8")
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0", "code cell 2 of 2 failed:"),
        ("import sys\nprint('a warning', file=sys.stderr)", "code cell 2 of 2 wrote to stderr:\na warning"),
        ("print('saved in /home/someone/x.json')", "shows a path of this machine: /home/someone/x.json"),
        ("import os\nos._exit(1)", "code cell 2 of 2 failed:"),
    ],
    ids=["error", "stderr", "path", "death"],
)
def test_a_failed_run_leaves_the_stored_file_as_it_was(
    tmp_path: Path, source: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stored(tmp_path, "x = 1", source)
    before = path.read_bytes()
    assert execute.main([str(path)]) == 1
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    printed = capsys.readouterr().err
    assert words in printed
    assert "FAILED; the stored file is as it was" in printed


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to one process there")
def test_ctrl_c_leaves_the_stored_file_as_it_was(tmp_path: Path) -> None:
    path = stored(tmp_path, "print('started')", "import time\ntime.sleep(120)")
    before = path.read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.execute", str(path)], cwd=ROOT, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert "code cell 1 of 2" in process.stdout.readline()
    time.sleep(1.0)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_unchanged_notebook_keeps_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path, "print(42)")

    def pretend(seconds: float) -> str:
        def run(notebook: Any, folder: Path, name: str) -> float:
            notebook.cells[0].execution_count = 1
            notebook.cells[0].outputs = [nbformat.v4.new_output("stream", name="stdout", text="42\n")]
            return seconds

        monkeypatch.setattr(execute, "run", run)
        return execute.execute(path)

    assert pretend(10.0).startswith("01_small: 10.0 s, 1 kB stored")
    before = path.read_bytes()
    assert pretend(11.0) == "01_small: 11.0 s, as stored"
    assert path.read_bytes() == before
    assert "stored" in pretend(20.0)
    assert load(path)["metadata"]["metarl_lite"]["seconds"] == 20.0


def test_notebooks_are_found_by_number_stem_and_path(tmp_path: Path) -> None:
    one, six = stored(tmp_path, "1"), stored(tmp_path, "6", name="06_outer_loop.ipynb")
    assert execute.find([], tmp_path) == [one, six]
    for name in ("6", "06", "06_outer_loop", "06_outer_loop.ipynb", str(six)):
        assert execute.find([name], tmp_path) == [six]
    assert execute.find(["6", "06"], tmp_path) == [six]
    with pytest.raises(ValueError, match=r"no notebook is called '7'; there are: 01_small, 06_outer_loop"):
        execute.find(["7"], tmp_path)


def test_an_unknown_name_ends_with_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute.main(["no_such_notebook"]) == 2
    assert "no notebook is called 'no_such_notebook'" in capsys.readouterr().err


def test_check_runs_nothing_and_says_what_to_mend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = stored(tmp_path, "1 / 0")
    assert execute.main(["--check", str(path)]) == 1
    assert "were not executed once each in order" in capsys.readouterr().out


def test_normal_form_drops_what_execution_leaves_behind() -> None:
    streams = [nbformat.v4.new_output("stream", name=name, text=text) for name, text in
               [("stdout", "a\n"), ("stdout", "b\n"), ("stderr", "c\n"), ("stdout", "d\n")]]  # fmt: skip
    cell = nbformat.v4.new_code_cell(
        "\nprint()\n", outputs=streams, metadata={"execution": {"shell.execute_reply": "now"}, "tags": ["check"]}
    )
    setup = nbformat.v4.new_code_cell("old", metadata={"tags": ["setup"], "collapsed": True})
    notebook = nbformat.v4.new_notebook(cells=[setup, cell], metadata={"widgets": {}, "metarl_lite": {"seconds": 3.0}})
    result = normalise(notebook)
    assert result.metadata.keys() == {"kernelspec", "language_info", "metarl_lite"}
    assert result.cells[0].source == setup_cell()
    assert result.cells[0].metadata == {"tags": ["setup"]}
    assert result.cells[1].metadata == {"tags": ["check"]}
    assert result.cells[1].source == "print()"
    assert [output.text for output in result.cells[1].outputs] == ["a\nb\n", "c\n", "d\n"]
    assert dumps(normalise(result)) == dumps(result)
    assert notebook.cells[0].source == "old"


@pytest.mark.parametrize("shown", ["/home/me/x", "(/tmp/x)", f"{ROOT}/book", "'C:\\Users\\me'", "file:///root/x"])
def test_a_path_of_one_machine_is_found(shown: str) -> None:
    assert absolute_paths(nbformat.v4.new_output("stream", text=f"saved {shown} now"))


@pytest.mark.parametrize("shown", ["1/2", "tasks/home/x", "https://example.org/home/x", "a/b /c", "and/or", "~/tmp/x"])
def test_what_is_no_such_path_passes(shown: str) -> None:
    assert not absolute_paths(nbformat.v4.new_output("stream", text=shown))


def test_pictures_are_not_searched_for_paths() -> None:
    html = f'<img src="data:image/png;base64,AB/tmp/{"C" * 50}"><script>["QQ/home/{"D" * 50}"]</script>'
    assert not absolute_paths(nbformat.v4.new_output("display_data", data={"text/html": html, "image/png": "/tmp/x"}))


def test_seconds_alone_are_no_change_unless_they_differ_by_a_fifth() -> None:
    def notebook(seconds: float, source: str = "x") -> str:
        return json.dumps({"metadata": {"metarl_lite": {"seconds": seconds}}, "cells": [source]})

    assert same_but_for_seconds(notebook(10), notebook(11.9))
    assert not same_but_for_seconds(notebook(10), notebook(13))
    assert not same_but_for_seconds(notebook(10), notebook(10, "y"))
    assert not same_but_for_seconds("{}", notebook(10))


def test_writing_replaces_the_whole_file_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.ipynb"
    write(path, "one\n")
    assert path.read_bytes() == b"one\n"

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write(path, "two\n")
    assert path.read_bytes() == b"one\n"
    assert list(tmp_path.iterdir()) == [path]
