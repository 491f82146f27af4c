"""check says what is wrong, in words, and nothing that an answer does can upset it; show_source shows what runs."""

from __future__ import annotations

import importlib
import math
import re
import sys
import types
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import metarl_lite.lesson.exercises as registry
from metarl_lite.lesson.check import _judged as judged
from metarl_lite.lesson.check import check, passes, verdict
from metarl_lite.lesson.exercises.base import Exercise
from metarl_lite.lesson.exercises.compare import difference, frozen
from metarl_lite.lesson.exercises.words import brief, describe
from metarl_lite.lesson.show import show_diff, show_source

Params = dict[str, Tensor]


def step(params: Params, lr: float) -> Params:
    return {name: p - lr * p for name, p in params.items()}


def uphill(params: Params, lr: float) -> Params:
    return {name: p + lr * p for name, p in params.items()}


def raises_key(params: Params, lr: float) -> Params:
    return {"w": params["q"]}


def in_place(params: Params, lr: float) -> Params:
    for p in params.values():
        p.mul_(1 - lr)
    return params


class Doubler:
    """A class may be compared as well."""

    def __init__(self, value: float) -> None:
        self.value = value

    def twice(self) -> float:
        return 2 * self.value


class Forgetful(Doubler):
    def twice(self) -> float:
        return self.missing  # type: ignore[attr-defined,no-any-return]


def spread(draw: Any, count: int) -> Any:
    first, other = draw(torch.Generator().manual_seed(1), torch.Generator().manual_seed(2))
    yield bool((first < 1).all()), "These are not between 0 and 1."
    yield not torch.equal(torch.as_tensor(first), torch.as_tensor(other)), "No chance."


EXERCISES = [
    Exercise(
        "6.1", "inner step", step,
        cases=[({"w": torch.arange(4.0)}, 0.1), ({"w": torch.ones(3, 2), "b": torch.ones(2)}, 0.5)],
        mistakes={"You went uphill.": uphill, "There is no such key.": raises_key}, praise="Now on.",
    ),
    Exercise("6.2", "standing still", -38.26, tolerance=0.01, mistakes={"Mind the sign.": 38.26}),
    Exercise(
        "6.3", "through the step", lambda theta: 3 * theta, derivatives={"theta": "theta"},
        cases=lambda: [(torch.tensor([1.0, 2.0], requires_grad=True),)],
        mistakes={"The graph is cut.": lambda theta: 3 * theta.detach()},
    ),
    Exercise(
        "6.4", "a scalar", lambda x: x.sum(), derivatives={"x": "x"},
        cases=lambda: [(torch.ones(2, requires_grad=True),)],
    ),
    Exercise(
        "6.5", "chance", lambda count, gen: torch.rand(count, generator=gen), cases=[(3,)], facts=spread,
        mistakes={"These are not between 0 and 1.": lambda count, gen: 2 + torch.rand(count, generator=gen)},
    ),
    Exercise("6.6", "a mask", lambda x: x > 0, cases=[(torch.tensor([1.0, -1.0]),)]),
]  # fmt: skip


@pytest.fixture(autouse=True)
def chapter_six(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("metarl_lite.lesson.exercises.ch06")
    module.EXERCISES = EXERCISES  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "metarl_lite.lesson.exercises.ch06", module)
    monkeypatch.setattr(registry, "chapters", lambda: [6])


def test_correct_prints_one_line_and_returns_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("6.1", step) is None  # type: ignore[func-returns-value]
    assert capsys.readouterr().out == "6.1: correct. Now on.\n"


