"""What an agent knows, seen from outside: what can be read in its memory, and what it does next after a surprise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..policies.distributions import categorical_sample
from ..tasks.navigation import GridGoal
from ..tasks.two_step import TwoStep
from ..types import Rollout, Task

F64 = torch.float64


# --- Reading a memory -------------------------------------------------------------------------------------------------


class Probe(NamedTuple):
    """An affine map from a memory to what is read in it."""

    weight: Tensor  # [F, K]
    bias: Tensor  # [K]

    def __call__(self, features: Tensor) -> Tensor:
        """What is read in features `[..., F]`, `[..., K]`."""
        return features.to(self.weight.dtype) @ self.weight + self.bias


def linear_probe(features: Tensor, targets: Tensor, ridge: float = 1e-4) -> Probe:
    r"""The affine map that predicts targets from features with the least squared error and a price on its slopes.

    $$ \min_{W, c} \; \frac1n \sum_{i=1}^n \lVert y_i - W^\top h_i - c \rVert^2 + \lambda \lVert W \rVert^2, \qquad
       W = (C_{hh} + \lambda I)^{-1} C_{hy}, \quad c = \bar y - W^\top \bar h $$

    with the covariances C over all samples. What minimises a squared error is a conditional mean, or the best affine
    approximation of it. So a probe that is fitted to what is *true* of the task estimates a posterior mean.

    Args:
        features: h, `[..., F]`, such as the memories `[N, L, F]` of N trials.
        targets: y, `[..., K]`, with the same leading dimensions.
        ridge: lambda, at least 0; features of a GRU lie between -1 and 1.

    Returns:
        The probe, in float64. Score it on other tasks than those it was fitted on.

    Raises:
        ValueError: for shapes that do not fit, a number that is not finite, or a ridge that is negative.

    Source: Hoerl and Kennard (1970); Alain and Bengio (2017) for its use on networks.
    """
    if features.shape[:-1] != targets.shape[:-1] or features.ndim < 2:
        raise ValueError(
            f"features {tuple(features.shape)} and targets {tuple(targets.shape)}: all dimensions but the last must "
            "be equal, such as [N, L, F] and [N, L, K]."
        )
    if not (isinstance(ridge, int | float) and 0 <= ridge < math.inf):
        raise ValueError(f"ridge = {ridge!r}: a number of at least 0 is needed, such as ridge=1e-4.")
    h, y = features.detach().flatten(0, -2).to(F64), targets.detach().flatten(0, -2).to(F64)  # [n, F], [n, K]
    for name, values in (("features", h), ("targets", y)):
        if not bool(values.isfinite().all()):
            raise ValueError(f"{name} hold {values[~values.isfinite()][0].item()}; all their numbers must be finite.")
    centre, mean = h.mean(0), y.mean(0)
    gram = (h - centre).mT @ (h - centre) / len(h) + ridge * torch.eye(h.shape[1], dtype=F64, device=h.device)
    weight = torch.linalg.lstsq(gram, (h - centre).mT @ (y - mean) / len(h)).solution
    return Probe(weight, mean - centre @ weight)


def r_squared(predicted: Tensor, targets: Tensor, together: bool = False) -> Tensor:
    r"""The share of the targets' variance that the predictions explain, `[K]`: 1 is all, 0 none, and it can be less.

    $$ R^2_k = 1 - \frac{\sum_i (y_{ik} - \hat y_{ik})^2}{\sum_i (y_{ik} - \bar y_k)^2} $$

    over all samples i. A target that does not vary has no variance to explain, and NaN.

    Args:
        predicted: `[..., K]`.
        targets: `[..., K]`.
        together: add up both sums over the targets first, which gives one number.
    """
    y = targets.to(F64).flatten(0, -2)  # [n, K]
    error = (y - predicted.to(F64).flatten(0, -2)).square().sum(0)
    spread = (y - y.mean(0)).square().sum(0)
    return _share(error, spread, together)


def r_squared_interval(
    predicted: Tensor,
    targets: Tensor,
    gen: torch.Generator,
    together: bool = False,
    level: float = 0.95,
    resamples: int = 1000,
) -> tuple[Tensor, Tensor]:
    """A percentile-bootstrap interval of `r_squared` that draws whole tasks again, `[K]` each.

    The steps of one trial have a task and a past in common. To draw them one by one would pretend that they are
    independent.

    Args:
        predicted: `[N, ..., K]`, a row to a task.
        targets: `[N, ..., K]`.
        gen: draws the resamples.
        together: as in `r_squared`.
        level: nominal coverage.
        resamples: how many times the tasks are drawn again.

    Raises:
        ValueError: for fewer than two tasks, or a level outside (0, 1).

    Source: Efron (1979).
    """
    tasks = len(targets)
    if tasks < 2 or not 0 < level < 1:
        raise ValueError(f"{tasks} tasks and level = {level}: at least two tasks, and a level such as .95, are needed.")
    targets, predicted = (x.to(F64).reshape(tasks, -1, x.shape[-1]) for x in (targets, predicted))  # [N, L, K]
    error, y = (targets - predicted).square().sum(1), targets - targets.mean((0, 1))
    drawn = torch.randint(tasks, (resamples, tasks), generator=gen, device=gen.device)
    count = torch.zeros(resamples, tasks, dtype=F64).scatter_add_(1, drawn, torch.ones_like(drawn, dtype=F64))
    spread = count @ y.square().sum(1) - (count @ y.sum(1)).square() / (tasks * y.shape[1])  # about each draw's mean
    shares = _share(count @ error, spread, together)  # [resamples, K]
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=F64)
    low, high = torch.quantile(shares, ends, dim=0)
    return low, high


def _share(error: Tensor, spread: Tensor, together: bool) -> Tensor:
    if together:
        error, spread = error.sum(-1), spread.sum(-1)
    return torch.where(spread > 0, 1 - error / spread, math.nan)


# --- What there is to know --------------------------------------------------------------------------------------------


def posterior_means(batch: Rollout, arms: int) -> Tensor:
    r"""What the trial so far says of each arm of a bandit, before every pull, `[N, L, k]`: (wins + 1) / (pulls + 2).

    $$ \mathbb E[p_a \mid \text{trial before } t] = \frac{w_{a,t} + 1}{n_{a,t} + 2}, \qquad
       n_{a,t} = \sum_{j < t} 1[a_j = a], \quad w_{a,t} = \sum_{j < t} r_j\, 1[a_j = a] $$

    for arms with independent uniform priors: the belief is Beta(w + 1, n - w + 1).
    """
    rewards = batch.rewards.flatten(1)  # [N, L]
    pulled = torch.nn.functional.one_hot(batch.actions.flatten(1), arms).to(rewards.dtype)  # [N, L, k]
    won = pulled * rewards.unsqueeze(-1)
    pulls, wins = (x.cumsum(1) - x for x in (pulled, won))  # before this pull
    return (wins + 1) / (pulls + 2)


def goal_posterior(tasks: GridGoal, batch: Rollout) -> Tensor:
    r"""How probable each cell of the grid is to be the goal, before every move, `[N, L, S]` with S = size².

    $$ P(g \mid \text{trial before } t) \propto 1[g \text{ is possible}], $$

    all cells outside the start's corner at first, without those that have been stepped on in vain; and the goal alone
    once it has paid. Cells are counted column by column, as in the observation.
    """
    cell = batch.observations.flatten(1, 2).argmax(-1)  # [N, L] before each move
    column, row = cell // tasks.size, cell % tasks.size
    there = (torch.stack([column, row], -1) + tasks.moves[batch.actions.flatten(1)]).clamp(0, tasks.size - 1)
    there = torch.nn.functional.one_hot(there[..., 0] * tasks.size + there[..., 1], tasks.size**2).bool()  # [N, L, S]
    goals = tasks.goals()
    possible = torch.zeros(len(cell), tasks.size**2, dtype=torch.bool)
    possible[:, goals[:, 0] * tasks.size + goals[:, 1]] = True
    known = []
    for here, reward in zip(there.unbind(1), batch.rewards.flatten(1).unbind(1), strict=True):
        known.append(possible / possible.sum(-1, keepdim=True))
        possible = torch.where(reward.unsqueeze(-1) > 0, here, possible & ~here)
    return torch.stack(known, 1)


# --- What a choice follows from ---------------------------------------------------------------------------------------


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
    return torch.stack([torch.stack([stay[r & c].mean() for c in (common, ~common)]) for r in (paid, ~paid)])


def interaction(stay: Tensor) -> Tensor:
    r"""By how much a reward's effect on staying depends on the transition, from `stay_probabilities`.

    $$ I = \big(P_{\text{reward, common}} - P_{\text{none, common}}\big)
         - \big(P_{\text{reward, rare}} - P_{\text{none, rare}}\big) $$

    It is 0 for who credits the choice, and positive for who credits the place and knows how it is reached.
    """
    return (stay[0, 0] - stay[1, 0]) - (stay[0, 1] - stay[1, 1])


#: Learns from a round: `learn(values, where, reward)` gives new values `[N, 2]`; `where` `[N]` is what is credited.
Learn = Callable[[Tensor, Tensor, Tensor], Tensor]


def play_two_step(
    tasks: TwoStep, task: Task, learn: Learn, plan: bool, gen: torch.Generator, sharpness: float = 5.0
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
    count, seen = len(task["good"]), []
    values = torch.full((count, 2), 0.5, dtype=tasks.dtype)
    usual = _usual(task, torch.arange(2).expand(count, 2)) - 1  # [N, 2] where each action commonly leads
    state = tasks.reset(task, tasks.draw_reset((count,), gen))
    for _ in range(tasks.horizon // 2):
        common, rare = values.gather(1, usual), values.gather(1, 1 - usual)
        worth = torch.lerp(rare, common, tasks.common_probability) if plan else values
        choice = categorical_sample(sharpness * worth, tasks.draw((count,), gen)[:, :1])
        state, _, _ = tasks.step(task, state, choice, tasks.draw((count,), gen))
        place = state[:, 0]
        state, reward, _ = tasks.step(task, state, choice, tasks.draw((count,), gen))
        values = learn(values, place - 1 if plan else choice, reward)
        seen.append((choice, place == _usual(task, choice), reward))
    return Rounds(*(torch.stack(column, 1) for column in zip(*seen, strict=True)))


def delta_rule(rate: float) -> Learn:
    r"""Moves the value of what is credited a part of the way to the reward: $v \leftarrow v + \alpha\, (r - v)$."""
    if not 0 <= rate <= 1:
        raise ValueError(f"rate = {rate!r}: it must lie between 0 and 1, such as delta_rule(0.5).")

    def learn(values: Tensor, where: Tensor, reward: Tensor) -> Tensor:
        old = values.gather(1, where.unsqueeze(1))
        return values.scatter(1, where.unsqueeze(1), torch.lerp(old, reward.unsqueeze(1), rate))

    return learn


def bayes_rule(tasks: TwoStep) -> Learn:
    r"""Keeps the probability that each place is the good one, by Bayes' rule, and then lets the places change.

    $$ p'_x \propto p_x\, P(r \mid \text{place}, x \text{ is good}), \qquad
       p_x \leftarrow (1 - h)\, p'_x + h\, (1 - p'_x) $$

    with h = .025. For an agent that plans. Every place tells equally much, so the greedy choice is the best there is.
    """
    bad, good = tasks.reward_probabilities

    def learn(values: Tensor, where: Tensor, reward: Tensor) -> Tensor:
        pays = torch.where(torch.arange(2) == where.unsqueeze(1), good, bad)  # [N, 2] if each place were the good one
        values = values * torch.where(reward.unsqueeze(1) > 0, pays, 1 - pays)
        values = values / values.sum(1, keepdim=True)
        return torch.lerp(values, 1 - values, tasks.switch_probability)

    return learn


def _usual(task: Task, action: Tensor) -> Tensor:
    """The place, 1 or 2, to which an action `[N, ...]` commonly leads."""
    common = task["common"].reshape(-1, *(1,) * (action.ndim - 1))
    return torch.where(action == 0, common, 3 - common)
