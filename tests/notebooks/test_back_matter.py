"""The pages behind the chapters: what they list is complete, in order, and runs."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import torch

from tools import contents
from tools.contents import ROOT
from tools.standard import Chapter

NOTATION, GLOSSARY, ERRATA, TEACHERS = (
    (ROOT / "book" / f"{name}.md").read_text(encoding="utf-8")
    for name in ("notation", "glossary", "errata", "teachers")
)
MARKED = re.compile(r"<!--\s*eq:\s*(\w+)\s*-->\s*\$\$(.*?)\$\$", re.DOTALL)
GREEK = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "eta",
    "theta",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "pi",
    "rho",
    "phi",
]
#: What an equation introduces for itself alone, in the words beside it: no letter for the page to keep.
OF_ONE_EQUATION = {"e", "f", "j", "p", "q", "i", "k", "o", "l", "S", "D", "O", "P", "A", "B"}
ENTRIES = re.findall(r"^(\S.*)\n  \S", GLOSSARY.split("```{glossary}")[1], re.MULTILINE)


def letters(equation: str) -> set[str]:
    """The letters of an equation, without words, indices and commands."""
    plain = re.sub(r"\\(text|mathrm|operatorname)\s*\{[^{}]*\}", " ", equation)
    greek = {name for name in GREEK if re.search(rf"\\{name}(?![A-Za-z])", plain)}
    plain = re.sub(r"_\{[^{}]*\}|_.", " ", re.sub(r"\\[a-zA-Z]+", " ", plain))
    return greek | set(re.findall(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])", plain))


def listed(letter: str, page: str = NOTATION) -> bool:
    """Whether the letter stands in a formula of the page."""
    sought = rf"\\{letter}(?![A-Za-z])" if len(letter) > 1 else rf"(?<![A-Za-z\\]){letter}(?![A-Za-z])"
    return any(re.search(sought, formula) for formula in re.findall(r"\$([^$]+)\$", page))


@pytest.mark.parametrize("path", contents.notebooks(), ids=lambda path: path.stem)
def test_letters_of_the_marked_equations_are_in_the_notation(path: Path) -> None:
    for name, equation in MARKED.findall(Chapter.read(path).prose):
        lacking = {letter for letter in letters(equation) - OF_ONE_EQUATION if not listed(letter)}
        assert not lacking, f"{name}: {sorted(lacking)}"


def test_a_letter_that_is_not_listed_is_noticed() -> None:
    assert letters(r"\kappa\, v_x + \text{word} \max_a \mathbb E[x]") == {"kappa", "v", "E", "x"}
    assert listed("kappa", r"the greed $e^{\kappa Q}$")
    assert not listed("kappa", "the greed kappa")
    assert not listed("v", r"$\nu$ and $value$")


@pytest.mark.parametrize("letter", "JLbQcGwVCWmgusz")
def test_a_letter_of_several_meanings_stands_among_the_collisions(letter: str) -> None:
    assert listed(letter, NOTATION.split("## Where letters collide")[1])


def test_terms_of_the_glossary_are_in_order_and_none_is_missing() -> None:
    plain = [re.sub(r"[^a-z0-9 ]", "", entry.casefold()) for entry in ENTRIES]
    assert plain == sorted(plain)
    wanted = {"Bandit", "Entropy bonus", "GridNavi", "Hidden state", "OPSRL", "Truncated back-propagation", "UCRL2"}
    assert wanted <= set(ENTRIES)


def test_teachers_have_every_chapter_in_a_plan() -> None:
    plans = TEACHERS.split("## Course plans")[1].split("## Run times")[0]
    for number in sorted(contents.chapters())[1:]:
        assert re.search(rf"\| chapter {number}\b", plans), f"chapter {number} is in no plan"


def test_the_sketch_of_the_deep_copy_fails_as_the_page_says_and_in_no_other_way() -> None:
    """The initialisation gets no gradient; the copy gets the query's, without the support's added to it."""
    code = next(block for block in re.findall(r"```python\n(.*?)```", ERRATA, re.DOTALL) if "deepcopy" in block)
    policy = torch.nn.Linear(2, 1)
    x, y = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -1.0]])
    before = copy.deepcopy(policy.state_dict())
    scope = {
        "copy": copy,
        "torch": torch,
        "policy": policy,
        "meta_optimiser": torch.optim.SGD(policy.parameters(), lr=0.1),
        "loss_on_support": lambda of: of(x).square().sum(),
        "loss_on_query": lambda of: of(y).square().sum(),
    }
    exec(code, scope)
    assert all(p.grad is None for p in policy.parameters())
    assert all(torch.equal(p, before[name]) for name, p in policy.state_dict().items())
    adapted = scope["adapted"]
    assert isinstance(adapted, torch.nn.Linear)
    query = torch.autograd.grad(adapted(y).square().sum(), list(adapted.parameters()))
    for p, gradient in zip(adapted.parameters(), query, strict=True):
        torch.testing.assert_close(p.grad, gradient)
