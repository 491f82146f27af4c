"""Files: parameters and runs as safetensors, recorded results as JSON. Every write is atomic."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as parse
from safetensors.torch import save as serialise

from .optim import ClippedAdam
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


@dataclass
class Training:
    """Everything that a run needs to go on as if it had not been interrupted.

    Attributes:
        theta: what is learned; changed in place.
        adam: its optimiser.
        gen: the run's source of chance.
        history: a dataclass of lists of numbers; changed in place.
        about: what sets this run apart from others, JSON-able; a file of another run is refused.
    """

    theta: Params
    adam: ClippedAdam
    gen: torch.Generator
    history: Any
    about: dict[str, Any]

    def save(self, path: str | os.PathLike[str], iteration: int) -> None:
        """Writes the state after `iteration` iterations, whole or not at all."""
        about = torch.tensor(list(json.dumps(self.about, sort_keys=True).encode()), dtype=torch.uint8)
        tensors = {"about": about, "generator": self.gen.get_state(), "iteration": torch.tensor(iteration)}
        tensors |= {f"theta/{name}": p for name, p in self.theta.items()}
        tensors |= {f"adam/{name}": p for name, p in self.adam.state().items()}
        tensors |= {f"history/{k}": torch.tensor(v, dtype=torch.float64) for k, v in asdict(self.history).items()}
        save(tensors, path)

    def restore(self, path: str | os.PathLike[str]) -> int:
        """Takes up the state of a file, and gives the iterations that were done; 0 where there is no file.

        Raises:
            ValueError: if the file is not whole, or the state of another run; it is left as it is.
        """
        if not Path(path).exists():
            return 0
        state = load(path)
        if not {"about", "generator", "iteration"} <= set(state):
            raise ValueError(f"{str(path)!r} is not the state of a run but something else; choose another file.")
        there = json.loads(bytes(state["about"].tolist()))
        shapes = {name: (*p.shape, str(p.dtype)) for name, p in part(state, "theta/").items()}
        mine = {name: (*p.shape, str(p.dtype)) for name, p in self.theta.items()}
        other = {k: (there.get(k), v) for k, v in self.about.items() if there.get(k) != v} or shapes != mine
        if other:
            differs = other if isinstance(other, dict) else f"parameters {shapes} there, {mine} here"
            raise ValueError(
                f"{str(path)!r} holds a run of another kind (there, here): {differs}. Nothing was overwritten: "
                "choose another file, or move this one away."
            )
        with torch.no_grad():
            for name, p in part(state, "theta/").items():
                self.theta[name].copy_(p)
        self.adam.restore(part(state, "adam/"), int(state["iteration"]))
        self.gen.set_state(state["generator"])
        for name, values in part(state, "history/").items():
            getattr(self.history, name)[:] = values.tolist()
        return int(state["iteration"])


def part(state: Params, prefix: str) -> Params:
    """The entries under a prefix, without it."""
    return {name.removeprefix(prefix): p for name, p in state.items() if name.startswith(prefix)}
