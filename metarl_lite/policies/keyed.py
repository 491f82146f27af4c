"""Initial weights that make a memory a table with keys: what was paid where, for what."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..rng import normal
from .gru import GRUPolicy, weights_of


def keyed(policy: GRUPolicy, gen: torch.Generator) -> GRUPolicy:
    r"""The same network with initial weights that make its memory a table with keys: what was paid where, for what.

    Which reward belongs to which pair of observation and action is hard to find out for a network whose units all
    begin alike: the observation that an action was taken at is not in the input that brings its reward, but in the one
    before, and what is remembered must be read at the next visit and at no other observation. Here units begin with
    one of three roles, drawn at random within a role, and training may change all of it:

    - an eighth *holds the observation* for a step: $z \approx 0$ and $h' \approx \tanh(W_h o)$;
    - half *write*: $z = \sigma(6 + U_z h + W_z a)$ keeps what they have, $h' \approx h$, but at some pairs of held
      observation and action, each unit at its own, it lets the last reward in, $\tilde h = \tanh(w r)$;
    - the others *read*: a random mixture of the writers enters $\tilde h$ where the observation opens the gate r.

    Where the critic has a memory of its own, that begins likewise. The numbers were chosen by what a linear map could
    read in untrained memories; we know of no source.

    Args:
        policy: the network; it stays as it is.
        gen: draws the weights.

    Raises:
        ValueError: if there are fewer than 8 units.
    """
    if policy.hidden < 8:
        raise ValueError(
            f"hidden = {policy.hidden}: at least 8 units are needed for three roles, "
            "such as hidden=128."
        )
    params, units = policy.params(), policy.hidden
    o, a = policy.observation_size, policy.action_size
    hold, write = slice(0, units // 8), slice(units // 2, units)
    read = slice(hold.stop, write.start)
    observation, action, reward = slice(0, o), slice(o, o + a), o + a

    def some(rows: slice, columns: int, std: float) -> Tensor:
        return std * normal((rows.stop - rows.start, columns), gen, policy.dtype)

    for owner in ("actor", "critic") if policy.separate else ("actor",):
        given = weights_of(params, owner)[:3]
        into, memory, bias = (w.new_zeros(3, units, *w.shape[1:]) for w in given)
        (r_in, z_in, h_in), (_, z_memory, h_memory) = into, memory  # each [H, ...]
        r_bias, z_bias, _ = bias  # [H]
        h_in[hold, observation] = some(hold, o, 1.0)
        z_memory[write, hold] = some(write, hold.stop, 4 / math.sqrt(hold.stop))
        z_in[write, action] = some(write, a, 2.0)
        h_in[write, reward] = some(write, 1, 0.5).squeeze(1)
        r_in[read, observation] = some(read, o, 2.0)
        writers = units - write.start
        h_memory[read, write] = some(read, writers, 1 / math.sqrt(writers))
        z_bias[:], z_bias[write], r_bias[read] = -3.0, 6.0, -1.0
        params |= {
            f"{owner}_gru_in": into.flatten(0, 1),
            f"{owner}_gru_memory": memory.flatten(0, 1),
            f"{owner}_gru_in_b": bias.flatten(),
            f"{owner}_gru_memory_b": torch.zeros_like(bias.flatten()),
        }
    return policy.replace({name: p.detach() for name, p in params.items()})
