"""DREAM in miniature: what an explorer is paid, what it learns, and what exploiting makes of that."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from metarl_lite.algorithms.rl2 import rl2
from metarl_lite.apps.bus_grid import (
    END_TO_END,
    exploit,
    exploitation_of,
    explore_then_exploit,
    train_exploiter,
    worth_of_guesses,
)
from metarl_lite.apps.explorer import (
    EXPLORER,
    Explorer,
    exploration_of,
    information_gain,
    payoff,
    train_explorer,
)
from metarl_lite.evaluate.curves import trial_returns
from metarl_lite.oracles.bus_grid import bus_grid_beliefs, bus_grid_exploit_values, bus_grid_plan
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.rng import generator
from metarl_lite.tasks.bus_grid import BusGrid
from metarl_lite.tasks.navigation import GridGoal

PLAN = bus_grid_plan()
SHORT = replace(EXPLORER, iterations=3, num_tasks=8)


def explorer(seed: int = 0, hidden: int = 8) -> Explorer:
    return Explorer.for_tasks(BusGrid(), generator(seed), hidden=hidden)


def test_the_gain_by_hand() -> None:
    told = torch.tensor([[0.25, 0.25, 1.0]]).log()
    gain = information_gain(told, torch.tensor([[1, 0, 5]]), cost=0.1)
    assert gain.tolist()[0] == pytest.approx([-0.1, math.log(4), -0.1])


def test_the_gains_of_an_exploration_sum_to_what_was_learned() -> None:
    told = torch.randn(5, 7, generator=generator(0))
    gain = information_gain(told, torch.ones(5, 7, dtype=torch.long), cost=0.0)
    assert torch.allclose(gain.sum(1), told[:, -1] - told[:, 0], atol=1e-6)


def test_a_guess_is_a_distribution_over_the_tasks() -> None:
    policy = explorer()
    guess = policy.log_guess(policy.params(), torch.randn(3, 2, 8, generator=generator(1)))
    assert guess.shape == (3, 2, 24)
    assert torch.allclose(guess.exp().sum(-1), torch.ones(3, 2))


def test_an_explorer_comes_back_from_its_parameters() -> None:
    policy = explorer(3)
    again = Explorer.from_params(policy.params())
    assert again.hidden == 8
    for name, p in policy.params().items():
        assert torch.equal(p, again.params()[name])
    with pytest.raises(ValueError, match="without 'decoder_b', 'decoder_w'"):
        Explorer.from_params(GRUPolicy.for_tasks(BusGrid(), generator(0), hidden=8).params())


def test_who_knows_the_task_earns_seven_tenths() -> None:
    tasks = BusGrid()
    task = {"buses": tasks.all_tasks()["buses"].repeat(8, 1)}
    returns = exploit(tasks, PLAN, task, tasks.number(task), generator(0))
    assert returns.tolist() == pytest.approx([0.7] * 192)


def test_who_takes_it_for_another_rides_astray() -> None:
    tasks = BusGrid()
    task = {"buses": torch.tensor([[0, 1, 2, 3]]).repeat(200, 1)}
    other = {"buses": torch.tensor([[1, 0, 2, 3]]).repeat(200, 1)}
    returns = exploit(tasks, PLAN, task, tasks.number(other), generator(0))
    right = returns > 0.69  # where the goal is corner 2 or 3
    assert 0.35 < right.double().mean() < 0.65
    assert returns[~right].max() < 0.1


@pytest.mark.parametrize("seed", [0, 1])
def test_q_learning_on_known_tasks_finds_the_values_of_the_oracle(seed: int) -> None:
    """Wherever the way of somebody who plays best comes by; elsewhere a table may not have been yet."""
    tasks, exact, beliefs = BusGrid(exploit=12), bus_grid_exploit_values(12), bus_grid_beliefs()
    table = train_exploiter(tasks, generator(seed), 150)
    assert table.shape == (24, 4, 25, 6)
    best = table.max(-1).values
    for z in range(24):
        known = exact[beliefs.index(frozenset({z}))]  # [25, 4]
        assert best[z, :, 12].tolist() == pytest.approx(known[12].tolist(), abs=1e-5)
    plan = table.argmax(-1)
    assert worth_of_guesses(tasks, plan).diagonal().tolist() == pytest.approx([0.7] * 24, abs=1e-5)


def test_q_learning_is_the_same_twice() -> None:
    first, second = (train_exploiter(BusGrid(), generator(3), 5, 16) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, train_exploiter(BusGrid(), generator(4), 5, 16))


def test_the_worth_of_a_guess_is_the_mean_over_goals_played_one_by_one() -> None:
    tasks, plan = BusGrid(3, 9), bus_grid_plan()
    worth = worth_of_guesses(tasks, plan)
    everything, second = tasks.all_tasks()["buses"], BusGrid(0, 9)
    for z, guess in ((0, 0), (0, 1), (5, 17), (23, 2)):
        total = 0.0
        for goal in range(4):
            state = torch.tensor([2, 2, 0, goal])
            for _ in range(9):
                action = plan[guess, goal, 5 * state[0] + state[1]]
                state, reward, over = second.step({"buses": everything[z]}, state, action, torch.zeros(0))
                total += reward.item()
                if over:
                    break
        assert worth[z, guess].item() == pytest.approx(total / 4, abs=1e-5)


def test_paid_by_use_an_explorer_gets_the_worth_of_its_last_guess() -> None:
    log_guess = torch.full((2, 3, 24), -9.0)
    log_guess[0, :2, 4], log_guess[0, 2, 5], log_guess[1, 2, 0] = -0.1, -0.1, -0.1
    worth = torch.arange(24 * 24).view(24, 24).float()
    paid = payoff(log_guess, torch.tensor([2, 3]), worth, torch.tensor([[0, 1, 0], [5, 0, 0]]), cost=0.5)
    assert paid.tolist() == [[0.0, -0.5, 2 * 24 + 5.0], [-0.5, 0.0, 3 * 24.0]]


def test_an_explorer_can_be_paid_by_use_and_is_another_run_then(tmp_path: Path) -> None:
    worth, file = torch.eye(24), tmp_path / "run"
    trained, history = train_explorer(BusGrid(5), explorer(), SHORT, generator(1), worth=worth, checkpoint=file)
    assert len(history.returns) == 3
    assert -0.06 < history.returns[0] < 1  # a share of right guesses, less the cost of five steps
    with pytest.raises(ValueError, match="paid"):
        train_explorer(BusGrid(5), explorer(), SHORT, generator(1), checkpoint=file)
    other, _ = train_explorer(BusGrid(5), explorer(), SHORT, generator(1))
    assert any(not torch.equal(p, other.params()[n]) for n, p in trained.params().items())


def test_training_is_the_same_twice_and_leaves_the_policy_as_it_was() -> None:
    policy, tasks = explorer(), BusGrid(5)
    before, runs = policy.params(), []
    for _ in range(2):
        trained, history = train_explorer(tasks, policy, SHORT, generator(1))
        runs.append((trained.params(), history))
    for name, p in policy.params().items():
        assert torch.equal(p, before[name])
        assert torch.equal(runs[0][0][name], runs[1][0][name])
    assert any(not torch.equal(p, before[name]) for name, p in runs[0][0].items())
    assert runs[0][1].information == runs[1][1].information
    assert len(runs[0][1].returns) == 3
    assert runs[0][1].steps == 3 * 8 * 5


def test_a_run_goes_on_from_its_file(tmp_path: Path) -> None:
    whole, _ = train_explorer(BusGrid(5), explorer(), SHORT, generator(1))
    file = tmp_path / "run"
    train_explorer(BusGrid(5), explorer(), SHORT, generator(1), lambda i, *_: i == 0, checkpoint=file)
    resumed, history = train_explorer(BusGrid(5), explorer(), SHORT, generator(1), checkpoint=file)
    assert len(history.right) == 3
    for name, p in whole.params().items():
        assert torch.equal(p, resumed.params()[name])
    with pytest.raises(ValueError, match="cost"):
        train_explorer(BusGrid(5), explorer(), SHORT, generator(1), cost=0.5, checkpoint=file)


def test_a_short_run_learns_something() -> None:
    config = replace(EXPLORER, iterations=100, num_tasks=128, lr=1e-2)
    _, history = train_explorer(BusGrid(), explorer(hidden=64), config, generator(1))
    assert sum(history.information[-5:]) / 5 > 0.5 > history.information[0]


def test_exploring_then_exploiting_has_both_in_its_answer() -> None:
    tasks, policy = BusGrid(6, 9), explorer()
    task = tasks.sample(5, generator(1))
    for deterministic in (True, False):
        found = explore_then_exploit(
            tasks, policy, policy.params(), PLAN, task, generator(2), deterministic=deterministic
        )
        assert found.returns.shape == found.guess.shape == (5,)
        assert found.exploration.rewards.shape == (5, 1, 6)
        assert not found.exploration.rewards.any()
        assert not found.returns.requires_grad


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_explorer_reads_the_map(seed: int) -> None:
    tasks = BusGrid()
    policy, _ = train_explorer(tasks, explorer(seed, 64), EXPLORER, generator(100 + seed))
    task = tasks.sample(1000, generator(7))
    found = explore_then_exploit(tasks, policy, policy.params(), PLAN, task, generator(8))
    assert found.returns.mean() >= 0.68
    assert (found.guess == tasks.number(task)).double().mean() >= 0.99
    on_map = found.exploration.observations[..., 25:41].sum(-1) > 0
    assert on_map.any(-1).double().mean() >= 0.99


@pytest.mark.slow
def test_rl2_learns_to_walk_end_to_end_and_not_to_explore() -> None:
    tasks = BusGrid()
    policy = GRUPolicy.for_tasks(tasks, generator(0), hidden=64)
    trained, _ = rl2(tasks, policy, END_TO_END, generator(100))
    task = tasks.sample(1000, generator(7))
    earned = trial_returns(tasks, trained, task, 1, generator(8))
    assert 0.05 < earned.mean() < 0.26


def test_families_without_a_phase_are_refused() -> None:
    policy, task = explorer(), BusGrid().all_tasks()
    with pytest.raises(ValueError, match=r"explore = 0: .*BusGrid\(explore=10\)"):
        train_explorer(BusGrid(0), policy, SHORT, generator(0))
    with pytest.raises(ValueError, match=r"exploit = 0: .*BusGrid\(exploit=20\)"):
        explore_then_exploit(BusGrid(5, 0), policy, policy.params(), PLAN, task, generator(0))
    with pytest.raises(ValueError, match=r"exploit = 0: .*BusGrid\(exploit=20\)"):
        train_exploiter(BusGrid(5, 0), generator(0))
    with pytest.raises(ValueError, match="tasks"):
        exploitation_of(GridGoal())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tasks"):
        exploration_of(GridGoal())  # type: ignore[arg-type]


@pytest.mark.parametrize("cost", [-0.1, math.nan, math.inf, "dear"])
def test_a_cost_that_is_none_is_refused(cost: Any) -> None:
    with pytest.raises(ValueError, match=r"cost = .*such as cost=0.01"):
        train_explorer(BusGrid(), explorer(), SHORT, generator(0), cost=cost)


@pytest.mark.parametrize("change", [{"episodes": 2}, {"algorithm": "ppo"}])
def test_another_kind_of_run_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"replace\(EXPLORER"):
        train_explorer(BusGrid(), explorer(), replace(SHORT, **change), generator(0))


def test_two_memories_another_policy_and_a_guess_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="separate = True"):
        Explorer.for_tasks(BusGrid(), generator(0), separate=True)
    with pytest.raises(ValueError, match="Explorer"):
        train_explorer(
            BusGrid(), GRUPolicy.for_tasks(BusGrid(), generator(0)), SHORT, generator(0)  # type: ignore[arg-type]
        )  # fmt: skip
    with pytest.raises(ValueError, match=r"guess runs from 24 to 24: .*0 ... 23"):
        exploit(BusGrid(), PLAN, BusGrid().sample(2, generator(0)), torch.tensor([24, 24]), generator(0))
    with pytest.raises(ValueError, match=r"guess runs from -1 to 3: .*0 ... 23"):
        exploit(BusGrid(), PLAN, BusGrid().sample(2, generator(0)), torch.tensor([-1, 3]), generator(0))
    with pytest.raises(ValueError, match=r"plan has shape \(24, 4\): .*bus_grid_plan"):
        exploit(BusGrid(), PLAN[..., 0], BusGrid().sample(2, generator(0)), torch.tensor([0, 1]), generator(0))
    with pytest.raises(ValueError, match="buses"):
        exploit(BusGrid(), PLAN, {"buses": torch.zeros(2, 4)}, torch.tensor([0, 1]), generator(0))


@pytest.mark.parametrize("bad", [0, -0.1, 1.1, math.nan, "often"])
def test_a_probability_that_is_none_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"epsilon = .*such as 0.5"):
        train_exploiter(BusGrid(), generator(0), 2, 4, bad)
