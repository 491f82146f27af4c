"""What an inner step moves, by how much, and what the outer gradient sees of it, against finite differences."""

from __future__ import annotations

import dataclasses
import importlib
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metarl_lite.algorithms.configs import ALGORITHMS, MAMLConfig
from metarl_lite.algorithms.inner import Rates, adapt, inner_loop, last_layer_rate, learned_rates, sample, step_sizes
from metarl_lite.algorithms.maml import maml, meta_gradient
from metarl_lite.algorithms.outer import readapt
from metarl_lite.checkpoint import load, save
from metarl_lite.evaluate.curves import adaptation_curve
from metarl_lite.losses import LOSSES, dice, linearised, policy_gradient
from metarl_lite.oracles.meta_gradient import finite_differences
from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.returns import with_advantages
from metarl_lite.rng import generator, normal
from metarl_lite.rollout import draw_noise, rollout
from metarl_lite.tasks.bandits import BernoulliBandit
from metarl_lite.tasks.base import TaskDistribution
from metarl_lite.tasks.navigation import PointGoal
from metarl_lite.types import Diverged, Params, Rollout

inner_module = importlib.import_module("metarl_lite.algorithms.inner")
F64 = torch.float64
FAMILIES: dict[str, TaskDistribution] = {
    "continuous": PointGoal(horizon=6, dtype=F64),
    "bandit": BernoulliBandit(num_arms=3, horizon=6, dtype=F64),
}


def small(family: str, config: MAMLConfig, seed: int = 0) -> tuple[MLPPolicy, Params, list[Rollout]]:
    """A policy of two hidden layers, its parameters, and fixed batches for three tasks."""
    tasks, gen = FAMILIES[family], generator(seed)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(3, 3))
    theta = {name: p + 0.1 * normal(tuple(p.shape), gen, F64) for name, p in policy.params().items()}  # biases too
    policy = policy.replace({name: p.detach() for name, p in theta.items()})
    if config.algorithm == "meta_sgd":
        policy = policy.with_rates(config.inner_lr)
        for p in list(policy._params)[-3:]:  # rates that differ, or one could stand for another
            policy._params[p] = policy._params[p] * (1 + normal(tuple(policy._params[p].shape), gen, F64))
    task, theta = tasks.sample(3, gen), policy.params()
    noise = [draw_noise(tasks, policy, 3, config.episodes, gen) for _ in range(config.inner_steps + 1)]
    return policy, theta, [sample(tasks, policy, tile(theta, 3), task, config, drawn) for drawn in noise]


# --- the rates --------------------------------------------------------------------------------------------------------


def test_the_rates_of_each_algorithm() -> None:
    policy = MLPPolicy.for_tasks(FAMILIES["continuous"], generator(0), hidden=(3, 3))
    params = policy.params()
    everything = dict.fromkeys(params, 0.3)
    for algorithm in ALGORITHMS:
        if algorithm not in ("anil", "meta_sgd"):
            assert step_sizes(params, MAMLConfig(algorithm=algorithm, inner_lr=0.3)) == everything
    assert step_sizes(params, MAMLConfig(algorithm="anil", inner_lr=0.3)) == {"w2": 0.3, "b2": 0.3}
    carried = policy.with_rates(0.1).params()
    rates = step_sizes(carried, MAMLConfig(algorithm="meta_sgd", inner_lr=0.3))
    assert set(rates) == set(params)
    for name, rate in rates.items():
        assert rate is carried[f"lr_{name}"]  # what the policy carries, not what the configuration says
        assert torch.equal(carried[f"lr_{name}"], torch.full_like(params[name], 0.1))


def test_the_last_layer_is_found_by_number_and_not_by_name() -> None:
    params = {f"w{i}": torch.zeros(1) for i in (0, 9, 10, 2)}
    assert set(last_layer_rate(params, 0.1)) == {"w10", "b10"}


def test_learned_rates_of_a_policy_without_any_are_refused_with_the_remedy() -> None:
    policy = MLPPolicy.for_tasks(FAMILIES["continuous"], generator(0))
    with pytest.raises(ValueError, match=r"no learned rates of w0, b0.*with_rates\(0\.1\)"):
        learned_rates(policy.params(), 0.1)


