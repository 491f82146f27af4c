"""The policy with a memory against torch's own GRU, against its equations, and its inputs against arrays by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.checkpoint import load, save
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.keyed import keyed
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator, normal
from metarl_lite.rollout import trial
from metarl_lite.tasks import BernoulliBandit, CartPoleTasks, GridGoal, PointGoal, TabularMDP
from metarl_lite.types import Params, Rollout

F64 = torch.float64


def policy_with_biases(seed: int = 0, **options: Any) -> GRUPolicy:
    """A policy in float64 whose parameters are all random: a bias that starts at 0 would not be missed."""
    gen = generator(seed)
    policy = GRUPolicy(3, 2, gen, **{"hidden": 5, "dtype": F64} | options)
    return policy.replace({name: p + 0.3 * normal(tuple(p.shape), gen, F64) for name, p in policy.params().items()})


def by_equations(params: Params, memory: Tensor, x: Tensor, owner: str = "actor") -> Tensor:
    """A GRU as the book writes it, gate by gate, of any leading dimensions."""
    names = ("in", "memory", "in_b", "memory_b")
    w, u, b, c = (params[f"{owner}_gru_{name}"].chunk(3) for name in names)
    r, z = (torch.sigmoid(x @ w[i].T + b[i] + memory @ u[i].T + c[i]) for i in (0, 1))
    candidate = torch.tanh(x @ w[2].T + b[2] + r * (memory @ u[2].T + c[2]))
    return z * memory + (1 - z) * candidate


# --- The network ------------------------------------------------------------------------------------------------------

KINDS = [{"discrete": discrete, "separate": separate} for discrete in (True, False) for separate in (True, False)]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_step_by_step_and_all_at_once_give_the_same_memories(kind: dict[str, bool]) -> None:
    policy = policy_with_biases(**kind)
    params, inputs = policy.params(), normal((4, 7, policy.input_size), generator(1), F64)
    actor, critic = policy.unroll(params, inputs)
    memory, second = torch.zeros(4, 5, dtype=F64), torch.zeros(4, 5, dtype=F64)
    for j in range(7):
        second = by_equations(params, second, inputs[:, j], "critic" if kind["separate"] else "actor")
        expected = by_equations(params, memory, inputs[:, j])
        memory = policy.remember(params, memory, inputs[:, j])
        torch.testing.assert_close(memory, expected)
        torch.testing.assert_close(actor[:, j], memory)
        torch.testing.assert_close(critic[:, j], second)
    assert torch.equal(actor, critic) == (not kind["separate"])


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_it_is_torchs_gru(kind: dict[str, bool]) -> None:
    policy = policy_with_biases(**kind)
    params = policy.params()
    inputs = normal((4, 7, policy.input_size), generator(1), F64)
    for owner, memories in zip(("actor", "critic"), policy.unroll(params, inputs), strict=True):
        whole = torch.nn.GRU(policy.input_size, 5, batch_first=True, dtype=F64)
        cell = torch.nn.GRUCell(policy.input_size, 5, dtype=F64)
        for theirs, ours in (("ih", "in"), ("hh", "memory")):
            mine = f"{owner if kind['separate'] else 'actor'}_gru_{ours}"
            for part, end in (("weight", ""), ("bias", "_b")):
                for network, last in ((whole, "_l0"), (cell, "")):
                    getattr(network, f"{part}_{theirs}{last}").data.copy_(params[mine + end])
        torch.testing.assert_close(memories, whole(inputs)[0])
        if owner == "actor":
            memory = normal((4, 5), generator(2), F64)
            torch.testing.assert_close(policy.remember(params, memory, inputs[:, 0]), cell(inputs[:, 0], memory))


def test_the_heads_are_linear() -> None:
    for discrete in (True, False):
        policy = policy_with_biases(discrete=discrete)
        params, memory = policy.params(), normal((3, 4, 5), generator(1), F64)
        chosen = policy.distribution(params, memory)
        torch.testing.assert_close(
            chosen["logits" if discrete else "mean"], memory @ params["actor_w"] + params["actor_b"]
        )
        torch.testing.assert_close(
            policy.value(params, memory), (memory @ params["critic_w"] + params["critic_b"])[..., 0]
        )
        assert discrete or torch.equal(chosen["log_std"], params["log_std"])


def test_the_first_weights_keep_a_memory_and_know_nothing_of_the_task() -> None:
    policy = GRUPolicy(3, 2, generator(0), discrete=False, hidden=6, separate=True, init_std=0.1, dtype=F64)
    params = policy.params()
    for owner in ("actor", "critic"):
        for square in params[f"{owner}_gru_memory"].chunk(3):
            torch.testing.assert_close(square @ square.T, torch.eye(6, dtype=F64))
    assert not torch.equal(params["actor_gru_in"], params["critic_gru_in"])
    torch.testing.assert_close(params["log_std"].exp(), torch.full((2,), 0.1, dtype=F64))
    again = GRUPolicy(3, 2, generator(0), discrete=False, hidden=6, separate=True, init_std=0.1, dtype=F64).params()
    assert all(torch.equal(p, again[name]) for name, p in params.items())


def test_it_fits_a_family() -> None:
    policy = GRUPolicy.for_tasks(PointGoal(dtype=F64), generator(0), hidden=4)
    assert (policy.observation_size, policy.action_size, policy.discrete, policy.dtype) == (2, 2, False, F64)
    assert policy.params()["log_std"].exp().tolist() == pytest.approx([0.1, 0.1])
    assert GRUPolicy.for_tasks(GridGoal(), generator(0)).input_size == 25 + 5 + 2


# --- What it reads ----------------------------------------------------------------------------------------------------


def two_trials() -> Rollout:
    """Two trials of two episodes of three steps. The very first episode ends early, in its second step."""
    return Rollout(
        observations=torch.tensor([[10.0, 11, 12, 13, 14, 15], [20, 21, 22, 23, 24, 25]]).reshape(2, 2, 3, 1),
        actions=torch.tensor([[1, 0, 1, 0, 1, 1], [0, 1, 0, 1, 0, 0]]).reshape(2, 2, 3),
        rewards=torch.tensor([[5.0, -2, 0, 3, 4, 6], [1, 2, 3, 7, 8, 9]]).reshape(2, 2, 3),
        mask=torch.tensor([[1.0, 1, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1]]).reshape(2, 2, 3),
        terminated=torch.tensor([[0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]], dtype=torch.bool).reshape(2, 2, 3),
        last_observations=torch.zeros(2, 2, 1),
    )


READ = [  # observation, last action one-hot, last reward, done
    [
        [10.0, 0, 0, 0, 1],  # the trial begins: no action, no reward, and done
        [11, 0, 1, 5, 0],
        [12, 1, 0, -2, 1],  # ended early: this step is not taken, and nothing comes of it
        [13, 1, 0, -2, 1],  # the second episode begins, and reads what ended the first
        [14, 1, 0, 3, 0],
        [15, 0, 1, 4, 0],
    ],
    [
        [20.0, 0, 0, 0, 1],
        [21, 1, 0, 1, 0],
        [22, 0, 1, 2, 0],
        [23, 1, 0, 3, 1],  # the reward and the done that ended the first episode
        [24, 0, 1, 7, 0],
        [25, 1, 0, 8, 0],
    ],
]


def check_inputs(kind: type[GRUPolicy]) -> None:
    assert kind(1, 2, generator(0), hidden=4).inputs(two_trials()).tolist() == READ


class ReadsZerosAtAnEpisodesStart(GRUPolicy):
    """Gotcha 7: where an episode begins, action, reward and done are zeros, and what ended the last one is lost."""

    def input(self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor) -> Tensor:
        on = 1 - done
        return super().input(observation, action * on.unsqueeze(-1), reward * on, torch.zeros_like(done))


class StartsWithActionZero(GRUPolicy):
    def first(self, num_tasks: int, device: Any = "cpu") -> tuple[Tensor, Tensor, Tensor, Tensor]:
        memory, action, reward, done = super().first(num_tasks, device)
        return memory, self.encode(action[:, 0].long()), reward, done


class StartsUndone(GRUPolicy):
    def first(self, num_tasks: int, device: Any = "cpu") -> tuple[Tensor, Tensor, Tensor, Tensor]:
        memory, action, reward, done = super().first(num_tasks, device)
        return memory, action, reward, torch.zeros_like(done)


class ReadsTheFuture(GRUPolicy):
    """The action and the reward of the step itself, which acting cannot know."""

    def inputs(self, batch: Rollout) -> Tensor:
        action, done = self.encode(batch.actions.flatten(1, 2)), batch.done().flatten(1, 2).to(self.dtype)
        return self.input(batch.observations.flatten(1, 2), action, batch.rewards.flatten(1, 2), done)


class SeesOnlyEarlyEnds(GRUPolicy):
    def inputs(self, batch: Rollout) -> Tensor:
        x = super().inputs(batch)
        x[:, 1:, -1] = batch.terminated.flatten(1, 2)[:, :-1].to(self.dtype)
        return x


@pytest.mark.parametrize(
    "broken",
    [ReadsZerosAtAnEpisodesStart, StartsWithActionZero, StartsUndone, ReadsTheFuture, SeesOnlyEarlyEnds],
)
def test_a_broken_reader_fails_the_check(broken: type[GRUPolicy]) -> None:
    with pytest.raises(AssertionError):
        check_inputs(broken)


def test_what_it_reads_by_hand() -> None:
    check_inputs(GRUPolicy)


def test_continuous_actions_are_read_as_they_are() -> None:
    policy, action = GRUPolicy(1, 2, generator(0), discrete=False), normal((2, 2, 3, 2), generator(1), torch.float32)
    batch = two_trials()
    batch = Rollout(**{**vars(batch), "actions": action})
    x, came = policy.inputs(batch), action.flatten(1, 2)
    came[0, 2] = came[0, 1]  # the third step of the first trial is not taken
    assert torch.equal(x[:, 1:, 1:3], came[:, :-1])
    assert torch.equal(x[..., 3:], torch.tensor(READ)[..., 3:])


class Recording(GRUPolicy):
    """Notes what it reads while it acts."""

    read: list[Tensor]

    def remember(self, params: Params, memory: Tensor, x: Tensor) -> Tensor:
        self.read.append(x)
        return super().remember(params, memory, x)


@pytest.mark.parametrize(
    "tasks", [CartPoleTasks(horizon=40), PointGoal(horizon=6), BernoulliBandit(3, 4)], ids=lambda t: t.name
)
def test_acting_and_learning_read_the_same(tasks: Any) -> None:
    policy = Recording.for_tasks(tasks, generator(0), hidden=4)
    policy.read = []
    batch = trial(tasks, policy, policy.params(), tasks.sample(5, generator(1)), 3, generator(2))
    assert torch.equal(policy.inputs(batch), torch.stack(policy.read, 1))
    assert tasks.name != "cartpole" or (batch.mask == 0).any(), "some episodes should end early here"


# --- How a memory begins ----------------------------------------------------------------------------------------------


def test_the_gates_are_biased_evenly_from_one_step_to_the_span() -> None:
    for owner in ("actor", "critic"):
        bias = GRUPolicy(3, 2, generator(0), hidden=5, separate=True, span=81.0).params()[f"{owner}_gru_in_b"]
        torch.testing.assert_close(bias[5:10].exp(), torch.tensor([1.0, 3.0, 9.0, 27.0, 81.0]))
        assert not bias[:5].any()
        assert not bias[10:].any()
    assert not GRUPolicy(3, 2, generator(0), hidden=5).params()["actor_gru_in_b"].any()


def test_a_longer_span_remembers_for_longer() -> None:
    """The share of two different memories' distance that is left after 50 steps without any input."""
    left = {}
    for span in (1.0, 200.0):
        policy = GRUPolicy(3, 2, generator(0), hidden=32, span=span)
        memory, nothing = normal((2, 32), generator(1), torch.float32), torch.zeros(2, policy.input_size)
        before = (memory[0] - memory[1]).norm()
        for _ in range(50):
            memory = policy.remember(policy.params(), memory, nothing)
        left[span] = ((memory[0] - memory[1]).norm() / before).item()
    assert left[200.0] > 10 * left[1.0]


