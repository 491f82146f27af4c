"""The GRU over whole trials with a gradient by hand, against torch's own and against finite differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.autograd.forward_ad as forward
from torch import Tensor
from torch.autograd.functional import hessian, jacobian

from metarl_lite import generator
from metarl_lite.policies.through_time import cell, plain, unroll

F64 = torch.float64


def case(rows: int, length: int, size: int = 4, inputs: int = 3) -> tuple[Tensor, list[Tensor]]:
    gen = generator(7)
    shapes = (rows, length, inputs), (3 * size, inputs), (3 * size, size), (3 * size,), (3 * size,)
    x, *weights = (torch.randn(shape, generator=gen, dtype=F64).requires_grad_() for shape in shapes)
    return x, weights


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 5), (6, 1), (3, 7)])
def test_it_is_torchs_gru_with_the_same_gradient(rows: int, length: int) -> None:
    x, weights = case(rows, length)
    slow, quick = plain(x, weights), unroll(x, weights)
    torch.testing.assert_close(quick, slow, rtol=1e-12, atol=1e-12)
    push = torch.randn(slow.shape, generator=generator(1), dtype=F64)
    for leaves in ([x, *weights], weights):
        wanted, found = (torch.autograd.grad(out, leaves, push, retain_graph=True) for out in (slow, quick))
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_only_what_asks_for_a_gradient_gets_one() -> None:
    x, weights = case(2, 4)
    fixed = [w.detach() for w in weights]
    fixed[1].requires_grad_()
    for graph in (False, True):
        out = unroll(x.detach(), fixed).square().sum()
        want = plain(x.detach(), fixed).square().sum()
        one, other = (torch.autograd.grad(y, fixed[1], create_graph=graph)[0] for y in (out, want))
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_its_first_and_second_derivatives_are_those_of_finite_differences() -> None:
    x, weights = case(2, 3, size=2, inputs=2)

    def memories(x: Tensor, *weights: Tensor) -> Tensor:
        return unroll(x, weights)

    assert torch.autograd.gradcheck(memories, (x, *weights))
    assert torch.autograd.gradgradcheck(memories, (x, *weights))


def test_without_a_gradient_it_is_the_plain_one() -> None:
    x, weights = case(2, 3)
    with torch.no_grad():
        assert torch.equal(unroll(x, weights), plain(x, weights))


def test_transforms_of_torch_pass_through_it() -> None:
    x, weights = case(3, 4)
    still = [w.detach() for w in (x, *weights)]

    def total(quick: bool) -> Callable[..., Tensor]:
        return lambda x, *weights: (unroll if quick else plain)(x, weights).square().sum()

    every = tuple(range(5))
    for one, other in (
        (torch.func.grad(total(quick), every)(*still) for quick in (True, False)),
        (torch.func.hessian(total(quick), 2)(*still).unsqueeze(0) for quick in (True, False)),
        (torch.func.jvp(total(quick), tuple(still), tuple(still)) for quick in (True, False)),
    ):
        for found, wanted in zip(one, other, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    with forward.dual_level():
        dual = [forward.make_dual(still[0], still[0]), *still[1:]]
        one, other = (forward.unpack_dual(f(dual[0], dual[1:])).tangent for f in (unroll, plain))
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("error")  # torch warns where it has no rule of its own
def test_many_sets_of_weights_pass_through_it_at_once() -> None:
    x, weights = case(3, 4)
    gen = generator(2)
    sets = [torch.stack([w.detach(), torch.randn(w.shape, generator=gen, dtype=F64)]) for w in weights]
    still, memory = x.detach(), torch.randn(3, 4, generator=gen, dtype=F64)
    several = torch.vmap(lambda *w: unroll(still, w))(*sets)
    steps = torch.vmap(lambda *w: cell(still[:, 0], memory, w))(*sets)
    slopes = torch.vmap(torch.func.grad(lambda w: unroll(still, [*(v[0] for v in sets[:3]), w]).square().sum()))
    found = slopes(sets[3])
    for i in range(2):
        one = [w[i] for w in sets]
        torch.testing.assert_close(several[i], plain(still, one), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(steps[i], torch.gru_cell(still[:, 0], memory, *one), rtol=1e-12, atol=1e-12)
        bias = one[3].clone().requires_grad_()
        total = plain(still, [*(v[0] for v in sets[:3]), bias]).square().sum()
        torch.testing.assert_close(found[i], torch.autograd.grad(total, bias)[0], rtol=1e-9, atol=1e-9)


def test_many_gradients_at_once_are_those_one_by_one() -> None:
    x, weights = case(3, 4)
    still = [w.detach() for w in (x, *weights)]
    for place, value in enumerate(still):

        def memories(z: Tensor, quick: bool, place: int = place) -> Tensor:
            given = [*still[:place], z, *still[place + 1 :]]
            return (unroll if quick else plain)(given[0], given[1:]).sum((0, 1))

        one = jacobian(lambda z: memories(z, True), value, vectorize=True)
        torch.testing.assert_close(one, jacobian(lambda z: memories(z, False), value), rtol=1e-9, atol=1e-9)
        two = hessian(lambda z: memories(z, True).square().sum(), value, vectorize=True)
        wanted = hessian(lambda z: memories(z, False).square().sum(), value)
        torch.testing.assert_close(two, wanted, rtol=1e-9, atol=1e-9)


def test_a_mistake_is_named_by_torch() -> None:
    x, weights = case(2, 3)
    with pytest.raises(RuntimeError, match=r"shapes|input"):
        unroll(x[..., :2], weights)
