"""Layers against torch's own tanh and product, and their derivatives against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, hessian, jacfwd, jacrev, vmap
from torch.utils._pytree import tree_leaves

from metarl_lite.losses import LOSSES
from metarl_lite.policies.base import tile
from metarl_lite.policies.layers import hidden, last, linear, quick_linear, tanh_of_half_
from metarl_lite.policies.mlp import MLPPolicy
from metarl_lite.returns import with_advantages
from metarl_lite.rng import generator, normal
from metarl_lite.rollout import rollout
from metarl_lite.tasks.bandits import BernoulliBandit
from metarl_lite.tasks.navigation import PointGoal
from metarl_lite.types import Params

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


# --- torch.func -------------------------------------------------------------------------------------------------------

FAMILIES = {"continuous": PointGoal(horizon=4, dtype=F64), "discrete": BernoulliBandit(3, 4, dtype=F64)}
Loss = Callable[[Params], Tensor]


def two_sets(family: str, loss: str, layers: tuple[int, ...] = (4, 3)) -> tuple[Loss, list[Params]]:
    """A loss of the package on a batch of two tasks, and two sets of parameters `[N, ...]`."""
    tasks, gen = FAMILIES[family], generator(0)
    policy = MLPPolicy.for_tasks(tasks, gen, hidden=layers)
    start = {name: p.detach() for name, p in tile(policy.params(), 2).items()}
    batch = with_advantages(rollout(tasks, policy, start, tasks.sample(2, gen), 3, gen))
    moved = [{n: p + 0.1 * normal(tuple(p.shape), gen, F64) for n, p in start.items()} for _ in range(2)]
    return lambda params: LOSSES[loss](policy, params, batch), moved


def stacked(sets: list[Any]) -> Any:
    """Equal nested dicts, stacked leaf by leaf."""
    if isinstance(sets[0], dict):
        return {name: stacked([one[name] for one in sets]) for name in sets[0]}
    return torch.stack(sets)


def rows(loss: Loss, params: Params) -> Params:
    """The Jacobian, row by row, by torch's ordinary backward pass."""
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    value = loss(leaves)
    found = [torch.autograd.grad(v, list(leaves.values()), retain_graph=True) for v in value]
    return {name: torch.stack([row[i] for row in found]) for i, name in enumerate(leaves)}


def second(loss: Loss, params: Params) -> dict[str, Params]:
    """The Hessian of the sum, entry by entry."""
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    slopes = torch.autograd.grad(loss(leaves).sum(), list(leaves.values()), create_graph=True)
    found: dict[str, Params] = {}
    for name, slope in zip(leaves, slopes, strict=True):
        each = [
            torch.autograd.grad(s, list(leaves.values()), retain_graph=True, materialize_grads=True)
            for s in slope.reshape(-1)
        ]
        found[name] = {
            other: torch.stack([row[i] for row in each]).reshape(*slope.shape, *p.shape)
            for i, (other, p) in enumerate(leaves.items())
        }
    return found


def close(found: Any, expected: Any) -> None:
    for a, b in zip(tree_leaves(found), tree_leaves(expected), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("family", FAMILIES)
def test_transforms_of_torch_func_equal_a_loop(family: str, loss: str) -> None:
    value, (one, other) = two_sets(family, loss)
    both, total = stacked([one, other]), lambda params: value(params).sum()
    together = vmap(value)(both)
    assert together.shape == (2, 2)
    close(together, torch.stack([value(one), value(other)]))
    with torch.no_grad():
        close(vmap(value)(both), together)
    first = rows(value, one), rows(value, other)
    for jacobian in (jacrev, jacfwd):
        close(jacobian(value)(one), first[0])
        close(vmap(jacobian(value))(both), stacked(list(first)))
    close(grad(total)(one), {name: row.sum(0) for name, row in first[0].items()})


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("family", FAMILIES)
def test_hessians_of_torch_func_equal_a_loop_in_all_four_orders(family: str, loss: str) -> None:
    """Forward over forward is the one that a function of one's own gets wrong in silence."""
    value, (one, other) = two_sets(family, loss, (3,))
    expected = second(value, one)

    def total(params: Params) -> Tensor:
        return value(params).sum()

    close(hessian(total)(one), expected)
    close(vmap(hessian(total))(stacked([one, other])), stacked([expected, second(value, other)]))
    for outer in (jacrev, jacfwd):
        for inner in (jacrev, jacfwd):
            close(outer(inner(total))(one), expected)


def test_a_set_of_parameters_may_vary_in_one_tensor_and_along_any_dimension() -> None:
    value, (one, other) = two_sets("continuous", "policy_gradient")
    some = torch.stack([one["w0"], other["w0"]], -1)
    found = vmap(lambda w: value({**one, "w0": w}), in_dims=-1)(some)
    close(found, torch.stack([value({**one, "w0": some[..., i]}) for i in range(2)]))


@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_gradients_may_come_in_batches(strategy: str) -> None:
    """Which is what `vectorize` and `is_grads_batched` mean: backward passes under vmap, of an ordinary graph."""
    value, (one, _) = two_sets("continuous", "policy_gradient")

    def total(*tensors: Tensor) -> Tensor:
        return value(dict(zip(one, tensors, strict=True))).sum()

    given = tuple(one.values())
    found = torch.autograd.functional.hessian(total, given, vectorize=True, outer_jacobian_strategy=strategy)
    plain = torch.autograd.functional.hessian(total, given)
    close(found, plain)
