"""A trained policy at play: step by step what `rollout` and `trial` do, in tensors, arrays and gymnasium's loops."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import Tensor

from metarl_lite import adapt, player, policy_gradient, with_advantages
from metarl_lite.policies.base import tile
from metarl_lite.policies.belief import BeliefPolicy
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.keyed import keyed
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator, normal
from metarl_lite.rollout import Noise, draw_noise, rollout, trial
from metarl_lite.tasks import (
    BernoulliBandit,
    CartPoleTasks,
    GridGoal,
    GymTasks,
    PendulumTasks,
    PointGoal,
    TabularMDP,
    TaskDistribution,
    TaskEnv,
    make_vec,
)
from metarl_lite.tasks.base import index_task
from metarl_lite.tasks.gym import gym_id
from metarl_lite.tasks.gym_env import episode_noise
from metarl_lite.types import Diverged, Params, Rollout, Task
from tests.test_early_ends import Hourglass

FAMILIES: list[TaskDistribution] = [
    BernoulliBandit(3, 4),
    TabularMDP(4, 3, horizon=5),
    GridGoal(3, 5),
    PointGoal(horizon=12),
    CartPoleTasks(horizon=40),
    PendulumTasks(horizon=6),
]
MEMORIES = ["gru", "two memories", "keyed", "belief"]


def bold(policy: Any, seed: int = 5, scale: float = 0.3) -> Any:
    """The policy with random numbers added to all its parameters, so that its memory and its biases matter."""
    gen = generator(seed)
    params = {n: p.detach() + scale * normal(tuple(p.shape), gen, p.dtype) for n, p in policy.params().items()}
    return policy.replace(params)


def with_memory(kind: str, tasks: TaskDistribution) -> GRUPolicy:
    gen = generator(1)
    made: dict[str, Any] = {
        "gru": lambda: GRUPolicy.for_tasks(tasks, gen, hidden=6),
        "two memories": lambda: GRUPolicy.for_tasks(tasks, gen, hidden=6, separate=True),
        "keyed": lambda: keyed(GRUPolicy.for_tasks(tasks, gen, hidden=16), gen),
        "belief": lambda: BeliefPolicy.for_tasks(tasks, gen, code=5, units=4),
    }
    policy: GRUPolicy = bold(made[kind]())
    return policy


def close(got: Any, expected: Tensor) -> None:
    np.testing.assert_allclose(np.asarray(got), expected.numpy(), rtol=1e-5, atol=1e-5)


# --- As in `rollout` --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("tasks", FAMILIES, ids=lambda t: t.name)
def test_without_a_memory_it_plays_as_rollout_does(tasks: TaskDistribution, deterministic: bool) -> None:
    """One task's adapted parameters; tensors and arrays, single and in a batch; and a set for each of four tasks."""
    policy, task = bold(MLPPolicy.for_tasks(tasks, generator(1), hidden=(6,))), tasks.sample(4, generator(2))
    noise = draw_noise(tasks, policy, 4, 3, generator(3))
    batch = rollout(tasks, policy, tile(policy.params(), 4), task, 3, noise=noise)
    params = adapt(policy, tile(policy.params(), 4), with_advantages(batch), policy_gradient, 0.5)
    batch = rollout(tasks, policy, params, task, 3, noise=noise, deterministic=deterministic)
    if deterministic:
        best = policy.forward(params, batch.observations).detach()
        torch.testing.assert_close(batch.actions, best.argmax(-1) if tasks.discrete else best, rtol=1e-4, atol=1e-5)
    one = player(policy, {name: p[2] for name, p in params.items()})
    each = player(policy, params)
    for e in range(3):
        for t in range(tasks.horizon):
            seen, luck = batch.observations[:, e, t], noise.action[:, e, t]
            alone = one.act(seen[2], deterministic, noise=luck[2])
            assert isinstance(alone, Tensor)
            close(alone, batch.actions[2, e, t])
            close(one.act(seen[2].numpy(), deterministic, noise=luck[2].numpy()), batch.actions[2, e, t])
            close(each.act(seen, deterministic, noise=luck), batch.actions[:, e, t])
        seen, luck = batch.observations[2, :, 0], noise.action[2, :, 0]  # three episodes of one task
        close(one.act(seen.numpy(), deterministic, noise=luck), batch.actions[2, :, 0])


# --- As in `trial` ----------------------------------------------------------------------------------------------------


