"""What holds for every family: shapes, purity, fixed tasks, one episode whatever the batch, and clear refusals."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
import torch

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.evaluate.curves import adaptation_curve, trial_returns
from metarl_lite.policies.base import tile
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.rollout import draw_noise, rollout
from metarl_lite.tasks import FAMILIES, FiniteTasks, PointGoal, TaskDistribution, index_task, make_tasks
from metarl_lite.tasks.base import blame_options, check_positive
from metarl_lite.tasks.leaves import tasks_in
from metarl_lite.types import Rollout, Task

from .families import SMALL, random_actions

DTYPES = [torch.float32, torch.float64]


def make(name: str, dtype: torch.dtype = torch.float64) -> TaskDistribution:
    return SMALL[name](dtype)


def act(tasks: TaskDistribution, task: Task, episodes: int, seed: int = 1) -> Rollout:
    policy = MLPPolicy.for_tasks(tasks, generator(seed))
    num_tasks = len(next(iter(task.values())))
    return rollout(tasks, policy, tile(policy.params(), num_tasks), task, episodes, generator(seed))


def test_every_family_is_tested() -> None:
    assert set(SMALL) == set(FAMILIES)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SMALL)
def test_shapes_and_types_with_any_leading_dimensions(name: str, dtype: torch.dtype) -> None:
    tasks, gen = make(name, dtype), generator(0)
    many = tasks.sample(2, gen)
    tasks.check_task(many, 2)
    tasks.check_task(tasks.default_task())
    spread = {leaf: value.unsqueeze(1) for leaf, value in many.items()}
    for task, lead in [(tasks.default_task(), ()), (tasks.default_task(), (5,)), (many, (2,)), (spread, (2, 3))]:
        state = tasks.reset(task, tasks.draw_reset(lead, gen))
        assert tuple(state.shape[: len(lead)]) == lead
        for _ in range(3):
            observation = tasks.observe(task, state)
            assert observation.shape == (*lead, tasks.observation_size)
            assert observation.dtype == dtype
            move = random_actions(tasks, lead, gen)
            after, reward, over = tasks.step(task, state, move, tasks.draw(lead, gen))
            assert after.shape == state.shape
            assert after.dtype == state.dtype
            assert reward.shape == over.shape == lead
            assert reward.dtype == dtype
            assert over.dtype == torch.bool
            assert tasks.can_terminate or not over.any()
            state = after


@pytest.mark.parametrize("name", SMALL)
def test_a_step_changes_none_of_its_arguments(name: str) -> None:
    tasks, gen = make(name), generator(0)
    task = tasks.sample(4, gen)
    state = tasks.reset(task, tasks.draw_reset((4,), gen))
    move, noise = random_actions(tasks, (4,), gen), tasks.draw((4,), gen)
    before = [x.clone() for x in (*task.values(), state, move, noise)]
    tasks.step(task, state, move, noise)
    tasks.observe(task, state)
    assert all(torch.equal(a, b) for a, b in zip(before, (*task.values(), state, move, noise), strict=True))


@pytest.mark.parametrize("name", SMALL)
def test_an_episode_does_not_depend_on_the_batch_around_it(name: str) -> None:
    tasks, gen = make(name), generator(0)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(8,))
    task, noise = tasks.sample(5, gen), draw_noise(tasks, policy, 5, 2, gen)
    together = rollout(tasks, policy, tile(policy.params(), 5), task, 2, noise=noise)
    for i in range(5):
        part = slice(i, i + 1)
        alone = rollout(tasks, policy, tile(policy.params(), 1), index_task(task, part), 2, noise=noise[part])
        torch.testing.assert_close(alone.rewards, together.rewards[part])
        torch.testing.assert_close(alone.observations, together.observations[part])
        assert torch.equal(alone.mask, together.mask[part])


@pytest.mark.parametrize("name", SMALL)
def test_after_the_end_reward_and_mask_are_zero_and_the_state_is_frozen(name: str) -> None:
    tasks = make(name)
    batch = act(tasks, tasks.sample(4, generator(0)), 3)
    ended = batch.terminated.cumsum(2) - batch.terminated.long() > 0  # at an earlier step
    assert torch.equal(batch.mask == 0, ended)
    assert torch.equal(batch.rewards[ended], torch.zeros_like(batch.rewards[ended]))
    final = batch.last_observations.unsqueeze(2).expand_as(batch.observations)
    assert torch.equal(batch.observations[ended], final[ended])
    assert ended.any() == (name == "cartpole")


def task_stays_fixed(tasks: TaskDistribution) -> bool:
    """Three episodes of one task: its leaves stay, and equal actions earn equal rewards in each of the episodes."""
    gen = generator(0)
    task = tasks.sample(2, gen)
    before = {name: leaf.clone() for name, leaf in task.items()}
    policy = MLPPolicy.for_tasks(tasks, gen)
    noise = draw_noise(tasks, policy, 2, 3, gen)
    for part in (noise.step, noise.action):
        part[:, 1:] = part[:, :1]
    if tasks.reset_noise_size:
        noise.reset[:, 1:] = noise.reset[:, :1]
    batch = rollout(tasks, policy, tile(policy.params(), 2), task, 3, noise=noise)
    same_leaves = all(torch.equal(leaf, before[name]) for name, leaf in task.items())
    # Up to rounding: rows of one batch may differ in the last bit. Another goal changes rewards in the first digit.
    return same_leaves and torch.allclose(batch.rewards, batch.rewards[:, :1].expand_as(batch.rewards), atol=1e-4)


class RedrawsInReset(PointGoal):
    """Gotcha 8: another goal for each episode."""

    def reset(self, task: Task, noise: torch.Tensor) -> torch.Tensor:
        task["goal"] = torch.rand((*noise.shape[:-1], 2), generator=generator(5), dtype=self.dtype) - 0.5
        return super().reset(task, noise)


class RedrawsInPlace(PointGoal):
    """Gotcha 8 once more: the caller's task is overwritten."""

    def reset(self, task: Task, noise: torch.Tensor) -> torch.Tensor:
        task["goal"] += 0.25
        return super().reset(task, noise)


