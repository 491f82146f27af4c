"""What comes in from a caller: values count, not types, and whatever is refused is named with what is allowed."""

from __future__ import annotations

import inspect
import json
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor

import metarl_lite as m
from metarl_lite.evaluate.beliefs import goal_posterior
from metarl_lite.evaluate.intervals import bootstrap_interval, iqm, t_interval
from metarl_lite.evaluate.probe import linear_probe, r_squared, r_squared_interval
from metarl_lite.evaluate.two_step import bayes_rule, delta_rule, play_two_step
from metarl_lite.given import (
    as_params,
    as_path,
    as_scores,
    check_result,
    check_takes,
    integer,
    number,
    ordinary,
    real,
    severed,
    truth,
)
from metarl_lite.optim import conjugate_gradient, gauss_newton_product, line_search
from metarl_lite.oracles import bandits, bayes, gittins, grid, navigation, posterior
from metarl_lite.oracles.meta_gradient import finite_differences
from metarl_lite.tasks import FAMILIES

F64 = torch.float64
INTEGERS: list[Callable[[int], Any]] = [
    int, np.int64, np.int32, np.uint8, torch.tensor, np.array, lambda n: torch.tensor(n, dtype=torch.int16),
]  # fmt: skip
NUMBERS: list[Callable[[float], Any]] = [
    float, np.float64, np.float32, torch.tensor, Fraction, np.array, lambda x: torch.tensor(x, dtype=F64),
]  # fmt: skip


# --- Numbers ----------------------------------------------------------------------------------------------------------


def test_a_value_is_kept_as_pythons_own() -> None:
    for make in INTEGERS:
        for plain in (integer(make(3)), number(make(3))):
            assert (plain, type(plain)) == (3, int)
    for build in NUMBERS:
        assert (number(build(0.5)), type(number(build(0.5)))) == (0.5, float)
        assert integer(build(2.0)) is None  # a size of 2.0 is a slip
    assert number(np.float32(0.1)) == 0.10000000149011612  # what was given, and not what was meant
    assert truth(np.bool_(True)) is truth(torch.tensor(True)) is truth(True) is True


@pytest.mark.parametrize(
    "value",
    [
        True, np.bool_(True), torch.tensor(True), "3", None, 1j, [3], torch.tensor([3]), np.ma.masked,
        Fraction(10**400, 3),
    ],
)  # fmt: skip
def test_what_is_no_number(value: Any) -> None:
    assert integer(value) is None
    assert number(value) is None
    assert math.isnan(real(value))


@pytest.mark.parametrize("value", [0, 1, 1.0, "True", None, torch.tensor([True])])
def test_what_is_no_truth_value(value: Any) -> None:
    assert truth(value) is None


@pytest.mark.parametrize("make", INTEGERS)
def test_an_integer_of_any_library_is_a_seed_and_a_size(make: Callable[[int], Any]) -> None:
    assert torch.equal(m.generator(make(7)).get_state(), m.generator(7).get_state())
    tasks = m.make_tasks("bernoulli-bandit", num_arms=make(3), horizon=make(4))
    same = m.BernoulliBandit(3, 4)
    assert tasks.identity() == same.identity()
    json.dumps(tasks.identity())
    for family in ("tabular-mdp", "point-goal", "grid-goal", "two-step", "cartpole", "eleven-arms"):
        assert m.make_tasks(family, horizon=make(6)).identity() == m.make_tasks(family, horizon=6).identity()
    policy = m.MLPPolicy(make(1), make(3), m.generator(0), hidden=(make(4),), discrete=True)
    assert policy.identity() == m.MLPPolicy(1, 3, m.generator(0), hidden=(4,), discrete=True).identity()
    recurrent = m.GRUPolicy(make(1), make(3), m.generator(0), hidden=make(4))
    assert recurrent.identity() == m.GRUPolicy(1, 3, m.generator(0), hidden=4).identity()
    belief = m.BeliefPolicy(1, 3, m.generator(0), code=make(4), units=make(5), queries=make(2))
    assert belief.identity() == m.BeliefPolicy(1, 3, m.generator(0), code=4, units=5, queries=2).identity()
    task, params = tasks.sample(make(2), m.generator(0)), m.tile(policy.params(), make(2))
    assert m.rollout(tasks, policy, params, task, make(3), m.generator(1)).rewards.shape == (2, 3, 4)
    noise = m.draw_noise(tasks, policy, make(2), make(3), m.generator(1), copies=make(2))
    assert noise.step.shape == (4, 3, 4, 1)
    assert m.trial_returns(tasks, recurrent, task, make(3), m.generator(1), chunk=make(1)).shape == (2, 3)
    assert bayes.bayes_optimal_value(make(2), make(5)) == bayes.bayes_optimal_value(2, 5)
    assert bandits.play(bandits.ots(make(2)), task["probabilities"], make(3), m.generator(0)).shape == (2, 3)
    assert gittins.gittins_table(make(3), 0.9).shape == (4, 4)


