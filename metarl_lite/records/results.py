"""Recorded results by name, as JSON: command, configuration, seeds, versions, machine and numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: The recorded results that come with the package.
RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> dict[str, Any]:
    """A recorded result by name: its command, configuration, seeds, versions, machine and numbers.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    known = sorted(path.stem for path in RECORDED.glob("*.json"))
    if name not in known:
        raise ValueError(
            f"no recorded result {name!r}; known are {known}. `python -m metarl_lite "
            "list` shows them."
        )
    record: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())
    return record


def total_steps(agent: str, folder: Path = RECORDED) -> int:
    """Steps of the environment that a recorded agent was trained for, with those of the agents that it began with.

    Raises:
        ValueError: if no record in the folder has that agent.
    """
    for path in sorted(folder.glob("*.json")):
        for run in json.loads(path.read_text())["runs"].values():
            if run.get("weights") == agent:
                return int(run["total_steps"])
    raise ValueError(f"no record in {str(folder)!r} says how {agent!r} was trained.")
