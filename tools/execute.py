"""Run notebooks anew, in place: `python -m tools.execute [--check] [06 | 6 | 06_outer_loop | path ...]`.

Without a name all notebooks of the book are meant. One is replaced only by one that ran from its first cell to its
last without an error, without a word on stderr and without a path of this machine in its outputs. After a failure, or
Ctrl-C, the stored file is as it was.

With --check nothing runs: what the stored notebooks break of the standard of chapters is printed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from tools.notebook_format import (
    BOOK,
    ROOT,
    absolute_paths,
    dumps,
    normalise,
    same_but_for_seconds,
    text,
    write,
)

CELL_TIMEOUT_S = 600
TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class ExecutionFailed(Exception):
    """A notebook did not run as it must; the message names the cell."""


def find(names: list[str], book: Path = BOOK) -> list[Path]:
    """The notebooks of these names, by number, stem or path, or all of the book.

    Raises:
        ValueError: a name fits no notebook; the message lists those that there are.
    """
    stored = sorted(book.glob("[0-9][0-9]_*.ipynb"))
    found = []
    for name in names:
        number = f"{int(name):02d}_" if name.isdigit() else None
        fits = [p for p in stored if p.stem == name or p.name == name or (number and p.name.startswith(number))]
        if not fits and name.endswith(".ipynb") and Path(name).is_file():
            fits = [Path(name).resolve()]
        if not fits:
            known = ", ".join(p.stem for p in stored) or "none yet"
            raise ValueError(f"no notebook is called {name!r}; there are: {known} (a number such as 6 will do)")
        found += [p for p in fits if p not in found]
    return found if names else stored


def environment(scratch: str) -> dict[str, str]:
    """The kernel's environment: one thread, no progress bars, this interpreter's kernel, no profile, our package."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return os.environ | {
        "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": path, "IPYTHONDIR": scratch,
        "TQDM_DISABLE": "1", "JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }  # fmt: skip


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
    with tempfile.TemporaryDirectory(prefix="metarl-execute-") as scratch:
        os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # read by this process, which picks the kernel
        with client.setup_kernel(env=environment(scratch), cwd=str(folder)):
            try:
                for count, place in enumerate(code, start=1):
                    cell, where = notebook.cells[place], f"{name}, code cell {count} of {len(code)}"
                    total += _run_cell(client, cell, place, where)
            except KeyboardInterrupt:  # a kernel that is busy would be asked politely, and may not hear
                client.shutdown_kernel = "immediate"
                raise
    return total


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
        ExecutionFailed: see `run`; the stored file is untouched.
    """
    old = path.read_text(encoding="utf-8")
    notebook = normalise(nbformat.reads(old, as_version=4))
    product_ms = yardstick_ms()
    seconds = run(notebook, path.parent, path.stem)
    new = dumps(normalise(notebook, seconds, product_ms))
    if same_but_for_seconds(old, new):
        return f"{path.stem}: {seconds:.1f} s, as stored"
    write(path, new)
    return f"{path.stem}: {seconds:.1f} s, {len(new.encode()) / 1000:.0f} kB stored"


def main(arguments: list[str] | None = None) -> int:
    """The command: 0 if all went well, 1 if a notebook failed, 2 for a wrong name, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tools.execute", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("names", nargs="*", help="number, name or path of a notebook; all without one")
    parser.add_argument("--check", action="store_true", help="run nothing, print what breaks the standard")
    options = parser.parse_args(arguments)
    failed = []
    try:
        for path in find(options.names):
            if options.check:
                failed += _check(path)
                continue
            try:
                print(execute(path), flush=True)
            except ExecutionFailed as error:
                failed.append(path.stem)
                print(f"{error}\n{path.stem}: FAILED; the stored file is as it was", file=sys.stderr, flush=True)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the notebook that was running is as it was", file=sys.stderr)
        return 130
    return 1 if failed else 0


def _check(path: Path) -> list[str]:
    from tools.standard import breaches

    found = breaches(path)
    print(f"{path.stem}: {'meets the standard' if not found else f'{len(found)} to mend'}")
    for sentence in found:
        print(f"  - {sentence}")
    return found


if __name__ == "__main__":
    sys.exit(main())
