"""Equations of chapter 11, computed from their symbols, against trials, their advantages, and the A2C loss."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from fractions import Fraction
from functools import cache

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical

from metarl_lite.algorithms.actor_critic import judge, trial_loss, with_trial_advantages
from metarl_lite.algorithms.configs import RL2Config
from metarl_lite.evaluate.beliefs import posterior_means
from metarl_lite.oracles.bandits import play, random_arm
from metarl_lite.oracles.bayes import bayes_optimal, bayes_optimal_value
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.records.actors import actor
from metarl_lite.returns import compared, gae, trial_gae
from metarl_lite.rng import generator, normal, uniform
from metarl_lite.rollout import trial
from metarl_lite.tasks import BernoulliBandit, CartPoleTasks
from metarl_lite.tasks.bandits import ElevenArms
from metarl_lite.types import Params, Rollout
from tools.contents import ROOT
from tools.standard import Chapter

F64 = torch.float64
PLAIN = RL2Config(episodes=3, discount=0.9, gae_lambda=1.0, normalise=False, value_weight=0.0)


def agent(tasks: BernoulliBandit | CartPoleTasks, seed: int = 0) -> GRUPolicy:
    """A policy whose parameters are all random, so that no bias and no head is 0."""
    gen = generator(seed)
    policy = GRUPolicy.for_tasks(tasks, gen, hidden=4)
    return policy.replace({n: p + 0.3 * normal(tuple(p.shape), gen, policy.dtype) for n, p in policy.params().items()})


def cell(params: Params, h: Tensor, x: Tensor) -> Tensor:
    """One step of the GRU, gate by gate."""
    w, u, b, c = (params[f"actor_gru_{name}"].chunk(3) for name in ("in", "memory", "in_b", "memory_b"))
    r, z = (torch.sigmoid(w[i] @ x + b[i] + u[i] @ h + c[i]) for i in (0, 1))
    return z * h + (1 - z) * torch.tanh(w[2] @ x + b[2] + r * (u[2] @ h + c[2]))


def every_history(pulls: int) -> Rollout:
    """All that can happen in so many episodes of one pull of two arms, as 4^pulls trials."""
    steps = torch.tensor(list(itertools.product(range(4), repeat=pulls))).unsqueeze(-1)  # [B, E, 1]
    ones = torch.ones(steps.shape, dtype=F64)
    return Rollout(
        observations=ones.unsqueeze(-1),
        actions=steps // 2,
        rewards=(steps % 2).to(F64),
        mask=ones,
        terminated=torch.zeros(steps.shape, dtype=torch.bool),
        last_observations=ones,
    )


def log_probs(policy: GRUPolicy, params: Params, batch: Rollout, n: int) -> list[Tensor]:
    """log pi(a_j | h_{j+1}) of every step of trial n, from the chapter's equations alone; one step to an episode."""
    h, last = torch.zeros(4, dtype=F64), torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=F64)
    found = []
    for j in range(batch.rewards.shape[1]):
        x = torch.cat([batch.observations[n, j, 0], last])
        h = cell(params, h, x)
        a = batch.actions[n, j, 0]
        found.append((h @ params["actor_w"] + params["actor_b"]).log_softmax(-1)[a])
        arm = torch.nn.functional.one_hot(a, 2).to(F64)
        last = torch.cat([arm, batch.rewards[n, j], torch.ones(1, dtype=F64)])  # each step ends an episode
    return found


