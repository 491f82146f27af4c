"""The nouns of the package, and the letters of its dimensions.

Every batch is laid out as `[N, E, T, ...]`:

====== ==========================================================
`N`    tasks of the meta-batch
`E`    episodes of each task
`T`    time steps of each episode
`O`    numbers in one observation
`A`    numbers in one action (or the number of discrete actions)
`H`    hidden units of a network
====== ==========================================================
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import Tensor

from .given import ordinary

#: Parameters of a policy by name. Inside the two loops every tensor has a leading task
#: dimension `[N, ...]`.
Params = dict[str, Tensor]

#: What tells one task from another, by name: tensors `[N, ...]` for a meta-batch,
#: `[...]` for one task.
Task = dict[str, Tensor]

#: A loss gives one value per task, `[N]`: `loss(policy, params, batch)`.
LossFunction = Callable[..., Tensor]


class Diverged(FloatingPointError):
    """A number stopped being finite. Training that meets this loses nothing: the error carries the last good state.

    Attributes:
        iteration: the iteration that failed, counted from 0; None outside training.
        policy: the policy before that iteration.
        history: the record up to it.
    """

    iteration: int | None = None
    policy: Any = None
    history: Any = None

    def with_state(
        self, training: str, rates: str, iteration: int, policy: Any, history: Any
    ) -> Diverged:
        """The error as `training`, such as "maml", raises it: with the iteration and the last good state."""
        full = Diverged(
            f"{training} stopped in iteration {iteration} with {rates}: {self} The "
            "last good parameters are this error's .policy, the record so far its "
            ".history."
        )
        full.iteration, full.policy, full.history = iteration, policy, history
        return full


class NotSaved(OSError):
    """The file of a run could not be written. Nothing is lost: the error carries what was trained.

    Attributes:
        iteration: how many iterations are done.
        policy: the policy after them.
        history: the record up to there.
    """

    iteration: int | None = None
    policy: Any = None
    history: Any = None

    @classmethod
    def with_state(
        cls, training: str, error: OSError, iteration: int, policy: Any, history: Any
    ) -> NotSaved:
        """The error as `training`, such as "maml", raises it."""
        remedy = "Choose another checkpoint."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # the disk or a quota is full
            remedy = "Make room, or choose another checkpoint."
        when = f"after {iteration} iterations"
        kept = (
            " What was trained is this error's .policy, the record its .history; "
            "save(error.policy.params(), path) keeps it."
        )
        if not getattr(history, "steps", iteration):
            when, kept = "before the first iteration", " Nothing was trained yet."
        full = cls(
            f"{training} could not keep its state {when} ({error}). {remedy}{kept}"
        )
        full.iteration, full.policy, full.history = iteration, policy, history
        return full


@dataclass(frozen=True)
class Rollout:
    """Episodes of a fixed length `T` and a mask; never ragged lists.

    After an early end the environment is absorbing: the state stays, the reward and the mask are 0. A memory does not
    live through these steps: it is frozen, and the next episode's first input holds what the last step taken brought.
    """

    observations: Tensor  # [N, E, T, O] what the policy saw before it acted
    actions: Tensor  # [N, E, T, A] continuous, or [N, E, T] discrete
    rewards: Tensor  # [N, E, T]
    mask: Tensor  # [N, E, T] 1 where the step was really taken, 0 after the end
    terminated: (
        Tensor  # [N, E, T] True where the dynamics ended the episode at this step
    )
    last_observations: Tensor  # [N, E, O] what was seen after the last step
    advantages: Tensor | None = None  # [N, E, T] filled in by `with_advantages`
    memories: Tensor | None = None  # [N, L, H] of `trial`, after each step's input

    def __post_init__(self) -> None:
        # Who plays under torch.inference_mode may still learn from it afterwards.
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor) and value.is_inference():
                object.__setattr__(self, field.name, ordinary(value))

    def each(self, change: Callable[[Tensor], Tensor]) -> Rollout:
        """The same with every tensor changed, such as `batch.each(lambda x: x[:5])` for the first five tasks."""
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        changed = {name: change(x) for name, x in parts.items() if x is not None}
        return replace(self, **changed)

    def done(self) -> Tensor:
        """Whether the episode was over after each step, `[N, E, T]`: ended by the dynamics, then or before, or by T."""
        done = self.terminated | (self.mask == 0)
        done[..., -1] = True
        return done

    def returns(self) -> Tensor:
        """Undiscounted return of every episode, `[N, E]`."""
        return self.rewards.sum(-1)
