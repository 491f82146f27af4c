"""Actor and critic on whole trials: the numbers of an RL2 run, its loss, and its two updates, A2C and PPO."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from .distributions import Distribution
from .losses import check_loss, clipped
from .optim import ClippedAdam
from .recurrent import GRUPolicy
from .returns import compared, trial_gae
from .tasks.base import check_positive
from .types import Params, Rollout

#: What an update did, for the history.
Seen = dict[str, float]


@dataclass(frozen=True)
class RL2Config:
    """The numbers of an RL2 run."""

    iterations: int = 1000  # meta-updates, each on fresh tasks
    num_tasks: int = 32  # N, tasks of each meta-batch
    trials: int = 8  # independent trials of each task, B = N x trials in all; advantages are compared among them
    common_noise: bool = False  # the trials of a task have the same luck in the world, and differ by their actions
    episodes: int = 10  # E, episodes of a trial
    algorithm: str = "a2c"  # or "ppo"
    lr: float = 1e-2  # of Adam
    final_lr: float | None = 0.0  # lr falls to this on a straight line over the iterations; None: it stays
    discount: float = 0.99  # gamma, per step of a trial, through the ends of its episodes
    final_discount: float | None = None  # gamma goes to this on a straight line over the iterations; None: it stays
    gae_lambda: float = 0.95  # lambda, likewise
    entropy: float = 0.02  # weight of the entropy at first
    final_entropy: float = 0.0  # and in the end, on a straight line
    value_weight: float = 0.05  # weight of the critic's squared error
    critic_trains_memory: bool = True  # the error's gradient goes on into the memory; False: it stops at the head
    reward_scale: float = 1.0  # the critic learns rewards times this; the network reads them as they are
    normalise: bool = True  # advantages to mean 0 among a task's trials, step by step, and to spread 1 (`compared`)
    max_grad_norm: float = 1.0  # clips the gradient's length
    clip: float = 0.2  # "ppo": epsilon, how far from 1 a ratio still counts
    epochs: int = 2  # "ppo": passes over the same trials
    minibatches: int = 8  # "ppo": parts of the trials, one step of Adam each; a trial is never cut

    def __post_init__(self) -> None:
        check_positive(
            **{n: getattr(self, n) for n in ("iterations", "num_tasks", "trials", "episodes", "epochs", "minibatches")}
        )
        for name in ("common_noise", "critic_trains_memory", "normalise"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} = {getattr(self, name)!r}: True or False is needed.")
        for name in ("lr", "reward_scale", "max_grad_norm", "clip"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"{name} = {value!r}: a positive number is needed, such as {name}=0.1.")
        for name in ("discount", "gae_lambda"):
            if not isinstance(getattr(self, name), int | float) or not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)!r}: it must lie between 0 and 1, such as {name}=0.99.")
        for name in ("entropy", "final_entropy", "value_weight"):
            if not isinstance(getattr(self, name), int | float) or not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)!r}: a number of at least 0 is needed, or 0 for none.")
        final = self.final_discount
        if final is not None and not (isinstance(final, int | float) and 0 <= final <= 1):
            raise ValueError(f"final_discount = {final!r}: it must lie between 0 and 1, or be None, to stay.")
        final = self.final_lr
        if final is not None and not (isinstance(final, int | float) and 0 <= final <= self.lr):
            raise ValueError(f"final_lr = {self.final_lr!r}: it must lie between 0 and lr = {self.lr}.")
        if self.algorithm not in UPDATES:
            raise ValueError(f"algorithm = {self.algorithm!r}: choose one of {', '.join(map(repr, UPDATES))}.")
        count = self.num_tasks * self.trials
        if self.algorithm == "ppo" and self.minibatches > count:
            raise ValueError(f"minibatches = {self.minibatches}: only {count} trials (num_tasks times trials) to part.")
        if self.common_noise and self.trials == 1:
            raise ValueError("common_noise=True, trials = 1: no other trial to share luck with; set trials=8, say.")
        if self.normalise and count == 1:
            raise ValueError("num_tasks = trials = 1: nothing to compare one trial with; set normalise=False.")

    def entropy_at(self, iteration: int) -> float:
        """The weight of the entropy in an iteration."""
        return self.entropy + (self.final_entropy - self.entropy) * iteration / self.iterations

    def discount_at(self, iteration: int) -> float:
        """The discount in an iteration."""
        final = self.discount if self.final_discount is None else self.final_discount
        return self.discount + (final - self.discount) * iteration / self.iterations


def with_trial_advantages(batch: Rollout, values: Tensor, config: RL2Config) -> tuple[Rollout, Tensor]:
    """The same trials with their advantages, and what the critic is to learn, `[B, E, T]` both."""
    scaled = replace(batch, rewards=config.reward_scale * batch.rewards)
    advantages = trial_gae(scaled, values, config.discount, config.gae_lambda)
    targets = advantages + values
    if config.normalise:
        group = config.trials if config.trials > 1 else len(advantages)
        advantages = compared(advantages, batch.mask, group)
    return replace(batch, advantages=advantages), targets


def judge(
    policy: GRUPolicy, theta: Params, inputs: Tensor, batch: Rollout, config: RL2Config
) -> tuple[Distribution, Tensor, Tensor]:
    """One pass over whole trials: distributions `[B, E, T, A]`, values `[B, E, T]`, the actor's memory `[B, L, H]`."""
    memory, critic = policy.unroll(theta, inputs)  # [B, L, H] each
    if not (config.critic_trains_memory or policy.separate):
        critic = critic.detach()  # what the critic would like to remember does not disturb what the actor needs
    actor, critic = (m.reshape(*batch.rewards.shape, m.shape[-1]) for m in (memory, critic))  # [B, E, T, H]
    return policy.distribution(theta, actor), policy.value(theta, critic), memory


