"""What a caller gives is looked at here, at the door, once.

Values count, not types: an integer of numpy or of torch is an integer, a list of scores is scores. A truth value is no
number. What is kept is Python's own, so that a configuration with numbers of numpy is written as JSON like any other.
"""

from __future__ import annotations

import inspect
import math
import numbers
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: Scores as people have them: a tensor, an array, a table of pandas, lists.
Scores = Any
#: Types of numbers that everything here computes with.
FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def integer(value: Any) -> int | None:
    """The integer that this is, in whatever library, as Python's own; None where it is none."""
    value = _single(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        return None
    return int(value)


def number(value: Any) -> int | float | None:
    """The number that this is, in whatever library, as Python's own; None where it is none.

    Nothing is rounded: of single precision, .1 is 0.10000000149011612.
    """
    value = _single(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    except OverflowError:  # of a fraction of integers beyond what a float can be
        return None


def real(value: Any) -> float:
    """As a number to compare with: nan where this is none, so that whatever it is held to, it fails."""
    plain = number(value)
    return math.nan if plain is None else plain


def truth(value: Any) -> bool | None:
    """The truth value that this is, as Python's own; None where it is none, as 0 and 1 are none."""
    value = _single(value)
    return value if isinstance(value, bool) else None


def switches(**flags: Any) -> list[bool]:
    """Truth values as Python's own; a ValueError names the first that is none: "no" would count as true."""
    for name, flag in flags.items():
        if truth(flag) is None:
            raise ValueError(f"{name} = {flag!r}: True or False is needed.")
    return [bool(truth(flag)) for flag in flags.values()]


def _single(value: Any) -> Any:
    """What a tensor or an array without dimensions holds, none where it is masked; anything else as it is."""
    if isinstance(value, Tensor | np.ndarray | np.generic) and value.ndim == 0:
        return None if _masked(value) else value.item()
    return value


def is_float(dtype: Any) -> bool:
    """Whether this is a type in which torch computes and draws: numpy's and names are none, nor are eight bits."""
    return isinstance(dtype, torch.dtype) and dtype in FLOATS


def check_dtype(dtype: Any) -> None:
    """Refuses what is no floating-point type of torch, be it numpy's or the name of one."""
    if not is_float(dtype):
        raise ValueError(
            f"dtype = {dtype!r}: a floating-point type of torch is needed, such as "
            "dtype=torch.float32."
        )


def counts(**sizes: Any) -> list[int]:
    """Positive integers as Python's own; a ValueError names the first that is none."""
    found = []
    for name, size in sizes.items():
        plain = integer(size)
        if plain is None or plain < 1:
            raise ValueError(
                f"{name} = {size!r}: a positive integer is needed, such as {name}=20."
            )
        found.append(plain)
    return found


def as_path(**paths: Any) -> Path:
    """The path that is given by its name; a ValueError for what names no file."""
    ((name, path),) = paths.items()
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or not Path(text).name or "\0" in text:
        raise ValueError(
            f'{name} = {path!r}: the name of a file is needed, such as {name}="run.ck".'
        )
    return Path(text)


def as_params(params: Any, such_as: str, empty: bool = False) -> dict[str, Tensor]:
    """Parameters as a dict, be they torch's own `ParameterDict`, which is no Mapping.

    Args:
        params: what was given.
        such_as: how it is made, for the message.
        empty: whether there may be none.

    Raises:
        ValueError: for what is no dict of tensors by name, such as a policy in place of its parameters.
    """
    known = callable(getattr(params, "items", None)) and not isinstance(params, type)
    found = dict(params.items()) if known else {}
    wrong = [name for name, p in found.items() if not isinstance(p, Tensor)]
    wrong += [name for name in found if not isinstance(name, str)]
    if known and not wrong and (found or empty):
        return found
    given = "an empty one" if known else described(params)
    if wrong:
        given = f"one with {wrong[0]!r}: {described(found[wrong[0]])}"
    raise ValueError(
        f"params are a dict of tensors by name, such as {such_as}, not {given}."
    )


def check_callable(takes: str | None = None, /, **functions: Any) -> None:
    """Refuses, by its name, what cannot be called: the name of a loss instead of the loss, say.

    Args:
        takes: what it is called with, in order, such as "policy params batch"; None: that is not looked at.
        functions: by name.
    """
    for name, function in functions.items():
        if not callable(function):
            raise ValueError(
                f"{name} = {function!r}: a function is needed here, not "
                f"{described(function)}."
            )
        if takes is not None:
            check_takes(name, function, takes.split())


def check_takes(name: str, function: Any, takes: list[str]) -> None:
    """Refuses, by its name, a function that does not take what it is called with, or takes it in another order."""
    called = f"{name} is called with ({', '.join(takes)})"
    try:
        own = inspect.signature(function)
        own.bind(*takes)
    except ValueError:  # of a function in C that does not say what it takes
        return
    except TypeError as error:
        raise ValueError(f"{called}: {error}. Let it take these.") from None
    order = list(own.parameters)[: len(takes)]
    if order != takes and sorted(order) == sorted(takes):
        raise ValueError(
            f"{called}, and takes ({', '.join(order)}): put them into that order."
        )


def check_shape(shape: tuple[int, ...], **tensors: Any) -> None:
    """Refuses, by its name, what is no tensor of a shape that others have."""
    for name, value in tensors.items():
        if not isinstance(value, Tensor) or value.shape != shape:
            raise ValueError(
                f"{name}: a tensor of shape {list(shape)} is needed here, not "
                f"{described(value)}."
            )


def check_result(result: Any, sizes: dict[str, int], who: str, remedy: str) -> Tensor:
    """A function's result, as a tensor of the promised shape.

    Args:
        result: what the function gave.
        sizes: the promised dimensions by letter, such as `{"N": 20, "E": 4}`; none for a single number.
        who: the function, for the message.
        remedy: what to do, a sentence.

    Raises:
        ValueError: if it is no tensor, or one of another shape.
    """
    shape = tuple(sizes.values())
    if not isinstance(result, Tensor) or tuple(result.shape) != shape:
        letters = f"[{', '.join(sizes)}] = {list(shape)}" if sizes else "[]"
        raise ValueError(
            f"{who} gave {described(result)}, and a tensor of shape {letters} is "
            f"needed: {remedy}"
        )
    return result


def ordinary(x: Tensor) -> Tensor:
    """The tensor, or a copy where it was made under `torch.inference_mode`: a graph cannot hold such a one."""
    if not x.is_inference():
        return x
    with torch.inference_mode(False):
        return x.detach().clone().requires_grad_(x.requires_grad)


def severed(x: Tensor) -> bool:
    """Whether a view was cut off its graph by `torch.no_grad`: it says that it requires a gradient and gets none."""
    base = x._base
    return x.is_leaf and base is not None and base.requires_grad


def described(value: Any) -> str:
    """A value's kind, and its shape where it has one, for a message."""
    shape = getattr(value, "shape", None)
    kind = "tensor" if isinstance(value, Tensor) else type(value).__name__
    kind = "array" if isinstance(value, np.ndarray) else kind
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, list | tuple):
        return f"a {kind} of {len(value)}"
    shaped = "" if shape is None else f" of shape {list(shape)}"
    return f"{article(kind)} {kind}{shaped}"


def article(noun: str) -> str:
    """What stands before a noun."""
    return "an" if noun.startswith((*"aeiouAEIOU", "MLP")) else "a"


def as_scores(scores: Scores, name: str = "scores") -> Tensor:
    """Scores as a tensor of floating-point numbers, see `as_floats`.

    Raises:
        ValueError: for what holds no numbers, none at all, or one that is not finite, with its place.
    """
    found = as_floats(scores, name)
    if not found.numel():
        raise ValueError(f"{name} of shape {list(found.shape)} hold no number.")
    wrong = ~found.isfinite()
    if bool(wrong.any()):
        place = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"{name} hold {found[tuple(place)].item()} at {place}: all of them must be "
            "finite. Say what a run that failed is worth, or leave it out and say so."
        )
    return found


