r"""A GRU over whole trials and its gradient through time, in few and large operations.

`torch.gru` is the plain version, and `unroll` computes the same. Autograd goes back through it in some thirty small
operations a step, and multiplies out every step's share of the weights' gradient by itself. But what comes from behind
enters that gradient linearly. With the gates $r, z$, the inner product $u = U_h h + c_h$, the candidate
$\tilde h = \tanh a$, $a = W_h x + b_h + r \odot u$, and $g$ the gradient at $h' = z \odot h + (1 - z) \odot \tilde h$,

$$ \frac{\partial}{\partial a} = \underbrace{(1 - z)(1 - \tilde h^2)}_{k} \odot g, \qquad
   \frac{\partial}{\partial u} = r \odot k \odot g, \qquad
   \frac{\partial}{\partial a_r} = r (1 - r)\, u \odot k \odot g, \qquad
   \frac{\partial}{\partial a_z} = z (1 - z) (h - \tilde h) \odot g , $$

and $z \odot g$ goes straight to $h$. So the factors of all steps are computed at once, and so are the weights'
gradients when every step's share is known; from step to step only $g$ has to be carried.

Source: Werbos (1990) for backpropagation through time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def cell(x: Tensor, memory: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """The memory after one more input, `[N, I]` and `[N, H]` to `[N, H]`.

    torch's own has no rule for the transforms of `torch.func`: under these it is what its equations say.
    """
    if not torch._C._are_functorch_transforms_active():
        after: Tensor = torch.gru_cell(x, memory, *weights)
        return after
    into, square, b, c = weights
    (x_r, x_z, x_h), (r, z, u) = (
        y.chunk(3, -1) for y in (x @ into.mT + b, memory @ square.mT + c)
    )
    r, z = torch.sigmoid(x_r + r), torch.sigmoid(x_z + z)
    return torch.lerp(torch.tanh(x_h + r * u), memory, z)


def plain(inputs: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """The memories of `torch.gru` after each of the inputs, from an empty one: `[N, L, I]` to `[N, L, H]`."""
    memory = inputs.new_zeros(len(inputs), weights[1].shape[-1])
    if torch._C._are_functorch_transforms_active():
        kept = []
        for x in inputs.unbind(1):
            memory = cell(x, memory, weights)
            kept.append(memory)
        return torch.stack(kept, 1)
    options = True, 1, 0.0, False, False, True  # biases; one layer; batch first
    memories: Tensor = torch.gru(inputs, memory.unsqueeze(0), list(weights), *options)[
        0
    ]
    return memories


def unroll(inputs: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """`plain(inputs, weights)`, quicker where one gradient in reverse mode follows."""
    if not torch.is_grad_enabled():
        return plain(inputs, weights)
    quick: Callable[..., Tensor] = _Unrolled.apply
    try:
        return quick(inputs, *weights)
    except RuntimeError:
        # Forward mode, or a transform of torch.func; or a mistake, which torch names.
        return plain(inputs, weights)


class _Unrolled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, into: Tensor, square: Tensor, b: Tensor, c: Tensor
    ) -> Tensor:
        rows, length, _ = inputs.shape
        size = square.shape[1]
        steps = inputs.transpose(0, 1).reshape(length * rows, -1)
        read = torch.addmm(b, steps, into.mT).view(length, rows, -1)  # [L, N, 3 H]
        kept = inputs.new_empty(length, rows, 4 * size)  # r, z, u and the candidate
        memories = inputs.new_zeros(length + 1, rows, size)
        products, gates = kept[..., : 3 * size], kept[..., : 2 * size]
        columns = products, gates, *kept.chunk(4, -1), memories[:-1], memories[1:]
        reads = read[..., : 2 * size], read[..., 2 * size :]
        for step in zip(*(x.unbind() for x in (*columns, *reads)), strict=True):
            product, gate, r, z, u, candidate, before, after, x_gate, x = step
            torch.addmm(c, before, square.mT, out=product)
            gate.add_(x_gate).sigmoid_()
            torch.addcmul(x, r, u, out=candidate).tanh_()
            torch.lerp(candidate, before, z, out=after)
        ctx.save_for_backward(inputs, into, square, b, c, kept, memories)
        return memories[1:].transpose(0, 1)

    @staticmethod
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
        *given, kept, memories = ctx.saved_tensors
        again, wanted = torch.is_grad_enabled(), ctx.needs_input_grad
        if not again:
            inputs, into, square, *_ = given
            try:
                return _gradients(
                    grads, wanted[0], inputs, into, square, kept, memories
                )
            except RuntimeError:
                pass  # many gradients at once (`vectorize=True`) do not go in place
        of = [x for x, needed in zip(given, wanted, strict=True) if needed]
        with torch.enable_grad():
            slow = plain(given[0], given[1:])
        # with a graph where a second derivative may follow
        parts = iter(torch.autograd.grad(slow, of, grads, create_graph=again))
        return tuple(next(parts) if needed else None for needed in wanted)


def _gradients(
    grads: Tensor,
    for_inputs_too: bool,
    inputs: Tensor,
    into: Tensor,
    square: Tensor,
    kept: Tensor,
    memories: Tensor,
) -> tuple[Tensor | None, ...]:
    """The gradients of the inputs, if they are asked for, and of the four weights."""
    moved = _carried(grads.transpose(0, 1), kept, memories[:-1], square)
    moved = moved.flatten(0, 1)  # [L N, 4 H]: at a_r, a_z, u and a
    size = square.shape[1]
    at_memory = moved[:, : 3 * size]
    at_read = torch.cat([moved[:, : 2 * size], moved[:, 3 * size :]], 1)
    steps = inputs.transpose(0, 1).reshape(len(moved), -1)
    for_inputs = None
    if for_inputs_too:
        for_inputs = (at_read @ into).view(*kept.shape[:2], -1).transpose(0, 1)
    before, total = memories[:-1].flatten(0, 1), moved.sum(0)
    bias = torch.cat([total[: 2 * size], total[3 * size :]])
    return (
        for_inputs,
        at_read.mT @ steps,
        at_memory.mT @ before,
        bias,
        total[: 3 * size],
    )


def _carried(grads: Tensor, kept: Tensor, before: Tensor, square: Tensor) -> Tensor:
    """The gradient at a_r, a_z, u and a of every step, `[L, N, 4 H]`, of that at every memory, `[L, N, H]`."""
    r, z, u, candidate = kept.chunk(4, -1)
    moved = torch.empty_like(kept)
    at_r, at_z, at_u, at_a = moved.chunk(4, -1)
    torch.mul(1 - z, 1 - candidate * candidate, out=at_a)
    torch.mul(at_a, r, out=at_u)
    torch.mul(at_u, u, out=at_r).mul_(1 - r)
    torch.mul(before - candidate, z, out=at_z).mul_(1 - z)
    size = square.shape[1]
    factors = moved.view(*moved.shape[:2], 4, size)
    products = moved[..., : 3 * size]
    grad = torch.zeros_like(before[0])
    columns = (x.unbind()[::-1] for x in (grads, factors, products, z))
    for arrived, factor, product, straight in zip(*columns, strict=True):
        grad = grad + arrived
        factor.mul_(grad.unsqueeze(1))
        grad = torch.addmm(grad * straight, product, square)
    return moved
