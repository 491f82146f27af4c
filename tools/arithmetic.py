"""Run the tests under four arithmetics, and list the numeric tolerances with the least slack.

    python -m tools.arithmetic [--only native,avx2] [--no-notebooks] [--workers 2] [tests/test_optim.py ...]
    python -m tools.arithmetic --report

Processors differ in the order in which they add, and in whether they multiply and add in one rounding. One machine can
pretend to be several: see ARITHMETICS. Under each of them the unit tests and the notebooks run, one after the other;
the notebooks not under two threads, since their setup cell asks for one itself. What each assert compares is written
down by tools/compared.py, and --report reads once more what the last run has left in _build/arithmetic.

The slack of a tolerance is the tolerance over the spread of the error: how far the error of the same comparison, in the
same test, at the same turn, moves from one arithmetic to another, element by element. An inequality `a < b` has the
room b - a, and its slack is the least room over the spread of the room. Below ten a fifth arithmetic may well fail. A
value that is the same in all four has no spread: a second list tells which errors are nearest to what they are allowed.

Two kinds of inequality are not tolerances, and say so in a comment on the asserting lines, or right above them:

    assert share > 0.9  # statistical: 0.94 to 0.98 over 20 seeds
    assert kl <= 0.01  # by design: the line search ends just below the bound

They are listed apart, with the reason. Exit status: 0 if all tests pass and no other slack is below ten, 1 if not, 2
for a wrong name. Not seen are what gradcheck compares, and asserts outside of modules called test_*.py.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tools.notebook_format import ROOT

ARITHMETICS: dict[str, dict[str, str]] = {
    "native": {},
    "compatible": {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2"},
    # Threads that wait passively: on a machine that has other work, spinning for each other takes most of the time.
    "threads": {
        "OMP_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "METARL_TEST_THREADS": "2",
        "OMP_WAIT_POLICY": "passive",
    },
}
UNIT = ["tests", "--ignore=tests/site"]  # pages do no arithmetic
NOTEBOOKS = "tests/notebooks/test_nbval.py"
RECORDS = ROOT / "_build" / "arithmetic"
LEAST_SLACK, LISTED = 10.0, 10
GUARD_S = 3600  # against hanging, as in pyproject.toml, but an arithmetic without vectors takes longer
LARGEST_ERROR = 0.01  # `a < b` with a larger b compares quantities, and how near they are says nothing
MARKER = re.compile(r"#\s*(by design|statistical):\s*(.+)")
Rows = dict[tuple[Any, ...], dict[str, Any]]


# --- Running ----------------------------------------------------------------------------------------------------------


def chosen(name: str, notebooks: bool) -> list[str]:
    """What runs under an arithmetic where nothing else is said: everything but the pages, and perhaps the notebooks.

    To name a file on pytest's command line does not bring back what is ignored there.
    """
    return UNIT if notebooks and name != "threads" else [*UNIT, f"--ignore={NOTEBOOKS}"]


def run(name: str, records: Path, tests: list[str], workers: int, cwd: Path = ROOT) -> list[str]:
    """The tests under one arithmetic; what failed, one line each."""
    folder = records / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    not_ours = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "PYTEST_")
    env = {key: value for key, value in os.environ.items() if not key.startswith(not_ours)}
    path = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH", "")]))
    env |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": path, "METARL_COMPARED": str(folder)}
    guard = f"--timeout={GUARD_S}"
    command = [sys.executable, "-m", "pytest", "-p", "tools.compared", "-n", str(workers), guard, "-q", *tests]
    done = subprocess.run(command, cwd=cwd, env=env | ARITHMETICS[name], check=False)
    failed = sorted({row["test"] for row in _lines(folder, "tests") if row["failed"]})
    return failed or ([f"pytest ended with status {done.returncode}"] if done.returncode else [])


def _lines(folder: Path, kind: str) -> list[dict[str, Any]]:
    files = sorted(folder.glob(f"{kind}-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


# --- Slack ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """One comparison in all arithmetics: `nearness` is the limit over the value that comes nearest to it."""

    file: str
    line: int
    test: str
    slack: float
    nearness: float
    limit: float
    values: tuple[float, ...]
    is_error: bool


def compared(same: list[dict[str, Any]]) -> Compared:
    """The slack of one comparison, from its row in each of the arithmetics."""
    first, values, limits = same[0], [row["value"] for row in same], [row["limit"] for row in same]
    if first["kind"] == "bound":
        slack = _room([row["room"] for row in same])
        nearness = min(
            large / small if small > 0 < large else math.inf for small, large in zip(values, limits, strict=True)
        )
        nearness = nearness if nearness >= 1 else 1 / nearness  # in a check that has to fail
        is_error = max(limits) <= LARGEST_ERROR
        if len(set(values)) == 1 < len(set(limits)):  # `value > limit`
            values, limits = limits, values
    else:
        is_error, worst = True, [max(map(abs, row["ratio"])) for row in same]
        nearness = min(worst) if min(worst) > 1 else 1 / max(worst) if max(worst) else math.inf
        length = min(len(row["ratio"]) for row in same)
        spread = max(max(r) - min(r) for r in zip(*(row["ratio"][:length] for row in same), strict=True))
        slack = _room([w - 1 for w in worst]) if min(worst) > 1 else (1 / spread if spread else math.inf)
    return Compared(first["file"], first["line"], first["test"], slack, nearness, limits[0], tuple(values), is_error)


def _room(rooms: list[float]) -> float:
    spread = max(rooms) - min(rooms)
    if spread == 0:
        return math.inf
    return min(map(abs, rooms)) / spread if min(rooms) > 0 or max(rooms) < 0 else 0.0


def recorded(records: Path, name: str) -> Rows:
    """What was compared under one arithmetic, by test, line, place in the line, and turn."""
    keys = ("test", "file", "line", "place", "n")
    return {tuple(row[key] for key in keys): row for row in _lines(records / name, "rows")}


def sites(found: list[Rows]) -> list[Compared]:
    """Of each asserting line the comparison with the least slack, the one that is nearest to its limit first."""
    least: dict[tuple[str, int], Compared] = {}
    nearest: dict[tuple[str, int], float] = {}  # of errors
    for key in found[0]:
        if all(key in rows for rows in found):
            one = compared([rows[key] for rows in found])
            site = one.file, one.line
            nearest[site] = min(one.nearness if one.is_error else math.inf, nearest.get(site, math.inf))
            if site not in least or (one.slack, one.nearness) < (least[site].slack, least[site].nearness):
                least[site] = one
    return [Compared(**(vars(one) | {"nearness": nearest[site]})) for site, one in least.items()]


# --- Telling ----------------------------------------------------------------------------------------------------------


@cache
def _statements(file: str) -> tuple[list[str], list[ast.stmt]]:
    text = Path(file).read_text(encoding="utf-8")
    return text.splitlines(), [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)]


def statement(file: str, line: int) -> tuple[str, str | None]:
    """The innermost statement at a line, without its comments, and what a comment marks it as."""
    lines, nodes = _statements(file)
    around = [node for node in nodes if node.lineno <= line <= (node.end_lineno or node.lineno)]
    node = max(around, key=lambda node: node.lineno)
    first, last = node.lineno, node.end_lineno or node.lineno
    while first > 1 and lines[first - 2].lstrip().startswith("#"):
        first -= 1
    marks = [mark for text in lines[first - 1 : last] if (mark := MARKER.search(text))]
    return ast.unparse(node).splitlines()[0][:110], f"{marks[0][1]}: {marks[0][2]}" if marks else None


def told(one: Compared, names: list[str], root: Path, mark: str | None = None) -> str:
    """One site in four lines."""
    file = Path(one.file)
    shown = file.relative_to(root) if file.is_relative_to(root) else file
    values = ", ".join(f"{name} {value:.6g}" for name, value in zip(names, one.values, strict=True))
    lines = [
        f"{shown}:{one.line}  slack {one.slack:.3g}, tolerance / largest error {one.nearness:.4g}",
        f"    {statement(one.file, one.line)[0]}",
        f"    limit {one.limit:.6g}; {values}",
        f"    {mark or one.test}",
    ]
    return "\n".join(lines)


def report(records: Path, names: list[str], root: Path = ROOT) -> bool:
    """The lists are printed; says whether every tolerance has its slack."""
    rows = [recorded(records, name) for name in names]
    common = set.intersection(*map(set, rows))
    found = sites(rows)
    marks = {one: statement(one.file, one.line)[1] for one in found}
    plain = [one for one, mark in marks.items() if mark is None]
    by_slack, by_nearness = (sorted(plain, key=lambda one: getattr(one, key)) for key in ("slack", "nearness"))
    print(f"\n{len(found)} asserting lines compare numbers, {len(common)} times under each of {', '.join(names)};")
    print(f"{max(map(len, rows)) - len(common)} times under some of them only, and these say nothing here.")
    print(f"\n=== The {LISTED} with the least slack, and all below {LEAST_SLACK:.0f} ===")
    short = [one for one in by_slack if one.slack < LEAST_SLACK]
    for one in by_slack[: max(LISTED, len(short))]:
        print(told(one, names, root))
    print(f"\n=== The {LISTED} errors nearest to what they are allowed, whatever their spread ===")
    for one in [one for one in by_nearness if one.nearness < math.inf][:LISTED]:
        print(told(one, names, root))
    print("\n=== By design or statistical, as a comment there says ===")
    for one, mark in sorted(marks.items(), key=lambda pair: pair[0].slack):
        if mark is not None:
            print(told(one, names, root, mark))
    if short:
        print(f"\n{len(short)} of the tolerances are less than {LEAST_SLACK:.0f} times the spread of their value.")
    return not short


def main(arguments: list[str] | None = None) -> int:
    """The command: 0 if all holds with room, 1 if not, 2 for a wrong name."""
    parser = argparse.ArgumentParser(prog="python -m tools.arithmetic", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("tests", nargs="*", help="files or options for pytest instead of all unit tests and notebooks")
    parser.add_argument("--only", default=",".join(ARITHMETICS), help=f"some of {', '.join(ARITHMETICS)}")
    parser.add_argument("--no-notebooks", action="store_true", help="the unit tests alone")
    parser.add_argument(
        "--workers", type=int, default=2, help="workers of pytest-xdist; under two threads there is one"
    )
    parser.add_argument("--report", action="store_true", help="run nothing: read what the last run has recorded")
    options, more = parser.parse_known_args(arguments)
    names = options.only.split(",")
    if unknown := [name for name in names if name not in ARITHMETICS]:
        print(f"no arithmetic is called {unknown[0]!r}; there are: {', '.join(ARITHMETICS)}", file=sys.stderr)
        return 2
    failed: dict[str, list[str]] = {}
    for place, name in enumerate([] if options.report else names, start=1):
        tests = [*(options.tests or chosen(name, not options.no_notebooks)), *more]
        setting = " ".join(f"{key}={value}" for key, value in ARITHMETICS[name].items()) or "as this machine is"
        print(f"\n=== {place} of {len(names)}: {name} ({setting}) ===", flush=True)
        started = time.monotonic()
        # Two workers of two threads on two cores wait for each other most of the time.
        failed[name] = run(name, RECORDS, tests, 1 if name == "threads" and options.workers else options.workers)
        print(f"{name}: {time.monotonic() - started:.0f} s, {len(failed[name])} failed", flush=True)
    has_slack = report(RECORDS, names)
    for name, tests in failed.items():
        print(f"\n{name}: {'all tests pass' if not tests else f'{len(tests)} failed'}")
        print("".join(f"    {test}\n" for test in tests), end="")
    return 0 if has_slack and not any(failed.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
