"""Files are whole or not there, and say clearly what is wrong with them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from metarl_lite.checkpoint import Training, load, save
from metarl_lite.optim import ClippedAdam
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.records import actors
from metarl_lite.records.actors import WEIGHTS, actor
from metarl_lite.records.results import RECORDED, recorded
from metarl_lite.rng import generator, normal


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
    paths = sorted(RECORDED.glob("*.json"))
    assert "maml-navigation" in [path.stem for path in paths]
    for path in paths:
        record = recorded(path.stem)
        assert {"name", "command", "config", "versions", "machine", "runs"} <= set(record)
        assert record["command"].endswith(record["name"])


# --- Trained agents ---------------------------------------------------------------------------------------------------


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


def test_the_agents_that_come_with_the_package_act_and_are_small() -> None:
    paths = sorted(WEIGHTS.glob("*.safetensors"))
    assert "bandit-k5-n10" in [path.stem for path in paths]
    for path in paths:
        policy = actor(path.stem)
        memory, action, reward, done = policy.first(2)
        x = policy.input(torch.ones(2, policy.observation_size), action, reward, done)
        params = policy.params()
        for output in policy.distribution(params, policy.remember(params, memory, x)).values():
            assert torch.isfinite(output).all(), path.name
    assert sum(path.stat().st_size for path in paths) <= 6e6


# --- Runs that go on --------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    loss: list[float] = field(default_factory=list)


def run(about: dict[str, Any] | None = None, dtype: torch.dtype = torch.float32, size: int = 3) -> Training:
    theta = {"w": torch.zeros(2, size, dtype=dtype).requires_grad_(), "b": torch.ones(2, dtype=dtype).requires_grad_()}
    return Training(theta, ClippedAdam(theta, 0.1, 0.0, 10, 1.0), generator(0), Seen(), about or {"lr": 0.1, "n": None})


def go_on(state: Training, first: int, last: int) -> None:
    for _ in range(first, last):
        norm = state.adam.step([normal(tuple(p.shape), state.gen, p.dtype) for p in state.theta.values()])
        state.adam.end_iteration()
        state.history.loss.append(norm)


def test_a_run_goes_on_as_if_it_had_not_been_interrupted(tmp_path: Path) -> None:
    whole, half, other = run(), run(), run()
    go_on(whole, 0, 10)
    go_on(half, 0, 4)
    half.save(tmp_path / "run.state", 4)
    assert other.restore(tmp_path / "run.state") == 4
    assert other.history.loss == half.history.loss
    go_on(other, 4, 10)
    assert all(torch.equal(p, whole.theta[name]) for name, p in other.theta.items())
    assert other.history == whole.history, "to the last digit"
    assert torch.equal(other.gen.get_state(), whole.gen.get_state())


def test_where_there_is_no_file_a_run_begins(tmp_path: Path) -> None:
    state = run()
    assert state.restore(tmp_path / "none.state") == 0
    assert state.history.loss == []


def test_an_interrupted_write_leaves_the_older_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = run()
    go_on(state, 0, 2)
    state.save(tmp_path / "run.state", 2)

    def crash(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    go_on(state, 2, 3)
    with pytest.raises(KeyboardInterrupt):
        state.save(tmp_path / "run.state", 3)
    assert run().restore(tmp_path / "run.state") == 2


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (run({"lr": 0.2, "n": None}), r"another kind \(there, here\): \{'lr': \(0.1, 0.2\)\}. Nothing was overwritten"),
        (run({"lr": 0.1, "n": 3}), r"\{'n': \(None, 3\)\}"),
        (run({"lr": 0.1, "n": None, "new": 1}), r"\{'new': \(None, 1\)\}"),
        (run(size=4), r"parameters .*\(2, 3, .*\(2, 4, "),
        (run(dtype=torch.float64), r"parameters .*float32.*float64"),
    ],
)
def test_the_state_of_another_run_is_refused_and_left_alone(tmp_path: Path, other: Training, message: str) -> None:
    path, state = tmp_path / "run.state", run()
    go_on(state, 0, 2)
    state.save(path, 2)
    before, theta = path.read_bytes(), {name: p.detach().clone() for name, p in other.theta.items()}
    with pytest.raises(ValueError, match=message):
        other.restore(path)
    assert path.read_bytes() == before
    assert all(torch.equal(p, theta[name]) for name, p in other.theta.items())
    assert torch.equal(other.gen.get_state(), generator(0).get_state())


def test_what_is_no_state_is_refused_and_left_alone(tmp_path: Path) -> None:
    path, state = tmp_path / "run.state", run()
    go_on(state, 0, 2)
    state.save(path, 2)
    whole = path.read_bytes()
    save(MLPPolicy(2, 2, generator(0)).params(), tmp_path / "weights")
    for content, message in (
        (whole[:-50], "not a whole safetensors file"),
        (whole[:5], "not a whole safetensors file"),
        (b"", "not a whole safetensors file"),
        (b"a note to myself, of more than eight letters", "not a whole safetensors file"),
        ((tmp_path / "weights").read_bytes(), "not the state of a run but something else; choose another file"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            run().restore(path)
        assert path.read_bytes() == content


def test_the_record_of_a_run_in_double_precision_loses_nothing(tmp_path: Path) -> None:
    """A third is another number in single precision."""
    whole, half, other = (run(dtype=torch.float64) for _ in range(3))
    go_on(whole, 0, 6)
    go_on(half, 0, 3)
    half.history.loss[:] = [third / 3 for third in range(1, 4)]
    half.save(tmp_path / "run.state", 3)
    assert other.restore(tmp_path / "run.state") == 3
    assert other.history.loss == [1 / 3, 2 / 3, 1.0]
    go_on(other, 3, 6)
    assert other.history.loss[3:] == whole.history.loss[3:]
    assert all(torch.equal(p, whole.theta[name]) for name, p in other.theta.items())
    assert all(p.dtype == torch.float64 for p in other.theta.values())
    assert torch.equal(other.gen.get_state(), whole.gen.get_state())
