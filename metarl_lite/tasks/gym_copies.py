"""Copies of an environment, and whether one of them plays as it did before, and as another one does.

The same noise gives the same episode only if a seed decides all of an environment's chance, and a reset all of its
state. That is tried once, when `GymTasks` is made. Where an environment draws from the global state of a library, or
samples from its spaces, each copy is given a state of its own, which the seed decides too, so that neither the other
copies nor anybody else notices.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch

from ..types import Task
from .gym_door import Array, as_reset, as_step, plain

Environment = gymnasium.Env[Any, Any]
SetTask = Callable[[Environment, dict[str, Any]], None]


class Library(NamedTuple):
    """A global source of chance: how its state is read, put back, and made from a seed."""

    read: Callable[[], Any]
    put: Callable[[Any], Any]
    sow: Callable[[int], Any]


GLOBAL = {
    "numpy": Library(np.random.get_state, np.random.set_state, np.random.seed),
    "random": Library(random.getstate, random.setstate, random.seed),
    "torch": Library(
        torch.get_rng_state,
        torch.set_rng_state,
        torch.default_generator.manual_seed,
    ),
}


WATCHED = 16  # of so many batches of episodes one is watched, the first included

SPACES = ("observation_space", "action_space")


@dataclass
class Copy:
    """One environment of a pool, and what its dynamics do not tell."""

    env: Environment
    ticket: int = 0  # of the state it is in
    steps: int = 0
    over: bool = True
    #: the libraries from whose global state it draws, and its own states of them
    draws: tuple[str, ...] = ()
    chance: dict[str, Any] = field(default_factory=dict)
    samples: bool = False  # from its spaces

    def reset(self, set_task: SetTask, task: dict[str, Array], seed: int) -> Any:
        """Gives it a task and begins an episode; the first observation."""
        values = as_values(task)
        self.steps, self.over = 0, False
        if self.samples:
            for space in spaces_of(self.env).values():
                space.seed(seed)
        with self._own_chance(seed):
            give(set_task, self.env, values)
            result = self.env.reset(seed=seed)
        return as_reset(result)

    def step(self, action: Any, horizon: int) -> tuple[Any, float]:
        """Observation and reward; `over` says whether the episode is over, which at the horizon is for the dynamics."""
        with self._own_chance():
            result = self.env.step(action)
        observation, reward, terminated, truncated = as_step(result)
        self.steps += 1
        # At the horizon the episode is over anyway.
        self.over = terminated or (truncated and self.steps < horizon)
        return observation, reward

    @contextmanager
    def _own_chance(self, seed: int | None = None) -> Iterator[None]:
        """The libraries' global states are this copy's own meanwhile, and afterwards what they were."""
        outside = {name: GLOBAL[name].read() for name in self.draws}
        for name in self.draws:
            library = GLOBAL[name]
            library.put(self.chance[name]) if seed is None else library.sow(seed)
        try:
            yield
        finally:
            self.chance = {name: GLOBAL[name].read() for name in self.draws}
            for name, state in outside.items():
                GLOBAL[name].put(state)


class Pool(list[Copy]):
    """Copies of one environment, each of them another object.

    Args:
        make_env: makes one.
    """

    def __init__(self, make_env: Callable[[], Environment]) -> None:
        super().__init__()
        self.make_env, self.draws = make_env, tuple[str, ...]()
        self.samples, self.watch, self.batches = False, False, 0

    def another(self) -> Copy:
        """One more."""
        env = self.make_env()
        if not isinstance(env, gymnasium.Env):
            raise ValueError(
                f"make_env gives {env!r}, of type {type(env).__name__}: one "
                "gymnasium.Env is needed. One of the old gym package can be wrapped "
                "with shimmy."
            )
        # Its neighbours tell: what comes again comes soon.
        if any(copy.env.unwrapped is env.unwrapped for copy in (*self[:4], *self[-4:])):
            raise ValueError(
                "make_env gives the same environment each time, and each episode needs "
                "one of its own: make it inside, as in lambda: gymnasium.make(id)."
            )
        self.append(Copy(env))
        self.draw_from(self.draws, self.samples)
        return self[-1]

    def draw_from(self, libraries: tuple[str, ...], samples: bool) -> None:
        """From now on each copy has states of its own of these libraries, and spaces of its own to sample from."""
        self.draws, self.samples = libraries, samples
        for copy in self:
            copy.draws = libraries
            if samples and not copy.samples:
                copy.samples = True
                for name, space in spaces_of(copy.env).items():
                    setattr(copy.env.unwrapped, name, deepcopy(space))

    def states(self) -> dict[str, Any]:
        """Of the libraries from which no copy is known to draw, where this batch is watched: that takes half a ms."""
        if not self.watch or self.batches % WATCHED:
            return {}
        return {n: GLOBAL[n].read() for n in GLOBAL if n not in self.draws}

    def check_unmoved(self, name: str, before: dict[str, Any]) -> None:
        """Refuses an environment that has drawn from a library although it did not when it was tried."""
        moved = [n for n, state in before.items() if not same(state, GLOBAL[n].read())]
        if moved:
            raise ValueError(
                f"{name} draws from the global state of {' and '.join(moved)}, and did "
                "not when it was tried with the default task and a few others: the "
                "same noise would not give the same episode. Draw from self.np_random; "
                "or give a default_task with which it draws at once; or pass "
                "repeatable=False."
            )

    def close(self) -> None:
        """Closes them all."""
        for copy in self:
            copy.env.close()
        self.clear()


@contextmanager
def untouched() -> Iterator[None]:
    """Whatever happens inside, the global states are afterwards what they were."""
    before = {name: library.read() for name, library in GLOBAL.items()}
    try:
        yield
    finally:
        for name, state in before.items():
            GLOBAL[name].put(state)


def give(set_task: SetTask, env: Environment, values: dict[str, Any]) -> None:
    """Sets a task; refuses a `set_task` that returns another environment, which nobody would step."""
    made: Any = set_task(env, values)  # type: ignore[func-returns-value]
    if not isinstance(made, gymnasium.Env):
        return
    inside: Any = env
    while made is not inside and isinstance(inside, gymnasium.Wrapper):
        inside = inside.env
    if made is not inside:
        raise ValueError(
            f"set_task returns another environment, {made}, and what it returns is not "
            "used: change the one that it is given, as in env.unwrapped.goal = "
            "task['goal'], and wrap it in make_env."
        )


def spaces_of(env: Environment) -> dict[str, Any]:
    """The spaces of the environment inside its wrappers, by name."""
    inside = env.unwrapped
    return {name: getattr(inside, name) for name in SPACES if hasattr(inside, name)}


def as_values(task: dict[str, Array]) -> dict[str, Any]:
    """A number for a scalar leaf, and else an array that the environment may keep."""
    return {name: v.copy() if v.ndim else v.item() for name, v in task.items()}


def as_default(task: Any) -> Task:
    """A default task with tensors as leaves; refuses what is none."""
    try:
        return {
            name: torch.as_tensor(leaf).detach().clone() for name, leaf in task.items()
        }
    except (AttributeError, TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"default_task = {task!r}: a dict of tensors or numbers is needed, such as "
            "{'length': torch.tensor(0.5)}."
        ) from None


def arrays(task: Task) -> dict[str, Array]:
    """The leaves of a task, or of many, as arrays."""
    return {name: plain(leaf).numpy() for name, leaf in task.items()}


def same(one: Any, two: Any) -> bool:
    """Equality of two states of a library."""
    if isinstance(one, tuple):
        return all(map(same, one, two))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    return bool(np.all(one == two)) if isinstance(one, np.ndarray) else one == two
