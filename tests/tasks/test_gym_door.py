"""What environments of others give, and what they are given: taken where it is harmless, or refused with its place."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces, wrappers
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from metarl_lite.policies.base import tile
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.rollout import draw_noise, rollout, trial
from metarl_lite.tasks import GymTasks, index_task
from metarl_lite.types import Rollout

NAN, INF = float("nan"), float("inf")


class Point(gymnasium.Env[Any, Any]):
    """Moves by its action; what it costs is the distance to the goal."""

    observation_space: Any = Box(-9, 9, (2,), np.float32)
    action_space: Any = Box(-1, 1, (2,), np.float32)
    goal = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.x, self.t = self.np_random.uniform(-0.1, 0.1, 2), 0
        return self.x.astype(np.float32), {}

    def step(self, action: Any) -> Any:
        self.x, self.t = self.x + 0.1 * np.asarray(action), self.t + 1
        return self.x.astype(np.float32), -float(np.abs(self.x - self.goal).sum()), False, False, {}


def family(make: Callable[[], Any], **options: Any) -> GymTasks:
    return GymTasks(
        make,
        lambda env, task: setattr(env.unwrapped, "goal", task["goal"]),
        lambda n, gen: {"goal": torch.rand(n, generator=gen)},
        {"goal": torch.tensor(0.5)},
        10,
        name="point",
        **options,
    )


def episodes(tasks: GymTasks, num_tasks: int = 3, count: int = 4) -> Rollout:
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=(4,))
    task = tasks.sample(num_tasks, generator(1))
    return rollout(tasks, policy, tile(policy.params(), num_tasks), task, count, generator(2))


def one_trial(tasks: GymTasks, num_tasks: int = 3, count: int = 4) -> Rollout:
    policy = GRUPolicy.for_tasks(tasks, generator(0), hidden=4)
    task = tasks.sample(num_tasks, generator(1))
    return trial(tasks, policy, policy.params(), task, count, generator(2))


PLAYS: list[Callable[..., Rollout]] = [episodes, one_trial]


def giving(place: int, value: Any, at: int = 3, like: type[Point] = Point) -> type[Point]:
    """The environment whose `at`-th step, counted from 1, returns another value at one of its five places."""

    class Gives(like):  # type: ignore[misc, valid-type]
        def step(self, action: Any) -> Any:
            result = list(super().step(action if np.shape(action) else np.zeros(2)))
            if self.t == at:
                result[place] = value
            return tuple(result)

    return Gives


# --- What it is given -------------------------------------------------------------------------------------------------


class Legacy(Point):
    """As environments were written: the seed goes to global states and through int32."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        assert seed is not None
        assert type(seed) is int
        assert int(np.int32(seed)) == seed >= 0
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        torch.manual_seed(seed)
        self.x, self.t = np.random.uniform(-0.1, 0.1, 2), 0  # noqa: NPY002
        return self.x.astype(np.float32), {}


class LegacySteps(Legacy):
    def step(self, action: Any) -> Any:
        seen, reward, *rest = super().step(action)
        return seen, reward + np.random.normal() + random.random() + torch.rand(()).item(), *rest  # noqa: NPY002


class Unseeded(Point):
    """Draws from numpy's global state, which nobody has seeded."""

    def step(self, action: Any) -> Any:
        seen, reward, *rest = super().step(action)
        return seen, reward + np.random.normal(), *rest  # noqa: NPY002