def as_floats(values: Scores, name: str) -> Tensor:
    """A tensor of floating-point numbers: a list, an array, a table of pandas or integers will do.

    Tensors and arrays in single precision keep it; all else becomes float64.

    Raises:
        ValueError: for what holds no numbers.
    """
    found = _as_tensor(values, name)
    return found if found.dtype == torch.float32 else found.double()


def _as_tensor(scores: Scores, name: str) -> Tensor:
    if isinstance(scores, Tensor) and not scores.is_complex():
        return scores
    if isinstance(scores, list | tuple) and any(isinstance(s, Tensor) for s in scores):
        rows = [_as_tensor(s, name).double() for s in scores]
        if len({row.shape for row in rows}) == 1:
            return torch.stack(rows)
    try:
        return _from_numpy(scores)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(
            f"{name} are {described(scores)}, which is no table of numbers ({error}): "
            "a tensor, an array or a list of equally long lists is needed."
        ) from None


def _from_numpy(scores: Scores) -> Tensor:
    if _masked(scores):
        raise TypeError("some of it is masked: leave that out, as .compressed() does")
    array = np.asarray(scores)
    if array.dtype.kind == "O":  # such as a table of pandas whose columns differ
        array = array.astype(np.float64)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"it holds {array.dtype}")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))


def _masked(scores: Scores) -> bool:
    """Whether numpy is told to pass over some of these numbers, which torch would count."""
    if isinstance(scores, list | tuple):
        return any(map(_masked, scores))
    return isinstance(scores, np.ma.MaskedArray) and bool(np.ma.is_masked(scores))
