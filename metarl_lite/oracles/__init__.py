"""What can be known exactly: optima, exact gradients and closed forms to hold the algorithms against."""

from .estimators import MetaGradients, one_parameter_meta_gradient, tabular_meta_gradient

__all__ = ["MetaGradients", "one_parameter_meta_gradient", "tabular_meta_gradient"]
