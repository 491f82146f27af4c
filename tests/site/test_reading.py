"""What makes the rendered pages easy to read: links with cards, folds, veils, numbers, figures on paper."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bs4 import BeautifulSoup, Tag

from tools import contents

from . import checks

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

PAGES = contents.pages()
NOTEBOOKS = [path.relative_to(contents.ROOT).with_suffix("").as_posix() for path in contents.notebooks()]
CHAPTERS = [name for name in NOTEBOOKS if not Path(name).name.startswith("00")]
ROOMS = [name for name in PAGES if name.startswith("book/api/")]
LARGEST = 1_000_000  # bytes of a page of the reference, compressed
CHAPTER = "book/06_outer_loop"
CARD = "#hover-card"
#: Author and year as a text has them; "et al." may end a line.
NAMED = re.compile(r"[A-Z][\w’-]+(?:,? and [A-Z][\w’-]+|\s+et\s+al\.)(?:,?)\s+\(?(?:19|20)\d\d\b")


@cache
def _read(path: Path) -> Tag:
    found = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").select_one(checks.ARTICLE)
    assert found is not None
    return found


def article(built: Path, name: str) -> Tag:
    return _read(built / f"{name}.html")


# --- Links ------------------------------------------------------------


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_leads_to_reference_glossary_and_bibliography(name: str, built: Path) -> None:
    found = [str(link["href"]) for link in article(built, name).select("a.internal[href]")]
    kinds = {kind: sum(kind in target for target in found) for kind in ("api/", "glossary", "bibliography")}
    assert sum(kinds.values()) >= 20, kinds
    assert all(kinds.values()), kinds


@pytest.mark.parametrize("name", [page for page in PAGES if page not in ROOMS])
def test_author_and_year_are_always_a_link(name: str, built: Path) -> None:
    page = BeautifulSoup(str(article(built, name)), "html.parser")
    for part in page.select("a, pre, code, script, dl.bibliography, figure, .math"):
        part.decompose()
    assert NAMED.findall(page.get_text()) == []


def test_a_class_takes_what_its_init_takes(built: Path) -> None:
    tasks = article(built, "book/api/tasks")
    signature = tasks.find(id="metarl_lite.tasks.navigation.PointGoal").get_text()
    assert "horizon: int = 100" in signature
    assert not [sig for sig in tasks.select("dt.sig") if "*args" in sig.get_text()]
    card = json.loads(article(built, "book/02_task_distributions").select_one("script#book-cards").string)
    assert not [says for says in card.values() if "Bases:" in says]


def test_the_reference_cites_the_bibliography_where_it_can(built: Path) -> None:
    cited = [link for room in ROOMS for link in article(built, room).select("a[href*='bibliography.html#cite-']")]
    assert len(cited) > 50


def test_shown_source_leads_to_its_entry(built: Path) -> None:
    linked = 0
    for name in CHAPTERS:
        for block in article(built, name).select(".cell_output p > a > code, .cell_output p > code"):
            if block.get_text().startswith("metarl_lite."):
                assert block.parent is not None
                assert block.parent.name == "a", f"{name}: {block.get_text()}"
                linked += 1
    assert linked > 30


def test_figures_are_numbered_without_a_gap(built: Path) -> None:
    for number, paths in contents.chapters().items():
        names = [path.relative_to(contents.ROOT).with_suffix("").as_posix() for path in paths]
        figures = [figure for name in names for figure in article(built, name).select("figure.book-figure")]
        assert [figure["id"] for figure in figures] == [f"figure-{number}-{n}" for n in range(1, len(figures) + 1)]
        assert all(
            figure.select_one("figcaption").get_text().strip().startswith(f"Figure {number}.") for figure in figures
        )
        loose = [i for name in names for i in article(built, name).select(".cell_output :is(img, .mrl-player)")]
        assert all(picture.find_parent("figure") is not None for picture in loose)


def test_every_marked_equation_has_its_number_on_the_page(built: Path) -> None:
    for name in CHAPTERS:
        source = (contents.ROOT / f"{name}.ipynb").read_text(encoding="utf-8")
        tags = re.findall(r"\\\\tag\{([\d.]+)\}", source)
        page = article(built, name)
        assert [link.get_text() for link in page.select(".equation-number")] == [f"({tag})" for tag in tags]
        assert [box["id"] for box in page.select(".numbered-equation")] == [
            f"equation-{t.replace('.', '-')}" for t in tags
        ]
        assert r"\tag" not in "".join(math.get_text() for math in page.select(".math"))


# --- The reference ------------------------------------------------------------


@pytest.mark.parametrize("name", ["book/api", *ROOMS])
def test_a_page_of_the_reference_is_light(name: str, built: Path) -> None:
    assert len(gzip.compress((built / f"{name}.html").read_bytes())) <= LARGEST


def test_the_front_has_examples_sources_and_uses(built: Path) -> None:
    import metarl_lite

    entries = {}
    for room in ROOMS:
        for entry in article(built, room).select("dl.py:has(> dt[id])"):
            entries[str(entry.dt["id"])] = entry
    front = article(built, "book/api").select("p.names a")
    assert [link.get_text() for link in front] == sorted(metarl_lite.__all__)
    unused = set()
    for link in front:
        entry = entries[str(link["href"]).split("#")[1]]
        assert entry.select_one("dt .source-link"), link
        assert ">>>" in entry.get_text(), link
        if not entry.select(".used-in a"):
            unused.add(link.get_text())
    assert len(unused) <= 6, f"no chapter uses {unused}"


# --- Cards ------------------------------------------------------------


@pytest.fixture
def chapter(page: Page, address: str) -> Page:
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{address}/{CHAPTER}.html")
    page.evaluate("localStorage.clear()")
    page.reload()
    page.mouse.move(0, 0)
    checks.settle_formulas(page)
    return page


def first(page: Page, kind: str) -> Locator:
    return page.locator(f"article p > a:has({kind})").first


@pytest.mark.parametrize(
    ("kind", "says"),
    [(".std-term", "gradient"), (".citation", "2017"), ("code.py-obj", "adapt")],
    ids=["term", "work", "name"],
)
def test_a_card_comes_and_goes_with_the_mouse(kind: str, says: str, chapter: Page) -> None:
    link = first(chapter, kind)
    link.hover()
    chapter.wait_for_selector(CARD, state="visible")
    assert says in chapter.inner_text(CARD)
    assert link.get_attribute("aria-describedby") == "hover-card"
    chapter.hover(CARD)  # it may be read, and what is in it copied
    chapter.wait_for_timeout(400)
    assert chapter.is_visible(CARD)
    chapter.mouse.move(0, 0)
    chapter.wait_for_selector(CARD, state="hidden")
    assert link.get_attribute("aria-describedby") is None


def test_a_card_comes_with_the_keyboard_and_goes_with_escape(chapter: Page) -> None:
    link = first(chapter, ".citation")
    link.evaluate("e => e.focus()")  # what the script does is no visible focus, so the next step goes by key
    chapter.keyboard.press("Shift+Tab")
    chapter.keyboard.press("Tab")
    chapter.wait_for_selector(CARD, state="visible")
    assert "Model-Agnostic" in chapter.inner_text(CARD)
    assert chapter.evaluate("document.activeElement.getAttribute('aria-describedby')") == "hover-card"
    chapter.keyboard.press("Escape")
    assert chapter.is_hidden(CARD)
    assert chapter.evaluate("document.activeElement.textContent") == link.inner_text()


def test_a_card_shows_formulas_and_stays_in_the_window(chapter: Page, address: str) -> None:
    chapter.goto(f"{address}/book/glossary.html")
    for name in CHAPTERS:
        chapter.goto(f"{address}/{name}.html")
        links = chapter.locator('article a[href$="#term-Initialisation"], article a[href$="#term-GAE"]')
        if links.count():
            break
    links.first.hover()
    chapter.wait_for_selector(f"{CARD} mjx-container")
    box = chapter.locator(CARD).bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 1280


def test_no_card_comes_by_touch(browser: Browser, address: str) -> None:
    context = browser.new_context(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    phone = context.new_page()
    phone.goto(f"{address}/{CHAPTER}.html")
    link = phone.locator("article a:has(.std-term)").first
    link.scroll_into_view_if_needed()
    link.evaluate("e => e.addEventListener('click', event => event.preventDefault())")
    link.tap()
    phone.wait_for_timeout(500)
    assert not phone.locator(CARD).count() or phone.is_hidden(CARD)
    context.close()


# --- Folds and veils ------------------------------------------------------------


def test_one_switch_opens_all_folds_and_is_remembered(chapter: Page, address: str) -> None:
    folds, opened = chapter.locator("details.code-fold"), chapter.locator("details.code-fold[open]")
    button = chapter.locator(".code-switch button")
    assert folds.count() >= 3
    assert opened.count() == 0
    button.click()
    assert opened.count() == folds.count()
    assert button.get_attribute("aria-pressed") == "true"
    chapter.goto(f"{address}/{CHAPTERS[0]}.html")
    assert chapter.locator("details.code-fold[open]").count() == chapter.locator("details.code-fold").count() > 0
    chapter.locator(".code-switch button").click()
    assert chapter.locator("details.code-fold[open]").count() == 0
    chapter.reload()
    assert chapter.locator("details.code-fold[open]").count() == 0


def test_a_veil_is_lifted_with_all_that_answers_the_same_question(chapter: Page) -> None:
    veils = chapter.locator("details.veil")
    assert veils.count() >= 4
    assert chapter.locator("details.veil[open]").count() == 0
    veils.first.locator("summary").press("Enter")
    chapter.wait_for_function("document.querySelectorAll('details.veil[open]').length > 1")
    numbers = chapter.eval_on_selector_all("details.veil[open]", "all => all.map(v => v.dataset.prediction)")
    assert set(numbers) == {"1"}


def test_a_link_to_what_is_veiled_lifts_the_veil(chapter: Page, address: str) -> None:
    hidden = chapter.eval_on_selector("details.veil figure", "figure => figure.id")
    chapter.goto("about:blank")
    chapter.goto(f"{address}/{CHAPTER}.html#{hidden}")
    chapter.wait_for_function("name => document.getElementById(name).closest('details').open", arg=hidden)


def test_nothing_is_veiled_in_print(chapter: Page) -> None:
    chapter.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert chapter.locator("details.veil:not([open])").count() == 0
    chapter.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert chapter.locator("details.veil[open]").count() == 0
    chapter.emulate_media(media="print")
    assert chapter.locator("details.veil figure").first.is_visible()
    assert not chapter.locator(":is(details.veil, details.code-fold) > summary").first.is_visible()
    chapter.emulate_media(media="screen")


@pytest.fixture
def plain(browser: Browser, address: str) -> Iterator[Page]:
    """A chapter without scripts."""
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.goto(f"{address}/{CHAPTER}.html")
    yield tab
    context.close()


def test_without_scripts_everything_can_be_read(plain: Page) -> None:
    assert not plain.locator(".code-switch").is_visible(), "a dead switch"
    assert not plain.locator(CARD).count()
    for kind in ("details.code-fold", "details.veil"):
        fold = plain.locator(kind).first
        inside = fold.locator(":scope > *:not(summary)").first
        assert not inside.is_visible()
        fold.locator("summary").click()
        assert inside.is_visible()
    assert plain.locator("figure.book-figure figcaption").first.is_visible()
    first(plain, ".citation").click()
    plain.wait_for_url("**/bibliography.html#cite-*")


# --- Figures in the dark ------------------------------------------------------------


def test_figures_lie_on_quiet_paper_in_the_dark(chapter: Page) -> None:
    chapter.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    chapter.evaluate("Object.assign(document.documentElement.dataset, {mode: 'dark', theme: 'dark'})")
    styles = chapter.eval_on_selector_all(
        "figure.book-figure",
        """figures => figures.map(figure => {
            const image = figure.querySelector("img"), style = getComputedStyle(image);
            const filters = [image, ...figure.querySelectorAll("*"), figure].map(e => getComputedStyle(e).filter);
            let paper = image;
            while (getComputedStyle(paper).backgroundColor === "rgba(0, 0, 0, 0)") paper = paper.parentElement;
            return [getComputedStyle(paper).backgroundColor, style.mixBlendMode, filters.every(f => f === "none")];
        })""",
    )
    assert len(styles) >= 5
    for paper, blend, unfiltered in styles:
        red, green, blue = map(int, re.findall(r"\d+", paper)[:3])
        assert 200 <= blue <= green <= red <= 240, paper
        assert blend == "multiply"
        assert unfiltered
