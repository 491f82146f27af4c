"""Families of one's own: what is harmless is converted, the rest is refused by the member that is at fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metarl_lite.algorithms.configs import RL2Config
from metarl_lite.algorithms.rl2 import rl2
from metarl_lite.policies.base import tile
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.rollout import draw_noise, rollout, trial
from metarl_lite.tasks import FAMILIES, FiniteTasks, TaskDistribution, TaskEnv, TaskVectorEnv, make_tasks
from metarl_lite.tasks.door import admit
from metarl_lite.types import Diverged, Rollout, Task

from .families import SMALL
from .own import Own, stepping, variant

NAN, INF = float("nan"), float("inf")


def episodes(tasks: TaskDistribution, num_tasks: int = 3, count: int = 4) -> Rollout:
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=(4,))
    task = tasks.sample(num_tasks, generator(1))
    return rollout(tasks, policy, tile(policy.params(), num_tasks), task, count, generator(2))


def one_trial(tasks: TaskDistribution, num_tasks: int = 3, count: int = 4) -> Rollout:
    policy = GRUPolicy.for_tasks(tasks, generator(0), hidden=4)
    task = tasks.sample(num_tasks, generator(1))
    return trial(tasks, policy, policy.params(), task, count, generator(2))


def one_env(tasks: TaskDistribution) -> None:
    env, over = TaskEnv(tasks), False
    env.reset(seed=0)
    while not over:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample() * 0)
        over = terminated or truncated


def many_envs(tasks: TaskDistribution) -> None:
    env = TaskVectorEnv(tasks, 3)
    env.reset(seed=0)
    for _ in range(tasks.horizon):
        env.step(env.action_space.sample() * 0)


PLAYS: list[Callable[[Any], Any]] = [episodes, one_trial, one_env, many_envs]


def test_the_family_from_which_the_others_differ_is_right() -> None:
    for play in PLAYS:
        play(Own())


# --- Members ----------------------------------------------------------------------------------------------------------

SIZES = ("observation_size", "action_size", "horizon")


@pytest.mark.parametrize("play", PLAYS)
@pytest.mark.parametrize("name", ["name", *SIZES, "discrete", "task_shape"])
def test_a_missing_member_is_named(name: str, play: Callable[[Any], Any]) -> None:
    class Lacks(Own):
        def __getattribute__(self, asked: str) -> Any:
            if asked == name:
                raise AttributeError(asked)
            return super().__getattribute__(asked)

    with pytest.raises(ValueError, match=rf"Lacks has no {name}: set it in the class or in __init__"):
        play(Lacks())
    assert not hasattr(Lacks(), name)
    with pytest.raises(AttributeError, match="'Lacks' object has no attribute 'colour'"):
        _ = Lacks().colour  # type: ignore[attr-defined]


def test_a_missing_method_is_named() -> None:
    class Half(TaskDistribution):
        def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
            return {}

        def reset(self, task: Task, noise: Tensor) -> Tensor:
            return noise

    with pytest.raises(ValueError, match="Half has no default_task, observe, step: a family needs these methods too"):
        Half()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        *((size, bad, "a positive integer is needed") for size in SIZES for bad in (0, -1, 2.0, None, "3", True)),
        *((f"{of}noise_size", bad, "an integer, at least 0, is") for of in ("", "reset_") for bad in (-1, 1.0, None)),
        ("discrete", "yes", "True or False"), ("can_terminate", None, "True or False"), ("can_terminate", 0, "True or"),
        ("dtype", np.float32, "a floating-point type of torch"), ("dtype", torch.long, "a floating-point type"),
        ("dtype", "float32", "a floating-point type of torch"),
        ("task_shape", ["goal"], r"a dict of shapes, such as \{'goal': \(2,\)\}"),
        ("task_shape", {"goal": 2}, "a dict of shapes"), ("task_shape", {"goal": (2.0,)}, "a dict of shapes"),
        ("action_limit", 0.0, "a positive number"), ("name", 7, "a text"),
        ("action_scale", -1.0, "a positive, finite number"), ("action_scale", NAN, "a positive, finite number"),
    ],
)  # fmt: skip
def test_a_member_of_the_wrong_kind_is_named(name: str, value: Any, right: str) -> None:
    tasks, policy = variant(**{name: value})(), MLPPolicy.for_tasks(Own(), generator(0), hidden=(4,))
    with pytest.raises(ValueError, match=rf"Variant\.{name} = .*: {right}"):
        draw_noise(tasks, policy, 2, 3, generator(0))
    with pytest.raises(ValueError, match=rf"Variant\.{name} = .*: {right}"):
        TaskEnv(tasks)


def test_numbers_of_numpy_are_numbers() -> None:
    tasks = variant(horizon=np.int64(6), noise_size=np.int32(1), discrete=np.bool_(True), action_scale=np.float32(1))()
    assert torch.equal(episodes(tasks).rewards, episodes(Own()).rewards)
    one_env(tasks)


@pytest.mark.parametrize(
    ("name", "method", "why"),
    [
        ("step", lambda self, task, state, action: None, r"\(task, state, action, noise\): too many positional"),
        ("sample", lambda self, count: {}, r"\(num_tasks, gen\): too many positional"),
        ("reset", lambda self, task, noise, seed: noise, r"\(task, noise\): missing a required argument: 'seed'"),
        ("observe", lambda self: None, r"\(task, state\): too many positional"),
    ],
)
def test_a_method_that_takes_something_else_is_named(name: str, method: Any, why: str) -> None:
    tasks, policy = variant(**{name: method})(), MLPPolicy.for_tasks(Own(), generator(0))
    with pytest.raises(ValueError, match=rf"Variant\.{name} is called with {why}"):
        rollout(tasks, policy, tile(policy.params(), 2), Own().sample(2, generator(0)), 3, generator(0))


# --- What is converted ------------------------------------------------------------------------------------------------


def observing(change: Callable[[Tensor], Any]) -> type[Own]:
    return variant(observe=lambda self, task, state: change(Own.observe(self, task, state)))


HARMLESS = {
    "long rewards": (lambda s, r, d: (s, (10 * r).long(), d), lambda s, r, d: (s, (10 * r).trunc(), d)),
    "bool rewards": (lambda s, r, d: (s, r < -0.4, d), lambda s, r, d: (s, (r < -0.4).float(), d)),
    "double rewards": (lambda s, r, d: (s, r.double(), d), lambda s, r, d: (s, r, d)),
    "double states": (lambda s, r, d: (s.double(), r, d), lambda s, r, d: (s, r, d)),
    "float ends": (lambda s, r, d: (s, r, d.float()), lambda s, r, d: (s, r, d)),
    "integer ends": (lambda s, r, d: (s, r, d.long()), lambda s, r, d: (s, r, d)),
}


@pytest.mark.parametrize("play", [episodes, one_trial])
@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_is_converted(name: str, play: Callable[[Any], Rollout]) -> None:
    """As if the family had done so itself."""
    given, right = (play(stepping(change)()) for change in HARMLESS[name])
    assert torch.equal(given.rewards, right.rewards)
    assert torch.equal(given.observations, right.observations)
    assert given.rewards.dtype == given.observations.dtype == given.mask.dtype == torch.float32
    assert given.terminated.dtype == torch.bool


@pytest.mark.parametrize("play", [episodes, one_trial])
def test_observations_of_any_type_are_converted(play: Callable[[Any], Rollout]) -> None:
    for give, right in (
        (lambda o: (9 * o).long(), lambda o: (9 * o).trunc()),
        (lambda o: o > 0, lambda o: (o > 0).float()),
        (lambda o: o.double(), lambda o: o),
    ):
        given, wanted = play(observing(give)()), play(observing(right)())
        assert torch.equal(given.observations, wanted.observations)
        assert torch.equal(given.last_observations, wanted.last_observations)
        assert torch.equal(given.actions, wanted.actions)


def test_ends_that_are_numbers_end_episodes() -> None:
    def step(kind: torch.dtype) -> Any:
        return lambda s, r, d: (s, r, (r > -0.4).to(kind))

    for play in (episodes, one_trial):
        right, numbers = stepping(step(torch.bool)), stepping(step(torch.float32))
        right.can_terminate = numbers.can_terminate = True
        wanted, given = play(right()), play(numbers())
        assert wanted.terminated.any()
        assert torch.equal(given.terminated, wanted.terminated)
        assert torch.equal(given.rewards, wanted.rewards)
        assert torch.equal(given.mask, wanted.mask)


def test_environments_convert_too() -> None:
    tasks = stepping(lambda s, r, d: (s, (10 * r).long(), d.float()))()
    one_env(tasks)
    env = TaskVectorEnv(tasks, 3)
    env.reset(seed=0)
    _, rewards, terminated, _, _ = env.step(np.zeros(3, int))
    assert rewards.dtype == np.float64
    assert terminated.dtype == np.bool_


def test_a_family_that_keeps_its_promises_is_let_in_as_it_is_and_tried_once() -> None:
    tried = []

    class Watched(Own):
        def step(self, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> Any:
            tried.append(tuple(action.shape))
            return super().step(task, state, action, noise)

    tasks = Watched()
    task = tasks.sample(5, generator(0))
    for _ in range(3):
        assert admit(tasks, task, (5, 7)) is tasks
    assert tried == [(5, 3)] * 2
    for name in SMALL:
        family = make_tasks(name)
        assert admit(family, family.sample(2, generator(0)), (2,)) is family
    assert admit(Watched(), task, (5,)) is not tasks
    assert tried[2:] == [(5,)] * 2, "another family is tried for itself"


def test_the_given_family_is_not_changed() -> None:
    tasks = stepping(lambda s, r, d: (s, r.double(), d))()
    before = dict(vars(tasks))
    episodes(tasks)
    assert vars(tasks) == before
    state = tasks.reset(tasks.default_task(), torch.zeros(1))
    assert tasks.step(tasks.default_task(), state, torch.tensor(0), torch.zeros(1))[1].dtype == torch.float64


def test_families_that_cannot_be_hashed_and_pools_of_them_are_let_in() -> None:
    @dataclass
    class Written(Own):
        pull: float = 0.1

        def step(self, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> Any:
            state, reward, ended = super().step(task, state, action, noise)
            return state, reward.double(), ended

    tasks = Written()
    assert episodes(tasks).rewards.dtype == torch.float32
    pool = FiniteTasks(tasks, tasks.sample(2, generator(0)))
    assert episodes(pool).rewards.dtype == torch.float32
    assert one_trial(pool).rewards.dtype == torch.float32
    broken = FiniteTasks(variant(reset=lambda self, task, noise: noise[..., 0])(), tasks.sample(2, generator(0)))
    with pytest.raises(
        ValueError, match=r"Variant\.step fails, given task\['goal'\] \(5, 1\), state \(5, 3\), action \("
    ):
        episodes(broken)


def test_who_reads_chance_that_is_not_drawn_is_told_its_size() -> None:
    def step(self: Any, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> Any:
        state, reward, ended = Own.step(self, task, state, action, noise)
        return state, reward + noise[..., 0], ended

    with pytest.raises(ValueError, match=r"step fails, .*IndexError.* \(noise_size is 0: its noise holds no"):
        episodes(variant(step=step, noise_size=0)())


def test_global_chance_stays_as_it_is() -> None:
    before = torch.get_rng_state()
    episodes(Own())
    assert torch.equal(before, torch.get_rng_state())


# --- What is refused --------------------------------------------------------------------------------------------------

REFUSED = {
    "no reward": (lambda s, r, d: (s, None, d), r"step gives rewards of type NoneType: a tensor"),
    "a plain reward": (lambda s, r, d: (s, 1.0, d), r"step gives rewards of type float"),
    "an array": (lambda s, r, d: (s, r.numpy(), d), r"step gives rewards of type ndarray"),
    "complex rewards": (lambda s, r, d: (s, r * 1j, d), r"step gives rewards of type torch.complex64"),
    "a column of rewards": (lambda s, r, d: (s, r.unsqueeze(-1), d), r"step gives rewards of shape .*5 tasks"),
    "one reward": (lambda s, r, d: (s, r.mean(), d), r"step gives rewards of shape \(\), tried on 5 tasks"),
    "a plain end": (lambda s, r, d: (s, r, False), r"step gives terminated of type bool: .* True and False of shape"),
    "no end": (lambda s, r, d: (s, r, None), r"step gives terminated of type NoneType: a tensor of True and False"),
    "plain rewards": (lambda s, r, d: (s, 1.0, d), r"step gives rewards of type float: a tensor of real numbers of"),
    "nan among the ends": (
        lambda s, r, d: (s, r, torch.where(torch.arange(d.numel()).reshape(d.shape) == d.numel() - 1, NAN, d.float())),
        r"step gives terminated = nan: True or False",
    ),
    "half an end": (lambda s, r, d: (s, r, d + 0.5), r"step gives terminated = 0.5: True or False"),
    "a column of ends": (lambda s, r, d: (s, r, d.unsqueeze(-1)), r"step gives terminated of shape"),
    "two values": (lambda s, r, d: (s, r), r"step gives 2 values: \(next state, reward, terminated\)"),
    "gymnasium's five": (lambda s, r, d: (s, r, d, d, {}), r"step gives 5 values"),
    "a state alone": (lambda s, r, d: s, r"step gives one value: \(next state, reward, terminated\)"),
    "a longer state": (lambda s, r, d: (torch.cat([s, s], -1), r, d), r"step gives a next state of shape"),
    "a state without trailing dimension": (lambda s, r, d: (s[..., 0], r, d), r"step gives a next state of shape"),
    "an integer state": (lambda s, r, d: (s.long(), r, d), r"reset gives a state of torch.float32, and .*torch.int64"),
}  # fmt: skip


@pytest.mark.parametrize("play", [episodes, one_trial])
@pytest.mark.parametrize("name", REFUSED)
def test_a_step_that_breaks_its_promise_is_named(name: str, play: Callable[[Any], Any]) -> None:
    change, message = REFUSED[name]
    with pytest.raises(ValueError, match=rf"Variant\.{message}"):
        play(stepping(change)())


@pytest.mark.parametrize("play", PLAYS)
@pytest.mark.parametrize(
    ("name", "method", "message"),
    [
        ("observe", lambda self, task, state: state, "observe gives an observation of shape"),
        ("observe", lambda self, task, state: state.tolist(), "observe gives an observation of type list"),
        ("draw", lambda self, shape, gen: torch.zeros(*shape, 2), "draw gives noise of shape"),
        ("draw_reset", lambda self, shape, gen: torch.zeros(*shape, 2), "draw_reset gives noise of shape"),
        ("reset", lambda self, task, noise: None, "reset gives a state of type NoneType"),
        ("reset", lambda self, task, noise: (noise, noise), "reset gives a state of type tuple"),
    ],
)
def test_other_methods_that_break_their_promise_are_named(
    name: str, method: Any, message: str, play: Callable[[Any], Any]
) -> None:
    with pytest.raises(ValueError, match=rf"Variant\.{message}"):
        play(variant(**{name: method})())


@pytest.mark.parametrize("play", [episodes, one_trial])
def test_a_reset_that_forgets_the_leading_dimensions_is_named(play: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match=r"Variant\.reset gives a state of shape \(1,\), tried on 5 tasks"):
        play(variant(reset=lambda self, task, noise: torch.zeros(1))())


def in_place(name: str) -> type[Own]:
    class Writes(Own):
        def reset(self, task: Task, noise: Tensor) -> Tensor:
            if name == "noise of reset":
                noise *= 0.5
            return super().reset(task, noise)

        def step(self, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> Any:
            if name == "state":
                state += 0.0  # not even a change, and yet
            if name == "action":
                action -= 1
            if name == "noise":
                noise[..., 0] = 0
            if name == "task":
                task["goal"].add_(1)
            return super().step(task, state, action, noise)

        def observe(self, task: Task, state: Tensor) -> Tensor:
            if name == "state, seen":
                state.clamp_(-1, 1)
            if name == "another leaf":
                task["more"] = state
            return super().observe(task, state)

    return Writes


@pytest.mark.parametrize(
    ("name", "method", "argument"),
    [
        ("state", "step", "state"), ("action", "step", "action"), ("noise", "step", "noise"),
        ("task", "step", r"task\['goal'\]"), ("noise of reset", "reset", "noise"), ("state, seen", "observe", "state"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("play", PLAYS)
def test_what_is_changed_in_place_is_named(name: str, method: str, argument: str, play: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match=rf"Writes\.{method} changes its argument {argument} in place"):
        play(in_place(name)())


CHANCE = generator(0)


class OwnChance(Own):
    """One method draws from a generator of its own, or counts how often it was called."""

    def __init__(self, where: str) -> None:
        self.where, self.count = where, 0

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        self.count += self.where == "reset"
        return super().reset(task, noise) + self.count

    def step(self, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> Any:
        state, reward, ended = super().step(task, state, action, noise)
        return state, reward + (torch.rand((), generator=CHANCE) if self.where == "step" else 0), ended

    def observe(self, task: Task, state: Tensor) -> Tensor:
        return super().observe(task, state) + (torch.randn((), generator=CHANCE) if self.where == "observe" else 0)


@pytest.mark.parametrize("play", PLAYS)
@pytest.mark.parametrize("where", ["reset", "step", "observe"])
def test_what_draws_a_chance_of_its_own_or_remembers_is_named(where: str, play: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match=rf"OwnChance\.{where} gives something else when it is called once more"):
        play(OwnChance(where))


def test_a_family_that_holds_state_says_so_and_is_told_when_to_begin() -> None:
    begun = []

    class Remembers(Own):
        def begin(self) -> None:
            begun.append(0)

        def observe(self, task: Task, state: Tensor) -> Tensor:
            begun[-1] += 1
            return super().observe(task, state) + begun[-1]

    episodes(Remembers())
    assert begun == [7], "horizon + 1 observations, and no try"
    pool = Remembers()
    episodes(FiniteTasks(pool, pool.sample(2, generator(0))))
    assert len(begun) == 2


@pytest.mark.parametrize("play", PLAYS)
def test_an_end_although_none_can_be_is_refused(play: Callable[[Any], Any]) -> None:
    """It would be paid to the horizon here, and once in an environment."""
    tasks = stepping(lambda s, r, d: (s, torch.ones_like(r), torch.ones_like(d)))()
    with pytest.raises(ValueError, match=r"own ended .*at step 0: Variant\.step gave terminated=True .*can_terminate"):
        play(tasks)
    tasks.can_terminate = True
    play(tasks)
    assert episodes(tasks).returns().eq(1).all()


# --- Numbers that are not finite --------------------------------------------------------------------------------------


class Sick(Own):
    """Turns bad at a step of the world, which is counted in the state: 1 after the first one."""

    horizon, name = 5, "sick"
    can_terminate = True

    def __init__(self, when: int, what: str, how: float, ends: bool = False, discrete: bool = True) -> None:
        self.when, self.what, self.how, self.ends = when, what, how, ends
        self.discrete, self.action_size = discrete, 3 if discrete else 1

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        return torch.zeros_like(noise)

    def step(self, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> Any:
        state = state + 1
        now = state[..., 0] == self.when
        reward = torch.ones_like(state[..., 0])
        if self.what == "reward":
            reward = reward.masked_fill(now, self.how)
        return state, reward, now & self.ends

    def observe(self, task: Task, state: Tensor) -> Tensor:
        seen = torch.cat([state, state], -1)
        now = (state == self.when) & (self.what == "observation") & (torch.arange(2) == 1)
        return seen.masked_fill(now, self.how)


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("how", [NAN, INF, -INF])
@pytest.mark.parametrize("play", [episodes, one_trial])
@pytest.mark.parametrize(
    ("when", "where"),
    [(0, "at its reset, before step 0"), (1, "at step 0"), (3, "at step 2"), (5, "at step 4")],
)
def test_an_observation_that_is_not_finite_is_the_worlds(
    when: int, where: str, how: float, discrete: bool, play: Callable[[Any], Any]
) -> None:
    """Not the policy's, whose next action is not finite either, or is 0 for ever."""
    with pytest.raises(ValueError, match=rf"sick gave the observation \[.*{how}\] to task 0 in episode 0 {where}; obs"):
        play(Sick(when, "observation", how, discrete=discrete))


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("play", [episodes, one_trial])
def test_a_reward_that_is_not_finite_is_the_worlds(discrete: bool, play: Callable[[Any], Any]) -> None:
    """In a trial it is read by the memory, and the next action is not finite either."""
    with pytest.raises(ValueError, match=r"sick gave the reward nan to task 0 in episode 0 at step 2; rewards must be"):
        play(Sick(3, "reward", NAN, discrete=discrete))


