"""Distributions of actions as functions.

A distribution is a dict of its parameters: `mean` and `log_std` of a diagonal Gaussian, or `logits` of a categorical.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..types import Diverged

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


def normalised(function: Callable[[Tensor, int], Tensor], logits: Tensor) -> Tensor:
    """`function(logits, -1)`, for `torch.softmax` or `torch.log_softmax`, computed along the way the numbers lie.

    Logits of many states that lie action by action, as a `head` leaves them, are normalised several times as fast along
    that first dimension of their memory as along a last one of few numbers, for which torch would copy them first.
    """
    if logits.is_contiguous():
        return function(logits, -1)
    return function(logits.movedim(-1, 0), 0).movedim(0, -1)


def categorical_log_prob(logits: Tensor, action: Tensor) -> Tensor:
    """The log-probability of discrete actions `[...]` under `logits` `[..., A]`: `log softmax(logits)[action]`."""
    log_p = normalised(torch.log_softmax, logits)
    return log_p.gather(-1, action.unsqueeze(-1)).squeeze(-1)


def categorical_sample(logits: Tensor, noise: Tensor) -> Tensor:
    """Turns uniform `noise` `[..., 1]` into actions `[...]`: the first whose cumulative probability exceeds it."""
    cumulative = normalised(torch.softmax, logits).cumsum(-1)
    # The last action needs no bound: rounding cannot lead beyond it.
    return (noise >= cumulative[..., :-1]).sum(-1)


def check_logits(
    chosen: Distribution,
    taken: Tensor | None = None,
    dims: tuple[str, ...] = ("task", "episode", "step"),
) -> None:
    """Stops a policy that chooses from nothing: raises `Diverged` where logits give no probabilities.

    A softmax of nan, of +inf, or of -inf alone is nan, and what is drawn from it is action 0, for ever. The greatest
    logit of a state tells: it is finite if and only if the probabilities are numbers.

    Args:
        chosen: an output of a policy's `distribution`; a Gaussian's, whose actions are no numbers themselves, passes.
        taken: of each state whether the action was taken; None: all were.
        dims: what the leading dimensions of the logits are, for the message.
    """
    if (logits := chosen.get("logits")) is None:
        return
    wrong = ~logits.amax(-1).isfinite()
    if taken is not None:
        wrong = wrong & taken
    if bool(wrong.any()):
        place = wrong.nonzero()[0].tolist()
        where = ", ".join(f"{dim} {i}" for dim, i in zip(dims, place, strict=False))
        raise Diverged(
            f"the policy gave the logits {logits[tuple(place)].tolist()} ({where}), "
            "and from these no action can be drawn: its parameters have diverged. "
            "Lower the learning rate they were adapted or trained with."
        )


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
    before, after = (
        normalised(torch.log_softmax, chosen["logits"]) for chosen in (old, new)
    )
    return (before.exp() * (before - after)).sum(-1)


def gaussian_entropy(chosen: Distribution) -> Tensor:
    r"""The entropy of diagonal Gaussians, `[...]`: $\sum_j \log\sigma_j + \tfrac12 \log 2\pi e$."""
    log_std = chosen["log_std"].expand_as(chosen["mean"])
    return log_std.sum(-1) + 0.5 * math.log(2 * math.pi * math.e) * log_std.shape[-1]


def categorical_entropy(chosen: Distribution) -> Tensor:
    r"""The entropy of categorical distributions, `[...]`: $-\sum_a p_a \log p_a$."""
    log_p = normalised(torch.log_softmax, chosen["logits"])
    return -(log_p.exp() * log_p).sum(-1)
