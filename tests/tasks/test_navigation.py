"""Navigation against walks written out by hand."""

from __future__ import annotations

import math
import re

import pytest
import torch

from metarl_lite.rng import generator
from metarl_lite.tasks import GridGoal, PointGoal, check_family
from metarl_lite.tasks.navigation import WarmGrid

NOTHING = torch.zeros(0)


def test_goals_of_the_plane_are_uniform_on_the_square() -> None:
    goals = PointGoal().sample(10_000, generator(0))["goal"].double()
    assert float(goals.abs().max()) <= 0.5
    assert float(goals.mean()) == pytest.approx(0, abs=4 * (1 / 12 / goals.numel()) ** 0.5)
    assert float((goals**2).mean()) == pytest.approx(1 / 12, abs=4 * (1 / 180 / goals.numel()) ** 0.5)


def test_a_walk_on_the_plane() -> None:
    tasks, task = PointGoal(dtype=torch.float64), {"goal": torch.tensor([0.2, -0.1], dtype=torch.float64)}
    state = tasks.reset(task, NOTHING)
    seen = []
    for action in ([5.0, -0.05], [0.05, -5.0], [0.045, 0.045], [0.0, 0.0]):
        state, reward, over = tasks.step(task, state, torch.tensor(action, dtype=torch.float64), NOTHING)
        seen.append((*tasks.observe(task, state).tolist(), reward.item(), over.item()))
    expected = [
        (0.1, -0.05, -math.hypot(0.1, 0.05), False),  # clipped to .1 in each coordinate
        (0.15, -0.15, -math.hypot(0.05, 0.05), False),
        (0.195, -0.105, -math.hypot(0.005, 0.005), True),  # both within .01
        (0.195, -0.105, -math.hypot(0.005, 0.005), True),
    ]
    for mine, right in zip(seen, expected, strict=True):
        assert mine == pytest.approx(right)


def test_one_coordinate_within_reach_is_not_enough() -> None:
    tasks, task = PointGoal(), {"goal": torch.tensor([0.0, 0.5])}
    _, _, over = tasks.step(task, torch.zeros(2), torch.zeros(2), NOTHING)
    assert not over


def test_the_grid_has_the_goals_outside_the_corner_equally_often() -> None:
    tasks = GridGoal()
    assert len(tasks.goals()) == 21
    assert not (tasks.goals() < 2).all(-1).any()
    goals = tasks.sample(21_000, generator(0))["goal"]
    counts = (goals.unsqueeze(1) == tasks.goals()).all(-1).sum(0)
    assert int(counts.sum()) == 21_000
    assert float((counts - 1000).abs().max()) < 4 * (21_000 * (1 / 21) * (20 / 21)) ** 0.5


def test_a_walk_on_the_grid() -> None:
    tasks, task = GridGoal(3), {"goal": torch.tensor([1, 2])}
    state = tasks.reset(task, NOTHING)
    seen = []
    for action in [4, 3, 1, 1, 1, 2, 0, 2, 3, 4]:  # left, down, up, up, up, right, stay, right, down, left
        state, reward, over = tasks.step(task, state, torch.tensor(action), NOTHING)
        assert tasks.observe(task, state).argmax().item() == 3 * state[0] + state[1]
        assert not over
        seen.append((*state.tolist(), round(reward.item(), 6)))
    assert seen == [
        (0, 0, -0.1), (0, 0, -0.1), (0, 1, -0.1), (0, 2, -0.1), (0, 2, -0.1),
        (1, 2, 1.0), (1, 2, 1.0), (2, 2, -0.1), (2, 1, -0.1), (1, 1, -0.1),
    ]  # fmt: skip


def test_a_grid_without_room_for_a_goal_is_refused() -> None:
    with pytest.raises(ValueError, match=r"size = 2: .*at least size=3"):
        GridGoal(2)


def test_the_end_of_the_plane_is_a_square_of_two_hundredths() -> None:
    """A corner that a disc of that width would leave out is in; a little beyond a side is out."""
    tasks, start = PointGoal(dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for offset, ends in (
        ([0.0099, 0.0099], True), ([-0.0099, 0.0099], True), ([0.009, -0.009], True), ([0.0, 0.0], True),
        ([0.0101, 0.0], False), ([0.0, -0.0101], False), ([0.0101, 0.0099], False), ([0.01, 0.0], False),
    ):  # fmt: skip
        task = {"goal": torch.tensor(offset, dtype=torch.float64)}
        _, reward, over = tasks.step(task, start, torch.zeros(2, dtype=torch.float64), NOTHING)
        assert bool(over) == ends, offset
        assert reward.item() == pytest.approx(-math.hypot(*offset))


def test_goals_of_the_plane_reach_to_the_corners_of_the_square() -> None:
    goals = PointGoal(dtype=torch.float64).sample(10_000, generator(1))["goal"]
    assert goals.amin(0).max().item() < -0.499
    assert goals.amax(0).min().item() > 0.499


@pytest.mark.parametrize("size", [3, 5, 7])
def test_a_grid_of_any_size_leaves_out_the_starts_corner_alone(size: int) -> None:
    goals = GridGoal(size).goals()
    everywhere = {(x, y) for x in range(size) for y in range(size)}
    assert {tuple(cell) for cell in goals.tolist()} == everywhere - {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert len(goals) == size**2 - 4
    assert GridGoal(size).default_task()["goal"].tolist() == [size - 1, size - 1]


@pytest.mark.parametrize("goal", [[9, 9], [1.75, 2.0], [-1, 3], [0, 5], [4.5, 0.0]])
def test_a_goal_that_is_no_cell_is_refused(goal: list[float]) -> None:
    tasks = GridGoal()
    message = rf"task\['goal'\] of grid-goal holds {re.escape(str(goal))}, .*integers 0 ... 4: such as \[4, 4\]"
    with pytest.raises(ValueError, match=message):
        tasks.check_task({"goal": torch.tensor(goal)})
    with pytest.raises(ValueError, match=message):
        tasks.check_task({"goal": torch.tensor([[3, 3], goal])}, 2)
    for fine in ([0, 0], [4, 4], [3.0, 2.0]):  # the start's corner is a cell, too
        tasks.check_task({"goal": torch.tensor(fine)})


def test_the_warm_grid_pays_what_is_missing_to_the_goal_and_moves_as_the_grid_does() -> None:
    warm, sparse = WarmGrid(dtype=torch.float64), GridGoal(dtype=torch.float64)
    task = {"goal": torch.tensor([3, 2])}
    state, none = torch.tensor([0, 0]), torch.zeros(0)
    for move, distance in ((1, 4), (2, 3), (3, 4), (3, 4), (2, 3), (2, 2), (1, 1), (1, 0), (0, 0), (1, 1)):
        (after, reward, ended), (expected, _, _) = (
            t.step(task, state, torch.tensor(move), none) for t in (warm, sparse)
        )
        assert torch.equal(after, expected)
        assert reward.item() == pytest.approx(-0.1 * distance)
        assert reward.dtype == torch.float64
        assert not ended
        state = after
    check_family(warm)
