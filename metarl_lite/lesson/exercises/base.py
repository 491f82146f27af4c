"""An exercise is data: what to call, what must come out, and which wrong answers deserve a hint."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Case = tuple[Any, ...]

#: What must be true of answers that are drawn at random, in order, each with the message where it is not.
Facts = Iterator[tuple[bool, str]]


@dataclass(frozen=True)
class Exercise:
    """What `check` needs to know about one exercise of a chapter.

    The answer is a function, which is compared with `reference` on every case, or a plain value (a prediction such as
    a number), which is compared with `reference` itself.

    Attributes:
        name: chapter and number, such as "6.1".
        title: a few words for messages and tests.
        reference: the correct function, or the correct value; a callable means that a function is asked for. Its
            arguments are called as in the notebook, since messages name them.
        cases: arguments of the calls, a tuple each. A list is deep-copied for every call. Give a function without
            arguments that returns the list where a copy will not do: tensors that are not leaves, generators.
        mistakes: for each wrong answer that deserves its own message, `{message: wrong function or value}`; of values
            a tuple holds several. The message says what is wrong and where to look, and does not give the solution.
        tolerance: absolute and relative tolerance of the comparison.
        derivatives: by which arguments the answer is to be differentiated, `{"theta": "theta"}`: the name (or
            "actor.weight") and what a message calls it. Gradients are then compared as well as values.
        orders: how many derivatives are compared.
        calls: what is wrong with how a function among the arguments was called, `{"product": complaint}`:
            `complaint(arguments of all calls, arguments of the case)` gives the message, "" where nothing is.
        facts: where the answer draws at random and is free to do so in its own way, what must hold of it instead of
            being equal: `facts(draw, *case)` with `draw(seeds)` the answers for each of these seeds; the case ends
            before the generator, which is the last argument.
        parts: what the parts of a returned tuple are called in messages: ("the value", "the arm").
        words: a case in words, `words(*case)`, where a list of its arguments would say little.
        form: what a value should be, for messages: "a whole number".
        praise: what "correct." is followed by: one sentence that carries the thought on.
    """

    name: str
    title: str
    reference: Any
    cases: Sequence[Case] | Callable[[], Sequence[Case]] = ()
    mistakes: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-5
    derivatives: Mapping[str, str] = field(default_factory=dict)
    orders: int = 1
    calls: Mapping[str, Callable[[list[Case], Mapping[str, Any]], str]] = field(default_factory=dict)
    facts: Callable[..., Facts] | None = None
    parts: tuple[str, ...] = ()
    words: Callable[..., str] | None = None
    form: str = ""
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
        """The answer is a function, not a plain value."""
        return callable(self.reference)

    def fresh_cases(self) -> list[Case]:
        """The cases, made anew, so that no call sees what another has done to them."""
        return list(self.cases()) if callable(self.cases) else copy.deepcopy(list(self.cases))

    def named(self, case: Case) -> dict[str, Any]:
        """The arguments of a case by the names that they have in the notebook."""
        return dict(zip(inspect.signature(self.reference).parameters, case, strict=False))
