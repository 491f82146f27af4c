"""Pictures in one style: legible on a phone, told apart without colour, and each with an alt text.

General ones are here, `plot.curve(...)`; those of one subject in a module of their own, `plot.beliefs.lattice(...)`.
Only this room imports matplotlib, and never `pyplot`: the user's rcParams and open figures stay as they are.
"""

from . import beliefs, buses, memory, probe, trials
from .charts import (
    animate,
    bars,
    batch,
    curve,
    figure,
    heat,
    histogram,
    legend,
    reference,
    render,
    show,
    trajectories,
)
from .style import array, look

__all__ = [
    "animate",
    "array",
    "bars",
    "batch",
    "beliefs",
    "buses",
    "curve",
    "figure",
    "heat",
    "histogram",
    "legend",
    "look",
    "memory",
    "probe",
    "reference",
    "render",
    "show",
    "trajectories",
    "trials",
]