def test_eq_trial_objective() -> None:
    """The gradient that A2C follows, in expectation over all histories, is that of the expected return of a trial."""
    tasks = BernoulliBandit(2, horizon=1, dtype=F64)
    policy, pays = agent(tasks), torch.tensor([0.3, 0.8], dtype=F64)
    theta, batch = policy.params(), every_history(3)
    chances = torch.where(batch.rewards == 1, pays[batch.actions], 1 - pays[batch.actions]).prod(1).squeeze(-1)
    objective, expected = torch.zeros((), dtype=F64), [torch.zeros_like(p) for p in theta.values()]
    total = 0.0
    for n in range(len(chances)):
        log_prob = torch.stack(log_probs(policy, theta, batch, n)).sum()
        probability = chances[n] * log_prob.exp()
        total += probability.item()
        objective = objective + probability * sum(0.9**j * batch.rewards[n, j, 0] for j in range(3))
        one = batch.each(lambda x, n=n: x[n : n + 1])  # type: ignore[misc]
        chosen, values, _ = judge(policy, theta, policy.inputs(one), one, PLAIN)
        ready, targets = with_trial_advantages(one, torch.zeros_like(values), PLAIN, PLAIN.discount)
        assert ready.advantages is not None
        # The objective's own discount: step j counts gamma^j, which A2C leaves out, as all of its kind do.
        ready = replace(ready, advantages=ready.advantages * 0.9 ** torch.arange(3, dtype=F64).reshape(1, 3, 1))
        old = policy.log_prob_of(chosen, one.actions).detach()
        loss, _ = trial_loss(policy, chosen, values, ready, targets, old, PLAIN, bonus=0.0)
        grads = torch.autograd.grad(loss, list(theta.values()), allow_unused=True)
        expected = [e - 3 * probability.detach() * g for e, g in zip(expected, grads, strict=True) if g is not None]
    exact = torch.autograd.grad(objective, list(theta.values()), allow_unused=True)
    assert abs(total - 1) < 1e-12
    assert sum(g.abs().sum() for g in exact if g is not None) > 0.1
    for mine, right in zip(expected, exact, strict=True):
        torch.testing.assert_close(mine, torch.zeros_like(mine) if right is None else right, rtol=0, atol=1e-12)


def test_eq_trial_input() -> None:
    """Column by column, on episodes of which some end early."""
    tasks = CartPoleTasks(horizon=30)
    policy = agent(tasks)
    batch = trial(tasks, policy, policy.params(), tasks.sample(3, generator(1)), 2, generator(2))
    assert (batch.mask == 0).any()
    assert (batch.mask[:, 0, 1:] == 1).any()
    read = policy.inputs(batch)
    for n in range(3):
        last = [0.0, 0.0, 0.0, 1.0]  # no action, no reward, done
        for j, (e, t) in enumerate(itertools.product(range(2), range(30))):
            assert read[n, j].tolist() == [*batch.observations[n, e, t].tolist(), *last]
            over = t == 29 or bool(batch.terminated[n, e, t])
            arm = [0.0, 0.0]
            arm[int(batch.actions[n, e, t])] = 1.0
            if batch.mask[n, e, t]:  # else it was not taken, and nothing came of it
                last = [*arm, batch.rewards[n, e, t].item(), float(over)]


def test_eq_trial_memory() -> None:
    """Through all episodes of a trial with the equation; and a trial alone is as it is among others."""
    tasks = BernoulliBandit(2, horizon=2, dtype=F64)
    policy = agent(tasks)
    params = {name: p.detach() for name, p in policy.params().items()}
    batch = trial(tasks, policy, params, tasks.sample(4, generator(1)), 3, generator(2))
    read = policy.inputs(batch)
    memories, _ = policy.unroll(params, read)
    for n in range(4):
        h = torch.zeros(4, dtype=F64)
        for j in range(6):
            h = cell(params, h, read[n, j])
            torch.testing.assert_close(memories[n, j], h, rtol=0, atol=1e-12)
    torch.testing.assert_close(policy.unroll(params, read[2:3])[0], memories[2:3], rtol=0, atol=1e-12)


