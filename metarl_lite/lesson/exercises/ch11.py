"""Exercises of chapter 11: the input of a step, returns through a boundary, where memory begins, a fair comparison."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...rng import generator, normal, uniform
from .base import Case, Exercise

Read = Callable[[int, int, int], float]
Remember = Callable[[float, float], float]


def _input(observations: Tensor, actions: Tensor, rewards: Tensor, dones: Tensor, arms: int, j: int) -> Tensor:
    last = torch.zeros(arms + 2)
    last[-1] = 1.0
    if j > 0:
        last = torch.zeros(arms + 2)
        last[int(actions[j - 1])], last[-2], last[-1] = 1.0, rewards[j - 1], dones[j - 1]
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


def _undone(observations: Tensor, actions: Tensor, rewards: Tensor, dones: Tensor, arms: int, j: int) -> Tensor:
    x = _input(observations, actions, rewards, dones, arms, j).clone()
    x[-1] = x[-1] if j else 0.0
    return x


def _action_zero(observations: Tensor, actions: Tensor, rewards: Tensor, dones: Tensor, arms: int, j: int) -> Tensor:
    x = _input(observations, actions, rewards, dones, arms, j).clone()
    x[-arms - 2] = x[-arms - 2] if j else 1.0
    return x


def _fresh_start(observations: Tensor, actions: Tensor, rewards: Tensor, dones: Tensor, arms: int, j: int) -> Tensor:
    """Every episode begins as a trial does."""
    begins = j == 0 or bool(dones[j - 1])
    start = _input(observations, actions, rewards, dones, arms, 0)[-arms - 2 :]
    return torch.cat([observations[j], start]) if begins else _input(observations, actions, rewards, dones, arms, j)


def _zeros_at_start(observations: Tensor, actions: Tensor, rewards: Tensor, dones: Tensor, arms: int, j: int) -> Tensor:
    x = _fresh_start(observations, actions, rewards, dones, arms, j)
    begins = j == 0 or bool(dones[j - 1])
    return torch.cat([observations[j], torch.zeros(arms + 2)]) if begins else x


def _last_observation(
    observations: Tensor, actions: Tensor, rewards: Tensor, dones: Tensor, arms: int, j: int
) -> Tensor:
    x = _input(observations, actions, rewards, dones, arms, j)
    return torch.cat([observations[max(j - 1, 0)], x[-arms - 2 :]])


def _steps() -> list[Case]:
    """One trial of three episodes of three steps; steps at its start, inside an episode and across a boundary."""
    gen = generator(0)
    observations, rewards = (normal(shape, gen, torch.float32) for shape in ((9, 2), (9,)))
    actions = torch.tensor([2, 1, 1, 0, 2, 0, 1, 2, 1])
    dones = torch.tensor([0.0, 0, 1] * 3)
    return [(observations, actions, rewards, dones, 3, j) for j in (0, 1, 3, 5, 6)]


def _to_go(rewards: Tensor, mask: Tensor, discount: float) -> Tensor:
    out, later = torch.zeros_like(rewards), torch.zeros((), dtype=rewards.dtype)
    flat = out.view(-1)
    for j in reversed(range(rewards.numel())):
        if mask.flatten()[j]:
            later = rewards.flatten()[j] + discount * later
            flat[j] = later
    return out


def _cut(rewards: Tensor, mask: Tensor, discount: float) -> Tensor:
    return torch.stack([_to_go(r[None], m[None], discount)[0] for r, m in zip(rewards, mask, strict=True)])


def _time_passes(rewards: Tensor, mask: Tensor, discount: float) -> Tensor:
    return _to_go(rewards, torch.ones_like(mask), discount) * mask


def _unmasked(rewards: Tensor, mask: Tensor, discount: float) -> Tensor:
    return _to_go(rewards, torch.ones_like(mask), discount)


def _so_far(rewards: Tensor, mask: Tensor, discount: float) -> Tensor:
    return _to_go(rewards.flip(0, 1), mask.flip(0, 1), discount).flip(0, 1)


def _undiscounted(rewards: Tensor, mask: Tensor, discount: float) -> Tensor:
    return _to_go(rewards, mask, 1.0)


def _from_next(rewards: Tensor, mask: Tensor, discount: float) -> Tensor:
    return (_to_go(rewards, mask, discount) - rewards) * mask


def _trials() -> list[Case]:
    gen = generator(1)
    cases: list[Case] = []
    for discount, lengths in ((0.9, (4, 4, 4)), (0.5, (2, 4, 1)), (1.0, (3, 2))):
        mask = torch.tensor([[1.0] * n + [0.0] * (4 - n) for n in lengths], dtype=torch.float64)
        cases.append((normal(tuple(mask.shape), gen, torch.float64) * mask, mask, discount))
    return cases


def _memories(tasks: int, episodes: int, steps: int, read: Read, remember: Remember) -> Tensor:
    out = []
    for task in range(tasks):
        memory = 0.0
        for episode in range(episodes):
            for step in range(steps):
                memory = remember(memory, read(task, episode, step))
                out.append(memory)
    return torch.tensor(out).reshape(tasks, episodes, steps)


def _never_empty(tasks: int, episodes: int, steps: int, read: Read, remember: Remember) -> Tensor:
    flat = _memories(1, tasks * episodes, steps, lambda _, e, t: read(e // episodes, e % episodes, t), remember)
    return flat.reshape(tasks, episodes, steps)


def _empty_each_episode(tasks: int, episodes: int, steps: int, read: Read, remember: Remember) -> Tensor:
    flat = _memories(tasks * episodes, 1, steps, lambda n, _, t: read(n // episodes, n % episodes, t), remember)
    return flat.reshape(tasks, episodes, steps)


def _empty_each_step(tasks: int, episodes: int, steps: int, read: Read, remember: Remember) -> Tensor:
    return _memories(tasks, episodes, steps, read, lambda _, x: remember(0.0, x))


def _noted_before(tasks: int, episodes: int, steps: int, read: Read, remember: Remember) -> Tensor:
    after = _memories(tasks, episodes, steps, read, remember).flatten(1)
    return torch.cat([torch.zeros(tasks, 1), after[:, :-1]], 1).reshape(tasks, episodes, steps)


def _lives() -> list[Case]:
    def read(task: int, episode: int, step: int) -> float:
        return 1.0 + task + 0.1 * episode + 0.01 * step

    def remember(memory: float, x: float) -> float:
        return 0.5 * memory + x

    return [(2, 2, 3, read, remember), (3, 1, 2, read, remember), (1, 3, 2, read, lambda memory, x: memory + x)]


def _fair(advantages: Tensor, group: int) -> Tensor:
    groups = advantages.reshape(-1, group, advantages.shape[-1])
    centred = (groups - groups.mean(1, keepdim=True)).reshape(advantages.shape)
    return centred / centred.square().mean().sqrt()


def _scaled(centred: Tensor) -> Tensor:
    return centred / centred.square().mean().sqrt()


def _over_all(advantages: Tensor, group: int) -> Tensor:
    return _scaled(advantages - advantages.mean(0))


def _over_steps_too(advantages: Tensor, group: int) -> Tensor:
    groups = advantages.reshape(-1, group, advantages.shape[-1])
    return _scaled((groups - groups.mean((1, 2), keepdim=True)).reshape(advantages.shape))


def _over_time(advantages: Tensor, group: int) -> Tensor:
    return _scaled(advantages - advantages.mean(1, keepdim=True))


def _interleaved(advantages: Tensor, group: int) -> Tensor:
    groups = advantages.reshape(group, -1, advantages.shape[-1])
    return _scaled((groups - groups.mean(0, keepdim=True)).reshape(advantages.shape))


def _not_scaled(advantages: Tensor, group: int) -> Tensor:
    groups = advantages.reshape(-1, group, advantages.shape[-1])
    return (groups - groups.mean(1, keepdim=True)).reshape(advantages.shape)


def _less_one(advantages: Tensor, group: int) -> Tensor:
    centred = _not_scaled(advantages, group)
    return centred / centred.std()


def _each_group_scaled(advantages: Tensor, group: int) -> Tensor:
    centred = _not_scaled(advantages, group).reshape(-1, group, advantages.shape[-1])
    return (centred / centred.square().mean((1, 2), keepdim=True).sqrt()).reshape(advantages.shape)


def _batches() -> list[Case]:
    gen = generator(2)
    return [(3 * uniform(shape, gen, torch.float64) + 1, group) for shape, group in (((6, 4), 3), ((8, 3), 2))]


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
            "A trial begins with done = 1: nothing is running yet.": _undone,
            "At the beginning there was no action at all, which is not the same as action 0.": _action_zero,
            "Within an episode this is right. Where a new episode begins, the action, reward and done that ended the "
            "last one are lost; only a trial begins with nothing.": _fresh_start,
            "At an episode's start you feed zeros. The reward and the done that ended the last episode are the "
            "network's only chance to learn of them.": _zeros_at_start,
            "The observation belongs to step j itself; only action, reward and done are of the step before.": (
                _last_observation
            ),
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
            "The sum stops where an episode ends. In a trial, what is learned in one episode pays in the next.": _cut,
            "Steps that were not taken are discounted. Time should stand still there: the step after an early end is "
            "the first of the next episode.": _time_passes,
            "Steps that were not taken have no return of their own: put 0 there, and do not count them as time.": (
                _unmasked
            ),
            "This adds up what came before. What matters for an action is what comes after it.": _so_far,
            "The discount is missing.": _undiscounted,
            "The reward of the step itself is missing.": _from_next,
        },
        praise="With a critic and lambda, this loop becomes trial_gae.",
    ),
    Exercise(
        "11.3",
        "where a memory begins",
        reference=_memories,
        cases=_lives,
        mistakes={
            "The memory of one task flows into the next: a trial begins without any.": _never_empty,
            "The memory is emptied at each episode's start. Then nothing can be learned from one episode for the "
            "next.": _empty_each_episode,
            "The memory is emptied at every step: that is no memory.": _empty_each_step,
            "You note the memory before it has taken in the input of the step.": _noted_before,
        },
        praise="One line, in one of three possible places: it decides whether the agent can adapt.",
    ),
    Exercise(
        "11.4",
        "compared with the other trials of the task",
        reference=_fair,
        cases=_batches,
        tolerance=1e-6,
        mistakes={
            "The mean is taken over the trials of all tasks. Then a lucky task still praises everything that was done "
            "in it.": _over_all,
            "The mean runs over the steps too. An early step has more reward ahead of it than a late one: compare "
            "like with like.": _over_steps_too,
            "This is the mean over time of each trial by itself. Compare with the other trials, at the same step.": (
                _over_time
            ),
            "The groups are mixed up: the trials of a task stand in a row, so the shape is (tasks, group, steps).": (
                _interleaved
            ),
            "The mean is right; the result is not brought to standard deviation 1.": _not_scaled,
            "Almost: divide by the root of the mean square. std() divides by one less.": _less_one,
            "Each task is scaled by itself. Then a task in which nothing differs counts as much as one in which much "
            "was at stake. One scale for all.": _each_group_scaled,
        },
        praise="This is compared(...) of the package, which also heeds the mask.",
    ),
]
