"""Losses against numbers worked out by hand, and their second derivatives against exact Hessians.

An expectation over episodes is a sum over every episode that can happen, so nothing here but the last comparison of
spreads is left to chance. Broken losses must not pass.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.losses import LOSSES, advantages_of, clipped, dice, linearised, policy_gradient, sampling_term
from metarl_lite.oracles.tabular import policy_value
from metarl_lite.policies.base import tile
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.returns import discounted_returns, with_advantages
from metarl_lite.rng import generator, normal, uniform
from metarl_lite.rollout import rollout
from metarl_lite.tasks.bandits import BernoulliBandit
from metarl_lite.tasks.base import TaskDistribution
from metarl_lite.tasks.navigation import GridGoal, PointGoal
from metarl_lite.tasks.physics import PendulumTasks
from metarl_lite.tasks.tabular import TabularMDP
from metarl_lite.types import Params, Rollout

F64 = torch.float64


def tensor(*numbers: Any) -> Tensor:
    return torch.tensor(numbers, dtype=F64)


def gaussian() -> tuple[MLPPolicy, Params, Rollout]:
    """One task, one episode of two steps: mean = w s + b in two coordinates, standard deviation 1.

    The differences from the mean are (.5, .75) at the first step and (-1, 2.75) at the second.
    """
    policy = MLPPolicy(1, 2, generator(0), hidden=(), dtype=F64)
    params = {"w0": tensor([[0.5, -1.0]]), "b0": tensor([0.0, 0.25]), "log_std": tensor([0.0, 0.0])}
    params = {name: p.requires_grad_() for name, p in params.items()}
    ones = torch.ones(1, 1, 2, dtype=F64)
    batch = Rollout(
        observations=tensor([[[1.0], [2.0]]]).reshape(1, 1, 2, 1),
        actions=tensor([1.0, 0.0], [0.0, 1.0]).reshape(1, 1, 2, 2),
        rewards=ones,
        mask=ones,
        terminated=torch.zeros(1, 1, 2, dtype=torch.bool),
        last_observations=torch.zeros(1, 1, 1, dtype=F64),
        advantages=tensor(2.0, -1.0).reshape(1, 1, 2),
    )
    return policy, params, batch


@pytest.mark.parametrize("loss", [policy_gradient, linearised, dice])
def test_an_error_within_a_loss_stays_what_it_is(loss: Any) -> None:
    class Broken(MLPPolicy):
        def forward(self, params: Params, observations: Tensor) -> Tensor:
            return observations.nothing  # type: ignore[attr-defined, no-any-return]

    policy = Broken(1, 2, generator(0), hidden=(), dtype=F64)
    with pytest.raises(AttributeError, match="nothing"):
        loss(policy, *gaussian()[1:])


@pytest.mark.parametrize("loss", [policy_gradient, linearised, dice])
def test_a_batch_of_another_kind_of_policy_is_named(loss: Any) -> None:
    """Actions that are chosen, where they are numbers, and the other way round; too few coordinates, and too many."""
    families = {"grid": GridGoal(horizon=4), "plane": PointGoal(horizon=4)}
    batches = {}
    for name, tasks in families.items():
        policy = MLPPolicy.for_tasks(tasks, generator(0))
        given = tasks, policy, tile(policy.params(), 2), tasks.sample(2, generator(1)), 3, generator(2)
        batches[name] = with_advantages(rollout(*given))
    for name, size, discrete, words in (
        ("grid", 3, False, r"shape \[2, 3, 4\] of torch.int64, but this policy takes numbers of shape \[2, 3, 4, 3\]"),
        ("plane", 2, True, r"\[2, 3, 4, 2\] of torch.float32, .* takes integers 0 \.\.\. 1 of shape \[2, 3, 4\]"),
        ("plane", 3, False, r"\[2, 3, 4, 2\] of torch.float32, .* takes numbers of shape \[2, 3, 4, 3\]"),
        ("grid", 2, True, r"\[2, 3, 4\] of torch.int64, .* takes integers 0 \.\.\. 1 of shape \[2, 3, 4\]"),
    ):
        batch = batches[name]
        policy = MLPPolicy(batch.observations.shape[-1], size, generator(0), discrete=discrete)
        with pytest.raises(ValueError, match=rf"actions are a tensor of {words}|actions are .* {words}"):
            loss(policy, tile(policy.params(), 2), batch)


@pytest.mark.parametrize("loss", [policy_gradient, linearised, dice])
def test_actions_without_their_last_dimension_do_not_broadcast(loss: Any) -> None:
    """[N, E, T] against means [N, E, T, 1] would be [N, E, T, T]: every action judged by every step's mean."""
    tasks = PendulumTasks(horizon=4)
    policy = MLPPolicy.for_tasks(tasks, generator(0))
    given = tasks, policy, tile(policy.params(), 2), tasks.sample(2, generator(1)), 3, generator(2)
    batch = with_advantages(rollout(*given))
    for wrong in (batch.actions.squeeze(-1), batch.actions.expand(-1, -1, -1, 2)):
        with pytest.raises(ValueError, match=r"numbers of shape \[2, 3, 4, 1\]"):
            loss(policy, tile(policy.params(), 2), replace(batch, actions=wrong))
    # what broadcasts and means what it says is no mistake: one observation, and many actions
    seen, many = torch.zeros(1, 1, 3), torch.linspace(-1, 1, 5).reshape(1, 5, 1)
    assert policy.log_prob(tile(policy.params(), 1), seen, many).shape == (1, 5)


