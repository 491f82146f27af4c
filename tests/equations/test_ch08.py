"""Equations of chapter 8: every support is listed, and the package's own autodiff is run on each of them.

Nothing here is sampled but in the last test: expectations are sums over all sequences of actions, weighted by their
probability, so estimators, oracles and finite differences have to agree to rounding.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.algorithms.inner import adapt
from metarl_lite.losses import LOSSES, dice, linearised, policy_gradient, sampling_term
from metarl_lite.oracles import MetaGradients, one_parameter_meta_gradient, tabular_meta_gradient
from metarl_lite.oracles.estimators import list_episodes
from metarl_lite.oracles.tabular import policy_value
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.returns import discounted_returns
from metarl_lite.rng import generator, uniform
from metarl_lite.rollout import rollout
from metarl_lite.tasks.bandits import BernoulliBandit
from metarl_lite.tasks.tabular import TabularMDP
from metarl_lite.types import LossFunction, Params, Rollout

F64 = torch.float64
START = torch.tensor([[0.5, -0.5], [-0.3, 0.3]], dtype=F64)
PROBLEMS = [(0.5, 2.0, 5), (0.5, 8.0, 5), (0.7, 8.0, 1), (1.0, 8.0, 4), (0.0, 3.0, 2)]
KNOWN = {  # J (II), dJ (II), dJ (I), plain, first order; found by an independent calculation
    (0.5, 2.0, 5): (0.57797, -0.06701, -0.06972, -0.04263, -0.03265),
    (0.5, 8.0, 5): (0.76413, -0.15388, -0.19008, -0.06312, -0.06059),
}


# --- The coin, from its definition ------------------------------------------------------------------------------------


def by_hand(theta: float, w: float, alpha: float, pulls: int) -> tuple[float, float]:
    """J (II) and J (I), with plain floats: a sum over all sequences of pulls, and the step of their mean."""
    p = 1 / (1 + 2.718281828459045**-theta)
    total = {"sampled": 0.0, "expected": 0.0}
    for pays, share in ((1, w), (0, 1 - w)):
        mean_step = 0.0
        for arms in itertools.product((0, 1), repeat=pulls):
            chance, step = 1.0, 0.0
            for arm in arms:
                chance *= p if arm else 1 - p
                step += (arm == pays) * ((1 - p) if arm else -p) / pulls
            after = 1 / (1 + 2.718281828459045 ** -(theta + alpha * step))
            total["sampled"] += share * chance * (after if pays else 1 - after)
            mean_step += chance * step
        after = 1 / (1 + 2.718281828459045 ** -(theta + alpha * mean_step))
        total["expected"] += share * (after if pays else 1 - after)
    return total["sampled"], total["expected"]


@pytest.mark.parametrize(("w", "alpha", "pulls"), PROBLEMS)
def test_eq_two_objectives(w: float, alpha: float, pulls: int) -> None:
    found = one_parameter_meta_gradient(1.0, w, alpha, pulls)
    sampled, expected = by_hand(1.0, w, alpha, pulls)
    assert abs(found.objective - sampled) < 1e-12
    assert abs(found.objective_expected - expected) < 1e-12
    ends = [by_hand(1.0 + h, w, alpha, pulls) for h in (-1e-5, 1e-5)]
    assert abs(found.exact_sampled - (ends[1][0] - ends[0][0]) / 2e-5) < 1e-8
    assert abs(found.exact_expected - (ends[1][1] - ends[0][1]) / 2e-5) < 1e-8


@pytest.mark.parametrize("row", KNOWN, ids=str)
def test_the_known_table(row: tuple[float, float, int]) -> None:
    found = one_parameter_meta_gradient(1.0, *row)
    names = ("objective", "exact_sampled", "exact_expected", "plain", "first_order")
    for name, value in zip(names, KNOWN[row], strict=True):
        assert abs(found[name] - value) < 1e-5, name  # one of the last of five digits; half of it is their rounding


def listed_coin(pays: int, alpha: float, pulls: int) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """For every sequence of pulls: its probability, each loss's meta-gradient by the package, the sampling term."""
    arms = torch.cartesian_prod(*[torch.arange(2)] * pulls).reshape(-1, pulls, 1)  # [N, E, T = 1]
    count = len(arms)
    policy = MLPPolicy.for_tasks(BernoulliBandit(num_arms=2, horizon=1, dtype=F64), generator(0), hidden=())
    theta = torch.ones(count, dtype=F64, requires_grad=True)
    logits = torch.stack([torch.zeros_like(theta), theta], -1).unsqueeze(1)  # [N, 1, 2]
    params = {"w0": logits, "b0": torch.zeros(count, 2, dtype=F64)}
    paid, ones = (arms == pays).double(), torch.ones(arms.shape, dtype=F64)
    support = Rollout(ones.unsqueeze(-1), arms, paid, ones, torch.zeros_like(ones, dtype=torch.bool), ones, paid)
    log_prob = policy.log_prob(params, support.observations, arms)  # [N, E, 1]
    found = {}
    for name, loss in LOSSES.items():
        phi = adapt(policy, params, support, loss, {"w0": torch.tensor([0, alpha], dtype=F64)})["w0"]
        reward = phi.squeeze(1).softmax(-1)[:, pays]  # [N]
        (found[name],) = torch.autograd.grad(reward.sum(), theta, retain_graph=True)
    credit = []
    for i in range(count):  # one task at a time: then sampling_term takes no baseline, and is unbiased by itself
        query = replace(support, rewards=reward[i].detach().reshape(1, 1, 1), mask=torch.ones(1, 1, 1, dtype=F64))
        part = replace(support, mask=support.mask[i : i + 1])
        loss_i = sampling_term(log_prob[i : i + 1], part, query).sum()
        credit.append(-torch.autograd.grad(loss_i, theta, retain_graph=True)[0][i])
    return log_prob.detach().sum((1, 2)).exp(), found, torch.stack(credit)


