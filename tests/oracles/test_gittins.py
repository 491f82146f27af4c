"""The index against its own definition, against a second implementation, and against the published tables."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl_lite.oracles.gittins import gittins, gittins_index, gittins_table, keep_pulling, keep_pulling_all
from metarl_lite.rng import generator

F64 = torch.float64
PUBLISHED = {  # rows alpha = 1..4, columns beta = 1..4
    0.9: "7029 5001 3796 3021 8001 6346 5163 4342 8452 7072 6010 5184 8723 7539 6579 5809",
    0.99: "8699 7005 5671 4701 9102 7844 6726 5806 9285 8268 7308 6491 9395 8533 7697 6952",
}
Index = Callable[[Any, Any, float], Tensor]


def check_index(function: Index) -> None:
    to_four = torch.arange(1, 5)
    for discount, digits in PUBLISHED.items():
        printed = torch.tensor([int(d) for d in digits.split()], dtype=F64).view(4, 4)
        torch.testing.assert_close((1e4 * function(to_four[:, None], to_four, discount)).round(), printed)


def test_the_published_tables() -> None:
    check_index(gittins_index)


@pytest.mark.parametrize("discount", [0.5, 0.9])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (3.0, 2.0), (1.0, 4.0)])
def test_the_plain_stopping_rule_and_the_one_in_a_window_are_one(alpha: float, beta: float, discount: float) -> None:
    for charge in (0.2, 0.45, 0.6, 0.85):
        gain, time = keep_pulling(alpha, beta, charge, discount, 60)
        column = [torch.tensor([[x]], dtype=F64) for x in (alpha, beta, charge - alpha / (alpha + beta))]
        *_, (t, wins, gains, times) = keep_pulling_all(*column, discount, 60)
        assert t == 0
        assert gains[wins == 0].item() == pytest.approx(gain, abs=1e-9)
        assert times[wins == 0].item() == pytest.approx(time, abs=1e-9)


def test_a_charge_of_the_index_leaves_nothing_to_gain() -> None:
    for (alpha, beta), index in {(1, 1): 0.7029, (2, 3): 0.5163}.items():  # published, discount .9
        assert abs(keep_pulling(alpha, beta, index, 0.9, 200)[0]) < 2e-4  # four digits
        assert keep_pulling(alpha, beta, index - 0.01, 0.9, 200)[0] > 5e-3


def the_mean(alpha: Any, beta: Any, discount: float) -> Tensor:
    return torch.as_tensor(alpha / (alpha + beta))


def of_a_win_too_many(alpha: Any, beta: Any, discount: float) -> Tensor:
    return gittins_index(alpha + 1, beta, discount)


def of_a_shorter_future(alpha: Any, beta: Any, discount: float) -> Tensor:
    return gittins_index(alpha, beta, discount - 0.001)


@pytest.mark.parametrize("broken", [the_mean, of_a_win_too_many, of_a_shorter_future])
def test_a_broken_index_fails_the_check(broken: Index) -> None:
    with pytest.raises(AssertionError):
        check_index(broken)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (2.5, 0.5), (0.3, 4.0)])
def test_the_definition_over_all_stopping_rules(alpha: float, beta: float) -> None:
    """The best ratio among all 512 sets of counts, up to three pulls, at which one may stop; all stop after the fourth.

    A longer look ahead adds less than gamma^4 / (4 (1 - gamma)).
    """
    discount, counts = 0.1, [(w, n - w) for n in (1, 2, 3) for w in range(n + 1)]
    ratios = []
    for stops in itertools.product((False, True), repeat=len(counts)):
        stop, reward, time = dict(zip(counts, stops, strict=True)), 0.0, 0.0
        alive = {(0, 0): 1.0}
        for t in range(4):
            after: dict[tuple[int, int], float] = {}
            for (w, m), chance in alive.items():
                mean = (alpha + w) / (alpha + beta + t)
                reward, time = reward + discount**t * chance * mean, time + discount**t * chance
                for state, p in (((w + 1, m), mean), ((w, m + 1), 1 - mean)):
                    if not stop.get(state, True):
                        after[state] = after.get(state, 0.0) + chance * p
            alive = after
        ratios.append(reward / time)
    got = gittins_index(alpha, beta, discount).item()
    assert max(ratios) - 1e-12 <= got <= max(ratios) + discount**4 / (4 * (1 - discount))


def by_bisection(alpha: float, beta: float, discount: float, steps: int) -> float:
    """The price of a sure arm at which one is indifferent: plain bisection on a plain recursion."""
    low, high, wins = alpha / (alpha + beta), 1.0, torch.arange(steps + 1, dtype=F64)
    while high - low > 1e-9:
        sure = (low + high) / 2
        value = ((alpha + wins) / (alpha + beta + steps)).clamp(min=sure) / (1 - discount)
        for t in reversed(range(steps)):
            mean = (alpha + wins[: t + 1]) / (alpha + beta + t)
            go = mean * (1 + discount * value[1:]) + (1 - mean) * discount * value[:-1]
            value = go.clamp(min=sure / (1 - discount))
        low, high = (sure, high) if go > sure / (1 - discount) else (low, sure)
    return (low + high) / 2


@pytest.mark.parametrize(
    ("alpha", "beta", "discount", "steps"),
    [(1, 1, 0.5, 30), (0.25, 3.5, 0.7, 50), (7.5, 2.25, 0.9, 150), (1e-3, 1e-3, 0.9, 150), (40, 60, 0.95, 250)],
)
def test_a_second_implementation(alpha: float, beta: float, discount: float, steps: int) -> None:
    expected = by_bisection(alpha, beta, discount, steps)
    assert gittins_index(alpha, beta, discount).item() == pytest.approx(expected, abs=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "beta"), [(1, 1), (30, 20)])
def test_a_second_implementation_for_a_long_future(alpha: int, beta: int) -> None:
    assert gittins_index(alpha, beta, 0.999).item() == pytest.approx(by_bisection(alpha, beta, 0.999, 4000), abs=2e-6)


def test_the_highest_index_is_the_optimum_of_two_arms() -> None:
    """A dynamic programme over the beliefs of both, 25 pulls deep, against always pulling the higher index."""
    discount, depth, prior = 0.6, 25, ((1.0, 1.0), (2.0, 1.5))
    count = torch.arange(depth + 1)
    index = [gittins_index(a + count[:, None], b + count, discount).tolist() for a, b in prior]
    Belief = tuple[tuple[int, int], tuple[int, int]]

    @cache
    def value(belief: Belief, follow: bool) -> float:
        if sum(map(sum, belief)) == depth:
            return 0.0
        q = []
        for arm, ((w, m), (a, b)) in enumerate(zip(belief, prior, strict=True)):
            if follow and index[arm][w][m] < index[1 - arm][belief[1 - arm][0]][belief[1 - arm][1]]:
                continue
            mean, seen = (a + w) / (a + b + w + m), ((w + 1, m), (w, m + 1))
            won, lost = (value((x, belief[1]) if arm == 0 else (belief[0], x), follow) for x in seen)
            q.append(mean * (1 + discount * won) + (1 - mean) * discount * lost)
        return max(q)

    best, got = value(((0, 0), (0, 0)), False), value(((0, 0), (0, 0)), True)
    assert best - discount**depth / (1 - discount) < got <= best + 1e-12
    assert best > 2 / 3.5 / (1 - discount)  # more than the arm of higher mean pays for ever


def test_no_future_and_little_doubt_leave_the_mean() -> None:
    alpha, beta = torch.tensor([0.5, 1.0, 7.0], dtype=F64), torch.tensor([[1.0], [3.0]], dtype=F64)
    torch.testing.assert_close(gittins_index(alpha, beta, 0), alpha / (alpha + beta))
    for a, b in ((1e9, 3e9), (1e300, 1e300), (1.0, 1e12)):
        index = gittins_index(a, b, 0.99).item()
        assert 0 <= index - a / (a + b) < 1e-6


def test_a_prior_that_knows_all_but_which_is_settled_by_one_pull() -> None:
    """Beta(x, x) as x goes to 0: p is 0 or 1. One pull tells which; one leaves, or wins for ever."""
    for discount in (0.5, 0.9, 0.99):
        expected = (0.5 / (1 - discount)) / (1 + 0.5 * discount / (1 - discount))
        assert gittins_index(1e-7, 1e-7, discount).item() == pytest.approx(expected, abs=2e-6)


def test_the_index_grows_with_the_future() -> None:
    values = [gittins_index(1, 1, discount).item() for discount in (0, 0.5, 0.9, 0.99)]
    assert values == sorted(set(values))
    assert values[0] == 0.5
    assert values[-1] < 1


@pytest.mark.parametrize(
    ("alpha", "beta", "discount", "says"),
    [
        (0, 1, 0.9, "alpha holds 0"),
        (1, [1.0, -2.0], 0.9, "beta holds -2"),
        (math.nan, 1, 0.9, "alpha holds nan"),
        (1, math.inf, 0.9, "beta holds inf"),
        (1, 1, 1.0, "discount = 1.0"),
        (1, 1, -0.1, "discount = -0.1"),
        (1, 1, math.nan, "discount = nan"),
        (torch.ones(2), torch.ones(3), 0.9, r"alpha \[2\] and beta \[3\] do not broadcast"),
    ],
)
def test_bad_numbers_are_named(alpha: Any, beta: Any, discount: float, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        gittins_index(alpha, beta, discount)


def check_table(pulls: int, discount: float, error: float) -> None:
    table, count = gittins_table(pulls, discount), torch.arange(pulls + 1)
    there = count[:, None] + count <= pulls
    assert torch.equal(table.isnan(), ~there)
    wins, losses = (x.expand_as(there)[there] for x in (count[:, None], count))
    some = torch.linspace(0, len(wins) - 1, 15).long()
    short = gittins_index(wins[some] + 1, losses[some] + 1, discount) - table[wins[some], losses[some]]
    assert short.min() > -5e-7  # never above the index
    assert short.max() < error


@pytest.mark.parametrize(("pulls", "discount"), [(1, 0.9), (30, 0.5), (100, 0.9), (40, 0.0)])
def test_the_table_against_the_index(pulls: int, discount: float) -> None:
    check_table(pulls, discount, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("pulls", "discount"), [(100, 0.99), (500, 0.999)])
def test_the_large_tables_against_the_index(pulls: int, discount: float) -> None:
    check_table(pulls, discount, 2e-4)


def test_the_table_is_the_callers_own() -> None:
    first = gittins_table(3, 0.9)
    first.zero_()
    assert gittins_table(3, 0.9)[0, 0].item() == pytest.approx(0.7029, abs=1e-4)
    with pytest.raises(ValueError, match="pulls = 0"):
        gittins_table(0, 0.9)
    with pytest.raises(ValueError, match="discount = 1"):
        gittins_table(3, 1)


def test_the_rule_pulls_the_highest_index() -> None:
    rule, gen = gittins(10, 0.9), generator(0)
    # Beta(3, 3), Beta(1, 1) and Beta(4, 4) have one mean, and the least known is worth most.
    assert rule(torch.tensor([[2.0, 0.0, 3.0]]), torch.tensor([[2.0, 0.0, 3.0]]), gen).item() == 1
    assert rule(torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 0.0]]), gen).item() == 0
    with pytest.raises(ValueError, match="more than 10 times"):
        rule(torch.tensor([[9.0, 0.0]]), torch.tensor([[2.0, 0.0]]), gen)
