"""The two kinds of layer that policies are made of, for N networks at once.

Meta-learning differentiates twice. Left to itself, autograd computes some second derivatives of a hidden layer in a
transposed layout, and in more passes over memory than they need. `_Hidden`, `_Slope` and `_Outer` say how they are to
be computed. They are ordinary derivatives otherwise, reverse mode of any order and forward mode; `generate_vmap_rule`
lets gradients come in batches.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Outer(torch.autograd.Function):
    """`x^T d`: `[N, B, I]` and `[N, B, J]` give `[N, I, J]`, the gradient of N weights."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, d: Tensor) -> Tensor:
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


class _Hidden(torch.autograd.Function):
    """`tanh(x w + b)` for N networks."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return tanh_(torch.baddbmm(bias.unsqueeze(1), x, weight))

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
        moved = torch.baddbmm(bias_tangent.unsqueeze(1), x, weight_tangent)
        moved = moved if x_tangent is None else moved + x_tangent @ weight
        slope: Tensor = moved * (1 - y * y)
        return slope


def tanh_(x: Tensor) -> Tensor:
    r"""The hyperbolic tangent as $2\sigma(2x) - 1$, in place.

    A sigmoid is computed several times as fast as a tanh. The two agree to 2e-7 in float32.
    """
    return x.mul_(2).sigmoid_().mul_(2).sub_(1)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One layer of N networks: `x` `[N, B, I]`, `weight` `[N, I, J]`, `bias` `[N, J]` give `[N, B, J]`."""
    return torch.baddbmm(bias.unsqueeze(1), x, weight)


def quick_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`linear(x, weight, bias)`, as one product where all tasks share one layer and nobody asks for gradients.

    `tile` gives every task the same memory, which shows in a stride of 0.
    """
    shared = weight.stride(0) == 0 and bias.stride(0) == 0
    if not shared or torch.is_grad_enabled():
        return linear(x, weight, bias)
    return torch.addmm(bias[0], x.flatten(0, 1), weight[0]).reshape(*x.shape[:2], -1)


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
    return tanh_(quick_linear(x, weight, bias))