def test_eq_trial_gae() -> None:
    """As a sum of errors over the steps that were taken, by hand; a step that was not taken has no time."""
    gen, discount, lam = generator(3), 0.9, 0.7
    mask = torch.tensor([[1.0, 1, 0], [1, 1, 1], [1, 0, 0]], dtype=F64).unsqueeze(0)
    rewards, values = (normal((1, 3, 3), gen, F64) * mask for _ in range(2))
    batch = replace(every_history(1), rewards=rewards, mask=mask)
    mine = trial_gae(batch, values, discount, lam).flatten()
    taken = mask.flatten().nonzero().flatten().tolist()
    r, v = ([x.flatten()[j].item() for j in taken] for x in (rewards, values))
    v.append(0.0)
    errors = [r[j] + discount * v[j + 1] - v[j] for j in range(len(r))]
    for j, place in enumerate(taken):
        expected = sum((discount * lam) ** (i - j) * errors[i] for i in range(j, len(r)))
        assert abs(mine[place].item() - expected) < 1e-12
    assert len(taken) == 6
    assert (mine[mask.flatten() == 0] == 0).all()


def test_a_discount_of_zero_cuts_at_the_ends_where_an_episode_is_one_step() -> None:
    gen = generator(4)
    rewards, values = (normal((3, 5, 1), gen, F64) for _ in range(2))
    batch = replace(every_history(1), rewards=rewards, mask=torch.ones_like(rewards))
    cut = gae(rewards, values, torch.zeros(3, 5, dtype=F64), 1.0, 0.8)
    assert torch.equal(trial_gae(batch, values, 0.0, 0.8), cut)
    assert not torch.allclose(trial_gae(batch, values, 1.0, 0.8), cut)


@pytest.mark.parametrize(("arms", "left"), [(2, 1), (2, 3), (5, 4)])
def test_eq_task_luck(arms: int, left: int) -> None:
    """By enumeration of the coins, with the moments of uniform arms taken from their density on a fine grid."""
    k, m = Fraction(arms), left
    mean, square = Fraction(1, 2), Fraction(1, 3)
    of_mean = [Fraction(1), mean, square / k + (k - 1) / k * mean**2]  # moments 0 to 2 of the mean of the arms
    # Given the mean p of its arms, m pulls at random win binomially: E[G | p] = m p, E[G^2 | p] = m p + m (m - 1) p^2.
    variance = m * of_mean[1] + m * (m - 1) * of_mean[2] - (m * of_mean[1]) ** 2
    assert variance == m * (Fraction(1, 4) - 1 / (12 * k)) + m**2 / (12 * k)
    # The bandits of the package, played at random, agree.
    p = BernoulliBandit(arms, dtype=F64).sample(200_000, generator(0))["probabilities"]
    worth = play(random_arm, p, left, generator(1))  # of the arms that were pulled
    won = (uniform((200_000, left), generator(2), F64) < worth).to(F64).sum(1)
    assert abs(won.var().item() / float(variance) - 1) < 0.02  # six standard errors