@pytest.mark.parametrize("stub", [lambda params, lr: None, lambda params, lr: ..., None, ...])
def test_an_unfilled_stub_is_not_attempted(stub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    check("6.1", stub)
    expected = "6.1: not attempted yet. Fill in the function above, then run this cell again.\n"
    assert capsys.readouterr().out == expected
    assert not passes("6.1", stub)


def test_not_implemented_is_not_attempted() -> None:
    def stub(params: Params, lr: float) -> Params:
        raise NotImplementedError

    assert verdict("6.1", stub).status == "unattempted"
    assert verdict("6.3", lambda theta: None).status == "unattempted"
    assert verdict("6.2", None).message.startswith("not attempted yet. Replace None")


def test_a_known_mistake_gets_its_message_also_when_it_raises() -> None:
    assert verdict("6.1", lambda params, lr: {k: p * (1 + lr) for k, p in params.items()}).message == "You went uphill."
    assert verdict("6.1", lambda params, lr: {"w": params["q"]}).message == "There is no such key."
    assert verdict("6.3", lambda theta: torch.tensor([3.0, 6.0])).message == "The graph is cut."
    assert verdict("6.2", 38.26).message == "Mind the sign."


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (lambda params, lr: {k: p[:1] for k, p in params.items()}, "form", "[4], but yours is a tensor of shape [1]"),
        (lambda params, lr: list(params), "form", "should be a dict with keys 'w', but yours is a list of 1"),
        (lambda params, lr: lr, "form", "should be a dict with keys 'w', but yours is the number 0.1"),
        (lambda params, lr: {"v": params["w"]}, "form", "a dict with keys 'w', but yours is a dict with keys 'v'"),
        (lambda params, lr: {k: p.numpy()[:1] for k, p in params.items()}, "form", "a numpy array of shape [1]"),
        (lambda params, lr: {k: p.numpy() for k, p in params.items()}, "value", "entry 'w' of the result should be"),
        (lambda params, lr: dict.fromkeys(params, "w"), "form", "a tensor of shape [4], but yours is 'w'"),
        (lambda params, lr: {k: 0 * p for k, p in params.items()}, "value", "entry 'w' of the result should be"),
        (lambda params, lr: {k: p * torch.nan for k, p in params.items()}, "value", "yours is [nan, nan, nan, nan]"),
        (in_place, "changed", "changes its argument `params`; make new tensors"),
        (3, "form", "a function is asked for, but you gave the number 3"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(answer: Any, status: str, words: str) -> None:
    found = verdict("6.1", answer)
    assert found.status == status
    assert words in found.message
    if callable(answer):
        assert "In case 1 of 2" in found.message
        assert "with params = {'w': [0.0, 1.0, 2.0, 3.0]}, lr = 0.1" in found.message


def test_a_number_in_brackets_is_told_that_a_scalar_is_meant() -> None:
    message = verdict("6.4", lambda x: x.sum().reshape(1)).message
    assert "a scalar, a single number, but yours is a tensor of shape [1]. Take the number out of it: [0]." in message


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: -x.sum(), "should be 2.0, but yours is -2.0. The sign is turned."),
        (lambda x: x.sum().log() * torch.inf - torch.inf, "look for 0 / 0"),
        (lambda x: x.sum, "the function sum itself: call it"),
        (lambda x: (n for n in x), "a generator, from a `yield`"),
        (lambda x: float(x.sum()), "the value is right, but it carries no gradient"),
        (lambda x: (x.detach() + 0 * x.sum()).sum(), "the gradient with respect to x is not: it should be [1.0, 1.0]"),
        (lambda x: x.detach().clone().requires_grad_().sum(), "no gradient reaches x"),
    ],
)
def test_what_is_nearly_right_is_told_so(answer: Any, words: str) -> None:
    assert words in verdict("6.4", answer).message


def test_a_table_is_told_what_is_wrong_with_it() -> None:
    right = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    for got, words in (
        (right.T, "Yours is its transpose"),
        (right.flip(0), "their order is not"),
        (right / 2, "Each number is 0.5 times what it should be"),
        (-right, "The sign is turned"),
    ):
        assert words in (difference(got, right, 1e-6) or ("", ""))[1]
    assert not (difference(right + 1, right, 1e-6) or ("", ""))[1].endswith("be.")


def test_none_in_a_later_case_is_a_missing_return() -> None:
    found = verdict("6.1", lambda params, lr: step(params, lr) if lr < 0.2 else None)
    assert "In case 2 of 2" in found.message
    assert "look for a branch without `return`" in found.message


