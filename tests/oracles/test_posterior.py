"""Agents that count: their posterior against Bayes' rule on a grid of numbers, what they earn against closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.oracles.posterior import Belief, Rule, greedy, known_mdp_value, learn_mdps, psrl
from metarl_lite.rng import generator
from metarl_lite.tasks import TabularMDP
from metarl_lite.types import Task

F64 = torch.float64


def belief(counts: list[int], paid: float, noise: float = 1.0, prior_mean: float = 1.0, copies: int = 1) -> Belief:
    """One action in one of the states, tried as `counts` says, `[copies, S, 1]`; the other states are untried."""
    table = torch.zeros(copies, len(counts), 1, len(counts), dtype=F64)
    table[:, 0, 0] = torch.tensor(counts, dtype=F64)
    total = torch.zeros(copies, len(counts), 1, dtype=F64)
    total[:, 0] = paid
    return Belief(table, total, noise, prior_mean)


def test_the_posterior_of_a_mean_reward_is_bayes_rule() -> None:
    """Prior times likelihood on a fine grid of possible means, for rewards .3, 2 and -1."""
    seen = torch.tensor([0.3, 2.0, -1.0], dtype=F64)
    r = torch.linspace(-12, 12, 48_001, dtype=F64)
    for noise, prior_mean in ((1.0, 1.0), (0.5, 0.0)):
        density = (-((r - prior_mean) ** 2) / 2 - ((seen[:, None] - r) ** 2).sum(0) / (2 * noise**2)).exp()
        density = density / density.sum()
        mean = (density * r).sum()
        deviation = (density * (r - mean) ** 2).sum().sqrt()
        got_mean, got_deviation = belief([2, 1], seen.sum().item(), noise, prior_mean).rewards()
        torch.testing.assert_close(got_mean[0, 0, 0], mean, atol=1e-9, rtol=0)
        torch.testing.assert_close(got_deviation[0, 0, 0], deviation, atol=1e-9, rtol=0)
        assert got_mean[0, 1, 0].item() == prior_mean  # nothing seen: the prior
        assert got_deviation[0, 1, 0].item() == 1


def test_greedy_plans_in_the_mean() -> None:
    transitions, rewards = greedy(belief([3, 0, 1], 8.0), generator(0))
    third = 1 / 3
    expected = torch.tensor([[[[4 / 7, 1 / 7, 2 / 7]], [[third] * 3], [[third] * 3]]], dtype=F64)
    torch.testing.assert_close(transitions, expected)
    torch.testing.assert_close(rewards, torch.tensor([[[9 / 5], [1], [1]]], dtype=F64))


def test_psrl_draws_from_the_posterior() -> None:
    """Dirichlet(4, 1, 2) and N(9/5, 1/5): means and variances over many draws."""
    copies = 40_000
    transitions, rewards = psrl(belief([3, 0, 1], 8.0, copies=copies), generator(0))
    torch.testing.assert_close(transitions.sum(-1), torch.ones(copies, 3, 1, dtype=F64))
    row, alpha = transitions[:, 0, 0], torch.tensor([4.0, 1.0, 2.0], dtype=F64)
    variance = alpha * (7 - alpha) / (49 * 8)
    assert bool(((row.mean(0) - alpha / 7).abs() < 4 * (variance / copies).sqrt()).all())
    fourth = ((row - row.mean(0)) ** 4).mean(0)
    assert bool(((row.var(0) - variance).abs() < 4 * ((fourth - variance**2) / copies).sqrt()).all())
    drawn = rewards[:, 0, 0]
    assert abs(drawn.mean().item() - 9 / 5) < 4 * math.sqrt(0.2 / copies)
    assert abs(drawn.var().item() - 1 / 5) < 4 * 0.2 * math.sqrt(2 / copies)
    assert abs(rewards[:, 2, 0].var().item() - 1) < 4 * math.sqrt(2 / copies)


def two_pulls(rule: Rule, prior_mean: float) -> float:
    """What two pulls of two arms N(1, 1) with noise 1 earn on average, in closed form.

    After the first pull, its arm is believed to be N(m, 1/2). The true mean of m is 1 + (prior_mean - 1) / 2, its
    variance 1/2; the arm's mean given the reward is 1 + d, d ~ N(0, 1/2), and m = 1 + d + (prior_mean - 1) / 2. The
    second pull earns 1 + E[d; the first arm is pulled again], which happens
    - greedily, if m exceeds prior_mean: d > c, with c = (prior_mean - 1) / 2;
    - by sampling, with probability Phi((d - c) / sqrt(3/2)).
    """
    c = (prior_mean - 1) / 2
    spread = math.sqrt(1 / 2) if rule is greedy else math.sqrt(1 / 2 + 3 / 2)
    return 2 + 0.5 / (spread * math.sqrt(2 * math.pi)) * math.exp(-(c**2) / (2 * spread**2))


Learner = Callable[[Rule, TabularMDP, Task, int, torch.Generator, float], Tensor]


def check_two_pulls(learner: Learner) -> None:
    count, gen = 60_000, generator(0)
    tasks = TabularMDP(1, 2, horizon=1, dtype=F64)
    task = tasks.sample(count, gen)
    for rule, prior_mean in ((greedy, 1.0), (psrl, 1.0), (greedy, 3.0), (psrl, -1.0)):
        earned = learner(rule, tasks, task, 2, gen, prior_mean)
        assert earned.shape == (count, 2)
        total = earned.sum(1)
        assert abs(total.mean().item() - two_pulls(rule, prior_mean)) < 4 * total.std().item() / math.sqrt(count)


def check_transitions(learner: Learner) -> None:
    """One action leads to the good state for sure, one stays. Both are tried, and the way is then kept."""
    tasks = TabularMDP(2, 2, horizon=4, reward_noise=0.01, dtype=F64)
    stay, go = [1.0, 0.0], [0.0, 1.0]
    task = {
        "transitions": torch.tensor([[[stay, go], [go, stay]], [[go, stay], [go, stay]]], dtype=F64),
        "rewards": torch.tensor([[[0.0, 0.0], [2.0, 0.0]]] * 2, dtype=F64),
    }
    earned = learner(psrl, tasks, task, 60, generator(0), 1.0)
    assert known_mdp_value(tasks, task).tolist() == [6, 6]
    assert earned[:, -10:].mean().item() > 5.8


def test_two_pulls_of_two_arms() -> None:
    check_two_pulls(learn_mdps)


def test_a_way_is_learned() -> None:
    check_transitions(learn_mdps)


def test_what_is_earned_is_what_the_visited_pairs_pay_on_average() -> None:
    """With an enormous noise, rewards say nothing, and the sum of means stays within the means."""
    tasks = TabularMDP(3, 2, horizon=5, reward_noise=1000.0, dtype=F64)
    task = tasks.sample(200, generator(0))
    earned = learn_mdps(greedy, tasks, task, 4, generator(1))
    low, high = (5 * f(task["rewards"].flatten(1), 1) for f in (torch.amin, torch.amax))
    assert bool(((earned >= low[:, None] - 1e-9) & (earned <= high[:, None] + 1e-9)).all())


def test_epsilon_one_is_the_random_agent() -> None:
    count, tasks = 20_000, TabularMDP(2, 3, horizon=3, dtype=F64)
    task = tasks.sample(count, generator(0))
    step = task["transitions"].mean(2)  # [N, S, S] under even actions
    here, total = torch.tensor([1.0, 0.0], dtype=F64).expand(count, 2), torch.zeros(count, dtype=F64)
    for _ in range(3):
        total = total + (here * task["rewards"].mean(2)).sum(1)
        here = torch.einsum("ns,nst->nt", here, step)
    earned = learn_mdps(greedy, tasks, task, 2, generator(1), epsilon=1.0)
    gap = earned.mean(1) - total
    assert abs(gap.mean().item()) < 4 * gap.std().item() / math.sqrt(count)


def test_epsilon_is_the_share_of_even_actions() -> None:
    """One arm of two is known to be better after a long time; then it is left in half of the even draws."""
    tasks = TabularMDP(1, 2, horizon=1, reward_noise=0.01, dtype=F64)
    task = {"transitions": torch.ones(400, 1, 2, 1, dtype=F64), "rewards": torch.zeros(400, 1, 2, dtype=F64)}
    task["rewards"][..., 1] = 1
    late = learn_mdps(greedy, tasks, task, 150, generator(0), epsilon=0.3)[:, 50:]
    assert late.mean().item() == pytest.approx(0.85, abs=4 * math.sqrt(0.85 * 0.15 / late.numel()))


@pytest.mark.parametrize(
    ("rule", "prior_mean", "known"), [(greedy, 1.0, 149.5), (psrl, 1.0, 133.8), (psrl, 0.0, 137.95)]
)
def test_ten_episodes_of_random_processes(rule: Rule, prior_mean: float, known: float) -> None:
    check_known(rule, prior_mean, {10: known}, count=2000)


def test_a_random_agent_earns_one_per_step() -> None:
    tasks, gen = TabularMDP(), generator(0)
    total = learn_mdps(greedy, tasks, tasks.sample(1000, gen), 10, gen, epsilon=1.0).sum(1)
    assert abs(total.mean().item() - 100) < 4 * total.std().item() / math.sqrt(1000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "prior_mean", "known"),
    [
        (greedy, 1.0, {10: 149.5, 25: 423.3, 50: 895.5}),
        (psrl, 1.0, {10: 133.8, 25: 404.8, 50: 903.5}),
        (psrl, 0.0, {10: 137.95, 25: 408.4, 50: 902.4, 75: 1414.8, 100: 1935.7}),
    ],
)
def test_many_episodes_of_random_processes(rule: Rule, prior_mean: float, known: dict[int, float]) -> None:
    check_known(rule, prior_mean, known, count=4000)


def check_known(rule: Rule, prior_mean: float, known: dict[int, float], count: int) -> None:
    """Against longer simulations by another program; at worst they are as exact as this one."""
    tasks, gen = TabularMDP(), generator(0)
    earned = learn_mdps(rule, tasks, tasks.sample(count, gen), max(known), gen, prior_mean).double()
    for episodes, value in known.items():
        total = earned[:, :episodes].sum(1)
        assert abs(total.mean().item() - value) < 3 * math.sqrt(2) * total.std().item() / math.sqrt(count), episodes


def test_nobody_earns_more_than_who_knows() -> None:
    tasks, gen = TabularMDP(4, 3, horizon=5, dtype=F64), generator(0)
    task = tasks.sample(2000, gen)
    known = known_mdp_value(tasks, task)
    for rule in (greedy, psrl):
        late = learn_mdps(rule, tasks, task, 30, gen)[:, -10:].mean(1)
        gap = known - late
        assert gap.mean().item() > 0
        assert gap.mean().item() < 0.1 * known.mean().item()  # and after twenty episodes not much less


def test_chance_is_the_generators_and_the_tasks_stay() -> None:
    tasks, state = TabularMDP(3, 2, horizon=4), torch.get_rng_state()
    task = tasks.sample(20, generator(0))
    before = {name: leaf.clone() for name, leaf in task.items()}
    first, again, other = (learn_mdps(psrl, tasks, task, 5, generator(s), epsilon=0.1) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(task[name], leaf) for name, leaf in before.items())


def test_bad_input_is_refused() -> None:
    tasks = TabularMDP(3, 2)
    task = tasks.sample(2, generator(0))
    with pytest.raises(ValueError, match="episodes = 0: a positive integer"):
        learn_mdps(psrl, tasks, task, 0, generator(0))
    with pytest.raises(ValueError, match=r"epsilon = 1.5: .* from 0 to 1"):
        learn_mdps(psrl, tasks, task, 1, generator(0), epsilon=1.5)
    with pytest.raises(ValueError, match=r"reward_noise = 0: .*reward_noise=1.0"):
        learn_mdps(psrl, TabularMDP(3, 2, reward_noise=0), task, 1, generator(0))
    with pytest.raises(ValueError, match=r"transitions.*has shape \(2, 3, 2, 3\)"):
        learn_mdps(psrl, TabularMDP(3, 4), task, 1, generator(0))


# --- Broken variants --------------------------------------------------------------------------------------------------


def with_belief(change: Callable[[Belief], Belief]) -> Learner:
    def learner(
        rule: Rule, tasks: TabularMDP, task: Task, episodes: int, gen: torch.Generator, prior_mean: float
    ) -> Tensor:
        return learn_mdps(lambda b, g: rule(change(b), g), tasks, task, episodes, gen, prior_mean)

    return learner


@pytest.mark.parametrize(
    ("check", "change"),
    [
        (check_two_pulls, lambda b: b._replace(prior_mean=1.0)),
        (check_two_pulls, lambda b: b._replace(noise=3.0)),
        (check_two_pulls, lambda b: b._replace(counts=3 * b.counts)),
        (check_two_pulls, lambda b: b._replace(paid=torch.zeros_like(b.paid))),
        (check_transitions, lambda b: b._replace(counts=b.counts.sum(-1, keepdim=True).expand_as(b.counts) / 2)),
        (check_transitions, lambda b: b._replace(counts=b.counts.flip(-1))),
    ],
    ids=["another prior", "more noise", "counts thrice", "no rewards", "no transitions", "transitions reversed"],
)
def test_a_broken_belief_fails_its_check(check: Any, change: Any) -> None:
    with pytest.raises(AssertionError):
        check(with_belief(change))


def test_sampling_anew_is_not_being_greedy() -> None:
    def swapped(
        rule: Rule, tasks: TabularMDP, task: Task, episodes: int, gen: torch.Generator, prior_mean: float
    ) -> Tensor:
        return learn_mdps(psrl if rule is greedy else greedy, tasks, task, episodes, gen, prior_mean)

    with pytest.raises(AssertionError):
        check_two_pulls(swapped)
