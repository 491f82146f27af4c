"""Policies against torch.distributions, a network written out, and the rules of `tile`."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch

from metarl_lite.policies.base import tile
from metarl_lite.policies.belief import BeliefPolicy
from metarl_lite.policies.distributions import categorical_log_prob, categorical_sample, gaussian_log_prob
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.layers import linear, quick_linear
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.tasks.bandits import BernoulliBandit
from metarl_lite.tasks.navigation import GridGoal, PointGoal


def test_gaussian_log_prob_is_the_sum_over_action_dimensions() -> None:
    gen = generator(0)
    mean, action = (torch.randn(4, 5, 3, generator=gen, dtype=torch.float64) for _ in range(2))
    log_std = torch.randn(3, generator=gen, dtype=torch.float64)
    expected = torch.distributions.Normal(mean, log_std.exp()).log_prob(action).sum(-1)
    torch.testing.assert_close(gaussian_log_prob(mean, log_std, action), expected)


def test_gaussian_log_prob_by_hand() -> None:
    # One standard deviation off in each of two coordinates of scale 2: -1 - 2 log 2 - log 2 pi.
    value = gaussian_log_prob(torch.zeros(2), torch.full((2,), math.log(2.0)), torch.tensor([2.0, -2.0]))
    assert value.item() == pytest.approx(-1 - 2 * math.log(2) - math.log(2 * math.pi))


def test_categorical_log_prob_equals_torchs() -> None:
    gen = generator(0)
    logits, action = torch.randn(4, 5, 3, generator=gen), torch.randint(3, (4, 5), generator=gen)
    torch.testing.assert_close(
        categorical_log_prob(logits, action), torch.distributions.Categorical(logits=logits).log_prob(action)
    )


def test_categorical_sample_inverts_the_distribution_literally() -> None:
    logits = torch.tensor([0.2, 0.5, 0.3]).log()
    noise = torch.tensor([0.0, 0.1999, 0.2001, 0.6999, 0.7001, 0.99999994]).unsqueeze(-1)
    assert categorical_sample(logits, noise).tolist() == [0, 0, 1, 1, 2, 2]


def test_categorical_sample_never_leaves_the_range() -> None:
    logits = torch.zeros(7)  # the cumulative sum may round to just below 1
    assert categorical_sample(logits, torch.tensor([[0.99999994]])).item() == 6


def test_sampled_actions_have_the_policys_moments() -> None:
    gen = generator(0)
    policy = MLPPolicy(2, 3, gen, init_std=0.5, hidden=(8,))
    obs = torch.randn(1, 1, 1, 2, generator=gen)
    params = tile(policy.params(), 1)
    n = 20_000
    action = policy.act(params, obs.expand(1, n, 1, 2), policy.noise((1, n, 1), gen))[0, :, 0]
    standard_error = 0.5 / math.sqrt(n)
    assert ((action.mean(0) - policy.mode(params, obs)[0, 0, 0]).abs() < 4 * standard_error).all()
    assert ((action.std(0) - 0.5).abs() < 4 * 0.5 / math.sqrt(2 * n)).all()


def test_forward_equals_the_network_written_out() -> None:
    gen = generator(1)
    policy = MLPPolicy(2, 3, gen, hidden=(5, 4), dtype=torch.float64)
    p, obs = policy.params(), torch.randn(6, 7, 8, 2, generator=gen, dtype=torch.float64)
    expected = torch.tanh(torch.tanh(obs @ p["w0"] + p["b0"]) @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]
    torch.testing.assert_close(policy.forward(tile(p, 6), obs), expected)


def test_every_task_uses_its_own_parameters() -> None:
    gen = generator(1)
    policy = MLPPolicy(2, 3, gen, hidden=(5,))
    params = {name: torch.randn(4, *p.shape, generator=gen) for name, p in policy.params().items()}
    obs, noise = torch.randn(4, 6, 2, generator=gen), policy.noise((4, 6), gen)
    for n in range(4):
        one = {name: p[n : n + 1] for name, p in params.items()}
        rows = slice(n, n + 1)
        torch.testing.assert_close(policy.act(one, obs[rows], noise[rows]), policy.act(params, obs, noise)[rows])


def test_shared_weights_take_the_short_way_to_the_same_result() -> None:
    gen = generator(2)
    x, weight, bias = (torch.randn(s, generator=gen, dtype=torch.float64) for s in ((4, 6, 3), (3, 5), (5,)))
    tiled = weight.expand(4, 3, 5), bias.expand(4, 5)
    with torch.no_grad():
        short = quick_linear(x, *tiled)
    torch.testing.assert_close(short, linear(x, tiled[0].contiguous(), tiled[1].contiguous()))


def test_tile_is_a_view_and_gradients_add_up() -> None:
    theta = {"w": torch.ones(2, requires_grad=True)}
    tiled = tile(theta, 3)
    assert tiled["w"].data_ptr() == theta["w"].data_ptr()
    (tiled["w"] * torch.tensor([[1.0], [2.0], [4.0]])).sum().backward()
    assert theta["w"].grad is not None
    assert theta["w"].grad.tolist() == [7.0, 7.0]


def test_a_tiled_view_cannot_be_overwritten_in_place() -> None:
    """All tasks share the memory; chapter 5 relies on the refusal."""
    tiled = tile(MLPPolicy(2, 2, generator(0)).params(), 3)
    with pytest.raises(RuntimeError, match="single memory location"):
        tiled["b0"].data.sub_(1)


def test_params_are_copies_and_replace_does_not_change_the_policy() -> None:
    policy = MLPPolicy(2, 2, generator(0))
    policy.params()["w0"].data.zero_()
    assert policy.params()["w0"].abs().sum() > 0
    zeros = {name: torch.zeros_like(p) for name, p in policy.params().items()}
    other = policy.replace(zeros)
    assert other.params()["w0"].abs().sum() == 0
    assert policy.params()["w0"].abs().sum() > 0


def test_for_tasks_fits_the_family() -> None:
    point = MLPPolicy.for_tasks(PointGoal(dtype=torch.float64), generator(0))
    assert not point.discrete
    assert point.params()["w0"].dtype == torch.float64
    assert point.params()["log_std"].exp().tolist() == pytest.approx([0.1, 0.1])
    grid = MLPPolicy.for_tasks(GridGoal(), generator(0))
    assert grid.discrete
    assert grid.params()["w2"].shape == (64, 5)


def test_a_bandits_observation_is_not_zero() -> None:
    """With a constant zero observation the first layer's weights would never learn."""
    tasks = BernoulliBandit(3)
    state = tasks.reset(tasks.default_task(), torch.zeros(4, 0))
    assert (tasks.observe(tasks.default_task(), state) == 1).all()


