"""From here to gymnasium, one by one: a family's task as a `gymnasium.Env` on the same pure step.

Ends: `terminated` where the dynamics end an episode, `truncated` at the horizon, as gymnasium's users expect.
The horizon belongs to the objective, though: an algorithm that estimates values should not bootstrap at it.

Handshake: `env.spec.max_episode_steps` is the horizon, which wrappers such as `TimeAwareObservation` ask for. The
registered ids say it among their `kwargs`: a `max_episode_steps` there would wrap a second limit around an environment
with another `horizon`. `gymnasium.make(id, max_episode_steps=...)` shortens episodes; `horizon=...` lengthens them too.
(Of more steps than the horizon an environment is not told: its specification keeps the horizon, with a warning.)

Actions: integers, or a box of plus and minus the family's `action_limit`. Where that exceeds 1 the box is
[-1, 1], as gymnasium asks, and 1 means the limit (the pendulum's 2 N m). Beyond the box the dynamics clip.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor

from ..given import integer
from ..types import Task
from .base import TaskDistribution, check_kind
from .door import admit, ends_in_spite
from .families import make_tasks
from .gym_door import check_dtype, check_unmasked
from .gym_handshake import NO_RENDER_MODE, Handshake
from .gym_rendering import Trace, picture
from .gym_tasks import GymTasks
from .promises import check_members

Array = NDArray[Any]


class TaskEnv(Handshake, gymnasium.Env[Array, Any]):
    """One task of a family as a gymnasium environment; the task changes only when it is told to.

    `reset(options={"task": ...})` changes the task, a plain `reset(seed=...)` never does. All the chance of
    an episode is drawn from `np_random` when it begins. `env.unwrapped.task` is the task, and may be set;
    observations, infos and pictures hide it.

    Args:
        tasks: a family, or its name.
        task: leaves without a leading dimension; the family's default task unless given.
        render_mode: "rgb_array" lets `render()` give pictures (see rendering.py); None does not.
        options: arguments of the family, where it is given by name.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(
        self,
        tasks: TaskDistribution | str,
        task: Task | None = None,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        self.tasks = as_family(tasks, options)
        self.task = self.tasks.default_task() if task is None else task
        self.tasks, self.limit = admit(self.tasks, self.task, ()), self.tasks.horizon
        self.render_as(render_mode)
        self.observation_space, self.action_space = spaces(self.tasks)
        self._state: Tensor | None = None
        self._trace = Trace()

    @property
    def task(self) -> Task:
        """The task, leaves without a leading dimension; setting it checks and copies it."""
        return self._task

    @task.setter
    def task(self, task: Any) -> None:
        self._task = as_task(self.tasks, task)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Starts an episode of the same task, or of `options["task"]`."""
        super().reset(seed=as_seed(seed))
        given = as_options(options, {"task"})
        if "task" in given:
            self.task = given["task"]
        first, self._noise = episode_noise(self.tasks, self.np_random)
        self._state, self._steps = self.tasks.reset(self.task, first), 0
        observation = as_array(self.tasks.observe(self.task, self._state))
        finite(self.tasks, "observation", observation)
        self._trace = Trace([self._state], [observation])
        return observation, {}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """One step of the family's dynamics; gymnasium's five values."""
        if self._state is None:
            raise gymnasium.error.ResetNeeded(
                "no episode is running: call reset() first, and after an end."
            )
        move = as_action(self.tasks, action, ())
        state, reward, ended = self.tasks.step(
            self.task, self._state, move, self._noise[self._steps]
        )
        terminated = bool(ended)
        if terminated and not self.tasks.can_terminate:
            raise ValueError(ends_in_spite(self.tasks, f"at step {self._steps}"))
        self._steps += 1
        truncated = self._steps >= self.limit
        self._state = None if terminated or truncated else state
        observation, paid = (
            as_array(self.tasks.observe(self.task, state)),
            float(reward),
        )
        finite(self.tasks, "observation", observation)
        finite(self.tasks, "reward", paid)
        if self.render_mode is not None:
            self._trace.add(state, observation, move, paid)
        return observation, paid, terminated, truncated, {}

    def render(self) -> Any:
        """The episode so far as a picture, `[304, 256, 3]`; None, with a warning, if no render_mode was given."""
        if self.render_mode is None:
            gymnasium.logger.warn(NO_RENDER_MODE)
            return None
        if not self._trace.states:
            raise gymnasium.error.ResetNeeded("there is no episode yet: call reset().")
        return picture(self.tasks, self._trace)


def as_family(
    tasks: TaskDistribution | str, options: dict[str, Any]
) -> TaskDistribution:
    """A family, given as it is or by its name and arguments."""
    if isinstance(tasks, str):
        tasks, options = make_tasks(tasks, **options), {}
    if isinstance(tasks, type):
        check_kind(TaskDistribution, tasks=tasks)
    if not isinstance(tasks, TaskDistribution):
        raise ValueError(
            f"tasks = {tasks!r}: a family is needed, or its name, such as 'point-goal'."
        )
    check_members(tasks)
    check_dtype(tasks.dtype, f"{type(tasks).__name__}.dtype")
    if options:
        raise ValueError(
            f"the options {sorted(options)} belong to the family, which is given "
            "already: pass them when you make it, or give its name."
        )
    if isinstance(tasks, GymTasks):
        raise ValueError(
            f"{tasks.name} is made of gymnasium environments already; use those."
        )
    return tasks


def spaces(
    tasks: TaskDistribution,
) -> tuple[gymnasium.Space[Array], gymnasium.Space[Any]]:
    """The spaces of observations and actions; the least boxes that hold what the family can show and use."""
    low, high = (
        bound.numpy().astype(np.float32) for bound in tasks.observation_bounds()
    )
    shape = (tasks.observation_size,)
    if not (low.shape == high.shape == shape and bool((low <= high).all())):
        raise ValueError(
            f"{type(tasks).__name__}.observation_bounds gives bounds of shapes "
            f"{low.shape} and {high.shape}: two tensors of shape {shape} are needed, "
            "the first nowhere greater than the second."
        )
    observations: gymnasium.Space[Any] = Box(low, high, dtype=np.float32)
    if tasks.discrete:
        return observations, Discrete(tasks.action_size)
    limit = min(tasks.action_limit, 1.0)
    return observations, Box(-limit, limit, (tasks.action_size,), np.float32)


def as_task(tasks: TaskDistribution, task: Any, num_tasks: int | None = None) -> Task:
    """Checks a task, whose leaves may be tensors, arrays or numbers, and copies it: nobody changes it."""
    if isinstance(task, dict):
        for name, leaf in task.items():
            check_unmasked(leaf, f"task[{name!r}]")
        leaves = {
            name: torch.as_tensor(leaf).detach().clone() for name, leaf in task.items()
        }
        task = {
            n: leaf.to(tasks.dtype) if leaf.is_floating_point() else leaf
            for n, leaf in leaves.items()
        }
    tasks.check_task(task, num_tasks)
    return dict(task)


def as_action(
    tasks: TaskDistribution,
    action: Any,
    lead: tuple[int, ...],
    ignore: Array | None = None,
) -> Tensor:
    """Checks an action, or one of each member that is not ignored, and brings it to the dynamics' units."""
    if isinstance(action, np.ma.MaskedArray):
        check_unmasked(action, "an action")
    array = np.asarray(action)
    shape = lead if tasks.discrete else (*lead, tasks.action_size)
    good = array.shape == shape and array.dtype.kind in (
        "iu" if tasks.discrete else "iuf"
    )
    if good:
        inside = (
            (array >= 0) & (array < tasks.action_size)
            if tasks.discrete
            else np.isfinite(array).all(-1)
        )
        good = bool(np.all(inside if ignore is None else inside | ignore))
    if not good:
        what = (
            f"integers 0 ... {tasks.action_size - 1}"
            if tasks.discrete
            else "finite numbers"
        )
        raise ValueError(
            f"action = {action!r}: {tasks.name} needs an array of shape {shape} of "
            f"{what}; env.action_space.sample() gives one."
        )
    if tasks.discrete:
        return torch.as_tensor(
            np.clip(array, 0, tasks.action_size - 1).astype(np.int64)
        )
    unit = max(tasks.action_limit, 1.0) if math.isfinite(tasks.action_limit) else 1.0
    return (
        torch.from_numpy(np.nan_to_num(array.astype(np.float64))).to(tasks.dtype) * unit
    )


def episode_noise(
    tasks: TaskDistribution, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """The chance of one episode: of its reset `[R]` and of its steps `[T, Z]`, uniform in [0, 1)."""
    # Drawn in the family's own type: a float64 next to 1 would become 1 in float32.
    kind = np.float32 if tasks.dtype == torch.float32 else np.float64
    first = torch.from_numpy(rng.random(tasks.reset_noise_size, dtype=kind))
    steps = torch.from_numpy(rng.random((tasks.horizon, tasks.noise_size), dtype=kind))
    return first.to(tasks.dtype), steps.to(tasks.dtype)


def as_seed(seed: Any) -> int | None:
    """A seed as gymnasium takes it: a non-negative integer of Python's own, or None."""
    plain = integer(seed)
    if seed is not None and (plain is None or plain < 0):
        raise ValueError(
            f"seed = {seed!r}: a non-negative integer is needed, such as seed=0."
        )
    return plain


def as_options(options: dict[str, Any] | None, known: set[str]) -> dict[str, Any]:
    """The options of a reset, none of them unknown."""
    if not isinstance(options, Mapping | None):
        raise ValueError(
            f"options = {options!r}: a dict is needed, such as "
            "options={'task': env.unwrapped.task}, or None."
        )
    if options is not None and not set(options) <= known:
        raise ValueError(
            f"options has the keys {sorted(options, key=str)}; reset knows "
            f"{sorted(known)}."
        )
    return dict(options or {})


def as_array(observation: Tensor) -> Array:
    """A copy in float32: nobody else writes into it."""
    return observation.detach().cpu().numpy().astype(np.float32, copy=True)


def finite(tasks: TaskDistribution, what: str, numbers: Array | float) -> None:
    """Refuses what a family gives and is not finite."""
    if not np.isfinite(numbers).all():
        raise ValueError(
            f"the family {tasks.name} gave the {what} {np.asarray(numbers).tolist()}: "
            "its numbers must be finite. Look at its step and observe functions with "
            "this task and action."
        )