class SamplesItsSpaces(Point):
    """As an opponent that moves at random; the spaces are shared by all of the class."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return super().step(action + self.action_space.sample())


class SetsTasksAtRandom(Point):
    @property
    def goal(self) -> float:  # type: ignore[override]
        return self._goal

    @goal.setter
    def goal(self, value: float) -> None:
        self._goal = value + random.random()


@pytest.mark.parametrize("kind", [Point, Legacy, LegacySteps, Unseeded, SamplesItsSpaces, SetsTasksAtRandom])
def test_the_same_noise_gives_the_same_episode_whatever_the_batch_and_global_states_stay(kind: type[Point]) -> None:
    # As in a script that begins so: an environment that seeds them alike is noticed all the same.
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)
    torch.manual_seed(0)
    states = np.random.get_state()[1].copy(), random.getstate(), torch.get_rng_state()  # noqa: NPY002
    tasks = family(kind)
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=(4,))
    task, noise = tasks.sample(5, generator(1)), draw_noise(tasks, policy, 5, 2, generator(2))
    one, two = (rollout(tasks, policy, tile(policy.params(), 5), task, 2, noise=noise) for _ in range(2))
    assert torch.equal(one.rewards, two.rewards)
    assert torch.equal(one.observations, two.observations)
    for row in (slice(3, 4), slice(0, 1)):
        alone = rollout(tasks, policy, tile(policy.params(), 1), index_task(task, row), 2, noise=noise[row])
        torch.testing.assert_close(alone.rewards, one.rewards[row])
    assert np.array_equal(states[0], np.random.get_state()[1])  # noqa: NPY002
    assert states[1] == random.getstate()
    assert torch.equal(states[2], torch.get_rng_state())
    tasks.close()


def test_seeds_fit_31_bits_and_are_as_good_as_all_different() -> None:
    tasks, seeds = family(Point), []

    class Keeps(Point):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            seeds.append(seed)
            return super().reset(seed=seed)

    tasks = family(Keeps, repeatable=False)
    task = {"goal": torch.zeros(2000)}
    tasks.reset(task, tasks.draw_reset((2000,), generator(0)))
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert len(set(seeds)) >= 1998  # two of 2000 are equal with a probability of .001
    assert max(seeds) > 2**30
    assert len({seed % 128 for seed in seeds}) == 128
    tasks.close()


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (Box(-1, 1, (2,), np.float64), np.ndarray), (Discrete(4), int), (Discrete(3, start=-1), int),
        (Box(0, 5, (2,), np.int32), np.ndarray), (MultiBinary(3), np.ndarray), (MultiDiscrete([3, 2]), np.ndarray),
        (MultiDiscrete([[3, 2], [1, 2]], start=[[1, 0], [5, -1]]), np.ndarray), (MultiBinary([2, 2]), np.ndarray),
    ],
)  # fmt: skip
def test_actions_are_of_the_space_and_an_object_of_their_own(space: Any, expected: type) -> None:
    seen: list[Any] = []

    class Keeps(Point):
        action_space = space

        def step(self, action: Any) -> Any:
            assert self.action_space.contains(action)
            assert isinstance(action, expected)
            seen.append(action)
            result = super().step(np.zeros(2))
            if isinstance(action, np.ndarray):
                action += 1  # an environment may do what it likes with its action
            return result

    tasks = family(Keeps)
    episodes(tasks)
    assert all(one is not two for one in seen[:5] for two in seen[5:] if not isinstance(one, int))


def test_one_choice_stands_for_each_combination() -> None:
    given: list[Any] = []

    class Keeps(Point):
        action_space = MultiDiscrete([3, 2], start=[0, 4])

        def step(self, action: Any) -> Any:
            given.append(action.tolist())
            return super().step(np.zeros(2))

    tasks = family(Keeps)
    assert (tasks.discrete, tasks.action_size) == (True, 6)
    task, state = {"goal": torch.zeros(6)}, tasks.reset({"goal": torch.zeros(6)}, torch.zeros(6, 2))
    given.clear()
    tasks.step(task, state, torch.arange(6), torch.zeros(6, 0))
    assert given == [[0, 4], [0, 5], [1, 4], [1, 5], [2, 4], [2, 5]]


# --- What it gives ----------------------------------------------------------------------------------------------------

PLACE = r"the environment point gave {} to task 0 in episode 0 at step 2; {}"
REWARDS: dict[str, tuple[Any, float]] = {
    "an array of one": (np.array([2.0]), 2), "a matrix of one": (np.array([[2]]), 2), "0-d": (np.array(2.0), 2),
    "an integer": (2, 2), "numpy's": (np.float16(2), 2), "a truth": (True, 1), "numpy's truth": (np.bool_(True), 1),
    "a tensor": (torch.tensor(2.0), 2), "a list of one": ([2.0], 2), "a fraction": (Fraction(2), 2),
    "bfloat16": (torch.tensor(2.0, dtype=torch.bfloat16), 2), "long": (10**30, 1e30),
    "an object": (np.array([2], "O"), 2),
    "with a gradient": (torch.tensor(2.0, requires_grad=True), 2), "a mask without effect": (np.ma.array([2.0]), 2),
}  # fmt: skip
NO_REWARDS: dict[str, Any] = {
    "None": None, "a text": "1.0", "a complex": 1j, "two": np.array([1.0, 2.0]), "none": np.array([]), "a dict": {},
    "an object": np.array([None]), "complex in an array": np.array(1j), "a ragged list": [[1, 2], [3]],
    "two in a tensor": torch.tensor([1.0, 2.0]), "the text in an array": np.array("1.0"),
}  # fmt: skip


@pytest.mark.parametrize("play", PLAYS)
@pytest.mark.parametrize("name", REWARDS)
def test_one_number_is_a_reward_however_it_is_packed(name: str, play: Callable[..., Rollout]) -> None:
    value, number = REWARDS[name]
    assert play(family(giving(1, value))).rewards[..., 2].eq(number).all()


@pytest.mark.parametrize("play", PLAYS)
@pytest.mark.parametrize("name", NO_REWARDS)
def test_other_rewards_are_refused_with_their_place(name: str, play: Callable[..., Rollout]) -> None:
    with pytest.raises(ValueError, match=PLACE.format("the reward .*", "one real number is needed")):
        play(family(giving(1, NO_REWARDS[name])))


@pytest.mark.parametrize("play", PLAYS)
@pytest.mark.parametrize("bad", [NAN, INF, -INF, np.float32(NAN), np.array([INF])])
def test_rewards_are_finite(bad: Any, play: Callable[..., Rollout]) -> None:
    with pytest.raises(ValueError, match=PLACE.format("the reward (nan|-?inf)", "rewards must be finite")):
        play(family(giving(1, bad)))


class Chooses(Point):
    action_space = Discrete(3)

    def step(self, action: Any) -> Any:
        return super().step(np.zeros(2))


@pytest.mark.parametrize("play", PLAYS)
@pytest.mark.parametrize("like", [Point, Chooses])
@pytest.mark.parametrize("bad", [NAN, INF])
def test_observations_are_finite_whatever_the_actions_are(
    bad: float, like: type[Point], play: Callable[..., Rollout]
) -> None:
    """With choices the policy would choose 0 for ever; with numbers it would be blamed itself."""
    numbers = np.array([0, bad], np.float32)
    with pytest.raises(ValueError, match=PLACE.format(rf"the observation \[0.0, {bad}\]", "observations must be")):
        play(family(giving(0, numbers, like=like)))
    last = giving(0, numbers, at=10, like=like)
    with pytest.raises(ValueError, match=r"point gave the observation .* to task 0 in episode 0 at step 9;"):
        play(family(last))


@pytest.mark.filterwarnings("ignore:the environment point gave .* Such numbers are taken as they are")
@pytest.mark.parametrize("play", PLAYS)
def test_what_overflows_the_type_of_the_family_is_not_finite(play: Callable[..., Rollout]) -> None:
    holds = re.escape("torch.float32 holds no more than 3.403e+38: pass dtype=torch.float64 to GymTasks, or scale it")
    with pytest.raises(ValueError, match=PLACE.format(r"an observation with the number -1e\+300", holds)):
        play(family(giving(0, np.array([-1e300, INF]))))
    for reward in (1e39, np.float64(1e39), np.array([1e39]), 10**39):
        with pytest.raises(ValueError, match=PLACE.format(r"the reward 1e\+39", holds)):
            play(family(giving(1, reward)))
    with pytest.raises(ValueError, match=PLACE.format("the reward something of type int", "rewards must be finite")):
        play(family(giving(1, 10**400)))
    assert play(family(giving(1, 1e39), dtype=torch.float64)).rewards.max() == 1e39
    assert torch.isfinite(play(family(giving(0, np.array([1e300, 0])), dtype=torch.float64)).observations).all()


@pytest.mark.parametrize("play", PLAYS)
def test_the_observation_that_ends_an_episode_is_looked_at_too_and_none_after_it(play: Callable[..., Rollout]) -> None:
    class Ends(Point):
        def step(self, action: Any) -> Any:
            seen, reward, *_ = super().step(action)
            assert self.t <= 3, "an episode that has ended is not stepped"
            return seen * (NAN if self.goal == 7 else 1), reward, self.t == 3, False, {}

    assert play(family(Ends)).mask.sum(-1).eq(3).all()
    with pytest.raises(ValueError, match=PLACE.format(r"the observation \[nan, nan\]", "observations must be finite")):
        play(family(giving(0, np.full(2, NAN), like=Ends)))


OBSERVATIONS: dict[str, Any] = {
    "longer": np.zeros(3, np.float32), "shorter": np.zeros(1, np.float32), "a number": 0.0, "None": None,
    "a row": np.zeros((1, 2), np.float32), "texts": np.array(["a", "b"]), "complex": np.zeros(2, complex), "a dict": {},
    "objects": np.array([None, 1.0]), "ragged": [[1.0, 2.0], [3.0]],
}  # fmt: skip


@pytest.mark.parametrize("play", PLAYS)
@pytest.mark.parametrize("name", OBSERVATIONS)
def test_an_observation_that_is_not_of_its_space_is_refused(name: str, play: Callable[..., Rollout]) -> None:
    space = re.escape("its observation_space is Box(-9.0, 9.0, (2,), float32)")
    with pytest.raises(ValueError, match=PLACE.format("an observation of (shape|type) .*", space)):
        play(family(giving(0, OBSERVATIONS[name])))


@pytest.mark.parametrize(
    "value",
    [
        np.ones(2), np.ones(2, int), [1.0, 1.0], np.ones(2, bool), torch.ones(2), torch.ones(2, dtype=torch.bfloat16),
        torch.ones(2, requires_grad=True), np.ma.array([1.0, 1.0]), np.ma.array([1.0, 1.0], mask=[0, 0]),
    ],
)  # fmt: skip
def test_an_observation_of_another_type_of_number_is_taken(value: Any) -> None:
    assert episodes(family(giving(0, value))).observations[:, :, 3].eq(1).all()


@pytest.mark.parametrize("play", PLAYS)
def test_what_is_masked_is_refused(play: Callable[..., Rollout]) -> None:
    """The numbers under a mask would count."""
    mend = re.escape("a mask is not kept: fill it, as in value.filled(0)")
    for place, value, what in (
        (0, np.ma.array([1.0, 9.0], mask=[0, 1]), "an observation of which 1 of 2 numbers are masked"),
        (1, np.ma.array([9.0], mask=[1]), "the reward of which 1 of 1 numbers are masked"),
        (1, np.ma.masked, "the reward of which 1 of 1 numbers are masked"),
        (2, np.ma.array([True], mask=[1]), "terminated of which 1 of 1 numbers are masked"),
    ):
        with pytest.raises(ValueError, match=PLACE.format(what, mend)):
            play(family(giving(place, value)))


def test_a_reset_may_return_a_list() -> None:
    class Lists(Point):
        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return list(super().reset(seed=seed))

        def step(self, action: Any) -> Any:
            return list(super().step(action))

    assert torch.equal(episodes(family(Lists)).observations, episodes(family(Point)).observations)


@pytest.mark.parametrize("name", ["observation_space", "action_space"])
@pytest.mark.parametrize("space", [Box(-1, 1, (0,)), Box(-1, 1, (3, 0)), MultiDiscrete(np.zeros((0,), int))])
def test_a_space_without_a_number_is_refused(name: str, space: Any) -> None:
    message = (
        rf"the {name[:-6]} space is .*, of shape {re.escape(str(space.shape))}, which holds no number: .*self.{name}"
    )
    with pytest.raises(ValueError, match=message):
        family(type("Kind", (Point,), {name: space}))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int64, np.float32, "float32", None])
def test_the_type_of_the_family_is_one_of_two(dtype: Any) -> None:
    with pytest.raises(ValueError, match=r"dtype = .*: torch.float32 or torch.float64 is needed here"):
        family(Point, dtype=dtype)


@pytest.mark.parametrize("leaf", [
    torch.tensor(0.5, requires_grad=True), torch.tensor(0.5, dtype=torch.bfloat16), np.float16(0.5), np.array(0.5), 0.5,
])  # fmt: skip
def test_tasks_arrive_whatever_their_type_and_their_gradient(leaf: Any) -> None:
    given: list[Any] = []
    draw = lambda n, gen: {"goal": torch.as_tensor(leaf).expand(n)}  # noqa: E731
    keep = lambda env, task: given.append(task["goal"])  # noqa: E731
    tasks = GymTasks(Point, keep, draw, {"goal": leaf}, 10)
    episodes(tasks)
    assert set(given) == {0.5}
    assert not tasks.default_task()["goal"].requires_grad


def test_an_array_that_is_used_again_and_again_is_copied() -> None:
    class Buffer(Point):
        observation_space = Box(-9, 9, (2,), np.float64)

        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            super().reset(seed=seed)
            self.seen = self.x.copy()
            return self.seen, {}

        def step(self, action: Any) -> Any:
            _, *rest = super().step(action)
            self.seen[:] = self.x
            return self.seen, *rest

    one, two = episodes(family(Buffer)), episodes(family(Point))
    torch.testing.assert_close(one.observations, two.observations)


@pytest.mark.parametrize("play", PLAYS)
@pytest.mark.parametrize(("place", "name"), [(2, "terminated"), (3, "truncated")])
def test_ends_are_true_or_false(place: int, name: str, play: Callable[..., Rollout]) -> None:
    for value in (True, np.bool_(True), np.array(True), np.array([True]), torch.tensor(True)):
        assert play(family(giving(place, value))).mask.sum(-1).eq(3).all()
    for value in (None, 0, 1, 0.0, "no", np.array([True, False]), np.array(1), []):
        with pytest.raises(ValueError, match=PLACE.format(f"{name} = .*", "True or False is needed")):
            play(family(giving(place, value)))


@pytest.mark.parametrize("play", PLAYS)
def test_old_ways_to_step_and_reset_are_named(play: Callable[..., Rollout]) -> None:
    class Four(Point):
        def step(self, action: Any) -> Any:
            seen, reward, done, _, info = super().step(action)
            return seen, reward, done, info

    class Alone(Point):
        def step(self, action: Any) -> Any:
            return super().step(action)[0]

    class OldReset(Point):
        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return super().reset(seed=seed)[0]

    class Pair(Point):
        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return tuple(super().reset(seed=seed)[0])

    class NoSeed(Point):
        def reset(self) -> Any:  # type: ignore[override]
            return super().reset()

    with pytest.raises(ValueError, match=r"point gave 4 values from step to task 0 in episode 0 at step 0; .*0.26"):
        play(family(Four))
    with pytest.raises(ValueError, match=r"point gave something of type ndarray from step to task 0 in episode 0 at"):
        play(family(Alone))
    with pytest.raises(ValueError, match=r"of type ndarray from reset to task 0 in episode 0 at its reset.*return obs"):
        play(family(OldReset))
    with pytest.raises(ValueError, match=r"point gave 2 values from reset to task 0 .* info a dict"):
        play(family(Pair))
    for make in (NoSeed, lambda: wrappers.TimeLimit(NoSeed(), 5)):
        with pytest.raises(ValueError, match=r"point takes no seed in reset: write reset\(self, \*, seed=None"):
            family(make)


def test_a_trial_names_the_episode_in_which_it_happens() -> None:
    class Third(Point):
        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            self.episodes = getattr(self, "episodes", -1) + 1
            return super().reset(seed=seed)

        def step(self, action: Any) -> Any:
            seen, reward, *rest = super().step(action)
            return seen, None if self.episodes == 2 and self.t == 4 else reward, *rest

    tasks = family(Third, repeatable=False)
    for _ in range(2):  # the second time the count begins anew
        with pytest.raises(ValueError, match="to task 0 in episode 2 at step 3; one real number"):
            one_trial(tasks)
        tasks.close()


def test_errors_of_its_own_keep_their_kind_and_get_a_note() -> None:
    class Breaks(Point):
        def step(self, action: Any) -> Any:
            if self.t == 4:
                raise KeyError("its own")
            return super().step(action)

    with pytest.raises(KeyError, match="its own") as caught:
        episodes(family(Breaks))
    assert caught.value.__notes__ == ["(point, task 0 in episode 0 at step 4)"]


# --- Spaces -----------------------------------------------------------------------------------------------------------


def shows(space: Any, value: Any, step: Any = None) -> Any:
    class Shows(Point):
        observation_space = space

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            return value, {}

        def step(self, action: Any) -> Any:
            return value if step is None else step, -self.goal, False, False, {}

    return Shows


@pytest.mark.parametrize(
    ("space", "value", "flat"),
    [
        (MultiBinary(3), np.array([1, 0, 1], np.int8), [1, 0, 1]),
        (MultiBinary([2, 2]), np.eye(2, dtype=np.int8), [1, 0, 0, 1]),
        (MultiDiscrete([2, 3]), np.array([1, 0]), [0, 1, 1, 0, 0]),
        (MultiDiscrete([2, 3], start=[4, -1]), np.array([4, 1]), [1, 0, 0, 0, 1]),
        (Discrete(3, start=2), np.int64(4), [0, 0, 1]),
        (Discrete(2), True, [0, 1]),
        (Discrete(3), np.array([1]), [0, 1, 0]),
        (Box(0, 255, (2, 1), np.uint8), np.array([[7], [255]], np.uint8), [7, 255]),
        (Box(-1, 1, (1,), np.float32), 0.5, [0.5]),
        (Box(-1, 1, (), np.float32), np.float32(0.5), [0.5]),
    ],
)
def test_observations_become_vectors(space: Any, value: Any, flat: list[float]) -> None:
    batch = episodes(family(shows(space, value)))
    assert batch.observations.shape[-1] == len(flat)
    assert batch.observations.eq(torch.tensor(flat)).all()


@pytest.mark.parametrize(
    ("space", "value"),
    [
        (Discrete(3), 3), (Discrete(3), -1), (Discrete(3), 1.0), (Discrete(3, start=2), 1), (Discrete(3), [1, 2]),
        (MultiDiscrete([2, 3]), np.array([2, 0])), (MultiDiscrete([2, 3]), np.array([0.0, 1.0])),
        (MultiBinary(2), np.array([2, 0])), (MultiBinary(2), np.array([-1, 0])), (MultiBinary(2), np.array([0.5, 0])),
        (Box(0, 255, (2,), np.uint8), np.array([0.5, 0.5])), (MultiBinary(2), np.array([256, 0])),
    ],
)  # fmt: skip
def test_a_choice_that_is_none_is_refused(space: Any, value: Any) -> None:
    class Shows(Point):
        observation_space = space

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            return value, {}

    with pytest.raises(ValueError, match=r"point gave (the|an) observation .* at its reset, before step 0; its obs"):
        episodes(family(Shows))


NESTED = [
    spaces.Dict({"place": Box(-9, 9, (2,), np.float32), "room": Discrete(3)}),
    spaces.Tuple((Box(-9, 9, (2,), np.float32), MultiBinary(2))),
    spaces.Dict({"a": spaces.Tuple((Discrete(2), Box(0, 1, (1,)))), "b": MultiDiscrete([2, 2])}),
]


@pytest.mark.parametrize("space", NESTED)
def test_the_advice_for_nested_observations_helps(space: Any) -> None:
    class Nested(Point):
        observation_space = space

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            return self.observation_space.sample(), {}

        def step(self, action: Any) -> Any:
            return self.observation_space.sample(), *super().step(action)[1:]

    with pytest.raises(ValueError, match=r"the observation space is .*Wrap the environment: ") as caught:
        family(Nested)
    advice = re.search(r"(gymnasium\.wrappers\..*\)) makes it a Box", str(caught.value))
    assert advice
    batch = episodes(family(lambda: eval(advice[1], {"gymnasium": gymnasium, "env": Nested()})))
    assert batch.observations.shape[-1] == spaces.flatdim(space)


def test_observations_without_a_fixed_size_get_other_advice() -> None:
    class Sequence(Point):
        observation_space = spaces.Sequence(Discrete(2))

    with pytest.raises(ValueError, match=r"has always as many numbers: write a gymnasium.ObservationWrapper"):
        family(Sequence)


def with_actions(space: Any) -> type[Point]:
    class Acts(Point):
        action_space = space
        taken: list[Any] = []  # noqa: RUF012

        def step(self, action: Any) -> Any:
            assert self.action_space.contains(action), action
            self.taken.append(action)
            return super().step(np.zeros(2))

    return Acts


@pytest.mark.parametrize(
    ("space", "size"),
    [
        (spaces.Tuple((Discrete(2), Discrete(3))), 6),
        (spaces.Dict({"x": Discrete(2), "y": Discrete(2)}), 4),
        (spaces.Dict({"x": Box(-1, 1, (2,)), "y": Box(0, 1, (1,))}), 3),
        (spaces.Tuple((Box(-1, 1, (2,)), Box(0, 1, (1,)))), 3),
    ],
)
def test_the_advice_for_nested_actions_helps(space: Any, size: int) -> None:
    """What it says to type is typed, and all choices occur."""
    kind = with_actions(space)
    with pytest.raises(ValueError, match=r"the action space is .*Wrap the environment in ") as caught:
        family(kind)
    advice = re.search(r"Wrap the environment in (gymnasium\..*\)), which makes it one", str(caught.value))
    assert advice
    tasks = family(lambda: eval(advice[1], {"gymnasium": gymnasium, "numpy": np, "env": kind()}))
    assert tasks.action_size == size
    episodes(tasks, 3, 20)
    if tasks.discrete:
        assert len({str(action) for action in kind.taken}) == size


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Dict({"x": Discrete(2), "y": Box(0, 1, (1,))}), r"where SPACE is a Box or a Discrete that you choose"),
        (spaces.Sequence(Discrete(2)), r"where SPACE is a Box or a Discrete that you choose"),
        (spaces.Tuple((Discrete(2, start=1),)), r"where SPACE is a Box or a Discrete that you choose"),
        (
            MultiDiscrete([11] * 7),
            r"has more than 4096 combinations.*Leave some out: .*TransformAction\(env, ",
        ),
        (MultiBinary(2000), r"has more than 4096 combinations"),
        (None, r"Set self.action_space to a space in its __init__"),
    ],
)
def test_other_actions_get_advice_that_fits_them(space: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        family(with_actions(space))


@pytest.mark.parametrize("name", ["observation_space", "action_space"])
def test_a_missing_space_is_named(name: str) -> None:
    class Lacks(Point):
        def __getattribute__(self, asked: str) -> Any:
            if asked == name:
                raise AttributeError(asked)
            return super().__getattribute__(asked)

    with pytest.raises(ValueError, match=f"Set self.{name} to a space in its __init__"):
        family(Lacks)


# --- Whether it repeats itself ----------------------------------------------------------------------------------------


class Forgets(Point):
    """Its reset leaves the speed as it was."""

    speed = 0.0

    def step(self, action: Any) -> Any:
        self.speed += 0.01
        seen, reward, *rest = super().step(action)
        return seen, reward + self.speed, *rest


class Clock(Point):
    def step(self, action: Any) -> Any:
        seen, reward, *rest = super().step(action)
        return seen, reward + time.perf_counter(), *rest


class OwnGenerator(Point):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.chance = np.random.default_rng()
        super().reset(seed=seed)
        return self.chance.normal(size=2).astype(np.float32), {}


class NoSuper(Point):
    """Draws from np_random, which super().reset(seed=seed) would have seeded."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.x, self.t = self.np_random.uniform(-0.1, 0.1, 2), 0
        return self.x.astype(np.float32), {}


