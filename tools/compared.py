"""A pytest plugin writes down both sides of every numeric comparison that a test's asserts make.

It is loaded by tools/arithmetic.py alone, with `-p tools.compared`, and needs METARL_COMPARED, a folder: each worker
appends to a file of its own there. No test is rewritten for it. Two ways lead to what a test compares:

- pytest rewrites the assert statements of test modules anyway. Before it does, each operand of `a < b`, `a <= b <= c`,
  `(a < b).all()`, `a == pytest.approx(b)` and the like is wrapped in a call that returns it as it is. A comparison
  inside an operand, or one alternative of an `or`, decides nothing by itself and is left out.
- assert_close and allclose of torch, assert_allclose and allclose of NumPy and math.isclose are wrapped where they are
  looked up; calls that come from elsewhere than the tests are not recorded.

Comparisons of integers with integers, and equality without a tolerance, are left out: they hold or they do not.
"""

from __future__ import annotations

import ast
import functools
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import _pytest.assertion.rewrite as rewriting
import numpy as np
import pytest
import torch
from torch.testing._comparison import default_tolerances

FOLDER, NAME = "METARL_COMPARED", "_compared"
SAMPLE = 256  # of a larger tensor so many elements are kept, evenly spread, and the two extremes
ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
Site = tuple[str, int, int]  # file, line, and the place among the comparisons of that file

_rows: list[dict[str, Any]] = []
_seen: Counter[tuple[str, Site]] = Counter()
_left: dict[Site, Any] = {}


# --- Asserts ----------------------------------------------------------------------------------------------------------


class Wrap(ast.NodeTransformer):
    """Every comparison that an assert rests on gets its operands wrapped; what it decides stays the same."""

    def __init__(self, path: str) -> None:
        self.path, self.line, self.count, self.reduce = path, 0, 0, "all"

    def visit_Assert(self, node: ast.Assert) -> ast.Assert:
        self.line, self.reduce = node.lineno, "all"
        node.test = self.visit(node.test)
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.Compare:
        if not self.line or not all(isinstance(op, ORDER) for op in node.ops):
            return node
        self.count += 1
        signs = [{ast.Lt: "<", ast.LtE: "<", ast.Gt: ">", ast.GtE: ">"}.get(type(op), "=") for op in node.ops]
        operands = [node.left, *node.comparators]
        for place, operand in enumerate(operands):
            arguments: list[Any] = [self.path, self.line, self.count, place, "".join(signs), self.reduce]
            call = ast.Call(
                ast.Attribute(ast.Name(NAME, ast.Load()), "side", ast.Load()),
                [*(ast.Constant(a) for a in arguments), operand],
                [],
            )
            operands[place] = ast.copy_location(call, operand)
        node.left, node.comparators = operands[0], operands[1:]
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.BoolOp:
        return node if isinstance(node.op, ast.Or) and self.line else self.generic(node)

    def visit_Call(self, node: ast.Call) -> ast.Call:
        if not self.line:
            return self.generic(node)
        if isinstance(node.func, ast.Name) and node.func.id == "any":
            return node
        before = self.reduce
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("any", "all"):
            self.reduce = node.func.attr
        node = self.generic(node)
        self.reduce = before
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.comprehension:
        return node  # which elements are looked at is not what is asserted

    def visit_stmt(self, node: ast.stmt) -> ast.stmt:
        self.line = 0
        return self.generic(node)

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.stmt) and not isinstance(node, ast.Assert):
            return self.visit_stmt(node)
        return super().visit(node)

    def generic(self, node: Any) -> Any:
        return super().generic_visit(node)


def instrument(module: ast.Module, path: str) -> None:
    """The module's asserts report to `side`, which is imported below the docstring and the futures."""
    Wrap(path).visit(module)
    place = 0
    for place, node in enumerate(module.body):
        is_doc = place == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not is_doc and not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            break
    module.body.insert(place, ast.Import([ast.alias("tools.compared", NAME)]))
    ast.fix_missing_locations(module)


def side(path: str, line: int, count: int, place: int, signs: str, reduce: str, value: Any) -> Any:
    """The operand itself; with the one to its left it is written down."""
    site = path, line, count
    if place:
        left, sign = _left.pop(site, None), signs[place - 1]
        if sign == "=":
            for one, other in ((left, value), (value, left)):
                if type(other).__module__ == "_pytest.python_api" or type(other).__name__.startswith("Approx"):
                    note(site, lambda one=one, other=other: approximately(one, other))
        else:
            pair = (left, value) if sign == "<" else (value, left)
            note(site, lambda: bound(*pair, reduce))
    if place < len(signs):
        _left[site] = value
    return value


# --- What is written down ---------------------------------------------------------------------------------------------


