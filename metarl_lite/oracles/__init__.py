"""What can be known exactly: optima, exact gradients and closed forms to hold the algorithms against."""

from .bandits import eleven_arms_value
from .bayes import (
    bayes_optimal,
    bayes_optimal_two_arms,
    bayes_optimal_value,
    dependent_arms_regret,
)
from .estimators import (
    MetaGradients,
    one_parameter_meta_gradient,
    tabular_meta_gradient,
)
from .gittins import gittins_index, gittins_table
from .grid import (
    gridnavi_agnostic_value,
    gridnavi_known_value,
    gridnavi_optimal_path,
    gridnavi_optimal_value,
    search_grid,
)
from .posterior import known_mdp_value, learn_mdps
from .two_step import two_step_optimal_value

__all__ = [
    "MetaGradients",
    "bayes_optimal",
    "bayes_optimal_two_arms",
    "bayes_optimal_value",
    "dependent_arms_regret",
    "eleven_arms_value",
    "gittins_index",
    "gittins_table",
    "gridnavi_agnostic_value",
    "gridnavi_known_value",
    "gridnavi_optimal_path",
    "gridnavi_optimal_value",
    "known_mdp_value",
    "learn_mdps",
    "one_parameter_meta_gradient",
    "search_grid",
    "tabular_meta_gradient",
    "two_step_optimal_value",
]
