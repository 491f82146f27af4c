"""The marked equations of chapter 3, each against code that does not use the package's own."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.evaluate.curves import adaptation_curve
from metarl_lite.evaluate.intervals import bootstrap_interval, iqm, t_interval, t_quantile
from metarl_lite.lesson.exercises import find
from metarl_lite.oracles.bandits import greedy, in_turn, play, thompson
from metarl_lite.oracles.navigation import agnostic_bound
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator, normal, uniform
from metarl_lite.tasks.bandits import BernoulliBandit
from metarl_lite.tasks.navigation import PointGoal

F64 = torch.float64


def test_eq_adaptation_curve() -> None:
    """J_K is a mean over tasks of mean returns; a policy of which nothing is learned has a flat curve."""
    tasks = PointGoal(horizon=8, dtype=F64)
    policy, task = MLPPolicy.for_tasks(tasks, generator(0), hidden=(4,)), tasks.sample(2000, generator(1))
    config = MAMLConfig(inner_steps=2, episodes=4, inner_lr=1e-9)
    curve = adaptation_curve(tasks, policy, task, config, generator(2))  # [3, N]
    error = (curve[1:] - curve[:1]).std(1) / 2000**0.5
    assert ((curve[1:] - curve[:1]).mean(1).abs() < 4 * error).all()
    rewards = normal((3, 4, 5), generator(3), F64)
    by_loop = [sum(rewards[n, k].sum() for n in range(3)) / 3 for k in range(4)]
    torch.testing.assert_close(find("3.1").reference(rewards), torch.stack(by_loop))


@pytest.mark.parametrize("arms", [1, 2, 5])
def test_eq_best_arm(arms: int) -> None:
    """The integral over a fine grid, and k / (k + 1); the bandits of the package agree."""
    x = (torch.arange(100_000, dtype=F64) + 0.5) / 100_000
    assert (1 - x**arms).mean().item() == pytest.approx(arms / (arms + 1), abs=1e-9)
    best = BernoulliBandit(arms, dtype=F64).sample(100_000, generator(arms))["probabilities"].max(1).values
    assert abs(best.mean() - arms / (arms + 1)) < 4 * best.std() / 100_000**0.5


def test_eq_objectives() -> None:
    """Free is the last episode, paid the sum of all; with K = 0 they are the same."""
    gen = generator(0)
    arms = uniform((20_000, 3), gen, F64)
    paid = play(in_turn, arms, 7, gen)
    assert abs(paid[:, -1].mean() - 1 / 2) < 0.01, "free: the seventh pull of an agent that learns nothing"
    assert abs(paid.sum(1).mean() - 7 / 2) < 0.02, "paid: seven such pulls"
    alone = play(greedy, arms, 1, gen)
    assert torch.equal(alone[:, -1], alone.sum(1))


@pytest.mark.parametrize(("d", "n"), [(0.5, 3), (0.5, 22), (1.0, 5)])
def test_eq_wrong_ranking(d: float, n: int) -> None:
    """Of the text alone: that is a number of the book, and no code of the package computes it."""
    expected = 0.5 * math.erfc(d * math.sqrt(n / 2) / math.sqrt(2))
    means = normal((2, 200_000, n), generator(n), F64).mean(-1)
    share = (means[0] + d < means[1]).double().mean().item()
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / 200_000)
    assert torch.special.ndtr(torch.tensor(-d * math.sqrt(n / 2), dtype=F64)).item() == pytest.approx(expected)


def test_how_many_seeds_the_exercise_asks_for() -> None:
    def wrong(n: int) -> float:
        return 0.5 * math.erfc(0.5 * math.sqrt(n / 2) / math.sqrt(2))

    assert wrong(find("3.4").reference) < 0.05 < wrong(find("3.4").reference - 1)


def test_eq_score_table() -> None:
    """Scores of one seed go together: their covariance is the variance of the seed's effect.

    The model is the text's alone. Student's interval, of the package, covers what these tables are about.
    """
    gen, tau = generator(4), 3.0
    seed, task = normal((50_000, 2, 1), gen, F64), tau * normal((50_000, 1, 2), gen, F64)
    table = seed + task + normal((50_000, 2, 2), gen, F64)  # repetitions x seeds x tasks
    covariance = torch.cov(table.flatten(1).T)  # of x_11, x_12, x_21, x_22
    expected = torch.tensor([[11, 1, 9, 0], [1, 11, 0, 9], [9, 0, 11, 1], [0, 9, 1, 11]], dtype=F64)
    torch.testing.assert_close(covariance, expected, atol=0.3, rtol=0)
    ends = torch.stack([torch.stack(t_interval(scores, 0.9)) for scores in seed[:4000, :, 0].clone()])
    held = ((ends[:, 0] <= 0) & (ends[:, 1] >= 0)).double().mean().item()
    assert abs(held - 0.9) < 4 * math.sqrt(0.9 * 0.1 / 4000)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 10])
def test_eq_iqm(n: int) -> None:
    """The weights by fractions, as the equation has them: the length of an intersection of two intervals."""
    scores = normal((n,), generator(n), F64)
    weights = []
    for i in range(1, n + 1):
        low, high = max(Fraction(i - 1, n), Fraction(1, 4)), min(Fraction(i, n), Fraction(3, 4))
        weights.append(2 * max(high - low, Fraction(0)))
    assert sum(weights) == 1
    expected = sum(float(w) * x for w, x in zip(weights, scores.sort().values, strict=True))
    torch.testing.assert_close(iqm(scores), expected)


def test_greedy_takes_the_posterior_mean_and_thompson_the_whole_posterior() -> None:
    """Against the density p^w (1 - p)^l on a grid: the mean, and the chance that one arm's draw beats the other's."""
    p = (torch.arange(20_000, dtype=F64) + 0.5) / 20_000
    record = torch.tensor([[3.0, 1.0], [2.0, 1.0]], dtype=F64)  # wins of two arms, and losses
    density = p.unsqueeze(-1) ** record[0] * (1 - p.unsqueeze(-1)) ** record[1]
    density = density / density.sum(0)
    means = (p.unsqueeze(-1) * density).sum(0)
    torch.testing.assert_close(means, (record[0] + 1) / (record.sum(0) + 2), rtol=1e-6, atol=0)
    assert greedy(record[:1], record[1:], generator(0)).item() == means.argmax().item()
    ahead = (density[:, 0] * density[:, 1].cumsum(0)).sum().item()
    wins, losses = (row.expand(40_000, 2) for row in record)
    share = (thompson(wins, losses, generator(1)) == 0).double().mean().item()
    assert abs(share - ahead) < 4 * math.sqrt(ahead * (1 - ahead) / 40_000)
    assert ahead < 0.8, "greedy would pull the first arm always"


def test_the_factor_of_students_interval() -> None:
    assert [round(t_quantile(0.975, seeds - 1), 2) for seeds in (3, 5)] == [4.30, 2.78]
    assert t_quantile(0.975, 10_000) == pytest.approx(1.96, abs=1e-3)


def test_five_numbers_drawn_again_spread_less_than_five_new_ones() -> None:
    """The variance of their mean is (S - 1) / S of the right one, S = 5; and the IQM of the same draws has a larger."""
    scores = torch.tensor([0.3, -1.2, 0.8, 2.0, -0.4], dtype=F64)
    grid = torch.cartesian_prod(*[torch.arange(5)] * 5)  # all 3125 draws
    means, middles = scores[grid].mean(1), iqm(scores[grid])
    right = scores.var() / 5
    assert (means.var(correction=0) / right).item() == pytest.approx(4 / 5)
    assert middles.var(correction=0) > 1.1 * means.var(correction=0)
    ends = torch.stack(bootstrap_interval(scores, generator(0), lambda x: x.mean(-1), resamples=100_000))
    torch.testing.assert_close(ends, means.quantile(torch.tensor([0.025, 0.975], dtype=F64)), atol=0.05, rtol=0)


def test_nothing_that_ignores_the_goal_returns_minus_25() -> None:
    """So the second agent of the first question of the quiz cannot be."""
    assert -38.21 < agnostic_bound(PointGoal()) < -38.19 < -25


def test_how_far_the_iqm_of_five_seeds_spreads_when_it_is_drawn_again() -> None:
    """1.06 times as far as over new seeds, the mean 0.89 times; of three seeds an interval reaches from end to end."""
    seeds = normal((4000, 5), generator(0), F64)
    pick = torch.randint(5, (4000, 400, 5), generator=generator(1))
    again = seeds.unsqueeze(1).expand(-1, 400, -1).gather(2, pick)
    for statistic, ratio in ((iqm, 1.06), (lambda x: x.mean(-1), 0.894)):
        drawn = statistic(again).var(1, correction=0).mean().sqrt()
        assert (drawn / statistic(seeds).std()).item() == pytest.approx(ratio, abs=0.02)
    three = torch.tensor([0.0, 1.0, 3.0], dtype=F64)
    for statistic in (iqm, lambda x: x.mean(-1)):
        low, high = bootstrap_interval(three, generator(0), statistic, resamples=20_000)
        assert (low.item(), high.item()) == (0.0, 3.0)  # 1 / 27 of the draws is more than 2.5 %
