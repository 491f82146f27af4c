"""Equations of chapter 12, computed from their symbols, against PPO, the oracles, the tables and the recorder."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metarl_lite.algorithms.actor_critic import judge, some_trials, trial_loss
from metarl_lite.algorithms.configs import RL2Config
from metarl_lite.experiments.rl2 import compared
from metarl_lite.oracles.bandits import play, random_arm
from metarl_lite.oracles.bayes import bayes_optimal, bayes_optimal_value
from metarl_lite.oracles.grid import gridnavi_known_value, gridnavi_optimal_path, gridnavi_optimal_value
from metarl_lite.policies.gru import GRUPolicy
from metarl_lite.records.published import BANDITS, MDPS, recorded_runs
from metarl_lite.records.results import recorded
from metarl_lite.rng import generator, normal, uniform
from metarl_lite.rollout import draw_noise, trial
from metarl_lite.tasks import BernoulliBandit, CartPoleTasks
from metarl_lite.types import Params, Rollout

F64 = torch.float64
MOVES = [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]


# --- The surrogate of a trial -----------------------------------------------------------------------------------------


def log_probs_by_hand(policy: GRUPolicy, theta: Params, batch: Rollout, i: int) -> Tensor:
    """log pi(a_ij | h_ij) of the steps of trial i, one memory after the other from h = 0, gate by gate."""
    memory, out = torch.zeros(policy.hidden, dtype=F64), []
    names = ("in", "memory", "in_b", "memory_b")
    w, u, b, c = (theta[f"actor_gru_{name}"].chunk(3) for name in names)
    for j, x in enumerate(policy.inputs(batch)[i]):
        if batch.mask[i].flatten()[j] == 0:  # no step was taken: nothing is remembered, and nothing counts
            out.append(torch.zeros((), dtype=F64))
            continue
        r, z = (torch.sigmoid(w[g] @ x + b[g] + u[g] @ memory + c[g]) for g in (0, 1))
        memory = z * memory + (1 - z) * torch.tanh(w[2] @ x + b[2] + r * (u[2] @ memory + c[2]))
        logits = memory @ theta["actor_w"] + theta["actor_b"]
        out.append((logits - logits.logsumexp(0))[batch.actions[i].flatten()[j]])
    return torch.stack(out)


class Trials:
    """Six trials of two episodes of cart-poles, some of which end early, and an agent that has moved since."""

    def __init__(self) -> None:
        gen = generator(5)
        tasks = CartPoleTasks(horizon=30, dtype=F64)
        self.policy = GRUPolicy.for_tasks(tasks, gen, hidden=4)
        self.old = self.policy.params()
        batch = trial(tasks, self.policy, self.old, tasks.sample(6, gen), 2, gen)
        self.batch = replace(batch, advantages=normal((6, 2, 30), gen, F64))
        self.new = {name: p.detach() + 0.3 * normal(tuple(p.shape), gen, F64) for name, p in self.old.items()}
        self.config = RL2Config(algorithm="ppo", episodes=2, clip=0.2, value_weight=0.0)

    def loss(self, theta: Params, part: Tensor) -> float:
        some = some_trials(self.batch, part)
        with torch.no_grad():
            chosen, _, _ = judge(self.policy, self.old, self.policy.inputs(self.batch), self.batch, self.config)
            old_log_prob = self.policy.log_prob_of(chosen, self.batch.actions)[part]
            chosen, values, _ = judge(self.policy, theta, self.policy.inputs(some), some, self.config)
            found, _ = trial_loss(self.policy, chosen, values, some, values, old_log_prob, self.config, 0.0)
        return found.item()


def test_eq_trial_surrogate() -> None:
    case, part, total, clipped = Trials(), torch.tensor([4, 0, 3]), 0.0, 0
    assert (case.batch.mask == 0).any(), "an early end is part of the case"
    assert case.batch.advantages is not None
    for i in part.tolist():
        new, old = (log_probs_by_hand(case.policy, theta, case.batch, i) for theta in (case.new, case.old))
        gains = []
        for rho, a, m in zip(
            (new - old).exp(), case.batch.advantages[i].flatten(), case.batch.mask[i].flatten(), strict=True
        ):
            if m:
                gains.append(min(rho * a, min(max(rho, 0.8), 1.2) * a).item())
                clipped += gains[-1] != (rho * a).item()
        total -= sum(gains) / len(gains) / len(part)
    assert clipped > 5, "the clip acts in this case"
    assert case.loss(case.new, part) == pytest.approx(total, abs=1e-12)


def test_before_the_first_step_every_ratio_of_whole_trials_is_one() -> None:
    case = Trials()
    assert case.batch.advantages is not None
    mean = (case.batch.advantages * case.batch.mask).sum((1, 2)) / case.batch.mask.sum((1, 2))
    for part in torch.randperm(6, generator=generator(0)).tensor_split(4):
        assert case.loss(case.old, part) == pytest.approx(-mean[part].mean().item(), abs=1e-12)


# --- The search of a grid ---------------------------------------------------------------------------------------------


def grid_value(path: list[list[tuple[int, int]]], size: int) -> float:
    """The equation's right-hand side for one path, cell by cell."""
    episodes, horizon = len(path), len(path[0])
    goals = [(x, y) for x in range(size) for y in range(size) if x > 1 or y > 1]
    total = 0
    for goal in goals:
        met = [(e + 1, m + 1) for e in range(episodes) for m in range(horizon) if path[e][m] == goal]
        if met:
            e_g, m_g = met[0]
            total += (horizon - m_g + 1) + (episodes - e_g) * max(horizon - sum(goal) + 1, 0)
    return -0.1 * episodes * horizon + 1.1 / len(goals) * total


