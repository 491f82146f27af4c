"""The exact worth of each estimator, against published figures, brute force, finite differences and the package itself.

The package's own losses and inner step are held against the oracle twice: summed over every support that can happen,
which is exact, and as a mean over 100,000 draws, as training sees them. Broken estimators must not pass either.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.algorithms.inner import adapt
from metarl_lite.losses import dice, linearised, policy_gradient, sampling_term
from metarl_lite.oracles import MetaGradients, one_parameter_meta_gradient, tabular_meta_gradient
from metarl_lite.oracles.estimators import ESTIMATORS
from metarl_lite.oracles.meta_gradient import bandit_meta_gradient
from metarl_lite.oracles.tabular import policy_value
from metarl_lite.returns import discounted_returns
from metarl_lite.rng import generator, uniform
from metarl_lite.rollout import rollout
from metarl_lite.tasks.tabular import TabularMDP
from metarl_lite.types import Params, Rollout

from ..test_losses import box_divided_and_made_up_for, box_without_a_past, every_support, mean_log_prob, table

F64 = torch.float64
SETTINGS = [(1.0, 0.5, 2.0, 5), (1.0, 0.5, 8.0, 5), (-0.7, 0.7, 8.0, 1), (0.3, 0.9, 1.0, 4), (2.0, 0.2, 5.0, 3)]


# --- one parameter ----------------------------------------------------------------------------------------------------


def check_published_rows(function: Any) -> None:
    """To one of the last of the five digits that are given: theta = 1, w = .5, five pulls."""
    columns = "objective", "exact_sampled", "exact_expected", "plain", "first_order"
    for alpha, row in (
        (2.0, (0.57797, -0.06701, -0.06972, -0.04263, -0.03265)),
        (8.0, (0.76413, -0.15388, -0.19008, -0.06312, -0.06059)),
    ):
        found = function(1.0, 0.5, alpha, 5)
        for name, value in zip(columns, row, strict=True):
            assert found[name] == pytest.approx(value, abs=1e-5), (alpha, name)


def check_brute_force(function: Any) -> None:
    """Every sequence of four pulls in every task, in plain Python: value, gradient by symmetric differences."""

    def sigma(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    def objective(theta: float, w: float, alpha: float) -> float:
        p, total = sigma(theta), 0.0
        for pays, share in ((1, w), (0, 1 - w)):
            for pulls in product((0, 1), repeat=4):
                chance = math.prod(p if a == 1 else 1 - p for a in pulls)
                step = sum((1 - p if a == 1 else -p) for a in pulls if a == pays) / 4
                phi = theta + alpha * step
                total += share * chance * (sigma(phi) if pays == 1 else 1 - sigma(phi))
        return total

    for theta, w, alpha in ((1.0, 0.5, 2.0), (-0.4, 0.8, 6.0), (0.0, 0.1, 3.0)):
        found = function(theta, w, alpha, 4)
        assert found.objective == pytest.approx(objective(theta, w, alpha), abs=1e-12)
        slope = (objective(theta + 1e-5, w, alpha) - objective(theta - 1e-5, w, alpha)) / 2e-5
        assert found.exact_sampled == pytest.approx(slope, abs=1e-8)


def check_slopes(function: Any) -> None:
    """Both exact gradients are the slopes of their own objectives, at random settings."""
    gen = generator(0)
    for pulls in (1, 2, 5, 20):
        theta, w, alpha = (uniform((3,), gen, F64) * torch.tensor([4.0, 1.0, 9.0]) - torch.tensor([2.0, 0, 0])).tolist()
        found, (up, down) = function(theta, w, alpha, pulls), (function(theta + d, w, alpha, pulls) for d in (H, -H))
        assert found.exact_sampled == pytest.approx((up.objective - down.objective) / (2 * H), abs=1e-8)
        slope = (up.objective_expected - down.objective_expected) / (2 * H)
        assert found.exact_expected == pytest.approx(slope, abs=1e-8)


def check_closed_form(function: Any) -> None:
    """With an infinite support there is a closed form."""
    for theta, w, alpha, pulls in SETTINGS:
        found = function(theta, w, alpha, pulls)
        objective, slope = bandit_meta_gradient(theta, w, alpha)
        assert found.objective_expected == pytest.approx(objective, abs=1e-13)
        assert found.exact_expected == pytest.approx(slope, abs=1e-13)


def check_e_maml_is_exact(function: Any) -> None:
    """Plain autodiff and the sampling term together are the gradient of what is really done."""
    for setting in SETTINGS:
        found = function(*setting)
        assert found.e_maml == pytest.approx(found.exact_sampled, abs=1e-13)
        assert found.plain != pytest.approx(found.exact_sampled, abs=1e-3)


def check_many_pulls(function: Any) -> None:
    """DiCE comes to the gradient for an infinite support, as one over the number of pulls; plain stays away."""
    gap = {name: [] for name in ("dice", "plain", "exact_sampled")}  # type: ignore[var-annotated]
    for pulls in (200, 2000):
        found = function(1.0, 0.5, 2.0, pulls)
        for name, gaps in gap.items():
            gaps.append(abs(found[name] - found.exact_expected))
    for name in ("dice", "exact_sampled"):
        assert gap[name][1] == pytest.approx(gap[name][0] / 10, rel=0.05), name
    assert gap["plain"][1] > 0.9 * gap["plain"][0]
    assert gap["plain"][1] > 100 * gap["dice"][1]


H = 1e-5
ONE_PARAMETER = [
    check_published_rows,
    check_brute_force,
    check_slopes,
    check_closed_form,
    check_e_maml_is_exact,
    check_many_pulls,
]


@pytest.mark.parametrize("check", ONE_PARAMETER, ids=lambda check: check.__name__)
def test_the_one_parameter_bandit(check: Any) -> None:
    check(one_parameter_meta_gradient)


def test_the_first_order_gradient_can_have_the_wrong_sign() -> None:
    found = one_parameter_meta_gradient(1.0, 0.7, 8.0, 1)
    assert found.first_order * found.exact_sampled < 0
    assert min(abs(found.first_order), abs(found.exact_sampled)) > 0.005  # and not by rounding


@pytest.mark.parametrize("theta", [-3.0, 0.5, 40.0])
def test_a_single_kind_of_task(theta: float) -> None:
    """w = 1 pays for arm 1 alone; w = 0 is its mirror image, and so is every w of 1 - w."""
    for w in (1.0, 0.8, 0.5):
        here, there = one_parameter_meta_gradient(theta, w, 3.0, 4), one_parameter_meta_gradient(-theta, 1 - w, 3.0, 4)
        for name in ("objective", "objective_expected"):
            assert here[name] == pytest.approx(there[name], abs=1e-13)
        for name in ("exact_sampled", "exact_expected", *ESTIMATORS):
            assert here[name] == pytest.approx(-there[name], abs=1e-13), name
        assert here.deviation == pytest.approx(there.deviation, abs=1e-13)
    only = one_parameter_meta_gradient(theta, 1.0, 3.0, 4)
    assert only.objective >= 1 / (1 + math.exp(-theta)) - 1e-12, "a step towards the arm that pays cannot hurt"


def test_a_name_is_an_attribute_and_a_key() -> None:
    found = one_parameter_meta_gradient(1.0, 0.5, 2.0, 5)
    assert found["plain"] == found.plain
    assert set(found.deviation) == set(ESTIMATORS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((1.0, 0.5, 2.0, 0), r"pulls = 0: a positive integer is needed"),
        ((1.0, 0.5, 2.0, 2.5), r"pulls = 2\.5: a positive integer is needed"),
        ((1.0, 1.5, 2.0, 5), r"w = 1\.5: .*between 0 and 1, such as w=0\.5"),
        ((1.0, -0.1, 2.0, 5), r"w = -0\.1: .*between 0 and 1"),
        ((1.0, math.nan, 2.0, 5), r"w = nan: .*between 0 and 1"),
        ((math.nan, 0.5, 2.0, 5), r"theta = nan, .*finite numbers are needed"),
        ((1.0, 0.5, math.inf, 5), r"alpha = inf: finite numbers are needed"),
    ],
    ids=str,
)
def test_bad_input_is_named(arguments: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        one_parameter_meta_gradient(*arguments)


# --- decision processes -----------------------------------------------------------------------------------------------

LOGITS = torch.tensor([[0.4, -0.3], [-0.8, 0.5]], dtype=F64)
HORIZON = 3


def family() -> tuple[Tensor, Tensor]:
    """Two processes of two states and two actions that ask for opposite things, `[2, S, A, S]` and `[2, S, A]`."""
    weights = uniform((2, 2, 2, 2), generator(1), F64) + 0.1
    rewards = torch.tensor([[[1.0, -0.5], [0.3, 2.0]], [[-1.0, 1.5], [1.0, -0.7]]], dtype=F64)
    return weights / weights.sum(-1, keepdim=True), rewards


def value(phi: Tensor, transitions: Tensor, rewards: Tensor) -> Tensor:
    """The expected reward of a step for tables of logits `[J, S, A]`, by the dynamic programme, `[J]`."""
    if transitions.ndim == 3:
        transitions, rewards = transitions.expand(len(phi), -1, -1, -1), rewards.expand_as(phi)
    return policy_value(phi.softmax(-1), transitions, rewards, HORIZON)[0][:, 0] / HORIZON


def check_tabular_slopes(function: Any) -> None:
    transitions, rewards = family()
    for alpha, episodes in ((1.0, 1), (3.0, 2)):
        found = function(LOGITS, transitions, rewards, HORIZON, alpha, episodes)
        for s, a in product(range(2), repeat=2):
            ends = []
            for sign in (1, -1):
                moved = LOGITS.clone()
                moved[s, a] += sign * H
                ends.append(function(moved, transitions, rewards, HORIZON, alpha, episodes))
            slope = (ends[0].objective - ends[1].objective) / (2 * H)
            assert found.exact_sampled[s, a].item() == pytest.approx(slope, abs=1e-8)
            slope = (ends[0].objective_expected - ends[1].objective_expected) / (2 * H)
            assert found.exact_expected[s, a].item() == pytest.approx(slope, abs=1e-8)
        torch.testing.assert_close(found.e_maml, found.exact_sampled, rtol=0, atol=1e-12)


def check_expected_step(function: Any) -> None:
    """The package's own `adapt` on the exact value: what an infinite support would do."""
    transitions, rewards = family()
    found = function(LOGITS, transitions, rewards, HORIZON, 2.0)
    theta = LOGITS.clone().requires_grad_()

    def loss_fn(policy: Any, params: Params, batch: Any) -> Tensor:
        return -value(params["w0"], transitions, rewards)

    moved = adapt(None, {"w0": theta.expand(2, 2, 2)}, None, loss_fn, 2.0)  # type: ignore[arg-type]
    objective = value(moved["w0"], transitions, rewards).mean()
    assert found.objective_expected == pytest.approx(objective.item(), abs=1e-13)
    torch.testing.assert_close(found.exact_expected, torch.autograd.grad(objective, theta)[0], rtol=0, atol=1e-13)


