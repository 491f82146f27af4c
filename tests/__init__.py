"""The tests, as a package: `python -m tests.benchmarks` is what `make bench` runs."""