def gradient(loss_fn: Any, policy: MLPPolicy, params: Params, batch: Rollout) -> Params:
    loss = loss_fn(policy, params, batch)
    assert loss.shape == batch.rewards.shape[:1], "one loss per task"
    return dict(zip(params, torch.autograd.grad(loss.sum(), list(params.values())), strict=True))


def check_gradient_by_hand(loss_fn: Any) -> None:
    policy, params, batch = gaussian()
    got = gradient(loss_fn, policy, params, batch)
    # -(2 (.5, .75) - 1 (-1, 2.75)) / 2, the same with s = 1 and s = 2 before the terms, and -sum A (z^2 - 1) / 2.
    torch.testing.assert_close(got["b0"], tensor([-1.0, 0.625]))
    torch.testing.assert_close(got["w0"], tensor([[-1.5, 2.0]]))
    torch.testing.assert_close(got["log_std"], tensor([0.75, 3.71875]))


def check_mask(loss_fn: Any) -> None:
    """The second step was never taken: it counts neither in the sum nor in the number of steps."""
    policy, params, batch = gaussian()
    got = gradient(loss_fn, policy, params, replace(batch, mask=tensor(1.0, 0.0).reshape(1, 1, 2)))
    torch.testing.assert_close(got["b0"], tensor([-1.0, -1.5]))
    torch.testing.assert_close(got["w0"], tensor([[-1.0, -1.5]]))


def check_categorical(loss_fn: Any) -> None:
    policy = MLPPolicy(1, 2, generator(0), hidden=(), discrete=True, dtype=F64)
    params = {"w0": tensor([[0.0, 0.0]]), "b0": tensor([0.0, math.log(3)])}  # probabilities 1/4 and 3/4
    params = {name: p.requires_grad_() for name, p in params.items()}
    one = torch.ones(1, 1, 1, dtype=F64)
    ended, seen = torch.zeros(1, 1, 1, dtype=torch.bool), torch.ones(1, 1, 1, 1, dtype=F64)
    batch = Rollout(seen, torch.zeros(1, 1, 1, dtype=torch.long), one, one, ended, seen[:, :, 0], 2 * one)
    torch.testing.assert_close(gradient(loss_fn, policy, params, batch)["b0"], tensor([-1.5, 1.5]))


def check_tasks_are_apart(loss_fn: Any) -> None:
    """The gradient of the summed loss is that of a loop over tasks."""
    tasks, gen = PointGoal(horizon=30, dtype=F64), generator(0)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(4,), init_std=0.02)
    params = {name: p.clone().requires_grad_() for name, p in tile(policy.params(), 3).items()}
    batch = with_advantages(rollout(tasks, policy, params, {"goal": tensor([0, 0], [0.2, 0.1], [-0.3, 0.4])}, 5, gen))
    assert (batch.mask == 0).any(), "some episodes should end early, or the mask is not tried"
    together = gradient(loss_fn, policy, params, batch)
    for i in range(3):
        own = {name: p[i : i + 1].detach().requires_grad_() for name, p in params.items()}
        fields = {name: None if x is None else x[i : i + 1] for name, x in vars(batch).items()}
        alone = gradient(loss_fn, policy, own, Rollout(**fields))
        for name in params:
            torch.testing.assert_close(together[name][i], alone[name][0], atol=1e-12, rtol=1e-9)


CHECKS = [check_gradient_by_hand, check_mask, check_categorical, check_tasks_are_apart]


