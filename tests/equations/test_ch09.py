"""Equations of chapter 9, computed from their symbols, against the outer updates and `optim`."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.algorithms.inner import inner_loop, sample
from metarl_lite.algorithms.maml import maml
from metarl_lite.algorithms.outer import Proximal, TrustRegion, detached, mean_kl, readapt
from metarl_lite.losses import clipped, policy_gradient
from metarl_lite.optim import conjugate_gradient, gauss_newton_product, to_params, to_vector
from metarl_lite.oracles.tabular import policy_value
from metarl_lite.policies.base import tile
from metarl_lite.policies.distributions import gaussian_kl
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator, normal
from metarl_lite.rollout import Noise, draw_noise
from metarl_lite.tasks.bandits import BernoulliBandit
from metarl_lite.tasks.finite import FiniteTasks
from metarl_lite.tasks.navigation import PointGoal
from metarl_lite.tasks.tabular import TabularMDP
from metarl_lite.types import Params, Rollout, Task

TASKS = PointGoal(horizon=5, dtype=torch.float64)


class Batch:
    """A policy of 19 numbers, and the episodes of three tasks before and after an inner step."""

    def __init__(self, hidden: tuple[int, ...] = (3,), **changes: object) -> None:
        gen = generator(3)
        self.policy = MLPPolicy.for_tasks(TASKS, gen, hidden=hidden)
        self.config = MAMLConfig(num_tasks=3, episodes=4, inner_lr=0.5, **changes)  # type: ignore[arg-type]
        self.task: Task = TASKS.sample(3, gen)
        self.noise: list[Noise] = [draw_noise(TASKS, self.policy, 3, 4, gen) for _ in range(2)]
        self.theta = self.policy.params()
        tiled = tile(self.theta, 3)
        params, support = inner_loop(TASKS, self.policy, tiled, self.task, self.config, self.noise[:1])
        self.support = support
        self.query = sample(TASKS, self.policy, params, self.task, self.config, self.noise[1])
        self.old = detached(self.policy.distribution(params, self.query.observations))

    def elsewhere(self, scale: float = 0.02) -> Params:
        """Another initialisation, near the first."""
        vector = to_vector(self.theta).detach()
        moved = to_params(vector + scale * normal(vector.shape, generator(9), torch.float64), self.theta)
        return {name: p.requires_grad_() for name, p in moved.items()}


def of_task(batch: Rollout, i: int) -> Rollout:
    return batch.each(lambda x: x[i : i + 1])


def one_task(batch: Batch, theta: Params, i: int, ratios: bool = False) -> Independent:
    """pi_{phi_i(theta)} in the states of task i's query, from autograd and torch.distributions alone.

    With `ratios`, the inner step descends ratios to the policy that drew the support.
    """
    support = of_task(batch.support[0], i)
    if ratios:
        new, old = (
            batch.policy.log_prob(tile(each, 1), support.observations, support.actions) for each in (theta, batch.theta)
        )
        assert support.advantages is not None
        loss = -((new - old.detach()).exp() * support.advantages).mean()
    else:
        loss = policy_gradient(batch.policy, tile(theta, 1), support).sum()
    slopes = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
    phi = {name: p - batch.config.inner_lr * g for (name, p), g in zip(theta.items(), slopes, strict=True)}
    seen = batch.query.observations[i]  # [E, T, O]
    mean = torch.tanh(seen @ phi["w0"] + phi["b0"]) @ phi["w1"] + phi["b1"]
    return Independent(Normal(mean, phi["log_std"].exp().expand_as(mean)), 1)


def surrogate_by_hand(batch: Batch, theta: Params) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for i in range(3):
        acted, advantages = batch.query.actions[i], batch.query.advantages
        assert advantages is not None
        ratio = (
            one_task(batch, theta, i).log_prob(acted) - one_task(batch, batch.theta, i).log_prob(acted).detach()
        ).exp()
        total = total + (ratio * advantages[i]).mean() / 3
    return total


def kl_by_hand(batch: Batch, theta: Params) -> Tensor:
    pairs = [(one_task(batch, batch.theta, i), one_task(batch, theta, i)) for i in range(3)]
    return torch.stack([kl_divergence(old, new).mean() for old, new in pairs]).mean()


def test_eq_surrogate() -> None:
    batch, there = Batch(), Batch().elsewhere()
    moved = readapt(batch.policy, there, batch.support, batch.config, create_graph=False)
    old_log_prob = batch.policy.log_prob_of(batch.old, batch.query.actions)
    log_prob = batch.policy.log_prob(moved, batch.query.observations, batch.query.actions)
    mine = -clipped(log_prob, old_log_prob, batch.query).mean()
    torch.testing.assert_close(mine, surrogate_by_hand(batch, there), rtol=0, atol=1e-12)


def test_eq_mean_kl() -> None:
    batch, there = Batch(), Batch().elsewhere()
    moved = readapt(batch.policy, there, batch.support, batch.config, create_graph=False)
    new = batch.policy.distribution(moved, batch.query.observations)
    mine = mean_kl(batch.policy, batch.old, new, batch.query.mask)
    torch.testing.assert_close(mine, kl_by_hand(batch, there), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (0.7, -1.0), (-2.0, 0.5)])
def test_eq_fisher(mean: float, log_std: float) -> None:
    """The Hessian of the KL divergence, the covariance of the score, and the closed form: three times one matrix."""
    at = torch.tensor([mean, log_std], dtype=torch.float64)

    def gaussian(v: Tensor) -> Params:
        return {"mean": v[:1], "log_std": v[1:]}

    hessian = torch.autograd.functional.hessian(lambda v: gaussian_kl(gaussian(at), gaussian(v)), at)
    closed = torch.diag(torch.tensor([math.exp(-2 * log_std), 2.0], dtype=torch.float64))
    torch.testing.assert_close(hessian, closed, rtol=0, atol=1e-12)

    sigma = math.exp(log_std)
    a = torch.linspace(mean - 12 * sigma, mean + 12 * sigma, 40_001, dtype=torch.float64)
    z = (a - mean) / sigma
    score = torch.stack([z / sigma, z * z - 1])  # of log pi with respect to mean and log_std
    density = (-0.5 * z * z).exp() / (sigma * math.sqrt(2 * math.pi))
    covariance = torch.trapezoid(score[:, None] * score[None] * density, a)
    torch.testing.assert_close(covariance, closed, rtol=0, atol=1e-8)


def fisher_by_hand(batch: Batch) -> Tensor:
    """The Hessian of the mean KL of adapted policies, by differentiating twice through the inner step."""

    def kl(vector: Tensor) -> Tensor:
        return kl_by_hand(batch, to_params(vector, batch.theta))

    return torch.autograd.functional.hessian(kl, to_vector(batch.theta).detach())


def package_product(batch: Batch) -> Callable[[Tensor], Tensor]:
    def outputs(theta: Params) -> Params:
        params = readapt(batch.policy, theta, batch.support, batch.config, create_graph=True)
        return batch.policy.distribution(params, batch.query.observations)

    return gauss_newton_product(
        outputs, lambda new: mean_kl(batch.policy, batch.old, new, batch.query.mask), batch.theta
    )


def test_eq_gauss_newton() -> None:
    batch = Batch()
    product, full = package_product(batch), fisher_by_hand(batch)
    columns = torch.stack([product(e) for e in torch.eye(len(full), dtype=torch.float64)], 1)
    assert full.abs().max() > 0.1
    torch.testing.assert_close(columns, full, rtol=0, atol=1e-9)


def test_eq_natural_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """TrustRegion's direction, from a dense solve; and no step with the same KL (to second order) gains more."""
    batch = Batch(curvature_episodes=4, cg_iterations=200, damping=1e-2)
    full = fisher_by_hand(batch)
    full = full + batch.config.damping * torch.eye(len(full), dtype=torch.float64)
    gain = torch.autograd.grad(surrogate_by_hand(batch, batch.theta), list(batch.theta.values()))
    g, delta = torch.cat([p.flatten() for p in gain]), batch.config.max_kl
    natural = torch.linalg.solve(full, g)
    expected = (2 * delta / (g @ natural)).sqrt() * natural

    # By default conjugate gradients stop at a residual of 1e-5; here they converge.
    solve = partial(conjugate_gradient, tolerance=1e-26)
    monkeypatch.setattr("metarl_lite.algorithms.outer.conjugate_gradient", solve)
    mine = TrustRegion(batch.theta, batch.config)._direction(batch.policy, [*batch.support, batch.query], -g)
    assert (mine - expected).norm() < 1e-8 * expected.norm()
    assert abs(0.5 * expected @ full @ expected - delta) < 1e-12
    others = normal((500, len(full)), generator(0), torch.float64)
    others = others * (2 * delta / torch.einsum("ni,ij,nj->n", others, full, others)).sqrt().unsqueeze(1)
    assert (others @ g).max() < expected @ g


