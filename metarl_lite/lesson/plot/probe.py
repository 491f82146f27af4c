"""Pictures of what a memory knows: readings against the truth, maps of a grid, and the bars of the two-step task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from .charts import figure, heat
from .style import array, look


def readings(ax: Axes, exact: ArrayLike, read: ArrayLike, label: str = "", role: str | int = "method") -> None:
    """What was read where the truth takes few values: median, and the range of the middle 90 %, at each of them.

    A dashed diagonal marks readings that are right.
    """
    truth, values, style = array(exact).ravel().astype(float), array(read).ravel(), look(role)
    places = np.unique(truth.round(6))
    each = [values[np.isclose(truth, place, atol=1e-5)] for place in places]
    low, middle, high = (np.array([np.quantile(some, q) for some in each]) for q in (0.05, 0.5, 0.95))
    ends = (places.min(), places.max())
    ax.plot(ends, ends, color="black", linestyle="--", linewidth=1.2, zorder=1)
    ax.vlines(places, low, high, color=style["color"], linewidth=2.2, alpha=0.6)
    ax.plot(places, middle, linestyle="", marker=style["marker"], color=style["color"], label=label or None)


def grid_map(
    ax: Axes, values: ArrayLike, at: Sequence[int] | None = None, goal: Sequence[int] | None = None, high: float = 1.0
) -> None:
    """A value for every cell of a grid, `[size, size]` by column and row, each written into its cell.

    Row 0 is the lowest. A ring marks the agent `at` a cell, a frame the `goal`. Colours run from 0 to `high`; what
    lies beyond has the colour of the end and keeps its number.
    """
    cells = array(values).astype(float).T  # rows of the picture are rows of the grid
    image = ax.imshow(cells, cmap="cividis", vmin=0.0, vmax=high, origin="lower", interpolation="nearest")
    for (row, column), value in np.ndenumerate(cells):
        red, green, blue, _ = image.to_rgba(value)
        ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
        text = f"{value:.2f}".replace("0.", ".", 1).replace("-.00", ".00")
        ax.text(column, row, text, ha="center", va="center", color=ink, fontsize=9.5)
    if at is not None:
        ax.plot(*at, "o", markersize=25, markerfacecolor="none", markeredgecolor="white", markeredgewidth=2)
    if goal is not None:
        column, row = goal
        edge = Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False, edgecolor="#D55E00", linewidth=2.5)
        ax.add_patch(edge)
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)


def search(maps: Mapping[str, ArrayLike], steps: Sequence[int], cells: ArrayLike, goal: Sequence[int]) -> Figure:
    """A row of grid maps to each name, a column to each step of one trial; `maps` hold `[L, S]`, `cells` `[L]`."""
    size = round(array(next(iter(maps.values()))).shape[-1] ** 0.5)
    fig, axes = figure(width=7, height=0.3 + 1.8 * len(maps), columns=len(steps), rows=len(maps))
    for k, (name, values) in enumerate(maps.items()):
        for ax, t in zip(axes[k * len(steps) :], steps, strict=False):
            at = divmod(int(array(cells)[t]), size)
            grid_map(ax, array(values)[t].reshape(size, size), at, [int(x) for x in goal])
            ax.set_title(f"before step {t + 1}" if k == 0 else "")
        axes[k * len(steps)].set_ylabel(name)
    return fig


def beliefs(ax: Axes, means: ArrayLike, pulled: ArrayLike) -> None:
    """The posterior mean of each arm before each pull, `[L, k]`; a ring marks the arm that is `pulled`, `[L]`."""
    table, arms = array(means), array(pulled).ravel()
    rows, columns = ([str(i + 1) for i in range(count)] for count in table.T.shape)
    heat(ax, table.T, digits=2, rows=rows, columns=columns, limits=(0, 1))
    ring: dict[str, Any] = {"markersize": 27, "markerfacecolor": "none", "markeredgecolor": "#D55E00"}
    ax.plot(range(len(arms)), arms, linestyle="", marker="o", markeredgewidth=2, **ring)
    ax.set(xlabel="before pull", ylabel="arm")


def stays(tables: Mapping[str, ArrayLike]) -> Figure:
    """The probabilities of staying of several agents, `[2, 2]` each, side by side."""
    fig, axes = figure(width=3.5 * len(tables), height=3.2, columns=len(tables), sharey=True)
    for ax, (name, table) in zip(axes, tables.items(), strict=True):
        staying(ax, table, name)
    axes[0].set_ylabel("probability of staying")
    return fig


def effects(ax: Axes, without: ArrayLike, with_model: ArrayLike, single: Mapping[str, tuple[float, float]]) -> None:
    """Agents as points: reward of a round, and what a reward after a rare transition adds to staying, `[M, 2]`."""
    for points, name, role in ((without, "without a model", "before"), (with_model, "with a model", "adapted")):
        ax.plot(*array(points).T, label=name, **look(role) | {"linestyle": ""})
    for (name, point), role in zip(single.items(), ("oracle", "recorded"), strict=True):
        ax.plot(*point, label=name, markersize=12, **look(role) | {"linestyle": ""})
    ax.axhline(0, color="0.5", linewidth=1)
    ax.set(xlabel="reward of a round", ylabel="effect of reward on staying (rare)")


def staying(ax: Axes, stay: ArrayLike, title: str = "", names: bool = True) -> None:
    """The four probabilities of staying with a first choice, `[2, 2]`: pairs of bars, common and rare transition.

    The first pair follows a reward, the second none. Rare transitions are hatched, so that print keeps the difference.
    """
    table = array(stay).astype(float)
    for column, (name, role) in enumerate((("common transition", "method"), ("rare transition", "rival"))):
        places = np.arange(2) + (column - 0.5) * 0.38
        colour, hatch = look(role)["color"], "//" if column else ""
        ax.bar(
            places, table[:, column], 0.34, color=colour, alpha=0.8, hatch=hatch, edgecolor="white",
            label=name if names else None,
        )  # fmt: skip
        for place, value in zip(places, table[:, column], strict=True):
            ax.text(place, value + 0.015, f"{value:.2f}", ha="center", va="bottom", fontsize=9.5)
    ax.set(ylim=(0, 1.12), title=title, yticks=[0, 0.5, 1])
    ax.set_xticks([0, 1], ["rewarded", "unrewarded"])
    ax.grid(visible=False, axis="x")