def test_an_exception_is_named_with_the_students_line() -> None:
    def attempt(params: Params, lr: float) -> Params:
        small = {}
        return small["w"]  # type: ignore[no-any-return]

    found = verdict("6.1", attempt)
    assert found.status == "error"
    assert found.message.startswith("your function raises KeyError: 'w'")
    assert re.search(r'in line \d+ of your cell: return small\["w"\]', found.message)


def test_an_exception_below_the_students_code_names_the_students_line() -> None:
    found = verdict("6.1", lambda params, lr: {k: p @ torch.ones(7) for k, p in params.items()})
    assert found.message.startswith("your function raises RuntimeError")
    assert "torch.ones(7)" in found.message


def test_answers_that_are_drawn_are_judged_by_what_holds_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert passes("6.5", lambda count, gen: torch.rand(count, generator=gen).tolist())
    assert verdict("6.5", lambda count, gen: 3 * torch.rand(count, generator=gen)).message.startswith("These are not")
    assert verdict("6.5", lambda count, gen: torch.ones(count) / 2).message == "No chance."
    assert "[3], but yours is a tensor of shape [1]" in verdict("6.5", lambda count, gen: torch.ones(1)).message
    assert verdict("6.5", lambda count, gen: None).status == "unattempted"
    assert verdict("6.5", lambda count, gen: count / 0).message.startswith("your function raises ZeroDivisionError")


def test_a_callable_that_is_no_function_is_judged_too() -> None:
    assert verdict("6.4", Doubler).message.startswith("not yet. In case 1 of 1, the result should be a scalar")
    assert "but yours is a Doubler" in verdict("6.4", Doubler).message
    assert "return self.missing" in verdict("6.4", lambda x: Forgetful(1.0).twice()).message


def test_values_are_compared_and_not_types() -> None:
    """A number is one in whatever library; a list or an array is a tensor; a truth value is no number."""
    for right in (
        22,
        22.0,
        np.float32(22),
        np.int64(22),
        torch.tensor(22),
        torch.tensor(22.0),
        Fraction(22),
        np.array(22.0),
    ):
        assert difference(right, 22, 0.0) is None, right
        assert difference(right, 22.0, 0.0) is None, right
        assert difference(right, torch.tensor(22), 0.0) is None, right
    arms = torch.tensor([0, 1, 1])
    for right in (arms, arms.float(), arms.int(), arms.numpy(), [0, 1, 1], (0.0, 1.0, 1.0), list(arms)):
        assert difference(right, arms, 0.0) is None, right
        assert difference(right, [0, 1, 1], 0.0) is None, right
        assert difference(right, arms.double(), 0.0) is None, right
    for right in (True, np.bool_(True), torch.tensor(True)):
        assert difference(right, True, 0.0) is None
    assert difference(np.str_(" Neither"), "neither", 0.0) is None


def test_what_is_another_value_or_none_is_told() -> None:
    assert passes("6.6", lambda x: torch.tensor([True, False]))
    assert passes("6.6", lambda x: [True, False])
    message = verdict("6.6", lambda x: (x > 0).float()).message
    assert "should hold truth values, True or False, but yours holds numbers" in message
    for wrong, words in (
        (22.5, "should hold whole numbers, but yours is 22.5"),
        (True, "should be a scalar, a single number, but yours is the truth value True"),
        ("22", "should be a scalar, a single number, but yours is '22'"),
        (22 + 0j, "but yours is a complex"),
        ([22], "but yours is a list of 1"),
        (21.0, "should be 22, but yours is 21"),
    ):
        assert words in (difference(wrong, 22, 0.0) or ("", ""))[1], wrong
    arms = torch.tensor([0, 1])
    for odd in ([0.0, 0.5], torch.tensor([0.0, math.nan])):
        assert "whole numbers" in (difference(odd, arms, 0.0) or ("", ""))[1]
    for form in ([[0], [1, 2]], ["0", "1"], [None, 1], {"a": 1}, [0, 1, 1]):
        assert (difference(form, arms, 0.0) or ("", ""))[0] == "form", form
    assert difference(1, True, 0.0) is not None
    assert difference(torch.tensor(1), True, 0.0) is not None


