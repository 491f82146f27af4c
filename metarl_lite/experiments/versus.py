"""MAML or RL2: the same tasks, the same episodes to learn from, the same steps of training.

Every method of a world is trained on as many steps of the environment. The rate that matters most for it is the best of
the same three (`versus-rates`), by its return on validation tasks; `versus` trains five seeds with that, and tests them
inside the range of training and outside it, for four times as many episodes as they were trained for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..algorithms.configs import MAMLConfig, RL2Config
from ..algorithms.maml import maml
from ..algorithms.rl2 import rl2
from ..evaluate.learners import Learner, gradient_learner, memory_learner, returns_by_episode
from ..oracles.navigation import goal_known_return
from ..policies.belief import BeliefPolicy
from ..policies.gru import GRUPolicy
from ..policies.mlp import MLPPolicy
from ..records.results import recorded
from ..rng import generator, uniform
from ..tasks.bandits import BernoulliBandit
from ..tasks.base import TaskDistribution
from ..tasks.navigation import GridGoal, PointGoal, WarmGrid
from ..tasks.physics import CartPoleTasks
from ..types import Task
from .base import TEST_SEED, Experiment, Run, Stopwatch, budget

VALIDATION_SEED = 3_000_003  # of the tasks that rates are chosen on
RATES = (0.3, 1.0, 3.0)  # in units of a world's own
SEEDS = range(5)
LONGER = 4  # times the episodes of training, in the test
METHODS = ("RL2", "task inference", "MAML", "mixture", "scratch")

#: Draws test tasks: `sample(num_tasks, gen)`.
Sample = Callable[[int, torch.Generator], Task]


@dataclass(frozen=True)
class World:
    """A family with a range to be trained on and tasks beyond it, and what is spent there."""

    tasks: TaskDistribution
    outside: Sample  # tasks beyond the range of training
    episodes: int  # K, in which a task is learned
    steps: int  # of the environment, in each training
    gradient: MAMLConfig  # how often a step is taken, and how many
    memory: dict[str, Any] = field(default_factory=dict)  # fields of an RL2Config
    hidden: tuple[int, ...] = ()  # of a policy without memory; none: a table
    known: Callable[[Task], Tensor] | None = None  # mean return of an episode for who is told the task, [N]
    blind: Callable[[Task], Tensor] | None = None  # and of the best who learns nothing; None: not known


def poor_arms(num_tasks: int, gen: torch.Generator) -> Task:
    """Nothing pays more often than three times in ten, which is one task in four hundred of those in training."""
    return {"probabilities": 0.3 * uniform((num_tasks, 5), gen, torch.float32)}


def far_goals(num_tasks: int, gen: torch.Generator) -> Task:
    """Uniform between the square of the goals in training and one of twice its side."""
    far = 2 * uniform((4 * num_tasks + 40, 2), gen, torch.float32) - 1
    return {"goal": far[far.abs().amax(-1) > 0.5][:num_tasks]}


def corner_goals(num_tasks: int, gen: torch.Generator) -> Task:
    """In the start's corner, where no goal of training is."""
    cells = torch.tensor([[0, 1], [1, 0], [1, 1]])
    return {"goal": cells[torch.randint(3, (num_tasks,), generator=gen)]}


def along_a_path(tasks: GridGoal, task: Task) -> Tensor:
    """The return of the best path that is the same on every one of these tasks, `[N]`: a search backwards in time."""
    cells = torch.cartesian_prod(torch.arange(tasks.size), torch.arange(tasks.size))  # [S, 2]
    goals = {"goal": task["goal"].unsqueeze(1)}  # [N, 1, 2]
    states, actions = cells.unsqueeze(1), torch.arange(tasks.action_size)  # [S, 1, 2], [A]
    after, _, _ = tasks.step({"goal": cells[0]}, states, actions, states)
    after = tasks.size * after[..., 0] + after[..., 1]  # [S, A]
    _, paid, _ = tasks.step(goals, cells, torch.zeros(len(cells), dtype=torch.long), cells)  # [N, S]
    value, choices = torch.zeros(len(cells), dtype=paid.dtype), []
    for _ in range(tasks.horizon):
        value, chosen = (paid.mean(0) + value)[after].max(1)
        choices.append(chosen)
    cell, earned = 0, torch.zeros(len(paid), dtype=paid.dtype)
    for chosen in reversed(choices):
        cell = int(after[cell, chosen[cell]])
        earned = earned + paid[:, cell]
    return earned


