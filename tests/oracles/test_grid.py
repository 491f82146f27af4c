"""The best search of the grid against every behaviour there is, and the agents against a second, plain account."""

from __future__ import annotations

import itertools
import math
import random
from functools import cache
from typing import Any

import pytest
import torch

from metarl_lite.oracles import grid
from metarl_lite.oracles.grid import (
    along,
    gridnavi_agnostic_value,
    gridnavi_known_value,
    gridnavi_optimal_path,
    gridnavi_optimal_value,
    head_for,
    sample_once,
    search_grid,
    walk_at_random,
)
from metarl_lite.rng import generator
from metarl_lite.tasks import GridGoal

F64 = torch.float64
MOVES = [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]
SMALL = [(3, 1, 1), (3, 2, 1), (3, 2, 3), (3, 3, 2), (3, 4, 2), (3, 5, 3), (3, 7, 2), (4, 4, 2), (4, 6, 2)]


def goals_of(size: int) -> list[tuple[int, int]]:
    return [(x, y) for x in range(size) for y in range(size) if max(x, y) > 1]


def moved(cell: tuple[int, int], move: tuple[int, int], size: int) -> tuple[int, int]:
    x, y = cell[0] + move[0], cell[1] + move[1]
    return min(max(x, 0), size - 1), min(max(y, 0), size - 1)


def belief_mdp_value(size: int, horizon: int, episodes: int) -> float:
    """The optimum over all behaviours that choose by what they have seen: a recursion over beliefs, all five actions.

    It knows nothing of fixed paths, nor of what to do once the goal is found.
    """

    @cache
    def value(left: int, cell: tuple[int, int], possible: frozenset[tuple[int, int]]) -> float:
        if not left:
            return 0.0
        returns = []
        for move in MOVES:
            to = moved(cell, move, size)
            then = (0, 0) if (left - 1) % horizon == 0 else to
            share, total = (to in possible) / len(possible), 0.0
            if share > 0:
                total += share * (1 + value(left - 1, then, frozenset([to])))
            if share < 1:
                total += (1 - share) * (-0.1 + value(left - 1, then, possible - {to}))
            returns.append(total)
        return max(returns)

    return value(episodes * horizon, (0, 0), frozenset(goals_of(size)))


def check_optimum(function: Any) -> None:
    for size, horizon, episodes in SMALL:
        assert function(size, horizon, episodes) == pytest.approx(belief_mdp_value(size, horizon, episodes), abs=1e-10)


def test_the_optimum_is_that_of_the_belief_mdp() -> None:
    check_optimum(gridnavi_optimal_value)


def test_the_grid_of_the_literature() -> None:
    assert gridnavi_optimal_value() == pytest.approx(37.214286, abs=1e-6)
    assert gridnavi_known_value() == pytest.approx(44.285714, abs=1e-6)


@pytest.mark.parametrize(("size", "horizon", "episodes"), [(3, 3, 1), (3, 6, 2), (4, 5, 3)])
def test_the_known_goal_is_worth_what_the_best_of_all_behaviours_earns(size: int, horizon: int, episodes: int) -> None:
    """Dynamic programming over cells for each goal, without the formula for the distance."""
    total = 0.0
    for goal in goals_of(size):
        value = {(x, y): 0.0 for x in range(size) for y in range(size)}
        for _ in range(horizon):
            value = {
                cell: max(
                    (1 if moved(cell, m, size) == goal else -0.1) + value[moved(cell, m, size)] for m in MOVES
                )
                for cell in value
            }  # fmt: skip
        total += episodes * value[0, 0] / len(goals_of(size))
    assert gridnavi_known_value(size, horizon, episodes) == pytest.approx(total, abs=1e-10)


@pytest.mark.parametrize(("size", "horizon", "episodes"), [(3, 1, 1), (3, 4, 2), (4, 5, 3)])
def test_who_learns_nothing_earns_what_the_best_of_all_paths_earns(size: int, horizon: int, episodes: int) -> None:
    goals, best = goals_of(size), -math.inf
    for moves in itertools.product(MOVES, repeat=horizon):
        cell, total = (0, 0), 0.0
        for move in moves:
            cell = moved(cell, move, size)
            total += sum(1.0 if cell == goal else -0.1 for goal in goals) / len(goals)
        best = max(best, total)
    assert gridnavi_agnostic_value(size, horizon, episodes) == pytest.approx(episodes * best)


