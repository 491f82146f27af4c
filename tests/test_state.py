"""A run's state: kept to the bit, told from that of another run, and refused with what differs and what to do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metarl_lite.checkpoint import load, save
from metarl_lite.policies.base import Policy
from metarl_lite.policies.belief import BeliefPolicy
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.keyed import keyed
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.state import FORMAT, History, State, Stored, flattened, identity, not_compared, params_of
from metarl_lite.tasks import (
    BernoulliBandit,
    DependentBandit,
    FiniteTasks,
    GridGoal,
    PointGoal,
    TabularMDP,
    TaskDistribution,
)
from metarl_lite.tasks.families import FAMILIES
from tests.runs import ToyHistory, cart_pole, toy, toy_iteration


def go_on(state: State, count: int) -> State:
    """What the driver does, without the driver."""
    for _ in range(count):
        state.history.add(toy_iteration(state))
        state.iteration += 1
    return state


def equal(one: State, other: State) -> bool:
    same = all(torch.equal(p, other.theta[name]) for name, p in one.theta.items())
    drawn = torch.equal(one.gen.get_state(), other.gen.get_state())
    return same and drawn and one.history == other.history and one.iteration == other.iteration


# --- Kept to the bit --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [True, False], ids=["Adam", "no Adam"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("done", [0, 1, 4, 6])
def test_a_run_goes_on_as_if_it_had_not_been_interrupted(
    done: int, dtype: torch.dtype, momentum: bool, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"dtype": dtype, "momentum": momentum}
    whole, half, other = go_on(toy(**options), 6), go_on(toy(**options), done), toy(**options)
    half.save(tmp_path / "run.state")
    other.restore(tmp_path / "run.state")
    assert equal(other, half)
    assert equal(go_on(other, 6 - done), whole)
    assert all(p.dtype == dtype and p.requires_grad for p in other.theta.values())


def test_what_was_saved_is_saved_again_to_the_bit(tmp_path: Path) -> None:
    go_on(toy(), 4).save(tmp_path / "one")
    again = toy()
    again.restore(tmp_path / "one")
    again.save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_rate_goes_on_along_its_line(tmp_path: Path) -> None:
    half, other = go_on(toy(), 4), toy()
    half.save(tmp_path / "run.state")
    other.restore(tmp_path / "run.state")
    rates = [state.adam.optimiser.param_groups[0]["lr"] for state in (half, other)]
    assert rates[0] == rates[1]
    assert 0 < rates[0] < 0.05


def test_where_there_is_no_file_a_run_begins(tmp_path: Path) -> None:
    for path in (None, tmp_path / "none.state"):
        state = toy()
        state.restore(path)
        assert equal(state, toy())


@dataclass(repr=False)
class Odd(History):
    """Lists of all kinds."""

    numbers: list[float] = field(default_factory=list)
    ragged: list[list[float]] = field(default_factory=list)
    nothing: list[float] = field(default_factory=list)


def test_a_history_keeps_every_bit_of_every_list(tmp_path: Path) -> None:
    seen = Odd(
        [0.1, 1 / 3, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan, 2],
        [[], [1.5], [0.1, 0.2, 0.3], []],
        steps=10**12 + 1,
    )
    state, other = toy(), toy()
    state.history, other.history = seen, Odd()
    state.save(tmp_path / "run.state")
    other.restore(tmp_path / "run.state")
    assert repr(vars(other.history)) == repr(vars(seen)), "repr tells -0.0 from 0.0, and nan from none"
    assert [type(x) for x in other.history.numbers] == [type(x) for x in seen.numbers]


def test_a_history_adds_up_steps_and_lists_the_rest() -> None:
    history = ToyHistory()
    history.add({"returns": 1.0, "lists": [1.0, 2.0], "steps": 5})
    history.add({"returns": 2.0, "steps": 7})
    assert history == ToyHistory([1.0, 2.0], [[1.0, 2.0]], steps=12)
    assert repr(history) == "ToyHistory(2 iterations, last return 2.00)"
    assert repr(ToyHistory()) == "ToyHistory(0 iterations)"
    with pytest.raises(AttributeError, match="unheard"):
        history.add({"unheard": 1})


# --- Another run is refused -------------------------------------------------------------------------------------------


def refused(path: Path, state: State, message: str) -> None:
    """Both the file and the state stay as they are."""
    content, theta = path.read_bytes(), {name: p.detach().clone() for name, p in state.theta.items()}
    drawn, seen = state.gen.get_state(), repr(state.history)
    with pytest.raises(ValueError, match=message):
        state.restore(path)
    assert path.read_bytes() == content
    assert all(torch.equal(p, theta[name]) for name, p in state.theta.items())
    assert torch.equal(state.gen.get_state(), drawn)
    assert repr(state.history) == seen
    assert state.iteration == 0


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: toy(lr=0.2), r"lr is 0\.1 there, 0\.2 here"),
        (lambda: toy(seed=1), r"generator is \w{16} there, \w{16} here; policy\.parameters is \w{16} there"),
        (lambda: toy(tasks=BernoulliBandit(3, horizon=3)), r"family\.action_size is 2 there, 3 here"),
        (lambda: toy(tasks=BernoulliBandit(2, horizon=4)), r"family\.horizon is 3 there, 4 here"),
        (lambda: toy(tasks=DependentBandit(horizon=3)), r"family\.class is .*BernoulliBandit there, .*DependentBandit"),
        (lambda: toy(dtype=torch.float64), r"policy\.dtype is torch\.float32 there, torch\.float64 here"),
        (
            lambda: replace(toy(), identity=toy().identity | {"algorithm": "other"}),
            r"its algorithm is toy, here it is other",
        ),
        (lambda: replace(toy(), identity=toy().identity | {"outer": "x"}), r"outer is absent there, x here"),
    ],
)
def test_the_state_of_another_run_is_refused_and_left_alone(
    tmp_path: Path, other: Callable[[], State], message: str
) -> None:
    go_on(toy(), 2).save(tmp_path / "run.state")
    refused(tmp_path / "run.state", other(), f"holds another run: .*{message}.*Nothing was overwritten: choose another")


def test_a_generator_that_has_drawn_is_refused_with_what_to_do(tmp_path: Path) -> None:
    state = go_on(toy(), 2)
    state.save(tmp_path / "run.state")
    used = replace(toy(), identity=identity("toy", BernoulliBandit(2, horizon=3), state.policy, state.gen))
    refused(tmp_path / "run.state", used, r"generator is .* began with: make them anew, with the same seed\.")


def test_a_run_of_another_algorithm_is_told_by_that_alone(tmp_path: Path) -> None:
    go_on(toy(lr=0.2, tasks=BernoulliBandit(3)), 2).save(tmp_path / "run.state")
    other = replace(toy(), identity=toy().identity | {"algorithm": "other"})
    refused(
        tmp_path / "run.state",
        other,
        r"run\.state' holds another run: its algorithm is toy, here it is other\. Nothing was .* this one away\.$",
    )


def test_another_seed_and_another_configuration_are_both_named(tmp_path: Path) -> None:
    go_on(toy(), 2).save(tmp_path / "run.state")
    both = (
        r"config\.lr is 0\.1 there, 0\.2 here; generator is \w{16} there, .*; policy\.parameters is .*the same seed\.$"
    )
    refused(tmp_path / "run.state", toy(seed=1, lr=0.2), both)
    refused(tmp_path / "run.state", toy(7, seed=1), r"config\.iterations is 6 there, 7 here; generator is")


def test_another_width_is_named_as_one_types_it_and_the_advice_leads_back(tmp_path: Path) -> None:
    def wide(*hidden: int) -> State:
        tasks, gen = BernoulliBandit(2, horizon=3), generator(0)
        policy = MLPPolicy.for_tasks(tasks, gen, hidden=hidden)
        return replace(toy(), policy=policy, theta=policy.params(), identity=identity("toy", tasks, policy, gen))

    path = tmp_path / "run.state"
    wide(8).save(path)
    refused(
        path,
        wide(64, 64),
        r"policy\.hidden is \(8,\) there, \(64, 64\) here; .*with the same seed and the options named there",
    )
    wide(8).restore(path)  # which is what the advice says


def test_the_policy_of_a_run_is_found_in_its_file(tmp_path: Path) -> None:
    path, state = tmp_path / "run.state", go_on(toy(), 3)
    state.save(path)
    policy = MLPPolicy.from_params(params_of(path))
    assert policy.params().keys() == state.theta.keys(), "and nothing of the optimiser"
    assert all(torch.equal(p, state.theta[name]) for name, p in policy.params().items())
    assert not torch.equal(policy.params()["w0"], toy().theta["w0"]), "what was learned, not the start"
    save(policy.params(), tmp_path / "weights")
    with pytest.raises(ValueError, match="is not the state of a run"):
        params_of(tmp_path / "weights")


@pytest.mark.parametrize("use", [MLPPolicy.from_params, toy().policy.replace], ids=["from_params", "replace"])
def test_who_loads_the_file_of_a_run_is_told_of_params_of(use: Any, tmp_path: Path) -> None:
    go_on(toy(), 1).save(tmp_path / "run.state")
    with pytest.raises(ValueError, match=r"whole state of a run, .* metarl_lite\.state\.params_of\(path\)"):
        use(load(tmp_path / "run.state"))


def test_only_what_differs_is_named_and_long_values_are_cut(tmp_path: Path) -> None:
    state, other = toy(), toy()
    state.identity["note"], other.identity["note"] = ["x" * 1000], ["y"]
    state.save(tmp_path / "run.state")
    with pytest.raises(ValueError, match=r"note is \('x+\.\.\. there, \('y',\) here") as caught:
        other.restore(tmp_path / "run.state")
    message = str(caught.value)
    assert len(message) < 400 + len(str(tmp_path))
    assert "horizon" not in message
    assert "same seed" not in message, "the seed is not what differs"


def test_tuples_and_numbers_that_json_does_not_have_are_themselves_again(tmp_path: Path) -> None:
    def odd() -> State:
        state = toy()
        state.identity |= {"pair": (1, 2), "far": math.inf, "none": math.nan, "deep": {"x": [math.nan, (3,)]}}
        state.config |= {"hidden": (4, 4)}
        return state

    go_on(odd(), 1).save(tmp_path / "run.state")
    again = odd()
    again.restore(tmp_path / "run.state")
    assert again.iteration == 1


# --- What is no state is refused --------------------------------------------------------------------------------------


def of_0_3_0(path: Path) -> None:
    """What version 0.3.0 wrote: `Training.save` with `rl2`'s description of a run."""
    state = go_on(toy(), 2)
    about = json.dumps({"tasks": "bernoulli-bandit", "horizon": 3, "iterations": 6, "lr": 0.1}).encode()
    tensors = {"about": torch.tensor(list(about), dtype=torch.uint8), "generator": state.gen.get_state()}
    tensors |= {"iteration": torch.tensor(2), "history/returns": torch.zeros(2, dtype=torch.float64)}
    tensors |= {f"theta/{name}": p for name, p in state.theta.items()}
    save(tensors | {f"adam/{name}": p for name, p in state.adam.state().items()}, path)