@pytest.mark.parametrize("loss_fn", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_gradient_of_every_loss_of_an_inner_step(check: Any, loss_fn: Any) -> None:
    check(loss_fn)


@pytest.mark.parametrize("loss_fn", LOSSES.values(), ids=LOSSES)
def test_a_batch_without_advantages_is_refused_with_the_remedy(loss_fn: Any) -> None:
    policy, params, batch = gaussian()
    with pytest.raises(ValueError, match=r"no advantages yet: .*with_advantages"):
        loss_fn(policy, params, replace(batch, advantages=None))


FAMILIES: dict[str, TaskDistribution] = {
    "continuous": PointGoal(horizon=6, dtype=F64),
    "discrete": GridGoal(size=3, horizon=6, dtype=F64),
    "bandit": BernoulliBandit(num_arms=3, horizon=6, dtype=F64),
}


def with_ends(family: str) -> tuple[MLPPolicy, Params, Rollout]:
    """Three tasks, four episodes each that end after 1 to 6 steps; what lies behind an end is not 0 but nonsense."""
    tasks, gen = FAMILIES[family], generator(1)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=(4,))
    params = {name: p.clone().requires_grad_() for name, p in tile(policy.params(), 3).items()}
    batch = rollout(tasks, policy, params, tasks.sample(3, gen), 4, gen)
    ends = torch.randint(1, 7, (3, 4, 1), generator=gen)
    assert ends.min() < 6
    return policy, params, replace(
        batch, mask=(torch.arange(6) < ends).to(F64), advantages=normal(tuple(batch.rewards.shape), gen, F64)
    )  # fmt: skip


def check_first_gradient(loss_fn: Any, family: str = "continuous") -> None:
    """The losses of the inner step differ in the second derivative and not in the first."""
    policy, params, batch = with_ends(family)
    torch.testing.assert_close(
        gradient(loss_fn, policy, params, batch),
        gradient(policy_gradient, policy, params, batch),
        rtol=1e-10,
        atol=1e-13,
    )


@pytest.mark.parametrize("loss_fn", [dice, linearised], ids=lambda f: f.__name__)
@pytest.mark.parametrize("family", FAMILIES)
def test_one_first_gradient(loss_fn: Any, family: str) -> None:
    check_first_gradient(loss_fn, family)


def check_value_of_dice(loss_fn: Any) -> None:
    """Every box is 1, so differences of boxes are 0."""
    policy, params, batch = with_ends("continuous")
    assert torch.equal(loss_fn(policy, params, batch).detach(), torch.zeros(3, dtype=F64))


def check_value_of_linearised(loss_fn: Any) -> None:
    """Every ratio is 1, so what is left is minus the mean advantage of the valid steps."""
    policy, params, batch = with_ends("continuous")
    advantages = advantages_of(batch)
    for n, value in enumerate(loss_fn(policy, params, batch).tolist()):
        assert value == pytest.approx(-advantages[n][batch.mask[n] > 0].mean().item(), abs=1e-14)


def test_the_value_of_each_loss() -> None:
    check_value_of_dice(dice)
    check_value_of_linearised(linearised)


# --- The second derivative in expectation, over all episodes that can happen ------------------------------------------

MDP_LOGITS = tensor([0.4, -0.3], [-0.8, 0.5])  # [S, A]
TRANSITIONS = tensor([[0.7, 0.3], [0.2, 0.8]], [[0.5, 0.5], [0.9, 0.1]])  # [S, A, S]
REWARDS = tensor([1.0, -0.5], [0.3, 2.0])  # [S, A]
HORIZON = 3


def table(logits: Tensor, size: int) -> tuple[MLPPolicy, Params]:
    """A policy without hidden layers on one-hot states: its first weight is the table of logits, for `size` tasks."""
    policy = MLPPolicy(*logits.shape, generator(0), hidden=(), discrete=True, dtype=F64)
    weight = logits.expand(size, *logits.shape).clone().requires_grad_()
    return policy, {"w0": weight, "b0": torch.zeros(size, logits.shape[1], dtype=F64)}


