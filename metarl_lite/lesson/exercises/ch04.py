"""Exercises on policy gradients: reward-to-go, the loss with its mask, GAE, a baseline for each task."""

from __future__ import annotations

import torch
from torch import Tensor

from ...returns import discounted_returns, gae
from ...rng import generator, normal, uniform
from .base import Case, Exercise

F64 = torch.float64


def _reward_cases() -> list[Case]:
    gen = generator(41)
    return [
        (torch.tensor([[[1.0, 0.0, 2.0, 4.0]]], dtype=F64), 0.5),
        (normal((2, 3, 5), gen, F64), 0.9),
        (normal((3, 2, 4), gen, F64), 1.0),
    ]


def _total(rewards: Tensor, discount: float) -> Tensor:
    return discounted_returns(rewards, discount)[..., :1].expand_as(rewards)


def _past(rewards: Tensor, discount: float) -> Tensor:
    return discounted_returns(rewards.flip(-1), discount).flip(-1)


def _from_the_start(rewards: Tensor, discount: float) -> Tensor:
    return discounted_returns(rewards, discount) * discount ** torch.arange(rewards.shape[-1])


def _undiscounted(rewards: Tensor, discount: float) -> Tensor:
    return discounted_returns(rewards, 1.0)


def _next_reward_first(rewards: Tensor, discount: float) -> Tensor:
    return discounted_returns(rewards, discount) - rewards


def _one_long_episode(rewards: Tensor, discount: float) -> Tensor:
    return discounted_returns(rewards.flatten(1), discount).reshape(rewards.shape)


def _loss_cases() -> list[Case]:
    gen, cases = generator(42), list[Case]()
    for shape in ((2, 3, 4, 2), (3, 2, 6, 3)):
        steps = torch.arange(shape[2]).expand(shape[:3])
        length = 1 + (uniform(shape[:2], gen, F64) * shape[2]).long().unsqueeze(-1)  # each episode's own
        cases.append((normal(shape, gen, F64), normal(shape[:3], gen, F64), (steps < length).to(F64)))
    return cases


