"""The two loops against finite differences, closed forms, a loop over tasks, and themselves run twice.

Each check is a function of the `adapt` it is given, so that the broken variants at the end can be fed to it: a check
that they pass would be no check.
"""

from __future__ import annotations

import dataclasses
import importlib
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metarl_lite.algorithms import footprint
from metarl_lite.algorithms.configs import ALGORITHMS, MAMLConfig
from metarl_lite.algorithms.inner import adapt, inner_loop
from metarl_lite.algorithms.maml import MAMLHistory, maml, meta_gradient
from metarl_lite.losses import policy_gradient
from metarl_lite.oracles.meta_gradient import bandit_meta_gradient, quadratic_meta_gradient
from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.returns import with_advantages
from metarl_lite.rng import generator
from metarl_lite.rollout import draw_noise, rollout
from metarl_lite.tasks.bandits import BernoulliBandit
from metarl_lite.tasks.base import TaskDistribution
from metarl_lite.tasks.navigation import GridGoal, PointGoal
from metarl_lite.types import Diverged, Params, Rollout

inner_module = importlib.import_module("metarl_lite.algorithms.inner")
maml_module = importlib.import_module("metarl_lite.algorithms.maml")  # the package's attribute `maml` is the function
FAMILIES: dict[str, TaskDistribution] = {
    "continuous": PointGoal(horizon=6, dtype=torch.float64),
    "discrete": GridGoal(size=3, horizon=6, dtype=torch.float64),
    "bandit": BernoulliBandit(num_arms=3, horizon=6, dtype=torch.float64),
}


def small(
    tasks: TaskDistribution, seed: int = 0, num_tasks: int = 3, steps: int = 1
) -> tuple[MLPPolicy, list[Rollout]]:
    """A small policy and fixed batches: one for each inner step and one for the outer loss."""
    gen = generator(seed)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(4,))
    task = tasks.sample(num_tasks, gen)
    params = tile(policy.params(), num_tasks)
    batches = [with_advantages(rollout(tasks, policy, params, task, 4, gen)) for _ in range(steps + 1)]
    return policy, batches


def outer_loss(policy: MLPPolicy, theta: Params, batches: list[Rollout], adapt_fn: Any, lr: float) -> Tensor:
    params = tile(theta, len(batches[0].rewards))
    for batch in batches[:-1]:
        params = adapt_fn(policy, params, batch, policy_gradient, lr)
    return policy_gradient(policy, params, batches[-1]).mean()


def check_finite_differences(adapt_fn: Any, family: str = "continuous", steps: int = 1, lr: float = 0.3) -> None:
    """The meta-gradient is the slope of the outer loss, in every coordinate of every parameter."""
    policy, batches = small(FAMILIES[family], steps=steps)
    theta = policy.params()
    loss = outer_loss(policy, theta, batches, adapt_fn, lr)
    gradient = torch.autograd.grad(loss, list(theta.values()))
    eps = 1e-5
    for (name, p), g in zip(theta.items(), gradient, strict=True):
        for i in range(p.numel()):
            sides = []
            for sign in (1, -1):
                moved = {k: v.detach().clone() for k, v in theta.items()}
                moved[name].view(-1)[i] += sign * eps
                moved = {k: v.requires_grad_() for k, v in moved.items()}
                sides.append(outer_loss(policy, moved, batches, adapt_fn, lr).item())
            slope = (sides[0] - sides[1]) / (2 * eps)
            assert abs(slope - g.view(-1)[i].item()) < 1e-6 * max(1.0, abs(slope)), (name, i)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_meta_gradient_equals_finite_differences(family: str, steps: int) -> None:
    check_finite_differences(adapt, family, steps)


def check_quadratic(adapt_fn: Any, steps: int = 1) -> None:
    """On quadratic tasks the meta-gradient has a closed form."""
    gen = generator(1)
    roots = torch.randn(5, 3, 3, generator=gen, dtype=torch.float64)
    matrices = roots @ roots.mT / 3 + 0.1 * torch.eye(3, dtype=torch.float64)
    centres = torch.randn(5, 3, generator=gen, dtype=torch.float64)
    theta = torch.randn(3, generator=gen, dtype=torch.float64).requires_grad_()

    def loss_fn(policy: Any, params: Params, batch: Any) -> Tensor:
        offset = params["x"] - centres
        return 0.5 * torch.einsum("ni,nij,nj->n", offset, matrices, offset)

    params = tile({"x": theta}, 5)
    for _ in range(steps):
        params = adapt_fn(None, params, None, loss_fn, 0.2)
    (gradient,) = torch.autograd.grad(loss_fn(None, params, None).mean(), [theta])
    expected = quadratic_meta_gradient(theta.detach(), matrices, centres, 0.2, steps)
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_meta_gradient_of_quadratics_equals_the_closed_form(steps: int) -> None:
    check_quadratic(adapt, steps)


