"""From gymnasium to here: any of its environments that has a parameter setter becomes a family of tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from ..types import Task
from .base import TaskDistribution, check_positive, digest

Environment = gymnasium.Env[Any, Any]


@dataclass
class _Copy:
    """One environment of the pool, and what its dynamics do not tell."""

    env: Environment
    ticket: int = 0  # of the state it is in
    steps: int = 0
    over: bool = True


class GymTasks(TaskDistribution):
    """Tasks that are settings of a gymnasium environment, for `rollout` with the batched policies.

    A pool holds one copy of the environment for each episode that runs at the same time (N x E of them; it
    grows as needed, and `close()` closes it). At the start of an episode the copy's parameters are set, then
    it is reset with a seed made from the reset noise, so the same noise gives the same episode. Copies that
    have ended are not stepped.

    The environment's own time limit counts as the horizon: an episode that it truncates before `horizon` has
    ended, and nothing is expected after it. Continuous actions are clipped to the action space, observations
    are flattened, and discrete observations one-hot.

    Unlike other families this one is not pure, since the environments hold state: only the latest state can
    be stepped, and a reset ends all earlier episodes. An older state is refused.

    Args:
        make_env: makes one environment, such as `lambda: gymnasium.make("CartPole-v1")`.
        set_task: `set_task(env, parameters)` gives an environment one task: by name a number, or a numpy
            array where the leaf has a shape. It is called before each reset; `env.unwrapped` is the
            environment inside its wrappers.
        sample: `sample(num_tasks, gen)` draws tasks, leaves `[N, ...]`.
        default_task: one task, leaves `[...]`; their shapes are what every task must have.
        horizon: T; by default the `max_episode_steps` with which the environment was registered.
        name: for messages.
        dtype: of observations, rewards and continuous actions.

    Raises:
        ValueError: for a space that is neither Box nor Discrete, or a horizon that is neither given nor
            registered.
    """

    reset_noise_size = 2
    can_terminate = True

    def __init__(
        self,
        make_env: Callable[[], Environment],
        set_task: Callable[[Environment, dict[str, Any]], None],
        sample: Callable[[int, torch.Generator], Task],
        default_task: Task,
        horizon: int | None = None,
        *,
        name: str = "gym",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._make_env, self._set_task, self._sample = make_env, set_task, sample
        self._default = {
            key: torch.as_tensor(leaf) for key, leaf in default_task.items()
        }
        self.task_shape = {
            key: tuple(leaf.shape) for key, leaf in self._default.items()
        }
        self.name, self.dtype, self._ticket = name, dtype, 0
        self._pool = [_Copy(make_env())]
        env = self._pool[0].env
        if horizon is None:
            horizon = env.spec.max_episode_steps if env.spec is not None else None
            if horizon is None:
                raise ValueError(
                    f"horizon = None, and {name} has no max_episode_steps: say "
                    "horizon=200."
                )
        check_positive(horizon=horizon)
        self.horizon = horizon
        self._observations, self._actions = env.observation_space, env.action_space
        self.discrete = isinstance(self._actions, Discrete)
        self.observation_size = _size(self._observations, "observation")
        self.action_size = _size(self._actions, "action")
        if isinstance(self._actions, Box):
            width = float(np.mean(self._actions.high - self._actions.low))
            self.action_scale = width / 4 if np.isfinite(width) else 1.0

    def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
        check_positive(num_tasks=num_tasks)
        task = self._sample(num_tasks, gen)
        self.check_task(task, num_tasks)
        return task

    def default_task(self) -> Task:
        return {name: leaf.clone() for name, leaf in self._default.items()}

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        """Starts an episode in a copy of its own for each leading index; earlier states are void."""
        lead = noise.shape[:-1]
        # a seed of 48 bits each
        digits = (noise.double().reshape(-1, 2) * 2**24).long().tolist()
        leaves = {
            name: leaf.expand((*lead, *self.task_shape[name]))
            .reshape(-1, *self.task_shape[name])
            .cpu()
            .numpy()
            for name, leaf in task.items()
        }
        while len(self._pool) < len(digits):
            self._pool.append(_Copy(self._make_env()))
        self._ticket += 1
        for copy in self._pool:
            copy.ticket = -1
        rows = []
        for index, (high, low) in enumerate(digits):
            copy = self._pool[index]
            values = {name: leaf[index] for name, leaf in leaves.items()}
            # A number for a scalar leaf, and else an array that the environment may
            # keep.
            self._set_task(
                copy.env,
                {k: v.copy() if v.ndim else v.item() for k, v in values.items()},
            )
            observation, _ = copy.env.reset(seed=high * 2**24 + low)
            copy.ticket, copy.steps, copy.over = self._ticket, 0, False
            rows.append(self._row(observation, index))
        return self._state(rows, lead).to(noise.device)

    def step(
        self, task: Task, state: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Steps the copies that still run; the others stay as they are, with reward 0."""
        lead, device = state.shape[:-1], state.device
        states = state.reshape(-1, state.shape[-1]).cpu()
        actions = action.reshape(len(states), *action.shape[len(lead) :]).cpu().numpy()
        self._ticket += 1
        rows, rewards, ended = [], [], []
        for row, one in zip(states, actions, strict=True):
            index, ticket = int(row[-2]), int(row[-1])
            copy = self._pool[index] if index < len(self._pool) else None
            if copy is None or copy.ticket != ticket:
                raise ValueError(
                    f"state number {ticket} of copy {index} of {self.name} is not its "
                    "latest; environments of gymnasium cannot go back: step what the "
                    "last reset or step returned."
                )
            if copy.over:
                rows.append(row)
                rewards.append(0.0)
            else:
                observation, reward = self._advance(copy, one)
                rows.append(self._row(observation, index))
                rewards.append(reward)
            ended.append(copy.over)
        paid = torch.tensor(rewards, dtype=self.dtype, device=device).reshape(lead)
        return (
            self._state(rows, lead).to(device),
            paid,
            torch.tensor(ended, device=device).reshape(lead),
        )

    def observe(self, task: Task, state: Tensor) -> Tensor:
        return state[..., :-2].to(self.dtype)

    def identity(self) -> dict[str, Any]:
        """As of any family; the functions that it was made with cannot be compared."""
        spaces = {
            "observations": str(self._observations),
            "actions": str(self._actions),
        }
        unknown = {"not compared": ["make_env", "set_task", "sample"]}
        return (
            super().identity() | spaces | {"default": digest(self._default)} | unknown
        )

    def close(self) -> None:
        """Closes every environment of the pool; the next reset opens new ones."""
        for copy in self._pool:
            copy.env.close()
        self._pool = []

    def _advance(self, copy: _Copy, action: Any) -> tuple[Any, float]:
        space = self._actions
        if isinstance(space, Discrete):
            given: Any = int(action) + int(space.start)
        else:
            assert isinstance(space, Box)
            # `rollout` reports what is not finite
            finite = np.nan_to_num(action.reshape(space.shape))
            given = np.clip(finite, space.low, space.high).astype(space.dtype)
        observation, reward, terminated, truncated, _ = copy.env.step(given)
        copy.steps += 1
        copy.ticket = self._ticket
        # At the horizon the episode is over anyway; there `terminated` says only what
        # the dynamics say.
        copy.over = bool(terminated) or (bool(truncated) and copy.steps < self.horizon)
        return observation, float(reward)

    def _row(self, observation: Any, index: int) -> Tensor:
        """The state of one copy: its observation, which copy, and the ticket that tells the latest."""
        space = self._observations
        flat = np.asarray(
            gymnasium.spaces.flatten(space, observation), dtype=np.float64
        )
        return torch.from_numpy(np.append(flat, [index, self._pool[index].ticket]))

    def _state(self, rows: list[Tensor], lead: torch.Size) -> Tensor:
        # float64: tickets are exact
        return torch.stack(rows).reshape(*lead, self.observation_size + 2)


def _size(space: gymnasium.Space[Any], kind: str) -> int:
    if not isinstance(space, (Box, Discrete)):
        raise ValueError(
            f"the {kind} space is {space}; GymTasks takes Box and Discrete spaces. "
            "Wrap the environment, for instance with "
            "gymnasium.wrappers.FlattenObservation."
        )
    return int(space.n) if isinstance(space, Discrete) else int(np.prod(space.shape))
