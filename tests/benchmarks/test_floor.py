"""The floor counts the matrix products that a meta-gradient really computes: not one more, not one less."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from metarl_lite.algorithms.inner import adapt
from metarl_lite.losses import policy_gradient
from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.returns import with_advantages
from metarl_lite.rng import generator
from metarl_lite.rollout import rollout
from metarl_lite.tasks import PointGoal
from tests.benchmarks.floor import H, floor, layer_products


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # the profiler's own
def test_the_floor_has_the_products_of_a_meta_gradient() -> None:
    tasks, gen = PointGoal(horizon=5), generator(0)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(H, H))
    theta, task = policy.params(), tasks.sample(3, gen)
    batch = with_advantages(rollout(tasks, policy, tile(theta, 3), task, 4, gen))
    query = dataclasses.replace(batch, advantages=-batch.advantages)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        params = adapt(policy, tile(theta, 3), batch, policy_gradient, 0.1)
        torch.autograd.grad(policy_gradient(policy, params, query).sum(), list(theta.values()))
    products = sum(e.count for e in seen.key_averages() if e.key in ("aten::bmm", "aten::baddbmm"))
    assert products == sum(times for times, _ in layer_products(3, 20))


def test_every_part_of_the_floor_takes_time_and_the_sum_is_their_sum() -> None:
    parts = floor(n=2, e=2, t=3, rounds=1)
    total = parts.pop("sum")
    assert min(parts.values()) > 0  # by design: a clock, which goes forward
    assert total == pytest.approx(sum(parts.values()))
