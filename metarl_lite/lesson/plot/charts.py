"""Pictures in one style: legible on a phone, told apart without colour, and each with an alt text.

The only module that imports matplotlib, and never `pyplot`: the user's rcParams and open figures stay as they
are. Data may be torch tensors (also with grad), numpy arrays or lists.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from PIL import Image

from ...given import check_callable, integer
from ..page import player, publish, require_alt, small_png
from .style import RC, array, look

DPI = 150  # pixels per inch in the file
CSS_PIXELS = 100  # pixels per inch on the page: the rest of the resolution is for sharp screens


def _style() -> AbstractContextManager[None]:
    return mpl.rc_context(cast("Any", RC))


def figure(
    width: float = 5.6, height: float = 3.4, columns: int = 1, rows: int = 1, **shared: Any
) -> tuple[Figure, Any]:
    """A new figure in the book's style, in inches: (figure, axes); for a grid (figure, flat array of axes).

    `shared` goes to `Figure.subplots` (`sharex`, `width_ratios`, ...). For a phone prefer rows to columns.
    """
    with _style():
        fig = Figure(figsize=(width, height), layout="constrained")
        axes = fig.subplots(rows, columns, squeeze=False, **shared).ravel()
    return fig, (axes[0] if rows * columns == 1 else axes)


def render(fig: Figure, dpi: float = DPI) -> Image.Image:
    """The figure as a picture, drawn in the book's style."""
    buffer = io.BytesIO()
    with _style():
        fig.savefig(buffer, format="png", dpi=dpi)
    return Image.open(buffer).convert("RGB")


def show(fig: Figure, alt: str) -> None:
    """A figure is displayed with an alt text: what a reader who cannot see it must know, in a sentence.

    Labels get one legend below the axes, unless an axes has its own. Show one figure to a notebook cell: the
    rendered book takes the alt text from the cell.

    Raises:
        ValueError: the alt text is empty or shorter than 20 characters.
    """
    require_alt(alt)
    legend(fig)
    width = round(fig.get_figwidth() * CSS_PIXELS)
    data = {"image/png": small_png(render(fig)), "text/plain": f"[Figure: {alt}]"}
    publish(data, {"image/png": {"alt": alt, "width": width}})


def legend(fig: Figure) -> None:
    """One legend below all axes, each label once, in as many columns as fit."""
    handles: dict[str, Any] = {}
    for ax in (ax for ax in fig.axes if ax.get_legend() is None):
        handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    if handles and not fig.legends:
        fit = int(fig.get_figwidth() / (0.7 + 0.095 * max(map(len, handles))))
        columns = max(1, min(fit, len(handles)))
        with _style():
            fig.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns)


