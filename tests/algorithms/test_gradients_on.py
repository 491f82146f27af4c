"""Where gradients are taken they are on, whatever the caller has switched off, and the results are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import metarl_lite as m
from metarl_lite.experiments.base import TEST_SEED
from metarl_lite.experiments.maml import navigation_run
from metarl_lite.optim import gauss_newton_product
from metarl_lite.oracles.estimators import one_parameter_meta_gradient, tabular_meta_gradient
from metarl_lite.oracles.meta_gradient import finite_differences
from metarl_lite.types import Params

ALGORITHMS = ("maml", "fomaml", "reptile", "anil", "meta_sgd", "e_maml")
MAML = m.MAMLConfig(iterations=2, num_tasks=3, episodes=2, inner_lr=0.3)
RL2 = m.RL2Config(iterations=2, num_tasks=2, trials=2, episodes=2, minibatches=2)
PLANE, BANDIT = m.PointGoal(horizon=5), m.BernoulliBandit(3, 4)


@contextmanager
def switched_off() -> Iterator[None]:
    """As a notebook does it that wants no graphs from its first cell on."""
    torch.set_grad_enabled(False)
    try:
        yield
    finally:
        torch.set_grad_enabled(True)


MODES: list[Callable[[], Any]] = [torch.no_grad, torch.inference_mode, switched_off]


def feedforward() -> m.MLPPolicy:
    return m.MLPPolicy.for_tasks(PLANE, m.generator(0), hidden=(4,))


def maml(outer: str = "adam", **changes: Any) -> Params:
    """What training makes of a policy that is made on the spot, on a family that is."""
    tasks = m.PointGoal(horizon=5)
    policy = m.MLPPolicy.for_tasks(tasks, m.generator(0), hidden=(4,))
    return m.maml(tasks, policy, replace(MAML, **changes), m.generator(1), outer=outer)[0].params()


def pooled() -> Params:
    """From a pool of tasks, so that what the caller sampled is played on."""
    pool = m.FiniteTasks(PLANE, PLANE.sample(4, m.generator(3)))
    return m.maml(pool, feedforward(), MAML, m.generator(1))[0].params()


def rl2(kind: Any, algorithm: str) -> Params:
    policy = kind.for_tasks(BANDIT, m.generator(0))
    return m.rl2(BANDIT, policy, replace(RL2, algorithm=algorithm), m.generator(1))[0].params()  # type: ignore[no-any-return]


def played() -> tuple[m.MLPPolicy, Params, m.Rollout]:
    policy, gen = feedforward(), m.generator(2)
    params = m.tile(policy.params(), 3)
    return policy, params, m.with_advantages(m.rollout(PLANE, policy, params, PLANE.sample(3, gen), 4, gen))


def one_step() -> Params:
    policy, params, batch = played()
    return m.adapt(policy, params, batch, m.policy_gradient, 0.3)


def looped() -> Params:
    policy, gen = feedforward(), m.generator(2)
    noise = [m.draw_noise(PLANE, policy, 3, 2, gen) for _ in range(3)]
    task = PLANE.sample(3, gen)
    adapted = m.inner_loop(PLANE, policy, m.tile(policy.params(), 3), task, MAML, noise[:2])[0]
    gradient, returns = m.meta_gradient(PLANE, policy, policy.params(), task, replace(MAML, inner_steps=2), noise)
    return adapted | {f"gradient/{name}": g for name, g in gradient.items()} | {"returns": returns}


def curve() -> Params:
    config = replace(MAML, inner_steps=2, chunk_size=2)
    return {"": m.adaptation_curve(PLANE, feedforward(), PLANE.sample(3, m.generator(4)), config, m.generator(5))}


def exact() -> Params:
    task = m.TabularMDP(2, 2, 2, reward_noise=0).sample(2, m.generator(0))
    found = tabular_meta_gradient(torch.zeros(2, 2), task["transitions"], task["rewards"], 2, 0.5)
    one = one_parameter_meta_gradient(1.0, 0.5, 2.0, 5)
    slopes = finite_differences(
        lambda p: torch.autograd.grad(p["x"].pow(3).sum(), p["x"])[0].sum(), {"x": torch.ones(2)}
    )
    return {"exact": found.exact_sampled, "plain": found.plain, "one": torch.tensor(one.exact_sampled)} | slopes


def curvature() -> Params:
    policy, params, batch = played()
    old = {name: p.detach() for name, p in policy.distribution(params, batch.observations).items()}
    product = gauss_newton_product(
        lambda theta: policy.distribution(theta, batch.observations), lambda new: policy.kl(old, new).mean(), params
    )
    return {"": product(torch.ones(sum(p.numel() for p in params.values())))}


def recorded() -> Params:
    config = replace(MAML, iterations=1, num_tasks=2, episodes=1)
    run = navigation_run(0, config, Path(), every=1, test_seed=TEST_SEED)
    return {"": torch.tensor(run["test_returns"])}


WORK: dict[str, Callable[[], Params]] = {
    **{name: (lambda name=name: maml(algorithm=name)) for name in ALGORITHMS},
    "trpo": lambda: maml("trpo"),
    "promp": lambda: maml("promp"),
    "a pool": pooled,
    "a2c": lambda: rl2(m.GRUPolicy, "a2c"),
    "ppo": lambda: rl2(m.GRUPolicy, "ppo"),
    "belief": lambda: rl2(m.BeliefPolicy, "a2c"),
    "adapt": one_step,
    "inner loop and meta-gradient": looped,
    "adaptation curve": curve,
    "oracles": exact,
    "curvature": curvature,
    "an experiment": recorded,
}


@pytest.mark.parametrize("work", WORK)
def test_the_same_bits_with_gradients_off(work: str) -> None:
    outside = WORK[work]()
    for mode in MODES:
        with mode():
            inside = WORK[work]()
        assert inside.keys() == outside.keys()
        for name, x in outside.items():
            assert torch.equal(inside[name], x), (mode, name)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_made_with_gradients_off_is_learned_from_afterwards(mode: Callable[[], Any]) -> None:
    """Collected under no_grad or inference_mode, trained on outside, which is how most people write it."""
    policy, params, batch = played()
    (expected,) = torch.autograd.grad(m.policy_gradient(policy, params, batch).sum(), params["w0"])
    with mode():
        own, given, seen = played()
        theta = own.params()
    loss = m.policy_gradient(own, m.tile(theta, 3), seen).sum()
    loss.backward()
    assert theta["w0"].grad is not None
    torch.testing.assert_close(theta["w0"].grad, expected.sum(0))
    moved = m.adapt(own, given, seen, m.policy_gradient, 0.3)
    assert all(
        torch.equal(p, moved[name]) for name, p in m.adapt(policy, params, batch, m.policy_gradient, 0.3).items()
    )
    with mode():
        memory = m.GRUPolicy.for_tasks(BANDIT, m.generator(0), hidden=4)
        trials = m.trial(BANDIT, memory, memory.params(), BANDIT.sample(2, m.generator(0)), 2, m.generator(1))
    assert not any(x.is_inference() for x in (trials.rewards, trials.observations, trials.mask))


@pytest.mark.parametrize("mode", MODES)
def test_the_callers_own_setting_comes_back(mode: Callable[[], Any]) -> None:
    seen = []
    with mode():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        m.maml(PLANE, feedforward(), MAML, m.generator(1), lambda *_: seen.append(torch.is_grad_enabled()))
        curve()
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
        with pytest.raises(ValueError, match="rate"):
            m.adapt(*played(), m.policy_gradient, "fast")  # type: ignore[arg-type]
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    assert seen == [True, True]


@pytest.mark.parametrize("mode", MODES)
def test_views_that_lost_their_graph_are_parameters_all_the_same(mode: Callable[[], Any]) -> None:
    """torch says of a view made under no_grad that it requires a gradient; none reaches it."""
    policy, _, batch = played()
    theta = policy.params()
    with mode():
        params = {name: p.expand(3, *p.shape) for name, p in theta.items()}
    for name, p in one_step().items():
        assert torch.equal(m.adapt(policy, params, batch, m.policy_gradient, 0.3)[name], p)