def check_sampled_objective(function: Any) -> None:
    """A mean over rollouts of the package, each followed by a step and by the exact value after it."""
    transitions, rewards = family()
    exact = function(LOGITS, transitions, rewards, HORIZON, 2.0, 2).objective
    for seed in range(3):
        phi, task = walk(policy_gradient, 20_000, seed, 2.0, 2)[:2]
        gains = value(phi["w0"], task["transitions"], task["rewards"])
        assert abs(gains.mean().item() - exact) < 4 * standard_error(gains).item()


def check_two_arms(function: Any) -> None:
    r"""One state, two actions, one step: the one-parameter bandit.

    Its logits $(0, \theta)$ both move, in opposite directions, so their difference moves twice as far: half the
    rate makes the same step. The gradient in the two logits is then (-d, d), d that in their difference.
    """
    for theta, w, alpha, pulls in ((1.0, 0.5, 2.0, 3), (-0.7, 0.75, 8.0, 1), (0.4, 0.25, 4.0, 4)):
        one = one_parameter_meta_gradient(theta, w, alpha, pulls)
        ones = round(4 * w)  # so many of four tasks pay for arm 1
        rewards = torch.tensor([[[0.0, 1.0]]] * ones + [[[1.0, 0.0]]] * (4 - ones), dtype=F64)
        logits = torch.tensor([[0.0, theta]], dtype=F64)
        found = function(logits, torch.ones(4, 1, 2, 1, dtype=F64), rewards, 1, alpha / 2, pulls)
        assert found.objective == pytest.approx(one.objective, abs=1e-13)
        assert found.objective_expected == pytest.approx(one.objective_expected, abs=1e-13)
        for name in ("exact_sampled", "exact_expected", *ESTIMATORS):
            expected = one[name] * torch.tensor([[-1.0, 1.0]], dtype=F64)
            torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-13, msg=name)
        for name, spread in one.deviation.items():
            assert found.deviation[name] == pytest.approx(math.sqrt(2) * spread, abs=1e-12), name


