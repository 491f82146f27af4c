"""Notebooks are run in place and stored in one form, or, if anything is wrong with them, not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.notebooks import miniature
from tools import execute, notebook_format
from tools.interrupts import Interrupted, Signals
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
        "from metarl_lite.lesson import plot\nfig, ax = plot.figure()\nplot.curve(ax, [0, 1], [0, 1])\n"
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
    assert notebook["metadata"]["metarl_lite"]["seconds"] >= 0  # by design: a clock, which goes forward
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


# --- Signals ----------------------------------------------------------------------------------------------------------

MARK = "METARL_TEST_MARK"
ONE_PROCESS = pytest.mark.skipif(sys.platform == "win32", reason="a signal cannot be sent to one process there")
BUSY = "import subprocess, time\nchild = subprocess.Popen(['sleep', '120'])\ntime.sleep({})"
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


@dataclass
class Running:
    """`python -m tools.execute` of one notebook, with a folder of its own for all that is temporary."""

    path: Path
    temporary: Path
    process: subprocess.Popen[str]
    mark: str

    def line(self, words: str) -> None:
        """Waits for the line that has these words."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if words in line:
                return
        raise AssertionError(f"it ended before it said {words!r}")

    def end(self) -> tuple[str, str]:
        """What it printed, after it has ended by itself."""
        return self.process.communicate(timeout=60)

    def code(self, errors: str) -> int:
        """The exit code as a shell reports it. Before the command's first line it is Python itself that ends."""
        code = self.process.returncode
        if code == 1 and "init_import_site" in errors:  # Python was about to start; it ends so after Ctrl-C
            return 130
        return code if code >= 0 else 128 - code

    def alive(self) -> list[int]:
        """Processes that carry the mark of this run: it, its kernel, and what a cell has started."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):  # Linux; elsewhere none is found
            try:
                if f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def litter(self) -> list[Path]:
        """What lies about: in the folder for temporary files, and beside the notebook."""
        return [*self.temporary.iterdir(), *(path for path in self.path.parent.iterdir() if path != self.path)]


@contextlib.contextmanager
def running(folder: Path, *sources: str) -> Iterator[Running]:
    """The command is started; whatever happens in here, nothing of it is left, neither processes nor open pipes."""
    (folder / "book").mkdir(parents=True)
    (folder / "temporary").mkdir()
    path = stored(folder / "book", *sources)
    mark = uuid.uuid4().hex
    places = {"TMPDIR": str(folder / "temporary"), "JUPYTER_RUNTIME_DIR": str(folder / "temporary" / "jupyter")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.execute", str(path)], cwd=ROOT, env=os.environ | places | {MARK: mark},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # Where the tests run in the background of a shell, they ignore Ctrl-C, and what they start inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    started = Running(path, folder / "temporary", process, mark)
    try:
        yield started
    finally:
        for pid in started.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.kill()
        process.communicate()


@ONE_PROCESS
@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_ctrl_c_leaves_the_stored_file_as_it_was(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path, "print('started')", BUSY.format(120)) as run:
        before = run.path.read_bytes()
        run.line("code cell 1 of 2")
        time.sleep(1.0)
        os.kill(run.process.pid, number)
        _, errors = run.end()
        assert run.process.returncode == CODES[number], errors
        assert "interrupted" in errors
        assert "Traceback" not in errors
        assert run.path.read_bytes() == before
        assert run.litter() == []
        assert run.alive() == []


def scratch_is_there(run: Running) -> None:
    """Waits until the kernel is about to be started."""
    while not list(run.temporary.glob("metarl-execute-*")) and run.process.poll() is None:
        time.sleep(0.01)


# After each of these, at a random moment of the next second: import and the first measurement, the kernel's start, a
# short cell and the busy one, the busy one and its end, and after the last cell the kernel's end and the writing.
STAGES: dict[str, Callable[[Running], None]] = {
    "start": lambda run: None,
    "kernel": scratch_is_there,
    "first cell": lambda run: run.line("code cell 1 of 3"),
    "busy cell": lambda run: run.line("code cell 2 of 3"),
    "last cell": lambda run: run.line("code cell 3 of 3"),
}


@ONE_PROCESS
@pytest.mark.slow
@pytest.mark.parametrize("trial", range(5))
@pytest.mark.parametrize("stage", STAGES)
def test_a_signal_at_any_moment_leaves_nothing_behind(tmp_path: Path, stage: str, trial: int) -> None:
    moments = random.Random(f"{stage} {trial}")
    number = signal.SIGTERM if trial == 2 else signal.SIGINT
    with running(tmp_path, "x = 1", BUSY.format(0.3) + "\nchild.kill()\nend = child.wait()", "print(x)") as run:
        before = run.path.read_bytes()
        STAGES[stage](run)
        time.sleep(moments.uniform(0, 0.8))
        run.process.send_signal(number)
        if trial % 2:  # impatient
            time.sleep(moments.uniform(0, 0.3))
            run.process.send_signal(number)
        signalled = time.monotonic()
        printed, errors = run.end()
        code = run.code(errors)
        print(f"{number.name} {stage} {trial}: {code} after {time.monotonic() - signalled:.1f} s")
        if code == 0:  # it was as good as over
            assert "kB stored" in printed
        else:
            assert code == CODES[number], errors
        if run.path.read_bytes() != before:
            assert "kB stored" in printed
            assert texts(run.path) == ["1\n"]
            assert dumps(normalise(nbformat.read(run.path, as_version=4))) == run.path.read_text(encoding="utf-8")
        assert run.litter() == []
        assert run.alive() == []


def test_a_signal_is_noted_and_raises_only_where_it_may() -> None:
    signals, ended = Signals(), []
    with signals.ending(lambda: ended.append(1)):
        signals._note(signal.SIGTERM, None)
        signals._note(signal.SIGINT, None)
    signals._note(signal.SIGINT, None)
    assert ended == [1, 1]
    with pytest.raises(Interrupted, match="SIGTERM") as first:
        signals.check()
    assert first.value.code == 143

    signals = Signals()
    with pytest.raises(Interrupted, match="SIGINT"), signals.at_once():
        signals._note(signal.SIGINT, None)
    signals._note(signal.SIGINT, None)  # and not a second time
    with pytest.raises(Interrupted), signals.at_once():
        pytest.fail("what takes long was begun after a signal")

    signals = Signals()
    with pytest.raises(Interrupted), signals.at_once(), contextlib.suppress(Interrupted):  # lost on its way
        signals._note(signal.SIGINT, None)


# --- What is stored ---------------------------------------------------------------------------------------------------


def without_root(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, such that permissions hold for root too."""

    def called(*args: Any, **options: Any) -> Any:
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            return function(*args, **options)
        finally:
            if root:
                os.seteuid(0)

    return called


