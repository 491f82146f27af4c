"""Run notebooks anew, in place: `python -m tools.execute [--check] [06 | 6 | 8b | 06_outer_loop | path ...]`.

Without a name all notebooks that _toc.yml has are meant. One is replaced only by one that ran from its first cell to
its last without an error, without a word on stderr and without a path of this machine in its outputs. After a failure,
or Ctrl-C, the stored file is as it was, and kernel and temporary files are gone.

Seconds are recorded by a machine of the usual pace only: one that is slower, or has other work, leaves those that are
known, and says so.

With --check nothing runs: what the stored notebooks break of the standard of chapters is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbclient.util import run_sync

from tools import contents
from tools.interrupts import SIGNALS, Interrupted
from tools.notebook_format import (
    ROOT,
    absolute_paths,
    dumps,
    normalise,
    parse,
    same_but_for_seconds,
    text,
    write,
    write_errors,
)

CELL_TIMEOUT_S = 600
TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class ExecutionFailed(Exception):
    """A notebook did not run as it must; the message names the cell."""


def find(names: list[str], root: Path = ROOT) -> list[Path]:
    """The notebooks of these names, by number, stem or path, or all of the book.

    The number 8 means all notebooks of chapter 8, and 8b the second one.

    Raises:
        ValueError: a name fits no notebook; the message lists those that there are. Or _toc.yml is wrong.
    """
    stored = contents.notebooks(root)
    found: list[Path] = []
    for name in names:
        fits = [p for p in stored if name in (p.stem, p.name)]
        if asked := re.fullmatch(r"(\d+)([b-z]?)", name):
            start = re.compile(f"{int(asked[1]):02d}{asked[2] or '[b-z]?'}_")
            fits = [p for p in stored if start.match(p.name)]
        if not fits and name.endswith(".ipynb") and Path(name).is_file():
            fits = [Path(name).resolve()]
        if not fits:
            known = ", ".join(p.stem for p in stored) or "none yet"
            raise ValueError(f"_toc.yml has no notebook {name!r}; there are: {known} (a number such as 6 will do)")
        found += [p for p in fits if p not in found]
    return found if names else stored


def environment(scratch: str) -> dict[str, str]:
    """The kernel's environment: one thread, no progress bars, this interpreter's kernel, no profile, our package."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return os.environ | {
        "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": path, "IPYTHONDIR": scratch,
        "TQDM_DISABLE": "1", "JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }  # fmt: skip


#: Of the product below, which usually takes 20: a machine slower than this, or busy, says nothing about a chapter.
SLOW_MS = 25.0


def yardstick_ms() -> float:
    """Milliseconds of the product of two 1000 x 1000 matrices on one thread, the best of twenty."""
    import torch

    torch.set_num_threads(1)
    a, best = torch.ones(1000, 1000), float("inf")
    for _ in range(20):
        started = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - started)
    return 1000 * best


def run(notebook: Any, folder: Path, name: str) -> float:
    """Every code cell is executed in order, in a fresh kernel; the notebook is filled in, the seconds returned.

    Raises:
        ExecutionFailed: a cell raised, wrote to stderr, showed a path of this machine, or took ten minutes.
        Interrupted: a signal came; the kernel is dead and its folder gone.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    code = [place for place, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    client = NotebookClient(
        notebook, timeout=CELL_TIMEOUT_S, kernel_name="python3", record_timing=False,
        extra_arguments=["--log-level=40"], resources={"metadata": {"path": str(folder)}},
    )  # fmt: skip
    total = 0.0
    try:
        with tempfile.TemporaryDirectory(prefix="metarl-execute-") as scratch, _kernel(client, folder, scratch):
            for count, place in enumerate(code, start=1):
                SIGNALS.check()
                cell, where = notebook.cells[place], f"{name}, code cell {count} of {len(code)}"
                total += _run_cell(client, cell, place, where)
    except Exception:
        SIGNALS.check()  # then it was the signal that ended the kernel, and this is no failure of the notebook
        raise
    return total


@contextlib.contextmanager
def _kernel(client: NotebookClient, folder: Path, scratch: str) -> Iterator[None]:
    """A kernel for the client, with all its files in scratch; a signal kills it, and what waits for it sees that.

    nbclient's own way to start and to end one is not taken: it closes the sockets of the thread that listens to the
    kernel's heart while that thread uses them, which once in a while never returns.
    """
    manager = client.create_kernel_manager()
    manager.connection_file = os.path.join(scratch, "kernel.json")
    with SIGNALS.ending(partial(_kill, manager)):
        try:
            client.start_new_kernel(env=environment(scratch), cwd=str(folder))
            if SIGNALS.number:  # it came before the new process was known
                _kill(manager)
            client.kc = manager.client()
            client.kc.start_channels()
            run_sync(client.kc.wait_for_ready)(timeout=client.startup_timeout)
            client.kc.allow_stdin = False
            yield
        finally:
            if client.kc is not None:
                client.kc.stop_channels()  # waits for the heart's thread
            if manager.has_kernel:
                run_sync(manager.shutdown_kernel)(now=bool(SIGNALS.number))
            run_sync(manager.cleanup_resources)()


def _kill(manager: Any) -> None:
    """The kernel's process ends, and what it has started, which is in a session of its own with it."""
    process = getattr(manager.provisioner, "process", None)
    if process is None or process.poll() is not None:
        return
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _run_cell(client: NotebookClient, cell: Any, place: int, where: str) -> float:
    first = next((line for line in cell.source.splitlines() if line.strip()), "(empty)")
    started = time.monotonic()
    try:
        client.execute_cell(cell, place)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise ExecutionFailed(f"{where} failed:\n{TERMINAL_COLOURS.sub('', str(error)).strip()}") from None
    seconds = time.monotonic() - started
    print(f"{where:<42} {seconds:6.1f} s  {first[:60]}", flush=True)
    for output in cell.outputs:
        if output.get("name") == "stderr":
            raise ExecutionFailed(f"{where} wrote to stderr:\n{text(output.text).strip()}")
        if paths := absolute_paths(output):
            raise ExecutionFailed(f"{where} shows a path of this machine: {paths[0]}")
    return seconds


