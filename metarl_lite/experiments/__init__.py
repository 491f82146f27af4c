"""What is recorded in `recorded/`: every experiment, its configuration and its runs.

A run is a function of the configuration that gives a JSON-able dict. `python -m metarl_lite reproduce NAME` runs them.
"""

from . import initialisations, maml, rl2, rl2_mdps, scoreboard
from .base import FRESH_SEED, TEST_SEED, Experiment
from .maml import TUNED, cost

#: Every experiment by name.
EXPERIMENTS: dict[str, Experiment] = (
    maml.EXPERIMENTS | initialisations.EXPERIMENTS | rl2.EXPERIMENTS | rl2_mdps.EXPERIMENTS | scoreboard.EXPERIMENTS
)

__all__ = ["EXPERIMENTS", "FRESH_SEED", "TEST_SEED", "TUNED", "Experiment", "cost"]
