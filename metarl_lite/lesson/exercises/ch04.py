"""Exercises on policy gradients: reward-to-go, the loss with its mask."""

from __future__ import annotations

import torch
from torch import Tensor

from ...rng import generator, normal, uniform
from .base import Case, Exercise

F64 = torch.float64


# --- 4.1: reward-to-go ------------------------------------------------------------------------------------------------


def _reward_cases() -> list[Case]:
    gen = generator(41)
    return [
        (torch.tensor([[[1.0, 0.0, 2.0, 4.0]]], dtype=F64), 0.5),
        (normal((2, 3, 5), gen, F64), 0.9),
        (normal((3, 2, 4), gen, F64), 1.0),
        (normal((2, 2, 1), gen, F64), 0.9),
    ]


def _to_go(rewards: Tensor, discount: float) -> Tensor:
    out, later = torch.zeros_like(rewards), torch.zeros_like(rewards[..., 0])
    for t in reversed(range(rewards.shape[-1])):
        later = rewards[..., t] + discount * later
        out[..., t] = later
    return out


# --- 4.2: the loss ----------------------------------------------------------------------------------------------------


def _loss_cases() -> list[Case]:
    gen, cases = generator(42), list[Case]()
    for shape in ((2, 3, 4, 2), (3, 2, 6, 3)):
        steps = torch.arange(shape[2]).expand(shape[:3])
        length = 1 + (uniform(shape[:2], gen, F64) * shape[2]).long().unsqueeze(-1)  # each episode's own
        terms = normal(shape, gen, F64).requires_grad_()
        cases.append((terms, normal(shape[:3], gen, F64), (steps < length).to(F64)))
    return cases


def _loss(terms: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    log_prob = terms.sum(-1)
    return -(log_prob * advantages * mask).sum((1, 2)) / mask.sum((1, 2))


def _votes(terms: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    return -(terms.sum(-1) * advantages * mask)


EXERCISES = [
    Exercise(
        "4.1",
        "reward-to-go",
        reference=_to_go,
        cases=_reward_cases,
        mistakes={
            "Every step gets the total of its episode; leave out what was paid before the step.": (
                lambda rewards, discount: _to_go(rewards, discount)[..., :1].expand_as(rewards)
            ),
            "You sum the past; the action at step t can change only what comes from t on.": (
                lambda rewards, discount: _to_go(rewards.flip(-1), discount).flip(-1)
            ),
            "The discount counts from the start of the episode; it should count from step t.": (
                lambda rewards, discount: _to_go(rewards * discount ** torch.arange(rewards.shape[-1]), 1.0)
            ),
            "This is the sum without the discount.": lambda rewards, discount: _to_go(rewards, 1.0),
            "The reward of step t itself is missing: it is paid for the action at t.": (
                lambda rewards, discount: _to_go(rewards, discount) - rewards
            ),
            "The reward of step t itself is discounted; the discount begins with the next one.": (
                lambda rewards, discount: discount * _to_go(rewards, discount)
            ),
            "The numbers are right and run the wrong way round: turn time back at the end.": (
                lambda rewards, discount: _to_go(rewards, discount).flip(-1)
            ),
            "Your sum runs on into the next episode; time is the last dimension only.": (
                lambda rewards, discount: _to_go(rewards.flatten(1), discount).reshape(rewards.shape)
            ),
        },
        tolerance=1e-6,
        praise="The same backward walk gives GAE in exercise 4.3.",
    ),
    Exercise(
        "4.2",
        "the loss of the policy gradient",
        reference=_loss,
        cases=_loss_cases,
        derivatives={"terms": "terms"},
        mistakes={
            "You average over the coordinates of an action; logs of independent densities add.": (
                lambda terms, advantages, mask: _loss(terms / terms.shape[-1], advantages, mask)
            ),
            "The sign is reversed: an optimiser would make good actions rarer.": (
                lambda terms, advantages, mask: -_loss(terms, advantages, mask)
            ),
            "Steps after the end of an episode count: the mask is not used.": (
                lambda terms, advantages, mask: _loss(terms, advantages, torch.ones_like(mask))
            ),
            "The count is right, but steps after the end of an episode are in the sum: the mask belongs there, too.": (
                lambda terms, advantages, mask: (
                    _votes(terms, advantages, torch.ones_like(mask)).sum((1, 2)) / mask.sum((1, 2))
                )
            ),
            "The sum is right, but it is divided by all steps; divide by the number really taken.": (
                lambda terms, advantages, mask: _votes(terms, advantages, mask).mean((1, 2))
            ),
            "You average each episode first; every step really taken should weigh the same.": (
                lambda terms, advantages, mask: (_votes(terms, advantages, mask).sum(2) / mask.sum(2)).mean(1)
            ),
            "This is the sum over steps; their mean keeps a step size free of E and T.": (
                lambda terms, advantages, mask: _votes(terms, advantages, mask).sum((1, 2))
            ),
            "Each task's sum is divided by the steps of all tasks; divide it by its own.": (
                lambda terms, advantages, mask: _votes(terms, advantages, mask).sum((1, 2)) / mask.sum()
            ),
            "This is one loss for all tasks together; each has its own, [N].": (
                lambda terms, advantages, mask: _votes(terms, advantages, mask).sum() / mask.sum()
            ),
        },
        tolerance=1e-6,
        praise="This line is all that either loop of MAML differentiates.",
    ),
]