def every_support(
    logits: Tensor, transitions: Tensor, rewards: Tensor, horizon: int, episodes: int, final: int | None = None
) -> tuple[Tensor, Rollout]:
    """All lists of `episodes` episodes, one a task, and the probability of each; entering `final` ends an episode."""
    states, actions = rewards.shape
    pi = logits.softmax(-1)
    one: list[tuple[float, list[int], list[int], list[float]]] = []  # probability, states, actions, mask
    for acts in product(range(actions), repeat=horizon):
        for path in product(range(states), repeat=horizon - 1):
            seen, chance, alive, mask = [0, *path], 1.0, 1.0, []
            for t, (s, a) in enumerate(zip(seen, acts, strict=True)):
                mask.append(alive)
                chance *= pi[s, a].item()
                if t + 1 < horizon:
                    chance *= transitions[s, a, seen[t + 1]].item()
                    alive = 0.0 if seen[t + 1] == final else alive
            one.append((chance, seen, list(acts), mask))
    lists = list(product(one, repeat=episodes))
    weight = torch.tensor([math.prod(e[0] for e in each) for each in lists], dtype=F64)
    assert weight.sum().item() == pytest.approx(1, abs=1e-12)
    seen, acts = (torch.tensor([[e[i] for e in each] for each in lists]) for i in (1, 2))  # [J, E, T]
    mask = torch.tensor([[e[3] for e in each] for each in lists], dtype=F64)
    paid = rewards[seen, acts] * mask
    observations = torch.nn.functional.one_hot(seen, states).to(F64)
    ended = torch.zeros_like(mask, dtype=torch.bool)
    to_go = discounted_returns(paid, 1.0)
    return weight, Rollout(observations, acts, paid, mask, ended, observations[:, :, -1], to_go)


def expected_hessian(loss_fn: Any, logits: Tensor, weight: Tensor, batch: Rollout) -> Tensor:
    """The sum over supports of probability times Hessian, `[D, D]`."""
    policy, params = table(logits, len(weight))
    loss = loss_fn(policy, params, batch)
    (slope,) = torch.autograd.grad((loss * weight).sum(), params["w0"], create_graph=True)
    total = slope.sum(0).flatten()  # the supports have parameters of their own, so a sum over them mixes nothing
    rows = [torch.autograd.grad(g, params["w0"], retain_graph=True)[0].sum(0).flatten() for g in total]
    return torch.stack(rows)


def exact_hessian(logits: Tensor, transitions: Tensor, rewards: Tensor, horizon: int) -> Tensor:
    """Of the expected return of an episode, by autograd through the dynamic programme, `[D, D]`."""

    def value(x: Tensor) -> Tensor:
        return policy_value(x.reshape(logits.shape).softmax(-1), transitions, rewards, horizon)[0][0]

    hessian: Tensor = torch.autograd.functional.hessian(value, logits.flatten())
    return hessian


def assert_hessians_agree(found: Tensor, expected: Tensor) -> None:
    assert expected.abs().max() > 0.05, "a Hessian of nothing would agree with anything"
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def check_hessian_of_a_bandit(loss_fn: Any) -> None:
    """J = sum_a pi_a r_a, whose Hessian is diag(g) - pi g^T - g pi^T with g = pi (r - J), worked out by hand."""
    logits, rewards = tensor([0.5, -0.2, 0.1]), tensor(1.0, 0.2, -0.7)
    pi = logits[0].softmax(-1)
    g = pi * (rewards - pi @ rewards)
    by_hand = torch.diag(g) - torch.outer(pi, g) - torch.outer(g, pi)
    for pulls, episodes in ((1, 1), (1, 2), (3, 1)):
        weight, batch = every_support(logits, torch.ones(1, 3, 1, dtype=F64), rewards.unsqueeze(0), pulls, episodes)
        assert_hessians_agree(-expected_hessian(loss_fn, logits, weight, batch), by_hand)


def check_hessian_of_an_mdp(loss_fn: Any, baseline: Tensor | None = None, episodes: int = 1) -> None:
    """The loss is a mean over the steps, the objective a sum."""
    weight, batch = every_support(MDP_LOGITS, TRANSITIONS, REWARDS, HORIZON, episodes)
    if baseline is not None:
        batch = replace(batch, advantages=advantages_of(batch) - batch.observations @ baseline)
    exact = exact_hessian(MDP_LOGITS, TRANSITIONS, REWARDS, HORIZON)
    assert_hessians_agree(-HORIZON * expected_hessian(loss_fn, MDP_LOGITS, weight, batch), exact)


def check_hessian_with_a_baseline(loss_fn: Any) -> None:
    """What depends on the state alone changes the spread and not the mean."""
    check_hessian_of_an_mdp(loss_fn, baseline=tensor(1.5, -4.0))


def check_hessian_of_two_episodes(loss_fn: Any) -> None:
    check_hessian_of_an_mdp(loss_fn, baseline=tensor(-2.0, 0.5), episodes=2)


