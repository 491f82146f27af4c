"""Actor and critic on whole trials: the numbers of an RL2 run, its loss, and its two updates, A2C and PPO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..losses import check_loss, clipped
from ..optim import ClippedAdam
from ..policies.distributions import Distribution
from ..policies.gru import GRUPolicy
from ..returns import compared, trial_gae
from ..types import Params, Rollout
from .configs import Now, RL2Config

#: What an update did, for the history.
Seen = dict[str, float]


def with_trial_advantages(
    batch: Rollout, values: Tensor, config: RL2Config, discount: float
) -> tuple[Rollout, Tensor]:
    """The same trials with their advantages, and what the critic is to learn, `[B, E, T]` both."""
    scaled = replace(batch, rewards=config.reward_scale * batch.rewards)
    advantages = trial_gae(scaled, values, discount, config.gae_lambda)
    targets = advantages + values
    if config.normalise:
        group = config.trials if config.trials > 1 else len(advantages)
        advantages = compared(advantages, batch.mask, group)
    return replace(batch, advantages=advantages), targets


def judge(
    policy: GRUPolicy, theta: Params, inputs: Tensor, batch: Rollout, config: RL2Config
) -> tuple[Distribution, Tensor, Tensor]:
    """One pass over whole trials: distributions `[B, E, T, A]`, values `[B, E, T]`, the actor's memory `[B, L, H]`."""
    memory, critic = policy.recall(theta, inputs, batch.mask)  # [B, L, H] each
    return appraise(policy, theta, memory, critic, batch, config)


def look_back(
    policy: GRUPolicy, theta: Params, batch: Rollout, config: RL2Config
) -> tuple[Distribution, Tensor, Tensor]:
    """What `judge` says of trials that theta has just played: on its memories, where they were kept, without a pass."""
    if batch.memories is None or policy.separate:
        return judge(policy, theta, policy.inputs(batch), batch, config)
    return appraise(policy, theta, batch.memories, batch.memories, batch, config)


def appraise(
    policy: GRUPolicy,
    theta: Params,
    memory: Tensor,
    critic: Tensor,
    batch: Rollout,
    config: RL2Config,
) -> tuple[Distribution, Tensor, Tensor]:
    """Distributions and values, given the memories of actor and critic `[B, L, H]`; and the actor's once more."""
    # [B, E, T, H]
    acting, judging = (
        m.reshape(*batch.rewards.shape, m.shape[-1]) for m in (memory, critic)
    )
    if config.critic_trains_memory and not policy.separate:
        return *policy.outlook(theta, acting), memory
    if not policy.separate:
        # what the critic would like to remember does not disturb what the actor needs
        judging = judging.detach()
    return policy.distribution(theta, acting), policy.value(theta, judging), memory


def trial_loss(
    policy: GRUPolicy,
    chosen: Distribution,
    values: Tensor,
    batch: Rollout,
    targets: Tensor,
    old_log_prob: Tensor | None,
    config: RL2Config,
    bonus: float,
) -> tuple[Tensor, Seen]:
    r"""The loss of both algorithms: policy, critic and entropy, the mean over the steps of each trial and over trials.

    $$ L = \frac1B \sum_i \left[ L^{clip}_i + \frac c2\, \frac{\sum m\, (V - \hat V)^2}{\sum m}
         - \beta\, \frac{\sum m\, H(\pi)}{\sum m} \right] $$

    with $\hat V$ = `targets`, c = `value_weight` and $\beta$ = `bonus`. Nothing is clipped for "a2c". Without an
    `old_log_prob` it was this policy that acted.

    Source: Mnih et al. (2016), section 4; Schulman et al. (2017), equation 9.
    """
    log_prob = policy.log_prob_of(chosen, batch.actions)
    if old_log_prob is None:
        old_log_prob = log_prob.detach()
    clip = config.clip if config.algorithm == "ppo" else None
    surrogate = clipped(log_prob, old_log_prob, batch, clip).mean()
    entropy = _mean(policy.entropy(chosen), batch.mask)
    error = _mean((values - targets).square(), batch.mask)
    loss = surrogate + config.value_weight * error / 2 - bonus * entropy
    check_loss(loss, "of a batch of trials")
    kl = _mean(old_log_prob - log_prob.detach(), batch.mask)
    return loss, {
        "entropy": entropy.item(),
        "value_error": error.item(),
        "kl": kl.item(),
    }


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    return ((x * mask).sum((1, 2)) / mask.sum((1, 2))).mean()


def a2c(
    policy: GRUPolicy,
    theta: Params,
    adam: ClippedAdam,
    batch: Rollout,
    config: RL2Config,
    now: Now,
    gen: torch.Generator,
) -> Seen:
    """Advantage actor-critic: one step of Adam along the gradient through the memory, from end to end of the trials.

    Where the trials have kept their memories, this is the gradient through the acting itself.

    Source: Mnih et al. (2016), section 4; Wang et al. (2016), section 2.3.
    """
    chosen, values, memory = look_back(policy, theta, batch, config)
    baseline = values.detach()
    batch, targets = with_trial_advantages(batch, baseline, config, now.discount)
    loss, seen = trial_loss(
        policy, chosen, values, batch, targets, None, config, now.entropy
    )
    loss = loss + policy.own_loss(theta, memory, batch)
    return seen | {
        "grad_norm": adam.step(torch.autograd.grad(loss, list(theta.values())))
    }


def ppo(
    policy: GRUPolicy,
    theta: Params,
    adam: ClippedAdam,
    batch: Rollout,
    config: RL2Config,
    now: Now,
    gen: torch.Generator,
) -> Seen:
    """Proximal policy optimisation: several steps on the same trials, each on some of them.

    A minibatch holds whole trials: to cut them in time would empty the memory in the middle of a lesson.

    Source: Schulman et al. (2017), algorithm 1.
    """
    inputs = policy.inputs(batch)
    with torch.no_grad():
        chosen, values, _ = look_back(policy, theta, batch, config)
        old_log_prob = policy.log_prob_of(chosen, batch.actions)
    batch, targets = with_trial_advantages(batch, values, config, now.discount)
    batch = replace(batch, memories=None)  # after the first step they are others
    for _ in range(config.epochs):
        for part in torch.randperm(
            len(inputs), generator=gen, device=gen.device
        ).tensor_split(config.minibatches):
            some = some_trials(batch, part)
            chosen, values, memory = judge(policy, theta, inputs[part], some, config)
            aims, acted = targets[part], old_log_prob[part]
            loss, seen = trial_loss(
                policy, chosen, values, some, aims, acted, config, now.entropy
            )
            loss = loss + policy.own_loss(theta, memory, some)
            seen["grad_norm"] = adam.step(
                torch.autograd.grad(loss, list(theta.values()))
            )
    return seen


def some_trials(batch: Rollout, index: Tensor) -> Rollout:
    """Some of the trials."""
    return batch.each(lambda x: x[index])


#: Updates by name (`RL2Config.algorithm`): each changes theta in place, and says what
#: happened.
STEPS: dict[str, Callable[..., Seen]] = {"a2c": a2c, "ppo": ppo}
