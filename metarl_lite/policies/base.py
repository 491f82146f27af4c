"""What every policy is: a function of a dict of parameters, so that the parameters can be data.

Inside the two loops every task has parameters of its own. A policy therefore takes them as an argument, each with a
leading task dimension `[N, ...]`.
"""

from __future__ import annotations

from copy import copy
from typing import Any, Self

import torch
from torch import Tensor

from ..given import as_params, check_dtype, counts
from ..rng import normal, uniform
from ..tasks.base import TaskDistribution, check_kind, check_like, described, digest
from ..tasks.finite import FiniteTasks
from ..tasks.gym_tasks import GymTasks
from ..tasks.promises import check_members
from ..types import Params
from .distributions import (
    Distribution,
    categorical_entropy,
    categorical_kl,
    categorical_log_prob,
    categorical_sample,
    gaussian_entropy,
    gaussian_kl,
    gaussian_log_prob,
)


@torch.inference_mode(False)  # the copies belong to the graph, wherever this is called
def tile(params: Params, num_tasks: int) -> Params:
    """Gives every task the same parameters: a view `[N, ...]` of each tensor, nothing is copied.

    Gradients of the copies add up in the original, so differentiating through `tile` gives the meta-gradient.
    """
    (num_tasks,) = counts(num_tasks=num_tasks)
    params = as_params(params, "policy.params()", empty=True)
    return {name: p.expand(num_tasks, *p.shape) for name, p in params.items()}


