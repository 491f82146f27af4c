"""Equations of chapter 5, computed from their symbols, against `adapt` and `linear`."""

from __future__ import annotations

import torch
from torch import Tensor

from metarl_lite.algorithms.inner import adapt
from metarl_lite.losses import policy_gradient
from metarl_lite.oracles.bandits import exact_policy_gradient
from metarl_lite.policies.base import tile
from metarl_lite.policies.layers import linear
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.records.results import recorded
from metarl_lite.returns import with_advantages
from metarl_lite.rng import generator, normal
from metarl_lite.rollout import rollout
from metarl_lite.tasks.navigation import PointGoal
from metarl_lite.types import Params, Rollout


def small(num_tasks: int) -> tuple[MLPPolicy, Rollout]:
    gen, tasks = generator(3), PointGoal(horizon=6, dtype=torch.float64)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(4,))
    params, task = tile(policy.params(), num_tasks), tasks.sample(num_tasks, gen)
    return policy, with_advantages(rollout(tasks, policy, params, task, 5, gen))


def of_task(batch: Rollout, i: int) -> Rollout:
    return batch.each(lambda x: x[i : i + 1])


def test_eq_inner_step() -> None:
    policy, support = small(3)
    adapted = adapt(policy, tile(policy.params(), 3), support, policy_gradient, 0.2)
    for i in range(3):
        theta = policy.params()
        loss = policy_gradient(policy, tile(theta, 1), of_task(support, i)).sum()
        for (name, p), g in zip(theta.items(), torch.autograd.grad(loss, list(theta.values())), strict=True):
            torch.testing.assert_close(adapted[name][i], p - 0.2 * g, rtol=0, atol=1e-10)


def test_eq_batched_layer() -> None:
    gen = generator(0)
    x, weight, bias = (normal(shape, gen, torch.float64) for shape in ((3, 5, 2), (3, 2, 4), (3, 4)))
    expected = torch.zeros(3, 5, 4, dtype=torch.float64)
    for n in range(3):
        for sample in range(5):
            for j in range(4):
                expected[n, sample, j] = sum(x[n, sample, i] * weight[n, i, j] for i in range(2)) + bias[n, j]
    torch.testing.assert_close(linear(x, weight, bias), expected, rtol=0, atol=1e-12)
    shared = tile({"w": weight[0], "b": bias[0]}, 3)  # takes another path where no gradient is asked for
    with torch.no_grad():
        plain = linear(x, shared["w"], shared["b"])
    torch.testing.assert_close(plain, x @ weight[0] + bias[0], rtol=0, atol=1e-12)


def test_eq_summed_loss() -> None:
    policy, support = small(4)
    params: Params = {
        name: (p + 0.1 * normal(tuple(p.shape), generator(1), torch.float64)).detach().requires_grad_()
        for name, p in tile(policy.params(), 4).items()
    }
    together = torch.autograd.grad(policy_gradient(policy, params, support).sum(), list(params.values()))
    for i in range(4):
        own = {name: p[i : i + 1].detach().requires_grad_() for name, p in params.items()}
        alone = torch.autograd.grad(policy_gradient(policy, own, of_task(support, i)).sum(), list(own.values()))
        for all_tasks, one in zip(together, alone, strict=True):
            torch.testing.assert_close(all_tasks[i], one[0], rtol=0, atol=1e-10)


def test_eq_optimism() -> None:
    """Exactly, by listing all outcomes: one pull of a two-armed bandit with pi = (p, 1 - p) and rewards 1 and 0.3.

    An equation of the text; the mean of what is listed is the package's exact gradient.
    """
    theta = torch.tensor([0.4, -0.2], dtype=torch.float64)
    p, rewards = theta.softmax(0), torch.tensor([1.0, 0.3], dtype=torch.float64)
    estimates: list[Tensor] = [rewards[a] * (torch.eye(2, dtype=torch.float64)[a] - p) for a in range(2)]
    mean = sum((p[a] * estimates[a] for a in range(2)), torch.zeros(2, dtype=torch.float64))
    covariance = sum(
        (p[a] * torch.outer(estimates[a] - mean, estimates[a] - mean) for a in range(2)),
        torch.zeros(2, 2, dtype=torch.float64),
    )
    torch.testing.assert_close(mean, exact_policy_gradient(theta, rewards))
    same = sum(p[a] * estimates[a] @ estimates[a] for a in range(2))
    fresh = sum(p[a] * p[b] * estimates[a] @ estimates[b] for a in range(2) for b in range(2))
    assert abs(same - (mean @ mean + covariance.trace())) < 1e-14
    assert abs(fresh - mean @ mean) < 1e-14


def test_disturbing_one_task_moves_no_other() -> None:
    policy, support = small(3)
    params = tile(policy.params(), 3)
    before = adapt(policy, params, support, policy_gradient, 0.2)
    assert support.advantages is not None
    flipped = support.advantages.clone()
    flipped[1] *= -1
    disturbed = Rollout(**vars(support) | {"advantages": flipped})
    after = adapt(policy, params, disturbed, policy_gradient, 0.2)
    for name, p in before.items():
        assert torch.equal(p[[0, 2]], after[name][[0, 2]])
    assert not torch.equal(before["w0"][1], after["w0"][1])


def test_the_surplus_on_the_support_falls_as_one_over_the_episodes() -> None:
    """tr Cov of a mean of n pulls is that of one, divided by n: by listing the outcomes of 1 to 4 pulls."""
    theta = torch.tensor([0.4, -0.2], dtype=torch.float64)
    p, rewards = theta.softmax(0), torch.tensor([1.0, 0.3], dtype=torch.float64)
    votes = rewards[:, None] * (torch.eye(2, dtype=torch.float64) - p)
    exact = exact_policy_gradient(theta, rewards)
    surplus = []
    for pulls in (1, 2, 3, 4):
        arms = torch.cartesian_prod(*[torch.arange(2)] * pulls).reshape(-1, pulls)
        chance, estimate = p[arms].prod(1), votes[arms].mean(1)
        surplus.append((chance @ estimate.square().sum(1) - exact @ exact).item())
    for pulls, found in zip((1, 2, 3, 4), surplus, strict=True):
        assert abs(found - surplus[0] / pulls) < 1e-14


def test_what_the_recorded_starts_are_worth() -> None:
    """Before a step MAML's and the mixture's are alike, after it they are not; one step goes most of the way."""
    runs = {name: run["test_returns"] for name, run in recorded("initialisations")["runs"].items()}
    random, mixture, trained = (runs[f"navigation-{name}"] for name in ("random", "mixture", "maml"))
    assert abs(mixture[0] - trained[0]) < 0.5
    assert trained[1] - mixture[1] > 5
    assert mixture[1] - random[1] > 35
    assert (trained[1] - trained[0]) / (-0.51 - trained[0]) > 0.6
    ends = [run["test_returns"][-1][1] for run in recorded("maml-navigation")["runs"].values()]
    assert len(ends) == 10
    assert -15 < min(ends) <= max(ends) < -12