def _loss(terms: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    return -(terms.sum(-1) * advantages * mask).sum((1, 2)) / mask.sum((1, 2))


def _mean_over_coordinates(terms: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    return _loss(terms / terms.shape[-1], advantages, mask)


def _uphill(terms: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    return -_loss(terms, advantages, mask)


def _no_mask(terms: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    return _loss(terms, advantages, torch.ones_like(mask))


def _counts_padding(terms: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    return -(terms.sum(-1) * advantages * mask).mean((1, 2))


def _mean_of_episode_means(terms: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    return -((terms.sum(-1) * advantages * mask).sum(2) / mask.sum(2)).mean(1)


def _not_a_mean(terms: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    return -(terms.sum(-1) * advantages * mask).sum((1, 2))


def _gae_cases() -> list[Case]:
    gen, cases = generator(43), list[Case]()
    for shape, lam in (((1, 2, 4), 0.5), ((2, 2, 6), 0.9)):
        ended = torch.zeros(shape, dtype=torch.bool)
        ended[0, 0, 1] = ended[-1, -1, 2] = True
        cases.append((normal(shape, gen, F64), normal(shape, gen, F64), ended, 0.8, lam))
    return cases


def _my_gae(rewards: Tensor, values: Tensor, terminated: Tensor, discount: float, lam: float) -> Tensor:
    return gae(rewards, values, torch.zeros_like(values[..., 0]), discount, lam, terminated)


def _never_ends(rewards: Tensor, values: Tensor, terminated: Tensor, discount: float, lam: float) -> Tensor:
    return _my_gae(rewards, values, torch.zeros_like(terminated), discount, lam)


def _errors(rewards: Tensor, values: Tensor, alive: Tensor, discount: float) -> Tensor:
    following = torch.cat([values[..., 1:], torch.zeros_like(values[..., :1])], -1)
    return rewards + discount * alive * following - values


def _recur(delta: Tensor, factor: Tensor) -> Tensor:
    out, later = torch.zeros_like(delta), torch.zeros_like(delta[..., 0])
    for t in reversed(range(delta.shape[-1])):
        later = delta[..., t] + factor[..., t] * later
        out[..., t] = later
    return out


def _bootstraps(rewards: Tensor, values: Tensor, terminated: Tensor, discount: float, lam: float) -> Tensor:
    alive = 1 - terminated.to(rewards.dtype)
    return _recur(_errors(rewards, values, torch.ones_like(alive), discount), discount * lam * alive)


def _leaks(rewards: Tensor, values: Tensor, terminated: Tensor, discount: float, lam: float) -> Tensor:
    alive = 1 - terminated.to(rewards.dtype)
    return _recur(_errors(rewards, values, alive, discount), discount * lam * torch.ones_like(alive))


def _only_lambda(rewards: Tensor, values: Tensor, terminated: Tensor, discount: float, lam: float) -> Tensor:
    alive = 1 - terminated.to(rewards.dtype)
    return _recur(_errors(rewards, values, alive, discount), lam * alive)


def _one_step(rewards: Tensor, values: Tensor, terminated: Tensor, discount: float, lam: float) -> Tensor:
    return _my_gae(rewards, values, terminated, discount, 0.0)


def _baseline_cases() -> list[Case]:
    gen, cases = generator(44), list[Case]()
    for shape in ((2, 4, 6, 2), (3, 5, 5, 1)):
        steps = torch.arange(shape[2]).expand(shape[:3])
        mask = (steps < 3 + (uniform(shape[:2], gen, F64) * 4).long().unsqueeze(-1)).to(F64)
        cases.append((normal(shape, gen, F64), normal(shape[:3], gen, F64) + 5 * mask, mask))
    return cases


def _fit(observations: Tensor, targets: Tensor, mask: Tensor, time: Tensor) -> Tensor:
    features = torch.cat([observations, time, torch.ones_like(time)], -1)  # [N, E, T, F]
    x, y = (features * mask.unsqueeze(-1)).flatten(1, 2), (targets * mask).flatten(1, 2).unsqueeze(-1)
    weights: Tensor = torch.linalg.lstsq(x, y).solution  # [N, F, 1]
    values: Tensor = (features @ weights.unsqueeze(1)).squeeze(-1)
    return values


def _time(observations: Tensor) -> Tensor:
    n, e, t, _ = observations.shape
    return (torch.arange(t) / t).to(observations).reshape(1, 1, t, 1).expand(n, e, t, 1)


def _baseline(observations: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    return _fit(observations, targets, mask, _time(observations)) * mask


def _flattened_time(observations: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    n, e, t, _ = observations.shape
    time = (torch.arange(e * t) / t).to(observations).reshape(1, e, t, 1).expand(n, e, t, 1)
    return _fit(observations, targets, mask, time) * mask


def _pooled(observations: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    every = (observations.flatten(0, 1)[None], targets.flatten(0, 1)[None], mask.flatten(0, 1)[None])
    return _baseline(*every).reshape(targets.shape)


def _fits_padding(observations: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    return _baseline(observations, targets, torch.ones_like(mask)) * mask


def _shows_padding(observations: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    return _fit(observations, targets, mask, _time(observations))


EXERCISES = [
    Exercise(
        "4.1",
        "reward-to-go",
        reference=discounted_returns,
        cases=_reward_cases,
        mistakes={
            "Every step gets the total of its episode; leave out what was paid before the step.": _total,
            "You sum the past; the action at step t can change only what comes from t on.": _past,
            "The discount counts from the start of the episode; it should count from step t.": _from_the_start,
            "This is the sum without the discount.": _undiscounted,
            "The reward of step t itself is missing: it is paid for the action at t.": _next_reward_first,
            "Your sum runs on into the next episode; time is the last dimension only.": _one_long_episode,
        },
        tolerance=1e-6,
        praise="The same backward walk gives GAE in exercise 4.3.",
    ),
    Exercise(
        "4.2",
        "the loss of the policy gradient",
        reference=_loss,
        cases=_loss_cases,
        mistakes={
            "You average over the coordinates of an action; logs of independent densities add.": _mean_over_coordinates,
            "The sign is reversed: an optimiser would make good actions rarer.": _uphill,
            "Steps after the end of an episode count: the mask is not used.": _no_mask,
            "The sum is right, but it is divided by all steps; divide by the number really taken.": _counts_padding,
            "You average each episode first; every step really taken should weigh the same.": _mean_of_episode_means,
            "This is the sum over steps; their mean keeps a step size free of E and T.": _not_a_mean,
        },
        tolerance=1e-6,
        praise="This line is all that either loop of MAML differentiates.",
    ),
    Exercise(
        "4.3",
        "GAE that stops at an end",
        reference=_my_gae,
        cases=_gae_cases,
        mistakes={
            "Nothing in your code looks at `terminated`: what follows an end belongs to no one.": _never_ends,
            "The sum stops at an end, but the error there still counts on the value of a next state.": _bootstraps,
            "The error at an end is right, but later advantages leak through it.": _leaks,
            "The weight of later errors is lambda alone; it falls by discount times lambda.": _only_lambda,
            "These are the one-step errors: the later ones, weighted, are missing.": _one_step,
        },
        tolerance=1e-6,
        praise="With lam = 1 and values of 0 it is reward-to-go again.",
    ),
    Exercise(
        "4.4",
        "a baseline for each task by itself",
        reference=_baseline,
        cases=_baseline_cases,
        mistakes={
            "Time counts on from episode to episode; it should start at 0 in each.": _flattened_time,
            "One fit serves all tasks; each task needs weights of its own.": _pooled,
            "Steps that were never taken take part in the fit: use the mask on both sides.": _fits_padding,
            "The fit is right, but the result should be 0 where the mask is 0.": _shows_padding,
        },
        tolerance=1e-6,
        praise="Fitted anew in every iteration, it needs no training of its own.",
    ),
]
