"""Observations beyond their box, and more of them than there is memory for: told, or refused before they are made."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from metarl_lite.tasks import GymTasks, check_family
from metarl_lite.tasks.gym_rehearsal import REHEARSED
from metarl_lite.types import Rollout

from .own import variant
from .test_gym_door import INF, PLAYS, Point, episodes, family, giving, shows

SAID = r"the environment point gave {} as number {} of an observation to task 0 in episode 0 {}, and its .* says {}\. "


@pytest.mark.parametrize("play", PLAYS)
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (giving(0, np.float32([0, 50])), (r"50\.0", 1, "at step 2", r"-9\.0 to 9\.0")),
        (shows(Box(-1, 1, (2,)), np.float32([-3, 0])), (r"-3\.0", 0, "at its reset, before step 0", r"-1\.0 to 1\.0")),
        (shows(Box(0, 255, (2,), np.uint8), np.array([1, 300])), (r"300\.0", 1, "at its reset.*", "0 to 255")),
        (shows(Box(0, 5, (2,), int), np.array([1, 2]), np.array([1, -2])), (r"-2\.0", 1, "at step 0", "0 to 5")),
        (shows(Box(0, INF, (1,)), np.float32([1]), np.float32([-0.1])), (r"-0\.1.*", 0, "at step 0", r"0\.0 to inf")),
    ],
)  # fmt: skip
def test_a_number_beyond_its_box_is_taken_and_told_once(make: Any, said: Any, play: Callable[..., Rollout]) -> None:
    tasks = family(make)
    with pytest.warns(UserWarning, match=SAID.format(*said)) as told:
        batch = play(tasks)
    assert len(told) == 1
    beyond = float(re.sub(r"\\|\.\*", "", said[0]))
    assert batch.observations.isclose(torch.tensor(beyond)).any(), "it is as it was"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        play(tasks)


@pytest.mark.parametrize(
    ("space", "value"),
    [
        (Box(-0.7, 0.7, (2,)), np.array([0.7, -0.7])),  # of float64, and the edge is float32
        (Box(0, 0.1, (2,)), np.array([-1e-9, 0.1 + 1e-9])),
        (Box(1000.1, 2000.3, (1,)), np.array([2000.3])),
        (Box(-INF, INF, (2,)), np.array([1e30, -1e30])),
        (Box(0, 255, (2,), np.uint8), np.array([0, 255], np.uint8)),
        (Box(0, 1, (2,), bool), np.array([False, True])),
        (Discrete(3), 2),
        (MultiDiscrete([3, 2]), np.array([2, 1])),
    ],
)  # fmt: skip
def test_rounding_and_edges_are_no_matter(space: Any, value: Any) -> None:
    episodes(family(shows(space, value)))


def test_gymnasiums_own_classics_stay_within_theirs() -> None:
    for name in ("CartPole-v1", "Pendulum-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Acrobot-v1"):
        nothing = {"x": torch.zeros(())}
        tasks = GymTasks(lambda name=name: gymnasium.make(name), lambda env, task: None,
                         lambda n, gen: {"x": torch.zeros(n)}, nothing, 60)  # fmt: skip
        episodes(tasks)
        tasks.close()


# --- Memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repeatable", [True, False])
@pytest.mark.parametrize("space", [Discrete(10**12), MultiDiscrete([10**12, 3]), Box(-1, 1, (1,))])
def test_one_observation_for_which_there_is_no_memory_is_refused(space: Any, repeatable: bool) -> None:
    """A one-hot vector of 10^12 numbers is 16 TB twice; of a box this is said where its size is."""
    if isinstance(space, Box):
        space._shape = (10**12,)  # such a box cannot be made here
    with pytest.raises(ValueError, match=r"one observation of .*, a vector of \d{13} numbers, needs about 1.6e\+04 GB"):
        family(shows(space, 3), repeatable=repeatable)


def test_a_rehearsal_for_which_there_is_no_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """10^9 numbers are 8 GB, which there may be, and 250 such vectors are not."""
    monkeypatch.setattr("metarl_lite.ram.available_memory", lambda: 64e9)
    made: list[int] = []

    class Large(Point):
        observation_space = Discrete(10**9, start=2)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            made.append(1)
            return 2, {}

    with pytest.raises(ValueError, match=r"to try point, with observations of Discrete\(10{9}, start=2\)") as caught:
        family(Large)
    assert not made
    assert "needs about 440 GB" in str(caught.value)  # 5 plays of 11 observations, 8 bytes a number
    assert 5 * (min(REHEARSED, 10) + 1) * 8 == 440
    advice = re.search(r"wrap the environment in (.*)\.$", str(caught.value))
    assert advice
    tasks = family(lambda: eval(advice[1], {"gymnasium": gymnasium, "numpy": np, "env": Large()}))
    assert tasks.observation_size == 1


def test_want_of_memory_is_never_something_else() -> None:
    """Where other failures are left for the place where they happen, and where they are told in other words."""

    class Greedy(Point):
        def step(self, action: Any) -> Any:
            raise MemoryError("its own")

    def greedy(self: Any, task: Any = None, noise: Any = None) -> Any:
        raise MemoryError("its own")

    class Unwritten(Point):
        @property
        def observation_space(self) -> Any:  # type: ignore[override]
            return type("Space", (Box,), {"__reduce__": greedy})(-9, 9, (2,), np.float32)

    goal = {"goal": torch.tensor(0.5)}
    for make in (
        lambda: family(Greedy),
        lambda: family(Unwritten),
        lambda: GymTasks(Point, lambda env, task: None, lambda n, gen: greedy(n), goal, 10),
        lambda: check_family(variant(reset=greedy)()),
    ):
        with pytest.raises(MemoryError, match="its own"):
            make()
