"""No code of a student ends the checker, gets past it by accident, or leaves anything behind."""

from __future__ import annotations

import contextlib
import math
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import metarl_lite
from metarl_lite.lesson.check import _judged as judged
from metarl_lite.lesson.check import check, passes, verdict
from metarl_lite.lesson.exercises.base import Exercise
from metarl_lite.lesson.exercises.guard import called, sandbox

DOUBLE = Exercise(
    "6.1", "twice", lambda x: 2 * x, cases=lambda: [(torch.ones(2, requires_grad=True),), (torch.arange(3.0),)]
)
SUM = Exercise(
    "6.2", "a sum", lambda x: x.sum(), derivatives={"x": "x"}, cases=lambda: [(torch.ones(2, requires_grad=True),)]
)


class Odd:
    """Whatever is asked of it, it answers oddly."""

    def __eq__(self, other: object) -> Any:
        raise RuntimeError("no comparison")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")

    def __repr__(self) -> str:
        raise RuntimeError("no words")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __iter__(self) -> Iterator[int]:
        raise RuntimeError("no parts")


class Always:
    """Equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class Mute(Exception):
    """Cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def raising(error: BaseException) -> Callable[[Tensor], Tensor]:
    def answer(x: Tensor) -> Tensor:
        raise error

    return answer


def endless(x: Tensor) -> Tensor:
    return endless(x)


def nested(x: Tensor) -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def yielding(x: Tensor) -> Iterator[Tensor]:
    yield 2 * x


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (raising(SystemExit()), "ends Python instead of returning"),
        (raising(KeyboardInterrupt()), "your function raises KeyboardInterrupt"),
        (raising(GeneratorExit()), "ends Python"),
        (raising(Mute()), "your function raises Mute"),
        (raising(MemoryError()), "more memory than there is"),
        (raising(StopIteration()), "your function raises StopIteration"),
        (lambda x: sys.exit(3), "ends Python"),
        (endless, "calls itself without end"),
        (nested, "cannot be read"),
        (yielding, "a generator, from a `yield`"),
        (lambda x: Odd(), "but yours is an Odd"),
        (lambda x: Always(), "but yours is an Always"),
        (lambda x: [Odd(), Odd()], "a list of 2"),
        (lambda x: {Always(): x}, "a dict"),
        (lambda x: x.expand(10**9, 2), "a tensor of shape [1000000000, 2]"),
        (lambda x: "x" * 10**6, "xxx ..."),
        (lambda x: {1, 2}, "a set"),
        (lambda x: x * torch.nan, "not finite"),
        (lambda x: x.to_sparse() * 3, "should be [2.0, 2.0]"),
        (lambda x: torch.empty(2, device="meta"), "cannot be read"),
        (lambda x: x + 1j, "complex numbers"),
        (lambda x: DOUBLE, "but yours is an Exercise"),
        (lambda x: x, "Each number is 0.5 times"),
    ],
)
def test_whatever_an_answer_does_gets_a_message(answer: Any, words: str) -> None:
    found = judged(DOUBLE, answer)
    assert found.status != "correct"
    assert words in found.message
    assert "Traceback" not in found.message


@pytest.mark.parametrize("value", [Odd(), Always(), nested(torch.ones(1)), {Always(): 1}, "x" * 10**6, float("nan")])
@pytest.mark.parametrize("name", ["3.4", "8.3"])
def test_whatever_is_given_for_a_value_gets_a_message(name: str, value: Any) -> None:
    assert verdict(name, value).status in ("form", "value")


def test_a_sparse_answer_is_right_if_its_numbers_are() -> None:
    assert judged(DOUBLE, lambda x: (2 * x).to_sparse()).status == "correct"


def test_a_real_ctrl_c_stops_the_check() -> None:
    def interrupted(x: Tensor) -> Tensor:
        signal.raise_signal(signal.SIGINT)
        return 2 * x

    def swallowing(x: Tensor) -> Tensor:
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGINT)
        return 2 * x

    before = signal.getsignal(signal.SIGINT)
    for answer in (interrupted, swallowing):
        with pytest.raises(KeyboardInterrupt):
            judged(DOUBLE, answer)
        assert signal.getsignal(signal.SIGINT) is before


def test_in_a_thread_answers_are_judged_too() -> None:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(judged(DOUBLE, lambda x: 2 * x).status))
    thread.start()
    thread.join()
    assert found == ["correct"]


def settings() -> list[Any]:
    return [
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        sys.getrecursionlimit(),
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
        list(warnings.filters),
        sys.stdout,
        metarl_lite.adapt,
        torch.autograd.grad,
        torch.Tensor.detach,
        math.log,
    ]


