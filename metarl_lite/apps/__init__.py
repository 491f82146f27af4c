"""Applications: problems from elsewhere, solved with the parts of this package and held against exact answers."""
