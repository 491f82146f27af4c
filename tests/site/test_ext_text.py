"""What the extension makes of running text: links to works, terms, chapters, figures, equations and public names."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from myst_parser.docutils_ import Parser
from pybtex.database import parse_string
from sphinx.addnodes import pending_xref

from .conftest import ROOT


@pytest.fixture(scope="module")
def reading() -> Iterator[Any]:
    """The extension, as Sphinx finds it."""
    sys.path.insert(0, str(ROOT / "book" / "ext"))
    import reading

    yield reading
    sys.path.remove(str(ROOT / "book" / "ext"))


def page(text: str) -> nodes.document:
    """What the book makes of a page in Markdown, before it is linked."""
    settings = {
        "warning_stream": StringIO(), "myst_suppress_warnings": ["myst"], "doctitle_xform": False,
        "myst_enable_extensions": ["dollarmath"],
    }  # fmt: skip
    made: nodes.document = publish_doctree(text, parser=Parser(), settings_overrides=settings)
    from reading.texts import join

    join(made)
    return made


def links(document: nodes.document) -> list[tuple[str, str]]:
    """What was linked: the words, and what they lead to."""
    return [(node.astext(), node["reftarget"]) for node in document.findall(pending_xref)]


BIBLIOGRAPHY = r"""
@misc{duan, author = {Duan, Yan and Schulman, John and Chen, Xi and Abbeel, Pieter}, title = {{RL}$^2$}, year = {2016},
  eprint = {1611.02779}}
@misc{maml, author = {Finn, Chelsea and Abbeel, Pieter and Levine, Sergey}, title = {MAML}, year = {2017},
  alias = {Finn et al. (2017)}}
