"""How sure one can be of an average over seeds: the interquartile mean, and intervals that resample whole seeds."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from ..given import (
    Scores,
    as_scores,
    check_callable,
    check_result,
    counts,
    integer,
    real,
)
from ..ram import check_memory
from ..rng import check_generator


def iqm(scores: Scores, dim: int = -1) -> Tensor:
    """The interquartile mean: the mean of the middle half, so a quarter is trimmed at each end.

    Where a quarter is not a whole number of scores, the scores at the borders count with a fraction. With fewer
    outliers to fear than the mean and less waste than the median; but over tasks it trims the hard ones, and is then
    not the expectation over p(T). Use it over seeds.

    Args:
        scores: a tensor, an array, a table or a list of numbers.
        dim: the dimension that is reduced.

    Raises:
        ValueError: if the scores are no numbers or not finite, or have no such dimension.

    Source: Agarwal et al. (2021), section 4.3.
    """
    given = as_scores(scores)
    check_dim(given, dim)
    ordered = given.movedim(dim, -1).sort(-1).values  # [..., n]
    n = ordered.shape[-1]
    # score i covers [i, i+1] / n
    edges = torch.arange(n + 1, dtype=ordered.dtype, device=ordered.device) / n
    weight = (edges[1:].clamp(max=0.75) - edges[:-1].clamp(min=0.25)).clamp(min=0) / 0.5
    return (ordered * weight).sum(-1)


def bootstrap_interval(
    scores: Scores,
    gen: torch.Generator,
    statistic: Callable[[Tensor], Tensor] = iqm,
    level: float = 0.95,
    resamples: int = 2000,
    tasks_too: bool = False,
) -> tuple[Tensor, Tensor]:
    """A percentile-bootstrap interval of a statistic over seeds: whole seeds are drawn again, with replacement.

    Scores of one seed go together, since one trained agent made them; resampling single scores would pretend that
    they are independent, and the interval would be far too narrow.

    Args:
        scores: `[S, N]`, seeds x test tasks; or `[S]`, one score a seed: a tensor, an array, a table or lists.
        gen: draws the resamples.
        statistic: maps scores of seeds `[..., S]` (means over the tasks) to `[...]`.
        level: nominal coverage.
        resamples: how many times the seeds are drawn again.
        tasks_too: draw the tasks again as well, when the claim is about p(T) and not about these tasks.

    Returns:
        The lower and the upper end.

    Raises:
        ValueError: for fewer than two seeds, scores that are not finite, a level outside (0, 1), or a statistic that
            is not one number for each draw.

    Source: Efron (1979); Agarwal et al. (2021) for its use in RL.
    """
    scores, (resamples,) = _seeds_by_tasks(scores, level), counts(resamples=resamples)
    check_callable("scores", statistic=statistic)
    check_generator(gen)
    seeds, num_tasks = scores.shape
    check_memory(
        24.0 * resamples * (seeds + num_tasks * tasks_too),
        f"to draw {resamples} resamples",
        "set resamples=2000, say.",
    )
    # [B, S]
    pick = torch.randint(seeds, (resamples, seeds), generator=gen, device=gen.device)
    if tasks_too:
        # [B, N]
        which = torch.randint(
            num_tasks, (resamples, num_tasks), generator=gen, device=gen.device
        )
        count = torch.zeros(resamples, num_tasks, dtype=scores.dtype).scatter_add_(
            1, which, torch.ones_like(which, dtype=scores.dtype)
        )
        means = (count @ scores.mT / num_tasks).gather(1, pick)  # [B, S]
    else:
        means = scores.mean(1)[pick]  # [B, S]
    drawn = _one_each(statistic(means), resamples)  # [B]
    tail = (1 - float(level)) / 2
    low, high = torch.quantile(
        drawn, torch.tensor([tail, 1 - tail], dtype=drawn.dtype)
    ).unbind()
    return low, high


def t_interval(scores: Scores, level: float = 0.95) -> tuple[Tensor, Tensor]:
    r"""Student's interval for the mean over seeds: $\bar x \pm t_{S-1} \, s / \sqrt S$ of the seeds' mean scores.

    It serves for any independent scores, `[S]`: those of independent tasks, for one.

    Args:
        scores: `[S, N]` or `[S]`, as in `bootstrap_interval`.
        level: nominal coverage; exact where the seeds' means are normal.

    Source: Student (1908).
    """
    means = _seeds_by_tasks(scores, level).mean(1)  # [S]
    seeds = len(means)
    half = (
        t_quantile((1 + float(level)) / 2, seeds - 1) * means.std() / math.sqrt(seeds)
    )
    return means.mean() - half, means.mean() + half


@cache
def t_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t distribution, by integrating its density over the angle u, t = tan u.

    For example t_quantile(.975, 4) = 2.7764, and with more degrees of freedom it falls towards the normal's 1.9600.
    """
    u = torch.linspace(-math.pi / 2, math.pi / 2, 20_001, dtype=torch.float64)
    cos2 = u.cos().square()
    width = cos2 + u.sin().square() / freedom
    # times dt/du, up to a constant; bounded for every freedom
    density = (cos2 / width) ** ((freedom - 1) / 2) / width
    cumulative = torch.cumulative_trapezoid(density, u)  # at u[1:]
    cumulative = cumulative / cumulative[-1]
    i = int(torch.searchsorted(cumulative, probability).clamp(1, len(cumulative) - 1))
    step = (probability - cumulative[i - 1]) / (cumulative[i] - cumulative[i - 1])
    return math.tan(u[i] + step * (u[i + 1] - u[i]))


def _one_each(drawn: Scores, resamples: int) -> Tensor:
    """What a statistic gave, if it is one number for each draw, `[B]`."""
    return check_result(
        as_scores(drawn, "the numbers of the statistic"),
        {"B": resamples},
        "the statistic",
        "it reduces the last dimension, the seeds, and no other, as means.mean(-1).",
    )


def check_dim(scores: Tensor, dim: int) -> None:
    """Refuses a dimension that the scores do not have."""
    place = integer(dim)
    if place is None or not -scores.ndim <= place < scores.ndim:
        raise ValueError(
            f"dim = {dim!r}: scores of shape {list(scores.shape)} have the dimensions "
            f"{list(range(scores.ndim)) or 'none'}; -1 is the last."
        )


def _seeds_by_tasks(scores: Scores, level: float) -> Tensor:
    if not 0 < real(level) < 1:
        raise ValueError(
            f"level = {level!r}: a coverage between 0 and 1 is needed, such as "
            "level=0.95."
        )
    table = as_scores(scores)
    table = table.unsqueeze(1) if table.ndim == 1 else table
    if table.ndim != 2 or len(table) < 2:
        raise ValueError(
            f"scores of shape {tuple(table.shape)}: seeds x tasks, with at least two "
            "seeds, are needed. One seed has no spread over seeds; train another."
        )
    return table
