"""The two-step task: whether an agent knows why it was rewarded shows in what it does next."""

from __future__ import annotations

import torch
from torch import Tensor

from ..given import counts
from ..rng import check_generator
from ..types import Task
from .base import TaskDistribution, check_positive


class TwoStep(TaskDistribution):
    r"""A choice leads to one of two places, commonly or rarely, and the place pays; the two-step task of Daw et al.

    $$ P(\text{common}) = .75, \qquad P(r = 1 \mid \text{good place}) = .9, \quad
       P(r = 1 \mid \text{bad place}) = .1, \qquad P(\text{good and bad change places}) = .025 $$

    A round takes two steps. At the first stage, place 0, an action leads to place 1 or 2: one of the actions leads
    commonly to the one and rarely to the other, and the other action the other way round. There the reward is paid,
    whatever the action is, and the next round begins at place 0. After each round, the other place may become the
    good one. One episode is a whole session of `horizon / 2` rounds; an odd horizon ends with a first stage.

    An agent that merely repeats what was rewarded stays with its first choice after any reward. One that knows how
    the places are reached switches after a reward that followed a rare transition. This interaction of reward and
    transition in the probability of staying is often taken for the signature of planning with a model. It is none:
    learners without a model show some of it, and a fixed habit, to go by reward and transition of the last round
    alone, shows all of it and earns nearly as much as a planner.

    Task: `good` `[...]`, the place, 1 or 2, that is good at first; `common` `[...]`, the place, 1 or 2, to which action
    0 commonly leads. State: `[..., 2]` integers, the place and which place is good now. Observation: the place one-hot,
    `[..., 3]`.

    Args:
        horizon: steps of a session, two to a round.
        vary_transitions: whether `common` differs between tasks; if not, action 0 commonly leads to place 1 in
            every task that is drawn.
        dtype: floating-point type.

    Source: Daw et al. (2011); the probabilities are those of Wang et al. (2016), section 3.2.1; Akam, Costa and Dayan
    (2015) for what it cannot tell.
    """

    name = "two-step"
    observation_size = 3
    action_size = 2
    discrete = True
    noise_size = 2  # one number for the transition or the reward, one for the change
    common_probability = 0.75
    reward_probabilities = (0.1, 0.9)  # of the bad place and of the good one
    switch_probability = 0.025

    def __init__(
        self,
        horizon: int = 200,
        vary_transitions: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        (self.horizon,), self.dtype = counts(horizon=horizon), dtype
        self.vary_transitions = vary_transitions
        self.task_shape = {"good": (), "common": ()}

    def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
        check_positive(num_tasks=num_tasks)
        check_generator(gen)
        good, common = torch.randint(
            1, 3, (2, num_tasks), generator=gen, device=gen.device
        )
        return {
            "good": good,
            "common": common if self.vary_transitions else torch.ones_like(common),
        }

    def default_task(self) -> Task:
        return {"good": torch.tensor(1), "common": torch.tensor(1)}

    def reset(self, task: Task, noise: Tensor) -> Tensor:
        good = task["good"].expand(noise.shape[:-1])
        return torch.stack([torch.zeros_like(good), good], -1)

    def step(
        self, task: Task, state: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        (place, good), (chance, change) = state.unbind(-1), noise.unbind(-1)
        first = place == 0
        # 3 - place is the other place
        usual = torch.where(action == 0, task["common"], 3 - task["common"])
        led = torch.where(chance < self.common_probability, usual, 3 - usual)
        pays = noise.new_tensor(self.reward_probabilities)[(place == good).long()]
        good = torch.where(~first & (change < self.switch_probability), 3 - good, good)
        reward = (~first & (chance < pays)).to(self.dtype)
        return torch.stack([led * first, good], -1), reward, torch.zeros_like(first)

    def observe(self, task: Task, state: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(state[..., 0], 3).to(self.dtype)

    def check_task(self, task: Task, num_tasks: int | None = None) -> None:
        """Refuses, besides wrong shapes, a place that is neither 1 nor 2."""
        super().check_task(task, num_tasks)
        for name, leaf in task.items():
            if bool(((leaf != 1) & (leaf != 2)).any()):
                raise ValueError(
                    f"task[{name!r}] of {self.name} runs from {leaf.min().item()} to "
                    f"{leaf.max().item()}; it is one of the two places at the second "
                    "stage, 1 or 2."
                )
