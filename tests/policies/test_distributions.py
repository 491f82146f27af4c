"""Densities and divergences against torch.distributions, a second implementation; broken variants must not pass."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from metarl_lite.policies.distributions import (
    Distribution,
    categorical_entropy,
    categorical_kl,
    categorical_log_prob,
    categorical_sample,
    check_logits,
    gaussian_entropy,
    gaussian_kl,
    gaussian_log_prob,
)
from metarl_lite.rng import generator, normal
from metarl_lite.types import Diverged

F64 = torch.float64


def gaussians(seed: int) -> Distribution:
    """Means `[2, 3, 4, 3]` and a log standard deviation for each of the two tasks, as a policy gives them."""
    gen = generator(seed)
    return {"mean": normal((2, 3, 4, 3), gen, F64), "log_std": 0.7 * normal((2, 1, 1, 3), gen, F64)}


def torchs(chosen: Distribution) -> Independent:
    log_std = chosen["log_std"].expand_as(chosen["mean"])
    return Independent(Normal(chosen["mean"], log_std.exp()), 1)


def logits(seed: int) -> Distribution:
    return {"logits": 2 * normal((2, 3, 4, 5), generator(seed), F64)}


def check_gaussian_log_prob(function: Any) -> None:
    chosen, action = gaussians(0), normal((2, 3, 4, 3), generator(9), F64)
    torch.testing.assert_close(
        function(chosen["mean"], chosen["log_std"], action), torchs(chosen).log_prob(action), rtol=1e-12, atol=1e-12
    )


def check_categorical_log_prob(function: Any) -> None:
    chosen = logits(0)["logits"]
    action = torch.randint(5, (2, 3, 4), generator=generator(9))
    expected = Categorical(logits=chosen).log_prob(action)
    torch.testing.assert_close(function(chosen, action), expected, rtol=1e-12, atol=1e-12)


def check_gaussian_kl(function: Any) -> None:
    for seed in range(3):
        old, new = gaussians(seed), gaussians(seed + 10)
        expected = kl_divergence(torchs(old), torchs(new))
        torch.testing.assert_close(function(old, new), expected, rtol=1e-12, atol=1e-12)


def check_categorical_kl(function: Any) -> None:
    for seed in range(3):
        old, new = logits(seed), logits(seed + 10)
        expected = kl_divergence(Categorical(logits=old["logits"]), Categorical(logits=new["logits"]))
        torch.testing.assert_close(function(old, new), expected, rtol=1e-11, atol=1e-12)


def check_gaussian_entropy(function: Any) -> None:
    for seed in range(3):
        chosen = gaussians(seed)
        torch.testing.assert_close(function(chosen), torchs(chosen).entropy(), rtol=1e-12, atol=1e-12)


def check_categorical_entropy(function: Any) -> None:
    for seed in range(3):
        chosen = logits(seed)
        expected = Categorical(logits=chosen["logits"]).entropy()
        torch.testing.assert_close(function(chosen), expected, rtol=1e-12, atol=1e-12)


def test_entropies() -> None:
    check_gaussian_entropy(gaussian_entropy)
    check_categorical_entropy(categorical_entropy)


def test_entropies_by_hand() -> None:
    """Of 8 equally likely actions log 8; of N(3, 1) half the logarithm of 2 pi e, and log 2 more if twice as wide."""
    assert categorical_entropy({"logits": torch.full((8,), 5.0, dtype=F64)}).item() == pytest.approx(math.log(8))
    for width, more in ((1.0, 0.0), (2.0, math.log(2))):
        chosen = {"mean": torch.full((4, 1), 3.0, dtype=F64), "log_std": torch.tensor([math.log(width)], dtype=F64)}
        got = gaussian_entropy(chosen)
        assert got.tolist() == pytest.approx(4 * [0.5 * math.log(2 * math.pi * math.e) + more])


def test_densities() -> None:
    check_gaussian_log_prob(gaussian_log_prob)
    check_categorical_log_prob(categorical_log_prob)


def test_divergences() -> None:
    check_gaussian_kl(gaussian_kl)
    check_categorical_kl(categorical_kl)


def test_gaussian_kl_by_hand() -> None:
    """From N(0, 1) to N(1, 4) in one coordinate, nothing in the other: log 2 + (1 + 1) / 8 - 1 / 2."""
    old = {"mean": torch.zeros(1, 2, dtype=F64), "log_std": torch.zeros(1, 2, dtype=F64)}
    new = {
        "mean": torch.tensor([[1.0, 0.0]], dtype=F64),
        "log_std": torch.tensor([[math.log(2), 0.0]], dtype=F64),
    }
    assert gaussian_kl(old, new).item() == pytest.approx(math.log(2) - 0.25, abs=1e-14)


def test_categorical_kl_by_hand() -> None:
    """From (1/2, 1/2) to (1/4, 3/4): log(2) / 2 + log(2 / 3) / 2."""
    old = {"logits": torch.zeros(2, dtype=F64)}
    new = {"logits": torch.tensor([5.0, 5.0 + math.log(3)], dtype=F64)}  # a shift of all logits changes nothing
    assert categorical_kl(old, new).item() == pytest.approx(0.5 * math.log(4 / 3), abs=1e-14)


@pytest.mark.parametrize(("kl", "make"), [(gaussian_kl, gaussians), (categorical_kl, logits)])
def test_a_divergence_is_zero_from_itself_and_positive_else(kl: Any, make: Any) -> None:
    assert kl(make(0), make(0)).abs().max() < 1e-14
    assert (kl(make(0), make(1)) > 0).all()


@pytest.mark.parametrize(("kl", "make"), [(gaussian_kl, gaussians), (categorical_kl, logits)])
def test_the_gradient_of_a_divergence_vanishes_where_it_is_zero(kl: Any, make: Any) -> None:
    """So its second derivative, the Fisher matrix, is what a trust region sees."""
    old = make(0)
    new = {name: p.clone().requires_grad_() for name, p in old.items()}
    for grad in torch.autograd.grad(kl(old, new).sum(), list(new.values())):
        assert grad.abs().max() < 1e-13


# --- Broken variants --------------------------------------------------------------------------------------------------


def mean_log_prob(mean: Tensor, log_std: Tensor, action: Tensor) -> Tensor:
    """The mean over the coordinates of the action, where the logs of independent densities add up."""
    return gaussian_log_prob(mean, log_std, action) / action.shape[-1]


def without_a_constant(mean: Tensor, log_std: Tensor, action: Tensor) -> Tensor:
    return gaussian_log_prob(mean, log_std, action) + 0.5 * math.log(2 * math.pi)


def unnormalised(chosen: Tensor, action: Tensor) -> Tensor:
    return chosen.gather(-1, action.unsqueeze(-1)).squeeze(-1)


def mean_kl(old: Distribution, new: Distribution) -> Tensor:
    return gaussian_kl(old, new) / old["mean"].shape[-1]


def the_other_way_round(old: Distribution, new: Distribution) -> Tensor:
    return gaussian_kl(new, old)


def ignores_the_spread(old: Distribution, new: Distribution) -> Tensor:
    return gaussian_kl(old, {"mean": new["mean"], "log_std": old["log_std"]})


def categories_the_other_way_round(old: Distribution, new: Distribution) -> Tensor:
    return categorical_kl(new, old)


def mean_over_categories(old: Distribution, new: Distribution) -> Tensor:
    return categorical_kl(old, new) / old["logits"].shape[-1]


def entropy_without_its_constant(chosen: Distribution) -> Tensor:
    return chosen["log_std"].expand_as(chosen["mean"]).sum(-1)


def mean_entropy(chosen: Distribution) -> Tensor:
    return gaussian_entropy(chosen) / chosen["mean"].shape[-1]


def negated_entropy(chosen: Distribution) -> Tensor:
    return -categorical_entropy(chosen)


def entropy_of_logits_that_are_not_normalised(chosen: Distribution) -> Tensor:
    p = chosen["logits"].softmax(-1)
    return -(p * chosen["logits"]).sum(-1)


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        (check_gaussian_log_prob, mean_log_prob),
        (check_gaussian_log_prob, without_a_constant),
        (check_categorical_log_prob, unnormalised),
        (check_gaussian_kl, mean_kl),
        (check_gaussian_kl, the_other_way_round),
        (check_gaussian_kl, ignores_the_spread),
        (check_categorical_kl, categories_the_other_way_round),
        (check_categorical_kl, mean_over_categories),
        (check_gaussian_entropy, entropy_without_its_constant),
        (check_gaussian_entropy, mean_entropy),
        (check_categorical_entropy, negated_entropy),
        (check_categorical_entropy, entropy_of_logits_that_are_not_normalised),
    ],
    ids=lambda function: function.__name__,
)
def test_a_broken_variant_fails_its_check(check: Any, broken: Any) -> None:
    with pytest.raises(AssertionError):
        check(broken)


# --- Sampling ---------------------------------------------------------------------------------------------------------


def test_an_action_is_in_range_where_the_probabilities_sum_to_less_than_the_noise() -> None:
    """In single precision one set of five logits in four sums to less than 1; noise may be the number just below 1."""
    chosen = normal((4000, 5), generator(0), torch.float32)
    almost = torch.full((4000, 1), 1 - 2**-24)
    assert (chosen.softmax(-1).cumsum(-1)[:, -1:] <= almost).any(), "here the sampled index needs its bound"
    actions = categorical_sample(chosen, almost)
    assert actions.max().item() == 4
    assert (actions == 4).all()


def test_each_action_is_as_frequent_as_it_is_probable() -> None:
    probabilities = torch.tensor([0.1, 0.0, 0.6, 0.3], dtype=F64)
    noise = torch.linspace(0, 1, 10_001, dtype=F64)[:-1].unsqueeze(-1)
    counts = categorical_sample(probabilities.log().expand(10_000, 4), noise).bincount(minlength=4)
    assert (counts - 10_000 * probabilities).abs().max() <= 1


# --- logits that give no probabilities --------------------------------------------------------------------------------

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    "row",
    [[0.0, 1.0, 2.0], [3e38, -3e38, 3e38], [-INF, 0.0, -INF], [NAN, 0, 1], [0, 1, INF], [INF, INF, 0], [-INF] * 3],
)
def test_logits_are_refused_if_and_only_if_softmax_makes_no_numbers_of_them(row: list[float]) -> None:
    chosen = {"logits": torch.tensor([[[0.0, 0.0, 0.0], row]])}
    if bool(chosen["logits"].softmax(-1).isfinite().all()):
        check_logits(chosen)
        return
    with pytest.raises(Diverged, match=r"the logits \[.*\] \(task 0, episode 1\)"):
        check_logits(chosen)
    check_logits(chosen, torch.tensor([[True, False]]))  # the action was not taken
    with pytest.raises(Diverged, match=r"\(world 0\)"):
        check_logits({"logits": torch.tensor([row])}, dims=("world",))


def test_a_gaussian_has_no_logits() -> None:
    check_logits({"mean": torch.tensor([NAN]), "log_std": torch.zeros(1)})  # its actions tell by themselves