def test_few_episodes_for_the_curvature_are_few_before_the_inner_step_and_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TrustRegion's F belongs to policies that were adapted on the cut support, and is taken on the cut query."""
    batch = Batch(curvature_episodes=2, cg_iterations=200, damping=1e-2)
    monkeypatch.setattr("metarl_lite.algorithms.outer.conjugate_gradient", partial(conjugate_gradient, tolerance=1e-26))
    g = torch.cat(
        [p.flatten() for p in torch.autograd.grad(surrogate_by_hand(batch, batch.theta), list(batch.theta.values()))]
    )
    mine = TrustRegion(batch.theta, batch.config)._direction(batch.policy, [*batch.support, batch.query], -g)

    def direction(support: int, query: int) -> Tensor:
        cut = copy.copy(batch)
        cut.support = [batch.support[0].each(lambda x: x[:, :support])]
        cut.query = batch.query.each(lambda x: x[:, :query])
        full = fisher_by_hand(cut)
        natural = torch.linalg.solve(full + batch.config.damping * torch.eye(len(full), dtype=torch.float64), g)
        return (2 * batch.config.max_kl / (g @ natural)).sqrt() * natural

    assert (mine - direction(2, 2)).norm() < 1e-8 * mine.norm()
    assert (mine - direction(4, 2)).norm() > 0.05 * mine.norm()
    assert (mine - direction(2, 4)).norm() > 0.05 * mine.norm()