class Counts(Point):
    episodes = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.episodes += 1
        return super().reset(seed=seed)

    def step(self, action: Any) -> Any:
        seen, reward, *rest = super().step(action)
        return seen, reward, self.t == 5 + self.episodes, *rest[1:]


class Differs(Point):
    made = 0

    def __init__(self) -> None:
        Differs.made += 1
        self.mine = Differs.made

    def step(self, action: Any) -> Any:
        seen, reward, *rest = super().step(action)
        return seen, reward + self.mine, *rest


class Shares(Point):
    """A class attribute that every reset sets, so that it goes wrong only beside another one."""

    steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        Shares.steps = 0
        return super().reset(seed=seed)

    def step(self, action: Any) -> Any:
        Shares.steps += 1
        seen, reward, *rest = super().step(action)
        return seen, reward + Shares.steps, *rest


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (Forgets, r"the reward at step 0 was .* when it was played once more"),
        (Clock, r"the reward at step 0 was .* when it was played once more"),
        (OwnGenerator, r"the observation\[0\] at the reset was .* when it was played once more"),
        (NoSuper, r"the observation\[0\] at the reset was .* when it was played once more"),
        (Counts, r"the end at step \d was True at first, and False when it was played once more"),
        (Differs, r"the reward at step 0 was .* when another one of make_env was played"),
        (Shares, r"the reward at step 1 was .* when it was played beside another one"),
        (lambda: wrappers.NormalizeReward(Point()), r"the reward at step 0 was .* when it was played once more"),
        (lambda: wrappers.NormalizeObservation(Point()), r"the observation\[0\] at the reset was .* once more"),
    ],
)
def test_an_environment_that_does_not_repeat_itself_is_refused_with_what_differs(make: Any, what: str) -> None:
    with pytest.raises(ValueError, match=rf"point does not repeat itself: .*{what}.*repeatable=False"):
        family(make)
    episodes(family(make, repeatable=False))


