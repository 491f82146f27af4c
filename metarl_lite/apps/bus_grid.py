"""DREAM in miniature: an exploiter that is told the task, and an explorer that finds it out.

Trained end to end, exploring pays only once exploiting knows what to do with what was found, and the other way round.
DREAM (Liu et al., 2021) parts them: the exploiter learns from the task's identity, the explorer to find that out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..algorithms.configs import RL2Config
from ..given import real
from ..rng import check_generator, uniform
from ..rollout import trial
from ..tasks.base import check_like, check_positive
from ..tasks.bus_grid import TASKS, BusGrid
from ..types import Params, Rollout, Task
from .explorer import Explorer, exploration_of

CELLS = BusGrid.size**2

#: Numbers for `rl2` on both phases, end to end: it learns to walk, not to explore.
END_TO_END = RL2Config(
    iterations=400, num_tasks=256, trials=1, episodes=1, lr=5e-3,
    discount=0.99, entropy=0.05, final_entropy=0.0, value_weight=0.5,
)  # fmt: skip


class Explored(NamedTuple):
    """What N episodes of both phases came to."""

    returns: Tensor  # [N] of exploiting
    guess: Tensor  # [N] the number of the task, as the decoder has it
    exploration: Rollout  # [N, 1, T, ...]


@torch.no_grad()
def explore_then_exploit(
    tasks: BusGrid,
    policy: Explorer,
    params: Params,
    plan: Tensor,
    task: Task,
    gen: torch.Generator,
    *,
    deterministic: bool = True,
) -> Explored:
    """Explores once, takes the task to be the one that is most probable then, and does what is planned for that.

    Args:
        tasks: the family, with both phases.
        policy: the explorer, with
        params: its parameters.
        plan: an action for each task, goal and cell, `[24, 4, 25]`: `train_exploiter(...).argmax(-1)`, or the oracle's.
        task: the tasks, leaf `[N, 4]`.
        gen: draws goals and noise.
        deterministic: whether the explorer takes its most probable actions.

    Raises:
        ValueError: for a family that lacks a phase, or a task or a plan that is none of the family's.
    """
    alone = exploration_of(tasks)
    batch = trial(
        alone, policy, params, task, 1, gen, deterministic=deterministic, memories=True
    )
    assert batch.memories is not None
    guess = policy.log_guess(params, batch.memories[:, -1]).argmax(-1)
    return Explored(exploit(tasks, plan, task, guess, gen), guess, batch)


def exploit(
    tasks: BusGrid, plan: Tensor, task: Task, guess: Tensor, gen: torch.Generator
) -> Tensor:
    """The return of the second phase for an agent that takes each task to be number `guess`, `[N]`.

    Args:
        tasks: the family.
        plan: an action for each task, goal and cell, `[24, 4, 25]`.
        task: the tasks as they are, leaf `[N, 4]`.
        guess: the number of each, true or not, `[N]`.
        gen: draws goals.

    Raises:
        ValueError: for a family without a second phase, or a task, a guess or a plan that is none.
    """
    tasks.check_task(task, len(guess))
    if not bool(((guess >= 0) & (guess < TASKS)).all()):
        raise ValueError(
            f"guess runs from {guess.min().item()} to {guess.max().item()}: tasks are "
            "numbered 0 ... 23, as tasks.number(task) numbers them."
        )
    if plan.shape != (TASKS, 4, CELLS):
        raise ValueError(
            f"plan has shape {tuple(plan.shape)}: an action for each task, goal and "
            f"cell is {(TASKS, 4, CELLS)}, such as bus_grid_plan()."
        )
    second = exploitation_of(tasks)
    state = second.reset(task, second.draw_reset((len(guess),), gen))
    return _play(second, plan, task, guess, state)


def worth_of_guesses(tasks: BusGrid, plan: Tensor) -> Tensor:
    """What a plan earns on each task if it is taken for each, over all goals, `[24, 24]`; right guesses lie diagonal.

    Args:
        tasks: the family, with a second phase.
        plan: an action for each task, goal and cell, `[24, 4, 25]`.
    """
    second, lead = exploitation_of(tasks), (TASKS, TASKS, 4)
    truth, guess, goal = torch.cartesian_prod(*map(torch.arange, lead)).unbind(-1)
    task = {"buses": tasks.all_tasks()["buses"][truth]}
    state = second.reset(task, (goal.unsqueeze(-1) + 0.5) / 4)
    return _play(second, plan, task, guess, state).view(lead).mean(-1)


def _play(
    second: BusGrid, plan: Tensor, task: Task, guess: Tensor, state: Tensor
) -> Tensor:
    """The return of each row for what is planned for its guess, `[N]`."""
    returns = torch.zeros(len(guess), dtype=second.dtype)
    alive = torch.ones(len(guess), dtype=torch.bool)
    for _ in range(second.horizon):
        action = plan[guess, state[:, 3], cell_of(state)]
        state, reward, ended = second.step(task, state, action, state)
        returns = returns + reward * alive
        alive = alive & ~ended
    return returns


def train_exploiter(
    tasks: BusGrid,
    gen: torch.Generator,
    iterations: int = 100,
    num_tasks: int = 256,
    epsilon: float = 0.5,
) -> Tensor:
    r"""Q-learning by an agent that is told the task's number: what each action is worth, `[24, 4, 25, 6]`.

    $$ Q(z, g, s, a) \leftarrow r + [s' \ne g] \max_{a'} Q(z, g, s', a') $$

    The rate is 1: where task and goal are known, nothing in this world is random. To be told z is a *privilege*: the
    number is there in training and not in a test, where an explorer's guess takes its place.

    Args:
        tasks: the family; its second phase alone is played.
        gen: draws tasks, goals and noise.
        iterations: batches of episodes.
        num_tasks: N, episodes of each.
        epsilon: the probability of an action at random, in (0, 1].

    Raises:
        ValueError: for a family without a second phase, or a number out of range.

    Source: Watkins and Dayan (1992); Liu et al. (2021) for what it is told.
    """
    second = exploitation_of(tasks)
    check_positive(iterations=iterations, num_tasks=num_tasks)
    check_generator(gen)
    if not 0 < real(epsilon) <= 1:
        raise ValueError(
            f"epsilon = {epsilon!r}: a probability above 0 is needed, such as 0.5."
        )
    table = torch.zeros(TASKS, 4, CELLS, tasks.action_size, dtype=tasks.dtype)
    for _ in range(iterations):
        task = second.sample(num_tasks, gen)
        state = second.reset(task, second.draw_reset((num_tasks,), gen))
        number, goal = second.number(task), state[:, 3]
        alive = torch.ones(num_tasks, dtype=torch.bool)
        for _ in range(second.horizon):
            cell = cell_of(state)
            noise = uniform((num_tasks, 2), gen, torch.float64)
            drawn = (tasks.action_size * noise[:, 1]).long()
            best = table[number, goal, cell].argmax(-1)
            action = torch.where(noise[:, 0] < epsilon, drawn, best)
            state, reward, ended = second.step(task, state, action, state)  # no noise
            ahead = table[number, goal, cell_of(state)].amax(-1)
            target = reward + torch.where(ended, 0, ahead)  # [N]
            place = torch.stack([number, goal, cell, action], -1)[alive]
            table[place.unbind(-1)] = target[alive]
            alive = alive & ~ended
    return table


def cell_of(state: Tensor) -> Tensor:
    """The number of a state's cell, 0 to 24: columns one after the other."""
    return BusGrid.size * state[..., 0] + state[..., 1]


def exploitation_of(tasks: BusGrid) -> BusGrid:
    """The second phase of a family alone; a ValueError if it has none."""
    check_like(BusGrid, "explore exploit", tasks=tasks)
    if not tasks.exploit:
        raise ValueError(
            "exploit = 0: these tasks have nothing to exploit: use BusGrid(exploit=20)."
        )
    return BusGrid(0, tasks.exploit, dtype=tasks.dtype)
