"""Equations of chapter 14, part 2, computed from their symbols, against tasks, oracle and application."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.apps.bus_grid import cell_of, train_exploiter, worth_of_guesses
from metarl_lite.apps.explorer import Explorer, information_gain, payoff
from metarl_lite.lesson.check import verdict
from metarl_lite.oracles.bus_grid import (
    bus_grid_action_values,
    bus_grid_beliefs,
    bus_grid_exploit_values,
    bus_grid_ladder,
    bus_grid_plan,
    bus_grid_value,
)
from metarl_lite.rng import generator, normal
from metarl_lite.tasks.bus_grid import BusGrid
from tools.contents import ROOT
from tools.standard import Chapter

BUSES = list(itertools.permutations(range(4)))
CORNERS, STOPS = [(0, 0), (0, 4), (4, 0), (4, 4)], {(2, 3): 0, (3, 2): 1, (2, 1): 2, (1, 2): 3}
MOVES = [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]
Belief = frozenset[int]
Cell = tuple[int, int]


def followed(belief: Belief, cell: Cell, action: int) -> list[tuple[float, Belief, Cell]]:
    """What can follow an action, with its probability: b' and s'."""
    if action == 5:
        if cell not in STOPS:
            return [(1.0, belief, cell)]
        led = {c: frozenset(z for z in belief if BUSES[z][STOPS[cell]] == c) for c in range(4)}
        return [(len(left) / len(belief), left, CORNERS[c]) for c, left in led.items() if left]
    dx, dy = MOVES[action]
    there = (min(max(cell[0] + dx, 0), 4), min(max(cell[1] + dy, 0), 4))
    return [(1 / len(belief), frozenset({z}), there) for z in belief] if there == (1, 4) else [(1.0, belief, there)]


def test_eq_bus_reward() -> None:
    tasks, task = BusGrid(2, 4), {"buses": torch.tensor([3, 1, 0, 2])}
    for goal in range(4):
        for cell in itertools.product(range(5), range(5)):
            for time, action in itertools.product((0, 2), range(6)):
                state = torch.tensor([*cell, time, goal])
                _, reward, over = tasks.step(task, state, torch.tensor(action), torch.zeros(0))
                place = tasks.move(task, torch.tensor(cell), torch.tensor(action)).tolist()
                there = tuple(place) == CORNERS[goal]
                assert reward.item() == pytest.approx(0.0 if time < 2 else 1.0 if there else -0.3)
                assert bool(over) == (there and time >= 2)


def test_eq_exploit_value() -> None:
    """One step of the recursion, from the values of one step less, at every cell of some beliefs."""
    beliefs, before, now = bus_grid_beliefs(), bus_grid_exploit_values(6), bus_grid_exploit_values(7)
    place = {belief: k for k, belief in enumerate(beliefs)}
    for k, (x, y), g in itertools.product((0, 1, 40, 112), itertools.product(range(5), range(5)), range(4)):
        best = max(
            sum(
                p * (1.0 if there == CORNERS[g] else -0.3 + before[place[b], 5 * there[0] + there[1], g].item())
                for p, b, there in followed(beliefs[k], (x, y), a)
            )
            for a in range(6)
        )
        assert now[k, 5 * x + y, g].item() == pytest.approx(best, abs=1e-12)
    assert not bus_grid_exploit_values(0).any()


def test_eq_explore_value() -> None:
    values, beliefs = bus_grid_exploit_values(20), bus_grid_beliefs()

    def worth(belief: Belief, cell: Cell, left: int) -> float:
        if left == 1:
            return values[beliefs.index(belief), 12].mean().item()
        return max(sum(p * worth(b, there, left - 1) for p, b, there in followed(belief, cell, a)) for a in range(6))

    for n, known in ((1, 0.1), (2, 0.1), (3, 0.25), (4, 0.7)):
        assert worth(frozenset(range(24)), (2, 2), n) == pytest.approx(known, abs=1e-12)
        assert bus_grid_value(BusGrid(n)) == pytest.approx(known, abs=1e-12)


def test_eq_one_ride() -> None:
    ladder = bus_grid_ladder()
    assert ladder["posterior sampling"] == pytest.approx(0.25 * 0.7 + 0.75 * max(0.1, ladder["gamble"]), abs=1e-12)
    assert ladder["gamble"] == pytest.approx(-0.2, abs=1e-12)
    stops = [5 * x + y for x, y in STOPS]
    unknown = -0.3 + bus_grid_action_values(19)[0, stops, 5].amax(0).mean()
    assert unknown.item() == pytest.approx(-0.3625, abs=1e-12)  # the text's -0.36


def test_eq_told_q() -> None:
    """Every entry that was visited is a fixed point, once nothing moves any more."""
    tasks = BusGrid(0, 20)
    table = train_exploiter(tasks, generator(0), 200, epsilon=1.0)
    everything, checked = tasks.all_tasks()["buses"], 0
    for z, g, (x, y), a in itertools.product((0, 11), range(4), ((2, 2), (2, 3), (3, 2), (1, 2), (3, 3)), range(6)):
        state, reward, over = tasks.step(
            {"buses": everything[z]}, torch.tensor([x, y, 0, g]), torch.tensor(a), torch.zeros(0)
        )
        ahead = 0.0 if over else table[z, g, cell_of(state)].max().item()
        assert table[z, g, 5 * x + y, a].item() == pytest.approx(reward.item() + ahead, abs=1e-5)
        checked += 1
    assert checked == 240


def test_eq_information_gain() -> None:
    q = torch.tensor([[1 / 24, 1 / 24, 1 / 6, 1.0]], dtype=torch.float64)
    actions, cost = torch.tensor([[2, 5, 2, 0]]), 0.01
    gain = information_gain(q.log(), actions, cost)
    by_hand = [math.log(1) - cost, math.log(4) - cost, math.log(6) - cost, 0.0]
    assert gain[0].tolist() == pytest.approx(by_hand, abs=1e-12)
    assert gain.sum().item() == pytest.approx(math.log(24) - 3 * cost, abs=1e-12)


def test_eq_decoder() -> None:
    policy, gen = Explorer(46, 6, generator(0), hidden=5), generator(1)
    params, memory = policy.params(), normal((3, 5), gen, torch.float32)
    q = policy.log_guess(params, memory).exp()
    for n in range(3):
        raw = [
            math.exp(sum(memory[n, i].item() * params["decoder_w"][i, z].item() for i in range(5))) for z in range(24)
        ]
        assert q[n].tolist() == pytest.approx([x / sum(raw) for x in raw], abs=1e-5)


def test_eq_payoff() -> None:
    worth = worth_of_guesses(BusGrid(), bus_grid_plan())
    log_guess = normal((4, 3, 24), generator(0), torch.float64).log_softmax(-1)
    truth, actions = torch.tensor([0, 5, 9, 23]), torch.tensor([[0, 1, 5], [0, 0, 0], [2, 2, 2], [0, 3, 0]])
    paid = payoff(log_guess, truth, worth, actions, 0.1)
    for n, t in itertools.product(range(4), range(3)):
        y = max(range(24), key=lambda y: log_guess[n, 2, y].item())
        last = worth[truth[n], y].item() if t == 2 else 0.0
        assert paid[n, t].item() == pytest.approx(last - 0.1 * (actions[n, t].item() != 0), abs=1e-6)


def colleague() -> Callable[..., Tensor]:
    """The broken test of exercise 14.6, as the page has it."""
    text = Chapter.read(ROOT / "book" / "14b_explore_first.ipynb").section("Exercises")
    code = re.findall(r"^```python\n(.*?)^```$", text.split("### Exercise 14.6")[1], re.DOTALL | re.MULTILINE)[0]
    names: dict[str, Any] = {"torch": torch, "cell_of": cell_of}
    exec(code, names)
    found: Callable[..., Tensor] = names["tested"]
    return found


def test_the_broken_test_of_guesses_is_passed_by_every_guess() -> None:
    """Right where all guesses are, as the exercise says, and 0.7 for those that are all wrong, which earn less."""
    tasks, plan, number, goal = BusGrid(0, 20), bus_grid_plan(), torch.arange(24), torch.arange(24) % 4
    task = tasks.all_tasks()
    for guess in (number, (number + 1) % 24):
        assert colleague()(tasks, plan, task, guess, goal).tolist() == pytest.approx([0.7] * 24, abs=1e-5)
    worth = worth_of_guesses(tasks, plan)
    assert worth[number, number].mean().item() == pytest.approx(0.7, abs=1e-5)
    assert worth[number, (number + 1) % 24].mean() < 0
    assert verdict("14.6", colleague()).message.startswith("Wrong guesses still cost nothing")


def test_what_the_quiz_says_of_guesses_made_of_nothing() -> None:
    """The best fixed guess, and the best after one ride, earn less than -1; the record's exploiters, too."""
    buses, truth = torch.tensor(BUSES), torch.arange(24)
    for seed in (0, 1000, 1001, 1002, 1003, 1004):
        worth = worth_of_guesses(BusGrid(), train_exploiter(BusGrid(), generator(seed)).argmax(-1))
        assert worth[truth, truth].mean().item() == pytest.approx(0.7, abs=1e-5)
        assert worth.mean(0).max() < -1
        assert all(sum(worth[buses[:, k] == c].mean(0).max() for c in range(4)) / 4 < -1 for k in range(4))
