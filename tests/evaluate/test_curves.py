"""Means, intervals and curves against hand-computed values, published tables and simulations whose truth is known.

Each check is a function of the function it is given, so that the broken variants at the end can be fed to it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.algorithms.inner import inner_loop
from metarl_lite.evaluate.curves import adaptation_curve, trial_returns
from metarl_lite.evaluate.intervals import bootstrap_interval, iqm, t_interval, t_quantile
from metarl_lite.policies.base import tile
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator, normal
from metarl_lite.rollout import draw_noise, rollout, trial
from metarl_lite.tasks.base import index_task
from metarl_lite.tasks.navigation import PointGoal
from metarl_lite.tasks.physics import CartPoleTasks

F64 = torch.float64


def array(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=F64)


# --- IQM --------------------------------------------------------------------------------------------------------------


def check_iqm(function: Any) -> None:
    for scores, expected in (
        (array(1, 2, 3, 4, 5, 6, 7, 8), 4.5),  # a quarter is two: the mean of 3 to 6
        (array(0, 10, 20, 40, 100), 23.0),  # weights 0, .3, .4, .3, 0
        (array(0, 6, 30), 9.0),  # weights 1/6, 2/3, 1/6
        (array(0, 1, 2, 5, 8, 13), 3.833333333333333),  # weights 0, 1/6, 1/3, 1/3, 1/6, 0
        (array(3, 7), 5.0),
        (array(-4), -4.0),
    ):
        assert function(scores).item() == pytest.approx(expected, abs=1e-12)
        for shift in range(len(scores)):
            assert function(scores.roll(shift)).item() == pytest.approx(expected, abs=1e-12), "order does not matter"


def test_iqm_by_hand() -> None:
    check_iqm(iqm)


def test_iqm_reduces_the_dimension_that_is_named() -> None:
    scores = normal((5, 7, 3), generator(0), F64)
    for dim in (0, 1, 2, -1):
        got = iqm(scores, dim=dim)
        expected = torch.stack([iqm(x) for x in scores.movedim(dim, -1).reshape(-1, scores.shape[dim])])
        torch.testing.assert_close(got.flatten(), expected)


def test_iqm_does_not_feel_an_outlier_and_is_not_the_mean_over_tasks() -> None:
    assert iqm(array(1, 2, 3, 4, 1e9)) == iqm(array(1, 2, 3, 4, 5))
    solved, failed = torch.zeros(80, dtype=F64), torch.full((20,), -40.0, dtype=F64)
    assert iqm(torch.cat([solved, failed])) == 0  # a fifth of the tasks fails, and the IQM does not notice
    assert torch.cat([solved, failed]).mean() == -8


# --- Student's t ------------------------------------------------------------------------------------------------------

TABLE = [  # probability, degrees of freedom, quantile: any printed table
    (0.975, 1, 12.7062), (0.975, 2, 4.3027), (0.975, 3, 3.1824), (0.975, 4, 2.7764), (0.975, 9, 2.2622),
    (0.975, 30, 2.0423), (0.975, 100, 1.9840), (0.95, 4, 2.1318), (0.95, 10, 1.8125), (0.995, 4, 4.6041),
    (0.995, 2, 9.9248), (0.9, 3, 1.6377),
]  # fmt: skip


@pytest.mark.parametrize(("probability", "freedom", "quantile"), TABLE)
def test_t_quantile_agrees_with_the_table(probability: float, freedom: int, quantile: float) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(quantile, rel=5e-5)
    assert t_quantile(1 - probability, freedom) == pytest.approx(-quantile, rel=5e-5)


def test_t_interval_by_hand() -> None:
    # Mean 3, standard deviation 1.5811, divided by the root of 5: 0.70711, times 2.77645.
    low, high = t_interval(array(1, 2, 3, 4, 5))
    assert low.item() == pytest.approx(3 - 1.96325, abs=1e-4)
    assert high.item() == pytest.approx(3 + 1.96325, abs=1e-4)
    table = torch.stack([array(0, 2), array(1, 3), array(2, 4), array(3, 5), array(4, 6)])  # the same means
    torch.testing.assert_close(torch.stack(t_interval(table)), torch.stack([low, high]))
    narrow = t_interval(table, level=0.5)
    assert low < narrow[0] < narrow[1] < high


# --- The bootstrap ----------------------------------------------------------------------------------------------------


def test_the_bootstrap_repeats_with_its_seed_and_differs_with_another() -> None:
    scores = normal((12, 20), generator(0), F64)
    for tasks_too in (False, True):
        first = bootstrap_interval(scores, generator(1), tasks_too=tasks_too)
        assert first == bootstrap_interval(scores, generator(1), tasks_too=tasks_too)
        assert first != bootstrap_interval(scores, generator(2), tasks_too=tasks_too)


def test_the_bootstrap_of_two_seeds_is_their_range() -> None:
    """Each draw is 0, 1/2 or 1 with probabilities 1/4, 1/2, 1/4: the middle 95 % reaches from end to end."""
    low, high = bootstrap_interval(array(0, 1), generator(0))
    assert (low, high) == (0, 1)
    low, high = bootstrap_interval(array(0, 1), generator(0), level=0.4)
    assert (low, high) == (0.5, 0.5)


def test_the_bootstrap_moves_and_scales_with_the_scores() -> None:
    scores = normal((6, 10), generator(0), F64)
    plain = torch.stack(bootstrap_interval(scores, generator(1), tasks_too=True))
    moved = torch.stack(bootstrap_interval(3 * scores - 7, generator(1), tasks_too=True))
    torch.testing.assert_close(moved, 3 * plain - 7)


def test_drawing_tasks_equals_building_every_table() -> None:
    """The package multiplies by counts; here each drawn table is built, seeds by tasks."""
    scores, gen = normal((4, 6), generator(0), F64), generator(1)
    low, high = bootstrap_interval(scores, gen, resamples=300, tasks_too=True)
    gen = generator(1)
    rows, columns = (torch.randint(n, (300, n), generator=gen) for n in (4, 6))
    drawn = torch.stack([iqm(scores[r][:, c].mean(1)) for r, c in zip(rows, columns, strict=True)])
    torch.testing.assert_close(torch.stack([low, high]), drawn.quantile(array(0.025, 0.975)))


def coverage(interval: Any, repeats: int = 400, tau: float = 1.0) -> tuple[float, float]:
    """How often an interval from 5 seeds on 50 tasks holds the truth of these tasks, and of all tasks."""
    gen, here, everywhere = generator(7), 0, 0
    for _ in range(repeats):
        task = tau * normal((1, 50), gen, F64)
        low, high = interval(normal((5, 1), gen, F64) + task + normal((5, 50), gen, F64), gen)
        here += bool(low <= task.mean() <= high)
        everywhere += bool(low <= 0 <= high)
    return here / repeats, everywhere / repeats


def check_coverage(interval: Any) -> None:
    """Of these 50 tasks: not what was promised, but no less than four times in five."""
    assert 0.8 < coverage(interval)[0] < 0.98


def whole_seeds(scores: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    return bootstrap_interval(scores, gen, resamples=400)


def seeds_and_tasks(scores: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    return bootstrap_interval(scores, gen, resamples=400, tasks_too=True)


def test_coverage_of_the_intervals() -> None:
    for interval in (whole_seeds, seeds_and_tasks, lambda scores, gen: t_interval(scores)):
        check_coverage(interval)


def test_a_claim_about_all_tasks_needs_the_tasks_drawn_again() -> None:
    assert coverage(whole_seeds, tau=3.0)[1] < 0.88
    assert coverage(seeds_and_tasks, tau=3.0)[1] > 0.89


@pytest.mark.parametrize("interval", [t_interval, lambda scores, **k: bootstrap_interval(scores, generator(0), **k)])
def test_intervals_refuse_what_has_no_spread_over_seeds(interval: Any) -> None:
    for scores in (array(1.0), array(1, 2, 3).reshape(1, 3), torch.zeros(2, 3, 4), torch.tensor(1.0)):
        with pytest.raises(ValueError, match=r"at least two seeds.*train another"):
            interval(scores)
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(ValueError, match=rf"level = {level}: .*between 0 and 1"):
            interval(array(1, 2, 3), level=level)


# --- The adaptation curve ---------------------------------------------------------------------------------------------

TASKS = PointGoal(horizon=12, dtype=F64)
CONFIG = MAMLConfig(inner_steps=2, episodes=4, inner_lr=0.05)


def curve(deterministic: bool = False, **changes: Any) -> Tensor:
    policy, config = MLPPolicy.for_tasks(TASKS, generator(0), hidden=(5,)), replace(CONFIG, **changes)
    task = TASKS.sample(5, generator(1))
    return adaptation_curve(TASKS, policy, task, config, generator(2), deterministic=deterministic)


def check_curve(function: Any) -> None:
    """Point k is the mean return of fresh episodes after k steps, each step from episodes of its own."""
    policy, task = MLPPolicy.for_tasks(TASKS, generator(0), hidden=(5,)), TASKS.sample(5, generator(1))
    got = function(TASKS, policy, task, CONFIG, generator(2))
    assert got.shape == (3, 5)
    gen = generator(2)
    noise = [draw_noise(TASKS, policy, 5, 4, gen) for _ in range(3)]
    theta = {name: p.requires_grad_() for name, p in policy.params().items()}
    for steps in range(3):
        params, _ = inner_loop(TASKS, policy, tile(theta, 5), task, CONFIG, noise[:steps], create_graph=False)
        fresh = rollout(TASKS, policy, params, task, 4, noise=noise[steps])
        torch.testing.assert_close(got[steps], fresh.returns().mean(1))


def test_the_curve_measures_fresh_episodes() -> None:
    check_curve(adaptation_curve)


def test_the_most_probable_actions_are_measured_and_sampled_ones_learned_from() -> None:
    """Point k by hand: parameters adapted on sampled episodes, then played with no noise left in them."""
    policy, task = MLPPolicy.for_tasks(TASKS, generator(0), hidden=(5,)), TASKS.sample(5, generator(1))
    got, gen = adaptation_curve(TASKS, policy, task, CONFIG, generator(2), deterministic=True), generator(2)
    noise = [draw_noise(TASKS, policy, 5, 4, gen) for _ in range(3)]
    for steps in range(3):
        params, _ = inner_loop(TASKS, policy, tile(policy.params(), 5), task, CONFIG, noise[:steps], create_graph=False)
        still = params | {"log_std": torch.full_like(params["log_std"], -60.0)}
        fresh = rollout(TASKS, policy, still, task, 4, noise=noise[steps])
        torch.testing.assert_close(got[steps], fresh.returns().mean(1))
    assert not torch.allclose(got, curve())
    torch.testing.assert_close(curve(deterministic=True, chunk_size=2), got)


def test_the_curve_repeats_and_does_not_depend_on_chunks() -> None:
    assert torch.equal(curve(), curve())
    torch.testing.assert_close(curve(chunk_size=2), curve())
    assert curve(inner_steps=0).shape == (1, 5)


def test_the_curve_leaves_the_policy_and_the_global_random_state_alone() -> None:
    policy = MLPPolicy.for_tasks(TASKS, generator(0), hidden=(5,))
    before, state = policy.params(), torch.get_rng_state()
    adaptation_curve(TASKS, policy, TASKS.sample(5, generator(1)), CONFIG, generator(2))
    assert all(torch.equal(before[name], p) for name, p in policy.params().items())
    assert torch.equal(state, torch.get_rng_state())


# --- Returns of trials ------------------------------------------------------------------------------------------------


def check_trial_returns(function: Any) -> None:
    """Of each of seven tasks and each of three episodes, some of which end early."""
    tasks = CartPoleTasks(horizon=30)
    policy = GRUPolicy.for_tasks(tasks, generator(0), hidden=4)
    task = tasks.sample(7, generator(1))
    batch = trial(tasks, policy, policy.params(), task, 3, generator(2))
    assert (batch.mask == 0).any()
    expected = batch.mask.sum(2)  # every step that is taken pays 1
    assert torch.equal(function(tasks, policy, task, 3, generator(2)), expected)
    assert torch.equal(function(tasks, policy, task, 3, generator(2), chunk=3), expected)  # in parts: the same


def test_returns_of_trials_come_task_by_task_and_episode_by_episode() -> None:
    check_trial_returns(trial_returns)


def test_returns_of_the_most_probable_actions() -> None:
    """As with no noise left in the policy, and not as with it."""
    tasks = PointGoal(horizon=6, dtype=F64)
    policy = GRUPolicy.for_tasks(tasks, generator(0), hidden=4)
    still = policy.replace(policy.params() | {"log_std": torch.full((2,), -60.0, dtype=F64)})
    task = tasks.sample(5, generator(1))
    got = trial_returns(tasks, policy, task, 3, generator(2), chunk=2, deterministic=True)
    torch.testing.assert_close(got, trial_returns(tasks, still, task, 3, generator(2)))
    assert not torch.allclose(got, trial_returns(tasks, policy, task, 3, generator(2)))


def test_another_score_is_given_the_tasks_and_their_trials() -> None:
    tasks = PointGoal(horizon=4)
    policy = GRUPolicy.for_tasks(tasks, generator(0), hidden=4)
    task = tasks.sample(5, generator(1))

    def nearest(own: Any, batch: Any) -> Tensor:
        return -(batch.last_observations - own["goal"].unsqueeze(1)).norm(dim=-1)

    got = trial_returns(tasks, policy, task, 2, generator(2), chunk=2, score=nearest)
    parts, gen = [], generator(2)
    for start in (0, 2, 4):
        own = index_task(task, slice(start, start + 2))
        parts.append(nearest(own, trial(tasks, policy, policy.params(), own, 2, gen)))
    assert torch.equal(got, torch.cat(parts))
    assert not got.requires_grad


def sums_over_episodes(*args: Any, **options: Any) -> Tensor:
    return trial_returns(*args, **options).sum(1, keepdim=True).expand(-1, 3)


def same_chance_in_every_chunk(
    tasks: Any, policy: Any, task: Any, episodes: int, gen: torch.Generator, chunk: int = 2000
) -> Tensor:
    state, scores = gen.get_state(), []
    for start in range(0, 7, chunk):
        gen.set_state(state)
        scores.append(trial_returns(tasks, policy, index_task(task, slice(start, start + chunk)), episodes, gen))
    return torch.cat(scores)


# --- Broken variants --------------------------------------------------------------------------------------------------


def trims_whole_scores_only(scores: Tensor) -> Tensor:
    n = len(scores)
    return scores.sort().values[n // 4 : n - n // 4].mean()


def median(scores: Tensor) -> Tensor:
    return scores.quantile(0.5)


def forgets_to_sort(scores: Tensor) -> Tensor:
    rising = torch.arange(len(scores), dtype=F64, requires_grad=True)
    (weights,) = torch.autograd.grad(iqm(rising), rising)
    return (scores * weights).sum()


def draws_single_scores(scores: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    """Resampling within each task, as if the scores of one seed were independent."""
    pick = torch.randint(5, (400 * 5, 50), generator=gen)
    means = scores.gather(0, pick).reshape(400, -1).mean(1)
    return means.quantile(0.025), means.quantile(0.975)


def draws_tasks_only(scores: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    pick = torch.randint(50, (400, 50), generator=gen)
    means = scores.mean(0)[pick].mean(1)
    return means.quantile(0.025), means.quantile(0.975)


def never_adapts(tasks: Any, policy: MLPPolicy, task: Any, config: MAMLConfig, gen: torch.Generator) -> Tensor:
    return adaptation_curve(tasks, policy, task, replace(config, inner_lr=1e-12), gen)


def scores_the_episodes_learned_from(
    tasks: Any, policy: MLPPolicy, task: Any, config: MAMLConfig, gen: torch.Generator
) -> Tensor:
    """Gotcha: the support episodes are used again for the score."""
    full = adaptation_curve(tasks, policy, task, config, gen)
    return torch.cat([full[:1], full[:-1]])


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        (check_trial_returns, sums_over_episodes),
        (check_trial_returns, same_chance_in_every_chunk),
        (check_iqm, trims_whole_scores_only),
        (check_iqm, median),
        (check_iqm, torch.mean),
        (check_iqm, forgets_to_sort),
        (check_coverage, draws_single_scores),
        (check_coverage, draws_tasks_only),
        (check_curve, never_adapts),
        (check_curve, scores_the_episodes_learned_from),
    ],
    ids=lambda function: function.__name__,
)
def test_a_broken_variant_fails_its_check(check: Any, broken: Any) -> None:
    with pytest.raises(AssertionError):
        check(broken)
