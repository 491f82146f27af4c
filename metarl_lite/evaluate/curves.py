"""Measuring adaptation: returns after k steps, and how sure one can be of an average."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..algorithms.configs import MAMLConfig
from ..algorithms.footprint import check_inner_memory, tasks_at_once
from ..algorithms.inner import inner_loop, mean_returns
from ..given import check_callable, check_result, counts
from ..policies.base import check_fit, tile
from ..policies.gru import GRUPolicy
from ..policies.mlp import MLPPolicy
from ..rollout import Noise, draw_noise, rollout, trial
from ..tasks.base import TaskDistribution, check_kind, check_like, index_task
from ..tasks.leaves import tasks_in
from ..types import Params, Rollout, Task


@torch.inference_mode(False)  # gradients are on, wherever this is called
def adaptation_curve(
    tasks: TaskDistribution,
    policy: MLPPolicy,
    task: Task,
    config: MAMLConfig,
    gen: torch.Generator,
    *,
    deterministic: bool = False,
) -> Tensor:
    """Mean undiscounted return of every task after 0, 1, ... `config.inner_steps` steps, `[inner_steps + 1, N]`.

    Each step is taken from `config.episodes` fresh episodes of sampled actions, and each point of the curve is the
    mean over episodes that its parameters were not adapted on.

    Args:
        tasks: the family.
        policy: the initialisation; it is not changed.
        task: test tasks, leaves `[N, ...]`; draw them with a seed that training does not use.
        config: inner learning rate, inner steps, episodes. `chunk_size` bounds the memory.
        gen: draws the noise of acting.
        deterministic: measure the most probable actions. What is learned from is sampled as ever, so a point has
            episodes of its own, with the same chance of the world.

    Raises:
        ValueError: if these are no tasks of the family, or what one chunk of them needs does not fit into memory.
    """
    check_kind(MAMLConfig, config=config)
    check_kind(MLPPolicy, policy=policy)
    num_tasks, theta = count_tasks(tasks, task), policy.params()
    check_inner_memory(tasks, policy, config, num_tasks, outer=None)
    noise = [
        draw_noise(tasks, policy, num_tasks, config.episodes, gen)
        for _ in range(config.inner_steps + 1)
    ]
    chunk, curves = tasks_at_once(tasks, config, num_tasks), []
    for start in range(0, num_tasks, chunk):
        part = slice(start, min(start + chunk, num_tasks))
        task_part, noise_part = index_task(task, part), [drawn[part] for drawn in noise]
        params = tile(theta, part.stop - part.start)
        given = tasks, policy, params, task_part, config
        curves.append(mean_returns(_points(*given, noise_part, deterministic)))
    return torch.cat(curves, 1)


def _points(
    tasks: TaskDistribution,
    policy: MLPPolicy,
    params: Params,
    task: Task,
    config: MAMLConfig,
    noise: list[Noise],
    deterministic: bool,
) -> list[Rollout]:
    """The episodes after 0, 1, ... steps, each with its noise."""

    def play(k: int) -> tuple[Rollout, list[Rollout]]:
        """The episodes after k steps, and those that the steps were taken from."""
        adapted, support = inner_loop(
            tasks, policy, params, task, config, noise[:k], create_graph=False
        )
        batch = rollout(
            tasks, policy, adapted, task, config.episodes,
            noise=noise[k], deterministic=deterministic,
        )  # fmt: skip
        return batch, support

    if deterministic:
        return [play(k)[0] for k in range(len(noise))]
    last, support = play(len(noise) - 1)
    return [*support, last]


def trial_returns(
    tasks: TaskDistribution,
    policy: GRUPolicy,
    task: Task,
    episodes: int,
    gen: torch.Generator,
    chunk: int = 2000,
    score: Callable[[Task, Rollout], Tensor] = lambda _, batch: batch.returns(),
    *,
    deterministic: bool = False,
) -> Tensor:
    """Undiscounted return of every episode of a trial of every task, `[N, E]`: RL2's adaptation curve, task by task.

    Args:
        tasks: the family.
        policy: a trained policy with a memory.
        task: test tasks, leaves `[N, ...]`; draw them with a seed that training does not use.
        episodes: E.
        gen: draws the noise of acting.
        chunk: tasks at once, which bounds the memory.
        score: what is measured, `[N, E]`, of the tasks and their trials; the returns if nothing else is said.
        deterministic: take the most probable action in each step.

    Raises:
        ValueError: if these are no tasks of the family, or the score is not one number for each task and episode.
    """
    check_callable("task batch", score=score)
    check_fit(tasks, policy, GRUPolicy)
    num_tasks, (chunk,) = count_tasks(tasks, task), counts(chunk=chunk)
    params, scores = {name: p.detach() for name, p in policy.params().items()}, []
    # at once: the scores do not depend on the chunk
    noise = draw_noise(tasks, policy, num_tasks, episodes, gen)
    for start in range(0, num_tasks, chunk):
        part = slice(start, start + chunk)
        some = index_task(task, part)
        batch = trial(
            tasks, policy, params, some, episodes,
            noise=noise[part], deterministic=deterministic,
        )  # fmt: skip
        sizes = {"N": len(batch.rewards), "E": len(batch.rewards[0])}
        scores.append(check_result(score(some, batch), sizes, "score", WANTED))
    return torch.cat(scores)


# What a score is, for a message.
WANTED = (
    "one number for each task and each of its episodes; means over tasks are taken "
    "afterwards, of what trial_returns gives."
)


def count_tasks(tasks: TaskDistribution, task: Task) -> int:
    """N; refuses what is no batch of this family's tasks."""
    check_like(TaskDistribution, "action_scale", tasks=tasks)
    num_tasks = tasks_in(task)
    tasks.check_task(task, num_tasks)
    return num_tasks