def straight_there(tasks: GridGoal, task: Task) -> Tensor:
    """The return of who is told the goal, `[N]`: straight there, one column after the other."""
    place, earned = torch.zeros_like(task["goal"]), torch.zeros(len(task["goal"]), dtype=tasks.dtype)
    for _ in range(tasks.horizon):
        column, row = (task["goal"] - place).unbind(-1)
        action = torch.where(column > 0, 2, torch.where(row > 0, 1, 0))
        place, reward, _ = tasks.step(task, place, action, place)
        earned = earned + reward
    return earned


POLES = {"length": (0.25, 1.0), "force_mag": (5.0, 15.0)}
SHORT_POLES = CartPoleTasks(ranges={"length": (0.05, 0.15), "force_mag": (15.0, 25.0)}, horizon=100)

PLANE, GRID, WARM = PointGoal(horizon=20), GridGoal(), WarmGrid()

#: Every world by its name.
WORLDS: dict[str, World] = {
    "arms": World(
        BernoulliBandit(5, horizon=1), poor_arms, 20, 1_500_000,
        MAMLConfig(num_tasks=100, episodes=5, inner_steps=3, inner_lr=10.0, outer_lr=0.03),
        {"trials": 4, "discount": 0.95},
        known=lambda task: task["probabilities"].amax(1),
        blind=lambda task: task["probabilities"][:, 0],
    ),
    "plane": World(
        PLANE, far_goals, 10, 1_500_000,
        MAMLConfig(num_tasks=20, episodes=2, inner_steps=4),
        {"trials": 1, "discount": 0.9, "lr": 3e-3, "entropy": 0.0, "reward_scale": 0.1},
        (64, 64),
        known=partial(goal_known_return, PLANE),
        blind=lambda task: -PLANE.horizon * task["goal"].norm(dim=-1),
    ),
    "grid": World(
        GRID, corner_goals, 8, 1_500_000,
        MAMLConfig(num_tasks=50, episodes=2, inner_steps=3, inner_lr=10.0, outer_lr=0.03),
        {"num_tasks": 64, "trials": 1, "discount": 0.95, "entropy": 0.05},
        known=partial(straight_there, GRID), blind=partial(along_a_path, GRID),
    ),
    "warm grid": World(
        WARM, corner_goals, 8, 1_500_000,
        MAMLConfig(num_tasks=20, episodes=2, inner_steps=3, inner_lr=10.0, outer_lr=0.03),
        {"num_tasks": 64, "trials": 1, "discount": 0.95, "entropy": 0.05},
        known=partial(straight_there, WARM), blind=partial(along_a_path, WARM),
    ),
    "poles": World(
        CartPoleTasks(ranges=POLES, horizon=100), SHORT_POLES.sample, 6, 750_000,
        MAMLConfig(num_tasks=20, episodes=2, inner_steps=2),
        {"num_tasks": 16, "trials": 2, "discount": 0.98, "reward_scale": 0.1},
        (64, 64),
        known=lambda task: torch.full_like(task["length"], 100.0),  # the horizon; whether it can be reached is open
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Spent:
    """How much is spent, unless a check cuts it."""

    iterations: int | None = None  # of each training; None: what the world's steps make
    instances: int = 1000  # test tasks, inside and outside
    seed: int = TEST_SEED


def train(world: World, method: str, rate: float, seed: int, spent: Spent) -> tuple[Learner, dict[str, Any]]:
    """A learner of one method, trained on the world's steps, and what that cost."""
    gen, watch = generator(seed), Stopwatch()
    if method in ("RL2", "task inference"):
        kind = BeliefPolicy if method == "task inference" else GRUPolicy
        settings = {"algorithm": "ppo", "epochs": 1, "lr": 1e-2, **world.memory}
        memory = RL2Config(episodes=world.episodes, **settings)
        lived = memory.num_tasks * memory.trials * world.episodes * world.tasks.horizon
        iterations = spent.iterations or max(1, world.steps // lived)
        memory = replace(memory, lr=rate * memory.lr, iterations=iterations)
        remembering, history = rl2(world.tasks, kind.for_tasks(world.tasks, gen), memory, gen, watch)
        _whole(history, iterations)
        cost = budget(history.steps, iterations) | {"training_seconds": watch.seconds(iterations)}
        return memory_learner(remembering), cost
    acting = replace(world.gradient, inner_lr=rate * world.gradient.inner_lr)
    policy = MLPPolicy.for_tasks(world.tasks, gen, hidden=world.hidden)
    going_on = replace(acting, inner_steps=LONGER * world.episodes)  # steps as long as there are episodes
    if method == "scratch":
        return gradient_learner(policy, going_on), budget(0, 0) | {"training_seconds": 0.0}
    config = acting if method == "MAML" else replace(acting, inner_steps=0, episodes=world.episodes)
    lived = config.num_tasks * (config.inner_steps + 1) * config.episodes * world.tasks.horizon
    iterations = spent.iterations or max(1, world.steps // lived)
    policy, taken = maml(world.tasks, policy, replace(config, iterations=iterations), gen, watch)
    _whole(taken, iterations)
    cost = budget(taken.steps, iterations) | {"training_seconds": watch.seconds(iterations)}
    return gradient_learner(policy, going_on), cost


def _whole(history: Any, iterations: int) -> None:
    """Half a run is not to be recorded: whoever trained has said so already."""
    if len(history.returns) < iterations:
        raise KeyboardInterrupt


def curve(world: World, learner: Learner, sample: Sample, instances: int, seed: int) -> Tensor:
    """The mean return of each episode over test tasks, `[4 K]`."""
    task = sample(instances, generator(seed))
    return returns_by_episode(world.tasks, [learner], task, LONGER * world.episodes, seed + 1)[0].double().mean(0)


def _rounded(x: Tensor) -> list[float]:
    return [round(value, 4) for value in x.tolist()]


def rate_run(name: str, method: str, rate: float, spent: Spent, folder: Path) -> dict[str, Any]:
    """One rate of one method, on validation tasks: the mean return of all K episodes."""
    world = WORLDS[name]
    learner, cost = train(world, method, rate, 100, spent)
    found = curve(world, learner, world.tasks.sample, spent.instances, VALIDATION_SEED)[: world.episodes]
    return {"score": round(found.mean().item(), 5), "curve": _rounded(found), **cost}


def best_rate(record: dict[str, Any], name: str, method: str) -> float:
    """The rate of the highest score among the recorded ones."""
    scores = {rate: record["runs"][rate_name(name, method, rate)]["score"] for rate in RATES}
    return max(scores, key=lambda rate: scores[rate])


def rate_name(name: str, method: str, rate: float) -> str:
    """A run of `versus-rates`."""
    return f"{method} on {name}, rate {rate}"


def versus_run(
    name: str, method: str, seed: int, rate_of: Callable[[str, str], float], spent: Spent, folder: Path
) -> dict[str, Any]:
    """One seed of one method, on test tasks inside and outside the range of training."""
    world, rate = WORLDS[name], rate_of(name, method)
    learner, cost = train(world, method, rate, seed, spent)
    samples = {"inside": world.tasks.sample, "outside": world.outside}
    curves = {
        where: _rounded(curve(world, learner, sample, spent.instances, spent.seed)) for where, sample in samples.items()
    }
    return {"rate": rate, "seed": seed, **curves, **cost}


def bounds_run(name: str, spent: Spent, folder: Path) -> dict[str, Any]:
    """What an episode of the same test tasks is worth to who is told the task, and to the best who learns nothing."""
    world, found = WORLDS[name], {}
    for where, sample in {"inside": world.tasks.sample, "outside": world.outside}.items():
        task = sample(spent.instances, generator(spent.seed))
        values = {"known": world.known, "blind": world.blind}
        found[where] = {key: round(value(task).mean().item(), 4) for key, value in values.items() if value is not None}
    return found


def recorded_rate(name: str, method: str) -> float:
    """The rate that the record of `versus-rates` chooses."""
    return best_rate(recorded("versus-rates"), name, method)


#: To be recorded first: `versus_run` chooses by it.
RATE_RUNS: dict[str, Run] = {
    rate_name(name, method, rate): partial(rate_run, name, method, rate)
    for name in WORLDS
    for method in METHODS
    for rate in RATES
}
VERSUS_RUNS: dict[str, Run] = {f"{name}, bounds": partial(bounds_run, name) for name in WORLDS} | {
    f"{method} on {name}, seed {seed}": partial(versus_run, name, method, seed, recorded_rate)
    for name in WORLDS
    for method in METHODS
    for seed in SEEDS
}
EXPERIMENTS: dict[str, Experiment] = {
    "versus-rates": Experiment("Rates for MAML or RL2, on validation tasks", RATE_RUNS, Spent()),
    "versus": Experiment("MAML or RL2: the same tasks, episodes and steps of training", VERSUS_RUNS, Spent()),
}
