"""The book to take along: chapters become one document in which every link leads somewhere, and nothing is folded."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from tools import contents, offline

from .conftest import executable

PAGES = ["book/01_first", "book/02_second"]
PUBLIC = "https://example.org/book/"
FOLDED = """<html><body><article class="bd-article"><section id="chapter"><h1>Chapter<a class="headerlink">#</a></h1>
<section id="exercises"><h2>Exercises</h2>
<section id="one"><h3>Exercise 1.1: a step</h3><p>Take a step.</p>
<details><summary>Hint 1</summary><p>Downhill.</p></details>
<details><summary>Solution</summary><pre>step()</pre>
<details><summary>Hint within</summary><p>It is.</p></details></details>
</section>
<section id="two"><h3>Exercise 1.2: two</h3><p>Take two.</p>
<details><summary>How it was done</summary><p>By foot.</p></details></section></section>
<section id="quiz"><h2>Quiz</h2><p>One?</p><details><summary>Answer</summary><p>Yes.</p></details>
<p>Two?</p><details><summary>Answer</summary><p>No.</p></details></section>
<section id="summary"><h2>Summary</h2><p>The end. <button>Copy</button></p></section></section>
</article></body></html>"""
LINKED = """<article class="bd-article"><h1 id="top">Title</h1><a href="#top">up</a><a href="02_second.html">next</a>
<a href="02_second.html#part">part</a><a href="api.html#name">name</a><a href="https://example.com/x#y">away</a>
<svg aria-labelledby="a b"><title id="a">A</title><desc id="b">B</desc><path marker-end="url(#tip)"/></svg></article>"""


def words(html: str, page: str = PAGES[0]) -> str:
    return " ".join(offline.chapter(html, page, PAGES, PUBLIC).get_text(" ").split())


def test_what_gives_something_away_stands_at_the_end() -> None:
    body, _, end = words(FOLDED).partition("Hints, solutions and answers")
    for text in ("Take a step.", "Take two.", "One?", "Two?", "The end.", "How it was done By foot."):
        assert text in body
        assert text not in end
    assert "Copy" not in body
    assert "#" not in body
    expected = (
        "Exercise 1.1: a step. Hint 1 Downhill. Exercise 1.1: a step. Solution step() Hint within It is. "
        "Quiz. Answer 1 Yes. Quiz. Answer 2 No."
    )
    assert end.strip() == expected


def test_a_page_without_secrets_gets_no_end() -> None:
    assert words('<article class="bd-article"><h1>Page</h1><p>Some text.</p></article>') == "Page Some text."


def test_a_page_without_an_article_is_named() -> None:
    with pytest.raises(ValueError, match="book/01_first has no article"):
        words("<main>Page</main>")


def test_links_lead_within_the_book_where_they_can() -> None:
    article = offline.chapter(LINKED, PAGES[0], PAGES, PUBLIC)
    assert [link["href"] for link in article.find_all("a")] == [
        "#book-01_first--top",
        "#book-02_second",
        "#book-02_second--part",
        f"{PUBLIC}book/api.html#name",
        "https://example.com/x#y",
    ]
    assert article["id"] == "book-01_first"
    assert article.svg["aria-labelledby"] == "book-01_first--a book-01_first--b"
    assert article.path["marker-end"] == "url(#book-01_first--tip)"


def test_whole_book_has_every_page_and_no_loose_end(built: Path) -> None:
    soup = BeautifulSoup(offline.book(built), "html.parser")
    titles = {article["id"] for article in soup.select("article.bd-article")}
    assert titles == {offline.anchor(page) for page in contents.pages() if not offline.LEFT_OUT.fullmatch(page)}
    names = Counter(node["id"] for node in soup.find_all(id=True))
    assert [name for name, count in names.items() if count > 1 and not name.startswith("book-")] == []
    targets = {link["href"][1:] for link in soup.find_all("a", href=re.compile("^#"))}
    assert targets <= set(names), sorted(targets - set(names))[:5]
    pictures = [built / "book" / image["src"] for image in soup.find_all("img") if not image["src"].startswith("data:")]
    assert len(pictures) > 50
    assert all(picture.is_file() for picture in pictures)
    assert not soup.select("button, .headerlink")
    folds = [fold for fold in soup.find_all("details") if offline.SECRET.match(fold.get_text())]
    assert all(fold.find_parent("section").h2.get_text() == "Hints, solutions and answers" for fold in folds)
    labels = soup.select(".offline-label")
    assert len([label for label in labels if label.get_text().endswith("Solution")]) > 30


def test_same_folder_same_zip(tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    (folder / "book").mkdir(parents=True)
    (folder / "book" / "b.html").write_text("b", encoding="utf-8")
    (folder / "a.html").write_text("a", encoding="utf-8")
    offline.pack(folder, tmp_path / "1.zip")
    (folder / "a.html").touch()
    offline.pack(folder, tmp_path / "2.zip")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "1.zip") as archive:
        assert archive.namelist() == ["pages/a.html", "pages/book/b.html"]


@pytest.mark.slow
def test_the_book_is_printed_with_an_outline(built: Path, tmp_path: Path) -> None:
    executable()
    pdf = tmp_path / "book.pdf"
    offline.print_book(built, pdf)
    data = pdf.read_bytes()
    assert data.count(b"/Type /Page\n") + data.count(b"/Type /Page ") + data.count(b"/Type/Page/") > 200
    assert b"/Outlines" in data
    assert len(data) < 40_000_000
    assert not list(built.rglob("whole-book.html"))
