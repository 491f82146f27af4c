"""A policy that reads its belief: what it predicts, against rewards by hand, and whose gradient reaches what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.algorithms.configs import RL2Config
from metarl_lite.algorithms.rl2 import rl2
from metarl_lite.checkpoint import load, save
from metarl_lite.evaluate.curves import trial_returns
from metarl_lite.policies.belief import BeliefPolicy, prediction_loss
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator, normal
from metarl_lite.rollout import trial
from metarl_lite.tasks import BernoulliBandit, CartPoleTasks, GridGoal, PointGoal
from metarl_lite.types import Params, Rollout

F64 = torch.float64
HEADS = {f"{name}_{kind}" for name in ("actor", "critic", "trunk") for kind in "wb"}
DECODER = {f"{name}_{kind}" for name in ("ask", "answer") for kind in "wb"}
ENCODER = {f"actor_gru_{name}" for name in ("in", "memory", "in_b", "memory_b")}


def policy_with_biases(seed: int = 0, **options: Any) -> BeliefPolicy:
    """A small policy whose parameters are all random."""
    gen = generator(seed)
    policy = BeliefPolicy(3, 2, gen, **{"code": 5, "units": 4, "queries": 3, "dtype": F64} | options)
    return policy.replace({name: p + 0.3 * normal(tuple(p.shape), gen, F64) for name, p in policy.params().items()})


def a_batch(seed: int = 1) -> Rollout:
    """Four trials of two episodes of four steps, of which some are not taken."""
    gen = generator(seed)
    mask = torch.ones(4, 2, 4, dtype=F64)
    mask[0, 0, 2:] = mask[2, 1, 3:] = 0
    return Rollout(
        observations=normal((4, 2, 4, 3), gen, F64),
        actions=torch.randint(2, (4, 2, 4), generator=gen),
        rewards=normal((4, 2, 4), gen, F64) * mask,
        mask=mask,
        terminated=torch.zeros(4, 2, 4, dtype=torch.bool),
        last_observations=normal((4, 2, 3), gen, F64),
    )


# --- The network ------------------------------------------------------------------------------------------------------


def test_its_parameters_are_an_encoder_a_decoder_and_heads() -> None:
    policy = policy_with_biases()
    assert set(policy.params()) == HEADS | DECODER | ENCODER
    discrete_or_not = BeliefPolicy(3, 2, generator(0), discrete=False, init_std=0.1).params()
    assert set(discrete_or_not) == HEADS | DECODER | ENCODER | {"log_std"}


def test_step_by_step_and_all_at_once_give_the_same_codes() -> None:
    """The code is that of a torch GRU cell, and beside it stands the last input."""
    policy = policy_with_biases()
    params, inputs = policy.params(), normal((4, 7, policy.input_size), generator(1), F64)
    cell = torch.nn.GRUCell(policy.input_size, 5, dtype=F64)
    for theirs, ours in (("weight_ih", "in"), ("weight_hh", "memory"), ("bias_ih", "in_b"), ("bias_hh", "memory_b")):
        getattr(cell, theirs).data.copy_(params[f"actor_gru_{ours}"])
    actor, critic = policy.unroll(params, inputs)
    memory, code = policy.first(4)[0], torch.zeros(4, 5, dtype=F64)
    assert memory.shape == (4, 5 + policy.input_size)
    assert not memory.any()
    for j in range(7):
        memory, code = policy.remember(params, memory, inputs[:, j]), cell(inputs[:, j], code)
        torch.testing.assert_close(memory, torch.cat([code, inputs[:, j]], -1))
        torch.testing.assert_close(actor[:, j], memory)
    assert torch.equal(actor, critic)


@pytest.mark.parametrize(
    "tasks", [BernoulliBandit(3, 4), CartPoleTasks(horizon=30), PointGoal(horizon=6)], ids=lambda t: t.name
)
def test_acting_and_learning_agree(tasks: Any) -> None:
    """The action of each step is drawn again, with the same noise, from the memories of the whole trial."""

    class Noted(BeliefPolicy):
        read: list[Tensor]

        def distribution(self, params: Params, memory: Tensor) -> dict[str, Tensor]:
            self.read.append(memory)
            return super().distribution(params, memory)

    policy = Noted.for_tasks(tasks, generator(0), code=4, units=3)
    policy.read, params = [], policy.params()
    batch = trial(tasks, policy, params, tasks.sample(5, generator(1)), 3, generator(2))
    lived, learned = torch.stack(policy.read, 1), policy.recall(params, policy.inputs(batch), batch.mask)[0]
    taken = batch.mask.flatten(1) > 0
    torch.testing.assert_close(learned[taken], lived[taken])
    assert tasks.name != "cartpole" or not taken.all(), "some episodes should end early here"


def test_the_heads_read_code_and_input_through_one_hidden_layer() -> None:
    for discrete in (True, False):
        policy = policy_with_biases(discrete=discrete)
        params, memory = policy.params(), normal((3, 4, 5 + policy.input_size), generator(1), F64)
        hidden = torch.tanh(memory @ params["trunk_w"] + params["trunk_b"])
        chosen = policy.distribution(params, memory)["logits" if discrete else "mean"]
        torch.testing.assert_close(chosen, hidden @ params["actor_w"] + params["actor_b"])
        value = (hidden @ params["critic_w"] + params["critic_b"])[..., 0]
        torch.testing.assert_close(policy.value(params, memory), value)


def predicted_by_hand(params: Params, code: Tensor, observation: Tensor, action: Tensor) -> Tensor:
    hidden = torch.tanh(torch.cat([code, observation, action]) @ params["ask_w"] + params["ask_b"])
    return hidden @ params["answer_w"][:, 0] + params["answer_b"][0]


def test_the_decoder_reads_the_code_and_not_the_last_input() -> None:
    policy = policy_with_biases()
    params, memory = policy.params(), normal((3, 5 + policy.input_size), generator(1), F64)
    observations, actions = normal((3, 3), generator(2), F64), torch.eye(2, dtype=F64)[[0, 1, 1]]
    guess = policy.predict(params, memory, observations, actions)
    for i in range(3):
        expected = predicted_by_hand(params, memory[i, :5], observations[i], actions[i])
        torch.testing.assert_close(guess[i], expected)
    other = torch.cat([memory[:, :5], memory[:, 5:] + 1], -1)
    assert torch.equal(policy.predict(params, other, observations, actions), guess)


# --- What it learns from ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("queries", [1, 3, 8, 11])  # trials have 8 steps: 11 questions ask for some steps twice
def test_own_loss_by_hand(queries: int) -> None:
    policy = policy_with_biases(queries=queries)
    params, batch = policy.params(), a_batch()
    memory = policy.unroll(params, policy.inputs(batch))[0]
    total = torch.zeros((), dtype=F64)
    for b in range(4):
        seen, paid, mask = batch.observations[b].reshape(8, 3), batch.rewards[b].flatten(), batch.mask[b].flatten()
        did = torch.eye(2, dtype=F64)[batch.actions[b].flatten()]
        for t in range(8):
            for q in range(queries):
                asked = (t + (q * 8) // queries) % 8
                guess = predicted_by_hand(params, memory[b, t, :5], seen[asked], did[asked])
                total = total + mask[t] * mask[asked] * (paid[asked] - guess) ** 2
    torch.testing.assert_close(policy.own_loss(params, memory, batch), total / (4 * 8 * queries))
    # The plain version, which the lesson shows, and its gradient, against the quick one.
    plain, quick = prediction_loss(policy, params, memory, batch), policy.own_loss(params, memory, batch)
    torch.testing.assert_close(plain, quick)
    names = ["ask_w", "ask_b", "answer_w", "answer_b", "actor_gru_in"]
    for mine, other in zip(*(torch.autograd.grad(x, [params[n] for n in names], retain_graph=True)
                             for x in (plain, quick)), strict=True):  # fmt: skip
        torch.testing.assert_close(mine, other)


def gradients(loss: Tensor, params: Params) -> set[str]:
    """The parameters that a loss would move."""
    slopes = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
    return {name for name, g in zip(params, slopes, strict=True) if g is not None and bool(g.abs().max() > 0)}


@pytest.mark.parametrize("discrete", [True, False])
def test_neither_loss_moves_what_belongs_to_the_other(discrete: bool) -> None:
    policy = policy_with_biases(discrete=discrete)
    params, batch = policy.params(), a_batch()
    if not discrete:
        batch = Rollout(**{**vars(batch), "actions": normal((4, 2, 4, 2), generator(3), F64)})
    memory = policy.unroll(params, policy.inputs(batch))[0]
    assert gradients(policy.own_loss(params, memory, batch), params) == DECODER | ENCODER
    chosen = policy.distribution(params, memory.reshape(4, 2, 4, -1))
    acting = policy.log_prob_of(chosen, batch.actions).sum() + policy.entropy(chosen).sum()
    judging = policy.value(params, memory).square().sum()
    assert gradients(acting + judging, params) == HEADS | (set() if discrete else {"log_std"})


def test_a_policy_that_does_not_stop_the_gradient_fails_that_check() -> None:
    class Leaky(BeliefPolicy):
        def _trunk(self, params: Params, memory: Tensor) -> Tensor:
            return torch.tanh(memory @ params["trunk_w"] + params["trunk_b"])

    policy = Leaky(3, 2, generator(0), code=5, dtype=F64)
    params, batch = policy.params(), a_batch()
    memory = policy.unroll(params, policy.inputs(batch))[0]
    assert gradients(policy.value(params, memory).square().sum(), params) & ENCODER


@pytest.mark.parametrize("algorithm", ["a2c", "ppo"])
def test_training_moves_the_encoder_by_its_predictions_alone(algorithm: str) -> None:
    """To the bit, whatever critic and entropy weigh; some heads end elsewhere."""
    tasks = BernoulliBandit(2, horizon=1)
    policy = BeliefPolicy.for_tasks(tasks, generator(0), code=4, units=3)
    config = RL2Config(iterations=1, num_tasks=4, trials=2, episodes=3, algorithm=algorithm, max_grad_norm=1e9)
    other = RL2Config(**{**vars(config), "value_weight": 0.0, "entropy": 3.0})
    one, two = (rl2(tasks, policy, each, generator(1))[0].params() for each in (config, other))
    assert not any(torch.equal(one[name], p) for name, p in policy.params().items())
    differ = {name for name in one if not torch.equal(one[name], two[name])}
    assert {"critic_w", "trunk_w"} <= differ <= HEADS


def test_it_learns_a_bandit_and_what_its_arms_pay() -> None:
    """Half of the way from chance, 5, to the optimum, 6.0218; and its predictions follow the posterior means."""
    tasks, gen = BernoulliBandit(2, horizon=1), generator(0)
    config = RL2Config(iterations=250, num_tasks=16, discount=1.0, gae_lambda=1.0)
    policy, _ = rl2(tasks, BeliefPolicy.for_tasks(tasks, gen, code=32, units=32), config, gen)
    task = tasks.sample(4000, generator(1))
    assert trial_returns(tasks, policy, task, 10, generator(2)).sum(1).mean() > 5.51

    params = policy.params()
    batch = trial(tasks, policy, params, task, 10, generator(3))
    memory, did = policy.unroll(params, policy.inputs(batch))[0], policy.encode(batch.actions.flatten(1))
    guess = policy.predict(params, memory, batch.observations.flatten(1, 2), did).detach()
    pulls, wins = (x.cumsum(1) - x for x in (did, did * batch.rewards.flatten(1).unsqueeze(-1)))
    means = (((wins + 1) / (pulls + 2)) * did).sum(-1)
    assert torch.corrcoef(torch.stack([guess.flatten(), means.flatten()]))[0, 1] > 0.8


# --- From parameters, and what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("discrete", [True, False])
def test_the_parameters_say_which_network_it_is(discrete: bool, tmp_path: Path) -> None:
    policy = BeliefPolicy(7, 3, generator(0), discrete=discrete, code=6, units=4, dtype=F64)
    save(policy.params(), tmp_path / "a.safetensors")
    again = BeliefPolicy.from_params(load(tmp_path / "a.safetensors"))
    for name in ("observation_size", "action_size", "discrete", "dtype", "hidden", "input_size"):
        assert getattr(again, name) == getattr(policy, name), name
    assert all(torch.equal(p, again.params()[name]) for name, p in policy.params().items())


def test_the_parameters_of_another_network_are_named() -> None:
    for params in (GRUPolicy(3, 2, generator(0), hidden=4).params(), {"actor_w": torch.zeros(2)}, {}):
        with pytest.raises(ValueError, match=r"do not fit this policy|not the parameters of a BeliefPolicy"):
            BeliefPolicy.from_params(params)


def test_a_memory_and_a_belief_are_told_apart_with_who_takes_them() -> None:
    memory, belief = (kind(3, 2, generator(0)) for kind in (GRUPolicy, BeliefPolicy))
    with pytest.raises(
        ValueError, match=r"with 'answer_b', .* and 2 more do not fit .*BeliefPolicy\.from_params\(params\)"
    ):
        GRUPolicy.from_params(belief.params())
    with pytest.raises(
        ValueError, match=r"without 'answer_b', .* and 2 more do not fit .*GRUPolicy\.from_params\(params\)"
    ):
        BeliefPolicy.from_params(memory.params())
    with pytest.raises(ValueError, match=r"have no 'w0'\).*They may be a BeliefPolicy's: BeliefPolicy\.from_params"):
        MLPPolicy.from_params(belief.params())
    with pytest.raises(ValueError, match=r"They may be an MLPPolicy's: MLPPolicy\.from_params"):
        GRUPolicy.from_params(MLPPolicy(3, 2, generator(0)).params())


@pytest.mark.parametrize("name", ["observation_size", "action_size", "code", "units", "queries"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_senseless_sizes_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} = {value}: a positive integer"):
        BeliefPolicy(**{"observation_size": 3, "action_size": 2, "gen": generator(0), name: value})


@pytest.mark.parametrize(("name", "value"), [("hidden", 64), ("separate", True), ("separate", False)])
def test_options_without_a_meaning_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} = {value}: a BeliefPolicy has one memory, its code.*code=64"):
        BeliefPolicy.for_tasks(GridGoal(), generator(0), **{name: value})