def pretend_run(monkeypatch: pytest.MonkeyPatch, shown: str = "42\n") -> None:
    """No kernel: the first cell has printed this."""

    def run(notebook: Any, folder: Path, name: str) -> float:
        notebook.cells[0].execution_count = 1
        notebook.cells[0].outputs = [nbformat.v4.new_output("stream", name="stdout", text=shown)]
        return 1.0

    monkeypatch.setattr(execute, "run", run)
    monkeypatch.setattr(execute, "yardstick_ms", lambda: 20.0)


@pytest.mark.parametrize(("product_ms", "known", "kept"), [(20.0, 7.5, 1.0), (26.0, 7.5, 7.5), (26.0, None, 1.0)])
def test_a_slow_or_busy_machine_leaves_the_seconds_that_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], product_ms: float,
    known: float | None, kept: float,
) -> None:  # fmt: skip
    path = stored(tmp_path, "print(42)")
    notebook = nbformat.read(path, 4)
    if known is not None:
        notebook.metadata["metarl_lite"] = {"seconds": known, "yardstick_ms": 20.0}
    nbformat.write(notebook, path)
    pretend_run(monkeypatch)
    monkeypatch.setattr(execute, "yardstick_ms", lambda: product_ms)
    assert execute.main([str(path)]) == 0
    found = nbformat.read(path, 4)
    assert found.metadata["metarl_lite"]["seconds"] == kept
    assert found.cells[0].outputs[0].text == "42\n", "outputs are new on any machine"
    assert ("recorded elsewhere stay" in capsys.readouterr().out) == (kept == known)