@pytest.mark.parametrize("options", [{"hidden": (0,)}, {"hidden": (8, -1)}, {"init_std": 0.0}, {"init_std": -1.0}])
def test_senseless_sizes_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"positive.*such as"):
        MLPPolicy(2, 2, generator(0), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("hidden", [[32.0], "64", 64, (True,), (8, "8"), None, torch.tensor(64)])
def test_layers_that_are_none_are_named_as_they_were_given(hidden: Any) -> None:
    with pytest.raises(ValueError, match=rf"hidden = {re.escape(repr(hidden))}: a tuple of layer sizes is needed"):
        MLPPolicy(2, 2, generator(0), hidden=hidden)


@pytest.mark.parametrize("kind", [MLPPolicy, GRUPolicy])
@pytest.mark.parametrize(
    ("name", "value"), [("action_scale", float("inf")), ("observation_size", True), ("action_size", 0)]
)
def test_a_member_of_the_family_is_named_and_no_option_of_the_network(kind: Any, name: str, value: Any) -> None:
    tasks = type("Broken", (PointGoal,), {name: value})
    with pytest.raises(ValueError, match=rf"Broken\.{name} = {value!r}: "):
        kind.for_tasks(tasks(), generator(0))


def test_parameters_of_another_network_are_refused() -> None:
    policy, other = MLPPolicy(2, 2, generator(0)), MLPPolicy(2, 2, generator(0), hidden=(8,))
    with pytest.raises(ValueError, match=r"do not fit this policy, which needs .*w2"):
        policy.replace(other.params())


def test_what_is_missing_and_what_is_too_much_are_named() -> None:
    policy = MLPPolicy(2, 2, generator(0))
    params = policy.params()
    lacking = {name: p for name, p in params.items() if name != "w1"}
    with pytest.raises(
        ValueError, match=r"parameters without 'w1' do not fit this policy, which needs \{'w1': \(64, 64\)\}"
    ):
        policy.replace(lacking)
    with pytest.raises(ValueError, match=r"not the parameters of an MLPPolicy \(they have no 'w1'\): 'b0', 'b1', "):
        MLPPolicy.from_params(lacking)
    with pytest.raises(
        ValueError, match=r"parameters with 'more' do not fit this policy, which has none of these names"
    ):
        policy.replace(params | {"more": torch.zeros(1)})


@pytest.mark.parametrize("kind", [MLPPolicy, GRUPolicy, BeliefPolicy])
def test_an_option_that_there_is_none_of_is_named_with_those_that_there_are(kind: Any) -> None:
    with pytest.raises(
        ValueError, match=rf"^{kind.__name__} takes no 'hiden': its options are .*discrete.*dtype\.$"
    ) as caught:
        kind.for_tasks(PointGoal(), generator(0), hiden=3)
    assert "gen" not in str(caught.value).split("options are")[1]


@pytest.mark.parametrize("kind", [MLPPolicy, GRUPolicy, BeliefPolicy])
@pytest.mark.parametrize("flag", ["no", 1, None])
def test_a_policy_is_discrete_or_not(kind: Any, flag: Any) -> None:
    with pytest.raises(ValueError, match=f"discrete = {flag!r}: True or False is needed"):
        kind(2, 2, generator(0), discrete=flag)
    with pytest.raises(ValueError, match=f"separate = {flag!r}: True or False is needed"):
        GRUPolicy(2, 2, generator(0), separate=flag)
    assert kind(2, 2, generator(0), discrete=np.bool_(True)).discrete is True


@pytest.mark.parametrize("alpha", [1e39, -1e39, float("nan"), "fast"])
def test_rates_begin_at_a_number_that_their_type_holds(alpha: Any) -> None:
    with pytest.raises(ValueError, match=rf"alpha = {re.escape(repr(alpha))}: .* and one that torch.float32 holds"):
        MLPPolicy(2, 2, generator(0)).with_rates(alpha)


def test_parameters_without_a_task_dimension_are_refused() -> None:
    policy = MLPPolicy(2, 2, generator(0))
    assert policy.num_tasks(tile(policy.params(), 3)) == 3
    with pytest.raises(ValueError, match=r"'w0' has shape \(2, 64\).*pass tile\(params, num_tasks\)"):
        policy.num_tasks(policy.params())


def test_parameters_of_another_type_are_refused() -> None:
    policy = MLPPolicy(2, 2, generator(0))
    double = {name: p.detach().double() for name, p in policy.params().items()}
    with pytest.raises(ValueError, match=r"'w0' is of type torch\.float64, but this policy computes in torch\.float32"):
        policy.replace(double)


def test_parameters_of_another_name_are_refused_by_name() -> None:
    policy = MLPPolicy(2, 2, generator(0), hidden=(3,))
    with pytest.raises(ValueError, match=r"no parameter 'extra', but 'w0', 'b0', 'w1', 'b1', 'log_std'"):
        policy.num_tasks({"extra": torch.zeros(4, 1)})


# --- Why a network could not be computed ------------------------------------------------------------------------------


def test_tile_takes_parameters_and_not_their_policy() -> None:
    policy = MLPPolicy(2, 1, generator(0))
    for given, word in ((policy, "an MLPPolicy"), (MLPPolicy, "the class MLPPolicy"), ({"w0": 1.0}, "one with 'w0'")):
        with pytest.raises(ValueError, match=rf"params are a dict .*, such as policy\.params\(\), not {word}"):
            tile(given, 3)  # type: ignore[arg-type]
    assert tile({}, 3) == {}
    own: Any = torch.nn.ParameterDict(policy.params())
    assert all(torch.equal(p, tile(own, 3)[name]) for name, p in tile(policy.params(), 3).items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p, s: ({k: v for k, v in p.items() if k != "b0"}, s),
            "params have no 'b0', but this policy needs 'w0'",
        ),
        (
            lambda p, s: (p | {"w0": p["w0"][0]}, s),
            r"'w0' has shape \(2, 4\), but one set for each task .* pass tile\(",
        ),
        (lambda p, s: (p | {"log_std": p["log_std"][0]}, s), r"'log_std' has shape \(2,\), but one set for each task"),
        (
            lambda p, s: ({k: v[:2] for k, v in p.items()}, s),
            r"params are of N = 2, but the observations of N = 3: one",
        ),
        (
            lambda p, s: (p, s[..., :1]),
            r"observations are a tensor of shape \[3, 5, 1\]: .* \[N, \.\.\., O\] with O = 2",
        ),
        (lambda p, s: (p, s.tolist()), r"observations are a list of 3: this policy reads a tensor \[N, \.\.\., O\]"),
        (lambda p, s: (p, s.double()), r"'w0' is of type torch\.float32, but what .* torch\.float64: .*\.for_tasks\("),
        (lambda p, s: (p | {"b1": p["b1"].double()}, s), r"'b1' is of type torch\.float64, but what .* torch\.float32"),
    ],
)
def test_what_a_network_cannot_be_computed_from_is_named(change: Any, message: str) -> None:
    policy = MLPPolicy(2, 2, generator(0), hidden=(4,))
    params, seen = change(tile(policy.params(), 3), torch.zeros(3, 5, 2))
    for graph in (True, False):
        with torch.set_grad_enabled(graph), pytest.raises(ValueError, match=message):
            policy.log_prob(params, seen, torch.zeros(3, 5, 2))


