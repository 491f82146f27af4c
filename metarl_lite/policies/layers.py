"""The two kinds of layer that policies are made of, for N networks at once.

Meta-learning differentiates twice. Left to itself, autograd computes some second derivatives of a hidden layer in a
transposed layout, and in more passes over memory than they need. `_Hidden`, `_Slope` and `_Outer` say how they are to
be computed, and `_Linear` does so for the last layer. They are ordinary derivatives otherwise, reverse mode of any
order and forward mode; `generate_vmap_rule` lets gradients come in batches.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

FEW = 8  # columns of a weight
_MINUS_ONE = torch.tensor(-1.0)


class _Outer(torch.autograd.Function):
    """`x^T d`: `[N, B, I]` and `[N, B, J]` give `[N, I, J]`, the gradient of N weights."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, d: Tensor) -> Tensor:
        if d.shape[-1] < x.shape[-1]:  # of few columns, twice as fast
            return (d.mT @ x).mT.contiguous()  # no view, which forward mode refuses
        return x.mT @ d

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, d = ctx.saved_tensors
        for_x, for_d = ctx.needs_input_grad
        return d @ grad.mT if for_x else None, x @ grad if for_d else None

    @staticmethod
    def jvp(ctx: Any, x_tangent: Tensor | None, d_tangent: Tensor | None) -> Tensor:
        x, d = ctx.saved_tensors
        moved = torch.zeros_like(x.mT @ d) if d_tangent is None else x.mT @ d_tangent
        return moved if x_tangent is None else moved + x_tangent.mT @ d


class _Slope(torch.autograd.Function):
    """`g (1 - y^2)`: the gradient `g` of a tangent's value `y`, carried back to its argument."""

    generate_vmap_rule = True

    @staticmethod
    def forward(g: Tensor, y: Tensor) -> Tensor:
        slope: Tensor = torch.ops.aten.tanh_backward(g, y)  # in one pass
        return slope

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        g, y = ctx.saved_tensors
        if torch.is_grad_enabled():  # a third derivative may follow
            for_g = _Slope.apply(grad, y)  # type: ignore[no-untyped-call]
            return for_g, -2 * grad * g * y
        return torch.ops.aten.tanh_backward(grad, y), (grad * g).mul_(y).mul_(-2)

    @staticmethod
    def jvp(ctx: Any, g_tangent: Tensor, y_tangent: Tensor) -> Tensor:
        g, y = ctx.saved_tensors
        slope: Tensor = g_tangent * (1 - y * y) - 2 * g * y * y_tangent
        return slope


class _Linear(torch.autograd.Function):
    """`x w + b` for N networks."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return linear(x, _by_columns(weight), bias)

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor
    ) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.save_for_forward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        for_x = d @ weight.mT if ctx.needs_input_grad[0] else None
        return for_x, _Outer.apply(x, d), d.sum(1)  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(
        ctx: Any, x_tangent: Tensor | None, weight_tangent: Tensor, bias_tangent: Tensor
    ) -> Tensor:
        x, weight = ctx.saved_tensors
        return _moved(x, weight, x_tangent, weight_tangent, bias_tangent)


class _Hidden(torch.autograd.Function):
    """`tanh(x w + b)` for N networks."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return tanh_of_half_(linear(x, weight, bias, times=2))

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor
    ) -> None:
        ctx.save_for_backward(inputs[0], inputs[1], output)
        ctx.save_for_forward(inputs[0], inputs[1], output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight, y = ctx.saved_tensors
        d = _Slope.apply(grad, y)  # type: ignore[no-untyped-call]
        for_x = d @ weight.mT if ctx.needs_input_grad[0] else None
        return for_x, _Outer.apply(x, d), d.sum(1)  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(
        ctx: Any, x_tangent: Tensor | None, weight_tangent: Tensor, bias_tangent: Tensor
    ) -> Tensor:
        x, weight, y = ctx.saved_tensors
        moved = _moved(x, weight, x_tangent, weight_tangent, bias_tangent)
        slope: Tensor = moved * (1 - y * y)
        return slope


def _moved(
    x: Tensor,
    weight: Tensor,
    x_tangent: Tensor | None,
    weight_tangent: Tensor,
    bias_tangent: Tensor,
) -> Tensor:
    """How `x w + b` moves with its arguments: the derivative of `linear` in forward mode."""
    moved = linear(x, weight_tangent, bias_tangent)
    return moved if x_tangent is None else moved + x_tangent @ weight


def tanh_of_half_(x: Tensor) -> Tensor:
    r"""The hyperbolic tangent of x / 2 as $2\sigma(x) - 1$; x is used up.

    It agrees with `(x / 2).tanh()` to 2e-7 in float32. The product that comes before gives 2 x at no cost. On an AMD
    EPYC with AVX2 a layer of 64 units takes .75 of the time of a `tanh_` layer; with AVX-512 `tanh_` can be ahead.
    """
    return torch.add(_MINUS_ONE, x.sigmoid_(), alpha=2)


def linear(x: Tensor, weight: Tensor, bias: Tensor, times: float = 1) -> Tensor:
    """One layer of N networks: `x` `[N, B, I]`, `weight` `[N, I, J]`, `bias` `[N, J]` give `[N, B, J]`.

    The result comes multiplied by `times`.
    """
    return torch.baddbmm(bias.unsqueeze(1), x, weight, beta=times, alpha=times)


def _by_columns(weight: Tensor) -> Tensor:
    """The same weight; where it has few columns, one after the other in memory: its product takes half the time."""
    return weight.mT.contiguous().mT if weight.shape[-1] < FEW else weight


def quick_linear(x: Tensor, weight: Tensor, bias: Tensor, times: float = 1) -> Tensor:
    """`linear(x, weight, bias, times)`, as one product where all tasks share one layer and nobody asks for gradients.

    `tile` gives every task the same memory, which shows in a stride of 0.
    """
    if torch.is_grad_enabled():
        return linear(x, weight, bias, times)
    if weight.stride(0) != 0 or bias.stride(0) != 0:
        return linear(x, _by_columns(weight), bias, times)
    rows, one = x.flatten(0, 1), _by_columns(weight[0])
    y = torch.addmm(bias[0], rows, one, beta=times, alpha=times)
    return y.reshape(*x.shape[:2], -1)


def last(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`linear(x, weight, bias)`, with second derivatives that are quick where outputs are few.

    Under the transforms of `torch.func` just that, for the reason that `hidden` gives.
    """
    if torch._C._are_functorch_transforms_active():
        return linear(x, weight, bias)
    if torch.is_grad_enabled():
        y: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return y
    return quick_linear(x, weight, bias)


def hidden(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`tanh(linear(x, weight, bias))`.

    Under the transforms of `torch.func` that is what is computed: there torch takes the forward derivative of a
    function like `_Hidden` for a constant, so that a second one would be 0.
    """
    if torch._C._are_functorch_transforms_active():
        return torch.tanh(linear(x, weight, bias))
    if torch.is_grad_enabled():
        y: Tensor = _Hidden.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return y
    return tanh_of_half_(quick_linear(x, weight, bias, times=2))
