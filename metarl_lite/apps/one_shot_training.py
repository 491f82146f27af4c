"""Training of who imitates in control, and what it reaches from starts that no demonstration had."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..algorithms.configs import (
    COUNT,
    POSITIVE,
    SWITCH,
    check_fields,
    one_of,
)
from ..losses import check_loss, gradients
from ..optim import ClippedAdam
from ..rng import check_generator
from ..rollout import Noise, draw_noise, rollout
from ..state import History, State, identity
from ..tasks.base import check_kind, check_like
from ..training import train
from ..types import Params, Rollout, Task
from .demonstrations import Demonstrations, TurnedPlane, demonstrate, until_arrival
from .one_shot import MIL, Conditioned, Learner, MultiTask, StatesMIL, cloning_loss


@dataclass(frozen=True)
class OneShotConfig:
    """The numbers of a training run."""

    method: str = "mil"  # or "states", "conditioned", "multi-task": who learns
    iterations: int = 400  # meta-updates
    num_tasks: int = 32  # N, tasks of each meta-batch; each has two demonstrations
    same: bool = False  # judged on the demonstration that was shown, not another
    arrival: bool = False  # what is shown ends where the expert arrives
    lr: float = 1e-2  # of Adam
    final_lr: float = 3e-4  # lr falls to this on a line
    max_grad_norm: float = 10.0  # clips the meta-gradient's length
    step: float = 0.1  # "mil", "states": the rates where learning begins
    hidden: int = 64  # units of each of the two hidden layers

    def __post_init__(self) -> None:
        rules = dict.fromkeys(("iterations", "num_tasks", "hidden"), COUNT)
        rules |= dict.fromkeys(("lr", "final_lr", "max_grad_norm", "step"), POSITIVE)
        rules |= {"same": SWITCH, "arrival": SWITCH}
        check_fields(self, {"method": one_of(*MAKERS)} | rules)

    def learner(self, tasks: TurnedPlane, gen: torch.Generator) -> Learner:
        """Who begins to learn, with weights that are drawn."""
        return MAKERS[self.method](self, tasks, gen)


#: Who learns, by the name of the method.
MAKERS: dict[str, Callable[[OneShotConfig, TurnedPlane, torch.Generator], Learner]] = {
    "mil": lambda c, tasks, gen: MIL(tasks, gen, 2 * (c.hidden,), c.step),
    "states": lambda c, tasks, gen: StatesMIL(tasks, gen, 2 * (c.hidden,), c.step),
    "conditioned": lambda c, tasks, gen: Conditioned(tasks, gen, 2 * (c.hidden,)),
    "multi-task": lambda c, tasks, gen: MultiTask(tasks, gen, 2 * (c.hidden,)),
}


@dataclass(repr=False)
class OneShotHistory(History):
    """What training saw, one entry for each iteration; `steps` counts those of the experts."""

    loss: list[float] = field(default_factory=list)  # on the second demonstrations
    grad_norm: list[float] = field(default_factory=list)  # before it was clipped

    def __repr__(self) -> str:
        last = f", last loss {self.loss[-1]:.4f}" if self.loss else ""
        return f"OneShotHistory({len(self.loss)} iterations{last})"


@torch.inference_mode(False)  # gradients are on, wherever this is called
def meta_gradient(
    learner: Learner, theta: Params, shown: Rollout, query: Rollout
) -> tuple[Tensor, Params]:
    r"""The cloning loss on another demonstration, after the first was answered, and its gradient through the answer.

    $$ \nabla_\theta \frac1N \sum_i L_i^{\text{query}}\big(\phi_i(\theta, \text{shown}_i)\big) $$

    Raises:
        Diverged: if the loss is not finite.

    Source: Finn, Yu et al. (2017), algorithm 1.
    """
    weights = learner.answer(theta, shown)
    loss = cloning_loss(learner.actor, weights, query).mean()
    check_loss(loss, "on the second demonstrations")
    return loss.detach(), gradients(loss, theta)


def one_shot_iteration(
    tasks: TurnedPlane, config: OneShotConfig, state: State
) -> dict[str, Any]:
    """One meta-iteration: fresh tasks, two demonstrations of each from starts of their own, and a step of Adam."""
    task = tasks.sample(config.num_tasks, state.gen)
    both = demonstrate(tasks, task, 1 if config.same else 2, state.gen)
    shown, query = both.some(0, 1), both.some(len(both) - 1, len(both))
    shown = until_arrival(tasks, task, shown) if config.arrival else shown
    loss, grads = meta_gradient(state.policy, state.theta, shown.batch, query.batch)
    norm = state.adam.step(list(grads.values()))
    state.adam.end_iteration()
    steps = both.batch.rewards.numel()
    return {"loss": loss.item(), "grad_norm": norm, "steps": steps}


def learn_from_one(
    tasks: TurnedPlane,
    config: OneShotConfig,
    gen: torch.Generator,
    callback: Callable[[int, Learner, OneShotHistory], bool | None] | None = None,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 50,
    leg: int = 1,
) -> tuple[Learner, OneShotHistory]:
    """Trains on many tasks, so that one demonstration of a new one suffices.

    Args:
        tasks: the family; fresh tasks are drawn in each iteration.
        config: the numbers of the run.
        gen: draws first weights, tasks, starts and noise. The same seed gives the same result, to the bit, on one
            thread.
        callback: called after each iteration with (iteration, learner so far, history); True ends training.
        checkpoint: a file that keeps the state of the run, see `maml`.
        every: iterations from one writing of that file to the next.
        leg: 2 or more goes on from the end of the leg before, see `maml`.

    Returns:
        The trained learner and its history. After Ctrl-C, what was trained so far.

    Raises:
        ValueError: for what is no such family, configuration or generator; or an expert that fails its own tasks.
        Diverged: if a loss is not finite; the error names the iteration and carries the last good learner.
        NotSaved: if the checkpoint cannot be written; the error carries what was trained.
    """
    check_like(TurnedPlane, "success angle", tasks=tasks)
    check_kind(OneShotConfig, config=config)
    check_generator(gen)
    learner = config.learner(tasks, gen)
    theta = learner.params()
    adam = ClippedAdam(
        theta, config.lr, config.final_lr, config.iterations, config.max_grad_norm
    )
    state = State(
        learner, theta, adam, gen, OneShotHistory(), asdict(config),
        identity("one-shot imitation", tasks, learner, gen), leg,
    )  # fmt: skip
    iterate = partial(one_shot_iteration, tasks, config)
    rates = f"lr = {config.lr}"
    return train(
        "one-shot imitation", state, iterate, rates, callback, checkpoint, every
    )


@dataclass(frozen=True)
class Exam:
    """Unseen tasks, what is shown of each, and starts to be judged from: the same for everyone who is compared."""

    tasks: TurnedPlane
    task: Task  # [N]
    shown: Demonstrations  # [N, E]
    noise: Noise  # [N, starts] of the episodes that are judged

    @classmethod
    def draw(
        cls,
        tasks: TurnedPlane,
        num_tasks: int,
        demonstrations: int,
        starts: int,
        gen: torch.Generator,
        noise: float = 0.0,
    ) -> Exam:
        """Draws tasks, an expert's demonstrations of each, and starts that are none of theirs."""
        task = tasks.sample(num_tasks, gen)
        policy = MultiTask(tasks, gen, (1,)).actor
        chance = draw_noise(tasks, policy, num_tasks, starts, gen)
        shown = demonstrate(tasks, task, demonstrations, gen, noise=noise)
        return cls(tasks, task, shown, chance)

    def played(self, learner: Learner, params: Params) -> Rollout:
        """What the network of a learner does with parameters `[N, ...]`; it takes its most probable action."""
        return rollout(
            self.tasks, learner.actor, params, self.task,
            self.noise.action.shape[1], noise=self.noise, deterministic=True,
        )  # fmt: skip

    def from_shown_starts(self) -> Exam:
        """The same, judged from the starts of the demonstrations: no new place, no new question."""
        starts = self.shown.batch.observations[:, :, 0] + 0.5
        noise = Noise(starts, *(x[:, : len(self.shown)] for x in self._rest()))
        return Exam(self.tasks, self.task, self.shown, noise)

    def _rest(self) -> tuple[Tensor, Tensor]:
        return self.noise.step, self.noise.action