def numbers(value: Any) -> np.ndarray | None:
    """The value in double precision, or None where it is not made of real numbers."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.double().numpy() if value.is_floating_point() else value.numpy()
    found = np.asarray(value)
    return found if found.dtype.kind in "fiu" and found.size else None


def bound(small: Any, large: Any, reduce: str) -> dict[str, Any] | None:
    """`small < large`: the room between them where it is least, or most where `.any()` decides."""
    one, other = numbers(small), numbers(large)
    if one is None or other is None or (one.dtype.kind != "f" and other.dtype.kind != "f"):
        return None
    one, other = (x.astype(float) for x in np.broadcast_arrays(one, other))
    room = np.where(np.isfinite(one) & np.isfinite(other), other - one, np.nan)
    if np.isnan(room).all():
        return None
    at = np.unravel_index((np.nanargmax if reduce == "any" else np.nanargmin)(room), room.shape)
    return {"kind": "bound", "room": float(room[at]), "value": float(one[at]), "limit": float(other[at])}


def tolerance(found: Any, expected: Any, allowed: Callable[[np.ndarray], Any]) -> dict[str, Any] | None:
    """The error in units of what is allowed: its extremes, some of its elements, and the worst one as it is."""
    one, other = numbers(found), numbers(expected)
    if one is None or other is None:
        return None
    one, other = (x.astype(float) for x in np.broadcast_arrays(one, other))
    limit = np.broadcast_to(allowed(other), other.shape)
    kept = np.isfinite(one) & np.isfinite(other) & (limit > 0)
    if not kept.any():
        return None
    error, limit = (one - other)[kept], limit[kept]
    ratio = error / limit
    worst = int(np.abs(ratio).argmax())
    some = ratio[:: math.ceil(ratio.size / SAMPLE)]
    return {
        "kind": "tolerance", "ratio": [float(ratio.max()), float(ratio.min()), *map(float, some)],
        "value": float(abs(error[worst])), "limit": float(limit[worst]),
    }  # fmt: skip


def approximately(found: Any, approx: Any) -> dict[str, Any] | None:
    """`found == pytest.approx(...)`, of a number, a sequence, an array or a mapping."""
    expected, rel, least = approx.expected, approx.rel, approx.abs
    if isinstance(expected, Mapping):
        found, expected = [found[key] for key in expected], list(expected.values())
    if rel is None:
        rel = 1e-6 if least is None else 0.0
    return tolerance(found, expected, lambda x: np.maximum(rel * np.abs(x), 1e-12 if least is None else least))


def close(found: Any, expected: Any, rel: float | None, least: float | None) -> Iterator[dict[str, Any] | None]:
    """`|found - expected| <= least + rel |expected|` of all pairs; torch's tolerances where none are given."""
    if isinstance(expected, Mapping):
        found, expected = [found[key] for key in expected], list(expected.values())
    if isinstance(expected, Sequence) and not isinstance(expected, str):
        for one, other in zip(found, expected, strict=True):
            yield from close(one, other, rel, least)
        return
    if rel is None or least is None:
        rel, least = default_tolerances(*(torch.as_tensor(x) for x in (found, expected)))
    yield tolerance(found, expected, lambda x: least + rel * np.abs(x))


def note(site: Site, compare: Callable[[], dict[str, Any] | None]) -> None:
    """One row; what cannot be compared as numbers leaves none, and the test is never disturbed."""
    try:
        row = compare()
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError):
        return
    if row is not None:
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rsplit(" (", 1)[0]
        _seen[test, site] += 1
        _rows.append({"test": test, "file": site[0], "line": site[1], "place": site[2], "n": _seen[test, site]} | row)


# --- Functions --------------------------------------------------------------------------------------------------------


def watch(holder: Any, name: str, defaults: tuple[float | None, float | None], names: tuple[str, str]) -> None:
    """Calls of holder.name from the tests are noted; `names` are those of the relative and the absolute tolerance."""
    real = getattr(holder, name)

    @functools.wraps(real)
    def watched(found: Any, expected: Any, *args: Any, **options: Any) -> Any:
        frame = sys._getframe(1)
        path, given = frame.f_code.co_filename, dict(zip(names, args, strict=False)) | options
        rel, least = (given.get(key, default) for key, default in zip(names, defaults, strict=True))
        if NAME in frame.f_globals:
            for row in _all(lambda: list(close(found, expected, rel, least))):
                note((path, frame.f_lineno, -1), lambda row=row: row)
        return real(found, expected, *args, **options)

    setattr(holder, name, watched)


def _all(rows: Callable[[], list[Any]]) -> list[Any]:
    try:
        return rows()
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError):
        return []


# --- Hooks ------------------------------------------------------------------------------------------------------------


def pytest_configure() -> None:
    """Before a test module is imported, comparing functions are watched and asserts are rewritten our way first."""
    for holder in (torch, torch.Tensor):
        watch(holder, "allclose", (1e-5, 1e-8), ("rtol", "atol"))
    watch(torch.testing, "assert_close", (None, None), ("rtol", "atol"))
    watch(np, "allclose", (1e-5, 1e-8), ("rtol", "atol"))
    watch(np.testing, "assert_allclose", (1e-7, 0.0), ("rtol", "atol"))
    watch(math, "isclose", (1e-9, 0.0), ("rel_tol", "abs_tol"))
    real = rewriting.rewrite_asserts

    def rewrite(module: ast.Module, source: bytes, module_path: str | None = None, *rest: Any) -> None:
        if Path(module_path or "").name.startswith("test_"):
            instrument(module, str(module_path))
        real(module, source, module_path, *rest)

    rewriting.rewrite_asserts = rewrite
    rewriting._read_pyc = lambda *args: None  # neither take what an ordinary run has cached, nor leave it this
    rewriting._write_pyc = lambda *args: False


def pytest_runtest_logfinish() -> None:
    """What a test has compared is on disk before the next one starts."""
    _write("rows", _rows)


def pytest_sessionfinish() -> None:
    """And what the last one's fixtures have."""
    _write("rows", _rows)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """The process that all reports come to says which tests failed."""
    if "PYTEST_XDIST_WORKER" not in os.environ and (report.failed or report.when == "call"):
        _write("tests", [{"test": report.nodeid, "failed": report.failed}])


def _write(kind: str, rows: list[dict[str, Any]]) -> None:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with Path(os.environ[FOLDER], f"{kind}-{worker}.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    rows.clear()
