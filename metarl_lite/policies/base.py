"""What every policy is: a function of a dict of parameters, so that the parameters can be data.

Inside the two loops every task has parameters of its own. A policy therefore takes them as an argument, each with a
leading task dimension `[N, ...]`.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from typing import Any, Self

import torch
from torch import Tensor

from ..given import article, as_params, check_dtype, counts, described, switches
from ..rng import normal, uniform
from ..tasks.base import TaskDistribution, blame_options, check_kind, check_like, digest
from ..tasks.base import described as written
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
        (self.discrete,), self.dtype = switches(discrete=discrete), dtype
        self._params: Params = {}

    @classmethod
    def for_tasks(
        cls, tasks: TaskDistribution, gen: torch.Generator, **options: Any
    ) -> Self:
        """A policy with the sizes, the kind and scale of action, and the dtype of a family of tasks.

        Raises:
            ValueError: for an option that the class does not take.
        """
        check_like(TaskDistribution, "action_scale", tasks=tasks)
        check_members(tasks)
        options = {
            "discrete": tasks.discrete,
            "init_std": tasks.action_scale,
            "dtype": tasks.dtype,
            **options,
        }
        network: Any = cls  # each has options of its own
        sizes = tasks.observation_size, tasks.action_size
        try:
            policy: Self = network(*sizes, gen, **options)
        except TypeError:
            blame_options(cls, options, ("observation_size", "action_size", "gen"))
            raise
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
            raise misfit(type(self), params, given, needed)

    def identity(self) -> dict[str, Any]:
        """What sets this policy apart from others, JSON-able: its class, its options, a digest of its parameters."""
        described_here = written(self, apart=("_params", "_through_gym"))
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
        if deterministic is not False and switches(deterministic=deterministic)[0]:
            return self.mode_of(chosen)
        if self.discrete:
            return categorical_sample(chosen["logits"], noise)
        return torch.addcmul(chosen["mean"], noise, chosen["log_std"].exp())

    def mode_of(self, chosen: Distribution) -> Tensor:
        """The most probable action of each output of `distribution`."""
        return chosen["logits"].argmax(-1) if self.discrete else chosen["mean"]

    def log_prob_of(self, chosen: Distribution, actions: Tensor) -> Tensor:
        """log pi(a|s) under an output of `distribution`, `[N, ...]`."""
        try:
            if self.discrete:
                return categorical_log_prob(chosen["logits"], actions)
            # [N, T] would broadcast against means [N, T, 1], to [N, T, T]
            if getattr(actions, "shape", ())[-1:] != chosen["mean"].shape[-1:]:
                blame_actions(self, chosen, actions)
            return gaussian_log_prob(chosen["mean"], chosen["log_std"], actions)
        except (RuntimeError, LookupError):
            blame_actions(self, chosen, actions)
            raise

    def kl(self, old: Distribution, new: Distribution) -> Tensor:
        """KL(old || new) of two outputs of `distribution`, in every state, `[N, ...]`."""
        return categorical_kl(old, new) if self.discrete else gaussian_kl(old, new)

    def entropy(self, chosen: Distribution) -> Tensor:
        """The entropy of an output of `distribution`, in every state, `[N, ...]`."""
        return (
            categorical_entropy(chosen) if self.discrete else gaussian_entropy(chosen)
        )


def listed(names: Iterable[str]) -> str:
    """Names of parameters in a message; of many, the first."""
    few = sorted(names)
    shown = ", ".join(map(repr, few[:4]))
    return f"{shown} and {len(few) - 4} more" if len(few) > 4 else shown


def kin(params: Params, kind: type[Policy]) -> str:
    """Whose parameters these seem to be, if not those of a kind of policy: a sentence for a message, or nothing."""
    if any(name.startswith("theta/") for name in params):
        return (
            " They are the whole state of a run, as load reads it; what its policy has "
            "learned is metarl_lite.state.params_of(path)."
        )
    for mark, owner in OWNERS.items():
        if mark in params and owner != kind.__name__:
            whose = f"{article(owner)} {owner}'s"
            return f" They may be {whose}: {owner}.from_params(params)."
        if mark in params:
            break
    return ""


# A parameter that tells whose it is; a belief's are a GRU's and others.
OWNERS = {"trunk_w": "BeliefPolicy", "actor_gru_in": "GRUPolicy", "w0": "MLPPolicy"}


def misfit(
    kind: type[Policy], params: Params, given: Shapes, needed: Shapes
) -> ValueError:
    """The refusal of parameters that are not those of a network, by names and shapes."""
    extra, lacking = given.keys() - needed.keys(), needed.keys() - given.keys()
    other = {n: p for n, p in given.items() if needed.get(n, p) != p}
    mine = [f"with {listed(extra)}"] * bool(extra)
    mine += [f"without {listed(lacking)}"] * bool(lacking)
    mine += [f"of shapes {other}"] * bool(other)
    right = {n: p for n, p in needed.items() if n in lacking or n in other}
    needs = f", which needs {right}" if right else ", which has none of these names"
    hint = kin(params, kind)
    return ValueError(
        f"parameters {', and '.join(mine)} do not fit this policy"
        f"{'' if hint else needs}.{hint}"
    )


#: Shapes of parameters by name.
Shapes = dict[str, tuple[int, ...]]


def no_params_of(kind: type[Policy], params: Params, error: Exception) -> ValueError:
    """The refusal of parameters from which no policy of a kind can be made."""
    why = f"they have no {error}" if isinstance(error, KeyError) else str(error)
    name = kind.__name__
    return ValueError(
        f"these are not the parameters of {article(name)} {name} ({why}): "
        f"{listed(params) or 'none'}.{kin(params, kind)}"
    )


def check_fit(
    tasks: TaskDistribution,
    policy: Policy,
    kind: type[Policy],
    params: Params | None = None,
) -> None:
    """Refuses a family, a policy and, where they are for all tasks, parameters that are not made for each other."""
    check_like(TaskDistribution, "action_scale", tasks=tasks)
    check_kind(kind, policy=policy)
    mine = (policy.observation_size, policy.action_size, policy.discrete)
    if mine != (wanted := (tasks.observation_size, tasks.action_size, tasks.discrete)):
        raise ValueError(
            f"this policy has (observation_size, action_size, discrete) = {mine}, but "
            f"{tasks.name} has {wanted}: make one with "
            f"{type(policy).__name__}.for_tasks(tasks, gen)."
        )
    if params is not None:
        policy.check_params(params)


def blame_actions(policy: Policy, chosen: Distribution, actions: Any) -> None:
    """Names actions, where they could not be judged, that this policy cannot have taken."""
    lead = next(iter(chosen.values())).shape[:-1]
    discrete, size = policy.discrete, policy.action_size
    shape = list(lead) if discrete else [*lead, size]
    kind = getattr(actions, "dtype", None)
    whole = isinstance(kind, torch.dtype) and not kind.is_floating_point
    fits = list(getattr(actions, "shape", ())) == shape and (whole or not discrete)
    if fits and not (discrete and bool(((actions < 0) | (actions >= size)).any())):
        return
    needs = f"integers 0 ... {size - 1}" if discrete else "numbers"
    raise ValueError(
        f"actions are {described(actions)} of {kind}, but this policy takes {needs} "
        f"of shape {shape}: a batch that it has played itself, or another of its kind "
        "and sizes, is needed."
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
