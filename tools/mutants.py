"""Break one line of the package at a time and see whether a test notices: `python -m tools.mutants [WORDS ...]`.

A test that passes with and without a line does not guard it. mutants.txt holds lines that are easily got wrong:
an option that is ignored, a scale that is another, a second step that is forgotten, a sign, an axis, a mask. Each is
applied to a copy of the package, alone, and the tests that should notice are run on it: those that mirror the module,
then those in its room, then all others that import it; no notebooks, no slow tests.

    .venv/bin/python -m tools.mutants                 all of them, half an hour
    .venv/bin/python -m tools.mutants policies/ ppo   those whose file, text or reason holds one of the words
    .venv/bin/python -m tools.mutants --check         only whether every text is still found, which takes no time

A text is found whatever its white space is, so it may be broken into lines; but it must be found exactly once, or
nothing is run. A survivor is a test that is missing: write it. Or the line does not matter, and the table says why.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TABLE = Path(__file__).with_suffix(".txt")

#: Tests that look at the house and not at the package.
ELSEWHERE = ("notebooks", "site", "benchmarks")


@dataclass(frozen=True)
class Mutant:
    """One wrong line: in `file`, a path in the package, `old` becomes `new`."""

    file: str
    old: str
    new: str
    why: str  # what is wrong with it, in a few words
    test: str = ""  # the test that noticed when it was last tried, which is asked first
    equivalent: str = ""  # why no test can notice, where that is so; then it is not tried


def pattern(text: str) -> re.Pattern[str]:
    """Finds a text whatever the white space between its words and signs."""
    parts = re.findall(r"\w+|[^\w\s]", text)
    out = (r"\b" if parts[0][0].isalnum() else "") + re.escape(parts[0])
    for before, after in itertools.pairwise(parts):
        words = before[-1].isalnum() or before[-1] == "_", after[0].isalnum() or after[0] == "_"
        out += (r"\s+" if all(words) else r"\s*") + re.escape(after)
    return re.compile(out + (r"\b" if parts[-1][-1].isalnum() else ""))


def mutated(mutant: Mutant, root: Path = ROOT) -> str:
    """The source of its file with the wrong line.

    Raises:
        ValueError: if the text is not found exactly once.
    """
    source = (root / "metarl_lite" / mutant.file).read_text(encoding="utf-8")
    found = pattern(mutant.old).findall(source)
    if len(found) != 1:
        raise ValueError(f"{mutant.file}: {mutant.old!r} is found {len(found)} times ({mutant.why}).")
    return pattern(mutant.old).sub(lambda _: mutant.new, source)


def misplaced(mutants: Iterable[Mutant], root: Path = ROOT) -> list[str]:
    """What is wrong with the table: texts that are not found exactly once, or that leave no Python behind."""
    wrong = []
    for mutant in mutants:
        try:
            compile(mutated(mutant, root), mutant.file, "exec")
        except (ValueError, SyntaxError) as error:
            wrong.append(str(error))
    return wrong


def guards_of(file: str, root: Path) -> list[Path]:
    """The test files that should notice, in the order in which they are run."""
    path, tests = Path(file), root / "tests"
    room = path.parent
    module = "metarl_lite." + ".".join(path.with_suffix("").parts)
    files = [p for p in sorted(tests.rglob("test_*.py")) if p.relative_to(tests).parts[0] not in ELSEWHERE]
    imports = re.compile(rf"\b{re.escape(module)}\b|from {re.escape(module.rpartition('.')[0])} import")
    if path.name == "__init__.py":
        imports = re.compile(rf"\b{re.escape('metarl_lite.' + '.'.join(room.parts))}\b")
    mirrored = [p for p in files if p == tests / room / f"test_{path.name}"]
    near = [p for p in files if p.parent == tests / room and (room.parts or imports.search(p.read_text()))]
    others = [p for p in files if imports.search(p.read_text())]
    return list(dict.fromkeys([*mirrored, *sorted(near, key=lambda p: p.stat().st_size), *others]))


# --- Running ----------------------------------------------------------------------------------------------------------


class Noticed:
    """Writes down the first test that fails."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pytest_runtest_logreport(self, report: Any) -> None:
        """What pytest says of a test."""
        if report.failed and not self.path.exists():
            self.path.write_text(report.nodeid)


def in_the_copy(scratch: Path, tests: list[str]) -> int:
    """Runs tests, or files of tests, in the copy, in a process of its own; pytest's exit code, 99 if it was not."""
    os.setsid()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.chdir(scratch)
    sys.path.insert(0, str(scratch))
    sys.dont_write_bytecode = True  # two versions of a file may have one length and one second
    import pytest

    import metarl_lite

    if not Path(metarl_lite.__file__).is_relative_to(scratch):
        return 99
    options = ["-x", "-q", "-n", "0", "--assert=plain", "-p", "no:cacheprovider"]
    return int(pytest.main([*options, *tests], plugins=[Noticed(scratch / "noticed")]))


def failed(scratch: Path, tests: list[str], seconds: float) -> str | None:
    """The first test that fails of these in the copy, "" if none does; None where they do not end in time.

    A fork, so that torch is loaded once.
    """
    (scratch / "noticed").unlink(missing_ok=True)
    child = os.fork()
    if not child:
        code = 1  # the package cannot even be imported
        try:
            code = in_the_copy(scratch, tests)
        finally:
            os._exit(code)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            if code == 99:
                raise RuntimeError(f"the tests did not run in the copy, {scratch}")
            if code in (0, 5) or (code == 4 and len(tests) == 1):  # 4 and 5: no such test, or none that is not slow
                return ""
            return (scratch / "noticed").read_text() if (scratch / "noticed").exists() else tests[0]
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def copy_of(root: Path, scratch: Path) -> None:
    """What the tests need, in a folder of its own."""
    for name in ("metarl_lite", "tests", "tools"):
        shutil.copytree(root / name, scratch / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "pyproject.toml", scratch)