def test_a_state_of_version_0_3_0_is_refused_by_its_form(tmp_path: Path) -> None:
    of_0_3_0(tmp_path / "run.state")
    refused(
        tmp_path / "run.state",
        toy(),
        r"run\.state' is in form 1 of such files, and this version of metarl_lite reads form 2 \(0\.3\.0 wrote form 1\)"
        r".*Nothing was overwritten: finish that run with the version that began it, or choose another file",
    )


def test_a_state_of_a_later_version_is_refused_by_its_form(tmp_path: Path) -> None:
    path = tmp_path / "run.state"
    toy().save(path)
    tensors = load(path)
    about = json.loads(bytes(tensors["about"].tolist())) | {"format": FORMAT + 1}
    save(tensors | {"about": torch.tensor(list(json.dumps(about).encode()), dtype=torch.uint8)}, path)
    refused(path, toy(), f"is in form {FORMAT + 1} of such files")


def test_what_is_no_state_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.state"
    go_on(toy(), 2).save(path)
    whole, other = path.read_bytes(), "is not the state of a run but something else; choose another file"
    save(MLPPolicy(2, 2, generator(0)).params(), tmp_path / "weights")
    save({"about": torch.zeros(3), "generator": torch.zeros(3)}, tmp_path / "no text")
    save({"about": torch.tensor(list(b"[1, 2]"), dtype=torch.uint8), "generator": torch.zeros(3)}, tmp_path / "a list")
    for content, message in (
        (whole[:-50], "not a whole safetensors file"),
        (whole[: len(whole) // 2], "not a whole safetensors file"),
        (whole[:5], "not a whole safetensors file"),
        (b"", "not a whole safetensors file"),
        (b"a note to myself, of more than eight letters", "not a whole safetensors file"),
        *(((tmp_path / name).read_bytes(), other) for name in ("weights", "no text", "a list")),
    ):
        path.write_bytes(content)
        refused(path, toy(), rf"run\.state' .*{message}")
        if message != other:
            refused(path, toy(), "truncated, empty or of another format: delete it, or choose another file")


# --- Legs -------------------------------------------------------------------------------------------------------------


def leg(number: int, iterations: int = 4, **options: Any) -> State:
    return toy(iterations, leg=number, **options)


def test_a_leg_goes_on_from_the_end_of_the_one_before(tmp_path: Path) -> None:
    path, first = tmp_path / "run.state", go_on(toy(6), 6)
    first.save(path)
    second = leg(2, 4, lr=0.5)
    second.restore(path)
    assert second.iteration == 0
    assert second.history == first.history
    assert all(torch.equal(p, first.theta[name]) for name, p in second.theta.items())
    assert second.adam.optimiser.param_groups[0]["lr"] == 0.5, "a schedule of its own"
    assert second.before == [{"iterations": 6, "lr": 0.1}]
    go_on(second, 3).save(path)
    again = leg(2, 4, lr=0.5)
    again.restore(path)
    assert equal(again, second)
    assert again.adam.optimiser.param_groups[0]["lr"] == second.adam.optimiser.param_groups[0]["lr"] < 0.5
    go_on(again, 1).save(path)
    third = leg(3, 2)
    third.restore(path)
    assert third.iteration == 0
    assert third.history.steps == 100, "of all legs"
    assert [config["iterations"] for config in third.before] == [6, 4]
    third.save(path)
    assert [config["iterations"] for config in Stored.read(path).about["legs"]] == [6, 4, 2]


@pytest.mark.parametrize(
    ("done", "state", "message"),
    [
        (6, lambda: toy(7), r"iterations = 7, but .*run\.state' holds a leg of 6, 6 of them done.*: pass leg=2\."),
        (6, lambda: toy(5), r"iterations = 5, but .*run\.state' holds a leg of 6, 6 of them done.*: pass leg=2\."),
        (4, lambda: toy(7), r"a leg of 6, 4 of them done.*: finish leg 1 with iterations=6 first, then pass leg=2\."),
        (4, lambda: leg(2), r"leg = 2, but .*holds 4 of the 6 iterations of leg 1: finish leg 1 with iterations=6"),
        (6, lambda: leg(3), r"leg = 3, but .*holds 1 of them: go on with leg=1, begin leg=2, or choose another file"),
        (6, lambda: leg(2, seed=1), "holds another run"),
        (6, lambda: leg(2, tasks=BernoulliBandit(2, horizon=4)), r"family\.horizon is 3 there, 4 here"),
    ],
)
def test_a_leg_that_cannot_begin_is_refused(
    tmp_path: Path, done: int, state: Callable[[], State], message: str
) -> None:
    go_on(toy(6), done).save(tmp_path / "run.state")
    refused(tmp_path / "run.state", state(), message)


def test_an_earlier_leg_cannot_be_gone_back_to(tmp_path: Path) -> None:
    path = tmp_path / "run.state"
    go_on(toy(6), 6).save(path)
    second = leg(2)
    second.restore(path)
    go_on(second, 1).save(path)
    refused(path, toy(6), r"leg = 1, but .*holds 2 of them: go on with leg=2, begin leg=3")
    refused(path, leg(2, lr=0.7), r"holds another run: config\.lr is 0\.1 there, 0\.7 here")
    refused(path, leg(3), r"holds 1 of the 4 iterations of leg 2")


@pytest.mark.parametrize(("path", "where"), [(None, "no checkpoint"), ("none.state", r"no file .*none\.state'")])
def test_a_further_leg_needs_a_file_to_go_on_from(tmp_path: Path, path: str | None, where: str) -> None:
    with pytest.raises(ValueError, match=rf"leg = 2, but there is {where} to go on from: begin with leg=1"):
        leg(2).restore(None if path is None else tmp_path / path)


# --- Identity: families -----------------------------------------------------------------------------------------------


def same_family(one: TaskDistribution, other: TaskDistribution) -> bool:
    """As the file would have it."""
    return bool(json.dumps(one.identity(), sort_keys=True) == json.dumps(other.identity(), sort_keys=True))


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_says_all_of_itself(name: str) -> None:
    one, other = FAMILIES[name](), FAMILIES[name]()
    assert same_family(one, other)
    assert one.identity()["horizon"] == one.horizon
    assert not not_compared({"family": one.identity()})
    assert not same_family(one, FAMILIES[name](horizon=one.horizon + 1))  # type: ignore[call-arg]
    one.sample(3, generator(0))
    assert same_family(one, other), "use changes nothing"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (BernoulliBandit(2), BernoulliBandit(3)),
        (DependentBandit((0.1, 0.9)), DependentBandit((0.2, 0.8))),
        (DependentBandit((0.1, 0.9)), DependentBandit()),
        (GridGoal(size=5), GridGoal(size=6)),
        (TabularMDP(reward_noise=1.0), TabularMDP(reward_noise=0.5)),
        (PointGoal(), PointGoal(dtype=torch.float64)),
    ],
    ids=lambda tasks: tasks.name,
)
def test_other_ranges_are_another_family(one: TaskDistribution, other: TaskDistribution) -> None:
    assert not same_family(one, other)


