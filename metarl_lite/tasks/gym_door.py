"""The door for environments of gymnasium: what one gives is looked at where it comes in, before it becomes a tensor.

It takes what an environment may reasonably give, such as a reward in an array of one element, and refuses the rest in
words that `GymTasks` completes with the environment, the task, the episode and the step.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from ..given import number
from ..ram import check_memory

Array = NDArray[Any]
LARGEST = torch.finfo(torch.float64).max


class Refused(ValueError):
    """What an environment gave cannot be used: what it was, and what to do."""

    def __init__(self, given: str, mend: str) -> None:
        super().__init__(f"{given}; {mend}")
        self.given, self.mend = given, mend


def as_reset(result: Any) -> Any:
    """The observation in what `reset` returned."""
    pair = isinstance(result, tuple | list) and len(result) == 2
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
    array = _array(reward, "the reward")
    one = array.item() if array is not None and array.size == 1 else None
    value = int(one) if isinstance(one, bool) else number(one)
    if value is None:
        raise Refused(f"the reward {_named(reward)}", "one real number is needed")
    if not abs(value) <= LARGEST:
        raise Refused(
            f"the reward {value if isinstance(value, float) else _named(value)}",
            "rewards must be finite. Look at its step function with that task and the "
            "action before it",
        )
    return float(value)


def as_flag(flag: Any, name: str) -> bool:
    """True or False, be it Python's, numpy's, or the only element of an array."""
    if isinstance(flag, bool | np.bool_):
        return bool(flag)
    array = _array(flag, name)
    if array is None or array.size != 1 or array.dtype.kind != "b":
        raise Refused(f"{name} = {_named(flag)}", "True or False is needed")
    return bool(array.item())


class Observations:
    """The observations of a space as vectors of numbers: boxes as they are, choices one-hot.

    Attributes:
        size: numbers in one vector.
        most: the greatest number that the family's type holds.

    Raises:
        ValueError: for a space that is neither Box, Discrete, MultiDiscrete nor MultiBinary, holds nothing, or more
            than there is memory for.
    """

    def __init__(self, space: Any, dtype: torch.dtype = torch.float32) -> None:
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
        self.space: Any = space
        self.dtype = dtype
        self.most = torch.finfo(dtype).max
        check_holds("observation", space)
        self.size = int(spaces.flatdim(space))
        self.check_room(2, "one observation")
        self.shape = tuple(space.shape or ())
        self.ends = _ends(space)
        self.single = int(np.prod(self.shape)) == 1
        # what may stand for a number of this space without loss of meaning
        self.kinds = (
            "biuf" if space.dtype is not None and space.dtype.kind == "f" else "biu"
        )

    def flat(self, observation: Any) -> Array:
        """One observation as a vector; not yet looked at for numbers that are not finite."""
        array = _array(observation, "an observation")
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
            if array.dtype.itemsize > self.dtype.itemsize:
                check_fits("an observation with the number", array, self.dtype)
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

    def look(self, name: str, states: Array, where: Callable[[int], str]) -> None:
        """Warns once of a number beyond its box; `states` are vectors and, beside each, its copy and ticket."""
        if self.ends is None:
            return
        numbers, (low, high) = states[:, :-2], self.ends
        outside = ((numbers < low) | (numbers > high)) & np.isfinite(numbers)
        if not outside.any():
            return
        i, k = np.argwhere(outside)[0].tolist()
        low, high = (ends.flat[k] for ends in (self.space.low, self.space.high))
        self.ends = None
        warnings.warn(
            f"the environment {name} gave {numbers[i, k]} as number {k} of an "
            f"observation to {where(i)}, and its observation_space says "
            f"{low} to {high}. Such numbers are taken as "
            "they are, and this is said once: if it should not be so, look at its step, "
            "or clip in a wrapper; if it should, widen the space.",
            stacklevel=4,
        )

    def check_room(self, vectors: int, what: str) -> None:
        """Refuses observations of which there is no memory for so many vectors."""
        space, less, box = self.space, "LESS", "SPACE), where SPACE is a smaller Box."
        if isinstance(space, spaces.Discrete):  # one-hot, where one number tells it
            less = f"numpy.float32([(o - {space.start}) / {space.n}])"
            box = "gymnasium.spaces.Box(0, 1, (1,)))."
        check_memory(
            8 * vectors * self.size,
            f"{what} of {space}, a vector of {self.size} numbers,",
            "wrap the environment in gymnasium.wrappers.TransformObservation(env, "
            f"lambda o: {less}, {box}",
        )


def _ends(space: Any) -> tuple[Array, Array] | None:
    """What the numbers of a box do not pass, a rounding error apart; None where nothing is to be looked at."""
    if not isinstance(space, spaces.Box):
        return None
    low, high = (x.reshape(-1).astype(np.float64) for x in (space.low, space.high))
    if space.dtype.kind == "f":
        size = np.nan_to_num(np.abs([low, high]), posinf=0).max(0)
        error = float(np.finfo(space.low.dtype).eps) * size
        low, high = low - error, high + error
    return (low, high) if np.isfinite([low, high]).any() else None


def check_holds(what: str, space: Any) -> None:
    """Refuses a space without a number in it: there would be nothing to see, or to choose."""
    if isinstance(space, spaces.Space) and space.shape and 0 in space.shape:
        raise ValueError(
            f"the {what} space is {space}, of shape {space.shape}, which holds no "
            "number: at least one is needed, as a constant 1 if there is nothing to "
            f"tell; look at self.{what}_space in its __init__, and at its wrappers."
        )


def check_dtype(dtype: Any, name: str = "dtype") -> None:
    """Refuses a type in which gymnasium's numbers cannot be given and taken as they are."""
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"{name} = {dtype!r}: torch.float32 or torch.float64 is needed here, since "
            "numpy's numbers come and go; such as dtype=torch.float32."
        )


def check_fits(what: str, numbers: Any, dtype: torch.dtype) -> None:
    """Refuses a finite number that would be infinite in the type of the family."""
    size = np.abs(np.atleast_1d(numbers))
    wide = (size > torch.finfo(dtype).max) & (size < np.inf)
    if wide.any():
        remedy = "pass dtype=torch.float64 to GymTasks, or " * (dtype == torch.float32)
        raise Refused(
            f"{what} {np.atleast_1d(numbers)[wide][0]}",
            f"{dtype} holds no more than {torch.finfo(dtype).max:.4g}: {remedy}scale "
            "it in a wrapper",
        )


def plain(value: Any) -> Any:
    """A tensor without its gradient, in a type that numpy has; anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    value = value.detach().cpu()
    return value.float() if value.dtype == torch.bfloat16 else value


def _array(value: Any, what: str) -> Array | None:
    """The value as an array; None where numpy cannot make one of it. What is masked is refused."""
    if isinstance(value, np.ma.MaskedArray):
        check_unmasked(value, what)
    try:
        return np.asarray(plain(value))
    except (TypeError, ValueError, RuntimeError):
        return None


def check_unmasked(value: Any, what: str) -> None:
    """Refuses an array of which a part is masked: the numbers under a mask would count."""
    if np.ma.is_masked(value):
        raise Refused(
            f"{what} of which {value.size - value.count()} of {value.size} numbers are "
            "masked",
            "a mask is not kept: fill it, as in value.filled(0)",
        )


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