def at_once(tasks: TaskDistribution, play: Any, task: Task, noise: Noise, n: int, episodes: int, how: Any) -> Any:
    """One trial in a plain loop that resets at once: `[(e, t, action, reward)]`."""
    own, steps = index_task(task, n), []
    play.reset()
    for e in range(episodes):
        state, done = tasks.reset(own, noise.reset[n, e]), False
        for t in range(tasks.horizon):
            if done:
                break
            seen = tasks.observe(own, state)
            action = play.act(how(seen), noise=noise.action[n, e, t])
            state, reward, ended = tasks.step(own, state, torch.as_tensor(action), noise.step[n, e, t])
            done = bool(ended) or t == tasks.horizon - 1
            steps.append((e, t, action, reward.item()))
            play.observe(reward.item(), done)
    return steps


@pytest.mark.parametrize("kind", MEMORIES)
@pytest.mark.parametrize("tasks", [*FAMILIES, Hourglass(True), Hourglass(False)], ids=lambda t: t.name)
def test_with_a_memory_it_plays_as_trial_does(tasks: TaskDistribution, kind: str) -> None:
    policy, task = with_memory(kind, tasks), tasks.sample(4, generator(2))
    noise = draw_noise(tasks, policy, 4, 3, generator(3))
    batch = trial(tasks, policy, policy.params(), task, 3, noise=noise)
    play = player(policy)
    for n in range(4):
        how: Any = Tensor.numpy if n % 2 else lambda x: x
        steps = at_once(tasks, play, task, noise, n, 3, how)
        assert [[e, t] for e, t, *_ in steps] == batch.mask[n].nonzero().tolist()
        for e, t, action, reward in steps:
            close(action, batch.actions[n, e, t])
            assert reward == pytest.approx(batch.rewards[n, e, t].item(), abs=1e-4)
    assert tasks.name not in ("hourglass", "cartpole") or (batch.mask == 0).any(), "some episodes should end early"


@pytest.mark.parametrize("kind", ["gru", "belief"])
@pytest.mark.parametrize("tasks", [PendulumTasks(horizon=5), BernoulliBandit(3, 4)], ids=lambda t: t.name)
def test_a_batch_of_trials_is_each_of_them(tasks: TaskDistribution, kind: str) -> None:
    """Without early ends all move in step; the last of them begins a new trial after the first episode."""
    policy, task = with_memory(kind, tasks), tasks.sample(3, generator(2))
    noise, play = draw_noise(tasks, policy, 3, 2, generator(3)), player(policy)
    batch = trial(tasks, policy, policy.params(), task, 2, noise=noise)
    later = Noise(noise.reset[2:, 1:], noise.step[2:, 1:], noise.action[2:, 1:])
    fresh = trial(tasks, policy, policy.params(), index_task(task, slice(2, 3)), 1, noise=later)
    for e in range(2):
        state, members = tasks.reset(task, noise.reset[:, e]), 3 if e == 0 else 2
        for t in range(tasks.horizon):
            action = play.act(tasks.observe(task, state), noise=noise.action[:, e, t])
            close(action[:members], batch.actions[:members, e, t])
            if e == 1:
                close(action[2:], fresh.actions[:, 0, t])
            state, reward, _ = tasks.step(task, state, action, noise.step[:, e, t])
            play.observe(reward, torch.full((3,), t == tasks.horizon - 1))
        play.reset([False, False, True])


def most_probable(tasks: TaskDistribution, policy: GRUPolicy, batch: Rollout) -> Tensor:
    """What the head says of each memory of the batch."""
    memory = policy.recall(policy.params(), policy.inputs(batch), batch.mask)[0]
    chosen = policy.distribution(policy.params(), memory)
    best = chosen["logits"].argmax(-1) if tasks.discrete else chosen["mean"]
    return best.reshape(batch.actions.shape).detach()


@pytest.mark.parametrize("kind", ["gru", "belief"])
@pytest.mark.parametrize("tasks", FAMILIES, ids=lambda t: t.name)
def test_the_most_probable_action_is_taken_where_one_plays(tasks: TaskDistribution, kind: str) -> None:
    """In `trial` and by a player, whatever the noise; and it is the peak of what would be drawn from."""
    policy, task = with_memory(kind, tasks), tasks.sample(4, generator(2))
    noise = draw_noise(tasks, policy, 4, 2, generator(3))
    batch = trial(tasks, policy, policy.params(), task, 2, noise=noise, deterministic=True)
    other = Noise(noise.reset, noise.step, policy.noise(noise.action.shape[:3], generator(9)))
    again = trial(tasks, policy, policy.params(), task, 2, noise=other, deterministic=True)
    assert torch.equal(batch.actions, again.actions)
    taken = batch.mask > 0
    torch.testing.assert_close(batch.actions[taken], most_probable(tasks, policy, batch)[taken], rtol=1e-4, atol=1e-5)
    play = player(policy)
    for e, t in batch.mask[0].nonzero().tolist():
        close(play.act(batch.observations[0, e, t], deterministic=True), batch.actions[0, e, t])
        play.observe(batch.rewards[0, e, t], batch.done()[0, e, t])
    sampled = trial(tasks, policy, policy.params(), task, 2, noise=noise)
    assert not torch.equal(sampled.actions, batch.actions)