def test_a_fault_of_another_kind_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, fault = MLPPolicy(2, 1, generator(0)), RuntimeError("out of memory")

    def fail(*_: Any) -> None:
        raise fault

    monkeypatch.setattr(policy, "forward", fail)
    with pytest.raises(RuntimeError, match="out of memory") as caught:
        policy.mode(tile(policy.params(), 3), torch.zeros(3, 5, 2))
    assert caught.value is fault


def test_what_the_network_does_not_read_may_be_anything() -> None:
    policy = MLPPolicy(2, 1, generator(0), hidden=(4,))
    params, seen, acts = tile(policy.params(), 3), torch.ones(3, 5, 2), torch.zeros(3, 5, 1)
    expected = policy.log_prob(params, seen, acts)
    for more in ({"beta": torch.ones(())}, {"lr_w0": torch.ones(2, 4).double()}, {"note": "a text"}):
        assert torch.equal(policy.log_prob(params | more, seen, acts), expected)  # type: ignore[operator]
    own: Any = torch.nn.ParameterDict(params)
    assert torch.equal(policy.log_prob(own, seen, acts), expected)
    exact = {name: p.double() for name, p in params.items()}
    torch.testing.assert_close(policy.log_prob(exact, seen.double(), acts.double()).float(), expected)
    one = torch.func.vmap(lambda p, s, a: policy.log_prob({k: v[None] for k, v in p.items()}, s[None], a[None])[0])
    torch.testing.assert_close(one(params, seen, acts), expected)
