"""Who imitates: four ways from a demonstration, pairs (x, y), to numbers k to act by.

Parameters have no task dimension here; what is answered has one, `[N, d]`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..algorithms.inner import gradient
from ..given import check_shape, described, ordinary, switches
from ..policies.base import Policy, tile
from ..rng import normal
from ..types import Params

#: A demonstration: x `[N, n, d]` and what the expert did there, y `[N, n]`.
Pairs = tuple[Tensor, Tensor]

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

    Args:
        size: d.
        gen: draws the first start.
        step: the first alpha.
        second_order: learn through the gradient of the step; False takes it for a constant, as FOMAML does.

    Source: Finn et al. (2017), equation 1; the learned step size is Li et al. (2017), one for all numbers.
    """

    def __init__(
        self, size: int, gen: torch.Generator, step: float, second_order: bool = True
    ) -> None:
        super().__init__(size)
        (self.second_order,) = switches(second_order=second_order)
        self._params["start"] = normal((size,), gen, self.dtype)
        self._params["step"] = torch.tensor(step, dtype=self.dtype)

    def answer(self, params: Params, x: Tensor, y: Tensor) -> Tensor:
        start = tile({"start": params["start"]}, len(x))  # [N, d]

        def losses(moving: Params) -> Tensor:
            return imitation_loss(moving["start"], x, y)  # [N]

        (g,) = gradient(losses, start, create_graph=self.second_order)
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
    """Behaviour cloning from scratch: least squares on the pairs alone, `[N, d]`; of many solutions, the shortest."""
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
