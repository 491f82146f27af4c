"""Published tables: printed means against our own simulation, errors against it too, and records by row."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from metarl_lite.oracles.bandits import greedy, play, random_arm, thompson, ucb1
from metarl_lite.oracles.posterior import learn_mdps, psrl
from metarl_lite.records import published
from metarl_lite.records.published import BANDITS, MDPS, Published, recorded_runs
from metarl_lite.rng import generator, uniform
from metarl_lite.tasks import TabularMDP

F64 = torch.float64


@pytest.mark.parametrize("table", [BANDITS, MDPS], ids=["bandits", "mdps"])
def test_every_row_has_every_method_and_an_error(table: Published) -> None:
    assert set(table.errors) == set(table.means)
    assert len({tuple(row) for row in table.means.values()}) == 1
    assert all(error > 0 for error in table.errors.values())


def test_random_agents_earn_half_of_the_pulls_and_one_a_step() -> None:
    for row in BANDITS.means:
        assert abs(BANDITS.distance(row, "random", row[0] / 2)) < 4, row
    for row in MDPS.means:
        assert abs(MDPS.distance(row, "random", 10.0 * row[0])) < 4, row


@pytest.mark.parametrize("row", [row for row in BANDITS.means if row[0] <= 100], ids=str)
def test_published_bandits_are_what_the_classics_earn(row: tuple[int, int]) -> None:
    """Means and standard errors, on bandits of our own; the rewards count as they were paid, 0 or 1."""
    pulls, arms = row
    count = 6000 if pulls == 10 else 2000
    probabilities = uniform((count, arms), generator(sum(row)), F64)
    for name, rule in (
        ("random", random_arm),
        ("greedy", greedy),
        ("thompson", thompson),
        ("ucb1", ucb1(0.1 if pulls == 10 else 0.2)),
    ):
        chosen = play(rule, probabilities, pulls, generator(7))
        total, luck = chosen.sum(1), (chosen * (1 - chosen)).sum(1).mean()
        error = total.std().item() / count**0.5
        assert abs(BANDITS.distance(row, name, total.mean().item(), error)) < 4, name
        if name == "ucb1":
            of_a_table = math.sqrt((total.var() + luck).item() / BANDITS.instances)
            assert BANDITS.errors[row] == pytest.approx(of_a_table, rel=0.1)


def test_published_processes_are_what_psrl_earns_with_a_prior_mean_of_0() -> None:
    tasks = TabularMDP(dtype=F64)
    total = learn_mdps(psrl, tasks, tasks.sample(600, generator(1)), 25, generator(2), prior_mean=0.0).cumsum(1)
    for n in (10, 25):
        earned = total[:, n - 1]
        error = earned.std().item() / 600**0.5
        assert abs(MDPS.distance((n,), "psrl", earned.mean().item(), error)) < 4
        of_a_table = math.sqrt((earned.var().item() + 10 * n) / MDPS.instances)  # noise of variance 1 a step
        assert MDPS.errors[n,] == pytest.approx(of_a_table, rel=0.12)


def test_difference_is_that_of_independent_means() -> None:
    gap, error = BANDITS.difference((500, 50), "rl2", "gittins")
    assert gap == pytest.approx(-24.8)
    assert error == pytest.approx(math.sqrt(2 * (0.75**2 + 0.01 / 12)))


def test_the_best_rival_is_the_best_of_the_others() -> None:
    assert BANDITS.best_rival((10, 50)) == "ucb1"
    assert BANDITS.best_rival((10, 50), "ucb1") == "rl2"
    assert MDPS.best_rival((100,)) == "opsrl"


def test_the_table_as_text_has_what_is_recorded_and_says_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    run = {"return": [6.66, 0.004], "total_steps": 25_600_000, "others": {"gittins": {"difference": [-0.01, 0.002]}}}
    long = {"return": [1900.5, 1.25], "total_steps": 3_000_000, "others": {}}
    monkeypatch.setattr(published, "recorded", lambda name: {"runs": {"n=10, k=5": run, "n=100": long}})
    bandits, mdps = (table.beside_ours("gittins").splitlines() for table in (BANDITS, MDPS))
    assert len(bandits) == 2 + 9
    assert bandits[1].split() == [
        "n", "k", "RL²", "best", "rival", "there", "z", "RL²", "minus", "gittins", "steps", "(M)"
    ]  # fmt: skip
    assert bandits[2].split() == [
        "10", "5", "6.7", "6.7", "ucb1", "+0.0", "6.660", "±", "0.004", "-0.010", "±", "0.002", "26"
    ]  # fmt: skip
    assert bandits[3].split() == ["10", "10", "6.7", "6.7", "ucb1", "+0.0", "not", "yet", "recorded"]
    assert mdps[-1].split() == ["100", "1913.7", "1973.9", "opsrl", "-6.1", "1900.50", "±", "1.25", "3"]
    assert max(map(len, bandits + mdps)) <= 88


def test_unknown_cells_are_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"no cell \(10, 7\), 'rl2' in section 3.1, table 1: rows are .*\(500, 50\)"):
        BANDITS.distance((10, 7), "rl2", 6.7)
    with pytest.raises(ValueError, match=r"'beb' in section 3.1, table 1: .*'ucb1'"):
        BANDITS.difference((10, 5), "rl2", "beb")


def test_our_runs_are_found_by_row_in_the_order_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {"n=100, k=5": {"return": 2}, "n=10, k=50": {"return": 1}, "n=7, k=7": {"return": 3}, "other": {}}
    asked: list[str] = []

    def stand_in(name: str) -> dict[str, Any]:
        asked.append(name)
        return {"runs": runs}

    monkeypatch.setattr(published, "recorded", stand_in)
    assert list(BANDITS.ours().items()) == [((10, 50), {"return": 1}), ((100, 5), {"return": 2})]
    runs.clear()
    runs["n=25"] = {"return": 4}
    assert MDPS.ours() == {(25,): {"return": 4}}
    assert asked == ["rl2-bandits", "rl2-mdps"]


def test_before_anything_is_recorded_there_are_no_runs() -> None:
    assert recorded_runs("no such record") == {}
