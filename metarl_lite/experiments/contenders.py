"""The rows of the scoreboard: who plays, as functions of a column and a seed that give returns and the steps they cost.

A contender gives the return of every test task, and the environment steps of all that it was trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..algorithms.configs import MAMLConfig, RL2Config
from ..algorithms.maml import maml
from ..algorithms.rl2 import rl2
from ..evaluate.curves import adaptation_curve, trial_returns
from ..evaluate.two_step import bayes_rule, play_two_step
from ..oracles.bandits import Rule, play
from ..oracles.grid import Rule as GridRule
from ..oracles.grid import along, gridnavi_optimal_path, search_grid
from ..oracles.navigation import locate_goal
from ..oracles.posterior import Rule as ModelRule
from ..oracles.posterior import learn_mdps
from ..policies.gru import GRUPolicy
from ..policies.mlp import MLPPolicy
from ..records.actors import actor
from ..records.results import recorded, total_steps
from ..rng import generator, uniform
from ..tasks.base import TaskDistribution
from ..types import Task
from .base import TEST_SEED
from .columns import Choose, Column, Value

#: Inner rates, in units of the column's own, that learning from scratch may choose from.
RATES = (0.3, 1.0, 3.0)


@dataclass(frozen=True)
class Budget:
    """How much is spent on a cell: as its column says, unless it is cut."""

    iterations: int | None = None  # of every training; None: the column's own
    instances: int | None = None  # test tasks; None: the column's own
    test_seed: int = TEST_SEED  # of the test tasks, and one more of acting on them


class Score(NamedTuple):
    """What a contender earned, and what that cost."""

    returns: Value  # [N] of each test task; or the mean alone, where no more is recorded
    steps: int = 0  # of the environment in training, those of agents that it began with too
    source: str = ""  # the record that has it, where it was not computed here


#: A contender: `play(column, seed, budget)`.
Contender = Callable[[Column, int, Budget], Score]


def held_out(column: Column, budget: Budget) -> Task:
    """The test tasks of a column: the same for everybody."""
    return column.tasks.sample(budget.instances or column.instances, generator(budget.test_seed))


def acting(budget: Budget) -> torch.Generator:
    """The chance of acting on them."""
    return generator(budget.test_seed + 1)


# --- Without learning -------------------------------------------------------------------------------------------------


def live_through(
    tasks: TaskDistribution, task: Task, episodes: int, choose: Choose, gen: torch.Generator
) -> Tensor:  # fmt: skip
    """The returns of episodes in which actions depend on the step and the state alone, `[N, E]`."""
    count, returns = len(next(iter(task.values()))), []
    for _ in range(episodes):
        state = tasks.reset(task, tasks.draw_reset((count,), gen))
        total, alive = torch.zeros(count, dtype=tasks.dtype), torch.ones(count, dtype=torch.bool)
        for t in range(tasks.horizon):
            action = choose(t, state, gen)
            state, reward, ended = tasks.step(task, state, action, tasks.draw((count,), gen))
            total, alive = total + reward * alive, alive & ~ended  # what follows an end does not count
        returns.append(total)
    return torch.stack(returns, 1)


def blind(column: Column, seed: int, budget: Budget) -> Score:
    """The best behaviour that learns nothing."""
    task, gen = held_out(column, budget), acting(budget)
    return Score(column.counted(live_through(column.tasks, task, column.episodes, column.blind, gen)))


def at_random(column: Column, seed: int, budget: Budget) -> Score:
    """All actions equally likely, those of a continuous kind within their limits."""
    tasks, task = column.tasks, held_out(column, budget)

    def choose(t: int, state: Tensor, gen: torch.Generator) -> Tensor:
        if tasks.discrete:
            return torch.randint(tasks.action_size, state.shape[:1], generator=gen)
        return tasks.action_limit * (2 * uniform((len(state), tasks.action_size), gen, tasks.dtype) - 1)

    return Score(column.counted(live_through(tasks, task, column.episodes, choose, acting(budget))))


# --- By rules that know the family ------------------------------------------------------------------------------------


def by_rule(
    make: Callable[..., Any], column: Column, seed: int, budget: Budget, *, given: tuple[Any, ...] = ()
) -> Score:
    """A rule that counts wins and losses: `make` itself, or what it makes of what is `given`."""
    rule: Rule = make(*given) if given else make
    probabilities = held_out(column, budget)["probabilities"].double()
    return Score(play(rule, probabilities, column.episodes, acting(budget)).sum(1))


def likelier_of_two(wins: Tensor, losses: Tensor, gen: torch.Generator) -> Tensor:
    """The arm with more in its favour where $p_2 = 1 - p_1$: a win of the one is a loss of the other.

    Every pull tells equally much, so the greedy choice is the best.
    """
    return (wins + losses.flip(-1)).argmax(-1)


def by_search(rule: GridRule | None, column: Column, seed: int, budget: Budget) -> Score:
    """A rule that remembers where the goal is not; None: the path that a search has found to be the best."""
    tasks: Any = column.tasks
    rule = rule or along(gridnavi_optimal_path(tasks.size, tasks.horizon, column.episodes))
    _, rewards = search_grid(tasks, held_out(column, budget), rule, column.episodes, acting(budget))
    return Score(rewards.sum((1, 2)))


def by_model(rule: ModelRule, column: Column, seed: int, budget: Budget) -> Score:
    """A rule that counts transitions and rewards, chooses a model, and solves it, once an episode."""
    tasks: Any = column.tasks
    return Score(learn_mdps(rule, tasks, held_out(column, budget), column.episodes, acting(budget)).sum(1))


def ask_first(column: Column, seed: int, budget: Budget) -> Score:
    """Pulls the eleventh arm once, and then the arm that it names."""
    tasks, task, gen = column.tasks, held_out(column, budget), acting(budget)
    told = live_through(tasks, task, 1, lambda t, state, gen: torch.full(state.shape[:1], 10), gen)  # [N, 1]
    target = (10 * told.squeeze(1)).round().long() - 1
    rest = live_through(tasks, task, column.episodes - 1, lambda t, state, gen: target, gen)
    return Score(torch.cat([told, rest], 1).sum(1))


def plan_rounds(column: Column, seed: int, budget: Budget) -> Score:
    """Keeps, by Bayes' rule, how likely each place is to be the good one, and heads for the likelier."""
    tasks: Any = column.tasks
    seen = play_two_step(tasks, held_out(column, budget), bayes_rule(tasks), True, acting(budget), sharpness=1e6)
    return Score(seen.rewards.sum(1))