# --- In gymnasium -----------------------------------------------------------------------------------------------------


def chance_of(tasks: TaskDistribution, policy: Any, seeds: list[int], episodes: int) -> Noise:
    """The chance that environments with these seeds will have, and some for the actions."""
    drawn = [[episode_noise(tasks, rng) for _ in range(episodes)] for rng in (seeding.np_random(s)[0] for s in seeds)]
    reset, step = (torch.stack([torch.stack([one[k] for one in row]) for row in drawn]) for k in (0, 1))
    return Noise(reset, step, policy.noise(step.shape[:3], generator(8)))


@pytest.mark.parametrize("kind", ["gru", "belief"])
@pytest.mark.parametrize("tasks", FAMILIES, ids=lambda t: t.name)
def test_a_plain_loop_of_gymnasium_is_a_trial(tasks: TaskDistribution, kind: str) -> None:
    """With the id, wrappers and all; the pendulum's 2 N m are 1 there, and its box clips."""
    policy, task = with_memory(kind, tasks), tasks.sample(2, generator(2))
    if isinstance(tasks, PendulumTasks):
        policy = policy.replace(policy.params() | {"log_std": torch.tensor([1.0])})  # beyond the box, too
    noise = chance_of(tasks, policy, [7, 8], 3)
    batch = trial(tasks, policy, policy.params(), task, 3, noise=noise)
    options = {"size": 3} if isinstance(tasks, GridGoal) else {}
    options |= {"num_states": 4, "num_actions": 3} if isinstance(tasks, TabularMDP) else {}
    options |= {"num_arms": 3} if isinstance(tasks, BernoulliBandit) else {}
    for n in range(2):
        env = gymnasium.make(gym_id(type(tasks)), task=index_task(task, n), horizon=tasks.horizon, **options)
        play, lived = player(policy, env=env), []
        for e in range(3):
            (observation, _), done, t = env.reset(seed=7 + n if e == 0 else None), False, 0
            while not done:
                action = play.act(observation, noise=noise.action[n, e, t])
                assert env.action_space.contains(action)
                observation, reward, terminated, truncated, _ = env.step(action)
                done = terminated or truncated
                play.observe(reward, done)
                assert float(reward) == pytest.approx(batch.rewards[n, e, t].item(), rel=1e-4, abs=1e-4)
                lived.append([e, t])
                t += 1
        assert lived == batch.mask[n].nonzero().tolist()


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("kind", ["gru", "belief"])
@pytest.mark.parametrize("tasks", [Hourglass(False), CartPoleTasks(horizon=25)], ids=lambda t: t.name)
def test_a_vector_that_resets_its_members_is_a_batch_of_trials(tasks: Any, kind: str, own: bool) -> None:
    """Members end at different times, and each sleeps through its own resets, in our vector and in gymnasium's."""
    check_vector(tasks, kind, own)


@pytest.mark.parametrize("deep", [False, True])
def test_one_world_that_resets_itself_is_a_vector_of_one(deep: bool) -> None:
    """In the wrapper `Autoreset`, whatever is around it: the memory sleeps through the same steps."""
    tasks = GridGoal(3, 4)
    policy = with_memory("gru", tasks)
    single: Any = gymnasium.wrappers.Autoreset(TaskEnv(tasks))
    single = gymnasium.wrappers.RecordEpisodeStatistics(single) if deep else single
    vector, chance = make_vec(tasks, 1), policy.noise((14, 1), generator(3))
    lives: list[Any] = []
    for env in (single, vector):
        play, (observation, _) = player(policy, env=env), env.reset(seed=7)
        lives.append([])
        for noise in chance:
            action = play.act(observation, noise=noise)
            observation, reward, terminated, truncated, _ = env.step(action)
            play.observe(reward, terminated | truncated)
            lives[-1].append(np.hstack([play.memory[0], action, reward]))
    np.testing.assert_allclose(*lives, rtol=1e-5, atol=1e-6)


