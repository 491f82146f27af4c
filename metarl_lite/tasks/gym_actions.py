"""What a policy chooses, as an action of a space of gymnasium; and advice for spaces of which it cannot choose."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium import spaces

from .gym_door import Array, check_holds

MOST_COMBINATIONS = 4096  # of an action that is made of several
MOST_CHOICES = 2**24  # what the chance of float32 can tell apart
OPEN = 4  # how wide a coordinate without an end counts: its first deviation is 1


class Actions:
    """What a policy chooses, as an action of the space; one choice stands for a combination of several.

    A policy's first actions lie around 0, and two standard deviations of them cover a box. A box around 0 whose sides
    are all alike is taken in its own numbers. Any other is, for the policy, [-1, 1] in each coordinate, as
    `gymnasium.wrappers.RescaleAction(env, -1, 1)` makes it: 0 is its middle. Of a coordinate with one end that is the
    4 next to it, of one with none [-2, 2]. An action beyond the box is clipped; where it holds integers, the nearest
    is taken.

    Attributes:
        discrete: whether the policy chooses among finitely many.
        size: how many, or the coordinates of a box.
        scale: of a box, the first actions' standard deviation in the policy's numbers.

    Raises:
        ValueError: for a space of which a policy with one output layer cannot choose, naming a wrapper.
    """

    def __init__(self, space: Any) -> None:
        check_holds("action", space)
        self.space, self.scale = space, 1.0
        self.discrete = not isinstance(space, spaces.Box)
        self.counts = _counts(space)
        if isinstance(space, spaces.Box):
            self.size = int(np.prod(space.shape))
            self.scale, self.middle, self.half = _units(space)
        elif self.counts is None:
            raise ValueError(
                f"the action space is {space}; GymTasks takes Box and Discrete, "
                f"MultiDiscrete and MultiBinary. {_action_advice(space)}."
            )
        else:
            self.size = math.prod(self.counts)
            _check_number(space, self.size, len(self.counts) > 1)

    def given(self, action: Array) -> Any:
        """A policy's action, as the environment takes it."""
        if isinstance(self.space, spaces.Discrete):
            return int(action) + int(self.space.start)
        return self.each(np.asarray(action)[None])[0, ...]

    def each(self, actions: Array) -> Array:
        """Several actions of a policy, `[B, A]` or `[B]`, as points of the space, `[B, ...]`."""
        space, count = self.space, len(actions)
        if isinstance(space, spaces.Box):
            # `rollout` reports what is not finite
            finite = np.nan_to_num(actions.reshape(count, *space.shape))
            if self.middle is not None:
                with np.errstate(over="ignore"):  # infinity will be clipped
                    finite = self.middle + self.half * finite
            return _inside(space, finite)
        if isinstance(space, spaces.Discrete):
            return actions + int(space.start)
        assert self.counts is not None
        places = np.unravel_index(actions, self.counts)
        choices = np.stack(places, -1).reshape(count, *space.shape)
        start = space.start if isinstance(space, spaces.MultiDiscrete) else 0
        return (choices + start).astype(space.dtype)


def _units(box: spaces.Box) -> tuple[float, Array | None, Array | None]:
    """The first scale; middle and half the width of a box, or None twice where its numbers are the policy's."""
    low, high = _ends(box)
    first, last = low.astype(np.float64), high.astype(np.float64)
    middle, half = (first + last) / 2, (last - first) / 2
    if not middle.any() and half.min() == half.max() > 0:
        width = float(np.mean(high - low))
        return width / 4, None, None
    return 0.5, middle, half


def _ends(box: spaces.Box) -> tuple[Array, Array]:
    """Where a box begins and ends, without infinity; the numbers next to a type's greatest are no ends either."""
    kind = box.dtype if box.dtype.kind == "f" else np.dtype(np.float64)
    low, high = box.low.astype(kind), box.high.astype(kind)
    far = float(np.finfo(str(kind)).max) / 2
    below, above = box.bounded_below & (low > -far), box.bounded_above & (high < far)
    first = np.where(below, low, np.where(above, high - OPEN, -OPEN / 2))
    last = np.where(above, high, np.where(below, low + OPEN, OPEN / 2))
    return first.astype(kind), last.astype(kind)


def _inside(box: spaces.Box, numbers: Array) -> Array:
    """The point of a box next to these numbers; integers are rounded."""
    if box.dtype.kind == "f":
        return np.clip(numbers, box.low, box.high).astype(box.dtype)
    whole = np.rint(numbers.astype(np.float64))
    with np.errstate(invalid="ignore"):  # beyond the type, and replaced
        found = whole.astype(box.dtype)
    found = np.where(whole <= box.low, box.low, found)
    return np.where(whole >= box.high, box.high, found).astype(box.dtype)


def _check_number(space: Any, number: int, several: bool) -> None:
    """Refuses more choices than a policy can have outputs for, or than its chance can tell apart."""
    most = MOST_COMBINATIONS if several else MOST_CHOICES
    if number > most:
        raise ValueError(
            f"the action space {space} has more than {most} "
            f"{'combinations' if several else 'choices'}, and a policy would have an "
            "output for each of them. Leave some out: "
            "gymnasium.wrappers.TransformAction(env, lambda a: chosen[a], "
            "gymnasium.spaces.Discrete(len(chosen)))."
        )


def _counts(space: Any) -> tuple[int, ...] | None:
    """How many choices each part of an action has, if it is made of finitely many."""
    if isinstance(space, spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(int(n) for n in space.nvec.reshape(-1))
    if isinstance(space, spaces.MultiBinary):
        return (2,) * int(np.prod(space.shape))
    return None


def _action_advice(space: Any) -> str:
    """A wrapper that makes the space a Box or a Discrete, as it is typed."""
    if not isinstance(space, spaces.Space):
        return "Set self.action_space to a space in its __init__"
    wrapper = (
        "Wrap the environment in gymnasium.wrappers.TransformAction(env, lambda a: "
    )
    parts: dict[Any, Any] = {}
    if isinstance(space, spaces.Dict):
        parts = dict(space.spaces)
    if isinstance(space, spaces.Tuple):
        parts = dict(enumerate(space.spaces))
    if parts and all(isinstance(part, spaces.Box) for part in parts.values()):
        return (
            f"{wrapper}gymnasium.spaces.unflatten(env.action_space, a), "
            "gymnasium.spaces.flatten_space(env.action_space)), which makes it one Box"
        )
    plain = [
        p for p in parts.values() if isinstance(p, spaces.Discrete) and not p.start
    ]
    if parts and len(plain) == len(parts):
        counts = tuple(int(part.n) for part in plain)
        action = f"numpy.unravel_index(a, {counts})"
        if isinstance(space, spaces.Dict):
            action = f"dict(zip({tuple(parts)}, {action}))"
        choice = f"gymnasium.spaces.Discrete({math.prod(counts)})"
        return f"{wrapper}{action}, {choice}), which makes it one choice"
    return (
        f"{wrapper}ACTION, SPACE), where SPACE is a Box or a Discrete that you choose, "
        "and ACTION what a point a of it stands for"
    )