def test_the_performance_difference_lemma() -> None:
    """A policy earns more than another by the other's advantages, summed over its own steps."""
    task = TabularMDP(3, 2, horizon=5, reward_noise=0, dtype=torch.float64).sample(1, generator(4))
    p, r = task["transitions"][0], task["rewards"][0]  # [S, A, S], [S, A]
    old, new = (normal((3, 2), generator(seed), torch.float64).softmax(-1) for seed in (0, 1))
    values = policy_value(old, p, r, 5)  # [T + 1, S]
    states, total = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    of_the_old = torch.zeros_like(total)  # with the old one's states in place of its own
    old_states = states
    for t in range(5):
        gain = (new * (r + p @ values[t + 1] - values[t].unsqueeze(-1))).sum(-1)  # [S]
        total, of_the_old = total + states @ gain, of_the_old + old_states @ gain
        states = torch.einsum("s,sa,sap->p", states, new, p)
        old_states = torch.einsum("s,sa,sap->p", old_states, old, p)
    difference = policy_value(new, p, r, 5)[0, 0] - values[0, 0]
    torch.testing.assert_close(total, difference, rtol=0, atol=1e-12)
    assert (of_the_old - difference).abs() > 1e-3  # the surrogate is not exact


def test_eq_trust_region() -> None:
    """What TrustRegion's step leaves behind improves the surrogate and keeps the bound, judged by hand."""
    for max_kl in (0.001, 0.01, 0.1):
        batch = Batch(max_kl=max_kl)
        theta = batch.policy.params()
        _, seen = TrustRegion(theta, batch.config).step(TASKS, batch.policy, batch.task, batch.noise)
        assert seen["accepted"] == 1.0
        kl = kl_by_hand(batch, theta).item()
        assert 0 < kl <= max_kl
        assert abs(kl - seen["kl"]) < 1e-12
        assert surrogate_by_hand(batch, theta) > surrogate_by_hand(batch, batch.theta)