@pytest.mark.parametrize("hidden", [np.array([4, 3]), torch.tensor([4, 3]), [4, np.int64(3)], torch.Size([4, 3])])
def test_layers_in_any_row(hidden: Any) -> None:
    policy = m.MLPPolicy(2, 2, m.generator(0), hidden=hidden)
    assert policy.identity() == m.MLPPolicy(2, 2, m.generator(0), hidden=(4, 3)).identity()


@pytest.mark.parametrize("make", INTEGERS)
def test_gymnasium_is_given_seeds_of_pythons_own(make: Callable[[int], Any]) -> None:
    env, other = (gymnasium.make("metarl_lite/PointGoal-v0") for _ in range(2))
    vector = gymnasium.make_vec(
        "metarl_lite/GridGoal-v0", num_envs=2, size=make(3), vectorization_mode="vector_entry_point"
    )
    assert (env.reset(seed=make(3))[0] == other.reset(seed=3)[0]).all()
    first = vector.reset(seed=make(3))[0]
    assert (vector.reset(seed=[make(3), make(4)])[0] == first).all()
    assert (vector.reset(seed=np.array([3, 4]))[0] == first).all()


@pytest.mark.parametrize("seed", [-1, 1.5, "0", True, 2**64, [0]])
def test_a_seed_that_is_none_is_named(seed: Any) -> None:
    with pytest.raises(ValueError, match=r"seed = .*non-negative integer is needed"):
        m.generator(seed)
    env = gymnasium.make("metarl_lite/PointGoal-v0").unwrapped
    if seed != 2**64:
        with pytest.raises(ValueError, match=r"seed = .*non-negative integer is needed"):
            env.reset(seed=seed)


def test_ranges_and_values_of_any_library() -> None:
    """And one number, a name or a truth value where a pair or a list belongs is named."""
    plain = m.CartPoleTasks(ranges={"length": (0.25, 1.0)})
    for pair in ([0.25, 1], np.array([0.25, 1.0]), torch.tensor([0.25, 1.0]), (np.float32(0.25), Fraction(1))):
        assert m.CartPoleTasks(ranges={"length": pair}).identity() == plain.identity()  # type: ignore[dict-item]
    for values in (np.array([0.25, 0.5]), torch.tensor([0.25, 0.5]), [np.float32(0.25), Fraction(1, 2)]):
        assert m.DependentBandit(values).identity() == m.DependentBandit((0.25, 0.5)).identity()  # type: ignore[arg-type]
    for wrong in (0.5, "ab", (True, 1.0), (1.0, 0.25), (0.25, math.nan), None, (0.1, 0.2, 0.3)):
        with pytest.raises(ValueError, match=r"ranges\['length'\] = .*a pair \(low, high\)"):
            m.CartPoleTasks(ranges={"length": wrong})  # type: ignore[dict-item]
    for none in (0.5, "ab", (True,), (), (0.5, 1.5)):
        with pytest.raises(ValueError, match=r"values = .*at least one probability"):
            m.DependentBandit(none)  # type: ignore[arg-type]


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"device = 'gpu': a device that is here is needed, such as 'cpu'"):
        m.generator(0, "gpu")


SHARES: list[Callable[[Any], Any]] = [
    lambda x: m.discounted_returns(torch.ones(3), x),
    lambda x: t_interval([1.0, 2.0, 4.0], level=x),
    lambda x: bandits.epsilon_greedy(x),
    lambda x: delta_rule(x),
    lambda x: m.DependentBandit(values=(x,)),
    lambda x: m.TabularMDP(reward_noise=x),
    lambda x: m.MLPPolicy(1, 1, m.generator(0), init_std=x),
    lambda x: m.MLPPolicy(1, 1, m.generator(0)).with_rates(x),
    lambda x: m.GRUPolicy(1, 1, m.generator(0), discrete=False, init_std=x),
    lambda x: linear_probe(torch.eye(3), torch.eye(3), ridge=x),
    lambda x: gittins.gittins_table(3, x),
]