class Slips(Point):
    """As an environment with a probability of slipping, which is 0 unless it is set, or slips late."""

    chance: Any = staticmethod(lambda: np.random.rand())  # noqa: NPY002
    late, slip = 0, 0.0

    def step(self, action: Any) -> Any:
        away = self.t >= self.late and (self.slip > 0 or self.late) and self.chance() < 0.5
        return super().step(-np.asarray(action) if away else action)


def slippery(make: Any, horizon: int = 10, slip: float = 0.0) -> GymTasks:
    return GymTasks(
        make,
        lambda env, task: vars(env.unwrapped).update(slip=task["slip"], goal=task["slip"]),
        lambda n, gen: {"slip": torch.rand(n, generator=gen)},
        {"slip": torch.tensor(slip)},
        horizon,
        name="point",
    )


@pytest.mark.parametrize("late", [0, 60])
@pytest.mark.parametrize("chance", [lambda: np.random.rand(), random.random, lambda: torch.rand(()).item()])  # noqa: NPY002
def test_chance_that_only_other_tasks_or_late_steps_meet_is_the_copys_own(chance: Any, late: int) -> None:
    kind = type("Kind", (Slips,), {"chance": staticmethod(chance), "late": late})
    tasks = slippery(kind, 100)
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=(4,))
    task, noise = tasks.sample(2, generator(1)), draw_noise(tasks, policy, 2, 2, generator(2))
    one, two = (rollout(tasks, policy, tile(policy.params(), 2), task, 2, noise=noise) for _ in range(2))
    assert torch.equal(one.rewards, two.rewards)
    tasks.close()