def test_another_pool_is_another_family() -> None:
    tasks = PointGoal()
    pools = [tasks.sample(4, generator(seed)) for seed in (0, 0, 1)]
    one, two, other = (FiniteTasks(tasks, pool) for pool in pools)
    assert same_family(one, two)
    assert not same_family(one, other)
    assert not same_family(one, FiniteTasks(PointGoal(horizon=5), pools[0]))
    assert not same_family(one, tasks)


class Mine(BernoulliBandit):
    """A family of a user, who keeps all kinds of things."""

    table = torch.ones(3)
    limits = np.array([0.0, 1.0])
    span = range(3)

    def __init__(self, low: float = 0.0, shape: Any = None, horizon: int = 3) -> None:
        super().__init__(2, horizon)
        self.low, self.high = low, np.float64(2.0)
        self.count, self.far = np.int64(7), math.inf
        self.shape = shape
        self.options = {"a": (1, 2), "b": torch.zeros(2)}
        self.where = torch.device("cpu")
        self._cache: dict[str, Tensor] = {}

    @cached_property
    def costly(self) -> Tensor:
        raise AssertionError("what follows from the rest is not asked for")

    @property
    def also_costly(self) -> Tensor:
        raise AssertionError("nor is this")

    @property
    def odds(self) -> str:
        return "even"


