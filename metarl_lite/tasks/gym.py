"""From here to gymnasium, many at once: a `VectorEnv` on the pure step; and the registered ids.

Importing the package registers an id for each family: `metarl_lite/BernoulliBandit-v0`,
`DependentBandit-v0`, `ElevenArms-v0`, `TwoStep-v0`, `TabularMDP-v0`, `PointGoal-v0`, `GridGoal-v0`, `CartPole-v0` and
`Pendulum-v0`. Keywords that `gymnasium.make` and
`gymnasium.make_vec` do not know are arguments of the family:

    gymnasium.make("metarl_lite/GridGoal-v0", size=7, task={"goal": [6, 3]})

What `terminated`, `truncated` and the action spaces mean is said in gym_env.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from ..given import counts, integer
from ..types import Task
from .base import TaskDistribution
from .families import FAMILIES
from .gym_env import (
    Array,
    TaskEnv,
    as_action,
    as_array,
    as_family,
    as_options,
    as_seed,
    as_task,
    episode_noise,
    refuse_rendering,
    spaces,
)
from .gym_tasks import GymTasks

__all__ = ["GymTasks", "TaskEnv", "TaskVectorEnv", "make_vec", "register"]

NAMESPACE = "metarl_lite"


class TaskVectorEnv(VectorEnv[Array, Any, Array]):
    """Many environments of a family that move as one batch of tensors, each on a task of its own.

    A member that has ended is reset by the next step (`AutoresetMode.NEXT_STEP`): that step returns the first
    observation of its new episode and reward 0, and ignores its action. The others go on meanwhile. Member i
    of an environment reset with `seed` sees the episodes of a `TaskEnv` reset with `seed + i`.

    `reset(options={"task": ...})` changes the tasks, and `"reset_mask"`, a boolean array `[num_envs]`,
    restricts a reset to some members; the others keep state and task.

    Args:
        tasks: a family, or its name.
        num_envs: members.
        task: a batch, leaves `[num_envs, ...]`, or one task for all of them; the default task unless given.
        render_mode: None; these environments do not render.
        options: arguments of the family, where it is given by name.
    """

    metadata = {  # noqa: RUF012
        "render_modes": [],
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        tasks: TaskDistribution | str,
        num_envs: int = 1,
        task: Task | None = None,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        refuse_rendering(render_mode)
        (num_envs,) = counts(num_envs=num_envs)
        self.num_envs, self.tasks = num_envs, as_family(tasks, options)
        self.task = self._as_batch(self.tasks.default_task() if task is None else task)
        self.single_observation_space, self.single_action_space = spaces(self.tasks)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rngs: list[np.random.Generator] = []
        self._state: Tensor | None = None
        self._first = torch.zeros(
            num_envs, self.tasks.reset_noise_size, dtype=self.tasks.dtype
        )
        self._noise = torch.zeros(
            num_envs, self.tasks.horizon, self.tasks.noise_size, dtype=self.tasks.dtype
        )
        self._steps = torch.zeros(num_envs, dtype=torch.long)
        self._over = torch.zeros(num_envs, dtype=torch.bool)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Array, dict[str, Any]]:
        """Starts new episodes of all members, or of those of `options["reset_mask"]`."""
        given = as_options(options, {"task", "reset_mask"})
        mask = self._as_mask(given.get("reset_mask"))
        if self._state is None and not bool(mask.all()):
            raise gymnasium.error.ResetNeeded(
                "the first reset concerns all members: leave reset_mask out."
            )
        seeds = self._as_seeds(seed)
        if "task" in given:
            fresh = self._as_batch(given["task"])
            self.task = {
                name: _where(mask, fresh[name], leaf)
                for name, leaf in self.task.items()
            }
        if not self._rngs:
            self._rngs = [seeding.np_random(one)[0] for one in seeds]
        for i in mask.nonzero()[:, 0].tolist():
            if seeds[i] is not None:
                self._rngs[i] = seeding.np_random(seeds[i])[0]
        self._start(mask)
        return self._observe(), {}

    def step(self, actions: Any) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """One step of every member, or its reset where it has ended."""
        if self._state is None:
            raise gymnasium.error.ResetNeeded(
                "no episode is running: call reset() first."
            )
        resting = self._over
        moves = as_action(self.tasks, actions, (self.num_envs,), ignore=resting.numpy())
        now = self._steps.clamp(max=self.tasks.horizon - 1)
        noise = self._noise[torch.arange(self.num_envs), now]
        after, reward, ended = self.tasks.step(self.task, self._state, moves, noise)
        # of the resting ones too, for the moment: _start replaces it
        self._state = after
        self._steps = self._steps + 1
        terminated = ended & ~resting
        truncated = (self._steps >= self.tasks.horizon) & ~resting
        reward = reward.double().masked_fill(resting, 0.0)
        if bool(resting.any()):
            self._start(resting)
        self._over = terminated | truncated
        return (
            self._observe(),
            reward.numpy(),
            terminated.numpy(),
            truncated.numpy(),
            {},
        )

    def _start(self, mask: Tensor) -> None:
        """Begins new episodes of the masked members; nothing of the others is touched."""
        for i in mask.nonzero()[:, 0].tolist():
            self._first[i], self._noise[i] = episode_noise(self.tasks, self._rngs[i])
        state = self.tasks.reset(self.task, self._first)
        self._state = state if self._state is None else _where(mask, state, self._state)
        self._steps = self._steps.masked_fill(mask, 0)
        self._over = self._over & ~mask

    def _observe(self) -> Array:
        assert self._state is not None
        return as_array(self.tasks.observe(self.task, self._state))

    def _as_batch(self, task: Any) -> Task:
        """A task for each member, be it one for all or a batch."""
        shapes = self.tasks.task_shape
        if isinstance(task, dict) and set(task) == set(shapes):
            leaves = {name: torch.as_tensor(leaf) for name, leaf in task.items()}
            if all(tuple(leaf.shape) == shapes[name] for name, leaf in leaves.items()):
                task = {
                    name: leaf.expand(self.num_envs, *leaf.shape)
                    for name, leaf in leaves.items()
                }
        return as_task(self.tasks, task, self.num_envs)

    def _as_seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        one = integer(seed)
        if one is not None:
            return [as_seed(one + i) for i in range(self.num_envs)]
        if np.ndim(seed) != 1 or len(seed) != self.num_envs:  # type: ignore[arg-type]
            raise ValueError(
                f"seed = {seed!r}: one integer, or one for each of {self.num_envs} "
                "members."
            )
        return [as_seed(each) for each in seed]  # type: ignore[union-attr]

    def _as_mask(self, mask: Any) -> Tensor:
        if mask is None:
            return torch.ones(self.num_envs, dtype=torch.bool)
        array = np.asarray(mask)
        if (
            array.dtype != np.bool_
            or array.shape != (self.num_envs,)
            or not array.any()
        ):
            raise ValueError(
                f"options['reset_mask'] = {mask!r}: a boolean array of {self.num_envs} "
                "entries is needed, at least one of them True."
            )
        return torch.from_numpy(array.copy())


def make_vec(
    tasks: TaskDistribution | str,
    num_envs: int,
    task: Task | None = None,
    **options: Any,
) -> TaskVectorEnv:
    """A vector environment of a family, its name, or its gymnasium id; the arguments are `TaskVectorEnv`'s.

    Raises:
        ValueError: for an unknown name or id, a task that does not fit, or `num_envs` that is not positive.
    """
    if isinstance(tasks, str) and tasks.startswith(f"{NAMESPACE}/"):
        known = {gym_id(family): name for name, family in FAMILIES.items()}
        if tasks not in known:
            raise ValueError(
                f"there is no id {tasks!r}; make_vec knows {', '.join(sorted(known))}."
            )
        tasks = known[tasks]
    return TaskVectorEnv(tasks, num_envs, task, **options)


def register() -> None:
    """Makes the ids known to gymnasium; importing the package does it, and doing it again changes nothing."""
    for name, family in FAMILIES.items():
        if gym_id(family) not in gymnasium.registry:
            gymnasium.register(
                gym_id(family),
                entry_point=f"{__name__}:TaskEnv",
                vector_entry_point=f"{__name__}:TaskVectorEnv",
                kwargs={"tasks": name},
            )


def gym_id(family: type[TaskDistribution]) -> str:
    """The family's id in gymnasium's registry: `metarl_lite/PointGoal-v0` for `PointGoal`."""
    return f"{NAMESPACE}/{family.__name__.removesuffix('Tasks')}-v0"


def _where(mask: Tensor, this: Tensor, that: Tensor) -> Tensor:
    return torch.where(mask.reshape(-1, *(1,) * (that.ndim - 1)), this, that)
