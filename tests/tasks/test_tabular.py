"""Random decision processes: drawn from the stated distributions, and moving as their tables say."""

from __future__ import annotations

import math

import pytest
import torch

from metarl_lite.rng import generator, uniform
from metarl_lite.tasks import TabularMDP
from metarl_lite.tasks.tabular import box_muller, pick


def test_transitions_are_dirichlet_and_rewards_normal() -> None:
    tasks, num_states = TabularMDP(dtype=torch.float64), 10
    task = tasks.sample(2000, generator(0))
    rows, rewards = task["transitions"], task["rewards"]
    torch.testing.assert_close(rows.sum(-1), torch.ones_like(rows[..., 0]))
    assert float(rows.min()) >= 0
    # A coordinate of Dirichlet(1, ..., 1) on S outcomes is Beta(1, S - 1); rows are independent, so use one coordinate.
    one, count = rows[..., 3], rows[..., 3].numel()
    variance = (num_states - 1) / (num_states**2 * (num_states + 1))
    assert float(one.mean()) == pytest.approx(1 / num_states, abs=4 * math.sqrt(variance / count))
    # P(p > x) = (1 - x)^(S - 1)
    tail = 0.9 ** (num_states - 1)
    assert float((one > 0.1).double().mean()) == pytest.approx(tail, abs=4 * math.sqrt(tail * (1 - tail) / count))
    count = rewards.numel()
    assert float(rewards.mean()) == pytest.approx(1, abs=4 / math.sqrt(count))
    assert float(rewards.var()) == pytest.approx(1, abs=4 * math.sqrt(2 / count))


def test_steps_follow_the_tables() -> None:
    tasks, gen, count = TabularMDP(4, 2, dtype=torch.float64), generator(0), 5_000
    task = tasks.sample(1, gen)
    task = {name: leaf[0] for name, leaf in task.items()}
    pairs = torch.cartesian_prod(torch.arange(4), torch.arange(2)).expand(count, 8, 2)  # every (s, a)
    state, action = pairs[..., :1], pairs[..., 1]
    after, reward, over = tasks.step(task, state, action, tasks.draw((count, 8), gen))
    frequency = torch.nn.functional.one_hot(after.squeeze(-1), 4).double().mean(0)  # [8, 4]
    rows = task["transitions"].flatten(0, 1)
    assert bool(((frequency - rows).abs() <= 4 * (rows * (1 - rows) / count).sqrt()).all())
    assert bool(((reward.mean(0) - task["rewards"].flatten()).abs() <= 4 / math.sqrt(count)).all())
    assert bool(((reward.var(0) - 1).abs() <= 4 * math.sqrt(2 / count)).all())
    assert not over.any()


def test_rewards_without_noise_are_the_means_and_transitions_stay() -> None:
    noisy, exact = TabularMDP(4, 2), TabularMDP(4, 2, reward_noise=0)
    task, noise = noisy.default_task(), noisy.draw((50,), generator(0))
    state, action = torch.full((50, 1), 2), torch.ones(50, dtype=torch.long)
    after, reward, _ = exact.step(task, state, action, noise)
    assert bool((reward == task["rewards"][2, 1]).all())
    assert torch.equal(after, noisy.step(task, state, action, noise)[0])


def test_an_episode_starts_in_state_zero_and_is_seen_one_hot() -> None:
    tasks = TabularMDP(3, 2)
    state = tasks.reset(tasks.default_task(), torch.zeros(2, 0))
    assert state.tolist() == [[0], [0]]
    assert tasks.observe(tasks.default_task(), state).tolist() == [[1, 0, 0], [1, 0, 0]]


def test_picking_by_hand() -> None:
    row = torch.tensor([0.0, 0.25, 0.0, 0.75, 0.0])
    picked = [pick(row, torch.tensor([u])).item() for u in (0.0, 0.24, 0.25, 0.9999999)]
    assert picked == [1, 1, 3, 3]  # never an outcome of probability 0


def test_rounding_at_the_end_picks_the_last_possible_outcome() -> None:
    row = torch.tensor([0.5, 0.4999, 0.0])  # sums to less than 1
    assert pick(row, torch.tensor([1 - 2**-24])).item() == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_box_muller_gives_standard_normal_numbers(dtype: torch.dtype) -> None:
    u, v = uniform((2, 200_000), generator(0), dtype)
    z = box_muller(u, v).double()
    count = z.numel()
    assert float(z.mean()) == pytest.approx(0, abs=4 / math.sqrt(count))
    assert float((z**2).mean()) == pytest.approx(1, abs=4 * math.sqrt(2 / count))
    assert float((z**3).mean()) == pytest.approx(0, abs=4 * math.sqrt(15 / count))
    assert float((z**4).mean()) == pytest.approx(3, abs=4 * math.sqrt(96 / count))
    assert float((z < 1).double().mean()) == pytest.approx(0.841345, abs=4 * math.sqrt(0.1335 / count))
    last = torch.tensor(1 - torch.finfo(dtype).eps / 2, dtype=dtype)
    assert bool(torch.isfinite(box_muller(torch.stack([last, 0 * last]), torch.zeros(2, dtype=dtype))).all())


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"reward_noise = -1: .*at least 0; use reward_noise=1.0"):
        TabularMDP(reward_noise=-1)
    with pytest.raises(ValueError, match="num_states = 0: a positive integer"):
        TabularMDP(num_states=0)
    tasks = TabularMDP(3, 2)
    task = tasks.sample(2, generator(0))
    with pytest.raises(ValueError, match=r"transitions.*sum to 2 ... 2.*divide it by its sum"):
        tasks.check_task({**task, "transitions": 2 * task["transitions"]}, 2)
    negative = task["transitions"].clone()
    negative[0, 0, 0] = torch.tensor([-0.5, 1.0, 0.5])
    with pytest.raises(ValueError, match=r"transitions.*least entry of -0.5"):
        tasks.check_task({**task, "transitions": negative}, 2)