@pytest.mark.parametrize(("w", "alpha", "pulls"), PROBLEMS)
def test_eq_sampling_gradient(w: float, alpha: float, pulls: int) -> None:
    means = dict.fromkeys([*LOSSES, "credit"], 0.0)
    for pays, share in ((1, w), (0, 1 - w)):
        chance, found, credit = listed_coin(pays, alpha, pulls)
        assert abs(chance.sum() - 1) < 1e-12
        for name, values in (found | {"credit": credit}).items():
            means[name] += share * (chance * values).sum().item()
    exact = one_parameter_meta_gradient(1.0, w, alpha, pulls)
    ends = [by_hand(1.0 + h, w, alpha, pulls)[0] for h in (-1e-5, 1e-5)]
    assert abs(means["policy_gradient"] + means["credit"] - (ends[1] - ends[0]) / 2e-5) < 1e-8
    assert abs(exact.e_maml - exact.exact_sampled) < 1e-12
    assert abs(means["policy_gradient"] - exact.plain) < 1e-12
    assert abs(means["dice"] - exact.dice) < 1e-12
    assert abs(means["linearised"] - exact.linearised) < 1e-12
    assert abs(means["dice"] + means["credit"] - exact.dice_sampled) < 1e-12


# --- Two small decision processes -------------------------------------------------------------------------------------


def mdp(horizon: int, which: int = 1) -> tuple[TabularMDP, dict[str, Tensor]]:
    tasks = TabularMDP(2, 2, horizon=horizon, reward_noise=0, dtype=F64)
    pair = tasks.sample(2, generator(2))
    return tasks, {name: leaf[which : which + 1] for name, leaf in pair.items()}


def exact_hessian(task: dict[str, Tensor], horizon: int) -> Tensor:
    def value(flat: Tensor) -> Tensor:
        pi = flat.reshape(2, 2).softmax(-1)
        total: Tensor = policy_value(pi, task["transitions"][0], task["rewards"][0], horizon)[0][0] / horizon
        return total

    hessian: Tensor = torch.autograd.functional.hessian(value, START.flatten())  # type: ignore[no-untyped-call]
    return hessian


def listed_episodes(horizon: int, episodes: int, which: int = 1) -> tuple[MLPPolicy, Params, Rollout, Tensor]:
    """Every support of that many episodes as a task of its own, with its probability; the logits are leaves."""
    tasks, task = mdp(horizon, which)
    every = list_episodes(task["transitions"][0], task["rewards"][0], horizon)
    index = torch.cartesian_prod(*[torch.arange(len(every.states))] * episodes).reshape(-1, episodes)  # [N, E]
    states, actions, rewards = every.states[index], every.actions[index], every.rewards[index]  # [N, E, T]
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=())
    logits = START.repeat(len(index), 1, 1).requires_grad_()
    params = {"w0": logits, "b0": torch.zeros(len(index), 2, dtype=F64)}
    seen = torch.nn.functional.one_hot(states, 2).double()
    ones = torch.ones_like(rewards)
    batch = Rollout(seen, actions, rewards, ones, torch.zeros_like(ones, dtype=torch.bool), seen[:, :, 0])
    batch = replace(batch, advantages=discounted_returns(rewards, 1.0))
    with torch.no_grad():
        log_prob = policy.log_prob(params, seen, actions).sum((1, 2))
    return policy, params, batch, log_prob.exp() * every.chance[index].prod(-1)


