"""The anchors of 2-D navigation."""

from __future__ import annotations

import math

import pytest
import torch

from metarl_lite.oracles.navigation import goal_known_return, standing_still_return
from metarl_lite.policies import MLPPolicy, tile
from metarl_lite.rng import generator
from metarl_lite.rollout import rollout
from metarl_lite.tasks.navigation import PointGoal


def test_standing_still_to_the_digits_that_are_known() -> None:
    assert standing_still_return() == pytest.approx(-38.260, abs=5e-4)


def test_standing_still_equals_its_simulation() -> None:
    tasks = PointGoal(dtype=torch.float64)
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    still = {name: torch.zeros_like(p) for name, p in policy.params().items()}
    still["log_std"] = torch.full((2,), -50.0, dtype=torch.float64)
    n = 4000
    returns = rollout(tasks, policy, tile(still, n), tasks.sample(n, generator(1)), 1, generator(2)).returns()
    assert abs(returns.mean().item() - standing_still_return()) < 4 * returns.std().item() / math.sqrt(n)


def test_the_best_start_is_the_centre() -> None:
    goals = PointGoal(dtype=torch.float64).sample(100_000, generator(3))["goal"]
    centre = goals.norm(dim=1).mean()
    for place in ([0.1, 0.0], [0.0, -0.2], [0.3, 0.3]):
        assert (goals - torch.tensor(place)).norm(dim=1).mean() > centre


def test_goal_known_by_hand() -> None:
    # Goal (.25, .05): offsets (.15, 0), (.05, 0), (0, 0), and then it is over.
    tasks = PointGoal(dtype=torch.float64)
    value = goal_known_return(tasks, {"goal": torch.tensor([[0.25, 0.05]], dtype=torch.float64)})
    assert value.item() == pytest.approx(-0.20)


def test_goal_known_on_average() -> None:
    tasks = PointGoal()
    assert goal_known_return(tasks, tasks.sample(200_000, generator(0))).mean().item() == pytest.approx(-0.51, abs=0.01)


def test_no_trained_or_random_policy_beats_the_known_goal() -> None:
    tasks = PointGoal(horizon=30)
    policy = MLPPolicy.for_tasks(tasks, generator(0), init_std=0.5)
    task = tasks.sample(50, generator(1))
    returns = rollout(tasks, policy, tile(policy.params(), 50), task, 20, generator(2)).returns()
    assert (returns <= goal_known_return(tasks, task).unsqueeze(1) + 1e-5).all()
