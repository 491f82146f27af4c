"""Policies as functions of a dict of parameters, so that the parameters can be data.

Inside the two loops every task has parameters of its own. A policy therefore takes them as an argument, each with a
leading task dimension `[N, ...]`; a layer of N networks is one batched matrix product.
"""

from __future__ import annotations

import math
from copy import copy
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor

from ..given import as_params, counts, described, integer, real
from ..rng import generator, uniform
from ..types import Params, Rollout
from .base import Policy, blame_types, no_params_of
from .distributions import Distribution, check_logits
from .layers import hidden, last


class MLPPolicy(Policy):
    r"""A tanh network whose output is the mean of a Gaussian or the logits of a categorical distribution.

    $$ \pi_\theta(a \mid s) = \mathcal N\!\left(f_\theta(s), \operatorname{diag} e^{2\ell}\right)
       \quad\text{or}\quad \operatorname{softmax} f_\theta(s)_a . $$

    The log standard deviation $\ell$ does not depend on the state; it is a parameter like the others, so the inner
    loop adapts it too.

    Args:
        observation_size: O.
        action_size: A, coordinates of a continuous action or number of discrete ones.
        gen: draws the initial weights.
        discrete: which of the two distributions.
        hidden: units of each hidden layer; an empty tuple gives a linear policy.
        init_std: initial standard deviation of a continuous action, in the action's units.
        dtype: of parameters and computation.

    Raises:
        ValueError: if a size is not a positive integer, or `init_std` is not positive.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        gen: torch.Generator,
        *,
        discrete: bool = False,
        hidden: tuple[int, ...] = (64, 64),
        init_std: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        first, final = counts(
            observation_size=observation_size, action_size=action_size
        )
        try:
            units = [integer(n) or 0 for n in hidden]
        except TypeError:  # a single number
            units = [0]
        if any(n < 1 for n in units):
            raise ValueError(
                f"hidden = {hidden!r}: a tuple of layer sizes is needed, each a "
                "positive integer, such as hidden=(64, 64)."
            )
        sizes = [first, *units, final]
        if not 0 < real(init_std) < math.inf:
            raise ValueError(
                f"init_std = {init_std}: a standard deviation must be positive, such "
                "as init_std=0.1."
            )
        super().__init__(sizes[0], sizes[-1], discrete, dtype)
        self.num_layers, self.hidden = len(sizes) - 1, tuple(sizes[1:-1])
        for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            # Glorot and Bengio (2010): keeps the scale of tanh layers
            bound = math.sqrt(6 / (fan_in + fan_out))
            if i == self.num_layers - 1:
                bound *= 0.1  # start close to the same action everywhere
            self._params[f"w{i}"] = bound * (
                2 * uniform((fan_in, fan_out), gen, dtype) - 1
            )
            self._params[f"b{i}"] = torch.zeros(fan_out, dtype=dtype, device=gen.device)
        if not discrete:
            self._params["log_std"] = torch.full(
                (self.action_size,), math.log(init_std), dtype=dtype, device=gen.device
            )

    @classmethod
    def from_params(cls, params: Params) -> MLPPolicy:
        """The policy that these parameters belong to, with the rates that they carry: names and shapes say which it is.

        Raises:
            ValueError: if they belong to no such network.
        """
        params = as_params(params, "policy.params()", empty=True)
        try:
            depth = sum(name.startswith("w") for name in params)
            layers = [params[f"w{i}"] for i in range(max(depth, 1))]
            policy: MLPPolicy = cls(
                layers[0].shape[0],
                layers[-1].shape[1],
                generator(0),
                discrete="log_std" not in params,
                hidden=tuple(layer.shape[1] for layer in layers[:-1]),
                dtype=layers[0].dtype,
            )
            if any(name.startswith("lr_") for name in params):
                policy = policy.with_rates(0.0)
            return policy.replace(params)
        # the last two for types and shapes that weights cannot have
        except (KeyError, IndexError, ValueError, RuntimeError) as error:
            raise no_params_of(cls, params, error) from None

    def replace(self, params: Params) -> Self:
        params = as_params(params, "policy.params()")
        if any(name.startswith("lr_") for name in params) and not self.has_rates:
            raise ValueError(
                "these parameters carry learned rates (Meta-SGD): "
                "policy.with_rates(0.1).replace(params)."
            )
        return super().replace(params)

    @property
    def has_rates(self) -> bool:
        """Whether the parameters include learned rates of the inner step (see `with_rates`)."""
        return any(name.startswith("lr_") for name in self._params)

    def with_rates(self, alpha: float) -> MLPPolicy:
        """The same network, carrying a rate of the inner step for every single weight, `lr_` + name: Meta-SGD.

        The network itself never reads them; they are parameters, so they are learned, saved and loaded like others.
        """
        if not abs(real(alpha)) <= torch.finfo(self.dtype).max:
            raise ValueError(
                f"alpha = {alpha!r}: the number where the rates begin is needed, as in "
                f"policy.with_rates(0.1), and one that {self.dtype} holds."
            )
        other = copy(self)
        other._params = self._params | {
            f"lr_{name}": torch.full_like(p, float(alpha))
            for name, p in self._params.items()
        }
        return other

    @property
    def hidden_units(self) -> int:
        """All hidden units, over all layers."""
        return sum(len(self._params[f"b{i}"]) for i in range(self.num_layers - 1))

    @property
    def num_parameters(self) -> int:
        """How many numbers the parameters are."""
        return sum(p.numel() for p in self._params.values())

    def num_tasks(self, params: Params) -> int:
        """N, the tasks that these parameters are for; refuses parameters without a task dimension."""
        params = as_params(params, "tile(policy.params(), num_tasks)")
        for name, p in params.items():
            if name not in self._params:
                raise ValueError(
                    f"this policy has no parameter {name!r}, but "
                    f"{', '.join(map(repr, self._params))}."
                )
            wanted = "N", *self._params[name].shape
            if p.ndim != len(wanted):
                raise ValueError(
                    f"parameter {name!r} has shape {tuple(p.shape)}, but one set for "
                    f"each task was expected, [{', '.join(map(str, wanted))}]: pass "
                    "tile(params, num_tasks)."
                )
        return len(p)

    def forward(self, params: Params, observations: Tensor) -> Tensor:
        """The means or logits, `[N, ..., A]`, of observations `[N, ..., O]` under parameters `[N, ...]`."""
        x = observations.flatten(1, -2)  # [N, B, O]
        for i in range(self.num_layers):
            layer = hidden if i < self.num_layers - 1 else last
            x = layer(x, params[f"w{i}"], params[f"b{i}"])
        return x.reshape(*observations.shape[:-1], self.action_size)

    def _log_std(self, params: Params, like: Tensor) -> Tensor:
        log_std = params["log_std"]  # [N, A]
        # [N, 1, ..., A]
        return log_std.reshape(len(log_std), *(1,) * (like.ndim - 2), self.action_size)

    def act(
        self,
        params: Params,
        observations: Tensor,
        noise: Tensor,
        deterministic: bool = False,
    ) -> Tensor:
        """An action for each observation `[N, ..., O]`: drawn with the noise, or the most probable one."""
        return self.sample(
            self.distribution(params, observations), noise, deterministic
        )

    def mode(self, params: Params, observations: Tensor) -> Tensor:
        """The most probable action of each observation."""
        return self.mode_of(self.distribution(params, observations))

    def distribution(self, params: Params, observations: Tensor) -> Distribution:
        """What the actions are drawn from: `mean` `[N, ..., A]` and `log_std` `[N, 1, ..., A]`, or `logits`."""
        try:
            output = self.forward(params, observations)
            if self.discrete:
                return {"logits": output}
            return {"mean": output, "log_std": self._log_std(params, output)}
        except (LookupError, TypeError, AttributeError, RuntimeError):
            self._blame(params, observations)
            raise

    def check_drawn(self, params: Params, batch: Rollout) -> None:
        """Stops what was drawn from no probabilities: looks at the logits along the first episode of each task.

        Raises:
            Diverged: if no action can be drawn from them.
        """
        if not self.discrete:
            return  # such actions are seen to be no numbers
        try:
            chosen = self.distribution(params, batch.observations[:, :1])
        except Exception:  # of a class that acts by other means
            return
        check_logits(chosen, batch.mask[:, :1] > 0)

    def log_prob(self, params: Params, observations: Tensor, actions: Tensor) -> Tensor:
        """log pi(a|s) of each action, `[N, ...]`."""
        chosen = self.distribution(params, observations)
        try:
            return self.log_prob_of(chosen, actions)
        except RuntimeError:
            self._blame(params, observations)
            raise

    def _blame(self, params: Params, observations: Tensor) -> None:
        """Says why the network could not be computed, where parameters do not fit it or what it sees.

        Asked after the failure, so that it costs nothing, and nothing is refused that works.
        """
        params = as_params(params, "tile(policy.params(), num_tasks)")
        network = [name for name in self._params if not name.startswith("lr_")]
        if lacking := [name for name in network if name not in params]:
            raise ValueError(
                f"params have no {', '.join(map(repr, lacking))}, but this policy "
                f"needs {', '.join(map(repr, network))}."
            )
        o = self.observation_size
        if not isinstance(observations, Tensor) or observations.shape[-1:] != (o,):
            raise ValueError(
                f"observations are {described(observations)}: this policy reads a "
                f"tensor [N, ..., O] with O = {o}."
            )
        own = {name: params[name] for name in network}
        self.num_tasks(own)  # refuses those without a task dimension
        rows, sets = len(observations), {len(p) for p in own.values()}
        if sets != {rows}:
            raise ValueError(
                f"params are of N = {', '.join(map(str, sorted(sets)))}, but the "
                f"observations of N = {rows}: one set for each task is needed, as "
                f"tile(policy.params(), {rows}) gives."
            )
        blame_types(self, own, observations)
