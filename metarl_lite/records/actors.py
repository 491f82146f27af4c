"""Trained agents by name: what the recorded runs have left behind."""

from __future__ import annotations

from pathlib import Path

from ..checkpoint import load
from ..policies.gru import GRUPolicy
from ..policies.mlp import MLPPolicy

#: The trained agents that come with the package.
WEIGHTS = Path(__file__).parent / "weights"


def actor(name: str) -> GRUPolicy | MLPPolicy:
    """A trained agent by name.

    Names such as "bandit-k5-n10" or "gridnavi" are RL²'s: a policy with a memory, ready for `trial`. Names such as
    "navigation-maml" are initialisations of gradient steps: a policy without one, ready for `adaptation_curve` or
    `rollout`. `player` plays both.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    known = sorted(f.stem for f in WEIGHTS.glob("*.safetensors"))
    if name not in known:
        raise ValueError(f"no trained agent {name!r}; known are {known}.")
    params = load(WEIGHTS / f"{name}.safetensors")
    kind = MLPPolicy if "w0" in params else GRUPolicy
    policy = kind.from_params(params)
    policy._through_gym = False  # all of them were trained on our own families
    return policy
