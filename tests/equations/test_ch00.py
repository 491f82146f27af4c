"""What the primer says in words, against code that does not use the package's own."""

from __future__ import annotations

import json
import re
from itertools import product

import torch

from metarl_lite.oracles.tabular import policy_value, value_iteration
from tools import contents

F64 = torch.float64


def test_without_create_graph_the_bracket_is_the_identity() -> None:
    """First order: the gradient after the step, times I in place of I - alpha A. Finite differences want the latter."""
    a = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=F64)
    start, alpha = torch.tensor([0.3, -0.8], dtype=F64), 0.4

    def after(theta: torch.Tensor, create_graph: bool) -> torch.Tensor:
        (inner,) = torch.autograd.grad(0.5 * theta @ a @ theta, theta, create_graph=create_graph)
        phi = theta - alpha * inner
        return 0.5 * phi @ a @ phi

    found = []
    for create_graph in (True, False):
        theta = start.clone().requires_grad_()
        found.append(torch.autograd.grad(after(theta, create_graph), theta)[0])
    landed = a @ (start - alpha * a @ start)
    bracket = torch.eye(2, dtype=F64) - alpha * a
    torch.testing.assert_close(found[0], bracket @ landed)
    torch.testing.assert_close(found[1], landed)
    for i, step in enumerate(1e-6 * torch.eye(2, dtype=F64)):
        ends = [after((start + sign * step).requires_grad_(), True).item() for sign in (1, -1)]
        assert abs((ends[0] - ends[1]) / 2e-6 - found[0][i].item()) < 1e-7


def test_an_update_gate_near_1_keeps_and_near_0_writes() -> None:
    cell = torch.nn.utils.skip_init(torch.nn.GRUCell, 1, 1, dtype=F64)
    for gate, expected in ((30.0, -0.7), (-30.0, torch.tanh(torch.tensor(0.4, dtype=F64)).item())):
        with torch.no_grad():
            for weight in cell.parameters():
                weight.zero_()
            cell.bias_ih[1] = gate
            cell.weight_ih[2, 0] = 1.0  # the candidate is tanh(input)
            state = cell(torch.tensor([[0.4]], dtype=F64), torch.tensor([[-0.7]], dtype=F64))
        assert abs(state.item() - expected) < 1e-12


def test_values_of_a_policy_and_of_the_best_one_by_listing_all_episodes() -> None:
    """Three steps of the chain with two actions: every path with its probability, under every plan for the optimum."""
    p, gamma, horizon = 0.8, 0.9, 3
    moves = torch.tensor([[[1 - p, p], [0.5, 0]], [[0, 1 - p], [0, 0.5]]], dtype=F64)  # [S, A, S]; the rest ends it
    pays = torch.tensor([[0, 0.5], [p, 0.5]], dtype=F64)

    def worth(state: int, step: int, chances: list[list[list[float]]]) -> float:
        if step == horizon:
            return 0.0
        total = 0.0
        for action, chance in enumerate(chances[step][state]):
            later = sum(moves[state, action, s].item() * worth(s, step + 1, chances) for s in range(2))
            total += chance * (pays[state, action].item() + gamma * later)
        return total

    half = [[[0.5, 0.5]] * 2] * horizon
    by_package = policy_value(torch.full((2, 2), 0.5, dtype=F64), moves, pays, horizon, gamma)[0]
    torch.testing.assert_close(by_package, torch.tensor([worth(s, 0, half) for s in range(2)], dtype=F64))
    plans = [
        [[[1.0, 0.0] if choices[2 * t + s] == 0 else [0.0, 1.0] for s in range(2)] for t in range(horizon)]
        for choices in product(range(2), repeat=2 * horizon)
    ]
    best = [max(worth(s, 0, plan) for plan in plans) for s in range(2)]
    torch.testing.assert_close(value_iteration(moves, pays, horizon, gamma)[0][0], torch.tensor(best, dtype=F64))


FEWER = re.compile(r"#.*\b(one|two|three|four|five|six|seven|eight|nine|[1-9])(?: \w+)? seeds?\b")


def test_margins_of_the_first_chapters_are_of_at_least_ten_seeds() -> None:
    """As "How to use this book" says; a comment in a code cell names the seeds that a margin was taken from."""
    found = []
    for path in contents.notebooks()[:6]:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            lines = "".join(cell["source"]).splitlines() if cell["cell_type"] == "code" else []
            found += [f"{path.stem}: {line.strip()}" for line in lines if FEWER.search(line)]
    assert found == []
    assert FEWER.search("assert x > -6  # six seeds gave -3.5 to -1.4")
