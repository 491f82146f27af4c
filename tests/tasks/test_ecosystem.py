"""The handshake with gymnasium: specifications, autoreset modes, and its wrappers around our ids."""

from __future__ import annotations

import copy
import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import wrappers
from gymnasium.vector import AutoresetMode

from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.rollout import rollout
from metarl_lite.tasks import GymTasks, PointGoal, TaskEnv, TaskVectorEnv, make_tasks, make_vec
from metarl_lite.tasks.families import FAMILIES
from metarl_lite.tasks.gym import gym_id

from .test_gym_env import IDS

HORIZONS = {gym_id(family): make_tasks(name).horizon for name, family in FAMILIES.items()}


def length(env: Any, most: int = 1000) -> int:
    """Steps of an episode; all that is seen lies in the space."""
    seen, _ = env.reset(seed=0)
    env.action_space.seed(0)
    assert seen in env.observation_space
    for t in range(1, most):
        seen, _, terminated, truncated, _ = env.step(0 * env.action_space.sample())
        assert seen in env.observation_space
        if terminated or truncated:
            return t
    return most


# --- Specifications ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gym_id", IDS)
def test_the_specification_tells_the_horizon(gym_id: str) -> None:
    horizon = HORIZONS[gym_id]
    assert gymnasium.spec(gym_id).kwargs["horizon"] == horizon
    env = gymnasium.make(gym_id)
    assert env.spec is not None
    assert env.spec.max_episode_steps == env.unwrapped.spec.max_episode_steps == horizon  # type: ignore[union-attr]
    assert isinstance(env, TaskEnv), "no wrapper hides its attributes, nor is there a second limit"
    for again in (env.spec, type(env.spec).from_json(env.spec.to_json())):
        same: Any = gymnasium.make(again)
        assert same.spec.max_episode_steps == same.unwrapped.tasks.horizon == horizon
        assert length(same) == length(env)


@pytest.mark.parametrize("gym_id", IDS)
@pytest.mark.parametrize("horizon", [3, 210])
def test_another_horizon_is_told_and_kept_with_no_second_limit(gym_id: str, horizon: int) -> None:
    """Shorter and longer than every one that is registered."""
    env: Any = gymnasium.make(gym_id, horizon=horizon)
    assert env.spec.max_episode_steps == env.unwrapped.tasks.horizon == horizon
    assert length(env) == horizon or "CartPole" in gym_id
    for mode in ("sync", "vector_entry_point"):
        many = gymnasium.make_vec(gym_id, num_envs=2, vectorization_mode=mode, horizon=horizon)
        single = many.unwrapped.envs[0].spec if mode == "sync" else many.spec  # type: ignore[attr-defined]
        assert single.max_episode_steps == horizon
        many.close()


def test_gymnasiums_own_keyword_shortens_episodes_everywhere() -> None:
    env = gymnasium.make("metarl_lite/GridGoal-v0", max_episode_steps=4)
    assert env.spec is not None
    assert env.spec.max_episode_steps == length(env) == 4
    ends = []
    for mode in ("sync", "vector_entry_point"):
        many: Any = gymnasium.make_vec(
            "metarl_lite/GridGoal-v0", num_envs=2, vectorization_mode=mode, max_episode_steps=4
        )
        many.reset(seed=0)
        ends.append([many.step(np.zeros(2, int))[3].tolist() for _ in range(9)])
    assert ends[0] == ends[1]
    assert [end[0] for end in ends[1]] == [False] * 3 + [True] + [False] * 4 + [True]
    assert many.spec.max_episode_steps == 4


def test_the_specification_promises_no_more_steps_than_an_episode_has() -> None:
    advice = r"max_episode_steps = 40: an episode of metarl_lite/GridGoal-v0 ends at its horizon, {}; .* horizon=40"
    for options in ({}, {"horizon": 7}):
        env: Any = gymnasium.make("metarl_lite/GridGoal-v0", max_episode_steps=40, **options)
        horizon = options.get("horizon", 15)
        with pytest.warns(UserWarning, match=advice.format(horizon)):
            assert env.spec.max_episode_steps == length(env) == horizon
        assert wrappers.TimeAwareObservation(env).spec.max_episode_steps == horizon  # type: ignore[union-attr]
    env = gymnasium.make("metarl_lite/GridGoal-v0", max_episode_steps=40, horizon=40)
    assert env.spec.max_episode_steps == length(env) == 40
    for again in (copy.deepcopy(env), pickle.loads(pickle.dumps(env)), gymnasium.make(env.spec)):
        assert again.spec.max_episode_steps == length(again) == 40


