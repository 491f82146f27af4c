"""The table of `make bench`: nothing that was measured is lost, and a name is a measurement or an error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from metarl_lite.algorithms.configs import MAMLConfig

from . import against
from .__main__ import MEASUREMENTS, main, named
from .navigation import seconds_to
from .rows import Row, measure, row


def test_each_line_is_written_when_it_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> Iterator[Row]:
        yield row("first", 1.23456789, "s", 2, at_least=False)
        yield row("second", 0.5, "", 0.9)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure({"it": interrupted}, tmp_path / "new" / "bench.json")
    rows = json.loads((tmp_path / "new" / "bench.json").read_text())["rows"]
    assert rows == [
        {"name": "first", "value": 1.234568, "unit": "s", "target": "<= 2", "holds": True},
        {"name": "second", "value": 0.5, "unit": "", "target": ">= 0.9", "holds": False},
    ]
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in shown] == ["holds", "MISSED"]


def test_names_are_beginnings_and_an_unknown_one_is_told_the_others() -> None:
    assert list(named(["rl2", "cost"], MEASUREMENTS)) == ["rl2-bandit", "rl2-gridnavi", "cost"]
    assert list(named([], MEASUREMENTS)) == list(MEASUREMENTS)
    with pytest.raises(SystemExit, match=r"begins with 'rl3'.*there are: yardstick, "):
        named(["maml", "rl3"], MEASUREMENTS)


def test_the_names_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--list", "maml"])
    assert capsys.readouterr().out.split() == ["maml", "maml-tuned"]


def test_training_that_does_not_get_there_takes_for_ever() -> None:
    config = MAMLConfig(iterations=11, num_tasks=2, episodes=1)
    assert seconds_to(0.0, config, 0, 60) == (float("inf"), -1)
    seconds, iterations = seconds_to(-1e9, config, 0, 60)
    assert (0 < seconds < 60, iterations) == (True, 5)


def test_a_version_does_what_it_is_told_in_its_own_tree() -> None:
    version = against.Version(against.ROOT)
    works = [(version, {"work": "bandit", "iterations": n, "instances": 10}) for n in (1, 3)]
    once, thrice = against.in_turn(*works, rounds=2, desc="")
    assert len(once) == len(thrice) == 2
    assert once[0]["return"] == once[1]["return"] != thrice[0]["return"]  # the same seed, other iterations
    assert against.middle(once) < against.middle(thrice)  # by design: three times the work
    with pytest.raises(SystemExit, match="message is above"):
        version.do("bandit", iterations=0)
    version.close()
