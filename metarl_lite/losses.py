"""Losses of the two loops: one value per task, `[N]`.

Tasks are independent, so the gradient of the summed loss holds every task's own gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .given import check_result
from .policies.mlp import MLPPolicy
from .types import Diverged, LossFunction, Params, Rollout


def policy_gradient(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    r"""A loss whose gradient is minus the policy gradient: the mean over valid steps of $-\log\pi(a|s)\,\hat A$, `[N]`.

    $$ L_i(\theta) = -\frac{\sum_{e,t} m_{et}\,\log \pi_\theta(a_{et} \mid s_{et})\, \hat A_{et}}{\sum_{e,t} m_{et}} $$

    Only its gradient means something; its value does not.

    Args:
        policy: the network.
        params: leaves `[N, ...]`.
        batch: a rollout that has been through `with_advantages`; the advantages are constants.

    Raises:
        ValueError: if the batch has no advantages.

    Source: Williams (1992), equation 11; Sutton et al. (2000), theorem 1.
    """
    log_prob = policy.log_prob(params, batch.observations, batch.actions)
    return -(log_prob * advantages_of(batch) * batch.mask).sum((1, 2)) / batch.mask.sum(
        (1, 2)
    )


def linearised(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    r"""The loss of `policy_gradient` with another second derivative: log-probability replaced by a ratio, `[N]`.

    $$ L_i(\theta) = -\frac{\sum m\, \rho_\theta\, \hat A}{\sum m}, \qquad
       \rho_\theta = \frac{\pi_\theta(a \mid s)}{\bot\, \pi_\theta(a \mid s)} $$

    where $\bot$ stops the gradient. The ratio is 1, its gradient is that of the log-probability; its second derivative
    adds $\nabla \log\pi\, \nabla \log\pi^\top$. What one action does to the choice of later ones is left out, and
    that is most of the variance: the low-variance curvature (LVC) surrogate.

    Source: Rothfuss et al. (2019), section 5.
    """
    log_prob = policy.log_prob(params, batch.observations, batch.actions)
    return clipped(log_prob, log_prob.detach(), batch)


def dice(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    r"""The loss of `policy_gradient` with an unbiased second derivative: DiCE's magic box, `[N]`.

    $$ L_i(\theta) = -\frac{\sum_{e,t} m_{et}\, \big(\square_{et} - \square_{e,t-1}\big)\, \hat A_{et}}{\sum m},
       \qquad \square_{et} = \exp\big(\ell_{et} - \bot\, \ell_{et}\big), \quad
       \ell_{et} = \sum_{t' \le t} \log \pi_\theta(a_{et'} \mid s_{et'}) $$

    and $\square_{e,-1} = 1$. Every box is 1; its n-th derivative is that of the probability of the whole past, divided
    by that probability. Sums run over the past of one episode; there is no mean over steps or episodes inside the
    exponent. Unbiased for undiscounted returns, with any baseline that depends on the state alone; discounted or
    normalised advantages make it the Hessian of something a little else.

    Source: Foerster et al. (2018), section 4; Farquhar, Whiteson and Foerster (2019), section 4, for advantages.
    """
    log_prob = policy.log_prob(params, batch.observations, batch.actions) * batch.mask
    past = log_prob.cumsum(-1)  # [N, E, T]
    box = (past - past.detach()).exp()
    before = (past - log_prob - (past - log_prob).detach()).exp()
    return -((box - before) * advantages_of(batch) * batch.mask).sum(
        (1, 2)
    ) / batch.mask.sum((1, 2))


def clipped(
    log_prob: Tensor, old_log_prob: Tensor, batch: Rollout, clip: float | None = None
) -> Tensor:
    r"""The surrogate of a policy that did not act itself: advantages weighted by a ratio of probabilities, `[N]`.

    $$ L_i = -\frac{\sum m \min\big(\rho \hat A,\;
         \mathrm{clip}(\rho, 1 - \epsilon, 1 + \epsilon)\, \hat A\big)}{\sum m}, \qquad
       \rho = \frac{\pi_\theta(a \mid s)}{\pi_{old}(a \mid s)} $$

    Args:
        log_prob: `[N, E, T]`, of the actions under the policy in question.
        old_log_prob: `[N, E, T]`, under the policy that acted.
        batch: its episodes, with advantages.
        clip: epsilon; None leaves the ratio as it is.

    Source: Schulman et al. (2017), equation 7.
    """
    advantages = advantages_of(batch)
    ratio = (log_prob - old_log_prob).exp()
    gain = ratio * advantages
    if clip is not None:
        gain = torch.minimum(gain, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return -(gain * batch.mask).sum((1, 2)) / batch.mask.sum((1, 2))


def sampling_term(log_prob: Tensor, support: Rollout, query: Rollout) -> Tensor:
    r"""The loss through which the choice of the support episodes is credited with what came of it, `[N]`.

    $$ -\,\bot\big(\bar r_i - b_i\big) \sum_{e,t} m_{et}\, \log \pi_\theta(a_{et} \mid s_{et}) $$

    with $\bar r_i$ the mean reward of a step of task i's query, and $b_i$ that of the other tasks' queries: independent
    of task i's episodes, so it removes variance and adds no bias.

    Args:
        log_prob: `[N, E, T]`, log-probabilities of the support's actions, differentiable in the initialisation.
        support: the episodes that were adapted on.
        query: the episodes after adaptation.

    Source: Stadie et al. (2018), section 3; Al-Shedivat et al. (2018), section 3.
    """
    # [N] mean reward of a step
    paid = query.rewards.sum((1, 2)) / query.mask.sum((1, 2))
    n = len(paid)
    # less the mean of the other tasks
    gain = paid if n == 1 else (paid - paid.mean()) * n / (n - 1)
    return -gain * (log_prob * support.mask).sum((1, 2))


def gradients(loss: Tensor, params: Params) -> Params:
    """The gradient of one number in every parameter: zeros where it requires none, or where the loss does not use it.

    Raises:
        ValueError: if the loss uses none of them.
    """
    moving = {name: p for name, p in params.items() if p.requires_grad}
    grads = torch.autograd.grad(loss, list(moving.values()), allow_unused=True)
    check_used(grads)
    found = dict(zip(moving, grads, strict=True))
    return {
        name: torch.zeros_like(p) if (g := found.get(name)) is None else g
        for name, p in params.items()
    }


def check_used(grads: Sequence[Tensor | None]) -> None:
    """Refuses gradients of which there is none: the loss was computed from other parameters."""
    if all(g is None for g in grads):
        raise ValueError(
            "the loss uses none of the parameters that it is given: compute it from "
            "the argument `params`, not from policy.params()."
        )


def check_losses(loss: Any, num_tasks: int) -> Tensor:
    """What a loss function gave, if it is one number for each task, `[N]`, with a gradient.

    A mean over tasks would divide the rate of the inner step by their number, without a word.

    Raises:
        ValueError: if it is of another shape or type, or depends on no parameter.
    """
    found = check_result(
        loss, {"N": num_tasks}, "the loss",
        "one number for each task. A mean over episodes and steps ends in "
        ".mean((1, 2)); the mean over tasks belongs to the outer loop, and would "
        "divide the inner rate by N.",
    )  # fmt: skip
    if not found.is_floating_point():
        raise ValueError(f"the loss is of type {found.dtype}: real numbers are needed.")
    if not found.requires_grad:
        raise ValueError(
            "the loss carries no gradient: look for .detach(), .item(), .data, numpy "
            "or torch.no_grad on its way from the parameters."
        )
    return found


def check_loss(loss: Tensor, where: str) -> None:
    """Stops what has diverged: raises `Diverged` where a loss is not finite."""
    if not bool(torch.isfinite(loss).all()):
        bad = loss[~torch.isfinite(loss)].flatten()[0].item()
        raise Diverged(
            f"a loss of {bad} {where}: losses must be finite. Try a learning rate ten "
            "times smaller."
        )


def advantages_of(batch: Rollout) -> Tensor:
    """The batch's advantages; a ValueError with the remedy where it has none yet."""
    if batch.advantages is None:
        raise ValueError(
            "this rollout has no advantages yet: pass it through "
            "with_advantages(batch) first."
        )
    return batch.advantages


#: Losses of an inner step by name (`MAMLConfig.inner_loss`): one gradient, three second
#: derivatives.
LOSSES: dict[str, LossFunction] = {
    "policy_gradient": policy_gradient,
    "dice": dice,
    "linearised": linearised,
}
