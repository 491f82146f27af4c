"""From here to gymnasium, many at once: a family's tasks as a `VectorEnv` on the same pure step."""

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
from .door import admit, ends_in_spite
from .gym_env import (
    Array,
    as_action,
    as_array,
    as_family,
    as_options,
    as_seed,
    as_task,
    episode_noise,
    finite,
    spaces,
)
from .gym_handshake import NO_RENDER_MODE, Handshake, beyond
from .gym_rendering import Trace, picture


class TaskVectorEnv(Handshake, VectorEnv[Array, Any, Array]):
    """Many environments of a family that move as one batch of tensors, each on a task of its own.

    A member that has ended is reset by the next step (`AutoresetMode.NEXT_STEP`): that step returns the first
    observation of its new episode and reward 0, and ignores its action. The others go on meanwhile. With `SAME_STEP`
    it is reset by the step that ended it, and infos hold its last observation (`"final_obs"`); with `DISABLED` the
    caller resets it, by a mask. Member i of an environment reset with `seed` sees the episodes of a `TaskEnv` reset
    with `seed + i`.

    `reset(options={"task": ...})` changes the tasks, and `"reset_mask"`, a boolean array `[num_envs]`,
    restricts a reset to some members; the others keep state and task.

    Args:
        tasks: a family, or its name.
        num_envs: members.
        task: a batch, leaves `[num_envs, ...]`, or one task for all of them; the default task unless given.
        render_mode: "rgb_array" lets `render()` give a picture of each member; None does not.
        autoreset_mode: what happens to a member that has ended, a mode of gymnasium or its value, such as "SameStep".
        max_episode_steps: ends episodes before the horizon; `gymnasium.make_vec` passes it.
        options: arguments of the family, where it is given by name.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        tasks: TaskDistribution | str,
        num_envs: int = 1,
        task: Task | None = None,
        render_mode: str | None = None,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        **options: Any,
    ) -> None:
        (num_envs,) = counts(num_envs=num_envs)
        self.num_envs, self.tasks = num_envs, as_family(tasks, options)
        self.task = self.tasks.default_task() if task is None else task
        self.tasks = admit(self.tasks, self.task, (num_envs,))
        self.limit = self._as_limit(max_episode_steps)
        self.autoreset_mode = as_mode(autoreset_mode)
        self.render_as(render_mode, autoreset_mode=self.autoreset_mode)
        self.single_observation_space, self.single_action_space = spaces(self.tasks)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rngs: list[np.random.Generator] = []
        self._state: Tensor | None = None
        self._traces = [Trace() for _ in range(num_envs)]
        kind, horizon = self.tasks.dtype, self.tasks.horizon
        self._first = torch.zeros(num_envs, self.tasks.reset_noise_size, dtype=kind)
        self._noise = torch.zeros(num_envs, horizon, self.tasks.noise_size, dtype=kind)
        self._steps = torch.zeros(num_envs, dtype=torch.long)
        self._over = torch.zeros(num_envs, dtype=torch.bool)

    @property
    def task(self) -> Task:
        """The tasks, leaves `[num_envs, ...]`; one for all of them, or one for each, may be set."""
        return self._task

    @task.setter
    def task(self, task: Any) -> None:
        self._task = self._as_batch(task)

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
            self._task = {
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
        resting, mode = self._over, self.autoreset_mode
        if mode == AutoresetMode.DISABLED and bool(resting.any()):
            raise gymnasium.error.ResetNeeded(
                f"members {resting.nonzero()[:, 0].tolist()} have ended: with "
                "autoreset disabled call reset(options={'reset_mask': terminated | "
                "truncated})."
            )
        moves = as_action(self.tasks, actions, (self.num_envs,), ignore=resting.numpy())
        now = self._steps.clamp(max=self.limit - 1)
        noise = self._noise[torch.arange(self.num_envs), now]
        after, reward, ended = self.tasks.step(self.task, self._state, moves, noise)
        terminated = ended & ~resting
        self._check_ends(terminated)
        # of the resting ones too, for the moment: _start replaces it
        self._state, self._steps = after, self._steps + 1
        truncated = (self._steps >= self.limit) & ~resting
        paid = reward.double().masked_fill(resting, 0.0).numpy()
        finite(self.tasks, "reward", paid)
        self._over, infos = terminated | truncated, {}
        if self.render_mode is not None or mode == AutoresetMode.SAME_STEP:
            last = self._observe(~resting)
            self._keep(last, moves, paid, ~resting)
        begin = resting
        if mode == AutoresetMode.SAME_STEP:
            begin, infos = self._over, self._last_infos(self._over, last)
        if bool(begin.any()):
            self._start(begin)
        return self._observe(), paid, terminated.numpy(), truncated.numpy(), infos

    def render(self) -> Any:
        """A picture of each member's episode so far; None, with a warning, if no render_mode was given."""
        if self.render_mode is None:
            gymnasium.logger.warn(NO_RENDER_MODE)
            return None
        if self._state is None:
            raise gymnasium.error.ResetNeeded("there is no episode yet: call reset().")
        return tuple(picture(self.tasks, trace) for trace in self._traces)

    def _start(self, mask: Tensor) -> None:
        """Begins new episodes of the masked members; nothing of the others is touched."""
        members = mask.nonzero()[:, 0].tolist()
        for i in members:
            self._first[i], self._noise[i] = episode_noise(self.tasks, self._rngs[i])
        state = self.tasks.reset(self.task, self._first)
        self._state = state if self._state is None else _where(mask, state, self._state)
        self._steps = self._steps.masked_fill(mask, 0)
        self._over = self._over & ~mask
        if self.render_mode is not None:
            seen = self._observe(mask)
            for i in members:
                self._traces[i] = Trace([self._state[i]], [seen[i]])

    def _observe(self, mask: Tensor | None = None) -> Array:
        """What all members see; looked at where the mask is true."""
        assert self._state is not None
        seen = as_array(self.tasks.observe(self.task, self._state))
        finite(self.tasks, "observation", seen if mask is None else seen[mask.numpy()])
        return seen

    def _keep(self, seen: Array, moves: Tensor, paid: Array, mask: Tensor) -> None:
        """Remembers a step of the masked members, for pictures."""
        assert self._state is not None
        if self.render_mode is not None:
            for i in mask.nonzero()[:, 0].tolist():
                self._traces[i].add(self._state[i], seen[i], moves[i], float(paid[i]))

    def _last_infos(self, over: Tensor, seen: Array) -> dict[str, Any]:
        """What gymnasium's own vector environments tell of an end when they reset in the same step."""
        infos: dict[str, Any] = {}
        for i in over.nonzero()[:, 0].tolist():
            last = {"final_obs": seen[i].copy(), "final_info": {}}
            infos = self._add_info(infos, last, i)
        return infos

    def _check_ends(self, terminated: Tensor) -> None:
        if not self.tasks.can_terminate and bool(terminated.any()):
            i = int(terminated.nonzero()[0, 0])
            where = f"member {i} at step {int(self._steps[i])}"
            raise ValueError(ends_in_spite(self.tasks, where))

    def _as_limit(self, steps: int | None) -> int:
        horizon = self.tasks.horizon
        if steps is None:
            return horizon
        (steps,) = counts(max_episode_steps=steps)
        if steps > horizon:
            raise ValueError(beyond(self.tasks.name, steps, horizon))
        return steps

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


def as_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """A mode of gymnasium, given as it is or by its value."""
    try:
        return AutoresetMode(mode)
    except ValueError:
        known = ", ".join(repr(one.value) for one in AutoresetMode)
        raise ValueError(
            f"autoreset_mode = {mode!r}: gymnasium.vector.AutoresetMode knows {known}."
        ) from None


def _where(mask: Tensor, this: Tensor, that: Tensor) -> Tensor:
    return torch.where(mask.reshape(-1, *(1,) * (that.ndim - 1)), this, that)