def test_a_rate_for_each_parameter_by_hand() -> None:
    """A rate may be a number, one for each entry, or absent; each task has its own step."""
    params = {name: p.requires_grad_() for name, p in {
        "a": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "b": torch.tensor([[5.0], [6.0]]), "c": torch.ones(2, 1),
    }.items()}  # fmt: skip
    rates: Rates = {"a": torch.tensor([[0.1, 0.2], [0.3, 0.4]]), "b": 0.5}

    def loss_fn(policy: Any, given: Params, batch: Any) -> Tensor:
        return (given["a"] ** 2).sum(1) + (given["b"] ** 2).sum(1) * given["c"].squeeze(1)

    moved = adapt(None, params, None, loss_fn, rates)  # type: ignore[arg-type]
    torch.testing.assert_close(moved["a"], torch.tensor([[0.8, 1.2], [1.2, 0.8]]))  # a (1 - 2 rate)
    assert moved["b"].tolist() == [[0.0], [0.0]]
    assert moved["c"] is params["c"]
    # The step is through a graph: d sum(b') / dc = -2 rate b.
    assert torch.autograd.grad(moved["b"].sum(), params["c"])[0].tolist() == [[-5.0], [-6.0]]


def one_step(**changes: Any) -> Params:
    """An inner step of a small policy, with some argument changed."""
    policy, theta, (batch, _) = small("continuous", MAMLConfig(episodes=2))
    given = {
        "policy": policy,
        "params": tile(theta, 3),
        "batch": batch,
        "loss_fn": policy_gradient,
        "lr": 0.5,
    } | changes
    return adapt(**given)


def check_equal(found: Params, expected: Params) -> None:
    assert found.keys() == expected.keys()
    for name, p in expected.items():
        assert torch.equal(found[name], p), name


PG = policy_gradient
WRONG_LOSSES: dict[str, Any] = {
    "a mean over tasks": lambda policy, params, batch: PG(policy, params, batch).mean(),
    "[N, 1]": lambda policy, params, batch: PG(policy, params, batch).unsqueeze(1),
    "[N, E]": lambda policy, params, batch: policy.log_prob(params, batch.observations, batch.actions).mean(-1),
    "[1]": lambda policy, params, batch: PG(policy, params, batch).mean(0, keepdim=True),
    "a number": lambda policy, params, batch: 1.0,
    "nothing": lambda policy, params, batch: None,
    "numpy": lambda policy, params, batch: PG(policy, params, batch).detach().numpy(),
    "two": lambda policy, params, batch: (PG(policy, params, batch), {}),
}


@pytest.mark.parametrize("case", WRONG_LOSSES)
def test_a_loss_is_one_number_for_each_task(case: str) -> None:
    """A mean over tasks would divide the inner rate by N, without a word."""
    with pytest.raises(ValueError, match=r"the loss gave .*\[N\] = \[3\] is needed: one number for each task"):
        one_step(loss_fn=WRONG_LOSSES[case])


