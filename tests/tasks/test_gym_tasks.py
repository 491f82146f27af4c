"""Environments of gymnasium as families of tasks: parameters arrive and stay, ends, seeds, and clear refusals."""

from __future__ import annotations

import random
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete

from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.rollout import draw_noise, rollout
from metarl_lite.tasks import GymTasks, PendulumTasks, index_task
from metarl_lite.types import Diverged, Rollout, Task

from .test_physics import set_cartpole

PENDULUM = PendulumTasks(dtype=torch.float64)


def set_pendulum(env: Any, task: dict[str, float]) -> None:
    for name, value in task.items():
        setattr(env.unwrapped, name, value)


def pendulum(**options: Any) -> GymTasks:
    options = {"dtype": torch.float64, "name": "Pendulum-v1", **options}
    make = lambda: gymnasium.make("Pendulum-v1")  # noqa: E731
    return GymTasks(make, set_pendulum, PENDULUM.sample, PENDULUM.default_task(), **options)


class Counter(gymnasium.Env[Any, Any]):
    """Counts up by the task's `pay`, ends where it should, and remembers what was done to it."""

    def __init__(self, observation_space: Any = None, action_space: Any = None, bad: float | None = None) -> None:
        self.observation_space = observation_space or Box(-100, 100, (1,), np.float64)
        self.action_space = action_space or Discrete(3, start=5)
        self.pay, self.end, self.bad = 0.0, 100, bad
        self.log: list[Any] = []
        self.closed = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = 0
        self.log.append(("reset", self.pay, seed))
        return self.observation_space.sample() * 0, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at += 1
        self.log.append(action)
        reward = self.pay if self.bad is None else self.bad
        return self.observation_space.sample() * 0 + self.at, reward, self.at == self.end, False, {}

    def close(self) -> None:
        self.closed = True


def set_counter(env: Any, task: dict[str, Any]) -> None:
    env.unwrapped.pay = task["pay"]
    env.unwrapped.end = task.get("end", 100)


def sample_counter(num_tasks: int, gen: torch.Generator) -> Task:
    return {"pay": torch.rand(num_tasks, generator=gen), "end": torch.randint(1, 9, (num_tasks,), generator=gen)}


def counter(horizon: int = 6, **options: Any) -> GymTasks:
    task = {"pay": torch.tensor(1.0), "end": torch.tensor(100)}
    return GymTasks(lambda: Counter(**options), set_counter, sample_counter, task, horizon, name="counter")


def act(tasks: GymTasks, task: Task, episodes: int, seed: int = 1) -> Rollout:
    policy = MLPPolicy.for_tasks(tasks, generator(seed), hidden=(8,))
    num_tasks = len(next(iter(task.values())))
    return rollout(tasks, policy, tile(policy.params(), num_tasks), task, episodes, generator(seed))


def envs(tasks: GymTasks) -> list[Any]:
    return [copy.env.unwrapped for copy in tasks._pool]


def test_pendulum_equals_our_own_from_the_same_states() -> None:
    theirs, gen = pendulum(), generator(0)
    assert (theirs.horizon, theirs.observation_size, theirs.action_size, theirs.discrete) == (200, 3, 1, False)
    assert theirs.action_scale == 1.0
    task = theirs.sample(4, gen)
    params = {name: leaf.unsqueeze(1) for name, leaf in task.items()}
    state = theirs.reset(params, theirs.draw_reset((4, 2), gen))
    own = torch.tensor(np.array([env.state for env in envs(theirs)])).reshape(4, 2, 2)
    total, own_total = torch.zeros(4, 2, dtype=torch.float64), torch.zeros(4, 2, dtype=torch.float64)
    for _ in range(60):
        action = 2 * torch.randn((4, 2, 1), generator=gen).double()
        torch.testing.assert_close(theirs.observe(params, state), PENDULUM.observe(params, own), atol=1e-5, rtol=0)
        state, reward, over = theirs.step(params, state, action, torch.zeros(0))
        own, own_reward, _ = PENDULUM.step(params, own, action, torch.zeros(0))
        assert not over.any()
        total, own_total = total + reward, own_total + own_reward
    torch.testing.assert_close(total, own_total, atol=1e-4, rtol=1e-5)
    theirs.close()


