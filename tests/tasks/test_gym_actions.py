"""Boxes of actions for a policy, around 0 or not, with and without ends, of integers; and how many choices may be."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.wrappers import RescaleAction

from metarl_lite import adapt, policy_gradient, with_advantages
from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.rollout import rollout
from metarl_lite.tasks import GymTasks
from metarl_lite.tasks.families import FAMILIES
from metarl_lite.tasks.gym import gym_id
from metarl_lite.tasks.gym_actions import MOST_CHOICES, Actions

from .test_gym_door import Chooses, Point, episodes, family

INF = np.inf


class Seeks(Point):
    """Pays for an action near a place in the box: the goal is where, from 0 to 1."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.taken: list[Any] = []
        return super().reset(seed=seed)

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        self.taken.append(action)
        low, high = (np.asarray(end, np.float64) for end in (self.action_space.low, self.action_space.high))
        away = (np.asarray(action, np.float64) - low) / (high - low) - self.goal
        return *super().step(np.zeros(2))[:1], -float(np.square(away).mean()), False, False, {}


def with_box(*args: Any, **options: Any) -> Any:
    return type("Kind", (Seeks,), {"action_space": Box(*args, **options)})


def taken(tasks: GymTasks) -> Any:
    """What an untrained policy does, in the numbers of the box, `[B, ...]`."""
    episodes(tasks, 10, 20)
    return np.concatenate([copy.env.unwrapped.taken for copy in tasks._pool])  # type: ignore[attr-defined]


BOXES: dict[str, Any] = {
    "far from 0": with_box(100, 200, (2,)),
    "from 0 on": with_box(0, 1, (2,)),
    "below 0": with_box(-7, -6.5, (2,), np.float64),
    "unequal": with_box(np.float32([-1e-3, -1e3]), np.float32([1e-3, 1e3])),
    "unequal integers": with_box(np.array([-20000, -100]), np.array([20000, 31000]), dtype=np.int16),
    "integers": with_box(-100, 100, (1,), np.int8),
    "all of a type": with_box(-128, 127, (1,), np.int8),
    "all of a large one": with_box(0, 2**63 - 1, (1,), np.int64),
    "unsigned": with_box(0, 255, (2, 1), np.uint8),
    "around 0": with_box(-0.4, 0.4, (3,)),
}


@pytest.mark.filterwarnings("ignore:point plays 4 different tasks alike")  # a goal is lost in the largest integers
@pytest.mark.parametrize("name", BOXES)
def test_first_actions_cover_the_box(name: str) -> None:
    """Normal with half of half its width as standard deviation, around the middle: clipped are 2 x 2.3 %, an eighth of
    all lies on each side in the outer quarter. Bounds: five standard errors of 2000 draws, and rounding to integers."""
    kind = BOXES[name]
    box, tasks = kind.action_space, family(kind)
    low, high = box.low.astype(float), box.high.astype(float)
    place = (taken(tasks).astype(np.float64) - low) / (high - low)
    for one in place.reshape(len(place), -1).T:
        assert abs(one.mean() - 0.5) < 5 * 0.25 / len(one) ** 0.5
        assert (one == 0).mean() < 0.05
        assert (one == 1).mean() < 0.05
        assert 0.1 < (one < 0.25).mean() < 0.23
        assert 0.1 < (one > 0.75).mean() < 0.23
    tasks.close()


