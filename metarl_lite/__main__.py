"""The command line: `python -m metarl_lite reproduce maml-navigation`, and `list` for all that is recorded."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from .checkpoint import write_atomically
from .experiments import EXPERIMENTS
from .records.results import RECORDED

try:
    import typer
except ImportError:
    raise SystemExit(
        f"the command line needs typer: {sys.executable} -m pip install typer rich"
    ) from None

app = typer.Typer(add_completion=False, help="Recorded results of metarl_lite.")


@app.command("list")
def list_records() -> None:
    """Names of all recorded results, and whether each is there and complete."""
    for name, experiment in EXPERIMENTS.items():
        record = _read(RECORDED / f"{name}.json")
        done = (
            f"{len(record['runs'])} of {len(experiment.runs)} runs"
            if record
            else "not recorded"
        )
        typer.echo(f"{name:20s} {done:16s} {experiment.summary}")


@app.command()
def reproduce(name: str, folder: Path = RECORDED, quick: bool = False) -> None:
    """Runs a recorded experiment again. Interrupt it as you like: finished runs are kept, and the next call goes on.

    With --quick, two iterations of the first run only, in a temporary folder: a check that it works.
    """
    if name not in EXPERIMENTS:
        raise SystemExit(f"no experiment {name!r}; known are {', '.join(EXPERIMENTS)}.")
    torch.set_num_threads(1)
    config, runs = EXPERIMENTS[name].config, EXPERIMENTS[name].runs
    if quick:
        config, runs = replace(config, iterations=2), dict(list(runs.items())[:1])
        folder = Path(tempfile.mkdtemp()) if folder == RECORDED else folder
    path = folder / f"{name}.json"
    record = _read(path)
    if record and asdict(type(config)()) | record["config"] != asdict(
        config
    ):  # younger fields had their defaults
        raise SystemExit(
            f"{path} holds runs of another configuration; move it away, or choose "
            "another --folder."
        )
    record = record or {
        "name": name,
        "command": f"python -m metarl_lite reproduce {name}",
        "config": asdict(config),
    }
    record |= {"versions": _versions(), "machine": _machine()}
    record.setdefault("runs", {})
    missing = [key for key in runs if key not in record["runs"]]
    for key in missing:
        typer.echo(f"{name}: {key} ({len(record['runs']) + 1} of {len(runs)})")
        record["runs"][key] = runs[key](config, folder)
        write_atomically(path, (json.dumps(record, indent=1) + "\n").encode())
    typer.echo(f"{name}: {len(record['runs'])} runs in {path}")
    if not missing:
        typer.echo(
            "All of them were there already. To run them again choose an empty "
            "folder: --folder ELSEWHERE."
        )


def _read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def _versions() -> dict[str, str]:
    own = {name: metadata.version(name) for name in ("numpy", "torch", "gymnasium")}
    return {"python": platform.python_version(), **own}


def _machine() -> str:
    return f"{platform.machine()}, one thread of {os.cpu_count()} cores"


if __name__ == "__main__":
    app()
