"""What can be known exactly: optima, exact gradients and closed forms to hold the algorithms against."""