def check_hessian_with_early_ends(loss_fn: Any) -> None:
    """State 1 ends an episode. What is there behind the end, nonsense that depends on the action, must not be seen."""
    transitions, rewards = TRANSITIONS.clone(), REWARDS.clone()
    transitions[1], rewards[1] = tensor(0.0, 1.0), 0.0  # the same in the dynamic programme: nothing more is paid
    weight, batch = every_support(MDP_LOGITS, transitions, rewards, HORIZON, 1, final=1)
    advantages = torch.where(batch.mask > 0, advantages_of(batch), 100.0 * batch.actions)
    batch = replace(batch, advantages=advantages)
    exact = exact_hessian(MDP_LOGITS, transitions, rewards, HORIZON)
    for steps in (1, 2):  # only together they show that the ends differ
        assert (weight[batch.mask.sum((1, 2)) == steps] > 0).any()

    def summed(policy: MLPPolicy, params: Params, given: Rollout) -> Tensor:
        total: Tensor = loss_fn(policy, params, given) * given.mask.sum((1, 2))
        return total

    assert_hessians_agree(-expected_hessian(summed, MDP_LOGITS, weight, batch), exact)


HESSIANS = [
    check_hessian_of_a_bandit,
    check_hessian_of_an_mdp,
    check_hessian_with_a_baseline,
    check_hessian_of_two_episodes,
    check_hessian_with_early_ends,
]


@pytest.mark.parametrize("check", HESSIANS, ids=lambda check: check.__name__)
def test_the_expected_hessian_of_dice_is_exact(check: Any) -> None:
    check(dice)


@pytest.mark.parametrize("check", HESSIANS, ids=lambda check: check.__name__)
def test_that_of_the_plain_loss_is_not(check: Any) -> None:
    with pytest.raises(AssertionError):
        check(policy_gradient)


@pytest.mark.parametrize("check", HESSIANS[1:], ids=lambda check: check.__name__)
def test_that_of_the_linearised_loss_is_not(check: Any) -> None:
    with pytest.raises(AssertionError):
        check(linearised)


def test_where_no_action_has_a_say_in_later_states_the_linearised_loss_is_exact_too() -> None:
    check_hessian_of_a_bandit(linearised)
    weight, batch = every_support(MDP_LOGITS, TRANSITIONS, REWARDS, 1, 1)
    exact = exact_hessian(MDP_LOGITS, TRANSITIONS, REWARDS, 1)
    assert_hessians_agree(-expected_hessian(linearised, MDP_LOGITS, weight, batch), exact)


def test_each_hessian_is_the_one_that_its_docstring_gives() -> None:
    """Per step the plain loss has the Hessian of log pi, and the linearised one the square of its gradient besides."""
    weight, batch = every_support(MDP_LOGITS, TRANSITIONS, REWARDS, HORIZON, 1)
    pi, size = MDP_LOGITS.softmax(-1), 4
    plain, added = torch.zeros(size, size, dtype=F64), torch.zeros(size, size, dtype=F64)
    for chance, seen, acts, to_go in zip(
        weight, batch.observations[:, 0].argmax(-1), batch.actions[:, 0], advantages_of(batch)[:, 0], strict=True
    ):
        for s, a, gain in zip(seen.tolist(), acts.tolist(), to_go, strict=True):
            score, second = torch.zeros(2, 2, dtype=F64), torch.zeros(2, 2, 2, 2, dtype=F64)
            score[s] = torch.eye(2, dtype=F64)[a] - pi[s]
            second[s, :, s] = torch.outer(pi[s], pi[s]) - torch.diag(pi[s])
            plain -= chance * gain * second.reshape(size, size) / HORIZON
            added -= chance * gain * torch.outer(score.flatten(), score.flatten()) / HORIZON
    for loss_fn, expected in ((policy_gradient, plain), (linearised, plain + added)):
        assert_hessians_agree(expected_hessian(loss_fn, MDP_LOGITS, weight, batch), expected)


def hessian_spreads(seed: int, losses: list[Any], horizon: int = 12, draws: int = 200) -> list[float]:
    """The root of the summed variance of each loss's Hessian over draws of five episodes, in one random MDP."""
    tasks = TabularMDP(3, 2, horizon, reward_noise=0.0, dtype=F64)
    task = {name: leaf.expand(draws, *leaf.shape) for name, leaf in tasks.default_task().items()}
    policy, params = table(normal((3, 2), generator(0), F64), draws)
    batch = with_advantages(rollout(tasks, policy, params, task, 5, generator(seed)), 1.0, 1.0)
    spreads = []
    for loss_fn in losses:
        (slope,) = torch.autograd.grad(loss_fn(policy, params, batch).sum(), params["w0"], create_graph=True)
        rows = [torch.autograd.grad(g.sum(), params["w0"], retain_graph=True)[0] for g in slope.flatten(1).T]
        spreads.append(torch.stack(rows).var(1).sum().sqrt().item())
    return spreads


