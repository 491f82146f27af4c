"""MAML's relatives: the same loop, with another gradient at its end.

Each function gives the summed meta-gradient of the tasks it is handed, from the same episodes, and differs from
`maml_gradient` in a few lines. ANIL and Meta-SGD share MAML's gradient; what they change are the sizes of the inner
step (`inner.last_layer_rate`, `inner.learned_rates`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..losses import LOSSES, check_loss, gradients, policy_gradient, sampling_term
from ..policies.base import tile
from ..policies.mlp import MLPPolicy
from ..rollout import Noise
from ..tasks.base import TaskDistribution
from ..types import Params, Rollout, Task
from .configs import MAMLConfig
from .inner import adapt, inner_loop, sample, step_sizes

#: One tensor for each parameter, and the episodes after 0, 1, ... inner steps.
Gradient = tuple[Params, list[Rollout]]


def maml_gradient(
    tasks: TaskDistribution,
    policy: MLPPolicy,
    theta: Params,
    task: Task,
    config: MAMLConfig,
    noise: Sequence[Noise],
) -> Gradient:
    r"""The gradient through the inner steps, second derivatives included.

    $$ \sum_i \big(I - \alpha H_i(\theta)\big) \nabla L_i(\phi_i) $$

    Source: Finn et al. (2017), algorithm 3, line 10.
    """
    start = tile(theta, len(noise[0].action))
    params, support = inner_loop(
        tasks, policy, start, task, config, noise[:-1], create_graph=True
    )
    query = sample(tasks, policy, params, task, config, noise[-1])
    loss = policy_gradient(policy, params, query)  # [N]
    check_loss(loss, f"after inner steps of size {config.inner_lr}")
    return gradients(loss.sum(), theta), [*support, query]


def fomaml_gradient(
    tasks: TaskDistribution,
    policy: MLPPolicy,
    theta: Params,
    task: Task,
    config: MAMLConfig,
    noise: Sequence[Noise],
) -> Gradient:
    r"""First-order MAML: the gradient after the step, used as if the step did not depend on the start.

    $$ \sum_i \nabla L_i(\phi_i) $$

    Source: Finn, Abbeel and Levine (2017), section 5.2.
    """
    start = tile(theta, len(noise[0].action))
    params, support = inner_loop(
        tasks, policy, start, task, config, noise[:-1], create_graph=False
    )
    query = sample(tasks, policy, params, task, config, noise[-1])
    loss = policy_gradient(policy, params, query)  # [N]
    check_loss(loss, f"after inner steps of size {config.inner_lr}")
    return gradients(loss.sum(), theta), [*support, query]


def reptile_gradient(
    tasks: TaskDistribution,
    policy: MLPPolicy,
    theta: Params,
    task: Task,
    config: MAMLConfig,
    noise: Sequence[Noise],
) -> Gradient:
    r"""Reptile: walk on with the query episodes too, and pull the start towards where the walk ended.

    $$ \sum_i (\theta - \phi_i^{(M+1)}) / \alpha $$

    The query pays for one more step, at the full rate, so that all algorithms learn from the same episodes.

    Source: Nichol, Achiam and Schulman (2018), algorithm 2.
    """
    start = tile(theta, len(noise[0].action))
    params, support = inner_loop(
        tasks, policy, start, task, config, noise[:-1], create_graph=False
    )
    query = sample(tasks, policy, params, task, config, noise[-1])
    params = adapt(
        policy, params, query, policy_gradient, config.inner_lr, create_graph=False
    )
    walked = {name: (start[name] - params[name]).detach().sum(0) for name in theta}
    grads = {name: walked[name] / config.inner_lr for name in theta}
    return grads, [*support, query]


def e_maml_gradient(
    tasks: TaskDistribution,
    policy: MLPPolicy,
    theta: Params,
    task: Task,
    config: MAMLConfig,
    noise: Sequence[Noise],
) -> Gradient:
    r"""E-MAML: MAML's gradient, and the credit of the episodes that were adapted on for what came of them.

    $$ \sum_i \big(I - \alpha H_i(\theta)\big) \nabla L_i(\phi_i)
       - \sum_i \big(\bar r_i - b_i\big)\, \nabla \sum_{e,t} \log \pi_\theta(a_{et} \mid s_{et}) $$

    Source: Stadie et al. (2018), section 3; see `losses.sampling_term`.
    """
    params, support, chosen = tile(theta, len(noise[0].action)), [], []
    for step, drawn in enumerate(noise[:-1]):
        batch = sample(tasks, policy, params, task, config, drawn)
        support.append(batch)
        chosen.append(policy.log_prob(params, batch.observations, batch.actions))
        rates = step_sizes(params, config, step)
        params = adapt(policy, params, batch, LOSSES[config.inner_loss], rates)
    raw = replace(config, normalise=False)  # both terms in one unit: reward a step
    query = sample(tasks, policy, params, task, raw, noise[-1])
    loss = policy_gradient(policy, params, query)  # [N]
    for log_prob, batch in zip(chosen, support, strict=True):
        loss = loss + sampling_term(log_prob, batch, query)
    check_loss(loss, f"after inner steps of size {config.inner_lr}")
    return gradients(loss.sum(), theta), [*support, query]


#: The gradient of each algorithm; of those that are not named, `maml_gradient`.
GRADIENTS = {
    "fomaml": fomaml_gradient,
    "reptile": reptile_gradient,
    "e_maml": e_maml_gradient,
}
