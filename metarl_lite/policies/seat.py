"""Between a policy and an environment of gymnasium: observations as rows of numbers, and actions as it takes them."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor

from ..tasks.base import TaskDistribution
from .base import Policy


class Seat:
    """What a policy must know of the environment that it plays in; with none, numbers pass as they are.

    Attributes:
        resets_itself: whether members begin anew by themselves, in a step of their own (`AutoresetMode.NEXT_STEP`).

    Raises:
        ValueError: if the environment's spaces are not of the policy's sizes and kind.
    """

    def __init__(self, policy: Policy, env: Any = None) -> None:
        self.size, self.name = policy.observation_size, "the policy"
        self.lead: tuple[int, ...] | None = None  # of observations; None: any
        self.seen: Any = None  # spaces, of one world
        self.taken: Any = None
        self.resets_itself, self.unit, self.clips = False, 1.0, True
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
        else:
            raise ValueError(
                f"env is of type {type(env).__name__}: an environment of gymnasium is "
                "needed, single or a vector, or none."
            )
        self._check(policy)
        first = getattr(env.unwrapped, "envs", [env])[0].unwrapped
        tasks = getattr(first, "tasks", None)
        if isinstance(tasks, TaskDistribution) and isinstance(self.taken, Box):
            # The edge of the box is the family's limit, if it has one.
            self.clips = math.isfinite(tasks.action_limit)
            if self.clips:
                self.unit = tasks.action_limit / float(self.taken.high.flat[0])

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
            ValueError: for another size, or a number that is not finite.
        """
        numbers = _as_tensor(observation).to(device)
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
        if tuple(numbers.shape) != (*lead, *shape) or len(lead) > 1:
            batch = "[B, {}] of them" if self.lead is None else "nothing else"
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
        if isinstance(self.taken, Box):
            action = action.reshape(*action.shape[:-1], *self.taken.shape) / self.unit
            if self.clips:
                low, high = map(torch.from_numpy, (self.taken.low, self.taken.high))
                action = torch.clamp(action, low.to(action), high.to(action))
        if isinstance(like, Tensor):
            return action.to(like.device)
        array = action.cpu().numpy()
        if isinstance(self.taken, Box):
            array = array.astype(self.taken.dtype)
        return array[()]  # a number, where it is one


def _as_tensor(observation: Any) -> Tensor:
    """A tensor of what is seen, be it one already, an array, or numbers."""
    if isinstance(observation, Tensor):
        return observation
    array = np.asarray(observation)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"observation = {observation!r}: numbers are needed.")
    return torch.tensor(array)


def _size(space: Box | Discrete) -> int:
    return int(space.n) if isinstance(space, Discrete) else int(np.prod(space.shape))
