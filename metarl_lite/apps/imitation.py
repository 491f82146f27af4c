r"""Few-shot imitation: from a few pairs that an expert shows, act as that expert would.

Every expert is a task, $y = k^\top x + \sigma \varepsilon$. Four ways to answer a demonstration, each with an error that
`metarl_lite.oracles.imitation` knows exactly: ignore it, take one gradient step from learned numbers, read it with a
trained network, or solve least squares without any experience.

Source: Finn, Yu, Zhang, Abbeel and Levine (2017), "One-shot visual imitation learning via meta-learning"; Duan et al.
(2017), "One-shot imitation learning".
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..algorithms.configs import COUNT, NOT_NEGATIVE, POSITIVE, check_fields, one_of
from ..algorithms.inner import gradient
from ..given import check_callable, check_shape, counts, described, integer, ordinary
from ..losses import check_loss, gradients
from ..optim import ClippedAdam
from ..policies.base import Policy, tile
from ..rng import check_generator, normal
from ..state import History, State, identity
from ..tasks.base import check_kind, check_positive
from ..training import train
from ..types import Params, Task

#: A demonstration: x `[N, n, d]` and what the expert did there, y `[N, n]`.
Pairs = tuple[Tensor, Tensor]


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


NOTHING_SHOWN = (
    "pairs = 0: a demonstration of nothing tells nothing; show at least one, pairs=1, "
    "or train with method='none' who looks at none."
)


def actions(k: Tensor, x: Tensor) -> Tensor:
    r"""What $k^\top x$ is for numbers `[N, d]` and each of `[N, n, d]`: `[N, n]`."""
    return (x @ k.unsqueeze(-1)).squeeze(-1)


def imitation_loss(k: Tensor, x: Tensor, y: Tensor) -> Tensor:
    r"""Behaviour cloning's loss for every task: half the mean squared error of the actions, `[N]`.

    $$ L_i(k) = \frac{1}{2 n} \sum_j (k^\top x_{ij} - y_{ij})^2 $$
    """
    return ((actions(k, x) - y) ** 2).mean(1) / 2


class Imitator(Policy):
    """Who answers a demonstration with numbers k to act by; what is learned are its parameters.

    Args:
        size: d.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size, 1, False, torch.float32)

    def answer(self, params: Params, x: Tensor, y: Tensor) -> Tensor:
        """The numbers `[N, d]`, for demonstrations `[N, n, d]` and `[N, n]`; parameters have no task dimension."""
        raise NotImplementedError

    @torch.inference_mode(False)  # a gradient step needs gradients
    def imitate(self, x: Tensor, y: Tensor) -> Tensor:
        """The numbers `[N, d]` with which this one imitates who shows x `[N, n, d]` and y `[N, n]`.

        Raises:
            ValueError: if nothing is shown, or the demonstrations are of another size.
        """
        check_pairs(x, y, self.observation_size)
        return self.answer(self.params(), ordinary(x), ordinary(y)).detach()


class Unadapted(Imitator):
    """The same answer to everybody: numbers that are learned, and that no demonstration moves."""

    def __init__(self, size: int, gen: torch.Generator) -> None:
        super().__init__(size)
        self._params["start"] = normal((size,), gen, self.dtype)

    def answer(self, params: Params, x: Tensor, y: Tensor) -> Tensor:
        return params["start"].expand(len(x), -1)


class OneStep(Imitator):
    r"""One gradient step on what was shown, from a start and with a step size that are both learned.

    $$ \hat k_i = \theta - \alpha \nabla_\theta L_i(\theta) $$

    Source: Finn et al. (2017), equation 1; the learned step size is Li et al. (2017), one for all numbers.
    """

    def __init__(self, size: int, gen: torch.Generator, step: float) -> None:
        super().__init__(size)
        self._params["start"] = normal((size,), gen, self.dtype)
        self._params["step"] = torch.tensor(step, dtype=self.dtype)

    def answer(self, params: Params, x: Tensor, y: Tensor) -> Tensor:
        start = tile({"start": params["start"]}, len(x))  # [N, d]

        def losses(moving: Params) -> Tensor:
            return imitation_loss(moving["start"], x, y)  # [N]

        (g,) = gradient(losses, start, create_graph=True)
        if g is None:  # it cannot be: the loss is computed from the start
            raise ValueError("the demonstration moves nothing.")
        return start["start"] - params["step"] * g


