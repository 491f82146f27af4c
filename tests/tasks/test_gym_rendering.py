"""Pictures: shapes of known area at known places, the task hidden, and the same from one environment and from many."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from metarl_lite.rng import generator
from metarl_lite.tasks import FiniteTasks, GridGoal, PendulumTasks, TaskEnv, make_tasks, make_vec
from metarl_lite.tasks.gym_rendering import BLUE, GOLD, GREEN, GREY, ORANGE, SIDE, Canvas, Trace, draw, picture

from .families import SMALL
from .own import Own

Colour = tuple[int, int, int]


def seen(frame: Any, x: float, y: float) -> Colour:
    """The colour at a point of the unit square, y up."""
    r, g, b = frame[int((1 - y) * SIDE), int(x * SIDE)].tolist()
    return r, g, b


def area(canvas: Canvas) -> float:
    """How much is black, in the units of the square."""
    return float((1 - canvas.pixels[..., 0] / 255).sum()) / SIDE**2


def test_shapes_have_their_areas() -> None:
    """Also between the pixels, since those at the border are covered in part."""
    for shift in (0.0, 0.3 / SIDE, 0.71 / SIDE):
        disc, box, line = Canvas(), Canvas(), Canvas()
        disc.disc((0.5 + shift, 0.4), 0.2, (0, 0, 0))
        assert area(disc) == pytest.approx(math.pi * 0.04, rel=2e-3)
        box.box((0.2 + shift, 0.1), (0.6 + shift, 0.4), (0, 0, 0))
        assert area(box) == pytest.approx(0.4 * 0.3, rel=1e-2)
        line.line((0.2 + shift, 0.2), (0.7, 0.6), 0.1, (0, 0, 0))
        long = math.hypot(0.5 - shift, 0.4)
        assert area(line) == pytest.approx(0.1 * long + math.pi * 0.05**2, rel=3e-3)


def test_what_lies_outside_is_cut_off_and_the_strip_is_below() -> None:
    canvas = Canvas()
    canvas.box((-1, -1), (2, 2), (0, 0, 0))
    assert not canvas.pixels.any()
    canvas = Canvas()
    canvas.disc((5, 5), 0.1, (0, 0, 0))
    assert area(canvas) == 0
    canvas.box((0, -1), (1, 0), (0, 0, 0))
    assert (canvas.pixels[:SIDE] == 255).all()
    assert (canvas.pixels[SIDE:] == 0).all()


@pytest.mark.parametrize("name", SMALL)
def test_a_picture_of_each_family_is_new_each_time_and_changes_nothing(name: str) -> None:
    one, two = (TaskEnv(name, horizon=5, render_mode=mode) for mode in ("rgb_array", None))
    one.reset(seed=0)
    two.reset(seed=0)
    one.action_space.seed(0)
    frames = [one.render()]
    for _ in range(5):
        action = one.action_space.sample()
        mine, right = one.step(action), two.step(action)
        np.testing.assert_array_equal(mine[0], right[0])
        assert mine[1:4] == right[1:4]
        frames.append(one.render())
        again = one.render()
        np.testing.assert_array_equal(frames[-1], again)
        again += 1
        np.testing.assert_array_equal(frames[-1], one.render())
    for frame in frames:
        assert frame.shape == (304, 256, 3)
        assert frame.dtype == np.uint8
    assert all(not np.array_equal(a, b) for a, b in pairwise(frames))
    one.reset(seed=0)
    np.testing.assert_array_equal(one.render(), frames[0])


@pytest.mark.parametrize("name", ["grid-goal", "cartpole", "pendulum", "point-goal", "eleven-arms", "two-step"])
def test_the_task_stays_hidden_until_it_shows(name: str) -> None:
    """The first picture is the same for all tasks, and on the grid all are until the goal is found."""
    tasks = make_tasks(name)
    many = tasks.sample(20, generator(0))
    frames = []
    for i in range(20):
        env = TaskEnv(tasks, {leaf: value[i] for leaf, value in many.items()}, render_mode="rgb_array")
        env.reset(seed=0)
        frames.append(env.render())
    assert all(np.array_equal(frame, frames[0]) for frame in frames)


def test_the_grid_shows_the_agent_its_way_and_the_goal_once_found() -> None:
    size, frames = 5, {}
    for goal in ((1, 2), (4, 4)):
        env = TaskEnv("grid-goal", {"goal": list(goal)}, render_mode="rgb_array")  # type: ignore[arg-type]
        env.reset()
        frames[goal] = [env.render()]
        for action in (1, 1, 2, 2):
            env.step(action)
            frames[goal].append(env.render())
    found, other = frames.values()

    def cell(frame: Any, column: int, row: int, part: float = 0.1) -> Colour:
        return seen(frame, 0.02 + (column + part) * 0.96 / size, 0.02 + (row + part) * 0.96 / size)

    for step, place in enumerate([(0, 0), (0, 1), (0, 2), (1, 2), (2, 2)]):
        assert cell(found[step], *place, 0.47) == cell(other[step], *place, 0.47) == BLUE
        assert np.array_equal(found[step], other[step]) == (step < 3)
    assert cell(found[3], 1, 2) == cell(found[4], 1, 2) == GOLD
    assert cell(other[4], 1, 2) == cell(other[4], 0, 1) == (190, 215, 235)
    assert cell(other[4], 3, 3) == cell(other[4], 4, 4) == (225, 225, 225)


def test_a_pool_is_drawn_as_its_family() -> None:
    tasks = GridGoal()
    pool = FiniteTasks(tasks, tasks.sample(2, generator(0)))
    one, two = (TaskEnv(family, render_mode="rgb_array") for family in (tasks, pool))
    assert all(np.array_equal(one.render(), two.render()) for _ in [one.reset(), two.reset()])


def test_bars_of_arms_are_pulls_and_pay() -> None:
    env = TaskEnv("eleven-arms", {"target": 2}, render_mode="rgb_array", horizon=8)  # type: ignore[dict-item]
    env.reset()
    for action in (10, 2, 2, 2):
        env.step(action)
    frame = env.render()

    def height(arm: int, *colours: Colour) -> int:
        column = frame[:SIDE, int((0.05 + (arm + 0.5) * 0.9 / 11) * SIDE)]
        return sum(int((np.abs(column - np.array(c)).sum(-1) == 0).sum()) for c in colours)

    pulled = [height(arm, GREY, GREEN) for arm in range(11)]
    assert pulled[2] == pytest.approx(3 * pulled[10], abs=3)
    assert sum(p > 0 for p in pulled) == 2
    assert height(2, GREY) <= 1, "each pull of the target paid 5"
    assert height(10, GREEN) / pulled[10] == pytest.approx(0.3 / 5, abs=0.03), "the eleventh told the place by .3"
    assert seen(frame, 0.05 + 2.5 * 0.9 / 11, 0.06) == BLUE


def drawn(tasks: Any, *states: list[float], actions: Any = (), rewards: tuple[float, ...] = ()) -> Any:
    trace = Trace([torch.tensor(s) for s in states], [np.zeros(1)] * len(states), list(actions), list(rewards))
    return picture(tasks, trace)


@pytest.mark.parametrize(("angle", "tip"), [(0.0, (0, 1)), (math.pi / 2, (-1, 0)), (-math.pi / 2, (1, 0)), (3.0, None)])
def test_the_pendulum_turns_as_gymnasiums_does(angle: float, tip: tuple[float, float] | None) -> None:
    """Upright at 0, counter-clockwise: gymnasium draws its end at the angle plus a quarter turn."""
    x, y = tip or (math.cos(angle + math.pi / 2), math.sin(angle + math.pi / 2))
    frame = drawn(PendulumTasks(), [angle, 0.0])
    assert seen(frame, 0.5 + 0.3 * x, 0.55 + 0.3 * y) == BLUE
    assert seen(frame, 0.5 - 0.3 * x, 0.55 - 0.3 * y) == (255, 255, 255)


def test_torque_and_push_point_where_they_turn_and_move() -> None:
    left = drawn(PendulumTasks(), [0.0, 0.0], [0.0, 0.0], actions=[torch.tensor([2.0])])
    assert seen(left, 0.3, 0.07) == ORANGE
    assert seen(left, 0.7, 0.07) == (255, 255, 255)
    cart = drawn(make_tasks("cartpole"), [0.0] * 4, [0.0] * 4, actions=[torch.tensor(1)])
    assert seen(cart, 0.6, 0.35) == ORANGE
    assert seen(cart, 0.4, 0.35) != ORANGE


def test_the_pole_leans_to_the_right_at_a_positive_angle() -> None:
    frame = drawn(make_tasks("cartpole"), [1.2, 0.0, 0.2, 0.0])
    metre = 0.45 / 2.4
    x, y = 0.5 + 1.2 * metre, 0.35
    assert seen(frame, x + 0.9 * metre * math.sin(0.2), y + 0.9 * metre * math.cos(0.2)) == BLUE
    assert seen(frame, x - 0.9 * metre * math.sin(0.2), y + 0.9 * metre * math.cos(0.2)) == (255, 255, 255)


def test_a_place_of_the_plane_is_greener_the_better_it_was_paid() -> None:
    frame = drawn(
        make_tasks("point-goal"),
        [0.0, 0.0],
        [0.3, 0.0],
        [0.0, 0.3],
        [-0.3, 0.0],
        actions=[0] * 3,
        rewards=(-0.2, -0.1, -0.3),
    )
    for (x, y), colour in zip([(0.7, 0.5), (0.5, 0.7)], [None, GREEN], strict=True):
        assert seen(frame, x, y) == (colour or tuple((a + b) // 2 for a, b in zip(GREEN, ORANGE, strict=True)))
    assert seen(frame, 0.3, 0.5) == BLUE, "the agent stands on the last one"
    far = drawn(make_tasks("point-goal"), [0.0, 0.0], [2.0, -2.0], actions=[0], rewards=(-1.0,))
    assert seen(far, 0.5 + 2 / 6, 0.5 - 2 / 6) == BLUE, "what is seen widens with the way"


def test_the_places_of_the_two_step_task_are_lit() -> None:
    frame = drawn(make_tasks("two-step"), [0, 1], [2, 1], [0, 1], actions=[0, 0], rewards=(0.0, 1.0))
    assert seen(frame, 0.78, 0.75) == GOLD
    assert seen(frame, 0.5, 0.2) == BLUE
    assert seen(frame, 0.22, 0.75) == (255, 255, 255)


def test_the_states_of_a_process_stand_in_a_circle() -> None:
    frame = drawn(make_tasks("tabular-mdp", num_states=4), [0], [1], actions=[0], rewards=(1.0,))
    for place, colour in (((0.88, 0.5), BLUE), ((0.5, 0.88), GREY), ((0.5, 0.12), GREY), ((0.69, 0.69), BLUE)):
        assert seen(frame, *place) == colour


def test_rewards_stand_below_in_units_of_the_largest() -> None:
    frame = drawn(make_tasks("cartpole", horizon=4), *[[0.0] * 4] * 4, actions=[0] * 3, rewards=(2.0, -1.0, 0.0))
    strip = frame[SIDE:]

    def bar(t: int, colour: Colour) -> int:
        column = strip[:, int((0.02 + (t + 0.45) * 0.96 / 4) * SIDE)]
        return int((column == np.array(colour)).all(-1).sum())

    assert bar(0, BLUE) == pytest.approx(2 * bar(1, ORANGE), abs=2)
    assert bar(0, BLUE) == pytest.approx(0.4 * len(strip), abs=2)
    assert bar(2, BLUE) == bar(2, ORANGE) == bar(3, BLUE) == 0


def test_another_family_is_drawn_by_what_it_shows() -> None:
    env = TaskEnv(Own(), render_mode="rgb_array")
    env.reset(seed=0)
    for _ in range(3):
        env.step(0)  # to the left, so the first number is negative and the second, its square, positive
    frame = env.render()
    assert seen(frame, 0.2, 0.45) == ORANGE
    assert seen(frame, 0.65, 0.51) == BLUE
    canvas = Canvas()
    draw(Own(), canvas, Trace([], [np.zeros(2, np.float32)]))
    assert area(canvas) > 0, "nothing but zeros is drawn too"


def test_many_environments_are_drawn_as_single_ones() -> None:
    many = make_vec("cartpole", 2, render_mode="rgb_array", horizon=6)
    single = [TaskEnv("cartpole", render_mode="rgb_array", horizon=6) for _ in range(2)]
    many.reset(seed=4)
    for i, env in enumerate(single):
        env.reset(seed=4 + i)
    for t in range(9):
        actions = np.array([t % 2, 1])
        many.step(actions)
        for i, env in enumerate(single):
            env.reset() if t == 6 else env.step(int(actions[i]))
        frames = many.render()
        assert len(frames) == 2
        for mine, env in zip(frames, single, strict=True):
            np.testing.assert_array_equal(mine, env.render())


@pytest.mark.parametrize("make", [lambda **o: TaskEnv("grid-goal", **o), lambda **o: make_vec("grid-goal", 2, **o)])
def test_pictures_are_asked_for_when_the_environment_is_made(make: Any) -> None:
    env = make()
    env.reset()
    with pytest.warns(UserWarning, match='make the environment with render_mode="rgb_array"'):
        assert env.render() is None
    with pytest.raises(gymnasium.error.ResetNeeded, match="there is no episode yet"):
        make(render_mode="rgb_array").render()
    assert make().metadata["render_modes"] == ["rgb_array"]
    assert make().metadata["render_fps"] == 4
