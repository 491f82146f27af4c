"""What `TaskDistribution` promises, as questions to a family: one step is enough to ask most of them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..given import check_takes, integer, is_float, real
from ..types import Task
from .base import TaskDistribution

# Tasks, and episodes of each, with which a family is tried: numbers that a state's
# size seldom is.
TRIED = (5, 3)

#: What a family gives in another type than promised, and harmlessly: the right one.
Habits = dict[str, torch.dtype]


def check_members(tasks: TaskDistribution) -> None:
    """Refuses a family whose sizes, flags or type are not what `TaskDistribution` says, by their names."""
    for name, (right, fits) in MEMBERS.items():
        if not fits(value := getattr(tasks, name)):
            raise ValueError(
                f"{type(tasks).__name__}.{name} = {value!r}: {right} is needed."
            )


def _whole(value: Any, least: int) -> bool:
    whole = integer(value)
    return whole is not None and whole >= least


def _positive(value: Any) -> bool:
    return real(value) > 0


def _are_shapes(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str)
        and isinstance(shape, tuple | list)
        and all(_whole(size, 0) for size in shape)
        for name, shape in value.items()
    )


COUNT = ("a positive integer", lambda value: _whole(value, 1))
SIZE = ("an integer, at least 0,", lambda value: _whole(value, 0))
FLAG = ("True or False", lambda value: isinstance(value, bool | np.bool_))
# Of each member what it must be, in words and as a test.
MEMBERS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "name": ("a text", lambda value: isinstance(value, str)),
    "observation_size": COUNT,
    "action_size": COUNT,
    "horizon": COUNT,
    "noise_size": SIZE,
    "reset_noise_size": SIZE,
    "discrete": FLAG,
    "can_terminate": FLAG,
    "action_scale": (
        "a positive, finite number",
        lambda value: 0 < real(value) < math.inf,
    ),
    "action_limit": ("a positive number", _positive),
    "task_shape": ("a dict of shapes, such as {'goal': (2,)},", _are_shapes),
    "dtype": (
        "a floating-point type of torch, such as torch.float32,",
        is_float,
    ),
}


def check_signatures(tasks: TaskDistribution) -> None:
    """Refuses a method that does not take what it is called with."""
    for name in ("sample", "reset", "step", "observe"):
        takes = list(inspect.signature(getattr(TaskDistribution, name)).parameters)[1:]
        check_takes(f"{type(tasks).__name__}.{name}", getattr(tasks, name), takes)


@dataclass(frozen=True)
class Asked:
    """A family, some tasks, and the leading dimensions with which it is asked."""

    tasks: TaskDistribution
    task: Task  # leaves that broadcast with `lead`
    lead: tuple[int, ...]

    def habits(self, gen: torch.Generator) -> Habits:
        """Resets the family and takes a step: shapes, types, purity.

        Returns:
            What has to be converted: of "state", "reward", "terminated" and "observation" those that come in another
            type than promised.

        Raises:
            ValueError: naming the member that breaks its promise.
        """
        tasks, lead = self.tasks, self.lead
        first, noise = tasks.draw_reset(lead, gen), tasks.draw(lead, gen)
        self.fits("draw_reset", "noise", first, (*lead, tasks.reset_noise_size))
        self.fits("draw", "noise", noise, (*lead, tasks.noise_size))
        state = self.twice("reset", first)
        self.fits("reset", "a state", state, lead, more=True)
        result = self.twice("step", state, self.actions(gen.device), noise)
        if not isinstance(result, tuple | list) or len(result) != 3:
            many = isinstance(result, tuple | list)
            raise ValueError(
                f"{self.kind}.step gives {len(result) if many else 'one'} value"
                f"{'s' * many}: (next state, reward, terminated) are needed."
            )
        after, reward, ended = result
        self.fits("step", "a next state", after, tuple(state.shape))
        self.fits("step", "rewards", reward, lead)
        self.fits("step", "terminated", ended, lead)
        seen = [self.twice("observe", state), self.twice("observe", after)]
        for observation in seen:
            wide = (*lead, tasks.observation_size)
            self.fits("observe", "an observation", observation, wide)
        self.check_values(state, after, ended)
        right = {"reward": tasks.dtype, "terminated": torch.bool, "state": state.dtype}
        found = {
            "reward": reward.dtype,
            "terminated": ended.dtype,
            "state": after.dtype,
        }
        habits = {name: kind for name, kind in right.items() if found[name] != kind}
        if any(observation.dtype != tasks.dtype for observation in seen):
            habits["observation"] = tasks.dtype
        return habits

    @property
    def kind(self) -> str:
        """The name of the family's class."""
        return type(self.tasks).__name__

    def actions(self, device: torch.device) -> Tensor:
        """Different actions, all of them moderate."""
        tasks, size = self.tasks, math.prod(self.lead)
        count = torch.arange(size, device=device).reshape(self.lead)
        if tasks.discrete:
            return count % tasks.action_size
        action = (tasks.action_scale * (count + 1) / (size + 1)).to(tasks.dtype)
        return action.unsqueeze(-1).repeat(*(1 for _ in self.lead), tasks.action_size)

    def check_values(self, state: Tensor, after: Tensor, ended: Tensor) -> None:
        """Refuses ends that are neither true nor false, and a state of another kind than the one before."""
        neither = (ended != 0) & (ended != 1)
        if bool(neither.any()):
            raise ValueError(
                f"{self.kind}.step gives terminated = {ended[neither][0].item()}: "
                "True or False is needed."
            )
        if after.is_floating_point() != state.is_floating_point():
            raise ValueError(
                f"{self.kind}.reset gives a state of {state.dtype}, and "
                f"{self.kind}.step one of {after.dtype}: a state keeps its type."
            )

    def fits(
        self,
        name: str,
        what: str,
        value: Any,
        shape: tuple[int, ...],
        more: bool = False,
    ) -> None:
        """Refuses what is no tensor of numbers, or has another shape; with `more`, further dimensions may follow."""
        if not isinstance(value, Tensor) or value.is_complex():
            got = value.dtype if isinstance(value, Tensor) else type(value).__name__
            held = "True and False" if what == "terminated" else "real numbers"
            raise ValueError(
                f"{self.kind}.{name} gives {what} of type {got}: a tensor of {held} of "
                f"shape {shape}{' and more' * more} is needed here."
            )
        given = tuple(value.shape)
        if (given[: len(shape)] if more else given) != shape:
            tasks, episodes = TRIED
            tried = ("one episode", f"{tasks} tasks")[min(1, len(self.lead))]
            each = f" with {episodes} episodes each" * (len(self.lead) > 1)
            raise ValueError(
                f"{self.kind}.{name} gives {what} of shape {given}, tried on "
                f"{tried}{each}, where {shape}{' and more' * more} was expected: every "
                "method works on trailing dimensions, and keeps the leading ones of "
                "its noise."
            )

    def twice(self, name: str, *rest: Tensor) -> Any:
        """What a method gives; refused if it changes an argument, or does not give the same once more."""
        method, task = getattr(self.tasks, name), dict(self.task)
        takes = list(inspect.signature(getattr(TaskDistribution, name)).parameters)[2:]
        given = {f"task[{leaf!r}]": tensor for leaf, tensor in task.items()}
        given |= dict(zip(takes, rest, strict=True))
        versions = {argument: tensor._version for argument, tensor in given.items()}
        try:
            one, two = method(task, *rest), method(task, *rest)
        except MemoryError:
            raise
        except Exception as error:
            shapes = ", ".join(f"{arg} {tuple(x.shape)}" for arg, x in given.items())
            size = {"step": "noise_size", "reset": "reset_noise_size"}.get(name)
            none = size is not None and getattr(self.tasks, size) == 0
            hint = f" ({size} is 0: its noise holds no number.)" if none else ""
            raise ValueError(
                f"{self.kind}.{name} fails, given {shapes}: {type(error).__name__}: "
                f"{error}{hint}"
            ) from error
        for argument, tensor in given.items():
            replaced = argument not in takes and task.get(argument[6:-2]) is not tensor
            if replaced or tensor._version != versions[argument]:
                raise ValueError(
                    f"{self.kind}.{name} changes its argument {argument} in place, "
                    "which others still read: make a new tensor, such as state = state "
                    "+ change where there is state += change."
                )
        if not _same(one, two):
            raise ValueError(
                f"{self.kind}.{name} gives something else when it is called once more "
                "with the same arguments: chance comes from its noise (noise_size, "
                "reset_noise_size), and nothing is remembered. A family that holds "
                "state says so by a method begin."
            )
        return one


def _same(one: Any, two: Any) -> bool:
    """Equality to the bit, where what is not a number equals itself; other things than tensors are refused later."""
    if isinstance(one, Tensor) and isinstance(two, Tensor):
        return one.shape == two.shape and bool(
            ((one == two) | ((one != one) & (two != two))).all()
        )
    if isinstance(one, tuple | list) and isinstance(two, tuple | list):
        return len(one) == len(two) and all(map(_same, one, two))
    return True