def test_an_environment_that_was_not_made_by_an_id_has_no_specification() -> None:
    assert TaskEnv("point-goal").spec is None
    assert TaskVectorEnv("point-goal", 2).spec is None


# --- Tasks through wrappers -------------------------------------------------------------------------------------------


def test_a_task_may_be_set_as_an_attribute_and_is_checked() -> None:
    env: Any = gymnasium.make("metarl_lite/GridGoal-v0")
    env.task = {"goal": [1, 2]}
    assert env.unwrapped.task["goal"].tolist() == [1, 2]
    wrapped = wrappers.RecordEpisodeStatistics(env)
    wrapped.get_wrapper_attr("set_task")({"goal": [3, 1]})
    assert env.unwrapped.task["goal"].tolist() == [3, 1]
    wrapped.set_wrapper_attr("task", {"goal": [0, 3]})
    assert env.unwrapped.task["goal"].tolist() == [0, 3]
    env.unwrapped.task = {"goal": np.array([4, 0])}
    assert env.get_wrapper_attr("task")["goal"].tolist() == [4, 0]
    with pytest.raises(ValueError, match=r"goal.*shape \(3,\)"):
        env.unwrapped.task = {"goal": [0, 1, 2]}
    assert env.unwrapped.task["goal"].tolist() == [4, 0], "a task that does not fit changes nothing"
    many: Any = gymnasium.make_vec("metarl_lite/GridGoal-v0", num_envs=2, vectorization_mode="sync")
    many.set_attr("task", [{"goal": [0, 2]}, {"goal": [2, 0]}])
    assert [task["goal"].tolist() for task in many.get_attr("task")] == [[0, 2], [2, 0]]
    many.call("set_task", {"goal": [4, 4]})
    assert [task["goal"].tolist() for task in many.get_attr("task")] == [[4, 4], [4, 4]]
    ours = make_vec("grid-goal", 2)
    ours.task = {"goal": [[0, 2], [2, 0]]}  # type: ignore[dict-item]
    assert ours.task["goal"].tolist() == [[0, 2], [2, 0]]
    ours.task = {"goal": [3, 3]}  # type: ignore[dict-item]
    assert ours.task["goal"].tolist() == [[3, 3], [3, 3]]


