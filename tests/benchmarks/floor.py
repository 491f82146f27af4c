"""The least that a meta-gradient can take on this machine: its arithmetic, with nothing around it.

Everything is preallocated and has the shapes of 2-D navigation at `N` tasks x `E` episodes x `T` steps with two hidden
layers of `H` units and one inner step:

- the matrix products of acting (twice T steps), and those of the forward, backward and double-backward passes;
- the tanh of each hidden layer, acting and learning, computed as the package computes it;
- one read and one write of each tensor that must be stored for the second derivative.

What is left out, and so shows up as distance from the floor: the environment, log-probabilities, advantages,
elementwise gradients, memory that the system hands out anew, Python.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import torch

from metarl_lite.policies.layers import tanh_of_half_

OBS, H, ACT = 2, 64, 2


def layer_products(n: int, b: int) -> list[tuple[int, Callable[[], object]]]:
    """(how often, product) for the passes over a batch of `b` steps of each of `n` tasks, in one meta-gradient."""
    works: list[tuple[int, Callable[[], object]]] = []
    for layer, (i, o) in enumerate(((OBS, H), (H, H), (H, ACT))):
        x, w, d = torch.randn(n, b, i), torch.randn(n, i, o), torch.randn(n, b, o)
        out_y, out_x, out_w = torch.empty(n, b, o), torch.empty(n, b, i), torch.empty(n, i, o)
        inside = layer > 0  # the first layer's input is data: nobody asks for its gradient
        # y = x w: both batches; and x' w and x w', what moves d, when the gradient is differentiated
        works.append((2 + 1 + inside, lambda x=x, w=w, y=out_y: torch.bmm(x, w, out=y)))
        # d w^T: both batches, and of each gradient once more
        works.append((inside * (2 + 1 + 1), lambda w=w, d=d, y=out_x: torch.bmm(d, w.mT, out=y)))
        # x^T d: both batches; x^T d' and x'^T d of the double backward
        works.append((2 + 1 + inside, lambda x=x, d=d, y=out_w: torch.bmm(x.mT, d, out=y)))
    return works


def acting(n: int, e: int) -> Callable[[], None]:
    """The products and tanh calls of one step of acting."""
    sizes = (OBS, H, H, ACT)
    inputs = [torch.randn(n, e, i) for i in sizes]
    weights = [torch.randn(n, i, o) for i, o in pairwise(sizes)]

    def step() -> None:
        for k, w in enumerate(weights):
            torch.bmm(inputs[k], w, out=inputs[k + 1])
            if k < 2:
                tanh_of_half_(inputs[k + 1])

    return step


def floor(n: int = 20, e: int = 20, t: int = 100, rounds: int = 5) -> dict[str, float]:
    """Seconds of the products, the tanh calls, the memory and their sum; each the best of `rounds`."""
    hidden, other = torch.randn(n, e * t, H), torch.empty(n, e * t, H)

    def best(work: Callable[[], object]) -> float:
        work()
        seconds = []
        for _ in range(rounds):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    step = acting(n, e)
    parts = {
        "products": sum(times * best(work) for times, work in layer_products(n, e * t) if times),
        "acting": 2 * best(lambda: [step() for _ in range(t)]),
        "tanh": 4 * best(lambda: tanh_of_half_(hidden)),  # two layers, two batches
        # activations and their gradients of two layers: of support, of query, and once more of the double backward
        "memory": 12 * best(lambda: other.copy_(hidden)),
    }
    return parts | {"sum": sum(parts.values())}
