"""What can be read in an agent's memory: a linear probe, and what share of a target it explains."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..given import as_floats, counts, real, switches
from ..rng import check_generator

F64 = torch.float64


class Probe(NamedTuple):
    """An affine map from a memory to what is read in it."""

    weight: Tensor  # [F, K]
    bias: Tensor  # [K]

    def __call__(self, features: Tensor) -> Tensor:
        """What is read in features `[..., F]`, `[..., K]`."""
        return features.to(self.weight.dtype) @ self.weight + self.bias


def linear_probe(features: Tensor, targets: Tensor, ridge: float = 1e-4) -> Probe:
    r"""The affine map that predicts targets from features with the least squared error and a price on its slopes.

    $$ \min_{W, c} \; \frac1n \sum_{i=1}^n \lVert y_i - W^\top h_i - c \rVert^2 + \lambda \lVert W \rVert^2, \qquad
       W = (C_{hh} + \lambda I)^{-1} C_{hy}, \quad c = \bar y - W^\top \bar h $$

    with the covariances C over all samples. What minimises a squared error is a conditional mean, or the best affine
    approximation of it. So a probe that is fitted to what is *true* of the task estimates a posterior mean.

    Args:
        features: h, `[..., F]`, such as the memories `[N, L, F]` of N trials.
        targets: y, `[..., K]`, with the same leading dimensions.
        ridge: lambda, at least 0; features of a GRU lie between -1 and 1.

    Returns:
        The probe, in float64. Score it on other tasks than those it was fitted on.

    Raises:
        ValueError: for shapes that do not fit, a number that is not finite, or a ridge that is negative.

    Source: Hoerl and Kennard (1970); Alain and Bengio (2017) for its use on networks.
    """
    features, targets = as_floats(features, "features"), as_floats(targets, "targets")
    if features.shape[:-1] != targets.shape[:-1] or features.ndim < 2:
        raise ValueError(
            f"features {tuple(features.shape)} and targets {tuple(targets.shape)}: all "
            "dimensions but the last must be equal, such as [N, L, F] and [N, L, K]."
        )
    if not 0 <= real(ridge) < math.inf:
        raise ValueError(
            f"ridge = {ridge!r}: a number of at least 0 is needed, such as ridge=1e-4."
        )
    h = features.detach().flatten(0, -2).to(F64)  # [n, F]
    y = targets.detach().flatten(0, -2).to(F64)  # [n, K]
    for name, values in (("features", h), ("targets", y)):
        if not bool(values.isfinite().all()):
            raise ValueError(
                f"{name} hold {values[~values.isfinite()][0].item()}; all their "
                "numbers must be finite."
            )
    centre, mean = h.mean(0), y.mean(0)
    price = float(ridge) * torch.eye(h.shape[1], dtype=F64, device=h.device)
    gram = (h - centre).mT @ (h - centre) / len(h) + price  # [F, F]
    weight = torch.linalg.lstsq(gram, (h - centre).mT @ (y - mean) / len(h)).solution
    return Probe(weight, mean - centre @ weight)


def r_squared(predicted: Tensor, targets: Tensor, together: bool = False) -> Tensor:
    r"""The share of the targets' variance that the predictions explain, `[K]`: 1 is all, 0 none, and it can be less.

    $$ R^2_k = 1 - \frac{\sum_i (y_{ik} - \hat y_{ik})^2}{\sum_i (y_{ik} - \bar y_k)^2} $$

    over all samples i. A target that does not vary has no variance to explain, and NaN.

    Args:
        predicted: `[..., K]`.
        targets: `[..., K]`.
        together: add up both sums over the targets first, which gives one number.

    Raises:
        ValueError: if the two differ in shape, or hold no numbers.
    """
    predicted, targets = _pair(predicted, targets)
    y = targets.flatten(0, -2)  # [n, K]
    error = (y - predicted.flatten(0, -2)).square().sum(0)
    spread = (y - y.mean(0)).square().sum(0)
    return _share(error, spread, together)


def r_squared_interval(
    predicted: Tensor,
    targets: Tensor,
    gen: torch.Generator,
    together: bool = False,
    level: float = 0.95,
    resamples: int = 1000,
) -> tuple[Tensor, Tensor]:
    """A percentile-bootstrap interval of `r_squared` that draws whole tasks again, `[K]` each.

    The steps of one trial have a task and a past in common. To draw them one by one would pretend that they are
    independent.

    Args:
        predicted: `[N, ..., K]`, a row to a task.
        targets: `[N, ..., K]`.
        gen: draws the resamples.
        together: as in `r_squared`.
        level: nominal coverage.
        resamples: how many times the tasks are drawn again.

    Raises:
        ValueError: for fewer than two tasks, a level outside (0, 1), or two tensors that differ in shape.

    Source: Efron (1979).
    """
    predicted, targets = _pair(predicted, targets)
    tasks, (resamples,) = len(targets), counts(resamples=resamples)
    check_generator(gen)
    if tasks < 2 or not 0 < real(level) < 1:
        raise ValueError(
            f"{tasks} tasks and level = {level}: at least two tasks, and a level such "
            "as .95, are needed."
        )
    # [N, L, K]
    targets, predicted = (
        x.reshape(tasks, -1, x.shape[-1]) for x in (targets, predicted)
    )
    error, y = (targets - predicted).square().sum(1), targets - targets.mean((0, 1))
    drawn = torch.randint(tasks, (resamples, tasks), generator=gen, device=gen.device)
    count = torch.zeros(resamples, tasks, dtype=F64).scatter_add_(
        1, drawn, torch.ones_like(drawn, dtype=F64)
    )
    # about each draw's mean
    spread = count @ y.square().sum(1) - (count @ y.sum(1)).square() / (
        tasks * y.shape[1]
    )
    shares = _share(count @ error, spread, together)  # [resamples, K]
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=F64)
    low, high = torch.quantile(shares, ends, dim=0)
    return low, high


def _pair(predicted: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64, if they are of one shape `[..., K]`."""
    predicted = as_floats(predicted, "predicted").to(F64)
    targets = as_floats(targets, "targets").to(F64)
    if predicted.shape != targets.shape or targets.ndim < 2:
        raise ValueError(
            f"predicted {tuple(predicted.shape)} and targets {tuple(targets.shape)}: "
            "both of one shape [..., K] are needed, samples first, such as [n, 1]."
        )
    return predicted, targets


def _share(error: Tensor, spread: Tensor, together: bool) -> Tensor:
    if switches(together=together)[0]:
        error, spread = error.sum(-1), spread.sum(-1)
    return torch.where(spread > 0, 1 - error / spread, math.nan)
