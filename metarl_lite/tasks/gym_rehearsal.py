"""Whether a task reaches an environment, and whether it plays as it did before, and as another copy of it does."""

from __future__ import annotations

import inspect
import pickle
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import gymnasium
import numpy as np
import torch

from .gym_copies import (
    GLOBAL,
    Copy,
    Environment,
    Pool,
    SetTask,
    as_values,
    spaces_of,
    untouched,
)
from .gym_door import Actions, Array, Observations

REHEARSED = 50  # steps
UNUSUAL = 3_735_928_559  # more than the 31 bits of an environment's seed
FAILED: dict[str, Any] = {}  # in place of a step


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

    def run(self) -> None:
        """Refuses an environment that does not repeat itself; the pool knows afterwards from what it draws.

        Raises:
            ValueError: naming the first number that differs.
        """
        first, second = self.pool[0], self.pool.another()
        spaces = _written(first)
        with untouched():
            # States that no seed of an environment makes: who seeds a library and draws
            # nothing from it would go unnoticed where it has been seeded alike before.
            for library in GLOBAL.values():
                library.sow(UNUSUAL)
            before = {name: library.read() for name, library in GLOBAL.items()}
            deque(self._played(first), maxlen=0)
            draws = tuple(n for n in GLOBAL if not _same(before[n], GLOBAL[n].read()))
        self.pool.draw_from(draws, spaces != _written(first))
        once = list(self._played(first))
        self._compare(once, list(self._played(first)), "it was played once more")
        self._compare(
            once, list(self._played(second)), "another one of make_env was played"
        )
        beside = list(zip_longest(self._played(first), self._played(second, 1)))
        again = [one for one, _ in beside if one is not None]
        self._compare(once, again, "it was played beside another one")

    def _played(self, copy: Copy, seed: int = 0) -> Iterator[dict[str, Any]]:
        """What comes in, step by step, until the episode ends, or something fails: `rollout` will name that."""
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
            yield FAILED

    def _action(self, t: int) -> Any:
        """Some action, always the same one at a step."""
        if self.acts.discrete:
            return self.acts.given(np.array(t % self.acts.size))
        return self.acts.given(
            self.acts.scale * np.sin(1.0 + t + np.arange(self.acts.size))
        )

    def _compare(self, once: list[Any], again: list[Any], who: str) -> None:
        for t, (one, two) in enumerate(zip_longest(once, again)):
            if one == FAILED or two == FAILED:
                return
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


def check_reaches(copy: Copy, set_task: SetTask, task: dict[str, Array]) -> None:
    """Refuses a `set_task` that leaves what it sets on a wrapper, where the environment inside does not see it."""
    env, layers = copy.env, []
    while isinstance(env, gymnasium.Wrapper):
        layers.append((env, set(vars(env))))
        env = env.env
    with untouched():
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


def _written(copy: Copy) -> bytes:
    """The spaces of a copy with the states of their chance; what cannot be written counts as never sampled."""
    try:
        return pickle.dumps(spaces_of(copy.env))
    except Exception:
        return b""


def _same(one: Any, two: Any) -> bool:
    """Equality of two states of a library."""
    if isinstance(one, tuple):
        return all(map(_same, one, two))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    return bool(np.all(one == two))