def check_low_variance(loss_fn: Any) -> None:
    """Over 12 steps its Hessian spreads less than DiCE's: by ten standard errors, over ten groups of draws."""
    pairs = torch.tensor([hessian_spreads(seed, [loss_fn, dice]) for seed in range(10)])
    gap = pairs[:, 1] - pairs[:, 0]
    assert gap.mean() > 10 * gap.std() / math.sqrt(10), pairs


def test_the_linearised_hessian_has_the_lower_variance() -> None:
    check_low_variance(linearised)


# --- The surrogate of outer steps, and the sampling term --------------------------------------------------------------


def one_episode(*advantages: float) -> Rollout:
    _, _, batch = gaussian()
    ones = torch.ones(1, 1, len(advantages), dtype=F64)
    return replace(batch, rewards=ones, mask=ones, advantages=tensor(*advantages).reshape(1, 1, -1))


def check_clipped(function: Any) -> None:
    """Ratios .5, .9, 1.1 and 2 with a clip of .2: the pessimistic value, and no gradient where the clip decides."""
    ratio, old = tensor(0.5, 0.9, 1.1, 2.0), tensor(-1.0, -2.0, 0.5, -0.1)
    for advantage, gains, slopes in (
        (3.0, [1.5, 2.7, 3.3, 3.6], [1.5, 2.7, 3.3, 0.0]),  # good actions are not pushed beyond 1.2
        (-3.0, [-2.4, -2.7, -3.3, -6.0], [0.0, -2.7, -3.3, -6.0]),  # bad ones not below .8
    ):
        log_prob = (ratio.log() + old).reshape(1, 1, 4).requires_grad_()
        for mask in (tensor(1.0, 1.0, 1.0, 1.0), tensor(1.0, 1.0, 1.0, 0.0), tensor(0.0, 1.0, 1.0, 1.0)):
            batch = replace(one_episode(*[advantage] * 4), mask=mask.reshape(1, 1, 4))
            loss = function(log_prob, old.reshape(1, 1, 4), batch, 0.2)
            expected = -(tensor(*gains) * mask).sum() / mask.sum()
            torch.testing.assert_close(loss, expected.reshape(1), rtol=0, atol=1e-12)
            (slope,) = torch.autograd.grad(loss.sum(), log_prob)
            expected = -(tensor(*slopes) * mask / mask.sum()).reshape(1, 1, 4)
            torch.testing.assert_close(slope, expected, rtol=0, atol=1e-12)


def test_clipped_by_hand() -> None:
    check_clipped(clipped)


def test_without_a_clip_the_ratio_counts_as_it_is() -> None:
    old, ratio = tensor(-1.0, -2.0).reshape(1, 1, 2), tensor(0.25, 3.0).reshape(1, 1, 2)
    loss = clipped(ratio.log() + old, old, one_episode(2.0, -1.0))
    torch.testing.assert_close(loss, tensor(-(0.5 - 3.0) / 2), rtol=0, atol=1e-12)


def test_clipped_gives_one_value_for_each_task() -> None:
    batch = one_episode(1.0, 2.0)
    three = Rollout(*(None if x is None else torch.cat([x, 2 * x, 3 * x]) for x in vars(batch).values()))  # type: ignore[arg-type]
    three = replace(three, mask=torch.ones(3, 1, 2, dtype=F64))
    zeros = torch.zeros(3, 1, 2, dtype=F64)
    torch.testing.assert_close(clipped(zeros, zeros, three, 0.2), tensor(-1.5, -3.0, -4.5))


def queries(rewards: Tensor, mask: Tensor) -> Rollout:
    _, _, batch = gaussian()
    return replace(batch, rewards=rewards, mask=mask)


def check_sampling_term(function: Any) -> None:
    """Three tasks with mean rewards of a step 1, 2 and 6; the other two of each have means 4, 3.5 and 1.5."""
    rewards = tensor([[2.0, 0.0]], [[1.0, 3.0]], [[6.0, 0.0]])  # [3, 1, 2]
    query = queries(rewards, tensor([[1.0, 1.0]], [[1.0, 1.0]], [[1.0, 0.0]]))  # the last one ends after one step
    support = queries(torch.zeros(3, 2, 2, dtype=F64), tensor(*[[[1.0, 1.0], [1.0, 0.0]]] * 3))
    log_prob = -torch.arange(1.0, 13.0, dtype=F64).reshape(3, 2, 2).requires_grad_()
    loss = function(log_prob, support, query)
    gain, summed = tensor(-3.0, -1.5, 4.5), tensor(-6.0, -18.0, -30.0)  # 1 + 2 + 3, 5 + 6 + 7, 9 + 10 + 11
    torch.testing.assert_close(loss, -gain * summed)
    (slope,) = torch.autograd.grad(loss.sum(), log_prob)
    torch.testing.assert_close(slope, -gain.reshape(3, 1, 1) * support.mask)