@pytest.mark.parametrize("use", SHARES)
def test_a_number_of_any_library_is_one_and_a_truth_value_is_none(use: Callable[[Any], Any]) -> None:
    for make in NUMBERS if use is not SHARES[0] else NUMBERS[:4]:
        use(make(0.5))
    for wrong in (True, np.bool_(True), "0.5", None, float("nan"), [0.5]):
        with pytest.raises(ValueError, match=r"(needed|between|must be|such as|at least)"):
            use(wrong)


# --- Configurations ---------------------------------------------------------------------------------------------------


def test_a_configuration_of_numpys_numbers_is_one_of_pythons() -> None:
    wanted = m.MAMLConfig(iterations=3, inner_lr=0.25, final_lr=0.0, normalise=False, outer_lr=1)
    for number_of, count_of in ((np.float32, np.int64), (torch.tensor, torch.tensor), (np.float64, np.uint8)):
        mine = m.MAMLConfig(
            iterations=count_of(3), inner_lr=number_of(0.25), final_lr=number_of(0.0), normalise=np.bool_(False),
            outer_lr=count_of(1), algorithm=np.str_("maml"), chunk_size=None,
        )  # fmt: skip
        assert mine == wanted
        assert json.dumps(asdict(mine)) == json.dumps(asdict(wanted))
        assert hash(mine) == hash(wanted)
    assert {type(value) for value in asdict(mine).values()} == {int, float, bool, str, type(None)}
    single = replace(m.RL2Config(), lr=np.float32(0.1), entropy=np.float32(0.1))
    assert (single.lr, single.at(0).entropy) == (0.10000000149011612, 0.10000000149011612)


@pytest.mark.parametrize("value", [True, np.bool_(True), "20", 2.0, np.float64(2), None, -1, 0, [20], 1j])
def test_a_configuration_refuses_what_is_no_count(value: Any) -> None:
    with pytest.raises(ValueError, match=r"num_tasks = .*a positive integer is needed, such as num_tasks=20"):
        m.MAMLConfig(num_tasks=value)
    with pytest.raises(ValueError, match=r"num_tasks = .*a positive integer is needed, such as num_tasks=20"):
        m.RL2Config(num_tasks=value)