def real(name: str) -> Exercise:
    """An exercise of the book, of another chapter than the one that stands in here."""
    chapter = importlib.import_module(f"metarl_lite.lesson.exercises.ch{int(name.split('.')[0]):02d}")
    return next(exercise for exercise in chapter.EXERCISES if exercise.name == name)


def test_the_reported_answers() -> None:
    plan, seeds, aims = real("10.2"), real("3.4"), real("8.3")
    right = plan.reference
    assert judged(plan, lambda *given: (right(*given)[0], right(*given)[1].float())).status == "correct"
    assert judged(plan, lambda *given: (right(*given)[0], right(*given)[1] + 0.5)).status == "form"
    for answer in (22.0, torch.tensor(22.0), np.ceil(21.6), torch.ceil(torch.tensor(21.648)), math.ceil(21.6)):
        assert judged(seeds, answer).status == "correct"
    assert "round up" in judged(seeds, 21.6).message
    assert "round up" in judged(seeds, 2 * (1.645 / 0.5) ** 2).message
    assert judged(seeds, 21.0).message.startswith("With one seed fewer")
    assert judged(seeds, 23).status == "value"
    loose = {"plain": "Neither", "dice": " neither", "e_maml": "ii", "dice_sampled": np.str_("NEITHER")}
    assert judged(aims, loose).status == "correct"


@pytest.mark.parametrize("name", ["3.4", "8.3"])
@pytest.mark.parametrize("answer", ["much", [22], 22.5, {"plain": 1}, object(), max, {"plain": "neither"}])
def test_a_prediction_of_another_kind_does_not_draw_the_answer_out(name: str, answer: Any) -> None:
    found = judged(real(name), answer)
    assert found.status in ("form", "value")
    kind = "whole number" if name == "3.4" else "a dict with the keys"
    assert kind in found.message or found.status == "value"
    assert not re.search(r"\b22\b(?!\.5)|: 'neither'|be 'neither'", found.message.replace("[22]", ""))


def test_of_several_predicted_numbers_the_wrong_ones_are_named() -> None:
    four = real("15.3")
    right = four.reference
    two = judged(four, right | {"summed": 1.0, "first order": 3.0})
    assert two.message == "not yet. Not right: 'first order', 'summed'; try a hint."
    near = judged(four, right | {"summed": 2.055})  # within 1 %, and not the rounded one
    assert near.status == "value"
    assert near.message.endswith("is not the answer; try a hint.")
    rounded = judged(four, {name: round(error, 2) for name, error in right.items()})
    assert rounded.status == "mistake"
    assert "rounded" in rounded.message


def test_a_prediction_with_an_empty_entry_is_not_finished() -> None:
    half = {"plain": "neither", "dice": ..., "e_maml": None, "dice_sampled": "neither"}
    assert judged(real("8.3"), half).status == "unattempted"


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_answers_are_judged_with_gradients_on(mode: Any) -> None:
    with mode():
        assert passes("6.3", lambda theta: 3 * theta)
        assert passes("6.4", lambda x: x.sum())


def test_an_answer_cannot_change_the_cases_of_the_next() -> None:
    verdict("6.1", in_place)
    assert passes("6.1", step)
    assert torch.equal(EXERCISES[0].cases[0][0]["w"], torch.arange(4.0))  # type: ignore[index]


def test_a_prediction_that_is_off_is_not_given_away() -> None:
    found = verdict("6.2", -30.0)
    assert found.status == "value"
    assert "38" not in found.message
    assert verdict("6.2", "much").status == "form"
    assert passes("6.2", torch.tensor(-38.262))


