"""How things look in every picture: a colour, a line style and a marker to each role.

The colours are those of Okabe and Ito (2008), which readers with a common colour deficiency can tell apart.
Line style and marker say the same once more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from cycler import cycler
from numpy.typing import NDArray

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
ROLES = {
    "adapted": 0,
    "method": 0,
    "before": 1,
    "rival": 1,
    "scratch": 2,
    "agnostic": 3,
    "recorded": 4,
    "sample": 5,
}
INK = {"oracle": "#000000", "published": "#5A3D8A", "chance": "#707070", "reference": "#404040"}
RC: dict[str, Any] = {  # matplotlib's parameters
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "axes.titlesize": 12.5,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=COLOURS, linestyle=LINES),
    "grid.color": "#E2E2E2",
    "grid.linewidth": 0.7,
    "lines.linewidth": 2.0,
    "lines.markersize": 5.5,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "text.color": "black",
}


def array(values: Any) -> NDArray[Any]:
    """Anything numeric is an array: a tensor (detached, on the CPU), a list of tensors, a list, a number."""
    if isinstance(values, (list, tuple)):
        return np.asarray([array(value) for value in values])
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values)


def look(role: str | int) -> dict[str, Any]:
    """A role has one colour, line style and marker: a name from `ROLES` or `INK`, or a number counted from 0.

    The result goes straight into matplotlib, as in `ax.plot(x, y, **look("adapted"))`.

    Raises:
        ValueError: the name is unknown; the message lists those that there are.
    """
    if isinstance(role, str) and role in INK:
        return {"color": INK[role], "linestyle": "--", "marker": "x"}
    if isinstance(role, str) and role not in ROLES:
        known = ", ".join([*ROLES, *INK])
        raise ValueError(f"role {role!r} is unknown; use one of {known}, or a number from 0 to {len(COLOURS) - 1}")
    index = (ROLES[role] if isinstance(role, str) else role) % len(COLOURS)
    return {"color": COLOURS[index], "linestyle": LINES[index], "marker": MARKERS[index]}
