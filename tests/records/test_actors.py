"""Trained agents are found by name, are what was saved, and act."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.checkpoint import save
from metarl_lite.evaluate.curves import adaptation_curve
from metarl_lite.experiments.initialisations import FAMILIES, TRAININGS
from metarl_lite.policies.base import tile
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.records import actors
from metarl_lite.records.actors import WEIGHTS, actor
from metarl_lite.records.results import recorded, total_steps
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


def test_an_initialisation_is_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "WEIGHTS", tmp_path)
    policy = MLPPolicy(3, 2, generator(0), hidden=(4, 5), discrete=False)
    save(policy.params(), tmp_path / "mine.safetensors")
    again = actor("mine")
    assert isinstance(again, MLPPolicy)
    assert (again.hidden, again.discrete) == ((4, 5), False)
    assert all(torch.equal(p, again.params()[name]) for name, p in policy.params().items())


def test_agents_come_with_the_package_and_are_small() -> None:
    assert {"bandit-k5-n10", "gridnavi", "navigation-maml", "cart-pole-maml"} <= {path.stem for path in SHIPPED}
    assert sum(path.stat().st_size for path in SHIPPED) <= 6e6


@pytest.mark.parametrize("name", [path.stem for path in SHIPPED])
def test_an_agent_that_comes_with_the_package_acts(name: str) -> None:
    policy = actor(name)
    params, seen = policy.params(), torch.ones(2, policy.observation_size)
    if isinstance(policy, MLPPolicy):
        chosen = policy.distribution(tile(params, 1), seen.unsqueeze(0))
    else:
        memory, *came = policy.first(2)
        chosen = policy.distribution(params, policy.remember(params, memory, policy.input(seen, *came)))
    for output in chosen.values():
        assert torch.isfinite(output).all()


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("training", sorted(TRAININGS))
def test_an_initialisation_earns_again_what_its_record_says(family: str, training: str) -> None:
    """On other tasks than the record's, before and after a step, within four joint standard errors."""
    name, count = f"{family}-{training}", 200
    record, tasks, policy = recorded("initialisations"), FAMILIES[family], actor(name)
    assert isinstance(policy, MLPPolicy)
    run, config = record["runs"][name], MAMLConfig(**record["config"])
    curve = adaptation_curve(tasks, policy, tasks.sample(count, generator(77)), config, generator(78)).double()
    for steps in (0, 1):
        error = math.hypot(run["errors"][steps], curve[steps].std().item() / math.sqrt(count))
        assert abs(curve[steps].mean().item() - run["test_returns"][steps]) <= 4 * error


def test_an_initialisation_is_trained_on_as_many_steps_by_either_training() -> None:
    runs = recorded("initialisations")["runs"]
    for family in FAMILIES:
        steps = {training: total_steps(f"{family}-{training}") for training in TRAININGS}
        assert steps["maml"] == steps["mixture"] > steps["random"] == 0
        assert runs[f"{family}-maml"]["stopping"].startswith("after 100 iterations")


def test_training_for_a_step_pays_after_the_step_and_on_the_plane_nowhere_else() -> None:
    runs = recorded("initialisations")["runs"]
    random, mixture, trained = (runs[f"navigation-{t}"]["test_returns"] for t in ("random", "mixture", "maml"))
    assert trained[1] > mixture[1] + 5  # a step from what MAML trained is worth more than one from the mixture's
    assert trained[1] > random[1] + 5
    assert mixture[0] > random[0]
