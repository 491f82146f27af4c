"""Families as `gymnasium.Env`: gymnasium's own checker, tasks that stay, ends, and clear refusals."""

from __future__ import annotations

import random
import warnings
from types import MappingProxyType
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from metarl_lite.rng import generator
from metarl_lite.tasks import FAMILIES, CartPoleTasks, GymTasks, PointGoal, TabularMDP, TaskEnv, make_vec, register
from metarl_lite.tasks.gym_env import episode_noise

IDS = [
    "metarl_lite/BernoulliBandit-v0",
    "metarl_lite/DependentBandit-v0",
    "metarl_lite/ElevenArms-v0",
    "metarl_lite/TwoStep-v0",
    "metarl_lite/TabularMDP-v0",
    "metarl_lite/PointGoal-v0",
    "metarl_lite/GridGoal-v0",
    "metarl_lite/CartPole-v0",
    "metarl_lite/Pendulum-v0",
]


def test_the_ids_are_these_and_registering_again_changes_nothing() -> None:
    register()
    assert sorted(i for i in gymnasium.registry if i.startswith("metarl_lite/")) == sorted(IDS)
    assert len(IDS) == len(FAMILIES)


@pytest.mark.parametrize("gym_id", IDS)
def test_gymnasiums_checker_has_no_complaint(gym_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(gym_id).unwrapped)


@pytest.mark.parametrize("gym_id", IDS)
def test_whole_episodes_stay_in_the_spaces(gym_id: str) -> None:
    env = gymnasium.make(gym_id)
    env.action_space.seed(0)
    for episode in range(3):
        observation, info = env.reset(seed=episode)
        assert info == {}
        over = False
        while not over:
            assert observation in env.observation_space
            assert observation.dtype == np.float32
            observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
            assert isinstance(reward, float)
            over = terminated or truncated
        assert observation in env.observation_space


@pytest.mark.parametrize("gym_id", IDS)
def test_a_seed_decides_the_episode_and_global_states_stay(gym_id: str) -> None:
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002

    def episode(seed: int) -> list[Any]:
        env = gymnasium.make(gym_id).unwrapped
        env.action_space.seed(1)
        seen: list[Any] = [env.reset(seed=seed)[0].tolist()]
        over = False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            seen.append((observation.tolist(), reward))
            over = terminated or truncated
        return seen

    assert episode(3) == episode(3)
    deterministic = ("ElevenArms", "PointGoal", "GridGoal")
    if gym_id not in [f"metarl_lite/{name}-v0" for name in deterministic]:
        assert episode(3) != episode(4)
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002
    assert python_state == random.getstate()


def env_keeps_its_task(env: TaskEnv) -> bool:
    """Resets with and without a seed leave the task alone."""
    before = {name: leaf.clone() for name, leaf in env.task.items()}
    for seed in (None, 0, 1, None):
        env.reset(seed=seed)
        env.step(env.action_space.sample())
    return all(torch.equal(leaf, before[name]) for name, leaf in env.task.items())


