"""Pictures of a memory at work: what a trial is, what enters the network, which arms an agent pulls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle
from numpy.typing import ArrayLike

from .charts import heat
from .style import COLOURS, INK, array, look


def trials_diagram(ax: Axes, episodes: int = 3, steps: int = 3) -> None:
    """Two trials, each of several episodes of one task: the memory runs through a trial, and never into the next one.

    Args:
        ax: where to draw.
        episodes: of each trial.
        steps: of each episode, a dot each.
    """
    width = 10 / episodes  # of an episode, with the gap before it
    for row, (name, role) in enumerate((("A", "method"), ("B", "rival"))):
        y, style = -3.0 * row, look(role)
        ax.annotate("", (11.2, y), (0.5, y), arrowprops={"arrowstyle": "-|>", "linewidth": 3, "color": "black"})
        ax.text(0, y, "h = 0", ha="center", va="center", bbox={"facecolor": "white", "edgecolor": "black"})
        ax.text(-0.5, y + 1.2, f"trial {row}: task {name} in every episode", color=style["color"], fontweight="bold")
        for e in range(episodes):
            left, inside = 1 + width * e, width - 0.5
            box = {"facecolor": style["color"], "edgecolor": style["color"], "linestyle": style["linestyle"]}
            ax.add_patch(Rectangle((left, y - 0.5), inside, 1, alpha=0.25, linewidth=2, **box))
            ax.text(left + inside / 2, y + 0.55, f"episode {e}", ha="center", va="bottom", fontsize=10.5)
            dots = np.linspace(left, left + inside, steps + 2)[1:-1]
            ax.scatter(dots, np.full(steps, y), s=110, color=style["color"], edgecolor="black", zorder=3)
    for e in range(1, episodes):  # where an episode ends
        ax.annotate("", (0.75 + width * e, -0.08), (0.75 + width * e, -1.05), arrowprops={"arrowstyle": "->"})
    ax.text(5.75, -1.05, "the world starts over, the memory goes on", ha="center", va="top", fontsize=10.5)
    ax.set(xlim=(-0.8, 11.4), ylim=(-3.6, 1.6))
    ax.axis("off")


def step_diagram(ax: Axes) -> None:
    """One step j of a trial: what the network reads, what it keeps, what it puts out, and what comes back."""
    read = ("observation $o_j$", "last action $a_{j-1}$", "last reward $r_{j-1}$", "done $d_{j-1}$")
    for place, name in enumerate(read):
        _box(ax, 0, 3 - place, 3.7, name, COLOURS[5])
        ax.annotate("", (5.0, 1.95 - 0.3 * place), (3.75, 3 - place), arrowprops={"arrowstyle": "->"})
    ax.add_patch(FancyBboxPatch((5.1, 0.4), 1.5, 2.2, "round,pad=0.1", facecolor="white", edgecolor="black"))
    ax.text(5.85, 1.5, "GRU", ha="center", va="center", fontweight="bold")
    thick = {"arrowstyle": "-|>", "linewidth": 3, "color": "black"}
    for name, start, end in (("$h_j$", 4.0, 2.75), ("$h_{j+1}$", 0.25, -0.85)):
        ax.annotate("", (5.85, end), (5.85, start), arrowprops=thick)
        ax.text(6.05, (start + end) / 2, name, va="center")
    for y, name, colour in ((2.4, "policy: $a_j$", COLOURS[0]), (0.6, "value: $V_j$", COLOURS[2])):
        _box(ax, 7.6, y, 2.9, name, colour)
        ax.annotate("", (7.55, y), (6.75, 1.5 + 0.5 * (y - 1.5)), arrowprops={"arrowstyle": "->"})
    _box(ax, 7.6, -1.35, 2.9, "task", COLOURS[1])
    bent: dict[str, Any] = {"arrowstyle": "->", "connectionstyle": "arc3,rad=-0.45", "linestyle": "--"}
    ax.annotate("", (10.55, -1.3), (10.55, 2.35), arrowprops=bent)
    ax.annotate("", (1.85, -0.45), (7.55, -1.35), arrowprops=bent | {"connectionstyle": "angle,angleA=0,angleB=90"})
    ax.text(4.7, -1.35, "$r_j$, $d_j$, $o_{j+1}$: read next", ha="center", va="center", fontsize=10.5,
            bbox={"facecolor": "white", "linewidth": 0, "pad": 1})  # fmt: skip
    ax.set(xlim=(-0.1, 11.6), ylim=(-1.9, 4.1))
    ax.axis("off")


def _box(ax: Axes, x: float, y: float, width: float, name: str, colour: str) -> None:
    ax.add_patch(Rectangle((x, y - 0.38), width, 0.76, facecolor=colour, alpha=0.3, edgecolor=colour, linewidth=1.5))
    ax.text(x + width / 2, y, name, ha="center", va="center", fontsize=11)


def read(ax: Axes, inputs: ArrayLike, names: Sequence[str], steps: int) -> None:
    """What the network reads in one trial, `[L, I]`: a row to a number, a column to a step, a line to an episode.

    Args:
        ax: where to draw.
        inputs: the input of every step, `[L, I]`.
        names: of the I numbers.
        steps: T, of each episode.
    """
    cells = array(inputs).T
    heat(ax, cells, digits=0, rows=names)
    ends = np.arange(steps, cells.shape[1], steps) - 0.5
    ax.vlines(ends, -0.5, len(cells) - 0.5, color=INK["reference"], linewidth=4)
    ax.set_xlabel("step j of the trial")


def pulls(ax: Axes, arms: ArrayLike, wins: ArrayLike) -> None:
    """Which arm was pulled when and what it paid, `[N, n]` each: a row to a trial; filled is a win, hollow a loss.

    Args:
        ax: where to draw.
        arms: the arms, integers `[N, n]`; the number in each circle.
        wins: 1 for a win, 0 for a loss, `[N, n]`.
    """
    shown, won = array(arms), array(wins)
    count, length = shown.shape
    for (row, column), arm in np.ndenumerate(shown):
        lucky, place = bool(won[row, column]), int(arm) % len(COLOURS)
        face, ink = COLOURS[place] if lucky else "white", "white" if lucky and place == 0 else "black"
        ax.add_patch(Circle((column + 1, row), 0.4, facecolor=face, edgecolor=COLOURS[place], linewidth=2.2))
        ax.text(column + 1, row, str(arm), ha="center", va="center", color=ink, fontsize=10)
    ax.set(xlim=(0.4, length + 0.6), ylim=(count - 0.4, -0.6), yticks=[], xticks=range(1, length + 1), aspect="equal")
    ax.set(xlabel="pull (in the circles: the arm; filled: it paid)", ylabel="trials, each of another task")
    ax.grid(visible=False)