def check_single_task(function: Any) -> None:
    """There is no other task to compare with, so the reward counts as it is."""
    query = queries(tensor([[2.0, 5.0]]), tensor([[1.0, 1.0]]))
    loss = function(tensor([[-1.0, -2.0]]), query, query)
    torch.testing.assert_close(loss, tensor(3.5 * 3.0))


def test_sampling_term_by_hand() -> None:
    check_sampling_term(sampling_term)
    check_single_task(sampling_term)


def test_the_baseline_of_a_task_does_not_depend_on_its_own_query() -> None:
    gen = generator(0)
    ones, log_prob = torch.ones(4, 2, 3, dtype=F64), -uniform((4, 2, 3), gen, F64)
    rewards = uniform((4, 2, 3), gen, F64)
    before = sampling_term(log_prob, queries(rewards, ones), queries(rewards, ones))
    rewards[0] += 7.0
    after = sampling_term(log_prob, queries(rewards, ones), queries(rewards, ones))
    torch.testing.assert_close(after[0] - before[0], -7.0 * log_prob[0].sum())  # its gain rises by 7, its baseline not
    torch.testing.assert_close(after[1:] - before[1:], 7.0 / 3 * log_prob[1:].sum((1, 2)))


# --- Broken variants --------------------------------------------------------------------------------------------------


