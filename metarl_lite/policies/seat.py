"""Between a policy and an environment of gymnasium: observations as rows of numbers, and actions as it takes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.wrappers import Autoreset, ClipAction, RescaleAction
from torch import Tensor

from ..tasks.base import TaskDistribution
from .base import Policy


class Seat:
    """What a policy must know of the environment that it plays in; with none, numbers pass as they are.

    Where one of our environments is inside, the policy acts in the units of its family, and the outermost box gets what
    the wrappers turn into that. Where none is, the policy acts in the outermost box itself.

    Attributes:
        resets_itself: whether worlds begin anew by themselves, in a step of their own: members of a vector of
            `AutoresetMode.NEXT_STEP`, or one in the wrapper `Autoreset`.

    Raises:
        ValueError: if the environment's spaces are not of the policy's sizes and kind, or a wrapper changes the box of
            one of our environments in a way that cannot be followed back.
    """

    def __init__(self, policy: Policy, env: Any = None) -> None:
        self.size, self.name = policy.observation_size, "the policy"
        self.lead: tuple[int, ...] | None = None  # of observations; None: any
        self.seen: Any = None  # spaces, of one world
        self.taken: Any = None
        self.resets_itself, self.unit = False, 1.0
        self.edge: Box | None = None  # of the innermost actions; None: not clipped
        self.rescaled: list[tuple[Tensor, Tensor]] = []  # (a - zero) / slope, in turn
        if env is None:
            return
        self.name = str(env)
        if isinstance(env, VectorEnv):
            self.lead, spaces = (env.num_envs,), env.metadata or {}
            self.resets_itself = spaces.get("autoreset_mode") == AutoresetMode.NEXT_STEP
            self.seen = env.single_observation_space
            self.taken = env.single_action_space
        elif isinstance(env, gymnasium.Env):
            self.lead = ()
            self.seen, self.taken = env.observation_space, env.action_space
            self.resets_itself = any(isinstance(x, Autoreset) for x in _layers(env))
        else:
            raise ValueError(
                f"env is of type {type(env).__name__}: an environment of gymnasium is "
                "needed, single or a vector, or none."
            )
        self._check(policy)
        if isinstance(self.taken, Box):
            self.edge = self.taken
            self._find_units(_layers(env))

    def _find_units(self, layers: list[Any]) -> None:
        """Notes how an action in the family's units becomes one of the outermost box, if a family is inside."""
        tasks, inner = getattr(layers[-1], "tasks", None), _actions(layers[-1])
        if not isinstance(tasks, TaskDistribution) or tasks.discrete:
            return
        # The edge of the family's own box is its limit, if it has one.
        self.edge = inner if math.isfinite(tasks.action_limit) else None
        if self.edge is not None:
            self.unit = tasks.action_limit / float(inner.high.flat[0])
        for inside, layer in pairwise(reversed(layers)):
            old, new = _actions(inside), _actions(layer)
            wrapper = getattr(layer, "wrapper", layer)  # of a vector: of each member
            if isinstance(wrapper, RescaleAction):
                zero, one = (wrapper.func(np.full(new.shape, x)) for x in (0.0, 1.0))
                slope = torch.as_tensor(one - zero)
                self.rescaled.append((torch.as_tensor(zero), slope))
            elif not isinstance(wrapper, ClipAction) and not _same(old, new):
                raise ValueError(
                    f"{type(wrapper).__name__} in {self.name} changes the actions from "
                    f"{old} to {new}; a player can follow ClipAction and RescaleAction "
                    "only. Play in what it wraps, env=env.env; or, if the policy was "
                    "trained in these actions, without env: player(policy)."
                )

    def _check(self, policy: Policy) -> None:
        for space, which in ((self.seen, "observation"), (self.taken, "action")):
            if not isinstance(space, Box | Discrete):
                raise ValueError(
                    f"the {which} space of {self.name} is {space}: a Box or a Discrete "
                    "is needed, see gymnasium.wrappers.FlattenObservation."
                )
        mine = (policy.observation_size, policy.action_size, policy.discrete)
        theirs = _size(self.seen), _size(self.taken), isinstance(self.taken, Discrete)
        if mine != theirs:
            raise ValueError(
                f"this policy has (observation_size, action_size, discrete) = {mine}, "
                f"but {self.name} has {theirs}: it was made for another environment."
            )

    def rows(
        self, observation: Any, dtype: torch.dtype, device: torch.device
    ) -> tuple[Tensor, tuple[int, ...]]:
        """Observations as the policy reads them, `[B, O]`, and their leading dimensions: none, or B.

        Raises:
            ValueError: for another size, none at all, or a number that is not finite.
        """
        numbers = as_numbers(observation, "observation").to(device)
        if isinstance(self.seen, Discrete) and not numbers.is_floating_point():
            numbers = numbers.long() - int(self.seen.start)
            inside = ((numbers >= 0) & (numbers < self.size)).all()
            if tuple(numbers.shape) != self.lead or not bool(inside):
                raise ValueError(
                    f"observation = {observation!r}: {self.name} gives integers of "
                    f"{self.seen}, in the shape {self.lead}."
                )
            numbers = torch.nn.functional.one_hot(numbers, self.size)
        numbers = numbers.to(dtype)
        lead = tuple(numbers.shape[:-1]) if self.lead is None else self.lead
        shape = self.seen.shape if isinstance(self.seen, Box) else (self.size,)
        if tuple(numbers.shape) != (*lead, *shape) or len(lead) > 1 or 0 in lead:
            batch = (
                "[B, {}] of them, B at least 1" if self.lead is None else "nothing else"
            )
            raise ValueError(
                f"an observation of shape {tuple(numbers.shape)}, but {self.name} has "
                f"{self.size} numbers: one of shape {(*(self.lead or ()), *shape)} is "
                f"needed, or {batch.format(self.size)}."
            )
        if not bool(numbers.isfinite().all()):
            bad = numbers[~numbers.isfinite()][0].item()
            raise ValueError(f"an observation holds {bad}: finite numbers are needed.")
        return numbers.reshape(-1, self.size), lead

    def action(self, action: Tensor, like: Any) -> Any:
        """An action as the environment takes it, a tensor if `like`, the observation, is one, else of numpy."""
        if isinstance(self.taken, Discrete):
            action = action + int(self.taken.start)
        elif action.is_floating_point() and action.dtype.itemsize < 4:
            # numpy has no bfloat16, and the edges of a box are float32
            as_it_is = self.taken is None and isinstance(like, Tensor)
            action = action if as_it_is else action.float()
        if isinstance(self.taken, Box):
            action = self._in_box(action.reshape(*action.shape[:-1], *self.taken.shape))
        if isinstance(like, Tensor):
            return action.to(like.device)
        array = action.cpu().numpy()
        if isinstance(self.taken, Box):
            array = array.astype(self.taken.dtype)
        return array[()]  # a number, where it is one

    def _in_box(self, action: Tensor) -> Tensor:
        """The point of the outermost box that reaches the innermost environment as this action."""
        action = action / self.unit
        if self.edge is not None:
            action = _clipped(action, self.edge)
        for zero, slope in self.rescaled:
            action = (action - zero.to(action)) / slope.to(action)
        # rounding may have led beyond it
        return action if self.edge is None else _clipped(action, self.taken)


