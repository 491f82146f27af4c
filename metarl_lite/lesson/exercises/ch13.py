"""Exercises of chapter 13: a belief from a trial, a probe's score, the table of staying, where the gradient stops."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...evaluate.probe import linear_probe
from ...rng import generator, normal, uniform
from .base import Case, Exercise

F64 = torch.float64
Table = tuple[Tensor, Tensor]
Head = Callable[[Tensor], Tensor]


def _counts(actions: Tensor, rewards: Tensor, arms: int) -> tuple[Tensor, Tensor]:
    """Pulls and wins after each pull, `[L, k]`, and of that pull itself."""
    pulled = torch.nn.functional.one_hot(actions, arms).to(rewards.dtype)
    return pulled, pulled * rewards.unsqueeze(-1)


def _belief(actions: Tensor, rewards: Tensor, arms: int) -> Tensor:
    pulls, wins = (x.cumsum(0) - x for x in _counts(actions, rewards, arms))
    return (wins + 1) / (pulls + 2)


def _belief_after(actions: Tensor, rewards: Tensor, arms: int) -> Tensor:
    pulls, wins = (x.cumsum(0) for x in _counts(actions, rewards, arms))
    return (wins + 1) / (pulls + 2)


def _without_prior(actions: Tensor, rewards: Tensor, arms: int) -> Tensor:
    pulls, wins = (x.cumsum(0) - x for x in _counts(actions, rewards, arms))
    return wins / pulls


def _one_too_few(actions: Tensor, rewards: Tensor, arms: int) -> Tensor:
    pulls, wins = (x.cumsum(0) - x for x in _counts(actions, rewards, arms))
    return (wins + 1) / (pulls + 1)


def _all_pulls(actions: Tensor, rewards: Tensor, arms: int) -> Tensor:
    """The reward of a pull is credited to every arm."""
    pulls = _counts(actions, rewards, arms)[0].cumsum(0) - _counts(actions, rewards, arms)[0]
    wins = (rewards.cumsum(0) - rewards).unsqueeze(-1).expand_as(pulls)
    return (wins + 1) / (pulls + 2)


def _last_only(actions: Tensor, rewards: Tensor, arms: int) -> Tensor:
    """Only the pull before is remembered."""
    pulled, won = _counts(actions, rewards, arms)
    before, wins = (torch.cat([torch.zeros_like(x[:1]), x[:-1]]) for x in (pulled, won))
    return (wins + 1) / (before + 2)


def _trials() -> list[Case]:
    cases: list[Case] = [(torch.tensor([0, 0, 1, 0]), torch.tensor([1.0, 0, 1, 1]), 3)]
    for seed, length, arms in ((0, 6, 2), (1, 10, 5)):
        gen = generator(seed)
        actions = torch.randint(arms, (length,), generator=gen)
        cases.append((actions, (uniform((length,), gen, torch.float32) < 0.5).float(), arms))
    return cases


def _score(features: Tensor, targets: Tensor, new_features: Tensor, new_targets: Tensor) -> Tensor:
    read = linear_probe(features, targets)(new_features)
    error = (new_targets - read).square().sum((0, 1))
    return 1 - error / (new_targets - new_targets.mean((0, 1))).square().sum((0, 1))


def _seen_before(features: Tensor, targets: Tensor, new_features: Tensor, new_targets: Tensor) -> Tensor:
    return _score(features, targets, features, targets)


def _fitted_to_the_test(features: Tensor, targets: Tensor, new_features: Tensor, new_targets: Tensor) -> Tensor:
    return _score(new_features, new_targets, new_features, new_targets)


def _error_share(features: Tensor, targets: Tensor, new_features: Tensor, new_targets: Tensor) -> Tensor:
    return 1 - _score(features, targets, new_features, new_targets)


def _squared_error(features: Tensor, targets: Tensor, new_features: Tensor, new_targets: Tensor) -> Tensor:
    return (new_targets - linear_probe(features, targets)(new_features)).square().mean((0, 1))


def _about_zero(features: Tensor, targets: Tensor, new_features: Tensor, new_targets: Tensor) -> Tensor:
    error = (new_targets - linear_probe(features, targets)(new_features)).square().sum((0, 1))
    return 1 - error / new_targets.square().sum((0, 1))


def _correlation(features: Tensor, targets: Tensor, new_features: Tensor, new_targets: Tensor) -> Tensor:
    read = linear_probe(features, targets)(new_features)
    a, b = read - read.mean((0, 1)), new_targets - new_targets.mean((0, 1))
    return (a * b).sum((0, 1)).square() / (a.square().sum((0, 1)) * b.square().sum((0, 1)))


def _step_by_step(features: Tensor, targets: Tensor, new_features: Tensor, new_targets: Tensor) -> Tensor:
    error = (new_targets - linear_probe(features, targets)(new_features)).square().sum((0, 1))
    return 1 - error / (new_targets - new_targets.mean(0)).square().sum((0, 1))


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


def _stay(choices: Tensor, common: Tensor, rewards: Tensor) -> Table:
    stay = (choices[:, 1:] == choices[:, :-1]).to(F64)
    paid, usual = rewards[:, :-1] > 0, common[:, :-1]
    table = torch.stack([torch.stack([stay[r & c].mean() for c in (usual, ~usual)]) for r in (paid, ~paid)])
    return table, table[0, 0] - table[0, 1] - table[1, 0] + table[1, 1]


def _switching(choices: Tensor, common: Tensor, rewards: Tensor) -> Table:
    table, difference = _stay(choices, common, rewards)
    return 1 - table, -difference


def _same_round(choices: Tensor, common: Tensor, rewards: Tensor) -> Table:
    """Whether the choice was the last one's, by what followed it, and not by what had followed the last one."""
    late = [torch.cat([x[:, 1:], x[:, -1:]], 1) for x in (common, rewards)]
    return _stay(choices, *late)


