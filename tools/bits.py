"""The computations of `tools.same_bits`, done with whatever `metarl_lite` is found: prints digests by name, as JSON.

Only names that both revisions have are used: the flat front, and for the few that are not in it, `of` tries one place
after the other.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

import metarl_lite as m
from metarl_lite import oracles

torch.set_num_threads(1)
Computation = Callable[[], Any]


def of(name: str, *modules: str) -> Any:
    """A name from the first of the modules that there is."""
    for module in modules:
        try:
            return getattr(importlib.import_module(f"metarl_lite.{module}"), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"{name} is in none of {', '.join(modules)}")


keyed = of("keyed", "policies.keyed", "recurrent")
posterior_means = of("posterior_means", "evaluate.beliefs", "probe")
r_squared = of("r_squared", "evaluate.probe", "probe")
linear_probe = of("linear_probe", "evaluate.probe", "probe")
play, thompson = of("play", "oracles.bandits"), of("thompson", "oracles.bandits")
ucb1, ots, greedy = (of(name, "oracles.bandits") for name in ("ucb1", "ots", "greedy"))
navigation = importlib.import_module("metarl_lite.oracles.navigation")
posterior = importlib.import_module("metarl_lite.oracles.posterior")


def flat(value: Any) -> Iterator[bytes]:
    """The bytes of tensors, numbers and texts, in whatever they are nested."""
    if isinstance(value, torch.Tensor):
        yield f"{tuple(value.shape)}{value.dtype}".encode()
        yield value.detach().contiguous().numpy().tobytes()
    elif isinstance(value, dict):
        for name in sorted(value):
            yield str(name).encode()
            yield from flat(value[name])
    elif isinstance(value, list | tuple):
        for part in value:
            yield from flat(part)
    elif isinstance(value, float | int | str | bool | None.__class__):
        yield repr(value).encode()
    else:
        yield from flat(vars(value))


def digest(value: Any) -> str:
    """Twelve digits that change with any bit of the value."""
    return hashlib.sha256(b"|".join(flat(value))).hexdigest()[:12]


# --- Training ---------------------------------------------------------------------------------------------------------


def maml(outer: str = "adam", discrete: bool = False, **changes: Any) -> Any:
    """A few meta-iterations."""
    tasks = m.TabularMDP(horizon=5) if discrete else m.PointGoal(horizon=20)
    gen = m.generator(0)
    policy = m.MLPPolicy.for_tasks(tasks, gen, hidden=(16,))
    config = replace(m.MAMLConfig(iterations=4, num_tasks=6, episodes=4, inner_steps=2), **changes)
    trained, history = m.maml(tasks, policy, config, gen, outer=outer)
    return trained.params(), curves(history), gen.get_state()


def rl2(tasks: Any = None, kind: Any = m.GRUPolicy, keys: bool = False, made: Any = None, **changes: Any) -> Any:
    """A few iterations of RL2."""
    tasks = tasks or m.BernoulliBandit(5, horizon=1)
    gen = m.generator(0)
    policy = kind.for_tasks(tasks, gen, **(made or {}))
    policy = keyed(policy, gen) if keys else policy
    config = replace(m.RL2Config(iterations=6, num_tasks=4, episodes=5), **changes)
    with tempfile.TemporaryDirectory() as folder:
        trained, history = m.rl2(tasks, policy, config, gen, checkpoint=Path(folder) / "run", every=4)
    return trained.params(), curves(history), gen.get_state()


def curves(history: Any) -> dict[str, list[Any]]:
    """What a history lists, iteration by iteration."""
    return {name: value for name, value in vars(history).items() if isinstance(value, list)}


def training() -> dict[str, Computation]:
    """Each training function with a seed, over its options."""
    ppo = {"algorithm": "ppo", "minibatches": 4}
    found: dict[str, Computation] = {
        f"maml {outer} {algorithm}{' discrete' if discrete else ''}": lambda o=outer, a=algorithm, d=discrete: maml(
            o, d, algorithm=a
        )
        for outer, algorithms in {
            "adam": ("maml", "fomaml", "reptile", "anil", "meta_sgd", "e_maml"),
            "trpo": ("maml", "fomaml", "anil", "meta_sgd"),
            "promp": ("maml", "fomaml", "anil", "meta_sgd"),
        }.items()
        for algorithm in algorithms
        for discrete in (False, True)
    }
    found |= {f"maml {name}": lambda c=changes: maml(**c) for name, changes in {
        "dice": {"inner_loss": "dice"}, "linearised": {"inner_loss": "linearised"}, "chunks": {"chunk_size": 4},
        "later steps": {"later_steps": 0.5, "final_lr": 0.0}, "raw": {"normalise": False, "discount": 0.9},
    }.items()}  # fmt: skip
    return found | {f"rl2 {name}": lambda c=changes: rl2(**c) for name, changes in {
        "a2c": {}, "ppo": ppo, "separate": {"made": {"separate": True, "span": 20.0}},
        "keyed": {"keys": True, "made": {"hidden": 32}}, "same luck": {"common_noise": True, "final_discount": 0.5},
        "belief": {"kind": m.BeliefPolicy}, "belief ppo": {"kind": m.BeliefPolicy, **ppo},
        "continuous": {"tasks": m.PointGoal(horizon=10)},
        "cart-pole ppo": {"tasks": m.CartPoleTasks(horizon=30), **ppo},
        "grid": {"tasks": m.GridGoal(), "critic_trains_memory": False, "reward_scale": 0.5},
        "decision processes": {"tasks": m.TabularMDP(), "common_noise": True, "normalise": False, "final_lr": None},
    }.items()}  # fmt: skip


# --- Recorded agents --------------------------------------------------------------------------------------------------


def family(agent: str) -> tuple[Any, int]:
    """The tasks that an agent was trained on, and how many episodes are scored here."""
    kind, *rest = agent.split("-")
    if kind == "bandit":
        return m.BernoulliBandit(int(rest[0][1:]), horizon=1), min(int(rest[1][1:]), 50)
    return (m.GridGoal(), 4) if kind == "gridnavi" else (m.TabularMDP(), 10)


def evaluate(agent: str) -> Any:
    """Returns of a recorded agent on fresh tasks."""
    tasks, episodes = family(agent)
    task = tasks.sample(100, m.generator(1))
    return m.trial_returns(tasks, m.actor(agent), task, episodes, m.generator(2), chunk=64)


def agents() -> dict[str, Computation]:
    """The evaluation of each recorded agent."""
    names = sorted(path.stem for path in Path(m.__file__).parent.rglob("weights/*.safetensors"))
    return {f"agent {name}": lambda n=name: evaluate(n) for name in names}


# --- Acting, judging, and what is known exactly -----------------------------------------------------------------------


def acting(tasks: Any) -> Any:
    """Episodes of a family, advantages, and a policy's loss and gradient on them."""
    gen = m.generator(3)
    policy = m.MLPPolicy.for_tasks(tasks, gen)
    task = tasks.sample(5, gen)
    params = m.tile(policy.params(), 5)
    batch = m.with_advantages(m.rollout(tasks, policy, params, task, 3, gen), normalise=True)
    adapted = m.adapt(policy, params, batch, m.policy_gradient, 0.1)
    curve = m.adaptation_curve(tasks, policy, task, m.MAMLConfig(episodes=3, inner_steps=2), gen)
    return batch, adapted, curve, m.trial(tasks, r := m.GRUPolicy.for_tasks(tasks, gen), r.params(), task, 2, gen)