@pytest.mark.parametrize(
    ("theta", "weight", "lr"), [(1.0, 0.5, 2.0), (1.0, 0.5, 8.0), (-0.7, 0.7, 8.0), (0.0, 0.2, 1.0)]
)
def test_meta_gradient_of_a_one_step_bandit_equals_the_closed_form(theta: float, weight: float, lr: float) -> None:
    x = torch.tensor([theta], dtype=torch.float64, requires_grad=True)
    pays_one = torch.tensor([True, False])
    weights = torch.tensor([weight, 1 - weight], dtype=torch.float64)

    def loss_fn(policy: Any, params: Params, batch: Any) -> Tensor:
        p = params["x"].sigmoid().squeeze(-1)
        return -torch.where(pays_one, p, 1 - p)

    adapted = adapt(None, tile({"x": x}, 2), None, loss_fn, lr)  # type: ignore[arg-type]
    objective = -(weights * loss_fn(None, adapted, None)).sum()
    (slope,) = torch.autograd.grad(objective, [x])
    expected = bandit_meta_gradient(theta, weight, lr)
    assert objective.item() == pytest.approx(expected[0], abs=1e-12)
    assert slope.item() == pytest.approx(expected[1], abs=1e-12)


def test_one_step_bandit_matches_the_published_kind_of_figure() -> None:
    # The expected-gradient column, dJ (I), of the one-parameter check: theta = 1, w = .5, alpha = 2 and 8.
    # To one of the last digit that is given: half of it is their rounding.
    assert bandit_meta_gradient(1.0, 0.5, 2.0)[1] == pytest.approx(-0.06972, abs=1e-5)
    assert bandit_meta_gradient(1.0, 0.5, 8.0)[1] == pytest.approx(-0.19008, abs=1e-5)


def single_task_loss(params: list[Tensor], batch: Rollout, n: int) -> Tensor:
    """A second implementation: one task, a plain two-layer network, a Gaussian written out."""
    w0, b0, w1, b1, log_std = params
    obs, act = batch.observations[n].reshape(-1, w0.shape[0]), batch.actions[n].reshape(-1, w1.shape[1])
    mean = torch.tanh(obs @ w0 + b0) @ w1 + b1
    log_prob = torch.distributions.Normal(mean, log_std.exp()).log_prob(act).sum(1)
    assert batch.advantages is not None
    mask = batch.mask[n].reshape(-1)
    return -(log_prob * batch.advantages[n].reshape(-1) * mask).sum() / mask.sum()


@pytest.mark.parametrize("steps", [1, 2])
def test_batched_meta_gradient_equals_a_python_loop_over_tasks(steps: int) -> None:
    policy, batches = small(FAMILIES["continuous"], steps=steps, num_tasks=4)
    theta = policy.params()
    gradient = torch.autograd.grad(outer_loss(policy, theta, batches, adapt, 0.3), list(theta.values()))
    total = [torch.zeros_like(p) for p in theta.values()]
    for n in range(4):
        phi = list(theta.values())
        for batch in batches[:-1]:
            grads = torch.autograd.grad(single_task_loss(phi, batch, n), phi, create_graph=True)
            phi = [p - 0.3 * g for p, g in zip(phi, grads, strict=True)]
        for t, g in zip(
            total, torch.autograd.grad(single_task_loss(phi, batches[-1], n), list(theta.values())), strict=True
        ):
            t += g / 4
    for g, t in zip(gradient, total, strict=True):
        torch.testing.assert_close(g, t, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_receives_a_gradient(family: str) -> None:
    tasks, gen = FAMILIES[family], generator(3)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(4, 4))
    config = MAMLConfig(num_tasks=8, episodes=6)
    noise = [draw_noise(tasks, policy, 8, 6, gen) for _ in range(2)]
    gradient, _ = meta_gradient(tasks, policy, policy.params(), tasks.sample(8, gen), config, noise)
    for name, g in gradient.items():
        assert (g != 0).any(), name


