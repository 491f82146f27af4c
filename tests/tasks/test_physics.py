"""Cart-pole and pendulum against gymnasium's own environments, from its own states, with random parameters."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.rollout import rollout
from metarl_lite.tasks import CartPoleTasks, PendulumTasks
from metarl_lite.tasks.physics import PhysicalTasks
from metarl_lite.types import Task

COUNT = 1000
CARTPOLE = {
    "gravity": (7.0, 13.0), "masscart": (0.5, 2.0), "masspole": (0.05, 0.3), "length": (0.25, 1.0),
    "force_mag": (5.0, 15.0),
}  # fmt: skip
NOTHING = torch.zeros(0)


def set_cartpole(env: Any, task: dict[str, float]) -> None:
    for name, value in task.items():
        setattr(env, name, value)
    env.total_mass = env.masscart + env.masspole
    env.polemass_length = env.masspole * env.length


def one(task: Task, i: int) -> dict[str, float]:
    return {name: leaf[i].item() for name, leaf in task.items()}


def test_cartpole_equals_gymnasium_from_its_own_states() -> None:
    tasks, rng = CartPoleTasks(dtype=torch.float64), np.random.default_rng(0)
    task = tasks.sample(COUNT, generator(0))
    env: Any = gymnasium.make("CartPole-v1").unwrapped
    before, actions, after, ends = [], [], [], []
    env.reset(seed=0)
    over = False
    for i in range(COUNT):  # gymnasium's own trajectories, each step with another task's parameters
        if over:
            env.reset()
        set_cartpole(env, one(task, i))
        before.append(env.state)
        actions.append(int(rng.integers(2)))
        _, reward, over, _, _ = env.step(actions[-1])
        after.append(env.state)
        ends.append(over)
        assert reward == 1.0
    state, reward, terminated = tasks.step(task, torch.tensor(np.array(before)), torch.tensor(actions), NOTHING)
    np.testing.assert_allclose(state.numpy(), np.array(after), rtol=0, atol=1e-6)
    assert reward.tolist() == [1.0] * COUNT
    assert terminated.tolist() == ends
    assert sum(ends) > 20


def test_pendulum_equals_gymnasium_from_its_own_states() -> None:
    tasks, rng = PendulumTasks(dtype=torch.float64), np.random.default_rng(0)
    task = tasks.sample(COUNT, generator(0))
    env: Any = gymnasium.make("Pendulum-v1").unwrapped
    before, after, rewards, seen = [], [], [], []
    actions = rng.normal(0, 2, (COUNT, 1))  # a third of them beyond the limit
    env.reset(seed=0)
    for i in range(COUNT):
        if i % 50 == 0:
            env.reset()
        for name, value in one(task, i).items():
            setattr(env, name, value)
        before.append(env.state)
        observation, reward, *_ = env.step(actions[i])
        after.append(env.state)
        rewards.append(reward)
        seen.append(observation)
    state, reward, terminated = tasks.step(task, torch.tensor(np.array(before)), torch.tensor(actions), NOTHING)
    np.testing.assert_allclose(state.numpy(), np.array(after), rtol=0, atol=1e-6)
    np.testing.assert_allclose(reward.numpy(), np.array(rewards), rtol=0, atol=1e-6)
    np.testing.assert_allclose(tasks.observe(task, state).numpy(), np.array(seen), rtol=0, atol=1e-6)
    assert not terminated.any()
    assert bool((state[:, 1].abs() == 8).any())  # the clip was met


def test_the_nominal_task_is_gymnasiums() -> None:
    cartpole: Any = gymnasium.make("CartPole-v1").unwrapped
    pendulum: Any = gymnasium.make("Pendulum-v1").unwrapped
    for env, tasks in ((cartpole, CartPoleTasks()), (pendulum, PendulumTasks())):
        for name, leaf in tasks.default_task().items():
            assert leaf.item() == pytest.approx(getattr(env, name))
    assert cartpole.theta_threshold_radians == CartPoleTasks.max_angle
    assert (cartpole.x_threshold, cartpole.tau) == (CartPoleTasks.max_position, CartPoleTasks.time_step)
    assert (pendulum.max_torque, pendulum.max_speed) == (PendulumTasks.action_limit, PendulumTasks.max_speed)


def test_first_states_are_uniform_on_gymnasiums_intervals() -> None:
    for tasks, bounds in ((CartPoleTasks(), [0.05] * 4), (PendulumTasks(), [math.pi, 1.0])):
        state = tasks.reset(tasks.default_task(), tasks.draw_reset((20_000,), generator(0))).double()
        scaled = state / torch.tensor(bounds, dtype=torch.float64)
        assert float(scaled.abs().max()) <= 1 + 1e-6
        assert float(scaled.mean(0).abs().max()) < 4 / math.sqrt(3 * 20_000)
        assert float(((scaled**2).mean(0) - 1 / 3).abs().max()) < 4 * math.sqrt(4 / 45 / 20_000)


@pytest.mark.parametrize("family", [CartPoleTasks, PendulumTasks])
def test_parameters_are_uniform_on_their_ranges(family: type[PhysicalTasks]) -> None:
    tasks, count = family(), 5000
    for name, leaf in tasks.sample(count, generator(0)).items():
        low, high = tasks.ranges[name]
        assert low < tasks.nominal[name] < high
        assert low <= float(leaf.min()) < float(leaf.max()) <= high
        mean, error = (low + high) / 2, (high - low) / math.sqrt(12 * count)
        assert float(leaf.double().mean()) == pytest.approx(mean, abs=4 * error)


def test_what_ranges_do_not_name_stays_nominal() -> None:
    task = CartPoleTasks(ranges={"length": (0.25, 1.0), "gravity": (9.0, 9.0)}).sample(4, generator(0))
    assert len(task["length"].unique()) == 4
    assert task["gravity"].tolist() == [9.0] * 4
    assert task["masscart"].tolist() == [1.0] * 4
    assert task["force_mag"].tolist() == [10.0] * 4


@pytest.mark.parametrize("interval", [(2.0, 1.0), (0.0, 1.0), (-1.0, 1.0), (1.0,), (1.0, math.inf), (math.nan, 1.0)])
def test_intervals_that_make_no_sense_are_refused(interval: Any) -> None:
    with pytest.raises(ValueError, match=r"ranges\['length'\] = .*0 < low <= high is needed, such as \(0.25, 1.0\)"):
        CartPoleTasks(ranges={"length": interval})


@pytest.mark.parametrize("ranges", [[("length", (0.5, 1.0))], "length", 3, (0.5, 1.0)])
def test_ranges_that_are_no_dict_are_refused(ranges: Any) -> None:
    with pytest.raises(ValueError, match=r"ranges = .*: a dict of pairs .* as ranges=\{'gravity': \(7.0, 13.0\)\}"):
        CartPoleTasks(ranges=ranges)


def test_unknown_and_negative_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match=r"key 'mass'; the parameters of pendulum are \['g', 'l', 'm'\]"):
        PendulumTasks(ranges={"mass": (1.0, 2.0)})
    tasks = PendulumTasks()
    with pytest.raises(ValueError, match=r"task\['m'\] of pendulum holds 0.0; it must be positive, such as 1.0"):
        tasks.check_task({**tasks.default_task(), "m": torch.tensor(0.0)})


def test_cartpole_speeds_stay_within_the_bounds_under_the_worst_pushes() -> None:
    tasks = CartPoleTasks(dtype=torch.float64)
    extremes = {name: torch.tensor(pair, dtype=torch.float64) for name, pair in tasks.ranges.items()}
    grid = torch.cartesian_prod(*extremes.values())  # [32, 5] all corners of the parameter box
    task = dict(zip(extremes, grid.unsqueeze(1).unbind(-1), strict=True))
    low, high = tasks.observation_bounds()
    state = tasks.reset(task, tasks.draw_reset((32, 200), generator(0)))
    alive, gen = torch.ones(32, 200, dtype=torch.bool), generator(1)
    for t in range(200):
        push = torch.randint(2, (32, 200), generator=gen)
        push[:, :50] = t % 2
        lean = state[..., 50:150, 2] + 0.3 * state[..., 50:150, 3] > 0  # a controller that balances for long
        push[:, 50:150] = lean.long()
        after, _, over = tasks.step(task, state, push, NOTHING)
        state = torch.where(alive.unsqueeze(-1), after, state)
        alive &= ~over
        assert bool(((state >= low) & (state <= high)).all())
    assert bool((high < torch.tensor([4.8, 60.0, 0.84, 60.0])).all())


def test_balancing_earns_the_whole_horizon_and_pushing_one_way_does_not() -> None:
    tasks = CartPoleTasks(ranges={}, dtype=torch.float64)
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=())
    params = {name: torch.zeros_like(p) for name, p in tile(policy.params(), 2).items()}
    params["w0"][0, :, 1] = 100 * torch.tensor([0.1, 0.3, 1.0, 1.0])  # right if the state leans to the right
    params["b0"][1, 1] = 100.0
    returns = rollout(tasks, policy, params, tasks.sample(2, generator(0)), 10, generator(1)).returns()
    assert bool((returns[0] == tasks.horizon).all())
    assert bool((returns[1] < 15).all())


def test_the_ranges_of_both_families() -> None:
    """What is drawn is what these say, from end to end."""
    assert CartPoleTasks().ranges == CARTPOLE
    assert PendulumTasks().ranges == {"g": (7.0, 13.0), "m": (0.5, 1.5), "l": (0.5, 1.5)}
    for tasks in (CartPoleTasks(dtype=torch.float64), PendulumTasks(dtype=torch.float64)):
        for name, leaf in tasks.sample(5000, generator(2)).items():
            low, high = tasks.ranges[name]
            assert leaf.min().item() < low + 0.002 * (high - low)
            assert leaf.max().item() > high - 0.002 * (high - low)


def test_first_states_reach_to_the_ends_of_their_intervals() -> None:
    for tasks, bounds in ((CartPoleTasks(dtype=torch.float64), [0.05] * 4), (PendulumTasks(), [math.pi, 1.0])):
        state = tasks.reset(tasks.default_task(), tasks.draw_reset((5000,), generator(1))).double()
        scaled = state / torch.tensor(bounds, dtype=torch.float64)
        assert scaled.amin(0).max().item() < -0.998
        assert scaled.amax(0).min().item() > 0.998


def test_an_episode_of_the_cart_pole_ends_beyond_its_windows() -> None:
    """By standing just inside and just outside, without any speed."""
    tasks = CartPoleTasks(dtype=torch.float64)
    for place, value in ((0, 2.4), (2, math.radians(12))):
        for factor, ends in ((0.999, False), (1.001, True), (-0.999, False), (-1.001, True)):
            state = torch.zeros(4, dtype=torch.float64)
            state[place] = factor * value
            assert bool(tasks.step(tasks.default_task(), state, torch.tensor(1), NOTHING)[2]) == ends


def test_the_bounds_that_no_state_can_leave() -> None:
    """Positions and angles go one step beyond their windows; speeds as the docstring's argument has it."""
    for ranges, expected in ((None, [3.2784, 43.922, 0.6967, 24.3653]), ({}, [2.606, 10.2978, 0.3031, 4.6824])):
        low, high = CartPoleTasks(ranges=ranges).observation_bounds()
        assert torch.equal(low, -high)
        torch.testing.assert_close(high, torch.tensor(expected), rtol=1e-3, atol=0)
        far, velocity, tilted, spin = high.tolist()
        assert far == pytest.approx(2.4 + 0.02 * velocity, rel=1e-5)
        assert tilted == pytest.approx(math.radians(12) + 0.02 * spin, rel=1e-5)
    low, high = PendulumTasks().observation_bounds()
    assert (low.tolist(), high.tolist()) == ([-1.0, -1.0, -8.0], [1.0, 1.0, 8.0])