@pytest.mark.parametrize("gym_id", IDS)
def test_our_ids_are_families_again(gym_id: str) -> None:
    """The horizon is asked of the specification, and each copy is given its task."""
    ours = make_tasks({i: name for name, i in zip(FAMILIES, map(gym_id_of, FAMILIES), strict=True)}[gym_id], horizon=7)
    theirs = GymTasks(
        lambda: gymnasium.make(gym_id, horizon=7),
        lambda env, task: setattr(env.unwrapped, "task", task),
        ours.sample,
        ours.default_task(),
    )
    assert (theirs.horizon, theirs.discrete, theirs.action_size) == (7, ours.discrete, ours.action_size)
    assert theirs.observation_size == ours.observation_size
    policy = MLPPolicy.for_tasks(theirs, generator(0), hidden=(4,))
    task = ours.sample(3, generator(1))
    batch = rollout(theirs, policy, tile(policy.params(), 3), task, 2, generator(2))
    assert batch.rewards.shape == (3, 2, 7)
    given = [copy.env.unwrapped.task for copy in theirs._pool]  # type: ignore[attr-defined]
    for i, one in enumerate(given):
        assert all(torch.equal(one[name], leaf[i // 2]) for name, leaf in task.items())
    theirs.close()


def gym_id_of(name: str) -> str:
    return gym_id(FAMILIES[name])


def test_a_family_plays_the_same_there_and_back() -> None:
    """Nothing of the point's walk is left to chance."""
    ours = PointGoal(horizon=9)
    theirs = GymTasks(
        lambda: gymnasium.make("metarl_lite/PointGoal-v0", horizon=9),
        lambda env, task: env.set_wrapper_attr("task", task),
        ours.sample,
        ours.default_task(),
    )
    policy = MLPPolicy.for_tasks(ours, generator(0), hidden=(4,))
    task = ours.sample(3, generator(1))
    one, two = (
        rollout(tasks, policy, tile(policy.params(), 3), task, 2, noise=None, gen=generator(2))
        for tasks in (ours, theirs)
    )
    # The chance of a reset is drawn before that of the actions, and only the environments have some.
    assert not torch.equal(one.actions, two.actions)
    replayed = torch.zeros(3, 2, 2)
    for t in range(9):
        replayed = replayed + two.actions[:, :, t].clamp(-0.1, 0.1)
        expected = -(replayed - task["goal"].unsqueeze(1)).norm(dim=-1)
        torch.testing.assert_close(two.rewards[:, :, t], expected * two.mask[:, :, t], atol=1e-6, rtol=1e-5)


# --- Autoreset --------------------------------------------------------------------------------------------------------

MODES = list(AutoresetMode)


def play(env: Any, mode: AutoresetMode, steps: int = 25) -> Iterator[Any]:
    """Steps of a vector environment, with resets by a mask where they are left to the caller."""
    yield env.reset(seed=3)
    env.action_space.seed(3)
    for _ in range(steps):
        result = env.step(env.action_space.sample())
        yield result
        over = result[2] | result[3]
        if mode == AutoresetMode.DISABLED and over.any():
            yield env.reset(options={"reset_mask": over})


def assert_same(one: Any, two: Any) -> None:
    if isinstance(one, dict):
        assert set(one) == set(two)
        for key in one:
            assert_same(one[key], two[key])
    elif isinstance(one, np.ndarray) and one.dtype == object:
        for a, b in zip(one, two, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_array_equal(a, b)
    else:
        np.testing.assert_allclose(one, two, rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("gym_id", IDS)
def test_in_every_mode_a_vector_equals_gymnasiums_own(gym_id: str, mode: AutoresetMode) -> None:
    """Observations, rewards, ends, and what infos tell of the last observations."""
    ours = gymnasium.make_vec(
        gym_id, num_envs=3, vectorization_mode="vector_entry_point", horizon=5, autoreset_mode=mode
    )
    theirs = gymnasium.make_vec(
        gym_id, num_envs=3, vectorization_mode="sync", horizon=5, vector_kwargs={"autoreset_mode": mode}
    )
    assert isinstance(ours, TaskVectorEnv)
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"] == mode
    ends = 0
    for mine, right in zip(play(ours, mode), play(theirs, mode), strict=True):
        for one, two in zip(mine, right, strict=True):
            assert_same(one, two)
        ends += len(mine) == 5 and bool((mine[2] | mine[3]).any())
    assert ends >= 4


@pytest.mark.usefixtures("shared_memory")
@pytest.mark.parametrize("mode", MODES)
def test_in_every_mode_separate_processes_do_the_same(mode: AutoresetMode) -> None:
    options: dict[str, Any] = {"num_envs": 2, "horizon": 4, "vector_kwargs": {"autoreset_mode": mode}}
    apart = gymnasium.make_vec("metarl_lite/CartPole-v0", vectorization_mode="async", **options)
    together = gymnasium.make_vec("metarl_lite/CartPole-v0", vectorization_mode="sync", **options)
    try:
        for mine, right in zip(play(apart, mode, 12), play(together, mode, 12), strict=True):
            for one, two in zip(mine, right, strict=True):
                assert_same(one, two)
    finally:
        apart.close()
        together.close()


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_modes_by_their_values(mode: str) -> None:
    assert make_vec("point-goal", 2, autoreset_mode=mode).metadata["autoreset_mode"] == AutoresetMode(mode)
    assert TaskVectorEnv.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP


def test_without_autoreset_a_step_after_an_end_names_the_members() -> None:
    env = make_vec("point-goal", 3, {"goal": [[0.1, 0.0], [0.4, 0.0], [0.1, 0.0]]}, autoreset_mode="Disabled")  # type: ignore[dict-item]
    env.reset(seed=0)
    right = np.tile(np.array([0.1, 0.0], np.float32), (3, 1))
    _, _, terminated, truncated, _ = env.step(right)
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"members \[0, 2\] have ended: .*reset_mask"):
        env.step(right)
    env.reset(options={"reset_mask": terminated | truncated})
    np.testing.assert_allclose(env.step(right)[0][:, 0], [0.1, 0.2, 0.1], rtol=1e-6)


def test_in_the_same_step_the_last_observation_is_in_the_infos() -> None:
    env = make_vec("point-goal", 2, {"goal": [[0.1, 0.0], [0.4, 0.0]]}, autoreset_mode="SameStep")  # type: ignore[dict-item]
    env.reset(seed=0)
    right = np.tile(np.array([0.1, 0.0], np.float32), (2, 1))
    seen, rewards, terminated, _, infos = env.step(right)
    np.testing.assert_allclose(seen[:, 0], [0, 0.1], rtol=1e-6)
    np.testing.assert_allclose(rewards, [0, -0.3], atol=1e-6)
    assert terminated.tolist() == infos["_final_obs"].tolist() == [True, False]
    np.testing.assert_allclose(infos["final_obs"][0], [0.1, 0], rtol=1e-6)
    assert infos["final_obs"][1] is None
    infos["final_obs"][0] += 5
    np.testing.assert_allclose(env.step(right)[0][:, 0], [0, 0.2], atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_statistics_of_a_vector_count_whole_episodes(mode: AutoresetMode) -> None:
    env = wrappers.vector.RecordEpisodeStatistics(
        make_vec("metarl_lite/CartPole-v0", 3, horizon=5, autoreset_mode=mode)
    )
    for _ in play(env, mode, 24):
        pass
    assert list(env.length_queue) == [5] * len(env.length_queue)
    assert list(env.return_queue) == [5.0] * len(env.return_queue)
    assert len(env.length_queue) == {AutoresetMode.NEXT_STEP: 12}.get(mode, 12)


# --- Wrappers ---------------------------------------------------------------------------------------------------------

WRAPPERS: dict[str, Any] = {
    "TimeAwareObservation": wrappers.TimeAwareObservation,
    "TimeAwareObservation, share": lambda env: wrappers.TimeAwareObservation(env, normalize_time=True),
    "TimeAwareObservation, dict": lambda env: wrappers.TimeAwareObservation(env, flatten=False),
    "FrameStackObservation": lambda env: wrappers.FrameStackObservation(env, 3),
    "NormalizeReward": wrappers.NormalizeReward,
    "DelayObservation": lambda env: wrappers.DelayObservation(env, 1),
    "FlattenObservation": wrappers.FlattenObservation,
    "RecordEpisodeStatistics": wrappers.RecordEpisodeStatistics,
    "OrderEnforcing": wrappers.OrderEnforcing,
    "PassiveEnvChecker": wrappers.PassiveEnvChecker,
    "a shorter limit": lambda env: wrappers.TimeLimit(env, 4),
}


@pytest.mark.parametrize("gym_id", IDS)
@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_of_gymnasium_fit(name: str, gym_id: str) -> None:
    """What they show lies in the space that they promise, to the end of the episode and no further."""
    env = WRAPPERS[name](gymnasium.make(gym_id, horizon=6))
    assert length(env) == (4 if name == "a shorter limit" else 6)


def test_time_runs_to_the_horizon() -> None:
    for options, last in (({}, 6), ({"normalize_time": True}, 1)):
        env = wrappers.TimeAwareObservation(gymnasium.make("metarl_lite/PointGoal-v0", horizon=6), **options)
        env.reset(seed=0)
        times = [env.step(np.zeros(2, np.float32))[0][-1] for _ in range(6)]
        np.testing.assert_allclose(times, last * np.arange(1, 7) / 6, rtol=1e-6)


def test_statistics_know_length_and_return() -> None:
    env = wrappers.RecordEpisodeStatistics(gymnasium.make("metarl_lite/GridGoal-v0", task={"goal": [0, 2]}))
    env.reset(seed=0)
    total, over, infos = 0.0, False, {}
    while not over:
        _, reward, terminated, truncated, infos = env.step(1)
        total, over = total + float(reward), terminated or truncated
    assert infos["episode"]["l"] == 15
    assert infos["episode"]["r"] == pytest.approx(total)


def test_normalised_observations_have_mean_0_and_deviation_1() -> None:
    env = wrappers.NormalizeObservation(gymnasium.make("metarl_lite/Pendulum-v0"))
    env.action_space.seed(0)
    seen = []
    for episode in range(5):
        env.reset(seed=episode)
        for _ in range(200):
            seen.append(env.step(env.action_space.sample())[0])
    numbers = np.array(seen[200:])
    assert np.abs(numbers.mean(0)).max() < 0.6
    assert np.abs(numbers.std(0) - 1).max() < 0.5


def test_the_newest_frame_of_a_stack_is_the_observation() -> None:
    plain = gymnasium.make("metarl_lite/CartPole-v0")
    stack = wrappers.FrameStackObservation(gymnasium.make("metarl_lite/CartPole-v0"), 3)
    history = [plain.reset(seed=1)[0]]
    stack.reset(seed=1)
    for action in (0, 1, 1, 0):
        history.append(plain.step(action)[0])
        frames = stack.step(action)[0]
    np.testing.assert_array_equal(frames, history[-3:])


def test_a_single_environment_resets_itself() -> None:
    env = wrappers.Autoreset(gymnasium.make("metarl_lite/GridGoal-v0", horizon=3))
    env.reset(seed=0)
    assert [env.step(1)[3] for _ in range(8)] == [False, False, True, False, False, False, True, False]


VECTOR_WRAPPERS: dict[str, Any] = {
    "NormalizeObservation": wrappers.vector.NormalizeObservation,
    "NormalizeReward": wrappers.vector.NormalizeReward,
    "RecordEpisodeStatistics": wrappers.vector.RecordEpisodeStatistics,
    "ClipReward": lambda env: wrappers.vector.ClipReward(env, -1, 1),
    "FlattenObservation": wrappers.vector.FlattenObservation,
    "TransformReward": lambda env: wrappers.vector.TransformReward(env, lambda reward: 2 * reward),
    "DictInfoToList": wrappers.vector.DictInfoToList,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", VECTOR_WRAPPERS)
def test_wrappers_of_vectors_fit_in_every_mode(name: str, mode: AutoresetMode) -> None:
    """As they fit gymnasium's own vector of our environments."""
    if name in ("NormalizeObservation", "FlattenObservation") and mode != AutoresetMode.NEXT_STEP:
        return  # which they refuse themselves, or normalise otherwise
    results = []
    for how in ("vector_entry_point", "sync"):
        options: dict[str, Any] = {"autoreset_mode": mode}
        options = options if how == "vector_entry_point" else {"vector_kwargs": options}
        env = gymnasium.make_vec("metarl_lite/CartPole-v0", num_envs=3, vectorization_mode=how, horizon=5, **options)
        results.append([result[:4] for result in play(VECTOR_WRAPPERS[name](env), mode, 12) if len(result) == 5])
    for mine, right in zip(*results, strict=True):
        for one, two in zip(mine, right, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


# --- Films ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def clips(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, list[Any]]]:
    """What would be written to files, in place of moviepy, which brings ffmpeg and is in conflict with our pillow."""
    written: list[tuple[str, int, list[Any]]] = []

    class ImageSequenceClip:
        def __init__(self, frames: list[Any], fps: int) -> None:
            self.frames, self.fps = list(frames), fps

        def write_videofile(self, path: str, logger: Any = None) -> None:
            written.append((Path(path).name, self.fps, self.frames))

    for name in ("moviepy", "moviepy.video", "moviepy.video.io", "moviepy.video.io.ImageSequenceClip"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["moviepy.video.io.ImageSequenceClip"].ImageSequenceClip = ImageSequenceClip  # type: ignore[attr-defined]
    return written


@pytest.mark.parametrize("gym_id", IDS)
def test_films_show_every_step(gym_id: str, clips: list[Any], tmp_path: Path) -> None:
    env = gymnasium.make(gym_id, horizon=4, render_mode="rgb_array")
    film = wrappers.RecordVideo(env, str(tmp_path / "films"), episode_trigger=lambda episode: True, gc_trigger=None)
    assert length(film) == length(film) == 4
    film.close()
    assert [name for name, _, _ in clips] == ["rl-video-episode-0.mp4", "rl-video-episode-1.mp4"]
    for _, fps, frames in clips:
        assert fps == {"metarl_lite/CartPole-v0": 50, "metarl_lite/Pendulum-v0": 20}.get(gym_id, 4)
        assert len(frames) == 5
        assert all(frame.shape == (304, 256, 3) and frame.dtype == np.uint8 for frame in frames)
        assert not np.array_equal(frames[0], frames[-1])


def test_a_vector_is_filmed_too(clips: list[Any], tmp_path: Path) -> None:
    env = make_vec("grid-goal", 3, horizon=3, render_mode="rgb_array")
    film = wrappers.vector.RecordVideo(env, str(tmp_path / "films"), video_length=6, gc_trigger=None)
    film.reset(seed=0)
    for _ in range(8):
        film.step(np.array([1, 2, 0]))
    film.close()
    name, fps, frames = clips[0]
    assert (name, fps, len(frames)) == ("rl-video-episode-0.mp4", 4, 4)
    assert frames[0].shape == (304, 3 * 256, 3), "three members side by side"


def test_pictures_are_collected_and_become_observations() -> None:
    env = gymnasium.make("metarl_lite/GridGoal-v0", render_mode="rgb_array_list")
    env.reset(seed=0)
    for _ in range(3):
        env.step(1)
    frames: Any = env.render()
    assert len(frames) == 4
    pixels = wrappers.AddRenderObservation(gymnasium.make("metarl_lite/GridGoal-v0", render_mode="rgb_array"))
    assert pixels.observation_space.shape == (304, 256, 3)
    assert pixels.reset(seed=0)[0] in pixels.observation_space
