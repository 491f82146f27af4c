"""Bandits pay as often as their probabilities say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch

from metarl_lite.rng import generator
from metarl_lite.tasks import BernoulliBandit, DependentBandit, ElevenArms


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


# --- Two arms that depend on each other -------------------------------------------------------------------------------


def test_dependent_arms_sum_to_one_and_the_first_is_uniform() -> None:
    p = DependentBandit(dtype=torch.float64).sample(20_000, generator(0))["probabilities"]
    torch.testing.assert_close(p.sum(-1), torch.ones(20_000, dtype=torch.float64))
    assert float(p[:, 0].mean()) == pytest.approx(1 / 2, abs=4 * (1 / 12 / 20_000) ** 0.5)
    assert float((p[:, 0] ** 2).mean()) == pytest.approx(1 / 3, abs=4 * (4 / 45 / 20_000) ** 0.5)


def test_given_values_are_equally_likely() -> None:
    p = DependentBandit((0.1, 0.9, 0.25), dtype=torch.float64).sample(20_000, generator(0))["probabilities"]
    torch.testing.assert_close(p[:, 1], 1 - p[:, 0])
    for value in (0.1, 0.9, 0.25):
        share = float((p[:, 0] == value).double().mean())
        assert share == pytest.approx(1 / 3, abs=4 * (2 / 9 / 20_000) ** 0.5)


def test_dependent_arms_are_a_bernoulli_bandit() -> None:
    tasks = DependentBandit((0.1, 0.9), horizon=7)
    assert (tasks.horizon, tasks.action_size) == (7, 2)
    task = {"probabilities": torch.tensor([0.25, 0.75])}
    arms = torch.tensor([0, 0, 1, 1])
    noise = torch.tensor([[0.2], [0.3], [0.7], [0.8]])
    assert tasks.step(task, torch.ones(4, 1), arms, noise)[1].tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("values", [(), (0.1, 1.2), (-0.1,), (float("nan"),)])
def test_values_that_are_no_probabilities_are_refused(values: Sequence[float]) -> None:
    with pytest.raises(ValueError, match=r"values = .*at least one probability from 0 to 1"):
        DependentBandit(values)


# --- Eleven arms ------------------------------------------------------------------------------------------------------


def test_what_the_eleven_arms_pay() -> None:
    tasks = ElevenArms(dtype=torch.float64)
    assert tasks.horizon == 5
    task = {"target": torch.tensor([[0], [1], [9]])}  # three tasks, all arms of each
    state = tasks.reset(task, torch.zeros(3, 11, 0, dtype=torch.float64))
    after, reward, over = tasks.step(task, state, torch.arange(11).expand(3, 11), torch.zeros(3, 11, 0))
    assert reward.tolist() == [
        [5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0.1],
        [1, 5, 1, 1, 1, 1, 1, 1, 1, 1, 0.2],
        [1, 1, 1, 1, 1, 1, 1, 1, 1, 5, 1.0],
    ]
    assert not over.any()
    assert torch.equal(tasks.observe(task, after), torch.ones(3, 11, 1, dtype=torch.float64))


def test_each_of_the_ten_is_the_target_equally_often() -> None:
    counts = ElevenArms().sample(20_000, generator(0))["target"].bincount(minlength=10)
    assert len(counts) == 10
    assert float((counts - 2000).abs().max()) < 4 * (20_000 * 0.1 * 0.9) ** 0.5


def test_to_ask_first_is_the_best_behaviour() -> None:
    """All behaviours by recursion over what is known: arms not tried yet, and whether the target has been found."""

    @cache
    def value(left: int, open_arms: frozenset[int]) -> float:
        if not left:
            return 0.0
        known = len(open_arms) == 1
        ask = sum(arm + 1 for arm in open_arms) / 10 / len(open_arms) + 5 * (left - 1)
        options = [ask, 1 + value(left - 1, open_arms)] + [5.0 * left] * known
        for arm in open_arms if not known else ():
            share = 1 / len(open_arms)
            options.append(share * 5 * left + (1 - share) * (1 + value(left - 1, open_arms - {arm})))
        return max(options)

    assert value(5, frozenset(range(10))) == pytest.approx(0.55 + 20)
    tasks, targets = ElevenArms(dtype=torch.float64), torch.arange(10)
    told = tasks.step({"target": targets}, torch.ones(10, 1), torch.full((10,), 10), torch.zeros(10, 0))[1]
    after = tasks.step({"target": targets}, torch.ones(10, 1), (told * 10).round().long() - 1, torch.zeros(10, 0))[1]
    assert float((told + 4 * after).mean()) == pytest.approx(20.55)


@pytest.mark.parametrize("target", [-1, 10, 2.5])
def test_a_target_that_is_none_of_the_ten_is_refused(target: Any) -> None:
    with pytest.raises(ValueError, match=rf"target.*{target}.*integer 0 ... 9"):
        ElevenArms().check_task({"target": torch.tensor(target)})


@pytest.mark.parametrize("bad", [7.0, -0.1, 1.001, -1])
def test_what_is_no_probability_is_refused(bad: float) -> None:
    tasks = BernoulliBandit(3)
    with pytest.raises(ValueError, match=rf"of bernoulli-bandit runs from .*{bad:g}.*a probability from 0 to 1"):
        tasks.check_task({"probabilities": torch.tensor([0.0, bad, 1.0])})
    for fine in ([0.0, 1.0, 0.5], [0, 1, 1]):
        tasks.check_task({"probabilities": torch.tensor(fine)})


def test_dependent_arms_depend_on_each_other() -> None:
    tasks = DependentBandit()
    with pytest.raises(ValueError, match=r"of dependent-bandit sum to 0.6 ... 1; .* BernoulliBandit\(2\)"):
        tasks.check_task({"probabilities": torch.tensor([[0.3, 0.7], [0.3, 0.3]])}, 2)
    for dtype in (torch.float32, torch.float64):
        tasks.check_task(DependentBandit(dtype=dtype).sample(1000, generator(0)), 1000)