def mean_hessian(loss: LossFunction, horizon: int, episodes: int = 1) -> Tensor:
    policy, params, batch, chance = listed_episodes(horizon, episodes)
    (grad,) = torch.autograd.grad(-loss(policy, params, batch).sum(), params["w0"], create_graph=True)
    rows = [
        torch.autograd.grad(entry.sum(), params["w0"], retain_graph=True)[0].flatten(1) for entry in grad.flatten(1).T
    ]
    return torch.einsum("n,nij->ij", chance, torch.stack(rows, 1).detach())


@pytest.mark.parametrize("episodes", [1, 2])
def test_eq_missing_curvature(episodes: int) -> None:
    horizon = 2
    policy, params, batch, chance = listed_episodes(horizon, episodes)
    assert abs(chance.sum() - 1) < 1e-12
    step = -torch.autograd.grad(policy_gradient(policy, params, batch).sum(), params["w0"])[0].flatten(1)  # [N, D]
    log_prob = policy.log_prob(params, batch.observations, batch.actions).sum((1, 2))
    score = torch.autograd.grad(log_prob.sum(), params["w0"])[0].flatten(1)  # [N, D]
    missing = torch.einsum("n,ni,nj->ij", chance, score, step)
    differentiated = mean_hessian(policy_gradient, horizon, episodes)
    torch.testing.assert_close(differentiated + missing, exact_hessian(mdp(horizon)[1], horizon), rtol=0, atol=1e-12)
    assert missing.norm() > 0.1  # it is not a small thing that is missing


def test_missing_curvature_of_the_coin() -> None:
    p = torch.tensor(1.0, dtype=F64).sigmoid()
    theta = torch.tensor(1.0, dtype=F64, requires_grad=True)
    (slope,) = torch.autograd.grad(theta.sigmoid(), theta, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, theta)
    assert abs(curvature - (-(p**2) * (1 - p) + p * (1 - p) ** 2)) < 1e-12
    # With a large support, alpha times it, times the slope after the step, is what plain autodiff lacks.
    far, phi = one_parameter_meta_gradient(1.0, 1.0, 8.0, 20_000), 1 + 8 * p * (1 - p)
    lacks = 8 * p * (1 - p) ** 2 * phi.sigmoid() * (1 - phi.sigmoid())
    assert abs(far.exact_sampled - far.plain - lacks) < 1e-5


def test_what_autodiff_finds_of_the_coin_s_curvature_is_the_mean_with_the_pulls_held_fixed() -> None:
    p, pulls = torch.tensor(1.0, dtype=F64).sigmoid(), 5
    ones = torch.arange(pulls + 1, dtype=F64)  # k
    chance = torch.distributions.Binomial(pulls, p).log_prob(ones).exp()
    theta = torch.tensor(1.0, dtype=F64, requires_grad=True)
    found = [torch.autograd.grad(k / pulls * (1 - theta.sigmoid()), theta)[0] for k in ones]
    torch.testing.assert_close(torch.stack(found), -ones / pulls * p * (1 - p), rtol=0, atol=1e-12)
    assert abs((chance * torch.stack(found)).sum() + p**2 * (1 - p)) < 1e-12


@pytest.mark.parametrize(("pulls", "away"), [(1, 2.786), (5, 3.426), (50, 3.265)])
def test_ascent_along_autodiff_leads_off_from_far_to_the_right(pulls: int, away: float) -> None:
    slopes = [one_parameter_meta_gradient(away + h, 0.7, 8.0, pulls).plain for h in (-0.01, 0.01, 2.0)]
    assert slopes[0] < 0 < slopes[1]
    assert slopes[2] > 0


def test_half_a_curvature_can_be_worse_than_none() -> None:
    for pulls, better in ((1, False), (5, False), (10, True), (50, True)):
        found = one_parameter_meta_gradient(1.0, 0.5, 8.0, pulls)
        error = {name: abs(found[name] - found.exact_sampled) for name in ("plain", "first_order")}
        assert (error["first_order"] < error["plain"]) == better
    exact = exact_hessian(mdp(6)[1], 6)
    assert (mean_hessian(policy_gradient, 6) - exact).norm() > 1.5 * exact.norm()