TABULAR = [check_tabular_slopes, check_expected_step, check_sampled_objective, check_two_arms]


@pytest.mark.parametrize("check", TABULAR, ids=lambda check: check.__name__)
def test_decision_processes(check: Any) -> None:
    check(tabular_meta_gradient)


def test_too_many_supports_are_refused_with_their_number() -> None:
    transitions, rewards = family()
    for horizon, episodes, many in ((11, 1, "2,097,152"), (3, 4, "1,048,576")):
        with pytest.raises(ValueError, match=rf"{many} supports are too many .*a million is the limit"):
            tabular_meta_gradient(LOGITS, transitions, rewards, horizon, 1.0, episodes)


@pytest.mark.parametrize(("horizon", "episodes", "name"), [(0, 1, "horizon"), (3, 0, "episodes"), (2.5, 1, "horizon")])
def test_sizes_that_are_none_are_refused(horizon: Any, episodes: int, name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} = .*positive integer"):
        tabular_meta_gradient(LOGITS, *family(), horizon, 1.0, episodes)


def test_the_given_logits_stay_as_they_are() -> None:
    logits = LOGITS.clone().requires_grad_()
    tabular_meta_gradient(logits, *family(), HORIZON, 1.0)
    assert logits.grad is None
    assert torch.equal(logits, LOGITS)