@pytest.mark.parametrize("late", [0, 60])
def test_chance_of_its_own_that_only_other_tasks_or_late_steps_meet_is_refused(late: int) -> None:
    own = np.random.default_rng()
    kind = type("Kind", (Slips,), {"chance": staticmethod(own.random), "late": late})
    with pytest.raises(ValueError, match=r"point does not repeat itself: .* when it was played once more"):
        slippery(kind, 100)


@pytest.mark.parametrize("play", PLAYS)
@pytest.mark.parametrize(
    ("name", "chance"),
    [("numpy", lambda: np.random.rand()), ("random", random.random), ("torch", lambda: torch.rand(()).item())],  # noqa: NPY002
)
def test_chance_of_a_library_that_only_play_meets_is_refused_there(
    name: str, chance: Any, play: Callable[..., Rollout]
) -> None:
    """Here it begins where the goal is beyond all that was tried."""

    class Rare(Slips):
        def step(self, action: Any) -> Any:
            if self.goal > 1:
                chance()
            return super().step(action)

    far = torch.tensor([0.5, 0.6, 9.0])

    def draw(n: int, gen: torch.Generator) -> Any:
        return {"goal": far.clone() if met else torch.rand(n, generator=gen)}

    met: list[int] = []
    tasks = GymTasks(Rare, lambda env, task: setattr(env.unwrapped, "goal", task["goal"]), draw,
                     {"goal": torch.tensor(0.5)}, 10, name="point")  # fmt: skip
    play(tasks)
    met.append(1)
    with pytest.raises(ValueError, match=rf"point draws from the global state of {name}, and did not when it was"):
        [play(tasks) for _ in range(17)]  # not each batch is watched
    tasks.close()