def test_both_repairs_together_meet_the_gradient_of_ii_by_chance_at_one_pull_and_pass_it_after() -> None:
    ratios = []
    for pulls in (1, 2, 5, 50):
        found = one_parameter_meta_gradient(1.0, 0.5, 8.0, pulls)
        ratios.append(found.dice_sampled / found.exact_sampled)
    assert abs(ratios[0] - 0.962) < 0.001
    assert 1.2 < ratios[1] < ratios[2] < ratios[3] < 1.7


class Says:
    """In place of a policy: its log-probabilities are the parameter itself."""

    def log_prob(self, params: Params, observations: Tensor, actions: Tensor) -> Tensor:
        return params["log_prob"]


def test_eq_magic_box() -> None:
    """The package's boxes, `dice`: each is 1, and its derivatives of any order are those of a product over its past.

    The loss is minus the mean of differences of boxes times advantages, so it is minus the mean of boxes times falls
    of the advantages.
    """
    gen = generator(0)
    log_prob, nothing = (-uniform((2, 3, 4), gen, F64)).requires_grad_(), torch.zeros(2, 3, 4, 1, dtype=F64)
    advantages, mask = uniform((2, 3, 4), gen, F64), torch.ones(2, 3, 4, dtype=F64)
    batch = Rollout(nothing, nothing, advantages, mask, mask < 0, nothing[:, :, 0], advantages)
    loss = dice(Says(), {"log_prob": log_prob}, batch)  # type: ignore[arg-type]
    torch.testing.assert_close(loss, torch.zeros(2, dtype=F64))  # all boxes are 1, and so is the one before the first
    (first,) = torch.autograd.grad(-12 * loss.sum(), log_prob, create_graph=True)  # 12 steps a task
    falls = advantages - torch.cat([advantages[..., 1:], torch.zeros(2, 3, 1, dtype=F64)], -1)
    to_come = falls.flip(-1).cumsum(-1).flip(-1)  # a box counts for every action up to it
    torch.testing.assert_close(first, to_come, rtol=0, atol=1e-12)
    # Every box's gradient is the box times that of its exponent, so second derivatives go on in the same way.
    (second,) = torch.autograd.grad(first[0, 0, 1], log_prob, create_graph=True)
    expected = torch.stack([to_come[0, 0, max(t, 1)] for t in range(4)])
    torch.testing.assert_close(second[0, 0], expected, rtol=0, atol=1e-12)
    assert not second[0, 1:].any(), "a past is that of one episode"
    assert not second[1].any()
    (third,) = torch.autograd.grad(second[0, 0, 2], log_prob)
    torch.testing.assert_close(third[0, 0, 3], to_come[0, 0, 3], rtol=0, atol=1e-12)


@pytest.mark.parametrize("horizon", [1, 2, 3, 4])
def test_dice_has_the_hessian_of_the_expected_return(horizon: int) -> None:
    exact = exact_hessian(mdp(horizon)[1], horizon)
    torch.testing.assert_close(mean_hessian(dice, horizon), exact, rtol=0, atol=1e-12)
    assert (mean_hessian(policy_gradient, horizon) - exact).norm() > 0.2 * exact.norm()
    lvc = (mean_hessian(linearised, horizon) - exact).norm() / exact.norm()
    assert lvc < 1e-10 if horizon == 1 else lvc > 0.2


@pytest.mark.parametrize("divide_by", [2, 3])
def test_a_divided_exponent_is_not_dice(divide_by: int) -> None:
    class Quiet:
        def __init__(self, policy: MLPPolicy) -> None:
            self.policy = policy

        def log_prob(self, *args: Any) -> Tensor:
            return self.policy.log_prob(*args) / divide_by

    def divided(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
        return divide_by * dice(Quiet(policy), params, batch)  # type: ignore[arg-type]

    policy, params, batch, _ = listed_episodes(3, 1)
    grads = [torch.autograd.grad(f(policy, params, batch).sum(), params["w0"])[0] for f in (dice, divided)]
    torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=1e-12)  # nobody notices ...
    exact = exact_hessian(mdp(3)[1], 3)
    assert (mean_hessian(divided, 3) - exact).norm() > 0.2 * exact.norm()  # ... before the second derivative


