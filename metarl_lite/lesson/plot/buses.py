"""Pictures of chapter 14, part 2: the grid with four buses, ways through it, and what an explorer is paid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from ...tasks.bus_grid import BusGrid
from .style import COLOURS, array, look


def world(ax: Axes, buses: ArrayLike | None = None, title: str = "") -> None:
    """The cells of `BusGrid`: start S, map M, corners 0 to 3 as stars, the stops of buses 0 to 3, and where each leads.

    Args:
        ax: where to draw.
        buses: the corner that each bus leads to, `[4]`; left out, the lines are, too.
        title: what is written above.
    """
    size, corners, stops = BusGrid.size, array(BusGrid.corners), array(BusGrid.stops)
    for number, (column, row) in enumerate(stops):
        ax.plot(column, row, "s", markersize=19, color="#E6E6E6", markeredgecolor="#707070", zorder=3)
        ax.text(column, row, str(number), ha="center", va="center", fontsize=11, zorder=6)
        if buses is not None:
            to = corners[int(array(buses)[number])]
            ax.annotate(
                "", to, (column, row), zorder=2,
                arrowprops={"arrowstyle": "->", "color": COLOURS[number], "linewidth": 1.8, "shrinkA": 11,
                            "shrinkB": 9, "linestyle": "--", "connectionstyle": f"arc3,rad={_bend(number, to)}"},
            )  # fmt: skip
    ax.plot(*corners.T, "*", markersize=15, color="#F0E442", markeredgecolor="black", linestyle="", zorder=3)
    for number, (column, row) in enumerate(corners):
        outer = row + (0.36 if row else -0.36)
        ax.text(column, outer, f"corner {number}", ha="center", va="center", fontsize=8.5, zorder=6)
    column, row = array(BusGrid.map_cell)
    ax.plot(column, row, "s", markersize=24, color="#DCEBF7", markeredgecolor="#0072B2", zorder=1)
    for name, cell in (("S", BusGrid.start), ("M", BusGrid.map_cell)):
        column, row = array(cell)
        ax.text(column, row, name, ha="center", va="center", fontsize=13, fontweight="bold", zorder=6)
    edges = np.arange(size + 1) - 0.5
    ax.set_xticks(edges, [""] * len(edges))
    ax.set_yticks(edges, [""] * len(edges))
    ax.tick_params(length=0)
    ax.spines[["top", "right"]].set_visible(True)
    ax.set(xlim=(-0.5, size - 0.5), ylim=(-0.5, size - 0.5), aspect="equal", title=title)


def _bend(number: int, corner: NDArray[Any]) -> float:
    """How far a bus's line is bent, as `arc3` has it: the least that keeps away from other stops, start and map."""
    stop = array(BusGrid.stops)[number]
    others = [*np.delete(array(BusGrid.stops), number, 0), array(BusGrid.start), array(BusGrid.map_cell)]
    (across, up), share = corner - stop, np.linspace(0, 1, 40)[:, None]

    def clearance(bend: float) -> float:
        middle = (stop + corner) / 2 + bend * np.array([up, -across])
        curve = (1 - share) ** 2 * stop + 2 * share * (1 - share) * middle + share**2 * corner
        return float(np.linalg.norm(curve[:, None] - others, axis=-1).min())

    return max((0.14, -0.14, 0.3, -0.3, 0.45, -0.45), key=lambda bend: min(clearance(bend), 0.55))


def way(ax: Axes, cells: ArrayLike, label: str, role: str | int, shift: float = 0.0) -> None:
    """The cells of one exploration, `[T, 2]`, joined; a ring where it begins, a dot where it ends."""
    path, style = array(cells) + shift, look(role)
    colour = style["color"]
    ax.plot(*path.T, label=label, color=colour, linestyle=style["linestyle"], linewidth=2.4, zorder=4)
    ax.plot(*path[0], "o", markersize=11, markerfacecolor="none", markeredgecolor=colour, zorder=5)
    ax.plot(*path[-1], "o", markersize=7, color=colour, zorder=5)


def gains(ax: Axes, gain: ArrayLike, names: Sequence[str]) -> None:
    """What an explorer is paid for each of its actions, in nats, `[L]`; an action is named below its bar."""
    paid = array(gain)
    ax.bar(np.arange(len(paid)), paid, width=0.62, color=look("method")["color"], alpha=0.75)
    for place, value in enumerate(paid):
        ax.text(place, max(value, 0) + 0.03, f"{value:.2f}", ha="center", va="bottom", fontsize=10.5)
    ax.axhline(0, color="black", linewidth=1)
    ax.set_xticks(np.arange(len(paid)), list(names))
    ax.set(ylabel="gain (nats)", ylim=(min(-0.15, paid.min() - 0.1), paid.max() + 0.3))
    ax.grid(visible=False, axis="x")