@pytest.mark.parametrize(
    ("loss_fn", "words"),
    [
        (lambda policy, params, batch: torch.ones(3, dtype=torch.long), r"of type torch\.int64: real numbers"),
        (lambda policy, params, batch: PG(policy, params, batch).detach(), r"carries no gradient: look for \.detach"),
        (lambda policy, params, batch: PG(policy, tile(policy.params(), 3), batch), r"uses none of the parameters"),
        ("policy_gradient", r"loss_fn = 'policy_gradient': a function is needed"),
    ],
)
def test_a_loss_depends_on_the_parameters_that_it_is_given(loss_fn: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        one_step(loss_fn=loss_fn)


def test_a_mean_over_tasks_is_refused_by_one_task_as_well() -> None:
    params = {"x": torch.ones(1, 2, requires_grad=True)}
    with pytest.raises(ValueError, match=r"\[N\] = \[1\] is needed"):
        adapt(None, params, None, lambda policy, given, batch: given["x"].mean(), 0.1)  # type: ignore[arg-type]


RATES: list[Any] = [
    np.float32(0.5), np.float64(0.5), torch.tensor(0.5), torch.tensor(0.5, dtype=F64), Fraction(1, 2), np.array(0.5),
    {"w0": np.float32(0.5), "b0": [0.5] * 3, "w1": torch.full((3, 1, 1), 0.5), "b1": np.full(3, 0.5), "w2": 0.5,
     "b2": torch.full((3, 2), 0.5), "log_std": torch.tensor([0.5, 0.5])},
]  # fmt: skip


@pytest.mark.parametrize("lr", RATES)
def test_a_rate_is_a_number_of_any_library_or_a_tensor_that_fits(lr: Any) -> None:
    check_equal(one_step(lr=lr), one_step())


@pytest.mark.parametrize(
    ("lr", "words"),
    [
        ({"w9": 0.1, "w0": 0.1}, r"lr names 'w9', but the parameters are 'w0', 'b0', 'w1'"),
        ({}, r"lr = \{\} moves no parameter"),
        ({"b0": torch.ones(2)}, r"the rate of 'b0' has shape \[2\], which does not fit \[3, 3\]"),
        ({"b0": torch.ones(2, 3, 3)}, r"the rate of 'b0' has shape \[2, 3, 3\], which does not fit \[3, 3\]"),
        (torch.ones(7), r"the rate of 'w0' has shape \[7\]"),
        (True, r"the rate of 'w0' is True: a finite number"),
        ("0.1", r"the rate of 'w0' is '0\.1': a finite number"),
        (None, r"the rate of 'w0' is None: a finite number"),
        (float("nan"), r"the rate of 'w0' is nan: a finite number"),
        (10**400, r"the rate of 'w0' is 1000.*: a finite number is needed"),
        (torch.tensor(float("nan")), r"the rate of 'w0' holds nan: its numbers must be finite"),
        ({"b1": torch.tensor([0.1, float("nan"), 0.1])}, r"the rate of 'b1' holds nan"),
        ({"w0": ["a"]}, r"the rate of 'w0' are a list of 1"),
    ],
)
def test_a_rate_that_does_not_fit_is_named(lr: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        one_step(lr=lr)


def distance(policy: Any, given: Params, batch: Any) -> Tensor:
    """How far `x` `[N, 3]` is from 0: a loss of 0 there, without a slope."""
    return given["x"].square().sum(1).sqrt()


def descend(x: Tensor, lr: Any, loss_fn: Any = distance) -> Tensor:
    return adapt(None, {"x": x, "apart": torch.ones(len(x), 1)}, None, loss_fn, lr)["x"]  # type: ignore[arg-type]


def test_a_gradient_that_is_not_finite_is_named_where_the_loss_is() -> None:
    x = torch.tensor([[3.0, 0, 4], [0, 0, 0]], requires_grad=True)
    assert distance(None, {"x": x}, None).tolist() == [5, 0]
    with pytest.raises(Diverged, match=r"the gradient in 'x' holds nan where the loss is finite: .*no slope at 0"):
        descend(x, 0.1)
    with pytest.raises(Diverged, match=r"the gradient in 'x' holds nan"):
        descend(x, {"x": torch.full((2, 3), 0.1)})


def test_a_learned_rate_that_is_not_finite_has_diverged() -> None:
    """Training keeps its last good policy; a rate that somebody gives is refused."""
    x = torch.ones(2, 3, requires_grad=True)
    rate = torch.tensor([0.1, float("nan"), 0.1])
    with pytest.raises(ValueError, match=r"the rate of 'x' holds nan: its numbers must be finite"):
        descend(x, {"x": rate})
    with pytest.raises(Diverged, match=r"the rate of 'x' holds nan: its numbers must be finite"):
        descend(x, {"x": rate.requires_grad_()})


def test_a_step_beyond_what_numbers_can_be_is_named() -> None:
    x = torch.full((2, 3), 1e3, requires_grad=True)
    with pytest.raises(Diverged, match=r"a step of 'x' leads beyond what torch.float32 holds: try a learning rate"):
        descend(x, 1e37, lambda policy, given, batch: given["x"].square().sum(1))


@pytest.mark.parametrize("lr", [1e39, -1e39, torch.tensor(1e39, dtype=F64), [1e39] * 3])
def test_a_rate_beyond_what_its_parameters_can_be_is_named(lr: Any) -> None:
    """In 64 bits it is a rate like any other."""
    x = torch.ones(2, 3, requires_grad=True)
    with pytest.raises(ValueError, match=r"the rate of 'x' (is -?1e\+39: .* one that torch.float32 holds|holds inf)"):
        descend(x, {"x": lr})
    assert descend(x.double(), {"x": lr}).isfinite().all()


def test_large_numbers_whose_sum_is_none_are_numbers_all_the_same() -> None:
    x = torch.full((2, 3), 1.1e38, requires_grad=True)
    assert descend(x, 1.0, lambda policy, given, batch: given["x"].mean(1) / 9).isfinite().all()


@pytest.mark.parametrize("transform", ["grad", "vmap"])
def test_under_a_transform_nothing_is_said_of_a_gradient(transform: str) -> None:
    x = torch.zeros(2, 3)
    if transform == "grad":
        found = torch.func.grad(lambda y: descend(y, 0.1).sum())(x)
    else:
        found = torch.func.vmap(lambda y: descend(y, 0.1))(x.expand(4, 2, 3))
    assert found.isnan().all()


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_parameters_that_have_no_gradient_are_named(dtype: torch.dtype) -> None:
    policy = MLPPolicy.for_tasks(PointGoal(), generator(0), hidden=(3,))
    whole = {name: p.detach().to(dtype) for name, p in tile(policy.params(), 3).items()}
    with pytest.raises(ValueError, match=rf"parameter 'w0' is of type {dtype}, which has no gradient: convert it with"):
        one_step(params=whole)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_one_step_alone_has_no_advantage_over_others(algorithm: str) -> None:
    """Normalised it is 0, whatever it was, and so are all gradients."""
    tasks = BernoulliBandit(2, horizon=1)
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=(3,))
    config = MAMLConfig(iterations=1, num_tasks=2, episodes=1, algorithm=algorithm)
    with pytest.raises(
        ValueError, match=r"episodes = 1 of bernoulli-bandit, whose horizon is 1: .*set episodes=20, say, or"
    ):
        maml(tasks, policy, config, generator(0))
    with pytest.raises(ValueError, match=r"episodes = 1 of bernoulli-bandit"):
        adaptation_curve(
            tasks, policy, tasks.sample(2, generator(0)), dataclasses.replace(config, algorithm="maml"), generator(0)
        )
    for change in ({"normalise": False}, {"episodes": 2}):
        history = maml(tasks, policy, dataclasses.replace(config, **change), generator(0))[1]
        assert len(history.grad_norm) == 1
    maml(BernoulliBandit(2, horizon=2), policy, config, generator(0))


def test_a_rate_of_another_precision_does_not_change_that_of_the_parameters() -> None:
    params = {"x": torch.ones(2, 3, requires_grad=True)}
    rates: Rates = {"x": torch.full((2, 3), 0.5, dtype=F64)}
    moved = adapt(None, params, None, lambda policy, given, batch: (given["x"] ** 2).sum(1), rates)  # type: ignore[arg-type]
    assert moved["x"].dtype == torch.float32
    assert not moved["x"].any()


@pytest.mark.parametrize("params", [None, [], {}, {"w0": 1.0}, {"w0": torch.tensor(1.0)}, "untiled"])
def test_parameters_are_one_set_for_each_task(params: Any) -> None:
    theta = small("continuous", MAMLConfig(episodes=2))[1]
    with pytest.raises(ValueError, match=r"tile\(policy\.params\(\), num_tasks\)"):
        one_step(params=theta if params == "untiled" else params)


def test_torchs_own_dict_of_parameters_is_adapted_like_any_other() -> None:
    given = tile(small("continuous", MAMLConfig(episodes=2))[1], 3)
    check_equal(one_step(params=torch.nn.ParameterDict(given)), one_step())


def test_a_frozen_layer_stays_and_the_others_move_as_they_do_without_it() -> None:
    _, theta, _ = small("continuous", MAMLConfig(episodes=2))
    theta["w0"].requires_grad_(False)
    moved, plain = one_step(params=tile(theta, 3)), one_step()
    assert torch.equal(moved["w0"], tile(theta, 3)["w0"])
    check_equal({n: p for n, p in moved.items() if n != "w0"}, {n: p for n, p in plain.items() if n != "w0"})
    with pytest.raises(ValueError, match=r"moves no parameter: name one that requires a gradient"):
        one_step(params=tile(theta, 3), lr={"w0": 0.1})


def test_parameters_from_a_file_move(tmp_path: Path) -> None:
    """They require no gradient, and are not frozen for all that."""
    _, theta, _ = small("continuous", MAMLConfig(episodes=2))
    save(theta, tmp_path / "theta")
    check_equal(one_step(params=tile(load(tmp_path / "theta"), 3)), one_step())


def test_what_a_loss_does_not_use_stays() -> None:
    given = tile(small("continuous", MAMLConfig(episodes=2))[1], 3)
    moved = one_step(params=given, loss_fn=lambda policy, params, batch: params["w1"].square().sum((1, 2)))
    assert torch.equal(moved["w1"], given["w1"] - 0.5 * (2 * given["w1"]))
    assert all(moved[name] is p for name, p in given.items() if name != "w1")


@pytest.mark.parametrize("loss_fn", [policy_gradient, dice, linearised])
@pytest.mark.parametrize("name", ["w0", "b1", "log_std"])
def test_a_step_is_the_same_under_every_transform_of_torch(loss_fn: Any, name: str) -> None:
    """One leaf under the transform, the others apart from it: the return after a step, and its derivatives."""
    gen = generator(3)
    tasks = PointGoal(horizon=4, dtype=torch.float64)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(3,))
    theta = policy.params()
    batch = with_advantages(rollout(tasks, policy, tile(theta, 2), tasks.sample(2, gen), 3, gen))
    fixed = {n: p.detach() for n, p in theta.items()}

    def after(w: Tensor, others: Params = fixed) -> Tensor:
        adapted = adapt(policy, tile(others | {name: w}, 2), batch, loss_fn, 0.1)
        return loss_fn(policy, adapted, batch).mean()

    at, close = theta[name], partial(torch.testing.assert_close, rtol=1e-9, atol=1e-9)
    value = after(at, theta)
    (slope,) = torch.autograd.grad(value, at)
    curvature = torch.autograd.functional.hessian(lambda w: after(w, theta), at.detach())
    still = at.detach()
    # those of `theta` require gradients of autograd, which no transform looks at; those of `fixed` do not
    for others in (theta, fixed):
        found, again = torch.func.grad_and_value(after)(still, others)
        close(again.detach(), value.detach())
        close(found.detach(), slope)
    tangent = torch.randn(still.shape, generator=gen, dtype=torch.float64)
    close(torch.func.jvp(after, (still,), (tangent,))[1], (slope * tangent).sum())
    close(torch.func.jacrev(after)(still), slope)
    close(torch.func.jacfwd(after)(still), slope)
    close(torch.func.hessian(after)(still), curvature)
    two = torch.stack([still + 0.1, still])
    close(torch.vmap(after)(two)[1], value.detach())
    close(torch.vmap(torch.func.grad(after))(two)[1], slope)


