"""Makes what can be taken along, from the rendered pages: `make book-offline`.

    python -m tools.offline

writes into `_build/offline` a folder that opens from the disk, the same as a zip, and a PDF of the whole book with
hints, solutions and answers at the end of each chapter. The PDF is printed by the Chromium of the browser tests; where
there is none, the folder and the zip are made without it.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from bs4 import BeautifulSoup, Tag

from tools import chromium, contents

ROOT = Path(__file__).resolve().parent.parent
HTML, OUT = ROOT / "_build" / "html", ROOT / "_build" / "offline"
NAME = "metarl_lite-book"
#: What a fold of a chapter is called that gives something away.
SECRET = re.compile(r"\s*(Hint|Solution|Answer)")
#: What is of no use on paper.
GONE = ".headerlink, script, button, canvas, .mrl-controls, .mrl-start, .code-switch, noscript, style"
#: The reference would double the number of pages, and names are looked up on the screen.
LEFT_OUT = re.compile(r"book/api(/.*|_.*)?")
STAMP = (2000, 1, 1, 0, 0, 0)  # the zip of the same pages is the same file


# --- One page of the book as a chapter of the PDF -------------------------------------------------


def chapter(html: str, page: str, pages: list[str], public: str) -> Tag:
    """The article of a page whose anchors cannot meet another page's, and whose secrets stand at its end."""
    body = html[max(0, html.find("<article")) : html.rfind("</article>") + len("</article>")]  # the rest takes long
    article = BeautifulSoup(body, "html.parser").select_one("article.bd-article")
    if article is None:
        raise ValueError(f"{page} has no article: has the theme changed? See tools/offline.py")
    for node in article.select(GONE):
        node.decompose()
    unfold(article)
    rename(article, page, pages, public)
    article["id"] = anchor(page)
    return article


def anchor(page: str, fragment: str = "") -> str:
    """The name of a place of a page within the whole book."""
    stem = page.replace("/", "-")
    return f"{stem}--{fragment}" if fragment else stem


def rename(article: Tag, page: str, pages: list[str], public: str) -> None:
    """Anchors get their page's name; links lead within the book where they can, and to the public address otherwise."""
    for node in article.find_all(True):
        for name in ("id", "for", "aria-labelledby", "aria-describedby", "aria-controls"):
            if name in node.attrs:
                names = node[name].split() if isinstance(node[name], str) else node[name]
                node[name] = " ".join(anchor(page, value) for value in names)
        for name, value in node.attrs.items():
            if isinstance(value, str) and "url(#" in value:
                node[name] = value.replace("url(#", f"url(#{anchor(page)}--")
        if node.name == "a" and "href" in node.attrs:
            node["href"] = target(node["href"], page, pages, public)


def target(href: str, page: str, pages: list[str], public: str) -> str:
    """Where a link of a page leads in the PDF."""
    if re.match(r"[a-z][a-z+.-]*:", href):
        return href
    path, _, fragment = href.partition("#")
    file = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else f"{page}.html"
    other = file.removesuffix(".html")
    if other in pages:
        return "#" + anchor(other, fragment)
    return public + file + (f"#{fragment}" if fragment else "")


def unfold(article: Tag) -> None:
    """What is folded is open on paper; hints, solutions and answers go to the end, under the name of their exercise."""
    soup, kept, seen = BeautifulSoup("", "html.parser"), [], Counter[str]()
    folds = article.select("details")
    secret = [fold for fold in folds if SECRET.match(_summary(fold))]
    for fold in folds:
        fold["open"] = ""
    known = set(map(id, secret))  # a fold equals another that has the same words
    for fold in [fold for fold in secret if not known & set(map(id, fold.find_parents("details")))]:
        summary, words = fold.find("summary", recursive=False), _summary(fold)
        heading = fold.find_previous(["h1", "h2", "h3", "h4"])
        title = f"{heading.get_text(' ', strip=True)}. {words}" if heading else words
        seen[title] += 1
        label = soup.new_tag("p", attrs={"class": "offline-label"})
        label.string = f"{title} {seen[title]}" if words == "Answer" else title
        if summary:
            summary.decompose()
        fold.extract()
        fold.name, fold.attrs = "div", {}
        kept += [label, fold]
    if kept:
        section, heading = soup.new_tag("section"), soup.new_tag("h2")
        heading.string = "Hints, solutions and answers"
        section.extend([heading, *kept])
        (article.find("section") or article).append(section)


def _summary(fold: Any) -> str:
    found = fold.find("summary", recursive=False)
    return found.get_text(" ", strip=True) if found else ""


# --- The whole book -------------------------------------------------------------------------------

STYLE = """
article.bd-article { break-before: page; max-width: none; }
/* Chromium takes the words of a heading that touches the page's upper edge twice into the outline: keep it off. */
.bd-article :is(h1, h2, h3, h4) { padding-top: 1rem; margin-top: .6rem; }
.offline-label { font-weight: 700; margin: 1rem 0 .3rem; break-after: avoid; }
.offline-cover { text-align: center; padding-top: 50mm; }
.offline-cover h1 { font-size: 2rem; white-space: nowrap; }
.offline-contents { break-before: page; }
.offline-contents li { list-style: none; margin: .25rem 0; }
.offline-contents p { font-weight: 700; margin: 1rem 0 .3rem; }
.bd-article details:not([class]) { border: 0; background: none; padding: 0; }
.bd-article details > summary { list-style: none; }
.bd-article .sd-summary-content { display: block; }
"""
FOOTER = (
    '<div style="font: 8px sans-serif; width: 100%; text-align: center; color: #555">'
    '<span class="pageNumber"></span></div>'
)


