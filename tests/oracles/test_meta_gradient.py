"""The closed forms themselves, against autograd and finite differences that know nothing of `adapt`."""

from __future__ import annotations

import pytest
import torch

from metarl_lite.oracles.meta_gradient import bandit_meta_gradient, finite_differences, quadratic_meta_gradient
from metarl_lite.rng import generator, normal


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_quadratic_closed_form_is_the_slope(steps: int) -> None:
    gen = generator(0)
    roots = torch.randn(3, 2, 2, generator=gen, dtype=torch.float64)
    matrices, centres = roots @ roots.mT, torch.randn(3, 2, generator=gen, dtype=torch.float64)

    def objective(theta: torch.Tensor) -> float:
        total = 0.0
        for a, c in zip(matrices, centres, strict=True):
            phi = theta.clone()
            for _ in range(steps):
                phi = phi - 0.1 * a @ (phi - c)
            total += (0.5 * (phi - c) @ a @ (phi - c)).item() / 3
        return total

    theta = torch.tensor([0.3, -1.2], dtype=torch.float64)
    gradient = quadratic_meta_gradient(theta, matrices, centres, 0.1, steps)
    for i in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[i] = 1e-6
        slope = (objective(theta + step) - objective(theta - step)) / 2e-6
        assert gradient[i].item() == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize(("theta", "weight", "lr"), [(1.0, 0.5, 2.0), (-2.0, 0.9, 5.0), (0.3, 0.1, 0.5)])
def test_bandit_closed_form_is_the_slope(theta: float, weight: float, lr: float) -> None:
    up, down = (bandit_meta_gradient(theta + d, weight, lr)[0] for d in (1e-5, -1e-5))
    assert bandit_meta_gradient(theta, weight, lr)[1] == pytest.approx((up - down) / 2e-5, abs=1e-9)


def test_finite_differences_are_the_derivatives_of_a_polynomial() -> None:
    gen = generator(0)
    params = {"a": normal((2, 3), gen, torch.float64), "b": normal((1,), gen, torch.float64)}
    before = {name: p.clone() for name, p in params.items()}
    slopes = finite_differences(lambda p: (p["a"] ** 3).sum() * p["b"].sum(), params)
    torch.testing.assert_close(slopes["a"], 3 * params["a"] ** 2 * params["b"], rtol=0, atol=1e-8)
    torch.testing.assert_close(slopes["b"], (params["a"] ** 3).sum().reshape(1), rtol=0, atol=1e-8)
    assert all(torch.equal(p, before[name]) for name, p in params.items())


def test_finite_differences_go_through_gradients_taken_inside() -> None:
    def after_one_step(params: dict[str, torch.Tensor]) -> torch.Tensor:
        (slope,) = torch.autograd.grad((params["x"] ** 4).sum() / 4, params["x"])
        return (params["x"] - 0.1 * slope).sum()

    slopes = finite_differences(after_one_step, {"x": torch.tensor([1.0, -2.0], dtype=torch.float64)})
    torch.testing.assert_close(slopes["x"], torch.tensor([0.7, -0.2], dtype=torch.float64), rtol=0, atol=1e-8)
