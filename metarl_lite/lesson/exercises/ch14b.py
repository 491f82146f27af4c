"""Exercises of chapter 14, continued: two rides without a map, who was tested, what a ride leaves possible."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...apps.bus_grid import cell_of
from ...oracles.bus_grid import bus_grid_plan
from ...rng import generator
from ...tasks.bus_grid import BusGrid
from ...types import Task
from .base import Case, Exercise

F64 = torch.float64
Ride = tuple[int, int]


# --- 14.6: who was tested ---------------------------------------------------------------------------------------------


def _returns(tasks: BusGrid, plan: Tensor, task: Task, guess: Tensor, goal: Tensor) -> Tensor:
    return _played(tasks, plan, task, guess, goal, task)


def _played(
    tasks: BusGrid, plan: Tensor, task: Task, guess: Tensor, goal: Tensor, world: Task, ends: bool = True
) -> Tensor:
    """What is planned for a guess, in a world."""
    state = tasks.reset(task, (goal.unsqueeze(-1) + 0.5) / 4)
    total, alive = torch.zeros(len(guess)), torch.ones(len(guess), dtype=torch.bool)
    for _ in range(tasks.horizon):
        state, reward, ended = tasks.step(world, state, plan[guess, goal, cell_of(state)], state)
        total, alive = total + reward * alive, alive & ~(ended & ends)
    return total


def _believed(tasks: BusGrid, guess: Tensor) -> Task:
    return {"buses": tasks.all_tasks()["buses"][guess]}


def _imagined(tasks: BusGrid, plan: Tensor, task: Task, guess: Tensor, goal: Tensor) -> Tensor:
    return _played(tasks, plan, task, guess, goal, _believed(tasks, guess))


def _told(tasks: BusGrid, plan: Tensor, task: Task, guess: Tensor, goal: Tensor) -> Tensor:
    return _played(tasks, plan, task, tasks.number(task), goal, task)


def _exchanged(tasks: BusGrid, plan: Tensor, task: Task, guess: Tensor, goal: Tensor) -> Tensor:
    return _played(tasks, plan, task, tasks.number(task), goal, _believed(tasks, guess))


def _endless(tasks: BusGrid, plan: Tensor, task: Task, guess: Tensor, goal: Tensor) -> Tensor:
    return _played(tasks, plan, task, guess, goal, task, ends=False)


def _tests() -> list[Case]:
    """Guesses right and wrong; the plan of every other task goes on foot, so that plans earn different returns."""
    tasks, plan, cases = BusGrid(0, 20), bus_grid_plan(), []
    cell, to = (
        torch.cartesian_prod(torch.arange(5), torch.arange(5)),
        BusGrid.corners.unsqueeze(1),
    )  # [25, 2], [4, 1, 2]
    across, up = (to - cell).unbind(-1)  # [4, 25]
    feet = torch.where(across != 0, torch.where(across > 0, 2, 4), torch.where(up > 0, 1, 3))
    plan[::2] = torch.where((across == 0) & (up == 0), 0, feet)
    for seed in range(2):
        gen = generator(seed)
        truth, guess, goal = (torch.randint(high, (16,), generator=gen) for high in (24, 24, 4))
        guess[:4] = truth[:4]
        cases.append((tasks, plan, _believed(tasks, truth), guess, goal))
    return cases


def _case(tasks: BusGrid, plan: Tensor, task: Task, guess: Tensor, goal: Tensor) -> str:
    return f"{len(guess)} tasks, of which {int((tasks.number(task) == guess).sum())} are guessed right"


# --- 14.7: what a ride leaves possible --------------------------------------------------------------------------------


def _posterior(buses: Tensor, rides: list[Ride]) -> Tensor:
    possible = torch.ones(len(buses), dtype=F64)
    for bus, corner in rides:
        possible = possible * (buses[:, bus] == corner)
    return possible / possible.sum()


def _changed(keep: Callable[[Tensor, list[Ride]], Tensor]) -> Callable[..., Tensor]:
    """Another set of tasks, with equal probabilities."""

    def answer(buses: Tensor, rides: list[Ride]) -> Tensor:
        possible = keep(buses, rides).to(F64)
        return possible / possible.sum()

    return answer


def _seen_by_one(buses: Tensor, rides: list[Ride]) -> Tensor:
    agree = torch.stack([buses[:, bus] == corner for bus, corner in rides] or [torch.ones(len(buses)) > 0])
    return agree.any(0)


def _sharpened(buses: Tensor, rides: list[Ride]) -> Tensor:
    """A vote: each ride adds to the tasks that agree with it, and takes none away."""
    agree = [(buses[:, bus] == corner).to(F64) for bus, corner in rides]
    return 1 + sum(agree, torch.zeros(len(buses), dtype=F64))


def _rides() -> list[Case]:
    buses = BusGrid().all_tasks()["buses"]
    return [(buses, rides) for rides in ([(1, 2)], [(0, 3), (2, 1)], [], [(3, 0), (1, 1), (0, 2)])]


def _ridden(buses: Tensor, rides: list[Ride]) -> str:
    return f"rides = {rides}"


EXERCISES = [
    Exercise(
        "14.5",
        "two rides without a map",
        reference=0.4,
        form="a number",
        mistakes={
            "That is one ride. Seven steps allow more: where can one go from the corner where a ride ends?": 0.25,
            "That would need every bus to be known. Count the steps to a third one.": 0.7,
            "That is the return without any exploration.": 0.1,
            "That is the share of goals that a known bus leads to. What does the agent earn of these, and what of the "
            "others?": 0.5,
            "The goals that no known bus leads to are missing: they are still reached, on foot.": 0.35,
            "That is for three known buses. How many steps do three rides take, with the walks between them?": 0.55,
        },
        praise="So without a map, seven steps are worth 0.4, and with one, four are worth 0.7.",
    ),
    Exercise(
        "14.6",
        "who was tested",
        reference=_returns,
        cases=_tests,
        words=_case,
        mistakes={
            "Wrong guesses still cost nothing. In which world does the agent take its steps: the one that it believes "
            "in, or the one that is there?": _imagined,
            "The plan is now that of the true task. In a test nobody knows it; the agent does what its guess says.": (
                _told
            ),
            "Plan and world have changed places: the agent believes the guess, and the world is the task.": _exchanged,
            "Rewards still count after the goal was reached; the episode is over there.": _endless,
        },
        praise="Try a test on answers that are known to be bad: one that they pass tests nothing.",
    ),
    Exercise(
        "14.7",
        "what a ride leaves possible",
        reference=_posterior,
        cases=_rides,
        words=_ridden,
        tolerance=1e-6,
        mistakes={
            "These tasks are the right ones, but their probabilities do not sum to 1.": lambda buses, rides: (
                _posterior(buses, rides) > 0
            ).to(F64),
            "Bus and corner have changed places: `buses[:, k]` is the corner that bus k leads to.": _changed(
                lambda buses, rides: _posterior(buses, [(corner, bus) for bus, corner in rides]) > 0
            ),
            "A task must agree with *every* ride; here one that agrees with any is kept.": _changed(_seen_by_one),
            "Only the last ride counts here. What was learned before it is still known.": _changed(
                lambda buses, rides: _posterior(buses, rides[-1:]) > 0
            ),
            "Only the first ride counts here.": _changed(lambda buses, rides: _posterior(buses, rides[:1]) > 0),
            "A ride adds to some tasks here and rules none out. In this world a ride is certain: where it disagrees, "
            "the probability is 0.": _changed(_sharpened),
            "These are the logarithms; probabilities are asked for.": lambda buses, rides: _posterior(
                buses, rides
            ).log(),
        },
        praise="Its logarithm at the true task is the ideal observer's log q: -log 24, then -log 6, -log 2 and 0.",
    ),
]