def test_parameters_arrive_before_each_reset_and_stay_over_the_episodes() -> None:
    tasks = pendulum(horizon=5)
    task = tasks.sample(3, generator(0))
    for _ in range(2):
        act(tasks, task, 2)
        for i, env in enumerate(envs(tasks)):
            assert {"g": env.g, "m": env.m, "l": env.l} == {name: leaf[i // 2].item() for name, leaf in task.items()}
    other = tasks.sample(3, generator(1))
    act(tasks, other, 2)
    assert envs(tasks)[5].g == other["g"][2].item()
    tasks.close()


def test_a_custom_environment_in_two_lines() -> None:
    tasks = counter()
    task = {"pay": torch.tensor([0.5, 2.0]), "end": torch.tensor([3, 50])}
    batch = act(tasks, task, 3)
    assert batch.rewards[0].tolist() == [[0.5] * 3 + [0.0] * 3] * 3
    assert batch.rewards[1].tolist() == [[2.0] * 6] * 3
    assert batch.mask[0].tolist() == [[1, 1, 1, 0, 0, 0]] * 3
    assert batch.terminated[0].tolist() == [[False, False, True, False, False, False]] * 3
    assert not batch.terminated[1].any()
    assert batch.observations[0, 0, :, 0].tolist() == [0, 1, 2, 3, 3, 3]
    assert batch.last_observations[..., 0].tolist() == [[3] * 3, [6] * 3]
    for i, env in enumerate(envs(tasks)):
        assert len(env.log) == 1 + (3 if i < 3 else 6)  # one reset, and no step after the end
        assert env.log[0][1] == (0.5 if i < 3 else 2.0)
        assert set(env.log[1:]) <= {5, 6, 7}  # Discrete(3, start=5)
    assert len({env.log[0][2] for env in envs(tasks)}) == 6  # a seed each


def test_the_pool_grows_and_closes() -> None:
    tasks = counter()
    act(tasks, tasks.sample(2, generator(0)), 1)
    assert len(envs(tasks)) == 2
    act(tasks, tasks.sample(3, generator(0)), 2)
    all_envs = envs(tasks)
    assert len(all_envs) == 6
    tasks.close()
    assert all(env.closed for env in all_envs)
    assert envs(tasks) == []
    assert act(tasks, tasks.sample(1, generator(0)), 1).rewards.shape == (1, 1, 6)
    tasks.close()


def test_same_noise_same_episodes_whatever_the_batch_and_global_states_stay() -> None:
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    tasks, gen = pendulum(horizon=8), generator(0)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(8,))
    task, noise = tasks.sample(5, gen), draw_noise(tasks, policy, 5, 2, gen)
    one, two = (rollout(tasks, policy, tile(policy.params(), 5), task, 2, noise=noise) for _ in range(2))
    assert torch.equal(one.rewards, two.rewards)
    part = slice(3, 4)
    alone = rollout(tasks, policy, tile(policy.params(), 1), index_task(task, part), 2, noise=noise[part])
    torch.testing.assert_close(alone.rewards, one.rewards[part])
    assert not torch.equal(one.observations[0, 0, 0], one.observations[0, 1, 0])
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002
    assert python_state == random.getstate()
    tasks.close()


def test_cartpole_of_gymnasium_ends_early() -> None:
    def sample(num_tasks: int, gen: torch.Generator) -> Task:
        return {"length": 0.25 + torch.rand(num_tasks, generator=gen)}

    tasks = GymTasks(lambda: gymnasium.make("CartPole-v1"), lambda env, task: set_cartpole(env.unwrapped, task), sample,
                     {"length": torch.tensor(0.5)}, horizon=60)  # fmt: skip
    batch = act(tasks, tasks.sample(3, generator(0)), 4)
    assert batch.terminated.any()
    assert torch.equal(batch.rewards, batch.mask)
    assert envs(tasks)[0].polemass_length == pytest.approx(0.1 * envs(tasks)[0].length)
    tasks.close()


def test_the_environments_own_time_limit_is_a_horizon() -> None:
    def make(limit: int) -> GymTasks:
        return GymTasks(lambda: gymnasium.make("Pendulum-v1", max_episode_steps=limit), set_pendulum, PENDULUM.sample,
                        PENDULUM.default_task(), horizon=6)  # fmt: skip

    short, equal, long = (make(limit) for limit in (4, 6, 9))
    task = short.sample(2, generator(0))
    batch = act(short, task, 1)
    assert batch.mask.tolist() == [[[1, 1, 1, 1, 0, 0]]] * 2
    assert batch.terminated[0, 0].tolist() == [False, False, False, True, False, False]
    assert torch.equal(act(equal, task, 1).rewards, act(long, task, 1).rewards)
    assert not act(equal, task, 1).terminated.any()
    for tasks in (short, equal, long):
        tasks.close()


def test_an_old_state_is_refused() -> None:
    tasks = counter()
    task = tasks.default_task()
    start = tasks.reset(task, torch.zeros(2))
    after, _, _ = tasks.step(task, start, torch.tensor(0), torch.zeros(0))
    with pytest.raises(ValueError, match=r"copy 0 of counter is not its latest.*cannot go back"):
        tasks.step(task, start, torch.tensor(0), torch.zeros(0))
    tasks.reset(task, torch.zeros(2))
    with pytest.raises(ValueError, match="is not its latest"):
        tasks.step(task, after, torch.tensor(0), torch.zeros(0))


def test_leaves_with_a_shape_arrive_as_arrays_of_their_own() -> None:
    """Each as often as it is set; when the family is made, the default task is set too."""
    given: list[Any] = []

    def keep(env: Any, task: dict[str, Any]) -> None:
        given.append(task["goal"])
        task["goal"] += 1  # an environment may do what it likes with its parameters

    task = {"goal": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}
    tasks = GymTasks(Counter, keep, lambda n, gen: {"goal": torch.zeros(n, 2)}, {"goal": torch.zeros(2)}, 2)
    assert [g.tolist() for g in given] == [[1, 1]] * len(given)
    given.clear()
    act(tasks, task, 1)
    assert [g.tolist() for g in given] == [[2, 3], [4, 5]]
    assert task["goal"].tolist() == [[1, 2], [3, 4]]


def test_observations_are_flattened_one_hot_and_actions_clipped() -> None:
    square = counter(observation_space=Box(-9, 9, (2, 2), np.float32), action_space=Box(-1, 3, (2, 1), np.float32))
    assert (square.observation_size, square.action_size, square.discrete, square.action_scale) == (4, 2, False, 0.5)
    task = {"pay": torch.tensor(1.0), "end": torch.tensor(9)}
    state = square.reset(task, torch.zeros(2))
    state, _, _ = square.step(task, state, torch.tensor([-7.0, 0.5]), torch.zeros(0))
    assert square.observe(task, state).tolist() == [1, 1, 1, 1]
    assert envs(square)[0].log[-1].tolist() == [[-1.0], [2.0]]  # halfway from the middle, 1, to 3
    rooms = counter(observation_space=Discrete(4))
    state = rooms.reset(task, torch.zeros(2))
    state, _, _ = rooms.step(task, state, torch.tensor(1), torch.zeros(0))
    assert rooms.observe(task, state).tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("kind", ["observation_space", "action_space"])
def test_other_spaces_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=rf"the {kind.split('_')[0]} space is Dict.*Box and Discrete.*Wrap"):
        counter(**{kind: Dict({"a": Discrete(2)})})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_reward_that_is_not_finite_is_reported_by_rollout(bad: float) -> None:
    tasks = counter(bad=bad)
    with pytest.raises(ValueError, match=rf"counter gave the reward {bad} to task 0 in episode 0 at step 0"):
        act(tasks, {"pay": torch.ones(2), "end": torch.tensor([9, 9])}, 1)


