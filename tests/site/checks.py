"""What a rendered page must satisfy. Each function returns the faults it finds; an empty list means that all is well.

`test_checks.py` shows every function a page with that very fault, since a check that cannot fail proves nothing.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page, Request

ARTICLE = "article.bd-article"
LEAST_CONTRAST = 4.5  # WCAG 2.1, level AA, text of ordinary size


@dataclass
class Traffic:
    """What a page asked for and complained about since `clear`."""

    origin: str
    requests: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfailed", self._failed)
        page.on("response", lambda r: self.failed.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))

    def clear(self) -> None:
        for found in (self.requests, self.failed, self.complaints):
            found.clear()

    def outside(self) -> list[str]:
        """Requests to any other host; a data URI is not a request."""
        return [url for url in self.requests if not url.startswith((self.origin, "data:", "blob:"))]

    def _failed(self, request: Request) -> None:
        # ERR_ABORTED is no failure: the browser drops what it no longer needs when it goes on to the next page.
        if request.failure != "net::ERR_ABORTED":
            self.failed.append(f"{request.failure} {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")


def settle(page: Page) -> None:
    """Waits until formulas are typeset and pictures are decoded, and opens every `<details>`, so that all is seen."""
    page.evaluate(
        """async () => {
            document.querySelectorAll("details").forEach(d => { d.open = true; });
            if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
            await document.fonts.ready;
            await Promise.all([...document.images].map(i => i.decode().catch(() => null)));
            await new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)));
        }"""
    )


def settle_formulas(page: Page) -> None:
    """Waits until formulas are typeset, which moves what stands below them."""
    page.evaluate("async () => { if (window.MathJax && MathJax.startup) await MathJax.startup.promise; }")


def broken_formulas(page: Page) -> list[str]:
    """Formulas that MathJax rejects, does not see, or prints in red since it does not know a command."""
    found: list[str] = page.evaluate(
        r"""() => {
            const source = e => e.textContent.trim().slice(0, 80), faults = [];
            document.querySelectorAll("mjx-merror").forEach(e =>
                faults.push("rejected: " + (e.getAttribute("data-mjx-error") || source(e))));
            document.querySelectorAll(".math").forEach(e => {
                if (!e.querySelector("mjx-container")) faults.push("not typeset: " + source(e)); });
            document.querySelectorAll("mjx-mtext").forEach(e => {
                if (getComputedStyle(e).color === "rgb(255, 0, 0)") {
                    const at = e.closest("mjx-container");
                    faults.push("unknown command: " + (at && at.parentElement ? source(at.parentElement) : source(e)));
                } });
            return faults;
        }"""
    )
    return found


def bad_alts(page: Page, within: str = ARTICLE) -> list[str]:
    """Pictures whose alt text is missing, a file name, too short to say anything, or another picture's."""
    pictures: list[list[str]] = page.evaluate(
        """within => [...document.querySelectorAll(within + " img")].map(
               i => [i.getAttribute("src").slice(0, 80), (i.getAttribute("alt") || "").trim()])""",
        within,
    )
    faults, seen = [], set()
    for source, alt in pictures:
        if not alt:
            faults.append(f"no alt text: {source}")
        elif alt.endswith((".png", ".svg", ".jpg", ".gif")) or Path(source).stem in alt:
            faults.append(f"alt text is a file name: {alt}")
        elif len(alt) < 15:
            faults.append(f"alt text says too little: {alt!r} of {source}")
        elif alt in seen:
            faults.append(f"alt text used twice: {alt!r}")
        seen.add(alt)
    return faults