def changed(name: str, value: Any) -> Mine:
    tasks = Mine()
    setattr(tasks, name, value)
    return tasks


@pytest.mark.parametrize(
    "other",
    [
        Mine(low=0.1), Mine(horizon=4), changed("table", torch.zeros(3)), changed("table", torch.ones(3).double()),
        changed("limits", np.array([0.0, 2.0])), changed("high", 3.0), changed("count", np.int64(8)),
        changed("far", -math.inf), changed("options", {"a": (1, 3), "b": torch.zeros(2)}),
        changed("options", {"a": (1, 2), "b": torch.ones(2)}), changed("new", 1),
        changed("where", torch.device("meta")),
    ],
)  # fmt: skip
def test_numbers_texts_and_tensors_of_a_users_family_are_compared(other: Mine) -> None:
    assert same_family(Mine(), Mine())
    assert not same_family(Mine(), other)


def test_what_cannot_be_compared_of_a_users_family_is_named() -> None:
    assert Mine().identity()["not compared"] == ["_cache", "span"]
    shaped = Mine(shape=lambda reward: reward)
    assert shaped.identity()["not compared"] == ["_cache", "shape", "span"]
    nested = {"family": FiniteTasks(shaped, shaped.sample(2, generator(0))).identity()}
    assert not_compared(nested) == ["family.tasks._cache", "family.tasks.shape", "family.tasks.span"]