@pytest.mark.parametrize("name", SMALL)
def test_a_task_stays_fixed_over_its_episodes(name: str) -> None:
    assert task_stays_fixed(make(name))


@pytest.mark.parametrize("broken", [RedrawsInReset, RedrawsInPlace])
def test_a_task_that_is_redrawn_in_reset_is_refused(broken: type[PointGoal]) -> None:
    with pytest.raises(ValueError, match=rf"{broken.__name__}.reset changes its argument task\['goal'\] in place"):
        task_stays_fixed(broken(horizon=12, dtype=torch.float64))


@pytest.mark.parametrize("name", SMALL)
def test_observations_stay_within_their_bounds(name: str) -> None:
    tasks = make(name)
    low, high = tasks.observation_bounds()
    batch = act(tasks, tasks.sample(50, generator(0)), 4)
    for seen in (batch.observations, batch.last_observations):
        assert bool(((seen >= low) & (seen <= high)).all())


@pytest.mark.parametrize("name", SMALL)
def test_same_seed_same_tasks_and_the_global_states_stay(name: str) -> None:
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    tasks = make(name)
    one, two, other = (tasks.sample(3, generator(seed)) for seed in (0, 0, 1))
    act(tasks, one, 2)
    tasks.default_task()
    assert all(torch.equal(one[leaf], two[leaf]) for leaf in one)
    assert any(not torch.equal(one[leaf], other[leaf]) for leaf in one)
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002
    assert python_state == random.getstate()


@pytest.mark.parametrize("name", SMALL)
def test_the_default_task_is_always_the_same(name: str) -> None:
    one, two = make(name).default_task(), make(name).default_task()
    assert all(torch.equal(one[leaf], two[leaf]) for leaf in one)


@pytest.mark.parametrize("name", SMALL)
def test_a_wrong_task_is_refused_with_leaf_shape_and_remedy(name: str) -> None:
    tasks = make(name)
    task = tasks.sample(3, generator(0))
    leaf = next(iter(task))
    shape = tuple(task[leaf].shape)
    with pytest.raises(ValueError, match=rf"{leaf}.*shape \({shape[0]},.*\(4,.*batch of 4 tasks.*tasks.sample"):
        tasks.check_task(task, 4)
    with pytest.raises(ValueError, match=rf"{leaf}.*for a single task"):
        tasks.check_task(task)
    with pytest.raises(ValueError, match=rf"leaves \[.*{leaf}.*got \['nothing'\].*tasks.sample"):
        tasks.check_task({"nothing": torch.zeros(3)}, 3)
    with pytest.raises(ValueError, match="got list"):
        tasks.check_task([1, 2], 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=rf"{leaf}.*is of type list, but a tensor of shape \({shape[0]}"):
        tasks.check_task({**task, leaf: task[leaf].tolist()}, 3)
    broken = task[leaf].clone().double()
    broken.view(-1)[0] = float("nan")
    with pytest.raises(ValueError, match=rf"{leaf}.*nan.*finite"):
        tasks.check_task({**task, leaf: broken}, 3)