def check_independent_tasks(adapt_fn: Any) -> None:
    """What happens in one task does not touch another task's step."""
    policy, (batch, _) = small(FAMILIES["continuous"])
    params = tile(policy.params(), 3)
    changed = dataclasses.replace(batch, advantages=batch.advantages * torch.tensor([1.0, 1.0, -5.0]).reshape(3, 1, 1))
    one, two = (adapt_fn(policy, params, b, policy_gradient, 0.3) for b in (batch, changed))
    for name in one:
        assert torch.equal(one[name][:2], two[name][:2])
        assert not torch.equal(one[name][2], two[name][2])


def test_tasks_do_not_touch_one_another() -> None:
    check_independent_tasks(adapt)


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "e_maml"])
def test_chunks_change_memory_and_not_the_result(chunk_size: int, algorithm: str) -> None:
    tasks, gen = FAMILIES["continuous"], generator(4)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(4,))
    policy = policy.with_rates(0.1) if algorithm == "meta_sgd" else policy
    task, config = tasks.sample(7, gen), MAMLConfig(num_tasks=7, episodes=3, inner_steps=2, algorithm=algorithm)
    noise = [draw_noise(tasks, policy, 7, 3, gen) for _ in range(3)]
    whole, curve = meta_gradient(tasks, policy, policy.params(), task, config, noise)
    parts = meta_gradient(
        tasks, policy, policy.params(), task, dataclasses.replace(config, chunk_size=chunk_size), noise
    )
    # An entry that is nearly 0 is a sum of terms that are not, in another order: rounding is a share of those.
    torch.testing.assert_close(parts[0], whole, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(parts[1], curve, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("algorithm", "sizes"), [("maml", [2, 2, 2, 1]), ("e_maml", [7])])
def test_tasks_that_are_many_come_in_chunks_by_themselves(
    algorithm: str, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, gen = FAMILIES["continuous"], generator(4)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(4,))
    task, config = tasks.sample(7, gen), MAMLConfig(num_tasks=7, episodes=3, algorithm=algorithm)
    noise = [draw_noise(tasks, policy, 7, 3, gen) for _ in range(2)]
    whole, curve = meta_gradient(tasks, policy, policy.params(), task, config, noise)
    gradient, seen = maml_module.GRADIENTS.get(algorithm, maml_module.maml_gradient), []

    def noted(*args: Any) -> Any:
        seen.append(len(args[-1][0].action))
        return gradient(*args)

    monkeypatch.setitem(maml_module.GRADIENTS, algorithm, noted)
    monkeypatch.setattr(footprint, "AT_ONCE", 2 * 3 * tasks.horizon + 1)
    parts = meta_gradient(tasks, policy, policy.params(), task, config, noise)
    assert seen == sizes
    torch.testing.assert_close(parts[0], whole, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(parts[1], curve, rtol=1e-9, atol=1e-10)


def test_first_order_leaves_out_the_second_derivative() -> None:
    policy, (support, query) = small(FAMILIES["continuous"])
    theta = policy.params()
    params = adapt(policy, tile(theta, 3), support, policy_gradient, 0.3, create_graph=False)
    first = torch.autograd.grad(policy_gradient(policy, params, query).mean(), list(theta.values()))
    phi = {name: p.detach().requires_grad_() for name, p in params.items()}
    at_phi = torch.autograd.grad(policy_gradient(policy, phi, query).mean(), list(phi.values()))
    for f, g in zip(first, at_phi, strict=True):
        torch.testing.assert_close(f, g.sum(0))


def check_fresh_query(draw: Any) -> None:
    """The episodes after adaptation are new ones: other noise than before it, and acted by the adapted parameters."""
    seen: list[tuple[Any, Params]] = []

    def spy(tasks: Any, policy: Any, params: Params, task: Any, episodes: int, *, noise: Any) -> Rollout:
        seen.append((noise, params))
        return rollout(tasks, policy, params, task, episodes, noise=noise)

    tasks = FAMILIES["continuous"]
    policy, config = MLPPolicy.for_tasks(tasks, generator(0)), MAMLConfig(iterations=1, num_tasks=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inner_module, "rollout", spy)
        patch.setattr(maml_module, "draw_noise", draw)
        maml(tasks, policy, config, generator(1))
    (before, theta), (after, phi) = seen
    assert not torch.equal(before.action, after.action)
    assert not torch.equal(theta["w0"], phi["w0"])


def test_query_episodes_are_fresh() -> None:
    check_fresh_query(draw_noise)


# --- training -------------------------------------------------------------------------------------------------------


def train(seed: int, **options: Any) -> tuple[MLPPolicy, MAMLHistory]:
    tasks = PointGoal(horizon=20)
    config = MAMLConfig(**{"iterations": 3, "num_tasks": 4, "episodes": 5, **options})
    return maml(tasks, MLPPolicy.for_tasks(tasks, generator(0), hidden=(8,)), config, generator(seed))


def test_same_seed_same_result_to_the_bit_and_other_seed_another() -> None:
    one, two, other = train(5), train(5), train(6)
    assert one[1] == two[1]
    assert one[1] != other[1]
    for name, p in one[0].params().items():
        assert torch.equal(p, two[0].params()[name])


def numpy_state() -> str:
    return repr(np.random.get_state(legacy=False))  # noqa: NPY002  (the legacy state is the one to be left alone)


def test_global_random_states_are_untouched() -> None:
    before = torch.random.get_rng_state(), numpy_state(), random.getstate()
    train(0)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == numpy_state()
    assert before[2] == random.getstate()


def test_global_random_states_do_not_matter() -> None:
    torch.manual_seed(1)
    one = train(5)[1]
    torch.manual_seed(2)
    assert one == train(5)[1]


def test_training_leaves_the_given_policy_as_it_was() -> None:
    tasks = PointGoal(horizon=10)
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=(8,))
    before = policy.params()
    trained, _ = maml(tasks, policy, MAMLConfig(iterations=2, num_tasks=2, episodes=2), generator(0))
    for name, p in policy.params().items():
        assert torch.equal(p, before[name])
        assert not torch.equal(p, trained.params()[name])


def test_maml_solves_a_trivial_family() -> None:
    """Two arms of which one always pays, unknown which: one step on a few pulls must find it nearly always."""

    class Coin(BernoulliBandit):
        def sample(self, num_tasks: int, gen: torch.Generator) -> dict[str, Tensor]:
            first = (torch.rand(num_tasks, 1, generator=gen) < 0.5).float()
            return {"probabilities": torch.cat([first, 1 - first], 1)}

    tasks = Coin(num_arms=2, horizon=1)
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=(8,))
    config = MAMLConfig(iterations=150, num_tasks=32, episodes=20, inner_lr=1.0, outer_lr=0.02, normalise=False)
    _, history = maml(tasks, policy, config, generator(1))
    before, after = torch.tensor(history.returns[-20:]).mean(0).tolist()
    assert 0.35 < before < 0.65  # it cannot know before it has pulled
    assert after > 0.95


