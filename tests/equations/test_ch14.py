"""Equations of chapter 14, computed from their symbols, against the learners, the comparison and the trainings."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from metarl_lite.algorithms.configs import MAMLConfig, RL2Config
from metarl_lite.algorithms.maml import maml
from metarl_lite.algorithms.rl2 import rl2
from metarl_lite.evaluate.learners import fixed_learner, oracle_learner, returns_by_episode
from metarl_lite.experiments import versus
from metarl_lite.experiments.columns import Bounds, share
from metarl_lite.lesson.exercises import find
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.rng import generator, normal, uniform
from metarl_lite.tasks import BernoulliBandit, GridGoal

F64 = torch.float64


def test_eq_adaptation_curve() -> None:
    """Against a loop over tasks and episodes, on arms whose rewards are written down."""
    paid = uniform((6, 4), generator(0), F64)
    found = returns_by_episode(
        BernoulliBandit(4, horizon=1, dtype=F64),
        [lambda tasks, task, episodes, gen: paid[:, :episodes]],
        {"probabilities": paid},
        3,
        seed=0,
    )[0]
    for k in range(3):
        assert found.mean(0)[k].item() == pytest.approx(sum(paid[i, k].item() for i in range(6)) / 6)


def test_eq_life() -> None:
    """The mean over tasks and episodes together; and what `versus` scores a rate by."""
    tasks = BernoulliBandit(3, horizon=1)
    task = tasks.sample(200, generator(0))
    found = returns_by_episode(tasks, [oracle_learner(lambda task: task["probabilities"].amax(1))], task, 5, seed=1)[0]
    curve = found.mean(0)
    assert sum(curve[k].item() for k in range(5)) / 5 == pytest.approx(found.mean().item(), abs=1e-6)


@pytest.mark.parametrize(("steps", "episodes", "horizon"), [(1, 3, 4), (3, 2, 5)])
def test_eq_budget(steps: int, episodes: int, horizon: int) -> None:
    """What both kinds of training say that they have lived, in one iteration."""
    tasks, gen = GridGoal(horizon=horizon), generator(0)
    config = MAMLConfig(iterations=1, num_tasks=7, episodes=episodes, inner_steps=steps)
    _, lived = maml(tasks, MLPPolicy.for_tasks(tasks, gen, hidden=()), config, gen)
    assert lived.steps == 7 * (steps + 1) * episodes * horizon
    memory = RL2Config(iterations=1, num_tasks=4, trials=2, episodes=episodes)
    _, trials = rl2(tasks, GRUPolicy.for_tasks(tasks, gen, hidden=4), memory, gen)
    assert trials.steps == 4 * 2 * episodes * horizon


def test_eq_share() -> None:
    """0 for the best who learns nothing, 1 for who is told, a line between; the scoreboard counts alike."""
    world = versus.WORLDS["grid"]
    task = {"goal": world.tasks.goals()}  # type: ignore[attr-defined]
    assert world.known is not None
    assert world.blind is not None
    known, blind = world.known(task).double(), world.blind(task).double()
    for weight in (0.0, 0.3, 1.0):
        earned = blind + weight * (known - blind)
        bounds = Bounds(blind.mean().item(), known.mean().item())
        s = (earned.mean() - blind.mean()) / (known.mean() - blind.mean())
        assert s.item() == pytest.approx(share(earned.mean().item(), bounds)[0], abs=1e-6)
        assert s.item() == pytest.approx(weight, abs=1e-6)


def test_eq_no_signal() -> None:
    """Summed over all sequences of actions, with advantages that depend on time alone; with others it is not zero."""
    logits = normal((3,), generator(1), F64).requires_grad_()
    by_time = [0.7, -1.3, 2.1]

    def expected(advantages: list[list[float]]) -> torch.Tensor:
        """The expectation of the sum of score times advantage, where advantages [t][a] may depend on the action."""
        total = torch.zeros(3, dtype=F64)
        for actions in itertools.product(range(3), repeat=3):
            logs = logits.log_softmax(-1)[list(actions)]
            weight = logs.sum().exp().detach()
            weighted = sum(logs[t] * advantages[t][a] for t, a in enumerate(actions))
            (score,) = torch.autograd.grad(weighted, logits, retain_graph=True)
            total = total + weight * score
        return total

    assert torch.allclose(expected([[b] * 3 for b in by_time]), torch.zeros(3, dtype=F64), atol=1e-12)
    assert expected([[b, 0.0, 0.0] for b in by_time]).norm() > 0.1


def test_eq_overtakes() -> None:
    """The sum by hand, against exercise 14.2 and against the sums of the lesson."""
    quick, slow = (uniform((9,), generator(seed), F64) for seed in (3, 4))
    sums = [sum((slow[k] - quick[k]).item() for k in range(count)) for count in range(1, 10)]
    assert (slow - quick).cumsum(0).tolist() == pytest.approx(sums)
    ahead = [total > 0 for total in sums]
    first = next((k for k in range(9) if all(ahead[k:])), None)
    assert find("14.2").reference(quick, slow) == (0 if first is None else first + 1)


def test_a_fixed_learner_is_its_policy_in_every_episode() -> None:
    """No step, no memory: its curve has no trend but that of its luck."""
    tasks = GridGoal(horizon=5)
    policy = MLPPolicy.for_tasks(tasks, generator(0), hidden=())
    still = replace(MAMLConfig(), inner_steps=0)
    assert still.inner_steps == 0
    found = returns_by_episode(tasks, [fixed_learner(policy)], tasks.sample(400, generator(1)), 4, seed=2)[0]
    spread = found.std() / 20
    assert (found.mean(0) - found.mean()).abs().max() < 5 * spread
