"""Returns and advantages against arrays worked out by hand, and the baseline against numpy, task by task.

Each check is a function of the function it is given, so that the broken variants at the end can be fed to it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.returns import (
    baseline_features,
    compared,
    discounted_returns,
    gae,
    linear_baseline,
    trial_gae,
    with_advantages,
)
from metarl_lite.rng import generator, normal, uniform
from metarl_lite.types import Rollout

F64 = torch.float64


def array(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=F64)


def batch_with_ends(seed: int = 0, n: int = 3, e: int = 4, t: int = 6, o: int = 2) -> Rollout:
    """Random numbers, and episodes of which most end early; after the end rewards are 0, as `rollout` has it."""
    gen = generator(seed)
    length = 1 + (uniform((n, e), gen, F64) * 2 * t).long().clamp(max=t - 1)  # about half reach the horizon
    step = torch.arange(t).expand(n, e, t)
    mask = (step < length.unsqueeze(-1)).to(F64)
    return Rollout(
        observations=normal((n, e, t, o), gen, F64),
        actions=normal((n, e, t, 1), gen, F64),
        rewards=normal((n, e, t), gen, F64) * mask + 3 * mask * torch.arange(n, dtype=F64).reshape(n, 1, 1),
        mask=mask,
        terminated=(step == length.unsqueeze(-1) - 1) & (length.unsqueeze(-1) < t),
        last_observations=normal((n, e, o), gen, F64),
    )


# --- Reward-to-go -----------------------------------------------------------------------------------------------------


def check_discounted_returns(function: Any) -> None:
    rewards = torch.stack([array(1, 2, 3), array(0, 0, -4)]).unsqueeze(0)  # [1, 2, 3]
    torch.testing.assert_close(function(rewards, 0.5)[0], torch.stack([array(2.75, 3.5, 3), array(-1, -2, -4)]))
    torch.testing.assert_close(function(rewards, 1.0)[0], torch.stack([array(6, 5, 3), array(-4, -4, -4)]))
    torch.testing.assert_close(function(rewards, 0.0), rewards)


def test_discounted_returns_by_hand() -> None:
    check_discounted_returns(discounted_returns)
    torch.testing.assert_close(discounted_returns(array(5), 0.9), array(5))


@pytest.mark.parametrize("discount", [-0.1, 1.01, float("nan")])
def test_a_discount_out_of_range_is_refused_by_name(discount: float) -> None:
    with pytest.raises(ValueError, match=r"discount = .*between 0 and 1"):
        discounted_returns(array(1, 2), discount)


# --- GAE --------------------------------------------------------------------------------------------------------------

REWARDS, VALUES, LAST = array(1, 0, 2), array(0.5, 1, 1.5), torch.tensor(3.0, dtype=F64)
BY_HAND = {0.0: array(1, -0.25, 2), 0.5: array(1.0625, 0.25, 2), 1.0: array(1.375, 0.75, 2)}
BY_HAND_ENDED = {0.0: array(1, -1, 2), 0.5: array(0.75, -1, 2), 1.0: array(0.5, -1, 2)}  # the second step is an end


def check_gae(function: Any) -> None:
    ended = torch.tensor([False, True, False])
    for lam, expected in BY_HAND.items():
        torch.testing.assert_close(function(REWARDS, VALUES, LAST, 0.5, lam), expected)
        torch.testing.assert_close(
            function(REWARDS, VALUES, LAST, 0.5, lam, torch.zeros(3, dtype=torch.bool)), expected
        )
        torch.testing.assert_close(function(REWARDS, VALUES, LAST, 0.5, lam, ended), BY_HAND_ENDED[lam])
    # The value after the last step counts with one discount, and with none of it where it is 0.
    torch.testing.assert_close(function(REWARDS, VALUES, 0 * LAST, 0.5, 1.0), array(1, 0, 0.5))


def test_gae_by_hand() -> None:
    check_gae(gae)


def test_gae_works_on_any_leading_dimensions() -> None:
    batch = batch_with_ends()
    values, last = normal((3, 4, 6), generator(1), F64), normal((3, 4), generator(2), F64)
    whole = gae(batch.rewards, values, last, 0.9, 0.7, batch.terminated)
    for n in range(3):
        for e in range(4):
            alone = gae(batch.rewards[n, e], values[n, e], last[n, e], 0.9, 0.7, batch.terminated[n, e])
            torch.testing.assert_close(whole[n, e], alone)


def test_gae_with_lambda_1_is_the_return_less_the_value_and_with_values_of_0_another_discount() -> None:
    batch = batch_with_ends()
    values, end = normal((3, 4, 6), generator(1), F64) * batch.mask, torch.zeros(3, 4, dtype=F64)
    full = gae(batch.rewards, values, end, 0.9, 1.0, batch.terminated)
    torch.testing.assert_close(full * batch.mask, discounted_returns(batch.rewards, 0.9) * batch.mask - values)
    plain = gae(batch.rewards, 0 * values, end, 0.9, 0.5, batch.terminated)
    torch.testing.assert_close(plain * batch.mask, discounted_returns(batch.rewards, 0.45) * batch.mask)


@pytest.mark.parametrize(("discount", "lam", "name"), [(2.0, 0.5, "discount"), (0.5, -1.0, "lam")])
def test_gae_refuses_numbers_out_of_range_by_name(discount: float, lam: float, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} = "):
        gae(REWARDS, VALUES, LAST, discount, lam)


# --- GAE over trials --------------------------------------------------------------------------------------------------


def one_trial(rewards: Tensor, mask: Tensor) -> Rollout:
    """A trial `[1, 2, T]` of which only rewards and mask matter."""
    rewards, mask = rewards.reshape(1, 2, -1), mask.reshape(1, 2, -1)
    empty = torch.zeros(*rewards.shape, 1)
    ended = (mask == 1) & (torch.cat([mask[..., 1:], torch.ones_like(mask[..., :1])], -1) == 0)
    return Rollout(empty, empty, rewards, mask, ended, empty[:, :, 0])


def check_trial_gae(function: Any) -> None:
    """By hand, gamma = lambda = 1/2, from the end: 8 - 6; 4 + 3 - 2 + 2/4; 2 + 1 - 3 + 5.5/4; 1 + 1.5 - 1 + 1.375/4."""
    by_hand = array(1.84375, 1.375, 5.5, 2)
    batch = one_trial(array(1, 2, 4, 8), torch.ones(4, dtype=F64))
    torch.testing.assert_close(function(batch, array(1, 3, 2, 6).reshape(1, 2, 2), 0.5, 0.5).flatten(), by_hand)
    # The same with steps that were not taken: what the critic says there counts nothing, and they take no time.
    taken = array(1, 1, 0, 1, 1, 0)
    values = array(1, 3, 99, 2, 6, -99).reshape(1, 2, 3)
    got = function(one_trial(array(1, 2, 0, 4, 8, 0), taken), values, 0.5, 0.5).flatten()
    torch.testing.assert_close(got, torch.cat([by_hand[:2], array(0), by_hand[2:], array(0)]))


def check_reward_to_go(function: Any) -> None:
    """With gamma = lambda = 1: all that is still paid in the trial, in later episodes too, less the value."""
    batch, values = batch_with_ends(), normal((3, 4, 6), generator(1), F64)
    rewards = batch.rewards.flatten(1)
    to_go = torch.stack([rewards[:, j:].sum(1) for j in range(24)], 1).reshape(3, 4, 6)
    torch.testing.assert_close(function(batch, values, 1.0, 1.0), (to_go - values) * batch.mask)


def test_trial_gae_goes_through_the_ends_of_episodes_and_not_past_that_of_the_trial() -> None:
    check_trial_gae(trial_gae)
    check_reward_to_go(trial_gae)


def test_trial_gae_of_one_episode_is_gae() -> None:
    batch, values = batch_with_ends(e=1), normal((3, 1, 6), generator(1), F64)
    expected = gae(batch.rewards, values, torch.zeros(3, 1, dtype=F64), 0.9, 0.7, batch.terminated) * batch.mask
    torch.testing.assert_close(trial_gae(batch, values, 0.9, 0.7), expected)


@pytest.mark.parametrize(("discount", "lam", "name"), [(1.1, 0.5, "discount"), (0.5, -1.0, "lam")])
def test_trial_gae_refuses_numbers_out_of_range_by_name(discount: float, lam: float, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} = .*between 0 and 1"):
        trial_gae(batch_with_ends(), torch.zeros(3, 4, 6, dtype=F64), discount, lam)


# --- Advantages compared with those of other trials -------------------------------------------------------------------


def check_compared(function: Any) -> None:
    """Four trials in two groups, one episode of two steps; the fourth trial did not take its second step."""
    advantages = torch.stack([array(1, 2), array(3, 6), array(0, 5), array(4, 99)]).unsqueeze(1)
    mask = torch.stack([array(1, 1), array(1, 1), array(1, 1), array(1, 0)]).unsqueeze(1)
    # Means of the groups, step by step: 2 and 4, 2 and 5. Squares 1 + 1 + 4 + 4 + 4 + 4 + 0, over seven steps.
    centred = torch.stack([array(-1, -2), array(1, 2), array(-2, 0), array(2, 0)]).unsqueeze(1)
    torch.testing.assert_close(function(advantages, mask, 2), centred / (18 / 7) ** 0.5, rtol=1e-7, atol=1e-12)


def check_groups(function: Any) -> None:
    mask = batch_with_ends(n=12).mask
    result = function(normal((12, 4, 6), generator(1), F64) + 5, mask, 3)
    grouped, taken = result.reshape(4, 3, 4, 6), mask.reshape(4, 3, 4, 6)
    assert grouped.sum(1).abs().max() < 1e-12
    assert (result[mask == 0] == 0).all()
    assert (grouped[(taken.sum(1, keepdim=True) == 1).expand_as(taken)] == 0).all(), "a trial alone is its own mean"
    assert result.square().sum().item() == pytest.approx(mask.sum().item())


def test_advantages_are_compared_within_groups_step_by_step() -> None:
    check_compared(compared)
    check_groups(compared)


def test_equal_trials_have_advantages_of_0_and_not_nan() -> None:
    assert torch.equal(compared(torch.ones(4, 2, 3), torch.ones(4, 2, 3), 2), torch.zeros(4, 2, 3))


# --- The baseline -----------------------------------------------------------------------------------------------------


def numpy_baseline(batch: Rollout, discount: float, ridge: float) -> np.ndarray:
    """The same fit by numpy.linalg.lstsq, one task at a time; the ridge as extra rows, the mask by leaving rows out."""
    obs, mask = batch.observations.numpy(), batch.mask.numpy().astype(bool)
    n, e, t, o = obs.shape
    obs = np.stack([(seen - seen[valid].mean(0)) / seen[valid].std(0) for seen, valid in zip(obs, mask, strict=True)])
    values = np.zeros((n, e, t))
    for task in range(n):
        rows, targets, places = [], [], []
        for episode in range(e):
            for step in range(t):
                if not mask[task, episode, step]:
                    continue
                s, tau = obs[task, episode, step], step / t
                rows.append([*s, *s**2, tau, tau**2, tau**3, 1.0])
                gain = [discount**k * batch.rewards[task, episode, step + k].item() for k in range(t - step)]
                targets.append(sum(gain))
                places.append((task, episode, step))
        features = np.vstack([rows, np.sqrt(ridge * e * t) * np.eye(2 * o + 4)])
        weights, *_ = np.linalg.lstsq(features, np.array(targets + [0.0] * (2 * o + 4)), rcond=None)
        for row, place in zip(rows, places, strict=True):
            values[place] = row @ weights
    return values


def check_baseline(function: Any) -> None:
    for seed, ridge in ((0, 1e-5), (1, 0.1)):
        batch = batch_with_ends(seed, n=3, e=5, t=8)
        expected = torch.from_numpy(numpy_baseline(batch, 0.9, ridge))
        torch.testing.assert_close(function(batch, 0.9, ridge), expected, atol=1e-7, rtol=1e-7)


def test_the_baseline_is_the_least_squares_fit_of_every_task_by_itself() -> None:
    check_baseline(linear_baseline)


def test_the_baseline_survives_features_that_repeat_one_another() -> None:
    """A constant observation, one step: all features are the same, and only the ridge tells them apart."""
    batch = batch_with_ends(t=1, e=10, o=1)
    batch = replace(batch, observations=torch.ones_like(batch.observations))
    fitted = linear_baseline(batch, 1.0)
    torch.testing.assert_close(fitted, batch.rewards.mean(1, keepdim=True).expand_as(fitted), rtol=1e-4, atol=1e-4)


def best_fit(seen: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Plain least squares in float64 on centred features of one task, `[E, T, O]` and `[E, T]`, without a ridge."""
    e, t, o = seen.shape
    x = seen.astype(np.float64).reshape(e * t, o)
    x = x - x.mean(0)
    x /= np.abs(x).max(0)
    time = np.tile(np.arange(t) / t, e)[:, None]
    features = np.hstack([x, x**2, time, time**2, time**3, np.ones_like(time)])
    weights, *_ = np.linalg.lstsq(features, targets.reshape(-1), rcond=None)
    return (features @ weights).reshape(e, t)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e2, 1e4, 1e6])
