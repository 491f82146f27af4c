"""One line of the benchmark's table."""

from __future__ import annotations

from typing import Any


def row(name: str, value: float, unit: str, target: float | None = None, at_least: bool = True) -> dict[str, Any]:
    """One line of the table; a row without target holds."""
    holds = target is None or (value >= target if at_least else value <= target)
    sign = "" if target is None else ">= " if at_least else "<= "
    shown = None if target is None else f"{sign}{target:g}"
    return {"name": name, "value": round(value, 4), "unit": unit, "target": shown, "holds": bool(holds)}