def overflow(page: Page) -> list[str]:
    """Elements of the article that stick out of the window and do not scroll in a box of their own."""
    found: list[str] = page.evaluate(
        """within => {
            const width = document.documentElement.clientWidth, faults = [];
            if (document.documentElement.scrollWidth > width)
                faults.push(`the page is ${document.documentElement.scrollWidth} px wide, the window ${width} px`);
            const boxed = e => {
                for (let p = e.parentElement; p && !p.matches(within); p = p.parentElement)
                    if (/auto|scroll|hidden|clip/.test(getComputedStyle(p).overflowX)
                        && p.getBoundingClientRect().right <= width + 1) return true;
                return false; };
            document.querySelectorAll(within + " *").forEach(e => {
                const r = e.getBoundingClientRect();
                if (r.width > 1 && r.right > width + 1 && !boxed(e) && !e.closest("mjx-assistive-mml"))
                    faults.push(`<${e.tagName.toLowerCase()} class="${e.getAttribute("class") || ""}"> ends at ${
                        Math.round(r.right)} px of ${width}: ${e.textContent.trim().slice(0, 60)}`); });
            return faults.slice(0, 10);
        }""",
        ARTICLE,
    )
    return found


def boxed_formulas(page: Page) -> list[str]:
    """Formulas within a line that have a scroll bar, stop the Tab key, or stick out of their line."""
    found: list[str] = page.evaluate(
        """within => {
            const faults = [];
            document.querySelectorAll(within + " span.math").forEach(formula => {
                const words = formula.textContent.trim().slice(0, 40);
                [formula, ...formula.querySelectorAll("*")].forEach(e => {
                    const s = getComputedStyle(e);
                    if ((/auto|scroll/.test(s.overflowX) && e.scrollWidth > e.clientWidth)
                        || (/auto|scroll/.test(s.overflowY) && e.scrollHeight > e.clientHeight))
                        faults.push("scroll bar: " + words);
                    if (e.tabIndex >= 0) faults.push("tab stop: " + words); });
                const line = formula.closest("p, li, td, th, dd, dt, summary, h2, h3, h4, article");
                const drawn = formula.querySelector("mjx-math");
                if (drawn && line && drawn.getBoundingClientRect().width > line.clientWidth + 1)
                    faults.push("wider than its line: " + words); });
            return faults;
        }""",
        ARTICLE,
    )
    return found


def cut_code(page: Page) -> list[str]:
    """Code and printed tables whose lines are longer than their box."""
    found: list[str] = page.evaluate(
        """within => [...document.querySelectorAll(within + " pre")].filter(e => e.scrollWidth > e.clientWidth + 1)
            .map(e => `${e.scrollWidth} px in a box of ${e.clientWidth} px: ${
                e.textContent.split("\\n").sort((a, b) => b.length - a.length)[0].trim().slice(0, 80)}`)""",
        ARTICLE,
    )
    return found


def unmarked_scrolling(page: Page) -> list[str]:
    """Boxes that hold more than they show without a sign of it at their edge, or without a way in for the keyboard."""
    found: list[str] = page.evaluate(
        """within => {
            const faults = [];
            document.querySelectorAll(within + " *").forEach(e => {
                const s = getComputedStyle(e);
                if (!/auto|scroll/.test(s.overflowX) || e.scrollWidth <= e.clientWidth + 1 || !e.clientWidth) return;
                const words = e.textContent.trim().slice(0, 40);
                const what = `<${e.tagName.toLowerCase()} class="${e.className}">: ${words}`;
                if (s.maskImage === "none") faults.push("no sign that there is more: " + what);
                const begin = e.firstElementChild;
                if (begin && begin.getBoundingClientRect().left < e.getBoundingClientRect().left - 1)
                    faults.push("its end is shown first: " + what);
                if (e.tabIndex < 0 && !e.querySelector("a[href], button, input, [tabindex='0']"))
                    faults.push("out of the keyboard's reach: " + what); });
            return faults;
        }""",
        ARTICLE,
    )
    return found