def test_the_baseline_explains_as_much_wherever_the_origin_is_and_whatever_the_unit(
    offset: float, scale: float
) -> None:
    gen = generator(4)
    place = normal((2, 10, 20, 3), gen, torch.float32) + offset
    place = place * scale
    shape = place.double() / scale - offset  # what float32 has left of it
    pay = shape[..., 0] - shape[..., 1] ** 2 + 0.3 * normal((2, 10, 20), gen, F64)
    rewards, ones = pay.float(), torch.ones(2, 10, 20)
    batch = Rollout(place, place, rewards, ones, ones < 0, place[:, :, 0])
    values, targets = linear_baseline(batch, 0.0), discounted_returns(rewards, 0.0).double()
    for task in range(2):
        best = best_fit(place[task].numpy(), targets[task].numpy())
        left = (values[task].double() - targets[task]).square().mean()
        least = np.square(best - targets[task].numpy()).mean()
        assert left <= 1.01 * least


def test_a_number_that_never_changes_explains_nothing_wherever_it_lies() -> None:
    """Nor do so many of them make the steps few."""
    batch = batch_with_ends(n=2, e=5, t=8)
    fixed = (torch.arange(1, 20, dtype=F64) * 1e6 / 3).expand(2, 5, 8, 19)
    more = replace(batch, observations=torch.cat([batch.observations, fixed], -1))
    torch.testing.assert_close(linear_baseline(more, 0.9), linear_baseline(batch, 0.9), rtol=1e-9, atol=1e-9)


