"""Exercises of chapter 13: a belief from a trial, a probe's score."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...evaluate.probe import linear_probe
from ...rng import generator, normal, uniform
from .base import Case, Exercise

F64 = torch.float64


# --- 13.1: a belief from a trial --------------------------------------------------------------------------------------


def _belief(actions: Tensor, rewards: Tensor, arms: int) -> Tensor:
    pulled = torch.nn.functional.one_hot(actions, arms).to(rewards.dtype)
    won = pulled * rewards.unsqueeze(-1)
    pulls, wins = pulled.cumsum(0) - pulled, won.cumsum(0) - won
    return (wins + 1) / (pulls + 2)


def _counts(actions: Tensor, rewards: Tensor, arms: int) -> tuple[Tensor, Tensor]:
    """Pulls and wins before each pull, `[L, k]`."""
    pulled = torch.nn.functional.one_hot(actions, arms).to(rewards.dtype)
    won = pulled * rewards.unsqueeze(-1)
    return pulled.cumsum(0) - pulled, won.cumsum(0) - won


def _read_as(mean: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """Another mean, of (wins, pulls)."""

    def answer(actions: Tensor, rewards: Tensor, arms: int) -> Tensor:
        pulls, wins = _counts(actions, rewards, arms)
        return mean(wins, pulls)

    return answer


def _belief_after(actions: Tensor, rewards: Tensor, arms: int) -> Tensor:
    one_more = torch.cat([actions, actions[:1]]), torch.cat([rewards, rewards[:1]])
    return _belief(*one_more, arms)[1:]


def _all_pulls(actions: Tensor, rewards: Tensor, arms: int) -> Tensor:
    """The reward of a pull is credited to every arm."""
    pulls, _ = _counts(actions, rewards, arms)
    return ((rewards.cumsum(0) - rewards).unsqueeze(-1).expand_as(pulls) + 1) / (pulls + 2)


def _every_pull(actions: Tensor, rewards: Tensor, arms: int) -> Tensor:
    """The pulls of all arms stand below the line."""
    _, wins = _counts(actions, rewards, arms)
    return (wins + 1) / (torch.arange(len(actions)).unsqueeze(-1) + 2)


def _last_only(actions: Tensor, rewards: Tensor, arms: int) -> Tensor:
    """Only the pull before is remembered."""
    pulled = torch.nn.functional.one_hot(actions, arms).to(rewards.dtype)
    won = pulled * rewards.unsqueeze(-1)
    before, wins = (torch.cat([torch.zeros_like(x[:1]), x[:-1]]) for x in (pulled, won))
    return (wins + 1) / (before + 2)


def _trials() -> list[Case]:
    cases: list[Case] = [(torch.tensor([0, 0, 1, 0]), torch.tensor([1.0, 0, 1, 1]), 3)]
    for seed, length, arms in ((0, 6, 2), (1, 10, 5)):
        gen = generator(seed)
        actions = torch.randint(arms, (length,), generator=gen)
        cases.append((actions, (uniform((length,), gen, torch.float32) < 0.5).float(), arms))
    return cases


# --- 13.2: a probe's score --------------------------------------------------------------------------------------------


def _score(features: Tensor, targets: Tensor, new_features: Tensor, new_targets: Tensor) -> Tensor:
    read = linear_probe(features, targets)(new_features)
    error = (new_targets - read).square().sum((0, 1))
    spread = (new_targets - new_targets.mean((0, 1))).square().sum((0, 1))
    return 1 - error / spread


def _about(middle: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """The spread of the new targets about something else, of (targets, new targets)."""

    def answer(features: Tensor, targets: Tensor, new_features: Tensor, new_targets: Tensor) -> Tensor:
        error = (new_targets - linear_probe(features, targets)(new_features)).square().sum((0, 1))
        return 1 - error / (new_targets - middle(targets, new_targets)).square().sum((0, 1))

    return answer


def _squared_error(features: Tensor, targets: Tensor, new_features: Tensor, new_targets: Tensor) -> Tensor:
    return (new_targets - linear_probe(features, targets)(new_features)).square().mean((0, 1))


def _all_targets(features: Tensor, targets: Tensor, new_features: Tensor, new_targets: Tensor) -> Tensor:
    error = (new_targets - linear_probe(features, targets)(new_features)).square().sum()
    return 1 - error / (new_targets - new_targets.mean((0, 1))).square().sum()


def _correlation(features: Tensor, targets: Tensor, new_features: Tensor, new_targets: Tensor) -> Tensor:
    read = linear_probe(features, targets)(new_features)
    a, b = read - read.mean((0, 1)), new_targets - new_targets.mean((0, 1))
    return (a * b).sum((0, 1)).square() / (a.square().sum((0, 1)) * b.square().sum((0, 1)))


def _memories() -> list[Case]:
    cases: list[Case] = []
    for seed, shape, kinds in ((0, (6, 4, 3), 2), (1, (9, 5, 4), 3)):
        gen = generator(seed)
        weight = normal((shape[-1], kinds), gen, F64)
        features = [normal(shape, gen, F64) for _ in range(2)]
        drift = torch.arange(shape[1], dtype=F64).unsqueeze(-1)
        targets = [torch.tanh(f @ weight) + 0.3 * drift + 0.4 * normal((*shape[:2], kinds), gen, F64) for f in features]
        cases.append((features[0], targets[0], features[1], targets[1]))
    return cases


EXERCISES = [
    Exercise(
        "13.1",
        "what a trial says of the arms",
        reference=_belief,
        cases=_trials,
        mistakes={
            "Row t already counts pull t. A belief *before* the pull must not know its outcome.": _belief_after,
            "Without the prior an arm never pulled gives 0 / 0, and one lucky pull is certainty. The prior is uniform: "
            "one success and one failure in advance.": _read_as(lambda wins, pulls: wins / pulls),
            "Without the prior one lucky pull is certainty, and an untouched arm is at 0. The prior is uniform: one "
            "success and one failure in advance.": _read_as(lambda wins, pulls: wins / pulls.clamp(min=1)),
            "One success in advance is counted, the failure is not: an untouched arm should be at 1/2.": _read_as(
                lambda wins, pulls: (wins + 1) / (pulls + 1)
            ),
            "The prior is missing above the line: one success in advance.": _read_as(
                lambda wins, pulls: wins / (pulls + 2)
            ),
            "These are the beliefs that a pull fails; asked for is that it pays.": _read_as(
                lambda wins, pulls: (pulls - wins + 1) / (pulls + 2)
            ),
            "The pulls are counted by arm, but the wins are those of all arms together.": _all_pulls,
            "The wins are counted by arm, but the pulls are those of all arms together.": _every_pull,
            "Only the pull before counts here. All that came before do.": _last_only,
        },
        praise="These ten rows are all that the agent can know. The question is whether it does.",
    ),
    Exercise(
        "13.2",
        "a probe's score on other tasks",
        reference=_score,
        cases=_memories,
        tolerance=1e-6,
        mistakes={
            "This is scored on the trials that the probe was fitted to; it would grow with every unit you add.": (
                lambda features, targets, new_features, new_targets: _score(features, targets, features, targets)
            ),
            "The probe is fitted to the tasks that it is scored on. Fit to the first two arguments.": (
                lambda features, targets, new_features, new_targets: _score(
                    new_features, new_targets, new_features, new_targets
                )
            ),
            "Old and new tasks have changed places: fit to the first two arguments, score on the last two.": (
                lambda features, targets, new_features, new_targets: _score(
                    new_features, new_targets, features, targets
                )
            ),
            "This is the share that is *not* explained. R2 is 1 minus it.": (
                lambda features, targets, new_features, new_targets: (
                    1 - _score(features, targets, new_features, new_targets)
                )
            ),
            "The sign is turned: a perfect reading has 1.": (
                lambda features, targets, new_features, new_targets: (
                    -_score(features, targets, new_features, new_targets)
                )
            ),
            "This is the mean squared error. Compare it with the variance of the targets.": _squared_error,
            "The spread is taken about 0. It should be about the mean: otherwise the mean alone scores high.": _about(
                lambda targets, new_targets: torch.zeros(())
            ),
            "The spread is taken about one mean for all targets. Each target has its own: mean((0, 1)).": _about(
                lambda targets, new_targets: new_targets.mean()
            ),
            "The spread is taken about the mean of the old targets; it is that of the new ones.": _about(
                lambda targets, new_targets: targets.mean((0, 1))
            ),
            "A squared correlation forgives readings of the wrong scale or with an offset. R2 does not.": _correlation,
            "The spread is taken about each step's own mean. Take one mean over tasks and steps.": _about(
                lambda targets, new_targets: new_targets.mean(0)
            ),
            "The spread is taken about each trial's own mean. Take one mean over tasks and steps.": _about(
                lambda targets, new_targets: new_targets.mean(1, keepdim=True)
            ),
            "This is one number for all targets together; each has its own, [K].": _all_targets,
        },
        praise="On unseen tasks, about the mean, nothing forgiven: now a control can be compared.",
    ),
]