def test_a_first_order_step_is_a_constant_under_transforms_too() -> None:
    policy = MLPPolicy(1, 1, generator(0), hidden=())
    batch = Rollout(*(torch.zeros(1) for _ in range(6)))

    def after(w: Tensor, create_graph: bool) -> Tensor:
        params = {"w0": w.reshape(1, 1, 1)}
        adapted = adapt(policy, params, batch, lambda policy, params, batch: params["w0"].pow(4).sum((1, 2)), 0.1,
                        create_graph)  # fmt: skip
        return adapted["w0"].sum()

    w = torch.tensor(2.0, dtype=torch.float64)
    assert torch.func.grad(lambda w: after(w, True))(w).item() == pytest.approx(1 - 0.1 * 12 * 4)
    assert torch.func.grad(lambda w: after(w, False))(w).item() == 1


def test_a_frozen_layer_and_one_that_is_not_used_have_no_meta_gradient() -> None:
    tasks, config = FAMILIES["continuous"], MAMLConfig(episodes=2, inner_steps=1)
    policy, theta, _ = small("continuous", config)
    task, gen = tasks.sample(3, generator(1)), generator(2)
    noise = [draw_noise(tasks, policy, 3, 2, gen) for _ in range(2)]
    plain, _ = meta_gradient(tasks, policy, theta, task, config, noise)
    loaded, _ = meta_gradient(tasks, policy, {n: p.detach() for n, p in theta.items()}, task, config, noise)
    check_equal(loaded, plain)
    frozen = {name: p.detach().requires_grad_(name != "w0") for name, p in theta.items()}
    found, _ = meta_gradient(tasks, policy, frozen, task, config, noise)
    assert not found["w0"].any()
    assert all(found[name].any() for name in theta if name != "w0")
    policy._params["unused"] = torch.ones(2, dtype=F64)
    theta = policy.params()
    for algorithm in ("maml", "fomaml", "reptile", "e_maml"):
        changed = dataclasses.replace(config, algorithm=algorithm)
        found, _ = meta_gradient(tasks, policy, theta, task, changed, noise)
        assert not found["unused"].any(), algorithm
    for outer in ("adam", "trpo", "promp"):
        trained, _ = maml(tasks, policy, dataclasses.replace(config, iterations=1), generator(0), outer=outer)
        assert torch.equal(trained.params()["unused"], torch.ones(2, dtype=F64)), outer


