"""An exercise is data: what to call, what must come out, and which wrong answers deserve a hint."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Case = tuple[Any, ...] | dict[str, Any]


@dataclass(frozen=True)
class Exercise:
    """What `check` needs to know about one exercise of a chapter.

    The answer is a function (or class), which is compared with `reference` on every case, or a plain value (a
    prediction such as a number), which is compared with `reference` itself.

    Attributes:
        name: chapter and number, such as "6.1".
        title: a few words for messages and tests.
        reference: the correct function, or the correct value; a callable means that a function is asked for.
        cases: arguments of the calls, a tuple (positional) or a dict (by keyword) each. A list is deep-copied
            for every call. Give a function without arguments that returns the list where a copy will not do:
            tensors that are not leaves of a graph, generators.
        mistakes: for each wrong answer that deserves its own message, `{message: wrong function or value}`.
            The message says what is wrong and where to look, and does not give the solution.
        tolerance: absolute and relative tolerance of the comparison.
        through: what is compared, `through(answer, *case)`, where that is not simply `answer(*case)`: the
            gradient through an update, the methods of a class.
        parts: what a compared tuple consists of, in words for the messages: ("the value", "its gradient").
        praise: what "correct." is followed by: one sentence that carries the thought on.
    """

    name: str
    title: str
    reference: Any
    cases: Sequence[Case] | Callable[[], Sequence[Case]] = ()
    mistakes: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-5
    through: Callable[..., Any] | None = None
    parts: tuple[str, ...] = ()
    praise: str = ""

    def __post_init__(self) -> None:
        chapter, _, number = self.name.partition(".")
        if not (chapter.isdigit() and number.isdigit()):
            raise ValueError(f"an exercise is named by chapter and number, such as '6.1', not {self.name!r}")
        if callable(self.reference) != bool(self.cases):
            raise ValueError(
                f"exercise {self.name} needs cases if its reference is callable, and none if it is a value"
            )

    @property
    def asks_for_function(self) -> bool:
        """The answer is a function or class, not a plain value."""
        return callable(self.reference)

    def fresh_cases(self) -> list[Case]:
        """The cases, made anew, so that no call sees what another has done to them."""
        return list(self.cases()) if callable(self.cases) else copy.deepcopy(list(self.cases))

    def call(self, answer: Callable[..., Any], case: Case) -> Any:
        """The compared result of one answer on one case."""
        function = answer if self.through is None else lambda *a, **k: self.through(answer, *a, **k)  # type: ignore[misc]
        return function(**case) if isinstance(case, dict) else function(*case)