def test_a_signal_while_the_file_is_written_lets_it_be_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    signals, sync = Signals(), os.fsync

    def interrupted(handle: int) -> None:
        signals._note(signal.SIGINT, None)
        signals._note(signal.SIGINT, None)
        sync(handle)

    one, two = stored(tmp_path, "print(42)"), stored(tmp_path, "print(43)", name="02_next.ipynb")
    before = two.read_bytes()
    pretend_run(monkeypatch)
    monkeypatch.setattr(execute, "SIGNALS", signals)
    monkeypatch.setattr(os, "fsync", interrupted)
    assert execute.main([str(one), str(two)]) == 130
    shown = capsys.readouterr()
    assert "01_small: 1.0 s, 1 kB stored" in shown.out
    assert "02_next" not in shown.out
    assert "interrupted" in shown.err
    assert texts(one) == ["42\n"]
    assert two.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [one, two]


@pytest.mark.skipif(sys.platform == "win32", reason="a folder's permissions are of another kind there")
@pytest.mark.parametrize("creates", ["TemporaryFile", "mkstemp"], ids=["from the start", "since it runs"])
def test_a_folder_that_cannot_be_written_to_is_named(
    creates: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stored(tmp_path, "print(42)")
    before = path.read_bytes()
    ran = []
    pretend_run(monkeypatch)
    monkeypatch.setattr(execute, "run", lambda notebook, *_: ran.append(notebook) or 1.0)
    monkeypatch.setattr(tempfile, creates, without_root(getattr(tempfile, creates)))
    tmp_path.chmod(0o555)
    if creates == "mkstemp":  # until the notebook has run, all was well
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: contextlib.nullcontext())
    try:
        assert execute.main([str(path)]) == 1
    finally:
        tmp_path.chmod(0o755)
    assert len(ran) == (creates == "mkstemp"), "what cannot be stored is not run"
    printed = capsys.readouterr().err
    assert f"{path} cannot be written: Permission denied" in printed
    assert "the stored file is as it was" in printed
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is one of Unix")
def test_a_full_disk_leaves_the_stored_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # No file may grow beyond 4 kB: like a full disk, the system refuses in the middle of the writing.
    import resource

    path = stored(tmp_path, "print(42)")
    before = path.read_bytes()
    pretend_run(monkeypatch, "x" * 10_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        code = execute.main([str(path)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    printed = capsys.readouterr().err
    assert code == 1, printed
    assert f"{path} cannot be written: File too large" in printed
    assert "the stored file is as it was" in printed
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_full_only_at_the_end_is_no_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = stored(tmp_path, "print(42)")
    before = path.read_bytes()
    pretend_run(monkeypatch)
    monkeypatch.setattr(os, "fsync", full)
    assert execute.main([str(path)]) == 1
    assert f"{path} cannot be written: No space left on device" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["no JSON", "{}", '{"cells": 1, "nbformat": 4, "nbformat_minor": 5}'])
def test_a_file_that_is_no_notebook_is_named_and_the_next_one_runs(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = tmp_path / "01_bad.ipynb", stored(tmp_path, "print(42)", name="02_good.ipynb")
    bad.write_text(content, encoding="utf-8")
    pretend_run(monkeypatch)
    assert execute.main([str(bad), str(good)]) == 1
    shown = capsys.readouterr()
    assert f"{bad}: " in shown.err
    assert "01_bad: FAILED; the stored file is as it was" in shown.err
    assert "02_good: 1.0 s" in shown.out
    assert bad.read_text(encoding="utf-8") == content


def test_an_unchanged_notebook_keeps_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path, "print(42)")

    def pretend(seconds: float) -> str:
        def run(notebook: Any, folder: Path, name: str) -> float:
            notebook.cells[0].execution_count = 1
            notebook.cells[0].outputs = [nbformat.v4.new_output("stream", name="stdout", text="42\n")]
            return seconds

        monkeypatch.setattr(execute, "run", run)
        monkeypatch.setattr(execute, "yardstick_ms", lambda: 20.0)
        return execute.execute(path)

    assert pretend(10.0).startswith("01_small: 10.0 s, 1 kB stored")
    before = path.read_bytes()
    assert pretend(11.0) == "01_small: 11.0 s, as stored"
    assert path.read_bytes() == before
    assert "stored" in pretend(20.0)
    assert load(path)["metadata"]["metarl_lite"]["seconds"] == 20.0


def test_notebooks_are_found_by_number_stem_and_path(tmp_path: Path) -> None:
    one, six = miniature.book(tmp_path, ["01_small", "06_outer_loop"])
    assert execute.find([], tmp_path) == [one, six]
    for name in ("6", "06", "06_outer_loop", "06_outer_loop.ipynb", str(six)):
        assert execute.find([name], tmp_path) == [six]
    assert execute.find(["6", "06"], tmp_path) == [six]
    for name in ("7", "6b", "16", "06_outer", "006_outer_loop"):
        with pytest.raises(ValueError, match=rf"no notebook '{name}'; there are: 01_small, 06_outer_loop"):
            execute.find([name], tmp_path)


def test_a_chapter_of_two_notebooks_is_found_whole_and_in_parts(tmp_path: Path) -> None:
    seven, first, second, ten = miniature.book(tmp_path, ["07_x", "08_first", "08b_second", "10_x"])
    assert execute.find([], tmp_path) == [seven, first, second, ten]
    assert execute.find(["8"], tmp_path) == execute.find(["08"], tmp_path) == [first, second]
    for name in ("8b", "08b", "08b_second"):
        assert execute.find([name], tmp_path) == [second]
    assert execute.find(["08_first"], tmp_path) == [first]
    assert execute.find(["8b", "8"], tmp_path) == [second, first]


def test_contents_that_name_a_missing_notebook_are_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    miniature.book(tmp_path, ["01_small"])
    miniature.write_contents(tmp_path, ["01_small", "02_lost"])
    monkeypatch.setattr(execute, "find", partial(execute.find, root=tmp_path))
    assert execute.main([]) == 2
    printed = capsys.readouterr().err
    assert f"{tmp_path / '_toc.yml'} names book/02_lost, and there is no file book/02_lost.ipynb" in printed


def test_an_unknown_name_ends_with_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute.main(["no_such_notebook"]) == 2
    assert "no notebook 'no_such_notebook'" in capsys.readouterr().err


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


def test_normal_form_keeps_what_folds_a_cell_in_colab() -> None:
    kept = {"cellView": "form", "tags": ["hide-input"]}
    dropped = {"id": "aBc", "colab": {"height": 400}, "collapsed": True, "jupyter": {"source_hidden": True}}
    picture = nbformat.v4.new_output(
        "display_data", data={"image/png": "aGFsbG8="}, metadata={"image/png": {"alt": ALT}}
    )
    cells = [
        nbformat.v4.new_code_cell("#@title\nx = 1", metadata=kept | dropped, outputs=[picture]),
        nbformat.v4.new_markdown_cell("text", metadata={"cellView": "form", "tags": ["hide-input"]}),
    ]
    result = normalise(nbformat.v4.new_notebook(cells=cells))
    assert result.cells[0].metadata == kept | {"mystnb": {"image": {"alt": ALT}}}
    assert result.cells[1].metadata == {"tags": ["hide-input"]}
    assert dumps(normalise(result)) == dumps(result)


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