def test_where_features_exceed_steps_each_episode_is_expected_from_the_others() -> None:
    """The formula of `held_out_values` against fits that never saw the episode, made one by one."""
    batch = batch_with_ends(seed=3, n=2, e=3, t=4, o=9)  # 22 features, at most 12 steps
    values = linear_baseline(batch, 0.9, 0.1)
    features = baseline_features(batch)
    targets = (discounted_returns(batch.rewards, 0.9) * batch.mask).reshape(2, 12)
    for task, episode in product(range(2), range(3)):
        others = torch.arange(12) // 4 != episode
        x, y = features[task, others], targets[task, others]
        weights = torch.linalg.solve(x.mT @ x + 0.1 * 12 * torch.eye(22, dtype=F64), x.mT @ y)
        expected = features[task, ~others] @ weights
        torch.testing.assert_close(values[task, episode], expected, rtol=1e-8, atol=1e-8)
    ready = with_advantages(batch, 0.9)
    assert ready.advantages is not None
    assert ready.advantages.std() > 0.3 * batch.rewards.std()


def test_a_single_short_episode_has_nothing_to_be_expected_from() -> None:
    batch = batch_with_ends(n=2, e=1, t=4, o=9)
    assert linear_baseline(batch, 0.9).abs().max() < 1e-8


