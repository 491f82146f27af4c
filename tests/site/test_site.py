"""The rendered book, page by page, in a browser without a network."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tools import contents

from . import checks
from .conftest import ROOT, Build

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

PAGES = contents.pages()
NOTEBOOKS = [path.relative_to(ROOT).with_suffix("").as_posix() for path in contents.notebooks()]
DESKTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
SCREENSHOTS = ROOT / "_build" / "screenshots"
TALLEST = 16_000  # pixels; Chromium draws no taller picture


def test_book_renders_without_a_warning(build: Build) -> None:
    complaints = build.complaints()
    assert not complaints, f"jupyter-book complains, {len(complaints)} times:\n" + "\n".join(complaints[:20])
    assert build.status == 0, "jupyter-book failed:\n" + "\n".join(build.lines[-40:])


@dataclass
class Visit:
    """What was found on one page: faults by kind, and where the buttons lead."""

    faults: dict[str, list[str]] = field(default_factory=dict)
    buttons: list[str] = field(default_factory=list)
    night: float = 255.0  # brightness of the background in dark mode
    kind: str = ""  # chapter, formulas or text
    weight: int = 0  # bytes that the page loads


def _darken(page: Page) -> None:
    page.evaluate("Object.assign(document.documentElement.dataset, {mode: 'dark', theme: 'dark'})")


def _open(page: Page, address: str, size: ViewportSize) -> None:
    page.set_viewport_size(size)
    page.goto(address)
    checks.settle(page)


def _look(page: Page, traffic: checks.Traffic, address: str, built: Path, name: str) -> Visit:
    visit, url = Visit(), f"{address}/{name}.html"
    traffic.clear()
    _open(page, url, DESKTOP)
    formulas = page.locator("mjx-container").count()
    visit.kind = "chapter" if name in NOTEBOOKS else "formulas" if formulas else "text"
    visit.weight = checks.weight(traffic.requests, built)
    visit.faults["idle load"] = [u for u in traffic.requests if "mathjax" in u and not formulas]
    visit.faults["idle load"] += [u for u in traffic.requests if re.search(r"fontawesome|searchindex|/fa-", u)]
    visit.faults["boxed formulas"] = checks.boxed_formulas(page)
    visit.faults["cut code"] = checks.cut_code(page)
    visit.faults["formulas"] = checks.broken_formulas(page)
    visit.faults["alts"] = checks.bad_alts(page)
    visit.faults["light"] = checks.faint_text(page)
    visit.faults["wide on a desktop"] = checks.overflow(page)
    visit.buttons = page.eval_on_selector_all(".article-header-buttons a", "links => links.map(a => a.href)")
    _darken(page)
    visit.night = checks.brightness(page)
    visit.faults["dark"] = checks.faint_text(page)
    _open(page, url, PHONE)
    visit.faults["wide on a phone"] = checks.overflow(page)
    visit.faults["boxed formulas"] += checks.boxed_formulas(page)
    visit.faults["scrolls unseen"] = checks.unmarked_scrolling(page)
    visit.faults["films"] = stuck_films(page)
    visit.faults["outside"] = traffic.outside()
    visit.faults["failed"] = list(traffic.failed)
    visit.faults["console"] = list(traffic.complaints)
    return visit


def stuck_films(page: Page) -> list[str]:
    """The films of a settled page that do not begin by their button, or do not stop at the last frame."""
    faults = []
    for place, player in enumerate(page.locator(".mrl-player").all(), start=1):
        counter, button = player.locator("output"), player.locator("button")
        before = counter.inner_text()
        button.click()
        page.wait_for_function("([e, text]) => e.innerText !== text", arg=[counter.element_handle(), before])
        player.locator("input").press("End")  # the slider stops it, here at the last frame
        now, count = counter.inner_text().split(" / ")
        if button.inner_text() != "Play" or now != count:
            faults.append(f"film {place}: its button says {button.inner_text()!r} at frame {now} of {count}")
    return faults


@pytest.fixture(scope="module")
def look(page: Page, traffic: checks.Traffic, address: str, built: Path) -> Callable[[str], Visit]:
    """Each page is opened once, whatever the number of tests that ask about it."""
    seen: dict[str, Visit] = {}

    def visit(name: str) -> Visit:
        if name not in seen:
            seen[name] = _look(page, traffic, address, built, name)
        return seen[name]

    return visit


KINDS = {
    "outside": "asks another host",
    "failed": "has requests that fail",
    "console": "complains in the console",
    "formulas": "has broken formulas",
    "boxed formulas": "has formulas in a line with a scroll bar or a stop of the Tab key",
    "cut code": "has code wider than its box on a desktop",
    "scrolls unseen": "has boxes on a phone that scroll without a sign, or out of the keyboard's reach",
    "idle load": "loads MathJax without a formula, whole fonts of icons, or the search's index",
    "alts": "has pictures without an alt text of their own",
    "films": "has films that do not play, or do not stop at their end",
    "wide on a desktop": "is wider than a desktop's window",
    "wide on a phone": "is wider than a phone's window",
    "light": "has faint text in light mode",
    "dark": "has faint text in dark mode",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, kind: str, look: Callable[[str], Visit]) -> None:
    faults = look(name).faults[kind]
    assert not faults, f"{name} {KINDS[kind]}:\n" + "\n".join(faults)


@pytest.mark.parametrize("name", PAGES)
def test_dark_mode_is_dark(name: str, look: Callable[[str], Visit]) -> None:
    assert look(name).night < 60


HEAVIEST = {"chapter": 1_200_000, "formulas": 900_000, "text": 600_000}


@pytest.mark.parametrize("name", PAGES)
def test_page_is_light(name: str, look: Callable[[str], Visit]) -> None:
    assert 50_000 < look(name).weight <= HEAVIEST[look(name).kind]


@pytest.fixture(scope="session")
def repository() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"]).rstrip("/")


@pytest.mark.parametrize("name", PAGES)
def test_buttons_lead_to_the_page_s_own_source(name: str, look: Callable[[str], Visit], repository: str) -> None:
    suffix = ".ipynb" if name in NOTEBOOKS else ".md"
    project = repository.removeprefix("https://github.com/")
    expected = {
        repository,
        f"{repository}/edit/main/{name}{suffix}",
        f"{repository}/blob/main/{name}{suffix}?plain=1",
    }
    if name in NOTEBOOKS:
        expected |= {
            f"https://colab.research.google.com/github/{project}/blob/main/{name}.ipynb",
            f"https://mybinder.org/v2/gh/{project}/main?urlpath=lab/tree/{name}.ipynb",
        }
    buttons = [url for url in look(name).buttons if not url.startswith("http://127.0.0.1")]
    issues = [url for url in buttons if url.startswith(f"{repository}/issues/new?")]
    assert len(issues) == 1
    assert name in issues[0]
    assert set(buttons) - set(issues) == expected
    assert (ROOT / f"{name}{suffix}").is_file()


def test_links_and_anchors_resolve(built: Path) -> None:
    faults = checks.dead_links(built)
    assert not faults, "\n".join(faults)


def test_every_page_is_in_the_menu(page: Page, address: str) -> None:
    page.goto(f"{address}/{PAGES[0]}.html")
    links = page.eval_on_selector_all(".bd-sidebar-primary nav a", "links => links.map(a => a.href.split('#')[0])")
    assert links == [f"{address}/{name}.html" for name in PAGES]


def test_footer_names_licences_and_version(page: Page, address: str) -> None:
    from metarl_lite import __version__

    page.goto(f"{address}/{PAGES[0]}.html")
    footer = page.inner_text("footer.bd-footer-content")
    assert "CC BY 4.0" in footer
    assert "MIT" in footer
    assert f"metarl_lite {__version__}" in footer


def test_dark_mode_button(page: Page, address: str) -> None:
    page.set_viewport_size(DESKTOP)
    page.goto(f"{address}/{PAGES[0]}.html")
    for _ in range(3):  # the button goes round: the system's choice, light, dark
        if page.evaluate("document.documentElement.dataset.mode") == "dark":
            break
        page.click(".article-header-buttons .theme-switch-button")
    assert checks.brightness(page) < 60
    page.reload()
    assert checks.brightness(page) < 60, "the choice is forgotten on the next page"
    page.evaluate("localStorage.clear()")


@pytest.mark.parametrize("words", ["meta-gradient", "discounted_returns"])
def test_search(words: str, page: Page, traffic: checks.Traffic, address: str) -> None:
    traffic.clear()
    page.goto(f"{address}/search.html?q={words}")
    page.wait_for_selector("#search-results li a")
    page.wait_for_load_state("networkidle")
    assert not traffic.outside() + traffic.failed + traffic.complaints


def test_search_field_opens_the_search(page: Page, address: str) -> None:
    page.goto(f"{address}/{PAGES[0]}.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("initialisation")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li a")


@pytest.fixture(scope="module")
def disk(browser: Browser, built: Path) -> Iterator[tuple[Page, checks.Traffic, str]]:
    """The book as `make book` leaves it: files on the disk, and nobody who serves them."""
    tab = browser.new_page()
    traffic = checks.Traffic(origin="file://")
    traffic.watch(tab)
    yield tab, traffic, built.as_uri()
    tab.close()


def test_search_from_the_disk(disk: tuple[Page, checks.Traffic, str]) -> None:
    page, traffic, root = disk
    traffic.clear()
    page.goto(f"{root}/search.html?q=meta-gradient")
    page.wait_for_selector("#search-results li a")
    page.click("#search-results li a")
    page.wait_for_url(re.compile(r"/book/.*\.html"))
    assert not traffic.outside() + traffic.failed + traffic.complaints


def test_chapter_from_the_disk(disk: tuple[Page, checks.Traffic, str]) -> None:
    page, traffic, root = disk
    traffic.clear()
    page.goto(f"{root}/{NOTEBOOKS[-1]}.html")
    checks.settle(page)
    assert page.locator("mjx-container").count() > 0
    assert page.evaluate("[...document.fonts].some(f => f.family.startsWith('MJX') && f.status === 'loaded')")
    assert not checks.broken_formulas(page) + traffic.outside() + traffic.failed + traffic.complaints


def test_pages_read_without_scripts(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page, faults, stills = context.new_page(), [], 0
    for name in NOTEBOOKS:
        page.goto(f"{address}/{name}.html")
        assert len(page.inner_text(checks.ARTICLE)) > 1000, f"{name} shows no text"
        faults += [f"{name}: {fault}" for fault in checks.missing_stills(page)]
        stills += page.locator(".mrl-player img").count()
    context.close()
    assert not faults, "\n".join(faults)
    assert stills > 0, "no chapter holds an animation"


def _picture(page: Page, name: str, mode: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    width, height = page.evaluate("[document.documentElement.clientWidth, document.documentElement.scrollHeight]")
    page.screenshot(
        path=SCREENSHOTS / f"{Path(name).name}-{mode}.jpg",
        full_page=True,
        clip={"x": 0, "y": 0, "width": width, "height": min(height, TALLEST)},
        quality=70,
        type="jpeg",
        animations="disabled",
    )


@pytest.mark.slow  # it checks nothing that the others do not: it is for people, who look at what was taken
@pytest.mark.parametrize("name", PAGES)
def test_a_picture_of_every_page_is_taken(name: str, page: Page, address: str) -> None:
    """In `_build/screenshots`: desktop, dark and phone."""
    _open(page, f"{address}/{name}.html", DESKTOP)
    _picture(page, name, "desktop")
    _darken(page)
    _picture(page, name, "dark")
    _open(page, f"{address}/{name}.html", PHONE)
    _picture(page, name, "phone")
    for mode in ("desktop", "dark", "phone"):
        assert (SCREENSHOTS / f"{Path(name).name}-{mode}.jpg").stat().st_size > 10_000
