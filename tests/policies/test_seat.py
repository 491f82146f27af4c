"""A player in its seat: as on `GymTasks` in any space that it takes, and in a family's own units behind wrappers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces, wrappers
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import Tensor

from metarl_lite import actor, player
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.rollout import draw_noise, trial
from metarl_lite.tasks import (
    CartPoleTasks,
    FiniteTasks,
    GridGoal,
    GymTasks,
    PendulumTasks,
    PointGoal,
    TaskDistribution,
    TaskEnv,
    make_vec,
)
from metarl_lite.tasks.base import index_task
from tests.tasks.test_gym_door import NESTED

# --- As on GymTasks ---------------------------------------------------------------------------------------------------


class Shows(gymnasium.Env[Any, Any]):
    """Samples of a space, by its seed; pays for the sum of what is done, and by what is seen."""

    def __init__(self, seen: Any, taken: Any) -> None:
        self.observation_space, self.action_space = deepcopy(seen), taken

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        if isinstance(action, np.floating):  # what a vector makes of an array without dimensions
            action = np.asarray(action)
        assert self.action_space.contains(action), action
        reward = float(np.sum(np.multiply(action, 1 + np.arange(np.size(action)).reshape(np.shape(action)))))
        return self.observation_space.sample(), reward, False, False, {}


PLAIN = Box(-1, 1, (2,), np.float32)
SEEN: dict[str, Any] = {
    "bits": MultiBinary(3), "a table of bits": MultiBinary([2, 2]), "choices": MultiDiscrete([2, 3], start=[4, -1]),
    "integers": Box(0, 255, (2, 2), np.uint8), "a choice": Discrete(3, start=2),
    **{f"nested {i}": space for i, space in enumerate(NESTED)},
}  # fmt: skip
TAKEN: dict[str, Any] = {
    "choices": MultiDiscrete([3, 2], start=[0, 4]), "a table": MultiDiscrete([[3, 2], [1, 2]]), "bits": MultiBinary(2),
    "far from 0": Box(100, 200, (2,), np.float32), "unequal": Box(np.float32([0, -3]), np.float32([1, 9])),
    "integers": Box(-2, 9, (2, 2), np.int16), "half open": Box(5, np.inf, (1,), np.float32),
    "one": Discrete(4, start=7), "a number": Box(2, 4, (), np.float64),
}  # fmt: skip
CASES = [(seen, PLAIN) for seen in SEEN.values()] + [(PLAIN, taken) for taken in TAKEN.values()]
NAMES = [f"seen: {name}" for name in SEEN] + [f"taken: {name}" for name in TAKEN]


def family(seen: Any, taken: Any) -> GymTasks:
    nested = isinstance(seen, spaces.Dict | spaces.Tuple)
    around: Any = wrappers.FlattenObservation if nested else (lambda env: env)
    nothing = {"x": torch.zeros(())}
    return GymTasks(
        lambda: around(Shows(seen, taken)), lambda env, task: None, lambda n, gen: {"x": torch.zeros(n)}, nothing, 6
    )


def seed_of(noise: Tensor) -> int:
    """The seed that `GymTasks` makes of the noise of a reset."""
    upper, lower = noise.double().tolist()
    return int(upper * 2**24) * 2**7 + int(lower * 2**7)


@pytest.mark.parametrize(("seen", "taken"), CASES, ids=NAMES)
def test_where_a_policy_was_trained_through_gym_tasks_it_plays_as_there(seen: Any, taken: Any) -> None:
    """One by one and in a vector, with what the environment itself shows, also where parts of it were flattened."""
    tasks = family(seen, taken)
    policy = GRUPolicy.for_tasks(tasks, generator(1), hidden=4)
    noise = draw_noise(tasks, policy, 1, 2, generator(2))
    batch = trial(tasks, policy, policy.params(), {"x": torch.zeros(1)}, 2, noise=noise)
    env = Shows(seen, taken)
    play = player(policy, env=env)
    for e in range(2):
        observation, _ = env.reset(seed=seed_of(noise.reset[0, e]))
        for t in range(6):
            action = play.act(observation, noise=noise.action[0, e, t])
            observation, reward, *_ = env.step(action)
            play.observe(reward, t == 5)
            assert reward == pytest.approx(batch.rewards[0, e, t].item(), rel=1e-5, abs=1e-5)
    one, two = Shows(seen, taken), Shows(seen, taken)
    vector: Any = SyncVectorEnv([lambda: one, lambda: two], autoreset_mode=AutoresetMode.DISABLED)
    play = player(policy, env=vector)
    observation, _ = vector.reset(seed=[seed_of(noise.reset[0, 0])] * 2)
    for t in range(6):
        action = play.act(observation, noise=noise.action[0, 0, t].expand(2, -1))
        assert vector.action_space.contains(action) or taken.shape == ()
        observation, reward, *_ = vector.step(action)
        play.observe(reward, [False, False])
        np.testing.assert_allclose(reward, [batch.rewards[0, 0, t].item()] * 2, rtol=1e-5, atol=1e-5)
    tasks.close()


def test_tensors_in_parts_are_answered_by_a_tensor() -> None:
    space = spaces.Dict({"place": Box(-9, 9, (2,), np.float32), "room": Discrete(3)})
    env = Shows(space, Box(100, 200, (2,), np.float32))
    policy = MLPPolicy(5, 2, generator(0))
    seen = {"place": torch.tensor([1.0, 2.0]), "room": torch.tensor(2)}
    plain = {"place": np.float32([1, 2]), "room": np.int64(2)}
    one, two = (player(policy, env=env).act(observation, noise=[0.5, -0.5]) for observation in (seen, plain))
    assert isinstance(one, Tensor)
    assert isinstance(two, np.ndarray)
    np.testing.assert_array_equal(one, two)
    mean = player(policy).act(np.float32([1, 2, 0, 0, 1]), noise=[0.5, -0.5])
    np.testing.assert_allclose(two, 150 + 50 * mean, rtol=1e-6)


@pytest.mark.parametrize(
    ("space", "wrong"),
    [
        (MultiBinary(2), [0, 2]), (MultiBinary(2), [0.5, 1]), (MultiBinary(2), [1]), (MultiDiscrete([2, 3]), [2, 0]),
        (spaces.Dict({"a": Discrete(2), "b": PLAIN}), {"a": 1}), (spaces.Dict({"a": Discrete(2)}), {"b": 1}),
        (spaces.Dict({"a": Discrete(2)}), {"a": 2}), (spaces.Dict({"a": Discrete(2)}), 3),
        (spaces.Tuple((Discrete(2), PLAIN)), (1,)), (spaces.Tuple((Discrete(2),)), None),
        (spaces.Tuple((Discrete(2), PLAIN)), (1, [1.0, 2.0, 3.0])),
    ],
)  # fmt: skip
def test_what_is_none_of_these_observations_is_named(space: Any, wrong: Any) -> None:
    policy = MLPPolicy(spaces.flatdim(space), 2, generator(0))
    with pytest.raises(ValueError, match=r"observation = .*: <Shows instance> gives one of (Multi|Dict|Tuple)"):
        player(policy, env=Shows(space, PLAIN)).act(wrong)
    vector: Any = SyncVectorEnv([lambda: Shows(space, PLAIN)] * 2)
    with pytest.raises(ValueError, match=r"observation = .*: .*Sync.* gives one of|observations, but .*Sync.* is of 2"):
        player(policy, env=vector).act(wrong)
    with pytest.raises(ValueError, match=r"an observation holds nan"):
        player(MLPPolicy(3, 2, generator(0)), env=Shows(spaces.Tuple((PLAIN, MultiBinary(1))), PLAIN)).act(
            (np.float32([0, np.nan]), np.int8([0]))
        )


def test_a_space_that_no_policy_reads_or_acts_in_is_named() -> None:
    policy = MLPPolicy(2, 2, generator(0))
    for seen, taken, message in (
        (spaces.Sequence(Discrete(2)), PLAIN, r"observation space is Sequence.* has always as many numbers"),
        (PLAIN, spaces.Dict({"a": PLAIN}), r"action space is Dict.*TransformAction\(env, "),
        (PLAIN, Discrete(10**9), r"action space Discrete\(1000000000\) has more than"),
        (None, PLAIN, r"observation space is None"),
    ):
        with pytest.raises(ValueError, match=message):
            player(policy, env=Shows(seen, taken))


# --- A family of ours behind wrappers ---------------------------------------------------------------------------------

SCALED: dict[str, Callable[[Any, Any], Any]] = {
    "none": lambda w, env: env,
    "scaled": lambda w, env: w.RescaleObservation(env, np.float32(-3), np.float32(7)),
    "twice": lambda w, env: w.RescaleObservation(w.RescaleObservation(env, np.float32(0), np.float32(1)),
                                                 np.float32(-50), np.float32(-40)),
    "in another type": lambda w, env: w.DtypeObservation(w.RescaleObservation(env, np.float32(0), np.float32(1)),
                                                         np.float32),
    "with actions": lambda w, env: w.RescaleAction(w.RescaleObservation(env, np.float32(0), np.float32(9)), -2, 3),
}  # fmt: skip


@pytest.mark.parametrize("how", SCALED)
@pytest.mark.parametrize("tasks", [PointGoal(horizon=6), PendulumTasks(horizon=6)], ids=lambda t: t.name)
def test_what_the_family_shows_reaches_the_policy_whatever_scales_it(tasks: TaskDistribution, how: str) -> None:
    """The same episode as without wrappers, up to the rounding of single precision, alone and in a vector."""
    policy, noise = MLPPolicy.for_tasks(tasks, generator(1)), 0.3 * torch.ones(6, tasks.action_size)
    task = tasks.sample(1, generator(5))
    lives: list[Any] = []
    for make in (lambda w, env: env, SCALED[how]):
        single = make(wrappers, TaskEnv(tasks, index_task(task, 0)))
        several = make(wrappers.vector, make_vec(tasks, 1, task))
        for env in (single, several):
            (seen, _), play = env.reset(seed=7), player(policy, env=env)
            lives.append([])
            for luck in noise:
                action = play.act(seen, noise=luck if env is single else luck[None])
                seen, reward, *_ = env.step(action)
                lives[-1].append(float(np.squeeze(reward)))
    for life in lives[1:]:
        np.testing.assert_allclose(life, lives[0], rtol=1e-4, atol=1e-4)
    assert len(set(lives[0])) > 1


class Noisy(gymnasium.ObservationWrapper[Any, Any, Any]):
    def observation(self, observation: Any) -> Any:
        return observation + 0.1


CHANGED: dict[str, Callable[[Any], Any]] = {
    "TransformObservation": lambda env: wrappers.TransformObservation(env, lambda o: 100 * o, None),
    "NormalizeObservation": wrappers.NormalizeObservation,
    "Noisy": Noisy,
    "RescaleObservation": lambda env: wrappers.RescaleObservation(env, np.float32([0, 0]), np.float32([0, 1])),
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_cannot_be_followed_back_is_told_where_the_policy_is_of_the_family_alone(name: str) -> None:
    """The last of them shows a constant in place of a number."""
    tasks, told = PointGoal(), rf"{name} in .* changes what is seen.*env=env.env.*, through_gym=True\)\. .* all is well"
    env = CHANGED[name](TaskEnv(tasks))
    ours = MLPPolicy.for_tasks(tasks, generator(0))
    adapted = ours.replace(ours.params())
    pool = FiniteTasks(tasks, tasks.sample(2, generator(0)))
    for policy in (ours, adapted, MLPPolicy.for_tasks(pool, generator(0)), actor("navigation-maml")):
        with pytest.warns(UserWarning, match=told):
            player(policy, env=env)
        player(policy, env=env, through_gym=True)
        player(policy, env=TaskEnv(tasks))
    unknown = MLPPolicy.from_params(ours.params())
    player(unknown, env=env)
    with pytest.warns(UserWarning, match=told):
        player(unknown, env=env, through_gym=False)


def test_so_is_a_vector() -> None:
    policy, many = MLPPolicy.for_tasks(PointGoal(), generator(0)), make_vec("point-goal", 2)
    for env in (
        wrappers.vector.NormalizeObservation(many),
        wrappers.vector.TransformObservation(many, lambda o: 2 * o),
        SyncVectorEnv([lambda: Noisy(TaskEnv("point-goal"))] * 2),
    ):
        with pytest.warns(UserWarning, match=r" in .* changes what is seen"):
            player(policy, env=env)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:the environment gym gave .* Such numbers are taken as they are")
@pytest.mark.parametrize("name", ["none", "harmless", "scaled", *CHANGED])
def test_what_was_trained_there_through_gym_tasks_plays_there_without_a_word(name: str) -> None:
    """As it did, whatever changes the observations; a policy made of parameters alone says where it is from."""
    around = CHANGED | {
        "none": lambda env: env,
        "harmless": lambda env: wrappers.DelayObservation(wrappers.FlattenObservation(env), 1),
        "scaled": lambda env: wrappers.RescaleObservation(env, np.float32(0), np.float32(1)),
    }
    point = PointGoal(horizon=5)
    tasks = GymTasks(
        lambda: wrappers.RescaleAction(around[name](TaskEnv(point)), np.float32(0), np.float32(1)),
        lambda env, task: env.unwrapped.set_task(task),
        point.sample,
        point.default_task(),
        repeatable=name != "NormalizeObservation",
        horizon=5,
    )
    policy = GRUPolicy.for_tasks(tasks, generator(1), hidden=4)
    noise = draw_noise(tasks, policy, 1, 1, generator(3))
    task = tasks.sample(1, generator(2))
    batch = trial(tasks, policy, policy.params(), task, 1, noise=noise)
    copied = GRUPolicy.from_params(policy.params())
    for play in (
        lambda env: player(policy, env=env),
        lambda env: player(policy.replace(policy.params()), env=env),
        lambda env: player(copied, env=env, through_gym=True),
    ):
        env: Any = wrappers.RescaleAction(
            around[name](TaskEnv(point, index_task(task, 0))), np.float32(0), np.float32(1)
        )
        hand, (seen, _) = play(env), env.reset(seed=seed_of(noise.reset[0, 0]))
        for t in range(5):
            seen, reward, *_ = env.step(hand.act(seen, noise=noise.action[0, 0, t]))
            hand.observe(reward, False)
            assert float(reward) == pytest.approx(batch.rewards[0, 0, t].item(), rel=1e-5, abs=1e-5)


def test_of_parameters_alone_nothing_is_known_and_all_is_as_it_was() -> None:
    """Actions in the family's units, and what the environment shows; of choices too."""
    pole = CartPoleTasks()
    policy = MLPPolicy.from_params(MLPPolicy.for_tasks(pole, generator(0)).params())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        play = player(policy, env=wrappers.NormalizeObservation(TaskEnv(pole)))
    assert play.act(np.ones(4, np.float32), noise=[0.3]) == player(policy).act(np.ones(4, np.float32), noise=[0.3])
    swing = MLPPolicy.from_params(MLPPolicy.for_tasks(PendulumTasks(), generator(0)).params())
    env = wrappers.RescaleObservation(TaskEnv(PendulumTasks()), np.float32(0), np.float32(1))
    seen = np.float32([0.5, 0.25, 0.5])
    assert player(swing, env=env).act(seen, noise=[0.5]) == player(swing).act(seen, noise=[0.5]) / 2


def test_a_wrapper_of_actions_is_no_bar_to_what_was_trained_in_it() -> None:
    env = wrappers.TransformAction(TaskEnv("point-goal"), lambda a: a**2, Box(0, 1, (2,)))
    policy = MLPPolicy.for_tasks(PointGoal(), generator(0))
    with pytest.raises(ValueError, match=r"TransformAction .* through_gym=True"):
        player(policy, env=env)
    own = player(policy).act(np.zeros(2), noise=[0.5, -0.5])
    there = player(policy, env=env, through_gym=True).act(np.zeros(2), noise=[0.5, -0.5])
    np.testing.assert_allclose(there, 0.5 + 0.5 * own, rtol=1e-6)


def test_where_it_is_from_is_a_truth_value_and_no_part_of_what_a_policy_is() -> None:
    tasks = GridGoal()
    policy = GRUPolicy.for_tasks(tasks, generator(0), hidden=4)
    for wrong in ("no", 1, [True]):
        with pytest.raises(ValueError, match=r"through_gym = .*: True or False is needed"):
            player(policy, through_gym=wrong)  # type: ignore[arg-type]
    assert policy.identity() == GRUPolicy.from_params(policy.params()).identity()
