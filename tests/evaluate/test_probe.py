"""Probes against least squares by other means, beliefs against counting by hand, and agents whose table is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metarl_lite.evaluate.beliefs import goal_posterior, posterior_means
from metarl_lite.evaluate.probe import linear_probe, r_squared, r_squared_interval
from metarl_lite.evaluate.two_step import (
    Rounds,
    bayes_rule,
    delta_rule,
    interaction,
    play_two_step,
    rounds,
    stay_probabilities,
)
from metarl_lite.oracles.grid import Search, search_grid
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.rng import generator, normal, uniform
from metarl_lite.rollout import trial
from metarl_lite.tasks import BernoulliBandit, GridGoal, TwoStep
from metarl_lite.types import Rollout

F64 = torch.float64


def a_trial(actions: Tensor, rewards: Tensor, observations: Tensor | None = None) -> Rollout:
    """A trial `[N, E, T]` of which nothing else matters."""
    seen = torch.ones(*actions.shape, 1) if observations is None else observations
    return Rollout(seen, actions, rewards, torch.ones_like(rewards), torch.zeros_like(actions).bool(), seen[:, :, -1])


# --- The probe --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 1.0])
def test_a_probe_is_least_squares_on_a_longer_table(ridge: float) -> None:
    """Ridge regression by numpy: sqrt(n lambda) I below the features, 0 below the targets, the means taken off."""
    h, y = normal((7, 5, 4), generator(0), F64), normal((7, 5, 3), generator(1), F64)
    probe = linear_probe(h, y, ridge)
    a, b = h.reshape(35, 4).numpy(), y.reshape(35, 3).numpy()
    below = np.sqrt(35 * ridge) * np.eye(4)
    weight = np.linalg.lstsq(np.vstack([a - a.mean(0), below]), np.vstack([b - b.mean(0), 0 * b[:4]]), rcond=None)[0]
    np.testing.assert_allclose(probe.weight.numpy(), weight, atol=1e-12)
    np.testing.assert_allclose(probe(h).numpy(), (h.numpy() - a.mean(0)) @ weight + b.mean(0), atol=1e-12)


def test_a_probe_finds_what_is_there_and_nothing_where_nothing_is() -> None:
    """In other tasks; also from float32, from features of which one never varies, and with a gradient attached."""
    h = torch.cat([normal((400, 6, 5), generator(0), torch.float32), torch.ones(400, 6, 1)], -1).requires_grad_()
    y = (h[..., :2] @ torch.tensor([[1.0, -2.0], [0.5, 3.0]]) + 7).detach()
    other = normal((400, 6, 2), generator(1), torch.float32)
    for targets, expected in ((y, 1.0), (other, 0.0)):
        probe = linear_probe(h[:200], targets[:200])
        assert not probe.weight.requires_grad
        assert r_squared(probe(h[200:]), targets[200:]).tolist() == pytest.approx([expected] * 2, abs=0.02)


def test_a_probe_of_what_is_true_estimates_a_posterior_mean() -> None:
    """An arm has a probability from U[0, 1]; ten pulls are seen. The mean of 0 and 1 is that of Beta(w + 1, l + 1)."""
    p = uniform((40_000, 1), generator(0), F64)
    wins = (uniform((40_000, 10), generator(1), F64) < p).to(F64).sum(1, keepdim=True)
    probe = linear_probe(wins, p, ridge=0.0)
    expected = torch.arange(11, dtype=F64).add(1).div(12).unsqueeze(1)
    torch.testing.assert_close(probe(torch.arange(11, dtype=F64).unsqueeze(1)), expected, rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("h", "y", "ridge", "message"),
    [
        (torch.zeros(3, 4, 2), torch.zeros(3, 5, 1), 1e-4, r"features \(3, 4, 2\) and targets \(3, 5, 1\)"),
        (torch.zeros(4), torch.zeros(4), 1e-4, "all dimensions but the last"),
        (torch.zeros(4, 2), torch.zeros(4, 1), -1.0, "ridge = -1.0: a number of at least 0"),
        (torch.zeros(4, 2), torch.zeros(4, 1), math.nan, "ridge = nan"),
        (torch.full((4, 2), math.nan), torch.zeros(4, 1), 1e-4, "features hold nan"),
        (torch.zeros(4, 2), torch.full((4, 1), math.inf), 1e-4, "targets hold inf"),
    ],
)
def test_what_is_no_table_is_refused(h: Tensor, y: Tensor, ridge: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        linear_probe(h, y, ridge)


def test_r_squared_by_hand() -> None:
    y = torch.tensor([[1.0, 5.0, 2.0], [3.0, 5.0, 4.0]])
    read = torch.tensor([[1.0, 4.0, 2.5], [2.0, 5.0, 2.5]])
    # spreads 2, 0, 2; errors 1, 1, .25 + 2.25
    first, constant, third = r_squared(read, y).tolist()
    assert (first, third) == pytest.approx((0.5, -0.25))
    assert math.isnan(constant)
    assert r_squared(read, y, together=True).item() == pytest.approx(1 - 4.5 / 4)
    assert r_squared(y.mean(0).expand_as(y), y)[[0, 2]].tolist() == [0, 0]


@pytest.mark.parametrize("together", [False, True])
def test_the_interval_draws_whole_tasks_again(together: bool) -> None:
    """Against the same draws, done one by one."""
    y, read = normal((8, 3, 2), generator(0), F64) + 4, normal((8, 3, 2), generator(1), F64)
    read = y + 0.5 * read
    low, high = r_squared_interval(read, y, generator(2), together, level=0.8, resamples=50)
    drawn = torch.randint(8, (50, 8), generator=generator(2))
    shares = torch.stack([r_squared(read[rows], y[rows], together) for rows in drawn])
    torch.testing.assert_close(low, shares.quantile(0.1, dim=0))
    torch.testing.assert_close(high, shares.quantile(0.9, dim=0))
    assert (low < high).all()


def test_an_interval_of_one_task_or_of_no_level_is_refused() -> None:
    for y, level in ((torch.zeros(1, 3, 2), 0.95), (torch.zeros(4, 3, 2), 1.0)):
        with pytest.raises(ValueError, match="at least two tasks, and a level such as"):
            r_squared_interval(y, y, generator(0), level=level)


# --- What there is to know --------------------------------------------------------------------------------------------


def test_posterior_means_by_counting() -> None:
    actions = torch.tensor([[2, 0, 2, 2], [1, 1, 0, 1]]).unsqueeze(-1)
    rewards = torch.tensor([[1.0, 0, 0, 1], [1, 1, 1, 0]]).unsqueeze(-1)
    half = 1 / 2
    assert posterior_means(a_trial(actions, rewards), 3).flatten(0, 1).tolist() == [
        pytest.approx(row)
        for row in [
            [half, half, half], [half, half, 2 / 3], [1 / 3, half, 2 / 3], [1 / 3, half, 2 / 4],
            [half, half, half], [half, 2 / 3, half], [half, 3 / 4, half], [2 / 3, 3 / 4, half],
        ]
    ]  # fmt: skip


def test_posterior_means_are_what_the_arms_pay() -> None:
    """Among arms with one posterior mean, the mean of the true probabilities is that: for any way to choose."""
    tasks = BernoulliBandit(3, horizon=1)
    policy, task = GRUPolicy.for_tasks(tasks, generator(0), hidden=8), tasks.sample(20_000, generator(1))
    means = posterior_means(trial(tasks, policy, policy.params(), task, 5, generator(2)), 3)[:, -1]
    for value in means.unique():
        some = task["probabilities"][means == value]
        assert some.mean().item() == pytest.approx(value.item(), abs=4 * 0.5 / len(some) ** 0.5)


def searched(size: int = 4, episodes: int = 2, horizon: int = 8) -> tuple[GridGoal, Tensor, list[Tensor], Rollout]:
    """Trials of an agent that walks at random, with what `search_grid` says is possible before every move."""
    tasks, gen, possible, seen, moves = GridGoal(size, horizon), generator(0), [], [], []
    task = tasks.sample(300, generator(1))

    def rule(search: Search, gen: torch.Generator) -> Tensor:
        possible.append(search.possible)
        seen.append(tasks.observe(task, search.cell))
        move = torch.randint(5, (300,), generator=gen)
        moves.append(move)
        return (search.cell + tasks.moves[move]).clamp(0, size - 1)

    cells, rewards = search_grid(tasks, task, rule, episodes, gen)
    shape = (300, episodes, horizon)
    batch = a_trial(torch.stack(moves, 1).reshape(shape), rewards, torch.stack(seen, 1).reshape(*shape, -1))
    assert torch.equal(tasks.observe(task, cells[:, 0, 0]), batch.observations[:, 0, 1])
    return tasks, task["goal"], possible, batch


def test_the_posterior_of_the_goal_is_that_of_the_search() -> None:
    tasks, goal, possible, batch = searched()
    known = goal_posterior(tasks, batch)
    assert torch.equal(known > 0, torch.stack(possible, 1))
    torch.testing.assert_close(known.sum(-1), torch.ones(300, 16))
    at_goal = known[torch.arange(300), :, goal[:, 0] * 4 + goal[:, 1]]
    assert (at_goal > 0).all()
    torch.testing.assert_close(at_goal[:, 0], torch.full((300,), 1 / 12))
    assert 0 < (at_goal[:, -1] == 1).float().mean() < 1  # some have found it and some have not


# --- The two-step task ------------------------------------------------------------------------------------------------


def test_the_table_of_staying_by_hand() -> None:
    seen = Rounds(
        choices=torch.tensor([[0, 0, 1, 1, 1, 0, 0]]),
        common=torch.tensor([[1, 1, 0, 1, 0, 0, 1]]).bool(),
        rewards=torch.tensor([[1.0, 0, 1, 1, 0, 1, 1]]),
    )
    # rounds 0 to 5: stays after (r, c), leaves after (0, c), stays after (r, rare), stays after (r, c), leaves after
    # (0, rare), stays after (r, rare); nothing follows the last
    table = stay_probabilities(seen)
    assert table.tolist() == [[1, 1], [0, 0]]
    assert interaction(table) == 0
    assert interaction(torch.tensor([[0.9, 0.2], [0.1, 0.8]])).item() == pytest.approx(1.4)
    assert math.isnan(stay_probabilities(Rounds(seen.choices, seen.common | True, seen.rewards))[0, 1])


@pytest.mark.parametrize("vary", [True, False])
def test_rounds_are_read_from_a_trial(vary: bool) -> None:
    tasks = TwoStep(horizon=20, vary_transitions=vary)
    policy, task = GRUPolicy.for_tasks(tasks, generator(0), hidden=4), tasks.sample(50, generator(1))
    batch = trial(tasks, policy, policy.params(), task, 1, generator(2))
    seen = rounds(task, batch)
    assert seen.choices.shape == (50, 10)
    for n in range(50):
        for i in range(10):
            choice = int(batch.actions[n, 0, 2 * i])
            place = int(batch.observations[n, 0, 2 * i + 1].argmax())
            leads = int(task["common"][n]) if choice == 0 else 3 - int(task["common"][n])
            assert (choice, place == leads) == (int(seen.choices[n, i]), bool(seen.common[n, i]))
            assert seen.rewards[n, i] == batch.rewards[n, 0, 2 * i + 1]
    assert seen.common.double().mean().item() == pytest.approx(0.75, abs=4 * (0.1875 / 500) ** 0.5)


def session(learn: Any, plan: bool, sharpness: float = 1e6, horizon: int = 400) -> Rounds:
    tasks = TwoStep(horizon)
    return play_two_step(tasks, tasks.sample(500, generator(1)), learn, plan, generator(2), sharpness)


def test_who_repeats_what_was_rewarded_does_not_ask_how_it_came_about() -> None:
    """With rate 1 the value of a choice is its last reward: 0 after none, so it is left; after a reward it is kept."""

    def forget(values: Tensor, where: Tensor, reward: Tensor) -> Tensor:
        return torch.full_like(values, 0.5).scatter(1, where.unsqueeze(1), reward.unsqueeze(1))

    table = stay_probabilities(session(forget, plan=False))
    assert table.tolist() == [[1, 1], [0, 0]]
    assert interaction(table) == 0


def test_who_plans_with_the_last_reward_alone_stays_where_that_leads() -> None:
    """A reward at a place: choose what commonly leads there, so stay if that was common and switch if it was rare."""

    def forget(values: Tensor, where: Tensor, reward: Tensor) -> Tensor:
        return torch.full_like(values, 0.5).scatter(1, where.unsqueeze(1), reward.unsqueeze(1))

    table = stay_probabilities(session(forget, plan=True))
    assert table.tolist() == [[1, 0], [0, 1]]
    assert interaction(table) == 2


def test_the_delta_rule_by_hand() -> None:
    values = torch.tensor([[0.5, 0.2], [0.0, 1.0]])
    after = delta_rule(0.25)(values, torch.tensor([1, 0]), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(after, torch.tensor([[0.5, 0.4], [0.0, 1.0]]))
    with pytest.raises(ValueError, match=r"rate = 1\.5: it must lie between 0 and 1"):
        delta_rule(1.5)


def test_bayes_by_hand_and_by_all_histories() -> None:
    """The belief against the sum over every way in which the good place can have changed."""
    tasks = TwoStep(dtype=F64)
    learn, places, paid = bayes_rule(tasks), [0, 1, 1, 0, 1], [1.0, 0.0, 1.0, 0.0, 1.0]
    values = torch.full((1, 2), 0.5, dtype=F64)
    for place, reward in zip(places, paid, strict=True):
        values = learn(values, torch.tensor([place]), torch.tensor([reward], dtype=F64))
    total = [0.0, 0.0]
    for history in range(2**6):  # which place is good in rounds 0 ... 5
        good = [history >> i & 1 for i in range(6)]
        weight = 0.5
        for i in range(5):
            p = 0.9 if places[i] == good[i] else 0.1
            weight *= p if paid[i] else 1 - p
            weight *= 0.025 if good[i + 1] != good[i] else 0.975
        total[good[5]] += weight
    assert values[0].tolist() == pytest.approx([t / sum(total) for t in total])


def test_knowing_how_places_are_reached_earns_more() -> None:
    """Rewards of a round: chance .5; the delta rule on choices, on places, and Bayes' rule, each greedier than not."""
    tasks = TwoStep()
    without, with_model = (session(delta_rule(0.5), plan, 20.0).rewards.mean() for plan in (False, True))
    bayes = session(bayes_rule(tasks), True).rewards.mean()
    assert 0.5 < without < with_model < bayes < 0.7  # .7 for who always knows the good place
    random = session(delta_rule(0.5), True, 0.0)
    assert random.rewards.mean().item() == pytest.approx(0.5, abs=0.01)
    assert stay_probabilities(random).flatten().tolist() == pytest.approx([0.5] * 4, abs=0.02)


