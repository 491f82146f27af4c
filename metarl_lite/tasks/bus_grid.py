"""Four buses of unknown destination and a map: what is worth exploring for, before it is needed."""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from ..given import integer
from ..rng import check_generator
from ..types import Task
from .base import TaskDistribution, check_positive

TASKS = 24  # of the family


class BusGrid(TaskDistribution):
    r"""A grid whose four buses lead to the four corners, nobody says which to which; after DREAM of Liu et al. (2021).

    The agent starts in the centre (2, 2) of 5 x 5 cells. Beside it, at (2, 3), (3, 2), (2, 1) and (1, 2), wait
    buses 0 to 3. Bus k leads to corner $z_k$ of (0, 0), (0, 4), (4, 0), (4, 4), where z, one of the 24 permutations,
    is the task. Actions: 0 stay, 1 up, 2 right, 3 down, 4 left, 5 ride; a move off the grid, and a ride where no bus
    waits, leave the agent where it is. At (1, 4), three steps from the start, stands a map: who is there sees z.

    An episode has two phases. In the first `explore` steps the agent may look around, and nothing is paid. The last of
    them, whatever the action is, takes it back to the start and tells it a goal g, a corner that is drawn at the reset.
    It has `exploit` more steps to reach it:

    $$ r_t = 0 \ \text{ while exploring, and then} \quad r_t = 1 \ \text{ if } s_{t+1} = g, \text{ and } -.3
       \text{ if not}; $$

    the goal ends the episode. Walking takes four steps and pays .1; the right bus takes two and pays .7. So an
    episode of both phases is what RL2 is trained on; `BusGrid(exploit=0)` is exploring alone, and
    `BusGrid(explore=0)` exploiting alone.

    Task: `buses` `[..., 4]`, the corner that each bus leads to, integers. State: `[..., 4]` integers: column, row,
    steps taken, number of the goal. Observation, `[..., 46]`: the cell one-hot (25 numbers); on the map z, a one-hot
    corner for each bus (16), elsewhere zeros; while exploiting the goal one-hot (4) and a 1.

    Args:
        explore: steps of the first phase, 0 or more.
        exploit: steps of the second, 0 or more.
        entrance: column and row where the first phase begins; the second begins in the centre.
        dtype: floating-point type.

    Raises:
        ValueError: if a length is not an integer of at least 0, or both are 0; or if `entrance` is no cell.

    Source: Liu et al. (2021), in the form of the homework of Stanford's courses CS 330 and CS 224R; the map's cell,
    the lengths, and that no bus is ridden back, are choices made here.
    """

    name = "bus-grid"
    observation_size = 46
    action_size = 6
    discrete = True
    can_terminate = True
    reset_noise_size = 1  # for the goal
    size = 5
    ride = 5  # the action
    moves = torch.tensor([[0, 0], [0, 1], [1, 0], [0, -1], [-1, 0], [0, 0]])
    start = torch.tensor([2, 2])
    stops = torch.tensor([[2, 3], [3, 2], [2, 1], [1, 2]])  # of buses 0 to 3
    corners = torch.tensor([[0, 0], [0, 4], [4, 0], [4, 4]])
    map_cell = torch.tensor([1, 4])

    def __init__(
        self,
        explore: int = 10,
        exploit: int = 20,
        entrance: tuple[int, int] = (2, 2),
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.explore = _steps(explore=explore)
        self.exploit = _steps(exploit=exploit)
        self.horizon, self.dtype = self.explore + self.exploit, dtype
        if not self.horizon:
            raise ValueError(
                "explore = exploit = 0: an episode has at least one step, such as "
                "explore=10, exploit=20."
            )
        self.entrance = _cell(entrance, self.size)
        self.task_shape = {"buses": (4,)}

    def all_tasks(self) -> Task:
        """All 24 tasks, leaf `[24, 4]`, in the order of their numbers: the family is finite."""
        return {"buses": torch.tensor(list(permutations(range(4))))}

    def number(self, task: Task) -> Tensor:
        """The number, 0 to 23, of each task in `all_tasks`, `[...]`."""
        everything = self.all_tasks()["buses"].to(task["buses"].device)
        same = (task["buses"].unsqueeze(-2) == everything).all(-1)  # [..., 24]
        return same.long().argmax(-1)

    def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
        check_positive(num_tasks=num_tasks)
        check_generator(gen)
        drawn = torch.randint(TASKS, (num_tasks,), generator=gen, device=gen.device)
        return {"buses": self.all_tasks()["buses"].to(gen.device)[drawn]}

    def default_task(self) -> Task:
        return {"buses": torch.tensor([3, 1, 0, 2])}

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        goal = (4 * noise[..., 0]).long().clamp(max=3)
        first = torch.tensor(self.entrance) if self.explore else self.start
        place = first.to(noise.device).expand(*goal.shape, 2)
        rest = torch.stack([torch.zeros_like(goal), goal], -1)
        return torch.cat([place, rest], -1)

    def step(
        self, task: Task, state: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        (time, goal), device = state[..., 2:].unbind(-1), state.device
        place = self.move(task, state[..., :2], action)
        over = (time == self.explore - 1).unsqueeze(-1)  # back to the start
        exploiting = time >= self.explore
        arrived = (place == self.corners.to(device)[goal]).all(-1) & exploiting
        reward = torch.where(arrived, 1.0, -0.3) * exploiting
        place = torch.where(over, self.start.to(device), place)
        after = torch.cat([place, torch.stack([time + 1, goal], -1)], -1)
        return after, reward.to(self.dtype), arrived

    def move(self, task: Task, place: Tensor, action: Tensor) -> Tensor:
        """The cell that an action leads to, by foot or by bus: `[..., 2]` and `[...]` give `[..., 2]`."""
        device = place.device
        at_stop = (place.unsqueeze(-2) == self.stops.to(device)).all(-1)  # [..., 4]
        led = (at_stop * task["buses"]).sum(-1).long()  # where a bus waits
        walked = (place + self.moves.to(device)[action]).clamp(0, self.size - 1)
        rides = ((action == self.ride) & at_stop.any(-1)).unsqueeze(-1)
        return torch.where(rides, self.corners.to(device)[led], walked)

    def observe(self, task: Task, state: Tensor) -> Tensor:
        one_hot = torch.nn.functional.one_hot
        place, (time, goal) = state[..., :2], state[..., 2:].unbind(-1)
        cell = one_hot(self.size * place[..., 0] + place[..., 1], self.size**2)
        on_map = (place == self.map_cell.to(state.device)).all(-1, keepdim=True)
        shown = one_hot(task["buses"].long(), 4).flatten(-2) * on_map  # [..., 16]
        exploiting = (time >= self.explore).long().unsqueeze(-1)
        told = one_hot(goal, 4) * exploiting
        return torch.cat([cell, shown, told, exploiting], -1).to(self.dtype)

    def check_task(self, task: Task, num_tasks: int | None = None) -> None:
        """Refuses, besides wrong shapes, buses that do not lead to a corner of its own each."""
        super().check_task(task, num_tasks)
        buses = task["buses"].reshape(-1, 4)
        wrong = (buses.sort(-1).values != torch.arange(4, device=buses.device)).any(-1)
        if bool(wrong.any()):
            raise ValueError(
                f"task['buses'] of {self.name} holds {buses[wrong][0].tolist()}: each "
                "bus leads to a corner of its own, so it must be a permutation of 0, "
                f"1, 2, 3, such as {self.default_task()['buses'].tolist()}."
            )


def _steps(**given: int) -> int:
    """The length of a phase; its name is that of the argument."""
    ((name, value),) = given.items()
    steps = integer(value)
    if steps is None or steps < 0:
        raise ValueError(
            f"{name} = {value!r}: the steps of a phase are an integer, 0 for none, "
            f"such as {name}=10."
        )
    return steps


def _cell(entrance: tuple[int, int], size: int) -> tuple[int, int]:
    """Where an exploration begins: column and row."""
    cell = tuple(map(integer, entrance)) if isinstance(entrance, tuple | list) else ()
    if len(cell) != 2 or any(x is None or not 0 <= x < size for x in cell):
        raise ValueError(
            f"entrance = {entrance!r}: a cell is its column and its row, each 0 to "
            f"{size - 1}, such as entrance=(2, 2)."
        )
    return entrance[0], entrance[1]
