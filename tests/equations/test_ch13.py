"""Equations of chapter 13, computed from their symbols, against `probe` and `belief`."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import pytest
import torch
from torch import Tensor

from metarl_lite.evaluate.beliefs import posterior_means
from metarl_lite.evaluate.probe import linear_probe, r_squared
from metarl_lite.evaluate.two_step import Rounds, delta_rule, interaction, play_two_step, stay_probabilities
from metarl_lite.oracles.grid import gridnavi_optimal_value
from metarl_lite.policies.belief import BeliefPolicy
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.records.actors import actor
from metarl_lite.records.published import recorded_runs
from metarl_lite.rng import generator, normal, uniform
from metarl_lite.rollout import trial
from metarl_lite.tasks import BernoulliBandit, GridGoal, TwoStep

F64 = torch.float64


def test_eq_posterior_mean() -> None:
    """The mean of the posterior itself: prior times likelihood of the trial so far, integrated over p."""
    tasks = BernoulliBandit(3, horizon=1, dtype=F64)
    policy, task = GRUPolicy.for_tasks(tasks, generator(0), hidden=4), tasks.sample(5, generator(1))
    batch = trial(tasks, policy, policy.params(), task, 6, generator(2))
    mine = posterior_means(batch, 3)
    p = (torch.arange(20_000, dtype=F64) + 0.5) / 20_000
    for n in range(5):
        density = torch.ones(3, len(p), dtype=F64)
        for t in range(6):
            assert mine[n, t].tolist() == pytest.approx(((density * p).sum(1) / density.sum(1)).tolist(), abs=1e-6)
            arm, reward = int(batch.actions[n, t, 0]), float(batch.rewards[n, t, 0])
            density[arm] *= p if reward else 1 - p


def test_eq_ridge_probe() -> None:
    """The closed form; and the objective, by hand, whose slope is 0 there and which is greater anywhere else."""
    h, y, price = normal((30, 4), generator(0), F64), normal((30, 2), generator(1), F64), 0.3
    probe = linear_probe(h, y, price)

    def objective(weight: Tensor, bias: Tensor) -> Tensor:
        total = torch.zeros((), dtype=F64)
        for i in range(30):
            total = total + (y[i] - weight.T @ h[i] - bias).square().sum() / 30
        return total + price * weight.square().sum()

    weight, bias = probe.weight.clone().requires_grad_(), probe.bias.clone().requires_grad_()
    least = objective(weight, bias)
    for slope in torch.autograd.grad(least, (weight, bias)):
        assert slope.abs().max() < 1e-12
    for seed in range(2, 12):
        gen = generator(seed)
        elsewhere = (p.detach() + 0.1 * normal(tuple(p.shape), gen, F64) for p in (weight, bias))
        assert objective(*elsewhere) > least
    joint = torch.cov(torch.cat([h, y], 1).T, correction=0)
    closed = torch.linalg.inv(joint[:4, :4] + price * torch.eye(4, dtype=F64)) @ joint[:4, 4:]
    torch.testing.assert_close(probe.weight, closed)
    torch.testing.assert_close(probe.bias, y.mean(0) - closed.T @ h.mean(0))


def test_eq_r_squared() -> None:
    y, read = normal((5, 4, 3), generator(0), F64) + 2, normal((5, 4, 3), generator(1), F64) + 2
    errors = spreads = 0.0
    for k in range(3):
        true, guess = y[..., k].flatten().tolist(), read[..., k].flatten().tolist()
        mean = sum(true) / 20
        error = sum((a - b) ** 2 for a, b in zip(true, guess, strict=True))
        spread = sum((a - mean) ** 2 for a in true)
        assert r_squared(read, y)[k].item() == pytest.approx(1 - error / spread)
        errors, spreads = errors + error, spreads + spread
    assert r_squared(read, y, together=True).item() == pytest.approx(1 - errors / spreads)


def test_eq_belief_loss() -> None:
    """One question at a time, on codes that were made one step at a time; and `rl2` adds just this."""
    tasks = GridGoal(3, horizon=5, dtype=F64)
    policy = BeliefPolicy.for_tasks(tasks, generator(0), code=4, units=3, queries=3)
    params, task = policy.params(), tasks.sample(4, generator(1))
    batch = trial(tasks, policy, params, task, 2, generator(2))
    length, queries = 10, 3
    seen, did = batch.observations.reshape(4, length, -1), policy.encode(batch.actions.reshape(4, length))
    paid, mask, total = batch.rewards.reshape(4, length), batch.mask.reshape(4, length), 0.0
    memory, inputs = policy.first(4)[0], policy.inputs(batch)
    for t in range(length):
        memory = policy.remember(params, memory, inputs[:, t])
        for q in range(queries):
            then = (t + math.floor(q * length / queries)) % length
            guess = policy.predict(params, memory, seen[:, then], did[:, then])
            for b in range(4):
                total += (mask[b, t] * mask[b, then] * (paid[b, then] - guess[b]) ** 2).item()
    mine = policy.own_loss(params, policy.unroll(params, inputs)[0], batch)
    assert mine.item() == pytest.approx(total / (4 * length * queries))


@pytest.mark.parametrize("plan", [False, True])
def test_eq_two_step_values(plan: bool) -> None:
    """Frequencies of the choices of an agent whose values never change."""
    tasks, value, kappa = TwoStep(horizon=40, dtype=F64), (0.8, 0.3), 2.0
    task = tasks.sample(2000, generator(0))

    def never_learns(values: Tensor, where: Tensor, reward: Tensor) -> Tensor:
        return torch.tensor([value], dtype=F64).expand(2000, 2)

    choices = play_two_step(tasks, task, never_learns, plan, generator(1), kappa).choices[:, 1:].double()
    for common in (1, 2):
        here, there = (value[common - 1], value[2 - common])  # where action 0 commonly and rarely leads
        q = (0.75 * here + 0.25 * there, 0.75 * there + 0.25 * here) if plan else value
        expected = math.exp(kappa * q[1]) / (math.exp(kappa * q[0]) + math.exp(kappa * q[1]))
        some = choices[task["common"] == common]
        assert some.mean().item() == pytest.approx(expected, abs=4 * 0.5 / some.numel() ** 0.5)


def test_eq_interaction() -> None:
    gen = generator(0)
    choices, common = torch.randint(2, (20, 30), generator=gen), uniform((20, 30), gen, F64) < 0.75
    rewards = (uniform((20, 30), gen, F64) < 0.5).double()
    stays: dict[tuple[bool, bool], list[bool]] = defaultdict(list)
    for n in range(20):
        for t in range(29):
            kind = (bool(rewards[n, t] > 0), bool(common[n, t]))
            stays[kind].append(bool(choices[n, t + 1] == choices[n, t]))
    p = {kind: sum(each) / len(each) for kind, each in stays.items()}
    by_hand = (p[True, True] - p[False, True]) - (p[True, False] - p[False, False])
    assert interaction(stay_probabilities(Rounds(choices, common, rewards))).item() == pytest.approx(by_hand)
    assert abs(by_hand) > 1e-3


# --- Numbers of the text ----------------------------------------------------------------------------------------------


def right(signals: int) -> float:
    """How often the majority of the last signals names the place that is good now, by all histories."""
    total = 0.0
    for places in itertools.product((0, 1), repeat=signals + 1):
        chance = 0.5 * math.prod(0.025 if a != b else 0.975 for a, b in itertools.pairwise(places))
        for said in itertools.product((0, 1), repeat=signals):
            of_all = math.prod(0.9 if a == b else 0.1 for a, b in zip(said, places, strict=False))
            total += chance * of_all * ((2 * sum(said) > signals) == places[-1])
    return total


def earns(chance: float) -> float:
    """The reward of a round whose choice commonly leads to the good place with this probability."""
    led = 0.75 * chance + 0.25 * (1 - chance)
    return 0.9 * led + 0.1 * (1 - led)


class LastRounds:
    """A fixed table: heads for the place that most of the last rounds spoke for; it learns nothing."""

    def __init__(self, memory: int) -> None:
        self.memory, self.seen = memory, list[Tensor]()

    def __call__(self, values: Tensor, where: Tensor, reward: Tensor) -> Tensor:
        good = torch.where(reward > 0, where, 1 - where)
        self.seen.append(torch.nn.functional.one_hot(good, 2).to(F64))
        latest = self.seen[-self.memory :]
        return sum(latest[1:], latest[0]) + 0.1 * latest[-1]


@pytest.mark.parametrize(("memory", "known"), [(1, 0.64896), (3, 0.66643)])
def test_text_what_a_fixed_habit_and_a_fixed_table_earn(memory: int, known: float) -> None:
    """Exactly, and played; the habit's table of staying is a planner's, and no delta rule comes near."""
    # While fewer rounds are over the last decides: of two that disagree it is taken.
    rounds = [0.5, *[earns(right(1))] * (memory - 1), *[earns(right(memory))] * (50 - memory)]
    assert sum(rounds) / 50 == pytest.approx(known, abs=1e-5)
    tasks = TwoStep(horizon=100, vary_transitions=False, dtype=F64)
    task = tasks.sample(10_000, generator(0))
    played = play_two_step(tasks, task, LastRounds(memory), True, generator(1), sharpness=1e4)
    assert played.rewards.mean().item() == pytest.approx(known, abs=0.003)  # four standard errors
    if memory == 1:
        assert stay_probabilities(played).tolist() == [[1, 0], [0, 1]]
        blind = play_two_step(tasks, task, delta_rule(0.7), False, generator(2), sharpness=10.0)
        assert blind.rewards.mean().item() < known - 0.02
        assert interaction(stay_probabilities(blind)) > 0.1  # nor is it 0, though no model is there


def test_text_arm_four_gains_less_once_it_is_held_what_has_just_paid() -> None:
    """The push along the belief in an arm, fitted with and without "it has just paid" beside the page's other facts."""
    arms, agent = BernoulliBandit(5, horizon=1), actor("bandit-k5-n10")
    tasks = [arms.sample(6000, generator(seed)) for seed in (100, 200)]
    seen, other = (trial(arms, agent, agent.params(), task, 10, generator(7)) for task in tasks)
    there, before = (
        agent.unroll(agent.params(), agent.inputs(batch))[0][:, 6, : agent.hidden].detach() for batch in (seen, other)
    )
    did = torch.nn.functional.one_hot(seen.actions.flatten(1), 5)
    facts = [posterior_means(seen, 5)[:, 6], did[:, 5], did[:, :6].sum(1)]
    paid = did[:, 5] * seen.rewards.flatten(1)[:, 5:6]
    pushes = [0.3 * linear_probe(torch.cat(held, 1), there).weight[:5].float() for held in (facts, [*facts, paid])]
    pushes[1] *= pushes[0].norm(dim=1).mean() / pushes[1].norm(dim=1, keepdim=True)  # as long as the page's

    def chance(push: Tensor) -> Tensor:
        return agent.distribution(agent.params(), before + push)["logits"].softmax(-1).mean(0).detach()

    still = chance(torch.zeros(agent.hidden))
    plain, held_too = (torch.stack([(chance(p) - still)[a] for a, p in enumerate(push)]) for push in pushes)
    assert held_too[3] < plain[3] / 2
    assert held_too[:3].min() > 0.1, "of the first three arms it is the belief"
    assert plain[4] < 0.12, "arm 5 gains no more than if it had been pulled last"