def locate_and_go(column: Column, seed: int, budget: Budget) -> Score:
    """Takes three steps of practice, solves for the goal, and walks there in the episode that counts."""
    tasks, task, gen = column.tasks, held_out(column, budget), acting(budget)
    probes = 0.1 * torch.tensor([[1.0, 0.0], [-1.0, 1.0], [0.0, -1.0]], dtype=tasks.dtype)
    state, positions, distances = torch.zeros_like(task["goal"]), [], []
    for probe in probes:
        state, reward, _ = tasks.step(task, state, probe.expand_as(state), tasks.draw((len(state),), gen))
        positions.append(state)
        distances.append(-reward)
    goal = locate_goal(torch.stack(positions, -2), torch.stack(distances, -1))
    return Score(column.counted(live_through(tasks, task, 1, lambda t, state, gen: goal - state, gen)))


# --- By gradient steps ------------------------------------------------------------------------------------------------


def adapted(column: Column, policy: MLPPolicy, config: MAMLConfig, task: Task, gen: torch.Generator) -> Tensor:
    """What counts of a trial of gradient steps: all of its episodes, or those after the last step; `[N]`."""
    plain = "maml" if config.algorithm == "e_maml" else config.algorithm  # E-MAML's inner steps are MAML's
    config = replace(config, algorithm=plain, chunk_size=1000)
    curve = adaptation_curve(column.tasks, policy, task, config, gen)
    return curve[-1] if column.last else config.episodes * curve.sum(0)


def by_gradient(
    column: Column, seed: int, budget: Budget, *, outer: str = "adam", **changes: Any
) -> Score:  # fmt: skip
    """An initialisation that is trained for the column's gradient steps; `changes` are fields of the configuration."""
    config, gen = _cut(replace(column.gradient, **changes), budget), generator(seed)
    policy = MLPPolicy.for_tasks(column.tasks, gen, hidden=column.hidden)
    policy, history = maml(column.tasks, policy, config, gen, outer=outer)
    if len(history.returns) < config.iterations:  # Ctrl-C: `maml` has said so; half a run is not to be recorded
        raise KeyboardInterrupt
    return Score(adapted(column, policy, config, held_out(column, budget), acting(budget)), history.steps)


def from_scratch(column: Column, seed: int, budget: Budget) -> Score:
    """The column's gradient steps from random parameters, with the rate that does best on 200 other tasks."""
    gen, scores = generator(seed), {}
    policy = MLPPolicy.for_tasks(column.tasks, gen, hidden=column.hidden)
    other = column.tasks.sample(200, gen)
    for rate in RATES:
        config = replace(column.gradient, inner_lr=rate * column.gradient.inner_lr)
        scores[adapted(column, policy, config, other, generator(seed + 1)).mean().item()] = config
    config = scores[max(scores)]
    steps = len(RATES) * 200 * (config.inner_steps + 1) * config.episodes * column.tasks.horizon
    return Score(adapted(column, policy, config, held_out(column, budget), acting(budget)), steps)


def by_record(record: str, run: str, column: Column, seed: int, budget: Budget) -> Score:
    """The last test of a run that is recorded already, on the same test goals; `run` names its seed by `{seed}`."""
    name, found = run.format(seed=seed), recorded(record)
    config = MAMLConfig(**found["config"])
    steps = config.iterations * config.num_tasks * (config.inner_steps + 1) * config.episodes * column.tasks.horizon
    return Score(found["runs"][name]["test_returns"][-1][-1], steps, f"{record}: {name}")


# --- By a memory ------------------------------------------------------------------------------------------------------


def remembered(column: Column, policy: GRUPolicy, budget: Budget) -> Tensor:
    """What counts of a trial with a memory, `[N]`."""
    task, gen = held_out(column, budget), acting(budget)
    return column.counted(trial_returns(column.tasks, policy, task, column.episodes, gen))


def by_memory(
    column: Column, seed: int, budget: Budget, *, kind: type[GRUPolicy] = GRUPolicy, **changes: Any
) -> Score:  # fmt: skip
    """An agent with a memory that is trained on the column's trials; `changes` are fields of the configuration."""
    config, gen = _cut(RL2Config(episodes=column.episodes, **(column.memory | changes)), budget), generator(seed)
    policy, history = rl2(column.tasks, kind.for_tasks(column.tasks, gen), config, gen)
    if len(history.returns) < config.iterations:
        raise KeyboardInterrupt
    return Score(remembered(column, policy, budget), history.steps)


def by_actor(record: str, names: tuple[str, ...], column: Column, seed: int, budget: Budget) -> Score:
    """A recorded agent, on the column's test tasks; `names` has one for each seed."""
    name = names[seed]
    policy = actor(name)
    assert isinstance(policy, GRUPolicy)
    return Score(remembered(column, policy, budget), total_steps(name), f"{record}: {name}")


def _cut(config: Any, budget: Budget) -> Any:
    return config if budget.iterations is None else replace(config, iterations=budget.iterations)
