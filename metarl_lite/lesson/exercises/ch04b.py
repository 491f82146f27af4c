"""Exercises on policy gradients, continued: GAE, a baseline for each task."""

from __future__ import annotations

import torch
from torch import Tensor

from ...rng import generator, normal, uniform
from .base import Case, Exercise

F64 = torch.float64


# --- 4.3: GAE ---------------------------------------------------------------------------------------------------------


def _gae_cases() -> list[Case]:
    gen, cases = generator(43), list[Case]()
    for shape, lam in (((1, 2, 4), 0.5), ((2, 2, 6), 0.9), ((2, 1, 1), 0.5)):
        ended = torch.zeros(shape, dtype=torch.bool)
        if shape[2] > 1:
            ended[0, 0, 1] = ended[-1, -1, 2] = True
        cases.append((normal(shape, gen, F64), normal(shape, gen, F64), ended, 0.8, lam))
    return cases


def _gae(rewards: Tensor, values: Tensor, terminated: Tensor, discount: float, lam: float) -> Tensor:
    alive = 1 - terminated.to(rewards.dtype)
    following = torch.cat([values[..., 1:], torch.zeros_like(values[..., :1])], -1)
    delta = rewards + discount * alive * following - values
    out, later = torch.zeros_like(rewards), torch.zeros_like(rewards[..., 0])
    for t in reversed(range(rewards.shape[-1])):
        later = delta[..., t] + discount * lam * alive[..., t] * later
        out[..., t] = later
    return out


def _parts(rewards: Tensor, values: Tensor, terminated: Tensor) -> tuple[Tensor, Tensor]:
    """Where the episode goes on, and the value after each step."""
    return 1.0 - terminated.double(), torch.cat([values[..., 1:], 0 * values[..., :1]], -1)


def _recur(delta: Tensor, factor: Tensor) -> Tensor:
    out, later = torch.zeros_like(delta), torch.zeros_like(delta[..., 0])
    for t in reversed(range(delta.shape[-1])):
        later = delta[..., t] + factor[..., t] * later
        out[..., t] = later
    return out


def _bootstraps(rewards: Tensor, values: Tensor, terminated: Tensor, discount: float, lam: float) -> Tensor:
    alive, following = _parts(rewards, values, terminated)
    return _recur(rewards + discount * following - values, discount * lam * alive)


def _leaks(rewards: Tensor, values: Tensor, terminated: Tensor, discount: float, lam: float) -> Tensor:
    alive, following = _parts(rewards, values, terminated)
    return _recur(rewards + discount * alive * following - values, discount * lam * torch.ones_like(alive))


def _only_lambda(rewards: Tensor, values: Tensor, terminated: Tensor, discount: float, lam: float) -> Tensor:
    alive, following = _parts(rewards, values, terminated)
    return _recur(rewards + discount * alive * following - values, lam * alive)


def _value_undiscounted(rewards: Tensor, values: Tensor, terminated: Tensor, discount: float, lam: float) -> Tensor:
    alive, following = _parts(rewards, values, terminated)
    return _recur(rewards + alive * following - values, discount * lam * alive)


def _beyond(rewards: Tensor, values: Tensor, terminated: Tensor, discount: float, lam: float, last: Tensor) -> Tensor:
    """With `last` for the value after the horizon."""
    alive, following = 1.0 - terminated.double(), torch.cat([values[..., 1:], last], -1)
    return _recur(rewards + discount * alive * following - values, discount * lam * alive)


def _this_value(rewards: Tensor, values: Tensor, terminated: Tensor, discount: float, lam: float) -> Tensor:
    alive, _ = _parts(rewards, values, terminated)
    return _recur(rewards + discount * alive * values - values, discount * lam * alive)


# --- 4.4: a baseline --------------------------------------------------------------------------------------------------


def _baseline_cases() -> list[Case]:
    gen, cases = generator(44), list[Case]()
    for shape in ((2, 4, 6, 2), (3, 5, 5, 1), (2, 1, 7, 1)):
        steps = torch.arange(shape[2]).expand(shape[:3])
        mask = (steps < 3 + (uniform(shape[:2], gen, F64) * 4).long().unsqueeze(-1)).to(F64)
        cases.append((normal(shape, gen, F64), normal(shape[:3], gen, F64) + 5 * mask, mask))
    return cases


def _fit(observations: Tensor, targets: Tensor, mask: Tensor, time: Tensor) -> Tensor:
    features = torch.cat([observations, time, torch.ones_like(time)], -1)  # [N, E, T, F]
    return _linear(features, targets, mask)


def _linear(features: Tensor, targets: Tensor, mask: Tensor, ridge: float = 0.0) -> Tensor:
    x, y = (features * mask.unsqueeze(-1)).flatten(1, 2), (targets * mask).flatten(1, 2).unsqueeze(-1)
    weights: Tensor = torch.linalg.lstsq(x, y).solution  # [N, F, 1]
    if ridge:
        gram = x.mT @ x
        weights = torch.linalg.solve(gram + ridge * x.shape[1] * torch.eye(gram.shape[-1], dtype=F64), x.mT @ y)
    values: Tensor = (features @ weights.unsqueeze(1)).squeeze(-1)
    return values