class Policy:
    """What every policy is: a network's sizes, its kind of action, and its parameters by name.

    Attributes:
        observation_size: O.
        action_size: A, coordinates of a continuous action or number of discrete ones.
        discrete: whether actions are integers, drawn from a categorical distribution, or numbers from a Gaussian.
        dtype: of parameters and computation.
    """

    #: Whether it was made for a family of `GymTasks`; None: of parameters alone.
    _through_gym: bool | None = None

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        discrete: bool,
        dtype: torch.dtype,
    ) -> None:
        check_dtype(dtype)
        self.observation_size, self.action_size = observation_size, action_size
        self.discrete, self.dtype = discrete, dtype
        self._params: Params = {}

    @classmethod
    def for_tasks(
        cls, tasks: TaskDistribution, gen: torch.Generator, **options: Any
    ) -> Self:
        """A policy with the sizes, the kind and scale of action, and the dtype of a family of tasks."""
        check_like(TaskDistribution, "action_scale", tasks=tasks)
        check_members(tasks)
        options = {
            "discrete": tasks.discrete,
            "init_std": tasks.action_scale,
            "dtype": tasks.dtype,
            **options,
        }
        network: Any = cls  # each has options of its own
        policy: Self = network(
            tasks.observation_size, tasks.action_size, gen, **options
        )
        family = tasks.tasks if isinstance(tasks, FiniteTasks) else tasks
        policy._through_gym = isinstance(family, GymTasks)
        return policy

    def params(self) -> Params:
        """The parameters by name, without a task dimension: copies that require a gradient, to start a loop from."""
        with torch.inference_mode(False):  # a leaf of a graph, wherever it is asked for
            own = {name: p.clone() for name, p in self._params.items()}
            return {name: p.requires_grad_() for name, p in own.items()}

    def replace(self, params: Params) -> Self:
        """The same network with other parameters; this one stays as it is.

        Raises:
            ValueError: if the parameters are those of another network, or of another type.
        """
        self.check_params(params)
        for name, p in params.items():
            if p.dtype != self.dtype:
                raise ValueError(
                    f"parameter {name!r} is of type {p.dtype}, but this policy "
                    f"computes in {self.dtype}: convert it with .to({self.dtype}), or "
                    f"make the policy with dtype={p.dtype}."
                )
        other = copy(self)
        other._params = {name: p.detach().clone() for name, p in params.items()}
        return other

    def check_params(self, params: Params) -> None:
        """Refuses parameters of another network, by those names and shapes that differ.

        Raises:
            ValueError: if a name or a shape is not that of this network.
        """
        params = as_params(params, "policy.params()")
        needed = {name: tuple(p.shape) for name, p in self._params.items()}
        given = {name: tuple(p.shape) for name, p in params.items()}
        if given != needed:
            mine, right = (
                dict(sorted(a.items() - b.items()))
                for a, b in ((given, needed), (needed, given))
            )
            raise ValueError(
                f"parameters of shapes {mine} do not fit this policy, which needs "
                f"{right}."
            )

    def identity(self) -> dict[str, Any]:
        """What sets this policy apart from others, JSON-able: its class, its options, a digest of its parameters."""
        described_here = described(self, apart=("_params", "_through_gym"))
        return described_here | {"parameters": digest(self._params)}

    def noise(self, shape: tuple[int, ...], gen: torch.Generator) -> Tensor:
        """What acting consumes, drawn beforehand: `[*shape, A]` normal, or `[*shape, 1]` uniform where discrete."""
        if self.discrete:
            return uniform((*shape, 1), gen, self.dtype)
        return normal((*shape, self.action_size), gen, self.dtype)

    def sample(
        self, chosen: Distribution, noise: Tensor, deterministic: bool = False
    ) -> Tensor:
        """An action from each output of `distribution`: drawn with the noise, or the most probable one."""
        if deterministic:
            return self.mode_of(chosen)
        if self.discrete:
            return categorical_sample(chosen["logits"], noise)
        return torch.addcmul(chosen["mean"], noise, chosen["log_std"].exp())

    def mode_of(self, chosen: Distribution) -> Tensor:
        """The most probable action of each output of `distribution`."""
        return chosen["logits"].argmax(-1) if self.discrete else chosen["mean"]

    def log_prob_of(self, chosen: Distribution, actions: Tensor) -> Tensor:
        """log pi(a|s) under an output of `distribution`, `[N, ...]`."""
        if self.discrete:
            return categorical_log_prob(chosen["logits"], actions)
        return gaussian_log_prob(chosen["mean"], chosen["log_std"], actions)

    def kl(self, old: Distribution, new: Distribution) -> Tensor:
        """KL(old || new) of two outputs of `distribution`, in every state, `[N, ...]`."""
        return categorical_kl(old, new) if self.discrete else gaussian_kl(old, new)

    def entropy(self, chosen: Distribution) -> Tensor:
        """The entropy of an output of `distribution`, in every state, `[N, ...]`."""
        return (
            categorical_entropy(chosen) if self.discrete else gaussian_entropy(chosen)
        )


def check_fit(tasks: TaskDistribution, policy: Policy, kind: type[Policy]) -> None:
    """Refuses a family and a policy that cannot play together: no instances, or other sizes."""
    check_like(TaskDistribution, "action_scale", tasks=tasks)
    check_kind(kind, policy=policy)
    mine = (policy.observation_size, policy.action_size, policy.discrete)
    if mine != (wanted := (tasks.observation_size, tasks.action_size, tasks.discrete)):
        raise ValueError(
            f"this policy has (observation_size, action_size, discrete) = {mine}, but "
            f"{tasks.name} has {wanted}: make one with "
            f"{type(policy).__name__}.for_tasks(tasks, gen)."
        )


def blame_types(policy: Policy, params: Params, seen: Tensor) -> None:
    """Names the types where a network could not read what it sees, if they differ.

    Asked after the failure and not before: a network of one's own may convert, and parameters may be of another type
    than the policy's.
    """
    for name, p in params.items():
        if p.dtype != seen.dtype:
            raise ValueError(
                f"parameter {name!r} is of type {p.dtype}, but what this policy reads "
                f"is of type {seen.dtype}: make it with {type(policy).__name__}"
                ".for_tasks(tasks, gen), which takes the type of the family, or "
                "convert the one or the other with .to(...)."
            )
