"""The grid with four buses against episodes written out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gymnasium.utils.env_checker import check_env
from torch import Tensor

from metarl_lite.rng import generator
from metarl_lite.tasks.bus_grid import BusGrid
from metarl_lite.tasks.checks import check_family
from metarl_lite.tasks.gym_env import TaskEnv
from metarl_lite.tasks.gym_vector import TaskVectorEnv

NOTHING = torch.zeros(0)
STAY, UP, RIGHT, DOWN, LEFT, RIDE = range(6)
TASK = {"buses": torch.tensor([3, 1, 0, 2])}


def begin(tasks: BusGrid, goal: int) -> Tensor:
    return tasks.reset(TASK, torch.tensor([goal / 4 + 0.1]))


def walk(tasks: BusGrid, goal: int, actions: list[int]) -> list[tuple[int, int, float, bool]]:
    """Cell, reward and end after each action."""
    state, seen = begin(tasks, goal), []
    for action in actions:
        state, reward, over = tasks.step(TASK, state, torch.tensor(action), NOTHING)
        seen.append((int(state[0]), int(state[1]), round(reward.item(), 6), bool(over)))
    return seen


def test_walking_takes_four_steps_and_pays_a_tenth() -> None:
    steps = walk(BusGrid(0), 3, [UP, UP, RIGHT, RIGHT])
    assert steps == [(2, 3, -0.3, False), (2, 4, -0.3, False), (3, 4, -0.3, False), (4, 4, 1.0, True)]
    assert sum(step[2] for step in steps) == pytest.approx(0.1)


def test_the_right_bus_takes_two_and_pays_seven_tenths() -> None:
    for goal, (stop, _) in {3: (UP, 0), 1: (RIGHT, 1), 0: (DOWN, 2), 2: (LEFT, 3)}.items():
        steps = walk(BusGrid(0), goal, [stop, RIDE])
        assert steps[-1][:2] == tuple(BusGrid.corners[goal].tolist())
        assert [step[2:] for step in steps] == [(-0.3, False), (1.0, True)]


def test_a_wrong_bus_leads_elsewhere_and_none_leads_back() -> None:
    steps = walk(BusGrid(0), 1, [DOWN, RIDE, RIDE, LEFT, UP, UP, UP, UP])
    cells = [(2, 1), (0, 0), (0, 0), (0, 0), (0, 1), (0, 2), (0, 3), (0, 4)]
    assert [step[:2] for step in steps] == cells
    assert [step[2] for step in steps] == [-0.3] * 7 + [1.0]
    assert [step[3] for step in steps] == [False] * 7 + [True]


def test_an_exploration_pays_nothing_and_its_last_step_goes_home() -> None:
    steps = walk(BusGrid(4), 3, [UP, RIDE, STAY, DOWN, UP, RIDE])
    assert steps == [
        (2, 3, 0.0, False), (4, 4, 0.0, False), (4, 4, 0.0, False),  # on the goal to be: nothing
        (2, 2, 0.0, False), (2, 3, -0.3, False), (4, 4, 1.0, True),
    ]  # fmt: skip


def test_what_is_seen_on_and_off_the_map_and_in_both_phases() -> None:
    tasks = BusGrid(4)
    state, seen = begin(tasks, 2), []
    for action in [UP, UP, LEFT, STAY, STAY]:
        seen.append(tasks.observe(TASK, state))
        state, _, _ = tasks.step(TASK, state, torch.tensor(action), NOTHING)
    assert [int(o[:25].argmax()) for o in seen] == [12, 13, 14, 9, 12]
    assert [float(o[:25].sum()) for o in seen] == [1.0] * 5
    assert [float(o[25:41].sum()) for o in seen] == [0.0, 0.0, 0.0, 4.0, 0.0]
    assert seen[3][25:41].view(4, 4).argmax(-1).tolist() == [3, 1, 0, 2]
    assert [o[41:].tolist() for o in seen] == [[0.0] * 5] * 4 + [[0.0, 0.0, 1.0, 0.0, 1.0]]


def test_an_observation_tells_nothing_of_the_task_off_the_map() -> None:
    tasks = BusGrid()
    task, state = tasks.all_tasks(), torch.zeros(24, 4, dtype=torch.long)
    for x in range(5):
        for y in range(5):
            state[:, 0], state[:, 1] = x, y
            kinds = len(tasks.observe(task, state).unique(dim=0))
            assert kinds == (24 if [x, y] == BusGrid.map_cell.tolist() else 1)


def test_tasks_and_goals_are_equally_likely() -> None:
    tasks = BusGrid()
    task = tasks.sample(24_000, generator(0))
    counts = torch.bincount(tasks.number(task), minlength=24)
    assert float((counts - 1000).abs().max()) < 4 * (24_000 * (1 / 24) * (23 / 24)) ** 0.5
    goals = tasks.reset(task, tasks.draw_reset((24_000,), generator(1)))[:, 3]
    assert float((torch.bincount(goals, minlength=4) - 6000).abs().max()) < 4 * 4500**0.5
    assert tasks.number(tasks.all_tasks()).tolist() == list(range(24))
    assert tasks.all_tasks()["buses"].unique(dim=0).shape == (24, 4)


def test_a_batch_moves_as_each_of_its_members() -> None:
    tasks, gen = BusGrid(3, 5), generator(0)
    task = {"buses": tasks.sample(6, gen)["buses"].unsqueeze(1)}  # [N, 1, 4]
    state = tasks.reset(task, tasks.draw_reset((6, 2), gen))
    for _ in range(tasks.horizon):
        action = torch.randint(6, (6, 2), generator=gen)
        after, reward, over = tasks.step(task, state, action, torch.zeros(6, 2, 0))
        for n in range(6):
            for e in range(2):
                own = {"buses": task["buses"][n, 0]}
                one = tasks.step(own, state[n, e], action[n, e], NOTHING)
                for mine, batched in zip(one, (after, reward, over), strict=True):
                    assert torch.equal(mine, batched[n, e])
        state = after


@pytest.mark.parametrize("lengths", [(10, 20), (0, 20), (10, 0), (4, 5)])
def test_it_keeps_the_promises_of_a_family(lengths: tuple[int, int]) -> None:
    check_family(BusGrid(*lengths))


def test_it_is_a_gymnasium_environment(recwarn: pytest.WarningsRecorder) -> None:
    check_env(TaskEnv(BusGrid()), skip_render_check=True)
    envs = TaskVectorEnv(BusGrid(), 3)
    seen, _ = envs.reset(seed=0)
    assert seen.shape == (3, 46)
    for _ in range(35):
        seen, *_ = envs.step(envs.action_space.sample())
        assert envs.observation_space.contains(seen)


@pytest.mark.parametrize("bad", [-1, 2.5, True, "ten", None])
def test_lengths_that_are_none_are_refused(bad: Any) -> None:
    for name in ("explore", "exploit"):
        with pytest.raises(ValueError, match=rf"{name} = .*an integer, 0 for none, such as {name}=10"):
            BusGrid(**{name: bad})


def test_an_episode_without_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one step"):
        BusGrid(0, 0)


@pytest.mark.parametrize("buses", [[0, 0, 1, 2], [1, 2, 3, 4], [-1, 0, 1, 2]])
def test_buses_that_are_no_permutation_are_refused(buses: list[int]) -> None:
    tasks = BusGrid()
    with pytest.raises(ValueError, match=r"a permutation of 0, 1, 2, 3, such as \[3, 1, 0, 2\]"):
        tasks.check_task({"buses": torch.tensor(buses)})
    with pytest.raises(ValueError, match="permutation"):
        tasks.check_task({"buses": torch.tensor([[0, 1, 2, 3], buses])}, 2)
    tasks.check_task(tasks.default_task())


def test_an_exploration_begins_at_the_entrance_and_ends_at_the_start() -> None:
    tasks = BusGrid(2, 3, entrance=(1, 4))
    state = begin(tasks, 0)
    assert state[:2].tolist() == [1, 4]
    assert tasks.observe(TASK, state)[25:41].sum() == 4  # the map is there
    for action in (STAY, STAY):
        state, reward, _ = tasks.step(TASK, state, torch.tensor(action), NOTHING)
        assert reward == 0
    assert state[:2].tolist() == [2, 2]
    assert begin(BusGrid(0, 3, entrance=(1, 4)), 0)[:2].tolist() == [2, 2]  # no exploration, no entrance


@pytest.mark.parametrize("bad", [(5, 0), (0, -1), (1,), "ab", 3, (0.5, 1), None])
def test_an_entrance_that_is_no_cell_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"entrance = .*such as entrance=\(2, 2\)"):
        BusGrid(entrance=bad)
