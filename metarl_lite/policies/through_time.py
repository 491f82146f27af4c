r"""A GRU and its gradient through time, in few and large operations.

`torch.gru` and `torch.gru_cell` are the plain versions, and what is used where nobody asks for a gradient. Autograd
goes back through them in some twenty small operations a step. But the gradient is linear in what comes from behind:
with the gates $r, z$, the candidate $\tilde h = \tanh a$, $a = a_x + r \odot a_h$, and $g$ the gradient at
$h' = z \odot h + (1 - z) \odot \tilde h$,

$$ \frac{\partial}{\partial a} = \underbrace{(1 - z)(1 - \tilde h^2)}_{k} \odot g, \qquad
   \frac{\partial}{\partial a_h} = r \odot k \odot g, \qquad
   \frac{\partial}{\partial a_r} = r (1 - r)\, a_h \odot k \odot g, \qquad
   \frac{\partial}{\partial a_z} = z (1 - z) (h - \tilde h) \odot g , $$

and $z \odot g$ goes straight to $h$. The factors do not depend on $g$.

Inside, all is laid out unit by unit, `[H, N]`: each gate is then one piece of memory, and so are all four.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .layers import tanh_


def advance(
    read: Tensor, memory: Tensor, square: Tensor, bias: Tensor, kept: Tensor
) -> Tensor:
    """One step: the new memory, `[H, N]`.

    Args:
        read: W x + b, `[3 H, N]`.
        memory: `[H, N]`.
        square: U, `[3 H, H]`.
        bias: c, `[3 H]`.
        kept: r, z, a_h and the candidate are written here, `[4 H, N]`.
    """
    size = len(memory)
    torch.addmm(bias.unsqueeze(1), square, memory, out=kept[: 3 * size])
    kept[: 2 * size].add_(read[: 2 * size]).sigmoid_()
    r, z, inner, candidate = kept.chunk(4)
    tanh_(torch.addcmul(read[2 * size :], r, inner, out=candidate))
    return torch.lerp(candidate, memory, z)


def slopes(kept: Tensor, memory: Tensor) -> Tensor:
    """The factors of the gradient at a_r, a_z, a_h and a, `[..., 4 H, N]`."""
    r, z, inner, candidate = kept.chunk(4, -2)
    factors = torch.empty_like(kept)
    at_r, at_z, at_inner, at_candidate = factors.chunk(4, -2)
    torch.mul(1 - z, 1 - candidate * candidate, out=at_candidate)
    torch.mul(at_candidate, r, out=at_inner)
    torch.mul(at_inner, inner, out=at_r).mul_(1 - r)
    torch.mul(memory - candidate, z, out=at_z).mul_(1 - z)
    return factors


def of_input(moved: Tensor) -> Tensor:
    """The gradient at W x + b, `[..., 3 H, ...]`, of that at a_r, a_z, a_h and a."""
    size = len(moved) // 4
    return torch.cat([moved[: 2 * size], moved[3 * size :]])


class _Cell(torch.autograd.Function):
    """One step, of `[I, N]` and `[H, N]` to `[H, N]`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        memory: Tensor,
        weight: Tensor,
        square: Tensor,
        b: Tensor,
        c: Tensor,
    ) -> Tensor:
        kept = x.new_empty(4 * len(memory), memory.shape[1])
        read = torch.addmm(b.unsqueeze(1), weight, x)
        now = advance(read, memory, square, c, kept)
        ctx.save_for_backward(x, memory, kept, weight, square)
        return now

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, memory, kept, weight, square = ctx.saved_tensors
        size = len(memory)
        moved = slopes(kept, memory)
        moved.view(4, size, -1).mul_(grad)
        for_memory = None
        if ctx.needs_input_grad[1]:
            straight = grad * kept[size : 2 * size]
            for_memory = torch.addmm(straight, square.mT, moved[: 3 * size])
        for_x = weight.mT @ of_input(moved) if ctx.needs_input_grad[0] else None
        for_weight, for_square = of_input(moved @ x.mT), moved[: 3 * size] @ memory.mT
        total = moved.sum(1)
        return for_x, for_memory, for_weight, for_square, of_input(total), total[: 3 * size]


class _Unrolled(torch.autograd.Function):
    """All steps from an empty memory, `[L, I, N]` to `[L, H, N]`."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, square: Tensor, b: Tensor, c: Tensor
    ) -> Tensor:
        length, _, rows = inputs.shape
        size = square.shape[-1]
        read = torch.baddbmm(b.unsqueeze(1), weight.expand(length, -1, -1), inputs)
        kept = inputs.new_empty(length, 4 * size, rows)
        memories = inputs.new_zeros(length + 1, size, rows)
        for j in range(length):
            memories[j + 1] = advance(read[j], memories[j], square, c, kept[j])
        ctx.save_for_backward(inputs, memories, kept, weight, square)
        return memories[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, memories, kept, weight, square = ctx.saved_tensors
        size = square.shape[-1]
        before, z = memories[:-1], kept[:, size : 2 * size]
        moved = slopes(kept, before)  # of each step, still without what comes behind
        grad = torch.zeros_like(before[0])
        for_weight, for_square = weight.new_zeros(4 * size, weight.shape[1]), torch.zeros_like(square)
        for j in reversed(range(len(inputs))):
            grad = grad + grads[j]
            moved[j].view(4, size, -1).mul_(grad)
            grad = torch.addmm(grad * z[j], square.mT, moved[j][: 3 * size])
            for_square.addmm_(moved[j][: 3 * size], before[j].mT)
            for_weight.addmm_(moved[j], inputs[j].mT)
        for_x = None
        if ctx.needs_input_grad[0]:
            for_x = weight.mT @ of_input(moved.movedim(1, 0)).movedim(0, 1)
        total = moved.sum((0, 2))
        return for_x, of_input(for_weight), for_square, of_input(total), total[: 3 * size]


def step(x: Tensor, memory: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """`torch.gru_cell(x, memory, *weights)`."""
    if not torch.is_grad_enabled():
        return torch.gru_cell(x, memory, *weights)
    now: Tensor = _Cell.apply(x.mT, memory.mT, *weights)  # type: ignore[no-untyped-call]
    return now.mT


def unroll(inputs: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """The memories of `torch.gru` after each of the inputs, from an empty one: `[N, L, I]` to `[N, L, H]`."""
    if not torch.is_grad_enabled():
        nothing = inputs.new_zeros(1, len(inputs), weights[1].shape[-1])
        options = True, 1, 0.0, False, False, True  # biases; one layer; batch first
        return torch.gru(inputs, nothing, list(weights), *options)[0]
    memories: Tensor = _Unrolled.apply(  # type: ignore[no-untyped-call]
        inputs.permute(1, 2, 0).contiguous(), *weights
    )
    return memories.permute(2, 0, 1)
