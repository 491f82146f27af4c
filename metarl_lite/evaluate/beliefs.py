"""What there is to know of a task at each step of a trial: exact posteriors, to hold a memory against."""

from __future__ import annotations

import torch
from torch import Tensor

from ..tasks.base import check_like
from ..tasks.navigation import GridGoal
from ..types import Rollout


def posterior_means(batch: Rollout, arms: int) -> Tensor:
    r"""What the trial so far says of each arm of a bandit, before every pull, `[N, L, k]`: (wins + 1) / (pulls + 2).

    $$ \mathbb E[p_a \mid \text{trial before } t] = \frac{w_{a,t} + 1}{n_{a,t} + 2}, \qquad
       n_{a,t} = \sum_{j < t} 1[a_j = a], \quad w_{a,t} = \sum_{j < t} r_j\, 1[a_j = a] $$

    for arms with independent uniform priors: the belief is Beta(w + 1, n - w + 1).
    """
    rewards = batch.rewards.flatten(1)  # [N, L]
    pulled = torch.nn.functional.one_hot(batch.actions.flatten(1), arms)  # [N, L, k]
    pulled = pulled.to(rewards.dtype)
    won = pulled * rewards.unsqueeze(-1)
    pulls, wins = pulled.cumsum(1) - pulled, won.cumsum(1) - won  # before this pull
    return (wins + 1) / (pulls + 2)


def goal_posterior(tasks: GridGoal, batch: Rollout) -> Tensor:
    r"""How probable each cell of the grid is to be the goal, before every move, `[N, L, S]` with S = size².

    $$ P(g \mid \text{trial before } t) \propto 1[g \text{ is possible}], $$

    all cells outside the start's corner at first, without those that have been stepped on in vain; and the goal alone
    once it has paid. Cells are counted column by column, as in the observation.
    """
    check_like(GridGoal, "size moves goals", tasks=tasks)
    cell = batch.observations.flatten(1, 2).argmax(-1)  # [N, L] before each move
    column, row = cell // tasks.size, cell % tasks.size
    moved = torch.stack([column, row], -1) + tasks.moves[batch.actions.flatten(1)]
    moved = moved.clamp(0, tasks.size - 1)
    there = moved[..., 0] * tasks.size + moved[..., 1]  # [N, L] after it
    stepped_on = torch.nn.functional.one_hot(there, tasks.size**2).bool()  # [N, L, S]
    paid = batch.rewards.flatten(1).unsqueeze(-1) > 0  # [N, L, 1]
    goals = tasks.goals()
    possible = torch.zeros(len(cell), tasks.size**2, dtype=torch.bool)
    possible[:, goals[:, 0] * tasks.size + goals[:, 1]] = True
    known = []
    for t in range(there.shape[1]):
        known.append(possible / possible.sum(-1, keepdim=True))
        here = stepped_on[:, t]
        possible = torch.where(paid[:, t], here, possible & ~here)
    return torch.stack(known, 1)
