r"""Demonstrations: what an expert of known quality does in a task, recorded, and who may be shown it.

On `TurnedPlane` the way to a hidden goal is one half of what an imitator has to know, and the same in no two tasks; how
the controls are turned is the other half, and the same in all of them. A single demonstration tells the first half.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..given import check_dtype, counts, described, integer, real
from ..policies.mlp import MLPPolicy
from ..rng import generator
from ..rollout import rollout
from ..tasks.base import check_kind, check_like
from ..tasks.leaves import tasks_in
from ..tasks.navigation import PointGoal
from ..types import Params, Rollout, Task


def rotated(vector: Tensor, angle: Tensor) -> Tensor:
    r"""The vector `[..., 2]` turned to the left by an angle `[...]`, in radians."""
    x, y = vector.unbind(-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos * x - sin * y, sin * x + cos * y], -1)


def shortened(vector: Tensor, most: float) -> Tensor:
    """The vector `[..., 2]`, cut to the length `most` where it is longer."""
    length = vector.norm(dim=-1, keepdim=True)
    cut: Tensor = vector * (most / length.clamp(min=most))
    return cut


class TurnedPlane(PointGoal):
    r"""A walk to a hidden goal from anywhere, with controls that turn from place to place.

    $$ x_{t+1} = x_t + R\big(\omega\, x_t^{(1)}\big)\, \mathrm{cut}(a_t, 0.1), \qquad
       r_t = -\lVert x_{t+1} - g \rVert_2 $$

    R turns a vector to the left by an angle, which grows with the first coordinate of the place; cut shortens a vector
    to a step's length. The goal is uniform on the square $[-\frac12, \frac12]^2$ and hidden; so is the start, anew in
    each episode, and observed. An episode lasts `horizon` steps: who has arrived has to stay. Who knows goal and turn
    needs at most 15 steps, as the diagonal of the square is 14.2 long.

    Args:
        horizon: T.
        turn: omega, radians per side of the square; 0 turns nothing.
        dtype: of what is drawn.
    """

    name = "turned-plane"
    can_terminate = False
    reset_noise_size = 2
    radius = 0.1  # one step; who ends so near to the goal has succeeded

    def __init__(
        self,
        horizon: int = 20,
        turn: float = 2.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(horizon, dtype)
        check_dtype(dtype)
        self.turn = real(turn)
        if not abs(self.turn) < 100:
            raise ValueError(
                f"turn = {turn!r}: radians per side of the square are needed, such as "
                "turn=2.0."
            )

    def angle(self, place: Tensor) -> Tensor:
        """How far the controls are turned at a place `[..., 2]`, radians."""
        return self.turn * place[..., 0]

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        return noise - 0.5

    def step(
        self, task: Task, state: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        state = state + rotated(shortened(action, self.max_step), self.angle(state))
        distance = (state - task["goal"]).norm(dim=-1)
        return state, -distance, torch.zeros_like(distance, dtype=torch.bool)

    def observation_bounds(self) -> tuple[Tensor, Tensor]:
        reach = torch.full((2,), 0.5 + self.max_step * (self.horizon + 1))
        return -reach, reach

    def distances(self, task: Task, batch: Rollout) -> Tensor:
        """How far from the goal each episode has ended, `[N, E]`."""
        found: Tensor = (batch.last_observations - task["goal"].unsqueeze(1)).norm(
            dim=-1
        )
        return found

    def success(self, task: Task, batch: Rollout) -> Tensor:
        """The share of each task's episodes that ended within a step of the goal, `[N]`."""
        return (self.distances(task, batch) < self.radius).to(self.dtype).mean(1)


class Expert(MLPPolicy):
    r"""Who knows the goal and the turn, and walks straight there: a policy whose parameters are the task.

    $$ a_t = R\big(-\omega\, x_t^{(1)}\big)\, \mathrm{cut}(g - x_t, 0.1) + \sigma \varepsilon_t $$

    Without noise no policy is better: a step brings nobody nearer than by its length, and each of these does that much,
    so that $\lVert x_t - g \rVert = \max(0, \lVert x_0 - g \rVert - 0.1\, t)$.

    Args:
        tasks: where it is an expert.
        noise: sigma, of each number of an action.
    """

    def __init__(self, tasks: TurnedPlane, noise: float = 0.0) -> None:
        check_kind(TurnedPlane, tasks=tasks)
        if not 0 <= real(noise) < 1:
            raise ValueError(
                f"noise = {noise!r}: a standard deviation of an action's numbers is "
                "needed, such as noise=0.05; a step is 0.1."
            )
        super().__init__(2, 2, generator(0), hidden=(), dtype=tasks.dtype)
        self.tasks, self.noise_std = tasks, float(noise)

    def num_tasks(self, params: Params) -> int:
        return tasks_in(params)

    def act(
        self,
        params: Params,
        observations: Tensor,
        noise: Tensor,
        deterministic: bool = False,
    ) -> Tensor:
        way = shortened(params["goal"].unsqueeze(1) - observations, self.tasks.max_step)
        right = rotated(way, -self.tasks.angle(observations))
        return right if deterministic else right + self.noise_std * noise


