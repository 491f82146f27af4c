"""Everybody can read it: axe-core's verdict, the keyboard, the first screen, and paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tools import contents

from . import checks

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGES = contents.pages()
CHAPTERS = [path.relative_to(contents.ROOT).with_suffix("").as_posix() for path in contents.notebooks()]
TEXTS = ["book/map", "book/scoreboard", "book/glossary", "book/bibliography"]
TEXTS += [page for page in PAGES if page.startswith("book/api/")][:1]  # where the reference has more than one page
KINDS = ["index", "search", "genindex", "404", CHAPTERS[5], *TEXTS]
WIDTHS = {"phone": 390, "tablet": 820, "desktop": 1280}


def opened(page: Page, url: str, width: int = 1280, height: int = 900, theme: str = "light") -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.goto(url)
    page.evaluate("theme => Object.assign(document.documentElement.dataset, {mode: theme, theme})", theme)
    checks.settle(page)


@pytest.mark.parametrize("name", KINDS)
def test_nobody_is_kept_out(name: str, page: Page, address: str, axe: str) -> None:
    opened(page, f"{address}/{name}.html" + ("?q=belief" if name == "search" else ""))
    assert not checks.barriers(page, axe)


def test_a_reference_on_a_phone_keeps_nobody_out(page: Page, address: str, axe: str) -> None:
    """Its signatures scroll there, and are terms of a list."""
    opened(page, f"{address}/book/api/oracles.html", WIDTHS["phone"])
    assert page.locator("dt.sig.mrl-scrolls").count() > 0
    assert not checks.barriers(page, axe)


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_nobody_is_kept_out_of_any_page(width: int, theme: str, page: Page, address: str, axe: str) -> None:
    found = {}
    for name in [*PAGES, "index", "search", "genindex", "404"]:
        opened(page, f"{address}/{name}.html", width, theme=theme)
        found[name] = [*checks.barriers(page, axe), *checks.boxed_formulas(page), *checks.unmarked_scrolling(page)]
    assert not {name: faults for name, faults in found.items() if faults}


def test_the_keyboard_s_place_is_always_to_be_seen(page: Page, address: str) -> None:
    opened(page, f"{address}/{CHAPTERS[5]}.html")
    page.evaluate("document.querySelector('.bd-article').scrollIntoView()")
    page.focus(".search-button-field")
    entries = page.locator(".bd-sidebar-primary nav a").count()
    assert not checks.hidden_focus(page, entries + 30, opening=".dropdown-toggle[aria-expanded='false']")


def test_skip_link_is_the_first_stop(page: Page, address: str) -> None:
    opened(page, f"{address}/{CHAPTERS[5]}.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to main content"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main-content")


@pytest.mark.parametrize("button", [".theme-switch-button", ".primary-toggle"])
def test_a_pressed_button_keeps_the_focus(button: str, page: Page, address: str) -> None:
    opened(page, f"{address}/{CHAPTERS[5]}.html")
    page.keyboard.press("Tab")
    page.focus(f".bd-main {button}")
    page.keyboard.press("Enter")
    assert page.evaluate("button => document.activeElement.matches(button)", button)
    page.evaluate("localStorage.clear()")


FIRST_SCREEN = {
    "the promise": "article section p:nth-of-type(1)",
    "who it is for": "article section p:nth-of-type(2)",
    "the start": "article a[href*='01_']",
    "the exercises": "article a[href$='#exercises']",
    "Colab": "article a[href*='colab.research']",
    "the API": "article a[href*='api']",
    "the picture": "article .mrl-player img",
}


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_first_screen_says_what_this_is(width: int, height: int, page: Page, address: str) -> None:
    opened(page, f"{address}/index.html", width, height)
    assert not checks.below_the_fold(page, FIRST_SCREEN)


@pytest.fixture
def on_paper(page: Page, address: str) -> Iterator[Callable[[str], None]]:
    def show(name: str) -> None:
        opened(page, f"{address}/{name}.html")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 680, "height": 990})  # an A4 sheet without its margins

    yield show
    page.emulate_media(media="screen")


@pytest.mark.parametrize("name", [CHAPTERS[6], CHAPTERS[-2], "book/notation"])
def test_paper_cuts_nothing(name: str, page: Page, on_paper: Callable[[str], None]) -> None:
    on_paper(name)
    assert not checks.lost_on_paper(page, 680, 400)
