"""The scales that networks begin with: each is pinned, for another scale learns too, only worse, and no test tells.

Uniform weights are held to their bound: all lie within, and the largest comes close to it. Normal ones are held to
their standard deviation, with a fixed seed and so many numbers that 5 % more or less would show.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from metarl_lite.policies.belief import BeliefPolicy
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.keyed import keyed
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.tasks import BernoulliBandit, CartPoleTasks, PendulumTasks, PointGoal
from metarl_lite.types import Params

F64 = torch.float64
SEEN, DONE, H = 50, 30, 40


def check_uniform(weight: Tensor, bound: float) -> None:
    """On both sides up to the bound, and spread evenly: the mean of the sizes is half of it."""
    assert weight.numel() >= 30
    slack = 5 / weight.numel()  # of so many numbers the largest misses the bound by about one part in so many
    assert bound * (1 - slack) < weight.max().item() <= bound
    assert -bound <= weight.min().item() < -bound * (1 - slack)
    assert weight.abs().mean().item() == pytest.approx(bound / 2, rel=3 / math.sqrt(3 * weight.numel()))


def check_normal(weight: Tensor, std: float) -> None:
    """Mean 0, and this standard deviation, within four standard errors."""
    count = weight.numel()
    assert weight.mean().item() == pytest.approx(0, abs=4 * std / math.sqrt(count))
    assert weight.square().mean().sqrt().item() == pytest.approx(std, rel=4 / math.sqrt(2 * count))
    inside = (weight.abs() < std).double().mean().item()
    assert inside == pytest.approx(0.6827, abs=4 * math.sqrt(0.2166 / count))


def glorot(fan_in: int, fan_out: int) -> float:
    return math.sqrt(6 / (fan_in + fan_out))


# --- MLP --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("discrete", [True, False])
def test_an_mlp_begins_with_glorots_bounds_and_a_tenth_of_them_in_its_head(discrete: bool) -> None:
    params = MLPPolicy(SEEN, DONE, generator(0), discrete=discrete, hidden=(H, 20), init_std=0.3, dtype=F64).params()
    check_uniform(params["w0"], glorot(SEEN, H))
    check_uniform(params["w1"], glorot(H, 20))
    check_uniform(params["w2"], 0.1 * glorot(20, DONE))
    assert not any(params[f"b{i}"].any() for i in range(3))
    assert set(params) == {f"{kind}{i}" for kind in "wb" for i in range(3)} | (set() if discrete else {"log_std"})
    if not discrete:
        torch.testing.assert_close(params["log_std"], torch.full((DONE,), math.log(0.3), dtype=F64))


def test_an_mlp_without_hidden_layers_is_a_head() -> None:
    check_uniform(MLPPolicy(SEEN, DONE, generator(0), hidden=(), dtype=F64).params()["w0"], 0.1 * glorot(SEEN, DONE))


def test_what_an_mlp_is_if_nothing_is_said() -> None:
    policy = MLPPolicy(3, 2, generator(0))
    shapes = {name: tuple(p.shape) for name, p in policy.params().items()}
    assert (shapes["w0"], shapes["w1"]) == ((3, 64), (64, 64))
    assert shapes["w2"] == (64, 2)
    assert policy.params()["log_std"].tolist() == [0.0, 0.0]
    assert (policy.discrete, policy.dtype) == (False, torch.float32)


# --- GRU --------------------------------------------------------------------------------------------------------------


def check_gru(params: Params, owner: str, inputs: int, hidden: int) -> None:
    assert params[f"{owner}_gru_in"].shape == (3 * hidden, inputs)
    check_normal(params[f"{owner}_gru_in"], 1.0)
    squares = params[f"{owner}_gru_memory"].chunk(3)
    for square in squares:
        torch.testing.assert_close(square @ square.T, torch.eye(hidden, dtype=F64), rtol=0, atol=1e-12)
    assert not any(torch.allclose(squares[i], squares[i - 1]) for i in range(3))
    assert not params[f"{owner}_gru_in_b"].any()
    assert not params[f"{owner}_gru_memory_b"].any()


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("discrete", [True, False])
def test_a_gru_begins_with_wide_inputs_orthogonal_memories_and_a_small_actors_head(
    separate: bool, discrete: bool
) -> None:
    policy = GRUPolicy(
        SEEN, DONE, generator(0), hidden=H, separate=separate, discrete=discrete, init_std=0.3, dtype=F64
    )
    params = policy.params()
    owners = ("actor", "critic") if separate else ("actor",)
    for owner in owners:
        check_gru(params, owner, SEEN + DONE + 2, H)
    check_uniform(params["actor_w"], 0.1 * glorot(H, DONE))
    check_uniform(params["critic_w"], glorot(H, 1))
    assert not params["actor_b"].any()
    assert not params["critic_b"].any()
    names = {f"{owner}_gru_{part}" for owner in owners for part in ("in", "memory", "in_b", "memory_b")}
    heads = {f"{head}_{part}" for head in ("actor", "critic") for part in "wb"}
    assert set(params) == names | heads | (set() if discrete else {"log_std"})
    if not discrete:
        torch.testing.assert_close(params["log_std"], torch.full((DONE,), math.log(0.3), dtype=F64))


def test_a_span_biases_the_gate_that_keeps_and_leaves_all_else() -> None:
    """A unit forgets in about 1 + e^b steps: b = 0 for the fastest, log(span) for the slowest."""
    plain = GRUPolicy(3, 2, generator(0), hidden=5, dtype=F64).params()
    slow = GRUPolicy(3, 2, generator(0), hidden=5, span=81.0, dtype=F64).params()
    for name, p in slow.items():
        assert torch.equal(p, plain[name]) == (name != "actor_gru_in_b"), name
    bias = slow["actor_gru_in_b"].reshape(3, 5)
    torch.testing.assert_close(bias[1].exp(), torch.tensor([1.0, 3.0, 9.0, 27.0, 81.0], dtype=F64))
    assert not bias[[0, 2]].any()
    policy = GRUPolicy(3, 2, generator(0), hidden=5, span=81.0, dtype=F64)
    nothing, memory = torch.zeros(1, policy.input_size, dtype=F64), torch.ones(1, 5, dtype=F64)
    still = {name: torch.zeros_like(p) if name.endswith(("_in", "_memory")) else p for name, p in slow.items()}
    left = policy.remember(still, memory, nothing)[0]  # with no weights the gate is its bias, the candidate 0
    torch.testing.assert_close(left, torch.tensor([1 / 2, 3 / 4, 9 / 10, 27 / 28, 81 / 82], dtype=F64))


def test_what_a_gru_is_if_nothing_is_said() -> None:
    policy = GRUPolicy(3, 2, generator(0))
    assert (policy.hidden, policy.separate, policy.discrete, policy.dtype) == (64, False, True, torch.float32)
    assert not policy.params()["actor_gru_in_b"].any()
    assert GRUPolicy(3, 2, generator(0), discrete=False).params()["log_std"].tolist() == [0.0, 0.0]


def test_a_trial_begins_with_nothing_and_done() -> None:
    policy = GRUPolicy(3, 2, generator(0), hidden=4, dtype=F64)
    memory, action, reward, done = policy.first(6)
    assert torch.equal(memory, torch.zeros(6, 4, dtype=F64))
    assert torch.equal(action, torch.zeros(6, 2, dtype=F64))
    assert torch.equal(reward, torch.zeros(6, dtype=F64))
    assert torch.equal(done, torch.ones(6, dtype=F64))


# --- Keyed memories ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separate", [False, True])
def test_every_number_of_a_keyed_memory(separate: bool) -> None:
    """Units 0 to 49 of 400 hold, 200 to 399 write, the others read; what is not said here is 0."""
    o, a, units = 60, 40, 400
    policy = keyed(GRUPolicy(o, a, generator(0), hidden=units, separate=separate, dtype=F64), generator(1))
    hold, read, write = slice(0, 50), slice(50, 200), slice(200, 400)
    observation, action, reward = slice(0, o), slice(o, o + a), o + a
    seen = []
    for owner in ("actor", "critic") if separate else ("actor",):
        params = {name: p.detach().clone() for name, p in policy.params().items()}
        reset, keep, candidate = params[f"{owner}_gru_in"].chunk(3)
        seen.append(candidate[hold, observation].clone())
        for gate, rows, columns, std in (
            (candidate, hold, observation, 1.0),
            (keep, write, action, 2.0),
            (candidate, write, slice(reward, reward + 1), 0.5),
            (reset, read, observation, 2.0),
        ):
            check_normal(gate[rows, columns], std)
            gate[rows, columns] = 0
        assert not params[f"{owner}_gru_in"].any(), "nothing else is read"
        reset, keep, candidate = params[f"{owner}_gru_memory"].chunk(3)
        check_normal(keep[write, hold], 4 / math.sqrt(50))
        check_normal(candidate[read, write], 1 / math.sqrt(200))
        keep[write, hold] = candidate[read, write] = 0
        assert not params[f"{owner}_gru_memory"].any(), "nothing else meets"
        reset, keep, candidate = params[f"{owner}_gru_in_b"].chunk(3)
        assert torch.equal(keep, torch.cat([torch.full((200,), -3.0), torch.full((200,), 6.0)]).to(F64))
        assert torch.equal(reset[read], torch.full((150,), -1.0, dtype=F64))
        assert not reset[hold].any()
        assert not reset[write].any()
        assert not candidate.any()
        assert not params[f"{owner}_gru_memory_b"].any()
    assert len(seen) == 1 or not torch.equal(*seen), "each memory has weights of its own"


def test_keyed_heads_are_those_of_the_plain_network() -> None:
    plain = GRUPolicy(6, 3, generator(0), hidden=16, dtype=F64)
    for name, p in keyed(plain, generator(1)).params().items():
        if "gru" not in name:
            assert torch.equal(p, plain.params()[name])


# --- Beliefs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("discrete", [True, False])
def test_a_belief_policy_begins_with_glorots_bounds_and_a_tenth_of_them_for_the_actor(discrete: bool) -> None:
    units = 60
    policy = BeliefPolicy(SEEN, DONE, generator(0), code=H, units=units, discrete=discrete, init_std=0.3, dtype=F64)
    params, read = policy.params(), H + SEEN + DONE + 2
    check_gru(params, "actor", SEEN + DONE + 2, H)
    check_uniform(params["actor_w"], 0.1 * glorot(units, DONE))
    check_uniform(params["critic_w"], glorot(units, 1))
    check_uniform(params["trunk_w"], glorot(read, units))
    check_uniform(params["ask_w"], glorot(H + SEEN + DONE, units))
    check_uniform(params["answer_w"], glorot(units, 1))
    assert params["trunk_w"].shape == (read, units)
    assert params["ask_w"].shape == (H + SEEN + DONE, units)
    for name in ("actor", "critic", "trunk", "ask", "answer"):
        assert not params[f"{name}_b"].any(), name
    if not discrete:
        torch.testing.assert_close(params["log_std"], torch.full((DONE,), math.log(0.3), dtype=F64))


def test_what_a_belief_policy_is_if_nothing_is_said() -> None:
    policy = BeliefPolicy(3, 2, generator(0))
    assert (policy.hidden, policy.queries, policy.params()["ask_b"].numel()) == (64, 4, 64)
    assert BeliefPolicy(3, 2, generator(0), queries=7).queries == 7


# --- For a family -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MLPPolicy, GRUPolicy, BeliefPolicy])
def test_first_actions_have_the_familys_scale_and_options_go_before_it(kind: type[GRUPolicy]) -> None:
    for tasks, scale in ((PointGoal(), 0.1), (PendulumTasks(), 1.0)):
        params = kind.for_tasks(tasks, generator(0)).params()
        assert params["log_std"].exp().tolist() == pytest.approx([scale] * tasks.action_size)
        params = kind.for_tasks(tasks, generator(0), init_std=0.7).params()
        assert params["log_std"].exp().tolist() == pytest.approx([0.7] * tasks.action_size)
    for family, discrete in ((PointGoal(dtype=F64), False), (BernoulliBandit(3), True), (CartPoleTasks(), True)):
        policy = kind.for_tasks(family, generator(0))
        assert (policy.discrete, policy.dtype) == (discrete, family.dtype)
        assert (policy.observation_size, policy.action_size) == (family.observation_size, family.action_size)
