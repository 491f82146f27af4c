"""A distribution over tasks, p(T): how to draw a task, and how its world moves.

The dynamics are pure functions. They hold no state, and their chance is an argument: `noise`, numbers from
U[0, 1) that were drawn beforehand. So the same `step` moves a whole meta-batch `[N, E]`, one `gymnasium.Env`,
and one `gymnasium.vector.VectorEnv`; and the same noise gives the same episode, on any number of tasks at
once.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
import torch
from torch import Tensor

from ..given import check_dtype, counts
from ..ram import check_memory
from ..rng import uniform
from ..types import Task
from .leaves import check_leaves


class MissingMember(AttributeError, ValueError):
    """A family lacks something that every family has."""


class TaskDistribution(ABC):
    """What all tasks of a family share; a `Task` holds what sets one apart.

    A task is always an explicit argument. It is never drawn inside `reset`: an agent that is to adapt over
    several episodes must meet the same task in each of them.

    Attributes:
        name: the family's name, as known to `make_tasks`.
        observation_size: O, numbers in one observation.
        action_size: A, numbers in one action, or the number of discrete actions.
        discrete: whether actions are integers 0 ... A - 1.
        horizon: T, steps of one episode; a stated finite horizon, so its end is terminal.
        task_shape: trailing shape of each leaf of a task, by name.
        noise_size: how many numbers from U[0, 1) one step consumes.
        reset_noise_size: how many one reset consumes.
        action_scale: the size of a typical continuous action; policies start with this standard deviation.
        action_limit: coordinates of a continuous action beyond plus or minus this are clipped by the
            dynamics.
        can_terminate: whether the dynamics can end an episode before the horizon.
        dtype: floating-point type of everything that is drawn.
    """

    name: str
    observation_size: int
    action_size: int
    discrete: bool
    horizon: int
    task_shape: dict[str, tuple[int, ...]]
    noise_size: int = 0
    reset_noise_size: int = 0
    action_scale: float = 1.0
    action_limit: float = math.inf
    can_terminate: bool = False
    dtype: torch.dtype = torch.float32

    def __new__(cls, *args: Any, **options: Any) -> Self:
        if missing := sorted(cls.__abstractmethods__):
            raise ValueError(
                f"{cls.__name__} has no {', '.join(missing)}: a family needs these "
                "methods too; TaskDistribution says what each of them gives."
            )
        return super().__new__(cls)

    if not TYPE_CHECKING:  # a type checker knows the members by their annotations

        def __setattr__(self, name: str, value: Any) -> None:
            """A type is looked at where any family is given it."""
            if name == "dtype":
                check_dtype(value)
            super().__setattr__(name, value)

        def __getattr__(self, name: str) -> NoReturn:
            """Asked for what is not there."""
            kind = type(self).__name__
            if name not in TaskDistribution.__annotations__:
                raise AttributeError(f"{kind!r} object has no attribute {name!r}")
            raise MissingMember(
                f"{kind} has no {name}: set it in the class or in __init__; "
                "TaskDistribution says what it means, and PointGoal is an example."
            )

    @abstractmethod
    def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
        """Draws `num_tasks` independent tasks from p(T); every leaf is `[N, ...]`."""

    @abstractmethod
    def default_task(self) -> Task:
        """One fixed task, without a leading dimension: what an environment uses that is given none."""

    @abstractmethod
    def reset(self, task: Task, noise: Tensor) -> Tensor:
        """The first state of an episode; `noise` `[..., reset_noise_size]` fixes the leading dimensions."""

    @abstractmethod
    def step(
        self, task: Task, state: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step of the dynamics: (next state, reward `[...]`, terminated `[...]`)."""

    @abstractmethod
    def observe(self, task: Task, state: Tensor) -> Tensor:
        """What the agent sees of a state, `[..., O]`. The task itself stays hidden."""

    def begin(self) -> None:
        """Called once as a rollout or a trial begins; a family that holds state, and so is not pure, overrides it."""
        return

    def observation_bounds(self) -> tuple[Tensor, Tensor]:
        """The least and the greatest value of each number of an observation, `[O]`: 0 and 1 if not said."""
        return torch.zeros(self.observation_size), torch.ones(self.observation_size)

    def draw(self, shape: tuple[int, ...], gen: torch.Generator) -> Tensor:
        """The noise of steps with the given leading dimensions, `[*shape, noise_size]`."""
        return uniform((*shape, self.noise_size), gen, self.dtype)

    def draw_reset(self, shape: tuple[int, ...], gen: torch.Generator) -> Tensor:
        """The noise of resets with the given leading dimensions, `[*shape, reset_noise_size]`."""
        return uniform((*shape, self.reset_noise_size), gen, self.dtype)

    def identity(self) -> dict[str, Any]:
        """What sets this family apart from others, JSON-able: its class, sizes, ranges and horizon.

        These are all public attributes that are numbers, texts or tensors. What is private or of another kind, such as
        a function, is named under "not compared". A family that keeps a range there adds it here.
        """
        return described(self)

    def check_task(self, task: Task, num_tasks: int | None = None) -> None:
        """Refuses a task that is not of this family, or not of this batch.

        Args:
            task: leaves `[N, *task_shape]`, or `[*task_shape]` where `num_tasks` is None.
            num_tasks: N.

        Raises:
            ValueError: naming the leaf, its shape, the shape that was expected, and the remedy.
        """
        check_leaves(self.name, self.task_shape, task, num_tasks)