def test_transitions_that_never_happen_do_no_harm() -> None:
    """Probabilities of 0 and 1: a logarithm of 0 is on the way."""
    transitions, rewards = family()
    transitions = torch.nn.functional.one_hot(transitions.argmax(-1), 2).to(F64)
    found = tabular_meta_gradient(LOGITS, transitions, rewards, HORIZON, 1.0)
    for name in ("exact_sampled", *ESTIMATORS):
        assert torch.isfinite(found[name]).all(), name
    check_exactly(dice, "dice", transitions)


# --- the package's estimators, exactly: a sum over all supports -------------------------------------------------------


def check_exactly(loss_fn: Any, name: str, transitions: Tensor | None = None, create_graph: bool = True) -> None:
    """The inner step of the package on every support at once, each weighted by its probability."""
    family_transitions, rewards = family()
    transitions = family_transitions if transitions is None else transitions
    for alpha, episodes in ((2.0, 1), (3.0, 2)):
        exact = tabular_meta_gradient(LOGITS, transitions, rewards, HORIZON, alpha, episodes)
        mean, square = torch.zeros(2, 2, dtype=F64), torch.zeros((), dtype=F64)
        for p, r in zip(transitions, rewards, strict=True):
            weight, batch = every_support(LOGITS, p, r, HORIZON, episodes)
            policy, params = table(LOGITS, len(weight))
            phi = adapt(policy, params, batch, loss_fn, {"w0": alpha}, create_graph)
            each = torch.autograd.grad(value(phi["w0"], p, r).sum(), params["w0"])[0]
            mean += (weight.reshape(-1, 1, 1) * each).sum(0) / 2
            square += (weight.reshape(-1, 1, 1) * each**2).sum() / 2
        torch.testing.assert_close(mean, exact[name], rtol=0, atol=1e-12)
        assert (square - (mean**2).sum()).sqrt().item() == pytest.approx(exact.deviation[name], abs=1e-10)


