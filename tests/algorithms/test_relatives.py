"""MAML's relatives against loops over tasks, closed forms on quadratic tasks, and finite differences.

Each check is a function of the gradient it is given, so that a relative can be mistaken for another: the check must
notice.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.algorithms.configs import ALGORITHMS, MAMLConfig
from metarl_lite.algorithms.inner import sample, step_sizes
from metarl_lite.algorithms.maml import maml, meta_gradient
from metarl_lite.algorithms.relatives import e_maml_gradient, fomaml_gradient, maml_gradient, reptile_gradient
from metarl_lite.losses import LOSSES, gradients, policy_gradient
from metarl_lite.oracles.meta_gradient import quadratic_meta_gradient
from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.rollout import Noise, draw_noise
from metarl_lite.tasks.bandits import BernoulliBandit
from metarl_lite.tasks.base import TaskDistribution, index_task
from metarl_lite.tasks.navigation import GridGoal, PointGoal
from metarl_lite.types import Params, Rollout

inner_module = importlib.import_module("metarl_lite.algorithms.inner")
relatives_module = importlib.import_module("metarl_lite.algorithms.relatives")
F64 = torch.float64
FAMILIES: dict[str, TaskDistribution] = {
    "continuous": PointGoal(horizon=6, dtype=F64),
    "grid": GridGoal(size=3, horizon=6, dtype=F64),
    "bandit": BernoulliBandit(num_arms=3, horizon=6, dtype=F64),
}


def setting(family: str, steps: int, num_tasks: int = 3, **options: Any) -> tuple[Any, ...]:
    tasks, gen = FAMILIES[family], generator(0)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(4,))
    config = MAMLConfig(num_tasks=num_tasks, episodes=4, inner_steps=steps, inner_lr=0.3, **options)
    task = tasks.sample(num_tasks, gen)
    noise = [draw_noise(tasks, policy, num_tasks, 4, gen) for _ in range(steps + 1)]
    return tasks, policy, policy.params(), task, config, noise


class OneTask:
    """A second implementation: one task by itself, its loss written out, its steps taken one after the other."""

    def __init__(self, tasks: Any, policy: Any, theta: Params, task: Any, config: Any, noise: Any, n: int) -> None:
        self.tasks, self.policy, self.config = tasks, policy, config
        self.task, self.noise = index_task(task, slice(n, n + 1)), [drawn[n : n + 1] for drawn in noise]
        self.params = {name: p.detach().clone().requires_grad_() for name, p in theta.items()}

    def batch(self, params: Params, drawn: Noise, **changes: Any) -> Rollout:
        config = replace(self.config, **changes)
        return sample(self.tasks, self.policy, tile(params, 1), self.task, config, drawn)

    def log_prob(self, params: Params, batch: Rollout) -> Tensor:
        """Of every action, `[E, T]`."""
        hidden = torch.tanh(batch.observations[0] @ params["w0"] + params["b0"])
        out = hidden @ params["w1"] + params["b1"]
        if self.policy.discrete:
            return torch.distributions.Categorical(logits=out).log_prob(batch.actions[0])
        return torch.distributions.Normal(out, params["log_std"].exp()).log_prob(batch.actions[0]).sum(-1)

    def gradient(self, params: Params, batch: Rollout, create_graph: bool = False) -> Params:
        assert batch.advantages is not None
        mask = batch.mask[0]
        loss = -(self.log_prob(params, batch) * batch.advantages[0] * mask).sum() / mask.sum()
        grads = torch.autograd.grad(loss, list(params.values()), create_graph=create_graph)
        return dict(zip(params, grads, strict=True))

    def walk(self, noise: Any) -> Params:
        """Steps taken with numbers alone: every one from a fresh leaf."""
        params = self.params
        for drawn in noise:
            slope = self.gradient(params, self.batch(params, drawn))
            params = {k: (p - self.config.inner_lr * slope[k]).detach().requires_grad_() for k, p in params.items()}
        return params


def check_against_loop(gradient: Any, expected: Any, family: str = "continuous", steps: int = 2) -> None:
    """The sum over tasks of what `expected` says of each."""
    given = setting(family, steps)
    grads, batches = gradient(*given)
    assert len(batches) == steps + 1
    total = [torch.zeros_like(p) for p in given[2].values()]
    for n in range(3):
        for t, g in zip(total, expected(OneTask(*given, n)).values(), strict=True):
            t += g
    for name, g, t in zip(given[2], grads.values(), total, strict=True):
        torch.testing.assert_close(g, t, rtol=1e-7, atol=1e-10, msg=name)


def gradient_after(one: OneTask) -> Params:
    """First-order MAML: the gradient at phi."""
    phi = one.walk(one.noise[:-1])
    return one.gradient(phi, one.batch(phi, one.noise[-1]))


def way_over_rate(one: OneTask) -> Params:
    """Reptile: (theta - phi) / alpha, with one more step on the query's episodes."""
    end = one.walk(one.noise)
    return {name: ((p - end[name]) / one.config.inner_lr).detach() for name, p in one.params.items()}


