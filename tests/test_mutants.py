"""The table of wrong lines is up to date, and what tries them tells a guarded line from one that is not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.mutants import ROOT, TABLE, Mutant, guards_of, misplaced, mutated, pattern, read, written

TEXT = TABLE.read_text(encoding="utf-8")


def test_every_text_of_the_table_is_found_once_and_leaves_python() -> None:
    mutants = read(TEXT)
    assert len(mutants) >= 150
    assert len({(m.file, m.old, m.new) for m in mutants}) == len(mutants)
    assert misplaced(mutants) == []
    assert sum(bool(m.equivalent) for m in mutants) < 0.05 * len(mutants)


def test_every_test_that_the_table_names_is_there() -> None:
    for mutant in read(TEXT):
        file, _, name = mutant.test.partition("[")[0].partition("::")
        if name:
            assert re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), mutant.test
        assert not file or (ROOT / file).is_file(), mutant.test


def test_the_table_is_read_as_it_is_written() -> None:
    head, _, table = TEXT.partition("\n=== ")
    assert written(read(TEXT)) == f"=== {table}"
    assert head.count("\n") < 10


@pytest.mark.parametrize("source", ["f(a, b) + c", "f(\n    a,\n    b\n) + c", "f( a ,b )+c"])
def test_a_text_is_found_whatever_its_white_space(source: str) -> None:
    assert pattern("f(a, b) + c").fullmatch(source)
    assert not pattern("f(a b)").search(source)
    assert not pattern("in turn").search("inturn")
    assert not pattern("= 0.01").search("radius = 0.012")


def test_a_text_that_is_not_there_or_there_twice_is_named(tmp_path: Path) -> None:
    (tmp_path / "metarl_lite").mkdir()
    (tmp_path / "metarl_lite" / "a.py").write_text("x = 1\ny = 2\nz = 1\n", encoding="utf-8")
    assert mutated(Mutant("a.py", "y = 2", "y = 3", "wrong"), tmp_path) == "x = 1\ny = 3\nz = 1\n"
    found = misplaced(
        [
            Mutant("a.py", "= 1", "= 2", "twice"),
            Mutant("a.py", "w", "v", "never"),
            Mutant("a.py", "y", "(", "no Python"),
        ],
        tmp_path,
    )
    assert [message.partition("'")[0] for message in found[:2]] == ["a.py: "] * 2
    assert "found 2 times (twice)" in found[0]
    assert "found 0 times (never)" in found[1]
    assert "invalid syntax" in found[2]


def test_the_mirrored_tests_are_asked_first_and_no_notebooks() -> None:
    for file in ("losses.py", "policies/gru.py", "algorithms/outer.py", "tasks/navigation.py"):
        tests = [str(path.relative_to(ROOT / "tests")) for path in guards_of(file, ROOT)]
        assert tests[0] == str(Path(file).parent / f"test_{Path(file).name}").removeprefix("./")
        assert not [test for test in tests if test.startswith(("notebooks", "site", "benchmarks"))]
        assert len(set(tests)) == len(tests) > 1


@pytest.mark.slow
def test_every_wrong_line_is_noticed() -> None:
    """All of the table but one in twenty: a quarter of an hour on one core."""
    done = subprocess.run([sys.executable, "-m", "tools.mutants"], cwd=ROOT, capture_output=True, text=True)
    killed, survived = (int(n) for n in re.findall(r"^(\d+) killed, (\d+) survived", done.stdout, re.MULTILINE)[0])
    assert survived <= 0.05 * (killed + survived), done.stdout
