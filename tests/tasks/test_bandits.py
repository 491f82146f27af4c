"""Bandits pay as often as their probabilities say."""

from __future__ import annotations

import pytest
import torch

from metarl_lite.rng import generator
from metarl_lite.tasks import BernoulliBandit


def test_probabilities_are_uniform() -> None:
    p = BernoulliBandit(4).sample(5000, generator(0))["probabilities"].double()
    assert float(p.min()) >= 0
    assert float(p.max()) < 1
    assert float(p.mean()) == pytest.approx(1 / 2, abs=4 * (1 / 12 / p.numel()) ** 0.5)
    assert float((p**2).mean()) == pytest.approx(1 / 3, abs=4 * (4 / 45 / p.numel()) ** 0.5)


def test_arms_pay_with_their_frequencies() -> None:
    tasks, pulls = BernoulliBandit(3), 20_000
    task = {"probabilities": torch.tensor([0.0, 0.3, 1.0])}
    arms = torch.arange(3).expand(pulls, 3)
    state = tasks.reset(task, torch.zeros(pulls, 3, 0))
    _, reward, over = tasks.step(task, state, arms, tasks.draw((pulls, 3), generator(0)))
    assert set(reward.unique().tolist()) == {0.0, 1.0}
    never, sometimes, always = reward.mean(0).tolist()
    assert never == 0
    assert always == 1
    assert sometimes == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / pulls) ** 0.5)
    assert not over.any()


def test_the_observation_is_the_constant_one() -> None:
    tasks = BernoulliBandit(2)
    state = tasks.reset(tasks.default_task(), torch.zeros(3, 0))
    assert tasks.observe(tasks.default_task(), state).tolist() == [[1.0]] * 3
