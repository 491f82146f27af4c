"""The ladder of the grid with four buses against a search written anew, and against agents that play it."""

from __future__ import annotations

import sys
from functools import cache
from itertools import permutations
from typing import Any

import pytest
import torch

from metarl_lite.lesson.exercises.ch14b import EXERCISES
from metarl_lite.oracles.bus_grid import (
    bus_grid_action_values,
    bus_grid_beliefs,
    bus_grid_exploit_values,
    bus_grid_ladder,
    bus_grid_plan,
    bus_grid_value,
)
from metarl_lite.tasks.bus_grid import BusGrid

CORNERS = [(0, 0), (0, 4), (4, 0), (4, 4)]
STOPS = {(2, 3): 0, (3, 2): 1, (2, 1): 2, (1, 2): 3}
MAP = (1, 4)
ALL = frozenset(permutations(range(4)))
Tasks = frozenset[tuple[int, ...]]
Cell = tuple[int, int]


def outcomes(belief: Tasks, cell: Cell, action: int) -> list[tuple[float, Tasks, Cell]]:
    """What an action can lead to, and how likely: rules and Bayes' rule once more."""
    if action == 5 and cell in STOPS:
        groups: dict[int, set[tuple[int, ...]]] = {}
        for z in belief:
            groups.setdefault(z[STOPS[cell]], set()).add(z)
        return [(len(g) / len(belief), frozenset(g), CORNERS[c]) for c, g in groups.items()]
    dx, dy = [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0), (0, 0)][action]
    there = min(max(cell[0] + dx, 0), 4), min(max(cell[1] + dy, 0), 4)
    if there == MAP:
        return [(1 / len(belief), frozenset({z}), there) for z in belief]
    return [(1.0, belief, there)]


@cache
def searched(belief: Tasks, cell: Cell, goal: Cell, left: int) -> float:
    """The best return of exploiting, by looking at all that can follow."""
    if not left:
        return 0.0
    return max(
        sum(
            p * (1.0 if there == goal else -0.3 + searched(after, there, goal, left - 1))
            for p, after, there in outcomes(belief, cell, action)
        )
        for action in range(6)
    )


@cache
def explored(belief: Tasks, cell: Cell, left: int, exploit: int) -> float:
    """The best return of both phases; the last step of exploring ends at the start."""
    if left <= 1:
        return sum(searched(belief, (2, 2), goal, exploit) for goal in CORNERS) / 4
    return max(
        sum(p * explored(after, there, left - 1, exploit) for p, after, there in outcomes(belief, cell, action))
        for action in range(6)
    )


def test_the_ladder() -> None:
    ladder = bus_grid_ladder()
    assert ladder["walk"] == pytest.approx(0.1, abs=1e-12)
    assert ladder["posterior sampling"] == pytest.approx(0.25 * 0.7 + 0.75 * 0.1, abs=1e-12)
    assert ladder["map"] == pytest.approx(0.7, abs=1e-12)
    assert ladder["gamble"] == pytest.approx(-0.2, abs=1e-12)  # less than to walk


@pytest.mark.parametrize(("explore", "value"), [(0, 0.1), (1, 0.1), (2, 0.1), (3, 0.25), (4, 0.7), (10, 0.7)])
def test_what_an_exploration_of_each_length_is_worth(explore: int, value: float) -> None:
    assert bus_grid_value(BusGrid(explore)) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("entrance", [(2, 2), (1, 2), (1, 3), (1, 4), (0, 0), (4, 1)])
@pytest.mark.parametrize("explore", [0, 1, 2, 3, 4])
def test_an_exploration_from_elsewhere_is_worth_what_the_search_says(entrance: Cell, explore: int) -> None:
    exploit = 5
    if not explore:
        right = sum(searched(ALL, (2, 2), goal, exploit) for goal in CORNERS) / 4
    elif entrance == MAP:  # seen before the first step
        right = explored(frozenset({(0, 1, 2, 3)}), entrance, explore, exploit)
    else:
        right = explored(ALL, entrance, explore, exploit)
    value = bus_grid_value(BusGrid(explore, exploit, entrance))
    assert value == pytest.approx(right, abs=1e-12)


def test_two_rides_without_a_map_are_worth_two_fifths(monkeypatch: pytest.MonkeyPatch) -> None:
    """What exercise 14.5 asks for: seven steps are the first that allow it."""
    searched.cache_clear()
    explored.cache_clear()
    monkeypatch.setattr(sys.modules[__name__], "MAP", (-1, -1))
    assert explored(ALL, (2, 2), 6, 6) == pytest.approx(0.25, abs=1e-12)
    assert explored(ALL, (2, 2), 7, 6) == pytest.approx(EXERCISES[0].reference, abs=1e-12)
    searched.cache_clear()
    explored.cache_clear()


def test_there_are_as_many_beliefs_as_ways_to_know_some_buses() -> None:
    beliefs = bus_grid_beliefs()
    assert beliefs[0] == frozenset(range(24))
    # none, one (4 x 4), two (6 x 12) or, by the third, all of the buses
    assert len(set(beliefs)) == len(beliefs) == 1 + 16 + 72 + 24
    assert sorted({len(b) for b in beliefs}) == [1, 2, 6, 24]