def test_large_results_show_the_first_difference() -> None:
    expected = torch.zeros(5, 6)
    got = expected.clone()
    got[2, 3] = 1.5
    kind, sentence = difference(got, expected, 1e-6) or ("", "")
    assert kind == "value"
    assert "differs in 1 of 30 numbers, first at [2, 3]: should be 0, but yours is 1.5" in sentence


def test_a_wrong_shape_goes_before_a_wrong_number() -> None:
    got = {"a": torch.ones(2), "b": torch.zeros(3)}
    expected = {"a": torch.zeros(2), "b": torch.zeros(4)}
    assert (difference(got, expected, 1e-6) or ("", ""))[0] == "form"


def test_rollouts_are_compared_by_field() -> None:
    from metarl_lite.lesson.check import Verdict

    assert difference(frozen(Verdict("a", "b")), frozen(Verdict("a", "c")), 0) == (
        "value",
        "entry 'message' of the result should be 'c', but yours is 'b'.",
    )


def test_words_for_values() -> None:
    assert describe(torch.tensor(1.0)) == "a scalar"
    assert describe(True) == "the truth value True"
    assert describe(object()) == "an object"
    assert describe(math) == "a module"
    assert describe(frozen(EXERCISES[0])) == "an Exercise"
    assert brief((1.0, torch.ones(2), np.arange(3))) == "(1, [1.0, 1.0], [0, 1, 2])"
    assert brief(torch.ones(4, 5)) == "a tensor of shape [4, 5]"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no exercise '6\.9'; chapter 6 has 6\.1, 6\.2"):
        check("6.9", step)
    with pytest.raises(ValueError, match=r"no exercise '7\.1'; known are 6\.1, 6\.2"):
        check("7.1", step)
    with pytest.raises(ValueError, match=r"chapter 7 has no exercises; chapters with exercises: 6"):
        registry.of_chapter(7)


@pytest.mark.parametrize(("fields", "words"), [
    ({"name": "six", "reference": 1.0}, "named by chapter and number"),
    ({"name": "6.1", "reference": step}, "needs cases"),
    ({"name": "6.1", "reference": 1.0, "cases": [(1,)]}, "none if it is a value"),
])  # fmt: skip
def test_a_misshapen_exercise_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Exercise(title="a title", **fields)


def documented(x: Tensor) -> Tensor:
    """A claim.

    More words.
    """
    return x  # kept


def only_a_docstring() -> None:
    """Nothing but this."""


class Shown:
    """Of the class."""

    size = 1

    @property
    def twice(self) -> int:
        """Of the method."""
        return 2 * self.size


def test_show_source_leaves_docstrings_out(capsys: pytest.CaptureFixture[str]) -> None:
    show_source(documented, Shown, only_a_docstring)
    expected = """\
# tests.lesson.test_check.documented
def documented(x: Tensor) -> Tensor:
    return x  # kept

# tests.lesson.test_check.Shown
class Shown:
    size = 1

    @property
    def twice(self) -> int:
        return 2 * self.size

# tests.lesson.test_check.only_a_docstring
def only_a_docstring() -> None:
    ...
"""
    assert capsys.readouterr().out == expected


def test_show_source_keeps_the_docstring_if_asked(capsys: pytest.CaptureFixture[str]) -> None:
    show_source(documented, docstring=True)
    assert "More words." in capsys.readouterr().out


def test_show_source_is_markdown_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    published = []
    monkeypatch.setitem(show_source.__globals__, "publish", published.append)
    show_source(documented)
    assert published[0]["text/markdown"].startswith("`tests.lesson.test_check.documented`\n\n```python\ndef documented")
    assert "0x" not in published[0]["text/plain"]


def gradient(x: Tensor, lr: float) -> Tensor:
    """How it was.

    At length.
    """
    first = 2 * x
    second = lr * first
    # a comment of both
    third = second + 1
    fourth = third * third
    return fourth


def other_gradient(x: Tensor, lr: float) -> Tensor:
    """How it is: a docstring is no difference."""
    first = 2 * x
    second = lr * first
    # a comment of both
    third = second - 1
    third = third + x
    fourth = third * third
    return fourth