def test_a_task_with_few_steps_changes_nothing_for_another() -> None:
    """One task of two ends so early that its features exceed its steps; each has the values it has alone."""
    batch = batch_with_ends(n=2, e=2, t=12, o=2)
    mask = batch.mask.clone()
    mask[0], mask[0, :, :3], mask[1] = 0, 1, 1
    batch = replace(batch, mask=mask, rewards=batch.rewards * mask)
    alone = [linear_baseline(batch.each(lambda x, i=i: x[i : i + 1]), 0.9) for i in range(2)]  # type: ignore[misc]
    together = linear_baseline(batch, 0.9)
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-9, atol=1e-9)
    assert (together[0, :, :3] - discounted_returns(batch.rewards, 0.9)[0, :, :3]).abs().max() > 0.1


def test_pictures_need_no_matrix_of_their_size_squared() -> None:
    """Of 20 tasks x 2 episodes x 10 steps of 64 x 64 x 3 numbers: with normal equations it would be 5 GB a task."""
    pytest.importorskip("resource", reason="Windows does not tell the largest size of a process")
    script = (
        "import torch\nfrom metarl_lite import linear_baseline\nfrom metarl_lite.types import Rollout\n"
        "from metarl_lite.experiments.maml import peak_mb\n"
        "seen, pay, one = torch.rand(20, 2, 10, 64 * 64 * 3), torch.rand(20, 2, 10), torch.ones(20, 2, 10)\n"
        "values = linear_baseline(Rollout(seen, seen, pay, one, one < 0, seen[:, :, 0]), 0.99)\n"
        "assert values.isfinite().all() and (values - pay).abs().max() > 0.1\n"
        "print(peak_mb())"  # of itself, not of this process, as getrusage would have it
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1000


# --- Both together ----------------------------------------------------------------------------------------------------


def test_advantages_are_gae_on_the_baseline_with_nothing_after_the_horizon() -> None:
    batch = batch_with_ends()
    values = linear_baseline(batch, 0.9)
    expected = gae(batch.rewards, values, torch.zeros(3, 4, dtype=F64), 0.9, 0.7, batch.terminated) * batch.mask
    ready = with_advantages(batch, 0.9, 0.7)
    torch.testing.assert_close(ready.advantages, expected)
    assert batch.advantages is None, "the given batch is not changed"


def check_normalised(function: Any) -> None:
    batch = batch_with_ends()
    advantages = function(batch).advantages
    for n in range(3):
        valid = advantages[n][batch.mask[n].bool()]
        assert abs(valid.mean()) < 1e-10
        assert abs(valid.std(correction=0) - 1) < 1e-6
    assert (advantages[batch.mask == 0] == 0).all()
    scaled = function(replace(batch, rewards=1000 * batch.rewards)).advantages
    torch.testing.assert_close(scaled, advantages, atol=1e-6, rtol=1e-6)


def test_normalised_advantages_have_mean_0_and_deviation_1_in_each_task_at_any_scale() -> None:
    check_normalised(lambda batch: with_advantages(batch, normalise=True))


def test_a_task_without_any_reward_has_advantages_of_0_and_not_nan() -> None:
    batch = batch_with_ends()
    ready = with_advantages(replace(batch, rewards=0 * batch.rewards), normalise=True)
    assert torch.equal(ready.advantages, torch.zeros(3, 4, 6, dtype=F64))


# --- Broken variants: each is a bug that was met in public code -------------------------------------------------------


def total_return(rewards: Tensor, discount: float) -> Tensor:
    return discounted_returns(rewards, discount)[..., :1].expand_as(rewards)


def discount_from_the_start(rewards: Tensor, discount: float) -> Tensor:
    return discounted_returns(rewards, discount) * discount ** torch.arange(rewards.shape[-1])


def runs_into_the_next_episode(rewards: Tensor, discount: float) -> Tensor:
    return discounted_returns(rewards.flatten(1), discount).reshape(rewards.shape)


def deaf_to_ends(
    rewards: Tensor, values: Tensor, last: Tensor, discount: float, lam: float, ended: Any = None
) -> Tensor:
    return gae(rewards, values, last, discount, lam)


def bootstraps_past_an_end(
    rewards: Tensor, values: Tensor, last: Tensor, discount: float, lam: float, ended: Any = None
) -> Tensor:
    """Adds the value of the next state although the dynamics have ended the episode."""
    alive = torch.ones_like(rewards) if ended is None else 1 - ended.to(rewards.dtype)
    following = torch.cat([values[..., 1:], last.unsqueeze(-1)], -1)
    return gae(rewards + discount * (1 - alive) * following, values, last, discount, lam, ended)


def forgets_the_last_value(
    rewards: Tensor, values: Tensor, last: Tensor, discount: float, lam: float, ended: Any = None
) -> Tensor:
    return gae(rewards, values, 0 * last, discount, lam, ended)


def invents_a_last_value(
    rewards: Tensor, values: Tensor, last: Tensor, discount: float, lam: float, ended: Any = None
) -> Tensor:
    return gae(rewards, values, values[..., -1], discount, lam, ended)


def fit(batch: Rollout, discount: float, ridge: float, time: Tensor) -> Tensor:
    obs, mask = batch.observations, batch.mask.unsqueeze(-1)
    count = mask.sum((1, 2), keepdim=True)
    obs = obs - (obs * mask).sum((1, 2), keepdim=True) / count
    obs = obs / ((obs * mask).square().sum((1, 2), keepdim=True) / count).sqrt()
    features = torch.cat([obs, obs**2, time, time**2, time**3, torch.ones_like(time)], -1)
    flat, target = (features * mask).flatten(1, 2), discounted_returns(batch.rewards, discount).flatten(1, 2)
    gram = flat.mT @ flat + ridge * obs.shape[1] * obs.shape[2] * torch.eye(features.shape[-1], dtype=F64)
    weights = torch.linalg.solve(gram, flat.mT @ target.unsqueeze(-1))
    return (features @ weights.unsqueeze(1)).squeeze(-1) * batch.mask


def within_an_episode(batch: Rollout) -> Tensor:
    n, e, t, _ = batch.observations.shape
    return (torch.arange(t, dtype=F64) / t).reshape(1, 1, t, 1).expand(n, e, t, 1)


def time_over_the_flattened_batch(batch: Rollout, discount: float, ridge: float) -> Tensor:
    """Gotcha: the time feature counts on from one episode to the next."""
    n, e, t, _ = batch.observations.shape
    return fit(batch, discount, ridge, (torch.arange(e * t, dtype=F64) / t).reshape(1, e, t, 1).expand(n, e, t, 1))


def one_fit_for_all_tasks(batch: Rollout, discount: float, ridge: float) -> Tensor:
    pooled = {name: getattr(batch, name).flatten(0, 1).unsqueeze(0) for name in ("observations", "rewards", "mask")}
    return fit(replace(batch, **pooled), discount, ridge, within_an_episode(replace(batch, **pooled))).reshape(
        batch.rewards.shape
    )


def fits_padding(batch: Rollout, discount: float, ridge: float) -> Tensor:
    unmasked = replace(batch, mask=torch.ones_like(batch.mask))
    return fit(unmasked, discount, ridge, within_an_episode(batch)) * batch.mask


def normalises_over_all_tasks(batch: Rollout) -> Rollout:
    ready = with_advantages(batch)
    valid = ready.advantages[batch.mask.bool()]
    return replace(ready, advantages=(ready.advantages - valid.mean()) / valid.std() * batch.mask)


def normalises_padding_too(batch: Rollout) -> Rollout:
    a = with_advantages(batch).advantages
    return replace(batch, advantages=(a - a.mean((1, 2), keepdim=True)) / a.std((1, 2), keepdim=True))


def ends_with_the_episode(batch: Rollout, values: Tensor, discount: float, lam: float) -> Tensor:
    """Gotcha 10: a value of zero at an inner episode's end, so what it teaches for the next ones is nobody's merit."""
    return gae(batch.rewards, values, torch.zeros_like(values[..., 0]), discount, lam, batch.terminated) * batch.mask


def value_of_zero_at_inner_ends(batch: Rollout, values: Tensor, discount: float, lam: float) -> Tensor:
    """Only the value is cut, not the advantage behind it."""
    last = torch.zeros(values.shape, dtype=F64)
    last[..., -1] = 1
    following = torch.cat([values.flatten(1)[:, 1:], torch.zeros(len(values), 1, dtype=F64)], 1).reshape(values.shape)
    return trial_gae(replace(batch, rewards=batch.rewards - discount * last * following), values, discount, lam)


def past_the_end_of_the_trial(batch: Rollout, values: Tensor, discount: float, lam: float) -> Tensor:
    """Gotcha 10: the value of a step that nobody will take is added to the trial's last reward."""
    rewards = batch.rewards.clone()
    rewards[:, -1, -1] += discount * values[:, -1, -1]
    return trial_gae(replace(batch, rewards=rewards), values, discount, lam)


def gives_time_to_steps_that_were_not_taken(batch: Rollout, values: Tensor, discount: float, lam: float) -> Tensor:
    everything = replace(batch, mask=torch.ones_like(batch.mask))
    return trial_gae(everything, values * batch.mask, discount, lam) * batch.mask


def compares_all_trials(advantages: Tensor, mask: Tensor, group: int) -> Tensor:
    return compared(advantages, mask, len(advantages))


def compares_every_second(advantages: Tensor, mask: Tensor, group: int) -> Tensor:
    """Groups of trials that do not stand in a row: other tasks'."""
    order = torch.arange(len(mask)).reshape(group, -1).T.flatten()
    return compared(advantages[order], mask[order], group)[order.argsort()]


def compares_steps_that_were_not_taken(advantages: Tensor, mask: Tensor, group: int) -> Tensor:
    return compared(advantages, torch.ones_like(mask), group) * mask


def compares_over_time(advantages: Tensor, mask: Tensor, group: int) -> Tensor:
    grouped, taken = (x.reshape(-1, group, *x.shape[1:]) for x in (advantages * mask, mask))
    mean = grouped.sum((1, 2, 3), keepdim=True) / taken.sum((1, 2, 3), keepdim=True)
    centred = ((grouped - mean) * taken).reshape(mask.shape)
    return centred / (centred.square().sum() / mask.sum()).sqrt()


def test_the_fit_of_the_broken_variants_is_itself_sound() -> None:
    check_baseline(lambda batch, discount, ridge: fit(batch, discount, ridge, within_an_episode(batch)))


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        (check_discounted_returns, total_return),
        (check_discounted_returns, discount_from_the_start),
        (check_discounted_returns, runs_into_the_next_episode),
        (check_gae, deaf_to_ends),
        (check_gae, bootstraps_past_an_end),
        (check_gae, forgets_the_last_value),
        (check_gae, invents_a_last_value),
        (check_baseline, time_over_the_flattened_batch),
        (check_baseline, one_fit_for_all_tasks),
        (check_baseline, fits_padding),
        (check_normalised, normalises_over_all_tasks),
        (check_normalised, normalises_padding_too),
        (check_normalised, with_advantages),
        (check_trial_gae, ends_with_the_episode),
        (check_reward_to_go, ends_with_the_episode),
        (check_trial_gae, value_of_zero_at_inner_ends),
        (check_trial_gae, past_the_end_of_the_trial),
        (check_reward_to_go, past_the_end_of_the_trial),
        (check_trial_gae, gives_time_to_steps_that_were_not_taken),
        (check_compared, compares_all_trials),
        (check_groups, compares_all_trials),
        (check_compared, compares_every_second),
        (check_compared, compares_steps_that_were_not_taken),
        (check_compared, compares_over_time),
    ],
    ids=lambda function: function.__name__,
)
def test_a_broken_variant_fails_its_check(check: Any, broken: Any) -> None:
    with pytest.raises(AssertionError):
        check(broken)


