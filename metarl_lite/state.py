"""The state of a run: what the next iteration depends on, and the file that keeps it."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass, field
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

    def restore(self, seen: dict[str, Any]) -> None:
        """Takes up what another history of its kind has seen, `vars(other)`."""
        for name, value in seen.items():
            setattr(self, name, value)

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
        before: the configurations of earlier legs.
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
    before: list[dict[str, Any]] = field(default_factory=list)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the state, whole or not at all."""
        about = {
            "format": FORMAT,
            "identity": self.identity,
            "legs": [*self.before, self.config],
            "iteration": self.iteration,
            "history": vars(self.history),  # JSON keeps every bit of a float, and nan
        }
        text = bytearray(json.dumps(about, sort_keys=True).encode())
        tensors = {"about": torch.frombuffer(text, dtype=torch.uint8)}
        tensors |= {"generator": self.gen.get_state()}
        tensors |= {f"theta/{name}": p for name, p in self.theta.items()}
        adam = {} if self.adam is None else self.adam.state()
        tensors |= {f"adam/{name}": p for name, p in adam.items()}
        save(tensors, path)

    def restore(self, path: str | os.PathLike[str] | None) -> None:
        """Takes up the state of a file where there is one.

        Raises:
            ValueError: if the file is not whole, or holds another run, or a leg from which this one cannot go on. The
                file and this state are left as they are.
        """
        if path is None or not os.path.exists(path):
            if self.leg > 1:
                where = "no checkpoint" if path is None else f"no file {str(path)!r}"
                raise ValueError(
                    f"leg = {self.leg}, but there is {where} to go on from: begin "
                    "with leg=1 and a checkpoint."
                )
            return
        stored = Stored.read(path)
        stored.check_same(self.identity, self.leg, self.config)
        iteration = stored.iteration_of(self.leg, self.config)
        if unknown := not_compared(self.identity):
            warnings.warn(
                f"going on from {str(path)!r}: {', '.join(unknown)} cannot be compared "
                "with what the run began with, and are taken to be the same.",
                stacklevel=4,  # the line that called the algorithm
            )
        with torch.no_grad():
            for name, p in part(stored.tensors, "theta/").items():
                self.theta[name].copy_(p)
        moments = part(stored.tensors, "adam/")
        if self.adam is not None and moments:
            self.adam.restore(moments, iteration)
        self.gen.set_state(stored.tensors["generator"])
        self.history.restore(stored.about["history"])
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
        try:
            tensors["generator"]
            about = json.loads(tensors["about"].numpy().tobytes())
            form = about.get("format", 1)
        except (KeyError, ValueError, AttributeError):
            raise ValueError(
                f"{shown} is not the state of a run but something else; choose another "
                "file."
            ) from None
        if form != FORMAT:
            raise ValueError(
                f"{shown} is in form {form} of such files, and this version of "
                f"metarl_lite reads form {FORMAT} (0.3.0 wrote form 1). Nothing was "
                "overwritten: finish that run with the version that began it, or "
                "choose another file."
            )
        return cls(str(path), tensors, about)

    def check_same(
        self, identity: dict[str, Any], leg: int, config: dict[str, Any]
    ) -> None:
        """Refuses another run, by all that differs; the numbers of its legs are `iteration_of`'s."""
        there, here = dict(self.about["identity"]), dict(identity)
        if leg == len(self.about["legs"]):  # its configuration is to be this one
            there["config"], here["config"] = self.about["legs"][-1], config
        differs = differing(there, here)
        if not differs.keys() - {"config.iterations"}:
            return
        if "algorithm" in differs:
            said = f"its algorithm is {there['algorithm']}, here it is "
            said, hint = said + str(here["algorithm"]), ""
        else:
            said, hint = "; ".join(differs.values()), began_with(differs)
        raise ValueError(
            f"{self.path!r} holds another run: {said}. Nothing was overwritten: choose "
            f"another file, or move this one away.{hint}"
        )

    def iteration_of(self, leg: int, config: dict[str, Any]) -> int:
        """How many iterations of a leg are done; 0 where it is the next one to begin."""
        legs, done = self.about["legs"], self.about["iteration"]
        count = legs[-1]["iterations"]
        finish = f"finish leg {len(legs)} with iterations={count} first, then pass"
        if leg == len(legs) + 1:
            if done < count:
                raise ValueError(
                    f"leg = {leg}, but {self.path!r} holds {done} of the {count} "
                    f"iterations of leg {len(legs)}: {finish} leg={leg}."
                )
            return 0
        if leg != len(legs):
            raise ValueError(
                f"leg = {leg}, but {self.path!r} holds {len(legs)} of them: go on with "
                f"leg={len(legs)}, begin leg={len(legs) + 1}, or choose another file."
            )
        if count != config["iterations"]:
            then = f"{finish} leg={leg + 1}" if done < count else f"pass leg={leg + 1}"
            raise ValueError(
                f"iterations = {config['iterations']}, but {self.path!r} holds a leg "
                f"of {count}, {done} of them done. Its schedule depends on their "
                "number, so more of them are a leg of their own, with a schedule of "
                f"its own: {then}."
            )
        return int(done)


def params_of(path: str | os.PathLike[str]) -> Params:
    """What the policy has learned, from the file of a run: `MLPPolicy.from_params(params_of("run.ck"))` is that policy.

    For a run of `rl2` that is `GRUPolicy`'s or `BeliefPolicy`'s; with the policy of the start it is `policy.replace`.

    Raises:
        ValueError: if there is no such file, or it is not the whole state of a run.
    """
    return part(Stored.read(path).tensors, "theta/")


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


def not_compared(identity: dict[str, Any]) -> list[str]:
    """What of a run cannot be told from another of its kind, by dotted name."""
    found = []
    for name, value in flattened(identity).items():
        owner, _, last = name.rpartition(".")
        if last == "not compared":
            found += [f"{owner}.{one}" for one in value]
    return found


def differing(there: dict[str, Any], here: dict[str, Any]) -> dict[str, str]:
    """What differs between two descriptions of a run, by dotted name, in words."""
    old = flattened(there)
    new = flattened(json.loads(json.dumps(here)))  # tuples are lists in a file
    found = {}
    for name in sorted(old.keys() | new.keys()):
        a, b = old.get(name, "absent"), new.get(name, "absent")
        if a != b and repr(a) != repr(b):  # nan is not equal to itself
            found[name] = f"{name} is {shortened(a)} there, {shortened(b)} here"
    return found


def began_with(differs: dict[str, str]) -> str:
    """The advice where what a run began with is not what it is to go on with."""
    made = {name for name in differs if name.split(".")[0] in ("generator", "policy")}
    options = made - {"generator", "policy.parameters"}
    named = " and the options named there" if options else ""
    hint = (
        " A run goes on with the policy and the generator that it began with: make "
        f"them anew, with the same seed{named}."
    )
    return hint if made else ""


def shortened(value: Any) -> str:
    """A value as a message shows it, and as one types it: lists of a file were tuples."""
    text = str(tuple(value) if isinstance(value, list) else value)
    return text if len(text) <= 100 else f"{text[:97]}..."