@pytest.mark.parametrize(
    ("loss_fn", "name", "create_graph"),
    [
        (policy_gradient, "first_order", False),
        (policy_gradient, "plain", True),
        (dice, "dice", True),
        (linearised, "linearised", True),
    ],
)
def test_the_package_over_all_supports(loss_fn: Any, name: str, create_graph: bool) -> None:
    check_exactly(loss_fn, name, create_graph=create_graph)


# --- the package's estimators as training sees them: a mean over draws ------------------------------------------------

DRAWS = 100_000


def standard_error(each: Tensor) -> Tensor:
    return each.std(0) / math.sqrt(len(each))


class OneParameter:
    """The policy of the one-parameter bandit: arm 1 with probability sigma(x)."""

    def log_prob(self, params: Params, observations: Tensor, actions: Tensor) -> Tensor:
        x = params["x"].reshape(-1, 1, 1)
        return torch.nn.functional.logsigmoid(torch.where(actions == 1, x, -x))


def pulled(x: Tensor, pays: Tensor, pulls: int, gen: torch.Generator) -> Rollout:
    """So many pulls of each task, `[N, pulls, 1]`: one pull is one episode. Rewards are the advantages."""
    actions = (uniform((len(x), pulls, 1), gen, F64) < x.detach().sigmoid().reshape(-1, 1, 1)).long()
    paid = (actions == pays.reshape(-1, 1, 1)).to(F64)
    ones, seen = torch.ones_like(paid), torch.ones(len(x), pulls, 1, 1, dtype=F64)
    return Rollout(seen, actions, paid, ones, ones.bool(), seen[:, :, 0], paid)


#: How an estimator is computed: the loss of the inner step, whether through it, and the term for its episodes.
Recipe = tuple[Any, bool, Any]
RECIPES: dict[str, Recipe] = {
    "first_order": (policy_gradient, False, None),
    "plain": (policy_gradient, True, None),
    "dice": (dice, True, None),
    "linearised": (linearised, True, None),
    "e_maml": (policy_gradient, True, sampling_term),
    "dice_sampled": (dice, True, sampling_term),
}


def with_credit(loss: Tensor, term: Any, policy: Any, params: Params, support: Rollout, query: Rollout) -> Tensor:
    if term is None:
        return loss
    log_prob = policy.log_prob(params, support.observations, support.actions)
    total: Tensor = loss + term(log_prob, support, query)
    return total


def bandit_estimates(recipe: Recipe, seed: int, exact_query: bool, setting: tuple[float, float, float, int]) -> Tensor:
    """The estimate of each draw, `[DRAWS, 1]`; every draw is a task of one batch, with a parameter of its own."""
    (loss_fn, create_graph, term), (theta, w, alpha, pulls) = recipe, setting
    policy: Any = OneParameter()
    gen, params = generator(seed), {"x": torch.full((DRAWS,), theta, dtype=F64).requires_grad_()}
    pays = (uniform((DRAWS,), gen, F64) < w).long()
    support = pulled(params["x"], pays, pulls, gen)
    phi = adapt(policy, params, support, loss_fn, alpha, create_graph)
    if exact_query:
        gain = torch.where(pays == 1, phi["x"], -phi["x"]).sigmoid()
        loss, query = -gain, replace(support, rewards=gain.detach().reshape(-1, 1, 1), mask=torch.ones(DRAWS, 1, 1))
    else:
        query = pulled(phi["x"], pays, 3, gen)
        loss = policy_gradient(policy, phi, query)
    loss = with_credit(loss, term, policy, params, support, query)
    return -torch.autograd.grad(loss.sum(), params["x"])[0].unsqueeze(1)


