"""Layers against torch's own tanh and product, and their derivatives against finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metarl_lite.policies.layers import hidden, last, linear, quick_linear, tanh_of_half_
from metarl_lite.rng import generator, normal

F64 = torch.float64


def inputs(requires_grad: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """`x` `[2, 3, 2]`, `weight` `[2, 2, 4]`, `bias` `[2, 4]`."""
    gen = generator(0)
    return tuple(normal(shape, gen, F64).requires_grad_(requires_grad) for shape in ((2, 3, 2), (2, 2, 4), (2, 4)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_tangent_by_the_sigmoid_is_the_tangent(dtype: torch.dtype) -> None:
    x = torch.linspace(-12, 12, 10_001, dtype=F64)
    error = (tanh_of_half_(2 * x.to(dtype)).double() - x.to(dtype).double().tanh()).abs().max()
    assert error < 8 * torch.finfo(dtype).eps  # an exponential, a sum, a quotient, a difference; and the reference


@pytest.mark.parametrize("grad", [True, False])
def test_layers_equal_a_loop_over_networks(grad: bool) -> None:
    x, weight, bias = inputs(requires_grad=False)
    with torch.set_grad_enabled(grad):
        for n in range(2):
            plain = x[n] @ weight[n] + bias[n]
            torch.testing.assert_close(linear(x, weight, bias)[n], plain, rtol=0, atol=1e-14)
            torch.testing.assert_close(quick_linear(x, weight, bias)[n], plain, rtol=0, atol=1e-14)
            torch.testing.assert_close(last(x, weight, bias)[n], plain, rtol=0, atol=1e-14)
            torch.testing.assert_close(hidden(x, weight, bias)[n], plain.tanh(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("layer", [linear, last, hidden])
def test_derivatives_equal_finite_differences(layer: object) -> None:
    """First and second order, backwards and forwards, and forward over backward (for Fisher-vector products)."""
    assert torch.autograd.gradcheck(layer, inputs(), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(layer, inputs(), check_fwd_over_rev=True)
    x, weight, bias = inputs()  # fewer outputs than inputs
    few = x.detach().repeat(1, 1, 2).requires_grad_(), weight[:, :, :1].detach().repeat(1, 2, 1).requires_grad_()
    assert torch.autograd.gradgradcheck(layer, (*few, bias[:, :1].detach().requires_grad_()))


def test_third_derivatives_are_those_of_plain_autograd() -> None:
    """What an exact Hessian through an inner step needs."""

    def third(layer: object) -> Tensor:
        x, weight, bias = inputs()
        value = layer(x, weight, bias).pow(2).sum()  # type: ignore[operator]
        for _ in range(3):
            grads = torch.autograd.grad(value, [x, weight, bias], create_graph=True)
            value = sum((g.pow(2)).sum() for g in grads)
        return value

    expected = third(lambda x, weight, bias: (x @ weight + bias.unsqueeze(1)).tanh())
    torch.testing.assert_close(third(hidden), expected, rtol=1e-9, atol=0)


def test_data_that_needs_no_gradient_gets_none_and_the_weights_theirs() -> None:
    x, weight, bias = inputs()
    data = x.detach()
    mine = torch.autograd.grad(hidden(data, weight, bias).sin().sum(), [weight, bias])
    full = torch.autograd.grad(hidden(x, weight, bias).sin().sum(), [weight, bias])
    for a, b in zip(mine, full, strict=True):
        assert torch.equal(a, b)


def test_a_shared_weight_with_a_bias_for_each_task_is_not_taken_for_a_shared_layer() -> None:
    x, weight, bias = inputs(requires_grad=False)
    shared = weight[:1].expand_as(weight)
    with torch.no_grad():
        for n in range(2):
            torch.testing.assert_close(quick_linear(x, shared, bias)[n], x[n] @ weight[0] + bias[n], rtol=0, atol=1e-14)
        together = quick_linear(x, shared, bias[:1].expand_as(bias))
    torch.testing.assert_close(together, x @ weight[0] + bias[0], rtol=0, atol=1e-14)
