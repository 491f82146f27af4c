"""Files: parameters as safetensors, recorded results as JSON. Every write is atomic."""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

from safetensors.torch import load as parse
from safetensors.torch import save as serialise

from .types import Params


def save(params: Params, path: str | os.PathLike[str]) -> None:
    """Writes parameters to a safetensors file, whole or not at all."""
    if not isinstance(params, dict):
        raise ValueError(f"parameters are a dict of tensors, not {type(params).__name__}: save(policy.params(), path).")
    write_atomically(Path(path), serialise({name: p.detach().contiguous() for name, p in params.items()}))


def load(path: str | os.PathLike[str]) -> Params:
    """Reads parameters from a safetensors file; `policy.replace(load(path))` puts them to use.

    Raises:
        ValueError: if there is no such file, or it is not a whole safetensors file.
    """
    try:
        return parse(Path(path).read_bytes())
    except FileNotFoundError:
        raise ValueError(f"no file {str(path)!r} to load parameters from; save(params, path) writes one.") from None
    except Exception as error:
        raise ValueError(
            f"{str(path)!r} is not a whole safetensors file ({error}); it may be truncated or of another format."
        ) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file in one move, so that an interruption leaves the old one or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def recorded(name: str) -> dict[str, Any]:
    """A recorded result by name: its command, configuration, seeds, versions, machine and numbers.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    folder = resources.files(__package__) / "recorded"
    known = sorted(f.name.removesuffix(".json") for f in folder.iterdir() if f.name.endswith(".json"))
    if name not in known:
        raise ValueError(f"no recorded result {name!r}; known are {known}. `python -m metarl_lite list` shows them.")
    record: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return record
