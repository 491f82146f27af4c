"""Wrappers of gymnasium around one of our environments: which numbers they make of its own, and how to go back."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import wrappers
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv, VectorObservationWrapper, VectorWrapper
from torch import Tensor

#: Zero and slope of a wrapper that multiplies and adds.
Line = tuple[Tensor, Tensor]

# Of the wrappers of observations those that keep the numbers, or show them later.
HARMLESS = (
    wrappers.DelayObservation,
    wrappers.DtypeObservation,
    wrappers.FlattenObservation,
    wrappers.ReshapeObservation,
)


def layers_of(env: Any) -> list[Any]:
    """An environment and what it wraps, outermost first; a vector of single ones wraps its first member."""
    layers = [env]
    while True:
        env = layers[-1]
        if isinstance(env, gymnasium.Wrapper | VectorWrapper):
            layers.append(env.env)
        elif members := getattr(env, "envs", None):
            layers.append(members[0])
        elif makers := getattr(env, "env_fns", None):  # the members are elsewhere
            layers.append(makers[0]())
            layers[-1].close()
        else:
            return layers


def space_of(env: Any, what: str) -> Any:
    """The space of one world's "action" or "observation"."""
    single = "single_" * isinstance(env, VectorEnv)
    return getattr(env, f"{single}{what}_space")


def lines_in(layers: list[Any], name: str) -> list[Line]:
    """What wrappers of type `RescaleAction` make of an action, innermost first.

    Raises:
        ValueError: for another wrapper, except `ClipAction`, that changes the box of actions.
    """
    found = []
    for inside, layer in pairwise(reversed(layers)):
        old, new = space_of(inside, "action"), space_of(layer, "action")
        wrapper = _each(layer)
        if isinstance(wrapper, wrappers.RescaleAction):
            found.append(_line(wrapper, new))
        elif not isinstance(wrapper, wrappers.ClipAction) and not _same(old, new):
            raise ValueError(
                f"{type(wrapper).__name__} in {name} changes the actions from "
                f"{old} to {new}; a player can follow ClipAction and RescaleAction "
                "only. Play in what it wraps, env=env.env; or, if the policy was "
                "trained in these actions, through GymTasks, say so: "
                "player(policy, env=env, through_gym=True)."
            )
    return found


def lines_out(layers: list[Any], name: str) -> list[Line]:
    """What each `RescaleObservation` made of an observation, outermost first; none, and a warning, if others do."""
    found = []
    for inside, layer in pairwise(reversed(layers)):
        old, new = space_of(inside, "observation"), space_of(layer, "observation")
        wrapper = _each(layer)
        rescales = isinstance(wrapper, wrappers.RescaleObservation)
        line = _line(wrapper, old) if rescales else None
        if line is not None and bool((line[1] != 0).all()):
            found.append(line)
        elif _changes(wrapper) or not (_harmless(wrapper) or _same(old, new)):
            warnings.warn(
                f"{type(wrapper).__name__} in {name} changes what is seen, and this "
                "policy was made for what it wraps: a player can go back through "
                "RescaleObservation only. Play in what it wraps, env=env.env; or, if "
                "the policy was trained on what is seen here, say so: "
                "player(policy, env=env, through_gym=True). If it is a disturbance, as "
                "a sensor's noise, and leaves the units as they are, all is well.",
                stacklevel=5,
            )
            return []
    return found[::-1]


def _each(layer: Any) -> Any:
    """What a wrapper of a vector does to each member; any other as it is."""
    return getattr(layer, "wrapper", layer)


def _harmless(wrapper: Any) -> bool:
    return isinstance(wrapper, HARMLESS)


def _changes(wrapper: Any) -> bool:
    """Whether it is there to change observations."""
    kinds = (gymnasium.ObservationWrapper, VectorObservationWrapper)
    return isinstance(wrapper, kinds) and not _harmless(wrapper)


def _line(wrapper: Any, space: Any) -> Line:
    """What a wrapper that multiplies and adds makes of 0, and of 1 more."""
    zero, one = (wrapper.func(np.full(space.shape, x)) for x in (0.0, 1.0))
    return torch.as_tensor(zero), torch.as_tensor(one - zero)


def _same(box: Any, space: Any) -> bool:
    """Whether a space is a box of the same bounds, of whatever type."""
    return isinstance(space, Box) and all(
        np.array_equal(one, other.astype(box.dtype))
        for one, other in ((box.low, space.low), (box.high, space.high))
    )