def execute(path: Path) -> str:
    """One notebook is run and stored; returns what was done to the file.

    Raises:
        ExecutionFailed, Interrupted: see `run`; the stored file is untouched.
        OSError: the folder cannot be written to, or the disk is full; the stored file is untouched.
    """
    old = path.read_text(encoding="utf-8")
    notebook = normalise(parse(old))
    with write_errors(path), tempfile.TemporaryFile(dir=path.parent):
        pass  # a folder that cannot be written to is found now, and not after minutes
    with SIGNALS.at_once():  # half of it is the import of torch
        product_ms = yardstick_ms()
    seconds = run(notebook, path.parent, path.stem)
    with SIGNALS.at_once():
        product_ms = max(product_ms, yardstick_ms())  # of before and after
    known = notebook["metadata"].get("metarl_lite", {}).get("seconds")
    slow = known is not None and product_ms > SLOW_MS
    new = dumps(normalise(notebook) if slow else normalise(notebook, seconds, product_ms))
    note = f"; a product takes {product_ms:.0f} ms here: the {known} s recorded elsewhere stay" if slow else ""
    SIGNALS.check()
    if same_but_for_seconds(old, new):
        return f"{path.stem}: {seconds:.1f} s, as stored{note}"
    write(path, new)
    return f"{path.stem}: {seconds:.1f} s, {len(new.encode()) / 1000:.0f} kB stored{note}"


def main(arguments: list[str] | None = None) -> int:
    """The command: 0 if all went well, 1 if a notebook failed, 2 for a wrong name, 130 or 143 after a signal."""
    parser = argparse.ArgumentParser(prog="python -m tools.execute", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("names", nargs="*", help="number, name or path of a notebook; all without one")
    parser.add_argument("--check", action="store_true", help="run nothing, print what breaks the standard")
    options = parser.parse_args(arguments)
    try:
        paths = find(options.names)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    failed = []
    try:
        for path in paths:
            SIGNALS.check()
            try:
                if options.check:
                    failed += _check(path)
                else:
                    print(execute(path), flush=True)
            except (ExecutionFailed, OSError, ValueError) as error:  # ValueError: what is stored is no notebook
                failed.append(path.stem)
                about = "" if isinstance(error, ExecutionFailed) else f"{path}: "
                print(f"{about}{error}\n{path.stem}: FAILED; the stored file is as it was", file=sys.stderr, flush=True)
        SIGNALS.check()
    except Interrupted as stop:
        print("\ninterrupted; a notebook that was not reported as stored is as it was", file=sys.stderr, flush=True)
        return stop.code
    return 1 if failed else 0


def _check(path: Path) -> list[str]:
    from tools.standard import breaches

    found = breaches(path)
    print(f"{path.stem}: {'meets the standard' if not found else f'{len(found)} to mend'}")
    for sentence in found:
        print(f"  - {sentence}")
    return found


if __name__ == "__main__":
    SIGNALS.catch()
    code = main()
    if SIGNALS.number:  # all is put away, and to take down torch would take another second
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)