@pytest.mark.parametrize("value", [0.9, 0, -1, float("nan"), float("inf")])
def test_a_senseless_span_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=f"span = {value}: a number of steps, at least 1, is needed"):
        GRUPolicy(3, 2, generator(0), span=value)


def share_remembered(policy: GRUPolicy, trials: int = 2000) -> float:
    """R2, on a fourth of the trials, of what each pair last paid, read out linearly after 40 random actions."""
    tasks = TabularMDP(num_states=4, num_actions=3, horizon=20)
    plain = GRUPolicy.for_tasks(tasks, generator(0), hidden=4)
    still = {name: torch.zeros_like(p) for name, p in plain.params().items()}  # acts evenly
    batch = trial(tasks, plain, still, tasks.sample(trials, generator(3)), 2, generator(4))
    pairs = (batch.observations.argmax(-1) * 3 + batch.actions).flatten(1)  # [N, L]
    paid = torch.zeros(trials, 12)
    for j in range(39):  # what the last step paid has not been read yet
        paid.scatter_(1, pairs[:, j : j + 1], batch.rewards.flatten(1)[:, j : j + 1])
    with torch.no_grad():
        memory = policy.unroll(policy.params(), policy.inputs(batch))[0][:, -1]
    x, cut = torch.cat([memory, torch.ones(trials, 1)], 1).double(), 3 * trials // 4
    gram = x[:cut].mT @ x[:cut] + torch.eye(x.shape[1])
    read = x[cut:] @ torch.linalg.solve(gram, x[:cut].mT @ paid[:cut].double())
    truth = paid[cut:].double()
    return float(1 - ((read - truth).square().mean() / (truth - truth.mean(0)).square().mean()))