def test_to_learn_nothing_on_the_grid_of_the_literature() -> None:
    assert gridnavi_agnostic_value() == pytest.approx(-46 / 15)  # 4 (-1.5 + 14 x 1.1 / 21)


def test_more_episodes_and_knowing_the_goal_are_worth_something() -> None:
    values = [gridnavi_optimal_value(4, 8, episodes) for episodes in (1, 2, 3)]
    assert values[2] - values[1] > values[1] - values[0] > 0
    assert values[2] < gridnavi_known_value(4, 8, 3)


@pytest.mark.parametrize(("size", "horizon", "episodes"), [(3, 4, 2), (4, 6, 3), (5, 15, 4)])
def test_playing_the_path_earns_the_optimum(size: int, horizon: int, episodes: int) -> None:
    path = gridnavi_optimal_path(size, horizon, episodes)
    assert path.shape == (episodes, horizon, 2)
    before = torch.cat([torch.zeros(episodes, 1, 2, dtype=torch.long), path[:, :-1]], 1)
    assert bool(((path - before).abs().sum(-1) <= 1).all())  # each move leads to a neighbour, from the start
    assert 0 <= int(path.min()) <= int(path.max()) < size
    tasks = GridGoal(size, horizon, F64)
    cells, rewards = search_grid(tasks, {"goal": tasks.goals()}, along(path), episodes, generator(0))
    assert rewards.shape == (len(tasks.goals()), episodes, horizon)
    on_goal = (cells == tasks.goals()[:, None, None]).all(-1)
    torch.testing.assert_close(rewards, torch.where(on_goal, 1.0, -0.1).to(F64))
    best = gridnavi_optimal_value(size, horizon, episodes)
    assert rewards.sum((1, 2)).mean().item() == pytest.approx(best, abs=1e-6)  # a reward is the float32 next to -.1


def test_a_search_that_would_be_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"size = 9: up to 2\^77 sets .* at most size=7"):
        gridnavi_optimal_value(9)
    with pytest.raises(ValueError, match=r"size = 5, horizon = 15, episodes = 4: at move .* holds 3,000,000 .* 5 GB"):
        grid._refuse_too_many(3_000_000, GridGoal(), 4, 2, 3)
    with pytest.raises(ValueError, match="episodes = 0: a positive integer"):
        gridnavi_optimal_value(3, 3, 0)
    with pytest.raises(ValueError, match="episodes = 0: a positive integer"):
        gridnavi_known_value(3, 3, 0)


# --- Agents -----------------------------------------------------------------------------------------------------------


def test_heading_for_a_cell_takes_the_shortest_way() -> None:
    tasks, gen = GridGoal(5), generator(0)
    cells = torch.cartesian_prod(*[torch.arange(5)] * 4)
    cell, aim = cells[:, :2], cells[:, 2:]
    for _ in range(8):
        coin = torch.rand(len(cell), generator=gen) < 0.5
        distance = (aim - cell).abs().sum(-1)
        cell, _, _ = tasks.step({"goal": aim}, cell, head_for(cell, aim, coin), torch.zeros(len(cell), 0))
        assert torch.equal((aim - cell).abs().sum(-1), (distance - 1).clamp(min=0))
    assert torch.equal(cell, aim)
    both = torch.tensor([[0, 0], [0, 0]]), torch.tensor([[2, 2], [2, 2]])
    assert head_for(*both, torch.tensor([True, False])).tolist() == [2, 1]


def sampling_return(size: int, horizon: int, episodes: int, chance: random.Random) -> float:
    """Posterior sampling on one grid, written without tensors."""
    goal, possible, total, known = chance.choice(goals_of(size)), set(goals_of(size)), 0.0, False
    for _ in range(episodes):
        x, y = 0, 0
        aim = goal if known else chance.choice(sorted(possible))
        for _ in range(horizon):
            steps = []
            if x != aim[0]:
                steps.append((x + (1 if aim[0] > x else -1), y))
            if y != aim[1]:
                steps.append((x, y + (1 if aim[1] > y else -1)))
            if steps:
                x, y = chance.choice(steps)
            possible.discard((x, y))
            if (x, y) == goal:
                aim, known, total = goal, True, total + 1
            else:
                total -= 0.1
            if len(possible) == 1 and not known:  # by elimination
                aim = next(iter(possible))
    return total


