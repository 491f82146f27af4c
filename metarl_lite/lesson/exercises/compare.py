"""Two results are compared leaf by leaf, and what differs is said in words that a student can act on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...given import as_floats, number, truth


def describe(value: Any) -> str:
    """A value's kind and shape in words: "a tensor of shape [20, 2]"."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}" if value.ndim else "a tensor with one number"
    if isinstance(value, np.ndarray):
        return f"a numpy array of shape {list(value.shape)}"
    if isinstance(value, Mapping):
        return f"a dict with keys {', '.join(map(repr, value)) or '(none)'}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, (bool, np.bool_)):
        return f"the truth value {bool(value)}"
    if _is_number(value):
        return f"the number {float(value):.6g}"
    return f"{value!r}" if value is None or isinstance(value, str) else f"an object of type {type(value).__name__}"


def brief(value: Any) -> str:
    """A value in full where it is small, otherwise its kind and shape."""
    if isinstance(value, Tensor):
        value = value.detach()
        if value.numel() > 12:
            return describe(value)
        return str(_rounded(value.tolist()))
    if isinstance(value, np.ndarray):
        return str(_rounded(value.tolist())) if value.size <= 12 else describe(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {brief(leaf)}" for key, leaf in value.items()) + "}"
    if isinstance(value, (tuple, list)) and len(value) <= 6:
        return "(" + ", ".join(brief(leaf) for leaf in value) + ")"
    return f"{float(value):.6g}" if _is_number(value) else describe(value)


def difference(got: Any, expected: Any, tolerance: float, where: str = "the result") -> tuple[str, str] | None:
    """The first difference as (kind, sentence), or None; kinds: "form" (type, shape, graph) and "value".

    Values are compared, not types: 22.0 is 22, and an array or a list of numbers stands for a tensor of them, unless a
    gradient is asked for. A truth value is no number.
    """
    got, expected = _plain(got), _plain(expected)
    if isinstance(expected, (Mapping, tuple, list)):
        return _nested(got, expected, tolerance, where)
    if isinstance(expected, (Tensor, np.ndarray)) or _is_number(expected):
        return _numeric(got, expected, tolerance, where)
    if isinstance(expected, (bool, np.bool_)):
        got, expected = truth(got) if truth(got) is not None else got, bool(expected)
    if isinstance(expected, str) and isinstance(got, str):
        got = expected if got.strip().casefold() == expected.casefold() else str(got)
    if type(got) is not type(expected):
        return "form", f"{where} should be {describe(expected)}, but yours is {describe(got)}."
    if isinstance(expected, (bool, str, type(None))) and got != expected:
        return "value", f"{where} should be {expected!r}, but yours is {got!r}."
    return None


def _nested(got: Any, expected: Any, tolerance: float, where: str) -> tuple[str, str] | None:
    pairs: dict[Any, tuple[Any, Any]]
    part = where.removeprefix("the ")
    if isinstance(expected, Mapping):
        if not isinstance(got, Mapping) or set(got) != set(expected):
            return "form", f"{where} should be {describe(expected)}, but yours is {describe(got)}."
        pairs = {f"{part}[{key!r}]": (got[key], expected[key]) for key in expected}
    else:
        got = list(got) if isinstance(got, (Tensor, np.ndarray)) and got.ndim else got
        if not isinstance(got, (tuple, list)) or len(got) != len(expected):
            return "form", f"{where} should be {describe(expected)}, but yours is {describe(got)}."
        pairs = {f"{part}[{place}]": pair for place, pair in enumerate(zip(got, expected, strict=True))}
    found = [difference(*pair, tolerance, name) for name, pair in pairs.items()]
    return min((item for item in found if item), key=lambda item: item[0] != "form", default=None)


def _numeric(got: Any, expected: Any, tolerance: float, where: str) -> tuple[str, str] | None:
    wrong_form = "form", f"{where} should be {describe(expected)}, but yours is {describe(got)}."
    if not (isinstance(got, (Tensor, np.ndarray)) or _is_number(got)):
        got = _numbers_of(got)
        if got is None:
            return wrong_form
    if getattr(expected, "requires_grad", False) and not getattr(got, "requires_grad", False):
        causes = "detach, .item(), .data, torch.no_grad or a missing create_graph"
        return "form", f"{where} carries no gradient; look for {causes}."
    mine, right = _tensor(got), _tensor(expected)
    if mine.shape != right.shape:
        return wrong_form
    if _is_bool(mine) != _is_bool(right) or mine.is_complex():
        return "form", f"{where} should hold {right.dtype}, but yours holds {mine.dtype}."
    a, b = mine.double(), right.double()
    if not right.is_floating_point() and bool((a != a.round()).any()):
        return "form", f"{where} should hold whole numbers, but yours is {brief(got)}."
    off = ~torch.isclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
    if not off.any():
        return None
    if a.numel() <= 12:
        return "value", f"{where} should be {brief(right)}, but yours is {brief(mine)}."
    place = tuple(int(index) for index in off.nonzero()[0])
    return "value", (
        f"{where} differs in {int(off.sum())} of {off.numel()} numbers, first at {list(place)}: "
        f"should be {b[place].item():.6g}, but yours is {a[place].item():.6g}."
    )


def _is_bool(value: Tensor) -> bool:
    return value.dtype == torch.bool


def _is_number(value: Any) -> bool:
    return not isinstance(value, (Tensor, np.ndarray)) and number(value) is not None


def _numbers_of(value: Any) -> Any:
    """A list of numbers, of lists of them, or of tensors, as one array; None where it is none."""
    if not isinstance(value, (list, tuple)):
        return None
    try:
        found = np.asarray(as_floats(value, "") if _holds_tensors(value) else value)
    except ValueError:
        return None
    return found if found.dtype.kind in "biuf" else None


def _holds_tensors(value: Any) -> bool:
    return any(isinstance(part, Tensor) for part in value)


def _plain(value: Any) -> Any:
    """A dataclass (such as a Rollout) is compared as the dict of its fields."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value)}
    return value


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    return torch.as_tensor(np.asarray(value if isinstance(value, np.ndarray) else number(value)))


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
