"""A student's code is called so that nothing it does outlives the call: errors, chance, settings, names, prints."""

from __future__ import annotations

import contextlib
import io
import math
import random
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Names = dict[Any, dict[str, Any]]


@dataclass(frozen=True)
class Returned:
    """What a call returned, or what it raised; and what it printed."""

    value: Any
    error: BaseException | None
    printed: str


def called(function: Callable[..., Any], *arguments: Any, chance: int = 0) -> Returned:
    """Calls a student's function; whatever it raises is returned, but for a Ctrl-C, which stops as it always does.

    Args:
        function: what is called.
        arguments: with what.
        chance: a seed for the global random states, so that a check that is repeated finds the same. Calls with
            different seeds show chance that does not come from a generator.
    """
    value, error, printed = None, None, io.StringIO()
    with _CtrlC() as ctrl_c, contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        dtype, depth = torch.get_default_dtype(), sys.getrecursionlimit()
        _seed(chance)
        try:
            with torch.inference_mode(False):  # gradients are on, wherever this is called
                value = function(*arguments)
        except BaseException as raised:  # SystemExit and a KeyboardInterrupt of the student's own, too
            error = raised
        sys.setrecursionlimit(depth)
        torch.set_default_dtype(dtype)
        _put_back(ORIGINAL)
    if ctrl_c.pressed:
        raise KeyboardInterrupt from error
    return Returned(value, error, printed.getvalue())


def tried(function: Callable[..., Any], *arguments: Any) -> Returned:
    """Calls a function of the checker on what a student's has returned, which may be odd enough to make it fail."""
    try:
        with torch.inference_mode(False):
            return Returned(function(*arguments), None, "")
    except Exception as error:
        return Returned(None, error, "")


class _CtrlC:
    """Tells a real Ctrl-C from a KeyboardInterrupt that code raises, and remembers one that code has swallowed."""

    pressed = False

    def __enter__(self) -> _CtrlC:
        main = threading.current_thread() is threading.main_thread()
        self.before: Any = signal.getsignal(signal.SIGINT) if main else None
        if callable(self.before):
            signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: types.FrameType | None) -> None:
        self.pressed = True
        self.before(number, frame)

    def __exit__(self, *_: object) -> None:
        if callable(self.before):
            signal.signal(signal.SIGINT, self.before)


@contextlib.contextmanager
def sandbox() -> Iterator[None]:
    """Inside, the package and torch are as they were imported; afterwards all is as it was before."""
    names, depth = _names(), sys.getrecursionlimit()
    chance = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.inference_mode(False), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sys.setrecursionlimit(min(depth, 3000))
            _put_back(ORIGINAL)
            yield
    finally:
        sys.setrecursionlimit(depth)
        torch.set_rng_state(chance[0])
        random.setstate(chance[1])
        np.random.set_state(chance[2])  # noqa: NPY002
        _put_back(names)


def _seed(chance: int) -> None:
    torch.default_generator.manual_seed(chance)
    random.seed(chance)
    np.random.seed(chance)  # noqa: NPY002


def _names() -> Names:
    """The functions and classes of the package and of torch by name, and the members of their classes."""
    modules = [
        module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == "metarl_lite" and not name.startswith("metarl_lite.lesson")
    ]
    found: Names = {}
    for module in [*modules, torch, torch.autograd, torch.nn.functional, torch.linalg, math]:
        found[module] = {name: value for name, value in vars(module).items() if callable(value)}
    classes = {c for names in map(vars, modules) for c in names.values() if isinstance(c, type)}
    for kind in [torch.Tensor, *(c for c in classes if c.__module__.startswith("metarl_lite"))]:
        found[kind] = dict(vars(kind))
    return found


def _put_back(names: Names) -> None:
    """Names that stand for something else than they did get back what they stood for."""
    for home, known in names.items():
        now = vars(home)
        for name, value in known.items():
            if now.get(name) is not value:
                setattr(home, name, value)
        if isinstance(home, type):
            for name in [name for name in now if name not in known and callable(now[name])]:
                delattr(home, name)


ORIGINAL = _names()