def test_a_player_that_lives_through_its_resets_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        NEXT_STEP = AutoresetMode.SAME_STEP

    monkeypatch.setattr("metarl_lite.policies.seat.AutoresetMode", Wrong)
    with pytest.raises(AssertionError):
        check_vector(Hourglass(False), "gru", True)


def check_vector(tasks: Any, kind: str, own: bool) -> None:
    policy, task = with_memory(kind, tasks), tasks.sample(4, generator(2))
    noise = chance_of(tasks, policy, [7, 8, 9, 10], 4)
    batch = trial(tasks, policy, policy.params(), task, 4, noise=noise)
    lengths = batch.mask.sum(-1).long()
    assert len(set(map(tuple, lengths.tolist()))) == 4
    env: Any
    if own:
        env = make_vec(tasks, 4, task)
    else:
        env = SyncVectorEnv([lambda n=n: TaskEnv(tasks, index_task(task, n)) for n in range(4)])  # type: ignore[misc]
    assert env.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    play, (observation, _) = player(policy, env=env), env.reset(seed=7)
    at, done = [(0, 0)] * 4, np.zeros(4, bool)
    checked = 0
    for _ in range(int(lengths.sum(1).max()) + 4):
        luck = torch.stack([noise.action[n, min(e, 3), min(t, tasks.horizon - 1)] for n, (e, t) in enumerate(at)])
        before = done
        observation, reward, terminated, truncated, _ = env.step(play.act(observation, noise=luck))
        done = terminated | truncated
        play.observe(reward, done)
        for n, (e, t) in enumerate(at):
            if before[n]:
                at[n] = (e + 1, 0)
            elif e < 4:
                assert float(reward[n]) == pytest.approx(batch.rewards[n, e, t].item(), rel=1e-4, abs=1e-4)
                assert done[n] == batch.done()[n, e, t]
                at[n], checked = (e, t + 1), checked + 1
    assert checked == batch.mask.sum()


@pytest.mark.parametrize("name", ["CartPole-v1", "FrozenLake-v1", "Pendulum-v1"])
def test_in_gymnasiums_own_worlds_it_acts_as_it_did_on_them(name: str) -> None:
    """On `GymTasks`: discrete observations are one-hot, actions are clipped to the box."""
    make: Any = lambda: gymnasium.make(name, max_episode_steps=30)  # noqa: E731
    nothing = {"x": torch.zeros(())}
    tasks = GymTasks(make, lambda env, task: None, lambda n, gen: {"x": torch.zeros(n)}, nothing)
    policy = with_memory("gru", tasks)
    noise = draw_noise(tasks, policy, 1, 2, generator(3))
    batch = trial(tasks, policy, policy.params(), {"x": torch.zeros(1)}, 2, noise=noise)
    env = make()
    play = player(policy, env=env)
    for e in range(2):
        upper, lower = noise.reset[0, e].double().tolist()
        seed = int(upper * 2**24) * 2**7 + int(lower * 2**7)  # 31 bits
        (observation, _), done, t = env.reset(seed=seed), False, 0
        while not done:
            action = play.act(observation, noise=noise.action[0, e, t])
            assert env.action_space.contains(action)
            observation, reward, terminated, truncated, _ = env.step(action)
            done = terminated or truncated
            play.observe(reward, done)
            assert float(reward) == pytest.approx(batch.rewards[0, e, t].item(), rel=1e-4, abs=1e-4)
            t += 1
        assert t == batch.mask[0, e].sum()
    tasks.close()


RESCALED: dict[str, Any] = {
    "none": lambda wrappers, env: env,
    "clipped": lambda wrappers, env: wrappers.ClipAction(env),
    "lopsided": lambda wrappers, env: wrappers.RescaleAction(env, 0, 1),
    "rescaled, then clipped": lambda wrappers, env: wrappers.ClipAction(wrappers.RescaleAction(env, -3, 7)),
    "clipped, then rescaled": lambda wrappers, env: wrappers.RescaleAction(
        wrappers.ClipAction(env), np.float32(-np.inf), np.float32(np.inf)
    ),
    "twice": lambda wrappers, env: wrappers.RescaleAction(wrappers.RescaleAction(env, -1, 3), -2, 0),
}
FAR = [0.4, -0.7, 50.0]  # standard deviations: within the box, and beyond


