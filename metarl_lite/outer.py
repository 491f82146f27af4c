"""Outer updates that re-use their episodes: TRPO takes one trusted step from them, ProMP several clipped ones.

Adam's update needs the meta-gradient at one point. These need the objective around it, with the episodes held fixed: the
*surrogate*, in which every task is adapted anew, from the same support, at each theta that is tried.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor

from .distributions import Distribution
from .inner import STEP_SIZES, MAMLConfig, adapt, check_loss, one_rate, sample
from .losses import LOSSES, clipped
from .optim import conjugate_gradient, gauss_newton_product, line_search, to_params, to_vector
from .policies import MLPPolicy, tile
from .rollout import Noise
from .tasks.base import TaskDistribution
from .types import Params, Rollout, Task

#: What an update did, for the history: `grad_norm`, `kl`, `accepted`.
Seen = dict[str, float]


def collect(
    tasks: TaskDistribution, policy: MLPPolicy, theta: Params, task: Task, config: MAMLConfig, noise: Sequence[Noise]
) -> tuple[list[Rollout], Tensor]:
    """The episodes of every inner step and a last batch after them; and mean returns `[inner_steps + 1, N]`."""
    batches: list[Rollout] = []
    for drawn in noise:
        params = readapt(policy, theta, batches, config, len(drawn.action), create_graph=False)
        batches.append(sample(tasks, policy, params, task, config, drawn))
    return batches, torch.stack([batch.returns().mean(1) for batch in batches])


def readapt(
    policy: MLPPolicy, theta: Params, support: Sequence[Rollout], config: MAMLConfig, num_tasks: int, create_graph: bool
) -> Params:
    """Every task adapted from `theta` on episodes that exist already; leaves `[N, ...]`."""
    params = tile(theta, num_tasks)
    rates = STEP_SIZES.get(config.algorithm, one_rate)(params, config.inner_lr)
    for batch in support:
        params = adapt(policy, params, batch, LOSSES[config.inner_loss], rates, create_graph)
    return params


def mean_kl(policy: MLPPolicy, old: Distribution, new: Distribution, mask: Tensor) -> Tensor:
    """KL(old || new), the mean over the steps of each task and over tasks: one number."""
    return ((policy.kl(old, new) * mask).sum((1, 2)) / mask.sum((1, 2))).mean()


class TrustRegion:
    r"""TRPO: the natural gradient, as far as the adapted policies change by no more than `max_kl` on average.

    $$ \max_{\theta}\; \frac1N \sum_i \hat{\mathbb E}\left[
         \frac{\pi_{\phi_i(\theta)}(a \mid s)}{\pi_{\phi_i(\theta_{old})}(a \mid s)}\, \hat A \right]
       \quad\text{where}\quad
       \frac1N \sum_i \mathrm{KL}\big(\pi_{\phi_i(\theta_{old})} \,\|\, \pi_{\phi_i(\theta)}\big) \le \delta $$

    The direction is $F^{-1} g$ by conjugate gradients. F is taken on `config.curvature_episodes` of each task's
    episodes: it shapes the direction only, while the line search holds the bound on all of them.

    Source: Schulman et al. (2015), appendix C; Finn et al. (2017), section 5.3, for its use here.
    """

    def __init__(self, theta: Params, config: MAMLConfig) -> None:
        refuse_reptile_and_chunks("trpo", config)
        self.theta, self.config = theta, config

    def step(
        self, tasks: TaskDistribution, policy: MLPPolicy, task: Task, noise: Sequence[Noise]
    ) -> tuple[Tensor, Seen]:
        """Changes theta in place, or leaves it as it was and warns; returns of the episodes, and what happened."""
        config, start = self.config, to_vector(self.theta).detach()
        batches, returns = collect(tasks, policy, self.theta, task, config, noise)
        loss, old, old_log_prob = self._at(policy, self.theta, batches, graph=config.algorithm != "fomaml")
        gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(self.theta.values()))])
        check_loss(gradient, "in the meta-gradient")
        fisher = self._fisher(policy, batches)
        direction = conjugate_gradient(lambda v: fisher(v) + config.damping * v, -gradient, config.cg_iterations)
        curvature = direction @ (fisher(direction) + config.damping * direction)
        step = (2 * config.max_kl / curvature).sqrt() * direction

        def judge(vector: Tensor) -> tuple[float, float]:
            leaves = {name: p.requires_grad_() for name, p in to_params(vector, self.theta).items()}
            loss, new, _ = self._at(policy, leaves, batches, False, old_log_prob)
            return loss.item(), mean_kl(policy, old, new, batches[-1].mask).item()

        after, kl, accepted = line_search(judge, start, step, config.max_kl)
        if not accepted:
            warnings.warn(f"trpo: no step improves within a KL of {config.max_kl}; theta stays.", stacklevel=2)
        with torch.no_grad():
            for p, value in zip(self.theta.values(), to_params(after, self.theta).values(), strict=True):
                p.copy_(value)
        return returns, {"grad_norm": gradient.norm().item(), "kl": kl, "accepted": float(accepted)}

    def _at(
        self, policy: MLPPolicy, theta: Params, batches: Sequence[Rollout], graph: bool, old: Tensor | None = None
    ) -> tuple[Tensor, Distribution, Tensor]:
        """The surrogate at some theta, the adapted policies' distributions there, and their log-probabilities."""
        query = batches[-1]
        params = readapt(policy, theta, batches[:-1], self.config, len(query.rewards), graph)
        with torch.set_grad_enabled(old is None):
            loss = clipped(policy, params, query, old)
            with torch.no_grad():
                chosen = policy.distribution(params, query.observations)
                log_prob = policy.log_prob(params, query.observations, query.actions)
        return loss.mean(), chosen, log_prob

    def _fisher(self, policy: MLPPolicy, batches: Sequence[Rollout]) -> Callable[[Tensor], Tensor]:
        few = [some_episodes(batch, self.config.curvature_episodes) for batch in batches]

        def outputs(theta: Params) -> Params:
            params = readapt(policy, theta, few[:-1], self.config, len(few[-1].rewards), create_graph=True)
            return policy.distribution(params, few[-1].observations)

        old = {name: out.detach() for name, out in outputs(self.theta).items()}
        return gauss_newton_product(outputs, lambda new: mean_kl(policy, old, new, few[-1].mask), self.theta)