def test_rates_that_a_policy_does_not_carry_for_every_parameter_are_refused() -> None:
    params = small("continuous", MAMLConfig(algorithm="meta_sgd", episodes=2))[1]
    del params["lr_b1"]
    with pytest.raises(ValueError, match=r"no learned rates of b1: "):
        learned_rates(params, 0.1)
    with pytest.raises(ValueError, match=r"no layers w0, w1"):
        last_layer_rate({"weight": torch.ones(1), "": torch.ones(1)}, 0.1)


# --- ANIL and Meta-SGD ------------------------------------------------------------------------------------------------


def check_only_the_last_layer_moves(adapted: Any) -> None:
    """In the inner step; the outer gradient reaches every layer, through the step as well."""
    for steps in (1, 3):
        config = MAMLConfig(algorithm="anil", inner_steps=steps, episodes=4)
        policy, theta, batches = small("continuous", config)
        params = adapted(policy, theta, batches[:-1], config)
        for name, p in params.items():
            assert torch.equal(p, tile(theta, 3)[name]) == (name not in ("w2", "b2")), name
        grads = torch.autograd.grad(policy_gradient(policy, params, batches[-1]).mean(), list(theta.values()))
        for name, g in zip(theta, grads, strict=True):
            assert (g != 0).any(), name


