"""The scoreboard: what every algorithm reaches of the possible, on every task whose optimum is known.

`ROWS` is the register of algorithms and `columns.COLUMNS` that of tasks: one more of either is one more entry. Each
cell is a run of the experiment `scoreboard`, seed by seed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..oracles.bandits import epsilon_greedy, greedy, in_turn, ots, thompson, ucb1
from ..oracles.bayes import bayes_optimal
from ..oracles.gittins import gittins
from ..oracles.grid import sample_once
from ..oracles.posterior import greedy as greedy_model
from ..oracles.posterior import psrl
from ..policies.belief import BeliefPolicy
from .base import Experiment
from .columns import COLUMNS, share
from .contenders import (
    Budget,
    Contender,
    ask_first,
    at_random,
    blind,
    by_actor,
    by_gradient,
    by_memory,
    by_model,
    by_record,
    by_rule,
    by_search,
    from_scratch,
    held_out,
    likelier_of_two,
    locate_and_go,
    plan_rounds,
)


@dataclass(frozen=True)
class Entry:
    """Who plays in a cell, and how many are trained."""

    play: Contender
    seeds: int = 1


# Why a cell is empty.
ELSEWHERE = "a rule for other tasks than this one"
UNKNOWN = "the Bayes optimum of random MDPs is not known"
ONE_EPISODE = "a session is one episode, and a gradient step comes after one"
NOT_PULLED = "one pull a step leaves nothing to compare it with, and the step names no arm that was not pulled"


@dataclass(frozen=True)
class Row:
    """An algorithm: who plays in the columns, and why not in others."""

    play: Entry | str  # wherever nothing else is said; a text says why nobody does
    but: dict[str, Entry | str] = field(default_factory=dict)  # by column

    def entry(self, column: str) -> Entry | str:
        """Who plays in a column, or why nobody does."""
        return self.but.get(column, self.play)


def ruled(make: Any, *given: Any) -> Entry:
    """A rule that counts."""
    return Entry(partial(by_rule, make, given=given))


def stepped(record: str = "", run: str = "", **changes: Any) -> Row:
    """An algorithm of gradient steps; on the plane by five runs that are recorded already, where they are."""
    entry = Entry(partial(by_gradient, **changes), 3)
    plane = Entry(partial(by_record, record, run), 5) if record else entry
    return Row(entry, {"eleven": NOT_PULLED, "rounds": ONE_EPISODE, "plane": plane})


def remembering(but: dict[str, Entry | str] | None = None, **changes: Any) -> Row:
    """An algorithm that trains a memory; `but` has agents that are recorded already."""
    return Row(Entry(partial(by_memory, **changes), 3), but or {})


RELATIVES, OUTER, ESTIMATORS = "maml-relatives", "maml-outer", "maml-estimators"
#: Every algorithm by its name.
ROWS: dict[str, Row] = {
    "random": Row(Entry(at_random)),
    "task-agnostic best": Row(Entry(blind), {"arms": ruled(in_turn), "pair": ruled(in_turn)}),
    "from scratch": Row(Entry(from_scratch, 3), {"eleven": NOT_PULLED, "rounds": ONE_EPISODE}),
    "MAML": stepped(RELATIVES, "maml, seed {seed}", algorithm="maml", outer="adam", inner_loss="policy_gradient"),
    "MAML, TRPO": stepped(OUTER, "trpo, seed {seed}", outer="trpo"),
    "MAML, ProMP": stepped(OUTER, "promp, seed {seed}", outer="promp", outer_lr=1e-3),
    "MAML, DiCE": stepped(ESTIMATORS, "dice, seed {seed}", inner_loss="dice"),
    "MAML, LVC": stepped(ESTIMATORS, "linearised, seed {seed}", inner_loss="linearised"),
    "E-MAML": stepped(ESTIMATORS, "e_maml, seed {seed}", algorithm="e_maml"),
    "FOMAML": stepped(RELATIVES, "fomaml, seed {seed}", algorithm="fomaml"),
    "Reptile": stepped(RELATIVES, "reptile, seed {seed}", algorithm="reptile"),
    "ANIL": stepped(RELATIVES, "anil, seed {seed}", algorithm="anil"),
    "Meta-SGD": stepped(RELATIVES, "meta_sgd, seed {seed}", algorithm="meta_sgd"),
    "RL², A2C": remembering(
        {
            "arms": Entry(partial(by_actor, "rl2-bandits", ("bandit-k5-n10",))),
            "mdps": Entry(partial(by_actor, "rl2-mdps", ("mdp-n10",))),
            # One step an iteration where PPO takes eight: more of them, and longer.
            "plane": Entry(partial(by_memory, algorithm="a2c", iterations=150, lr=1e-2, entropy=0.02), 3),
        },
        algorithm="a2c",
    ),
    "RL², PPO": remembering(
        {"grid": Entry(partial(by_actor, "gridnavi", ("gridnavi", "gridnavi-1", "gridnavi-2")), 3)},
        algorithm="ppo",
        epochs=1,
    ),
    "task inference": remembering(kind=BeliefPolicy, algorithm="ppo", epochs=1),
    "greedy": Row(
        ELSEWHERE, {"arms": ruled(greedy), "pair": ruled(greedy), "mdps": Entry(partial(by_model, greedy_model))}
    ),
    "ε-greedy": Row(ELSEWHERE, {"arms": ruled(epsilon_greedy, 0.05), "pair": ruled(epsilon_greedy, 0.05)}),
    "UCB1": Row(ELSEWHERE, {"arms": ruled(ucb1, 0.1), "pair": ruled(ucb1, 0.1)}),
    "Thompson, PSRL": Row(
        ELSEWHERE,
        {
            "arms": ruled(thompson),
            "pair": ruled(thompson),
            "grid": Entry(partial(by_search, sample_once)),
            "mdps": Entry(partial(by_model, psrl)),
        },
    ),
    "OTS": Row(ELSEWHERE, {"arms": ruled(ots, 20), "pair": ruled(ots, 20)}),
    "Gittins index": Row(ELSEWHERE, {"arms": ruled(gittins, 10, 0.9), "pair": ruled(gittins, 20, 0.95)}),
    "Bayes-optimal": Row(
        UNKNOWN,
        {
            "arms": ruled(bayes_optimal, 5, 10),
            "pair": ruled(likelier_of_two),
            "eleven": Entry(ask_first),
            "rounds": Entry(plan_rounds),
            "grid": Entry(partial(by_search, None)),
            "plane": Entry(locate_and_go),
        },
    ),
}


def cells() -> Iterator[tuple[str, str, Entry]]:
    """Row, column and entry of every cell that is not empty."""
    for name, row in ROWS.items():
        for column in COLUMNS:
            entry = row.entry(column)
            if isinstance(entry, Entry):
                yield name, column, entry


def play(row: str, column: str, seed: int, budget: Budget) -> dict[str, Any]:
    """One seed of a cell: its share of the possible with the error over tasks, and the steps of its training."""
    entry, began = ROWS[row].entry(column), time.perf_counter()
    if isinstance(entry, str):
        raise ValueError(f"{row} does not play in column {column}: {entry}.")
    score = entry.play(COLUMNS[column], seed, budget)
    value, error = share(score.returns, COLUMNS[column].bounds(held_out(COLUMNS[column], budget)))
    mean = torch.as_tensor(score.returns, dtype=torch.float64).mean().item()
    result: dict[str, Any] = {"return": round(mean, 4), "share": round(value, 5)}
    result |= {"error": None if error is None else round(error, 5), "env_steps": score.steps}
    result |= {"seconds": round(time.perf_counter() - began, 1)}
    return result | ({"source": score.source} if score.source else {})


@dataclass(frozen=True)
class Cell:
    """What is recorded of a cell, over its seeds."""

    share: float  # mean over the seeds
    error: float  # standard error, over seeds and test tasks
    luck: float  # that over the test tasks alone; 0 where each task's optimum bounds its return
    seeds: int
    steps: int  # of one training
    shares: tuple[float, ...]  # of the seeds


def summary(record: dict[str, Any]) -> dict[tuple[str, str], Cell]:
    r"""What a record says of each cell, by row and column.

    $$ \mathrm{se}^2 = \frac{s^2}{S} + \bar e^2 $$

    with the deviation s over S trained agents, and the mean of their errors over tasks e: the agents share their test
    tasks, so these errors do not average out. Some of the luck of acting is counted twice.
    """
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for key, run in record["runs"].items():
        row, column = key.rsplit(", seed ", 1)[0].rsplit(" on ", 1)
        found.setdefault((row, column), []).append(run)
    return {key: _over_seeds(runs) for key, runs in found.items()}


def _over_seeds(runs: list[dict[str, Any]]) -> Cell:
    shares = torch.tensor([run["share"] for run in runs], dtype=torch.float64)
    luck = sum(run["error"] or 0.0 for run in runs) / len(runs)
    spread = shares.std().item() / math.sqrt(len(runs)) if len(runs) > 1 else 0.0
    steps = round(sum(run["env_steps"] for run in runs) / len(runs))
    return Cell(shares.mean().item(), math.hypot(spread, luck), luck, len(runs), steps, tuple(shares.tolist()))


def _run(row: str, column: str, seed: int, budget: Budget, folder: Path) -> dict[str, Any]:
    return play(row, column, seed, budget)


EXPERIMENTS: dict[str, Experiment] = {
    "scoreboard": Experiment(
        "What every algorithm reaches of the possible, on every task whose optimum is known",
        {
            f"{row} on {column}, seed {seed}": partial(_run, row, column, seed)
            for row, column, entry in cells()
            for seed in range(entry.seeds)
        },
        Budget(),
    )
}