def test_a_keyed_memory_holds_what_each_pair_paid_before_any_training() -> None:
    tasks = TabularMDP(num_states=4, num_actions=3, horizon=20)
    plain = GRUPolicy.for_tasks(tasks, generator(0), hidden=96)
    assert share_remembered(keyed(plain, generator(1))) > 0.5
    assert share_remembered(plain) < 0.25
    assert share_remembered(GRUPolicy.for_tasks(tasks, generator(0), hidden=96, span=40)) < 0.25


@pytest.mark.parametrize("separate", [False, True])
def test_a_keyed_memory_is_an_ordinary_one_with_other_weights(separate: bool) -> None:
    plain = GRUPolicy(5, 3, generator(0), hidden=16, separate=separate, dtype=F64)
    policy, again, other = (keyed(plain, generator(seed)) for seed in (1, 1, 2))
    for name, p in policy.params().items():
        assert torch.equal(p, again.params()[name])
        assert torch.equal(p, plain.params()[name]) == ("gru" not in name or name.endswith("memory_b"))
    assert not torch.equal(policy.params()["actor_gru_in"], other.params()["actor_gru_in"])
    observation = torch.zeros(5, 11, dtype=F64)
    observation[:, :5] = torch.eye(5)
    for owner in ("actor", "critic") if separate else ("actor",):
        memory = by_equations(policy.params(), torch.zeros(5, 16, dtype=F64), observation[:, :10], owner)
        held = policy.params()[f"{owner}_gru_in"][32:34, :5].mT.tanh()  # what the holding units would be told
        opened = 1 - torch.tensor(-3.0, dtype=F64).sigmoid()  # z is small, not 0: .047
        torch.testing.assert_close(memory[:, :2], opened * held, rtol=1e-9, atol=0)
        assert memory[:, 8:].abs().max() == 0  # nothing was paid, nothing is written


