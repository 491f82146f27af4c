"""No wrong answer that the rules of `mutation` make of a right one is accepted, or equivalent.txt says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from metarl_lite.lesson.check import passes

from . import mutation

NAMES = mutation.all_exercises()
SMOKE = 2  # of each exercise in the ordinary tests

SAMPLE = """
def f(x, y, dim: int = 0) -> object:
    "A docstring."
    half: object = x.sum(-1) / 2
    if half < y and dim == 1:
        half = torch.where(half > 0, half.mT, -y)
    for k in range(dim):
        half = half + k
    return half[:1] + y
"""


def equivalent() -> set[tuple[str, str]]:
    """The mutants that are right: their exercise and the line that is another."""
    text = (Path(__file__).parent / "equivalent.txt").read_text(encoding="utf-8")
    lines = [line for block in text.split("\n\n")[1:] for line in block.splitlines()[1:]]
    return {(name, line) for name, _, line in (line.partition(" ") for line in lines)}


def key(mutant: mutation.Mutant) -> tuple[str, str]:
    return mutant.exercise, mutant.change.partition(" -> ")[2]


def accepted(mutant: mutation.Mutant) -> bool:
    """Whether the checker takes it; what cannot even be defined is no answer."""
    try:
        answer = mutation.answer_of(mutant)
    except (NameError, IndexError, TypeError, ValueError):
        return False
    return passes(mutant.exercise, answer)


def wrongly_accepted(mutants: list[mutation.Mutant]) -> list[str]:
    known = equivalent()
    return [f"{m.exercise} ({m.rule}): {m.change}" for m in mutants if key(m) not in known and accepted(m)]


@pytest.mark.parametrize("name", NAMES)
def test_some_wrong_answers_are_refused(name: str) -> None:
    assert not wrongly_accepted(mutation.chosen(name, SMOKE))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_all_wrong_answers_are_refused(name: str) -> None:
    """Far more than twenty, of most exercises."""
    assert not wrongly_accepted(mutation.distinct(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({name for name, _ in equivalent()}))
def test_what_is_listed_as_right_is_accepted(name: str) -> None:
    listed = [mutant for mutant in mutation.distinct(name) if key(mutant) in equivalent()]
    assert all(accepted(mutant) for mutant in listed)


def test_the_list_holds_no_mutant_that_does_not_exist() -> None:
    there = {key(mutant) for name in {name for name, _ in equivalent()} for mutant in mutation.distinct(name)}
    assert not equivalent() - there


@pytest.mark.parametrize("name", NAMES)
def test_there_are_twenty_of_each_exercise_and_of_many_rules(name: str) -> None:
    chosen = mutation.chosen(name)
    few = {"3.1": 12, "3.2": 7, "3.4": 3, "5.1": 18, "8.2": 19, "8.3": 9, "12.3": 18, "15.7": 11}
    assert len(chosen) >= few.get(name, 20)
    assert len({mutant.rule for mutant in chosen}) >= (2 if name in ("3.4", "8.3") else 4)
    assert chosen == mutation.chosen(name)
    assert len({mutant.change for mutant in chosen}) == len(chosen)


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("operator", "half = x.sum(-1) * 2"),
        ("no factor", "half = x.sum(-1)"),
        ("no term", "half = half"),
        ("constant", "half = x.sum(-1) / 3"),
        ("constant", "half = x.sum(-1) / 1"),
        ("axis", "half = x.sum(0) / 2"),
        ("another function", "half = x.mean(-1) / 2"),
        ("no argument", "half = x.sum() / 2"),
        ("another name", "half = y.sum(-1) / 2"),
        ("comparison", "if half <= y and dim == 1:"),
        ("comparison", "if half > y and dim == 1:"),
        ("operator", "if half < y or dim == 1:"),
        ("condition", "if not (half < y and dim == 1):"),
        ("swapped", "half = torch.where(half.mT, half > 0, -y)"),
        ("transpose", "half = torch.where(half > 0, half, -y)"),
        ("sign", "half = torch.where(half > 0, half.mT, y)"),
        ("range", "for k in range(dim - 1):"),
        ("range", "for k in range(1, dim):"),
        ("no index", "return half + y"),
        ("detached", "return (half[:1] + y).detach()"),
        ("another result", "return k"),
        ("no statement", ""),
    ],
)
def test_a_rule_makes_what_it_says(rule: str, line: str) -> None:
    found = [(of, change.partition(" -> ")[2]) for of, change, _ in mutation.mutated(SAMPLE)]
    assert (rule, line) in found


def test_every_mutant_is_another_program() -> None:
    sources = [source for _, _, source in mutation.mutated(SAMPLE)]
    assert len(set(sources)) == len(sources) > 40
    for source in sources:
        compile(source, "mutant", "exec")


@pytest.mark.parametrize("name", ["0.1", "3.4", "9.1", "2.1"])
def test_what_is_not_mutated_is_accepted(name: str) -> None:
    """So a mutant is refused for what is wrong with it."""
    for mutant in mutation.mutants(name):
        whole = mutation.reference_source(mutation.of_chapter(int(name.split(".")[0]))[name])
        source = whole if mutant.origin == "reference" else mutation.written()[name][1]
        right = mutation.Mutant(name, mutant.origin, "none", "none", source)
        assert accepted(right)
        break