class Proximal:
    r"""ProMP: several steps of Adam on a clipped surrogate, held near the old initialisation by a KL penalty.

    $$ \min_\theta\; \frac1N \sum_i L^{clip}_i\big(\phi_i(\theta)\big)
       + \eta\, \mathrm{KL}\big(\pi_{\theta_{old}} \,\|\, \pi_\theta\big) $$

    The penalty is on the policies *before* adaptation, on the states of the first support. With
    `inner_loss="linearised"` the inner gradient is the low-variance one of the paper. Its penalty between the inner
    steps, and the adaptive weight of the released code, are left out.

    Source: Rothfuss et al. (2019), equations 12 to 14.
    """

    def __init__(self, theta: Params, config: MAMLConfig) -> None:
        refuse_reptile_and_chunks("promp", config)
        self.theta, self.config = theta, config
        self.optimiser = torch.optim.Adam(theta.values(), lr=config.outer_lr)

    def step(
        self, tasks: TaskDistribution, policy: MLPPolicy, task: Task, noise: Sequence[Noise]
    ) -> tuple[Tensor, Seen]:
        """Changes theta in place by `config.epochs` steps; returns of the episodes, and what happened."""
        config, num_tasks = self.config, len(noise[0].action)
        batches, returns = collect(tasks, policy, self.theta, task, config, noise)
        first, query, old_log_prob, old = batches[0], batches[-1], None, None
        for _ in range(config.epochs):
            graph = config.algorithm != "fomaml"
            params = readapt(policy, self.theta, batches[:-1], config, num_tasks, graph)
            loss = clipped(policy, params, query, old_log_prob, config.clip).mean()
            start = policy.distribution(tile(self.theta, num_tasks), first.observations)
            if old is None:
                old = {name: out.detach() for name, out in start.items()}
                with torch.no_grad():
                    old_log_prob = policy.log_prob(params, query.observations, query.actions)
            kl = mean_kl(policy, old, start, first.mask)
            self.optimiser.zero_grad()
            (loss + config.kl_penalty * kl).backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.clip_grad_norm_(self.theta.values(), config.max_grad_norm)
            check_loss(norm, "in the length of the meta-gradient")
            self.optimiser.step()
        return returns, {"grad_norm": norm.item(), "kl": kl.item(), "accepted": 1.0}


def some_episodes(batch: Rollout, count: int) -> Rollout:
    """The first `count` episodes of every task."""
    return replace(batch, **{f.name: getattr(batch, f.name)[:, :count] for f in fields(batch)})


def refuse_reptile_and_chunks(outer: str, config: MAMLConfig) -> None:
    """Raises a ValueError for what this update cannot do."""
    if config.algorithm == "reptile":
        raise ValueError(f"outer = {outer!r} needs an objective, and Reptile has none: use outer='adam'.")
    if config.chunk_size is not None:
        raise ValueError(
            f"outer = {outer!r} differentiates all tasks at once: leave out chunk_size={config.chunk_size}."
        )