@pytest.mark.parametrize("how", RESCALED)
@pytest.mark.parametrize("tasks", [PointGoal(), PendulumTasks()], ids=lambda t: t.name)
def test_what_reaches_the_family_is_the_policys_action_whatever_the_wrappers(tasks: Any, how: str) -> None:
    """Single and in vectors of each kind, next to the family's own step."""
    policy, task = MLPPolicy.for_tasks(tasks, generator(1)), tasks.default_task()
    name = gym_id(type(tasks))
    for luck in FAR:
        env: Any = RESCALED[how](gymnasium.wrappers, gymnasium.make(name))
        seen, _ = env.reset(seed=3)
        noise = luck * np.array([1.0, -0.5], np.float32)[: tasks.action_size]
        drawn = episode_noise(tasks, seeding.np_random(3)[0])
        own = player(policy).act(torch.tensor(seen), noise=noise)
        expected, _, _ = tasks.step(task, tasks.reset(task, drawn[0]), own, drawn[1][0])
        action = player(policy, env=env).act(seen, noise=noise)
        assert env.action_space.contains(action)
        np.testing.assert_allclose(env.step(action)[0], tasks.observe(task, expected), rtol=1e-5, atol=1e-6)
        for mode in ("sync", "vector_entry_point"):
            vector = gymnasium.make_vec(name, 2, vectorization_mode=mode)
            check_members(
                RESCALED[how](gymnasium.wrappers.vector, vector), policy, noise, tasks.observe(task, expected)
            )


def check_members(env: Any, policy: Any, noise: Any, expected: Tensor) -> None:
    """The first member, with the seed 3, arrives where it is expected."""
    seen, _ = env.reset(seed=3)
    action = player(policy, env=env).act(seen, noise=np.stack([noise] * 2))
    assert env.action_space.contains(action)
    np.testing.assert_allclose(env.step(action)[0][0], expected, rtol=1e-5, atol=1e-6)
    env.close()


@pytest.mark.usefixtures("shared_memory")
def test_members_that_live_in_processes_of_their_own_are_known_as_well() -> None:
    policy, noise = MLPPolicy.for_tasks(PendulumTasks(), generator(0)), np.zeros((2, 1))
    for how in ("none", "lopsided"):
        wrapped = [partial(RESCALED[how], gymnasium.wrappers)]
        actions = []
        for mode in ("sync", "async"):
            env = gymnasium.make_vec("metarl_lite/Pendulum-v0", 2, vectorization_mode=mode, wrappers=wrapped)
            actions.append(player(policy, env=env).act(np.ones((2, 3)), noise=noise))
            env.close()
        np.testing.assert_array_equal(*actions)


@pytest.mark.parametrize("kind", ["single", "vector"])
def test_a_wrapper_whose_actions_cannot_be_followed_back_is_named(kind: str) -> None:
    policy, space = MLPPolicy.for_tasks(PointGoal(), generator(0)), gymnasium.spaces.Box(0, 1, (2,))
    named = (
        r"TransformAction in .*changes the actions from Box\(-0\.1.* to Box\(0\.0.*RescaleAction.*, through_gym=True\)"
    )
    env: Any
    if kind == "single":
        env = gymnasium.wrappers.TransformAction(TaskEnv("point-goal"), lambda a: a**2, space)
    else:
        env = gymnasium.wrappers.vector.TransformAction(make_vec("point-goal", 2), np.square, single_action_space=space)
    with pytest.raises(ValueError, match=named):
        player(policy, env=env)
    # One that leaves the box as it is belongs to the world.
    slippery = gymnasium.wrappers.TransformAction(TaskEnv("point-goal"), lambda a: -a, None)
    double = gymnasium.wrappers.TransformAction(
        TaskEnv("point-goal"), lambda a: a, gymnasium.spaces.Box(-0.1, 0.1, (2,), float)
    )
    act = [player(policy, env=e).act(np.zeros(2), noise=np.ones(2)) for e in (TaskEnv("point-goal"), slippery, double)]
    np.testing.assert_array_equal(act[0], act[1])
    np.testing.assert_allclose(act[0], act[2], rtol=1e-6)


