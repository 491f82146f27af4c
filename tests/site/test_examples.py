"""The examples of the reference: every name of the flat front has one, and each runs by itself, as it is printed."""

from __future__ import annotations

import doctest
import re
import sys
from pathlib import Path

import pytest

import metarl_lite

from .conftest import ROOT

TEXT = (ROOT / "book" / "api_examples.txt").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^(metarl_lite\.[\w.]+)\n((?:    .*\n|\n)+)", TEXT, re.MULTILINE))


def outcome(name: str, code: str) -> tuple[int, str]:
    """How many lines of an example print something else, and what the report says."""
    report: list[str] = []
    example = doctest.DocTestParser().get_doctest(code, {}, name, "book/api_examples.txt", 0)
    assert example.examples, f"{name} has no line that begins with >>>"
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(example, out=report.append)
    return runner.failures, "".join(report)


def test_every_name_of_the_front_has_one_example() -> None:
    assert {name.removeprefix("metarl_lite.") for name in EXAMPLES} == set(metarl_lite.__all__)
    assert len(re.findall(r"^metarl_lite\.", TEXT, re.MULTILINE)) == len(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_does_what_it_says(name: str) -> None:
    failures, report = outcome(name, EXAMPLES[name])
    assert not failures, report


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short_and_fits_the_page(name: str) -> None:
    lines = EXAMPLES[name].strip().splitlines()
    assert len(lines) <= 14
    assert max(len(line.strip()) for line in lines) <= 88


def test_a_wrong_example_is_found() -> None:
    assert outcome("wrong", "    >>> 1 + 1\n    3\n")[0] == 1


def test_the_extension_reads_the_same_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "book" / "ext"))
    from reading.reference import examples

    read = examples(Path(ROOT / "book" / "api_examples.txt"))
    assert set(read) == set(EXAMPLES)
    assert all(code.startswith(">>> ") for code in read.values())
    assert sys.modules["reading.reference"]