def _baseline(observations: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    n, e, t, _ = observations.shape
    time = (torch.arange(t) / t).to(observations).reshape(1, 1, t, 1).expand(n, e, t, 1)
    features = torch.cat([observations, time, torch.ones_like(time)], -1)
    x = (features * mask.unsqueeze(-1)).flatten(1, 2)
    y = (targets * mask).flatten(1, 2).unsqueeze(-1)
    weights: Tensor = torch.linalg.lstsq(x, y).solution
    values: Tensor = (features @ weights.unsqueeze(1)).squeeze(-1)
    return values * mask


def _time(observations: Tensor) -> Tensor:
    n, e, t, _ = observations.shape
    return (torch.arange(t, dtype=F64) / t).reshape(1, 1, t, 1).expand(n, e, t, 1)


def _flattened_time(observations: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    n, e, t, _ = observations.shape
    time = (torch.arange(e * t) / t).to(observations).reshape(1, e, t, 1).expand(n, e, t, 1)
    return _fit(observations, targets, mask, time) * mask


def _pooled(observations: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    every = (observations.flatten(0, 1)[None], targets.flatten(0, 1)[None], mask.flatten(0, 1)[None])
    return _baseline(*every).reshape(targets.shape)


def _each_episode(observations: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    seen, wanted, taken = (x.flatten(0, 1).unsqueeze(1) for x in (observations, targets, mask))
    return _fit(seen, wanted, taken, _time(seen)).reshape(targets.shape) * mask


def _packages(observations: Tensor, targets: Tensor, mask: Tensor, ridge: float = 1e-5) -> Tensor:
    """The features and the ridge of the package's `linear_baseline`."""
    one, count = mask.unsqueeze(-1), mask.sum((1, 2)).reshape(-1, 1, 1, 1)
    x = (observations - (observations * one).sum((1, 2), keepdim=True) / count) * one
    x, time = x / (x.square().sum((1, 2), keepdim=True) / count).sqrt(), _time(observations) * one
    return _linear(torch.cat([x, x**2, time, time**2, time**3, one], -1), targets, mask, ridge) * mask


EXERCISES = [
    Exercise(
        "4.3",
        "GAE that stops at an end",
        reference=_gae,
        cases=_gae_cases,
        mistakes={
            "Nothing in your code looks at `terminated`: what follows an end belongs to no one.": (
                lambda r, v, ended, discount, lam: _gae(r, v, torch.zeros_like(ended), discount, lam)
            ),
            "The sum stops at an end, but the error there still counts on the value of a next state.": _bootstraps,
            "The error at an end is right, but later advantages leak through it.": _leaks,
            "The weight of later errors is lambda alone; it falls by discount times lambda.": _only_lambda,
            "The weight of later errors is the discount alone, as if lambda were 1.": (
                lambda r, v, ended, discount, lam: _gae(r, v, ended, discount, 1.0)
            ),
            "These are the one-step errors: the later ones, weighted, are missing.": (
                lambda r, v, ended, discount, lam: _gae(r, v, ended, discount, 0.0)
            ),
            "The discount is nowhere to be seen: it belongs to the next value and to the later errors.": (
                lambda r, v, ended, discount, lam: _gae(r, v, ended, 1.0, lam)
            ),
            "In the error of a step the next state's value is not discounted.": _value_undiscounted,
            "The last step counts on a value after it, that of the first step: `roll` brings it round. Nothing comes "
            "after the horizon.": lambda r, v, ended, discount, lam: _beyond(r, v, ended, discount, lam, v[..., :1]),
            "The last step counts on a value after it, its own. After the horizon comes nothing: 0.": (
                lambda r, v, ended, discount, lam: _beyond(r, v, ended, discount, lam, v[..., -1:])
            ),
            "The error of a step compares with its own value twice; one of them should be that of the next state.": (
                _this_value
            ),
            "The values are not subtracted: these are returns and not advantages.": (
                lambda r, v, ended, discount, lam: _gae(r, v, ended, discount, lam) + v
            ),
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
            "Each episode has a fit of its own; all episodes of a task share one.": _each_episode,
            "Steps that were never taken take part in the fit: use the mask on both sides.": (
                lambda observations, targets, mask: _baseline(observations, targets, torch.ones_like(mask)) * mask
            ),
            "The fit is right, but the result should be 0 where the mask is 0.": (
                lambda observations, targets, mask: _fit(observations, targets, mask, _time(observations))
            ),
            "Time is missing among the features.": lambda observations, targets, mask: (
                _linear(torch.cat([observations, torch.ones_like(observations[..., :1])], -1), targets, mask) * mask
            ),
            "The constant 1 is missing among the features.": lambda observations, targets, mask: (
                _linear(torch.cat([observations, _time(observations)], -1), targets, mask) * mask
            ),
            "This is the package's baseline: it has more features than are asked for, and a ridge. Fit plain least "
            "squares on (observation, t / T, 1).": _packages,
            "The features are right, but a ridge pulls the fit towards 0; plain least squares is asked for.": (
                lambda observations, targets, mask: (
                    _linear(
                        torch.cat([observations, _time(observations), torch.ones_like(observations[..., :1])], -1),
                        targets,
                        mask,
                        1e-5,
                    )
                    * mask
                )
            ),
        },
        tolerance=1e-6,
        praise="Fitted anew in every iteration, it needs no training of its own.",
    ),
]