@misc{mil, author = {Finn, Chelsea and Yu, Tianhe and Zhang, Tianhao and Levine, Sergey}, title = {One}, year = {2017}}
@article{thompson, author = {Thompson, William R.}, title = {On}, journal = {Biometrika}, year = {1933}}
@misc{kool, author = {Kool, Wouter and van Hoof, Herke and Welling, Max}, title = {Buy 4}, year = {2019}}
@misc{rock, author = {Rockt{\"a}schel, Tim and Al-Shedivat, Maruan}, title = {Two}, year = {2018}, doi = {10.1/x}}
@misc{twin1, author = {Twin, A. and One, B. and Two, C.}, title = {A}, year = {2001}}
@misc{twin2, author = {Twin, A. and Three, B. and Four, C.}, title = {B}, year = {2001}}
"""


@pytest.fixture
def library(reading: ModuleType) -> Any:
    return reading.citations.Library.read(parse_string(BIBLIOGRAPHY, "bibtex").entries)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Duan et al. (2016) say so.", [("Duan et al. (2016)", "duan")]),
        ("So say Duan et\nal. (2016).", [("Duan et\nal. (2016)", "duan")]),
        ("It is MAML (Finn, Abbeel and Levine, 2017).", [("Finn, Abbeel and Levine, 2017", "maml")]),
        ("It is (Finn et al., 2017, section 5.2).", [("Finn et al., 2017", "maml")]),
        ("(Thompson, 1933; Duan et al., 2016)", [("Thompson, 1933", "thompson"), ("Duan et al., 2016", "duan")]),
        ("Kool, van Hoof and Welling (2019)", [("Kool, van Hoof and Welling (2019)", "kool")]),
        ("by Rocktäschel and Al-Shedivat (2018)", [("Rocktäschel and Al-Shedivat (2018)", "rock")]),
        ("and Duan et al. (2016, *RL²*)", [("Duan et al. (2016", "duan")]),
        ("In PPO, Duan et al. (2016)", [("Duan et al. (2016)", "duan")]),
        ("| Duan et al. (2016) | x |\n|---|---|\n| a | Thompson (1933) |",
         [("Duan et al. (2016)", "duan"), ("Thompson (1933)", "thompson")]),
        ("# Duan et al. (2016)\n\n`Thompson (1933)` and [Duan et al. (2016)](https://x.y)", []),
        ("In 2016 it rained, and 2000 drops (2017) fell; version 3.11 (2023) too", []),
    ],
)  # fmt: skip
def test_citations_are_linked(reading: ModuleType, library: Any, text: str, expected: list[tuple[str, str]]) -> None:
    document = page(text)
    cited = reading.citations.link_citations(document, library, "book/01")
    assert links(document) == expected
    assert set(cited) == {key for _, key in expected}


@pytest.mark.parametrize(
    ("text", "said"),
    [("Nobody et al. (2016)", "is in no entry"), ("Duan (2016)", "is in no entry"), ("Duan et al. (2017)", "no entry"),
     ("(Twin et al., 2001)", "may mean any of twin1, twin2")],
)  # fmt: skip
def test_a_work_that_is_not_there_is_a_warning(
    reading: ModuleType, library: Any, text: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("sphinx").propagate = True
    document = page(text)
    with caplog.at_level("WARNING"):
        reading.citations.link_citations(document, library, "book/01")
    assert links(document) == []
    assert said in caplog.text


def test_docstrings_may_name_works_that_are_in_no_entry(
    reading: ModuleType, library: Any, caplog: pytest.LogCaptureFixture
) -> None:
    document = page("Nobody et al. (2016) and Duan et al. (2016)")
    with caplog.at_level("WARNING"):
        reading.citations.link_citations(document, library, "book/api/x", strict=False)
    assert [target for _, target in links(document)] == ["duan"]
    assert caplog.text == ""


def test_only_the_first_citation_of_a_page_has_an_anchor(reading: ModuleType, library: Any) -> None:
    document = page("Duan et al. (2016). Duan et al. (2016).")
    assert reading.citations.link_citations(document, library, "x") == {"duan": "cited-duan"}
    assert [node["ids"] for node in document.findall(nodes.inline)] == [["cited-duan"], []]


def test_a_work_knows_its_label_its_link_and_its_card(library: Any) -> None:
    works = library.works
    assert [works[key].label for key in ("duan", "maml", "rock", "thompson")] == [
        "Duan et al. (2016)", "Finn, Abbeel and Levine (2017)", "Rocktäschel and Al-Shedivat (2018)", "Thompson (1933)",
    ]  # fmt: skip
    assert (works["duan"].link, works["rock"].link) == ("https://arxiv.org/abs/1611.02779", "https://doi.org/10.1/x")
    assert works["duan"].title == "RL²"
    assert '<a href="https://arxiv.org/abs/1611.02779">arXiv:1611.02779</a>' in works["duan"].card()
    assert "Biometrika" in works["thompson"].card()


# --- Chapters, figures, equations ---------------------------------------------------------------------------------


@pytest.fixture
def numbers(reading: ModuleType) -> Any:
    return reading.numbers.Numbers(
        {3: "book/03", 5: "book/05", 6: "book/06"}, {"6.1": "book/06", "6.2": "book/06"}, {"6.1": "book/06", "6.3": "x"}
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("as chapter 5 has shown", [("chapter 5", "/book/05")]),
        ("Chapter\n5 did, chapter 5's too", [("Chapter\n5", "/book/05"), ("chapter 5", "/book/05")]),
        ("chapters 3, 5 and 6, and 7", [("3", "/book/03"), ("5", "/book/05"), ("6", "/book/06")]),
        ("chapters 3 to 6", [("3", "/book/03"), ("6", "/book/06")]),
        ("Chapter 14, in preparation", []),
        ("chapter 6, on its own page", [("chapter 6", "/book/06")]),
        ("chapter 6.2 is none", []),
        ("## Further reading\n\nSutton and Barto, chapter 3", []),
        ("[chapter 5](05.ipynb)", []),
        ("In figure 6.1, and Figures 6.1 and 6.2", [("figure 6.1", "6.1"), ("6.1", "6.1"), ("6.2", "6.2")]),
        ("the figure above", []),
        ("by equation (6.3)", [("equation (6.3)", "6.3")]),
        ("by (6.3) and a share of (0.5)", [("(6.3)", "6.3")]),
        ("equations (6.1) and (6.3)", [("equations (6.1)", "6.1"), ("(6.3)", "6.3")]),
    ],
)
def test_numbers_are_linked(reading: ModuleType, numbers: Any, text: str, expected: list[tuple[str, str]]) -> None:
    document = page(text)
    reading.numbers.link_numbers(document, numbers, "book/01")
    assert links(document) == expected


def test_a_chapter_does_not_lead_to_itself(reading: ModuleType, numbers: Any) -> None:
    document = page("chapter 6, and chapter 5")
    reading.numbers.link_numbers(document, numbers, "book/06")
    assert links(document) == [("chapter 5", "/book/05")]


@pytest.mark.parametrize("text", ["figure 6.9", "equation (6.2)", "equations (6.1) and (6.2)"])
def test_a_number_that_is_not_there_is_a_warning(
    reading: ModuleType, numbers: Any, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("sphinx").propagate = True
    with caplog.at_level("WARNING"):
        reading.numbers.link_numbers(page(text), numbers, "book/01")
    assert "there is no" in caplog.text


# --- Terms of the glossary -----------------------------------------------------------------------------------------

TERMS = ["Meta-gradient", "Policy gradient", "RL²", "MAML", "First-order MAML", "Return", "Trial", "Task", "MDP",
         "Conjugate gradients", "Belief MDP", "Support"]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The meta-gradient is here.", ["Meta-gradient"]),
        ("Meta-gradients, and the meta-gradient", ["Meta-gradient"]),
        ("a policy\ngradient and MAML", ["Policy gradient", "MAML"]),
        ("first-order MAML only", ["First-order MAML"]),
        ("first-order MAML and MAML", ["First-order MAML", "MAML"]),
        ("RL² learns, maml is no name, MAML's is", ["RL²", "MAML"]),
        ("a belief MDP, and MDPs", ["Belief MDP", "MDP"]),
        ("meta-gradient-like, premeta-gradient", []),
        ("Return a tensor. It returns nothing. We return.", []),
        ("the return of an episode", ["Return"]),
        ("trial and error; a trial", ["Trial"]),
        ("a trial and error", []),
        ("it must support this; a support for it; the support", ["Support"]),
        ("a task", []),
        ("# MAML\n\n`MAML`, [MAML](x.md), $MAML$", []),
        ("## One\n\nMAML and MAML\n\n### Two\n\nMAML\n\n## Three\n\nMAML", ["MAML", "MAML", "MAML"]),
    ],
)
def test_terms_are_linked(reading: ModuleType, text: str, expected: list[str]) -> None:
    document = page(text)
    reading.terms.link_terms(document, reading.terms.Glossary(TERMS), "book/01")
    assert [target for _, target in links(document)] == expected


def test_a_section_that_links_a_term_itself_is_left_alone(reading: ModuleType) -> None:
    document = page("## One\n\nPLACE. MAML\n\n## Two\n\nMAML")
    first = next(iter(document.findall(nodes.paragraph)))
    first.insert(0, pending_xref("", nodes.inline("", "MAML"), reftype="term", reftarget="MAML"))
    reading.terms.link_terms(document, reading.terms.Glossary(TERMS), "book/01")
    assert len(links(document)) == 2


def test_the_terms_are_those_of_the_glossary(reading: ModuleType) -> None:
    terms = reading.terms.listed(ROOT / "book" / "glossary.md")
    assert {"Meta-gradient", "RL²", "Bayes-adaptive MDP", "Win-stay, lose-shift"} <= set(terms)
    assert len(terms) == len(set(terms)) > 60
    assert not [term for term in terms if not term[0].isupper()]
    everyday = {term.lower() for term in terms} & reading.terms.EVERYDAY
    assert everyday == reading.terms.EVERYDAY, "a word is guarded that is no term"


# --- Public names ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, reading: ModuleType) -> Any:
    folder = tmp_path_factory.mktemp("house") / "house"
    files = {
        "__init__.py": "from .rooms import Door\nfrom .rooms.door import rollout, save\nfrom .rollout import rollout\n",
        "rollout.py": '"""R."""\n\ndef rollout():\n    """Rolls."""\n',
        "rooms/__init__.py": "from .door import Door\n",
        "rooms/door.py": '"""D."""\n#: How wide.\nWIDTH = 1\nHIDDEN = 2\n\n\nclass Door:\n    """A door."""\n\n'
        '    def open(self):\n        """Opens."""\n\n    def shut(self):\n        pass\n\n\n'
        'def save():\n    """Saves."""\n\n\ndef walk_through():\n    """Walks."""\n\n\ndef _own():\n    """Own."""\n',
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return reading.package.Package(folder)


def test_a_package_is_read_without_being_run(package: Any) -> None:
    kinds = {name: definition.kind for name, definition in package.definitions.items()}
    assert kinds == {
        "house": "module", "house.rollout": "module", "house.rooms": "module", "house.rooms.door": "module",
        "house.rollout.rollout": "function", "house.rooms.door.WIDTH": "data", "house.rooms.door.Door": "class",
        "house.rooms.door.Door.open": "method", "house.rooms.door.save": "function",
        "house.rooms.door.walk_through": "function",
    }  # fmt: skip
    assert (package.definitions["house.rooms.door.Door"].first, package.definitions["house.rooms.door.Door"].last) == (
        7,
        14,
    )


def test_a_name_has_one_place_whatever_it_is_imported_from(package: Any) -> None:
    assert package.canonical("house.Door") == package.canonical("house.rooms.Door") == "house.rooms.door.Door"
    assert package.canonical("house.rollout") == "house.rollout.rollout", "the function, and not the module"
    assert package.canonical("house.nothing") == "house.nothing"


CELLS = ["from house import rollout\nfrom house import rooms as r\nfrom house.rooms.door import WIDTH as wide",
         "def save(x):\n    return x\n\nrollout(wide)\nr.door.Door()"]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("rollout", "house.rollout.rollout"),
        ("rollout(tasks, gen)", "house.rollout.rollout"),
        ("house.rooms.door", "house.rooms.door"),
        ("house.Door.open", "house.rooms.door.Door.open"),
        ("r.Door", "house.rooms.door.Door"),
        ("r.Door.shut", "house.rooms.door.Door"),
        ("wide", "house.rooms.door.WIDTH"),
        ("walk_through", "house.rooms.door.walk_through"),
        ("rooms.door", "house.rooms.door"),
        ("save", None),
        ("Door", None),
        ("x", None),
        ("rollout.x = 3", None),
        ("torch.save", None),
        ("house", None),
    ],
)
def test_code_is_understood_as_the_page_means_it(reading: ModuleType, package: Any, code: str, expected: str) -> None:
    scope = reading.package.scope_of(CELLS, package)
    assert package.meant(code, scope) == expected


def test_a_page_without_imports_means_the_front(reading: ModuleType, package: Any) -> None:
    assert package.meant("Door", reading.package.Scope()) == "house.rooms.door.Door"
    assert package.meant("save", reading.package.Scope()) == "house.rooms.door.save"


def test_what_a_notebook_uses_is_what_its_code_names(reading: ModuleType, package: Any) -> None:
    uses = reading.package.uses([*CELLS, "%magic", "from house.rooms.door import walk_through"], package)
    assert uses == {"house.rollout.rollout", "house.rooms.door.WIDTH", "house.rooms.door.Door"}


def test_code_becomes_links_but_not_in_headings(reading: ModuleType, package: Any) -> None:
    document = page("# `rollout`\n\nIt calls `rollout` and `torch`, see [`rollout`](x.md).")
    reading.reference.link_code(document, package, reading.package.scope_of(CELLS, package), "book/01")
    assert links(document) == [("rollout", "house.rollout.rollout")]


def test_sources_lead_to_lines_of_the_repository(reading: ModuleType, package: Any) -> None:
    link = reading.reference.source_link
    assert (
        link(package, "house.rooms.door.save", "https://g/h", "v1") == "https://g/h/blob/v1/house/rooms/door.py#L17-L18"
    )
    assert link(package, "house.rooms.door", "https://g/h", "main") == "https://g/h/blob/main/house/rooms/door.py"
    assert link(package, "house.other", "https://g/h", "main") is None


def test_the_index_keeps_the_old_anchors(reading: ModuleType, package: Any, tmp_path: Path) -> None:
    (tmp_path / "rooms.md").write_text("# Rooms\n\n.. automodule:: house.rooms.door\n", encoding="utf-8")
    document = page("# API\n\n<!-- names of the front -->\n\n<!-- names of rooms -->\n\n<!-- something else -->\n")
    reading.reference.list_names(document, package, tmp_path, "book/api")
    anchors = [name for node in document.findall(nodes.inline) for name in node["ids"]]
    assert anchors == [
        "module-house.rooms.door", "house.rooms.door.WIDTH", "house.rooms.door.Door", "house.rooms.door.Door.open",
        "house.rooms.door.save", "house.rooms.door.walk_through",
    ]  # fmt: skip
    assert [words for words, _ in links(document)] == [
        "Door", "rollout", "save", "rooms.door", "WIDTH", "Door", "save", "walk_through",
    ]  # fmt: skip
