"""Files are whole or not there, and say clearly what is wrong with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from metarl_lite import checkpoint
from metarl_lite.checkpoint import load, recorded, save
from metarl_lite.policies import MLPPolicy
from metarl_lite.rng import generator


def test_what_is_saved_is_loaded_to_the_bit(tmp_path: Path) -> None:
    policy = MLPPolicy(2, 2, generator(0))
    save(policy.params(), tmp_path / "a.safetensors")
    again = policy.replace(load(tmp_path / "a.safetensors"))
    for name, p in policy.params().items():
        assert torch.equal(p, again.params()[name])


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    save({"w": torch.ones(3)}, path)

    def crash(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        save({"w": torch.zeros(3)}, path)
    assert load(path)["w"].tolist() == [1, 1, 1]


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save({"w": torch.ones(300)}, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file .*b\.safetensors"):
        load(tmp_path / "b.safetensors")


def test_an_unknown_record_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"no recorded result 'nonsense'; known are \[.*maml-navigation"):
        recorded("nonsense")


def test_records_say_how_they_were_made() -> None:
    folder = Path(checkpoint.__file__).parent / "recorded"
    for path in folder.glob("*.json"):
        record = recorded(path.stem)
        assert {"name", "command", "config", "versions", "machine", "runs"} <= set(record)
        assert record["command"].endswith(record["name"])