@pytest.mark.parametrize(("horizon", "episodes"), [(2, 1), (2, 2), (3, 1)])
def test_autodiff_on_every_support_is_the_tabular_oracle(horizon: int, episodes: int) -> None:
    alpha, means = 2.0, dict.fromkeys([*LOSSES, "credit"], torch.zeros(2, 2, dtype=F64))
    pair = mdp(horizon)[0].sample(2, generator(2))
    for which in (0, 1):
        policy, params, batch, chance = listed_episodes(horizon, episodes, which)
        p, r = (pair[name][which].expand(len(chance), *pair[name].shape[1:]) for name in ("transitions", "rewards"))
        for name, loss in LOSSES.items():
            phi = adapt(policy, params, batch, loss, {"w0": alpha})["w0"]
            value = policy_value(phi.softmax(-1), p, r, horizon)[0][:, 0] / horizon  # [N]
            (grad,) = torch.autograd.grad(value.sum(), params["w0"])
            means[name] = means[name] + torch.einsum("n,nij->ij", chance, grad) / 2
        log_prob = policy.log_prob(params, batch.observations, batch.actions).sum((1, 2))
        (credit,) = torch.autograd.grad((log_prob * value.detach()).sum(), params["w0"])
        means["credit"] = means["credit"] + torch.einsum("n,nij->ij", chance, credit) / 2
    exact: MetaGradients = tabular_meta_gradient(START, pair["transitions"], pair["rewards"], horizon, alpha, episodes)
    for name, mine in {
        "plain": means["policy_gradient"],
        "dice": means["dice"],
        "linearised": means["linearised"],
        "exact_sampled": means["policy_gradient"] + means["credit"],
        "dice_sampled": means["dice"] + means["credit"],
    }.items():
        torch.testing.assert_close(mine, exact[name], rtol=0, atol=1e-12)


# --- Sampled ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("w", "alpha", "pulls"), [(0.5, 2.0, 5), (0.5, 8.0, 5)])
def test_sampled_estimators_have_the_exact_mean_and_deviation(w: float, alpha: float, pulls: int) -> None:
    """100,000 supports, with the baseline that the package takes: the mean of the other tasks."""
    count, gen = 100_000, generator(17)
    tasks = BernoulliBandit(num_arms=2, horizon=1, dtype=F64)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=())
    theta = torch.ones(count, dtype=F64, requires_grad=True)
    pays = (uniform((count,), gen, F64) < w).long()
    task = {"probabilities": torch.nn.functional.one_hot(pays, 2).double()}
    params = {
        "w0": torch.stack([torch.zeros_like(theta), theta], -1).unsqueeze(1),
        "b0": torch.zeros(count, 2, dtype=F64),
    }
    support = rollout(tasks, policy, params, task, pulls, gen)
    support = replace(support, advantages=support.rewards)
    samples = {}
    for name, loss in (("plain", policy_gradient), ("dice", dice)):
        phi = adapt(policy, params, support, loss, {"w0": torch.tensor([0, alpha], dtype=F64)})["w0"]
        reward = (phi.squeeze(1).softmax(-1) * task["probabilities"]).sum(-1)
        (samples[name],) = torch.autograd.grad(reward.sum(), theta, retain_graph=True)
    scored = reward.detach().reshape(-1, 1, 1)
    log_prob = policy.log_prob(params, support.observations, support.actions)
    loss_of_choice = sampling_term(log_prob, support, replace(support, rewards=scored, mask=torch.ones_like(scored)))
    (credit,) = torch.autograd.grad(-loss_of_choice.sum(), theta)
    samples |= {"e_maml": samples["plain"] + credit, "dice_sampled": samples["dice"] + credit}
    exact = one_parameter_meta_gradient(1.0, w, alpha, pulls)
    for name, sample in samples.items():
        assert abs(sample.mean() - exact[name]) < 4 * sample.std() / count**0.5, name
        assert abs(sample.std() / exact.deviation[name] - 1) < 0.02, name
    assert abs(samples["plain"].mean() - exact.exact_sampled) > 20 * samples["plain"].std() / count**0.5


def test_text_more_pulls_lift_the_objective_around_the_peaks_and_lower_it_far_from_them() -> None:
    """Chapter 8's figure of both objectives, at its share of 0.7 and its inner rate of 8."""

    def objectives(theta: float) -> list[float]:
        found = [one_parameter_meta_gradient(theta, 0.7, 8.0, pulls) for pulls in (1, 5, 50)]
        return [each.objective for each in found] + [found[0].objective_expected]

    for theta in (0.0, 0.5, 1.0):
        one, five, fifty, expected = objectives(theta)
        assert one < five < fifty < expected
    for theta in (-3.0, 3.0):
        one, five, fifty, expected = objectives(theta)
        assert one > five > fifty > expected