def hidden_focus(page: Page, steps: int, opening: str = "") -> list[str]:
    """Elements that look the same with and without the focus, on a walk with the Tab key that opens `opening`."""
    faults = []
    for _ in range(steps):
        page.keyboard.press("Tab")
        if opening and page.evaluate("menu => document.activeElement.matches(menu)", opening):
            page.keyboard.press("Enter")
        fault = page.evaluate(
            """() => {
                const e = document.activeElement;
                if (!e || e === document.body) return "";
                const look = () => [e, e.parentElement].map(x => { const s = getComputedStyle(x);
                    return [s.outlineStyle, s.outlineWidth, s.outlineColor, s.boxShadow].join(); }).join("; ");
                const on = look();
                HTMLElement.prototype.blur.call(e);
                const off = look();
                e.focus();
                return on === off ? `<${e.tagName.toLowerCase()} class="${e.getAttribute("class") || ""}"> ${
                    e.getAttribute("aria-label") || e.textContent.trim().slice(0, 40)}` : "";
            }"""
        )
        if fault and fault not in faults:
            faults.append(fault)
    return faults


def barriers(page: Page, axe: str) -> list[str]:
    """What axe-core, whose source is given, calls critical or serious: it keeps some readers out."""
    page.evaluate(axe)
    found: list[str] = page.evaluate(
        """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
            .filter(v => v.impact === "critical" || v.impact === "serious")
            .map(v => `${v.impact}, ${v.id}, ${v.nodes.length} times: ${v.nodes[0].html.slice(0, 120)}`)"""
    )
    return found


def below_the_fold(page: Page, parts: dict[str, str]) -> list[str]:
    """Parts of a page, selectors by name, that are not to be seen without scrolling; of a picture half is enough."""
    found: list[str] = page.evaluate(
        """parts => Object.entries(parts).filter(([, selector]) => {
                const e = document.querySelector(selector);
                if (!e) return true;
                const r = e.getBoundingClientRect(), height = e.matches("img, svg") ? r.height / 2 : r.height;
                return r.top + height > innerHeight || !r.height; })
            .map(([name, selector]) => { const e = document.querySelector(selector);
                return e ? `${name} ends at ${Math.round(e.getBoundingClientRect().bottom)} px of ${innerHeight}`
                         : `${name} is not there`; })""",
        parts,
    )
    return found


def lost_on_paper(page: Page, width: int, most: int) -> list[str]:
    """What a sheet of `width` pixels cuts off, controls on it, blocks above `most` pixels that cannot be divided."""
    found: list[str] = page.evaluate(
        """([within, width, most]) => {
            const faults = [], name = e => `<${e.tagName.toLowerCase()} class="${e.getAttribute("class") || ""}"> ${
                e.textContent.trim().slice(0, 40)}`;
            document.querySelectorAll("button, input, select").forEach(e => {
                if (e.checkVisibility() && e.getClientRects().length)
                    faults.push("a control is printed: " + name(e)); });
            document.querySelectorAll(within + " *").forEach(e => {
                if (e.closest("mjx-assistive-mml, script, svg *") || !e.getClientRects().length) return;
                const r = e.getBoundingClientRect(), s = getComputedStyle(e);
                if (r.right > width + 1 && r.width > 1)
                    faults.push(`cut at the right by ${Math.round(r.right - width)} px: ${name(e)}`);
                const whole = s.breakInside.startsWith("avoid") || /auto|scroll|hidden/.test(s.overflowY);
                if (whole && r.height > most) faults.push(`${Math.round(r.height)} px in one piece: ${name(e)}`); });
            return faults.slice(0, 12);
        }""",
        [ARTICLE, width, most],
    )
    return found


def weight(urls: list[str], folder: Path) -> int:
    """The bytes of the files of a folder that a page has asked for, as a server that compresses text sends them."""
    names = {
        unquote(urlsplit(url).path).lstrip("/") or "index.html"
        for url in urls
        if not url.startswith(("data:", "blob:"))
    }
    files = [folder / name for name in names if (folder / name).is_file()]
    text = {".html", ".css", ".js", ".svg", ".json", ".xml"}
    return sum(len(gzip.compress(f.read_bytes())) if f.suffix in text else f.stat().st_size for f in files)


