"""The state of a run: what the next iteration depends on, and the file that keeps it."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch

from .checkpoint import load, save
from .policies.base import Policy
from .tasks.base import TaskDistribution, digest
from .types import Params

#: The form of a run's file; another one is not read.
FORMAT = 2


@dataclass(repr=False)
class History:
    """What training saw: lists with one entry for each iteration, over all legs of the run."""

    steps: int = field(default=0, kw_only=True)  # of the environment, all in all

    def add(self, seen: dict[str, Any]) -> None:
        """Notes one iteration: its `steps` are added up, everything else is appended."""
        for name, value in seen.items():
            if name == "steps":
                self.steps += value
            else:
                getattr(self, name).append(value)

    def state(self) -> Params:
        """The lists as tensors, exactly."""
        lists = {n: v for n, v in asdict(self).items() if isinstance(v, list)}
        return {n: torch.tensor(v, dtype=torch.float64) for n, v in lists.items()}

    def restore(self, state: Params, steps: int) -> None:
        """Takes up what `state` gave."""
        self.steps = steps
        for name, values in state.items():
            getattr(self, name)[:] = values.tolist()

    def __repr__(self) -> str:
        returns = getattr(self, "returns", [])
        parts = (
            returns[-1] if returns and isinstance(returns[-1], list) else returns[-1:]
        )
        shown = (
            f", last return {', '.join(f'{r:.2f}' for r in parts)}" if returns else ""
        )
        return f"{type(self).__name__}({len(returns)} iterations{shown})"


def identity(
    algorithm: str,
    tasks: TaskDistribution,
    policy: Policy,
    gen: torch.Generator,
    **options: Any,
) -> dict[str, Any]:
    """What sets a run apart from others, besides its configuration: a file of another run is refused.

    The family with its parameter ranges and its horizon, the network with a digest of its initial parameters, the state
    of the generator at the start, and the algorithm with its options.
    """
    return {
        "algorithm": algorithm,
        **options,
        "family": tasks.identity(),
        "policy": policy.identity(),
        "generator": digest({"state": gen.get_state()}),
    }


@dataclass
class State:
    """A run, between two iterations: all that the next one depends on.

    Attributes:
        policy: the network; the parameters that it carries are those where training started.
        theta: what is learned; changed in place.
        adam: its optimiser, a `ClippedAdam`; None for an update that has none.
        gen: the run's source of chance.
        history: what was seen so far; changed in place.
        config: the numbers of this leg, JSON-able, with `iterations`.
        identity: what sets this run apart from others, JSON-able; see `identity`.
        leg: which leg of the run this is, counted from 1. A further leg goes on from the end of the one before with
            a configuration, and so a schedule, of its own.
        iteration: how many iterations of this leg are done.
    """

    policy: Any
    theta: Params
    adam: Any
    gen: torch.Generator
    history: Any
    config: dict[str, Any]
    identity: dict[str, Any]
    leg: int = 1
    iteration: int = 0
    before: list[dict[str, Any]] = field(
        default_factory=list
    )  # configs of earlier legs

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the state, whole or not at all."""
        about = {
            "format": FORMAT,
            "identity": self.identity,
            "legs": [*self.before, self.config],
            "iteration": self.iteration,
            "steps": self.history.steps,
        }
        text = json.dumps(about, sort_keys=True).encode()
        tensors = {"about": torch.tensor(list(text), dtype=torch.uint8)}
        tensors |= {"generator": self.gen.get_state()}
        tensors |= {f"theta/{name}": p for name, p in self.theta.items()}
        adam = {} if self.adam is None else self.adam.state()
        tensors |= {f"adam/{name}": p for name, p in adam.items()}
        tensors |= {f"history/{name}": p for name, p in self.history.state().items()}
        save(tensors, path)

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Takes up the state of a file where there is one.

        Raises:
            ValueError: if the file is not whole, or holds another run, or a leg from which this one cannot go on. The
                file and this state are left as they are.
        """
        if not Path(path).exists():
            if self.leg > 1:
                raise ValueError(
                    f"leg = {self.leg}, but there is no file {str(path)!r} to go on "
                    "from: begin with leg=1."
                )
            return
        stored = Stored.read(path)
        stored.check_same(stored.about["identity"], self.identity)
        if unknown := self.identity["family"].get("not compared"):
            warnings.warn(
                f"going on from {str(path)!r}: {', '.join(unknown)} of the family "
                "cannot be compared with what the run began with, and are taken to be "
                "the same.",
                stacklevel=4,
            )
        iteration = stored.iteration_of(self.leg, self.config)
        with torch.no_grad():
            for name, p in part(stored.tensors, "theta/").items():
                self.theta[name].copy_(p)
        moments = part(stored.tensors, "adam/")
        if self.adam is not None and moments:
            self.adam.restore(moments, iteration)
        self.gen.set_state(stored.tensors["generator"])
        self.history.restore(part(stored.tensors, "history/"), stored.about["steps"])
        self.before = stored.about["legs"][: self.leg - 1]
        self.iteration = iteration


@dataclass(frozen=True)
class Stored:
    """The file of a run, as it was read."""

    path: str
    tensors: Params
    about: dict[str, Any]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a file that `State.save` has written."""
        tensors, shown = load(path), repr(str(path))
        if not {"about", "generator"} <= set(tensors):
            raise ValueError(
                f"{shown} is not the state of a run but something else; choose another "
                "file."
            )
        about = json.loads(bytes(tensors["about"].tolist()))
        if about.get("format") != FORMAT:
            raise ValueError(
                f"{shown} is in form {about.get('format', 1)} of such files, and this "
                f"version of metarl_lite reads form {FORMAT} (0.3.0 wrote form 1). "
                "Nothing was overwritten: finish that run with the version that began "
                "it, or choose another file."
            )
        return cls(str(path), tensors, about)

    def check_same(self, there: dict[str, Any], here: dict[str, Any]) -> None:
        """Refuses another run, by all that differs."""
        old, new = flattened(there), flattened(here)
        differs = [
            f"{name} is {old.get(name, 'absent')} there, {new.get(name, 'absent')} here"
            for name in sorted(old.keys() | new.keys())
            if old.get(name, "absent") != new.get(name, "absent")
        ]
        if differs:
            raise ValueError(
                f"{self.path!r} holds another run: {'; '.join(differs)}. Nothing was "
                "overwritten: choose another file, or move this one away."
            )

    def iteration_of(self, leg: int, config: dict[str, Any]) -> int:
        """How many iterations of a leg are done; 0 where it is the next one to begin."""
        legs, done = self.about["legs"], self.about["iteration"]
        if leg == len(legs) + 1:
            if done < legs[-1]["iterations"]:
                raise ValueError(
                    f"{self.path!r}: leg {len(legs)} has done {done} of its "
                    f"{legs[-1]['iterations']} iterations; finish it before leg {leg}."
                )
            return 0
        if leg != len(legs):
            raise ValueError(
                f"leg = {leg}, but {self.path!r} holds {len(legs)} of them: go on with "
                f"leg={len(legs)}, begin leg={len(legs) + 1}, or choose another file."
            )
        there = legs[-1]
        more = {"iterations": config["iterations"]}
        self.check_same(there | more, config)
        if there["iterations"] != config["iterations"]:
            raise ValueError(
                f"{self.path!r} holds a run of {there['iterations']} iterations, "
                f"{config['iterations']} are asked for. More of them are a leg of "
                "their own, with a schedule of its own: finish this one with "
                f"iterations={there['iterations']}, then pass leg={leg + 1}."
            )
        return int(done)


def part(state: Params, prefix: str) -> Params:
    """The entries under a prefix, without it."""
    return {
        name.removeprefix(prefix): p
        for name, p in state.items()
        if name.startswith(prefix)
    }


def flattened(nested: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested dicts by dotted name."""
    if not isinstance(nested, dict):
        return {prefix: nested}
    found: dict[str, Any] = {}
    for name, value in nested.items():
        found |= flattened(value, f"{prefix}.{name}" if prefix else str(name))
    return found
