"""All learners meet the same tasks with the same luck, and learn where they should: between their episodes.

Each check is a function of the function it is given, so that the broken variants at the end can be fed to it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import pytest
import torch
from torch import Tensor

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.algorithms.inner import adapt, sample
from metarl_lite.evaluate.curves import trial_returns
from metarl_lite.evaluate.learners import (
    fixed_learner,
    gradient_learner,
    memory_learner,
    oracle_learner,
    returns_by_episode,
)
from metarl_lite.losses import policy_gradient
from metarl_lite.oracles.navigation import goal_known_return
from metarl_lite.policies.base import tile
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.rollout import draw_noise, rollout
from metarl_lite.tasks.bandits import BernoulliBandit
from metarl_lite.tasks.gym_tasks import GymTasks
from metarl_lite.tasks.navigation import GridGoal, PointGoal
from metarl_lite.tasks.physics import CartPoleTasks

F64 = torch.float64
PLANE = PointGoal(horizon=8, dtype=F64)
CONFIG = MAMLConfig(episodes=3, inner_steps=2, inner_lr=0.5)


def a_policy(tasks: Any = PLANE, kind: Any = MLPPolicy) -> Any:
    return kind.for_tasks(tasks, generator(0), hidden=(8,) if kind is MLPPolicy else 8)


def some_tasks(tasks: Any = PLANE, count: int = 4) -> Any:
    return tasks.sample(count, generator(1))


# --- Gradient steps: by hand ------------------------------------------------------------------------------------------


def by_hand(policy: MLPPolicy, task: Any, episodes: int, seed: int) -> Tensor:
    """The same episodes, one block after the other, with a step between two: `[N, K]`."""
    every, params = CONFIG.episodes, tile(policy.params(), 4)
    noise = draw_noise(PLANE, policy, 4, episodes, generator(seed))
    returns, begin, steps = [], 0, 0
    while begin < episodes:
        last = steps == CONFIG.inner_steps
        end = episodes if last else min(begin + every, episodes)
        some = noise[:, begin:end]
        returns.append(rollout(PLANE, policy, params, task, end - begin, noise=some).returns())
        if not last and end < episodes:
            support = sample(PLANE, policy, params, task, CONFIG, some)
            params = adapt(policy, params, support, policy_gradient, CONFIG.inner_lr, False)
            steps += 1
        begin = end
    return torch.cat(returns, 1)


def check_gradient_steps(learner_of: Any, episodes: int) -> None:
    policy, task = a_policy(), some_tasks()
    found = returns_by_episode(PLANE, [learner_of(policy, CONFIG)], task, episodes, seed=5)
    torch.testing.assert_close(found, by_hand(policy, task, episodes, 5)[None])


# fewer than a block, exactly one, a part of the second, all steps exactly, and many more after the last
@pytest.mark.parametrize("episodes", [1, 2, 3, 4, 6, 7, 9, 10, 20])
def test_steps_come_between_blocks_of_episodes(episodes: int) -> None:
    check_gradient_steps(gradient_learner, episodes)


def test_parts_of_the_tasks_give_what_all_of_them_give() -> None:
    policy, task = a_policy(), some_tasks()
    whole, parts = (
        returns_by_episode(PLANE, [gradient_learner(policy, replace(CONFIG, chunk_size=size))], task, 7, seed=5)
        for size in (None, 3)
    )
    torch.testing.assert_close(whole, parts)


def test_the_initialisation_stays_as_it_is() -> None:
    policy = a_policy()
    before = {name: p.clone() for name, p in policy.params().items()}
    returns_by_episode(PLANE, [gradient_learner(policy, CONFIG)], some_tasks(), 7, seed=5)
    assert all(torch.equal(before[name], p) for name, p in policy.params().items())


@pytest.mark.parametrize("algorithm", ["fomaml", "reptile", "anil"])
def test_relatives_take_their_steps(algorithm: str) -> None:
    learner = gradient_learner(a_policy(), replace(CONFIG, algorithm=algorithm))
    assert returns_by_episode(PLANE, [learner], some_tasks(), 7, seed=5).isfinite().all()


def test_learned_rates_are_used() -> None:
    config = replace(CONFIG, algorithm="meta_sgd")
    learner = gradient_learner(a_policy().with_rates(0.5), config)
    found = returns_by_episode(PLANE, [learner], some_tasks(), 7, seed=5)
    plain = returns_by_episode(PLANE, [gradient_learner(a_policy(), CONFIG)], some_tasks(), 7, seed=5)
    torch.testing.assert_close(found, plain)  # all rates are 0.5 as yet
    assert returns_by_episode(PLANE, [learner], some_tasks(), 1, seed=5).shape == (1, 4, 1)  # no step at all


# --- The same luck for all --------------------------------------------------------------------------------------------


def test_a_learner_alone_earns_what_it_earns_beside_others() -> None:
    policy, memory, task = a_policy(), a_policy(kind=GRUPolicy), some_tasks()
    learners = [gradient_learner(policy, CONFIG), memory_learner(memory), fixed_learner(policy)]
    together = returns_by_episode(PLANE, learners, task, 7, seed=5)
    assert together.shape == (3, 4, 7)
    for learner, found in zip(learners, together, strict=True):
        assert torch.equal(returns_by_episode(PLANE, [learner], task, 7, seed=5)[0], found)
    # before the first step a gradient learner is a fixed one, with the same luck
    torch.testing.assert_close(together[0, :, :3], together[2, :, :3])
    assert (together[0, :, 3:] != together[2, :, 3:]).all()


def test_a_memory_lives_through_one_trial() -> None:
    tasks = BernoulliBandit(num_arms=3, horizon=1)
    policy, task = a_policy(tasks, GRUPolicy), some_tasks(tasks, 50)
    expected = trial_returns(tasks, policy, task, 9, generator(5))
    assert torch.equal(returns_by_episode(tasks, [memory_learner(policy)], task, 9, seed=5)[0], expected)


def check_same_world(returns_of: Any) -> None:
    """Poles begin where chance has put them: two policies that do the same have the same starts."""
    tasks = CartPoleTasks(horizon=15, dtype=F64)
    seen: list[Tensor] = []

    def watching(tasks: Any, task: Any, episodes: int, gen: torch.Generator) -> Tensor:
        noise = draw_noise(tasks, a_policy(tasks), 4, episodes, gen)
        seen.append(noise.reset)
        return noise.reset[..., 0]

    returns_of(tasks, [watching, watching], some_tasks(tasks), 3, 5)
    assert torch.equal(*seen)


def test_the_chance_of_the_world_is_the_same_for_all() -> None:
    check_same_world(returns_by_episode)


def test_what_is_known_is_the_same_in_each_episode() -> None:
    task = some_tasks()
    best = oracle_learner(lambda task: goal_known_return(PLANE, task))
    found = returns_by_episode(PLANE, [best], task, 5, seed=0)
    torch.testing.assert_close(found, goal_known_return(PLANE, task)[None, :, None].expand(1, 4, 5))


def test_environments_of_gymnasium_come_in() -> None:
    tasks = GymTasks(
        lambda: gymnasium.make("CartPole-v1", max_episode_steps=10),
        lambda env, task: setattr(env.unwrapped, "length", task["length"]),
        lambda count, gen: {"length": 0.3 + torch.rand(count, generator=gen)},
        {"length": torch.tensor(0.5)},
        horizon=10,
    )
    policy, memory = a_policy(tasks), a_policy(tasks, GRUPolicy)
    learners = [gradient_learner(policy, CONFIG), memory_learner(memory), fixed_learner(policy)]
    found = returns_by_episode(tasks, learners, some_tasks(tasks, 2), 4, seed=3)
    assert found.shape == (3, 2, 4)
    assert ((found >= 1) & (found <= 10)).all()
    torch.testing.assert_close(found[0, :, :3], found[2, :, :3])


# --- It learns --------------------------------------------------------------------------------------------------------


def test_a_recorded_agent_searches_once_and_then_knows() -> None:
    from metarl_lite.records.actors import actor

    tasks = GridGoal()
    task = {"goal": tasks.goals()}
    found = returns_by_episode(tasks, [memory_learner(actor("gridnavi"))], task, 4, seed=0)[0].mean(0)
    assert found[1:].min() > found[0] + 1  # an episode of search costs more than one point


# --- What is refused --------------------------------------------------------------------------------------------------


def test_what_is_no_learner_is_refused_with_what_was_allowed() -> None:
    task = some_tasks()
    with pytest.raises(ValueError, match="learners is empty: give at least one"):
        returns_by_episode(PLANE, [], task, 3, 0)
    with pytest.raises(ValueError, match=r"learners\[0\]"):
        returns_by_episode(PLANE, [a_policy()], task, 3, 0)
    with pytest.raises(ValueError, match=r"learners\[1\] gave a tensor of shape \[4\].*\[N, K\] = \[4, 3\]"):
        returns_by_episode(PLANE, [fixed_learner(a_policy()), lambda *_: torch.zeros(4)], task, 3, 0)
    with pytest.raises(ValueError, match="episodes"):
        returns_by_episode(PLANE, [fixed_learner(a_policy())], task, 0, 0)
    with pytest.raises(ValueError, match="policy"):
        gradient_learner(a_policy(kind=GRUPolicy), CONFIG)
    with pytest.raises(ValueError, match="policy"):
        memory_learner(a_policy())
    with pytest.raises(ValueError, match="observation"):
        returns_by_episode(PLANE, [fixed_learner(a_policy(GridGoal()))], task, 3, 0)


def test_one_learner_need_not_stand_in_a_list() -> None:
    assert returns_by_episode(PLANE, fixed_learner(a_policy()), some_tasks(), 2, 0).shape == (1, 4, 2)


# --- Broken variants are noticed --------------------------------------------------------------------------------------


def test_steps_from_episodes_that_are_lived_again_are_noticed() -> None:
    def again(policy: MLPPolicy, config: MAMLConfig) -> Any:
        """Adapts on the first episodes, and is then scored on them: what it learned from counts twice."""

        def learn(tasks: Any, task: Any, episodes: int, gen: torch.Generator) -> Tensor:
            params, noise = tile(policy.params(), 4), draw_noise(tasks, policy, 4, episodes, gen)
            first = noise[:, : config.episodes]
            if episodes > config.episodes:
                support = sample(tasks, policy, params, task, config, first)
                params = adapt(policy, params, support, policy_gradient, config.inner_lr, False)
            return rollout(tasks, policy, params, task, episodes, noise=noise).returns()

        return learn

    with pytest.raises(AssertionError):
        check_gradient_steps(again, 4)


def test_luck_of_ones_own_is_noticed() -> None:
    def one_after_the_other(tasks: Any, learners: Any, task: Any, episodes: int, seed: int) -> Tensor:
        gen = generator(seed)
        return torch.stack([learner(tasks, task, episodes, gen) for learner in learners])

    with pytest.raises(AssertionError):
        check_same_world(one_after_the_other)
