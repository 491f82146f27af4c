"""The four arithmetics: what an assert compares is written down, and the slack of its tolerance told."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import arithmetic
from tools.notebook_format import ROOT

# `moved` is what AVX2 changes: the tests that are written below tell the two arithmetics by it.
HEAD = '''"""A module of tests."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

moved = 1.0 if os.environ.get("MKL_CBWR") == "AVX2" else 0.0
'''


def write(folder: Path, *tests: str) -> Path:
    path = folder / "test_small.py"
    path.write_text(HEAD + "".join(f"\n\ndef test_{k}():\n    {body}\n" for k, body in enumerate(tests)))
    return path


def slacks(listed: str) -> dict[int, str]:
    """The slack of each test that is listed, by its number."""
    return {int(k): slack for slack, k in re.findall(r"  slack ([^,]+),.*?::test_(\d)", listed, re.DOTALL)}


def under_both(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, str]]:
    """The command's status, and its lists by their headings."""
    monkeypatch.setattr(arithmetic, "RECORDS", path.parent / "records")
    status = arithmetic.main(["--only", "native,avx2", "--workers", "0", str(path)])
    slack, nearness, marked = capsys.readouterr().out.split("\n=== ")[-3:]
    return status, {"slack": slack, "nearness": nearness, "marked": marked}


def test_a_tolerance_of_three_spreads_fails_and_one_of_a_thousand_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(
        tmp_path,
        "assert 5 + moved == pytest.approx(5, abs=3)",
        "torch.testing.assert_close(torch.tensor([5.0, 7 + moved]), torch.tensor([5.0, 7.0]), rtol=0, atol=1000)",
        "assert (torch.tensor([0.5, 1 + moved]) < 9).all()",
        "assert 1 + moved < 5  # statistical: 1 to 2 in two arithmetics",
        "# by design: it ends where\n    # it ends\n    assert moved <= 1",
        "with pytest.raises(AssertionError):\n        np.testing.assert_allclose(moved, 7.0, rtol=0, atol=1)",
        "assert [0.5 + moved, 1] < [7] or moved < 2",
        "assert any(x + moved > 2 for x in (0.5, 2.5))",
        "assert int(moved) == 0",
    )
    status, listed = under_both(path, monkeypatch, capsys)
    assert status == 1
    assert slacks(listed["slack"]) == {
        0: "3",
        5: "5",  # it has to differ by more than 1, and differs by 7 and by 6: the room is 6 and 5
        2: "7",  # the room is 8 and 7
        1: "1e+03",
    }
    first, _, third, _ = listed["slack"].split("  slack ")[1:]
    assert first.startswith("3, tolerance / largest error 3\n    assert 5 + moved == pytest.approx(5, abs=3)\n")
    assert "limit 3; native 0, avx2 1\n" in first
    assert "limit 9; native 1, avx2 2\n" in third
    assert "3 of the tolerances are less than 10 times the spread of their value." in listed["marked"]
    assert "statistical: 1 to 2 in two arithmetics" in listed["marked"]
    assert "by design: it ends where" in listed["marked"]
    assert "native: all tests pass" in listed["marked"]
    assert re.search(r"avx2: 1 failed\n    \S*test_small.py::test_8\n", listed["marked"])


def test_a_marked_one_does_not_fail_and_a_value_that_never_moves_has_all_the_slack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(
        tmp_path,
        "assert 0.0098 < 0.01",
        "assert 4 < 5",
        "assert 1 + moved < 5  # statistical: drawn",
        "assert moved == moved",
    )
    status, listed = under_both(path, monkeypatch, capsys)
    assert status == 0
    assert slacks(listed["nearness"]) == {0: "inf"}  # neither integers nor equality to the bit
    assert "tolerance / largest error 1.02" in listed["nearness"]
    assert listed["marked"].count("  slack 3, ") == 1


def test_a_name_that_is_none_of_the_four_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert arithmetic.main(["--only", "sse"]) == 2
    assert "there are: native, compatible, avx2, threads" in capsys.readouterr().err


def test_the_room_of_an_inequality_that_holds_by_chance_is_none() -> None:
    rows = [
        {"kind": "bound", "file": "", "line": 1, "test": "", "value": v, "limit": 1.0, "room": 1 - v}
        for v in (0.9, 1.1)
    ]
    assert arithmetic.compared(rows).slack == 0
    assert arithmetic.compared(rows[:1] * 2).slack == math.inf


@pytest.mark.parametrize(("name", "notebooks"), [("avx2", True), ("avx2", False), ("threads", True)])
def test_notebooks_run_under_each_arithmetic_but_two_threads(name: str, notebooks: bool) -> None:
    """Asked of pytest itself: a file that is named, in a folder that is ignored, does not run."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "--collect-only", "-q", *arithmetic.chosen(name, notebooks)]
    command += [f"--ignore={path}" for path in ROOT.glob("tests/*") if path.name != "notebooks"]  # to be quick
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert "tests/notebooks/test_standard.py" in found
    assert ("tests/notebooks/test_nbval.py" in found) == (notebooks and name != "threads")
