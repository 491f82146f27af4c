"""The grid with four buses, exactly: what an exploitation is worth, given what is known, and the best way to find out.

What an agent knows is the set of tasks that are still possible. A ride leaves those whose bus leads there, the map
leaves one. There are 113 such sets, so beliefs, cells and goals make a table, and dynamic programming fills it.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from ..given import counts, integer
from ..tasks.base import check_like
from ..tasks.bus_grid import BusGrid

#: A set of possible tasks: the numbers of `BusGrid.all_tasks`.
Belief = frozenset[int]


class Beliefs(NamedTuple):
    """All that can be known of the buses, K = 113 sets of tasks, and what they become."""

    sets: list[Belief]
    possible: Tensor  # [K, 24] the probability of each task: equal ones
    led: Tensor  # [K, 4, 4] the probability that bus k leads to corner c
    after: Tensor  # [K, 4, 4] what is known when it did, an index; 0 where it cannot
    known: Tensor  # [24] what is known when the map was read, an index


class Step(NamedTuple):
    """Where the actions of `BusGrid` lead, for S = 25 cells."""

    walked: Tensor  # [S, 6] the cell, on foot
    stops: Tensor  # [4] the cells of the buses
    corners: Tensor  # [4]
    start: int
    map_cell: int


def bus_grid_value(tasks: BusGrid) -> float:
    r"""The best mean return of an episode of both phases, exactly: .7 for the usual lengths.

    With $U_n(b, s)$ the value in cell s of knowing b with n steps of exploration left, and `V` that of
    `bus_grid_exploit_values`,

    $$ U_n(b, s) = \max_a\, \mathbb{E}\, U_{n-1}(b', s'), \qquad
       U_0(b, s) = \tfrac14 \textstyle\sum_g V(b, \text{start}, g) . $$

    The last step of an exploration teaches nothing, since it ends at the start. So four steps of it are enough to read
    the map: .7; three are enough for one ride: .25; and with fewer the agent walks: .1. An exploration that begins
    nearer to the map, at the family's `entrance`, needs as many steps less.

    Raises:
        ValueError: if these are no tasks of this family.
    """
    check_like(BusGrid, "explore exploit entrance", tasks=tasks)
    beliefs, grid = _beliefs(), _grid()
    ends = bus_grid_exploit_values(tasks.exploit)[:, grid.start].mean(-1)  # [K]
    value = ends.view(-1, 1, 1).expand(-1, 25, 1)  # [K, S, 1]
    for _ in range(tasks.explore - 1):
        value = _choices(value, beliefs, grid).amax(2)
    column, row = tasks.entrance
    first = value[:, tasks.size * column + row, 0]  # [K]
    if tasks.explore and tasks.entrance == tuple(tasks.map_cell.tolist()):
        return first[beliefs.known].mean().item()  # the map is read at once
    return first[_at({*range(24)})].item()


def bus_grid_exploit_values(exploit: int = 20) -> Tensor:
    r"""The best mean return of `exploit` steps of exploiting, `[K, S, G]`, for each belief, cell and goal.

    $$ V_n(b, s, g) = \max_a \mathbb{E} \big[\, r + [s' \ne g]\, V_{n-1}(b', s', g) \,\big], \qquad V_0 = 0 $$

    where the step pays 1 at the goal and -.3 elsewhere, and b' is what is known after it: a ride tells where a bus
    leads, and the map all. Beliefs are in the order of `bus_grid_beliefs`, cells column by column.
    """
    if integer(exploit) == 0:
        return _nothing()
    return bus_grid_action_values(exploit).amax(2)


def bus_grid_action_values(exploit: int = 20) -> Tensor:
    r"""The best mean return of each first action of `exploit` steps, at least one, `[K, S, 6, G]`: what V maximises."""
    (exploit,), beliefs, grid = counts(exploit=exploit), _beliefs(), _grid()
    value, cells = _nothing(), torch.arange(25)
    goal = cells.unsqueeze(-1) == grid.corners  # [S, G]
    choices = value.unsqueeze(2)
    for _ in range(exploit):
        after = torch.where(goal, 1.0, value - 0.3)  # on arriving in a cell
        choices = _choices(after, beliefs, grid)
        value = choices.amax(2)
    return choices


def bus_grid_beliefs() -> list[Belief]:
    """The sets of tasks that rides and the map can leave possible, 113; the first is all 24."""
    return list(_beliefs().sets)


def bus_grid_ladder(exploit: int = 20) -> dict[str, float]:
    r"""What an agent earns by how it explores: walk .1, one bus .25, map .7; and a gamble on an unknown bus.

    "walk" has not explored, and walks. "posterior sampling" rides one bus while exploring, as an agent does that
    draws a task, believes it and goes for the goal: it knows where that bus leads, and so it earns

    $$ \tfrac14 \cdot .7 + \tfrac34 \cdot .1 = .25 . $$

    "map" has read the map. "gamble" is what posterior sampling earns of those goals to which its bus does not lead
    if it first tries another bus, one right in three, and goes on as well as can be: less than walking, so .25 is
    the best that one ride allows. From a wrong corner the goal is four steps or eight away.

    Args:
        exploit: steps of the second phase, at least 2, which a ride takes.

    Raises:
        ValueError: if that is no such integer.
    """
    if (integer(exploit) or 0) < 2:
        raise ValueError(
            f"exploit = {exploit!r}: a gamble walks to a bus and rides: an integer of "
            "at least 2 is needed, such as exploit=20."
        )
    beliefs, grid = _beliefs(), _grid()
    value = bus_grid_exploit_values(exploit)[:, grid.start]  # [K, G]
    known = beliefs.after[_at({*range(24)}), 0, 0]  # bus 0 leads to corner 0
    rides = bus_grid_action_values(exploit - 1)[known, grid.stops[1:], 5]  # [3, G]
    gamble = -0.3 + rides[:, 1:].amax(0).mean()
    return {
        "walk": value[_at({*range(24)})].mean().item(),
        "posterior sampling": value[known].mean().item(),
        "map": value[beliefs.known].mean().item(),
        "gamble": gamble.item(),
    }


def bus_grid_plan() -> Tensor:
    r"""What to do when the task is known, by value iteration: a best action of each task, goal and cell, `[24, 4, 25]`.

    $$ D(s) \leftarrow \min_a \big( 1 + D(s') \big), \qquad D(g) = 0 : $$

    every step costs the same, so the best way is the shortest, on foot or by bus.
    """
    tasks = BusGrid()
    size, everything = tasks.size, tasks.all_tasks()["buses"]
    cells = torch.cartesian_prod(torch.arange(size), torch.arange(size))  # [S, 2]
    lead = (24, len(cells), tasks.action_size)
    task = {"buses": everything.view(24, 1, 1, 4)}
    places = cells.view(1, -1, 1, 2).expand(*lead, 2)
    after = tasks.move(task, places, torch.arange(tasks.action_size).expand(lead))
    there = (size * after[..., 0] + after[..., 1]).flatten(1)  # [24, S x 6]
    at_goal = (cells.unsqueeze(0) == tasks.corners.unsqueeze(1)).all(-1)  # [4, S]
    far = torch.where(at_goal, 0, size**2).expand(24, -1, -1)  # [24, 4, S]
    for _ in range(size**2):
        index = there.unsqueeze(1).expand(-1, 4, -1)
        ways = 1 + far.gather(2, index).view(24, 4, *lead[1:])  # [24, 4, S, 6]
        far = torch.where(at_goal, 0, ways.amin(-1))
    return ways.argmin(-1)


def _choices(value: Tensor, beliefs: Beliefs, grid: Step) -> Tensor:
    """The mean of a value `[K, S, G]` after each action, `[K, S, 6, G]`."""
    value = value.clone()
    told = value[beliefs.known, grid.map_cell]  # [24, G]
    value[:, grid.map_cell] = beliefs.possible @ told
    after = value[:, grid.walked]  # [K, S, 6, G]
    arrived = value[beliefs.after, grid.corners]  # [K, 4, 4, G]
    after[:, grid.stops, 5] = (beliefs.led.unsqueeze(-1) * arrived).sum(2)
    return after


def _nothing() -> Tensor:
    return torch.zeros(len(_beliefs().sets), 25, 4, dtype=torch.float64)


def _at(belief: set[int]) -> int:
    return _beliefs().sets.index(frozenset(belief))


@cache
def _beliefs() -> Beliefs:
    """All beliefs, beginning with that of an agent that knows nothing."""
    buses = BusGrid().all_tasks()["buses"].tolist()
    sets: list[Belief] = [frozenset(range(24))]
    rides: list[list[list[int]]] = []
    for belief in sets:  # it grows while it is read
        leads = [
            [frozenset(z for z in belief if buses[z][k] == c) for c in range(4)]
            for k in range(4)
        ]
        for left in (left for row in leads for left in row):
            if left and left not in sets:
                sets.append(left)
        rides.append([[sets.index(left) if left else 0 for left in r] for r in leads])
    possible = torch.tensor([[z in b for z in range(24)] for b in sets]).double()
    possible = possible / possible.sum(-1, keepdim=True)
    leads_to = torch.nn.functional.one_hot(torch.tensor(buses), 4).double()
    led = torch.einsum("kz,zbc->kbc", possible, leads_to)
    known = torch.tensor([sets.index(frozenset({z})) for z in range(24)])
    return Beliefs(sets, possible, led, torch.tensor(rides), known)


@cache
def _grid() -> Step:
    size = BusGrid.size
    cells = torch.cartesian_prod(torch.arange(size), torch.arange(size))
    walked = (cells.unsqueeze(1) + BusGrid.moves).clamp(0, size - 1)  # [S, 6, 2]

    def index(places: Tensor) -> Tensor:
        return places[..., 0] * size + places[..., 1]

    return Step(
        index(walked),
        index(BusGrid.stops),
        index(BusGrid.corners),
        int(index(BusGrid.start)),
        int(index(BusGrid.map_cell)),
    )
