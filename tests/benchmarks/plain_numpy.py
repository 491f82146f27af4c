"""What one would write first: 2-D navigation as a class with a step method, and the policy in numpy, one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


class PlainNavigation:
    """The dynamics of `PointGoal` for one environment."""

    def __init__(self, goal: Array) -> None:
        self.goal = goal
        self.position = np.zeros(2, dtype=np.float32)

    def reset(self) -> Array:
        self.position = np.zeros(2, dtype=np.float32)
        return self.position

    def step(self, action: Array) -> tuple[Array, float, bool]:
        self.position = self.position + np.clip(action, -0.1, 0.1)
        offset = self.position - self.goal
        return self.position, -float(np.sqrt((offset**2).sum())), bool((np.abs(offset) < 0.01).all())


def plain_rollout(params: dict[str, Array], goals: Array, noise: Array) -> Array:
    """Rewards `[N, E, T]` of the same policy: `params` with leaves `[...]`, goals `[N, 2]`, noise `[N, E, T, 2]`."""
    w0, b0, w1, b1, w2, b2 = (params[name] for name in ("w0", "b0", "w1", "b1", "w2", "b2"))
    std = np.exp(params["log_std"])
    rewards = np.zeros(noise.shape[:3], dtype=np.float32)
    for n, goal in enumerate(goals):
        env = PlainNavigation(goal)
        for e in range(noise.shape[1]):
            obs = env.reset()
            for t in range(noise.shape[2]):
                mean = np.tanh(np.tanh(obs @ w0 + b0) @ w1 + b1) @ w2 + b2
                obs, rewards[n, e, t], terminated = env.step(mean + noise[n, e, t] * std)
                if terminated:
                    break
    return rewards