def test_a_policy_that_has_diverged_is_reported_by_rollout() -> None:
    tasks = pendulum(horizon=3)
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    params = {name: p * float("nan") for name, p in tile(policy.params(), 2).items()}
    with pytest.raises(Diverged, match="task 0 gave the action"):
        rollout(tasks, policy, params, tasks.sample(2, generator(0)), 1, generator(0))
    tasks.close()


def test_bad_tasks_and_horizons_are_refused() -> None:
    with pytest.raises(ValueError, match="horizon = None, and counter has no max_episode_steps: say horizon=200"):
        counter(horizon=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="horizon = 0: a positive integer"):
        counter(horizon=0)
    tasks = counter()
    with pytest.raises(ValueError, match=r"task\['pay'\] of counter has shape \(3,\), but \(2,\)"):
        act(tasks, {"end": torch.ones(2), "pay": torch.ones(3)}, 1)
    task = {"pay": torch.tensor(1.0)}
    broken = GymTasks(Counter, set_counter, lambda n, gen: {"pay": torch.ones(1)}, task, 3, name="x")
    with pytest.raises(ValueError, match=r"task\['pay'\] of x has shape \(1,\), but \(4,\)"):
        broken.sample(4, generator(0))
    with pytest.raises(ValueError, match="num_tasks = 0"):
        tasks.sample(0, generator(0))


def test_first_actions_are_a_fourth_as_wide_as_the_box_or_one_where_it_has_no_end() -> None:
    """As wide as [-1, 1] where the box is not around 0."""
    for low, high, scale in ((-2.0, 2.0, 1.0), (0.0, 1.0, 0.5), (-np.inf, np.inf, 1.0)):
        tasks = counter(action_space=Box(low, high, (3,), np.float32))
        assert tasks.action_scale == scale
        assert tasks.action_size == 3
        tasks.close()


def test_both_numbers_of_the_reset_noise_are_in_the_seed() -> None:
    """31 bits, so that int32 holds it: the first number is the upper 24 of them, the second the lower 7."""
    tasks = counter()
    task = {name: leaf.expand(3) for name, leaf in tasks.default_task().items()}
    last = 1 - 2.0**-24  # the greatest number that is drawn
    for dtype in (torch.float32, torch.float64):
        tasks.reset(task, torch.tensor([[0.5, 0.25], [0.75, 0.25], [last, last]], dtype=dtype))
        seeds = [env.log[-1][2] for env in envs(tasks)]
        assert seeds == [2**30 + 2**5, 3 * 2**29 + 2**5, 2**31 - 1]
    tasks.close()