def probing() -> Any:
    """A probe of an untrained memory, and intervals."""
    tasks, gen = m.BernoulliBandit(3, horizon=1), m.generator(4)
    policy = m.GRUPolicy.for_tasks(tasks, gen)
    batch = m.trial(tasks, policy, policy.params(), tasks.sample(50, gen), 10, gen)
    memory, means = policy.unroll(policy.params(), policy.inputs(batch))[0], posterior_means(batch, 3)
    probe, scores = linear_probe(memory, means), torch.rand(6, 40, generator=gen)
    # LAPACK's last digits depend on where in memory its arguments lie.
    read = probe(memory.detach()).round(decimals=9)
    share = r_squared(read, means).round(decimals=9)
    intervals = [m.bootstrap_interval(scores, gen, tasks_too=too) for too in (False, True)]
    return read, share, m.iqm(scores), m.t_interval(scores), intervals


def known() -> dict[str, Computation]:
    """Each exact answer, and what the agents that count earn with a seed."""
    gen = m.generator
    goals, mdps = m.PointGoal(), m.TabularMDP()
    grid = m.GridGoal()
    gittins = of("gittins", "oracles.gittins")
    games: dict[str, Computation] = {
        "greedy": lambda: greedy, "thompson": lambda: thompson, "ucb1": lambda: ucb1(0.2), "ots": lambda: ots(),
        "bayes": lambda: oracles.bayes_optimal(5, 8), "gittins": lambda: gittins(8, 0.9),
    }  # fmt: skip
    return {
        f"exact {name}": computation
        for name, computation in {
            "bayes-optimal": lambda: [oracles.bayes_optimal_value(k, n) for k, n in ((2, 20), (5, 10), (10, 10))],
            "two arms": lambda: oracles.bayes_optimal_two_arms(50),
            "dependent arms": lambda: [oracles.dependent_arms_regret(p, 100) for p in (None, [0.1, 0.9])],
            "gittins": lambda: [oracles.gittins_index(a, b, 0.9) for a in range(1, 4) for b in range(1, 4)],
            "gittins table": lambda: oracles.gittins_table(30, 0.99),
            "grid": lambda: [oracles.gridnavi_optimal_value(), oracles.gridnavi_known_value()],
            "path": lambda: oracles.gridnavi_optimal_path(),
            "search": lambda: oracles.search_grid(
                grid, grid.sample(100, gen(6)), of("sample_once", "oracles.grid"), 4, gen(7)
            ),
            "processes": lambda: oracles.known_mdp_value(mdps, mdps.sample(50, gen(8))),
            "psrl": lambda: oracles.learn_mdps(posterior.psrl, mdps, mdps.sample(50, gen(8)), 5, gen(9)),
            "navigation": lambda: [
                navigation.standing_still_return(), navigation.agnostic_bound(goals),
                navigation.goal_known_return(goals, goals.sample(50, gen(10))),
                navigation.probing_return(goals, goals.sample(50, gen(10))),
            ],
            "one parameter": lambda: vars(oracles.one_parameter_meta_gradient(1.0, 0.7, 2.0, 5)),
            "tabular meta-gradient": tabular_meta_gradient,
        }.items()
    } | {f"game {name}": partial(game, rule) for name, rule in games.items()}  # fmt: skip


