"""What a policy chooses, as an action of a space of gymnasium; and advice for spaces of which it cannot choose."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium import spaces

from .gym_door import Array, check_holds

MOST_CHOICES = (
    4096  # of an action that is made of several; a policy has an output for each
)


class Actions:
    """What a policy chooses, as an action of the space; one choice stands for a combination of several.

    Attributes:
        discrete: whether the policy chooses among finitely many.
        size: how many, or the coordinates of a box.
        scale: of a box, a quarter of its mean width: the first actions' standard deviation.

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
            width = float(np.mean(space.high - space.low))
            self.scale = width / 4 if np.isfinite(width) else 1.0
        elif self.counts is None:
            raise ValueError(
                f"the action space is {space}; GymTasks takes Box and Discrete, "
                f"MultiDiscrete and MultiBinary. {_action_advice(space)}."
            )
        else:
            self.size = math.prod(self.counts)
            if len(self.counts) > 1 and self.size > MOST_CHOICES:
                raise ValueError(
                    f"the action space {space} has more than {MOST_CHOICES} "
                    "combinations, and a policy would have an output for each of them. "
                    "Leave some out: gymnasium.wrappers.TransformAction(env, lambda a: "
                    "chosen[a], gymnasium.spaces.Discrete(len(chosen)))."
                )

    def given(self, action: Array) -> Any:
        """A policy's action, as the environment takes it."""
        space = self.space
        if isinstance(space, spaces.Box):
            # `rollout` reports what is not finite
            finite = np.nan_to_num(action.reshape(space.shape))
            return np.clip(finite, space.low, space.high).astype(space.dtype)
        if isinstance(space, spaces.Discrete):
            return int(action) + int(space.start)
        assert self.counts is not None
        places = np.unravel_index(int(action), self.counts)
        choices = np.stack(places).reshape(space.shape)
        start = space.start if isinstance(space, spaces.MultiDiscrete) else 0
        return (choices + start).astype(space.dtype)


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