def test_zero_inner_steps_is_ordinary_policy_gradient() -> None:
    _, history = train(0, inner_steps=0)
    assert len(history.returns[0]) == 1


def test_callback_can_stop_training() -> None:
    tasks = PointGoal(horizon=5)
    seen: list[int] = []

    def stop(iteration: int, policy: MLPPolicy, history: MAMLHistory) -> bool:
        seen.append(iteration)
        return iteration == 1

    _, history = maml(
        tasks,
        MLPPolicy.for_tasks(tasks, generator(0)),
        MAMLConfig(iterations=9, num_tasks=2, episodes=2),
        generator(0),
        stop,
    )
    assert seen == [0, 1]
    assert len(history.returns) == 2


def test_interruption_returns_what_was_trained(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(iteration: int, policy: MLPPolicy, history: MAMLHistory) -> None:
        if iteration == 1:
            raise KeyboardInterrupt

    tasks = PointGoal(horizon=20)
    config = MAMLConfig(iterations=3, num_tasks=4, episodes=5)
    start = MLPPolicy.for_tasks(tasks, generator(0), hidden=(8,))
    policy, history = maml(tasks, start, config, generator(5), interrupt)
    uninterrupted = train(5, iterations=2)
    assert "maml: interrupted after 2 of 3 iterations" in capsys.readouterr().out
    assert history == uninterrupted[1]
    for name, p in policy.params().items():
        assert torch.equal(p, uninterrupted[0].params()[name])


@pytest.mark.parametrize(
    "rates", [{"inner_lr": 1e12}, {"outer_lr": 1e30}, {"outer_lr": 1e39}, {"later_steps": 1e39, "inner_steps": 2}]
)
def test_divergence_names_the_iteration_and_keeps_the_last_good_parameters(rates: dict[str, Any]) -> None:
    with pytest.raises(Diverged, match=r"iteration \d+ with inner_lr = .* and outer_lr = .*(Lower|smaller)") as caught:
        train(0, iterations=8, **rates)
    error = caught.value
    assert error.iteration == len(error.history.returns)
    assert error.history.steps == error.iteration * (rates.get("inner_steps", 1) + 1) * 4 * 5 * 20
    for p in error.policy.params().values():
        assert torch.isfinite(p).all()


def test_a_rewarding_nan_is_named() -> None:
    class Broken(PointGoal):
        def step(self, task: Any, state: Tensor, action: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            state, reward, terminated = super().step(task, state, action, noise)
            reward[1, 0] = float("nan")
            return state, reward, terminated

    tasks = Broken(horizon=5)
    with pytest.raises(ValueError, match=r"point-goal gave the reward nan to task 1 in episode 0 at step 0.*finite"):
        maml(tasks, MLPPolicy.for_tasks(tasks, generator(0)), MAMLConfig(num_tasks=2, episodes=2), generator(0))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("iterations", 0), ("num_tasks", -1), ("episodes", 0), ("inner_steps", -1), ("inner_lr", 0.0),
        ("outer_lr", -1.0), ("outer_lr", float("nan")), ("chunk_size", -3), ("chunk_size", 0), ("num_tasks", 2.5),
        ("discount", 1.5), ("gae_lambda", -0.1), ("max_grad_norm", 0.0), ("inner_lr", float("inf")),
    ],
)  # fmt: skip
def test_config_refuses_what_makes_no_sense(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{option} = {value}.*(needed|between)"):
        MAMLConfig(**{option: value})


def test_wrong_task_batch_is_refused() -> None:
    tasks = FAMILIES["continuous"]
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    with pytest.raises(ValueError, match=r"shape \(3, 2\), but \(4, 2\) was expected"):
        rollout(tasks, policy, tile(policy.params(), 4), tasks.sample(3, generator(0)), 2, generator(0))


@pytest.mark.parametrize("outer", [["adam"], {"adam": 1}, np.array(["adam", "trpo"]), None, "sgd"])
def test_an_outer_update_that_there_is_none_of_is_named(outer: Any) -> None:
    tasks = FAMILIES["continuous"]
    with pytest.raises(ValueError, match=r"outer = .*: choose one of 'adam', 'trpo', 'promp'"):
        maml(tasks, MLPPolicy.for_tasks(tasks, generator(0)), MAMLConfig(), generator(0), outer=outer)


def noise_for(*sizes: int) -> list[Any]:
    tasks = FAMILIES["continuous"]
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=(4,))
    return [draw_noise(tasks, policy, size, 2, generator(i)) for i, size in enumerate(sizes)]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (
            noise_for(3, 3),
            r"noise is for \[3, 3\] tasks, .*: 3 pieces for 3 tasks are needed, one for each inner step and",
        ),
        (noise_for(3, 3, 3, 3), r"noise is for \[3, 3, 3, 3\] tasks"),
        (noise_for(1, 1, 1), r"noise is for \[1, 1, 1\] tasks, .*: 3 pieces for 3 tasks are needed"),
        (noise_for(3, 4, 3), r"noise is for \[3, 4, 3\] tasks"),
        ([], r"noise is for \[\] tasks"),
        (noise_for(3)[0], r"noise is a Noise: a list is needed, with one draw_noise\(tasks, policy, num_tasks, "),
        (generator(0), r"noise is a Generator: a list is needed"),
        (None, r"noise is None: a list is needed"),
        ([generator(0)] * 3, r"noise is of type Generator: Noise is needed here"),
    ],
)
def test_a_meta_gradient_has_noise_for_each_step_and_task(algorithm: str, noise: Any, message: str) -> None:
    tasks = FAMILIES["continuous"]
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=(4,))
    config = MAMLConfig(inner_steps=2, episodes=2, algorithm=algorithm)
    policy = policy.with_rates(0.1) if algorithm == "meta_sgd" else policy
    with pytest.raises(ValueError, match=message):
        meta_gradient(tasks, policy, policy.params(), tasks.sample(3, generator(0)), config, noise)