def game(rule: Computation) -> Any:
    """What a rule earns on two hundred bandits."""
    bandits = m.BernoulliBandit(5).sample(200, m.generator(5))["probabilities"]
    return play(rule(), bandits, 8, m.generator(11))


def tabular_meta_gradient() -> Any:
    """The exact expectations of the estimators on small decision processes."""
    gen = m.generator(12)
    logits = torch.randn(2, 2, generator=gen, dtype=torch.float64)
    transitions = torch.rand(3, 2, 2, 2, generator=gen, dtype=torch.float64)
    rewards = torch.randn(3, 2, 2, generator=gen, dtype=torch.float64)
    transitions = transitions / transitions.sum(-1, keepdim=True)
    return vars(oracles.tabular_meta_gradient(logits, transitions, rewards, 2, 0.5, 2))


def computations() -> dict[str, Computation]:
    """All of them by name."""
    families = {
        "bandit": m.BernoulliBandit(), "dependent": m.DependentBandit(horizon=20), "eleven": m.ElevenArms(),
        "two-step": m.TwoStep(horizon=20), "tabular": m.TabularMDP(), "point": m.PointGoal(horizon=20),
        "grid-goal": m.GridGoal(), "cart-pole": m.CartPoleTasks(horizon=40), "pendulum": m.PendulumTasks(horizon=20),
    }  # fmt: skip
    played = {f"family {name}": lambda t=tasks: acting(t) for name, tasks in families.items()}
    return training() | agents() | played | known() | {"probe": probing}


def main() -> None:
    """Prints the digests of those whose names begin as asked for."""
    only, found = " ".join(sys.argv[1:]), {}
    for name, computation in computations().items():
        if name.startswith(only):
            try:
                found[name] = digest(computation())
            except Exception:
                found[name] = traceback.format_exc().splitlines()[-1]
            print(f"  {name}: {found[name]}", file=sys.stderr, flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