def adapted(policy: MLPPolicy, theta: Params, support: list[Rollout], config: MAMLConfig) -> Params:
    return readapt(policy, theta, support, config, create_graph=True)


def check_finite_differences(adapted: Any, algorithm: str, steps: int = 1, family: str = "continuous") -> None:
    """The outer gradient, with the episodes held fixed, in every parameter: the carried rates are some of them.

    The rates are small: three steps at four times of them run away, to a loss of 66 000, and differences drown.
    """
    config = MAMLConfig(algorithm=algorithm, inner_steps=steps, inner_lr=0.05, episodes=4)
    policy, theta, batches = small(family, config)

    def loss(params: Params) -> Tensor:
        return policy_gradient(policy, adapted(policy, params, batches[:-1], config), batches[-1]).mean()

    grads = torch.autograd.grad(loss(theta), list(theta.values()), allow_unused=True)
    slopes = finite_differences(loss, theta)
    for (name, slope), g in zip(slopes.items(), grads, strict=True):
        assert g is not None, name
        torch.testing.assert_close(g, slope, rtol=1e-5, atol=1e-8, msg=name)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_inner_step_of_anil(steps: int) -> None:
    check_only_the_last_layer_moves(adapted)
    check_finite_differences(adapted, "anil", steps)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_of_learned_rates_equals_finite_differences(family: str, steps: int) -> None:
    check_finite_differences(adapted, "meta_sgd", steps, family=family)


def test_with_equal_rates_meta_sgd_takes_the_step_of_maml() -> None:
    config = MAMLConfig(inner_steps=2, episodes=4, inner_lr=0.2)
    policy, theta, batches = small("continuous", config)
    plain = adapted(policy, theta, batches[:-1], config)
    carrying = policy.with_rates(0.2)
    carried = adapted(carrying, carrying.params(), batches[:-1], dataclasses.replace(config, algorithm="meta_sgd"))
    for name, p in plain.items():
        torch.testing.assert_close(carried[name], p, rtol=0, atol=1e-14)
    assert set(carried) == set(plain) | {f"lr_{name}" for name in plain}


def test_rates_are_learned_and_saved_with_the_policy() -> None:
    tasks = PointGoal(horizon=10)
    start = MLPPolicy.for_tasks(tasks, generator(0), hidden=(4,))
    config = MAMLConfig(iterations=3, num_tasks=4, episodes=4, algorithm="meta_sgd", inner_lr=0.1)
    trained, _ = maml(tasks, start, config, generator(1))
    assert not start.has_rates
    assert trained.has_rates
    for name, p in trained.params().items():
        if name.startswith("lr_"):
            assert (p != 0.1).any(), name
            assert len(p.unique()) > 1 or p.numel() == 1, f"{name}: every weight has a rate of its own"
    again, _ = maml(tasks, trained, config, generator(2))  # goes on from the rates that it is given
    for name, p in again.params().items():
        moved = (p - trained.params()[name]).abs().max()
        assert 0 < moved < 0.02, name  # three steps of Adam move a number by about 3 outer_lr = .009


def test_an_adaptation_curve_uses_the_carried_rates() -> None:
    tasks, config = FAMILIES["continuous"], MAMLConfig(algorithm="meta_sgd", inner_steps=2, episodes=4)
    plain = MLPPolicy.for_tasks(tasks, generator(0), hidden=(4,))
    test = tasks.sample(5, generator(1))

    def curve(policy: MLPPolicy, **options: Any) -> Tensor:
        return adaptation_curve(tasks, policy, test, dataclasses.replace(config, **options), generator(2))

    torch.testing.assert_close(curve(plain.with_rates(0.1)), curve(plain, algorithm="maml", inner_lr=0.1))
    assert not torch.equal(curve(plain.with_rates(0.1)), curve(plain.with_rates(0.2)))
    standing = curve(plain.with_rates(0.0))
    assert torch.equal(standing, curve(plain, algorithm="maml", inner_lr=1e-300))
    torch.testing.assert_close(curve(plain.with_rates(0.1), chunk_size=2), curve(plain.with_rates(0.1)))


def test_a_curve_of_learned_rates_from_a_policy_without_any_says_what_to_do() -> None:
    tasks = FAMILIES["continuous"]
    policy, test = MLPPolicy.for_tasks(tasks, generator(0)), tasks.sample(2, generator(1))
    with pytest.raises(ValueError, match=r"no learned rates"):
        adaptation_curve(tasks, policy, test, MAMLConfig(algorithm="meta_sgd"), generator(2))


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "meta_sgd"])
def test_a_policy_with_rates_is_refused_by_other_algorithms(algorithm: str) -> None:
    tasks = FAMILIES["continuous"]
    policy = MLPPolicy.for_tasks(tasks, generator(0)).with_rates(0.1)
    with pytest.raises(ValueError, match=rf"carries learned rates.*algorithm = '{algorithm}'.*meta_sgd"):
        maml(tasks, policy, MAMLConfig(iterations=1, algorithm=algorithm), generator(0))