def parts() -> list[tuple[str, list[str]]]:
    """The parts of the book with their pages, as _toc.yml has them."""
    read = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    named = [(part["caption"], [chapter["file"] for chapter in part["chapters"]]) for part in read["parts"]]
    return [("", [read["root"]]), *named]


def book(html: Path = HTML) -> str:
    """All pages as one, which lies in the folder book/ beside them, so that pictures are found."""
    from metarl_lite import __version__

    pages = [page for page in contents.pages() if not LEFT_OUT.fullmatch(page)]
    first = BeautifulSoup(_read(html, pages[0]).partition("</head>")[0], "html.parser")
    canonical = first.find("link", rel="canonical")
    public, title = str(canonical["href"]) if isinstance(canonical, Tag) else "", first.title.get_text(strip=True)
    chapters = {page: chapter(_read(html, page), page, pages, public) for page in pages}
    rows = []
    for caption, files in parts():
        rows += [f"<p>{caption}</p>"] if caption else []
        shown = [page for page in files if page in chapters]
        links = [f'<a href="#{anchor(page)}">{_title(chapters[page])}</a>' for page in shown]
        rows += [f"<ul>{''.join(f'<li>{link}</li>' for link in links)}</ul>"]
    formulas = BeautifulSoup(_read(html, next(p for p in pages if "/06" in p)).partition("</head>")[0], "html.parser")
    scripts = [s for s in formulas.find_all("script") if "MathJax" in s.get_text() or "mathjax" in s.get("src", "")]
    links = "".join(str(link) for link in first.find_all("link", rel="stylesheet"))
    cover = f"<h1>{title}</h1><p>Version {__version__}</p><p>{public}</p><p>Text and figures: CC BY 4.0. Code: MIT.</p>"
    return "\n".join(
        [
            f'<!doctype html><html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8">'
            f"<title>{title}</title>{links}<style>{STYLE}</style>{''.join(map(str, scripts))}</head><body>",
            f'<div class="bd-article offline-cover">{cover}</div>',
            f'<nav class="bd-article offline-contents"><h1>Contents</h1>{"".join(rows)}</nav>',
            *map(str, chapters.values()),
            "</body></html>",
        ]
    )


def _read(html: Path, page: str) -> str:
    return (html / f"{page}.html").read_text(encoding="utf-8")


def _title(article: Tag) -> str:
    heading = article.find("h1")
    return heading.get_text(" ", strip=True) if heading else ""


#: An equation that is wider than the paper is set smaller; 180 mm are 680 pixels.
FIT = """async () => {
    await MathJax.startup.promise;
    await document.fonts.ready;
    await Promise.all([...document.images].map(i => i.decode().catch(() => null)));
    for (const box of document.querySelectorAll("div.math, span.math mjx-container")) {
        const room = box.matches("span *") ? 670 : box.clientWidth, wide = box.scrollWidth;
        if (wide > room + 1) box.style.fontSize = `${Math.floor(98 * room / wide)}%`;
    }
}"""


def print_book(folder: Path, path: Path) -> None:
    """Prints the book of a folder of pages into a file, with an outline, links and page numbers."""
    from playwright.sync_api import sync_playwright

    whole = folder / "book" / "whole-book.html"
    whole.write_text(book(folder), encoding="utf-8")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium.look()[0], args=chromium.OPTIONS)
            page = browser.new_page(viewport={"width": 680, "height": 960})
            page.set_default_timeout(300_000)
            page.emulate_media(media="print", color_scheme="light")
            page.goto(whole.as_uri())
            page.evaluate(FIT)
            page.pdf(
                path=path, prefer_css_page_size=True, print_background=True, outline=True, tagged=True,
                display_header_footer=True, header_template="<span></span>", footer_template=FOOTER,
            )  # fmt: skip
            browser.close()
    finally:
        whole.unlink()


# --- The folder and the zip -----------------------------------------------------------------------


def pack(folder: Path, path: Path) -> None:
    """A zip of a folder that is the same file whenever the folder has the same files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            entry = zipfile.ZipInfo(f"{folder.name}/{file.relative_to(folder).as_posix()}", STAMP)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, file.read_bytes())


def main() -> int:
    """Makes the folder, the PDF and the zip, and says where they are."""
    if not (HTML / "index.html").is_file():
        print("There are no pages yet: 'make book' renders them.", file=sys.stderr)
        return 1
    folder, pdf, archive = OUT / NAME, OUT / f"{NAME}.pdf", OUT / f"{NAME}.zip"
    shutil.rmtree(OUT, ignore_errors=True)
    unused = shutil.ignore_patterns("*.map", "objects.inv", "404.html", "sitemap.xml", ".buildinfo")
    shutil.copytree(HTML, folder, ignore=unused)
    _, lacks = chromium.look()
    if lacks:
        print(chromium.explain(lacks).replace("The browser tests are skipped", "There is no PDF"), file=sys.stderr)
    else:
        print("Printing the book; this takes a minute or two ...", flush=True)
        print_book(folder, pdf)
    pack(folder, archive)
    print(f"The book to take along: {(folder / 'index.html').as_uri()}")
    for path in (archive, pdf):
        if path.is_file():
            print(f"{path.stat().st_size / 1e6:8.1f} MB  {path.relative_to(ROOT).as_posix()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