@pytest.mark.parametrize("exploit", [1, 2, 3, 5, 8])
def test_every_value_is_that_of_a_search_written_anew(exploit: int) -> None:
    values, tasks = bus_grid_exploit_values(exploit), list(permutations(range(4)))
    for k, belief in list(enumerate(bus_grid_beliefs()))[::8]:
        possible = frozenset(tasks[z] for z in belief)
        for goal in range(4):
            for cell in ((2, 2), (4, 0), (2, 3), (0, 4)):
                right = searched(possible, cell, CORNERS[goal], exploit)
                assert values[k, 5 * cell[0] + cell[1], goal].item() == pytest.approx(right, abs=1e-12)


@pytest.mark.parametrize(("explore", "exploit"), [(2, 4), (3, 6), (4, 3), (5, 7)])
def test_both_phases_are_worth_what_the_search_says(explore: int, exploit: int) -> None:
    right = explored(ALL, (2, 2), explore, exploit)
    assert bus_grid_value(BusGrid(explore, exploit)) == pytest.approx(right, abs=1e-12)


def test_a_player_who_follows_the_values_earns_them() -> None:
    """On all tasks and goals, for an agent that knows nothing and one that knows one bus, step by step."""
    tasks, tables = BusGrid(0, 8), [bus_grid_action_values(n) for n in range(1, 9)]
    beliefs, everything = bus_grid_beliefs(), BusGrid().all_tasks()["buses"]
    for known in (beliefs[0], beliefs[1]):
        total = 0.0
        for z in known:
            for goal in range(4):
                belief, task = known, {"buses": everything[z]}
                state = tasks.reset(task, torch.tensor([goal / 4 + 0.1]))
                for left in range(8, 0, -1):
                    cell = 5 * int(state[0]) + int(state[1])
                    action = int(tables[left - 1][beliefs.index(belief), cell, :, goal].argmax())
                    place = tuple(state[:2].tolist())
                    state, reward, over = tasks.step(task, state, torch.tensor(action), torch.zeros(0))
                    total += reward.item()
                    if over:
                        break
                    if action == 5 and place in STOPS:
                        bus = STOPS[place]
                        belief = frozenset(y for y in belief if everything[y, bus] == everything[z, bus])
                    if tuple(state[:2].tolist()) == MAP:
                        belief = frozenset({z})
        value = bus_grid_exploit_values(8)[beliefs.index(known), 12].mean().item()
        assert total / (4 * len(known)) == pytest.approx(value, abs=1e-6)


def test_posterior_sampling_earns_a_quarter_when_it_is_played() -> None:
    tasks, returns = BusGrid(4), []
    for z in range(24):
        task = {"buses": tasks.all_tasks()["buses"][z]}
        for goal in range(4):
            state = tasks.reset(task, torch.tensor([goal / 4 + 0.1]))
            knows = int(task["buses"][1])  # it rides bus 1, and two steps are left
            across, up = 4 if goal < 2 else 2, 1 if goal % 2 else 3
            exploit = [2, 5] if knows == goal else [across, across, up, up]
            total = 0.0
            for action in [2, 5, 0, 0, *exploit]:
                state, reward, over = tasks.step(task, state, torch.tensor(action), torch.zeros(0))
                total += reward.item()
            assert over
            returns.append(total)
    assert sum(returns) / len(returns) == pytest.approx(bus_grid_ladder()["posterior sampling"], abs=1e-6)


def test_the_plan_of_a_known_task_is_the_shortest_way() -> None:
    """From each cell, on every task and for every goal; the values of the table know it as well."""
    plan, tasks, beliefs = bus_grid_plan(), BusGrid(0, 20), bus_grid_beliefs()
    values = bus_grid_exploit_values(20)
    for z in range(0, 24, 5):
        task, k = {"buses": tasks.all_tasks()["buses"][z]}, beliefs.index(frozenset({z}))
        for goal in range(4):
            for cell in range(25):
                state, over, total = torch.tensor([cell // 5, cell % 5, 0, goal]), torch.tensor(False), 0.0
                while not over:
                    action = plan[z, goal, 5 * state[0] + state[1]]
                    state, reward, over = tasks.step(task, state, action, torch.zeros(0))
                    total += reward.item()
                assert total == pytest.approx(values[k, cell, goal].item(), abs=1e-5)


@pytest.mark.parametrize("bad", [-1, 0, 1, 2.5, "ten", None])
def test_a_ladder_without_room_for_a_ride_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"exploit = .*at least 2 is needed, such as exploit=20"):
        bus_grid_ladder(bad)


def test_what_is_no_length_or_no_family_is_refused() -> None:
    with pytest.raises(ValueError, match="exploit = -1"):
        bus_grid_exploit_values(-1)
    with pytest.raises(ValueError, match="exploit = 0"):
        bus_grid_action_values(0)
    with pytest.raises(ValueError, match="tasks"):
        bus_grid_value("bus-grid")  # type: ignore[arg-type]
    assert not bus_grid_exploit_values(0).any()
