"""The grid with a hidden goal: the best search there can be, and agents that search it less well."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..given import check_callable, check_result
from ..rng import uniform
from ..tasks.base import check_like, check_positive
from ..tasks.navigation import GridGoal
from ..types import Task


def gridnavi_optimal_value(
    size: int = 5, horizon: int = 15, episodes: int = 4
) -> float:
    r"""The Bayes-optimal return of a trial on `GridGoal`, exactly: 37.214286 for 5 x 5 cells, 15 steps, 4 episodes.

    $$ V^* = -.1\, E\, T + \frac{1.1}{\lvert G \rvert} \max_{\text{path}} \sum_{g \in G} w(g) $$

    where w(g) counts the steps that are spent on the goal if it is g; `gridnavi_optimal_path` says how.

    Raises:
        ValueError: if a size is not positive, or the search would be too large.
    """
    spent, _ = _best_path(size, horizon, episodes)
    return -0.1 * episodes * horizon + 1.1 * spent / len(
        GridGoal(size, horizon).goals()
    )


def gridnavi_known_value(size: int = 5, horizon: int = 15, episodes: int = 4) -> float:
    r"""The mean return of a trial for an agent that is told the goal: it walks there straight in every episode.

    $$ V = E \Big( \! -.1\, T + \frac{1.1}{\lvert G \rvert} \sum_{g \in G} (T - \lVert g \rVert_1 + 1)^+ \Big) $$

    It is 44.285714 for 5 x 5 cells, 15 steps and 4 episodes.
    """
    check_positive(episodes=episodes)
    goals = GridGoal(size, horizon).goals()
    return episodes * (
        -0.1 * horizon + 1.1 * _steps_on(goals, horizon).sum().item() / len(goals)
    )


def gridnavi_agnostic_value(
    size: int = 5, horizon: int = 15, episodes: int = 4
) -> float:
    r"""The best mean return of a trial for an agent that learns nothing: -3.066667 for the usual sizes.

    $$ V = E \Big( \! -.1\, T + \frac{1.1}{\lvert G \rvert} (T - 1) \Big) $$

    Its path is the same on every task. A step on a cell that can be the goal pays more on average than one
    in the corner, whichever cell it is, and the first move can reach none.
    """
    check_positive(episodes=episodes)
    goals = len(GridGoal(size, horizon).goals())
    return episodes * (-0.1 * horizon + 1.1 * (horizon - 1) / goals)


def gridnavi_optimal_path(
    size: int = 5, horizon: int = 15, episodes: int = 4
) -> Tensor:
    r"""The cells that a Bayes-optimal agent visits while it has not found the goal, `[E, T, 2]`, after each move.

    Until it finds the goal the agent learns only "not here", as it knew it would. So its behaviour up to then is a
    path that is fixed from the beginning, and after it the shortest way. If the goal is g, and the path first meets
    it at move m of episode e, both counted from 1, then the agent spends

    $$ w(g) = (T - m + 1) + (E - e)\, (T - \lVert g \rVert_1 + 1)^+ $$

    steps on the goal, in this episode and in those to come. The best path makes the sum over all g as large as it can
    be. There may be several such paths, and this is one of them.

    Raises:
        ValueError: if a size is not positive, or the search would be too large.
    """
    return _best_path(size, horizon, episodes)[1]


def _best_path(size: int, horizon: int, episodes: int) -> tuple[int, Tensor]:
    check_positive(episodes=episodes)
    tasks = GridGoal(size, horizon)
    if size > 7:
        raise ValueError(
            f"size = {size}: up to 2^{size**2 - 4} sets of visited cells would have to "
            "be told apart; at most size=7, and size=5 for an answer in a second."
        )
    possible, _ = _search(tasks, episodes, floor=0, width=1000)
    return _search(tasks, episodes, floor=possible)


def _search(
    tasks: GridGoal, episodes: int, floor: int, width: int | None = None
) -> tuple[int, Tensor]:
    """The greatest sum of w(g), and a path `[E, T, 2]` that has it.

    The search moves forward, all states (cell, set of visited cells) at once, keeps the best way to each state, and
    drops a state whose `_bound` is below `floor`, a sum that is known to be possible. With a `width` it keeps only that
    many states, those of highest bound: then the sum is possible, but perhaps not the greatest.
    """
    size, horizon = tasks.size, tasks.horizon
    cells = torch.cartesian_prod(torch.arange(size), torch.arange(size))
    there = (cells.unsqueeze(1) + tasks.moves).clamp(0, size - 1)
    leads, goal = _index(there, size), _index(tasks.goals(), size)  # [S, 5], [G]
    worth, bit = torch.zeros(2, size**2, dtype=torch.long)
    worth[goal] = _steps_on(tasks.goals(), horizon)
    bit[goal] = 2 ** torch.arange(len(goal))
    cell, seen, total, history = *torch.zeros(3, 1, dtype=torch.long), []
    for e in range(1, episodes + 1):
        cell = torch.zeros_like(cell)
        for m in range(1, horizon + 1):
            source = torch.arange(len(cell)).repeat_interleave(5)
            cell = leads[cell].flatten()
            new = (bit[cell] > 0) & (seen[source] & bit[cell] == 0)
            left, later = horizon - m, episodes - e
            total = total[source] + new * (left + 1 + later * worth[cell])
            seen = seen[source] | bit[cell]
            # At an episode's end it does not matter where the agent is: the next one
            # begins at the start.
            best = _best_of_each(seen if left == 0 else seen * size**2 + cell, total)
            bound = _bound(total[best], seen[best], worth[goal], left, later)
            good = bound >= floor
            if width is not None:
                good = bound.topk(min(width, len(best))).indices
            best = best[good]
            _refuse_too_many(len(best), tasks, episodes, e, m)
            cell, seen, total = cell[best], seen[best], total[best]
            history.append((cell, source[best]))
    at, path = total.argmax(), []
    for cell, source in reversed(history):
        path.append(cells[cell[at]])
        at = source[at]
    return int(total.max()), torch.stack(path[::-1]).reshape(episodes, horizon, 2)


def _bound(
    total: Tensor, seen: Tensor, worth: Tensor, left: int, episodes: int
) -> Tensor:
    r"""What a sum of w(g) can at most become, `[B]`, with `left` moves in this episode and `episodes` after it.

    $$ \text{total} + \text{episodes} \cdot \sum_{g\ \text{not seen}} (T - \lVert g \rVert_1 + 1)^+
       + \sum_{i=0}^{n-1} (\text{left} - i), \qquad n = \min(\text{left}, \text{number of } g \text{ not seen}) . $$

    A goal that is found later on earns at most what the straight way to it, in the very next episode, would earn. One
    that is found in this episode earns that and the rest of this episode, and each move finds at most one.
    """
    count, later = torch.zeros_like(seen), torch.zeros_like(seen)
    for i, steps in enumerate(worth.tolist()):  # a table [B, G] would be large
        unseen = seen >> i & 1 == 0
        count, later = count + unseen, later + unseen * steps
    count = count.clamp(max=left)
    return total + episodes * later + count * (2 * left - count + 1) // 2


def _best_of_each(key: Tensor, total: Tensor) -> Tensor:
    """The places at which each key has its greatest total."""
    order = total.argsort(stable=True)
    order = order[key[order].argsort(stable=True)]  # by key, and within a key by total
    ends = torch.ones_like(key, dtype=torch.bool)
    ends[:-1] = key[order][1:] != key[order][:-1]
    return order[ends]


def _steps_on(goals: Tensor, horizon: int) -> Tensor:
    """The steps of an episode that are spent on each goal `[..., 2]` when it is known, (T - |g| + 1)+."""
    return (horizon - goals.sum(-1) + 1).clamp(min=0)


def _index(cells: Tensor, size: int) -> Tensor:
    return cells[..., 0] * size + cells[..., 1]


def _refuse_too_many(
    states: int, tasks: GridGoal, episodes: int, e: int, m: int
) -> None:
    if states > 2_000_000:
        moves = episodes * tasks.horizon
        raise ValueError(
            f"size = {tasks.size}, horizon = {tasks.horizon}, episodes = {episodes}: "
            f"at move {m} of episode {e} the search holds {states:,} states, and at "
            f"that size the {moves} moves of the trial would need some "
            f"{3e-8 * moves * states:.0f} GB of memory. Make one of the three smaller."
        )


# --- Agents ---------------------------------------------------------------------------


class Search(NamedTuple):
    """What an agent knows on each of N grids before it moves."""

    episode: int
    step: int
    cell: Tensor  # [N, 2] where it is
    aim: Tensor  # [N, 2] where it wanted to go at its last move
    # [N, S] whether the goal may be in each cell, by all that it has seen in this trial
    possible: Tensor


#: Chooses the cell to walk to, `[N, 2]`, before each move: `rule(search, gen)`.
Rule = Callable[[Search, torch.Generator], Tensor]


def search_grid(
    tasks: GridGoal, task: Task, rule: Rule, episodes: int, gen: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Lets an agent that remembers what it has seen search every grid: cells `[N, E, T, 2]` and rewards `[N, E, T]`.

    The agent moves towards the cell that its rule names. Where two moves are equally short, it tosses a coin.
    """
    check_positive(episodes=episodes)
    check_callable("search gen", rule=rule)
    check_like(GridGoal, "size goals", tasks=tasks)
    count, size = len(task["goal"]), tasks.size
    possible = torch.zeros(count, size**2, dtype=torch.bool)
    possible[:, _index(tasks.goals(), size)] = True
    aim, cells, rewards = torch.zeros(count, 2, dtype=torch.long), [], []
    for e in range(episodes):
        cell = tasks.reset(task, torch.zeros(count, 0))
        for t in range(tasks.horizon):
            aim = check_result(
                rule(Search(e, t, cell, aim, possible), gen),
                {"N": count, "2": 2}, "the rule", "a cell, column and row, per task.",
            )  # fmt: skip
            coin = uniform((count,), gen, tasks.dtype) < 0.5
            cell, reward, _ = tasks.step(
                task, cell, head_for(cell, aim, coin), tasks.draw((count,), gen)
            )
            here = torch.nn.functional.one_hot(_index(cell, size), size**2).bool()
            possible = torch.where(reward.unsqueeze(-1) > 0, here, possible & ~here)
            cells.append(cell)
            rewards.append(reward)
    lead = (count, episodes, tasks.horizon)
    return torch.stack(cells, 1).reshape(*lead, 2), torch.stack(rewards, 1).reshape(
        lead
    )