def _turned(choices: Tensor, common: Tensor, rewards: Tensor) -> Table:
    table, difference = _stay(choices, common, rewards)
    return table.mT, difference


def _joint(choices: Tensor, common: Tensor, rewards: Tensor) -> Table:
    stay = (choices[:, 1:] == choices[:, :-1]).to(F64)
    paid, usual = rewards[:, :-1] > 0, common[:, :-1]
    table = torch.stack([torch.stack([(stay * (r & c)).mean() for c in (usual, ~usual)]) for r in (paid, ~paid)])
    return table, table[0, 0] - table[0, 1] - table[1, 0] + table[1, 1]


def _main_effect(choices: Tensor, common: Tensor, rewards: Tensor) -> Table:
    table, _ = _stay(choices, common, rewards)
    return table, table[0].sum() - table[1].sum()


def _effect_of_transition(choices: Tensor, common: Tensor, rewards: Tensor) -> Table:
    table, _ = _stay(choices, common, rewards)
    return table, table[:, 0].sum() - table[:, 1].sum()


def _sessions() -> list[Case]:
    cases: list[Case] = []
    for seed, shape in ((0, (3, 30)), (1, (20, 12))):
        gen = generator(seed)
        choices = torch.randint(2, shape, generator=gen)
        common, rewards = uniform(shape, gen, F64) < 0.75, (uniform(shape, gen, F64) < 0.5).double()
        cases.append((choices, common, rewards))
    return cases


def _loss(code: Tensor, actor: Head, decoder: Head, advantages: Tensor, rewards: Tensor) -> Tensor:
    return -(advantages * actor(code.detach())).mean() + (rewards - decoder(code)).square().mean()


def _flowing(code: Tensor, actor: Head, decoder: Head, advantages: Tensor, rewards: Tensor) -> Tensor:
    return -(advantages * actor(code)).mean() + (rewards - decoder(code)).square().mean()


def _both_stopped(code: Tensor, actor: Head, decoder: Head, advantages: Tensor, rewards: Tensor) -> Tensor:
    return _flowing(code.detach(), actor, decoder, advantages, rewards)


def _wrong_one_stopped(code: Tensor, actor: Head, decoder: Head, advantages: Tensor, rewards: Tensor) -> Tensor:
    return -(advantages * actor(code)).mean() + (rewards - decoder(code.detach())).square().mean()


def _actor_stopped(code: Tensor, actor: Head, decoder: Head, advantages: Tensor, rewards: Tensor) -> Tensor:
    return -(advantages * actor(code).detach()).mean() + (rewards - decoder(code)).square().mean()


def _decoder_stopped(code: Tensor, actor: Head, decoder: Head, advantages: Tensor, rewards: Tensor) -> Tensor:
    return -(advantages * actor(code.detach())).mean() + (rewards - decoder(code).detach()).square().mean()


