"""What the house needs and a reader does not: running notebooks, finding a browser, the address."""
