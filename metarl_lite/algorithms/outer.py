"""Outer updates that re-use their episodes: TRPO takes one trusted step from them, ProMP several clipped ones.

Adam's update needs the meta-gradient at one point. These need the objective around it, with the episodes held fixed:
the *surrogate*, in which every task is adapted anew, from the same support, at each theta that is tried.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from ..losses import LOSSES, check_loss, clipped, gradients, linearised
from ..optim import (
    ClippedAdam,
    conjugate_gradient,
    gauss_newton_product,
    line_search,
    to_params,
    to_vector,
)
from ..policies.base import tile
from ..policies.distributions import Distribution
from ..policies.mlp import MLPPolicy
from ..rollout import Noise
from ..tasks.base import TaskDistribution
from ..types import Diverged, LossFunction, Params, Rollout, Task
from .configs import MAMLConfig
from .inner import adapt, inner_loop, mean_returns, sample, step_sizes

#: What an update did, for the history: `grad_norm`, `kl`, `accepted`.
Seen = dict[str, float]


def readapt(
    policy: MLPPolicy,
    theta: Params,
    support: Sequence[Rollout],
    config: MAMLConfig,
    create_graph: bool,
    acted: Sequence[Tensor] | None = None,
) -> Params:
    """Every task adapted from `theta` on episodes that exist already; leaves `[N, ...]`.

    With `acted`, log-probabilities `[N, E, T]` of the policies that drew each batch, the steps descend ratios to them.
    """
    params = tile(theta, len(support[0].rewards))
    for step, batch in enumerate(support):
        loss_fn = (
            LOSSES[config.inner_loss] if acted is None else ratio_loss(acted[step])
        )
        params = adapt(
            policy,
            params,
            batch,
            loss_fn,
            step_sizes(params, config, step),
            create_graph,
        )
    return params


def ratio_loss(old_log_prob: Tensor) -> LossFunction:
    """The unclipped surrogate of `clipped` as a loss of parameters."""

    def loss(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
        log_prob = policy.log_prob(params, batch.observations, batch.actions)
        return clipped(log_prob, old_log_prob, batch)

    return loss


def mean_kl(
    policy: MLPPolicy, old: Distribution, new: Distribution, mask: Tensor
) -> Tensor:
    """KL(old || new), the mean over the steps of each task and over tasks: one number."""
    return ((policy.kl(old, new) * mask).sum((1, 2)) / mask.sum((1, 2))).mean()


def detached(chosen: Distribution) -> Distribution:
    """The same distribution as a constant: a copy, for some of it may be a view of parameters that will change."""
    return {name: p.detach().clone() for name, p in chosen.items()}


def differentiable(config: MAMLConfig) -> bool:
    """Whether the inner steps' gradients count as functions of the initialisation."""
    return config.algorithm != "fomaml"


def adam(theta: Params, config: MAMLConfig) -> ClippedAdam:
    """Adam with the numbers of a MAML run."""
    return ClippedAdam(
        theta, config.outer_lr, config.final_lr, config.iterations, config.max_grad_norm
    )


class TrustRegion:
    r"""TRPO: the natural gradient, as far as the adapted policies change by no more than `max_kl` on average.

    $$ \max_{\theta}\; \frac1N \sum_i \hat{\mathbb E}\left[
         \frac{\pi_{\phi_i(\theta)}(a \mid s)}{\pi_{\phi_i(\theta_{old})}(a \mid s)}\, \hat A \right]
       \quad\text{where}\quad
       \frac1N \sum_i \mathrm{KL}\big(\pi_{\phi_i(\theta_{old})} \,\|\, \pi_{\phi_i(\theta)}\big) \le \delta $$

    The direction is $F^{-1} g$ by conjugate gradients. F is taken on `config.curvature_episodes` of each task's
    episodes, of the support and of the query: it is that of policies which were adapted on so few, and it shapes the
    direction only, while the line search holds the bound on all episodes.

    Source: Schulman et al. (2015), appendix C; Finn et al. (2017), section 5.3, for its use here.
    """

    adam: ClippedAdam | None = None  # the length of a step is not Adam's to choose

    def __init__(self, theta: Params, config: MAMLConfig) -> None:
        check_outer("trpo", config)
        self.theta, self.config = theta, config

    def step(
        self,
        tasks: TaskDistribution,
        policy: MLPPolicy,
        task: Task,
        noise: Sequence[Noise],
    ) -> tuple[Tensor, Seen]:
        """Changes theta in place, or leaves it and warns; returns `[inner_steps + 1, N]`, and what happened."""
        config, start = self.config, to_vector(self.theta).detach()
        theta, graph = tile(self.theta, len(noise[0].action)), differentiable(config)
        params, support = inner_loop(
            tasks, policy, theta, task, config, noise[:-1], graph
        )
        query = sample(tasks, policy, params, task, config, noise[-1])
        chosen = policy.distribution(params, query.observations)
        log_prob = policy.log_prob_of(chosen, query.actions)
        loss = clipped(log_prob, log_prob.detach(), query).mean()
        gradient = to_vector(gradients(loss, self.theta))
        check_loss(gradient, "in the meta-gradient")
        step = self._direction(policy, [*support, query], gradient)
        old = detached(chosen)

        def judge(vector: Tensor) -> tuple[float, float]:
            return self._judge(policy, vector, support, query, old, log_prob)

        after, kl, accepted = line_search(
            judge, start, step, loss.item(), config.max_kl
        )
        if not accepted:
            warnings.warn(
                f"trpo: no step improves within a KL of {config.max_kl}; theta stays.",
                stacklevel=6,  # the line that called maml
            )
        with torch.no_grad():
            for name, value in to_params(after, self.theta).items():
                self.theta[name].copy_(value)
        length = gradient.norm().item()
        seen = {"grad_norm": length, "kl": kl, "accepted": float(accepted)}
        return mean_returns([*support, query]), seen

    def _judge(
        self,
        policy: MLPPolicy,
        vector: Tensor,
        support: Sequence[Rollout],
        query: Rollout,
        old: Distribution,
        log_prob: Tensor,
    ) -> tuple[float, float]:
        """Loss and KL divergence of the policies that are adapted from another theta; infinite where none can be."""
        theta = to_params(vector, self.theta)
        theta = {name: p.requires_grad_() for name, p in theta.items()}
        try:
            moved = readapt(policy, theta, support, self.config, create_graph=False)
        except Diverged:  # nothing is left to adapt: a shorter step will be tried
            return math.inf, math.inf
        with torch.no_grad():
            new = policy.distribution(moved, query.observations)
            now = policy.log_prob_of(new, query.actions)
            loss = clipped(now, log_prob, query).mean()
            return loss.item(), mean_kl(policy, old, new, query.mask).item()

    def _direction(
        self, policy: MLPPolicy, batches: Sequence[Rollout], gradient: Tensor
    ) -> Tensor:
        """-F^{-1} g, as long as the quadratic model of the KL divergence allows: x^T F x / 2 = `max_kl`."""
        config = self.config
        few = [some_episodes(batch, config.curvature_episodes) for batch in batches]

        def outputs(theta: Params) -> Params:
            adapted = readapt(policy, theta, few[:-1], config, True)
            return policy.distribution(adapted, few[-1].observations)

        old = detached(outputs(self.theta))
        fisher = gauss_newton_product(
            outputs, lambda new: mean_kl(policy, old, new, few[-1].mask), self.theta
        )
        direction = conjugate_gradient(
            lambda v: fisher(v) + config.damping * v, -gradient, config.cg_iterations
        )
        curvature = direction @ (fisher(direction) + config.damping * direction)
        return direction * (2 * config.max_kl / curvature.clamp(min=1e-12)).sqrt()


