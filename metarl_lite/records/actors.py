"""Trained agents by name: what the recorded runs have left behind."""

from __future__ import annotations

from pathlib import Path

from ..checkpoint import load
from ..policies.gru import GRUPolicy

#: The trained agents that come with the package.
WEIGHTS = Path(__file__).parent / "weights"


def actor(name: str) -> GRUPolicy:
    """A trained agent by name, such as `actor("bandit-k5-n10")`: a policy with a memory, ready for `trial`.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    known = sorted(f.stem for f in WEIGHTS.glob("*.safetensors"))
    if name not in known:
        raise ValueError(f"no trained agent {name!r}; known are {known}.")
    return GRUPolicy.from_params(load(WEIGHTS / f"{name}.safetensors"))
