"""Copies of an environment, and whether one of them plays as it did before, and as another one does.

The same noise gives the same episode only if a seed decides all of an environment's chance, and a reset all of its
state. That is tried once, when `GymTasks` is made. Where an environment draws from the global state of a library, each
copy is given a state of its own, so that neither the other copies nor anybody else notices.
"""

from __future__ import annotations

import inspect
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch

from .gym_door import Actions, Array, Observations, as_reset, as_step

Environment = gymnasium.Env[Any, Any]
SetTask = Callable[[Environment, dict[str, Any]], None]
REHEARSED = 50  # steps


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


@dataclass
class Copy:
    """One environment of a pool, and what its dynamics do not tell."""

    env: Environment
    ticket: int = 0  # of the state it is in
    steps: int = 0
    over: bool = True
    #: its own states of the libraries from whose global state it draws
    chance: dict[str, Any] = field(default_factory=dict)
    draws: tuple[str, ...] = ()

    def reset(self, set_task: SetTask, task: dict[str, Array], seed: int) -> Any:
        """Gives it a task and begins an episode; the first observation."""
        values = as_values(task)
        self.steps, self.over = 0, False
        with self._own_chance(seed):
            set_task(self.env, values)
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
        self.append(Copy(env, draws=self.draws))
        return self[-1]

    def draw_from(self, libraries: tuple[str, ...]) -> None:
        """From now on each copy has states of its own of these libraries."""
        self.draws = libraries
        for copy in self:
            copy.draws = libraries

    def close(self) -> None:
        """Closes them all."""
        for copy in self:
            copy.env.close()
        self.clear()


@dataclass
class Rehearsal:
    """A few steps of two copies with the same task, seed and actions, to see whether they are the same steps.

    Attributes:
        name: of the environment, for messages.
        pool: where two copies come from.
        set_task: gives an environment a task.
        task: the task, leaves as arrays.
        seen: turns observations into vectors.
        acts: turns choices into actions.
        horizon: T.
    """

    name: str
    pool: Pool
    set_task: SetTask
    task: dict[str, Array]
    seen: Observations
    acts: Actions
    horizon: int

    def run(self) -> tuple[str, ...]:
        """Refuses an environment that does not repeat itself.

        Returns:
            The libraries from whose global state it draws.

        Raises:
            ValueError: naming the first number that differs.
        """
        first, second = self.pool[0], self.pool.another()
        draws = self._draws(first)
        self.pool.draw_from(draws)
        once = list(self._played(first))
        self._compare(once, list(self._played(first)), "it was played once more")
        self._compare(
            once, list(self._played(second)), "another one of make_env was played"
        )
        beside = list(zip_longest(self._played(first), self._played(second, 1)))
        again = [one for one, _ in beside if one is not None]
        self._compare(once, again, "it was played beside another one")
        return draws

    def _draws(self, copy: Copy) -> tuple[str, ...]:
        """Plays an episode, and tells which global states it changed; they are put back."""
        before = {name: library.read() for name, library in GLOBAL.items()}
        deque(self._played(copy), maxlen=0)
        changed = [n for n, old in before.items() if not _same(old, GLOBAL[n].read())]
        for name in changed:
            GLOBAL[name].put(before[name])
        return tuple(changed)

    def _played(self, copy: Copy, seed: int = 0) -> Iterator[dict[str, Any]]:
        """What comes in, step by step, until the episode ends or something cannot be used: `rollout` will name that."""
        try:
            observation = copy.reset(self.set_task, self.task, seed)
            yield {"observation": self.seen.flat(observation).copy()}
            for t in range(min(self.horizon, REHEARSED)):
                observation, reward = copy.step(self._action(t), self.horizon)
                vector = self.seen.flat(observation).copy()
                yield {"observation": vector, "reward": reward, "end": copy.over}
                if copy.over:
                    return
        except Exception:
            return

    def _action(self, t: int) -> Any:
        """Some action, always the same one at a step."""
        if self.acts.discrete:
            return self.acts.given(np.array(t % self.acts.size))
        return self.acts.given(
            self.acts.scale * np.sin(1.0 + t + np.arange(self.acts.size))
        )

    def _compare(self, once: list[Any], again: list[Any], who: str) -> None:
        for t, (one, two) in enumerate(zip_longest(once, again)):
            if one is None or two is None:
                raise self._refusal("the number of steps", len(once), len(again), who)
            when = f"at step {t - 1}" if t else "at the reset"
            for name, value in one.items():
                place = _difference(np.asarray(value), np.asarray(two[name]))
                if place is not None:
                    a, b = (np.asarray(x)[place].item() for x in (value, two[name]))
                    where = f"[{', '.join(map(str, place))}]" if place else ""
                    raise self._refusal(f"the {name}{where} {when}", a, b, who)

    def _refusal(self, what: str, one: Any, two: Any, who: str) -> ValueError:
        return ValueError(
            f"{self.name} does not repeat itself: with the same task, seed and actions "
            f"{what} was {one} at first, and {two} when {who}. Some state outlives its "
            "reset or is shared by its copies (a running mean as in "
            "NormalizeObservation and NormalizeReward, a counter, a class attribute), "
            "or its chance does not come from the seed (the clock, default_rng()). Let "
            "reset set all of it, and draw from self.np_random; or pass "
            "repeatable=False, and the same noise will not give the same episode."
        )


def as_values(task: dict[str, Array]) -> dict[str, Any]:
    """A number for a scalar leaf, and else an array that the environment may keep."""
    return {name: v.copy() if v.ndim else v.item() for name, v in task.items()}


def check_reaches(copy: Copy, set_task: SetTask, task: dict[str, Array]) -> None:
    """Refuses a `set_task` that leaves what it sets on a wrapper, where the environment inside does not see it."""
    env, layers = copy.env, []
    while isinstance(env, gymnasium.Wrapper):
        layers.append((env, set(vars(env))))
        env = env.env
    set_task(copy.env, as_values(task))
    for wrapper, before in layers:
        for name in sorted(set(vars(wrapper)) - before):
            inside = wrapper.env.has_wrapper_attr(name)
            if inside or type(wrapper).__module__.split(".")[0] == "gymnasium":
                raise ValueError(
                    f"set_task sets {name!r} on the wrapper {type(wrapper).__name__}, "
                    "and the environment inside does not see it, so all tasks would be "
                    f"the same: set it inside, as in env.unwrapped.{name} = ..."
                )


def check_takes_seed(name: str, env: Environment) -> None:
    """Refuses an environment of the old kind, whose reset takes no seed."""
    try:
        takes = inspect.signature(env.unwrapped.reset).parameters.values()
    except ValueError:  # written in another language
        return
    if not any(p.name == "seed" or p.kind is p.VAR_KEYWORD for p in takes):
        raise ValueError(
            f"{name} takes no seed in reset: write reset(self, *, seed=None, "
            "options=None), and begin it with super().reset(seed=seed)."
        )


def _difference(one: Array, two: Array) -> tuple[int, ...] | None:
    """The first place where two arrays differ, where what is not a number equals itself."""
    if one.shape != two.shape:
        return ()
    differ = ~((one == two) | ((one != one) & (two != two)))
    return tuple(map(int, np.argwhere(differ)[0])) if differ.any() else None


def _same(one: Any, two: Any) -> bool:
    """Equality of two states of a library."""
    if isinstance(one, tuple):
        return all(map(_same, one, two))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    return bool(np.all(one == two))
