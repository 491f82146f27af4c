"""The marked equations of chapter 1 against the code and against brute force."""

from __future__ import annotations

import math

import pytest
import torch

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.algorithms.maml import maml
from metarl_lite.oracles.navigation import agnostic_bound, locate_goal, mean_distance, standing_still_return
from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator, normal
from metarl_lite.rollout import rollout
from metarl_lite.tasks import CartPoleTasks, PointGoal
from metarl_lite.types import Task


def test_eq_agnostic_return() -> None:
    """A path that ignores the goal: the mean return over goals is minus the sum of d, and at most -T d(0)."""
    tasks = PointGoal(horizon=8, dtype=torch.float64)
    line = (torch.arange(300, dtype=torch.float64) + 0.5) / 300 - 0.5
    task = {"goal": torch.cartesian_prod(line, line)}
    moves = 0.08 * normal((8, 2), generator(0), torch.float64)
    state = torch.zeros_like(task["goal"])
    total, places = torch.zeros(len(state), dtype=torch.float64), []
    for move in moves:
        state, reward, _ = tasks.step(task, state, move.expand_as(state), state[:, :0])
        total += reward  # the early end is left aside, as in the equation
        places.append(state[0])
    by_place = -mean_distance(torch.stack(places)).sum().item()
    assert total.mean().item() == pytest.approx(by_place, abs=1e-4)
    assert by_place <= standing_still_return(8) + 1e-12


def test_eq_standing_still() -> None:
    """100 (sqrt 2 + asinh 1) / 6 is 38.260, and is the integral of the distance."""
    closed = 100 * (math.sqrt(2) + math.asinh(1)) / 6
    assert round(closed, 3) == 38.260
    assert -standing_still_return() == pytest.approx(closed, abs=1e-12)
    line = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000 - 0.5
    distance = torch.cartesian_prod(line, line).norm(dim=1).mean().item()
    assert 100 * distance == pytest.approx(closed, abs=1e-4)


def test_eq_locate_goal() -> None:
    """The two linear equations hold at the goal, and `locate_goal` finds it, for a batch of goals."""
    goals = PointGoal(dtype=torch.float64).sample(50, generator(1))["goal"]
    places = normal((50, 3, 2), generator(2), torch.float64)
    rho = (places - goals.unsqueeze(1)).norm(dim=-1)
    for k in (1, 2):
        left = 2 * ((places[:, k] - places[:, 0]) * goals).sum(-1)
        right = (places[:, k] ** 2).sum(-1) - (places[:, 0] ** 2).sum(-1) - rho[:, k] ** 2 + rho[:, 0] ** 2
        assert torch.allclose(left, right, rtol=0, atol=1e-12)
    assert torch.allclose(locate_goal(places, rho), goals, rtol=0, atol=1e-6)


def test_sitting_at_the_old_goal_is_worth_58_and_not_60() -> None:
    """What the specialist has on new goals is near this; by brute force over a grid of goals."""
    line = (torch.arange(400, dtype=torch.float64) + 0.5) / 400 - 0.5
    distance = (torch.cartesian_prod(line, line) - torch.tensor([0.3, 0.4], dtype=torch.float64)).norm(dim=1).mean()
    assert -100 * distance.item() == pytest.approx(-58.88, abs=0.005)
    assert -100 * mean_distance(torch.tensor([0.3, 0.4], dtype=torch.float64)).item() == pytest.approx(
        -58.88, abs=0.005
    )


def test_what_ending_by_luck_is_worth() -> None:
    """The two halves of the argument: the chance of an end, and what it saves, by brute force; and the bound itself."""
    tasks = PointGoal(dtype=torch.float64)
    assert 0 < agnostic_bound(tasks) - standing_still_return() < 0.06
    assert round(agnostic_bound(tasks), 2) == -38.20
    line = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000 - 0.5
    goals, side = torch.cartesian_prod(line, line), 2 * tasks.radius
    for place, later in (([0.1, -0.2], [0.4, 0.4]), ([0.0, 0.0], [0.0, 0.1]), ([0.495, 0.0], [-0.3, 0.2])):
        at, then = (torch.tensor(x, dtype=torch.float64) for x in (place, later))
        ends = ((goals - at).abs() < tasks.radius).all(-1)
        assert ends.double().mean() <= side**2 * 1.02  # the grid's own error is a fiftieth
        saved = (ends * (goals - then).norm(dim=-1)).mean()
        assert saved <= side**2 * (at.norm() + then.norm() + side * -standing_still_return(1)) * 1.02


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_shortest_poles_want_training_and_not_draws(seed: int) -> None:
    """A pole of 0.1 m after 60 iterations and 240, with lengths drawn evenly, and evenly on a logarithmic scale."""

    class Even(CartPoleTasks):
        def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
            task = super().sample(num_tasks, gen)
            place = (task["length"] - 0.1) / 2.9  # from U[0, 1)
            return task | {"length": 0.1 * 30**place}

    def trained(tasks: CartPoleTasks, iterations: int) -> tuple[float, float]:
        """What 0.1 m earns, and the least of longer poles."""
        gen = generator(seed)
        policy = MLPPolicy.for_tasks(tasks, gen, hidden=(32,), init_std=0.05)
        numbers = {"inner_steps": 0, "outer_lr": 0.02, "gae_lambda": 1.0, "num_tasks": 20, "episodes": 2}
        policy, _ = maml(tasks, policy, MAMLConfig(iterations=iterations, **numbers), gen)  # type: ignore[arg-type]
        lengths = torch.tensor([0.1, 0.25, 0.5, 1.0, 2.0, 3.0])
        task = {name: leaf.expand(6) for name, leaf in tasks.default_task().items()} | {"length": lengths}
        earned = rollout(tasks, policy, tile(policy.params(), 6), task, 50, generator(1)).returns().mean(1)
        return earned[0].item(), earned[1:].min().item()

    ranges = {"length": (0.1, 3.0)}
    even, other = Even(ranges=ranges), CartPoleTasks(ranges=ranges)
    (start, others), (more, _), (longer, _) = trained(other, 60), trained(even, 60), trained(other, 240)
    assert more - start < (longer - start) / 2
    most, others_then = trained(even, 240)
    assert most > longer
    assert others_then >= others