def gradient_through(one: OneTask, **changes: Any) -> Params:
    """MAML: through the steps; `changes` are of the configuration of the query."""
    params = one.params
    for drawn in one.noise[:-1]:
        slope = one.gradient(params, one.batch(params, drawn), create_graph=True)
        params = {name: p - one.config.inner_lr * slope[name] for name, p in params.items()}
    query = one.batch(params, one.noise[-1], **changes)
    assert query.advantages is not None
    loss = -(one.log_prob(params, query) * query.advantages[0] * query.mask[0]).sum() / query.mask[0].sum()
    return dict(zip(one.params, torch.autograd.grad(loss, list(one.params.values())), strict=True))


def check_fomaml(gradient: Any, **options: Any) -> None:
    check_against_loop(gradient, gradient_after, **options)


def check_reptile(gradient: Any, **options: Any) -> None:
    check_against_loop(gradient, way_over_rate, **options)


def check_maml(gradient: Any, **options: Any) -> None:
    check_against_loop(gradient, gradient_through, **options)


def check_e_maml(gradient: Any, family: str = "continuous", steps: int = 2) -> None:
    """MAML's from raw advantages, and (reward of the others - own reward) times the score of all support episodes."""
    given = setting(family, steps)
    grads, (*_, query) = gradient(*given)
    rewards = [(query.rewards[n].sum() / query.mask[n].sum()).item() for n in range(3)]
    total = [torch.zeros_like(p) for p in given[2].values()]
    for n in range(3):
        one = OneTask(*given, n)
        others = [r for i, r in enumerate(rewards) if i != n]
        loss, params = torch.zeros((), dtype=F64), one.params
        for drawn in one.noise[:-1]:
            batch = one.batch(params, drawn)
            loss = loss - (rewards[n] - sum(others) / 2) * (one.log_prob(params, batch) * batch.mask[0]).sum()
            slope = one.gradient(params, batch, create_graph=True)
            params = {name: p - one.config.inner_lr * slope[name] for name, p in params.items()}
        credit = torch.autograd.grad(loss, list(one.params.values()))
        for t, g, c in zip(total, gradient_through(one, normalise=False).values(), credit, strict=True):
            t += g + c
    for name, g, t in zip(given[2], grads.values(), total, strict=True):
        torch.testing.assert_close(g, t, rtol=1e-7, atol=1e-10, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize(
    ("check", "gradient"),
    [
        (check_maml, maml_gradient),
        (check_fomaml, fomaml_gradient),
        (check_reptile, reptile_gradient),
        (check_e_maml, e_maml_gradient),
    ],
    ids=lambda function: function.__name__,
)
def test_each_relative_equals_a_loop_over_tasks(check: Any, gradient: Any, family: str, steps: int) -> None:
    check(gradient, family=family, steps=steps)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_meta_gradient_is_the_mean_of_what_the_named_relative_sums(algorithm: str) -> None:
    own = {"fomaml": fomaml_gradient, "reptile": reptile_gradient, "e_maml": e_maml_gradient}.get(
        algorithm, maml_gradient
    )
    tasks, policy, theta, task, config, noise = setting("continuous", 2, algorithm=algorithm)
    if algorithm == "meta_sgd":
        policy = policy.with_rates(0.3)
        theta = policy.params()
    expected, batches = own(tasks, policy, theta, task, config, noise)
    found, returns = meta_gradient(tasks, policy, theta, task, config, noise)
    assert returns.shape == (3, 3)
    for step, batch in enumerate(batches):
        torch.testing.assert_close(returns[step], batch.rewards.sum(-1).mean(1))
    for name, g in found.items():
        torch.testing.assert_close(g, expected[name] / 3, rtol=1e-12, atol=1e-14, msg=name)


# --- closed forms on quadratic tasks ---------------------------------------------------------------------------------


def on_quadratics(gradient: Any, steps: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The summed gradient of five quadratic tasks, L = (x - c)^T A (x - c) / 2, and (A, x - c, I - alpha A)."""
    gen = generator(1)
    roots = torch.randn(5, 3, 3, generator=gen, dtype=F64)
    matrices = roots @ roots.mT / 3 + 0.1 * torch.eye(3, dtype=F64)
    centres = torch.randn(5, 3, generator=gen, dtype=F64)
    theta = torch.randn(3, generator=gen, dtype=F64).requires_grad_()

    def loss_fn(policy: Any, params: Params, batch: Any) -> Tensor:
        offset = params["x"] - centres
        return 0.5 * torch.einsum("ni,nij,nj->n", offset, matrices, offset)

    noise = [SimpleNamespace(action=torch.zeros(5))] * (steps + 1)
    config = MAMLConfig(inner_steps=steps, inner_lr=0.2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LOSSES, "policy_gradient", loss_fn)
        patch.setattr(relatives_module, "policy_gradient", loss_fn)
        for module in (inner_module, relatives_module):
            patch.setattr(module, "sample", lambda *args: None)
        found = gradient(None, None, {"x": theta}, None, config, noise)[0]["x"]
    expected = 5 * quadratic_meta_gradient(theta.detach(), matrices, centres, 0.2, steps)
    return found, matrices, theta.detach() - centres, expected


def powers(matrices: Tensor, steps: int) -> Tensor:
    return torch.linalg.matrix_power(torch.eye(3, dtype=F64) - 0.2 * matrices, steps)


def check_fomaml_on_quadratics(gradient: Any) -> None:
    r"""$\sum A (I - \alpha A)^k (\theta - c)$: one power of the shrinking less than MAML has."""
    for steps in (1, 2, 5):
        found, matrices, offset, _ = on_quadratics(gradient, steps)
        expected = (matrices @ powers(matrices, steps) @ offset.unsqueeze(-1)).sum(0).squeeze(-1)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def check_reptile_on_quadratics(gradient: Any) -> None:
    r"""$\sum (I - (I - \alpha A)^{k+1}) (\theta - c) / \alpha$."""
    for steps in (1, 2, 5):
        found, matrices, offset, _ = on_quadratics(gradient, steps)
        way = torch.eye(3, dtype=F64) - powers(matrices, steps + 1)
        expected = (way @ offset.unsqueeze(-1)).sum(0).squeeze(-1) / 0.2
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def check_maml_on_quadratics(gradient: Any) -> None:
    for steps in (1, 2, 5):
        found, *_, expected = on_quadratics(gradient, steps)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("check", "gradient"),
    [
        (check_maml_on_quadratics, maml_gradient),
        (check_fomaml_on_quadratics, fomaml_gradient),
        (check_reptile_on_quadratics, reptile_gradient),
    ],
    ids=lambda function: function.__name__,
)
def test_the_closed_form_on_quadratics(check: Any, gradient: Any) -> None:
    check(gradient)


# --- the loop with each of them --------------------------------------------------------------------------------------


class Coin(BernoulliBandit):
    """Two arms of which one always pays, unknown which."""

    def sample(self, num_tasks: int, gen: torch.Generator) -> dict[str, Tensor]:
        first = (torch.rand(num_tasks, 1, generator=gen) < 0.5).float()
        return {"probabilities": torch.cat([first, 1 - first], 1)}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("inner_steps", [1, 3])
def test_each_algorithm_trains_over_several_inner_steps(algorithm: str, inner_steps: int) -> None:
    tasks = PointGoal(horizon=10)
    start = MLPPolicy.for_tasks(tasks, generator(0), hidden=(4,))
    config = MAMLConfig(iterations=2, num_tasks=3, episodes=3, algorithm=algorithm, inner_steps=inner_steps)
    one, two = (maml(tasks, start, config, generator(1)) for _ in range(2))
    assert [len(returns) for returns in one[1].returns] == [inner_steps + 1] * 2
    assert one[1] == two[1]
    for name, p in one[0].params().items():
        assert torch.equal(p, two[0].params()[name])
        if name in start.params():
            assert not torch.equal(p, start.params()[name]), name


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "maml"])
def test_each_relative_solves_a_trivial_family(algorithm: str) -> None:
    """One step on a few pulls must find the arm that pays nearly always; MAML's own turn is in test_maml."""
    tasks = Coin(num_arms=2, horizon=1)
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=(8,))
    config = MAMLConfig(
        iterations=150, num_tasks=32, episodes=20, inner_lr=1.0, outer_lr=0.02, normalise=False, algorithm=algorithm
    )
    _, history = maml(tasks, policy, config, generator(1))
    before, after = torch.tensor(history.returns[-20:]).mean(0).tolist()
    assert 0.35 < before < 0.65  # it cannot know before it has pulled
    assert after > 0.9  # statistical: .969 to 1 in five seeds of each; who does not learn gets .5


def test_zero_inner_steps_are_one_and_the_same_for_all_who_take_gradients() -> None:
    given = setting("continuous", 0, normalise=False)
    plain = maml_gradient(*given)[0]
    tasks, policy, theta, task, config, noise = given
    batch = sample(tasks, policy, tile(theta, 3), task, config, noise[0])
    loss = policy_gradient(policy, tile(theta, 3), batch).sum()
    for g, e in zip(plain.values(), torch.autograd.grad(loss, list(theta.values())), strict=True):
        torch.testing.assert_close(g, e)
    for gradient in (fomaml_gradient, reptile_gradient, e_maml_gradient):
        for name, g in gradient(*given)[0].items():
            torch.testing.assert_close(g, plain[name], rtol=1e-9, atol=1e-12)


def test_e_maml_refuses_to_take_its_tasks_in_parts() -> None:
    with pytest.raises(ValueError, match=r"chunk_size = 5: E-MAML compares every task .*leave out chunk_size"):
        MAMLConfig(algorithm="e_maml", chunk_size=5)


@pytest.mark.parametrize("inner_loss", LOSSES)
def test_the_second_derivative_is_that_of_the_inner_loss(inner_loss: str) -> None:
    """Three losses, three meta-gradients; for who takes no second derivative they are one."""
    results = {}
    for name in LOSSES:
        given = setting("continuous", 1, inner_loss=name)
        results[name] = [
            torch.cat([g.flatten() for g in f(*given)[0].values()]) for f in (maml_gradient, fomaml_gradient)
        ]
    for name in LOSSES:
        same = name == inner_loss
        assert torch.allclose(results[name][0], results[inner_loss][0], rtol=1e-6, atol=1e-9) == same
        torch.testing.assert_close(results[name][1], results[inner_loss][1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("algorithm", ["anil", "meta_sgd"])
def test_the_gradient_takes_the_algorithms_rates(algorithm: str) -> None:
    """Through `maml_gradient`, not only through the functions that it is made of."""
    tasks, policy, theta, task, config, noise = setting("continuous", 1, algorithm=algorithm)
    if algorithm == "meta_sgd":
        policy = policy.with_rates(0.3)
        theta = policy.params()
    grads, (support, query) = maml_gradient(tasks, policy, theta, task, config, noise)
    params = tile(theta, 3)
    slope = dict(
        zip(
            [name for name in params if not name.startswith("lr_")],
            torch.autograd.grad(
                policy_gradient(policy, params, support).sum(),
                [p for name, p in params.items() if not name.startswith("lr_")],
                create_graph=True,
            ),
            strict=True,
        )
    )
    rates = step_sizes(params, config)
    phi = {name: p - rates[name] * slope[name] if name in rates else p for name, p in params.items()}
    again = sample(tasks, policy, phi, task, config, noise[-1])
    torch.testing.assert_close(again.actions, query.actions)
    expected = torch.autograd.grad(policy_gradient(policy, phi, query).sum(), list(theta.values()))
    for name, g, e in zip(theta, grads.values(), expected, strict=True):
        torch.testing.assert_close(g, e, rtol=1e-9, atol=1e-12, msg=name)


# --- broken variants -------------------------------------------------------------------------------------------------


def not_divided(*given: Any) -> Any:
    """Reptile without the division by alpha."""
    grads, batches = reptile_gradient(*given)
    return {name: g * given[4].inner_lr for name, g in grads.items()}, batches


def one_step_less(*given: Any) -> Any:
    """Reptile that does not walk on with the query."""
    tasks, policy, theta, task, config, noise = given
    grads, batches = reptile_gradient(tasks, policy, theta, task, config, noise[:-1])
    return grads, [*batches, batches[-1]]


def backwards(*given: Any) -> Any:
    grads, batches = reptile_gradient(*given)
    return {name: -g for name, g in grads.items()}, batches


def at_the_start(*given: Any) -> Any:
    """The gradient of the query at theta, not at phi."""
    _, policy, theta, *_ = given
    _, batches = fomaml_gradient(*given)
    loss = policy_gradient(policy, tile(theta, 3), batches[-1]).sum()
    return gradients(loss, theta), batches


def scaled_credit(factor: float) -> Any:
    def broken(*given: Any) -> Any:
        plain, _ = maml_gradient(*given)
        full, batches = e_maml_gradient(*given)
        return {name: p + factor * (full[name] - p) for name, p in plain.items()}, batches

    return broken


def credit_for_the_last_step_only(*given: Any) -> Any:
    """Only the episodes of the last inner step are credited."""
    _, policy, theta, *_ = given
    full, batches = e_maml_gradient(*given)
    params = tile(theta, 3)
    log_prob = policy.log_prob(params, batches[0].observations, batches[0].actions)
    term = relatives_module.sampling_term(log_prob, batches[0], batches[-1]).sum()
    first = gradients(term, theta)
    return {name: f - first[name] for name, f in full.items()}, batches


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        (check_fomaml, maml_gradient),
        (check_fomaml, reptile_gradient),
        (check_fomaml, at_the_start),
        (check_maml, fomaml_gradient),
        (check_reptile, fomaml_gradient),
        (check_reptile, not_divided),
        (check_reptile, one_step_less),
        (check_reptile, backwards),
        (check_e_maml, maml_gradient),
        (check_e_maml, scaled_credit(2 / 3)),
        (check_e_maml, scaled_credit(-1.0)),
        (check_e_maml, credit_for_the_last_step_only),
        (check_fomaml_on_quadratics, maml_gradient),
        (check_maml_on_quadratics, fomaml_gradient),
        (check_reptile_on_quadratics, fomaml_gradient),
        (check_reptile_on_quadratics, not_divided),
        (check_reptile_on_quadratics, backwards),
    ],
    ids=lambda function: function.__name__,
)
def test_a_relative_mistaken_for_another_fails_its_check(check: Any, broken: Any) -> None:
    with pytest.raises(AssertionError):
        check(broken)