def test_posterior_sampling_earns_what_a_plain_account_of_it_earns() -> None:
    tasks, gen, chance, count = GridGoal(4, 8, F64), generator(0), random.Random(0), 6000
    _, rewards = search_grid(tasks, tasks.sample(count, gen), sample_once, 5, gen)
    mine = rewards.sum((1, 2))
    plain = torch.tensor([sampling_return(4, 8, 5, chance) for _ in range(count)], dtype=F64)
    assert abs(mine.mean() - plain.mean()) < 4 * ((mine.var() + plain.var()) / count).sqrt()


@pytest.mark.parametrize(("rule", "known"), [(sample_once, 11.67), (walk_at_random, -4.66)])
def test_the_agents_on_the_grid_of_the_literature(rule: grid.Rule, known: float) -> None:
    """The numbers come from simulations, too; they are taken to be as exact as this one at worst."""
    tasks, gen, count = GridGoal(dtype=F64), generator(0), 20_000
    total = search_grid(tasks, tasks.sample(count, gen), rule, 4, gen)[1].sum((1, 2))
    assert abs(total.mean() - known) < 3 * 2**0.5 * total.std() / count**0.5


def test_a_random_walk_earns_what_its_markov_chain_earns() -> None:
    tasks, gen, count = GridGoal(4, 9, F64), generator(0), 20_000
    chain, total = {(0, 0): 1.0}, 0.0
    for _ in range(9):
        after: dict[tuple[int, int], float] = {}
        for cell, p in chain.items():
            for move in MOVES:
                to = moved(cell, move, 4)
                after[to] = after.get(to, 0.0) + p / 5
        chain = after
        total += sum(p for cell, p in chain.items() if max(cell) > 1) / 12 * 1.1 - 0.1
    earned = search_grid(tasks, tasks.sample(count, gen), walk_at_random, 2, gen)[1].sum((1, 2))
    assert abs(earned.mean() - 2 * total) < 4 * earned.std() / count**0.5


def test_chance_is_the_generators() -> None:
    tasks, state = GridGoal(4, 6), torch.get_rng_state()
    task = tasks.sample(30, generator(0))
    cells = [search_grid(tasks, task, sample_once, 3, generator(seed))[0] for seed in (1, 1, 2)]
    assert torch.equal(cells[0], cells[1])
    assert not torch.equal(cells[0], cells[2])
    assert torch.equal(torch.get_rng_state(), state)


# --- Broken variants --------------------------------------------------------------------------------------------------


def forgets_later_episodes(size: int, horizon: int, episodes: int) -> float:
    """Searches each episode as if it were the last one."""
    tasks = GridGoal(size, horizon, F64)
    path = gridnavi_optimal_path(size, horizon, 1).expand(episodes, -1, -1)
    _, rewards = search_grid(tasks, {"goal": tasks.goals()}, along(path), episodes, generator(0))
    return rewards.sum((1, 2)).mean().item()


def keeps_one_state(size: int, horizon: int, episodes: int) -> float:
    tasks = GridGoal(size, horizon)
    spent, _ = grid._search(tasks, episodes, floor=0, width=1)
    return -0.1 * episodes * horizon + 1.1 * spent / len(tasks.goals())


def knows_the_goal(size: int, horizon: int, episodes: int) -> float:
    return gridnavi_known_value(size, horizon, episodes)


@pytest.mark.parametrize("broken", [forgets_later_episodes, keeps_one_state, knows_the_goal])
def test_a_broken_variant_fails_its_check(broken: Any) -> None:
    with pytest.raises(AssertionError):
        check_optimum(broken)


@pytest.mark.parametrize("part", ["later", "now", "one move, one goal"])
def test_a_bound_that_is_too_low_loses_the_optimum(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = grid._bound

    def low(total: torch.Tensor, seen: torch.Tensor, worth: torch.Tensor, left: int, episodes: int) -> torch.Tensor:
        if part == "later":
            return whole(total, seen, worth, left, max(episodes - 1, 0))
        if part == "now":
            return whole(total, seen, worth, 0, episodes)
        return whole(total, seen, worth, min(left, 2), episodes)

    monkeypatch.setattr(grid, "_bound", low)
    with pytest.raises((AssertionError, IndexError)):
        check_optimum(gridnavi_optimal_value)
