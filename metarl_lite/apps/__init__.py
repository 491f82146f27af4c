"""Applications: problems from elsewhere, solved with the two loops of this package and held against exact answers."""
