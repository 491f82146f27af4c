"""The bus grid's experiment: every agent plays, what is said of an exploration is so, and budgets are as said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from metarl_lite.apps.bus_grid import END_TO_END
from metarl_lite.experiments import bus_grid
from metarl_lite.experiments.bus_grid import AGENTS, SEEDS, MapInHand, cells
from metarl_lite.records.results import recorded
from metarl_lite.rng import generator
from metarl_lite.tasks.bus_grid import BusGrid
from metarl_lite.tasks.checks import check_family
from metarl_lite.types import Rollout

ONE = replace(END_TO_END, iterations=1, num_tasks=8)


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_every_agent_plays_and_its_run_repeats(name: str, tmp_path: Path) -> None:
    first, second = (AGENTS[name](3)(ONE, tmp_path) | {"training_seconds": 0} for _ in range(2))
    assert first == second
    assert {"returns", "map", "rode", "path", "env_steps", "total_steps", "stopping"} <= set(first)
    assert len(first["path"]) == (0 if name.endswith("alone") else 10)
    if name.startswith("RL2"):
        assert first["env_steps"] == 8 * (20 if name.endswith("alone") else 30)
        assert (first["total_steps"] > first["env_steps"]) == (name == "RL2, begins as an explorer")
    assert (first["map"] == 1) or name != "RL2, begins on the map"


def test_a_map_in_the_hand_shows_the_task_wherever_one_is() -> None:
    tasks, hand = BusGrid(3, 4), MapInHand(3, 4)
    task = tasks.sample(6, generator(0))
    state = tasks.reset(task, tasks.draw_reset((6,), generator(1)))
    seen, plain = hand.observe(task, state), tasks.observe(task, state)
    assert torch.equal(seen[:, 25:41], torch.nn.functional.one_hot(task["buses"], 4).flatten(-2).float())
    assert torch.equal(seen[:, :25], plain[:, :25])
    assert torch.equal(seen[:, 41:], plain[:, 41:])
    check_family(hand)


def test_what_is_said_of_an_exploration_is_what_was_done() -> None:
    """By hand: one walks to the map, one rides bus 0, one stands where no bus is and 'rides'."""
    tasks, place = BusGrid(4, 2), torch.tensor([2, 2])
    ways = torch.tensor([[1, 4, 1, 0], [1, 5, 0, 0], [5, 5, 0, 0]])  # the first one ends beside the map
    task = {"buses": torch.tensor([[3, 1, 0, 2]]).repeat(3, 1)}
    state = tasks.reset(task, torch.zeros(3, 1))
    seen = []
    for t in range(6):
        seen.append(tasks.observe(task, state))
        did = ways[:, t] if t < 4 else torch.zeros(3, dtype=torch.long)
        state, _, _ = tasks.step(task, state, did, state)
    observations, blank = torch.stack(seen, 1).unsqueeze(1), torch.zeros(3, 1, 6)
    actions = torch.cat([ways, torch.zeros(3, 2, dtype=torch.long)], 1).unsqueeze(1)
    batch = Rollout(observations, actions, blank, blank + 1, blank > 0, observations[:, :, -1])
    assert cells(observations)[0, 0, 0].tolist() == place.tolist()
    found = bus_grid._explored(batch, 4)
    assert found["map"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["rode"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["path"] == [[2, 2], [2, 3], [1, 3], [1, 4]]


def test_the_record_says_what_the_chapter_says_of_budgets() -> None:
    runs = recorded("bus-grid")["runs"]
    for seed in SEEDS:
        apart, together = runs[f"apart, seed {seed}"], runs[f"RL2, seed {seed}"]
        assert apart["total_steps"] == 300 * 256 * 10 + 100 * 256 * 20 < together["total_steps"] / 2
        assert apart["returns"] >= 0.68
        assert apart["training_seconds"] <= 120


def test_the_record_says_what_the_chapter_says_of_its_controls() -> None:
    runs = recorded("bus-grid")["runs"]
    for seed in SEEDS:
        for agent in ("apart, paid by the exploiter", "apart, paid never less than a walk"):
            assert runs[f"{agent}, seed {seed}"]["map"] == 1
            assert runs[f"{agent}, seed {seed}"]["returns"] >= 0.68
        idle = runs[f"apart, paid by one who walks, seed {seed}"]
        assert (idle["map"], idle["returns"], idle["path"]) == (0, 0.1, [[2, 2]] * 10)
        assert runs[f"RL2, begins as an explorer, seed {seed}"]["total_steps"] == 3_840_000
        alone = runs[f"RL2, map in hand, exploiting alone, seed {seed}"]
        assert 0.53 <= alone["returns"] < 0.595
        assert 0.355 <= alone["returns_drawn"] < 0.445
        assert alone["rode_later"] == pytest.approx(0.8, abs=0.07)
    assert sum(runs[f"RL2, map in hand, seed {seed}"]["rode_later"] < 0.02 for seed in SEEDS) == 4
