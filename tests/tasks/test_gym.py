"""Families as `gymnasium.vector.VectorEnv`: literal arrays, members that do not disturb each other, and single ones."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from metarl_lite.rng import generator
from metarl_lite.tasks import FAMILIES, PointGoal, TaskEnv, TaskVectorEnv, make_vec

from .test_gym_env import IDS

GOALS = {"goal": torch.tensor([[0.2, 0.0], [0.0, 0.5], [0.1, 0.0]])}
RIGHT = np.tile(np.array([0.1, 0.0], np.float32), (3, 1))


def test_autoreset_against_literal_arrays() -> None:
    """Three points walk to the right; the goals of the first and the third lie on the way. The horizon is 4."""
    env = make_vec("point-goal", 3, GOALS, horizon=4)
    assert env.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    observations, infos = env.reset(seed=0)
    assert observations.tolist() == [[0, 0]] * 3
    assert infos == {}
    x, rewards, terminated, truncated = [], [], [], []
    for _ in range(6):
        o, r, over, cut, infos = env.step(RIGHT)
        assert infos == {}
        assert o[:, 1].tolist() == [0, 0, 0]
        x.append(o[:, 0])
        rewards.append(r)
        terminated.append(over.tolist())
        truncated.append(cut.tolist())
    np.testing.assert_allclose(
        x,
        [[0.1, 0.1, 0.1], [0.2, 0.2, 0.0], [0.0, 0.3, 0.1], [0.1, 0.4, 0.0], [0.2, 0.0, 0.1], [0.0, 0.1, 0.0]],
        atol=1e-6,
    )
    far = [np.hypot(0.1 * k, 0.5) for k in range(5)]
    np.testing.assert_allclose(
        rewards,
        [[-0.1, -far[1], 0], [0, -far[2], 0], [0, -far[3], 0], [-0.1, -far[4], 0], [0, 0, 0], [0, -far[1], 0]],
        atol=1e-6,
    )
    no, yes = False, True
    assert terminated == [[no, no, yes], [yes, no, no], [no, no, yes], [no, no, no], [yes, no, yes], [no, no, no]]
    assert truncated == [[no] * 3, [no] * 3, [no] * 3, [no, yes, no], [no] * 3, [no] * 3]


def test_the_others_go_on_while_one_resets() -> None:
    """A member's episodes are the same with neighbours that reset and without."""
    tasks = FAMILIES["cartpole"](horizon=60)  # type: ignore[call-arg]
    actions = np.random.default_rng(0).integers(0, 2, (300, 4))
    actions[:, 0] = 1  # falls soon, again and again
    together, resets = make_vec(tasks, 4), 0
    alone = [make_vec(tasks, 1) for _ in range(4)]
    first = together.reset(seed=10)[0]
    for i, env in enumerate(alone):
        assert np.array_equal(env.reset(seed=10 + i)[0][0], first[i])
    for row in actions:
        results = together.step(row)
        resets += int((results[2] | results[3]).any())
        for i, env in enumerate(alone):
            for mine, all_of_them in zip(env.step(row[i : i + 1])[:4], results[:4], strict=True):
                assert np.array_equal(mine[0], all_of_them[i])
    assert resets > 50


@pytest.mark.parametrize("gym_id", IDS)
def test_a_vector_equals_gymnasiums_own_of_single_environments(gym_id: str) -> None:
    """Resets, steps and autoresets, to the bit: member i is the single environment with the seed `seed + i`."""
    options: dict[str, Any] = {"horizon": 7}
    ours = gymnasium.make_vec(gym_id, num_envs=3, vectorization_mode="vector_entry_point", **options)
    theirs = gymnasium.make_vec(gym_id, num_envs=3, vectorization_mode="sync", **options)
    assert isinstance(ours, TaskVectorEnv)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    ours.action_space.seed(0)
    np.testing.assert_array_equal(ours.reset(seed=5)[0], theirs.reset(seed=5)[0])
    for _ in range(20):
        actions = ours.action_space.sample()
        mine, right = ours.step(actions), theirs.step(actions)
        np.testing.assert_array_equal(mine[0], right[0])
        np.testing.assert_allclose(mine[1], right[1], rtol=1e-6)
        np.testing.assert_array_equal(mine[2], right[2])
        np.testing.assert_array_equal(mine[3], right[3])
        assert mine[0] in ours.observation_space
    np.testing.assert_array_equal(ours.reset()[0], theirs.reset()[0])


def test_each_member_has_a_task_of_its_own() -> None:
    tasks = PointGoal()
    task = tasks.sample(4, generator(0))
    env = make_vec(tasks, 4, task)
    env.reset(seed=0)
    _, rewards, *_ = env.step(np.zeros((4, 2), np.float32))
    np.testing.assert_allclose(rewards, -task["goal"].norm(dim=-1).numpy(), rtol=1e-6)
    for i in range(4):
        single = TaskEnv(tasks, {"goal": task["goal"][i]})
        single.reset()
        assert single.step(np.zeros(2, np.float32))[1] == pytest.approx(rewards[i])


def test_one_task_serves_all_members_and_the_default_does_so() -> None:
    given = make_vec("point-goal", 2, {"goal": [0.1, 0.2]}).task["goal"]
    assert torch.equal(given, torch.tensor([[0.1, 0.2]] * 2))
    default = make_vec("metarl_lite/PointGoal-v0", 2).task["goal"]
    assert torch.equal(default, PointGoal().default_task()["goal"].expand(2, 2))


