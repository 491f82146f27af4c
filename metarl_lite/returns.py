"""From rewards to advantages: how much better was this action than what was to be expected?

All functions work on the last dimension, time, and on any leading ones. After an early end rewards are 0 (see
`Rollout`), so sums over time need no mask.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .given import check_shape, described, number, real, switches
from .tasks.base import check_like
from .types import Rollout


def discounted_returns(rewards: Tensor, discount: float) -> Tensor:
    r"""The discounted sum of the rewards from each step on (the "reward-to-go"), `[..., T]` to `[..., T]`.

    $$ G_t = \sum_{k=t}^{T-1} \gamma^{k-t} r_k = r_t + \gamma G_{t+1} $$

    Raises:
        ValueError: if the discount lies outside [0, 1], or the rewards are no tensor.
    """
    _check_steps(rewards)
    (discount,) = _unit(discount=discount)
    out, later = [], torch.zeros_like(rewards[..., 0])
    for reward in reversed(rewards.unbind(-1)):
        later = reward + discount * later
        out.append(later)
    return torch.stack(out[::-1], -1)


def gae(
    rewards: Tensor,
    values: Tensor,
    last_value: Tensor,
    discount: float,
    lam: float,
    terminated: Tensor | None = None,
) -> Tensor:
    r"""Generalised advantage estimates: exponentially weighted sums of temporal-difference errors, `[..., T]`.

    $$ \delta_t = r_t + \gamma (1 - d_t) V_{t+1} - V_t, \qquad
       \hat A_t = \delta_t + \gamma\lambda (1 - d_t) \hat A_{t+1} $$

    With $\lambda = 1$ this is $G_t - V_t$, with $\lambda = 0$ the one-step error.

    Args:
        rewards: `[..., T]`.
        values: `[..., T]`, V of the state before each step.
        last_value: `[...]`, V of the state after the last step; zeros where the horizon is terminal.
        discount: gamma.
        lam: lambda.
        terminated: `[..., T]` bool, d: the step ended the episode, so nothing follows it.

    Source: Schulman et al. (2016), equations 11 and 16.
    """
    _check_steps(rewards, values=values, terminated=terminated)
    check_shape(rewards.shape[:-1], last_value=last_value)
    discount, lam = _unit(discount=discount, lam=lam)
    alive = torch.ones_like(rewards)
    if terminated is not None:
        alive = 1 - terminated.to(rewards.dtype)
    following = torch.cat([values[..., 1:], last_value.unsqueeze(-1)], -1)
    delta = rewards + discount * alive * following - values
    kept = discount * lam * alive
    out, later = [], torch.zeros_like(last_value)
    for here, keep in zip(delta.unbind(-1)[::-1], kept.unbind(-1)[::-1], strict=True):
        later = torch.addcmul(here, keep, later)
        out.append(later)
    return torch.stack(out[::-1], -1)


def trial_gae(batch: Rollout, values: Tensor, discount: float, lam: float) -> Tensor:
    r"""Generalised advantage estimates over whole trials, through the ends of their episodes, `[N, E, T]`.

    $$ \delta_j = r_j + \gamma V_{j+1} - V_j, \qquad \hat A_j = \delta_j + \gamma\lambda \hat A_{j+1} $$

    where j counts the steps of a trial that were really taken, 0 ... J - 1, and $V_J = \hat A_J = 0$. What an episode
    teaches pays in the next ones, so an inner episode's end cuts nothing; the trial's end does. Steps that were not
    taken (mask 0) get no time: the value and the advantage behind them pass through.

    Args:
        batch: a trial, `[N, E, T, ...]`.
        values: `[N, E, T]`, V before each step.
        discount: gamma.
        lam: lambda.

    Source: Schulman et al. (2016), equation 16; Duan et al. (2016), section 2.2, for what a trial is.
    """
    _check_batch(batch)
    check_shape(batch.rewards.shape, values=values)
    discount, lam = _unit(discount=discount, lam=lam)
    rewards, expected = batch.rewards.flatten(1), values.flatten(1)  # [N, J]
    taken = batch.mask.flatten(1) > 0  # [N, J]
    if bool(taken.all()):
        nothing = torch.zeros_like(rewards[:, 0])
        return gae(rewards, expected, nothing, discount, lam).reshape(values.shape)
    # Of the next step that was taken: what was expected of it, and its advantage.
    value = advantage = torch.zeros_like(rewards[:, 0])
    advantages = []
    for j in reversed(range(rewards.shape[1])):
        delta = rewards[:, j] + discount * value - expected[:, j]
        here = delta + discount * lam * advantage
        value = torch.where(taken[:, j], expected[:, j], value)
        advantage = torch.where(taken[:, j], here, advantage)
        advantages.append(advantage)
    return (torch.stack(advantages[::-1], 1) * taken).reshape(values.shape)


def compared(advantages: Tensor, mask: Tensor, group: int) -> Tensor:
    r"""Advantages less the mean of their group at the same step, brought to the standard deviation 1, `[B, E, T]`.

    $$ \tilde A_{bj} = \frac{\hat A_{bj} - \bar A_{g(b) j}}{s}, \qquad
       \bar A_{gj} = \frac{\sum_{b \in g} m_{bj} \hat A_{bj}}{\sum_{b \in g} m_{bj}} $$

    A group is `group` trials in a row. Where they are trials of one task, what they have in common is the task's luck,
    which is no action's merit; in long trials it is most of the spread of returns. A mean that includes the trial
    itself shortens the gradient by 1 / group and does not turn it.

    Source: Kool, van Hoof and Welling (2019) for the mean of other samples as a baseline.
    """
    check_shape(mask.shape, advantages=advantages)
    shape = (-1, group, *mask.shape[1:])  # [B / group, group, E, T]
    total = (advantages * mask).reshape(shape).sum(1, keepdim=True)
    count = mask.reshape(shape).sum(1, keepdim=True)
    mean = total / count.clamp(min=1)
    centred = (advantages.reshape(shape) - mean).reshape(mask.shape) * mask  # [B, E, T]
    variance = centred.square().sum() / mask.sum()
    return centred / (variance.sqrt() + 1e-8)


def linear_baseline(batch: Rollout, discount: float, ridge: float = 1e-5) -> Tensor:
    r"""Expected return from each step, fitted by least squares to this batch, for each task by itself; `[N, E, T]`.

    $$ V(s, t) = w^\top \big(x,\; x^2,\; \tau,\; \tau^2,\; \tau^3,\; 1\big), \quad
       x = \frac{s - \bar s}{\sigma_s}, \quad \tau = \frac tT, \qquad
       w = \arg\min_w \sum_{e,t} m_{et}\,(V - G_{et})^2 + \rho \lVert w \rVert^2 $$

    with the mask m and $\rho$ = `ridge` E T. Each number of an observation is taken from its mean over the task's
    steps, in units of its standard deviation: so a position in millimetres, or far from the origin, costs no digits.
    Time runs within an episode, never over the flattened batch.

    As many features as steps could meet every return, and all advantages would vanish. A task that has so few steps
    (images, for one) gets `held_out_values` instead: those of the same fit to its other episodes.

    Source: Duan et al. (2016), "Benchmarking deep reinforcement learning", section 4 and its released code.
    """
    ridge = _ridge(batch, ridge)
    n, e, t = batch.rewards.shape
    features = baseline_features(batch)  # [N, E*T, F]
    togo = discounted_returns(batch.rewards, discount) * batch.mask
    targets = togo.reshape(n, e * t, 1).double()
    few, rho = short_of_steps(features, batch.mask), ridge * e * t
    values = torch.zeros_like(targets)
    for some, fit in ((~few, fitted_values), (few, held_out_values)):
        if bool(some.all()):
            values = fit(features, targets, rho, e)
        elif bool(some.any()):
            values[some] = fit(features[some], targets[some], rho, e)
    return values.reshape(n, e, t).to(batch.rewards.dtype)


def baseline_features(batch: Rollout) -> Tensor:
    """What the baseline is linear in, `[N, E*T, F]`, 0 where the mask is 0; in float64, since digits cancel."""
    n, e, t = batch.rewards.shape
    seen = batch.observations.reshape(n, e * t, -1).double()
    one = batch.mask.reshape(n, e * t, 1).double()
    count = one.sum(1, keepdim=True)
    mean = (seen * one).sum(1, keepdim=True) / count
    x = (seen - mean) * one
    deviation = (x.square().sum(1, keepdim=True) / count).sqrt()
    # What differs by less than rounding is a constant.
    varies = deviation > 1e-12 * mean.abs()
    x = torch.where(varies, x / deviation, 0.0)
    steps = torch.arange(t, dtype=x.dtype, device=x.device) / t  # within an episode
    time = steps.repeat(e).unsqueeze(-1)  # [E*T, 1]
    return torch.cat([x, x**2, time * one, time**2 * one, time**3 * one, one], -1)


def short_of_steps(features: Tensor, mask: Tensor) -> Tensor:
    """Whether a task has no more steps than features, `[N]`; what is always 0, of a constant, is no feature."""
    taken = mask.sum((1, 2))
    few = taken <= features.shape[-1]
    if bool(few.any()):
        few = taken <= (features != 0).any(1).sum(-1)
    return few


def fitted_values(
    features: Tensor, targets: Tensor, rho: float, episodes: int
) -> Tensor:
    """The values of the least-squares fit, `[N, J, 1]`, by its normal equations: X (X^T X + rho)^{-1} X^T G."""
    gram = features.mT @ features  # [N, F, F]
    gram.diagonal(dim1=-2, dim2=-1).add_(rho)
    weights: Tensor = torch.linalg.solve(gram, features.mT @ targets)  # [N, F, 1]
    return features @ weights


def held_out_values(
    features: Tensor, targets: Tensor, rho: float, episodes: int
) -> Tensor:
    r"""The values of each episode under a fit to the task's other episodes, `[N, J, 1]`; with no others, zeros.

    $$ G_e - V_e = \big[(K^{-1})_{ee}\big]^{-1} (K^{-1} G)_e, \qquad K = X X^\top + \rho $$

    where $(\cdot)_{ee}$ is the block of the steps of episode e. No matrix has more rows than the task has steps.

    Source: Hastie, Tibshirani and Friedman (2009), section 7.10, for one row at a time.
    """
    n, steps, _ = features.shape
    gram = features @ features.mT  # [N, J, J]
    gram.diagonal(dim1=-2, dim2=-1).add_(rho)
    inverse = torch.linalg.inv(gram)
    shape = (n, episodes, steps // episodes, episodes, steps // episodes)
    blocks = inverse.reshape(shape).diagonal(dim1=1, dim2=3).movedim(-1, 1)
    weights = (inverse @ targets).reshape(n, episodes, -1, 1)  # [N, E, T, 1]
    error: Tensor = torch.linalg.solve(blocks, weights)
    return targets - error.reshape(n, steps, 1)


def with_advantages(
    batch: Rollout,
    discount: float = 0.99,
    gae_lambda: float = 1.0,
    normalise: bool = False,
) -> Rollout:
    """The same batch with its advantages: GAE on a linear baseline fitted to each task.

    The horizon is part of the objective, so nothing is expected after it. With `normalise`, the advantages of each
    task are brought to mean 0 and standard deviation 1 over its valid steps; an inner learning rate then means the
    same at any scale of the reward.
    """
    values = linear_baseline(batch, discount)
    advantages = gae(
        batch.rewards,
        values,
        torch.zeros_like(values[..., 0]),
        discount,
        gae_lambda,
        batch.terminated,
    )
    advantages = advantages * batch.mask
    if switches(normalise=normalise)[0]:
        count = batch.mask.sum((1, 2), keepdim=True)
        mean = advantages.sum((1, 2), keepdim=True) / count
        centred = (advantages - mean) * batch.mask
        std = (centred.square().sum((1, 2), keepdim=True) / count).sqrt()
        advantages = centred / (std + 1e-8)
    return replace(batch, advantages=advantages)


def _unit(**values: Any) -> list[Any]:
    """Numbers between 0 and 1, Python's own, or tensors with a gradient; a ValueError names the first that is none."""
    found = []
    for name, value in values.items():
        plain = number(value)
        if plain is None or not 0 <= plain <= 1:
            raise ValueError(
                f"{name} = {value!r}: a number between 0 and 1 is needed, such as "
                f"{name}=0.99."
            )
        found.append(value if isinstance(value, Tensor) else plain)
    return found


def _ridge(batch: Rollout, ridge: Any) -> float:
    """A ridge as Python's own number, for episodes that can have a baseline."""
    _check_batch(batch)
    check_shape(batch.observations.shape[:3], rewards=batch.rewards)
    if not 0 <= real(ridge) < math.inf:
        raise ValueError(
            f"ridge = {ridge!r}: a number of at least 0 is needed, such as ridge=1e-5."
        )
    return real(ridge)


def _check_steps(rewards: Any, **others: Any) -> None:
    """Refuses what are no rewards `[..., T]`, and what is not of their shape; None is left out."""
    if not isinstance(rewards, Tensor) or not rewards.ndim or not rewards.shape[-1]:
        raise ValueError(
            f"rewards: a tensor [..., T] is needed, not {described(rewards)}."
        )
    given = {name: value for name, value in others.items() if value is not None}
    check_shape(rewards.shape, **given)


def _check_batch(batch: Rollout) -> None:
    """Refuses what are no episodes `[N, E, T]`."""
    check_like(Rollout, "rewards mask observations", batch=batch)
    check_shape(batch.rewards.shape, mask=batch.mask)
