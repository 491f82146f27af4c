"""Losses of the two loops: one value per task, `[N]`.

Tasks are independent, so the gradient of the summed loss holds every task's own gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .policies import MLPPolicy
from .types import LossFunction, Params, Rollout


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
    if batch.advantages is None:
        raise ValueError("this rollout has no advantages yet: pass it through with_advantages(batch) first.")
    log_prob = policy.log_prob(params, batch.observations, batch.actions)
    return -(log_prob * batch.advantages * batch.mask).sum((1, 2)) / batch.mask.sum((1, 2))


def clipped(
    policy: MLPPolicy, params: Params, batch: Rollout, old_log_prob: Tensor | None = None, clip: float | None = None
) -> Tensor:
    r"""The surrogate of a policy that did not act itself: advantages weighted by a ratio of probabilities, `[N]`.

    $$ L_i = -\frac{\sum m \min\big(\rho \hat A,\; \mathrm{clip}(\rho, 1 - \epsilon, 1 + \epsilon)\, \hat A\big)}{\sum m},
       \qquad \rho = \frac{\pi_\theta(a \mid s)}{\pi_{old}(a \mid s)} $$

    Args:
        policy: the network.
        params: leaves `[N, ...]`.
        batch: a rollout with advantages, acted by the old parameters.
        old_log_prob: `[N, E, T]`, log-probabilities of its actions then; None where `params` are the old ones.
        clip: epsilon; None leaves the ratio as it is.

    Source: Schulman et al. (2017), equation 7.
    """
    if batch.advantages is None:
        raise ValueError("this rollout has no advantages yet: pass it through with_advantages(batch) first.")
    log_prob = policy.log_prob(params, batch.observations, batch.actions)
    ratio = (log_prob - (log_prob if old_log_prob is None else old_log_prob).detach()).exp()
    gain = ratio * batch.advantages
    if clip is not None:
        gain = torch.minimum(gain, ratio.clamp(1 - clip, 1 + clip) * batch.advantages)
    return -(gain * batch.mask).sum((1, 2)) / batch.mask.sum((1, 2))


#: Losses of an inner step by name (`MAMLConfig.inner_loss`).
LOSSES: dict[str, LossFunction] = {"policy_gradient": policy_gradient}