def test_tasks_change_by_options_only_and_a_mask_spares_the_others() -> None:
    env = make_vec("point-goal", 3, GOALS)
    env.reset(seed=0)
    env.reset(seed=1)
    assert torch.equal(env.task["goal"], GOALS["goal"])
    env.step(RIGHT)
    new = {"goal": torch.full((3, 2), 0.4)}
    observations, _ = env.reset(options={"task": new, "reset_mask": np.array([False, True, False])})
    np.testing.assert_allclose(observations, [[0.1, 0], [0, 0], [0.1, 0]], rtol=1e-6)
    np.testing.assert_allclose(env.task["goal"], [[0.2, 0], [0.4, 0.4], [0.1, 0]], rtol=1e-6)
    # The third member had ended before; the mask spared it, so the next step still resets it.
    observations, rewards, terminated, _, _ = env.step(RIGHT)
    np.testing.assert_allclose(observations, [[0.2, 0], [0.1, 0], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(rewards, [0, -0.5, 0], atol=1e-6)
    assert terminated.tolist() == [True, False, False]
    # A member that has ended and is reset by hand is not reset once more.
    env.reset(options={"reset_mask": np.array([True, False, False])})
    np.testing.assert_allclose(env.step(RIGHT)[0], [[0.1, 0], [0.2, 0], [0.1, 0]], atol=1e-6)


def test_a_masked_reset_with_a_seed_repeats_that_members_episode() -> None:
    env = make_vec("cartpole", 3)
    first = env.reset(seed=4)[0]
    env.step(np.array([0, 1, 0]))
    second = env.reset(seed=4, options={"reset_mask": np.array([False, False, True])})[0]
    assert np.array_equal(second[2], first[2])
    assert not np.array_equal(second[0], first[0])
    third = env.reset(seed=[None, 7, 6])[0]
    assert np.array_equal(third[2], first[2])
    assert np.array_equal(third[1], TaskEnv("cartpole").reset(seed=7)[0])


def test_returned_arrays_are_the_callers_own() -> None:
    env = make_vec("point-goal", 3, GOALS)
    observations, _ = env.reset(seed=0)
    observations += 5
    moved, rewards, terminated, truncated, _ = env.step(RIGHT)
    np.testing.assert_allclose(moved[:, 0], 0.1)
    moved += 5
    rewards += 5
    terminated |= True
    truncated |= True
    moved, _, terminated, _, _ = env.step(RIGHT)
    np.testing.assert_allclose(moved[:, 0], [0.2, 0.2, 0.0], atol=1e-6)
    assert terminated.tolist() == [True, False, False]


def test_the_action_of_a_member_that_resets_is_ignored() -> None:
    env = make_vec("point-goal", 3, GOALS)
    env.reset(seed=0)
    env.step(RIGHT)
    actions = RIGHT.copy()
    actions[2] = np.nan  # taken for a 0 it would stay on the goal, and end the episode once more
    observations, _, terminated, _, _ = env.step(actions)
    np.testing.assert_allclose(observations, [[0.2, 0], [0.2, 0], [0, 0]], atol=1e-6)
    assert terminated.tolist() == [True, False, False]
    with pytest.raises(ValueError, match="finite numbers"):
        env.step(np.full((3, 2), np.nan))


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no family of tasks 'maze'; make_tasks knows bernoulli-bandit"):
        make_vec("maze", 2)
    with pytest.raises(ValueError, match=r"no id 'metarl_lite/Maze-v0'; make_vec knows metarl_lite/BernoulliBandit-v0"):
        make_vec("metarl_lite/Maze-v0", 2)
    with pytest.raises(ValueError, match="num_envs = 0: a positive integer"):
        make_vec("point-goal", 0)
    with pytest.raises(ValueError, match=r"goal.*\(3, 2\).*\(2, 2\).*batch of 2 tasks"):
        make_vec("point-goal", 2, GOALS)
    env = make_vec("grid-goal", 2)
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset"):
        env.step(np.array([0, 0]))
    with pytest.raises(gymnasium.error.ResetNeeded, match="leave reset_mask out"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"needs an array of shape \(2,\) of integers 0 ... 4"):
        env.step(np.array([0, 5]))
    with pytest.raises(ValueError, match=r"reset_mask.*boolean array of 2 entries"):
        env.reset(options={"reset_mask": np.array([1, 0])})
    with pytest.raises(ValueError, match=r"reset_mask.*at least one of them True"):
        env.reset(options={"reset_mask": np.array([False, False])})
    with pytest.raises(ValueError, match=r"seed = \[1, 2, 3\]: one integer, or one for each of 2 members"):
        env.reset(seed=[1, 2, 3])
    with pytest.raises(ValueError, match=r"render_mode = 'human': .* 'rgb_array'"):
        make_vec("point-goal", 2, render_mode="human")
    with pytest.raises(ValueError, match=r"autoreset_mode = 'Never': .*'NextStep', 'SameStep', 'Disabled'"):
        make_vec("point-goal", 2, autoreset_mode="Never")
    with pytest.raises(ValueError, match=r"max_episode_steps = 16: .*its horizon, 15; make it longer by horizon=16"):
        make_vec("grid-goal", 2, max_episode_steps=16)
    with pytest.raises(ValueError, match="max_episode_steps = 0: a positive integer"):
        make_vec("grid-goal", 2, max_episode_steps=0)