def _layers(env: Any) -> list[Any]:
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


def _actions(env: Any) -> Any:
    """The space of one action."""
    vector = isinstance(env, VectorEnv)
    return env.single_action_space if vector else env.action_space


def _same(box: Box, space: Any) -> bool:
    """Whether a space is a box of the same bounds, of whatever type."""
    return isinstance(space, Box) and all(
        np.array_equal(one, other.astype(box.dtype))
        for one, other in ((box.low, space.low), (box.high, space.high))
    )


def _clipped(action: Tensor, box: Box) -> Tensor:
    low, high = map(torch.from_numpy, (box.low, box.high))
    return torch.clamp(action, low.to(action), high.to(action))


def as_numbers(value: Any, name: str, needed: str = "numbers are needed") -> Tensor:
    """What a loop hands over, be it a tensor, an array, a number or lists, as a tensor without gradient.

    Raises:
        ValueError: for what holds no real numbers, or has some of them masked; `needed` says what was allowed.
    """
    if isinstance(value, Tensor) and not value.is_complex():
        return value.detach()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # of lists of unequal length, say
        array = np.asarray(None)
    # one type of each kind: torch has not all of numpy's
    kept = {"b": np.bool_, "i": np.int64, "u": np.int64, "f": np.float64}
    if array.dtype.kind not in kept or np.ma.is_masked(value):
        raise ValueError(f"{name} = {value!r}: {needed}.")
    return torch.from_numpy(array.astype(kept[array.dtype.kind]))


def one_each(
    value: Any, name: str, count: int, what: str, good: Callable[[Tensor], Tensor]
) -> Tensor:
    """One number, or truth value, for each of so many trials, `[B]`; of one trial it may stand alone.

    Raises:
        ValueError: for another number of them, or where they are not `good`; `what` says what was allowed.
    """
    needed = f"{what} for each of {count} trials is needed"
    found = as_numbers(value, name, needed)
    fits = tuple(found.shape) == (count,) or (count == 1 and found.ndim == 0)
    if not fits or not bool(good(found).all()):
        raise ValueError(f"{name} = {value!r}: {needed}.")
    return found.reshape(-1)


def _size(space: Box | Discrete) -> int:
    return int(space.n) if isinstance(space, Discrete) else int(np.prod(space.shape))
