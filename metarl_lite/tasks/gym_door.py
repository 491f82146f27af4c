"""The door for environments of gymnasium: what one gives is looked at where it comes in, before it becomes a tensor.

It takes what an environment may reasonably give, such as a reward in an array of one element, and refuses the rest in
words that `GymTasks` completes with the environment, the task, the episode and the step.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]
MOST_CHOICES = (
    4096  # of an action that is made of several; a policy has an output for each
)


class Refused(ValueError):
    """What an environment gave cannot be used: what it was, and what to do."""

    def __init__(self, given: str, mend: str) -> None:
        super().__init__(f"{given}; {mend}")
        self.given, self.mend = given, mend


def as_reset(result: Any) -> Any:
    """The observation in what `reset` returned."""
    pair = isinstance(result, tuple) and len(result) == 2
    if not pair or not isinstance(result[1], dict):
        raise Refused(
            f"{_named(result)} from reset",
            "(observation, info) is what reset returns since gymnasium 0.26, info a "
            "dict: return observation, {}",
        )
    return result[0]


def as_step(result: Any) -> tuple[Any, float, bool, bool]:
    """Observation, reward, terminated and truncated in what `step` returned."""
    if not isinstance(result, tuple | list) or len(result) != 5:
        old = isinstance(result, tuple | list) and len(result) == 4
        raise Refused(
            f"{_named(result)} from step",
            "(observation, reward, terminated, truncated, info) is what step returns"
            + (" since gymnasium 0.26, where done was one value before" if old else ""),
        )
    observation, reward, terminated, truncated, _ = result
    return (
        observation,
        as_reward(reward),
        as_flag(terminated, "terminated"),
        as_flag(truncated, "truncated"),
    )


def as_reward(reward: Any) -> float:
    """A finite number, be it a plain one, numpy's, or the only element of an array."""
    if isinstance(reward, float) and math.isfinite(reward):
        return float(reward)
    array = _array(reward)
    if array is None or array.size != 1 or array.dtype.kind not in "biuf":
        raise Refused(f"the reward {_named(reward)}", "one real number is needed")
    number = float(array.item())
    if not math.isfinite(number):
        raise Refused(
            f"the reward {number}",
            "rewards must be finite. Look at its step function with that task and the "
            "action before it",
        )
    return number


def as_flag(flag: Any, name: str) -> bool:
    """True or False, be it Python's, numpy's, or the only element of an array."""
    if isinstance(flag, bool | np.bool_):
        return bool(flag)
    array = _array(flag)
    if array is None or array.size != 1 or array.dtype.kind != "b":
        raise Refused(f"{name} = {_named(flag)}", "True or False is needed")
    return bool(array.item())


class Observations:
    """The observations of a space as vectors of numbers: boxes as they are, choices one-hot.

    Attributes:
        size: numbers in one vector.

    Raises:
        ValueError: for a space that is neither Box, Discrete, MultiDiscrete nor MultiBinary.
    """

    def __init__(self, space: Any) -> None:
        plain = spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary
        if not isinstance(space, plain):
            wrapper = "gymnasium.wrappers.FlattenObservation(env)"
            advice = f"Wrap the environment: {wrapper} makes it a Box"
            if not isinstance(space, spaces.Space):
                advice = "Set self.observation_space to a space in its __init__"
            elif not space.is_np_flattenable:
                advice = (
                    "An observation here has always as many numbers: write a "
                    "gymnasium.ObservationWrapper that makes it a Box"
                )
            raise ValueError(
                f"the observation space is {space}; GymTasks takes Box and Discrete, "
                f"MultiDiscrete and MultiBinary. {advice}."
            )
        self.space = space
        self.size = int(spaces.flatdim(space))
        self.shape = tuple(space.shape or ())
        self.single = int(np.prod(self.shape)) == 1
        # what may stand for a number of this space without loss of meaning
        self.kinds = (
            "biuf" if space.dtype is not None and space.dtype.kind == "f" else "biu"
        )

    def flat(self, observation: Any) -> Array:
        """One observation as a vector; not yet looked at for numbers that are not finite."""
        array = _array(observation)
        if array is None or array.dtype.kind not in self.kinds:
            raise Refused(
                f"an observation of type {_type(observation, array)}",
                f"its observation_space is {self.space}",
            )
        if array.shape != self.shape and not (self.single and array.size == 1):
            raise Refused(
                f"an observation of shape {array.shape}",
                f"its observation_space is {self.space}, of shape {self.shape}",
            )
        if isinstance(self.space, spaces.Box):
            return array.reshape(-1)
        fitting = array.reshape(self.shape).astype(self.space.dtype)
        choice = int(fitting) if isinstance(self.space, spaces.Discrete) else fitting
        if not np.array_equal(fitting, array.reshape(self.shape)) or not (
            self.space.contains(choice)
        ):
            raise Refused(
                f"the observation {observation}",
                f"its observation_space is {self.space}",
            )
        return np.asarray(spaces.flatten(self.space, choice))


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


def plain(value: Any) -> Any:
    """A tensor without its gradient, in a type that numpy has; anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    value = value.detach().cpu()
    return value.float() if value.dtype == torch.bfloat16 else value


def _array(value: Any) -> Array | None:
    """The value as an array; None where numpy cannot make one of it."""
    try:
        return np.asarray(plain(value))
    except (TypeError, ValueError, RuntimeError):
        return None


def _named(value: Any) -> str:
    """A value in a message: what it is, and itself where that is short."""
    if isinstance(value, tuple | list):
        return f"{len(value)} values"
    text = repr(value)
    kind = type(value).__name__
    return (
        f"{text} (of type {kind})" if len(text) <= 40 else f"something of type {kind}"
    )


def _type(value: Any, array: Array | None) -> str:
    kind = type(value).__name__
    is_array = isinstance(value, np.ndarray) and array is not None
    return f"{kind} of {array.dtype}" if array is not None and is_array else kind