def curve(
    ax: Axes, x: ArrayLike, y: ArrayLike, label: str = "", low: Any = None, high: Any = None,
    role: str | int | None = None, markers: bool = True,
) -> None:  # fmt: skip
    """A line, and the band from `low` to `high` around it; without a role it takes the next free style.

    Markers are drawn at no more than 12 points of the line; `markers=False` leaves them out.
    """
    taken = sum(line.get_gid() == "curve" for line in ax.get_lines())
    style, xs, ys = look(taken if role is None else role), array(x), array(y)
    style["marker"] = style["marker"] if markers else ""
    ax.plot(xs, ys, label=label or None, gid="curve", markevery=max(1, len(xs) // 12), **style)
    if low is not None and high is not None:
        ax.fill_between(xs, array(low), array(high), color=style["color"], alpha=0.18, linewidth=0)


def reference(ax: Axes, y: float, label: str, role: str = "reference", at: float = 0.99) -> None:
    """A horizontal line at a known value (`oracle`, `chance`, `published`), with its label on the line.

    `at` places the label along the axis, from 0 (left) to 1 (right).
    """
    color, where, side = look(role)["color"], ax.get_yaxis_transform(), "right" if at > 0.5 else "left"
    ax.axhline(float(y), color=color, linestyle="--", linewidth=1.3, zorder=1)
    paper = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 1.0}
    ax.text(at, float(y), label, transform=where, ha=side, va="bottom", color=color, fontsize=10.5, bbox=paper)


def bars(
    ax: Axes, names: Sequence[str], values: ArrayLike, low: Any = None, high: Any = None, digits: int = 2,
    role: str | int | Sequence[str | int] = "method", points: bool = False,
) -> None:  # fmt: skip
    """Named values, from top to bottom, each written out, with an interval from `low` to `high`.

    `points=True` draws dots for bars: right where zero means nothing. `role` is one, or one to each name.
    """
    centre, places = array(values).astype(float), np.arange(len(names))[::-1]
    roles = [role] * len(names) if isinstance(role, (str, int)) else role
    colours = [look(one)["color"] for one in roles]
    ends = centre
    if points:
        ax.scatter(centre, places, s=50, c=colours)
    else:
        ax.barh(places, centre, height=0.62, color=colours, alpha=0.75)
    if low is not None and high is not None:
        ends = np.where((centre < 0) & (not points), array(low), array(high))
        ax.hlines(places, array(low), array(high), color=colours if points else "black", linewidth=2)
    for place, value, end in zip(places, centre, ends, strict=True):
        side, gap = ("right", " ") if value < 0 and not points else ("left", "  ")
        ax.text(end, place, f"{gap}{value:.{digits}f}{gap}", ha=side, va="center", fontsize=10.5)
    ax.set_yticks(places, list(names))
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.grid(visible=False, axis="y")
    ax.margins(x=0.16)


def histogram(ax: Axes, samples: ArrayLike, label: str = "", role: str | int = 0, bins: Any = 40) -> None:
    """A distribution as an outline of unit area, with its mean as a line: two of them can be told apart."""
    values, style = array(samples).ravel(), look(role)
    del style["marker"]
    ax.hist(values, bins=bins, density=True, histtype="stepfilled", alpha=0.25, color=style["color"])
    ax.hist(values, bins=bins, density=True, histtype="step", linewidth=1.6, label=label or None, **style)
    ax.axvline(float(values.mean()), linewidth=1.3, **style)


def heat(
    ax: Axes, matrix: ArrayLike, digits: int | None = None, rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None, limits: tuple[float, float] | None = None, bar: str = "",
) -> None:  # fmt: skip
    """A matrix as coloured cells, each with its number if `digits` is given; NaN (masked) is grey.

    Values of both signs get a scale that diverges from white at 0, others one that is even in lightness.
    `rows` and `columns` name the ticks; `bar` labels a colour bar.
    """
    cells = array(matrix).astype(float)
    low, high = limits or (float(np.nanmin(cells)), float(np.nanmax(cells)))
    signed = low < 0 < high
    if signed:
        low, high = -max(-low, high), max(-low, high)
    colours = "PuOr_r" if signed else "cividis"
    image = ax.imshow(cells, cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    ax.set_facecolor("#D0D0D0")  # seen through NaN
    for (row, column), value in np.ndenumerate(cells):
        if digits is not None and np.isfinite(value):
            red, green, blue, _ = image.to_rgba(value)
            ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
            ax.text(column, row, f"{value:.{digits}f}", ha="center", va="center", color=ink, fontsize=10.5)
    for axis, names in ((ax.yaxis, rows), (ax.xaxis, columns)):
        axis.set_major_locator(MaxNLocator(integer=True))
        if names is not None:
            axis.set_ticks(np.arange(len(names)), list(names))
    ax.grid(visible=False)
    if bar:
        ax.figure.colorbar(image, ax=ax, label=bar, pad=0.02)


def batch(ax: Axes, quantity: ArrayLike, bar: str = "", limits: tuple[float, float] | None = None) -> None:
    """A quantity `[N, E, T]` as it lies in memory: a block to a task, a row to an episode, a column to a t.

    An array `[E, T]` is one block. NaN (a step that was not taken) is grey.
    """
    blocks = array(quantity).astype(float)
    blocks = blocks[None] if blocks.ndim == 2 else blocks
    tasks, episodes, steps = blocks.shape
    heat(ax, blocks.reshape(tasks * episodes, steps), limits=limits, bar=bar)  # [N * E, T]
    ax.hlines(np.arange(1, tasks) * episodes - 0.5, -0.5, steps - 0.5, color="white", linewidth=4)
    ax.set_yticks(np.arange(tasks) * episodes + (episodes - 1) / 2, [f"task {task}" for task in range(tasks)])
    ax.set_xlabel("step t")


def trajectories(
    ax: Axes, positions: ArrayLike, goal: Any = None, label: str = "", role: str | int = "method",
    limit: float | None = 0.65,
) -> None:  # fmt: skip
    """Paths in the plane, `[E, T, 2]` or `[T, 2]`: cross at the start, dot at the end, star on the goal.

    `goal` is `[2]`, or `[G, 2]` for several. The axes reach from -limit to limit.
    """
    paths, style = array(positions), look(role)
    paths, marker = paths[None] if paths.ndim == 2 else paths, style.pop("marker")
    names = [label or None] + [None] * (len(paths) - 1)
    ax.plot(paths[..., 0].T, paths[..., 1].T, linewidth=1.4, alpha=0.75, label=names, **style)
    ax.plot(paths[:, -1, 0], paths[:, -1, 1], linestyle="", marker=marker, markersize=5, color=style["color"])
    ax.plot(paths[:, 0, 0], paths[:, 0, 1], "+", color="black", markersize=9)
    if goal is not None:
        goals = np.atleast_2d(array(goal))
        ax.plot(goals[:, 0], goals[:, 1], "*", markersize=14, color="#F0E442", markeredgecolor="black")
    if limit is not None:
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit))
    ax.set_aspect("equal")


def animate(
    draw: Callable[[Any, Any], None], frames: int | Iterable[Any], alt: str, interval_ms: int = 100,
    width: float = 4.2, height: float = 4.2, columns: int = 1, still: int = -1,
) -> None:  # fmt: skip
    """A film is displayed as a self-contained player; `draw(ax, frame)` draws one frame on cleared axes.

    With `columns` above 1, `draw` gets an array of axes. It sets the limits. The legend is the first frame's.

    Args:
        draw: draws one frame; it need not clear anything.
        frames: a number of frames (`draw` gets 0, 1, ...), or the items that `draw` is to get.
        alt: what the film shows, as for `show`.
        interval_ms: milliseconds from frame to frame.
        width: inches, as in `figure`.
        height: inches.
        columns: number of axes side by side.
        still: the frame that is seen before Play is pressed, and where scripts do not run.

    Raises:
        ValueError: the alt text is too short, or there is no frame.
    """
    require_alt(alt)
    check_callable("axes frame", draw=draw)
    count = integer(frames)
    items = list(frames if count is None else range(count))  # type: ignore[arg-type]
    if not items:
        raise ValueError("animate got no frames; give a positive number or a list that is not empty")
    fig, axes = figure(width, height, columns)
    pictures: list[Image.Image] = []
    for item in items:
        with _style():
            for ax in fig.axes:
                ax.clear()
            draw(axes, item)
        if not pictures:
            legend(fig)
        pictures.append(render(fig, CSS_PIXELS))
        fig.set_layout_engine("none")  # the first frame's layout holds for all: nothing may jump
    page = player(pictures, alt, interval_ms, round(width * CSS_PIXELS), still)
    publish({"text/html": page, "text/plain": f"[Animation: {alt}]"})
