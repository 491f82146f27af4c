"""Between a policy and an environment of gymnasium: observations as rows of numbers, and actions as it takes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, Tuple
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import iterate
from gymnasium.wrappers import Autoreset
from torch import Tensor

from ..tasks.base import TaskDistribution
from ..tasks.gym_actions import Actions
from ..tasks.gym_door import Array, Observations
from .base import Policy
from .wrapped import Line, layers_of, lines_in, lines_out, space_of


class Seat:
    """What a policy must know of the environment that it plays in; with none, numbers pass as they are.

    Where one of our environments is inside, the policy acts in the units of its family and reads them, and the
    outermost box gets what the wrappers turn into that. Where none is, or the policy was trained through `GymTasks`, it
    reads and acts as there: observations as vectors (`Observations`), actions by `Actions`.

    Attributes:
        resets_itself: whether worlds begin anew by themselves, in a step of their own: members of a vector of
            `AutoresetMode.NEXT_STEP`, or one in the wrapper `Autoreset`.

    Raises:
        ValueError: if the environment's spaces are not of the policy's sizes and kind, or a wrapper changes the box of
            one of our environments in a way that cannot be followed back.
    """

    def __init__(
        self, policy: Policy, env: Any = None, through_gym: bool | None = None
    ) -> None:
        self.size, self.name = policy.observation_size, "the policy"
        self.lead: tuple[int, ...] | None = None  # of observations; None: any
        self.seen: Any = None  # spaces, of one world
        self.taken: Any = None
        self.resets_itself, self.unit = False, 1.0
        self.edge: Box | None = None  # of the innermost actions; None: not clipped
        self.acts: Actions | None = None  # None: in a family's own units, or anywhere
        self.lines_in: list[Line] = []
        self.lines_out: list[Line] = []
        if env is None:
            return
        self.name = str(env)
        if isinstance(env, VectorEnv):
            self.lead, about = (env.num_envs,), env.metadata or {}
            self.resets_itself = about.get("autoreset_mode") == AutoresetMode.NEXT_STEP
        elif isinstance(env, gymnasium.Env):
            self.lead = ()
            self.resets_itself = any(isinstance(x, Autoreset) for x in layers_of(env))
        else:
            raise ValueError(
                f"env is of type {type(env).__name__}: an environment of gymnasium is "
                "needed, single or a vector, or none."
            )
        self.all_seen = env.observation_space
        self.seen, self.taken = space_of(env, "observation"), space_of(env, "action")
        self._check(policy)
        origin = policy._through_gym if through_gym is None else through_gym
        # Where nothing is known of the policy, and choices are choices, nothing is done.
        if origin is False or (origin is None and isinstance(self.taken, Box)):
            self._find_units(layers_of(env), origin is False)

    def _find_units(self, layers: list[Any], for_family: bool) -> None:
        """Notes how the family's units become those of the outermost spaces, if a family is inside."""
        tasks = getattr(layers[-1], "tasks", None)
        if not isinstance(tasks, TaskDistribution):
            return
        if for_family:
            self.lines_out = lines_out(layers, self.name)
        if not tasks.discrete:
            self.acts, inner = None, space_of(layers[-1], "action")
            # The edge of the family's own box is its limit, if it has one.
            if math.isfinite(tasks.action_limit):
                self.edge = inner
                self.unit = tasks.action_limit / float(inner.high.flat[0])
            self.lines_in = lines_in(layers, self.name)

    def _check(self, policy: Policy) -> None:
        self.view = View(self.seen)
        self.acts = Actions(self.taken)
        mine = (policy.observation_size, policy.action_size, policy.discrete)
        theirs = self.view.size, self.acts.size, self.acts.discrete
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
        if self.seen is None or isinstance(self.seen, Box | Discrete):
            numbers, lead = self._numbers(observation)
        else:
            numbers, lead = self._vectors(observation), self.lead or ()
        rows = numbers.reshape(-1, self.size).to(device)
        for zero, slope in self.lines_out:
            inside = rows.double() - zero.reshape(-1).to(device)
            rows = inside / slope.reshape(-1).to(device)
        rows = rows.to(dtype)
        if not bool(rows.isfinite().all()):
            bad = rows[~rows.isfinite()][0].item()
            raise ValueError(f"an observation holds {bad}: finite numbers are needed.")
        return rows, lead

    def _numbers(self, observation: Any) -> tuple[Tensor, tuple[int, ...]]:
        """What a box gives, or a choice one-hot, in the shape in which it comes, and its leading dimensions."""
        numbers = as_numbers(observation, "observation")
        if isinstance(self.seen, Discrete) and not numbers.is_floating_point():
            numbers = numbers.long() - int(self.seen.start)
            inside = ((numbers >= 0) & (numbers < self.size)).all()
            if tuple(numbers.shape) != self.lead or not bool(inside):
                raise ValueError(
                    f"observation = {observation!r}: {self.name} gives integers of "
                    f"{self.seen}, in the shape {self.lead}."
                )
            numbers = torch.nn.functional.one_hot(numbers, self.size)
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
        return numbers, lead

    def _vectors(self, observation: Any) -> Tensor:
        """Observations of several choices, or of several parts, `[B, O]`: as `GymTasks` would read them."""
        try:
            worlds = list(iterate(self.all_seen, observation)) if self.lead else None
            found = [self.view.flat(one) for one in worlds or [observation]]
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f"observation = {observation!r}: {self.name} gives one of "
                f"{self.all_seen} ({error})."
            ) from None
        if self.lead and len(found) != self.lead[0]:
            raise ValueError(
                f"{len(found)} observations, but {self.name} is of {self.lead[0]}."
            )
        return torch.from_numpy(np.stack(found))

    def action(self, action: Tensor, like: Any) -> Any:
        """An action as the environment takes it, a tensor if `like`, the observation, is one, else of numpy."""
        tensor = _tensor_in(like)
        if action.is_floating_point() and action.dtype.itemsize < 4:
            # numpy has no bfloat16, and the edges of a box are float32
            as_it_is = self.taken is None and tensor is not None
            action = action if as_it_is else action.float()
        if self.acts is not None:
            lead = action.shape if self.acts.discrete else action.shape[:-1]
            flat = action.reshape(-1, *action.shape[len(lead) :]).cpu().numpy()
            points = torch.from_numpy(self.acts.each(flat))
            action = points.reshape((*lead, *self.taken.shape))
        elif isinstance(self.taken, Box):
            action = self._in_box(action.reshape(*action.shape[:-1], *self.taken.shape))
        if tensor is not None:
            return action.to(tensor.device)
        array = action.cpu().numpy()
        if isinstance(self.taken, Box):
            return array.astype(self.taken.dtype)
        return array[()]  # a number, where it is one

    def _in_box(self, action: Tensor) -> Tensor:
        """The point of the outermost box that reaches the innermost environment as this action."""
        action = action / self.unit
        if self.edge is not None:
            action = _clipped(action, self.edge)
        for zero, slope in self.lines_in:
            action = (action - zero.to(action)) / slope.to(action)
        # rounding may have led beyond it
        return action if self.edge is None else _clipped(action, self.taken)