class Behind(BernoulliBandit):
    """A family whose horizon is a property."""

    def __init__(self, horizon: int) -> None:
        self._steps = horizon
        super().__init__(2, horizon)

    @property
    def horizon(self) -> int:
        return self._steps

    @horizon.setter
    def horizon(self, value: int) -> None:
        self._steps = value


def test_what_every_family_has_is_compared_however_it_is_made() -> None:
    assert not same_family(Behind(3), Behind(4))


def test_a_family_of_gymnasium_says_what_of_it_cannot_be_compared() -> None:
    with pytest.warns(UserWarning, match="plays 4 different tasks alike"):
        car = cart_pole("MountainCar-v0")  # which reads no such length
    tasks = [cart_pole(), cart_pole(), car, cart_pole(length=0.6), cart_pole(horizon=21)]
    try:
        assert same_family(tasks[0], tasks[1])
        assert tasks[0].identity()["not compared"] == ["make_env", "set_task", "sample"]
        for other in tasks[2:]:
            assert not same_family(tasks[0], other)
    finally:
        for one in tasks:
            one.close()


def test_going_on_with_what_cannot_be_compared_says_so(tmp_path: Path) -> None:
    path = tmp_path / "run.state"
    go_on(toy(tasks=Mine()), 2).save(path)
    again = toy(tasks=Mine())
    with pytest.warns(UserWarning, match=r"family\._cache, family\.span cannot be compared.*taken to be the same"):
        again.restore(path)
    assert again.iteration == 2
    refused(path, toy(tasks=Mine(low=0.1)), r"family\.low is 0\.0 there, 0\.1 here")  # and no warning