def walk(
    loss_fn: Any, draws: int, seed: int, alpha: float, episodes: int, create_graph: bool = True
) -> tuple[Params, dict[str, Tensor], Any, Params, Rollout, Callable[[Params], Rollout]]:
    """The package's rollouts of both processes in turn, and a step: phi, the tasks, and what led there."""
    transitions, rewards = family()
    tasks = TabularMDP(2, 2, HORIZON, reward_noise=0.0, dtype=F64)
    kinds = torch.arange(draws) % 2
    task, gen = {"transitions": transitions[kinds], "rewards": rewards[kinds]}, generator(seed)
    policy, params = table(LOGITS, draws)

    def act(given: Params) -> Rollout:
        batch = rollout(tasks, policy, given, task, episodes, gen)
        return replace(batch, advantages=discounted_returns(batch.rewards, 1.0))

    support = act(params)
    phi = adapt(policy, params, support, loss_fn, {"w0": alpha}, create_graph)
    return phi, task, policy, params, support, act


def mdp_estimates(recipe: Recipe, seed: int, exact_query: bool, setting: tuple[float, int]) -> Tensor:
    """The same for decision processes, `[DRAWS, 4]`."""
    loss_fn, create_graph, term = recipe
    phi, task, policy, params, support, act = walk(loss_fn, DRAWS, seed, *setting, create_graph)
    if exact_query:
        gain = value(phi["w0"], task["transitions"], task["rewards"])
        loss, query = -gain, replace(support, rewards=gain.detach().reshape(-1, 1, 1), mask=torch.ones(DRAWS, 1, 1))
    else:
        query = act(phi)
        loss = policy_gradient(policy, phi, query)
    loss = with_credit(loss, term, policy, params, support, query)
    return -torch.autograd.grad(loss.sum(), params["w0"])[0].flatten(1)


def check_mean(estimates: Any, recipe: Recipe, exact: MetaGradients, name: str, seed: int, *setting: Any) -> None:
    """Within four standard errors of the exact expectation, for an exact and for a sampled query."""
    expected = torch.as_tensor(exact[name], dtype=F64).flatten()
    for exact_query in (True, False):
        each = estimates(recipe, seed, exact_query, *setting)
        off = (each.mean(0) - expected) / standard_error(each)
        assert (off.abs() < 4).all(), (name, "exact" if exact_query else "sampled", off)
        if exact_query:  # the spread is known as well
            square = ((each - expected) ** 2).sum(1)
            off = (square.mean() - exact.deviation[name] ** 2) / standard_error(square)
            assert off.abs() < 4, (name, "spread", off)


def check_bandit_mean(recipe: Recipe, name: str, seed: int = 0) -> None:
    setting = (1.0, 0.5, 2.0, 5)
    check_mean(bandit_estimates, recipe, one_parameter_meta_gradient(*setting), name, seed, setting)


def check_mdp_mean(recipe: Recipe, name: str, seed: int = 0) -> None:
    exact = tabular_meta_gradient(LOGITS, *family(), HORIZON, 2.0, 2)
    check_mean(mdp_estimates, recipe, exact, name, seed, (2.0, 2))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", RECIPES)
def test_the_mean_over_draws_on_the_bandit(name: str, seed: int) -> None:
    check_bandit_mean(RECIPES[name], name, seed)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", RECIPES)
def test_the_mean_over_draws_on_decision_processes(name: str, seed: int) -> None:
    check_mdp_mean(RECIPES[name], name, seed)


# --- broken variants --------------------------------------------------------------------------------------------------


def against_the_sign(log_prob: Tensor, support: Rollout, query: Rollout) -> Tensor:
    return -sampling_term(log_prob, support, query)


BROKEN: list[tuple[Any, Recipe, str]] = [
    (check_bandit_mean, RECIPES["plain"], "dice"),
    (check_bandit_mean, RECIPES["first_order"], "plain"),
    (check_bandit_mean, RECIPES["plain"], "e_maml"),
    (check_bandit_mean, RECIPES["dice"], "dice_sampled"),
    (check_bandit_mean, (box_divided_and_made_up_for, True, None), "dice"),
    (check_bandit_mean, (policy_gradient, True, against_the_sign), "e_maml"),
    (check_bandit_mean, (policy_gradient, True, mean_log_prob), "e_maml"),
    (check_mdp_mean, RECIPES["plain"], "dice"),
    (check_mdp_mean, RECIPES["linearised"], "dice"),
    (check_mdp_mean, RECIPES["plain"], "linearised"),
    (check_mdp_mean, RECIPES["plain"], "e_maml"),
    (check_mdp_mean, (box_divided_and_made_up_for, True, None), "dice"),
    (check_mdp_mean, (box_without_a_past, True, None), "dice"),
    (check_mdp_mean, (dice, True, against_the_sign), "dice_sampled"),
]