def test_a_task_that_all_copies_share_is_refused() -> None:
    def share(env: Any, task: dict[str, Any]) -> None:
        type(env.unwrapped).goal = task["goal"]

    kind = type("Kind", (Point,), {})
    draw = lambda n, gen: {"goal": torch.rand(n, generator=gen)}  # noqa: E731
    with pytest.raises(ValueError, match=r"the reward at step 0 was .* when it was played beside another one"):
        GymTasks(kind, share, draw, {"goal": torch.tensor(0.5)}, 5)


def test_what_is_tried_takes_about_a_second_and_fifty_steps_of_the_default_task() -> None:
    steps: dict[float, int] = {}

    class Slow(Point):
        def step(self, action: Any) -> Any:
            time.sleep(0.002)
            steps[self.goal] = steps.get(self.goal, 0) + 1
            return super().step(action)

    GymTasks(Slow, lambda env, task: setattr(env.unwrapped, "goal", task["goal"]),
             lambda n, gen: {"goal": torch.rand(n, generator=gen)}, {"goal": torch.tensor(0.5)}, 10**6)  # fmt: skip
    assert len(steps) == 4
    assert 5 * 50 <= steps.pop(0.5) <= 6 * 50
    assert all(count <= 5 * 26 + 50 for count in steps.values())


