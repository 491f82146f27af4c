"""What a choice follows from: staying and switching in the two-step task, with a model and without."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..given import check_callable, check_result, real
from ..policies.distributions import categorical_sample
from ..tasks.base import check_like
from ..tasks.two_step import TwoStep
from ..types import Rollout, Task

F64 = torch.float64


class Rounds(NamedTuple):
    """The rounds of sessions of the two-step task, `[N, R]` each."""

    choices: Tensor  # 0 or 1, at the first stage
    common: Tensor  # whether the common transition followed
    rewards: Tensor  # 0 or 1


def rounds(task: Task, batch: Rollout) -> Rounds:
    """The rounds of a trial of one episode on `TwoStep` with an even horizon."""
    choices, rewards = batch.actions[:, 0, 0::2], batch.rewards[:, 0, 1::2]
    place = batch.observations[:, 0, 1::2].argmax(-1)
    return Rounds(choices, place == _usual(task, choices), rewards)


def stay_probabilities(seen: Rounds) -> Tensor:
    """How often the choice of a round is made again in the next, by what followed it, `[2, 2]`.

    Rows: rewarded, unrewarded. Columns: after a common, after a rare transition. NaN where that never happened.
    """
    stay = (seen.choices[:, 1:] == seen.choices[:, :-1]).to(F64)
    paid, common = seen.rewards[:, :-1] > 0, seen.common[:, :-1]
    after = (common, ~common)
    rows = [torch.stack([stay[r & c].mean() for c in after]) for r in (paid, ~paid)]
    return torch.stack(rows)


def interaction(stay: Tensor) -> Tensor:
    r"""By how much a reward's effect on staying depends on the transition, from `stay_probabilities`.

    $$ I = \big(P_{\text{reward, common}} - P_{\text{none, common}}\big)
         - \big(P_{\text{reward, rare}} - P_{\text{none, rare}}\big) $$

    It is positive for who credits the place and knows how it is reached, and, if less, for who credits the choice:
    given the reward, a common transition tells that the choice had been good before, and that is remembered.
    """
    return (stay[0, 0] - stay[1, 0]) - (stay[0, 1] - stay[1, 1])


#: Learns from a round: `learn(values, where, reward)` gives new values `[N, 2]`;
#: `where` `[N]` is what is credited.
Learn = Callable[[Tensor, Tensor, Tensor], Tensor]


def play_two_step(
    tasks: TwoStep,
    task: Task,
    learn: Learn,
    plan: bool,
    gen: torch.Generator,
    sharpness: float = 5.0,
) -> Rounds:
    r"""Sessions of an agent that credits its choices or, with `plan`, the places, and knows how these are reached.

    $$ Q(a) = \begin{cases} v(a) & \text{without a model} \\
       .75\, v(\text{common place of } a) + .25\, v(\text{the other}) & \text{with it} \end{cases}, \qquad
       P(a) \propto e^{\kappa Q(a)} $$

    The two learn alike; they differ only in what the two values v are values of. Both start at 1/2.

    Args:
        tasks: the family.
        task: the tasks, leaves `[N]`.
        learn: how the values follow the rewards, such as `delta_rule(0.5)`.
        plan: whether places are credited, and choices made by looking ahead.
        gen: draws all chance.
        sharpness: kappa; the greater, the greedier.

    Source: Daw et al. (2011).
    """
    check_callable("values where reward", learn=learn)
    count, seen = len(task["good"]), []
    values = torch.full((count, 2), 0.5, dtype=tasks.dtype)
    # [N, 2] where each action commonly leads
    usual = _usual(task, torch.arange(2).expand(count, 2)) - 1
    state = tasks.reset(task, tasks.draw_reset((count,), gen))
    for _ in range(tasks.horizon // 2):
        common, rare = values.gather(1, usual), values.gather(1, 1 - usual)
        worth = torch.lerp(rare, common, tasks.common_probability) if plan else values
        choice = categorical_sample(sharpness * worth, tasks.draw((count,), gen)[:, :1])
        state, _, _ = tasks.step(task, state, choice, tasks.draw((count,), gen))
        place = state[:, 0]
        state, reward, _ = tasks.step(task, state, choice, tasks.draw((count,), gen))
        values = learn(values, place - 1 if plan else choice, reward)
        check_result(
            values, {"N": count, "2": 2}, "learn", "a value of both, per task."
        )
        seen.append((choice, place == _usual(task, choice), reward))
    return Rounds(*(torch.stack(column, 1) for column in zip(*seen, strict=True)))


def delta_rule(rate: float) -> Learn:
    r"""Moves the value of what is credited a part of the way to the reward: $v \leftarrow v + \alpha\, (r - v)$."""
    if not 0 <= real(rate) <= 1:
        raise ValueError(
            f"rate = {rate!r}: it must lie between 0 and 1, such as delta_rule(0.5)."
        )

    def learn(values: Tensor, where: Tensor, reward: Tensor) -> Tensor:
        old = values.gather(1, where.unsqueeze(1))
        new = torch.lerp(old, reward.unsqueeze(1), rate)
        return values.scatter(1, where.unsqueeze(1), new)

    return learn


def bayes_rule(tasks: TwoStep) -> Learn:
    r"""Keeps the probability that each place is the good one, by Bayes' rule, and then lets the places change.

    $$ p'_x \propto p_x\, P(r \mid \text{place}, x \text{ is good}), \qquad
       p_x \leftarrow (1 - h)\, p'_x + h\, (1 - p'_x) $$

    with h = .025. For an agent that plans. Every place tells equally much, so the greedy choice is the best there is.
    """
    check_like(TwoStep, "reward_probabilities switch_probability", tasks=tasks)
    bad, good = tasks.reward_probabilities

    def learn(values: Tensor, where: Tensor, reward: Tensor) -> Tensor:
        # [N, 2] if each place were the good one
        pays = torch.where(torch.arange(2) == where.unsqueeze(1), good, bad)
        values = values * torch.where(reward.unsqueeze(1) > 0, pays, 1 - pays)
        values = values / values.sum(1, keepdim=True)
        return torch.lerp(values, 1 - values, tasks.switch_probability)

    return learn


def _usual(task: Task, action: Tensor) -> Tensor:
    """The place, 1 or 2, to which an action `[N, ...]` commonly leads."""
    common = task["common"].reshape(-1, *(1,) * (action.ndim - 1))
    return torch.where(action == 0, common, 3 - common)