class Stretched(Doubler):
    def twice(self) -> float:
        return 2 * self.value


def check_diff(function: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines that go and come, two lines of what is the same around them, no docstrings, no numbers of lines."""
    function(gradient, other_gradient)
    assert capsys.readouterr().out.splitlines() == [
        "--- tests.lesson.test_check.gradient",
        "+++ tests.lesson.test_check.other_gradient",
        "-def gradient(x: Tensor, lr: float) -> Tensor:",
        "+def other_gradient(x: Tensor, lr: float) -> Tensor:",
        "     first = 2 * x",
        "     second = lr * first",
        "     # a comment of both",
        "-    third = second + 1",
        "+    third = second - 1",
        "+    third = third + x",
        "     fourth = third * third",
        "     return fourth",
    ]


def test_show_diff_shows_what_goes_and_what_comes(capsys: pytest.CaptureFixture[str]) -> None:
    check_diff(show_diff, capsys)


@pytest.mark.parametrize(
    "broken",
    [
        lambda old, new: show_diff(new, old),
        lambda old, new: show_diff(old, new, context=0),
        lambda old, new: show_diff(old, old),
        lambda old, new: show_source(old, new),
    ],
)
def test_what_is_no_such_diff_fails(broken: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AssertionError):
        check_diff(broken, capsys)


def test_show_diff_leaves_out_what_is_far_from_a_change(capsys: pytest.CaptureFixture[str]) -> None:
    show_diff(gradient, other_gradient, context=0)
    lines = capsys.readouterr().out.splitlines()[2:]
    assert all(line[0] in "+-" for line in lines)
    assert len(lines) == 5


def test_show_diff_of_what_is_the_same_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    show_diff(gradient, gradient)
    assert capsys.readouterr().out.strip() == ""


def test_show_diff_compares_classes_and_methods(capsys: pytest.CaptureFixture[str]) -> None:
    show_diff(Doubler, Stretched)
    out = capsys.readouterr().out
    assert "-class Doubler:\n" in out
    assert "+class Stretched(Doubler):\n" in out
    assert "-    def __init__(self, value: float) -> None:\n" in out
    show_diff(Doubler.twice, Forgetful.twice)
    out = capsys.readouterr().out
    assert "--- tests.lesson.test_check.Doubler.twice\n+++ tests.lesson.test_check.Forgetful.twice\n" in out
    assert "-    return 2 * self.value\n+    return self.missing" in out


def test_show_diff_is_markdown_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[dict[str, str]] = []
    monkeypatch.setitem(show_diff.__globals__, "publish", published.append)
    show_diff(gradient, other_gradient)
    (shown,) = published
    assert shown["text/markdown"] == f"```diff\n{shown['text/plain']}\n```"
    assert "0x" not in shown["text/plain"]
    assert "@@" not in shown["text/plain"]


def test_first_order_maml_is_maml_with_one_word_more(capsys: pytest.CaptureFixture[str]) -> None:
    """The diff that a chapter shows: the name, and that the inner steps keep no graph."""
    from metarl_lite.algorithms.relatives import fomaml_gradient, maml_gradient

    show_diff(maml_gradient, fomaml_gradient)
    lines = capsys.readouterr().out.splitlines()[2:]
    (name, word) = (line for line in lines if line[0] == "+")
    assert name == "+def fomaml_gradient("
    assert "create_graph=False" in word


def test_the_parts_of_a_tuple_are_called_by_their_names_and_long_arguments_are_cut() -> None:
    exercise = Exercise(
        "6.9", "parts", reference=lambda x: (x.sum(), x.mean()), cases=[(torch.arange(12.0) / 7,)],
        parts=("the value", "its mean"),
    )  # fmt: skip
    message = judged(exercise, lambda x: (x.sum(), x.mean() + 1)).message
    assert "its mean should be" in message
    assert "result" not in message
    assert max(map(len, message.splitlines())) < 200
    assert "Asked for are the value and its mean." in judged(exercise, lambda x: x.sum()).message
