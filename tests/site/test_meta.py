"""What the pages tell those who do not read them yet: search engines, people who get a link, people who cite."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tools import contents, set_repo

from .conftest import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGES = contents.pages()
PUBLIC = f"https://{set_repo.current().pages}/"


class Head(HTMLParser):
    """The meta elements and links of a page's head."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.metas: dict[str, list[str]] = {}
        self.links: dict[str, list[str]] = {}
        self.feed(text.partition("</head>")[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "meta" and "content" in given:
            self.metas.setdefault(given.get("name", given.get("property", "")), []).append(given["content"])
        if tag == "link" and "rel" in given:
            self.links.setdefault(given["rel"], []).append(given.get("href", ""))


def read(built: Path, page: str) -> str:
    return (built / f"{page}.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [*PAGES, "index"])
def test_page_describes_itself(page: str, built: Path) -> None:
    head = Head(read(built, page))
    address = PUBLIC if page in ("index", PAGES[0]) else f"{PUBLIC}{page}.html"
    assert head.links["canonical"] == [address]
    (description,) = head.metas["description"]
    assert 50 <= len(description) <= 201
    assert not re.search(r"[\\$<>]|\s\s", description), description
    assert head.metas["og:description"] == [description]
    assert head.metas["og:url"] == [address]
    assert head.metas["og:title"][0] in read(built, page).replace("&#8212;", "—").replace("&amp;", "&")
    (picture,) = head.metas["og:image"]
    file = built / picture.removeprefix(PUBLIC)
    width, height = struct.unpack(">II", file.read_bytes()[16:24])
    assert width >= 400
    assert height >= 200
    assert len(head.metas["og:image:alt"][0]) > 15


def test_no_two_pages_have_the_same_description(built: Path) -> None:
    found = [Head(read(built, page)).metas["description"][0] for page in PAGES]
    assert len(set(found)) == len(found)


def test_site_map_has_every_page(built: Path) -> None:
    root = ET.fromstring((built / "sitemap.xml").read_text(encoding="utf-8"))
    space = {"s": "http://www.sitemaps.org/schemas/sitemap/0.9"}
    found = [node.text for node in root.findall("s:url/s:loc", space)]
    assert set(found) >= {PUBLIC, *(f"{PUBLIC}{page}.html" for page in PAGES[1:])}
    assert len(set(found)) == len(found)


def test_lost_readers_get_a_page_that_needs_nothing(built: Path) -> None:
    """GitHub shows 404.html at any depth: nothing in it may be relative."""
    text = (built / "404.html").read_text(encoding="utf-8")
    targets = re.findall(r'(?:href|src|action)="([^"]*)"', text)
    assert all(target.startswith((PUBLIC, "data:")) for target in targets)
    assert {f"{PUBLIC}{page}.html" for page in PAGES[1:]} <= set(targets)


def test_the_address_shows_the_title_page(built: Path, page: Page, address: str) -> None:
    text = (built / "index.html").read_text(encoding="utf-8")
    assert "Refresh" not in text
    assert "../" not in re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    page.goto(f"{address}/")
    assert page.url == f"{address}/"
    shown = page.inner_text("article.bd-article")
    page.goto(f"{address}/{PAGES[0]}.html")
    assert page.inner_text("article.bd-article") == shown


def test_title_page_counts_what_there_is_to_do(built: Path) -> None:
    cells = [cell for path in contents.notebooks() for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    sources = ["".join(cell["source"]) for cell in cells]
    exercises = sum(len(re.findall(r"^### Exercise \d", source, re.MULTILINE)) for source in sources)
    checked = sum(source.startswith("check(") for source in sources)
    text = re.sub(r"<[^>]+>", "", read(built, PAGES[0]))
    assert exercises > 30
    assert f"{checked} exercises check themselves" in text
    predictions = sum(source.count("**Predict before you run") for source in sources)
    assert f"{predictions} times" in text
    assert not re.search(r"<!-- (exercises|predictions|answers|cite)", read(built, PAGES[0]))


def test_map_leads_to_every_chapter(built: Path) -> None:
    picture = re.search(r"<svg[^>]*map-title.*?</svg>", read(built, PAGES[0]), re.DOTALL)
    assert picture is not None
    links = set(re.findall(r'<a href="([^"]+)">', picture[0]))
    assert {f"{path.stem}.html" for path in contents.notebooks() if not path.stem[2].isalpha()} <= links


def test_citation_is_the_readme_s(built: Path) -> None:
    entry = re.search(r"```bibtex\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert entry is not None
    shown = re.sub(r"<[^>]+>", "", read(built, PAGES[0]))
    assert entry[1].strip() in shown


@pytest.mark.parametrize("page", [PAGES[0], PAGES[2], "search", "genindex"])
def test_footer_leads_to_citation_and_index(page: str, built: Path) -> None:
    footer = read(built, page).partition('class="extra_footer"')[2]
    up = "../" if "/" in page else ""
    root = PAGES[0].removeprefix("book/") if up else PAGES[0]
    assert f'href="{root}.html#cite"' in footer or 'href="#cite"' in footer
    assert f'href="{up}genindex.html"' in footer or 'href="#"' in footer
    assert 'id="cite"' in read(built, PAGES[0])


def test_pages_say_when_they_changed(built: Path) -> None:
    """Where git knows; a copy without its history says nothing rather than something wrong."""
    command = ["git", "log", "-1", "--format=%cd", "--date=format:%d %B %Y", "--", f"{PAGES[1]}.md"]
    asked = subprocess.run(
        ["git", "rev-parse", "--is-shallow-repository"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if asked.stdout.strip() != "false":
        assert "Last updated" not in read(built, PAGES[1])
        return
    day = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip().lstrip("0")
    assert f"Last updated on {day}." in read(built, PAGES[1])


def test_the_menu_writes_the_square(built: Path) -> None:
    menu = re.search(r'<nav class="bd-links.*?</nav>', read(built, PAGES[0]), re.DOTALL)
    assert menu is not None
    assert "RL²" in menu[0]
    assert not re.search(r">[^<]*RL2[^<]*<", menu[0])
