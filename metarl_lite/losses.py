"""Losses of the two loops: one value per task, `[N]`.

Tasks are independent, so the gradient of the summed loss holds every task's own gradient.
"""

from __future__ import annotations

from torch import Tensor

from .policies import MLPPolicy
from .types import Params, Rollout


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