@pytest.mark.parametrize(("check", "recipe", "name"), BROKEN)
def test_an_estimator_that_is_another_fails_the_check_of_means(check: Any, recipe: Recipe, name: str) -> None:
    with pytest.raises(AssertionError):
        check(recipe, name)


@pytest.mark.parametrize(
    ("loss_fn", "name"),
    [(policy_gradient, "dice"), (linearised, "dice"), (dice, "plain"), (box_divided_and_made_up_for, "dice")],
)
def test_and_the_exact_one(loss_fn: Any, name: str) -> None:
    with pytest.raises(AssertionError):
        check_exactly(loss_fn, name)


def changed(**renamed: str) -> Any:
    """An oracle that takes one number for another."""

    def oracle(*arguments: Any) -> MetaGradients:
        found = one_parameter_meta_gradient(*arguments)
        return replace(found, **{name: found[other] for name, other in renamed.items()})

    return oracle


def one_pull_more(theta: float, w: float, alpha: float, pulls: int) -> MetaGradients:
    return one_parameter_meta_gradient(theta, w, alpha, pulls + 1)


def the_other_arm(theta: float, w: float, alpha: float, pulls: int) -> MetaGradients:
    return one_parameter_meta_gradient(theta, 1 - w, alpha, pulls)


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        (check_published_rows, one_pull_more),
        (check_published_rows, changed(plain="first_order")),
        (check_published_rows, changed(exact_sampled="exact_expected")),
        (check_brute_force, one_pull_more),
        (check_brute_force, the_other_arm),
        (check_brute_force, changed(objective="objective_expected")),
        (check_slopes, changed(exact_sampled="plain")),
        (check_slopes, changed(exact_expected="dice")),
        (check_closed_form, the_other_arm),
        (check_closed_form, changed(exact_expected="exact_sampled")),
        (check_e_maml_is_exact, changed(e_maml="plain")),
        (check_e_maml_is_exact, changed(e_maml="dice_sampled")),
        (check_many_pulls, changed(dice="plain")),
        (check_many_pulls, changed(plain="dice")),
    ],
    ids=lambda function: function.__name__,
)
def test_a_broken_oracle_fails_its_check(check: Any, broken: Any) -> None:
    with pytest.raises(AssertionError):
        check(broken)


def sums_over_the_steps(
    logits: Tensor, p: Tensor, r: Tensor, horizon: int, alpha: float, episodes: int = 1
) -> MetaGradients:
    return tabular_meta_gradient(logits, p, r, horizon, alpha * horizon, episodes)


def one_episode_only(
    logits: Tensor, p: Tensor, r: Tensor, horizon: int, alpha: float, episodes: int = 1
) -> MetaGradients:
    return tabular_meta_gradient(logits, p, r, horizon, alpha, 1)


def first_task_only(
    logits: Tensor, p: Tensor, r: Tensor, horizon: int, alpha: float, episodes: int = 1
) -> MetaGradients:
    return tabular_meta_gradient(logits, p[:1], r[:1], horizon, alpha, episodes)


def gradient_of_the_other(*arguments: Any) -> MetaGradients:
    found = tabular_meta_gradient(*arguments)
    return replace(found, exact_sampled=found.exact_expected, exact_expected=found.exact_sampled)


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        (check_tabular_slopes, gradient_of_the_other),
        (check_expected_step, sums_over_the_steps),
        (check_expected_step, first_task_only),
        (check_sampled_objective, sums_over_the_steps),
        (check_sampled_objective, one_episode_only),
        (check_sampled_objective, first_task_only),
        (check_two_arms, one_episode_only),
        (check_two_arms, first_task_only),
    ],
    ids=lambda function: function.__name__,
)
def test_a_broken_tabular_oracle_fails_its_check(check: Any, broken: Any) -> None:
    with pytest.raises(AssertionError):
        check(broken)
