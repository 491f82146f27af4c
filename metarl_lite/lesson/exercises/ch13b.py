"""Exercises of chapter 13, continued: the table of staying, where the gradient stops."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...rng import generator, normal, uniform
from .base import Case, Exercise

F64 = torch.float64
Table = tuple[Tensor, Tensor]
Head = Callable[[Tensor], Tensor]


# --- 13.3: the table of staying ---------------------------------------------------------------------------------------


def _stay(choices: Tensor, common: Tensor, rewards: Tensor) -> Table:
    stay = (choices[:, 1:] == choices[:, :-1]).double()
    paid, usual = rewards[:, :-1] > 0, common[:, :-1]
    rows = [[stay[r & c].mean() for c in (usual, ~usual)] for r in (paid, ~paid)]
    table = torch.stack([torch.stack(row) for row in rows])
    return table, (table[0, 0] - table[1, 0]) - (table[0, 1] - table[1, 1])


def _interaction(table: Tensor) -> Table:
    return table, table[0, 0] - table[0, 1] - table[1, 0] + table[1, 1]


def _same_round(choices: Tensor, common: Tensor, rewards: Tensor) -> Table:
    """Whether the choice was the last one's, by what followed it, and not by what had followed the last one."""
    late = [torch.cat([x[:, 1:], x[:, -1:]], 1) for x in (common, rewards)]
    return _stay(choices, *late)


def _joint(choices: Tensor, common: Tensor, rewards: Tensor) -> Table:
    stay = (choices[:, 1:] == choices[:, :-1]).double()
    paid, usual = rewards[:, :-1] > 0, common[:, :-1]
    table = torch.stack([torch.stack([(stay * (r & c)).mean() for c in (usual, ~usual)]) for r in (paid, ~paid)])
    return _interaction(table)


def _end_to_end(choices: Tensor, common: Tensor, rewards: Tensor) -> Table:
    """All sessions as one, so that the last choice of one is compared with the first of the next."""
    return _stay(*(x.reshape(1, -1) for x in (choices, common, rewards)))


def _by_session(choices: Tensor, common: Tensor, rewards: Tensor) -> Table:
    tables = [_stay(*(x[None] for x in session))[0] for session in zip(choices, common, rewards, strict=True)]
    return _interaction(torch.stack(tables).nanmean(0))


def _with(second: Callable[[Tensor], Tensor]) -> Callable[..., Table]:
    """The right table and another second number."""

    def answer(choices: Tensor, common: Tensor, rewards: Tensor) -> Table:
        table, _ = _stay(choices, common, rewards)
        return table, second(table)

    return answer


def _changed(change: Callable[[Tensor], Tensor]) -> Callable[..., Table]:
    """Another table, and its interaction."""
    return lambda choices, common, rewards: _interaction(change(_stay(choices, common, rewards)[0]))


def _sessions() -> list[Case]:
    cases: list[Case] = []
    for seed, shape in ((0, (3, 30)), (1, (20, 12))):
        gen = generator(seed)
        choices = torch.randint(2, shape, generator=gen)
        common, rewards = uniform(shape, gen, F64) < 0.75, (uniform(shape, gen, F64) < 0.5).double()
        cases.append((choices, common, rewards))
    return cases


# --- 13.4: where the gradient stops -----------------------------------------------------------------------------------


def _loss(code: Tensor, actor: Head, decoder: Head, advantages: Tensor, rewards: Tensor) -> Tensor:
    acting = -(advantages * actor(code.detach())).mean()
    predicting = (rewards - decoder(code)).square().mean()
    return acting + predicting


def _parts(code: Tensor, actor: Head, decoder: Head, advantages: Tensor, rewards: Tensor) -> tuple[Tensor, Tensor]:
    return -(advantages * actor(code.detach())).mean(), (rewards - decoder(code)).square().mean()


def _flowing(code: Tensor, actor: Head, decoder: Head, advantages: Tensor, rewards: Tensor) -> Tensor:
    return -(advantages * actor(code)).mean() + (rewards - decoder(code)).square().mean()


def _wrong_one_stopped(code: Tensor, actor: Head, decoder: Head, advantages: Tensor, rewards: Tensor) -> Tensor:
    return -(advantages * actor(code)).mean() + (rewards - decoder(code.detach())).square().mean()


def _actor_stopped(code: Tensor, actor: Head, decoder: Head, advantages: Tensor, rewards: Tensor) -> Tensor:
    return -(advantages * actor(code).detach()).mean() + (rewards - decoder(code)).square().mean()