# --- Numbers that nobody gives, and their precision -------------------------------------------------------------------


def test_what_is_not_said_is_said_by_the_book() -> None:
    batch = batch_with_ends()
    torch.testing.assert_close(linear_baseline(batch, 0.9), linear_baseline(batch, 0.9, 1e-5), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(linear_baseline(batch, 0.9), linear_baseline(batch, 0.9, 1e-4), rtol=1e-6)
    ready = with_advantages(batch).advantages
    torch.testing.assert_close(ready, with_advantages(batch, 0.99, 1.0, False).advantages, rtol=1e-9, atol=1e-9)
    for other in ((1.0, 1.0, False), (0.99, 0.95, False), (0.99, 1.0, True)):
        assert not torch.allclose(ready, with_advantages(batch, *other).advantages, rtol=1e-3)


def test_the_baselines_discount_is_that_of_the_advantages() -> None:
    """With lambda 1, advantages less returns are minus the baseline, fitted to returns of the same discount."""
    batch = batch_with_ends(t=8)
    ready = with_advantages(batch, 0.5, 1.0)
    assert ready.advantages is not None
    found = discounted_returns(batch.rewards, 0.5) * batch.mask - ready.advantages
    torch.testing.assert_close(found, torch.from_numpy(numpy_baseline(batch, 0.5, 1e-5)), rtol=1e-6, atol=1e-6)


def test_the_ridge_grows_with_the_number_of_steps() -> None:
    """Everything twice is the same problem: the fit stays where it was."""
    batch = batch_with_ends(e=3)
    twice = replace(
        batch, **{n: torch.cat([getattr(batch, n)] * 2, 1) for n in ("observations", "actions", "rewards", "mask")}
    )
    fitted = linear_baseline(twice, 0.9, 0.1)
    torch.testing.assert_close(fitted[:, :3], linear_baseline(batch, 0.9, 0.1), rtol=1e-9, atol=1e-9)


def test_normal_equations_are_solved_in_double_precision_whatever_the_batch_is() -> None:
    """Zeros and ones are their own squares, so the ridge alone tells two features apart; 1e-8 of it is lost in float32.

    All sums of products are exact in either type, so on any processor the two batches pose the same equations.
    """
    gen = generator(0)
    observations = torch.randint(0, 2, (4, 20, 4, 2), generator=gen)
    rewards, ones = torch.randint(-3, 4, (4, 20, 4), generator=gen), torch.ones(4, 20, 4)
    fitted = {}
    for dtype in (torch.float32, F64):
        seen = observations.to(dtype)
        batch = Rollout(seen, seen, rewards.to(dtype), ones.to(dtype), ones < 0, seen[:, :, 0])
        fitted[dtype] = linear_baseline(batch, 0.5, 1e-8)
        assert fitted[dtype].dtype == dtype
    torch.testing.assert_close(fitted[torch.float32].double(), fitted[F64], rtol=0, atol=1e-4)


NO_SHARE = ["0.1", Decimal("0.1"), True, None, [0.5]]


@pytest.mark.parametrize("value", NO_SHARE, ids=repr)
def test_a_discount_that_is_no_number_is_shown_as_it_is(value: Any) -> None:
    words = rf" = {re.escape(repr(value))}: a number between 0 and 1 is needed"
    with pytest.raises(ValueError, match="discount" + words):
        discounted_returns(REWARDS, value)
    with pytest.raises(ValueError, match="lam" + words):
        gae(REWARDS, VALUES, LAST, 0.9, value)
    with pytest.raises(ValueError, match="gae_lambda" + words):
        MAMLConfig(gae_lambda=value)


def test_a_fraction_is_a_discount_and_a_tensor_keeps_its_gradient() -> None:
    assert torch.equal(discounted_returns(REWARDS, Fraction(1, 10)), discounted_returns(REWARDS, 0.1))
    assert torch.equal(
        gae(REWARDS, VALUES, LAST, Fraction(1, 2), Fraction(1, 4)), gae(REWARDS, VALUES, LAST, 0.5, 0.25)
    )
    discount = torch.tensor(0.5, requires_grad=True)
    discounted_returns(array(1, 2, 4), discount)[0].backward()
    assert discount.grad == 2 + 2 * 0.5 * 4  # of 1 + 2 g + 4 g^2


@pytest.mark.parametrize("ridge", [float("nan"), float("inf"), -0.1, True, "0.1", Decimal("0.1"), np.ones(2), None])
def test_a_ridge_is_a_number_of_at_least_0(ridge: Any) -> None:
    with pytest.raises(ValueError, match=r"ridge = .*: a number of at least 0 is needed, such as ridge=1e-5"):
        linear_baseline(batch_with_ends(), 0.9, ridge)


def test_a_ridge_of_any_library_is_one() -> None:
    for ridge in (np.float64(0.25), Fraction(1, 4), torch.tensor(0.25)):
        same = linear_baseline(batch_with_ends(), 0.9, ridge)  # type: ignore[arg-type]
        assert torch.equal(same, linear_baseline(batch_with_ends(), 0.9, 0.25))


WRONG_STEPS: dict[str, tuple[Callable[[], Any], str]] = {
    "a list": (lambda: discounted_returns([1.0, 2.0], 0.9), r"rewards: a tensor .* not a list of 2"),  # type: ignore[arg-type]
    "an array": (lambda: discounted_returns(np.ones(2), 0.9), r"rewards: .* not an array of shape \[2\]"),  # type: ignore[arg-type]
    "no step": (lambda: discounted_returns(torch.ones(2, 0), 0.9), r"rewards: .* not a tensor of shape \[2, 0\]"),
    "one number": (lambda: discounted_returns(torch.tensor(1.0), 0.9), r"rewards: .* not a tensor of shape \[\]"),
    "rewards of gae": (lambda: gae([1.0], VALUES, LAST, 0.9, 0.9), r"rewards: a tensor"),  # type: ignore[arg-type]
    "last_value": (lambda: gae(REWARDS, VALUES, 0.0, 0.9, 0.9), r"last_value: a tensor of shape .* not 0.0"),  # type: ignore[arg-type]
    "values": (lambda: gae(REWARDS, VALUES[..., 1:], LAST, 0.9, 0.9), r"values: a tensor of shape"),
    "terminated": (
        lambda: gae(torch.ones(2, 3), torch.ones(2, 3), torch.ones(2), 0.9, 0.9, torch.ones(3)),
        r"terminated: a tensor of shape \[2, 3\] is needed here, not a tensor of shape \[3\]",
    ),
    "values of a trial": (lambda: trial_gae(batch_with_ends(), torch.zeros(2), 0.9, 0.9), r"values: a tensor of shape"),
    "no trial": (lambda: trial_gae(None, VALUES, 0.9, 0.9), r"batch is of type NoneType: Rollout is needed"),  # type: ignore[arg-type]
    "no batch": (lambda: with_advantages(None), r"batch is .*: Rollout is needed here, made with rollout\(\.\.\.\) or"),  # type: ignore[arg-type]
    "a class": (lambda: linear_baseline(Rollout, 0.9), r"batch is the class Rollout"),  # type: ignore[arg-type]
    "mask": (
        lambda: with_advantages(replace(batch_with_ends(), mask=torch.ones(2))), r"mask: .* not a tensor of shape \[2\]"
    ),
    "two dimensions": (
        lambda: linear_baseline(replace(batch_with_ends(), rewards=array(1), mask=array(1)), 0.9),
        r"rewards: a tensor of shape \[3, 4, 6\] is needed here, not a tensor of shape \[1\]",
    ),
    "advantages": (lambda: compared(torch.ones(2), torch.ones(4, 2, 3), 2), r"advantages: a tensor of shape"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_STEPS)
def test_what_are_no_steps_are_named(wrong: str) -> None:
    ask, message = WRONG_STEPS[wrong]
    with pytest.raises(ValueError, match=message):
        ask()
