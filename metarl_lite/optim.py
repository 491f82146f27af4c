"""Steps of the outer loop: Adam, and second-order optimisation without a matrix.

A vector stands for a whole dict of parameters, laid out one after the other (`to_vector`, `to_params`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch.optim.lr_scheduler import LinearLR

from .given import check_callable, check_result, described, number
from .losses import check_loss
from .types import Diverged, Params

forward: Any = forward_ad  # which has no types

#: Multiplies a vector by a matrix that nobody writes down.
Product = Callable[[Tensor], Tensor]


# What a product gives, for a message.
VECTOR = "a vector as long as the one that it is given."


class ClippedAdam:
    """Adam along gradients of bounded length, at a rate that falls from `lr` to `final_lr` on a straight line.

    Args:
        theta: what is learned; changed in place.
        lr: the rate at first.
        final_lr: the rate after `iterations`; None: it stays.
        iterations: of the outer loop.
        max_norm: longer gradients are cut to this length.

    Source: Kingma and Ba (2015).
    """

    def __init__(
        self,
        theta: Params,
        lr: float,
        final_lr: float | None,
        iterations: int,
        max_norm: float,
    ) -> None:
        self.theta, self.max_norm = theta, max_norm
        # foreach: the same numbers, from fewer calls
        self.optimiser = torch.optim.Adam(theta.values(), lr=lr, foreach=True)
        end = 1.0 if final_lr is None else final_lr / lr
        self.schedule = LinearLR(
            self.optimiser, start_factor=1.0, end_factor=end, total_iters=iterations
        )

    def step(self, gradient: Sequence[Tensor]) -> float:
        """Changes theta in place; the length that the gradient had."""
        for p, g in zip(self.theta.values(), gradient, strict=True):
            p.grad = g
        norm = torch.nn.utils.clip_grad_norm_(self.theta.values(), self.max_norm)
        check_loss(norm, "in the length of the meta-gradient")
        self._check_rate()
        self.optimiser.step()
        return norm.item()

    def _check_rate(self) -> None:
        """Stops a step that would be no number: the first ones divide the rate by 1 - beta."""
        group, (p, *_) = self.optimiser.param_groups[0], self.theta.values()
        if group["lr"] / (1 - group["betas"][0]) > torch.finfo(p.dtype).max:
            raise Diverged(
                f"a step of Adam at the rate {group['lr']} is beyond what {p.dtype} "
                "holds: a smaller learning rate is needed, such as 0.01."
            )

    def end_iteration(self) -> None:
        """Lowers the rate, once a meta-iteration."""
        self.schedule.step()

    def state(self) -> Params:
        """What Adam remembers, by name, for a checkpoint; nothing before its first step."""
        return {
            f"{kind}/{name}": value.clone()
            for name, p in self.theta.items()
            for kind, value in self.optimiser.state.get(p, {}).items()
        }

    def restore(self, state: Params, iterations: int) -> None:
        """Goes on from what `state` gave after so many iterations."""
        self.optimiser.zero_grad()
        # Does nothing without a gradient. The schedule warns unless a step came first.
        self.optimiser.step()
        for key, value in state.items():
            kind, name = key.split("/")
            self.optimiser.state[self.theta[name]][kind] = value.clone()
        for _ in range(iterations):
            self.schedule.step()


def to_vector(params: Params) -> Tensor:
    """All numbers of the parameters in one vector, in the order of their names in the dict."""
    return torch.cat([p.reshape(-1) for p in params.values()])


def to_params(vector: Tensor, like: Params) -> Params:
    """The inverse of `to_vector`: pieces of the vector, shaped like `like`."""
    pieces = torch.split(vector, [p.numel() for p in like.values()])
    return {
        name: piece.reshape(p.shape)
        for (name, p), piece in zip(like.items(), pieces, strict=True)
    }


def conjugate_gradient(
    product: Product, b: Tensor, iterations: int = 10, tolerance: float = 1e-10
) -> Tensor:
    r"""Solves $A x = b$ for a positive definite $A$ that is known only by its products with vectors.

    Each iteration costs one product; the search directions are conjugate, $d_i^\top A d_j = 0$, so in exact arithmetic
    as many iterations suffice as `b` has numbers. A few give a useful direction.

    Args:
        product: v to A v.
        b: the right-hand side, `[D]`.
        iterations: at most so many.
        tolerance: ends earlier where the squared residual falls below this share of that of `b`.

    Source: Hestenes and Stiefel (1952), section 3.
    """
    check_callable("vector", product=product)
    x, residual = torch.zeros_like(b), b.clone()
    direction, square = b.clone(), b @ b
    enough = tolerance * square
    for _ in range(iterations):
        if square <= enough:
            break
        image = check_result(product(direction), {"D": len(b)}, "product", VECTOR)
        length = square / (direction @ image)
        x = x + length * direction
        residual = residual - length * image
        square, before = residual @ residual, square
        direction = residual + (square / before) * direction
    return x


@torch.inference_mode(False)  # gradients are on, wherever this is called
def gauss_newton_product(
    outputs: Callable[[Params], Params],
    loss: Callable[[Params], Tensor],
    params: Params,
) -> Product:
    r"""The product with $J^\top (\nabla^2 \ell)\, J$, where $J$ is the derivative of `outputs` in the parameters.

    Where the gradient of the loss in the outputs vanishes, this *is* the Hessian of loss(outputs(params)). A KL
    divergence from the distribution that `outputs` gives at `params` is smallest, zero, right there; its Hessian is the
    Fisher matrix.

    $J v$ is carried forward along with the computation, even where this takes gradients itself, as an inner loop does;
    $J^\top u$ is one reverse pass through a graph that is built once. So no derivative of third order is formed.

    Args:
        outputs: maps parameters to a dict of tensors; may call `torch.autograd.grad` inside.
        loss: maps such a dict to one number.
        params: where the matrix is taken.

    Source: Schraudolph (2002), "Fast curvature matrix-vector products", section 3; Pearlmutter (1994).
    """
    leaves = {name: p.detach().clone().requires_grad_() for name, p in params.items()}
    built = outputs(leaves)
    _check_outputs(built)
    names, at = list(built), [out.detach() for out in built.values()]

    def loss_of(*given: Tensor) -> Tensor:
        found = loss(dict(zip(names, given, strict=True)))
        return check_result(found, {}, "loss", "one number for all outputs.")

    slope = torch.func.grad(loss_of, argnums=tuple(range(len(at))))

    @torch.inference_mode(False)
    def product(vector: Tensor) -> Tensor:
        with forward.dual_level():
            duals = {
                name: forward.make_dual(leaves[name], tangent)
                for name, tangent in to_params(vector, params).items()
            }
            moved = [
                forward.unpack_dual(out).tangent for out in outputs(duals).values()
            ]
        pushed = [  # J v
            torch.zeros_like(a) if m is None else m.detach()
            for m, a in zip(moved, at, strict=True)
        ]
        curved = torch.func.jvp(slope, tuple(at), tuple(pushed))[1]  # the Hessian's J v
        pulled = torch.autograd.grad(
            list(built.values()), list(leaves.values()), curved,
            retain_graph=True, materialize_grads=True,
        )  # fmt: skip
        return torch.cat([p.reshape(-1) for p in pulled])

    return product


def _check_outputs(built: Any) -> None:
    good = isinstance(built, dict) and built
    if not good or not all(isinstance(out, Tensor) for out in built.values()):
        raise ValueError(
            f"outputs gave {described(built)}: a dict of tensors is needed, such as "
            "policy.distribution(...) gives."
        )


def line_search(
    judge: Callable[[Tensor], tuple[float, float]],
    start: Tensor,
    step: Tensor,
    before: float,
    max_kl: float,
    tries: int = 10,
) -> tuple[Tensor, float, bool]:
    """The first of `step`, `step` / 2, `step` / 4, ... that improves the loss within the trust region.

    Args:
        judge: maps a vector of parameters to (loss, KL divergence from the start).
        start: where the step begins.
        step: the full step.
        before: the loss there.
        max_kl: the bound of the region.
        tries: how many lengths are tried before the search gives up.

    Returns:
        The accepted parameters, their KL divergence and True; or `start` itself, 0 and False.
    """
    for k in range(tries):
        candidate = start + 0.5**k * step
        loss, kl = _two_numbers(judge(candidate))
        # False as well where one of them is not a number
        if loss < before and kl <= max_kl:
            return candidate, kl, True
    return start, 0.0, False


def _two_numbers(judged: Any) -> tuple[float, float]:
    both = judged if isinstance(judged, tuple | list | Tensor) else ()
    loss, kl = map(number, both) if len(both) == 2 else (None, None)
    if loss is None or kl is None:
        raise ValueError(
            f"judge gave {described(judged)}: two numbers are needed, the loss and the "
            "KL divergence."
        )
    return loss, kl
