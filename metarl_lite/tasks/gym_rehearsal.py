"""Whether a task reaches an environment, and whether it plays as it did before, and as another copy of it does."""

from __future__ import annotations

import inspect
import pickle
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import gymnasium
import numpy as np

from .gym_actions import Actions
from .gym_copies import (
    GLOBAL,
    Copy,
    Environment,
    Pool,
    SetTask,
    as_values,
    give,
    same,
    spaces_of,
    untouched,
)
from .gym_door import Array, Observations

REHEARSED = 50  # steps of the first task, whatever they cost
SAMPLED = 3  # tasks besides it
KEPT = 2**22  # numbers of observations of an episode
PATIENCE = 0.05  # seconds for a task; it is played six times
UNUSUAL = 3_735_928_559  # more than the 31 bits of an environment's seed
FAILED: dict[str, Any] = {}  # in place of a step


@dataclass
class Rehearsal:
    """Episodes of two copies with the same tasks, seed and actions, to see whether they are the same episodes.

    They go to the horizon where that is cheap: about a second for all of them, but at least `REHEARSED` steps of the
    first task. Not found is what needs another task, other actions or more steps than are played here: chance that
    begins only where a goal is reached, say. If it comes from a library, `Pool.check_unmoved` finds it as it is played.

    Attributes:
        name: of the environment, for messages.
        pool: where two copies come from.
        set_task: gives an environment a task.
        tasks: the default task and a few others, leaves as arrays.
        seen: turns observations into vectors.
        acts: turns choices into actions.
        horizon: T.
    """

    name: str
    pool: Pool
    set_task: SetTask
    tasks: list[dict[str, Array]]
    seen: Observations
    acts: Actions
    horizon: int

    def run(self) -> None:
        """Refuses an environment that does not repeat itself; the pool knows afterwards from what it draws.

        Raises:
            ValueError: naming the first number that differs; or if there is no memory for it.
        """
        least = 5 * (min(REHEARSED, self.horizon) + 1)  # of the first task's plays
        self.seen.check_room(least, f"to try {self.name}, with observations")
        first, second = self.pool[0], self.pool.another()
        spaces = _written(first)
        with untouched():
            # States that no seed of an environment makes: who seeds a library and draws
            # nothing from it would go unnoticed where it has been seeded alike before.
            for library in GLOBAL.values():
                library.sow(UNUSUAL)
            before = {name: library.read() for name, library in GLOBAL.items()}
            steps = [self._affordable(first, k) for k in range(len(self.tasks))]
            draws = tuple(n for n in GLOBAL if not same(before[n], GLOBAL[n].read()))
        self.pool.draw_from(draws, spaces != _written(first))
        once = [self._repeated(first, second, k, most) for k, most in enumerate(steps)]
        others = [  # that differ, and go far enough for it to show
            k
            for k, most in enumerate(steps)
            if self._differs(k) and most >= min(REHEARSED, self.horizon)
        ]
        if others and all(_alike(once[0], once[k]) for k in others):
            self._warn(len(others) + 1, len(once[0]) - 1)

    def _repeated(self, first: Copy, second: Copy, k: int, most: int) -> list[Any]:
        """A play of a task, which is the same once more, by another copy, and beside another task's."""
        once = list(self._played(first, k, most))
        again = list(self._played(first, k, most))
        self._compare(once, again, "it was played once more")
        other = list(self._played(second, k, most))
        self._compare(once, other, "another one of make_env was played")
        neighbour = self._played(second, (k + 1) % len(self.tasks), most, seed=1)
        beside = list(zip_longest(self._played(first, k, most), neighbour))
        again = [one for one, _ in beside if one is not None]
        self._compare(once, again, "it was played beside another one")
        return once

    def _differs(self, k: int) -> bool:
        """Whether a task is another one than the first."""
        one, two = self.tasks[0], self.tasks[k]
        return any(not np.array_equal(one[name], two[name]) for name in one)

    def _affordable(self, copy: Copy, k: int) -> int:
        """How many steps of a task there is time for."""
        most = min(self.horizon, max(REHEARSED, KEPT // self.seen.size))
        since = time.perf_counter()
        for steps, _ in enumerate(self._played(copy, k, most)):
            late = time.perf_counter() - since > PATIENCE
            if late and (k or steps >= REHEARSED):
                return steps
        return most

    def _played(
        self, copy: Copy, k: int, most: int, seed: int = 0
    ) -> Iterator[dict[str, Any]]:
        """What comes in, step by step, until the episode ends, or something fails: `rollout` will name that."""
        chance = np.random.default_rng(0)  # the same actions each time
        try:
            observation = copy.reset(self.set_task, self.tasks[k], seed)
            yield {"observation": self.seen.flat(observation).copy()}
            for _ in range(most):
                observation, reward = copy.step(self._action(chance), self.horizon)
                vector = self.seen.flat(observation).copy()
                yield {"observation": vector, "reward": reward, "end": copy.over}
                if copy.over:
                    return
        except MemoryError:
            raise
        except Exception:
            yield FAILED

    def _action(self, chance: np.random.Generator) -> Any:
        if self.acts.discrete:
            return self.acts.given(chance.integers(self.acts.size, size=()))
        return self.acts.given(self.acts.scale * chance.normal(size=self.acts.size))

    def _warn(self, tasks: int, steps: int) -> None:
        warnings.warn(
            f"{self.name} plays {tasks} different tasks alike, to the bit, "
            f"for {steps} steps with the same seed and actions: does set_task set what "
            "the environment reads, as in env.unwrapped.goal = ...? See the spelling. "
            "If a task shows only later, as where a goal is reached, all is well.",
            stacklevel=5,
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
        give(set_task, copy.env, as_values(task))
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


def _alike(one: list[Any], two: list[Any]) -> bool:
    """Whether two plays are the same as far as both go; one in which something fails is like none."""
    return all(
        len(a) == len(b) > 0
        and all(_difference(np.asarray(a[n]), np.asarray(b[n])) is None for n in a)
        for a, b in zip(one, two, strict=False)
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
    except MemoryError:
        raise
    except Exception:
        return b""
