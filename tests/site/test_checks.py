"""Every check of `checks.py` reports a page that has its fault, and is silent about a page that has none."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import checks
from .conftest import ROOT, serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DOT = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SIGN = "mask-image: linear-gradient(to right, #000, transparent)"
MATHJAX = """<script>window.MathJax = {options: {enableMenu: false}}</script>
<script defer src="mathjax/tex-chtml-full.js"></script>"""
GOOD = f"""{MATHJAX}
<p style="color: #222">Text with <code>code</code>, <a style="color: #0645ad" href="#here">a link</a> and
<span class="math">\\(\\nabla_\\theta J\\)</span>.</p><h2 id="here">Here</h2>
<div style="overflow-x: auto; {SIGN}" tabindex="0"><table style="width: 900px"><tr><td>wide</td></tr></table></div>
<img src="{DOT}" alt="Return rises from -38 to -18 in one step.">
<div class="cell_output"><img src="{DOT}" alt="The still frame of an animation."><canvas></canvas>
<button hidden>Play</button></div>"""

BAD = {
    "rejected formula": MATHJAX + r'<span class="math">\(\left( x\)</span>',
    "formula without delimiters": MATHJAX + r'<span class="math">\nabla J</span>',
    "unknown command": MATHJAX + r'<span class="math">\(\nosuchcommand x\)</span>',
    "no alt": f'<img src="{DOT}">',
    "empty alt": f'<img src="{DOT}" alt=" ">',
    "file name for alt": f'<img src="{DOT}" alt="_images/5fb99127a94b8aeb.png">',
    "short alt": f'<img src="{DOT}" alt="figure">',
    "alt used twice": f'<img src="{DOT}" alt="The same words twice."> <img src="{DOT}" alt="The same words twice.">',
    "outside request": '<img src="http://outside.invalid/badge.svg" alt="A badge from another host.">',
    "missing file": '<link rel="stylesheet" href="missing.css">',
    "console error": '<script>console.error("a complaint")</script>',
    "uncaught error": "<script>throw new Error('thrown')</script>",
    "wide page": '<table style="width: 900px"><tr><td>wide</td></tr></table>',
    "cut off": '<div style="overflow-x: hidden; width: 900px"><p style="width: 900px">wide</p></div>',
    "faint text": '<p style="color: #999">faint</p>',
    "faint text on a tint": '<p style="color: #777; background: rgba(0, 0, 0, .1)">faint</p>',
    "dead picture": '<img src="missing.png" alt="A picture that is not there.">',
    "canvas alone": '<div class="cell_output"><canvas></canvas></div>',
    "dead control": '<div class="cell_output"><button>Play</button></div>',
    "formula with a scroll bar": MATHJAX
    + r'<p><span class="math" style="display:inline-block;width:20px;overflow:auto">\(a + b\)</span></p>',
    "formula that stops the tab key": MATHJAX + r'<p><span class="math" tabindex="0">\(a + b\)</span></p>',
    "formula wider than its line": MATHJAX
    + r'<p style="width: 30px"><span class="math">\(a + b + c + d + e\)</span></p>',
    "long code": f"<pre style='overflow: auto'>{'x' * 120}</pre>",
    "scrolls without a sign": "<div style='overflow: auto' tabindex='0'><p style='width: 900px'>wide</p></div>",
    "scrolls without a key": f"<div style='overflow: auto; {SIGN}'><p style='width: 900px'>wide</p></div>",
    "end shown first": f"<div style='display: flex; flex-direction: row-reverse; overflow: auto; {SIGN}' tabindex='0'>"
    "<p style='flex: none; width: 900px'>wide</p></div>",
    "hidden focus": '<button style="outline: none">Here</button> <button>There</button>',
    "hidden focus in a menu": '<button class="menu" onclick="this.nextElementSibling.hidden = false">Menu</button>'
    '<p hidden><a href="#" style="outline: none">Entry</a></p>',
    "no name": "<button></button>",
    "late promise": '<p style="margin-top: 840px">What this is.</p>',
    "late picture": f'<img src="{DOT}" alt="A dot that stands low." style="margin-top: 700px; height: 300px">',
    "button on paper": "<button>Play</button>",
    "wider than paper": "<p style='width: 900px'>wide</p>",
    "one piece": "<div style='break-inside: avoid; height: 600px'>tall</div>",
    "scrolls on paper": "<div style='overflow: auto; height: 600px'>tall</div>",
    "dead link": '<a href="nowhere.html">away</a>',
    "dead anchor": '<a href="#nowhere">down</a> <a href="good.html#nowhere">there</a>',
}


def _name(fault: str) -> str:
    return fault.replace(" ", "-")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("literal")
    shutil.copytree(ROOT / "book" / "static" / "mathjax", root / "mathjax")
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,">'
    for name, body in {"good": GOOD, **BAD}.items():
        text = f'{head}<title>{name}</title><body style="margin: 0"><article class="bd-article">{body}</article>'
        (root / f"{_name(name)}.html").write_text(text, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def literal(folder: Path) -> Iterator[str]:
    yield from serve(folder)


@pytest.fixture(scope="module")
def watcher(page: Page, literal: str) -> checks.Traffic:
    traffic = checks.Traffic(origin=literal)
    traffic.watch(page)
    return traffic


@pytest.fixture
def show(page: Page, watcher: checks.Traffic, literal: str) -> Callable[[str], Page]:
    def opened(fault: str) -> Page:
        page.goto("about:blank")
        watcher.clear()
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(f"{literal}/{_name(fault)}.html")
        checks.settle(page)
        return page

    return opened


CHECKS: dict[str, tuple[Callable[[Page], list[str]], str]] = {
    "rejected formula": (checks.broken_formulas, "rejected"),
    "formula without delimiters": (checks.broken_formulas, "not typeset"),
    "unknown command": (checks.broken_formulas, "unknown command"),
    "no alt": (checks.bad_alts, "no alt text"),
    "empty alt": (checks.bad_alts, "no alt text"),
    "file name for alt": (checks.bad_alts, "file name"),
    "short alt": (checks.bad_alts, "too little"),
    "alt used twice": (checks.bad_alts, "twice"),
    "wide page": (checks.overflow, "900 px"),
    "cut off": (checks.overflow, "900 px"),
    "formula with a scroll bar": (checks.boxed_formulas, "scroll bar: "),
    "formula that stops the tab key": (checks.boxed_formulas, "tab stop: "),
    "formula wider than its line": (checks.boxed_formulas, "wider than its line: "),
    "long code": (checks.cut_code, "px in a box of"),
    "scrolls without a sign": (checks.unmarked_scrolling, "no sign"),
    "scrolls without a key": (checks.unmarked_scrolling, "reach"),
    "end shown first": (checks.unmarked_scrolling, "end is shown first"),
    "faint text": (checks.faint_text, "faint"),
    "faint text on a tint": (checks.faint_text, "faint"),
}


@pytest.mark.parametrize("fault", CHECKS)
def test_fault_is_reported(fault: str, show: Callable[[str], Page]) -> None:
    check, words = CHECKS[fault]
    faults = check(show(fault))
    assert any(words in found for found in faults), faults


def test_good_page_has_no_fault(show: Callable[[str], Page], watcher: checks.Traffic) -> None:
    page = show("good")
    for check in {check for check, _ in CHECKS.values()}:
        assert check(page) == []
    assert watcher.outside() + watcher.failed + watcher.complaints == []
    assert page.locator("mjx-container").count() == 1


def test_hidden_focus_is_reported(show: Callable[[str], Page]) -> None:
    assert [fault.split("> ")[1] for fault in checks.hidden_focus(show("hidden focus"), 3)] == ["Here"]
    assert checks.hidden_focus(show("hidden focus in a menu"), 3) == []  # nobody has opened it
    page = show("hidden focus in a menu")
    assert [fault.split("> ")[1] for fault in checks.hidden_focus(page, 3, opening=".menu")] == ["Entry"]
    assert checks.hidden_focus(show("good"), 4) == []


def test_barriers_are_reported(show: Callable[[str], Page], axe: str) -> None:
    assert [fault.split(", ")[:2] for fault in checks.barriers(show("no name"), axe)] == [["critical", "button-name"]]
    assert checks.barriers(show("good"), axe) == []


def test_what_comes_late_is_reported(show: Callable[[str], Page]) -> None:
    parts = {"promise": "article p", "picture": "article img"}
    assert checks.below_the_fold(show("good"), parts) == []
    (late, missing) = checks.below_the_fold(show("late promise"), parts)
    assert late.startswith("promise ends at")
    assert missing == "picture is not there"
    assert any(fault.startswith("picture ends at") for fault in checks.below_the_fold(show("late picture"), parts))


def test_what_paper_loses_is_reported(show: Callable[[str], Page]) -> None:
    expected = {
        "button on paper": "a control is printed",
        "wider than paper": "cut at the right by 510 px",
        "one piece": "600 px in one piece",
        "scrolls on paper": "600 px in one piece",
    }
    for fault, words in expected.items():
        faults = checks.lost_on_paper(show(fault), 390, 400)
        assert any(words in found for found in faults), (fault, faults)
    assert checks.lost_on_paper(show("late promise"), 390, 400) == []


def test_weight_is_what_a_server_sends(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("word " * 2000, encoding="utf-8")
    (tmp_path / "font.woff2").write_bytes(bytes(3000))
    urls = ["http://127.0.0.1/page.html?q=1", "http://127.0.0.1/page.html", "http://127.0.0.1/font.woff2", "data:,x"]
    assert 3000 < checks.weight(urls, tmp_path) < 3200


def test_outside_request_is_refused_and_reported(show: Callable[[str], Page], watcher: checks.Traffic) -> None:
    show("outside request")
    assert watcher.outside() == ["http://outside.invalid/badge.svg"]
    assert [fault.split()[-1] for fault in watcher.failed] == ["http://outside.invalid/badge.svg"]


def test_missing_file_is_reported(show: Callable[[str], Page], watcher: checks.Traffic, literal: str) -> None:
    show("missing file")
    assert watcher.failed == [f"404 {literal}/missing.css"]


@pytest.mark.parametrize(("fault", "words"), [("console error", "a complaint"), ("uncaught error", "thrown")])
def test_complaint_is_reported(fault: str, words: str, show: Callable[[str], Page], watcher: checks.Traffic) -> None:
    show(fault)
    assert any(words in complaint for complaint in watcher.complaints), watcher.complaints


def test_brightness_tells_dark_from_light(show: Callable[[str], Page]) -> None:
    page = show("good")
    page.evaluate("document.body.style.background = '#fff'")
    assert checks.brightness(page) == 255
    page.evaluate("document.body.style.background = '#141414'")
    assert checks.brightness(page) == 20


def test_missing_stills_are_reported(browser: Browser, literal: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    expected = {
        "good": "",
        "dead picture": "without content",
        "canvas alone": "without a still",
        "dead control": "dead",
    }
    for fault, words in expected.items():
        page.goto(f"{literal}/{_name(fault)}.html")
        faults = checks.missing_stills(page)
        assert len(faults) == bool(words), (fault, faults)
        assert all(words in found for found in faults), (fault, faults)
    context.close()


def test_dead_links_are_reported(folder: Path) -> None:
    faults = checks.dead_links(folder)
    mine = [fault for fault in faults if fault.split(": ")[1].startswith("dead-")]
    assert mine == [
        "no such anchor: dead-anchor.html: #nowhere",
        "no such anchor: dead-anchor.html: good.html#nowhere",
        "no such file: dead-link.html: nowhere.html",
        "no such file: dead-picture.html: missing.png",
    ]
    assert not [fault for fault in faults if ": good.html: " in fault]
