"""The marked equations of chapter 4, each against code that does not use the package's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.algorithms.configs import MAMLConfig
from metarl_lite.losses import policy_gradient
from metarl_lite.oracles.bandits import exact_policy_gradient
from metarl_lite.oracles.supports import Episodes, scores
from metarl_lite.oracles.tabular import policy_value
from metarl_lite.policies.base import tile
from metarl_lite.policies.distributions import categorical_log_prob
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.returns import discounted_returns, gae, linear_baseline, with_advantages
from metarl_lite.rng import generator, normal, uniform
from metarl_lite.rollout import rollout
from metarl_lite.tasks.bandits import BernoulliBandit
from metarl_lite.tasks.navigation import PointGoal

F64 = torch.float64


def scores_of(theta: Tensor) -> Tensor:
    """The score of each arm by autograd, `[k, k]`."""
    return torch.func.jacrev(lambda x: x.log_softmax(-1))(theta)


def test_eq_score_function() -> None:
    theta, rewards = normal((4,), generator(0), F64), normal((4,), generator(1), F64)
    by_score = (theta.softmax(-1) * rewards) @ scores_of(theta)
    by_autograd = torch.func.grad(lambda x: x.softmax(-1) @ rewards)(theta)
    torch.testing.assert_close(by_score, by_autograd)
    torch.testing.assert_close(by_score, exact_policy_gradient(theta, rewards))


def test_eq_zero_mean_score() -> None:
    theta = normal((5,), generator(2), F64)
    torch.testing.assert_close(theta.softmax(-1) @ scores_of(theta), torch.zeros(5, dtype=F64), atol=1e-12, rtol=0)
    by_package = torch.func.jacrev(lambda x: categorical_log_prob(x.expand(5, 5), torch.arange(5)))(theta)
    torch.testing.assert_close(by_package, scores_of(theta))
    same = exact_policy_gradient(theta, torch.full((5,), 3.0, dtype=F64))  # of rewards that are all alike
    torch.testing.assert_close(same, torch.zeros(5, dtype=F64), atol=1e-12, rtol=0)


def test_eq_episode_score() -> None:
    """The transitions drop out of the score of an episode: here for every episode of two steps.

    And what is left is the score by which the package's oracle weighs its episodes.
    """
    gen = generator(10)
    weights, theta = uniform((2, 2, 2), gen, F64), normal((2, 2), gen, F64)
    transitions = weights / weights.sum(-1, keepdim=True)
    score = torch.func.jacrev(lambda x: x.log_softmax(-1))(theta)  # [S, A, S, A]
    for a0, s1, a1, s2 in product(range(2), repeat=4):

        def log_chance(x: Tensor, a0: int = a0, s1: int = s1, a1: int = a1, s2: int = s2) -> Tensor:
            pi = x.softmax(-1)
            return (pi[0, a0] * transitions[0, a0, s1] * pi[s1, a1] * transitions[s1, a1, s2]).log()

        found = torch.func.grad(log_chance)(theta)
        torch.testing.assert_close(found, score[0, a0] + score[s1, a1])
        steps = torch.tensor([[0, s1]]), torch.tensor([[a0, a1]])
        episode = Episodes(*steps, torch.zeros(1, 2, dtype=F64), torch.ones(1, dtype=F64))
        torch.testing.assert_close(scores(theta, episode)[0].sum(0), found.flatten())


def test_eq_policy_gradient() -> None:
    """The loss of chapter 4 as three loops; episodes end early here, so the mask counts."""
    tasks, gen = PointGoal(horizon=12, dtype=F64), generator(3)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(3,), init_std=0.02)
    params = tile(policy.params(), 2)
    goals = {"goal": torch.tensor([[0.0, 0.0], [0.02, 0.01]], dtype=F64)}
    batch = with_advantages(rollout(tasks, policy, params, goals, 3, gen))
    assert (batch.mask == 0).any()
    expected = torch.zeros(2, dtype=F64)
    for i in range(2):
        count = 0.0
        for e, t in product(range(3), range(12)):
            if batch.mask[i, e, t] == 1:
                mean = policy.forward(params, batch.observations)[i, e, t]
                normal_law = torch.distributions.Normal(mean, params["log_std"][i].exp())
                log_prob = normal_law.log_prob(batch.actions[i, e, t]).sum()
                expected[i] -= log_prob * batch.advantages[i, e, t]
                count += 1
        expected[i] /= count
    torch.testing.assert_close(policy_gradient(policy, params, batch), expected)


def test_eq_reward_to_go() -> None:
    rewards, discount = normal((2, 3, 7), generator(4), F64), 0.8
    expected = torch.zeros_like(rewards)
    for t in range(7):
        for k in range(t, 7):
            expected[..., t] += discount ** (k - t) * rewards[..., k]
    torch.testing.assert_close(discounted_returns(rewards, discount), expected)
    torch.testing.assert_close(expected[..., :-1], rewards[..., :-1] + discount * expected[..., 1:])


def expected_vote(paid: Callable[[list[int], list[int], Tensor, int], Tensor]) -> tuple[Tensor, Tensor]:
    """The mean over all trajectories of the sum of score times pay, and the exact gradient, in an MDP of 2 x 2 x 3."""
    gen = generator(5)
    weights = uniform((2, 2, 2), gen, F64)
    transitions, rewards = weights / weights.sum(-1, keepdim=True), normal((2, 2), gen, F64)
    theta = normal((2, 2), gen, F64)
    pi, scores = theta.softmax(-1), torch.func.jacrev(lambda x: x.log_softmax(-1))(theta)  # [S, A, S, A]
    total = torch.zeros(2, 2, dtype=F64)
    for acts in product(range(2), repeat=3):
        for after in product(range(2), repeat=3):
            states = [0, *after[:-1]]
            chance = torch.ones((), dtype=F64)
            for t in range(3):
                chance = chance * pi[states[t], acts[t]] * transitions[states[t], acts[t], after[t]]
            gains = torch.stack([rewards[s, a] for s, a in zip(states, acts, strict=True)])
            for t in range(3):
                total += chance * scores[states[t], acts[t]] * paid(states, list(acts), gains, t)
    exact = torch.func.grad(lambda x: policy_value(x.softmax(-1), transitions, rewards, 3)[0, 0])(theta)
    return total, exact


BASELINE = normal((2, 3), generator(6), F64)  # any V(s, t) at all
OF_THE_ACTION = normal((2, 2), generator(7), F64)


def check_unbiased(paid: Any) -> None:
    mean, exact = expected_vote(paid)
    torch.testing.assert_close(mean, exact)


def test_eq_baseline() -> None:
    """Total return, reward-to-go, and reward-to-go less any baseline have the same mean: the exact gradient."""
    check_unbiased(lambda states, acts, gains, t: gains.sum())
    check_unbiased(lambda states, acts, gains, t: gains[t:].sum())
    check_unbiased(lambda states, acts, gains, t: gains[t:].sum() - BASELINE[states[t], t])


@pytest.mark.parametrize(
    "paid",
    [
        lambda states, acts, gains, t: gains[t:].sum() - OF_THE_ACTION[states[t], acts[t]],  # a baseline of the action
        lambda states, acts, gains, t: gains[t + 1 :].sum(),  # the action's own reward is lost
        lambda states, acts, gains, t: gains[t],  # lambda = 0 with V = 0
    ],
)
def test_pay_that_depends_on_the_action_or_forgets_the_future_is_biased(paid: Any) -> None:
    with pytest.raises(AssertionError):
        check_unbiased(paid)


def own_mean_factor(pulls: int, baseline: Callable[[Tensor, int], Tensor]) -> Tensor:
    """The mean vote over every outcome of n pulls of a Bernoulli bandit, in units of the exact gradient."""
    theta, pays = torch.tensor([0.3, -0.2], dtype=F64), torch.tensor([0.2, 0.7], dtype=F64)
    pi, scores, total = theta.softmax(-1), scores_of(theta), torch.zeros(2, dtype=F64)
    for arms in product(range(2), repeat=pulls):
        for outcome in product((0.0, 1.0), repeat=pulls):
            paid = torch.tensor(outcome, dtype=F64)
            chance = torch.ones((), dtype=F64)
            for arm, won in zip(arms, outcome, strict=True):
                chance = chance * pi[arm] * (pays[arm] if won else 1 - pays[arm])
            for j, arm in enumerate(arms):
                total += chance * scores[arm] * (paid[j] - baseline(paid, j)) / pulls
    return total / exact_policy_gradient(theta, pays)


@pytest.mark.parametrize("pulls", [2, 3, 4])
def test_eq_own_mean(pulls: int) -> None:
    factor = own_mean_factor(pulls, lambda paid, j: paid.mean())
    torch.testing.assert_close(factor, torch.full((2,), 1 - 1 / pulls, dtype=F64))
    others = own_mean_factor(pulls, lambda paid, j: (paid.sum() - paid[j]) / (pulls - 1))
    torch.testing.assert_close(others, torch.ones(2, dtype=F64), msg="the mean of the others costs nothing")


def test_the_fitted_baseline_of_a_bandit_is_the_mean_of_its_pulls() -> None:
    bandit, gen = BernoulliBandit(num_arms=2, horizon=1, dtype=F64), generator(8)
    policy = MLPPolicy.for_tasks(bandit, gen, hidden=())
    batch = rollout(bandit, policy, tile(policy.params(), 5), bandit.sample(5, gen), 10, gen)
    fitted = linear_baseline(batch, 0.99)
    torch.testing.assert_close(fitted, batch.rewards.mean(1, keepdim=True).expand_as(fitted), rtol=1e-4, atol=1e-5)


def check_gae(function: Any) -> None:
    """The recursion of the chapter written out as sums: (gamma lambda)^l delta, up to the first end."""
    gen, discount, lam = generator(9), 0.9, 0.6
    rewards, values = normal((2, 3, 6), gen, F64), normal((2, 3, 6), gen, F64)
    last, ended = normal((2, 3), gen, F64), uniform((2, 3, 6), gen, F64) < 0.2
    assert ended.any()
    expected = torch.zeros_like(rewards)
    for i, e, t in product(range(2), range(3), range(6)):
        for k in range(t, 6):
            following = last[i, e] if k == 5 else values[i, e, k + 1]
            delta = rewards[i, e, k] - values[i, e, k] + (0 if ended[i, e, k] else discount * following)
            expected[i, e, t] += (discount * lam) ** (k - t) * delta
            if ended[i, e, k]:
                break
    torch.testing.assert_close(function(rewards, values, last, discount, lam, ended), expected)


def test_eq_gae() -> None:
    check_gae(gae)
    with pytest.raises(AssertionError):
        check_gae(lambda r, v, last, discount, lam, ended: gae(r, v, last, discount, lam))
    with pytest.raises(AssertionError):
        check_gae(lambda r, v, last, discount, lam, ended: gae(r, v, last, discount, discount * lam, ended))


def test_rewards_of_the_past_have_a_mean_of_zero_with_the_score() -> None:
    """E[r_k score_t] = 0 for k < t, and not for k = t: over all trajectories of the MDP of 2 x 2 x 3."""
    past, _ = expected_vote(lambda states, acts, gains, t: gains[:t].sum())
    torch.testing.assert_close(past, torch.zeros(2, 2, dtype=F64), atol=1e-12, rtol=0)
    present, _ = expected_vote(lambda states, acts, gains, t: gains[t])
    assert present.abs().max() > 0.1


def mean_step_gradient(episodes: int) -> tuple[Tensor, Tensor, float]:
    """Action 1 ends an episode of at most two steps; theta has a logit for each step. All batches of that many.

    Gives the mean of the gradient of minus the loss, the exact gradient, and the mean length.
    """
    theta = torch.tensor([0.4, -0.3], dtype=F64)
    q = theta.sigmoid()  # the chance to end, at each step
    outcomes = [
        (q[0], [1], [1.0]),
        ((1 - q[0]) * q[1], [0, 1], [0.5, 3.0]),
        ((1 - q[0]) * (1 - q[1]), [0, 0], [0.5, 0.2]),
    ]
    total = torch.zeros(2, dtype=F64)
    for batch in product(outcomes, repeat=episodes):
        chance, vote, steps = torch.ones((), dtype=F64), torch.zeros(2, dtype=F64), 0
        for weight, acts, gains in batch:
            chance = chance * weight
            for t, act in enumerate(acts):
                vote[t] += (act - q[t]) * sum(gains[t:])
            steps += len(acts)
        total += chance * vote / steps

    def expected(x: Tensor) -> Tensor:
        p = x.sigmoid()
        return p[0] * 1.0 + (1 - p[0]) * (p[1] * 3.5 + (1 - p[1]) * 0.7)

    length = sum(float(weight) * len(acts) for weight, acts, _ in outcomes)
    return total, torch.func.grad(expected)(theta), length


def test_with_early_ends_the_divisor_is_random() -> None:
    """Then the mean of the estimate is not the gradient over the mean length, and comes nearer with more episodes."""
    gaps = []
    for episodes in (1, 2, 4, 6):
        mean, exact, length = mean_step_gradient(episodes)
        gaps.append(((mean - exact / length).norm() / (exact / length).norm()).item())
    assert gaps[0] > 0.1
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[3] < gaps[0] / 4


def test_the_defaults_are_those_that_the_chapter_states() -> None:
    assert (MAMLConfig().discount, MAMLConfig().gae_lambda) == (0.99, 0.98)
    defaults = {name: p.default for name, p in inspect.signature(with_advantages).parameters.items()}
    assert (defaults["discount"], defaults["gae_lambda"]) == (0.99, 1.0)