def test_a_box_that_is_not_around_0_is_as_gymnasiums_own_wrapper_makes_it() -> None:
    """Step for step, up to rounding."""
    for low, high in (([100, 100], [200, 200]), ([0, -4], [1, 2**12])):
        kind = with_box(np.float64(low), np.float64(high), dtype=np.float64)
        one, two = family(kind), family(lambda kind=kind: RescaleAction(kind(), np.float64(-1), np.float64(1)))
        assert one.action_scale == two.action_scale == 0.5
        here, there = episodes(one), episodes(two)
        assert torch.equal(here.actions, there.actions)
        torch.testing.assert_close(here.rewards, there.rewards, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("box", [
    Box(-2, 2, (1,), np.float32), Box(-0.1, 0.1, (2,), np.float32), Box(-1, 1, (1,), np.float32),
    Box(-0.4, 0.4, (17,), np.float32), Box(-INF, INF, (2,), np.float32), Box(-3.3, 3.3, (2, 3), np.float64),
    Box(np.float32([-2, -INF]), np.float32([2, INF])),
])  # fmt: skip
def test_a_box_around_0_has_its_own_numbers_to_the_bit(box: Box) -> None:
    """As one line of numpy says it."""
    acts, noise = Actions(box), np.random.default_rng(0).normal(size=(50, *box.shape))
    width = float(np.mean(box.high - box.low))
    assert acts.scale == (width / 4 if np.isfinite(width) else 1.0)
    for kind in (np.float32, np.float64):
        for action in (3 * noise).astype(kind):
            given = acts.given(action.reshape(-1))
            assert given.dtype == box.dtype
            np.testing.assert_array_equal(given, np.clip(action, box.low, box.high).astype(box.dtype))


@pytest.mark.parametrize("name", ["Pendulum-v1", "MountainCarContinuous-v0", *map(gym_id, FAMILIES.values())])
def test_so_have_gymnasiums_and_our_own(name: str) -> None:
    box = gymnasium.make(name).action_space
    if isinstance(box, Box):
        assert Actions(box).middle is None
        assert Actions(box).scale == float(box.high.max()) / 2


def test_where_there_is_no_end_a_first_action_is_1_wide() -> None:
    """One end: the 4 that lie next to it. None, beside another: 2 standard deviations are 2 of its own numbers."""
    low, high = np.float32([100, -INF, -INF, -1]), np.float32([INF, -5, INF, 1])
    acts = Actions(Box(low, high))
    assert acts.scale == 0.5
    np.testing.assert_array_equal(acts.given(np.float32([0, 0, 0, 0])), [102, -7, 0, 0])
    np.testing.assert_array_equal(acts.given(np.float32([0.5, 0.5, 0.5, 0.5])), [103, -6, 1, 0.5])
    np.testing.assert_array_equal(acts.given(np.float32([-2, 2, 10, 10])), [100, -5, 20, 1])
    most = np.finfo(np.float32).max
    assert Actions(Box(-most, most, (2,))).scale == 1.0  # that is none either
    np.testing.assert_array_equal(Actions(Box(0, most, (1,))).given(np.float32([0.0])), [2])
    endless = Actions(Box(-INF, INF, (1,), np.int64))
    assert (endless.scale, endless.given(np.float64([1e30])), endless.given(np.float64([-2.6]))) == (1, 2**63 - 1, -3)


def test_a_coordinate_of_one_point_stays_there() -> None:
    for box in (Box(0, 0, (1,)), Box(3, 3, (2,)), Box(np.float32([1, 1]), np.float32([1, 3]))):
        acts = Actions(box)
        assert acts.scale > 0
        assert acts.given(np.float32([9] * acts.size))[0] == box.low[0]


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint64, bool])
def test_integers_are_the_nearest_and_never_beyond_the_type(kind: Any) -> None:
    whole = np.dtype(kind)
    least, most = (0, 1) if kind is bool else (np.iinfo(kind).min, np.iinfo(kind).max)
    acts = Actions(Box(least, most, (1,), kind))
    far = 2.0**63 if kind is np.int64 else 1  # around 0 up to rounding, it has its own numbers
    for action, expected in ((-far, least), (far, most), (-5 * far, least), (5 * far, most), (1e300, most)):
        given = acts.given(np.float64([action]))
        assert given.dtype == whole
        assert int(given[0]) == expected
    five = Actions(Box(-2, 2, (1,), np.int8))
    given = [five.given(np.float32([a]))[0] for a in (-9, -1.6, -1.4, -0.6, -0.4, 0.4, 0.6, 1.4, 1.6, 9)]
    assert given == [-2, -2, -1, -1, 0, 0, 1, 1, 2, 2]


def test_many_actions_at_once_are_each_of_them() -> None:
    spaces = [Box(0, 9, (2, 3), np.uint8), Box(-1, 1, (2,)), Box(0, 1, ()), Discrete(5, start=3)]
    spaces += [MultiDiscrete([[2, 3], [2, 2]], start=[[1, 0], [4, -1]])]
    for space in spaces:
        acts, chance = Actions(space), np.random.default_rng(1)
        wanted: Any = chance.normal(size=(7, acts.size))
        wanted = chance.integers(acts.size, size=7) if acts.discrete else wanted
        for many, one in zip(acts.each(wanted), wanted, strict=True):
            np.testing.assert_array_equal(many, acts.given(one))
            assert space.contains(acts.given(one))


def test_gradient_steps_find_a_place_in_a_box_that_is_far_from_0() -> None:
    """Where every first action was clipped to one corner, and all returns were alike. By design half of the loss."""
    tasks = family(with_box(100, 200, (1,)))
    policy, task, gen = MLPPolicy.for_tasks(tasks, generator(0), hidden=()), {"goal": torch.tensor([0.9])}, generator(1)
    params, paid = tile(policy.params(), 1), []
    for _ in range(30):
        batch = rollout(tasks, policy, params, task, 10, gen)
        paid.append(batch.rewards.mean().item())
        params = adapt(policy, params, with_advantages(batch), policy_gradient, 0.1, create_graph=False)
    assert paid[-1] > 0.5 * paid[0]
    tasks.close()


# --- How many choices -------------------------------------------------------------------------------------------------


def test_more_choices_than_chance_can_tell_apart_are_refused() -> None:
    """A uniform number of float32 is one of 2^24."""
    for count in (MOST_CHOICES + 1, 10**9, 2**40):
        with pytest.raises(ValueError, match=r"action space Discrete.* more than 16777216 choices.*TransformAction\("):
            family(type("Kind", (Point,), {"action_space": Discrete(count)}))
    assert Actions(Discrete(MOST_CHOICES)).size == MOST_CHOICES


def test_as_many_single_choices_are_taken_as_ever() -> None:
    assert family(type("Kind", (Chooses,), {"action_space": Discrete(5000)})).action_size == 5000