def test_noise_may_come_in_any_row() -> None:
    tasks, config = FAMILIES["continuous"], MAMLConfig(inner_steps=2, episodes=2)
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=(4,))
    task, theta, noise = tasks.sample(3, generator(0)), policy.params(), noise_for(3, 3, 3)
    one, two = (meta_gradient(tasks, policy, theta, task, config, row) for row in (noise, iter(noise)))  # type: ignore[arg-type]
    assert torch.equal(one[1], two[1])
    params = tile(theta, 3)
    inner_loop(tasks, policy, params, task, config, iter(noise[:2]))  # type: ignore[arg-type]
    for wrong in (generator(0), noise[0], None):
        with pytest.raises(ValueError, match=r"noise is .*: a list is needed, with one draw_noise\("):
            inner_loop(tasks, policy, params, task, config, wrong)  # type: ignore[arg-type]


def test_inner_loop_reports_the_episodes_before_each_step() -> None:
    tasks, gen = FAMILIES["continuous"], generator(0)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(4,))
    task, config = tasks.sample(3, gen), MAMLConfig(episodes=4)
    noise = [draw_noise(tasks, policy, 3, 4, gen) for _ in range(2)]
    params = tile(policy.params(), 3)
    _, support = inner_loop(tasks, policy, params, task, config, noise)
    assert torch.equal(support[0].rewards, rollout(tasks, policy, params, task, 4, noise=noise[0]).rewards)
    assert not torch.equal(support[1].rewards, rollout(tasks, policy, params, task, 4, noise=noise[1]).rewards)


