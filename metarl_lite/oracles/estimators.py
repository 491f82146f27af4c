r"""What each estimator of the meta-gradient is worth, exactly: its expectation and its spread, by enumeration.

Two objectives go by the name of MAML's. With $\phi = \theta + \alpha\, \hat g(\theta)$ one step uphill,

$$ J_{II}(\theta) = \frac1N \sum_i
     \mathbb E_{\text{support} \sim \pi_\theta}\big[ J_i(\theta + \alpha\, \hat g_i) \big], \qquad
   J_{I}(\theta) = \frac1N \sum_i J_i\big(\theta + \alpha\, \mathbb E[\hat g_i]\big) : $$

the value after the step that will really be taken, from a finite support, and the value after the step that an
infinite support would give. Both problems here have so few supports that every one can be listed.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..tasks.base import check_positive
from .tabular import policy_value


@dataclass(frozen=True)
class MetaGradients:
    """Two objectives, their gradients, and what each estimator is on average.

    Each name is an attribute and a key: `found.plain` and `found["plain"]`. Gradients are floats where there is one
    parameter, else tensors shaped like it. The gradient after the step is taken to be exact, so that `deviation` is the
    spread that the support causes: the root of the variance, summed over parameters, for each estimator by name.
    """

    objective: Any  # J (II)
    objective_expected: Any  # J (I)
    exact_sampled: Any  # the gradient of J (II)
    exact_expected: Any  # the gradient of J (I)
    first_order: Any  # the gradient after the step; the step counts as a constant
    plain: Any  # autodiff through the sampled step
    dice: Any  # autodiff through the step of DiCE's loss: an unbiased Hessian
    linearised: Any  # autodiff through the step of the LVC loss: a Hessian of low variance
    e_maml: Any  # plain, and the sampling term
    dice_sampled: Any  # DiCE's Hessian, and the sampling term
    deviation: dict[str, float] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


ESTIMATORS = ("first_order", "plain", "dice", "linearised", "e_maml", "dice_sampled")


def combine(gain: Tensor, slope: Tensor, score: Tensor, hessians: dict[str, Tensor], lr: float) -> dict[str, Tensor]:
    r"""What each estimator says on every support; with D parameters and J supports, all `[J, D]`.

    $$ \text{plain} = (I + \alpha \hat H)\, \nabla J(\phi), \qquad
       \text{sampling term} = \big(J(\phi) - b\big)\, \nabla \log p_\theta(\text{support}) $$

    Args:
        gain: J(phi) less the baseline b, `[J]`; b changes the spread and not the mean. Here it is the objective.
        slope: its gradient at phi, `[J, D]`.
        score: the gradient of the log-probability of the support, `[J, D]`.
        hessians: the derivative of the sampled gradient as plain autodiff, DiCE and LVC have it, `[J, D, D]`.
        lr: alpha.
    """
    found = {"first_order": slope}
    for name, hessian in hessians.items():
        found[name] = slope + lr * (hessian @ slope.unsqueeze(-1)).squeeze(-1)  # [J, D]
    credit = gain.unsqueeze(-1) * score
    return found | {"e_maml": found["plain"] + credit, "dice_sampled": found["dice"] + credit}


def one_parameter_meta_gradient(theta: float, w: float, alpha: float, pulls: int) -> MetaGradients:
    r"""The one-parameter bandit: $\pi(a = 1) = \sigma(\theta)$, and one step from a handful of pulls.

    With probability w the task pays 1 for arm 1, else for arm 0. The step is $\theta + \alpha \hat g$ with
    $\hat g = \frac1n \sum_j r_j \nabla \log \pi(a_j)$ over n pulls, without a baseline; the objective is the
    expected reward after it. A support is told by how many of its pulls were of arm 1, which is binomial. One pull is
    one episode of one step, so DiCE and LVC agree here.

    Args:
        theta: the initialisation.
        w: the probability of the task that pays for arm 1.
        alpha: the inner learning rate.
        pulls: n, in the support.

    Returns:
        Everything as floats.

    Raises:
        ValueError: if w is no probability, `pulls` no positive integer, or a number not finite.
    """
    check_positive(pulls=pulls)
    for name, given in (("theta", theta), ("w", w), ("alpha", alpha)):
        if not isinstance(given, numbers.Real):
            raise ValueError(f"{name} = {given!r}: one number is needed, such as {name}=0.5.")
    if not 0 <= w <= 1:
        raise ValueError(f"w = {w}: the share of the tasks that pay for arm 1 lies between 0 and 1, such as w=0.5.")
    if not (math.isfinite(theta) and math.isfinite(alpha)):
        raise ValueError(f"theta = {theta}, alpha = {alpha}: finite numbers are needed, such as theta=1.0, alpha=2.0.")
    x = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    n, p = pulls, x.sigmoid()
    ones = torch.arange(n + 1, dtype=torch.float64)  # how many pulls were of arm 1
    ways = math.lgamma(n + 1) - torch.lgamma(ones + 1) - torch.lgamma(n - ones + 1)
    chance = (ways + ones * torch.nn.functional.logsigmoid(x) + (n - ones) * torch.nn.functional.logsigmoid(-x)).exp()
    # Both tasks, one after the other: which share of the pulls paid, d log pi of the arm that pays, and its sign.
    share = torch.cat([ones, n - ones]) / n  # [2 (n + 1)]
    sign = torch.cat([torch.ones(n + 1), -torch.ones(n + 1)]).double()
    weight = torch.cat([w * chance, (1 - w) * chance])
    slope_of = torch.where(sign > 0, 1 - p, -p)
    value = (sign * (x + alpha * share * slope_of)).sigmoid()  # J of the task at phi
    objective = (weight * value).sum()
    step = x + alpha * p * (1 - p), x - alpha * p * (1 - p)  # from an infinite support
    expected = w * step[0].sigmoid() + (1 - w) * (-step[1]).sigmoid()
    exact = [torch.autograd.grad(y, x, retain_graph=True)[0].item() for y in (objective, expected)]
    with torch.no_grad():
        curved = (share * (slope_of**2 - p * (1 - p))).reshape(-1, 1, 1)  # of the likelihood, over the likelihood
        hessians = {"plain": (-share * p * (1 - p)).reshape(-1, 1, 1), "dice": curved, "linearised": curved}
        slope = (sign * value * (1 - value)).unsqueeze(-1)
        score = (torch.cat([ones, ones]) - n * p).unsqueeze(-1)
        means, deviation = _moments(weight, combine(value - objective, slope, score, hessians, alpha))
    scalars: dict[str, Any] = {name: mean.item() for name, mean in means.items()}
    return MetaGradients(objective.item(), expected.item(), exact[0], exact[1], **scalars, deviation=deviation)


def tabular_meta_gradient(
    logits: Tensor, transitions: Tensor, rewards: Tensor, horizon: int, alpha: float, episodes: int = 1
) -> MetaGradients:
    r"""The same for a softmax policy in small decision processes with deterministic rewards.

    $J_i$ is the expected reward of a step, $V_0(s_0) / T$, by dynamic programming; $\hat g$ is the mean over the steps
    of E episodes of $\nabla \log \pi(a_t \mid s_t)\, G_t$ with undiscounted returns $G_t$ and without a baseline.
    Supports are all lists of E episodes, of which there are $(A\,(SA)^{T-1})^E$.

    Args:
        logits: theta, `[S, A]`.
        transitions: P of each task, `[N, S, A, S]`.
        rewards: of each task, `[N, S, A]`.
        horizon: T.
        alpha: the inner learning rate.
        episodes: E.

    Returns:
        Gradients `[S, A]`.

    Raises:
        ValueError: if there are more than a million supports; the message says how many.
    """
    check_positive(horizon=horizon, episodes=episodes)
    size, theta = logits.numel(), logits.detach().double().requires_grad_()
    many = (logits.shape[1] * size ** (horizon - 1)) ** episodes
    if many > 1_000_000:
        raise ValueError(f"{many:,} supports are too many to list; a million is the limit: use a shorter horizon.")
    totals: list[tuple[Tensor, Tensor]] = []  # J (II) and J (I) of each task
    weights: list[Tensor] = []
    parts: list[tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]] = []
    for p, r in zip(transitions.double(), rewards.double(), strict=True):
        episode = list_episodes(p, r, horizon)
        log_chance, step, hessians = _supports(theta, episode, episodes)
        phi = theta + alpha * step.reshape(-1, *theta.shape)  # [J, S, A]
        value = (
            policy_value(phi.softmax(-1), p.expand(len(phi), *p.shape), r.expand_as(phi), horizon)[0][:, 0] / horizon
        )
        (slope,) = torch.autograd.grad(value.sum(), phi, retain_graph=True)
        expected_step = torch.autograd.grad(_value(theta, p, r, horizon), theta, create_graph=True)[0]
        totals.append(((log_chance.exp() * value).sum(), _value(theta + alpha * expected_step, p, r, horizon)))
        weights.append(log_chance.exp() / len(transitions))
        score = _sums(_scores(theta, episode).sum(1), episodes).detach()
        parts.append((value.detach(), slope.flatten(1), score, hessians))
    objective, expected = (torch.stack(part).mean() for part in zip(*totals, strict=True))
    exact = [torch.autograd.grad(y, theta, retain_graph=True)[0] for y in (objective, expected)]
    found = [combine(value - objective.detach(), slope, score, h, alpha) for value, slope, score, h in parts]
    means, deviation = _moments(torch.cat(weights), {k: torch.cat([f[k] for f in found]) for k in ESTIMATORS})
    tensors: dict[str, Any] = {name: mean.reshape(theta.shape) for name, mean in means.items()}
    return MetaGradients(objective.item(), expected.item(), exact[0], exact[1], **tensors, deviation=deviation)


@dataclass(frozen=True)
class Episodes:
    """Every episode that can happen, M of them: the steps, what they pay, and the chance that the world has in it."""

    states: Tensor  # [M, T]
    actions: Tensor  # [M, T]
    rewards: Tensor  # [M, T]
    chance: Tensor  # [M] product of the transition probabilities


def list_episodes(transitions: Tensor, rewards: Tensor, horizon: int) -> Episodes:
    """All sequences of `horizon` states and actions from state 0; `transitions` `[S, A, S]`, `rewards` `[S, A]`."""
    s, a = rewards.shape
    pairs = torch.cartesian_prod(*[torch.arange(s * a)] * horizon).reshape(-1, horizon)  # [(S A)^T, T]
    pairs = pairs[pairs[:, 0] < a]  # the first state is 0
    states, actions = pairs // a, pairs % a
    chance = transitions[states[:, :-1], actions[:, :-1], states[:, 1:]].prod(-1)
    return Episodes(states, actions, rewards[states, actions], chance)


def _value(theta: Tensor, transitions: Tensor, rewards: Tensor, horizon: int) -> Tensor:
    return policy_value(theta.softmax(-1), transitions, rewards, horizon)[0][0] / horizon


def _scores(theta: Tensor, episode: Episodes) -> Tensor:
    """The gradient of log pi(a|s) at every step, `[M, T, D]`: one-hot(a) - pi(s), in the row of s."""
    s, a = theta.shape
    rows = torch.nn.functional.one_hot(episode.states, s).to(theta.dtype)  # [M, T, S]
    inside = torch.nn.functional.one_hot(episode.actions, a) - theta.softmax(-1)[episode.states]  # [M, T, A]
    return (rows.unsqueeze(-1) * inside.unsqueeze(-2)).flatten(2)


def _sums(each: Tensor, count: int) -> Tensor:
    """Sums over all ordered sets of `count` episodes: `[M, ...]` gives `[M^count, ...]`."""
    total = each
    for _ in range(count - 1):
        total = (total.unsqueeze(1) + each.unsqueeze(0)).flatten(0, 1)
    return total


def _supports(theta: Tensor, episode: Episodes, count: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """For every support: its log-probability `[J]` and step `[J, D]`, differentiable, and three Hessians."""
    steps = episode.rewards.shape[1] * count
    log_pi = theta.log_softmax(-1)[episode.states, episode.actions].sum(-1)  # [M]
    score = _scores(theta, episode)  # [M, T, D]
    to_go = episode.rewards.flip(-1).cumsum(-1).flip(-1).unsqueeze(-1)  # G, [M, T, 1]
    step = _sums((score * to_go).sum(1), count) / steps
    with torch.no_grad():
        second = _seconds(theta)[episode.states]  # [M, T, D, D]
        outer, past = score.unsqueeze(-1) * score.unsqueeze(-2), score.cumsum(1)
        both = past.unsqueeze(-1) * past.unsqueeze(-2) + second.cumsum(1)  # of the past's probability, over it
        each = {
            "plain": (second * to_go.unsqueeze(-1)).sum(1),
            "dice": (both * episode.rewards[..., None, None]).sum(1),  # as Foerster et al. have it: a box per reward
            "linearised": ((second + outer) * to_go.unsqueeze(-1)).sum(1),
        }
        hessians = {name: _sums(h, count) / steps for name, h in each.items()}  # [J, D, D]
    return _sums(log_pi + episode.chance.log(), count), step, hessians


def _seconds(theta: Tensor) -> Tensor:
    """The Hessian of log pi(a|s) in each state, `[S, D, D]`: pi pi^T - diag(pi), in the block of s, for every a."""
    s, a = theta.shape
    pi = theta.softmax(-1)
    full = theta.new_zeros(s, s, a, s, a)
    for state in range(s):
        full[state, state, :, state] = torch.outer(pi[state], pi[state]) - torch.diag(pi[state])
    return full.reshape(s, s * a, s * a)


def _moments(weight: Tensor, found: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Mean `[D]` of each estimator `[J, D]` over supports, and the root of its total variance."""
    weight = weight.detach().unsqueeze(-1)
    means = {name: (weight * x).sum(0) for name, x in found.items()}
    spread = {name: (weight * (x - means[name]) ** 2).sum().sqrt().item() for name, x in found.items()}
    return means, spread