def test_text_the_policy_of_a_belief_reads_the_last_input_too() -> None:
    tasks = GridGoal(3, horizon=5, dtype=F64)
    policy = BeliefPolicy.for_tasks(tasks, generator(0), code=4, units=3)
    params, memory = policy.params(), policy.first(1)[0].requires_grad_()
    logits = policy.distribution(params, policy.remember(params, memory, torch.ones(1, policy.input_size, dtype=F64)))
    one = torch.cat([torch.zeros(1, 4, dtype=F64), torch.ones(1, policy.input_size, dtype=F64)], 1)
    other = torch.cat([torch.zeros(1, 4 + policy.input_size, dtype=F64)], 1)
    chosen = [policy.distribution(params, m)["logits"] for m in (one, other)]
    assert not torch.allclose(*chosen), "the same code, another last input"
    assert torch.autograd.grad(logits["logits"].sum(), memory, allow_unused=True) == (None,), (
        "nothing flows to the code"
    )


def test_text_on_the_eleven_arms_the_order_is_the_other_way_round() -> None:
    runs = recorded_runs("scoreboard")
    inferred, trained = (
        [runs[f"{name} on eleven, seed {seed}"] for seed in range(3)] for name in ("task inference", "RL², PPO")
    )
    assert min(run["return"] for run in inferred) > 20.4
    assert 18.9 < min(run["return"] for run in trained) < max(run["return"] for run in trained) < 19.2
    assert len({run["env_steps"] for run in inferred + trained}) == 1


#: What RL2 and the belief policy earn as the chapter trains them, with generator(0) to generator(10): kept, since it
#: takes minutes of a core.
SEEDS = {
    "RL²": [16.42, 16.40, 16.40, 16.98, 17.07, 16.22, 16.52, 17.03, 16.51, 16.23, 16.49],
    "belief": [16.12, 15.48, 16.25, 16.87, 16.45, 16.91, 16.54, 16.28, 15.93, 16.95, 16.12],
}


def test_text_neither_of_the_two_leads_on_the_grid() -> None:
    """Means and Student's interval of the paired differences, as the text has them; and no summary says more."""
    first, second = (torch.tensor(values, dtype=F64) for values in SEEDS.values())
    apart, most = first - second, gridnavi_optimal_value(4, 10, 3)
    reach = 2.228 * apart.std().item() / 11**0.5  # the 97.5 % point for ten degrees of freedom
    found = (first.mean().item(), second.mean().item(), apart.mean().item() - reach, apart.mean().item() + reach)
    assert found == pytest.approx((16.57, 16.35, -0.14, 0.58), abs=0.01)
    assert 0.93 < first.min() / most < first.max() / most < 1
    assert 0.89 < second.min() / most < second.max() / most < 1