def digest(tensors: Task) -> str:
    """Sixteen digits that change with any bit, name, shape or type of the tensors."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        found.update(content.numpy().tobytes())
    return found.hexdigest()[:16]


def described(thing: Any, apart: tuple[str, ...] = ()) -> dict[str, Any]:
    """The class of a thing and its public attributes, JSON-able.

    What cannot be written down is "not compared"; so is what is private, which may change as the thing is used.

    Args:
        thing: a family of tasks, or a policy.
        apart: private attributes that the caller describes.
    """
    kind, own = type(thing), vars(thing).keys()
    found: dict[str, Any] = {"class": f"{kind.__module__}.{kind.__qualname__}"}
    unknown = [name for name in own if name.startswith("_") and name not in apart]
    names = own | {name for base in kind.__mro__[:-1] for name in vars(base)}
    for name in names:
        if name.startswith("_") or _follows(getattr(kind, name, None), name):
            continue
        try:
            found[name] = _written(getattr(thing, name, None))
        except TypeError:
            unknown.append(name)
    return found | ({"not compared": sorted(unknown)} if unknown else {})


def _follows(on_class: Any, name: str) -> bool:
    """Whether an attribute is a method, or made from others; what every family has is compared however it is made."""
    made = isinstance(on_class, property | cached_property)
    return callable(on_class) or (made and name not in TaskDistribution.__annotations__)


def _written(value: Any) -> Any:
    """A value as JSON has it; a TypeError for what it has not."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        return digest({"": value})
    if isinstance(value, np.generic):  # the same number as Python's own
        return _written(value.item())
    if isinstance(value, np.ndarray):
        return digest({"": torch.as_tensor(value)})
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    if isinstance(value, dict):
        return {str(name): _written(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_written(part) for part in value]
    if isinstance(value, TaskDistribution):
        return value.identity()
    raise TypeError(f"a {type(value).__name__}")


def check_positive(**sizes: int) -> None:
    """Refuses any size that is not a positive integer, of whatever library, by its name, and more tasks than fit."""
    needed = 4 * dict(zip(sizes, counts(**sizes), strict=True)).get("num_tasks", 0)
    check_memory(needed, "to draw so many tasks", "draw fewer at a time.")


def check_kind(kind: type, **values: object) -> None:
    """Refuses any value that is not of a kind, by its name: a policy without memory where one is needed, say."""
    for name, value in values.items():
        if isinstance(value, kind):
            continue
        if isinstance(value, type) and issubclass(value, kind):
            raise ValueError(
                f"{name} is the class {value.__name__}: an instance of it is needed "
                f"here, made with {_made(value)}."
            )
        given = f"of type {type(value).__name__}"
        if isinstance(value, type):
            given = f"the class {value.__name__}"
        remedy = INSTEAD.get(type(value).__name__, "")
        raise ValueError(
            f"{name} is {given}: {kind.__name__} is needed here, made with "
            f"{_made(kind)}{remedy}."
        )


def check_like(kind: type, needs: str, **values: object) -> None:
    """`check_kind` for what may be of any class that has the attributes which are used: named in one text, `needs`."""
    for name, value in values.items():
        has_all = all(hasattr(value, needed) for needed in needs.split())
        if isinstance(value, type) or not has_all:
            check_kind(kind, **{name: value})


# What a signature calls `*args` and `**options`.
REST = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def blame_options(
    kind: type, options: dict[str, Any], given: tuple[str, ...] = ()
) -> None:
    """Names, where a class could not be made, the options that it does not take, and those that it does.

    Args:
        kind: the class.
        options: by name.
        given: its arguments that are no options.
    """
    known: list[str] = []
    for base in kind.__mro__:
        made = inspect.signature(vars(base).get("__init__", lambda: None)).parameters
        known += [name for name, p in made.items() if p.kind not in REST]
        if made and not any(p.kind == p.VAR_KEYWORD for p in made.values()):
            break  # else what it does not name goes on to the class above
    known = [n for n in dict.fromkeys(known) if n not in ("self", *given)]
    if unknown := [name for name in options if name not in known]:
        raise ValueError(
            f"{kind.__name__} takes no {', '.join(map(repr, unknown))}: its options "
            f"are {', '.join(known)}."
        )


# Who takes what another function was given.
INSTEAD = {
    "GRUPolicy": "; for a GRUPolicy there are rl2, trial and trial_returns",
    "MLPPolicy": "; for an MLPPolicy there are maml, rollout and adaptation_curve",
    "Generator": "; a generator is passed as gen",
}
# What makes an instance, where it is not the class itself.
MAKES = {
    "TaskDistribution": "make_tasks(name)",
    "Noise": "draw_noise(tasks, policy, num_tasks, episodes, gen)",
    "Rollout": "rollout(...) or trial(...)",
}


def _made(kind: type) -> str:
    """How an instance of a kind is made, for a message."""
    made = ".for_tasks(tasks, gen)" if hasattr(kind, "for_tasks") else "(...)"
    return MAKES.get(kind.__name__, f"{kind.__name__}{made}")


def index_task(task: Task, index: object) -> Task:
    """The tasks at an index: `index_task(task, 0)` is one, `index_task(task, slice(0, 5))` five of them."""
    return {name: leaf[index] for name, leaf in task.items()}  # type: ignore[index]
