"""Recorded results are found by name and say how they were made."""

from __future__ import annotations

import pytest

from metarl_lite.records.results import RECORDED, recorded, total_steps

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


@pytest.mark.parametrize("name", ["rl2-bandits", "rl2-mdps", "gridnavi"])
def test_steps_are_those_of_all_legs_and_a_run_says_when_it_stopped(name: str) -> None:
    """Chapter 12 prints these totals; half of a run's steps are easily left out with the agent that it began with."""
    for run in recorded(name)["runs"].values():
        before = total_steps(run["start"]) if run["start"] else 0
        assert run["total_steps"] == run["env_steps"] + before
        assert "the last parameters are kept, whatever came before" in run["stopping"]


def test_totals_that_chapter_12_prints() -> None:
    millions = {"bandit-k50-n500": 288, "bandit-k5-n500": 173, "bandit-k10-n500": 83, "bandit-k50-n100": 102}
    millions |= {"mdp-n25": 218, "mdp-n50": 198, "mdp-n75": 227, "mdp-n100": 253}
    assert {agent: round(total_steps(agent) / 1e6) for agent in millions} == millions