@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_what_was_trained_through_gym_tasks_on_an_id_of_ours_is_played_without_it(kind: str) -> None:
    """Such a policy acts in the numbers of the box, [-1, 1], and not in newton metres."""
    make, horizon = (lambda: gymnasium.make("metarl_lite/Pendulum-v0", horizon=8)), 8  # fmt: skip
    pendulum = PendulumTasks()
    tasks = GymTasks(make, lambda env, task: setattr(env.unwrapped, "task", task), pendulum.sample,
                     pendulum.default_task(), horizon)  # fmt: skip
    policy: Any = with_memory("gru", tasks) if kind == "gru" else bold(MLPPolicy.for_tasks(tasks, generator(1)))
    task, noise = tasks.sample(1, generator(2)), draw_noise(tasks, policy, 1, 1, generator(3))
    if kind == "gru":
        batch = trial(tasks, policy, policy.params(), task, 1, noise=noise)
    else:
        batch = rollout(tasks, policy, tile(policy.params(), 1), task, 1, noise=noise)
    env, play = make(), player(policy)
    upper, lower = noise.reset[0, 0].double().tolist()
    env.unwrapped.task = index_task(task, 0)  # type: ignore[attr-defined]
    observation, _ = env.reset(seed=int(upper * 2**24) * 2**7 + int(lower * 2**7))
    for t in range(horizon):
        action = play.act(observation, noise=noise.action[0, 0, t])
        close(action, batch.actions[0, 0, t])
        observation, reward, *_ = env.step(action)
        play.observe(reward, False)
        assert float(reward) == pytest.approx(batch.rewards[0, 0, t].item(), rel=1e-4, abs=1e-4)
    tasks.close()


# --- What it returns, and its own chance ------------------------------------------------------------------------------


def test_it_answers_in_kind() -> None:
    bandit, point = BernoulliBandit(3, 4), PointGoal()
    discrete, numbers = (player(GRUPolicy.for_tasks(t, generator(0), hidden=4)) for t in (bandit, point))
    arm = discrete.act(np.ones(1))
    assert isinstance(arm, np.int64)
    discrete.reset()
    arms = discrete.act(torch.ones(5, 1))
    assert arms.dtype == torch.int64
    assert arms.shape == (5,)
    move = numbers.act(np.zeros(2))
    assert isinstance(move, np.ndarray)
    assert move.dtype == np.float32
    assert move.shape == (2,)
    numbers.reset()
    assert isinstance(numbers.act(torch.zeros(4, 2)), Tensor)
    numbers.reset()
    assert numbers.act([0.0, 0.0]).shape == (2,)


def test_the_same_generator_gives_the_same_actions_and_nobody_elses_is_touched() -> None:
    policy, state = GRUPolicy.for_tasks(PointGoal(), generator(0), hidden=4), torch.get_rng_state()

    def actions(*gen: Any) -> list[Any]:
        play, found = player(policy, None, None, *gen), []
        for _ in range(5):
            found += play.act(np.zeros(2)).tolist()
            play.observe(0.0, False)
        return found

    assert actions(generator(4)) == actions(generator(4))
    assert actions() == actions(generator(0))
    assert actions() != actions(generator(4))
    assert torch.equal(torch.get_rng_state(), state)


def test_no_gradient_and_the_policy_stays_as_it_is() -> None:
    policy = GRUPolicy.for_tasks(PointGoal(), generator(0), hidden=4)
    before = policy.params()
    assert not player(policy, policy.params()).act(torch.zeros(2)).requires_grad
    assert all(torch.equal(p, before[name]) for name, p in policy.params().items())


# --- What is refused --------------------------------------------------------------------------------------------------

POINT, BANDIT = PointGoal(), BernoulliBandit(3, 4)
GRU, MLP = GRUPolicy.for_tasks(POINT, generator(0), hidden=4), MLPPolicy.for_tasks(POINT, generator(0))