class View:
    """The observations of a space as vectors, those of several parts one after the other, as gymnasium flattens them.

    Raises:
        ValueError: for a space whose observations do not have always as many numbers.
    """

    def __init__(self, space: Any) -> None:
        self.space, self.parts = space, dict[Any, View]()
        self.leaf: Observations | None = None
        if isinstance(space, Dict):
            self.parts = {key: View(part) for key, part in space.spaces.items()}
        elif isinstance(space, Tuple):
            self.parts = dict(enumerate(map(View, space.spaces)))
        else:
            self.leaf = Observations(space)
        self.size: int = self.leaf.size if self.leaf else self._sum()

    def _sum(self) -> int:
        return sum(part.size for part in self.parts.values())

    def flat(self, observation: Any) -> Array:
        """One observation as a vector."""
        if self.leaf is not None:
            return self.leaf.flat(observation)
        if len(observation) != len(self.parts):
            raise ValueError(f"{len(self.parts)} parts are needed")
        return np.concatenate([p.flat(observation[k]) for k, p in self.parts.items()])


def _clipped(action: Tensor, box: Box) -> Tensor:
    low, high = map(torch.from_numpy, (box.low, box.high))
    return torch.clamp(action, low.to(action), high.to(action))


def _tensor_in(observation: Any) -> Tensor | None:
    """The tensor that an observation is, or the first of its parts."""
    while isinstance(observation, dict | tuple) and observation:
        parts = observation.values() if isinstance(observation, dict) else observation
        observation = next(iter(parts))
    return observation if isinstance(observation, Tensor) else None


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
