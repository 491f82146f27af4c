"""From gymnasium to here: any of its environments that has a parameter setter becomes a family of tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from ..given import check_callable, counts
from ..rng import generator
from ..types import Task
from .base import TaskDistribution, check_positive, digest
from .gym_actions import Actions
from .gym_copies import (
    Copy,
    Environment,
    Pool,
    SetTask,
    arrays,
    as_default,
    untouched,
)
from .gym_door import (
    Array,
    Observations,
    Refused,
    check_dtype,
    check_fits,
)
from .gym_rehearsal import SAMPLED, Rehearsal, check_reaches, check_takes_seed


class GymTasks(TaskDistribution):
    """Tasks that are settings of a gymnasium environment, for `rollout` with the batched policies.

    A pool holds one copy of the environment for each episode that runs at the same time (N x E of them; it
    grows as needed, and `close()` closes it). At the start of an episode the copy's parameters are set, then
    it is reset with a seed of 31 bits made from the reset noise, so the same noise gives the same episode. Copies
    that have ended are not stepped.

    When the family is made, two copies play the default task and a few sampled ones with equal seeds, and an
    environment is refused that does not repeat itself (`Rehearsal` says what that cannot find); there is a warning if
    all of these tasks play alike. What an environment gives is looked at as it comes in, and refused with its name,
    task, episode and step where it is not what gymnasium says: old ways to reset and step, an observation that has not
    the shape and the kind of numbers of its space, or is none of its choices, a reward that is no finite number.
    (Whether observations are finite is looked at in `rollout` and `trial`.) A number beyond the bounds of a box is
    taken as it is, and the first one told by a warning: many environments overstep theirs a little. In float32,
    1e9 and 1e9 + 1 are the same.

    The environment's own time limit counts as the horizon: an episode that it truncates before `horizon` has
    ended, and nothing is expected after it. Observations are flattened, and those that are choices one-hot. A box of
    actions that is not around 0, or wider in some coordinates than in others, is [-1, 1] in each of them for the
    policy; one with its sides alike has its own numbers; both are clipped (see `Actions`, which says what is done where
    there is no end, or only integers). An action that is made of several choices (MultiDiscrete, MultiBinary) is one
    choice among their combinations, in the order of `numpy.unravel_index`.

    Unlike other families this one is not pure, since the environments hold state: only the latest state can
    be stepped, and a reset ends all earlier episodes. An older state is refused.

    Args:
        make_env: makes one environment, such as `lambda: gymnasium.make("CartPole-v1")`, and each time a new one.
        set_task: `set_task(env, parameters)` gives an environment one task: by name a number, or a numpy
            array where the leaf has a shape. It is called before each reset; `env.unwrapped` is the
            environment inside its wrappers.
        sample: `sample(num_tasks, gen)` draws tasks, leaves `[N, ...]`.
        default_task: one task, leaves `[...]`; their shapes are what every task must have.
        horizon: T; by default the `max_episode_steps` with which the environment was registered.
        name: for messages.
        dtype: of observations, rewards and continuous actions: torch.float32 or torch.float64.
        repeatable: whether the environment must repeat itself; False takes one that does not.

    Raises:
        ValueError: for spaces that it does not take, or that are too large, with the wrapper that helps; a horizon that
            is neither given nor registered; an environment that is no `gymnasium.Env`, or does not repeat itself; and a
            `set_task` that does not reach it.
    """

    reset_noise_size = 2
    can_terminate = True

    def __init__(
        self,
        make_env: Callable[[], Environment],
        set_task: SetTask,
        sample: Callable[[int, torch.Generator], Task],
        default_task: Task,
        horizon: int | None = None,
        *,
        name: str = "gym",
        dtype: torch.dtype = torch.float32,
        repeatable: bool = True,
    ) -> None:
        check_dtype(dtype)
        self._make_env, self._set_task, self._sample = make_env, set_task, sample
        check_callable("", make_env=make_env)
        check_callable("env task", set_task=set_task)
        check_callable("num_tasks gen", sample=sample)
        self._default = as_default(default_task)
        self.task_shape = {
            key: tuple(leaf.shape) for key, leaf in self._default.items()
        }
        self.name, self.dtype = name, dtype
        self.check_task(self._default)
        self._ticket, self._episode = 0, -1
        self._pool = Pool(make_env)
        env = self._pool.another().env
        self._seen = Observations(getattr(env, "observation_space", None), dtype)
        self._acts = Actions(getattr(env, "action_space", None))
        if horizon is None:
            horizon = env.spec.max_episode_steps if env.spec is not None else None
            if horizon is None:
                raise ValueError(
                    f"horizon = None, and {name} has no max_episode_steps: say "
                    "horizon=200."
                )
        (self.horizon,), self.discrete = counts(horizon=horizon), self._acts.discrete
        self.observation_size, self.action_size = self._seen.size, self._acts.size
        self.action_scale = self._acts.scale
        self._rehearse(repeatable)

    def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
        check_positive(num_tasks=num_tasks)
        task = self._sample(num_tasks, gen)
        self.check_task(task, num_tasks)
        return task

    def default_task(self) -> Task:
        return {name: leaf.clone() for name, leaf in self._default.items()}

    def begin(self) -> None:
        self._episode = -1

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        """Starts an episode in a copy of its own for each leading index; earlier states are void."""
        lead = noise.shape[:-1]
        # a seed of 31 bits each, 24 from the first number and 7 from the second
        upper, lower = noise.double().reshape(-1, 2).unbind(-1)
        seeds = ((upper * 2**24).long() * 2**7 + (lower * 2**7).long()).tolist()
        leaves = arrays(
            {
                name: leaf.expand((*lead, *self.task_shape[name])).reshape(
                    -1, *self.task_shape[name]
                )
                for name, leaf in task.items()
            }
        )
        while len(self._pool) < len(seeds):
            self._pool.another()
        self._pool.batches += 1
        before = self._pool.states()
        self._ticket, self._episode = self._ticket + 1, self._episode + 1
        for copy in self._pool:
            copy.ticket = -1
        rows = np.empty((len(seeds), self.observation_size + 2))
        for i, seed in enumerate(seeds):
            copy, values = (
                self._pool[i],
                {name: leaf[i] for name, leaf in leaves.items()},
            )
            try:
                observation = copy.reset(self._set_task, values, seed)
                rows[i, :-2] = self._seen.flat(observation)
            except Refused as error:
                raise self._refusal(error, lead, i, -1) from None
            except Exception as error:
                error.add_note(f"({self.name}, {self._where(lead, i, -1)})")
                raise
            copy.ticket = self._ticket
            rows[i, -2:] = i, self._ticket
        self._pool.check_unmoved(self.name, before)
        self._seen.look(self.name, rows, self._place(lead))
        return self._state(rows, lead).to(noise.device)

    def step(
        self, task: Task, state: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Steps the copies that still run; the others stay as they are, with reward 0."""
        lead, device = state.shape[:-1], state.device
        rows = state.reshape(-1, state.shape[-1]).cpu().numpy().copy()
        actions = action.reshape(len(rows), *action.shape[len(lead) :]).cpu().numpy()
        self._ticket, before = self._ticket + 1, self._pool.states()
        rewards, ended = np.zeros(len(rows)), np.zeros(len(rows), bool)
        for i, row in enumerate(rows):
            copy = self._latest(row)
            if not copy.over:
                given, t = self._acts.given(actions[i]), copy.steps
                try:
                    observation, rewards[i] = copy.step(given, self.horizon)
                    if abs(rewards[i]) > self._seen.most:
                        check_fits("the reward", rewards[i], self.dtype)
                    row[:-2] = self._seen.flat(observation)
                except Refused as error:
                    raise self._refusal(error, lead, i, t) from None
                except Exception as error:
                    error.add_note(f"({self.name}, {self._where(lead, i, t)})")
                    raise
                row[-1] = copy.ticket = self._ticket
            ended[i] = copy.over
        self._pool.check_unmoved(self.name, before)
        self._seen.look(self.name, rows, self._place(lead))
        return (
            self._state(rows, lead).to(device),
            torch.from_numpy(rewards).to(device, self.dtype).reshape(lead),
            torch.from_numpy(ended).to(device).reshape(lead),
        )

    def observe(self, task: Task, state: Tensor) -> Tensor:
        return state[..., :-2].to(self.dtype)

    def observation_bounds(self) -> tuple[Tensor, Tensor]:
        flat = gymnasium.spaces.flatten_space(self._seen.space)
        assert isinstance(flat, gymnasium.spaces.Box)
        low, high = flat.low.astype(np.float64), flat.high.astype(np.float64)
        return torch.from_numpy(low), torch.from_numpy(high)

    def identity(self) -> dict[str, Any]:
        """As of any family; the functions that it was made with cannot be compared."""
        spaces = {
            "observations": str(self._seen.space),
            "actions": str(self._acts.space),
        }
        unknown = {"not compared": ["make_env", "set_task", "sample"]}
        return (
            super().identity() | spaces | {"default": digest(self._default)} | unknown
        )

    def close(self) -> None:
        """Closes every environment of the pool; the next reset opens new ones."""
        self._pool.close()

    def _rehearse(self, repeatable: bool) -> None:
        """Whether a task reaches the environment, and whether equal seeds give equal episodes."""
        tasks = [arrays(self._default), *(self._some() if repeatable else [])]
        check_takes_seed(self.name, self._pool[0].env)
        pool = Pool(self._make_env)
        play = Rehearsal(
            self.name, pool, self._set_task, tasks, self._seen, self._acts, self.horizon
        )
        try:
            check_reaches(pool.another(), self._set_task, tasks[0])
            if repeatable:
                play.run()
                self._pool.draw_from(pool.draws, pool.samples)
                # the first reset makes it 0
                self._pool.watch, self._pool.batches = True, -1
        finally:
            pool.close()

    def _some(self) -> list[dict[str, Array]]:
        """A few tasks to rehearse with; none where `sample` fails, which who calls it will be told."""
        try:
            with untouched():
                some = arrays(self.sample(SAMPLED, generator(0)))
        except MemoryError:
            raise
        except Exception:
            return []
        return [{n: leaf[i] for n, leaf in some.items()} for i in range(SAMPLED)]

    def _latest(self, row: Array) -> Copy:
        """The copy that is in this state; an older state is refused."""
        index, ticket = int(row[-2]), int(row[-1])
        copy = self._pool[index] if index < len(self._pool) else None
        if copy is None or copy.ticket != ticket:
            raise ValueError(
                f"state number {ticket} of copy {index} of {self.name} is not its "
                "latest; environments of gymnasium cannot go back: step what the "
                "last reset or step returned."
            )
        return copy

    def _state(self, rows: Array, lead: torch.Size) -> Tensor:
        # float64: tickets are exact
        return torch.from_numpy(rows).reshape(*lead, self.observation_size + 2)

    def _refusal(self, error: Refused, lead: torch.Size, i: int, t: int) -> ValueError:
        """What the door said, with the environment, the task, the episode and the step."""
        return ValueError(
            f"the environment {self.name} gave {error.given} to "
            f"{self._where(lead, i, t)}; {error.mend}."
        )

    def _place(self, lead: torch.Size) -> Callable[[int], str]:
        """Where each copy is, of the episodes that run now."""
        return lambda i: self._where(lead, i, self._pool[i].steps - 1)

    def _where(self, lead: torch.Size, i: int, t: int) -> str:
        """Task, episode and step of a row; a reset comes before step 0."""
        place = [int(k) for k in np.unravel_index(i, tuple(lead))] if lead else [0]
        episode = place[1] if len(place) > 1 else self._episode
        when = f"at step {t}" if t >= 0 else "at its reset, before step 0"
        return f"task {place[0]} in episode {episode} {when}"