def test_a_default_task_is_finite() -> None:
    with pytest.raises(ValueError, match=r"task\['slip'\] of point holds nan; all its numbers must be finite"):
        slippery(Point, slip=NAN)


@pytest.mark.parametrize(
    "make",
    [
        lambda: wrappers.FrameStackObservation(Point(), 3),
        lambda: wrappers.TimeAwareObservation(wrappers.TimeLimit(Point(), 10)),
        lambda: wrappers.RecordEpisodeStatistics(Point()),
        lambda: wrappers.ClipReward(Point(), -1, 1),
        lambda: wrappers.RescaleAction(Point(), -2, 2),
        lambda: wrappers.DelayObservation(Point(), 2),
        lambda: wrappers.TransformReward(Point(), lambda r: 2 * r),
        lambda: wrappers.StickyAction(Point(), 0.5),
        lambda: wrappers.MaxAndSkipObservation(Point(), 2),
    ],
)
def test_wrappers_that_repeat_themselves_are_taken(make: Any) -> None:
    tasks = family(make)
    assert torch.equal(episodes(tasks).rewards, episodes(tasks).rewards)
    assert one_trial(tasks).rewards.shape == (3, 4, 10)


def test_what_goes_wrong_when_it_is_tried_is_left_for_the_place_where_it_happens() -> None:
    """There the task, the episode and the step can be named."""
    for value in (None, NAN):
        family(giving(1, value))


def test_environments_are_closed_and_the_pool_is_fresh_after_the_try() -> None:
    made: list[Any] = []

    class Keeps(Point):
        closed, resets = False, 0

        def __init__(self) -> None:
            made.append(self)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            self.resets += 1
            return super().reset(seed=seed)

        def close(self) -> None:
            self.closed = True

    tasks = family(Keeps)
    assert [env.closed for env in made] == [False, True, True]
    assert made[0].resets == 0
    assert [copy.env for copy in tasks._pool] == made[:1]