def unruly(x: Tensor) -> Tensor:
    """Right, and without manners."""
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    sys.setrecursionlimit(10**6)
    warnings.simplefilter("error")
    sys.stdout = None  # type: ignore[assignment]
    torch.autograd.grad = lambda *a, **k: (torch.zeros(2),)
    torch.Tensor.detach = lambda self: 0 * self
    metarl_lite.adapt = None  # type: ignore[assignment]
    math.log = math.exp
    with torch.enable_grad():
        return 2 * x.sum() - x.sum()


def test_settings_chance_and_names_are_afterwards_what_they_were() -> None:
    before = settings()
    assert judged(SUM, unruly).status == "correct"
    assert judged(SUM, lambda x: unruly(x) + 1).status == "value"
    assert settings() == before


def test_a_class_of_the_package_keeps_its_methods() -> None:
    policy = metarl_lite.MLPPolicy

    def patching(x: Tensor) -> Tensor:
        policy.params = lambda self: {}  # type: ignore[method-assign, assignment]
        policy.extra = lambda self: 1  # type: ignore[attr-defined]
        return 2 * x

    before = dict(vars(policy))
    assert judged(DOUBLE, patching).status == "correct"
    assert dict(vars(policy)) == before


def test_what_was_replaced_before_does_not_make_a_wrong_answer_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """A student's own function in the place of the package's would be compared with itself."""
    from metarl_lite.algorithms import inner

    name, right = "6.2", inner.adapt
    first_order: Any = lambda *given: right(*given, create_graph=False)  # noqa: E731

    def outer_loss(policy: Any, theta: Any, support: Any, query: Any, lr: float) -> Tensor:
        params = metarl_lite.tile(theta, len(support.rewards))
        return metarl_lite.policy_gradient(
            policy, first_order(policy, params, support, metarl_lite.policy_gradient, lr), query
        ).mean()

    monkeypatch.setattr(inner, "adapt", first_order)
    assert not passes(name, outer_loss)
    assert inner.adapt is first_order


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_are_on_inside_and_as_before_outside(mode: Any) -> None:
    with mode():
        assert judged(SUM, lambda x: x.sum()).status == "correct"
        assert not torch.is_grad_enabled()


def test_chance_of_ones_own_is_the_same_in_every_check_and_differs_from_call_to_call() -> None:
    with sandbox():
        assert called(torch.rand, 3, chance=1).value.equal(called(torch.rand, 3, chance=1).value)
        assert not called(torch.rand, 3, chance=1).value.equal(called(torch.rand, 3, chance=2).value)


def test_what_is_printed_is_shown_once_before_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    def talking(*given: Any) -> float:
        print("0.3: correct.", len(given))
        return 1.0

    check("0.3", talking)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "0.3: correct. 1"
    assert lines[1].startswith("0.3: not yet. In case 1 of 3")
    check("0.3", lambda *given: print("x" * 10**6))
    out = capsys.readouterr().out
    assert len(out) < 3000
    assert "prints something and returns None: return it." in out


def test_a_forgotten_return_is_no_empty_stub() -> None:
    def forgetful(x: Tensor) -> None:
        y = 2 * x  # noqa: F841

    assert "returns None" in judged(DOUBLE, forgetful).message
    assert judged(DOUBLE, lambda x: None).status == "unattempted"
    assert judged(DOUBLE, lambda x: 2 * x if x.requires_grad else None).status == "form"


def in_place(x: Tensor) -> Tensor:
    x.data.mul_(2)
    return x


def test_an_argument_that_is_changed_is_named_and_the_next_check_has_its_own() -> None:
    found = judged(DOUBLE, in_place)
    assert found.status == "changed"
    assert "changes its argument `x`" in found.message
    spoilt = judged(DOUBLE, lambda x: in_place(x) + 1)
    assert spoilt.status == "value"
    assert "And your function changes its argument `x`" in spoilt.message
    assert judged(DOUBLE, lambda x: 2 * x).status == "correct"


def test_what_is_returned_cannot_be_changed_later() -> None:
    buffer = torch.zeros(2)

    def reusing(x: Tensor) -> Tensor:
        return buffer.copy_(2 * x[:2].detach()) if len(x) == 2 else buffer.resize_(3).copy_(2 * x)

    assert judged(DOUBLE, reusing).status == "correct"


def test_a_graph_that_is_gone_is_told_in_words() -> None:
    def freeing(x: Tensor) -> Tensor:
        loss = (x * x).sum() / 2 + (x - x * x / 2).sum()
        loss.backward()
        return loss

    message = judged(SUM, freeing).message
    assert "its gradient cannot be computed" in message
    assert "backward()" in message


def test_errors_come_with_what_they_usually_mean() -> None:
    def writing(x: Tensor) -> Tensor:
        x += 1
        return x.sum()

    def tuple_times(x: Tensor) -> Tensor:
        return x - 0.1 * torch.autograd.grad((x * x).sum(), x)  # type: ignore[operator]

    assert "Make a new tensor" in judged(SUM, writing).message
    assert "returns a tuple" in judged(SUM, tuple_times).message
    assert "in line" in judged(SUM, lambda x: x[5]).message
