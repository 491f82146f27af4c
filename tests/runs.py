"""Small runs that tests interrupt, in this process and in one of their own: `python -m tests.runs NAME FILE`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import gymnasium
import torch

from metarl_lite.algorithms.configs import MAMLConfig, RL2Config
from metarl_lite.algorithms.maml import maml
from metarl_lite.algorithms.rl2 import rl2
from metarl_lite.optim import ClippedAdam
from metarl_lite.policies.base import Policy
from metarl_lite.policies.belief import BeliefPolicy
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator, normal
from metarl_lite.state import History, State, identity
from metarl_lite.tasks.bandits import BernoulliBandit
from metarl_lite.tasks.base import TaskDistribution
from metarl_lite.tasks.gym_tasks import GymTasks
from metarl_lite.tasks.navigation import PointGoal
from metarl_lite.types import Task


@dataclass
class End:
    """Where a run ended."""

    policy: Any
    history: Any
    gen: torch.Generator


def same(one: Policy, other: Policy) -> bool:
    """Whether two policies have the same parameters, to the bit."""
    mine, others = one.params(), other.params()
    return mine.keys() == others.keys() and all(torch.equal(p, others[name]) for name, p in mine.items())


def same_end(one: End, other: End) -> bool:
    """Whether two runs have ended alike, to the bit: parameters, history, and what the generator would draw next."""
    drawn = torch.equal(one.gen.get_state(), other.gen.get_state())
    return drawn and same(one.policy, other.policy) and one.history == other.history


# --- A run of microseconds --------------------------------------------------------------------------------------------


@dataclass(repr=False)
class ToyHistory(History):
    """One number of each iteration, and a list that grows."""

    returns: list[float] = field(default_factory=list)
    lists: list[list[float]] = field(default_factory=list)


BANDIT = BernoulliBandit(2, horizon=3)


def toy(
    iterations: int = 6,
    *,
    seed: int = 0,
    tasks: TaskDistribution = BANDIT,
    leg: int = 1,
    lr: float = 0.1,
    momentum: bool = True,
    dtype: torch.dtype = torch.float32,
) -> State:
    """A run before its first iteration."""
    gen = generator(seed)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(), dtype=dtype)
    theta, config = policy.params(), {"iterations": iterations, "lr": lr}
    adam = ClippedAdam(theta, lr, 0.0, iterations, 1.0) if momentum else None
    return State(policy, theta, adam, gen, ToyHistory(), config, identity("toy", tasks, policy, gen), leg)


def toy_iteration(state: State) -> dict[str, Any]:
    """Moves along noise, which is gradient enough."""
    gradient = [normal(tuple(p.shape), state.gen, p.dtype) for p in state.theta.values()]
    norm = gradient[0].norm().item()
    if state.adam is None:
        with torch.no_grad():
            for p, g in zip(state.theta.values(), gradient, strict=True):
                p.sub_(g)
    else:
        state.adam.step(gradient)
        state.adam.end_iteration()
    return {"returns": norm, "lists": [norm] * (state.iteration % 3), "steps": 10}


# --- The algorithms ---------------------------------------------------------------------------------------------------

MAML = MAMLConfig(iterations=6, num_tasks=3, episodes=3, final_lr=0.0)
RL2 = RL2Config(iterations=6, num_tasks=3, trials=2, episodes=3, minibatches=3, final_entropy=0.01, final_discount=0.9)


def run_maml(
    *,
    outer: str = "adam",
    own: dict[str, Any] | None = None,
    seed: int = 0,
    tasks: TaskDistribution | None = None,
    hidden: tuple[int, ...] = (4,),
    changes: dict[str, Any] | None = None,
    **options: Any,
) -> End:
    """A few iterations of MAML; `own` is what an entry of `RUNS` changes, `changes` what a test does."""
    tasks, gen = tasks or PointGoal(horizon=5), generator(seed)
    config = replace(MAML, **((own or {}) | (changes or {})))
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=hidden)
    return End(*maml(tasks, policy, config, gen, outer=outer, **options), gen)


def run_rl2(
    *,
    own: dict[str, Any] | None = None,
    seed: int = 0,
    tasks: TaskDistribution | None = None,
    kind: type[GRUPolicy] = GRUPolicy,
    made: dict[str, Any] | None = None,
    changes: dict[str, Any] | None = None,
    **options: Any,
) -> End:
    """A few iterations of RL2, likewise."""
    tasks, gen = tasks or BernoulliBandit(2, horizon=1), generator(seed)
    config = replace(RL2, **((own or {}) | (changes or {})))
    policy = kind.for_tasks(tasks, gen, **({"hidden": 4} if made is None else made))
    return End(*rl2(tasks, policy, config, gen, **options), gen)


def cart_pole(name: str = "CartPole-v1", length: float = 0.5, horizon: int = 20) -> GymTasks:
    """Poles of different lengths, by way of gymnasium."""

    def set_task(env: Any, parameters: dict[str, Any]) -> None:
        env.unwrapped.length = parameters["length"]

    def sample(num_tasks: int, gen: torch.Generator) -> Task:
        return {"length": 0.5 + torch.rand(num_tasks, generator=gen)}

    default = {"length": torch.tensor(length)}
    return GymTasks(lambda: gymnasium.make(name), set_task, sample, default, horizon=horizon)


RUNS: dict[str, Callable[..., End]] = {
    "maml adam": run_maml,
    "maml trpo": partial(run_maml, outer="trpo", own={"cg_iterations": 3}),
    "maml promp": partial(run_maml, outer="promp"),
    "maml meta_sgd": partial(run_maml, own={"algorithm": "meta_sgd"}),
    "rl2 a2c": run_rl2,
    "rl2 ppo": partial(run_rl2, own={"algorithm": "ppo"}),
    "rl2 belief": partial(run_rl2, kind=BeliefPolicy, made={"code": 4, "units": 4}),
}


def main() -> None:
    """Runs, says so after each iteration, and at the end waits to be ended."""
    name, path, every = sys.argv[1:]
    torch.set_num_threads(1)
    print("begins", flush=True)
    RUNS[name](checkpoint=path, every=int(every), callback=lambda i, p, h: print(i, flush=True))
    print("ends", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
