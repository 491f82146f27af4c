"""Distributions of actions as functions.

A distribution is a dict of its parameters: `mean` and `log_std` of a diagonal Gaussian, or `logits` of a categorical.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Parameters of a distribution of actions by name.
Distribution = dict[str, Tensor]


def gaussian_log_prob(mean: Tensor, log_std: Tensor, action: Tensor) -> Tensor:
    r"""The log-density of a diagonal Gaussian, summed (not averaged) over the action's coordinates.

    $$ \log \pi(a) = \sum_j -\tfrac12 z_j^2 - \log\sigma_j - \tfrac12 \log 2\pi, \qquad
       z_j = (a_j - \mu_j) / \sigma_j $$

    Shapes: `mean`, `action` `[..., A]`; `log_std` broadcasts against them; the result is `[...]`.
    """
    z = (action - mean) * torch.exp(-log_std)
    constant = 0.5 * math.log(2 * math.pi) * action.shape[-1]
    return -(0.5 * z * z + log_std).sum(-1) - constant


def categorical_log_prob(logits: Tensor, action: Tensor) -> Tensor:
    """The log-probability of discrete actions `[...]` under `logits` `[..., A]`: `log softmax(logits)[action]`."""
    return logits.log_softmax(-1).gather(-1, action.unsqueeze(-1)).squeeze(-1)


def categorical_sample(logits: Tensor, noise: Tensor) -> Tensor:
    """Turns uniform `noise` `[..., 1]` into actions `[...]`: the first whose cumulative probability exceeds it."""
    cumulative = logits.softmax(-1).cumsum(-1)
    return (noise >= cumulative).sum(-1).clamp(max=logits.shape[-1] - 1)


def gaussian_kl(old: Distribution, new: Distribution) -> Tensor:
    r"""The Kullback-Leibler divergence of diagonal Gaussians, summed over the action's coordinates, `[...]`.

    $$ \mathrm{KL}(p \,\|\, q) = \sum_j \log\frac{\sigma_{q,j}}{\sigma_{p,j}}
       + \frac{\sigma_{p,j}^2 + (\mu_{p,j} - \mu_{q,j})^2}{2 \sigma_{q,j}^2} - \frac12 $$
    """
    spread = new["log_std"] - old["log_std"]
    z = (old["mean"] - new["mean"]) * torch.exp(-new["log_std"])
    return (spread + 0.5 * (torch.exp(-2 * spread) + z * z - 1)).sum(-1)


def categorical_kl(old: Distribution, new: Distribution) -> Tensor:
    r"""The Kullback-Leibler divergence of categorical distributions, `[...]`: $\sum_a p_a (\log p_a - \log q_a)$."""
    before, after = old["logits"].log_softmax(-1), new["logits"].log_softmax(-1)
    return (before.exp() * (before - after)).sum(-1)


def gaussian_entropy(chosen: Distribution) -> Tensor:
    r"""The entropy of diagonal Gaussians, `[...]`: $\sum_j \log\sigma_j + \tfrac12 \log 2\pi e$."""
    log_std = chosen["log_std"].expand_as(chosen["mean"])
    return log_std.sum(-1) + 0.5 * math.log(2 * math.pi * math.e) * log_std.shape[-1]


def categorical_entropy(chosen: Distribution) -> Tensor:
    r"""The entropy of categorical distributions, `[...]`: $-\sum_a p_a \log p_a$."""
    log_p = chosen["logits"].log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1)