def _ascending(code: Tensor, actor: Head, decoder: Head, advantages: Tensor, rewards: Tensor) -> Tensor:
    return (advantages * actor(code.detach())).mean() + (rewards - decoder(code)).square().mean()


def _who_is_moved(answer: Callable[..., Tensor], seed: int) -> tuple[Tensor, ...]:
    """The loss, and its gradients in encoder, actor and decoder: three vectors of weights, and zeros for none."""
    gen = generator(seed)
    inputs, encoder, actor, decoder = (normal(s, gen, F64) for s in ((6, 3), (3, 4), (4,), (4,)))
    weights = [w.requires_grad_() for w in (encoder, actor, decoder)]
    advantages, rewards = normal((6,), gen, F64), normal((6,), gen, F64)
    loss = answer(
        torch.tanh(inputs @ encoder),
        lambda code: torch.nn.functional.logsigmoid(code @ actor),
        lambda code: code @ decoder,
        advantages,
        rewards,
    )
    slopes = torch.autograd.grad(loss, weights, allow_unused=True)
    return loss.detach(), *(torch.zeros_like(w) if g is None else g for w, g in zip(weights, slopes, strict=True))


EXERCISES = [
    Exercise(
        "13.1",
        "what a trial says of the arms",
        reference=_belief,
        cases=_trials,
        mistakes={
            "Row t already counts pull t. A belief *before* the pull must not know its outcome.": _belief_after,
            "Without the prior an arm never pulled gives 0 / 0, and one lucky pull is certainty. The prior is uniform: "
            "one success and one failure in advance.": _without_prior,
            "One success in advance is counted, the failure is not: an untouched arm should be at 1/2.": _one_too_few,
            "The pulls are counted by arm, but the wins are those of all arms together.": _all_pulls,
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
                _seen_before
            ),
            "The probe is fitted to the tasks that it is scored on. Fit to the first two arguments.": (
                _fitted_to_the_test
            ),
            "This is the share that is *not* explained. R2 is 1 minus it.": _error_share,
            "This is the mean squared error. Compare it with the variance of the targets.": _squared_error,
            "The spread is taken about 0. It should be about the mean: otherwise the mean alone scores high.": (
                _about_zero
            ),
            "A squared correlation forgives readings of the wrong scale or with an offset. R2 does not.": _correlation,
            "The spread is taken about each step's own mean. Take one mean over tasks and steps.": _step_by_step,
        },
        praise="On unseen tasks, about the mean, nothing forgiven: now a control can be compared.",
    ),
    Exercise(
        "13.3",
        "the table of staying",
        reference=_stay,
        cases=_sessions,
        parts=("the table", "the interaction"),
        tolerance=1e-6,
        mistakes={
            "These are probabilities of switching.": _switching,
            "Reward and transition are those of the later round. Whether one stays in round t + 1 depends on what "
            "followed in round t.": _same_round,
            "Rows and columns have changed places: rows are rewarded and unrewarded.": _turned,
            "Each entry is divided by all rounds. Divide by the rounds of its kind: it is a conditional probability.": (
                _joint
            ),
            "The table is right. The second number is the effect of reward on staying; the interaction is a "
            "difference of two such effects.": _main_effect,
            "The table is right. The second number is the effect of the transition; the interaction asks whether "
            "the *reward's* effect depends on it.": _effect_of_transition,
        },
        praise="Before you read them, let agents whose workings you know fill in the same table.",
    ),
    Exercise(
        "13.4",
        "where the gradient stops",
        reference=_loss,
        cases=[(0,), (1,)],
        through=_who_is_moved,
        parts=("the loss", "the encoder's gradient", "the actor's gradient", "the decoder's gradient"),
        tolerance=1e-6,
        mistakes={
            "The return's gradient flows on into the code: that is RL2 with an auxiliary loss, and the code is no "
            "longer trained by predictions alone.": _flowing,
            "The code is stopped for both. Then nothing trains the encoder at all.": _both_stopped,
            "The stop is in front of the wrong head: the return shapes the code and predictions do not.": (
                _wrong_one_stopped
            ),
            "The stop comes behind the actor, so the actor learns nothing either. Stop what goes in, not what comes "
            "out.": _actor_stopped,
            "The stop comes behind the decoder: neither it nor the encoder learns.": _decoder_stopped,
            "The sign of the first term: a loss is to fall, and the advantage-weighted log-probability should "
            "rise.": _ascending,
        },
        praise="One detach decides what the memory is for.",
    ),
]
