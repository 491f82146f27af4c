"""Trained agents are found by name, are what was saved, and act."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from metarl_lite.checkpoint import save
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.records import actors
from metarl_lite.records.actors import WEIGHTS, actor
from metarl_lite.rng import generator

SHIPPED = sorted(WEIGHTS.glob("*.safetensors"))


def test_an_unknown_agent_lists_the_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "WEIGHTS", tmp_path)
    for name in ("second", "first"):
        save(GRUPolicy(3, 2, generator(0), hidden=4).params(), tmp_path / f"{name}.safetensors")
    (tmp_path / "notes.txt").write_text("no agent")
    with pytest.raises(ValueError, match=r"no trained agent 'third'; known are \['first', 'second'\]"):
        actor("third")


def test_an_agent_is_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "WEIGHTS", tmp_path)
    policy = GRUPolicy(3, 2, generator(0), hidden=4, discrete=False, separate=True)
    save(policy.params(), tmp_path / "mine.safetensors")
    again = actor("mine")
    assert (again.hidden, again.discrete, again.separate) == (4, False, True)
    assert all(torch.equal(p, again.params()[name]) for name, p in policy.params().items())


def test_agents_come_with_the_package_and_are_small() -> None:
    assert {"bandit-k5-n10", "gridnavi"} <= {path.stem for path in SHIPPED}
    assert sum(path.stat().st_size for path in SHIPPED) <= 6e6


@pytest.mark.parametrize("name", [path.stem for path in SHIPPED])
def test_an_agent_that_comes_with_the_package_acts(name: str) -> None:
    policy = actor(name)
    memory, action, reward, done = policy.first(2)
    x = policy.input(torch.ones(2, policy.observation_size), action, reward, done)
    params = policy.params()
    for output in policy.distribution(params, policy.remember(params, memory, x)).values():
        assert torch.isfinite(output).all()