class Court:
    """Tries mutants in a copy. A test that fails without any mutant convicts nobody."""

    def __init__(self, scratch: Path, seconds: float) -> None:
        self.scratch, self.seconds = scratch, seconds
        self.sound: dict[str, bool] = {}

    def is_sound(self, test: str) -> bool:
        """Whether a test passes on the package as it is."""
        if self.sound.get(test.partition("[")[0]):
            return True
        if test not in self.sound:
            self.sound[test] = failed(self.scratch, [test], self.seconds) == ""
        return self.sound[test]

    def killer(self, mutant: Mutant) -> str:
        """The test that notices; "" if none does, or none in time."""
        path = self.scratch / "metarl_lite" / mutant.file
        whole, broken = path.read_text(encoding="utf-8"), mutated(mutant, self.scratch)
        end = time.monotonic() + self.seconds
        files = [str(test.relative_to(self.scratch)) for test in guards_of(mutant.file, self.scratch)]
        for test in [mutant.test, *files] if mutant.test else files:
            path.write_text(broken, encoding="utf-8")
            try:
                found = failed(self.scratch, [test], end - time.monotonic())
            finally:
                path.write_text(whole, encoding="utf-8")
            if found is None:
                return ""
            if found and self.is_sound(found):
                return found
        return ""


def load() -> None:
    """Loads before the forks, once, all that tests load and that is not of the package."""
    import gymnasium  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import safetensors.torch  # noqa: F401
    import torch

    torch.set_num_threads(1)
    for plugin in entry_points(group="pytest11"):
        plugin.load()
    torch.optim.Adam([torch.zeros(1, requires_grad=True)]).step()  # its first step loads half of torch


def run(mutants: list[Mutant], seconds: float) -> tuple[int, dict[Mutant, str]]:
    """Tries them, prints a line for each and a summary; how many survived, and the tests that noticed the others."""
    load()
    noticed: dict[Mutant, str] = {}
    tried = [mutant for mutant in mutants if not mutant.equivalent]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        scratch = Path(folder).resolve()
        copy_of(ROOT, scratch)
        court = Court(scratch, seconds)
        named = sorted({mutant.test for mutant in tried if mutant.test})
        if failed(scratch, named, max(seconds, 60 * len(named))) == "":  # all in one go
            court.sound = dict.fromkeys(named, True)
        for mutant in tried:
            began, by = time.monotonic(), court.killer(mutant)
            if by:
                noticed[replace(mutant, test="")] = by
            word = "killed  " if by else "SURVIVED"
            print(f"{word} {time.monotonic() - began:4.0f} s  {mutant.file}: {mutant.why}  {by}", flush=True)
    survived, excused = len(tried) - len(noticed), len(mutants) - len(tried)
    print(f"{len(noticed)} killed, {survived} survived; {excused} that no test can notice were not tried.")
    unsound = [test for test, sound in court.sound.items() if not sound]
    if unsound:
        print("These fail without any mutant, and were not counted:", *unsound)
    return survived, noticed


def read(text: str) -> list[Mutant]:
    """The table of mutants.txt, which says how it is written."""
    found, file = [], ""
    for block in re.split(r"\n\s*\n|\n(?==== )", text.partition("\n=== ")[2].strip()):
        rows = f"=== {block}".splitlines() if not file else block.splitlines()
        if rows[0].startswith("=== "):
            file = rows.pop(0).removeprefix("=== ").strip()
        signs = {row[0]: row[1:].strip() for row in rows[1:]}
        if set(signs) - set("?=") != set("-+") or len(signs) != len(rows) - 1:
            raise ValueError(f"mutants.txt: this is no mutant: {block!r}")
        found.append(Mutant(file, signs["-"], signs["+"], rows[0], signs.get("?", ""), signs.get("=", "")))
    return found


def written(mutants: list[Mutant]) -> str:
    """The table as text, without what stands above it."""
    out, file = "", ""
    for mutant in mutants:
        out += f"=== {mutant.file}\n" if mutant.file != file else ""
        rows = {"": mutant.why, "-": mutant.old, "+": mutant.new, "?": mutant.test, "=": mutant.equivalent}
        out += "".join(f"{sign} {row}".strip() + "\n" for sign, row in rows.items() if row or sign == "+") + "\n"
        file = mutant.file
    return out.rstrip() + "\n"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("words", nargs="*", help="only mutants whose file, text or reason holds one of these")
    parser.add_argument("--check", action="store_true", help="only look whether every text is found exactly once")
    parser.add_argument("--remember", action="store_true", help="write into mutants.txt which test noticed each")
    parser.add_argument("--seconds", type=float, default=600, help="at most so long for one mutant (600)")
    given = parser.parse_args()
    text = TABLE.read_text(encoding="utf-8")
    mutants = read(text)
    wrong = misplaced(mutants)
    if wrong:
        print(*wrong, sep="\n")
        print("Bring tools/mutants.txt up to date.")
        return 2
    if given.check:
        print(f"All {len(mutants)} texts are found.")
        return 0
    chosen = [m for m in mutants if not given.words or any(w in f"{m.file} {m.old} {m.why}" for w in given.words)]
    survived, noticed = run(chosen, given.seconds)
    if given.remember:
        text = TABLE.read_text(encoding="utf-8")  # another run may have remembered meanwhile
        latest = [replace(m, test=noticed.get(replace(m, test=""), m.test)) for m in read(text)]
        TABLE.write_text(text.partition("\n=== ")[0] + "\n" + written(latest), encoding="utf-8")
    return min(survived, 1)


if __name__ == "__main__":
    sys.exit(main())