@pytest.mark.parametrize("policy", [GRU, MLP], ids=["gru", "mlp"])
@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (np.zeros(3), r"shape \(3,\), but the policy has 2 numbers.*shape \(2,\).*\[B, 2\]"),
        (np.zeros((4, 3)), r"shape \(4, 3\), but the policy has 2 numbers"),
        (np.zeros((4, 1, 2)), r"shape \(4, 1, 2\)"),
        (0.5, r"shape \(\)"),
        (np.array([0.0, np.nan]), "holds nan: finite numbers"),
        (torch.tensor([math.inf, 0.0]), "holds inf: finite numbers"),
        (np.zeros((0, 2)), r"shape \(0, 2\).*\[B, 2\] of them, B at least 1"),
        ([[0.0, 1.0], [0.0]], "observation = .*: numbers are needed"),
        (np.ma.array([0.0, 999.0], mask=[False, True]), "(?s)observation = masked.*: numbers are needed"),
        ("left", "observation = 'left': numbers are needed"),
        (None, "observation = None: numbers are needed"),
    ],
)
def test_a_senseless_observation_is_named(policy: Any, observation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        player(policy).act(observation)


def test_an_observation_that_the_environment_cannot_give_is_named() -> None:
    lake = gymnasium.make("FrozenLake-v1")
    policy = GRUPolicy(16, 4, generator(0), hidden=4)
    for wrong in (16, -1, np.array([1, 2])):
        with pytest.raises(ValueError, match=r"observation = .*FrozenLake.* gives integers of Discrete\(16\)"):
            player(policy, env=lake).act(wrong)
    with pytest.raises(ValueError, match=r"shape \(2,\), but .*TaskVectorEnv.* has 2 numbers.*shape \(3, 2\)"):
        player(GRU, env=make_vec(POINT, 3)).act(np.zeros(2))


@pytest.mark.parametrize(
    ("reward", "done", "message"),
    [
        (np.zeros(2), False, r"reward = .*a finite number .*for each of 1 trials"),
        (math.nan, False, "reward = nan: a finite number"),
        (1e39, False, r"reward = 1e\+39: a finite number \(torch.float32\)"),
        (1j, False, "reward = 1j"),
        (torch.tensor(1j), False, "reward = tensor"),
        ([[1.0], [1.0, 2.0]], False, "reward = "),
        (np.ma.array([1.0], mask=[True]), False, "reward = "),
        (0.0, "yes", "done = 'yes': True or False for each of 1"),
        (0.0, 2, "done = 2: True or False for each of 1"),
        (0.0, 0.5, "done = 0.5"),
        (0.0, math.nan, "done = nan"),
        (0.0, None, "done = None"),
        (0.0, [[True]], "done = "),
    ],
)
def test_senseless_news_is_named(reward: Any, done: Any, message: str) -> None:
    play = player(GRU)
    play.act(np.zeros(2))
    with pytest.raises(ValueError, match=message):
        play.observe(reward, done)


@pytest.mark.parametrize("tasks", [POINT, BANDIT], ids=["numbers", "choices"])
@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_noise_that_the_policy_does_not_draw_is_named(kind: str, tasks: TaskDistribution) -> None:
    make: Any = MLPPolicy if kind == "mlp" else GRUPolicy
    policy = make.for_tasks(tasks, generator(0))
    one, size = tasks.observation_size, 1 if tasks.discrete else 2
    wrong: list[Any] = [0.1, math.nan, "a", [0.1] * (3 - size), [math.nan] * size, [0.1] * 2 * size, [[0.1] * size] * 2]
    wrong += [[1.0], [-0.1]] if tasks.discrete else [[0.1, math.inf]]
    for noise in wrong:
        with pytest.raises(ValueError, match=r"noise = .* are needed, as policy\.noise\(\(\), gen\)"):
            player(policy).act(np.zeros(one), noise=noise)
    with pytest.raises(ValueError, match=r"noise = .*of shape \(3, \d\) are needed"):
        player(policy).act(np.zeros((3, one)), noise=[[0.1] * size] * 2)
    right: list[Any] = [[0.1] * size, torch.full((1, size), 0.1, dtype=torch.float64, requires_grad=True)]
    same = [player(policy).act(np.zeros(one), noise=noise) for noise in right]
    np.testing.assert_array_equal(*same)


def test_the_most_probable_action_is_asked_for_by_a_truth_value() -> None:
    for wrong in ("no", None, 1, [True]):
        with pytest.raises(ValueError, match=r"deterministic = .*: True or False is needed"):
            player(MLP).act(np.zeros(2), deterministic=wrong)  # type: ignore[arg-type]
    assert player(MLP).act(np.zeros(2), deterministic=np.True_).shape == (2,)  # type: ignore[arg-type]


def test_members_are_told_by_a_truth_value_each() -> None:
    play = player(GRU)
    play.act(np.zeros((3, 2)))
    play.observe(np.ones(3), np.zeros(3))
    for wrong in ([0, 2, 5], [0, 1, 1], [1.0, 0.0, 0.0], [True, False], True, "all"):
        with pytest.raises(ValueError, match=r"members = .*: True or False for each of 3 trials is needed"):
            play.reset(wrong)
    play.reset(np.isin(range(3), [0, 2]))
    empty = (play.agent[0] == 0).all(-1)
    assert empty.tolist() == [True, False, True]


def test_news_and_observations_in_any_type_of_number_are_the_same() -> None:
    """Half precision, with a gradient, of the other byte order, extended: values count."""
    kinds: list[Any] = [
        lambda x: torch.tensor(x, dtype=torch.bfloat16),
        lambda x: torch.tensor(x, requires_grad=True),
        lambda x: np.array(x, ">f4"),
        lambda x: np.array(x, np.longdouble),
        lambda x: x,
    ]
    found = []
    for kind in kinds:
        play = player(GRU)
        action = play.act(kind([0.5, -0.25]), noise=kind([0.5, -2.0]))
        play.observe(kind(0.5), kind(1.0))
        assert not any(x.requires_grad for x in play.agent)
        found.append([*np.asarray(action), *(x.sum().item() for x in play.agent)])
    assert found == [found[0]] * len(kinds)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_policy_of_half_precision_acts_in_arrays_and_within_the_box(dtype: torch.dtype) -> None:
    policy = MLPPolicy.for_tasks(PointGoal(dtype=dtype), generator(0))
    assert player(policy).act(torch.zeros(2), noise=[0.5, 9]).dtype == dtype
    assert player(policy).act(np.zeros(2), noise=[0.5, 9]).dtype == np.float32
    env = gymnasium.make("metarl_lite/PointGoal-v0")
    assert env.action_space.contains(player(policy, env=env).act(np.zeros(2), noise=[0.5, 9]))


def test_a_memory_must_be_told_once_after_each_action() -> None:
    play = player(GRU)
    with pytest.raises(ValueError, match="observe was called without an action before it"):
        play.observe(0.0, False)
    play.act(np.zeros(2))
    with pytest.raises(ValueError, match=r"act was called twice.*observe"):
        play.act(np.zeros(2))
    play.observe(0.0, False)
    with pytest.raises(ValueError, match="3 observations, but 1 trials"):
        play.act(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="without an action"):
        play.observe(0.0, False)
    play.reset()
    play.act(np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"reward = 0\.0: a finite number .* for each of 3 trials"):
        play.observe(0.0, [False] * 3)
    plain = player(MLP)
    plain.act(np.zeros(2))
    plain.act(np.zeros(2))
    plain.observe(0.0, True)
    plain.reset()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((GRU, {"actor_w": torch.zeros(4, 3)}), r"'actor_w': \(4, 3\).*do not fit this policy"),
        ((GRU, tile(GRU.params(), 3)), "do not fit this policy"),
        ((MLP, {"w0": torch.zeros(3, 2, 9)}), "do not fit this policy"),
        ((MLP, MLPPolicy(3, 2, generator(0)).params()), r"{'w0': \(3, 64\)} do not fit .* needs {'w0': \(2, "),
        ((GRUPolicy,), r"policy is the class GRUPolicy: .* made with GRUPolicy\.for_tasks\(tasks, gen\)"),
        ((GRU, GRU), r"params are a dict .*, such as policy\.params\(\), not a GRUPolicy"),
        (("gridnavi",), "policy is of type str: an MLPPolicy or a GRUPolicy"),
        ((GRU, None, POINT), "env is of type PointGoal: an environment of gymnasium"),
        ((GRU, None, gymnasium.make("CartPole-v1")), r"\(2, 2, False\), but .*CartPole.* has \(4, 2, True\)"),
        ((GRU, None, gymnasium.make("Blackjack-v1")), r"\(2, 2, False\), but .*Blackjack.* has \(45, 2, True\)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_named(given: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        player(*given)


def test_parameters_for_some_tasks_want_an_observation_of_each() -> None:
    play = player(MLP, tile(MLP.params(), 3))
    with pytest.raises(ValueError, match=r"2 observations, but parameters for 3 tasks.*\{name: p\[0\]"):
        play.act(np.zeros((2, 2)))


def test_a_diverged_policy_is_named() -> None:
    params: Params = MLP.params() | {"b2": torch.tensor([0.0, math.nan])}
    with pytest.raises(Diverged, match=r"the policy gave the action .*nan.*diverged"):
        player(MLP, params).act(np.zeros(2))


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("kind", [MLPPolicy, GRUPolicy])
def test_a_diverged_policy_of_discrete_actions_is_named(kind: Any, deterministic: bool) -> None:
    policy = kind(2, 3, generator(0), discrete=True)
    last = "actor_b" if kind is GRUPolicy else "b2"
    play = player(policy, policy.params() | {last: torch.tensor([0.0, math.nan, 1.0])})
    with pytest.raises(Diverged, match=r"the policy gave the logits \[.*nan.*\] \(world 0\).*diverged"):
        play.act(np.zeros(2), deterministic)


def test_a_player_keeps_its_own_parameters() -> None:
    params = {name: p.detach() for name, p in MLP.params().items()}
    play, seen = player(MLP, params), np.ones(2)
    before = play.act(seen, True)
    for p in params.values():
        p.zero_()
    assert np.array_equal(play.act(seen, True), before)
