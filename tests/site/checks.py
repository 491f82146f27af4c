"""What a rendered page must satisfy. Each function returns the faults it finds; an empty list means that all is well.

`test_checks.py` shows every function a page with that very fault, since a check that cannot fail proves nothing.
"""

from __future__ import annotations

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