def faint_text(page: Page, within: str = ARTICLE, least: float = LEAST_CONTRAST) -> list[str]:
    """Text whose contrast with what lies behind it is below `least`, one line for each kind of element and colour."""
    found: list[str] = page.evaluate(
        r"""([within, least]) => {
            const parse = c => { const v = c.match(/[\d.]+/g).map(Number); return v.length < 4 ? [...v, 1] : v; };
            const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3]));
            const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
            const light = c => { const [r, g, b] = c.map(v => linear(v / 255));
                                 return .2126 * r + .7152 * g + .0722 * b; };
            const behind = e => { const layers = [];
                for (let p = e; p; p = p.parentElement) { const c = parse(getComputedStyle(p).backgroundColor);
                    if (c[3] > 0) layers.push(c); if (c[3] === 1) break; }
                return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]); };
            const faults = new Map(), skip = "script, style, mjx-assistive-mml, .headerlink, canvas";
            document.querySelectorAll(within + ", " + within + " *").forEach(e => {
                const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
                if (!own || !e.getClientRects().length || e.closest(skip)) return;
                const colour = getComputedStyle(e).color, back = behind(e), front = over(parse(colour), back);
                const [a, b] = [light(front), light(back)].sort((x, y) => y - x), ratio = (a + .05) / (b + .05);
                const what = `<${e.tagName.toLowerCase()} class="${e.className}"> ${colour} on ${back.map(Math.round)}`;
                if (ratio < least && !faults.has(what))
                    faults.set(what, `${ratio.toFixed(2)}: ${what}: ${e.textContent.trim().slice(0, 40)}`); });
            return [...faults.values()];
        }""",
        [within, least],
    )
    return found


def brightness(page: Page) -> float:
    """Mean of red, green and blue of the page's background, 0 (black) to 255."""
    value: float = page.evaluate(
        r"""() => getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).slice(0, 3)
                  .reduce((sum, v) => sum + Number(v) / 3, 0)"""
    )
    return value


def missing_stills(page: Page) -> list[str]:
    """Animations that show nothing, or dead controls, where scripts do not run. For a page opened without scripts."""
    found: list[str] = page.evaluate(
        """within => {
            const faults = [];
            document.querySelectorAll(within + " img").forEach(i => {
                if (i.complete && !i.naturalWidth) faults.push("picture without content: " + i.alt); });
            document.querySelectorAll(within + " canvas").forEach(c => {
                if (!c.parentElement.querySelector("img"))
                    faults.push("canvas without a still: " + c.outerHTML.slice(0, 80)); });
            document.querySelectorAll(within + " .cell_output :is(button, input)").forEach(b => {
                if (b.checkVisibility()) faults.push("dead control: " + b.outerHTML.slice(0, 80)); });
            return faults;
        }""",
        ARTICLE,
    )
    return found


class _Links(HTMLParser):
    """The anchors that a page offers and the addresses that it points to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.targets: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors.update(given[name] for name in ("id", "name") if name in given)
        self.targets.update(given[name] for name in ("href", "src") if name in given)


def dead_links(folder: Path) -> list[str]:
    """Links between the files of a rendered site that lead to no file, or to no anchor in it."""
    found = [path for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts]  # the theme's templates
    pages = {path.resolve(): _Links(path.read_text(encoding="utf-8")) for path in found}
    faults = []
    for path, page in pages.items():
        for target in sorted(page.targets):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            other = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            where = f"{path.relative_to(folder.resolve())}: {target}"
            if not other.is_file():
                faults.append(f"no such file: {where}")
            elif parts.fragment and other in pages and unquote(parts.fragment) not in pages[other].anchors:
                faults.append(f"no such anchor: {where}")
    return faults
