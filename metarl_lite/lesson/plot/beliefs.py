"""Pictures of what is believed about the arms of a bandit, and of what that makes the pulls worth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from .style import array, look


def lattice(ax: Axes, outcomes: ArrayLike, labels: Sequence[str]) -> None:
    """The beliefs about one arm are points of a lattice, and every outcome moves the belief by one of its edges.

    Dots are the beliefs Beta(wins + 1, losses + 1), the lighter the higher their mean; a win leads up, a loss to the
    right. A walk is drawn for each row of outcomes.

    Args:
        ax: where to draw.
        outcomes: what the pulls of each arm gave, 1 or 0, `[W, T]`.
        labels: a name for each walk.
    """
    paths = np.cumsum(np.stack([1 - array(outcomes), array(outcomes)], -1), 1)  # [W, T, 2] losses and wins
    pulls = paths.shape[1]
    losses, wins = (x.ravel() for x in np.meshgrid(np.arange(pulls + 1), np.arange(pulls + 1)))
    there = wins + losses <= pulls
    losses, wins = losses[there], wins[there]
    means = (wins + 1) / (wins + losses + 2)
    ax.scatter(losses, wins, s=26, c=means, cmap="cividis", vmin=0, vmax=1, linewidths=0)
    for number, (path, label) in enumerate(zip(paths, labels, strict=True)):
        walk = np.concatenate([np.zeros((1, 2)), path])
        style = look(number)
        marker = style.pop("marker")
        ax.plot(walk[:, 0], walk[:, 1], label=label, linewidth=2.4, **style)
        ax.plot(*walk[-1], marker=marker, markersize=9, color=style["color"], markeredgecolor="black")
    ticks = range(0, pulls + 1, 1 + pulls // 8)
    ax.set(xlabel="losses", ylabel="wins", xlim=(-0.8, pulls + 0.8), ylim=(-0.8, pulls + 0.8))
    ax.set(xticks=ticks, yticks=ticks)
    ax.set_aspect("equal")
    ax.grid(visible=False)


def densities(ax: Axes, wins: ArrayLike, losses: ArrayLike, labels: Sequence[str] | None = None) -> None:
    """What is believed of each arm's probability, as the density of Beta(wins + 1, losses + 1).

    Args:
        ax: where to draw.
        wins: of each arm, `[k]`.
        losses: of each arm, `[k]`.
        labels: a name for each arm.
    """
    p = np.linspace(0.001, 0.999, 300)
    for arm, (won, lost) in enumerate(zip(array(wins), array(losses), strict=True)):
        count = math.lgamma(won + lost + 2) - math.lgamma(won + 1) - math.lgamma(lost + 1)
        density, style = np.exp(count + won * np.log(p) + lost * np.log(1 - p)), look(arm)
        del style["marker"]
        ax.plot(p, density, label=labels[arm] if labels else None, **style)
    ax.set(xlabel="probability of a win", ylabel="density of belief", xlim=(0, 1), ylim=(0, None))


def worths(ax: Axes, means: ArrayLike, bonuses: ArrayLike, names: Sequence[str]) -> None:
    """The worth of pulling each arm in two parts: the mean that greedy looks at, and the bonus, hatched.

    Args:
        ax: where to draw.
        means: the expected reward of the pull, `[k]`.
        bonuses: what the pull is worth beyond that, 0 or more, `[k]`.
        names: of the arms.
    """
    mean, bonus = array(means), array(bonuses)
    places = np.arange(len(mean))[::-1]
    colours = [look(arm)["color"] for arm in range(len(mean))]
    ax.barh(places, mean, height=0.6, color=colours, alpha=0.75)
    ax.barh(places, bonus, height=0.6, left=mean, color="white", edgecolor=colours, hatch="////")
    for place, total in zip(places, mean + bonus, strict=True):
        ax.text(total, place, f"  {total:.3f}", va="center", ha="left", fontsize=10.5)
    ax.set_yticks(places, list(names))
    ax.set(ylim=(-0.6, len(mean) - 0.4), xlabel="mean + bonus (hatched)")
    ax.grid(visible=False, axis="y")


def plan_map(ax: Axes, advantages: ArrayLike) -> None:
    """The better arm at every belief with so many pulls of each, and where greedy would pull the other one.

    A cell holds 1, 2, or = where both are as good; it is hatched where the posterior means say the opposite. Ties of
    the means, at which greedy has no opinion, are not hatched.

    Args:
        ax: where to draw.
        advantages: how much better the first arm is, by the wins of both, `[n1 + 1, n2 + 1]`.
    """
    table = array(advantages)
    rows, columns = table.shape
    fills, named = {"1": look(0)["color"], "2": look(1)["color"], "=": "#8A8A8A"}, False
    for (first, second), gap in np.ndenumerate(table):
        ahead = (first + 1) * (columns + 1) - (second + 1) * (rows + 1)  # the sign of the means' difference
        best, opposed = "=" if gap == 0 else "1" if gap > 0 else "2", bool(gap * ahead < 0)
        label = "the optimum is not greedy" if opposed and not named else None
        named = named or opposed
        corner, ink = (second - 0.5, first - 0.5), "black" if opposed else "white"
        ax.add_patch(Rectangle(corner, 1, 1, facecolor="white" if opposed else fills[best], edgecolor="white"))
        if opposed:
            ax.add_patch(
                Rectangle(corner, 1, 1, facecolor="none", edgecolor=fills[best], hatch="////", linewidth=0, label=label)
            )
        paper = {"facecolor": "white", "linewidth": 0, "pad": 0.8} if opposed else None
        ax.text(second, first, best, ha="center", va="center", color=ink, fontsize=10.5, bbox=paper)
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(-0.5, rows - 0.5), xticks=range(columns), yticks=range(rows))
    ax.set(xlabel=f"wins of arm 2 in {columns - 1} pulls", ylabel=f"wins of arm 1\nin {rows - 1} pulls")
    ax.grid(visible=False)