class Proximal:
    r"""ProMP: several steps of Adam on a clipped surrogate, held near the old initialisation by a KL penalty.

    $$ \min_\theta\; \frac1N \sum_i L^{clip}_i\big(\phi_i(\theta)\big)
       + \eta\, \mathrm{KL}\big(\pi_{\theta_{old}} \,\|\, \pi_\theta\big) $$

    The inner steps descend ratios too, against the policies that acted: at $\theta_{old}$ this is the loss
    `linearised`, and `config.inner_loss` is not read. The KL divergence is that of the policies *before* adaptation, on
    the states of the first support. The penalty between inner steps, and the adaptive weight of the released code, are
    left out.

    Source: Rothfuss et al. (2019), section 6.
    """

    def __init__(self, theta: Params, config: MAMLConfig) -> None:
        check_outer("promp", config)
        self.theta, self.config, self.adam = theta, config, adam(theta, config)

    def step(
        self,
        tasks: TaskDistribution,
        policy: MLPPolicy,
        task: Task,
        noise: Sequence[Noise],
    ) -> tuple[Tensor, Seen]:
        """Changes theta in place by `config.epochs` steps; returns `[inner_steps + 1, N]`, and what happened."""
        config, batches, acted = self.config, [], []
        params = tile(self.theta, len(noise[0].action))
        for step, drawn in enumerate(noise):
            batch = sample(tasks, policy, params, task, config, drawn)
            batches.append(batch)
            with torch.no_grad():
                acted.append(policy.log_prob(params, batch.observations, batch.actions))
            if step < config.inner_steps:
                rates = step_sizes(params, config, step)
                params = adapt(policy, params, batch, linearised, rates, False)
        *support, query = batches
        graph, first = differentiable(config), support[0]
        old = detached(self._before(policy, first))
        for _ in range(config.epochs):
            params = readapt(policy, self.theta, support, config, graph, acted)
            log_prob = policy.log_prob(params, query.observations, query.actions)
            kl = mean_kl(policy, old, self._before(policy, first), first.mask)
            surrogate = clipped(log_prob, acted[-1], query, config.clip).mean()
            loss = surrogate + config.kl_penalty * kl
            norm = self.adam.step(list(gradients(loss, self.theta).values()))
        self.adam.end_iteration()
        with torch.no_grad():
            kl = mean_kl(policy, old, self._before(policy, first), first.mask)
        return mean_returns(batches), {"grad_norm": norm, "kl": kl.item()}

    def _before(self, policy: MLPPolicy, first: Rollout) -> Distribution:
        """The policies before adaptation, on the states of the first support."""
        theta = tile(self.theta, len(first.rewards))
        return policy.distribution(theta, first.observations)


def some_episodes(batch: Rollout, count: int) -> Rollout:
    """The first `count` episodes of every task."""
    return batch.each(lambda x: x[:, :count])


def check_outer(outer: str, config: MAMLConfig) -> None:
    """Raises a ValueError for what an update that re-uses its episodes cannot do."""
    if config.algorithm in ("reptile", "e_maml"):
        raise ValueError(
            f"outer = {outer!r} improves an objective with the episodes held fixed, "
            f"and algorithm = {config.algorithm!r} has none: use outer='adam'."
        )
    if config.chunk_size is not None:
        raise ValueError(
            f"outer = {outer!r} differentiates all tasks at once: leave out "
            f"chunk_size={config.chunk_size}."
        )
    if config.inner_steps == 0:
        raise ValueError(
            f"outer = {outer!r} needs at least one inner step, got inner_steps = 0: "
            "use outer='adam'."
        )