# --- broken variants: each of these is a bug found in public code, and each must fail a check above ------------------


def detached(policy: Any, params: Params, batch: Any, loss_fn: Any, lr: float) -> Params:
    """The deep copy: new leaves, so nothing reaches the initialisation."""
    copied = {name: p.detach().clone().requires_grad_() for name, p in params.items()}
    return adapt(policy, copied, batch, loss_fn, lr)


def no_create_graph(policy: Any, params: Params, batch: Any, loss_fn: Any, lr: float) -> Params:
    return adapt(policy, params, batch, loss_fn, lr, create_graph=False)


def uphill(policy: Any, params: Params, batch: Any, loss_fn: Any, lr: float) -> Params:
    return adapt(policy, params, batch, loss_fn, -lr)


class OnlyLastStep:
    """More than one inner step, each from a fresh graph: the earlier steps are lost to the meta-gradient."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, policy: Any, params: Params, batch: Any, loss_fn: Any, lr: float) -> Params:
        grads = torch.autograd.grad(loss_fn(policy, params, batch).sum(), list(params.values()), create_graph=True)
        keep = all(p.is_leaf or p._is_view() for p in params.values())
        return {n: p - lr * (g if keep else g.detach()) for (n, p), g in zip(params.items(), grads, strict=True)}


def mean_over_tasks(policy: Any, params: Params, batch: Any, loss_fn: Any, lr: float) -> Params:
    grads = torch.autograd.grad(loss_fn(policy, params, batch).mean(), list(params.values()), create_graph=True)
    return {n: p - lr * g for (n, p), g in zip(params.items(), grads, strict=True)}


@pytest.mark.parametrize("broken", [detached, no_create_graph])
def test_broken_adapt_fails_finite_differences(broken: Any) -> None:
    with pytest.raises((AssertionError, RuntimeError)):
        check_finite_differences(broken)


@pytest.mark.parametrize("broken", [detached, no_create_graph, uphill, mean_over_tasks])
def test_broken_adapt_fails_the_closed_form(broken: Any) -> None:
    with pytest.raises((AssertionError, RuntimeError)):
        check_quadratic(broken)


def test_losing_the_graph_of_earlier_steps_fails_with_two_steps() -> None:
    check_finite_differences(OnlyLastStep(), steps=1)  # with one step the bug does not show
    with pytest.raises(AssertionError):
        check_finite_differences(OnlyLastStep(), steps=2)


def test_reusing_the_support_episodes_as_query_fails() -> None:
    cached: list[Any] = []

    def same_noise(*args: Any) -> Any:
        if not cached:
            cached.append(draw_noise(*args))
        return cached[0]

    with pytest.raises(AssertionError):
        check_fresh_query(same_noise)


def test_mixing_tasks_fails() -> None:
    def mixed(policy: Any, params: Params, batch: Any, loss_fn: Any, lr: float) -> Params:
        return {n: p.mean(0, keepdim=True).expand_as(p) for n, p in adapt(policy, params, batch, loss_fn, lr).items()}

    with pytest.raises(AssertionError):
        check_independent_tasks(mixed)
