"""Recorded runs of RL2: an interrupted one goes on where it was, and what is recorded is what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch

from metarl_lite.algorithms.configs import RL2Config
from metarl_lite.checkpoint import load
from metarl_lite.experiments import rl2 as experiments
from metarl_lite.experiments import rl2_mdps
from metarl_lite.experiments.base import TEST_SEED, weights_folder
from metarl_lite.oracles.bandits import greedy, play
from metarl_lite.oracles.posterior import known_mdp_value, learn_mdps, psrl
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.keyed import keyed
from metarl_lite.records.results import total_steps
from metarl_lite.rng import generator
from metarl_lite.rollout import trial
from metarl_lite.tasks import BernoulliBandit, TabularMDP

CONFIG = RL2Config(iterations=6, num_tasks=4, trials=2, episodes=3)
BANDIT = BernoulliBandit(3, horizon=1)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load(folder / "toy.safetensors")


def test_an_interrupted_run_leaves_no_agent_and_goes_on_to_the_same_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    _, result = experiments.train("toy", BANDIT, CONFIG, whole, None, 8, seed=0)
    original = experiments.rl2

    def interrupted(*args: object, **options: object) -> object:
        def stop(iteration: int, *_: object) -> None:
            if iteration == 3:
                raise KeyboardInterrupt

        return original(*args[:4], stop, checkpoint=options["checkpoint"], every=2)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(experiments, "rl2", interrupted)
        with pytest.raises(KeyboardInterrupt):
            experiments.train("toy", BANDIT, CONFIG, parts, None, 8, seed=0)
    assert [f.name for f in parts.iterdir()] == ["toy.state"]
    _, resumed = experiments.train("toy", BANDIT, CONFIG, parts, None, 8, seed=0)
    assert [f.name for f in parts.iterdir()] == ["toy.safetensors"]
    assert all(torch.equal(p, weights(parts)[name]) for name, p in weights(whole).items())
    assert resumed["curve"] == result["curve"]
    assert result["env_steps"] == 6 * 4 * 2 * 3


def test_a_run_starts_from_the_agent_that_it_names(tmp_path: Path) -> None:
    _, first = experiments.train("toy", BANDIT, CONFIG, tmp_path, None, 8, seed=0)
    assert first["total_steps"] == first["env_steps"]
    assert str(CONFIG.iterations) in first["stopping"]
    (tmp_path / "toys.json").write_text(json.dumps({"runs": {"one": first}}))
    frozen = replace(CONFIG, iterations=1, lr=1e-12, final_lr=None)
    policy, result = experiments.train("longer", BANDIT, frozen, tmp_path, "toy", 64, seed=1)
    assert result["start"] == "toy"
    assert result["hidden"] == 8  # of the agent that it started from
    assert result["total_steps"] == first["total_steps"] + result["env_steps"] > first["total_steps"]
    with pytest.raises(ValueError, match=r"no record in .* says how 'nobody' was trained"):
        total_steps("nobody", tmp_path)
    assert all(torch.allclose(p, weights(tmp_path)[name], atol=1e-9) for name, p in policy.params().items())


def test_scores_are_those_of_the_same_bandits() -> None:
    policy = GRUPolicy.for_tasks(BANDIT, generator(0), hidden=8)
    scores = experiments.bandit_scores(policy, BANDIT, 10, 400)
    probabilities = BANDIT.sample(400, generator(TEST_SEED))["probabilities"].double()
    again = play(greedy, probabilities, 10, generator(TEST_SEED + 3)).sum(1)
    assert scores["others"]["greedy"]["return"][0] == pytest.approx(again.mean().item(), abs=1e-4)
    for other in scores["others"].values():
        mean, error = other["difference"]
        assert error > 0
        if other is not scores["others"]["ots"]:  # a tenth of the bandits
            assert mean == pytest.approx(scores["return"][0] - other["return"][0], abs=1e-4)


def test_the_package_keeps_its_weights_in_a_folder_of_their_own(tmp_path: Path) -> None:
    package = Path(experiments.__file__).parents[1] / "records"
    assert weights_folder(package / "recorded") == package / "weights"
    assert weights_folder(tmp_path) == tmp_path


def test_scores_are_those_of_the_same_decision_processes() -> None:
    tasks = TabularMDP(num_states=3, num_actions=2, horizon=4)
    policy = GRUPolicy.for_tasks(tasks, generator(0), hidden=8)
    scores = rl2_mdps.mdp_scores(policy, tasks, 2, 300)
    task = tasks.sample(300, generator(TEST_SEED))
    batch = trial(tasks, policy, policy.params(), task, 2, generator(TEST_SEED + 1))
    by_hand = 0.0
    for n, e, t in product(range(300), range(2), range(4)):
        by_hand += task["rewards"][n, int(batch.observations[n, e, t].argmax()), int(batch.actions[n, e, t])].item()
    assert scores["return"][0] == pytest.approx(by_hand / 300, abs=1e-4)
    again = learn_mdps(psrl, tasks, task, 2, generator(TEST_SEED + 4)).sum(1)
    assert scores["others"]["psrl"]["return"][0] == pytest.approx(again.mean().item(), abs=1e-4)
    known = scores["others"]["known"]["return"][0]
    assert known == pytest.approx(2 * known_mdp_value(tasks, task).mean().item(), abs=1e-4)
    for other in scores["others"].values():
        assert other["difference"][0] == pytest.approx(scores["return"][0] - other["return"][0], abs=1e-4)
        assert other["return"][0] <= known


def test_a_memory_with_keys_is_one_that_training_starts_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    met = []
    monkeypatch.setattr(experiments, "keyed", lambda policy, gen: met.append(policy.hidden) or keyed(policy, gen))
    result = rl2_mdps.mdp_run(replace(CONFIG, iterations=1), tmp_path, episodes=2, hidden=8, keys=True, instances=20)
    assert met == [8]
    assert (result["weights"], result["hidden"], result["changes"]) == ("mdp-n2", 8, {})