class RedrawsInReset(TaskEnv):
    """Gotcha 8."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.task = {name: leaf[0] for name, leaf in self.tasks.sample(1, generator(seed or 0)).items()}
        return super().reset(seed=seed, options=options)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_reset_keeps_the_task(name: str) -> None:
    assert env_keeps_its_task(TaskEnv(name))


def test_a_reset_that_redraws_the_task_is_found() -> None:
    assert not env_keeps_its_task(RedrawsInReset("point-goal"))


def test_the_task_is_given_by_make_and_changed_by_options_only() -> None:
    env: Any = gymnasium.make("metarl_lite/GridGoal-v0", size=7, horizon=3, task={"goal": [0, 6]}).unwrapped
    assert env.task["goal"].tolist() == [0, 6]
    assert (env.tasks.size, env.tasks.horizon) == (7, 3)
    env.reset(seed=0)
    assert env.task["goal"].tolist() == [0, 6]
    env.reset(seed=0, options={"task": {"goal": np.array([4, 4])}})
    assert env.task["goal"].tolist() == [4, 4]
    env.reset()
    assert env.task["goal"].tolist() == [4, 4]
    default: Any = gymnasium.make("metarl_lite/GridGoal-v0").unwrapped
    assert default.task["goal"].tolist() == [4, 4]


def test_nobody_changes_the_task_through_the_tensors_he_gave() -> None:
    goal = torch.tensor([0.1, 0.1])
    env = TaskEnv("point-goal", {"goal": goal})
    goal += 1
    assert env.task["goal"].tolist() == pytest.approx([0.1, 0.1])


def test_ends_terminated_by_the_dynamics_truncated_at_the_horizon() -> None:
    env = TaskEnv(PointGoal(horizon=3), {"goal": torch.tensor([0.2, 0.0])})
    right, stay = np.array([0.1, 0.0], np.float32), np.zeros(2, np.float32)
    env.reset()
    assert [env.step(right)[2:4] for _ in range(2)] == [(False, False), (True, False)]
    env.reset()
    assert [env.step(stay)[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]
    env.reset()
    assert [env.step(a)[2:4] for a in (stay, right, right)][-1] == (True, True)  # both at once, as in gymnasium


def test_a_step_without_a_running_episode_is_refused() -> None:
    env = TaskEnv("bernoulli-bandit", horizon=1)
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset"):
        env.step(0)
    env.reset()
    env.step(0)
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset"):
        env.step(0)


def test_the_pendulums_action_is_in_units_of_its_limit() -> None:
    env = TaskEnv("pendulum", dtype=torch.float64)
    env.reset(seed=0)
    assert env._state is not None
    state = env._state.clone()
    env.step(np.array([0.5], np.float32))
    after, _, _ = env.tasks.step(env.task, state, torch.tensor([1.0], dtype=torch.float64), torch.zeros(0))
    assert torch.equal(env._state, after)


@pytest.mark.parametrize("action", [5, -1, 1.0, [1], None, np.array([0, 1])])
def test_an_invalid_discrete_action_is_refused(action: Any) -> None:
    env = TaskEnv("grid-goal")
    env.reset()
    with pytest.raises(ValueError, match=r"action = .*grid-goal needs .*integers 0 ... 4.*action_space.sample"):
        env.step(action)


@pytest.mark.parametrize("action", [0.1, [0.1], [np.nan, 0.0], ["a", "b"], [[0.1, 0.1]]])
def test_an_invalid_continuous_action_is_refused(action: Any) -> None:
    env = TaskEnv("point-goal")
    env.reset()
    with pytest.raises(ValueError, match=r"action = .*point-goal needs an array of shape \(2,\) of finite numbers"):
        env.step(action)


def test_other_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no family of tasks 'maze'; make_tasks knows"):
        TaskEnv("maze")
    with pytest.raises(ValueError, match=r"options \['horizon'\] belong to the family"):
        TaskEnv(PointGoal(), horizon=3)
    with pytest.raises(ValueError, match=r"goal.*shape \(3,\).*\(2,\)"):
        TaskEnv("point-goal", {"goal": [0.0, 0.0, 0.0]})
    with pytest.raises(ValueError, match=r"a task of point-goal is a dict"):
        TaskEnv("point-goal", [0.0, 0.0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"keys \['goal'\]; reset knows \['task'\]"):
        TaskEnv("point-goal").reset(options={"goal": [0.0, 0.0]})
    with pytest.raises(ValueError, match=r"render_mode = 'human': .*leave it out"):
        TaskEnv("point-goal", render_mode="human")
    with pytest.raises(gymnasium.error.NameNotFound, match="Maze"):
        gymnasium.make("metarl_lite/Maze-v0")
    pool = GymTasks(lambda: gymnasium.make("Pendulum-v1"), lambda env, task: None, lambda n, gen: {}, {})
    with pytest.raises(ValueError, match="made of gymnasium environments already"):
        TaskEnv(pool)
    pool.close()


class AlmostOne:
    """A generator of numpy whose uniform numbers are all the greatest below 1, in the type that it is asked for."""

    def random(self, size: Any = None, dtype: Any = np.float64) -> Any:
        return np.full(() if size is None else size, np.nextafter(dtype(1), dtype(0)), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_chance_is_below_one_in_the_type_of_the_family(dtype: torch.dtype) -> None:
    """A number next to 1 in double precision is 1 in single precision, and the logarithm of what is left infinite."""
    tasks = TabularMDP(3, 2, horizon=4, dtype=dtype)
    for part in (*episode_noise(tasks, AlmostOne()), *episode_noise(CartPoleTasks(dtype=dtype), AlmostOne())):  # type: ignore[arg-type]
        assert part.dtype == dtype
        assert bool((part < 1).all())
    _, steps = episode_noise(tasks, AlmostOne())  # type: ignore[arg-type]
    _, reward, _ = tasks.step(tasks.default_task(), torch.zeros(4, 1, dtype=torch.long), torch.zeros(4).long(), steps)
    assert bool(reward.isfinite().all())


def test_an_episode_has_chance_for_its_reset_and_for_every_step() -> None:
    first, steps = episode_noise(CartPoleTasks(horizon=7), np.random.default_rng(0))
    assert (first.shape, steps.shape) == ((4,), (7, 0))
    first, steps = episode_noise(TabularMDP(3, 2, horizon=7), np.random.default_rng(0))
    assert (first.shape, steps.shape) == ((0,), (7, 3))
    assert len(steps.unique()) == 21


@pytest.mark.parametrize("make", [TaskEnv, lambda tasks, **options: make_vec(tasks, 2, **options)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_families_in_half_precision_are_refused(make: Any, dtype: torch.dtype) -> None:
    """Numpy has no bfloat16, and the chance of an episode would be rounded to 1."""
    for tasks, options in ((PointGoal(dtype=dtype), {}), ("point-goal", {"dtype": dtype})):
        with pytest.raises(ValueError, match=rf"PointGoal.dtype = {dtype}: torch.float32 or torch.float64 is needed"):
            make(tasks, **options)


def test_masked_tasks_and_actions_are_refused() -> None:
    """The numbers under a mask would count."""
    env = TaskEnv("point-goal")
    masked = np.ma.array([0.1, 9.0], mask=[0, 1])
    for act in (lambda: TaskEnv("point-goal", {"goal": masked}), lambda: env.reset(options={"task": {"goal": masked}})):
        with pytest.raises(ValueError, match=r"task\['goal'\] of which 1 of 2 numbers are masked; .*value.filled\(0\)"):
            act()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"an action of which 1 of 2 numbers are masked; .*value.filled\(0\)"):
        env.step(masked)
    env.step(np.ma.array([0.1, 0.1]))


@pytest.mark.parametrize("make", [lambda: TaskEnv("grid-goal"), lambda: make_vec("grid-goal", 2)])
def test_options_are_a_dict(make: Any) -> None:
    for wrong in ("task", ["task"], 3, ("reset_mask",), [], True):
        with pytest.raises(ValueError, match=r"options = .*: a dict is needed, such as options={'task'"):
            make().reset(options=wrong)
    with pytest.raises(ValueError, match=r"options has the keys \[1, 'a'\]; reset knows .*'task'"):
        make().reset(options={"a": 1, 1: 2})
    task = {"goal": [2, 3]}
    for right in (None, {}, {"task": task}, MappingProxyType({"task": task})):
        make().reset(options=right)