def walks(size: int, horizon: int) -> list[list[tuple[int, int]]]:
    """All that an episode can be: every sequence of moves from the corner."""
    found = []
    for moves in itertools.product(MOVES, repeat=horizon):
        x = y = 0
        walk = []
        for dx, dy in moves:
            x, y = min(max(x + dx, 0), size - 1), min(max(y + dy, 0), size - 1)
            walk.append((x, y))
        found.append(walk)
    return found


@pytest.mark.parametrize(("size", "horizon", "episodes"), [(3, 3, 2), (3, 5, 1), (4, 5, 1)])
def test_eq_grid_value(size: int, horizon: int, episodes: int) -> None:
    best = max(grid_value(list(path), size) for path in itertools.product(walks(size, horizon), repeat=episodes))
    assert gridnavi_optimal_value(size, horizon, episodes) == pytest.approx(best, abs=1e-12)


def test_the_path_that_the_chapter_walks_has_the_value_that_it_prints() -> None:
    path = [[(int(x), int(y)) for x, y in episode] for episode in gridnavi_optimal_path().tolist()]
    assert grid_value(path, 5) == pytest.approx(37.2142857, abs=1e-6)


def test_text_three_lines_bound_what_any_agent_earns() -> None:
    """On a grid whose walks can all be tried: the first episode, the later ones, and their sum."""
    size, horizon, goals = 4, 5, 12
    first = max(grid_value([walk], size) for walk in walks(size, horizon))
    no_more = -0.1 * horizon + 1.1 / goals * sum(range(1, horizon))
    assert first <= no_more + 1e-12
    assert gridnavi_optimal_value(size, horizon, 3) <= no_more + 2 / 3 * gridnavi_known_value(size, horizon, 3) + 1e-12
    assert -1.5 + 1.1 / 21 * sum(range(1, 15)) == pytest.approx(4.0, abs=1e-12)
    assert 4 + 3 / 4 * gridnavi_known_value() == pytest.approx(gridnavi_optimal_value(), abs=1e-9)


# --- Errors -----------------------------------------------------------------------------------------------------------


def test_eq_standard_errors_apart() -> None:
    by_hand = (6.8 - 6.713951) / math.sqrt(0.07**2 + 0.1**2 / 12 + 0.03**2)
    assert BANDITS.distance((10, 50), "rl2", 6.713951, 0.03) == pytest.approx(by_hand, abs=1e-12)
    by_hand = (936.1 - 930.0) / math.sqrt(3.6**2 + 0.1**2 / 12)
    assert MDPS.distance((50,), "rl2", 930.0) == pytest.approx(by_hand, abs=1e-12)


def test_rounding_adds_the_variance_that_the_equation_says() -> None:
    """By rounding, and by what a table without any other error of its own says of a mean one unit away."""
    hidden = 6 + 2 * uniform((20_000,), generator(2), F64)
    off = (10 * hidden).round() / 10 - hidden
    assert abs(off.mean().item()) < 0.001
    assert off.var().item() == pytest.approx(0.1**2 / 12, rel=0.03)
    printed = replace(BANDITS, errors=dict.fromkeys(BANDITS.errors, 0.0))
    by_rounding = printed.distance((10, 5), "rl2", printed.means[10, 5]["rl2"] - 0.1)
    assert by_rounding == pytest.approx(0.1 / off.std().item(), rel=0.03)


