"""Every support that can happen in a small decision process: its chance, the step that it leads to, three Hessians."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Episodes:
    """Every episode that can happen, M of them: the steps, what they pay, and the chance that the world has in it."""

    states: Tensor  # [M, T]
    actions: Tensor  # [M, T]
    rewards: Tensor  # [M, T]
    chance: Tensor  # [M] product of the transition probabilities


def list_episodes(transitions: Tensor, rewards: Tensor, horizon: int) -> Episodes:
    """All sequences of `horizon` states and actions from state 0; `transitions` `[S, A, S]`, `rewards` `[S, A]`."""
    s, a = rewards.shape
    # [(S A)^T, T]
    pairs = torch.cartesian_prod(*[torch.arange(s * a)] * horizon).reshape(-1, horizon)
    pairs = pairs[pairs[:, 0] < a]  # the first state is 0
    states, actions = pairs // a, pairs % a
    chance = transitions[states[:, :-1], actions[:, :-1], states[:, 1:]].prod(-1)
    return Episodes(states, actions, rewards[states, actions], chance)


def scores(theta: Tensor, episode: Episodes) -> Tensor:
    """The gradient of log pi(a|s) at every step, `[M, T, D]`: one-hot(a) - pi(s), in the row of s."""
    s, a = theta.shape
    rows = torch.nn.functional.one_hot(episode.states, s).to(theta.dtype)  # [M, T, S]
    taken = torch.nn.functional.one_hot(episode.actions, a)  # [M, T, A]
    inside = taken - theta.softmax(-1)[episode.states]
    return (rows.unsqueeze(-1) * inside.unsqueeze(-2)).flatten(2)


def sums(each: Tensor, count: int) -> Tensor:
    """Sums over all ordered sets of `count` episodes: `[M, ...]` gives `[M^count, ...]`."""
    total = each
    for _ in range(count - 1):
        total = (total.unsqueeze(1) + each.unsqueeze(0)).flatten(0, 1)
    return total


def list_supports(
    theta: Tensor, episode: Episodes, count: int
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """For every support: its log-probability `[J]` and step `[J, D]`, differentiable, and three Hessians."""
    steps = episode.rewards.shape[1] * count
    log_pi = theta.log_softmax(-1)[episode.states, episode.actions].sum(-1)  # [M]
    score = scores(theta, episode)  # [M, T, D]
    to_go = episode.rewards.flip(-1).cumsum(-1).flip(-1).unsqueeze(-1)  # G, [M, T, 1]
    step = sums((score * to_go).sum(1), count) / steps
    with torch.no_grad():
        second = _seconds(theta)[episode.states]  # [M, T, D, D]
        outer, past = score.unsqueeze(-1) * score.unsqueeze(-2), score.cumsum(1)
        # of the past's probability, over it
        both = past.unsqueeze(-1) * past.unsqueeze(-2) + second.cumsum(1)
        each = {
            "plain": (second * to_go.unsqueeze(-1)).sum(1),
            # as Foerster et al. have it: a box per reward
            "dice": (both * episode.rewards[..., None, None]).sum(1),
            "linearised": ((second + outer) * to_go.unsqueeze(-1)).sum(1),
        }
        # [J, D, D]
        hessians = {name: sums(h, count) / steps for name, h in each.items()}
    return sums(log_pi + episode.chance.log(), count), step, hessians


def _seconds(theta: Tensor) -> Tensor:
    """The Hessian of log pi(a|s) in each state, `[S, D, D]`: pi pi^T - diag(pi), in the block of s, for every a."""
    s, a = theta.shape
    pi = theta.softmax(-1)
    full = theta.new_zeros(s, s, a, s, a)
    for x in range(s):
        full[x, x, :, x] = torch.outer(pi[x], pi[x]) - torch.diag(pi[x])
    return full.reshape(s, s * a, s * a)