@pytest.mark.parametrize("name", SMALL)
def test_what_a_task_seems_to_be_decides_what_to_do(name: str) -> None:
    tasks = make(name)
    three, one = tasks.sample(3, generator(0)), tasks.default_task()
    with pytest.raises(ValueError, match=r"this is one task, and a batch of them is needed, .*Add a leading dimension"):
        tasks.check_task(one, tasks_in(one))
    tasks.check_task({name: leaf.unsqueeze(0) for name, leaf in one.items()}, 1)  # as is said there
    with pytest.raises(
        ValueError, match=r"for a batch of 5 tasks: these are 3\..* tile\(policy\.params\(\), 3\) makes 3"
    ):
        tasks.check_task(three, 5)
    with pytest.raises(ValueError, match=r"for a single task: these are 3 tasks\. The first of them is"):
        tasks.check_task(three)
    tasks.check_task({name: leaf[0] for name, leaf in three.items()})
    with pytest.raises(ValueError, match=r"has shape \(0,.*\), which holds no task: at least one is needed"):
        tasks.check_task({name: leaf[:0] for name, leaf in three.items()}, 0)
    long = {name: torch.cat([leaf, leaf[:1]]) if i else leaf for i, (name, leaf) in enumerate(three.items())}
    if len(long) > 1:
        with pytest.raises(ValueError, match=r"was expected for a batch of 3 tasks: .*all of one N"):
            tasks.check_task(long, 3)


def test_a_single_task_is_told_from_many_wherever_it_is_given() -> None:
    tasks = PointGoal(horizon=2)
    policy, memory = MLPPolicy.for_tasks(tasks, generator(0)), GRUPolicy.for_tasks(tasks, generator(0), hidden=4)
    one = tasks.default_task()
    for use in (
        lambda: adaptation_curve(tasks, policy, one, MAMLConfig(episodes=2), generator(0)),
        lambda: rollout(tasks, policy, tile(policy.params(), 2), one, 1, generator(0)),
        lambda: trial_returns(tasks, memory, one, 2, generator(0)),
        lambda: FiniteTasks(tasks, one),
    ):
        with pytest.raises(ValueError, match=r"has shape \(2,\): this is one task, .* \[N, 2\]\. Add a leading dim"):
            use()


@pytest.mark.parametrize("size", [0, -3, 2.5, True, "4", None])
def test_sizes_that_are_not_positive_integers_are_refused(size: object) -> None:
    with pytest.raises(ValueError, match=rf"count = {size!r}: a positive integer is needed, such as count=20"):
        check_positive(count=size)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SMALL)
def test_negative_horizons_and_batches_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="horizon = -1: a positive integer"):
        make_tasks(name, horizon=-1)
    with pytest.raises(ValueError, match="num_tasks = 0: a positive integer"):
        make(name).sample(0, generator(0))


@pytest.mark.parametrize("name", ["x", ["grid-goal"], {"grid-goal": 3}, np.array(["grid-goal", "x"]), None, 3])
def test_a_family_that_there_is_none_of_is_named(name: Any) -> None:
    with pytest.raises(ValueError, match=r"there is no family of tasks .*; make_tasks knows bernoulli-bandit, "):
        make_tasks(name)


def test_an_option_that_a_family_does_not_take_is_named_with_those_that_it_does() -> None:
    with pytest.raises(ValueError, match=r"^GridGoal takes no 'siez': its options are size, horizon, dtype\.$"):
        make_tasks("grid-goal", siez=3)
    blame_options(FAMILIES["grid-goal"], {"size": None, "dtype": None})  # it was none of the names
    with pytest.raises(ValueError, match="vary_transitions = 'no': True or False is needed"):
        make_tasks("two-step", vary_transitions="no")


def test_a_pool_is_a_copy() -> None:
    tasks = PointGoal()
    pool = tasks.sample(3, generator(0))
    family = FiniteTasks(tasks, pool)
    before = [family.sample(5, generator(1))["goal"], family.default_task()["goal"], family.identity()["pool"]]
    pool["goal"][:] = 9.0
    family.default_task()["goal"][:] = 9.0
    after = [family.sample(5, generator(1))["goal"], family.default_task()["goal"], family.identity()["pool"]]
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])
    assert before[2] == after[2]


