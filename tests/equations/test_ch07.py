"""Equations of chapter 7, computed from their symbols, against `adapt`, the relatives and autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import hessian

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.algorithms.inner import adapt, inner_loop, learned_rates, sample
from metarl_lite.algorithms.maml import meta_gradient
from metarl_lite.algorithms.relatives import reptile_gradient
from metarl_lite.evaluate.intervals import bootstrap_interval, iqm
from metarl_lite.losses import policy_gradient
from metarl_lite.oracles import one_parameter_meta_gradient
from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.records.results import recorded
from metarl_lite.returns import with_advantages
from metarl_lite.rng import generator, normal
from metarl_lite.rollout import draw_noise, rollout
from metarl_lite.tasks.navigation import PointGoal
from metarl_lite.types import Params, Rollout

ALPHA = 0.3


def wavy(x: Tensor) -> Tensor:
    """A loss of three parameters whose Hessian is neither constant nor diagonal."""
    return (x[0] - x[1] ** 2) ** 2 + (x[1] * x[2]).sin() + 0.1 * (x**4).sum()


def wavy_batch(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    return wavy(params["theta"][0]).unsqueeze(0)


def slope(x: Tensor) -> Tensor:
    return torch.func.grad(wavy)(x)


START = torch.tensor([0.4, -0.7, 0.9], dtype=torch.float64)


def walk(steps: int, lr: float, create_graph: bool) -> tuple[Tensor, Tensor]:
    """The end of a walk by `adapt`, and the gradient of the loss there with respect to the start."""
    theta = START.clone().requires_grad_()
    params = tile({"theta": theta}, 1)
    for _ in range(steps):
        params = adapt(None, params, None, wavy_batch, lr, create_graph)  # type: ignore[arg-type]
    (found,) = torch.autograd.grad(wavy(params["theta"][0]), theta)
    return params["theta"][0].detach(), found


def test_eq_bowl_gradients() -> None:
    gen = generator(0)
    a, c, theta = normal((6,), gen, torch.float64).exp(), *normal((2, 6), gen, torch.float64)
    assert (ALPHA * a > 1).any()
    assert (ALPHA * a < 1).any()  # both signs of the bracket are met

    def bowls(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
        return 0.5 * a * (params["theta"] - c) ** 2

    for create_graph, power in ((False, 1), (True, 2)):
        start = theta.clone().requires_grad_()
        phi = adapt(None, {"theta": start}, None, bowls, ALPHA, create_graph)  # type: ignore[arg-type]
        (found,) = torch.autograd.grad(bowls(None, phi, None).sum(), start)  # type: ignore[arg-type]
        torch.testing.assert_close(found, a * (1 - ALPHA * a) ** power * (theta - c), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("power", "lr", "create_graph"), [(0, 0.0, True), (1, ALPHA, False), (2, ALPHA, True)])
def test_eq_bowl_starts(power: int, lr: float, create_graph: bool) -> None:
    root, centres = normal((4, 3, 3), generator(0), torch.float64), normal((4, 3), generator(1), torch.float64)
    matrices = root @ root.mT / 6
    weights = matrices @ torch.linalg.matrix_power(torch.eye(3) - ALPHA * matrices, power)
    best = torch.linalg.inv(weights.sum(0)) @ (weights @ centres.unsqueeze(-1)).sum(0).flatten()

    def bowls(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
        offset = (params["theta"] - centres).unsqueeze(-1)
        return 0.5 * (offset.mT @ matrices @ offset).flatten()

    def gradient_at(point: Tensor) -> Tensor:
        theta = point.clone().requires_grad_()
        phi = adapt(None, tile({"theta": theta}, 4), None, bowls, lr, create_graph)  # type: ignore[arg-type]
        return torch.autograd.grad(bowls(None, phi, None).mean(), theta)[0]  # type: ignore[arg-type]

    assert gradient_at(best).norm() < 1e-12
    assert gradient_at(best + 0.1).norm() > 1e-3


@pytest.mark.parametrize("inner_steps", [1, 2])
def test_eq_reptile(inner_steps: int) -> None:
    gen, tasks = generator(2), PointGoal(horizon=6, dtype=torch.float64)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(3,))
    task, config = tasks.sample(3, gen), MAMLConfig(inner_steps=inner_steps, inner_lr=ALPHA, episodes=4)
    noise = [draw_noise(tasks, policy, 3, 4, gen) for _ in range(inner_steps + 1)]
    theta = policy.params()
    found, _ = reptile_gradient(tasks, policy, theta, task, config, noise)

    phi = {name: p.detach() for name, p in tile(theta, 3).items()}
    total = [torch.zeros_like(p) for p in theta.values()]
    for drawn in noise:  # the slopes that the walk meets, m = 0 ... M
        phi = {name: p.clone().requires_grad_() for name, p in phi.items()}
        batch = sample(tasks, policy, phi, task, config, drawn)
        slopes = torch.autograd.grad(policy_gradient(policy, phi, batch).sum(), list(phi.values()))
        total = [t + g.sum(0) for t, g in zip(total, slopes, strict=True)]
        phi = {name: (p - ALPHA * g).detach() for (name, p), g in zip(phi.items(), slopes, strict=True)}
    for mine, expected in zip(found.values(), total, strict=True):
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-10)


def test_eq_taylor() -> None:
    matrix = hessian(wavy, START)
    errors = []
    for lr in (0.02, 0.01):
        phi, _ = walk(1, lr, create_graph=False)
        errors.append((slope(phi) - (slope(START) - lr * matrix @ slope(START))).norm().item())
    assert errors[0] > 1e-5  # the expansion is not exact here,
    assert 3.5 < errors[0] / errors[1] < 4.5  # and what is left is of second order


def test_table_of_factors_on_a_bowl() -> None:
    a, theta = 2.0, torch.tensor([1.0], dtype=torch.float64, requires_grad=True)

    def bowl(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
        return 0.5 * a * params["theta"] ** 2

    once = adapt(None, {"theta": theta}, None, bowl, ALPHA)  # type: ignore[arg-type]
    twice = adapt(None, once, None, bowl, ALPHA)  # type: ignore[arg-type]
    half_the_sum = (theta - twice["theta"]).item() / ALPHA / 2
    assert abs(half_the_sum / a - (1 - ALPHA * a / 2)) < 1e-12


def test_eq_meta_sgd() -> None:
    gen, tasks = generator(3), PointGoal(horizon=5, dtype=torch.float64)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(2,)).with_rates(ALPHA)
    theta, task = policy.params(), tasks.sample(1, gen)
    params = tile(theta, 1)
    support, query = (with_advantages(rollout(tasks, policy, params, task, 4, gen)) for _ in range(2))
    names = [name for name in theta if not name.startswith("lr_")]
    phi = adapt(policy, params, support, policy_gradient, learned_rates(params, ALPHA))
    found = torch.autograd.grad(
        policy_gradient(policy, phi, query).sum(), [theta[f"lr_{name}"] for name in names], retain_graph=True
    )

    def slopes(at: Params, batch: Rollout) -> tuple[Tensor, ...]:
        leaves = {name: at[name].detach().requires_grad_() for name in names}
        return torch.autograd.grad(policy_gradient(policy, leaves, batch).sum(), list(leaves.values()))

    before, after = slopes(params, support), slopes(phi, query)
    for name, mine, g, h in zip(names, found, before, after, strict=True):
        torch.testing.assert_close(phi[name], params[name] - ALPHA * g, rtol=0, atol=1e-12)
        torch.testing.assert_close(mine, -(g * h)[0], rtol=0, atol=1e-12)


def test_eq_brackets() -> None:
    lr, steps = 0.1, 3
    points = [START]
    for _ in range(steps):
        points.append(points[-1] - lr * slope(points[-1]))
    product = torch.eye(3, dtype=torch.float64)
    for point in points[:-1]:  # from the first step on the left to the last on the right
        product = product @ (torch.eye(3) - lr * hessian(wavy, point))
    end, found = walk(steps, lr, create_graph=True)
    torch.testing.assert_close(end, points[-1], rtol=0, atol=1e-12)
    torch.testing.assert_close(found, product @ slope(points[-1]), rtol=0, atol=1e-12)
    _, first_order = walk(steps, lr, create_graph=False)
    torch.testing.assert_close(first_order, slope(points[-1]), rtol=0, atol=1e-12)
    assert (first_order - found).norm() > 0.01


@pytest.mark.parametrize(("algorithm", "moving"), [("maml", "w0 b0 w1 b1 log_std"), ("anil", "w1 b1")])
def test_only_the_last_layer_moves_in_anil_and_all_of_the_network_is_trained(algorithm: str, moving: str) -> None:
    gen, tasks = generator(4), PointGoal(horizon=5, dtype=torch.float64)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(4,))
    config, task = MAMLConfig(algorithm=algorithm, episodes=4, num_tasks=3), tasks.sample(3, gen)
    noise = [draw_noise(tasks, policy, 3, 4, gen) for _ in range(2)]
    gradient, _ = meta_gradient(tasks, policy, policy.params(), task, config, noise)
    assert all(g.abs().max() > 0 for g in gradient.values())

    start = tile(policy.params(), 3)
    adapted, _ = inner_loop(tasks, policy, start, task, config, noise[:1])
    assert " ".join(name for name in start if not torch.equal(start[name], adapted[name])) == moving


def sign_changes(name: str) -> list[float]:
    """Where a slope of the coin with one pull, w = 0.7 and alpha = 8 crosses zero between theta = -4 and 8."""
    points = torch.linspace(-4, 8, 601, dtype=torch.float64)
    values = torch.tensor([one_parameter_meta_gradient(x, 0.7, 8.0, 1)[name] for x in points.tolist()])
    return [points[k : k + 2].mean().item() for k in (values[:-1] * values[1:] < 0).nonzero().flatten()]


def test_first_order_is_positive_everywhere_and_autodiff_runs_off_too_but_only_from_farther_out() -> None:
    assert sign_changes("exact_sampled") == pytest.approx([0.686, 4.544], abs=0.011)  # a cell of the grid: 0.02
    assert sign_changes("plain") == pytest.approx([0.632, 2.786], abs=0.011)
    assert sign_changes("first_order") == []
    assert one_parameter_meta_gradient(1.0, 0.7, 8.0, 1).first_order > 0


def test_halved_steps_are_worse_for_the_three_step_agent_up_to_three_and_better_from_four_on() -> None:
    runs = [run for name, run in recorded("maml-steps")["runs"].items() if name.startswith("3 inner")]
    full, halved = (
        iqm(torch.tensor(scores), 0)
        for scores in ([run["test_returns"][-1] for run in runs], [run["halved_returns"] for run in runs])
    )
    assert [(h > f).item() for h, f in zip(halved[2:], full[2:], strict=True)] == [False, False, True, True]


def test_the_final_intervals_of_all_five_relatives_overlap() -> None:
    runs, ends = recorded("maml-relatives")["runs"], []
    for key in ("maml", "fomaml", "reptile", "anil", "meta_sgd"):
        mine = [run for name, run in runs.items() if name.startswith(f"{key},")]
        scores = torch.tensor([[curve[1] for curve in run["test_returns"][-3:]] for run in mine]).mean(1)
        ends.append(bootstrap_interval(scores, generator(0)))
    assert max(low for low, _ in ends) < min(high for _, high in ends)
