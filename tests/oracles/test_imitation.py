"""What imitating a linear expert costs: closed forms against draws, and against each other."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from metarl_lite.oracles import imitation
from metarl_lite.oracles.imitation import (
    agnostic_error,
    best_step,
    cloning_error,
    cloning_samples,
    conditioned_error,
    laguerre,
    posterior_mean,
    step_error,
)
from metarl_lite.rng import generator

DRAWS = 50_000


def shown(d: int, n: int, sigma: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Experts k [N, d] and what they show, x [N, n, d] and y [N, n]; written here, and not with what is tested."""
    gen = generator(seed)
    k = torch.randn(DRAWS, d, generator=gen, dtype=torch.float64)
    x = torch.randn(DRAWS, n, d, generator=gen, dtype=torch.float64)
    noise = torch.randn(DRAWS, n, generator=gen, dtype=torch.float64)
    return k, x, torch.einsum("bnd,bd->bn", x, k) + sigma * noise


def standard_errors_off(errors: Tensor, exact: float) -> float:
    return abs(errors.mean().item() - exact) / (errors.std().item() / len(errors) ** 0.5)


def test_the_numbers_of_the_lesson() -> None:
    assert agnostic_error(4) == 4
    assert best_step(4, 5, 0.5) == pytest.approx(5 / 10.25, abs=1e-15)
    assert step_error(best_step(4, 5, 0.5), 4, 5, 0.5) == pytest.approx(2.04878, abs=1e-5)
    assert conditioned_error(4, 5, 0.5) == pytest.approx(0.6718051392, abs=1e-9)
    assert cloning_error(4, 5, 0.5) == math.inf
    assert cloning_error(4, 6, 0.5) == 1


@pytest.mark.parametrize(("d", "n", "sigma"), [(4, 5, 0.5), (1, 1, 1.0), (2, 9, 0.1), (3, 2, 0.7)])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, -0.2])
def test_a_step_is_wrong_by_what_the_formula_says(d: int, n: int, sigma: float, alpha: float) -> None:
    k, x, y = shown(d, n, sigma)
    stepped = alpha * torch.einsum("bnd,bn->bd", x, y) / n
    errors = ((stepped - k) ** 2).sum(-1)
    assert standard_errors_off(errors, step_error(alpha, d, n, sigma)) < 4.5


@pytest.mark.parametrize(("d", "n", "sigma"), [(4, 5, 0.5), (1, 1, 0.0), (7, 3, 2.0)])
def test_the_best_step_is_the_best(d: int, n: int, sigma: float) -> None:
    alpha = best_step(d, n, sigma)
    least = step_error(alpha, d, n, sigma)
    assert least == pytest.approx(d * (1 - alpha), abs=1e-12)
    assert all(step_error(alpha + off, d, n, sigma) > least for off in (-1e-3, 1e-3))


@pytest.mark.parametrize(
    ("d", "n", "sigma"),
    [
        (4, 5, 0.5),
        (1, 1, 0.5),
        (1, 4, 2.0),
        (2, 2, 0.5),
        (3, 3, 1.0),
        (4, 2, 0.5),
        (5, 3, 1.0),
        (5, 9, 0.3),
        (8, 8, 0.5),
    ],
)
def test_the_posterior_mean_is_wrong_by_the_conditioned_error(d: int, n: int, sigma: float) -> None:
    k, x, y = shown(d, n, sigma)
    errors = ((posterior_mean(x, y, sigma) - k) ** 2).sum(-1)
    assert standard_errors_off(errors, conditioned_error(d, n, sigma)) < 4.5


@pytest.mark.parametrize(("d", "n"), [(1, 1), (2, 3), (3, 7), (4, 5), (8, 8), (8, 200), (2, 500)])
def test_the_conditioned_error_does_not_depend_on_the_grid(monkeypatch: pytest.MonkeyPatch, d: int, n: int) -> None:
    # 1 % of noise makes the integrand steepest
    before = [conditioned_error(d, n, sigma) for sigma in (0.01, 0.5, 10.0)]
    coarse = imitation._nodes
    monkeypatch.setattr(imitation, "_nodes", lambda few, many: coarse(few, many, 25_000))
    after = [conditioned_error(d, n, sigma) for sigma in (0.01, 0.5, 10.0)]
    assert after == pytest.approx(before, rel=1e-9)


def test_one_pair_of_one_number_is_a_known_integral() -> None:
    # E 1 / (1 + x^2 / s^2) = s sqrt(pi / 2) exp(s^2 / 2) erfc(s / sqrt 2)
    for s in (0.1, 1.0, 3.0):
        exact = s * math.sqrt(math.pi / 2) * math.exp(s * s / 2) * math.erfc(s / math.sqrt(2))
        assert conditioned_error(1, 1, s) == pytest.approx(exact, rel=1e-10)


