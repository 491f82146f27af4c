"""What is said of a value, a case or an error: in words that a reader acts on, none of them about the checker."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...given import number


class Fields(dict[str, Any]):
    """The fields of a dataclass by name, and what it was called."""

    kind = "a dataclass"


def describe(value: Any) -> str:
    """A value's kind and shape in words: "a tensor of shape [20, 2]"."""
    if isinstance(value, (Tensor, np.ndarray)):
        kind = "tensor" if isinstance(value, Tensor) else "numpy array"
        return f"a {kind} of shape {list(value.shape)}" if value.ndim else "a scalar"
    if isinstance(value, (bool, np.bool_)):
        return f"the truth value {bool(value)}"
    if is_number(value):
        return f"the number {float(value):.6g}"
    if isinstance(value, Fields):
        return value.kind
    if isinstance(value, Mapping):
        return f"a dict with keys {', '.join(map(repr, value)) or '(none)'}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:36] + " ...")
    return "None" if value is None else _of_another_kind(value)


def _of_another_kind(value: Any) -> str:
    if isinstance(value, types.GeneratorType):
        return "a generator, from a `yield` or a `for` in round brackets: make a list of it"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if inspect.isroutine(value):
        name = "" if value.__name__ == "<lambda>" else f" {value.__name__}"
        return f"the function{name} itself: call it, with brackets"
    return article(type(value).__name__)


def article(noun: str) -> str:
    """A noun with its article: "an Exercise"."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def form_of(value: Any) -> str:
    """What is asked for, without its numbers: "a scalar", "a tensor of shape [20, 2]"."""
    if isinstance(value, (bool, np.bool_)):
        return "True or False"
    if is_number(value) or (isinstance(value, (Tensor, np.ndarray)) and not value.ndim):
        return "a scalar, a single number"
    if isinstance(value, (tuple, list)):
        return f"a {'tuple' if isinstance(value, tuple) else 'list'} of {len(value)}"
    return "a word" if isinstance(value, str) else describe(value)


def brief(value: Any) -> str:
    """A value in full where it is small, otherwise its kind and shape."""
    if isinstance(value, Tensor):
        value = value.detach()
        return str(_rounded(value.tolist())) if value.numel() <= 12 else describe(value)
    if isinstance(value, np.ndarray):
        return str(_rounded(value.tolist())) if value.size <= 12 else describe(value)
    if isinstance(value, Fields):
        return value.kind
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {brief(leaf)}" for key, leaf in value.items()) + "}"
    if isinstance(value, (tuple, list)) and len(value) <= 6:
        return "(" + ", ".join(brief(leaf) for leaf in value) + ")"
    return f"{float(value):.6g}" if is_number(value) else describe(value)


def of_case(arguments: Mapping[str, Any]) -> str:
    """What a function was called with; what no word would make clearer, such as a network, is left out."""
    shown = {name: _argument(value) for name, value in arguments.items()}
    found = [f"{name} = {text if len(text) <= 120 else text[:110] + ' ...'}" for name, text in shown.items() if text]
    return "with " + ", ".join(found) if found else ""


def _argument(value: Any) -> str:
    if isinstance(value, torch.Generator):
        return f"generator({value.initial_seed()})"
    if callable(value):  # the functions that a case hands over say in a noun what they are
        noun = (inspect.getdoc(value) or "").split("\n")[0].split(":")[0].rstrip(".")
        return noun[:1].lower() + noun[1:]
    plain = value is None or isinstance(value, (Tensor, np.ndarray, Mapping, tuple, list, str, bool))
    return brief(value) if plain or is_number(value) else ""


# What an error of torch or of Python usually means here, by words of its message.
ADVICE = {
    "leaf Variable that requires grad": "This writes into an argument. Make a new tensor: new = old - ...",
    "sequence by non-int": "`torch.autograd.grad` returns a tuple; take the tensor out of it: (slope,) = ...",
    "'tuple' and 'float'": "A tuple is no tensor: `torch.autograd.grad` returns one; (slope,) = ... takes its content.",
    "'float' and 'tuple'": "A tuple is no tensor: `torch.autograd.grad` returns one; (slope,) = ... takes its content.",
    "implicitly created only for scalar": "Only one number can be differentiated: sum first.",
    "does not require grad and does not have": "Something on the way was cut from its graph.",
    "Trying to backward through the graph a second": "A first pass has freed the graph: compute the loss anew.",
    "have been used in the graph": "What you differentiate does not depend on what you differentiate by.",
    "ambiguous": "A tensor of several numbers is no condition.",
}


def of_error(error: BaseException) -> str:
    """What a student's function raised, with what it usually means."""
    if isinstance(error, RecursionError):
        return "your function calls itself without end."
    if isinstance(error, MemoryError):
        return "your function asks for more memory than there is."
    if isinstance(error, (SystemExit, GeneratorExit)):
        return "your function ends Python instead of returning: look for exit() or quit()."
    if type(error).__name__ == "Unreadable":
        return "what your function returns cannot be read."
    try:
        text = str(error)
    except Exception:  # an exception of the student's own
        text = ""
    advice = [words for part, words in ADVICE.items() if part in text]
    text = text if len(text) <= 400 else text[:390] + " ..."
    said = f"your function raises {type(error).__name__}" + f": {text}" * bool(text)
    return "\n  ".join([said, *advice[:1]])


def frames(attempt: Callable[..., Any], error: BaseException) -> list[tuple[str, int]]:
    """File and line of each frame of the student's own code on the way to an error, the outermost first."""
    files, found, trace = files_of(attempt), [], error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file in files:
            found.append((file, trace.tb_lineno))
        trace = trace.tb_next
    return found


def files_of(attempt: Any) -> set[str]:
    """Where a function, or the methods of a class, were written: the cell of a notebook is a file."""
    members = [attempt, *vars(attempt).values()] if inspect.isclass(attempt) else [inspect.unwrap(attempt)]
    return {member.__code__.co_filename for member in members if hasattr(member, "__code__")}


def is_number(value: Any) -> bool:
    """A number of Python or numpy; a tensor or an array is none, nor is a truth value."""
    return not isinstance(value, (Tensor, np.ndarray)) and number(value) is not None


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