def head_for(cell: Tensor, aim: Tensor, coin: Tensor) -> Tensor:
    """A move of `GridGoal` on a shortest way from a cell to another, `[...]`; both `[..., 2]`.

    Where the way leads across as well as up or down, a `coin` `[...]` that is True says across first.
    """
    across, up = (aim - cell).unbind(-1)
    sideways = torch.where(across > 0, 2, 4)
    upright = torch.where(up > 0, 1, torch.where(up < 0, 3, 0))
    return torch.where((across != 0) & (coin | (up == 0)), sideways, upright)


def along(path: Tensor) -> Rule:
    """The rule that follows a path `[E, T, 2]` until it knows the goal, and then goes there.

    With `gridnavi_optimal_path` it is Bayes-optimal.
    """

    def rule(search: Search, gen: torch.Generator) -> Tensor:
        return _known_or(
            search, path[search.episode, search.step].expand_as(search.cell)
        )

    return rule


def sample_once(search: Search, gen: torch.Generator) -> Tensor:
    """Posterior sampling, once an episode: goes to one of the possible goals, drawn at the start, and stays there.

    Should it meet the goal on its way, it stays on the goal. But if the cell that it has drawn is empty, the rest of
    the episode is lost.

    Source: Strens (2000); Osband et al. (2013).
    """
    if search.step:
        return _known_or(search, search.aim)
    drawn = torch.multinomial(search.possible.double(), 1, generator=gen).squeeze(-1)
    return _cells(drawn, search.possible)


def walk_at_random(search: Search, gen: torch.Generator) -> Tensor:
    """Stays or moves to one of four sides, all equally likely, whatever it has seen."""
    move = torch.randint(5, search.cell.shape[:1], generator=gen, device=gen.device)
    return search.cell + GridGoal.moves[move]


def _known_or(search: Search, aim: Tensor) -> Tensor:
    """The goal where only one is possible, and the given aim elsewhere."""
    known = search.possible.sum(-1, keepdim=True) == 1
    return torch.where(
        known, _cells(search.possible.long().argmax(-1), search.possible), aim
    )


def _cells(index: Tensor, possible: Tensor) -> Tensor:
    size = round(possible.shape[-1] ** 0.5)
    return torch.stack([index // size, index % size], -1)
