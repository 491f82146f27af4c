"""Applications: methods built of the package's parts, each on the problem that it was made for."""
