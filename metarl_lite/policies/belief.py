"""Task inference: the memory learns to predict what the task pays, and the policy is given what it believes.

RL2 leaves it to the return alone what the memory keeps. Here the memory is trained as an encoder of the task, by
predicting rewards; no gradient of the return reaches it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..given import counts
from ..rng import uniform
from ..types import Params, Rollout
from .distributions import Distribution
from .gru import GRUPolicy


class BeliefPolicy(GRUPolicy):
    r"""A GRU encodes the task, a decoder predicts rewards from the code, and a policy reads code and last input.

    $$ b_t = \mathrm{GRU}(b_{t-1}, x_t), \qquad \hat r(s, a \mid b_t) = f_\psi(b_t, s, a), \qquad
       a_t \sim \pi_\theta(\cdot \mid \bot\, b_t, x_t) $$

    where $\bot$ stops the gradient, and the policy has a hidden layer of its own. At every step t the decoder is asked
    for rewards of the whole trial, those seen and those still to come: the code must hold what the trial has told
    about the task so far. `rl2` trains it like any
    `GRUPolicy`; `own_loss` is all that differs.

    Args:
        observation_size: O.
        action_size: A.
        gen: draws the initial weights.
        code: H, units of the code b.
        units: hidden units of the decoder and of the policy.
        queries: Q, how many steps of the trial the decoder is asked for at each step.
        options: of `GRUPolicy`: `discrete`, `init_std` and `dtype`.

    Raises:
        ValueError: if a size is not a positive integer, or for `hidden` and `separate`, which have no meaning here.

    Source: Zintgraf et al. (2020), VariBAD: its encoder and reward decoder, without the Gaussian code, the KL
    divergence from the last belief, and the decoder of transitions.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        gen: torch.Generator,
        *,
        code: int = 64,
        units: int = 64,
        queries: int = 4,
        **options: Any,
    ) -> None:
        code, units, queries = counts(code=code, units=units, queries=queries)
        for name in {"hidden", "separate"} & set(options):
            raise ValueError(
                f"{name} = {options[name]!r}: a BeliefPolicy has one memory, its code, "
                "which actor and critic share; leave this out, and set its units with "
                "code=64."
            )
        super().__init__(observation_size, action_size, gen, hidden=code, **options)
        self.queries = queries
        read, asked = code + self.input_size, code + observation_size + action_size
        heads = {
            "actor": (units, action_size),
            "critic": (units, 1),
            "trunk": (read, units),
        }
        heads |= {"ask": (asked, units), "answer": (units, 1)}
        for name, (fan_in, fan_out) in heads.items():
            bound = (0.1 if name == "actor" else 1.0) * math.sqrt(
                6 / (fan_in + fan_out)
            )
            self._params[f"{name}_w"] = bound * (
                2 * uniform((fan_in, fan_out), gen, self.dtype) - 1
            )
            self._params[f"{name}_b"] = torch.zeros(
                fan_out, dtype=self.dtype, device=gen.device
            )

    def first(
        self, num_tasks: int, device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What a trial begins with; the memory is the code and, beside it, the last input: `[N, H + I]`."""
        code, action, reward, done = super().first(num_tasks, device)
        return (
            torch.cat([code, code.new_zeros(num_tasks, self.input_size)], -1),
            action,
            reward,
            done,
        )

    def remember(self, params: Params, memory: Tensor, x: Tensor) -> Tensor:
        """The code after one more input, and that input, `[N, H + I]`."""
        return torch.cat([super().remember(params, memory[:, : self.hidden], x), x], -1)

    def unroll(self, params: Params, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Codes and inputs of whole trials, `[N, L, H + I]`, twice: actor and critic read the same."""
        memory = torch.cat([super().unroll(params, inputs)[0], inputs], -1)
        return memory, memory

    def distribution(self, params: Params, memory: Tensor) -> Distribution:
        """What the action is drawn from, given the code and the last input; the code is a constant here."""
        return super().distribution(params, self._trunk(params, memory))

    def value(self, params: Params, memory: Tensor) -> Tensor:
        """What the critic expects, given the code and the last input."""
        return super().value(params, self._trunk(params, memory))

    def outlook(self, params: Params, memory: Tensor) -> tuple[Distribution, Tensor]:
        """Both, given the code and the last input."""
        return super().outlook(params, self._trunk(params, memory))

    def _trunk(self, params: Params, memory: Tensor) -> Tensor:
        return torch.tanh(memory.detach() @ params["trunk_w"] + params["trunk_b"])

    def predict(
        self, params: Params, memory: Tensor, observations: Tensor, actions: Tensor
    ) -> Tensor:
        """The reward expected of an action `[..., A]` (encoded) on seeing `[..., O]`, given a memory, `[...]`."""
        code = memory[..., : self.hidden]
        asked = torch.cat([code, observations, actions], -1)
        units = torch.tanh(asked @ params["ask_w"] + params["ask_b"])
        return (units @ params["answer_w"] + params["answer_b"]).squeeze(-1)

    @property
    def numbers_of_a_step(self) -> int:
        """As for any `GRUPolicy`, and the hidden units of the policy and, for every question, of the decoder."""
        units, memory = self._params["ask_b"].numel(), self.hidden + self.input_size
        return super().numbers_of_a_step + 4 * memory + units * (6 + 3 * self.queries)

    def own_loss(self, params: Params, memory: Tensor, batch: Rollout) -> Tensor:
        """`prediction_loss`, at a third of its cost: the decoder's first layer is linear.

        So what the code and what the question add to its units can be computed once for all Q questions.
        """
        observations = batch.observations.flatten(1, 2)  # [B, L, O]
        actions = self.encode(batch.actions.flatten(1, 2))  # [B, L, A]
        rewards, mask = batch.rewards.flatten(1), batch.mask.flatten(1)  # [B, L]
        weight, code = params["ask_w"], memory[..., : self.hidden]
        known = code @ weight[: self.hidden] + params["ask_b"]  # [B, L, units]
        asked = torch.cat([observations, actions], -1) @ weight[self.hidden :]
        length, loss = rewards.shape[1], rewards.new_zeros(())
        for shift in (q * length // self.queries for q in range(self.queries)):
            units = torch.tanh(known + asked.roll(-shift, 1))
            guess = (units @ params["answer_w"] + params["answer_b"]).squeeze(-1)
            error = (rewards.roll(-shift, 1) - guess).square()
            taken = mask * mask.roll(-shift, 1)  # who asks, and what is asked for
            loss = loss + (taken * error).mean() / self.queries
        return loss

    @staticmethod
    def options_of(params: Params) -> dict[str, Any]:
        """What the parameters tell: units of code and heads. Of `queries`, they say nothing: it is the usual number."""
        memory, units = params["actor_gru_memory"], params["actor_w"]
        return {"code": memory.shape[-1], "units": len(units)}


def prediction_loss(
    policy: BeliefPolicy, params: Params, memory: Tensor, batch: Rollout
) -> Tensor:
    r"""How badly rewards of the trial are predicted from what was known at each step, one number.

    $$ \frac{1}{B L Q} \sum_{b, t, q} m_{bt}\, m_{bt'} \big( r_{bt'} - \hat r(s_{bt'}, a_{bt'} \mid b_{bt}) \big)^2,
       \qquad t' = (t + \lfloor q L / Q \rfloor) \bmod L, \quad q = 0 \dots Q - 1 $$

    with the mask m: a step that was not taken neither asks nor is asked for.
    The least of it is reached by the mean of the rewards *among the questions that are asked*. The next step's is
    an honest one: all that the agent chose it by is in the memory. A later one is chosen by what the agent learns
    in between, so it leans towards what will have proved to be good.
    """
    observations = batch.observations.flatten(1, 2)  # [B, L, O]
    actions = policy.encode(batch.actions.flatten(1, 2))  # [B, L, A]
    rewards, mask = batch.rewards.flatten(1), batch.mask.flatten(1)  # [B, L]
    length, loss = rewards.shape[1], rewards.new_zeros(())
    for q in range(policy.queries):
        later = -(q * length // policy.queries)
        seen, did = observations.roll(later, 1), actions.roll(later, 1)
        guess = policy.predict(params, memory, seen, did)  # [B, L]
        error = (rewards.roll(later, 1) - guess).square()
        taken = mask * mask.roll(later, 1)  # who asks, and what is asked for
        loss = loss + (taken * error).mean() / policy.queries
    return loss