@dataclass(frozen=True)
class Demonstrations:
    """Episodes of experts, and the family in which they were played."""

    batch: Rollout  # [N, E, T, ...]; a mask of 0 marks what is not shown
    family: dict[str, Any]  # what the family says of itself

    def __len__(self) -> int:
        """How many each task has: E."""
        return self.batch.rewards.shape[1]

    def some(self, first: int, after: int) -> Demonstrations:
        """Those of each task from the one number to before the other, counted from 0."""
        return replace(self, batch=self.batch.each(lambda x: x[:, first:after]))


def demonstrate(
    tasks: TurnedPlane,
    task: Task,
    episodes: int,
    gen: torch.Generator,
    *,
    noise: float = 0.0,
    at_least: float = 0.5,
) -> Demonstrations:
    """Records an expert's episodes from starts of their own: `[N, E, T, ...]`.

    Args:
        tasks: the family.
        task: N tasks.
        episodes: E, of each.
        gen: draws starts and the expert's noise.
        noise: the standard deviation of each number of the expert's actions.
        at_least: the share of episodes in which the expert has to succeed.

    Raises:
        ValueError: for no episode at all, or an expert that fails its own tasks: who imitates it learns to fail.
    """
    check_like(TurnedPlane, "success angle", tasks=tasks)
    if integer(episodes) == 0:
        raise ValueError(NOTHING_SHOWN)
    (episodes,) = counts(episodes=episodes)
    if not 0 <= real(at_least) <= 1:
        raise ValueError(f"at_least = {at_least!r}: a share from 0 to 1 is needed.")
    batch = rollout(tasks, Expert(tasks, noise), task, task, episodes, gen)
    reached = tasks.success(task, batch).mean().item()
    if reached < at_least:
        raise ValueError(
            f"the expert with noise = {noise} succeeds in {reached:.0%} of its own "
            f"episodes, and at_least = {at_least} was asked: show a better one, such "
            "as noise=0.0, or ask for less."
        )
    return Demonstrations(batch, tasks.identity())


NOTHING_SHOWN = (
    "no demonstration is shown, and nothing can be imitated: record one at least, "
    "demonstrate(tasks, task, 1, gen)."
)


def check_demonstrations(shown: Any, family: dict[str, Any], action_size: int) -> None:
    """Refuses what an imitator that was made for a family cannot learn from.

    Raises:
        ValueError: for nothing shown, another action space, horizon or family, or what is no record at all.
    """
    if shown is None:
        raise ValueError(NOTHING_SHOWN)
    check_kind(Demonstrations, shown=shown)
    batch = shown.batch
    if not len(shown) or not bool((batch.mask.sum((1, 2)) > 0).all()):
        raise ValueError(NOTHING_SHOWN)
    if batch.actions.shape[3:] != (action_size,):
        raise ValueError(
            f"the demonstrations' actions are {described(batch.actions)}, but this "
            f"imitator acts with {action_size} numbers, [N, E, T, {action_size}]: show "
            "it an expert with the same action space."
        )
    if batch.rewards.shape[2] != family["horizon"]:
        raise ValueError(
            f"the demonstrations have {batch.rewards.shape[2]} steps, but this "
            f"imitator was made for a horizon of {family['horizon']}: record them in "
            "the same family, and mark steps that are not to be shown by a mask of 0."
        )
    if shown.family != family:
        names = [n for n, v in family.items() if shown.family.get(n) != v]
        raise ValueError(
            f"the demonstrations are of another family: {', '.join(sorted(names))} "
            f"differ, {[shown.family.get(n) for n in names]} instead of "
            f"{[family[n] for n in names]}. Record them where the imitator was trained."
        )


def until_arrival(
    tasks: TurnedPlane, task: Task, shown: Demonstrations
) -> Demonstrations:
    """The same, ending where the expert arrives: its staying at the goal is not shown; one step is, in any case."""
    batch = shown.batch
    way = batch.observations - task["goal"][:, None, None]
    before = (way.norm(dim=-1) > 1e-4 * tasks.max_step).cummin(-1).values
    before[..., 0] = True
    return replace(shown, batch=replace(batch, mask=batch.mask * before))


def moves(shown: Demonstrations) -> Demonstrations:
    """The same without the expert's actions: in their place, by how much it moved. On a turned plane that differs."""
    seen, last = shown.batch.observations, shown.batch.last_observations
    after = torch.cat([seen[:, :, 1:], last.unsqueeze(2)], 2)
    return replace(shown, batch=replace(shown.batch, actions=after - seen))