# --- Identity: policies, generator ------------------------------------------------------------------------------------


def policies(seed: int) -> dict[str, Policy]:
    tasks = BernoulliBandit(2)
    made: dict[str, Policy] = {
        "mlp": MLPPolicy.for_tasks(tasks, generator(seed), hidden=(4,)),
        "gru": GRUPolicy.for_tasks(tasks, generator(seed), hidden=8),
        "belief": BeliefPolicy.for_tasks(tasks, generator(seed), code=4),
    }
    made["rates"] = MLPPolicy.for_tasks(tasks, generator(seed), hidden=(4,)).with_rates(0.1)
    made["keyed"] = keyed(GRUPolicy.for_tasks(tasks, generator(seed), hidden=8), generator(seed))
    return made


def test_every_policy_says_all_of_itself() -> None:
    one, two, other = policies(0), policies(0), policies(1)
    for name, policy in one.items():
        assert json.dumps(policy.identity()) == json.dumps(two[name].identity())
        assert policy.identity()["parameters"] != other[name].identity()["parameters"]
        assert not not_compared({"policy": policy.identity()})
    assert len({policy.identity()["parameters"] for policy in one.values()}) == len(one)


def test_one_bit_of_one_parameter_makes_another_run() -> None:
    policy = policies(0)["mlp"]
    params = {name: p.detach().clone() for name, p in policy.params().items()}
    params["b0"][0] = -0.0  # equal to 0.0, and another bit
    assert policy.replace(params).identity() != policy.identity()


def test_an_option_that_no_parameter_shows_makes_another_run() -> None:
    tasks = BernoulliBandit(2)
    one, other = (BeliefPolicy.for_tasks(tasks, generator(0), code=4, queries=q) for q in (2, 3))
    assert one.identity()["parameters"] == other.identity()["parameters"]
    assert one.identity() != other.identity()


def test_what_was_drawn_before_the_start_makes_another_run() -> None:
    tasks, gen = BernoulliBandit(2), generator(0)
    policy = MLPPolicy.for_tasks(tasks, gen)
    before = identity("maml", tasks, policy, gen)
    tasks.sample(1, gen)
    after = identity("maml", tasks, policy, gen)
    assert [name for name, value in flattened(before).items() if flattened(after)[name] != value] == ["generator"]