class Reader(Imitator):
    r"""A network that reads the demonstration: layers of attention without a softmax, from which an answer is asked.

    Each pair is a token $z_j = W (x_j, y_j)$; so is each question, a unit vector without an action. A layer lets every
    token attend to the pairs,

    $$ z \leftarrow z + P_l M_l Q_l z, \qquad
       M_l = \frac{\sum_j z_j z_j^\top}{e^{c_l} + \sum_j \lVert z_j \rVert^2} $$

    and the answer to a question is read off its token. The order of the pairs changes nothing. The answer is linear in
    the question, as these experts are; how to infer k, what the noise is, and which k are likely, it has to learn.

    Args:
        size: d.
        gen: draws the first weights.
        layers: how often the tokens attend.
        width: numbers of a token.

    Source: von Oswald et al. (2023), "Transformers learn in-context by gradient descent".
    """

    def __init__(
        self, size: int, gen: torch.Generator, layers: int, width: int
    ) -> None:
        super().__init__(size)
        self.layers, self.width = layers, width
        shapes = {"embed": (size + 1, width), "out": (width, 1)}
        for i in range(layers):
            shapes |= {f"ask{i}": (width, width), f"tell{i}": (width, width)}
        for name, shape in shapes.items():
            scale = (0.1 if name.startswith("tell") else 1) / math.sqrt(width)
            self._params[name] = scale * normal(shape, gen, self.dtype)
        for i in range(layers):
            self._params[f"c{i}"] = torch.ones((), dtype=self.dtype)

    def answer(self, params: Params, x: Tensor, y: Tensor) -> Tensor:
        shown = torch.cat([x, y.unsqueeze(-1)], -1)  # [N, n, d + 1]
        ask = torch.eye(x.shape[-1], shown.shape[-1], dtype=x.dtype)  # [d, d + 1]
        tokens = torch.cat([shown, ask.expand(len(x), -1, -1)], 1) @ params["embed"]
        for i in range(self.layers):
            pairs = tokens[:, : x.shape[1]]  # [N, n, W]
            size = params[f"c{i}"].exp() + (pairs**2).sum((1, 2))  # [N]
            memory = pairs.mT @ pairs / size[:, None, None]  # [N, W, W]
            tokens = tokens + tokens @ params[f"ask{i}"] @ memory @ params[f"tell{i}"]
        return (tokens[:, x.shape[1] :] @ params["out"]).squeeze(-1)


def clone(x: Tensor, y: Tensor) -> Tensor:
    """Behaviour cloning from scratch: least squares on the pairs alone, `[N, d]`; of fewer pairs than d, the least k."""
    check_pairs(x, y)
    found: Tensor = (torch.linalg.pinv(x) @ y.unsqueeze(-1)).squeeze(-1)
    return found


def check_pairs(x: Any, y: Any, size: int | None = None) -> None:
    """Refuses what is no demonstration of this size."""
    if not isinstance(x, Tensor) or x.ndim != 3 or size not in (None, x.shape[-1]):
        d = "d" if size is None else size
        raise ValueError(
            f"x is {described(x)}: demonstrations [N, n, {d}] are needed here, as "
            "expert.demonstrate(task, gen) gives them for an expert of this size."
        )
    if x.shape[1] == 0:
        raise ValueError(NOTHING_SHOWN)
    check_shape(tuple(x.shape[:2]), y=y)


@dataclass(frozen=True)
class ImitationConfig:
    """The numbers of a training run."""

    method: str = "one_step"  # or "none", "conditioned": who learns
    iterations: int = 800  # meta-updates
    num_tasks: int = 512  # N, experts of each meta-batch
    queries: int = 20  # pairs of each expert, after its demonstration, that are judged
    lr: float = 1e-2  # of Adam
    final_lr: float = 1e-4  # lr falls to this on a line
    max_grad_norm: float = 1.0  # clips the meta-gradient's length
    step: float = 0.1  # "one_step": the step size where learning begins
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


def meta_gradient(
    imitator: Imitator, theta: Params, shown: Pairs, queries: Pairs
) -> tuple[Tensor, Params]:
    r"""The loss on new pairs after the demonstration was answered, and its gradient, through the answer.

    $$ \nabla_\theta \frac1N \sum_i L_i^{\text{new}} \big( \hat k_i(\theta, \text{shown}_i) \big) $$

    Raises:
        Diverged: if the loss is not finite.

    Source: Finn et al. (2017), algorithm 1 with the loss of its equation 2.
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
    """
    check_kind(LinearExpert, expert=expert)
    check_callable("x y", imitate=imitate)
    task = expert.sample(num_tasks, gen)
    k = imitate(*expert.demonstrate(task, gen))
    check_shape(tuple(task["k"].shape), imitated=k)
    errors = ((k - task["k"]) ** 2).sum(-1).double()  # [N]
    return errors.mean().item(), (errors.std() / len(errors) ** 0.5).item()
