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
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..given import counts, number
from ..tasks.base import check_positive
from .supports import list_episodes, list_supports, scores, sums
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
    # autodiff through the step of the LVC loss: a Hessian of low variance
    linearised: Any
    e_maml: Any  # plain, and the sampling term
    dice_sampled: Any  # DiCE's Hessian, and the sampling term
    deviation: dict[str, float] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


ESTIMATORS = ("first_order", "plain", "dice", "linearised", "e_maml", "dice_sampled")


def combine(
    gain: Tensor, slope: Tensor, score: Tensor, hessians: dict[str, Tensor], lr: float
) -> dict[str, Tensor]:
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
    return found | {
        "e_maml": found["plain"] + credit,
        "dice_sampled": found["dice"] + credit,
    }


@torch.inference_mode(False)  # gradients are on, wherever this is called
def one_parameter_meta_gradient(
    theta: float, w: float, alpha: float, pulls: int
) -> MetaGradients:
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
    theta, w, alpha, pulls = _numbers(theta, w, alpha, pulls)
    x = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    n, p = pulls, x.sigmoid()
    ones = torch.arange(n + 1, dtype=torch.float64)  # how many pulls were of arm 1
    chance = _binomial(x, ones, n)
    # Both tasks, one after the other: which share of the pulls paid, d log pi of the
    # arm that pays, and its sign.
    share = torch.cat([ones, n - ones]) / n  # [2 (n + 1)]
    sign = torch.cat([torch.ones(n + 1), -torch.ones(n + 1)]).double()
    weight = torch.cat([w * chance, (1 - w) * chance])
    slope_of = torch.where(sign > 0, 1 - p, -p)
    value = (sign * (x + alpha * share * slope_of)).sigmoid()  # J of the task at phi
    objective = (weight * value).sum()
    step = x + alpha * p * (1 - p), x - alpha * p * (1 - p)  # from an infinite support
    expected = w * step[0].sigmoid() + (1 - w) * (-step[1]).sigmoid()
    exact = _gradients(x, objective, expected)
    with torch.no_grad():
        curved = share * (slope_of**2 - p * (1 - p))  # of the likelihood, over it
        hessians = {"plain": -share * p * (1 - p), "dice": curved, "linearised": curved}
        hessians = {name: h.reshape(-1, 1, 1) for name, h in hessians.items()}
        slope = (sign * value * (1 - value)).unsqueeze(-1)
        score = (torch.cat([ones, ones]) - n * p).unsqueeze(-1)
        found = combine(value - objective, slope, score, hessians, alpha)
        means, deviation = _moments(weight, found)
    averages: dict[str, Any] = {name: mean.item() for name, mean in means.items()}
    return MetaGradients(
        objective.item(),
        expected.item(),
        exact[0].item(),
        exact[1].item(),
        deviation=deviation,
        **averages,
    )


def _numbers(
    theta: float, w: float, alpha: float, pulls: int
) -> tuple[float, float, float, int]:
    """All four as Python's own, if they are what they should be."""
    (pulls,) = counts(pulls=pulls)
    for name, given in (("theta", theta), ("w", w), ("alpha", alpha)):
        if number(given) is None:
            raise ValueError(
                f"{name} = {given!r}: one number is needed, such as {name}=0.5."
            )
    if not 0 <= w <= 1:
        raise ValueError(
            f"w = {w}: the share of the tasks that pay for arm 1 lies between 0 and 1, "
            "such as w=0.5."
        )
    if not (math.isfinite(theta) and math.isfinite(alpha)):
        raise ValueError(
            f"theta = {theta}, alpha = {alpha}: finite numbers are needed, such as "
            "theta=1.0, alpha=2.0."
        )
    return float(theta), float(w), float(alpha), pulls


def _binomial(x: Tensor, ones: Tensor, n: int) -> Tensor:
    """The probability of so many ones among n, each with probability sigmoid(x)."""
    ways = math.lgamma(n + 1) - torch.lgamma(ones + 1) - torch.lgamma(n - ones + 1)
    one, other = torch.nn.functional.logsigmoid(x), torch.nn.functional.logsigmoid(-x)
    return (ways + ones * one + (n - ones) * other).exp()


def _gradients(theta: Tensor, *objectives: Tensor) -> list[Tensor]:
    """The gradient of each objective."""
    return [torch.autograd.grad(y, theta, retain_graph=True)[0] for y in objectives]


@torch.inference_mode(False)  # gradients are on, wherever this is called
def tabular_meta_gradient(
    logits: Tensor,
    transitions: Tensor,
    rewards: Tensor,
    horizon: int,
    alpha: float,
    episodes: int = 1,
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
        raise ValueError(
            f"{many:,} supports are too many to list; a million is the limit: use a "
            "shorter horizon."
        )
    sampled, expected, weights, parts = [], [], [], []  # of each task
    for p, r in zip(transitions.double(), rewards.double(), strict=True):
        episode = list_episodes(p, r, horizon)
        log_chance, step, hessians = list_supports(theta, episode, episodes)
        phi = theta + alpha * step.reshape(-1, *theta.shape)  # [J, S, A]
        value = _value(phi, p, r, horizon)  # [J]
        (slope,) = torch.autograd.grad(value.sum(), phi, retain_graph=True)
        now = _value(theta.unsqueeze(0), p, r, horizon)
        (uphill,) = torch.autograd.grad(now.sum(), theta, create_graph=True)
        sampled.append((log_chance.exp() * value).sum())
        after = _value((theta + alpha * uphill).unsqueeze(0), p, r, horizon)
        expected.append(after.sum())
        weights.append(log_chance.exp() / len(transitions))
        score = sums(scores(theta, episode).sum(1), episodes).detach()
        parts.append((value.detach(), slope.flatten(1), score, hessians))
    objectives = torch.stack(sampled).mean(), torch.stack(expected).mean()
    base = objectives[0].detach()
    found = [combine(v - base, slope, sc, h, alpha) for v, slope, sc, h in parts]
    joined = {name: torch.cat([f[name] for f in found]) for name in ESTIMATORS}
    means, deviation = _moments(torch.cat(weights), joined)
    averages: dict[str, Any] = {n: x.reshape(theta.shape) for n, x in means.items()}
    exact = _gradients(theta, *objectives)
    return MetaGradients(
        objectives[0].item(),
        objectives[1].item(),
        exact[0],
        exact[1],
        deviation=deviation,
        **averages,
    )


def _value(theta: Tensor, transitions: Tensor, rewards: Tensor, horizon: int) -> Tensor:
    """The expected reward of a step of each policy: theta `[J, S, A]` gives `[J]`."""
    p, r = transitions.expand(len(theta), *transitions.shape), rewards.expand_as(theta)
    return policy_value(theta.softmax(-1), p, r, horizon)[0][:, 0] / horizon


def _moments(
    weight: Tensor, found: dict[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Mean `[D]` of each estimator `[J, D]` over supports, and the root of its total variance."""
    weight = weight.detach().unsqueeze(-1)
    means = {name: (weight * x).sum(0) for name, x in found.items()}
    spread = {
        name: (weight * (x - means[name]) ** 2).sum().sqrt().item()
        for name, x in found.items()
    }
    return means, spread
