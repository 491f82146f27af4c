"""The benchmark: `make bench`, or `python -m tests.benchmarks [NAME ...] [--list] [--against REVISION]`.

Each line is printed, and written to `_build/bench.json` (`{"versions": {...}, "rows": [{name, value, unit, target,
holds}]}`), when it is measured. NAME is a measurement or the beginning of some, such as `rl2`; `--list` tells them. One
torch thread. Absolute targets are for a quiet machine; the matrix product that the table begins with tells how yours
compares. With `--against`, another revision and this tree are measured in turn, and the ratio of the two is told.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from . import against, growth, navigation, trials
from .rows import Measurement, measure

BUILD = Path("_build")
MEASUREMENTS: dict[str, Measurement] = {
    "yardstick": navigation.yardstick,
    "sampling": navigation.sampling,
    "iteration": navigation.iteration,
    "maml": navigation.to_minus_18,
    "maml-tuned": navigation.tuned,
    "rl2-bandit": trials.bandit,
    "rl2-gridnavi": trials.gridnavi,
    "cost": growth.cost,
}


def named(names: list[str], known: dict[str, Measurement]) -> dict[str, Measurement]:
    """The measurements whose names begin like one of these, or all of them where there is none."""
    unknown = [name for name in names if not any(one.startswith(name) for one in known)]
    if unknown:
        raise SystemExit(f"no measurement begins with {unknown[0]!r}; there are: {', '.join(known)}")
    return {one: work for one, work in known.items() if not names or one.startswith(tuple(names))}


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("names", nargs="*", help="the beginnings of some measurements, in place of all")
    parser.add_argument("--list", action="store_true", help="tell the names, and measure nothing")
    parser.add_argument("--against", metavar="REVISION", help="this tree and another revision in turn, such as v0.3.0")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if not options.against:
        chosen, path = named(options.names, MEASUREMENTS), BUILD / "bench.json"
        if options.list:
            print("\n".join(chosen))
            return
        measure(chosen, path)
    else:
        path = BUILD / "bench_against.json"
        with against.both(options.against) as pair:
            measure(named(options.names, against.measurements(pair)), path)
    print(f"written: {path}")


if __name__ == "__main__":
    sys.exit(main())
