"""A2C's gradient goes through the acting itself: it must be that of reading the finished trials once more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from metarl_lite import GRUPolicy, RL2Config, generator, make_tasks, trial
from metarl_lite.algorithms.actor_critic import judge, look_back
from metarl_lite.policies.belief import BeliefPolicy
from metarl_lite.policies.gru import by_columns, head
from metarl_lite.policies.keyed import keyed
from metarl_lite.tasks.base import TaskDistribution
from metarl_lite.types import Params, Rollout
from tests.test_early_ends import Hourglass

FLOAT64 = {"rtol": 1e-9, "atol": 1e-9}
FAMILIES: dict[str, Callable[[], TaskDistribution]] = {
    "one state": lambda: make_tasks("bernoulli-bandit", horizon=4, dtype=torch.float64),
    "a grid": lambda: make_tasks("grid-goal", horizon=6, dtype=torch.float64),
    "ends early, discrete": lambda: Hourglass(True),
    "ends early, continuous": lambda: Hourglass(False),
}
KINDS = ("plain", "keyed", "belief", "separate")


def played(name: str, kind: str) -> tuple[TaskDistribution, GRUPolicy, Params, Rollout]:
    tasks, gen = FAMILIES[name](), generator(3)
    if kind == "belief":
        policy: GRUPolicy = BeliefPolicy.for_tasks(tasks, gen, code=9, units=7)
    else:
        policy = GRUPolicy.for_tasks(tasks, gen, hidden=9, separate=kind == "separate")
    if kind == "keyed":
        policy = keyed(policy, gen)
    theta = policy.params()
    batch = trial(tasks, policy, by_columns(theta), tasks.sample(5, gen), 3, gen, memories=True)
    return tasks, policy, theta, batch


def gradient(policy: GRUPolicy, theta: Params, parts: tuple[dict[str, Tensor], Tensor, Tensor]) -> list[Tensor]:
    """Of a sum of all outputs, each with a weight of its own."""
    chosen, values, memory = parts
    gen, total = generator(5), torch.zeros((), dtype=torch.float64)
    for output in (*chosen.values(), values, memory):
        total = total + (torch.rand(output.shape, generator=gen, dtype=torch.float64) * output).sum()
    return list(torch.autograd.grad(total, list(theta.values()), materialize_grads=True))


@pytest.mark.parametrize("trains", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_through_acting_is_that_of_a_second_pass(family: str, kind: str, trains: bool) -> None:
    tasks, policy, theta, batch = played(family, kind)
    assert (batch.mask.mean() < 1) == tasks.can_terminate, "some episodes must end early where they can"
    config = RL2Config(critic_trains_memory=trains)
    acted = look_back(policy, theta, batch, config)
    again = judge(policy, theta, policy.inputs(batch), batch, config)
    assert acted[0].keys() == again[0].keys()
    for name in acted[0]:
        torch.testing.assert_close(acted[0][name], again[0][name], **FLOAT64)
    torch.testing.assert_close(acted[1], again[1], **FLOAT64)
    torch.testing.assert_close(acted[2], again[2], **FLOAT64)
    for one, other in zip(gradient(policy, theta, acted), gradient(policy, theta, again), strict=True):
        torch.testing.assert_close(one, other, **FLOAT64)


def test_acting_leaves_no_gradient_but_its_memories() -> None:
    *_, batch = played("ends early, continuous", "plain")
    assert batch.memories is not None
    assert batch.memories.requires_grad
    assert not any(x.requires_grad for x in (batch.actions, batch.rewards, batch.observations, batch.mask))


def test_nothing_is_kept_unless_it_is_asked_for() -> None:
    tasks, policy, theta, _ = played("one state", "plain")
    gen = generator(0)
    assert trial(tasks, policy, theta, tasks.sample(2, gen), 2, gen).memories is None
    detached = {name: p.detach() for name, p in theta.items()}
    kept = trial(tasks, policy, detached, tasks.sample(2, gen), 2, gen, memories=True).memories
    assert kept is not None
    assert kept.shape == (2, 8, policy.hidden)
    assert not kept.requires_grad


def test_the_layout_by_columns_changes_no_number() -> None:
    *_, theta, _ = played("a grid", "plain")
    columns = by_columns(theta)
    assert all(torch.equal(columns[name], theta[name]) for name in theta)
    assert columns["actor_gru_in"].mT.is_contiguous()
    assert not theta["actor_gru_in"].mT.is_contiguous()


def test_a_head_is_a_linear_map_and_its_gradient_too() -> None:
    gen = generator(1)
    sizes = ((3, 4, 6), (6, 5), (5,))
    memory, weight, bias = (torch.randn(s, generator=gen, dtype=torch.float64).requires_grad_() for s in sizes)
    torch.testing.assert_close(head(memory, weight, bias), memory @ weight + bias, **FLOAT64)
    assert torch.autograd.gradcheck(head, (memory, weight, bias))
    assert torch.autograd.gradgradcheck(head, (memory, weight, bias))


def test_second_derivatives_pass_through_the_memories_of_acting() -> None:
    *_, theta, batch = played("one state", "plain")
    assert batch.memories is not None
    square = theta["actor_gru_memory"]
    first = torch.autograd.grad(batch.memories.square().sum(), square, create_graph=True)[0]
    assert first.requires_grad
    assert torch.autograd.grad(first.square().sum(), square)[0].abs().sum() > 0


def test_outlook_is_distribution_and_value() -> None:
    for kind in ("plain", "belief"):
        for family in ("one state", "ends early, continuous"):
            _, policy, theta, batch = played(family, kind)
            assert batch.memories is not None
            chosen, values = policy.outlook(theta, batch.memories)
            torch.testing.assert_close(values, policy.value(theta, batch.memories), **FLOAT64)
            for name, x in policy.distribution(theta, batch.memories).items():
                torch.testing.assert_close(chosen[name], x, **FLOAT64)