@pytest.mark.parametrize("play", [episodes, one_trial])
def test_after_an_end_the_step_that_ended_is_named_and_no_other(play: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match=r"sick gave the observation .* to task 0 in episode 0 at step 1;"):
        play(Sick(2, "observation", NAN, ends=True))


@pytest.mark.parametrize("play", [episodes, one_trial])
def test_what_is_only_reached_after_an_end_is_nobodys_business(play: Callable[[Any], Any]) -> None:
    class Healed(Sick):
        def step(self, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> Any:
            after, reward, ended = super().step(task, state, action, noise)
            beyond = after[..., 0] > self.when
            return after.masked_fill(beyond.unsqueeze(-1), NAN), reward.masked_fill(beyond, NAN), ended

    batch = play(Healed(2, "nothing", NAN, ends=True))
    assert batch.rewards.tolist() == [[[1, 1, 0, 0, 0]] * 4] * 3


def test_the_first_of_two_that_are_not_finite_is_named() -> None:
    class Late(Sick):
        def observe(self, task: Task, state: Tensor) -> Tensor:
            late = super().observe(task, state)
            row = torch.arange(len(state)).reshape(-1, *(1,) * (late.ndim - 1))
            return late.masked_fill((row == 2) & (state == 4), NAN)

    for play in (episodes, one_trial):
        with pytest.raises(ValueError, match=r"to task 2 in episode 0 at step 3;"):
            play(Late(9, "nothing", NAN))


def test_a_policy_that_has_diverged_is_still_the_policys() -> None:
    class Feels(Sick):
        def step(self, task: Task, state: Tensor, action: Tensor, noise: Tensor) -> Any:
            state, reward, ended = super().step(task, state, action, noise)
            return state + 0 * action, reward + 0 * action[..., 0], ended

    tasks = Feels(9, "nothing", NAN, discrete=False)
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    params = {name: p * NAN for name, p in tile(policy.params(), 3).items()}
    with pytest.raises(Diverged, match=r"the policy of task 0 gave the action .* in episode 0 at step 0"):
        rollout(tasks, policy, params, tasks.sample(3, generator(0)), 2, generator(0))


def test_large_numbers_are_finite_though_their_sum_is_not() -> None:
    batch = episodes(stepping(lambda s, r, d: (s, torch.full_like(r, 3e38), d))())
    assert bool((batch.rewards == 3e38).all())


def test_a_long_observation_is_not_written_out() -> None:
    def wide(self: Any, task: Task, state: Tensor) -> Tensor:
        return torch.cat([state, torch.full_like(state, NAN)], -1).repeat_interleave(10, -1)

    with pytest.raises(ValueError, match=r"gave the observation with nan at place 10 to task 0"):
        episodes(variant(observation_size=20, observe=wide)())


@pytest.mark.parametrize("what", ["observation", "reward"])
def test_environments_name_the_family_too(what: str) -> None:
    for play in (one_env, many_envs):
        with pytest.raises(ValueError, match=rf"the family sick gave the {what} .*nan.*: its numbers must be finite"):
            play(Sick(2, what, NAN))


# --- Tasks ------------------------------------------------------------------------------------------------------------


def test_a_sample_of_another_size_is_named() -> None:
    tasks = variant(sample=lambda self, num_tasks, gen: Own.sample(self, num_tasks + 1, gen))()
    with pytest.raises(
        ValueError, match=r"shape \(4,\), but \(3,\) was expected .*: these are 4\. .* mend that sample"
    ):
        episodes(tasks)
    config = RL2Config(iterations=1, num_tasks=3, trials=2, episodes=2)
    with pytest.raises(ValueError, match=r"shape \[6, 2, 1\] .*: 8 tasks and 2 episodes need shape \[8, 2, 1\]"):
        rl2(tasks, GRUPolicy.for_tasks(tasks, generator(0), hidden=4), config, generator(0))


def test_noise_of_another_size_is_refused() -> None:
    tasks = Own()
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    noise, task = draw_noise(tasks, policy, 2, 3, generator(0)), tasks.sample(2, generator(0))
    with pytest.raises(
        ValueError, match=r"2 tasks and 4 episodes need shape \[2, 4, 1\] of torch.float32, as draw_noise"
    ):
        rollout(tasks, policy, tile(policy.params(), 2), task, 4, noise=noise)


@pytest.mark.parametrize("pool", [{}, 7, {"goal": torch.tensor(0.5)}, {"goal": [1.0]}, {"aim": torch.zeros(2)}])
def test_a_pool_that_is_none_is_refused(pool: Any) -> None:
    with pytest.raises(ValueError, match=r"own"):
        FiniteTasks(Own(), pool)


def test_a_pool_draws_the_chance_of_its_family() -> None:
    tasks = variant(draw=lambda self, shape, gen: torch.full((*shape, 1), 0.25))()
    assert FiniteTasks(tasks, tasks.sample(2, generator(0))).draw((3,), generator(0)).tolist() == [[0.25]] * 3


@pytest.mark.parametrize(
    "bounds",
    [(torch.zeros(3), torch.ones(3)), (torch.zeros(2), torch.ones(3)), (torch.ones(2), torch.zeros(2))],
)
def test_bounds_that_do_not_fit_are_named(bounds: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"Variant\.observation_bounds gives bounds of shapes"):
        TaskEnv(variant(observation_bounds=lambda self: bounds)())


def test_what_is_no_family_is_refused() -> None:
    for tasks in (7, None):
        with pytest.raises(ValueError, match="a family is needed, or its name, such as 'point-goal'"):
            TaskEnv(tasks)  # type: ignore[arg-type]
    for make in (TaskEnv, TaskVectorEnv):
        with pytest.raises(ValueError, match=r"tasks is the class Own: an instance of it is needed .* with Own\("):
            make(Own)  # type: ignore[arg-type]


def test_every_family_of_the_package_passes_the_door_as_it_is() -> None:
    for name in FAMILIES:
        family = make_tasks(name)
        for task, lead in ((family.default_task(), ()), (family.sample(3, generator(0)), (3, 2))):
            assert admit(family, task, lead) is family