def test_a_refused_step_leaves_the_parameters_bit_for_bit() -> None:
    """On bandits that never pay nothing can improve."""
    barren = FiniteTasks(BernoulliBandit(2, dtype=torch.float64), {"probabilities": torch.zeros(4, 2).double()})
    policy, config = MLPPolicy.for_tasks(barren, generator(0)), MAMLConfig(num_tasks=4, episodes=4, iterations=2)
    with pytest.warns(UserWarning, match="theta stays"):
        same, history = maml(barren, policy, config, generator(1), outer="trpo")
    assert history.accepted == [0.0, 0.0]
    assert all(torch.equal(p, same.params()[name]) for name, p in policy.params().items())


def test_eq_clipped() -> None:
    batch, there, epsilon = Batch(), Batch().elsewhere(0.3), 0.2
    moved = readapt(batch.policy, there, batch.support, batch.config, create_graph=False)
    old_log_prob = batch.policy.log_prob_of(batch.old, batch.query.actions)
    log_prob = batch.policy.log_prob(moved, batch.query.observations, batch.query.actions)
    mine = clipped(log_prob, old_log_prob, batch.query, epsilon)
    advantages, beyond = batch.query.advantages, 0
    assert advantages is not None
    for i in range(3):
        terms = []
        for ratio, gain in zip(
            (log_prob - old_log_prob).exp()[i].flatten().tolist(), advantages[i].flatten().tolist(), strict=True
        ):
            terms.append(min(ratio * gain, min(max(ratio, 1 - epsilon), 1 + epsilon) * gain))
            beyond += not 1 - epsilon <= ratio <= 1 + epsilon
        assert abs(mine[i].item() + sum(terms) / len(terms)) < 1e-12
    assert beyond > 5


def test_eq_promp() -> None:
    """The gradient of the objective, by hand, gives the first step of Adam and the second."""
    batch = Batch(epochs=2, kl_penalty=0.3, max_grad_norm=1e9)
    theta = batch.policy.params()
    Proximal(theta, batch.config).step(TASKS, batch.policy, batch.task, batch.noise)

    expected = batch.policy.params()
    optimiser = torch.optim.Adam(expected.values(), lr=batch.config.outer_lr)
    first, query = batch.support[0], batch.query
    advantages = query.advantages
    assert advantages is not None
    before = detached(batch.policy.distribution(tile(batch.theta, 3), first.observations))
    for _ in range(2):
        optimiser.zero_grad()
        loss = torch.zeros((), dtype=torch.float64)
        for i in range(3):
            old, new = one_task(batch, batch.theta, i), one_task(batch, expected, i, ratios=True)
            ratio = (new.log_prob(query.actions[i]) - old.log_prob(query.actions[i]).detach()).exp()
            gain = torch.minimum(ratio * advantages[i], ratio.clamp(0.8, 1.2) * advantages[i])
            loss = loss - gain.mean() / 3
        now = batch.policy.distribution(tile(expected, 3), first.observations)
        (loss + 0.3 * gaussian_kl(before, now).mean()).backward()
        optimiser.step()
    for name, p in theta.items():
        torch.testing.assert_close(p.detach(), expected[name].detach(), rtol=0, atol=1e-9)


def test_conjugate_gradients_agree_with_a_dense_solve() -> None:
    for seed in range(5):
        root = normal((8, 8), generator(seed), torch.float64)
        matrix, b = root @ root.mT + torch.eye(8, dtype=torch.float64), normal((8,), generator(50), torch.float64)
        mine = conjugate_gradient(lambda v, matrix=matrix: matrix @ v, b, iterations=50, tolerance=1e-24)
        torch.testing.assert_close(mine, torch.linalg.solve(matrix, b), rtol=0, atol=1e-9)
