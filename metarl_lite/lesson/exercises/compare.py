"""Two results are compared leaf by leaf, and what differs is said in words that a student can act on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...given import as_floats, number, truth
from .words import Fields, article, brief, describe, form_of, is_number

#: What is wrong with a result, "form" (kind, shape) or "value", and the sentence on it.
Difference = tuple[str, str]

ANY = 1e300  # a tolerance
LARGE = 10_000_000  # numbers of a tensor; no exercise asks for so many, and a view of them costs nothing to make


def frozen(value: Any) -> Any:
    """A value as plain data, so that nothing changes it later: tensors are copied without their graph."""
    if isinstance(value, Tensor):
        if value.numel() > LARGE:
            return value.detach()
        plain = value.detach().dequantize() if value.is_quantized else value.detach()
        return (plain if plain.layout == torch.strided else plain.to_dense()).cpu().clone()
    if isinstance(value, np.ndarray):
        return value.copy() if value.size <= LARGE else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = Fields({entry.name: frozen(getattr(value, entry.name)) for entry in dataclasses.fields(value)})
        found.kind = article(type(value).__name__)
        return found
    if isinstance(value, Mapping):
        return {key: frozen(leaf) for key, leaf in value.items()}
    if isinstance(value, (tuple, list, range)):
        return (tuple if isinstance(value, tuple) else list)(frozen(leaf) for leaf in value)
    return value


def difference(
    got: Any, expected: Any, tolerance: float, where: str = "the result", parts: tuple[str, ...] = ()
) -> Difference | None:
    """The first difference as (kind, sentence), or None; kinds: "form" (type, shape) and "value".

    Values are compared, not types: 22.0 is 22, and an array or a list of numbers stands for a tensor of them. A truth
    value is no number, and a tensor of one number in brackets, `[1]`, no scalar.

    Args:
        got: what was returned.
        expected: what should have been.
        tolerance: absolute and relative; `ANY` where only the form counts.
        where: what this is called in the sentence.
        parts: what the parts of a tuple are called.
    """
    if isinstance(expected, (Mapping, tuple, list)):
        return _nested(got, expected, tolerance, where, parts)
    if isinstance(expected, (Tensor, np.ndarray)) or is_number(expected):
        return _numeric(got, expected, tolerance, where)
    if isinstance(expected, (bool, np.bool_)):
        got, expected = truth(got) if truth(got) is not None else got, bool(expected)
    if isinstance(expected, str) and isinstance(got, str):
        got = expected if got.strip().casefold() == expected.casefold() else str(got)
    if type(got) is not type(expected):
        return _wrong_form(got, expected, where)
    if isinstance(expected, (bool, str, type(None))) and got != expected:
        return "value", f"{where} should be {expected!r}, but yours is {describe(got)}."
    return None


def _wrong_form(got: Any, expected: Any, where: str) -> Difference:
    return "form", f"{where} should be {form_of(expected)}, but yours is {describe(got)}."


def _nested(got: Any, expected: Any, tolerance: float, where: str, parts: tuple[str, ...]) -> Difference | None:
    pairs: dict[str, tuple[Any, Any]]
    if isinstance(expected, Mapping):
        if not isinstance(got, Mapping) or len(got) != len(expected) or any(key not in got for key in expected):
            return _wrong_form(got, expected, where)
        pairs = {f"entry {key!r} of {where}": (got[key], expected[key]) for key in expected}
    else:
        given, got = got, list(got) if isinstance(got, (Tensor, np.ndarray)) and got.ndim else got
        if not isinstance(got, (tuple, list)) or len(got) != len(expected):
            kind, sentence = _wrong_form(given, expected, where)
            asked = f" Asked for are {', '.join(parts[:-1])} and {parts[-1]}." if parts else ""
            return kind, sentence + asked
        names = parts or [f"part {place} of {where}" for place in range(1, len(expected) + 1)]
        pairs = dict(zip(names, zip(got, expected, strict=True), strict=True))
    found = [difference(*pair, tolerance, name) for name, pair in pairs.items()]
    return min((item for item in found if item), key=lambda item: item[0] != "form", default=None)


def _numeric(got: Any, expected: Any, tolerance: float, where: str) -> Difference | None:
    given = got
    if not (isinstance(got, (Tensor, np.ndarray)) or is_number(got)):
        got = _numbers_of(got)
        if got is None:
            return _wrong_form(given, expected, where)
    mine, right = _tensor(got), _tensor(expected)
    if mine.shape != right.shape:
        kind, sentence = _wrong_form(given, expected, where)
        alone = not right.ndim and mine.numel() == 1
        return kind, sentence + f" Take the number out of it: {'[0]' * mine.ndim}." * alone
    if _is_bool(mine) != _is_bool(right) or mine.is_complex():
        kinds = [_kind_of(x) for x in (right, mine)]
        return "form", f"{where} should hold {kinds[0]}, but yours holds {kinds[1]}."
    a, b = mine.double(), right.double()
    if not right.is_floating_point() and bool((a != a.round()).any()):
        return "form", f"{where} should hold whole numbers, but yours is {brief(got)}."
    off = ~torch.isclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
    if not off.any():
        return None
    relation = _relation(a, b)
    if a.numel() <= 12:
        return "value", f"{where} should be {brief(right)}, but yours is {brief(mine)}.{relation}"
    place = tuple(int(index) for index in off.nonzero()[0])
    return "value", (
        f"{where} differs in {int(off.sum())} of {off.numel()} numbers, first at {list(place)}: "
        f"should be {b[place].item():.6g}, but yours is {a[place].item():.6g}.{relation}"
    )


def _relation(a: Tensor, b: Tensor) -> str:
    """A simple thing that makes the wrong numbers right, where there is one."""
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        return " A number that is not finite: look for 0 / 0 or the logarithm of 0." * bool(torch.isfinite(b).all())
    if torch.allclose(a, -b):
        return " The sign is turned."
    if a.numel() < 2:
        return ""
    if a.ndim > 1 and a.shape[-1] == a.shape[-2] and torch.allclose(a, b.mT):
        return " Yours is its transpose."
    if torch.allclose(a.flatten().sort().values, b.flatten().sort().values):
        return " The numbers are right, their order is not."
    if bool((b != 0).all()):
        factor = (a / b).flatten()
        if torch.allclose(factor, factor[:1].expand_as(factor)) and factor[0] != 0:
            return f" Each number is {factor[0].item():.6g} times what it should be."
    return ""


def _is_bool(value: Tensor) -> bool:
    return value.dtype == torch.bool


def _kind_of(value: Tensor) -> str:
    if _is_bool(value):
        return "truth values, True or False"
    return "complex numbers" if value.is_complex() else "numbers"


def _numbers_of(value: Any) -> Any:
    """A list of numbers, of lists of them, or of tensors, as one array; None where it is none."""
    if not isinstance(value, (list, tuple)):
        return None
    try:
        found = np.asarray(as_floats(value, "") if _holds_tensors(value) else value)
    except ValueError:
        return None
    return found if found.dtype.kind in "biuf" else None


def shaped(value: Any, like: Any) -> Any:
    """An answer that differs from another one in values alone, in its containers: lists become tensors again."""
    if isinstance(like, Mapping):
        return {key: shaped(value[key], leaf) for key, leaf in like.items()}
    if isinstance(like, (tuple, list)):
        return [shaped(part, leaf) for part, leaf in zip(value, like, strict=True)]
    if isinstance(like, Tensor) and not isinstance(value, Tensor):
        return torch.as_tensor(value if isinstance(value, np.ndarray) else _numbers_of(value))
    return value


def _holds_tensors(value: Any) -> bool:
    return any(isinstance(part, Tensor) or (isinstance(part, (list, tuple)) and _holds_tensors(part)) for part in value)


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    plain = value if isinstance(value, np.ndarray) else number(value)
    if isinstance(plain, int) and not -(2**63) <= plain < 2**63:
        return torch.tensor(math.copysign(math.inf, plain), dtype=torch.float64)
    return torch.as_tensor(np.asarray(plain))