# --- Numbers that nobody gives ----------------------------------------------------------------------------------------


def test_a_probe_if_nothing_is_said() -> None:
    h, y = 0.1 * normal((50, 4), generator(0), F64), normal((50, 3), generator(1), F64)
    torch.testing.assert_close(linear_probe(h, y).weight, linear_probe(h, y, 1e-4).weight, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(linear_probe(h, y).weight, linear_probe(h, y, 1e-3).weight, rtol=1e-3)


def test_the_interval_of_a_share_if_nothing_is_said() -> None:
    y, read = normal((8, 3, 2), generator(0), F64), normal((8, 3, 2), generator(1), F64)
    found = r_squared_interval(y + 0.3 * read, y, generator(2))
    given = r_squared_interval(y + 0.3 * read, y, generator(2), False, 0.95, 1000)
    torch.testing.assert_close(torch.stack(found), torch.stack(given), rtol=1e-9, atol=1e-12)
    assert found[0].shape == (2,)


def test_an_agent_is_as_greedy_as_its_sharpness_says() -> None:
    """5, if nothing is said: with values held at (.8, .2) the first is chosen with the odds of e^(.6 kappa)."""
    tasks = TwoStep(horizon=40, dtype=F64)
    task = tasks.sample(4000, generator(0))
    held = torch.tensor([0.8, 0.2], dtype=F64)

    def learn(values: Tensor, where: Tensor, reward: Tensor) -> Tensor:
        return held.expand_as(values)

    for options, sharpness in (({}, 5.0), ({"sharpness": 2.0}, 2.0)):
        seen = play_two_step(tasks, task, learn, plan=False, gen=generator(1), **options)
        share = (seen.choices[:, 1:] == 0).double()
        p = 1 / (1 + math.exp(-0.6 * sharpness))
        assert share.mean().item() == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / share.numel()))
        assert (seen.choices[:, 0] == 0).double().mean().item() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(4000))