def trial_loss(
    policy: GRUPolicy,
    chosen: Distribution,
    values: Tensor,
    batch: Rollout,
    targets: Tensor,
    old_log_prob: Tensor,
    config: RL2Config,
    bonus: float,
) -> tuple[Tensor, Seen]:
    r"""The loss of both algorithms: policy, critic and entropy, the mean over the steps of each trial and over trials.

    $$ L = \frac1B \sum_i \left[ L^{clip}_i + \frac c2\, \frac{\sum m\, (V - \hat V)^2}{\sum m}
         - \beta\, \frac{\sum m\, H(\pi)}{\sum m} \right] $$

    with $\hat V$ = `targets`, c = `value_weight` and $\beta$ = `bonus`. Nothing is clipped for "a2c".

    Source: Mnih et al. (2016), section 4; Schulman et al. (2017), equation 9.
    """
    log_prob = policy.log_prob_of(chosen, batch.actions)
    clip = config.clip if config.algorithm == "ppo" else None
    surrogate = clipped(log_prob, old_log_prob, batch, clip).mean()
    entropy = _mean(policy.entropy(chosen), batch.mask)
    error = _mean((values - targets).square(), batch.mask)
    loss = surrogate + config.value_weight * error / 2 - bonus * entropy
    check_loss(loss, "of a batch of trials")
    kl = _mean(old_log_prob - log_prob.detach(), batch.mask)
    return loss, {"entropy": entropy.item(), "value_error": error.item(), "kl": kl.item()}


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    return ((x * mask).sum((1, 2)) / mask.sum((1, 2))).mean()


def a2c(
    policy: GRUPolicy,
    theta: Params,
    adam: ClippedAdam,
    batch: Rollout,
    config: RL2Config,
    bonus: float,
    gen: torch.Generator,
) -> Seen:
    """Advantage actor-critic: one step of Adam along the gradient through the memory, from end to end of the trials.

    Source: Mnih et al. (2016), section 4; Wang et al. (2016), section 2.3.
    """
    chosen, values, memory = judge(policy, theta, policy.inputs(batch), batch, config)
    batch, targets = with_trial_advantages(batch, values.detach(), config)
    log_prob = policy.log_prob_of(chosen, batch.actions).detach()
    loss, seen = trial_loss(policy, chosen, values, batch, targets, log_prob, config, bonus)
    loss = loss + policy.own_loss(theta, memory, batch)
    return seen | {"grad_norm": adam.step(torch.autograd.grad(loss, list(theta.values())))}


def ppo(
    policy: GRUPolicy,
    theta: Params,
    adam: ClippedAdam,
    batch: Rollout,
    config: RL2Config,
    bonus: float,
    gen: torch.Generator,
) -> Seen:
    """Proximal policy optimisation: several steps on the same trials, each on some of them.

    A minibatch holds whole trials: to cut them in time would empty the memory in the middle of a lesson.

    Source: Schulman et al. (2017), algorithm 1.
    """
    inputs = policy.inputs(batch)
    with torch.no_grad():
        chosen, values, _ = judge(policy, theta, inputs, batch, config)
        old_log_prob = policy.log_prob_of(chosen, batch.actions)
    batch, targets = with_trial_advantages(batch, values, config)
    for _ in range(config.epochs):
        for part in torch.randperm(len(inputs), generator=gen, device=gen.device).tensor_split(config.minibatches):
            some = some_trials(batch, part)
            chosen, values, memory = judge(policy, theta, inputs[part], some, config)
            loss, seen = trial_loss(policy, chosen, values, some, targets[part], old_log_prob[part], config, bonus)
            loss = loss + policy.own_loss(theta, memory, some)
            seen["grad_norm"] = adam.step(torch.autograd.grad(loss, list(theta.values())))
    return seen


def some_trials(batch: Rollout, index: Tensor) -> Rollout:
    """Some of the trials."""
    return replace(batch, **{f.name: getattr(batch, f.name)[index] for f in fields(batch)})


#: Updates by name (`RL2Config.algorithm`): each changes theta in place, and says what happened.
UPDATES: dict[str, Callable[..., Seen]] = {"a2c": a2c, "ppo": ppo}