def test_families_by_name() -> None:
    assert make_tasks("grid-goal", size=7).observation_size == 49
    assert {name: family.__name__ for name, family in FAMILIES.items()} == {
        "bernoulli-bandit": "BernoulliBandit", "dependent-bandit": "DependentBandit", "eleven-arms": "ElevenArms",
        "two-step": "TwoStep", "tabular-mdp": "TabularMDP", "point-goal": "PointGoal", "grid-goal": "GridGoal",
        "cartpole": "CartPoleTasks", "pendulum": "PendulumTasks",
    }  # fmt: skip
    assert all(type(make_tasks(name)) is family for name, family in FAMILIES.items())
    known = ", ".join(sorted(FAMILIES))
    with pytest.raises(ValueError, match=rf"'halfcheetah'; make_tasks knows {known}"):
        make_tasks("halfcheetah")


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (PointGoal, r"tasks is the class PointGoal: an instance of it is needed here, made with PointGoal\("),
        ("point-goal", r"tasks is of type str: TaskDistribution is needed here, made with make_tasks\(name\)"),
        ({"goal": torch.ones(3, 2)}, r"tasks is of type dict: TaskDistribution is needed here"),
    ],
)
def test_a_pool_of_what_is_no_family_is_refused(tasks: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FiniteTasks(tasks, PointGoal().sample(3, generator(0)))


def test_a_pool_without_a_task_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pool: at least one task is needed"):
        FiniteTasks(PointGoal(), {"goal": torch.zeros(0, 2)})


@pytest.mark.parametrize("name", FAMILIES)
def test_more_tasks_than_fit_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"to draw so many tasks needs about 4e\+04 GB of memory.*draw fewer"):
        make_tasks(name).sample(10**13, generator(0))


def test_a_finite_family_draws_from_its_pool_only() -> None:
    family = PointGoal(horizon=5)
    pool = family.sample(3, generator(0))
    tasks = FiniteTasks(family, pool)
    drawn = tasks.sample(40, generator(1))["goal"]
    distance = (drawn.unsqueeze(1) - pool["goal"]).abs().amax(-1)  # [40, 3]
    assert bool((distance.amin(1) == 0).all())
    assert bool((distance.amin(0) == 0).all())
    assert torch.equal(tasks.default_task()["goal"], pool["goal"][0])
    assert torch.equal(tasks.observation_bounds()[1], family.observation_bounds()[1])
    assert tasks.action_limit == family.action_limit
    assert act(tasks, tasks.sample(2, generator(2)), 2).rewards.shape == (2, 2, 5)


#: Of each family as it is if nothing is said: O, A, horizon, numbers of chance a step and a reset, scale and limit.
AS_PUBLISHED = {
    "bernoulli-bandit": (1, 5, 10, 1, 0, 1.0, math.inf),
    "dependent-bandit": (1, 2, 100, 1, 0, 1.0, math.inf),
    "eleven-arms": (1, 11, 5, 0, 0, 1.0, math.inf),
    "two-step": (3, 2, 200, 2, 0, 1.0, math.inf),
    "tabular-mdp": (10, 5, 10, 3, 0, 1.0, math.inf),
    "point-goal": (2, 2, 100, 0, 0, 0.1, 0.1),
    "grid-goal": (25, 5, 15, 0, 0, 1.0, math.inf),
    "cartpole": (4, 2, 200, 0, 4, 1.0, math.inf),
    "pendulum": (3, 1, 200, 0, 2, 1.0, 2.0),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_family_is_if_nothing_is_said(name: str) -> None:
    tasks = make_tasks(name)
    sizes = (tasks.observation_size, tasks.action_size, tasks.horizon, tasks.noise_size, tasks.reset_noise_size)
    assert (*sizes, tasks.action_scale, tasks.action_limit) == AS_PUBLISHED[name]
    assert tasks.discrete == (name not in ("point-goal", "pendulum"))
    assert tasks.can_terminate == (name in ("point-goal", "cartpole"))
    assert tasks.dtype == torch.float32


@pytest.mark.parametrize("name", SMALL)
def test_chance_is_uniform_and_of_the_asked_shape(name: str) -> None:
    tasks = make(name)
    step, reset = tasks.draw((3, 4), generator(0)), tasks.draw_reset((3, 4), generator(0))
    assert step.shape == (3, 4, tasks.noise_size)
    assert reset.shape == (3, 4, tasks.reset_noise_size)
    for part in (step, reset):
        assert part.dtype == torch.float64
        assert bool(((part >= 0) & (part < 1)).all())
        assert len(part.unique()) == part.numel()


@pytest.mark.parametrize("name", SMALL)
def test_a_finite_family_is_its_family_in_all_but_what_it_draws(name: str) -> None:
    family = make(name)
    tasks = FiniteTasks(family, family.sample(3, generator(0)))
    for attribute in TaskDistribution.__annotations__:
        assert getattr(tasks, attribute) == getattr(family, attribute), attribute
    task = tasks.sample(4, generator(1))
    ours, theirs = (
        rollout(which, policy, tile(policy.params(), 4), task, 2, generator(2))
        for which in (tasks, family)
        for policy in [MLPPolicy.for_tasks(family, generator(3), hidden=(3,))]
    )
    torch.testing.assert_close(ours.rewards, theirs.rewards)
    torch.testing.assert_close(ours.observations, theirs.observations)