def test_learned_rates_without_a_step_to_learn_them_from_are_refused() -> None:
    tasks = FAMILIES["continuous"]
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=(4,))

    def train() -> None:
        config = MAMLConfig(iterations=1, num_tasks=2, episodes=2, algorithm="meta_sgd", inner_steps=0)
        maml(tasks, policy, config, generator(0))

    with pytest.raises(ValueError, match=r"inner_steps = 0"):
        train()


# --- the loop ---------------------------------------------------------------------------------------------------------


def check_loop(loop: Any, algorithm: str = "maml", inner_loss: str = "policy_gradient") -> None:
    """Each step is taken from fresh episodes of the policy as it is then, and from the configuration's loss."""
    tasks, gen = FAMILIES["continuous"], generator(5)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(4,))
    policy = policy.with_rates(0.15) if algorithm == "meta_sgd" else policy
    config = MAMLConfig(algorithm=algorithm, inner_loss=inner_loss, inner_steps=3, episodes=4)
    task, noise = tasks.sample(3, gen), [draw_noise(tasks, policy, 3, 4, gen) for _ in range(3)]
    params = tile(policy.params(), 3)
    found, support = loop(tasks, policy, params, task, config, noise)
    assert len(support) == 3
    for drawn, batch in zip(noise, support, strict=True):
        mine = sample(tasks, policy, params, task, config, drawn)
        torch.testing.assert_close(batch.actions, mine.actions, rtol=0, atol=0)
        torch.testing.assert_close(batch.advantages, mine.advantages, rtol=0, atol=0)
        params = adapt(policy, params, mine, LOSSES[inner_loss], step_sizes(params, config))
    for name, p in params.items():
        torch.testing.assert_close(found[name], p, rtol=0, atol=1e-13)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_inner_loop_is_a_plain_loop_of_steps(algorithm: str) -> None:
    check_loop(inner_loop, algorithm)


