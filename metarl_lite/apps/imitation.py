r"""Few-shot imitation: from a few pairs that an expert shows, act as that expert would.

Every expert is a task, $y = k^\top x + \sigma \varepsilon$. There are four ways to answer a demonstration, and
`metarl_lite.oracles.imitation` knows exactly what each can reach at best: ignore it, take one gradient step from
learned numbers, read it with a trained network, or solve least squares without any experience.

Source: Finn, Yu, Zhang, Abbeel and Levine (2017), "One-shot visual imitation learning via meta-learning"; Duan et al.
(2017), "One-shot imitation learning".
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..algorithms.configs import COUNT, NOT_NEGATIVE, POSITIVE, check_fields, one_of
from ..given import check_callable, check_shape, counts, described, integer
from ..losses import check_loss, gradients
from ..optim import ClippedAdam
from ..rng import check_generator, normal
from ..state import History, State, identity
from ..tasks.base import check_kind, check_positive
from ..training import train
from ..types import Params, Task
from .imitators import (
    NOTHING_SHOWN,
    Imitator,
    OneStep,
    Pairs,
    Reader,
    Unadapted,
    actions,
    clone,
    imitation_loss,
)

__all__ = [
    "ImitationConfig",
    "ImitationHistory",
    "Imitator",
    "LinearExpert",
    "OneStep",
    "Reader",
    "Unadapted",
    "clone",
    "imitation_error",
    "imitation_loss",
    "learn_to_imitate",
    "meta_gradient",
]


@dataclass(frozen=True)
class LinearExpert:
    r"""Experts that act linearly in what they see, each with numbers of its own: $y = k^\top x + \sigma \varepsilon$.

    $k \sim \mathcal N(0, I_d)$ is the task; x and $\varepsilon$ are standard normal. Float32.

    Raises:
        ValueError: if a size is no positive integer, or the noise is negative.
    """

    size: int = 4  # d, coordinates of x
    pairs: int = 5  # n, pairs of a demonstration
    noise: float = 0.5  # sigma, standard deviation of the expert's own noise

    def __post_init__(self) -> None:
        if integer(self.pairs) == 0:
            raise ValueError(NOTHING_SHOWN)
        check_fields(self, {"size": COUNT, "pairs": COUNT, "noise": NOT_NEGATIVE})

    def sample(self, num_tasks: int, gen: torch.Generator) -> Task:
        """Draws experts: `{"k": [N, d]}`."""
        check_positive(num_tasks=num_tasks)
        (num_tasks,) = counts(num_tasks=num_tasks)
        return {"k": normal((num_tasks, self.size), gen, torch.float32)}

    def demonstrate(
        self, task: Task, gen: torch.Generator, pairs: int | None = None
    ) -> Pairs:
        """What the experts show: x `[N, n, d]` and y `[N, n]`, of n = `pairs`, or as many as is their habit.

        Raises:
            ValueError: for no pair at all, or for experts of another size.
        """
        if integer(pairs) == 0:
            raise ValueError(NOTHING_SHOWN)
        (shown,) = counts(pairs=self.pairs if pairs is None else pairs)
        k = task["k"] if isinstance(task, dict) and "k" in task else None
        if not isinstance(k, Tensor) or k.ndim != 2 or k.shape[1] != self.size:
            raise ValueError(
                f"task['k'] is {described(k)}: experts of size {self.size} are "
                f"[N, {self.size}], as expert.sample(20, gen) draws them."
            )
        x = normal((len(k), shown, self.size), gen, torch.float32)
        noise = normal((len(k), shown), gen, torch.float32)
        return x, actions(k, x) + self.noise * noise

    def identity(self) -> dict[str, Any]:
        """What sets this family apart from others, JSON-able."""
        return {"class": "LinearExpert", **asdict(self)}


@dataclass(frozen=True)
class ImitationConfig:
    """The numbers of a training run."""

    method: str = "one_step"  # or "none", "first_order", "conditioned": who learns
    iterations: int = 800  # meta-updates
    num_tasks: int = 512  # N, experts of each meta-batch
    queries: int = 20  # pairs of each expert, after its demonstration, that are judged
    lr: float = 1e-2  # of Adam
    final_lr: float = 1e-4  # lr falls to this on a line
    max_grad_norm: float = 1.0  # clips the meta-gradient's length
    step: float = 0.1  # "one_step", "first_order": the first alpha
    layers: int = 4  # "conditioned": of attention
    width: int = 16  # "conditioned": numbers of a token

    def __post_init__(self) -> None:
        sizes = ("iterations", "num_tasks", "queries", "layers", "width")
        rates = ("lr", "final_lr", "max_grad_norm", "step")
        rules = dict.fromkeys(sizes, COUNT) | dict.fromkeys(rates, POSITIVE)
        check_fields(self, {"method": one_of(*MAKERS)} | rules)

    def imitator(self, size: int, gen: torch.Generator) -> Imitator:
        """Who begins to learn, with weights that are drawn."""
        return MAKERS[self.method](self, size, gen)


#: Who learns, by the name of the method.
MAKERS: dict[str, Callable[[ImitationConfig, int, torch.Generator], Imitator]] = {
    "none": lambda config, size, gen: Unadapted(size, gen),
    "one_step": lambda config, size, gen: OneStep(size, gen, config.step),
    "first_order": lambda config, size, gen: OneStep(size, gen, config.step, False),
    "conditioned": lambda config, size, gen: Reader(
        size, gen, config.layers, config.width
    ),
}


@dataclass(repr=False)
class ImitationHistory(History):
    """What training saw, one entry for each iteration; `steps` counts the pairs that experts gave."""

    loss: list[float] = field(default_factory=list)  # on the queries
    grad_norm: list[float] = field(default_factory=list)  # before it was clipped

    def __repr__(self) -> str:
        last = f", last loss {self.loss[-1]:.4f}" if self.loss else ""
        return f"ImitationHistory({len(self.loss)} iterations{last})"


@torch.inference_mode(False)  # gradients are on, wherever this is called
def meta_gradient(
    imitator: Imitator, theta: Params, shown: Pairs, queries: Pairs
) -> tuple[Tensor, Params]:
    r"""The loss on new pairs after the demonstration was answered, and its gradient, through the answer.

    $$ \nabla_\theta \frac1N \sum_i L_i^{\text{new}} \big( \hat k_i(\theta, \text{shown}_i) \big) $$

    Raises:
        Diverged: if the loss is not finite.

    Source: Finn et al. (2017), algorithm 2, with half the loss of its equation 2.
    """
    k = imitator.answer(theta, *shown)
    loss = imitation_loss(k, *queries).mean()
    check_loss(loss, "on the queries")
    return loss.detach(), gradients(loss, theta)


def imitation_iteration(
    expert: LinearExpert, config: ImitationConfig, state: State
) -> dict[str, Any]:
    """One meta-iteration: fresh experts, a demonstration of each, new pairs to be judged on, and a step of Adam."""
    task = expert.sample(config.num_tasks, state.gen)
    shown = expert.demonstrate(task, state.gen)
    queries = expert.demonstrate(task, state.gen, config.queries)
    loss, grads = meta_gradient(state.policy, state.theta, shown, queries)
    norm = state.adam.step(list(grads.values()))
    state.adam.end_iteration()
    pairs = config.num_tasks * (expert.pairs + config.queries)
    return {"loss": loss.item(), "grad_norm": norm, "steps": pairs}


def learn_to_imitate(
    expert: LinearExpert,
    config: ImitationConfig,
    gen: torch.Generator,
    callback: Callable[[int, Imitator, ImitationHistory], bool | None] | None = None,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 50,
    leg: int = 1,
) -> tuple[Imitator, ImitationHistory]:
    """Trains an imitator on many experts, so that a few pairs of a new one suffice.

    Args:
        expert: the family; fresh experts are drawn in each iteration.
        config: the numbers of the run.
        gen: draws first weights, experts and pairs. The same seed gives the same result, to the bit, on one thread.
        callback: called after each iteration with (iteration, imitator so far, history); True ends training.
        checkpoint: a file that keeps the state of the run, see `maml`.
        every: iterations from one writing of that file to the next.
        leg: 2 or more goes on from the end of the leg before, see `maml`.

    Returns:
        The trained imitator and its history. After Ctrl-C, what was trained so far.

    Raises:
        ValueError: for what is no such family, configuration or generator.
        Diverged: if a loss is not finite; the error names the iteration and carries the last good imitator.
        NotSaved: if the checkpoint cannot be written; the error carries what was trained.
    """
    check_kind(LinearExpert, expert=expert)
    check_kind(ImitationConfig, config=config)
    check_generator(gen)
    imitator = config.imitator(expert.size, gen)
    theta = imitator.params()
    adam = ClippedAdam(
        theta, config.lr, config.final_lr, config.iterations, config.max_grad_norm
    )
    said: Any = expert  # which has an identity, as a family has
    state = State(
        imitator, theta, adam, gen, ImitationHistory(), asdict(config),
        identity("imitation", said, imitator, gen), leg,
    )  # fmt: skip
    iterate = partial(imitation_iteration, expert, config)
    rates = f"lr = {config.lr}"
    return train("imitation", state, iterate, rates, callback, checkpoint, every)


def imitation_error(
    expert: LinearExpert,
    imitate: Callable[[Tensor, Tensor], Tensor],
    num_tasks: int,
    gen: torch.Generator,
) -> tuple[float, float]:
    r"""By how much an answer to demonstrations is wrong, $\lVert \hat k - k \rVert^2$: mean and standard error.

    Args:
        expert: the family.
        imitate: pairs `[N, n, d]` and `[N, n]` to numbers `[N, d]`: `imitator.imitate`, or `clone`.
        num_tasks: how many experts, at least 2.
        gen: draws them and what they show.

    Raises:
        ValueError: for fewer than two experts, or where the answer has another shape.
    """
    check_kind(LinearExpert, expert=expert)
    if integer(num_tasks) == 1:
        raise ValueError(
            "num_tasks = 1: a standard error takes two experts at least; many are "
            "cheap, such as num_tasks=10_000."
        )
    check_callable("x y", imitate=imitate)
    task = expert.sample(num_tasks, gen)
    k = imitate(*expert.demonstrate(task, gen))
    check_shape(tuple(task["k"].shape), imitated=k)
    errors = ((k - task["k"]) ** 2).sum(-1).double()  # [N]
    return errors.mean().item(), (errors.std() / len(errors) ** 0.5).item()
