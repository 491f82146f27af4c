"""Recorded results are found by name and say how they were made."""

from __future__ import annotations

import pytest

from metarl_lite.records.results import RECORDED, recorded

NAMES = sorted(path.stem for path in RECORDED.glob("*.json"))


def test_there_are_records() -> None:
    assert "maml-navigation" in NAMES


def test_an_unknown_record_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"no recorded result 'nonsense'; known are \[.*maml-navigation"):
        recorded("nonsense")


@pytest.mark.parametrize("name", NAMES)
def test_a_record_says_how_it_was_made(name: str) -> None:
    record = recorded(name)
    assert {"name", "command", "config", "versions", "machine", "runs"} <= set(record)
    assert record["command"].endswith(record["name"])
    assert record["name"] == name
    assert record["runs"]