def mean_over_coordinates(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    """Gotcha: log_prob(...).mean over the coordinates of an action; the logs of independent densities add up."""
    return policy_gradient(policy, params, batch) / batch.actions.shape[-1]


def uphill(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    return -policy_gradient(policy, params, batch)


def without_a_mask(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    return policy_gradient(policy, params, replace(batch, mask=torch.ones_like(batch.mask)))


def divided_by_all_steps(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    return policy_gradient(policy, params, batch) * batch.mask.mean((1, 2))


def summed_over_steps(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    return policy_gradient(policy, params, batch) * batch.mask.sum((1, 2))


def mixes_tasks(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    return policy_gradient(policy, params, batch) * batch.mask.sum((1, 2)) / batch.mask.sum((1, 2)).mean()


def boxed(past: Tensor, before: Tensor, batch: Rollout, scale: float | Tensor = 1.0) -> Tensor:
    """The difference of two boxes around whatever a broken variant puts into them."""
    difference = (past - past.detach()).exp() - (before - before.detach()).exp()
    return -(difference * scale * advantages_of(batch) * batch.mask).sum((1, 2)) / batch.mask.sum((1, 2))


def past_of(policy: MLPPolicy, params: Params, batch: Rollout) -> tuple[Tensor, Tensor]:
    log_prob = policy.log_prob(params, batch.observations, batch.actions) * batch.mask
    return log_prob, log_prob.cumsum(-1)


def box_averaged_over_steps(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    log_prob, past = past_of(policy, params, batch)
    steps = torch.arange(1, past.shape[-1] + 1, dtype=past.dtype)
    return boxed(past / steps, (past - log_prob) / steps, batch)


def box_divided_by_episodes(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    """A bug of a public implementation: the exponent is a mean over the episodes."""
    log_prob, past = past_of(policy, params, batch)
    return boxed(past / past.shape[1], (past - log_prob) / past.shape[1], batch)


def box_divided_and_made_up_for(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    """The same with the first gradient put right: only the second derivative tells."""
    log_prob, past = past_of(policy, params, batch)
    return boxed(past / past.shape[1], (past - log_prob) / past.shape[1], batch, past.shape[1])


def box_without_a_past(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    log_prob, _ = past_of(policy, params, batch)
    return boxed(log_prob, torch.zeros_like(log_prob), batch)


def box_over_all_episodes(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    """The past runs on from one episode into the next."""
    log_prob, _ = past_of(policy, params, batch)
    past = log_prob.flatten(1).cumsum(-1).reshape(log_prob.shape)
    return boxed(past, past - log_prob, batch)


def box_without_a_stop(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    log_prob, past = past_of(policy, params, batch)
    difference = past.exp() - (past - log_prob).exp()
    return -(difference * advantages_of(batch) * batch.mask).sum((1, 2)) / batch.mask.sum((1, 2))


def dice_without_a_mask(policy: MLPPolicy, params: Params, batch: Rollout) -> Tensor:
    whole = replace(batch, mask=torch.ones_like(batch.mask))
    return dice(policy, params, whole) * whole.mask.sum((1, 2)) / batch.mask.sum((1, 2))


def never_clipped(log_prob: Tensor, old_log_prob: Tensor, batch: Rollout, clip: float) -> Tensor:
    return clipped(log_prob, old_log_prob, batch)


def always_clipped(log_prob: Tensor, old_log_prob: Tensor, batch: Rollout, clip: float) -> Tensor:
    ratio = (log_prob - old_log_prob).exp().clamp(1 - clip, 1 + clip)
    return -(ratio * advantages_of(batch) * batch.mask).sum((1, 2)) / batch.mask.sum((1, 2))


def optimistic(log_prob: Tensor, old_log_prob: Tensor, batch: Rollout, clip: float) -> Tensor:
    """The maximum for the minimum: for a loss, many a re-implementation takes the wrong one of the two."""
    return -clipped(log_prob, old_log_prob, replace(batch, advantages=-advantages_of(batch)), clip)


def clipped_without_a_mask(log_prob: Tensor, old_log_prob: Tensor, batch: Rollout, clip: float) -> Tensor:
    return clipped(log_prob, old_log_prob, replace(batch, mask=torch.ones_like(batch.mask)), clip)


def baseline_of_all(log_prob: Tensor, support: Rollout, query: Rollout) -> Tensor:
    """The task's own reward is part of what it is compared with, which shrinks the term by (N - 1) / N."""
    n = len(query.rewards)
    return sampling_term(log_prob, support, query) * (n - 1) / n


def mean_log_prob(log_prob: Tensor, support: Rollout, query: Rollout) -> Tensor:
    return sampling_term(log_prob, support, query) / support.mask.sum((1, 2))


def unmasked_support(log_prob: Tensor, support: Rollout, query: Rollout) -> Tensor:
    return sampling_term(log_prob, replace(support, mask=torch.ones_like(support.mask)), query)


def against_the_sign(log_prob: Tensor, support: Rollout, query: Rollout) -> Tensor:
    return -sampling_term(log_prob, support, query)


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        (check_first_gradient, box_averaged_over_steps),
        (check_first_gradient, box_divided_by_episodes),
        (check_first_gradient, box_without_a_stop),
        (check_first_gradient, dice_without_a_mask),
        (check_value_of_dice, linearised),
        (check_value_of_dice, box_without_a_stop),
        (check_value_of_linearised, dice),
        (check_hessian_of_a_bandit, box_averaged_over_steps),
        (check_hessian_of_a_bandit, box_divided_and_made_up_for),
        (check_hessian_of_a_bandit, box_without_a_stop),
        (check_hessian_of_an_mdp, box_averaged_over_steps),
        (check_hessian_of_an_mdp, box_without_a_past),
        (check_hessian_of_an_mdp, box_without_a_stop),
        (check_hessian_of_two_episodes, box_divided_by_episodes),
        (check_hessian_of_two_episodes, box_divided_and_made_up_for),
        (check_hessian_with_a_baseline, box_averaged_over_steps),
        (check_hessian_with_a_baseline, box_without_a_past),
        (check_hessian_with_early_ends, dice_without_a_mask),
        (check_low_variance, dice),
        (check_low_variance, box_over_all_episodes),
        (check_clipped, never_clipped),
        (check_clipped, always_clipped),
        (check_clipped, optimistic),
        (check_clipped, clipped_without_a_mask),
        (check_sampling_term, baseline_of_all),
        (check_sampling_term, mean_log_prob),
        (check_sampling_term, unmasked_support),
        (check_sampling_term, against_the_sign),
        (check_single_task, baseline_of_all),
        (check_gradient_by_hand, mean_over_coordinates),
        (check_gradient_by_hand, uphill),
        (check_gradient_by_hand, summed_over_steps),
        (check_mask, without_a_mask),
        (check_mask, divided_by_all_steps),
        (check_categorical, uphill),
        (check_tasks_are_apart, mixes_tasks),
    ],
    ids=lambda function: function.__name__,
)
def test_a_broken_variant_fails_its_check(check: Any, broken: Any) -> None:
    with pytest.raises(AssertionError):
        check(broken)
