"""The marked equations of chapter 2 against the code and against brute force."""

from __future__ import annotations

import math

import pytest
import torch

from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator
from metarl_lite.rollout import draw_noise
from metarl_lite.tasks import FAMILIES, GridGoal, PointGoal, TabularMDP, make_tasks


@pytest.mark.parametrize("name", list(FAMILIES))
def test_eq_pure_step(name: str) -> None:
    """The four functions are functions: equal arguments, equal results, and arguments that stay as they were."""
    tasks, gen = make_tasks(name), generator(0)
    task = {leaf: value.unsqueeze(1) for leaf, value in tasks.sample(3, gen).items()}  # [N, 1, ...]
    first, noise = tasks.draw_reset((3, 4), gen), tasks.draw((3, 4), gen)
    if tasks.discrete:
        action = torch.randint(tasks.action_size, (3, 4), generator=gen)
    else:
        action = torch.randn((3, 4, tasks.action_size), generator=gen)
    before = {leaf: value.clone() for leaf, value in task.items()}
    state = tasks.reset(task, first)
    kept = state.clone()
    once, twice = (tasks.step(task, state, action, noise) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(once, twice, strict=True))
    assert torch.equal(state, kept)
    assert torch.equal(tasks.reset(task, first), kept)
    assert all(torch.equal(task[leaf], before[leaf]) for leaf in task)
    assert tasks.observe(task, once[0]).shape == (3, 4, tasks.observation_size)


def test_eq_dirichlet_marginal() -> None:
    """One entry of a uniform distribution over distributions has density (S - 1)(1 - p)^(S - 2) and mean 1 / S."""
    for size in (3, 10):
        p = torch.linspace(0, 1, 100_001, dtype=torch.float64)
        density = (size - 1) * (1 - p) ** (size - 2)
        assert torch.trapezoid(density, p).item() == pytest.approx(1, abs=1e-6)
        assert torch.trapezoid(density * p, p).item() == pytest.approx(1 / size, abs=1e-6)
        draws = TabularMDP(num_states=size).sample(2000, generator(1))["transitions"][..., 0].flatten()
        share = (torch.arange(len(draws)) + 1) / len(draws)
        gap = (1 - (1 - draws.sort().values) ** (size - 1) - share).abs().max().item()
        assert gap < 1.95 / math.sqrt(len(draws))  # Kolmogorov and Smirnov, 1 in 1000


def test_eq_two_goals() -> None:
    """Two independent goals are .5214 apart on average: by a sum over all pairs of cells of a grid.

    Cells k columns and l rows apart are (n - k)(n - l) pairs, and four times as many where neither is 0.
    """
    closed = (2 + math.sqrt(2) + 5 * math.asinh(1)) / 15
    assert round(closed, 4) == 0.5214
    apart = torch.arange(1000, dtype=torch.float64) / 1000
    pairs = (1 - apart) * torch.where(apart > 0, 2, 1) / 1000  # the share of them along one side
    distance = torch.hypot(apart, apart.unsqueeze(1))
    assert (pairs @ distance @ pairs).item() == pytest.approx(closed, abs=1e-5)  # the grid's error falls as 1 / n^2
    draws = PointGoal(dtype=torch.float64).sample(4000, generator(2))["goal"].reshape(2, 2000, 2)
    distances = torch.cdist(draws[0], draws[1])
    assert distances.mean().item() == pytest.approx(closed, abs=0.02)


def test_eq_seen_share() -> None:
    """By recursion: the next draw misses a given task with probability 1 - 1 / C, whatever came before."""
    count, missed = len(GridGoal().goals()), 1.0
    assert count == 21
    for draws in range(1, 101):
        missed *= 1 - 1 / count
        assert 1 - (1 - 1 / count) ** draws == pytest.approx(1 - missed)
    assert 1 - (1 - 1 / count) ** 100 > 0.99


def test_three_families_are_finite_and_six_are_not() -> None:
    sizes = {}
    for name in FAMILIES:
        drawn = make_tasks(name).sample(1000, generator(3))
        sizes[name] = len({tuple(torch.cat([leaf[i].flatten().double() for leaf in drawn.values()]).tolist())
                           for i in range(1000)})  # fmt: skip
    finite = {name: size for name, size in sizes.items() if size < 1000}
    assert finite == {"eleven-arms": 10, "two-step": 4, "grid-goal": 21}


def test_how_noise_becomes_an_action() -> None:
    """A number: mean plus deviation times a standard normal one. A choice: the first beyond a uniform number."""
    gen = generator(4)
    for name in ("point-goal", "cartpole"):
        tasks = make_tasks(name)
        policy = MLPPolicy.for_tasks(tasks, gen, hidden=(4,))
        params = {key: p.unsqueeze(0) + 0.5 for key, p in policy.params().items()}
        seen = torch.randn((1, 50, tasks.observation_size), generator=gen)
        noise = draw_noise(tasks, policy, 1, 50, gen).action[:, :, 0]  # [1, 50, A]
        action, output = policy.act(params, seen, noise), policy.forward(params, seen)
        if tasks.discrete:
            assert ((noise >= 0) & (noise < 1)).all()
            cumulative = output.softmax(-1).cumsum(-1)
            by_hand = [
                next(a for a in range(2) if u < cumulative[0, i, a] or a == 1) for i, u in enumerate(noise[0, :, 0])
            ]
            assert action[0].tolist() == by_hand
            assert 0 < sum(by_hand) < 50
        else:
            torch.testing.assert_close(action, output + params["log_std"].exp() * noise)