def _decoder_stopped(code: Tensor, actor: Head, decoder: Head, advantages: Tensor, rewards: Tensor) -> Tensor:
    return -(advantages * actor(code.detach())).mean() + (rewards - decoder(code).detach()).square().mean()


class _LogSigmoid:
    """A head that gives log-probabilities."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def __call__(self, code: Tensor) -> Tensor:
        return torch.nn.functional.logsigmoid(code @ self.weight)


class _Linear:
    """A linear head."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def __call__(self, code: Tensor) -> Tensor:
        return code @ self.weight


def _codes() -> list[Case]:
    cases: list[Case] = []
    for seed in (0, 1):
        gen = generator(seed)
        inputs, encoder, actor, decoder = (normal(s, gen, F64) for s in ((6, 3), (3, 4), (4,), (4,)))
        code = torch.tanh(inputs @ encoder.requires_grad_())
        heads = _LogSigmoid(actor.requires_grad_()), _Linear(decoder.requires_grad_())
        cases.append((code, *heads, normal((6,), gen, F64), normal((6,), gen, F64)))
    return cases


EXERCISES = [
    Exercise(
        "13.3",
        "the table of staying",
        reference=_stay,
        cases=_sessions,
        parts=("the table", "the interaction"),
        tolerance=1e-6,
        mistakes={
            "These are probabilities of switching.": _changed(lambda table: 1 - table),
            "Reward and transition are those of the later round. Whether one stays in round t + 1 depends on what "
            "followed in round t.": _same_round,
            "Rows and columns have changed places: rows are rewarded and unrewarded.": _changed(lambda table: table.mT),
            "The rows have changed places: rewarded first.": _changed(lambda table: table.flip(0)),
            "The columns have changed places: common first.": _changed(lambda table: table.flip(1)),
            "Each entry is divided by all rounds. Divide by the rounds of its kind: it is a conditional probability.": (
                _joint
            ),
            "The sessions are laid end to end, so the first choice of one is compared with the last of another. Keep "
            "them apart.": _end_to_end,
            "This is the mean of each session's own table. Pool the rounds of all sessions: some have few of a kind.": (
                _by_session
            ),
            "The table is right. The second number is the effect of reward on staying; the interaction is a "
            "difference of two such effects.": _with(lambda table: table[0].sum() - table[1].sum()),
            "The table is right. The second number is the effect of the transition; the interaction asks whether "
            "the *reward's* effect depends on it.": _with(lambda table: table[:, 0].sum() - table[:, 1].sum()),
            "The table is right. The interaction has the other sign: the effect of reward after common transitions, "
            "less that after rare ones.": _with(lambda table: -_interaction(table)[1]),
            "The table is right. The two effects of reward are added; the interaction is their difference.": _with(
                lambda table: (table[0, 0] - table[1, 0] + table[0, 1] - table[1, 1]) / 2
            ),
        },
        praise="Before you read them, let agents whose workings you know fill in the same table.",
    ),
    Exercise(
        "13.4",
        "where the gradient stops",
        reference=_loss,
        cases=_codes,
        derivatives={
            "code": "the code (and so the encoder)",
            "actor.weight": "the actor's weights",
            "decoder.weight": "the decoder's weights",
        },
        tolerance=1e-6,
        mistakes={
            "The return's gradient flows on into the code: that is RL2 with an auxiliary loss, and the code is no "
            "longer trained by predictions alone.": _flowing,
            "The code is stopped for both. Then nothing trains the encoder at all.": (
                lambda code, *others: _flowing(code.detach(), *others)
            ),
            "The stop is in front of the wrong head: the return shapes the code and predictions do not.": (
                _wrong_one_stopped
            ),
            "The stop comes behind the actor, so the actor learns nothing either. Stop what goes in, not what comes "
            "out.": _actor_stopped,
            "The stop comes behind the decoder: neither it nor the encoder learns.": _decoder_stopped,
            "The sign of the first term: a loss is to fall, and the advantage-weighted log-probability should "
            "rise.": lambda *given: _parts(*given)[1] - _parts(*given)[0],
            "The sign of the second term: a loss is to fall, and the error of the predictions with it.": (
                lambda *given: _parts(*given)[0] - _parts(*given)[1]
            ),
            "Both signs are turned: a loss is to fall.": lambda *given: -_loss(*given),
            "The errors are summed; their mean is asked for.": (
                lambda code, *others: _parts(code, *others)[0] + len(code) * _parts(code, *others)[1]
            ),
            "The predictions are missing: the loss has two terms.": lambda *given: _parts(*given)[0],
            "The actor is missing: the loss has two terms.": lambda *given: _parts(*given)[1],
        },
        praise="One detach decides what the memory is for.",
    ),
]