# --- Making and setting -----------------------------------------------------------------------------------------------


def test_what_make_env_gives_is_an_environment_and_a_new_one_each_time() -> None:
    one, pair = Point(), [Point(), Point(), Point(), Point()]
    turns = iter(range(100))
    for make in (lambda: 3, lambda: None, lambda: Point, lambda: gymnasium.make_vec("CartPole-v1")):
        with pytest.raises(ValueError, match=r"make_env gives .*: one gymnasium.Env is needed"):
            family(make)
    for make in (lambda: one, lambda: wrappers.TimeLimit(one, 9), lambda: pair[next(turns) % 2]):
        with pytest.raises(ValueError, match="make_env gives the same environment each time"):
            episodes(family(make))
    with pytest.raises(ValueError, match="make_env gives the same environment each time"):
        episodes(family(lambda: one, repeatable=False))


@pytest.mark.parametrize("name", ["make_env", "set_task", "sample"])
def test_functions_are_functions(name: str) -> None:
    given: dict[str, Any] = {"make_env": Point, "set_task": lambda env, task: None, "sample": lambda n, gen: {}}
    with pytest.raises(ValueError, match=rf"{name} = 7: a function is needed"):
        GymTasks(**(given | {name: 7}), default_task={}, horizon=3)
    for task in (3, None, {"kind": "a"}, {"kind": None}, {"kind": [[1, 2], [3]]}):
        with pytest.raises(ValueError, match=r"default_task = .*: a dict of tensors or numbers is needed"):
            GymTasks(**given, default_task=task, horizon=3)  # type: ignore[arg-type]


class Mine(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A wrapper of the user's own, with something of its own to set."""

    def step(self, action: Any) -> Any:
        seen, reward, *rest = super().step(action)
        return seen, reward + getattr(self, "bonus", 0.0), *rest


@pytest.mark.parametrize(
    "make",
    [lambda: wrappers.TimeLimit(Point(), 10), lambda: Mine(Point()), lambda: Mine(wrappers.TimeLimit(Point(), 9))],
)
def test_a_task_that_is_left_on_a_wrapper_is_refused(make: Any) -> None:
    """All tasks would be the same without a word."""

    def tasks(set_task: Any) -> GymTasks:
        return GymTasks(make, set_task, lambda n, gen: {"goal": torch.arange(float(n))}, {"goal": torch.tensor(0.5)}, 5)

    with pytest.raises(ValueError, match=r"set_task sets 'goal' on the wrapper .*, as in env.unwrapped.goal = "):
        tasks(lambda env, task: setattr(env, "goal", task["goal"]))
    for right in (
        lambda env, task: setattr(env.unwrapped, "goal", task["goal"]),
        lambda env, task: env.set_wrapper_attr("goal", task["goal"]),
    ):
        assert len(episodes(tasks(right)).rewards.mean((1, 2)).unique()) == 3


def test_what_belongs_to_a_wrapper_of_ones_own_may_be_set_there() -> None:
    tasks = GymTasks(
        lambda: Mine(Point()),
        lambda env, task: setattr(env, "bonus", task["bonus"]),
        lambda n, gen: {"bonus": 10 * torch.arange(float(n))},
        {"bonus": torch.tensor(0.0)},
        5,
    )
    assert episodes(tasks).rewards.mean((1, 2)).round(decimals=-1).tolist() == [0, 10, 20]
    with pytest.raises(ValueError, match=r"sets 'typo' on the wrapper TimeLimit"):
        GymTasks(
            lambda: wrappers.TimeLimit(Point(), 9), lambda env, task: setattr(env, "typo", 1), lambda n, g: {}, {}, 5
        )


def setting(set_task: Any, make: Any = Point, spread: float = 1.0) -> GymTasks:
    draw = lambda n, gen: {"goal": 0.5 + spread * torch.rand(n, generator=gen)}  # noqa: E731
    return GymTasks(make, set_task, draw, {"goal": torch.tensor(0.5)}, 5, name="point")


def test_a_task_that_changes_nothing_is_told() -> None:
    def misspelt(env: Any, task: dict[str, Any]) -> None:
        env.unwrapped.gaol = task["goal"]

    for wrong in (misspelt, lambda env, task: None):
        with pytest.warns(UserWarning, match=r"point plays 4 different tasks alike, .* 5 steps.*See the spelling"):
            setting(wrong)
    setting(lambda env, task: None, spread=0.0)  # these tasks do not differ


def test_an_environment_that_set_task_returns_is_refused_unless_it_is_the_one_it_was_given() -> None:
    def fresh(env: Any, task: dict[str, Any]) -> Any:
        made = Point()
        made.goal = task["goal"]
        return made

    def wrapped(env: Any, task: dict[str, Any]) -> Any:
        return wrappers.TransformReward(env, lambda r: task["goal"] * r)

    for wrong in (fresh, wrapped):
        with pytest.raises(ValueError, match=r"set_task returns another environment, .*env.unwrapped.goal = task"):
            setting(wrong)

    def same(env: Any, task: dict[str, Any]) -> Any:
        env.unwrapped.goal = task["goal"]
        return env.unwrapped

    assert len(episodes(setting(same, lambda: wrappers.TimeLimit(Point(), 9))).rewards.mean((1, 2)).unique()) == 3
