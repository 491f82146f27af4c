"""Exercises of chapter 11: the input of a step, returns through a boundary."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...rng import generator, normal
from .base import Case, Exercise

# --- 11.1: the input of a step ----------------------------------------------------------------------------------------


def _input(observations: Tensor, actions: Tensor, rewards: Tensor, dones: Tensor, arms: int, j: int) -> Tensor:
    last = torch.zeros(arms + 2)
    if j == 0:
        last[-1] = 1.0
    else:
        last[actions[j - 1]] = 1.0
        last[-2], last[-1] = rewards[j - 1], dones[j - 1]
    return torch.cat([observations[j], last])


def _of_this_step(observations: Tensor, actions: Tensor, rewards: Tensor, dones: Tensor, arms: int, j: int) -> Tensor:
    return torch.cat([observations[j], _input(observations, actions, rewards, dones, arms, j + 1)[-arms - 2 :]])


def _this_step_but_first(
    observations: Tensor, actions: Tensor, rewards: Tensor, dones: Tensor, arms: int, j: int
) -> Tensor:
    if j == 0:
        return _input(observations, actions, rewards, dones, arms, 0)
    return _of_this_step(observations, actions, rewards, dones, arms, j)


def _wrapped(observations: Tensor, actions: Tensor, rewards: Tensor, dones: Tensor, arms: int, j: int) -> Tensor:
    last = torch.zeros(arms + 2)
    last[int(actions[j - 1])], last[-2], last[-1] = 1.0, rewards[j - 1], dones[j - 1]
    return torch.cat([observations[j], last])


def _feeding(first: bool, later: bool, **numbers: float) -> Callable[..., Tensor]:
    """The right input, but for these numbers at the start of the trial, or of its later episodes, or of both."""

    def answer(observations: Tensor, actions: Tensor, rewards: Tensor, dones: Tensor, arms: int, j: int) -> Tensor:
        x = _input(observations, actions, rewards, dones, arms, j)
        parts = {"action": slice(-arms - 2, -2), "reward": slice(-2, -1), "done": slice(-1, None)}
        if (first and j == 0) or (later and j > 0 and bool(dones[j - 1])):
            for name, number in numbers.items():
                x[parts[name]] = number
        return x

    return answer


def _action_zero(observations: Tensor, actions: Tensor, rewards: Tensor, dones: Tensor, arms: int, j: int) -> Tensor:
    x = _input(observations, actions, rewards, dones, arms, j)
    x[-arms - 2] = x[-arms - 2] if j else 1.0
    return x


def _last_observation(
    observations: Tensor, actions: Tensor, rewards: Tensor, dones: Tensor, arms: int, j: int
) -> Tensor:
    x = _input(observations, actions, rewards, dones, arms, j)
    return torch.cat([observations[max(j - 1, 0)], x[-arms - 2 :]])


def _reward_first(observations: Tensor, actions: Tensor, rewards: Tensor, dones: Tensor, arms: int, j: int) -> Tensor:
    x = _input(observations, actions, rewards, dones, arms, j)
    return torch.cat([x[: -arms - 2], x[-2:], x[-arms - 2 : -2]])


def _number_of_action(
    observations: Tensor, actions: Tensor, rewards: Tensor, dones: Tensor, arms: int, j: int
) -> Tensor:
    x = _input(observations, actions, rewards, dones, arms, j)
    return torch.cat([x[: -arms - 2], actions[j - 1 : j].float() if j else torch.zeros(1), x[-2:]])


def _steps() -> list[Case]:
    """One trial of three episodes of three steps; steps at its start, inside an episode and across a boundary."""
    gen = generator(0)
    observations, rewards = (normal(shape, gen, torch.float32) for shape in ((9, 2), (9,)))
    actions = torch.tensor([2, 1, 1, 0, 2, 0, 1, 2, 1])
    dones = torch.tensor([0.0, 0, 1] * 3)
    return [(observations, actions, rewards, dones, 3, j) for j in (0, 1, 3, 5, 6)]


# --- 11.2: a return that passes boundaries ----------------------------------------------------------------------------


def _to_go(rewards: Tensor, mask: Tensor, discount: float) -> Tensor:
    later, out = torch.zeros((), dtype=rewards.dtype), []
    for reward, taken in zip(rewards.flatten().flip(0), mask.flatten().flip(0), strict=True):
        if taken:
            later = reward + discount * later
        out.append(later if taken else torch.zeros_like(reward))
    return torch.stack(out[::-1]).reshape(rewards.shape)


def _carried(rewards: Tensor, mask: Tensor, discount: float) -> Tensor:
    """What is carried along is written where no step was taken, too."""
    later, out = torch.zeros((), dtype=rewards.dtype), []
    for reward, taken in zip(rewards.flatten().flip(0), mask.flatten().flip(0), strict=True):
        later = reward + discount * later if taken else later
        out.append(later)
    return torch.stack(out[::-1]).reshape(rewards.shape)


def _boundaries_free(rewards: Tensor, mask: Tensor, discount: float) -> Tensor:
    """No time passes from an episode to the next."""
    later, out = torch.zeros((), dtype=rewards.dtype), torch.zeros_like(rewards)
    for e in reversed(range(len(rewards))):
        for t in reversed([int(t) for t in mask[e].nonzero()]):
            last = t == int(mask[e].sum()) - 1
            later = rewards[e, t] + (later if last else discount * later)
            out[e, t] = later
    return out


def _trials() -> list[Case]:
    gen = generator(1)
    cases: list[Case] = []
    for discount, lengths in ((0.9, (4, 4, 4)), (0.5, (2, 4, 1)), (1.0, (3, 2))):
        mask = torch.tensor([[1.0] * n + [0.0] * (4 - n) for n in lengths], dtype=torch.float64)
        rewards = normal(tuple(mask.shape), gen, torch.float64) * mask
        rewards[0, 1] = 0.0  # paid for a step that was taken
        cases.append((rewards, mask, discount))
    return cases


EXERCISES = [
    Exercise(
        "11.1",
        "what the network reads at step j",
        reference=_input,
        cases=_steps,
        mistakes={
            "This reads the action, the reward and the done of step j itself. When the network acts at step j, they "
            "do not exist yet.": _of_this_step,
            "The start is right; from then on this reads the action, reward and done of step j itself, which do not "
            "exist yet when the network acts.": _this_step_but_first,
            "At j = 0 the index j - 1 is -1: the last step of the trial. The beginning needs a case of its own.": (
                _wrapped
            ),
            "A trial begins with done = 1: nothing is running yet.": _feeding(True, False, done=0.0),
            "At the beginning there was no action at all, which is not the same as action 0.": _action_zero,
            "Within an episode this is right. Where a new episode begins, the action, reward and done that ended the "
            "last one are lost; only a trial begins with nothing.": _feeding(False, True, action=0.0, reward=0.0),
            "At an episode's start you feed zeros. The reward and the done that ended the last episode are the "
            "network's only chance to learn of them.": _feeding(True, True, action=0.0, reward=0.0, done=0.0),
            "The start of the trial is right. At that of a later episode you feed zeros, so action, reward and done of "
            "the last one's end are lost.": _feeding(False, True, action=0.0, reward=0.0, done=0.0),
            "The reward that ended an episode is lost: at the start of the next one you feed 0.": (
                _feeding(False, True, reward=0.0)
            ),
            "The action that ended an episode is lost: at the start of the next one you feed none.": (
                _feeding(False, True, action=0.0)
            ),
            "The done that ended an episode is lost: at the start of the next one you feed 0.": (
                _feeding(False, True, done=0.0)
            ),
            "The observation belongs to step j itself; only action, reward and done are of the step before.": (
                _last_observation
            ),
            "The order is observation, action, reward, done.": _reward_first,
            "The action is one-hot: a number for each arm, 1 for the one that was pulled.": _number_of_action,
        },
        praise="Row by row, this is policy.inputs(batch).",
    ),
    Exercise(
        "11.2",
        "return-to-go through the end of an episode",
        reference=_to_go,
        cases=_trials,
        tolerance=1e-6,
        mistakes={
            "The sum stops where an episode ends. In a trial, what is learned in one episode pays in the next.": (
                lambda rewards, mask, discount: torch.cat(
                    [_to_go(r[None], m[None], discount) for r, m in zip(rewards, mask, strict=True)]
                )
            ),
            "Steps that were not taken are discounted. Time should stand still there: the step after an early end is "
            "the first of the next episode.": (
                lambda rewards, mask, discount: _to_go(rewards, torch.ones_like(mask), discount) * mask
            ),
            "Steps that were not taken have no return of their own: put 0 there, and do not count them as time.": (
                lambda rewards, mask, discount: _to_go(rewards, torch.ones_like(mask), discount)
            ),
            "Time stands still where no step was taken, as it should, but the return there is 0.": _carried,
            "From the last step of an episode to the first of the next the discount counts as well.": _boundaries_free,
            "This adds up what came before. What matters for an action is what comes after it.": (
                lambda rewards, mask, discount: _to_go(rewards.flip(0, 1), mask.flip(0, 1), discount).flip(0, 1)
            ),
            "The discount is missing.": lambda rewards, mask, discount: _to_go(rewards, mask, 1.0),
            "The reward of the step itself is missing.": (
                lambda rewards, mask, discount: (_to_go(rewards, mask, discount) - rewards) * mask
            ),
        },
        praise="With a critic and lambda, this loop becomes trial_gae.",
    ),
]
