"""The anchors of 2-D navigation."""

from __future__ import annotations

import math

import pytest
import torch

from metarl_lite.oracles.navigation import (
    agnostic_bound,
    goal_known_return,
    locate_goal,
    mean_distance,
    probing_return,
    standing_still_return,
)
from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
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
    """By the package's mean distance, which a sample of goals confirms."""
    goals = PointGoal(dtype=torch.float64).sample(100_000, generator(3))["goal"]
    centre = mean_distance(torch.zeros(2, dtype=torch.float64))
    assert -100 * centre.item() == pytest.approx(standing_still_return(), rel=1e-12)
    for place in ([0.1, 0.0], [0.0, -0.2], [0.3, 0.3], [-0.45, 0.02]):
        there = torch.tensor(place, dtype=torch.float64)
        distances = (goals - there).norm(dim=1)
        assert mean_distance(there) > centre
        assert abs(distances.mean() - mean_distance(there)) < 4 * distances.std() / math.sqrt(100_000)


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


def test_mean_distance_equals_numerical_integration_inside_and_outside_the_square() -> None:
    line = (torch.arange(800, dtype=torch.float64) + 0.5) / 800 - 0.5
    goals = torch.cartesian_prod(line, line)
    points = torch.tensor([[0, 0], [0.3, 0.4], [0.5, -0.5], [-0.5, 0.1], [1.2, -0.7]], dtype=torch.float64)
    integral = torch.stack([(goals - point).norm(dim=1).mean() for point in points])
    assert torch.allclose(mean_distance(points), integral, rtol=0, atol=1e-6)
    assert -100 * mean_distance(points[0]).item() == pytest.approx(standing_still_return(), abs=1e-12)


def test_early_ends_are_worth_little() -> None:
    gain = agnostic_bound(PointGoal()) - standing_still_return()
    assert round(gain, 2) == 0.06
    assert 0 < gain < 0.06  # .05964, where nothing is drawn or trained


def test_no_sweeping_path_beats_the_bound() -> None:
    # Spirals of growing radius, on goals so many that the mean over the square is nearly exact.
    tasks, steps = PointGoal(dtype=torch.float64), torch.arange(1, 101, dtype=torch.float64)
    line = (torch.arange(150, dtype=torch.float64) + 0.5) / 150 - 0.5
    task = {"goal": torch.cartesian_prod(line, line)}
    for growth in (0.0, 0.0005, 0.002):
        angle = 0.5 * steps
        path = growth * steps.unsqueeze(1) * torch.stack([angle.cos(), angle.sin()], 1)
        state, total = torch.zeros_like(task["goal"]), torch.zeros(len(task["goal"]), dtype=torch.float64)
        alive = torch.ones_like(total)
        for point in path:
            state, reward, over = tasks.step(task, state, point - state, state[..., :0])
            total, alive = total + reward * alive, alive * ~over
        assert total.mean().item() < agnostic_bound(tasks)


def test_locate_goal_by_hand() -> None:
    # Distances 3, 5 and 4 from the corners of a 3-4-5 triangle: the goal is its right angle.
    positions = torch.tensor([[3.0, 0.0], [3.0, 4.0], [0.0, 4.0]])
    assert torch.allclose(locate_goal(positions, torch.tensor([3.0, 5.0, 4.0])), torch.zeros(2), atol=1e-6)


def test_three_probing_steps_are_nearly_as_good_as_knowing() -> None:
    tasks = PointGoal()
    task = tasks.sample(20_000, generator(4))
    probing, known = probing_return(tasks, task), goal_known_return(tasks, task)
    assert (probing <= known + 1e-4).all()
    assert probing.mean().item() == pytest.approx(-1.671, abs=0.03)