def test_eq_compared() -> None:
    gen = generator(5)
    advantages = normal((6, 2, 3), gen, F64)
    mine = compared(advantages, torch.ones_like(advantages), group=3)
    centred = torch.empty_like(advantages)
    for b, e, t in itertools.product(range(6), range(2), range(3)):
        others = [advantages[c, e, t].item() for c in range(6) if c // 3 == b // 3]
        centred[b, e, t] = advantages[b, e, t] - sum(others) / 3
    spread = math.sqrt(sum(x**2 for x in centred.flatten().tolist()) / centred.numel())
    torch.testing.assert_close(mine, centred / spread, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bonus", [0.0, 0.3])
def test_eq_a2c_loss(bonus: float) -> None:
    """Its gradient, from loops over trials and steps and torch.distributions."""
    tasks, config = BernoulliBandit(2, horizon=2, dtype=F64), RL2Config(episodes=2, num_tasks=2, trials=2)
    policy = agent(tasks)
    theta = policy.params()
    task = {"probabilities": torch.tensor([[0.2, 0.9], [0.2, 0.9], [0.7, 0.4], [0.7, 0.4]], dtype=F64)}
    batch = trial(tasks, policy, theta, task, 2, generator(1))
    chosen, values, _ = judge(policy, theta, policy.inputs(batch), batch, config)
    ready, targets = with_trial_advantages(batch, values.detach(), config, config.discount)
    torch.testing.assert_close(targets, trial_gae(batch, values.detach(), 0.99, 0.95) + values.detach())
    old = policy.log_prob_of(chosen, batch.actions).detach()
    loss, seen = trial_loss(policy, chosen, values, ready, targets, old, config, bonus)
    mine = torch.autograd.grad(loss, list(theta.values()))
    assert ready.advantages is not None

    by_hand, entropies, read = torch.zeros((), dtype=F64), [], policy.inputs(batch)
    for b in range(4):
        h = torch.zeros(4, dtype=F64)
        for j, (e, t) in enumerate(itertools.product(range(2), range(2))):
            h = cell(theta, h, read[b, j])
            pi = Categorical(logits=h @ theta["actor_w"] + theta["actor_b"])
            value = (h @ theta["critic_w"] + theta["critic_b"]).squeeze()
            entropies.append(pi.entropy().item())
            by_hand = by_hand - ready.advantages[b, e, t] * pi.log_prob(batch.actions[b, e, t])
            by_hand = by_hand + config.value_weight / 2 * (value - targets[b, e, t]) ** 2 - bonus * pi.entropy()
    expected = torch.autograd.grad(by_hand / 16, list(theta.values()))
    assert sum(g.abs().sum() for g in expected) > 0.1
    for one, other in zip(mine, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert seen["entropy"] == pytest.approx(sum(entropies) / 16)


@cache
def most(candidates: frozenset[int], pulls: int, may_ask: bool) -> float:
    """The chapter's recursion."""
    if pulls == 0 or not candidates:
        return 0.0
    n = len(candidates)
    ways = [5 * pulls / n + (n - 1) / n * (1 + most(candidates - {a}, pulls - 1, may_ask)) for a in candidates]
    asking = sum(g + 1 for g in candidates) / (10 * n) + 5 * (pulls - 1)
    return max(ways + [asking] * may_ask)


def best_of_all(pulls: int, asking: bool) -> float:
    """The optimum by brute force over everything seen, on the environment itself, with no idea of candidates."""
    tasks = ElevenArms(horizon=1, dtype=F64)
    arms = range(11 if asking else 10)
    table = [[0.0] * 10 for _ in arms]  # reward of each arm, target by target
    for a in arms:
        for g in range(10):
            state = torch.ones(1, dtype=F64)
            _, reward, _ = tasks.step({"target": torch.tensor(g)}, state, torch.tensor(a), torch.empty(0))
            table[a][g] = reward.item()

    @cache
    def value(possible: tuple[int, ...], left: int) -> float:
        if left == 0:
            return 0.0
        best = 0.0
        for a in arms:
            split: dict[float, list[int]] = {}
            for g in possible:
                split.setdefault(table[a][g], []).append(g)
            gain = sum(len(s) * (r + value(tuple(s), left - 1)) for r, s in split.items()) / len(possible)
            best = max(best, gain)
        return best

    return value(tuple(range(10)), pulls)


@pytest.mark.parametrize("pulls", [1, 2, 5])
@pytest.mark.parametrize("asking", [True, False])
def test_eq_probing(pulls: int, asking: bool) -> None:
    assert most(frozenset(range(10)), pulls, asking) == pytest.approx(best_of_all(pulls, asking), abs=1e-12)
    if pulls == 5:
        assert most(frozenset(range(10)), 5, asking) == pytest.approx(20.55 if asking else 11.0, abs=1e-12)


def follow(start: float, stay: Tensor, p: Tensor, q: Tensor, pulls: int) -> Tensor:
    """Expected total reward of a rule that sees its last pull only: stay [..., arm, outcome]; p and q broadcast."""
    x, total = torch.full((), start, dtype=F64), torch.zeros((), dtype=F64)
    for _ in range(pulls):
        total = total + x * p + (1 - x) * q
        first = p * stay[..., 0, 1] + (1 - p) * stay[..., 0, 0]
        second = q * stay[..., 1, 1] + (1 - q) * stay[..., 1, 0]
        x = x * first + (1 - x) * (1 - second)
    return total


def squares(nodes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Gauss-Legendre nodes p and q, and weights, of the unit square, from the eigenvalues of the Jacobi matrix."""
    k = torch.arange(1, nodes, dtype=F64)
    off = k / (4 * k**2 - 1).sqrt()
    places, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    weights, x = vectors[0] ** 2, (places + 1) / 2
    return x.repeat_interleave(nodes), x.repeat(nodes), (weights[:, None] * weights).flatten()


def win_stay_by_counting(pulls: int) -> Fraction:
    """Win-stay, lose-shift: every sequence of outcomes, with its exact probability under uniform arms."""
    total = Fraction(0)
    for outcomes in itertools.product((0, 1), repeat=pulls):
        arm, counts = 0, [[0, 0], [0, 0]]
        for won in outcomes:
            counts[arm][won] += 1
            arm = arm if won else 1 - arm
        chance = Fraction(1)
        for losses, wins in counts:  # the integral of p^w (1 - p)^l
            chance *= Fraction(math.factorial(wins) * math.factorial(losses), math.factorial(wins + losses + 1))
        total += chance * sum(outcomes)
    return total


def test_eq_last_pull() -> None:
    """Against counting; and no rule of the last pull does better, also none that treats the arms differently."""
    p, q, weights = squares(8)
    exact = win_stay_by_counting(10)
    win_stay = torch.tensor([[0.0, 1.0], [0.0, 1.0]], dtype=F64)
    assert (follow(0.5, win_stay, p, q, 10) * weights).sum().item() == pytest.approx(float(exact), abs=1e-12)
    assert f"{float(exact):.6f}" == "5.796200"
    tenths = torch.linspace(0, 1, 11, dtype=F64)
    rules = torch.cartesian_prod(tenths, tenths, tenths, tenths).reshape(-1, 1, 2, 2)
    for start in (0.0, 0.5, 1.0):
        values = torch.cat([(follow(start, some, p, q, 10) * weights).sum(-1) for some in rules.split(2000)])
        assert values.max().item() <= float(exact) + 1e-12
    assert float(exact) < bayes_optimal_value(2, 10) - 0.2


def test_text_with_a_clock_the_last_pull_is_worth_more_than_win_stay() -> None:
    """Win-stay is the best of the rules that do not know the time, by the test before this one; this rule knows it.

    In turns, arm 0 is judged by its last pull and arm 1 is kept, or arm 1 is judged and arm 0 is kept.
    """
    p, q, weights = squares(8)
    judge_first = torch.tensor([[0.0, 1.0], [1.0, 1.0]], dtype=F64)  # stay, by arm and outcome
    judge_second = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=F64)
    in_turn = [torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=F64), *[judge_first, judge_second] * 4, judge_first]
    x, total = torch.ones(64, dtype=F64), torch.zeros(64, dtype=F64)
    for stay in in_turn:
        total = total + x * p + (1 - x) * q
        first, second = p * stay[0, 1] + (1 - p) * stay[0, 0], q * stay[1, 1] + (1 - q) * stay[1, 0]
        x = x * first + (1 - x) * (1 - second)
    assert (total * weights).sum().item() == pytest.approx(5.878730, abs=1e-6)
    assert float(win_stay_by_counting(10)) + 0.08 < 5.878730


# --- What the text says of its numbers --------------------------------------------------------------------------------


CHAPTER = Chapter.read(ROOT / "book" / "11_rl2_from_the_inside.ipynb")


def call(code: str) -> RL2Config:
    """The configuration that the chapter makes with this call."""
    assert any(code in cell.source.replace("\n", " ").replace("  ", "") for cell in CHAPTER.code), code
    config = eval(code, {"RL2Config": RL2Config})
    assert isinstance(config, RL2Config)
    return config


def test_text_the_boxes_say_all_numbers_of_the_runs() -> None:
    prose = " ".join(CHAPTER.prose.split())
    usual = RL2Config()
    bandit = call("RL2Config(iterations=1000, lr=0.02, entropy=0.05, discount=1.0, gae_lambda=1.0)")
    assert f"{bandit.num_tasks} tasks with {bandit.trials} trials of each" in prose
    assert f"{bandit.iterations} updates of {bandit.num_tasks * bandit.trials} trials" in prose
    assert f"Adam's rate is {bandit.lr} and falls to 0 on a straight line" in prose
    assert f"as does the entropy's weight, from {bandit.entropy}" in prose
    assert f"$c = {bandit.value_weight}$" in prose
    assert (bandit.final_lr, bandit.final_entropy, bandit.discount, bandit.gae_lambda) == (0, 0, 1, 1)
    assert bandit.max_grad_norm == 1
    assert (bandit.reward_scale, bandit.normalise, bandit.critic_trains_memory) == (1, True, True)
    eleven = replace(
        usual, iterations=350, episodes=5, gae_lambda=0.8, entropy=1.0, lr=0.02, final_lr=None, reward_scale=0.2
    )
    source = next(cell.source for cell in CHAPTER.code if cell.source.startswith("class KeenEar"))
    for name in ("iterations", "episodes", "gae_lambda", "entropy", "lr", "final_lr", "reward_scale"):
        assert f"{name}={getattr(eleven, name)}" in source
    assert f"{eleven.iterations} updates on {eleven.num_tasks} tasks with {eleven.trials} trials of each" in prose
    assert f"Adam's rate stays at {eleven.lr}; $\\lambda = {eleven.gae_lambda}$" in prose
    assert f"the critic learns rewards times {eleven.reward_scale}" in prose


def test_text_the_optimum_pays_to_know_more_in_one_trial_of_thirteen() -> None:
    """How often it pulls an arm whose mean is below the best, in ten pulls of five arms."""
    plan, paying = bayes_optimal(5, 10), []

    def watched(wins: Tensor, losses: Tensor, gen: torch.Generator) -> Tensor:
        arm, mean = plan(wins, losses, gen), (wins + 1) / (wins + losses + 2)
        paying.append(mean.max(-1).values > mean.gather(-1, arm.unsqueeze(-1)).squeeze(-1) + 1e-9)
        return arm

    play(watched, uniform((40_000, 5), generator(0), F64), 10, generator(1))
    count = torch.stack(paying).sum(0).to(F64)
    assert abs(count.mean().item() - 1 / 13) < 0.006  # its standard error is 0.0014


def test_text_asking_first_costs_what_the_other_arms_pay_more() -> None:
    arms, ask = [], ElevenArms(horizon=1, dtype=F64)
    for arm in range(11):
        task = {"target": torch.arange(10)}
        state = torch.ones(10, 1, dtype=F64)
        _, reward, _ = ask.step(task, state, torch.full((10,), arm), torch.empty(10, 0))
        arms.append(reward.mean().item())
    assert arms[10] == pytest.approx(0.55)
    assert arms[:10] == pytest.approx([1.4] * 10)


def test_text_most_pulls_of_a_lower_mean_go_to_an_arm_that_is_less_known() -> None:
    """In a hundred pulls of five arms; "less known": pulled less often so far than the arm of the best mean."""
    arms, agent = BernoulliBandit(5, horizon=1), actor("bandit-k5-n100")
    assert isinstance(agent, GRUPolicy)
    batch = trial(arms, agent, agent.params(), arms.sample(1500, generator(30)), 100, generator(31))
    mean, chosen = posterior_means(batch, 5), batch.actions.flatten(1).unsqueeze(-1)
    did = torch.nn.functional.one_hot(chosen.squeeze(-1), 5)
    pulls, best = did.cumsum(1) - did, mean.argmax(-1, keepdim=True)
    lower = mean.gather(2, best) - mean.gather(2, chosen) > 1e-6
    known_less = pulls.gather(2, chosen) < pulls.gather(2, best)
    assert round(lower.double().sum(1).mean().item()) == 6
    assert (lower & known_less).sum() > lower.sum() / 2