def test_too_few_units_for_three_roles_are_refused() -> None:
    with pytest.raises(ValueError, match="hidden = 7: at least 8 units"):
        keyed(GRUPolicy(3, 2, generator(0), hidden=7), generator(1))


# --- From parameters, and what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_the_parameters_say_which_network_it_is(kind: dict[str, bool], dtype: torch.dtype, tmp_path: Path) -> None:
    policy = GRUPolicy(7, 3, generator(0), hidden=6, dtype=dtype, **kind)
    save(policy.params(), tmp_path / "a.safetensors")  # a file has another order of names
    for params in (policy.params(), load(tmp_path / "a.safetensors")):
        again = GRUPolicy.from_params(params)
        for name in ("observation_size", "action_size", "discrete", "dtype", "hidden", "separate", "input_size"):
            assert getattr(again, name) == getattr(policy, name), name
        assert list(again.params()) == list(policy.params())
        assert all(torch.equal(p, again.params()[name]) for name, p in policy.params().items())


def mutilated(**changes: Any) -> Params:
    params = {name: p.detach() for name, p in GRUPolicy(3, 2, generator(0), hidden=4).params().items()} | changes
    return {name: p for name, p in params.items() if p is not None}


@pytest.mark.parametrize(
    "params",
    [
        {name: p.detach() for name, p in MLPPolicy(3, 2, generator(0)).params().items()},
        {},
        mutilated(actor_w=None),
        mutilated(actor_gru_in=None),
        mutilated(actor_w=torch.zeros(4)),
        mutilated(actor_w=torch.zeros(4, 6)),  # no number of observations is left
        mutilated(actor_w=torch.zeros(4, 2, dtype=torch.long)),
    ],
)
def test_the_parameters_of_something_else_are_named(params: Params) -> None:
    names = ", ".join(map(repr, sorted(params)[:4])) or "none"
    with pytest.raises(ValueError, match=rf"not the parameters of a GRUPolicy \(.*\): {names}"):
        GRUPolicy.from_params(params)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (mutilated(critic_b=None), "do not fit this policy"),
        (mutilated(extra=torch.zeros(1)), "extra.*do not fit this policy"),
        (mutilated(actor_gru_memory=torch.zeros(12, 5)), r"\(12, 5\).*do not fit this policy"),
        (mutilated(critic_b=torch.zeros(1, dtype=F64)), "critic_b.*torch.float64.*computes in torch.float32"),
    ],
)
def test_parameters_that_do_not_fit_together_are_named(params: Params, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GRUPolicy.from_params(params)


@pytest.mark.parametrize("name", ["observation_size", "action_size", "hidden"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_senseless_sizes_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} = {value}: a positive integer"):
        GRUPolicy(**{"observation_size": 3, "action_size": 2, "gen": generator(0), name: value})


@pytest.mark.parametrize("value", [0.0, -0.1, float("nan")])
def test_a_standard_deviation_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=f"init_std = {value}: a standard deviation must be positive"):
        GRUPolicy(3, 2, generator(0), discrete=False, init_std=value)


def test_a_seed_in_place_of_a_generator_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gen = 0: chance comes from a torch.Generator"):
        GRUPolicy(3, 2, 0)  # type: ignore[arg-type]


def test_parameters_are_copies() -> None:
    policy = GRUPolicy(3, 2, generator(0), hidden=4)
    with torch.no_grad():
        policy.params()["actor_w"].zero_()
    other = policy.replace({name: 0 * p for name, p in policy.params().items()})
    assert policy.params()["actor_w"].abs().sum() > 0
    assert other.params()["actor_w"].abs().sum() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("separate", [False, True])
def test_a_memory_of_half_precision_begins_orthogonal_and_plays(dtype: torch.dtype, separate: bool) -> None:
    tasks = BernoulliBandit(2, horizon=3, dtype=dtype)
    policy = GRUPolicy.for_tasks(tasks, generator(0), hidden=8, separate=separate)
    assert {p.dtype for p in policy.params().values()} == {dtype}
    square = policy.params()["actor_gru_memory"].detach().reshape(3, 8, 8).double()
    rounding = 8 * torch.finfo(dtype).eps  # of a product of 8 numbers
    torch.testing.assert_close(square.mT @ square, torch.eye(8).double().expand(3, 8, 8), rtol=0, atol=rounding)
    batch = trial(tasks, policy, policy.params(), tasks.sample(2, generator(0)), 2, generator(0))
    assert batch.rewards.dtype == dtype