SWITCHES: dict[str, Callable[[Any], Any]] = {
    "normalise": lambda flag: m.with_advantages(played()[1], normalise=flag),
    "create_graph": lambda flag: m.adapt(WALKER, *played(), m.policy_gradient, 0.1, create_graph=flag),
    "together": lambda flag: r_squared(torch.rand(4, 2), torch.rand(4, 2), together=flag),
    "docstring": lambda flag: m.show_source(m.tile, docstring=flag),
    "deterministic": lambda flag: m.player(WALKER).act(np.zeros(2), flag),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_of_a_function_is_true_or_false_and_nothing_else(name: str) -> None:
    for flag in ("no", 0, 1, None, torch.tensor([True])):
        with pytest.raises(ValueError, match=rf"^{name} = .*: True or False is needed\.$"):
            SWITCHES[name](flag)
    for flag in (np.bool_(False), torch.tensor(True)):
        SWITCHES[name](flag)


@pytest.mark.parametrize("value", [0, 1, "yes", None, np.int64(1)])
def test_a_configuration_refuses_what_is_no_switch(value: Any) -> None:
    with pytest.raises(ValueError, match=r"normalise = .*True or False is needed"):
        m.MAMLConfig(normalise=value)


def test_a_run_goes_on_whichever_library_its_numbers_are_of(tmp_path: Path) -> None:
    """To the bit, from the file that the other has written; and a rate that is not the same number is named."""
    tasks, policy = m.PointGoal(horizon=np.int64(4)), m.MLPPolicy(2, 2, m.generator(0), hidden=(np.int64(3),))
    plain = {"num_tasks": 2, "episodes": 2, "inner_lr": 0.25}
    ours = m.MAMLConfig(
        iterations=np.int64(3), **{k: np.float32(v) if k == "inner_lr" else np.int32(v) for k, v in plain.items()}
    )
    whole, _ = m.maml(m.PointGoal(horizon=4), policy, m.MAMLConfig(iterations=3, **plain), m.generator(1))
    file = tmp_path / "run"
    m.maml(tasks, policy, ours, m.generator(1), lambda k, p, h: np.bool_(k == 1), checkpoint=file, every=np.int64(2))
    same = m.MLPPolicy(2, 2, m.generator(0), hidden=(3,))
    went_on, _ = m.maml(
        m.PointGoal(horizon=4), same, m.MAMLConfig(iterations=3, **plain), m.generator(1), checkpoint=file
    )
    for name, p in whole.params().items():
        assert torch.equal(went_on.params()[name], p), name
    with pytest.raises(ValueError, match=r"inner_lr is 0\.25 there, 0\.10000000149011612 here"):
        m.maml(tasks, policy, replace(ours, inner_lr=np.float32(0.1)), m.generator(1), checkpoint=file)


# --- Scores -----------------------------------------------------------------------------------------------------------

ROWS = [[1, 2], [3, 5], [8, 13]]


class Frame:
    """What a table of pandas does for numpy."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(ROWS, dtype=object)


@pytest.mark.parametrize(
    "table",
    [
        ROWS, np.array(ROWS), torch.tensor(ROWS), torch.tensor(ROWS, dtype=torch.int8), Frame(),
        tuple(map(tuple, ROWS)), np.ma.array(ROWS), np.ma.array(ROWS, mask=False),
        np.array(ROWS, dtype=np.uint8), np.array(ROWS, dtype=">f8"), np.array(ROWS).astype(object),
        [torch.tensor(row) for row in ROWS], [np.array(row) for row in ROWS], np.array(ROWS).T.copy().T,
        [[Fraction(x) for x in row] for row in ROWS], torch.tensor(ROWS, dtype=F64).requires_grad_(),
    ],
)  # fmt: skip
def test_scores_come_as_people_have_them(table: Any) -> None:
    wanted = torch.tensor(ROWS, dtype=F64)
    assert torch.equal(as_scores(table), wanted)
    assert torch.equal(iqm(table, dim=np.int64(0)), iqm(wanted, dim=0))
    for interval in (t_interval, lambda x: bootstrap_interval(x, m.generator(0), resamples=np.int64(50))):
        assert torch.equal(torch.stack(interval(table)).detach(), torch.stack(interval(wanted)))


def test_precision_that_is_given_is_kept_and_outcomes_count_as_one_and_zero() -> None:
    assert as_scores(torch.ones(2)).dtype == as_scores(np.ones(2, np.float32)).dtype == torch.float32
    assert as_scores([1, 2]).dtype == as_scores(torch.tensor([True, False])).dtype == F64
    assert iqm([True, False, True, True, False]).item() == iqm([1, 0, 1, 1, 0]).item()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([1.0, math.nan, 2.0], r"scores hold nan at \[1\]: all of them must be finite"),
        ([[1.0, 2.0], [3.0, -math.inf]], r"scores hold -inf at \[1, 1\]"),
        ([1.0, None, 2.0], r"scores hold nan at \[1\]"),
        ([[1.0, 2.0], [3.0]], r"scores are a list of 2, which is no table of numbers"),
        ([torch.ones(2), torch.ones(3)], r"scores are a list of 2, which is no table of numbers"),
        (["high", "low"], r"scores are a list of 2, which is no table of numbers"),
        ({"a": 1.0}, r"scores are a dict, which is no table of numbers"),
        ([], r"scores of shape \[0\] hold no number"),
        (torch.ones(3, dtype=torch.complex64), r"no table of numbers"),
        (np.ma.array([1.0, 999.0, 3.0], mask=[0, 1, 0]), r"some of it is masked: leave that out, as .compressed\(\)"),
        ([[1.0, 2.0], np.ma.array([1.0, 2.0], mask=[0, 1])], r"some of it is masked"),
        ([1.0, np.ma.masked], r"some of it is masked"),
        ([10**400, 1], r"no table of numbers \(int too large to convert to float\)"),
    ],
)
def test_scores_that_are_none_are_named(table: Any, words: str) -> None:
    for function in (iqm, t_interval, lambda x: bootstrap_interval(x, m.generator(0))):
        with pytest.raises(ValueError, match=words):
            function(table)


@pytest.mark.parametrize("dim", [2, -3, 1.0, True, None])
def test_a_dimension_that_is_not_there_is_named(dim: Any) -> None:
    with pytest.raises(ValueError, match=r"dim = .*have the dimensions \[0, 1\]; -1 is the last"):
        iqm(ROWS, dim=dim)


def test_a_bootstrap_names_what_it_cannot_use() -> None:
    with pytest.raises(ValueError, match=r"resamples = 0: a positive integer"):
        bootstrap_interval(ROWS, m.generator(0), resamples=0)
    with pytest.raises(ValueError, match=r"gen = 3: chance comes from a torch.Generator"):
        bootstrap_interval(ROWS, 3)  # type: ignore[arg-type]


def test_a_probe_reads_lists_and_refuses_two_shapes() -> None:
    features, targets = [[0.0], [1.0], [2.0]], [[1], [3], [5]]
    probe = linear_probe(features, targets, ridge=0)  # type: ignore[arg-type]
    assert probe.weight.item() == pytest.approx(2)
    assert r_squared(np.array(targets), targets).tolist() == [1.0]  # type: ignore[arg-type]
    for function in (r_squared, lambda a, b: r_squared_interval(a, b, m.generator(0))):
        with pytest.raises(ValueError, match=r"both of one shape \[\.\.\., K\] are needed"):
            function(torch.ones(3), torch.ones(3, 1))  # broadcast, this was [3, 3]


# --- Functions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statistic",
    [
        lambda means: means.mean(), lambda means: means.mean(0), lambda means: means, lambda means: means.median(-1),
        lambda means: None, lambda means: means.mean(-1, keepdim=True), lambda means: "mean", lambda means: 1.0,
    ],
)  # fmt: skip
def test_a_statistic_is_one_number_for_each_draw(statistic: Any) -> None:
    with pytest.raises(ValueError, match=r"statistic"):
        bootstrap_interval(ROWS, m.generator(0), statistic, resamples=20)


def test_a_statistic_may_be_numpys() -> None:
    mine = bootstrap_interval(ROWS, m.generator(0), lambda means: means.mean(-1), resamples=20)
    assert bootstrap_interval(ROWS, m.generator(0), lambda means: np.mean(means.numpy(), -1), resamples=20) == mine
    with pytest.raises(ValueError, match=r"statistic = 'mean': a function is needed here"):
        bootstrap_interval(ROWS, m.generator(0), "mean")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "score",
    [
        lambda task, batch: batch.returns().mean(0), lambda task, batch: batch.returns().mean(),
        lambda task, batch: batch.returns().mean(1), lambda task, batch: batch.returns().T,
        lambda task, batch: batch.rewards, lambda task, batch: batch.returns().numpy(), lambda task, batch: None,
    ],
)  # fmt: skip
@pytest.mark.parametrize("chunk", [2, 2000])
def test_a_score_is_one_number_for_each_task_and_episode(score: Any, chunk: int) -> None:
    tasks = m.BernoulliBandit(2, 3)
    policy, task = m.GRUPolicy.for_tasks(tasks, m.generator(0), hidden=3), tasks.sample(5, m.generator(0))
    with pytest.raises(ValueError, match=r"score gave .*\[N, E\] = \[\d, 4\] is needed: one number for each task"):
        m.trial_returns(tasks, policy, task, 4, m.generator(0), chunk=chunk, score=score)


@pytest.mark.parametrize("answer", [0.3, 0, 1, "stop", [], torch.tensor([True, False]), torch.tensor(0.3)])
def test_a_callback_says_yes_or_no(answer: Any, tmp_path: Path) -> None:
    """A loss that it returns by mistake would end training after the first iteration; and nothing is lost."""
    tasks, config = m.PointGoal(horizon=3), m.MAMLConfig(iterations=3, num_tasks=2, episodes=2)
    policy = m.MLPPolicy.for_tasks(tasks, m.generator(0), hidden=(3,))
    with pytest.raises(ValueError, match=r"the callback gave .*: True ends training, and False or None goes on"):
        m.maml(tasks, policy, config, m.generator(1), lambda *_: answer, checkpoint=tmp_path / "run")
    _, history = m.maml(tasks, policy, config, m.generator(1), checkpoint=tmp_path / "run")
    assert len(history.returns) == 3


@pytest.mark.parametrize("answer", [None, False, np.bool_(False), torch.tensor(False)])
def test_a_callback_that_goes_on(answer: Any) -> None:
    tasks, config = m.PointGoal(horizon=3), m.MAMLConfig(iterations=2, num_tasks=2, episodes=2)
    policy = m.MLPPolicy.for_tasks(tasks, m.generator(0), hidden=(3,))
    assert len(m.maml(tasks, policy, config, m.generator(1), lambda *_: answer)[1].returns) == 2
    with pytest.raises(ValueError, match=r"callback = True: a function is needed"):
        m.maml(tasks, policy, config, m.generator(1), True)  # type: ignore[arg-type]


def rule_of_arms(arms: Any) -> Callable[[], Any]:
    return lambda: bandits.play(lambda *_: arms, torch.full((2, 3), 0.5), 2, m.generator(0))


def search_with(aim: Any) -> Callable[[], Any]:
    tasks = m.GridGoal(3, 2)
    return lambda: grid.search_grid(tasks, tasks.sample(2, m.generator(0)), lambda *_: aim, 1, m.generator(0))


def learn_with(model: Any) -> Callable[[], Any]:
    tasks = m.TabularMDP(2, 2, 2)
    return lambda: posterior.learn_mdps(lambda *_: model, tasks, tasks.sample(2, m.generator(0)), 1, m.generator(0))


def two_step_with(values: Any) -> Callable[[], Any]:
    tasks = m.TwoStep(2)
    return lambda: play_two_step(tasks, tasks.sample(3, m.generator(0)), lambda *_: values, False, m.generator(0))


@pytest.mark.parametrize(
    "call",
    [
        rule_of_arms(torch.zeros(2, 1, dtype=torch.long)), rule_of_arms(torch.tensor([0, 3])), rule_of_arms(0),
        rule_of_arms(torch.zeros(2)), rule_of_arms(torch.tensor([-1, 0])),
        search_with(torch.zeros(2, dtype=torch.long)), search_with(None),
        learn_with(torch.zeros(2)), learn_with((torch.ones(2, 2, 2, 2), torch.ones(2, 2))), learn_with(None),
        two_step_with(torch.zeros(3)), two_step_with(None),
        lambda: finite_differences(lambda p: p["x"], {"x": torch.ones(2)}),
        lambda: finite_differences(lambda p: None, {"x": torch.ones(2)}),  # type: ignore[arg-type,return-value]
        lambda: conjugate_gradient(lambda v: v.sum(), torch.ones(2)),
        lambda: line_search(lambda v: (1.0,), torch.ones(2), torch.ones(2), 2.0, 1.0),  # type: ignore[arg-type,return-value]
        lambda: line_search(lambda v: "no", torch.ones(2), torch.ones(2), 2.0, 1.0),  # type: ignore[arg-type,return-value]
        lambda: gauss_newton_product(lambda p: p["x"], lambda o: o["x"], {"x": torch.ones(2)}),  # type: ignore[arg-type,return-value]
        lambda: gauss_newton_product(lambda p: p, lambda o: o["x"], {"x": torch.ones(2)})(torch.ones(2)),
        lambda: m.show_source(torch.relu), lambda: m.show_diff(m.gae, "gae"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_a_function_gives_is_checked_where_it_comes_in(call: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=r"(needed|one number|tensors|a value of both|as long as|shown)"):
        call()


def test_a_result_of_the_promised_shape_passes_as_it_is() -> None:
    x = torch.ones(2, 3, requires_grad=True)
    assert check_result(x, {"N": 2, "E": 3}, "f", "") is x
    assert check_result(x.sum(), {}, "f", "").ndim == 0


# --- Tensors made where no gradients are ------------------------------------------------------------------------------


def test_a_tensor_of_inference_mode_becomes_an_ordinary_one() -> None:
    with torch.inference_mode():
        made = torch.ones(2).requires_grad_()
    assert not ordinary(made).is_inference()
    assert ordinary(made).requires_grad
    plain = torch.ones(2)
    assert ordinary(plain) is plain


def test_a_view_that_lost_its_graph_is_known() -> None:
    x = torch.ones(2, requires_grad=True)
    with torch.no_grad():
        cut: Tensor = x.expand(3, 2)
    assert severed(cut)
    for whole in (x, x.expand(3, 2), x.detach().expand(3, 2).requires_grad_(), 2 * x, torch.ones(2, 2)[0]):
        assert not severed(whole)


# --- Families, where a certain one is needed --------------------------------------------------------------------------


def nothing(*_: Any) -> Any:
    """A rule that is never asked."""


@pytest.mark.parametrize(
    ("ask", "kind"),
    [
        (navigation.agnostic_bound, m.PointGoal),
        (lambda tasks: navigation.goal_known_return(tasks, m.PointGoal().sample(2, m.generator(0))), m.PointGoal),
        (lambda tasks: navigation.probing_return(tasks, m.PointGoal().sample(2, m.generator(0))), m.PointGoal),
        (lambda tasks: grid.search_grid(tasks, {}, nothing, 1, m.generator(0)), m.GridGoal),
        (lambda tasks: goal_posterior(tasks, nothing()), m.GridGoal),
        (lambda tasks: posterior.known_mdp_value(tasks, {}), m.TabularMDP),
        (lambda tasks: posterior.learn_mdps(nothing, tasks, {}, 1, m.generator(0)), m.TabularMDP),
        (bayes_rule, m.TwoStep),
    ],
)
def test_a_class_or_a_name_in_place_of_a_family_is_refused(ask: Callable[[Any], Any], kind: Any) -> None:
    name = kind.__name__
    with pytest.raises(ValueError, match=rf"tasks is the class {name}: an instance of it is .* made with {name}\("):
        ask(kind)
    with pytest.raises(ValueError, match=rf"tasks is of type str: {name} is needed here, made with {name}\("):
        ask("a-name")


def test_a_pool_of_a_family_is_as_good_where_that_is_enough() -> None:
    tasks = m.PointGoal(horizon=4)
    task = tasks.sample(3, m.generator(0))
    pool: Any = m.FiniteTasks(tasks, task)
    assert torch.equal(navigation.goal_known_return(pool, task), navigation.goal_known_return(tasks, task))


# --- Parameters and paths ---------------------------------------------------------------------------------------------


def test_parameters_of_any_dict_are_taken_as_one() -> None:
    params = {"w": torch.ones(2)}
    for given in (params, torch.nn.ParameterDict(params), OrderedDict(params), MappingProxyType(params)):
        found = as_params(given, "these")
        assert type(found) is dict
        assert torch.equal(found["w"], params["w"])
    assert as_params({}, "these", empty=True) == {}


@pytest.mark.parametrize(
    ("params", "given"),
    [
        (None, "None"), ([1], "a list of 1"), (dict, "the class dict"), ({}, "an empty one"), (3, "3"),
        ({"w": torch.ones(1), "b": 2.0}, "one with 'b': 2.0"), (torch.ones(2), r"a tensor of shape \[2\]"),
        ({1: torch.ones(2)}, r"one with 1: a tensor of shape \[2\]"),
        (torch.nn.Linear(1, 1), "a Linear"), (torch.nn.ModuleDict({"a": torch.nn.Tanh()}), "one with 'a': a Tanh"),
    ],
)  # fmt: skip
def test_what_are_no_parameters(params: Any, given: str) -> None:
    with pytest.raises(ValueError, match=rf"params are a dict of tensors by name, such as these, not {given}\.$"):
        as_params(params, "these")


def test_a_path_in_any_form_is_one(tmp_path: Path) -> None:
    assert as_path(file=str(tmp_path / "a")) == as_path(file=tmp_path / "a") == tmp_path / "a"
    for wrong in (None, 3, "", ".", "/", b"a", True, "a\0b", Path()):
        with pytest.raises(ValueError, match=r'^file = .*: the name of a file is needed, such as file="run\.ck"\.$'):
            as_path(file=wrong)


# --- What functions are called with -----------------------------------------------------------------------------------

PLANE = m.PointGoal(horizon=3)
WALKER = m.MLPPolicy.for_tasks(PLANE, m.generator(0))
ARMS = m.make_tasks("bernoulli-bandit", horizon=2)
GRID = m.make_tasks("grid-goal")
PLAYER = m.GRUPolicy.for_tasks(ARMS, m.generator(0), hidden=4)


def played() -> tuple[m.Params, m.Rollout]:
    params = m.tile(WALKER.params(), 2)
    return params, m.with_advantages(
        m.rollout(PLANE, WALKER, params, PLANE.sample(2, m.generator(1)), 2, m.generator(2))
    )


def gym_family(**other: Any) -> m.GymTasks:
    given: dict[str, Any] = {
        "make_env": lambda: gymnasium.make("CartPole-v1"),
        "set_task": lambda env, task: None,
        "sample": lambda num_tasks, gen: {"gravity": torch.ones(num_tasks)},
        "default_task": {"gravity": torch.tensor(9.8)},
    }
    return m.GymTasks(**(given | other))


#: By the function's name: what it is called with, and who calls it.
CALLED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "loss_fn": ("policy, params, batch", lambda f: m.adapt(WALKER, *played(), f, lr=0.1)),
    "score": (
        "task, batch",
        lambda f: m.trial_returns(ARMS, PLAYER, ARMS.sample(2, m.generator(0)), 2, m.generator(1), score=f),
    ),
    "callback": (
        "iteration, policy, history",
        lambda f: m.maml(PLANE, WALKER, m.MAMLConfig(iterations=1), m.generator(0), callback=f),
    ),
    "statistic": ("scores", lambda f: bootstrap_interval([1.0, 2.0, 4.0], m.generator(0), statistic=f)),
    "rule": ("wins, losses, gen", lambda f: bandits.play(f, torch.rand(2, 3), 4, m.generator(0))),
    "learn": ("values, where, reward", lambda f: two_rounds(f)),
    "product": ("vector", lambda f: conjugate_gradient(f, torch.ones(2))),
    "function": ("params", lambda f: finite_differences(f, {"w": torch.ones(2, dtype=F64)})),
    "make_env": ("", lambda f: gym_family(make_env=f)),
    "set_task": ("env, task", lambda f: gym_family(set_task=f)),
    "sample": ("num_tasks, gen", lambda f: gym_family(sample=f)),
}


def two_rounds(learn: Any) -> Any:
    tasks = m.make_tasks("two-step")
    return play_two_step(tasks, tasks.sample(2, m.generator(0)), learn, False, m.generator(1))


@pytest.mark.parametrize("name", sorted(CALLED))
def test_a_function_that_takes_something_else_is_refused_before_it_is_called(name: str) -> None:
    takes, call = CALLED[name]
    with pytest.raises(ValueError, match=rf"^{name} is called with \({takes}\): missing a required argument: "):
        call(lambda too, many, things, at, once: None)
    if takes:
        with pytest.raises(ValueError, match=rf"^{name} is called with \({takes}\): too many positional arguments"):
            call(lambda: None)


def in_order(names: list[str]) -> Any:
    """A function of these arguments."""
    return eval(f"lambda {', '.join(names)}: None")


@pytest.mark.parametrize("name", [name for name, (takes, _) in sorted(CALLED.items()) if ", " in takes])
def test_a_function_that_takes_its_arguments_in_another_order_is_refused(name: str) -> None:
    takes, call = CALLED[name]
    turned = takes.split(", ")[::-1]
    words = rf"^{name} is called with \({takes}\), and takes \({', '.join(turned)}\): put them into that order"
    with pytest.raises(ValueError, match=words):
        call(in_order(turned))
    check_takes(name, in_order([*takes.split(", ")[:-1], "other"]), takes.split(", "))  # any names will do
    check_takes(name, in_order(["a", *takes.split(", ")[:-1]]), takes.split(", "))


def test_rules_of_search_and_of_models_are_asked_too() -> None:
    tasks = m.make_tasks("tabular-mdp")
    for call in (
        lambda f: grid.search_grid(GRID, GRID.sample(2, m.generator(0)), f, 1, m.generator(1)),
        lambda f: posterior.learn_mdps(f, tasks, tasks.sample(2, m.generator(0)), 1, m.generator(1)),
    ):
        with pytest.raises(ValueError, match=r"^rule is called with \((search|belief), gen\): too many"):
            call(lambda: None)


def test_whatever_can_be_called_so_is_taken() -> None:
    """Methods, partial functions, defaults, `*given`, callable objects, and functions in C that do not say."""

    class Callback:
        def __call__(self, *given: Any) -> None:
            seen.append(len(given))

        def method(self, i: int, policy: Any, history: Any, more: int = 0) -> None:
            self(i, policy, history)

    seen: list[int] = []
    for callback in (Callback(), Callback().method, partial(Callback().method, more=1), lambda *given: seen.append(3)):
        m.maml(PLANE, WALKER, m.MAMLConfig(iterations=1, num_tasks=2, episodes=2), m.generator(0), callback=callback)
    assert seen == [3] * 4
    with pytest.raises(ValueError, match="no signature"):
        inspect.signature(max)
    check_takes("rule", max, ["belief", "gen"])


NO_DTYPE = ["float32", np.float32, np.dtype("f4"), float, None, torch.int64, torch.complex64, torch.float8_e5m2]


@pytest.mark.parametrize("dtype", NO_DTYPE, ids=str)
@pytest.mark.parametrize("made", [*FAMILIES.values(), m.MLPPolicy, m.GRUPolicy], ids=lambda made: made.__name__)
def test_a_type_that_is_none_is_refused_where_it_is_given(made: Any, dtype: Any) -> None:
    make = made if issubclass(made, m.TaskDistribution) else partial(made.for_tasks, m.PointGoal(), m.generator(0))
    with pytest.raises(ValueError, match=r"dtype = .*: a floating-point type of torch is needed, such as dtype=torch"):
        make(dtype=dtype)


def test_an_environment_made_by_its_id_names_the_type_too() -> None:
    with pytest.raises(ValueError, match=r"dtype = 'float64': a floating-point type of torch"):
        gymnasium.make("metarl_lite/PointGoal-v0", dtype="float64")
