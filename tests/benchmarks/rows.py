"""Lines of the benchmark's table: each is shown and written when it is measured, so nothing is lost by Ctrl-C."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One line; `target` says what is hoped for, such as "<= 0.2", and a line without one holds."""

    name: str
    value: float
    unit: str
    target: str | None
    holds: bool

    def __str__(self) -> str:
        verdict = "" if self.target is None else f"target {self.target:8s} {'holds' if self.holds else 'MISSED'}"
        return f"{self.name:56s} {self.value:12.4g} {self.unit:14s} {verdict}".rstrip()


#: What a measurement is: a function that yields its lines one by one.
Measurement = Callable[[], Iterator[Row]]


def row(name: str, value: float, unit: str, target: float | None = None, at_least: bool = True) -> Row:
    """One line of the table."""
    holds = target is None or (value >= target if at_least else value <= target)
    sign = "" if target is None else ">= " if at_least else "<= "
    shown = None if target is None else f"{sign}{target:g}"
    return Row(name, round(value, 6), unit, shown, bool(holds))


def versions() -> dict[str, str]:
    """What was measured with."""
    found = {name: metadata.version(name) for name in ("numpy", "torch", "gymnasium")}
    return found | {"python": platform.python_version(), "machine": platform.machine()}


def write(rows: list[Row], path: Path) -> None:
    """The table as JSON; a reader never meets half a file."""
    path.parent.mkdir(exist_ok=True)
    half = path.with_suffix(".part")
    half.write_text(json.dumps({"versions": versions(), "rows": [asdict(one) for one in rows]}, indent=1) + "\n")
    os.replace(half, path)


def measure(measurements: dict[str, Measurement], path: Path) -> list[Row]:
    """Takes the measurements one after the other; each line is printed and written as soon as it is known."""
    rows: list[Row] = []
    for name, measurement in measurements.items():
        start = time.monotonic()
        for one in measurement():
            rows.append(one)
            print(one, flush=True)
            write(rows, path)
        print(f"-- {name}: {time.monotonic() - start:.0f} s", flush=True)
    return rows
