"""What is recorded in `recorded/`: every experiment, its configuration and its runs.

A run is a function of the configuration that gives a JSON-able dict. `python -m metarl_lite reproduce NAME` runs them.
"""

from . import bus_grid, imitation, initialisations, maml, one_shot, rl2, rl2_mdps, scoreboard, versus
from .base import FRESH_SEED, TEST_SEED, Experiment
from .maml import TUNED, cost

#: Every experiment by name.
EXPERIMENTS: dict[str, Experiment] = (
    maml.EXPERIMENTS
    | initialisations.EXPERIMENTS
    | rl2.EXPERIMENTS
    | rl2_mdps.EXPERIMENTS
    | scoreboard.EXPERIMENTS
    | bus_grid.EXPERIMENTS
    | versus.EXPERIMENTS
    | imitation.EXPERIMENTS
    | one_shot.EXPERIMENTS
)

__all__ = ["EXPERIMENTS", "FRESH_SEED", "TEST_SEED", "TUNED", "Experiment", "cost"]
