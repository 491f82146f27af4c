"""What single and vector environments have in common when gymnasium asks: their specification, and how they render."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from .base import TaskDistribution
from .gym_rendering import frames_per_second

NO_RENDER_MODE = (
    'render() without a render_mode: make the environment with render_mode="rgb_array".'
)


class Specification(EnvSpec):
    """A specification that does not promise more steps than an episode has.

    `gymnasium.make(id, max_episode_steps=...)` tells its number to a wrapper, and the environment never; it comes by
    here when the wrapper writes its specification.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        horizon = vars(self).get("kwargs", {}).get("horizon")
        asked = name == "max_episode_steps" and value is not None
        if asked and horizon is not None and value > horizon:
            gymnasium.logger.warn(beyond(self.id, value, horizon))
            value = horizon
        super().__setattr__(name, value)


def beyond(who: str, steps: int, horizon: int) -> str:
    """The words for more steps than an episode has."""
    return (
        f"max_episode_steps = {steps}: an episode of {who} ends at its horizon, "
        f"{horizon}; make it longer by horizon={steps}."
    )


class Handshake:
    """What single and vector environments tell gymnasium: a specification with the horizon, and how they render."""

    tasks: TaskDistribution
    task: Any
    limit: int  # steps after which an episode is cut off
    _spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """How gymnasium made this environment, with the horizon as `max_episode_steps`."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is None:
            self._spec = None
            return
        own = {f.name: getattr(spec, f.name) for f in fields(spec) if f.init}
        self._spec = Specification(**own)
        if self._spec.max_episode_steps is None:
            self._spec.max_episode_steps = self.limit

    def set_task(self, task: Any) -> None:
        """Sets the task, for those who reach an environment by its methods: `call`, or `env_method` elsewhere."""
        self.task = task

    def render_as(self, render_mode: str | None, **metadata: Any) -> None:
        """Notes how to render, and refuses what these environments do not do."""
        if render_mode not in (None, "rgb_array"):
            raise ValueError(
                f"render_mode = {render_mode!r}: these environments render "
                "'rgb_array'; or leave it out, and they do not render."
            )
        self.render_mode = render_mode
        fps = frames_per_second(self.tasks)
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": fps, **metadata}
