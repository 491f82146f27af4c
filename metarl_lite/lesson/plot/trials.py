"""Pictures of chapter 12: a search on a grid, step by step, and differences to a rival with how sure they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from torch import Tensor

from ...types import Rollout
from .style import array, look

#: A difference and its standard error.
Measured = tuple[float, float]


def visited(batch: Rollout, size: int) -> Tensor:
    """The cells of trials on `GridGoal`, (column, row) after each move, `[N, E, T, 2]`, read off what was observed."""
    seen = torch.cat([batch.observations[:, :, 1:], batch.last_observations.unsqueeze(2)], 2).argmax(-1)  # [N, E, T]
    return torch.stack([seen // size, seen % size], -1)


def search(ax: Axes, cells: ArrayLike, goal: ArrayLike, size: int, moves: int, title: str = "") -> None:
    """A trial on `GridGoal` after so many moves: where the agent is, where it has been, and where the goal is.

    Cells that it saw in this trial are shaded, darker the more recent the episode; the line is its way through this
    episode from the start, marked by a cross. The star is hollow until the agent has stood on it.

    Args:
        ax: where to draw.
        cells: `[E, T, 2]`, (column, row) after each move.
        goal: `[2]`.
        size: cells to a side.
        moves: how many of the E T moves have been made; 0 is the start.
        title: what is written above, before the episode and the step.

    Raises:
        ValueError: if there are not so many moves.
    """
    path, star = array(cells), array(goal)
    episodes, steps = path.shape[:2]
    if not 0 <= moves <= episodes * steps:
        raise ValueError(f"moves = {moves}: from 0 to {episodes * steps}, the moves of the trial, can be drawn.")
    made = path.reshape(-1, 2)[:moves]
    now = max(moves - 1, 0) // steps  # the episode of the last move
    last_seen = np.full((size, size), np.nan)  # the last episode in which a cell was stood on
    for e in range(now + 1):
        last_seen[0, 0] = e
        for column, row in made[e * steps : (e + 1) * steps]:
            last_seen[row, column] = e
    ax.imshow(
        last_seen - now, origin="lower", cmap="Blues", vmin=-episodes - 1, vmax=6, interpolation="nearest", zorder=0
    )  # fmt: skip
    way = np.concatenate([[[0, 0]], made[now * steps :]])
    found = bool((made == star).all(-1).any())
    ax.plot(*star, "*", markersize=22, color="#F0E442" if found else "white", markeredgecolor="black", zorder=2)
    ax.plot(*way.T, color="black", linestyle="-", linewidth=1.6, zorder=3)
    ax.plot(0, 0, "+", color="black", markersize=10, zorder=3)
    ax.plot(*way[-1], markersize=9, zorder=4, **look("adapted") | {"linestyle": ""}, markeredgecolor="white")
    ax.set_xticks(np.arange(size) - 0.5, [""] * size)
    ax.set_yticks(np.arange(size) - 0.5, [""] * size)
    ax.tick_params(length=0)
    ax.set(xlim=(-0.5, size - 0.5), ylim=(-0.5, size - 0.5), aspect="equal", title=title)
    ax.set_xlabel(f"episode {now + 1}, step {moves - now * steps}" + (", found" if found else ""))


def differences(
    ax: Axes, names: Sequence[str], published: Sequence[Measured | None], ours: Sequence[Measured | None]
) -> None:
    """Published and own differences of each row, one above the other, with two standard errors to either side.

    A row without an own number says so; one without a published number has our own alone.
    """
    places = np.arange(len(names), dtype=float)[::-1]
    for shift, label, role, column in (
        (0.16, "published", "published", published),
        (-0.16, "ours", "adapted", ours),
    ):
        known = [(place + shift, *pair) for place, pair in zip(places, column, strict=True) if pair is not None]
        if known:
            at, centre, error = np.asarray(known).T
            style = look(role) | {"linestyle": "", "markersize": 7}
            ax.errorbar(centre, at, xerr=2 * error, label=label, elinewidth=2, capsize=3, **style)
    for place, pair in zip(places, ours, strict=True):
        if pair is None:
            ax.text(
                0.02, place - 0.16, "ours not yet recorded", transform=ax.get_yaxis_transform(), va="center",
                fontsize=10.5, color=look("chance")["color"],
            )  # fmt: skip
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(places, list(names))
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.grid(visible=False, axis="y")
