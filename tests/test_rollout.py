"""Acting in batches against acting one by one, and what happens after an early end."""

from __future__ import annotations

import pytest
import torch

from metarl_lite.policies import MLPPolicy, tile
from metarl_lite.rng import generator
from metarl_lite.rollout import draw_noise, rollout
from metarl_lite.tasks.bandits import BernoulliBandit
from metarl_lite.tasks.base import TaskDistribution, index_task
from metarl_lite.tasks.navigation import GridGoal, PointGoal
from metarl_lite.types import Diverged

FAMILIES = [
    PointGoal(horizon=12, dtype=torch.float64),
    GridGoal(4, 7, torch.float64),
    BernoulliBandit(3, 5, torch.float64),
]


@pytest.mark.parametrize("tasks", FAMILIES, ids=lambda t: t.name)
def test_a_batch_equals_one_episode_at_a_time(tasks: TaskDistribution) -> None:
    gen = generator(0)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(6,))
    task, noise = tasks.sample(3, gen), draw_noise(tasks, policy, 3, 2, gen)
    params = {
        name: p + 0.1 * torch.randn(p.shape, generator=gen, dtype=p.dtype)
        for name, p in tile(policy.params(), 3).items()
    }
    batch = rollout(tasks, policy, params, task, 2, noise=noise)
    for n in range(3):
        own, mine = index_task(task, n), {name: p[n : n + 1] for name, p in params.items()}
        for e in range(2):
            state, over = tasks.reset(own, noise.reset[n, e]), False
            for t in range(tasks.horizon):
                obs = tasks.observe(own, state)
                torch.testing.assert_close(batch.observations[n, e, t], obs)
                assert batch.mask[n, e, t].item() == (not over)
                action = policy.act(mine, obs[None, None], noise.action[n, e, t][None, None])[0, 0]
                torch.testing.assert_close(batch.actions[n, e, t], action)
                after, reward, terminated = tasks.step(own, state, action, noise.step[n, e, t])
                assert batch.rewards[n, e, t].item() == pytest.approx(0.0 if over else reward.item(), abs=1e-12)
                assert batch.terminated[n, e, t].item() == (bool(terminated) and not over)
                state = state if over else after
                over = over or bool(terminated)
            torch.testing.assert_close(batch.last_observations[n, e], tasks.observe(own, state))


def test_after_an_early_end_nothing_moves_and_nothing_counts() -> None:
    tasks = PointGoal(horizon=6)
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    params = {name: torch.zeros_like(p) for name, p in tile(policy.params(), 1).items()}
    params["b2"] = torch.tensor([[0.1, 0.0]])  # always one step to the right, without noise
    params["log_std"] = torch.full((1, 2), -50.0)
    batch = rollout(tasks, policy, params, {"goal": torch.tensor([[0.2, 0.0]])}, 1, generator(0))
    assert batch.observations[0, 0, :, 0].tolist() == pytest.approx([0.0, 0.1, 0.2, 0.2, 0.2, 0.2])
    assert batch.rewards[0, 0].tolist() == pytest.approx([-0.1, 0, 0, 0, 0, 0], abs=1e-6)
    assert batch.mask[0, 0].tolist() == [1, 1, 0, 0, 0, 0]
    assert batch.terminated[0, 0].tolist() == [False, True, False, False, False, False]


def test_same_noise_same_episodes_and_other_noise_others() -> None:
    tasks = PointGoal(horizon=8)
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    task, params = tasks.sample(2, generator(1)), tile(policy.params(), 2)
    one, two, other = (rollout(tasks, policy, params, task, 3, generator(seed)) for seed in (2, 2, 3))
    assert torch.equal(one.rewards, two.rewards)
    assert not torch.equal(one.rewards, other.rewards)


def test_no_gradient_flows_through_acting() -> None:
    tasks = PointGoal(horizon=3)
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    params = tile({name: p.requires_grad_() for name, p in policy.params().items()}, 2)
    batch = rollout(tasks, policy, params, tasks.sample(2, generator(0)), 1, generator(0))
    assert not batch.actions.requires_grad
    assert not batch.rewards.requires_grad


def test_returns_are_the_undiscounted_sums() -> None:
    tasks = GridGoal()
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    batch = rollout(tasks, policy, tile(policy.params(), 2), tasks.sample(2, generator(0)), 3, generator(0))
    torch.testing.assert_close(batch.returns(), batch.rewards.sum(2))


def test_missing_chance_is_named() -> None:
    tasks = PointGoal()
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    with pytest.raises(ValueError, match=r"gen=generator\(seed\) or noise=draw_noise"):
        rollout(tasks, policy, tile(policy.params(), 2), tasks.sample(2, generator(0)), 1)


@pytest.mark.parametrize("episodes", [0, -1, 1.5, True])
def test_senseless_numbers_of_episodes_are_refused(episodes: int) -> None:
    tasks = PointGoal()
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    with pytest.raises(ValueError, match=f"episodes = {episodes}: a positive integer is needed"):
        rollout(tasks, policy, tile(policy.params(), 2), tasks.sample(2, generator(0)), episodes, generator(0))


def test_a_policy_of_another_family_is_refused() -> None:
    tasks, policy = GridGoal(), MLPPolicy.for_tasks(PointGoal(), generator(0))
    with pytest.raises(ValueError, match=r"\(2, 2, False\), but grid-goal has \(25, 5, True\): make one with"):
        rollout(tasks, policy, tile(policy.params(), 2), tasks.sample(2, generator(0)), 1, generator(0))


def test_a_seed_in_place_of_a_generator_is_refused() -> None:
    tasks = PointGoal()
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    params, task = tile(policy.params(), 2), tasks.sample(2, generator(0))
    with pytest.raises(ValueError, match=r"gen = 0: chance comes from a torch.Generator, such as generator\(0\)"):
        rollout(tasks, policy, params, task, 1, 0)  # type: ignore[arg-type]


def test_a_diverged_policy_is_named_before_the_environment_is_blamed() -> None:
    tasks = PointGoal(horizon=3)
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    params = {name: p.detach().clone() for name, p in tile(policy.params(), 2).items()}
    params["b2"][1] = float("nan")
    with pytest.raises(Diverged, match=r"policy of task 1 gave the action \[nan, nan\].*Lower the learning rate"):
        rollout(tasks, policy, params, tasks.sample(2, generator(0)), 1, generator(0))