def test_the_conditioned_error_lies_between_nothing_and_every_other_way() -> None:
    for n in (1, 3, 6, 10, 40):
        best = conditioned_error(4, n, 0.5)
        assert 0 < best < step_error(best_step(4, n, 0.5), 4, n, 0.5) < agnostic_error(4)
        if n >= 4:
            assert best < cloning_error(4, n, 0.5)
    # many pairs leave nothing to the prior
    assert conditioned_error(4, 2000, 0.5) == pytest.approx(cloning_error(4, 2000, 0.5), rel=1e-3)
    assert conditioned_error(4, 5, 0.0) == 0
    assert conditioned_error(4, 3, 0.0) == 1
    assert conditioned_error(4, 5, 1e4) == pytest.approx(4, rel=1e-6)


@pytest.mark.parametrize(("d", "n"), [(4, 9), (1, 6), (2, 8)])  # the variance is finite from n = d + 4 on
def test_least_squares_is_wrong_by_the_cloning_error(d: int, n: int) -> None:
    errors = cloning_samples(d, n, 0.5, DRAWS, generator(3))
    assert standard_errors_off(errors, cloning_error(d, n, 0.5)) < 4.5
    k, x, y = shown(d, n, 0.5)
    solved = torch.linalg.lstsq(x, y.unsqueeze(-1)).solution.squeeze(-1)
    assert standard_errors_off(((solved - k) ** 2).sum(-1), cloning_error(d, n, 0.5)) < 4.5


def test_one_pair_more_than_unknowns_has_no_mean_but_a_median() -> None:
    errors = cloning_samples(4, 5, 0.5, 200_000, generator(0))
    assert cloning_error(4, 5, 0.5) == cloning_error(4, 4, 0.5) == math.inf
    assert cloning_error(4, 4, 0.0) == 0
    # given x, errors are averages over the noise, so their median is not that of single errors, .60 to .61
    k, x, y = shown(4, 5, 0.5)
    single = ((torch.linalg.lstsq(x, y.unsqueeze(-1)).solution.squeeze(-1) - k) ** 2).sum(-1)
    assert 0.59 < single.median().item() < 0.62
    assert errors.isfinite().all()
    assert errors.shape == (200_000,)


def test_the_posterior_mean_of_one_pair_by_hand() -> None:
    x, y = torch.tensor([[[2.0]]]), torch.tensor([[3.0]])
    assert posterior_mean(x, y, 1.0).tolist() == [[pytest.approx(6 / 5)]]


def test_laguerres_polynomials_are_orthogonal() -> None:
    x = torch.linspace(1e-4, 80, 200_000, dtype=torch.float64)
    rows = laguerre(4, 1.5, x)
    products = (rows * x**1.5 * (-x).exp()) @ rows.T * (x[1] - x[0])
    norms = [math.gamma(i + 2.5) / math.factorial(i) for i in range(4)]
    assert torch.allclose(products, torch.diag(torch.tensor(norms, dtype=torch.float64)), atol=1e-5)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: agnostic_error(0), "d = 0"),
        (lambda: step_error(0.1, 4, 0, 0.5), "n = 0"),
        (lambda: step_error(math.nan, 4, 5, 0.5), "alpha = nan"),
        (lambda: best_step(4, 5, -1.0), "sigma = -1.0"),
        (lambda: best_step(2.5, 5, 1.0), "d = 2.5"),  # type: ignore[arg-type]
        (lambda: cloning_error(4, 3, 0.5), "n = 3, d = 4"),
        (lambda: cloning_samples(4, 3, 0.5, 10, generator(0)), "n = 3, d = 4"),
        (lambda: cloning_samples(4, 6, 0.5, 10, 0), "gen = 0"),  # type: ignore[arg-type]
        (lambda: cloning_samples(4, 6, 0.5, 0, generator(0)), "num = 0"),
        (lambda: conditioned_error(9, 9, 0.5), "d = 9 and n = 9"),
        (lambda: conditioned_error(4, 5, math.inf), "sigma = inf"),
        (lambda: posterior_mean(torch.ones(5, 4), torch.ones(5), 0.5), "x: a tensor"),
        (lambda: posterior_mean(torch.ones(1, 5, 4), torch.ones(5), 0.5), "y: a tensor"),
        (lambda: posterior_mean(torch.ones(1, 5, 4), torch.ones(1, 5), 0.0), "sigma = 0.0"),
    ],
)
def test_bad_numbers_are_named(call: object, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()  # type: ignore[operator]
