"""What can be said of the site without rendering it: contents, reference page, what is vendored, our extension."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import yaml
from fontTools.ttLib import TTFont

from tests.notebooks import miniature
from tools import chromium, contents
from tools.icons import FONTS

from .conftest import ROOT, executable

BOOK, PACKAGE = ROOT / "book", ROOT / "metarl_lite"
# Not on the reference page: the command line, rooms as such, and the exercises, which would give away their solutions.
ROOMS = r"tasks|oracles|policies|algorithms|evaluate|apps|records|lesson|lesson\.plot"
NOT_LISTED = re.compile(rf"metarl_lite(\.__main__|\.({ROOMS})|\.lesson\.exercises.*)?")


def module_name(path_parts: tuple[str, ...]) -> str:
    return ".".join(path_parts).removesuffix(".py").removesuffix(".__init__")


MODULES = {module_name(path.relative_to(ROOT).parts): path for path in PACKAGE.rglob("*.py")}


ROOMS = [page for page in contents.pages() if page.startswith("book/api/")]


def listed() -> list[tuple[str, int]]:
    """The modules of the reference, each with the place of its page."""
    texts = [(ROOT / f"{page}.md").read_text(encoding="utf-8") for page in ROOMS]
    return [(name, place) for place, text in enumerate(texts) for name in re.findall(r"automodule:: (\S+)", text)]


def test_every_page_is_in_the_contents() -> None:
    assert contents.faults() == []
    pages = contents.pages()
    assert {f"book/{path.stem}" for path in BOOK.glob("*.md")} <= set(pages)
    assert len(set(pages)) == len(pages)
    missing = [page for page in pages if not any((ROOT / f"{page}{end}").is_file() for end in (".md", ".ipynb"))]
    assert not missing


def test_reference_names_every_module_once() -> None:
    expected = {name for name in MODULES if not NOT_LISTED.fullmatch(name)}
    names = [name for name, _ in listed()]
    assert set(names) == expected
    assert len(names) == len(expected)


def test_the_first_page_of_the_reference_has_the_names_of_every_room() -> None:
    rooms = [Path(page).name for page in ROOMS]
    text = (BOOK / "api.md").read_text(encoding="utf-8")
    assert re.findall(r"<!-- names of (?!the front)(\w+) -->", text) == rooms
    assert re.findall(r"^## \[.+\]\(api/(\w+)\.md\)$", text, re.MULTILINE) == rooms


def test_reference_lists_a_room_after_those_that_it_imports() -> None:
    """Within a room what a reader types comes first, and what looks at it after that."""
    order = dict(listed())
    wrong = []
    for name in order:
        package = name.split(".")[:-1]
        for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                imported = ".".join([*base, *(node.module or "").split(".")])
                if order.get(imported, -1) > order[name]:
                    wrong.append(f"{name} imports {imported}")
    assert not wrong


def test_mathjax_has_its_licence_and_every_font_it_asks_for() -> None:
    folder = BOOK / "static" / "mathjax"
    script = (folder / "tex-chtml-full.js").read_text(encoding="utf-8")
    asked = set(re.findall(r"MathJax_[A-Za-z0-9-]+\.woff\b", script))
    there = {path.name for path in (folder / "output" / "chtml" / "fonts" / "woff-v2").iterdir()}
    assert asked <= there
    assert len(asked) > 20
    assert "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")


def test_our_styles_and_scripts_name_no_other_host() -> None:
    for name in ("custom.css", "custom.js", "reading.css", "reading.js", "search.js", "logo.svg", "favicon.svg"):
        text = (BOOK / "static" / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|url\((?!\"icons/)|@import", text), name


def test_icons_are_there_under_a_name_of_their_own() -> None:
    """Their licence keeps the name of the font for the whole one."""
    style = (BOOK / "static" / "custom.css").read_text(encoding="utf-8")
    for name, (_, icons) in FONTS.items():
        font = TTFont(BOOK / "static" / "icons" / f"{name}.woff")
        assert set(font.getBestCmap()) == set(icons.values())
        assert font["name"].getDebugName(1) == "Book Icons"
        assert f'url("icons/{name}.woff")' in style
    assert "Open Font License" in (BOOK / "static" / "icons" / "LICENSE").read_text(encoding="utf-8")


def test_config_is_what_the_tests_rely_on() -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert config["repository"]["path_to_book"] == ""
    assert config["execute"]["execute_notebooks"] == "off"
    assert config["only_build_toc_files"] is True
    assert not (ROOT / "_static").exists(), "jupyter-book would put every script in it on every page"


@pytest.fixture(scope="module")
def extension() -> ModuleType:
    spec = importlib.util.spec_from_file_location("book_site", BOOK / "ext" / "book_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"the gradient of $\log\pi(a|s)$, `[N]`.", r"the gradient of :math:`\log\pi(a|s)`, `[N]`."),
        ("it costs $5 and then $6.", "it costs $5 and then $6."),
        ("a `$literal$` stays", "a `$literal$` stays"),
        ("num_tasks: N.", r"num_tasks: N\."),
        ("  $$ x = 1 $$", "\n  .. math::\n\n      x = 1\n"),
        ("$$ x = 1,\n   y = 2 $$.", "\n.. math::\n\n    x = 1,\n    y = 2.\n"),
    ],
)
def test_formulas_of_docstrings(extension: ModuleType, text: str, expected: str) -> None:
    assert extension.formulas(text) == expected


def test_fields_of_dataclasses_are_explained_by_their_comments(extension: ModuleType) -> None:
    source = "class Example:\n    rewards: float  # [N, E, T] what came\n    inner_lr: float = 0.1  # step size\n"
    assert extension.explained(source) == [
        ":param rewards: `[N, E, T]` what came",
        ":type rewards: float",
        ":param inner_lr: step size (default ``0.1``)",
        ":type inner_lr: float",
    ]


def test_run_times_are_those_of_the_notebooks_in_the_contents(extension: ModuleType, tmp_path: Path) -> None:
    miniature.book(tmp_path, ["08_first", "08b_second"])
    miniature.store(tmp_path / "book", name="09_stray.ipynb")
    found = {"book/intro", "book/08b_second", "book/08_first"}
    app, source = SimpleNamespace(srcdir=tmp_path, env=SimpleNamespace(found_docs=found)), [extension.RUN_TIMES]
    extension.run_times(app, "book/how_to_use", source)
    links = re.findall(r"\((\w+\.ipynb)\) \| 12 \|", source[0])
    assert links == ["08_first.ipynb", "08b_second.ipynb"]


def test_missing_browser_skips_with_the_command_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chromium, "find", lambda *known: None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"no Chromium was found.*\n.*chromium"):
        executable()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"no Chromium was found.*\n.*chromium"):
        executable()
