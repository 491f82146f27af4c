"""The recorded experiment of chapter 14, part 2: exploring and exploiting apart, and end to end, with its controls.

The family has 24 tasks and 4 goals, so every agent is tested on all 96 pairs: no task of a test is new to it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..algorithms.configs import RL2Config
from ..algorithms.rl2 import rl2
from ..apps.bus_grid import END_TO_END, explore_then_exploit, train_exploiter, worth_of_guesses
from ..apps.explorer import EXPLORER, Explorer, train_explorer
from ..oracles.bus_grid import bus_grid_ladder
from ..policies.gru import GRUPolicy
from ..rng import generator
from ..rollout import draw_noise, trial
from ..tasks.bus_grid import BusGrid
from ..types import Rollout, Task
from .base import TEST_SEED, Experiment, Run, Stopwatch, budget

SEEDS = range(5)
EVERY = 10  # iterations from one entry of a recorded curve to the next


class MapInHand(BusGrid):
    """A control: every observation shows the buses, so that nothing has to be found out or remembered."""

    name = "bus-grid-map-in-hand"

    def observe(self, task: Task, state: Tensor) -> Tensor:
        seen = super().observe(task, state)
        shown = torch.nn.functional.one_hot(task["buses"].long(), 4).flatten(-2).to(self.dtype)
        return torch.cat([seen[..., :25], shown.expand(*seen.shape[:-1], 16), seen[..., 41:]], -1)


def _every_pair(tasks: BusGrid) -> tuple[Task, Tensor]:
    """All tasks with all goals: the tasks, leaf `[96, 4]`, and the chance of a reset that draws the goal, `[96, 1]`."""
    buses = tasks.all_tasks()["buses"]
    return {"buses": buses.repeat_interleave(4, 0)}, ((torch.arange(4) + 0.5) / 4).repeat(len(buses)).unsqueeze(-1)


def cells(observations: Tensor) -> Tensor:
    """Column and row that were observed, `[..., 2]`."""
    index = observations[..., :25].argmax(-1)
    return torch.stack([index // BusGrid.size, index % BusGrid.size], -1)


def _explored(batch: Rollout, explore: int) -> dict[str, Any]:
    """How often an exploration saw the map or rode a bus, and the cells of the first one."""
    where = cells(batch.observations[:, 0, :explore])
    on_map = (where == BusGrid.map_cell).all(-1).any(-1)
    return {"map": _share(on_map), "rode": _rode(batch, 0, explore), "path": where[0].tolist()}


def _rode(batch: Rollout, first: int, last: int) -> float:
    """The share of episodes in which a bus was ridden from one step to another."""
    part = slice(first, last)
    where, did = cells(batch.observations[:, 0, part]), batch.actions[:, 0, part]
    at_stop = (where.unsqueeze(-2) == BusGrid.stops).all(-1).any(-1)
    return _share(((did == BusGrid.ride) & at_stop & (batch.mask[:, 0, part] > 0)).any(-1))


def _share(of: Tensor) -> float:
    return round(of.double().mean().item(), 4)


def _tested(tasks: BusGrid, policy: GRUPolicy) -> dict[str, Any]:
    """The mean return of an agent for both phases, with its most probable actions and with drawn ones."""
    task, resets = _every_pair(tasks)
    gen, found = generator(TEST_SEED), {}
    for name, deterministic in (("returns", True), ("returns_drawn", False)):
        noise = replace(draw_noise(tasks, policy, len(resets), 1, gen), reset=resets.unsqueeze(1))
        batch = trial(tasks, policy, policy.params(), task, 1, noise=noise, deterministic=deterministic)
        if deterministic:
            found = _explored(batch, tasks.explore) | {"rode_later": _rode(batch, tasks.explore, tasks.horizon)}
        found[name] = round(batch.returns().double().mean().item(), 4)
    return found


def _curve(values: list[float]) -> list[float]:
    return [round(value, 4) for value in values[::EVERY]]


def _explorer(config: RL2Config, seed: int, worth: Tensor | None = None) -> tuple[Explorer, Any, Stopwatch]:
    tasks, watch, gen = BusGrid(), Stopwatch(), generator(seed)
    few = replace(EXPLORER, iterations=min(EXPLORER.iterations, config.iterations))
    policy = Explorer.for_tasks(tasks, gen, hidden=64)
    trained, history = train_explorer(tasks, policy, few, gen, watch, worth=worth)
    _whole(history, few.iterations)
    return trained, history, watch


def _whole(history: Any, iterations: int) -> None:
    """Half a run is not to be recorded: whoever trained has said so already."""
    if len(history.returns) < iterations:
        raise KeyboardInterrupt


def apart_run(seed: int, pay: str, config: RL2Config, folder: Path) -> dict[str, Any]:
    """An exploiter told the task, and an explorer paid for information, or by what an exploiter makes of its guess.

    Args:
        seed: of the explorer; the exploiter has another.
        pay: "information"; "use", what the exploiter earns; "floor", the same but never less than a walk; "walk", a
            walk whatever is guessed, so that nothing depends on what was found out.
        config: its iterations bound those of both.
        folder: not used.
    """
    tasks, iterations = BusGrid(), min(100, config.iterations)
    table, walk = train_exploiter(tasks, generator(seed + 1000), iterations), bus_grid_ladder()["walk"]
    plan = table.argmax(-1)
    use = worth_of_guesses(tasks, plan)
    paid = {"information": None, "use": use, "floor": use.clamp(min=walk), "walk": torch.full_like(use, walk)}[pay]
    explorer, history, watch = _explorer(config, seed, paid)
    task = tasks.all_tasks()
    found = explore_then_exploit(tasks, explorer, explorer.params(), plan, task, generator(TEST_SEED))
    earned = paid if pay == "walk" and paid is not None else use
    exploited = iterations * 256 * tasks.exploit
    return {
        **_explored(found.exploration, tasks.explore),
        "returns": round(earned[torch.arange(24), found.guess].double().mean().item(), 4),
        "right": round((found.guess == torch.arange(24)).double().mean().item(), 4),
        "information": _curve(history.information),
        "exploiter": round(use.diagonal().mean().item(), 4),
        "training_seconds": watch.seconds(len(history.returns)),
        **budget(history.steps, len(history.returns), exploited),
    }


def together_run(
    seed: int, tasks: BusGrid, config: RL2Config, folder: Path, *, begins: bool = False, **changes: Any
) -> dict[str, Any]:
    """RL2 on both phases, end to end; where it begins as a trained explorer, that training comes first."""
    gen, before = generator(seed), 0
    policy = GRUPolicy.for_tasks(tasks, gen, hidden=64)
    if begins:
        explorer, history, _ = _explorer(config, seed)
        before = history.steps
        policy = GRUPolicy.from_params({n: p for n, p in explorer.params().items() if "decoder" not in n})
    start, watch = _tested(tasks, policy), Stopwatch()
    config = replace(config, **changes)
    trained, taken = rl2(tasks, policy, config, gen, watch)
    _whole(taken, config.iterations)
    return {
        **_tested(tasks, trained),
        "map_at_first": start["map"],
        "curve": _curve(taken.returns),
        "training_seconds": watch.seconds(config.iterations),
        **budget(taken.steps, config.iterations, before),
    }


_AT_MAP = (1, 4)
#: Every agent by name; a function of the seed gives its run.
AGENTS: dict[str, Any] = {
    "apart": lambda seed: partial(apart_run, seed, "information"),
    "apart, paid by the exploiter": lambda seed: partial(apart_run, seed, "use"),
    "apart, paid never less than a walk": lambda seed: partial(apart_run, seed, "floor"),
    "apart, paid by one who walks": lambda seed: partial(apart_run, seed, "walk"),
    "RL2": lambda seed: partial(together_run, seed, BusGrid()),
    "RL2, begins on the map": lambda seed: partial(together_run, seed, BusGrid(entrance=_AT_MAP)),
    "RL2, begins as an explorer": lambda seed: partial(together_run, seed, BusGrid(), begins=True),
    "RL2, map in hand": lambda seed: partial(together_run, seed, MapInHand()),
    "RL2, map in hand, exploiting alone": lambda seed: partial(together_run, seed, MapInHand(0)),
    "RL2, more entropy": lambda seed: partial(together_run, seed, BusGrid(), entropy=0.2),
}
RUNS: dict[str, Run] = {f"{name}, seed {seed}": make(seed) for name, make in AGENTS.items() for seed in SEEDS}
EXPERIMENTS: dict[str, Experiment] = {
    "bus-grid": Experiment("Explore first, exploit later: apart, and end to end", RUNS, END_TO_END),
}