def test_eq_paired_error() -> None:
    gen = generator(3)
    luck, mine, theirs = (normal((500,), gen, F64) for _ in range(3))
    x, y = 6 + 2 * luck + mine, 5 + 2 * luck + theirs
    covariance = torch.cov(torch.stack([x, y]))
    by_hand = ((covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]) / 500).sqrt().item()
    gap, error = compared(x, {"other": y})["others"]["other"]["difference"]
    assert gap == pytest.approx((x - y).mean().item(), abs=1e-5)
    assert error == pytest.approx(by_hand, abs=1e-5)
    assert error < 0.5 * math.sqrt((x.var() + y.var()).item() / 500)


@pytest.mark.parametrize("arms", [2, 5])
def test_eq_share_of_optimum(arms: int) -> None:
    """Pulling at random has the share 0 and the Bayes-optimal rule the share 1, up to the noise of 20,000 bandits."""
    probabilities, pulls = uniform((20_000, arms), generator(4), F64), 10
    reach = bayes_optimal_value(arms, pulls) - pulls / 2
    for rule, expected in ((random_arm, 0.0), (bayes_optimal(arms, pulls), 1.0)):
        score = (play(rule, probabilities, pulls, generator(5)).sum(1) - pulls / 2) / reach
        assert abs(score.mean().item() - expected) < 4 * score.std().item() / 20_000**0.5


@pytest.mark.parametrize(("p", "q"), [(0.2, 0.7), (0.9, 0.4), (0.5, 0.5)])
def test_eq_same_luck(p: float, q: float) -> None:
    """Exactly, by integrating over u; and what the family pays for the same number, or for two, has these variances."""
    delta = abs(p - q)
    fraction = dict.fromkeys(itertools.product((0, 1), repeat=2), 0.0)  # of u in [0, 1], by what the two arms pay
    for low, high in itertools.pairwise(sorted({0.0, p, q, 1.0})):
        fraction[int(low < p), int(low < q)] += high - low
    mean = sum(f * (r - s) for (r, s), f in fraction.items())
    same = sum(f * (r - s - mean) ** 2 for (r, s), f in fraction.items())
    assert same == pytest.approx(delta * (1 - delta), abs=1e-12)
    count = 200_000
    tasks, arms = BernoulliBandit(2, horizon=1, dtype=F64), torch.tensor([0, 1]).repeat(count)
    task = {"probabilities": torch.tensor([p, q], dtype=F64).expand(2 * count, 2)}
    policy = GRUPolicy.for_tasks(tasks, generator(0), hidden=4)
    for copies, expected in ((2, same), (1, p * (1 - p) + q * (1 - q))):
        noise = draw_noise(tasks, policy, 2 * count // copies, 1, generator(1), copies=copies).step[:, 0, 0]
        state = tasks.reset(task, noise.new_zeros(2 * count, 0))
        paid = tasks.step(task, state, arms, noise)[1].reshape(count, 2)
        variance = (paid[:, 0] - paid[:, 1]).var().item()
        assert variance == pytest.approx(expected, abs=4 * math.sqrt(1 / count))


# --- What the text says of our tables ---------------------------------------------------------------------------------


def test_text_the_rivals_that_are_ahead_of_ours() -> None:
    """UCB1 in the six longer games, and the published OPSRL in the two longest trials."""
    behind = [run["others"]["ucb1"]["difference"] for (n, _), run in BANDITS.ours().items() if n > 10]
    assert len(behind) == 6
    assert all(gap < -3 * error for gap, error in behind)
    assert (max(gap for gap, _ in behind), min(gap for gap, _ in behind)) == pytest.approx((-0.19, -7.77), abs=0.01)
    above = {n: MDPS.distance((n,), "opsrl", *run["return"]) for (n,), run in MDPS.ours().items()}
    assert (above[75], above[100]) == pytest.approx((2.7, 4.8), abs=0.05)
    assert max(above[n] for n in (10, 25, 50)) < 0


def test_text_each_cell_has_a_recipe_of_its_own_and_all_are_a2c() -> None:
    for name in ("rl2-bandits", "rl2-mdps"):
        assert recorded(name)["config"]["algorithm"] == "a2c"
        assert all("algorithm" not in run["changes"] for run in recorded(name)["runs"].values())
    older = recorded_runs("rl2-bandits")["n=100, k=5"]["changes"]  # the box: with a critic, without the common luck
    assert older["value_weight"] > 0
    assert "common_noise" not in older


def test_text_a2c_on_the_grid() -> None:
    runs = [run for name, run in recorded_runs("scoreboard").items() if name.startswith("RL², A2C on grid")]
    assert [round(run["return"]) for run in runs] == [23, 25, 21]
    here = 139 * 64 * 8 * 60
    assert all(1.4 < run["env_steps"] / here < 1.5 for run in runs)
