"""One interface for adaptation: whatever learns on a task gives its returns, episode by episode.

MAML learns by gradient steps between its episodes, RL2 by what it keeps in its memory, an untrained policy not at all.
Here each becomes a `Learner`, a function of the tasks, and all of them meet the same tasks with the same luck.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..algorithms.configs import MAMLConfig
from ..algorithms.footprint import check_inner_memory, tasks_at_once
from ..algorithms.inner import inner_loop
from ..given import check_callable, check_result, counts
from ..policies.base import check_fit, tile
from ..policies.gru import GRUPolicy
from ..policies.mlp import MLPPolicy
from ..rng import generator
from ..rollout import draw_noise, rollout
from ..tasks.base import TaskDistribution, check_kind, index_task
from ..types import Task
from .curves import count_tasks, trial_returns

#: `learner(tasks, task, episodes, gen)`: the returns of K episodes of every task.
Learner = Callable[[TaskDistribution, Task, int, torch.Generator], Tensor]

WANTED = (
    "a learner gives the return of each task's every episode, in the order in which "
    "they were lived."
)


def returns_by_episode(
    tasks: TaskDistribution,
    learners: Sequence[Learner],
    task: Task,
    episodes: int,
    seed: int,
) -> Tensor:
    r"""Undiscounted returns of all learners on the same tasks, with the same luck: `[R, N, K]`.

    Episode k of task i is lived after k - 1 others of the same task, by a learner that may have learned from them. Each
    learner begins with the same generator, so the chance of the world (its resets, the luck of each step) is the same
    for all, and what they earn differs by what they do: the comparison is paired. The mean over tasks is a learner's
    adaptation curve `[R, K]`.

    Args:
        tasks: the family; one's own environments of gymnasium come in as `GymTasks`.
        learners: R of them: `gradient_learner`, `memory_learner`, `fixed_learner`, `oracle_learner`, or a function
            `learner(tasks, task, episodes, gen)` of one's own that gives `[N, K]`.
        task: test tasks, leaves `[N, ...]`, unseen in training.
        episodes: K, of each task.
        seed: of the chance.

    Raises:
        ValueError: if there is no learner, these are no tasks of the family, or a learner gives anything but `[N, K]`.

    Source: common random numbers, as in Ng and Jordan (2000).
    """
    num_tasks, (episodes,) = count_tasks(tasks, task), counts(episodes=episodes)
    learners = list(learners) if isinstance(learners, Sequence) else [learners]
    if not learners:
        raise ValueError(
            "learners is empty: give at least one, such as [memory_learner(policy)]."
        )
    sizes, curves = {"N": num_tasks, "K": episodes}, []
    for number, learner in enumerate(learners):
        check_callable("tasks task episodes gen", **{f"learners[{number}]": learner})
        returns = learner(tasks, task, episodes, generator(seed))
        curves.append(check_result(returns, sizes, f"learners[{number}]", WANTED))
    return torch.stack(curves)


def gradient_learner(policy: MLPPolicy, config: MAMLConfig) -> Learner:
    """Learns by gradient steps, as MAML, its relatives, fine-tuning and learning from scratch do.

    They differ in nothing but the parameters that they begin with. The first `config.episodes` episodes are acted with
    these; then comes a step, and so on, until `config.inner_steps` steps are taken or K episodes are lived.

    Args:
        policy: the initialisation; it is not changed.
        config: episodes between steps, steps, rates, and the loss of a step.
    """
    check_kind(MAMLConfig, config=config)
    check_kind(MLPPolicy, policy=policy)
    every = config.episodes

    @torch.inference_mode(False)  # gradients are on, wherever this is called
    def learn(
        tasks: TaskDistribution, task: Task, episodes: int, gen: torch.Generator
    ) -> Tensor:
        check_fit(tasks, policy, MLPPolicy)
        steps = min(config.inner_steps, (episodes - 1) // every)  # that count
        num_tasks, theta = count_tasks(tasks, task), policy.params()
        steps_taken = replace(config, inner_steps=steps) if steps else config
        check_inner_memory(tasks, policy, steps_taken, num_tasks, outer=None)
        noise = draw_noise(tasks, policy, num_tasks, episodes, gen)  # [N, K]
        chunk, returns = tasks_at_once(tasks, config, num_tasks), []
        for start in range(0, num_tasks, chunk):
            part = slice(start, min(start + chunk, num_tasks))
            some, params = index_task(task, part), tile(theta, part.stop - part.start)
            blocks = [noise[part, k * every : (k + 1) * every] for k in range(steps)]
            given = tasks, policy, params, some, config, blocks
            adapted, lived = inner_loop(*given, create_graph=False)
            rest = episodes - steps * every
            left = noise[part, steps * every :]
            last = rollout(tasks, policy, adapted, some, rest, noise=left)
            returns.append(torch.cat([x.returns() for x in [*lived, last]], 1))
        return torch.cat(returns)

    return learn


def memory_learner(policy: GRUPolicy) -> Learner:
    """Learns by its memory alone, as RL2 and task inference do: K episodes are one trial."""
    check_kind(GRUPolicy, policy=policy)
    return lambda tasks, task, episodes, gen: trial_returns(
        tasks, policy, task, episodes, gen
    )


def fixed_learner(policy: MLPPolicy) -> Learner:
    """Learns nothing: the same policy in every episode, what a comparison begins with."""
    return gradient_learner(policy, MAMLConfig(inner_steps=0))


def oracle_learner(value: Callable[[Task], Tensor]) -> Learner:
    """Knows what can be earned: `value(task)` is the return of an episode `[N]`, the same for each."""
    check_callable("task", value=value)
    return lambda tasks, task, episodes, gen: (
        value(task).unsqueeze(1).expand(-1, episodes)
    )
