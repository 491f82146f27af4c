"""A policy with a memory: the recurrent network whose hidden state does the learning in RL2.

Its parameters are the same for every task and have no task dimension; what differs from task to task is the memory.
"""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor

from ..given import as_params, counts, real, switches
from ..rng import generator, normal, uniform
from ..types import Params, Rollout
from . import through_time
from .base import Policy, blame_types, no_params_of
from .distributions import Distribution


class GRUPolicy(Policy):
    r"""A gated recurrent unit that reads (observation, last action, last reward, done), with two linear heads.

    $$ z = \sigma(W_z x + U_z h), \quad r = \sigma(W_r x + U_r h), \quad
       \tilde h = \tanh\big(W_h x + r \odot U_h h\big), \quad h' = z \odot h + (1 - z) \odot \tilde h $$

    with a bias in every product. One head of the new memory $h'$ gives the distribution of the action, the other the
    value. At the beginning of a trial memory, action and reward are zeros and done is 1.

    Args:
        observation_size: O.
        action_size: A, coordinates of a continuous action or number of discrete ones.
        gen: draws the initial weights.
        discrete: whether actions are integers; they enter the network one-hot.
        hidden: H, units of the memory.
        separate: give the critic a GRU and a memory of its own.
        span: steps that the slowest units of the memory keep their content at first, at least 1. The biases of their
            gates z are spread evenly from 0 to log(span): a gate at $\sigma(b)$ forgets in about $1 + e^b$ steps.
            Long trials need slow units; with 1, no gate has a bias.
        init_std: initial standard deviation of a continuous action, in the action's units.
        dtype: of parameters and computation.

    Source: Cho et al. (2014), equations 5 to 8, in the variant that torch computes; Duan et al. (2016), section 2.2;
    Tallec and Ollivier (2018) for biases that set what a gate remembers.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        gen: torch.Generator,
        *,
        discrete: bool = True,
        hidden: int = 64,
        separate: bool = False,
        span: float = 1.0,
        init_std: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        observation_size, action_size, hidden = counts(
            observation_size=observation_size, action_size=action_size, hidden=hidden
        )
        super().__init__(observation_size, action_size, discrete, dtype)
        self.hidden, (self.separate,) = hidden, switches(separate=separate)
        self.input_size = observation_size + action_size + 2  # I
        if not 1 <= real(span) < math.inf:
            raise ValueError(
                f"span = {span!r}: a number of steps, at least 1, is needed: a trial's."
            )
        for owner in ("actor", "critic") if self.separate else ("actor",):
            self._params |= _gru(owner, self.input_size, hidden, gen, dtype)
            slow = torch.linspace(
                0, math.log(span), hidden, dtype=dtype, device=gen.device
            )
            # z is the second of the three gates
            self._params[f"{owner}_gru_in_b"][hidden : 2 * hidden] = slow
        for name, size, gain in (("actor", action_size, 0.1), ("critic", 1, 1.0)):
            bound = gain * math.sqrt(6 / (hidden + size))
            self._params[f"{name}_w"] = bound * (
                2 * uniform((hidden, size), gen, dtype) - 1
            )
            self._params[f"{name}_b"] = torch.zeros(
                size, dtype=dtype, device=gen.device
            )
        if not discrete:
            if not 0 < real(init_std) < math.inf:
                raise ValueError(
                    f"init_std = {init_std}: a standard deviation must be positive, "
                    "such as init_std=0.1."
                )
            self._params["log_std"] = torch.full(
                (action_size,), math.log(init_std), dtype=dtype, device=gen.device
            )

    @classmethod
    def from_params(cls, params: Params) -> Self:
        """The policy that these parameters belong to: their names and shapes say which network it is.

        Raises:
            ValueError: if they belong to no such network.
        """
        params = as_params(params, "policy.params()", empty=True)
        try:
            _, size = params["actor_gru_in"].shape
            _, action_size = params["actor_w"].shape
            options = cls.options_of(params) | {"dtype": params["actor_w"].dtype}
            options["discrete"] = "log_std" not in params
            policy = cls(size - action_size - 2, action_size, generator(0), **options)
        # the last for weights of integers
        except (KeyError, ValueError, RuntimeError) as error:
            raise no_params_of(cls, params, error) from None
        return policy.replace(
            {name: params[name] for name in policy._params if name in params} | params
        )

    @staticmethod
    def options_of(params: Params) -> dict[str, Any]:
        """The options of this kind of network that the names and shapes of its parameters tell."""
        both = "critic_gru_in" in params
        return {"hidden": len(params["actor_w"]), "separate": both}

    def first(
        self, num_tasks: int, device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What a trial begins with: memory `[N, H]`, action, reward and done `[N]`: zeros, and done is 1."""
        reward = torch.zeros(num_tasks, dtype=self.dtype, device=device)
        memory = reward.new_zeros(num_tasks, self.hidden)
        action = reward.new_zeros(num_tasks, self.action_size)  # none, not action 0
        return memory, action, reward, torch.ones_like(reward)

    def encode(self, actions: Tensor) -> Tensor:
        """Actions as the network reads them, `[..., A]`: one-hot where they are discrete."""
        if not self.discrete:
            return actions
        shape, places = (*actions.shape, self.action_size), actions.unsqueeze(-1)
        nothing = torch.zeros(shape, dtype=self.dtype, device=actions.device)
        return nothing.scatter_(-1, places, 1)

    def input(
        self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor
    ) -> Tensor:
        """What the network reads at one step, `[..., I]`: observation, last action encoded, reward, done."""
        numbers = [reward.unsqueeze(-1), done.unsqueeze(-1)]
        return torch.cat([observation, action, *numbers], -1)

    def inputs(self, batch: Rollout) -> Tensor:
        """What the network read at every step of a trial, `[N, L, I]` with L = E T: the batch, shifted by one step.

        After an early end that stays what the last step taken left to be read, until the next episode reads it.
        """
        observations = batch.observations.flatten(1, 2)  # [N, L, O]
        actions = self.encode(batch.actions.flatten(1, 2))  # [N, L, A]
        rewards, dones = batch.rewards.flatten(1, 2), batch.done().flatten(1, 2)
        if not bool(batch.mask.all()):
            latest = latest_taken(batch.mask)  # [N, L]
            actions = at_steps(actions, latest)
            rewards = rewards.gather(1, latest)
        _, action, reward, done = self.first(len(actions), actions.device)
        last_action = torch.cat([action.unsqueeze(1), actions[:, :-1]], 1)
        last_reward = torch.cat([reward.unsqueeze(1), rewards[:, :-1]], 1)
        last_done = torch.cat([done.unsqueeze(1), dones[:, :-1].to(self.dtype)], 1)
        return self.input(observations, last_action, last_reward, last_done)

    def remember(self, params: Params, memory: Tensor, x: Tensor) -> Tensor:
        """The actor's memory after one more input: `[N, H]` and `[N, I]` give `[N, H]`."""
        try:
            return through_time.cell(x, memory, weights_of(params, "actor"))
        except RuntimeError:
            blame_types(self, params, x)
            raise

    def unroll(self, params: Params, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The memories of actor and critic after every input of whole trials: `[N, L, I]` gives two `[N, L, H]`.

        For trials with steps that were not taken, see `recall`.
        """
        memories = [
            through_time.unroll(inputs, weights_of(params, owner))
            for owner in (("actor", "critic") if self.separate else ("actor",))
        ]
        return memories[0], memories[-1]

    def recall(
        self, params: Params, inputs: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The memories of actor and critic after every step of trials, two `[N, L, H]`: frozen where none was taken.

        The steps that were taken are moved together to the left, unrolled, and each memory is put where it belongs.

        Args:
            params: the parameters.
            inputs: `[N, L, I]`, as `inputs` gives them.
            mask: `[N, E, T]`, 1 where a step was taken.
        """
        if bool(mask.all()):
            return self.unroll(params, inputs)
        taken = mask.flatten(1) > 0  # [N, L]
        order = (~taken).to(torch.uint8).argsort(dim=1, stable=True)  # taken, then not
        longest = int(taken.sum(1).max())
        packed = at_steps(inputs, order[:, :longest])
        actor, critic = self.unroll(params, packed)
        place = taken.cumsum(1) - 1  # of the last step taken, among those taken
        return at_steps(actor, place), at_steps(critic, place)

    def distribution(self, params: Params, memory: Tensor) -> Distribution:
        """What the action is drawn from: `logits` `[..., A]`, or `mean` `[..., A]` and `log_std` `[A]`."""
        output = head(memory, params["actor_w"], params["actor_b"])
        return self._named(params, output)

    def value(self, params: Params, memory: Tensor) -> Tensor:
        """What the critic expects to come, `[...]`, from its memory `[..., H]`."""
        return head(memory, params["critic_w"], params["critic_b"]).squeeze(-1)

    def outlook(self, params: Params, memory: Tensor) -> tuple[Distribution, Tensor]:
        """`distribution` and `value` of the same memories, as one product."""
        weight, bias = (
            torch.cat([params[f"actor_{name}"], params[f"critic_{name}"]], -1)
            for name in ("w", "b")
        )
        both = head(memory, weight, bias)
        output, value = torch.split(both, [self.action_size, 1], -1)
        return self._named(params, output), value.squeeze(-1)

    def _named(self, params: Params, output: Tensor) -> Distribution:
        if self.discrete:
            return {"logits": output}
        return {"mean": output, "log_std": params["log_std"]}

    @property
    def numbers_of_a_step(self) -> int:
        """How many numbers an update holds for each step of a trial: input, gates and heads, for the gradient too."""
        gates = 14 * self.hidden * (2 if self.separate else 1)
        return 2 * self.input_size + gates + 8 * self.action_size + 20

    def own_loss(self, params: Params, memory: Tensor, batch: Rollout) -> Tensor:
        """A loss that the network adds to that of reinforcement learning: none here, see `BeliefPolicy`."""
        return memory.new_zeros(())


def head(memory: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`memory @ weight + bias`, for few outputs: `[..., H]`, `[H, A]` and `[A]` give `[..., A]`.

    A product with few columns is slow. This one computes its transpose, so what is returned lies output by output.
    """
    rows = memory.reshape(-1, memory.shape[-1])  # [N, H]
    # contiguous: else the gradient of the weight would be a product with few columns
    outputs = torch.addmm(bias.unsqueeze(1), weight.mT.contiguous(), rows.mT)  # [A, N]
    return outputs.mT.reshape(*memory.shape[:-1], len(bias))


def by_columns(params: Params) -> Params:
    """The same parameters, the matrices of a GRU column by column in memory; for many single steps.

    Otherwise the gradient of what few inputs meet, at each step, would be a slow product with few columns.
    """
    return {
        name: p.mT.contiguous().mT if "_gru_" in name and p.ndim == 2 else p
        for name, p in params.items()
    }


def latest_taken(mask: Tensor) -> Tensor:
    """The last step of a trial that was taken, at each step, itself included: `[N, E, T]` gives `[N, L]`."""
    taken = mask.flatten(1) > 0  # [N, L]
    step = torch.arange(taken.shape[1], device=mask.device)
    return torch.where(taken, step, 0).cummax(1).values


def at_steps(values: Tensor, steps: Tensor) -> Tensor:
    """What `values` `[N, L, K]` are at certain steps `[N, M]` of each trial, `[N, M, K]`."""
    return values.gather(1, steps.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def _gru(
    owner: str, size: int, hidden: int, gen: torch.Generator, dtype: torch.dtype
) -> Params:
    """Initial weights of a GRU.

    Orthogonal where memory meets memory, so that early memories fade slowly. Large where the input enters: few numbers
    of a one-hot input differ from 0, and an action and its reward must move the gates to be remembered as a pair.
    """
    wide = torch.promote_types(dtype, torch.float32)  # no half precision has a QR
    square = torch.linalg.qr(normal((3, hidden, hidden), gen, wide))[0].to(dtype)
    bias = torch.zeros(3 * hidden, dtype=dtype, device=gen.device)
    return {
        f"{owner}_gru_in": normal((3 * hidden, size), gen, dtype),
        f"{owner}_gru_memory": square.reshape(3 * hidden, hidden),
        f"{owner}_gru_in_b": bias,
        f"{owner}_gru_memory_b": bias.clone(),
    }


def weights_of(params: Params, owner: str) -> list[Tensor]:
    """The four tensors of a GRU, in torch's order: into it, from memory to memory, and the biases of both."""
    return [
        params[f"{owner}_gru_{name}"] for name in ("in", "memory", "in_b", "memory_b")
    ]
