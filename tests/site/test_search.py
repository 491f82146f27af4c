"""The search of the book finds the right page first, tells where it says so, and does it from the disk, too."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tools import contents

from . import checks

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# What a reader types, and the page or pages that may come first.
FIRST = {
    "second order": "07",
    "Gittins": "10",
    "GAE": "04",
    "PEARL": "map",
    "Thompson sampling": "10",
    "hidden state": "11 13",
    "create_graph": "06",
    "sim-to-real": "map",
    "how do I run on colab": "how_to_use",
    "install": "how_to_use",
    "meta-gradient": "06",
    "trust region": "09",
    "ANIL": "07",
    "PPO": "12",
    "adaptation curve": "03",
    "confidence interval": "03",
    "belief": "13",
    "task distribution": "02",
    "initialization": "06",  # as Americans spell it
    "RL²": "11 12 14_",
    "GRU": "00",
    "how to cite": "intro",
}


@pytest.fixture(scope="module")
def tab(browser: Browser, address: str) -> Page:
    page = browser.new_page()
    page.goto(f"{address}/search.html")
    return page


@pytest.mark.parametrize("query", FIRST)
def test_the_right_page_comes_first(query: str, tab: Page) -> None:
    found = tab.evaluate("query => BookSearch.rank(query).pages.map(p => p.one.page)", query)
    assert found, "nothing was found"
    name = found[0].removeprefix("book/")
    assert any(name.startswith(wanted) for wanted in FIRST[query].split()), found[:4]


def test_the_section_that_knows_all_words_stands_for_its_page(tab: Page, address: str) -> None:
    tab.goto(f"{address}/search.html?q=eleven+arms")
    said = tab.eval_on_selector_all(".search-excerpt", "found => found.map(e => e.textContent.toLowerCase())")
    assert all("arm" in text and "eleven" in text for text in said[:1]), said[0]
    first = "query => BookSearch.rank(query).pages.find(p => p.one.name === 'glossary').parts[0].entry.heading"
    assert tab.evaluate(first, "belief") == "Belief"


def test_names_come_first_only_where_they_are_spelled(tab: Page) -> None:
    exact = "query => BookSearch.rank(query).exact.map(e => e.anchor)"
    assert tab.evaluate(exact, "discounted_returns") == ["metarl_lite.returns.discounted_returns"]
    assert tab.evaluate(exact, "MLPPolicy.from_params") == ["metarl_lite.policies.mlp.MLPPolicy.from_params"]
    assert tab.evaluate(exact, "discounted returns") == []
    assert "metarl_lite.returns.discounted_returns" in tab.evaluate(
        "query => BookSearch.rank(query).other.map(e => e.anchor)", "discounted returns"
    )


def test_results_lead_to_places_that_exist_and_show_no_tex(tab: Page, address: str, built: Path) -> None:
    tab.goto(f"{address}/search.html?q=gradient+step")
    links = tab.eval_on_selector_all("#search-results a", "links => links.map(a => a.getAttribute('href'))")
    assert len(links) > 10
    for link in links:
        path, _, fragment = link.partition("#")
        text = (built / path.removeprefix("./")).read_text(encoding="utf-8")
        assert not fragment or f'id="{fragment}"' in text, link
    excerpts = tab.eval_on_selector_all(".search-excerpt", "found => found.map(e => e.textContent)")
    assert any("gradient" in text for text in excerpts)
    assert not [text for text in excerpts if "\\" in text or "$" in text]


def test_the_index_gives_no_solution_away(built: Path) -> None:
    index = (built / "_static" / "search_index.js").read_text(encoding="utf-8")
    page = (built / f"{contents.pages()[-1]}.html").parent
    chapters = [file.read_text(encoding="utf-8") for file in page.glob("06_*.html")]
    assert any("ends in full steps only when" in text or "<summary>Solution" in text for text in chapters)
    assert "Solution" not in index.replace("Solutions", "").replace("Hints, solutions", "")


def test_the_first_result_is_near(tab: Page, address: str) -> None:
    """The field has the focus; the Tab key goes on to the results."""
    tab.goto(f"{address}/search.html?q=belief")
    tab.wait_for_selector("#search-results li a")
    assert tab.evaluate("document.activeElement.matches('article input')")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.matches('#search-results li:first-child a')")


def test_nothing_found_says_so(tab: Page, address: str) -> None:
    tab.goto(f"{address}/search.html?q=zygote")
    assert "Nothing was found" in tab.inner_text("#search-results")


def test_excerpts_from_the_disk(browser: Browser, built: Path) -> None:
    page, traffic = browser.new_page(), checks.Traffic(origin="file://")
    traffic.watch(page)
    page.goto(f"{built.as_uri()}/search.html?q=meta-gradient")
    page.wait_for_selector("#search-results li a")
    assert "meta-gradient" in page.inner_text(".search-excerpt").lower()
    page.click("#search-results li a")
    page.wait_for_url("**/book/06_*.html*")
    assert not traffic.outside() + traffic.failed + traffic.complaints
    page.close()


def test_words_that_readers_use_belong_to_pages_that_exist() -> None:
    source = (Path(__file__).parents[2] / "book" / "ext" / "site_search.py").read_text(encoding="utf-8")
    also = next(
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ALSO"
    )
    assert set(also) <= set(contents.pages())