@pytest.mark.parametrize("inner_loss", LOSSES)
def test_the_configuration_names_the_loss_of_the_step(inner_loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The three agree in the first derivative, so that the right one is used shows in the second, or in a count."""
    check_loop(inner_loop, inner_loss=inner_loss)
    calls: list[str] = []

    def counted(name: str) -> Any:
        loss_fn = LOSSES[name]

        def call(*args: Any) -> Tensor:
            calls.append(name)
            return loss_fn(*args)

        return call

    for name in list(LOSSES):
        monkeypatch.setitem(LOSSES, name, counted(name))
    config = MAMLConfig(inner_loss=inner_loss, episodes=3, inner_steps=2)
    tasks, gen = FAMILIES["continuous"], generator(0)
    policy, task = MLPPolicy.for_tasks(tasks, gen, hidden=(4,)), tasks.sample(2, gen)
    noise = [draw_noise(tasks, policy, 2, 3, gen) for _ in range(2)]
    inner_loop(tasks, policy, tile(policy.params(), 2), task, config, noise)
    assert calls == [inner_loss] * 2


def test_samples_have_the_advantages_that_the_configuration_asks_for() -> None:
    config = MAMLConfig(episodes=4, normalise=True)
    _, _, (batch, _) = small("continuous", config)
    assert batch.advantages is not None
    for n in range(3):
        valid = batch.advantages[n][batch.mask[n] > 0]
        assert valid.mean().abs() < 1e-12
        assert valid.std(correction=0).item() == pytest.approx(1, abs=1e-6)
    _, _, (raw, _) = small("continuous", dataclasses.replace(config, normalise=False))
    assert raw.advantages is not None
    assert raw.advantages.std() < 0.9


@pytest.mark.parametrize("algorithm", ["maml", "anil", "meta_sgd"])
def test_later_steps_are_shorter_if_asked(algorithm: str) -> None:
    """The first step has its full size; a policy that is adapted again by an outer update takes the same steps."""
    config = MAMLConfig(algorithm=algorithm, inner_steps=3, inner_lr=0.2, episodes=4, later_steps=0.5)
    policy, theta, batches = small("continuous", config)
    params = tile(theta, 3)
    full = step_sizes(params, config)
    for step, batch in enumerate(batches[:-1]):
        rates = {name: rate * (1.0 if step == 0 else 0.5) for name, rate in full.items()}
        params = adapt(policy, params, batch, policy_gradient, rates)
    again = readapt(policy, theta, batches[:-1], config, True)
    tasks, gen = FAMILIES["continuous"], generator(5)
    task, noise = tasks.sample(3, gen), [draw_noise(tasks, policy, 3, 4, gen) for _ in range(3)]
    looped, support = inner_loop(tasks, policy, tile(theta, 3), task, config, noise)
    by_hand = tile(theta, 3)
    for step, batch in enumerate(support):
        rates = {name: rate * (1.0 if step == 0 else 0.5) for name, rate in full.items()}
        by_hand = adapt(policy, by_hand, batch, policy_gradient, rates)
    for name, p in params.items():
        torch.testing.assert_close(again[name], p, rtol=0, atol=1e-13)
        torch.testing.assert_close(looped[name], by_hand[name], rtol=0, atol=1e-13)


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("option", "known"), [("algorithm", ALGORITHMS), ("inner_loss", tuple(LOSSES))])
def test_an_unknown_name_lists_the_known_ones(option: str, known: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=rf"{option} = 'mmal': choose one of ") as caught:
        MAMLConfig(**{option: "mmal"})
    for name in known:
        assert repr(name) in str(caught.value)
        assert getattr(MAMLConfig(**{option: name}), option) == name


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("later_steps", 0.0),
        ("max_kl", 0.0), ("max_kl", float("nan")), ("clip", -0.1), ("damping", -1e-3), ("kl_penalty", -1.0),
        ("kl_penalty", float("nan")), ("cg_iterations", 0), ("curvature_episodes", 0), ("epochs", 0), ("epochs", 1.5),
        ("final_lr", -0.1), ("final_lr", 1.0),
    ],
)  # fmt: skip
def test_config_refuses_what_makes_no_sense(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{option} = {value}.*(needed|between)"):
        MAMLConfig(**{option: value})


# --- broken variants --------------------------------------------------------------------------------------------------


def all_layers(policy: MLPPolicy, theta: Params, support: list[Rollout], config: MAMLConfig) -> Params:
    return readapt(policy, theta, support, dataclasses.replace(config, algorithm="maml"), True)


def frozen_body(policy: MLPPolicy, theta: Params, support: list[Rollout], config: MAMLConfig) -> Params:
    """The layers that do not move are detached: the outer loop reaches them through the step alone."""
    params = readapt(policy, theta, support, config, True)
    return {name: p if name in ("w2", "b2") else p.detach() for name, p in params.items()}


def detached_rates(policy: MLPPolicy, theta: Params, support: list[Rollout], config: MAMLConfig) -> Params:
    """Rates that are used and never learned."""
    still = {name: p.detach() if name.startswith("lr_") else p for name, p in theta.items()}
    return readapt(policy, still, support, config, True)


def one_rate_a_layer(policy: MLPPolicy, theta: Params, support: list[Rollout], config: MAMLConfig) -> Params:
    """The rates of a layer are replaced by their mean: the step is another than the finite differences take."""
    even = {n: p + (p.mean() - p).detach() if n.startswith("lr_") else p for n, p in theta.items()}
    return readapt(policy, even, support, config, True)


def first_order(policy: MLPPolicy, theta: Params, support: list[Rollout], config: MAMLConfig) -> Params:
    return readapt(policy, theta, support, config, False)


def test_a_step_of_all_layers_is_not_that_of_anil() -> None:
    with pytest.raises(AssertionError):
        check_only_the_last_layer_moves(all_layers)


@pytest.mark.parametrize("broken", [detached_rates, one_rate_a_layer, first_order])
def test_broken_rates_fail_finite_differences(broken: Any) -> None:
    with pytest.raises(AssertionError):
        check_finite_differences(broken, "meta_sgd")


@pytest.mark.parametrize("broken", [frozen_body, first_order])
def test_a_broken_anil_fails_finite_differences(broken: Any) -> None:
    with pytest.raises(AssertionError):
        check_finite_differences(broken, "anil", steps=2)


def test_a_loop_on_the_same_episodes_fails() -> None:
    def same_episodes(
        tasks: Any, policy: Any, params: Any, task: Any, config: Any, noise: Any
    ) -> tuple[Params, list[Rollout]]:
        return inner_loop(tasks, policy, params, task, config, [noise[0]] * len(noise))

    with pytest.raises(AssertionError):
        check_loop(same_episodes)


def test_a_loop_that_samples_before_it_adapts_fails() -> None:
    def all_at_once(
        tasks: Any, policy: Any, params: Any, task: Any, config: Any, noise: Any
    ) -> tuple[Params, list[Rollout]]:
        support = [sample(tasks, policy, params, task, config, drawn) for drawn in noise]
        for batch in support:
            params = adapt(policy, params, batch, LOSSES[config.inner_loss], config.inner_lr)
        return params, support

    with pytest.raises(AssertionError):
        check_loop(all_at_once)
