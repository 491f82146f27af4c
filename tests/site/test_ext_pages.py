"""What the extension makes of whole pages: a small book is rendered, without a browser, and its HTML is read."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup, Tag
from PIL import Image

from .conftest import ROOT

SETUP = "#@title Setup\nimport sys"
FIRST = r"""# 6. A small chapter

*Duan et al. (2016) is where MAML ends, and chapter 7 begins.*"""
CLAIM = r"""## A claim

It is equation (6.1), or (6.1), and figure 6.2 shows it. `generator` is code. The meta-gradient is a term.

<!-- eq: first -->
$$ x = \begin{cases} 1 & a \\ 2 & b \end{cases} . \tag{6.1} $$

$$ y = 2 $$

**Predict before you run.** What will it be?"""
ANSWER = "It was\n\n<!-- eq: third -->\n$$ z = 2 , \\tag{6.9} $$\n\nand stays so.\n\nThe next paragraph is open."
ASKS = "show_source(generator)\nx = 1 + 1\n# ten seeds gave a lot\nassert x == 2\ny = x\nprint('two')"
SECOND = "# 6. A small chapter, part 2\n\n<!-- caption: What is\nasked for. -->"
GLOSSARY = """# Glossary

```{glossary}
MAML
  An *initialisation* of $\\theta$, by {term}`Meta-gradient` and `code`.

Meta-gradient
  The gradient after a step {cite}`duan`. More of it.
```
"""
BIB = """@misc{duan, author = {Duan, Yan and Schulman, John and Chen, Xi and Abbeel, Pieter}, title = {Fast},
year = {2016}, eprint = {1611.02779}, archiveprefix = {arXiv}}
@misc{alone, author = {Alone, A.}, title = {Uncited}, year = {1999}}
"""


def png(colour: str) -> str:
    buffer = BytesIO()
    Image.new("RGB", (4, 4), colour).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def figure(alt: str, colour: str) -> Any:
    data = {"image/png": png(colour), "text/plain": f"[Figure: {alt}]"}
    return nbformat.v4.new_output("display_data", data=data, metadata={"image/png": {"alt": alt}})


def player(alt: str) -> Any:
    html = f'<div id="p" class="mrl-player"><div><img src="data:," alt="{alt}"></div></div>'
    return nbformat.v4.new_output("display_data", data={"text/html": html, "text/plain": "[Animation]"})


def said(text: str) -> Any:
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def shown(name: str) -> Any:
    return nbformat.v4.new_output("display_data", data={"text/markdown": f"`{name}`", "text/plain": f"# {name}"})


def write(path: Path, *cells: Any) -> None:
    for cell in cells:
        if (
            "outputs" in cell
            and cell["outputs"]
            and (image := cell["outputs"][-1].get("metadata", {}).get("image/png"))
        ):
            cell["metadata"]["mystnb"] = {"image": {"alt": image["alt"]}}
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    path.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=list(cells), metadata=kernel)), encoding="utf-8")


def code(source: str, *outputs: Any, tags: tuple[str, ...] = ()) -> Any:
    return nbformat.v4.new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)} if tags else {})


def book(root: Path) -> None:
    """A book of two notebooks of one chapter, with what they lead to."""
    markdown = nbformat.v4.new_markdown_cell
    (root / "book" / "api").mkdir(parents=True)
    for name in ("book/ext", "book/static", "metarl_lite", "pyproject.toml", "CITATION.cff"):
        (root / name).symlink_to(ROOT / name)
    write(
        root / "book" / "06_small.ipynb",
        markdown(FIRST),
        code(SETUP, tags=("setup",)),
        code("#@title Imports\nfrom metarl_lite import generator, show_source", tags=("imports",)),
        markdown(CLAIM),
        code(ASKS, shown("metarl_lite.rng.generator"), said("two\n")),
        code("#@title A line\nplot()", figure("A line. It rises.", "red"), tags=("hide-input",)),
        markdown(ANSWER),
        code("film()", player("Left: a film &amp; more. Right: another. Both end.")),
    )
    write(
        root / "book" / "06b_more.ipynb",
        markdown(SECOND),
        code("plot()", figure("A second picture with a longer sentence than the first one has. It falls.", "blue")),
    )
    pages = {
        "book/intro.md": "# A small book\n\nIt has chapter 6 and `generator`.",
        "book/glossary.md": GLOSSARY,
        "book/bibliography.md": "# Bibliography\n\n```{bibliography}\n:all:\n```\n",
        "book/references.bib": BIB,
        "book/api.md": "# API\n\n<!-- names of ground -->\n",
        "book/api/ground.md": "# Ground\n\n```{eval-rst}\n.. automodule:: metarl_lite.rng\n```\n",
        "book/api_examples.txt": "metarl_lite.generator\n    >>> 1 + 1\n    2\n",
        "_toc.yml": "format: jb-book\nroot: book/intro\nchapters:\n"
        + "".join(f"- file: book/{n}\n" for n in ("06_small", "06b_more", "glossary", "bibliography", "api"))
        + "  sections:\n  - file: book/api/ground\n",
        "_config.yml": (ROOT / "_config.yml").read_text(encoding="utf-8"),
    }
    for name, text in pages.items():
        (root / name).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of the pages, and what jupyter-book complained about."""
    root = tmp_path_factory.mktemp("small")
    book(root)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(root), "-n"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "WARNING" in line or "ERROR" in line]
    return root / "_build" / "html" / "book", "\n".join(complaints)


@pytest.fixture(scope="module")
def article(rendered: tuple[Path, str]) -> Any:
    """Reads the article of a page."""

    def read(name: str) -> Tag:
        soup = BeautifulSoup((rendered[0] / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
        found = soup.select_one("article.bd-article")
        assert found is not None
        return found

    return read


def addresses(part: Tag, select: str = "a") -> list[str]:
    return [str(link["href"]) for link in part.select(select)]


def test_only_the_chapter_that_is_not_there_is_not_linked(rendered: tuple[Path, str]) -> None:
    assert rendered[1] == ""


def test_text_leads_to_works_terms_names_and_numbers(article: Any) -> None:
    chapter = article("06_small")
    found = {link.get_text(): str(link["href"]) for link in chapter.select("p a.internal")}
    assert found["Duan et al. (2016)"] == "bibliography.html#cite-duan"
    assert found["MAML"] == "glossary.html#term-MAML"
    assert found["meta-gradient"] == "glossary.html#term-Meta-gradient"
    assert found["generator"] == found["metarl_lite.rng.generator"] == "api/ground.html#metarl_lite.rng.generator"
    assert found["equation (6.1)"] == found["(6.1)"] == "#equation-6-1"
    assert found["figure 6.2"] == "#figure-6-2"
    assert "chapter 7" not in found
    assert addresses(article("intro"), "p a.internal")[:2] == [
        "06_small.html",
        "api/ground.html#metarl_lite.rng.generator",
    ]


def test_every_link_of_a_chapter_has_its_card(article: Any) -> None:
    chapter = article("06_small")
    cards = json.loads(chapter.select_one("script#book-cards").string)
    assert cards["bibliography.html#cite-duan"].startswith("<p><b>Duan et al. (2016)</b></p><p><i>Fast</i>.")
    assert cards["glossary.html#term-MAML"] == (
        r"<p><b>MAML</b></p><p>An <em>initialisation</em> of \(\theta\), by Meta-gradient and <code>code</code>.</p>"
    )
    assert cards["glossary.html#term-Meta-gradient"].endswith("<p>The gradient after a step. More of it.</p>")
    generator = cards["api/ground.html#metarl_lite.rng.generator"]
    assert "generator(seed: int, device: str | device = 'cpu') -&gt; Generator" in generator
    assert "<p>A generator with the given seed: equal seeds give equal numbers, to the bit" in generator
    assert r"\tag{6.1}" in cards["#equation-6-1"]
    assert r"\begin{cases} 1 &amp; a" in cards["#equation-6-1"]
    linked = set(addresses(chapter, "p a.internal"))
    assert {address for address in linked if "#" in address and "figure" not in address} <= set(cards)


def test_figures_are_numbered_through_the_chapter(article: Any) -> None:
    first, second = article("06_small"), article("06b_more")
    captions = [caption.get_text().strip().rstrip("#").strip() for caption in first.select("figure figcaption")]
    assert captions == [
        "Figure 6.1. A line. It rises.",
        "Figure 6.2. Left: a film & more. Right: another. Both end.",
    ]
    assert [figure["id"] for figure in first.select("figure")] == ["figure-6-1", "figure-6-2"]
    (given,) = second.select("figure")
    assert given["id"] == "figure-6-3"
    assert "Figure 6.3. What is asked for." in given.get_text()
    assert "Fig." not in first.get_text() + second.get_text()
    assert first.select_one("#figure-6-1 img")["alt"] == "A line. It rises."


def test_a_tagged_equation_has_one_number_and_an_anchor(article: Any) -> None:
    box, _ = article("06_small").select(".numbered-equation")
    assert box["id"] == "equation-6-1"
    assert box.get_text().count("6.1") == 1
    assert r"\tag" not in box.get_text()
    assert box.select_one("a.equation-number")["href"] == "#equation-6-1"
    assert len(article("06_small").select("div.math")) == 3


def test_setup_imports_and_drawing_are_folded(article: Any) -> None:
    chapter = article("06_small")
    folds = chapter.select("details.code-fold")
    assert [fold.summary.get_text() for fold in folds] == [
        "Show the setup", "Show the imports", "Show the code of this figure",
    ]  # fmt: skip
    assert "#@title" not in chapter.get_text()
    assert "import sys" in folds[0].get_text()
    assert not [fold for fold in folds if fold.has_attr("open") or fold.select(".cell_output")]
    (switch,) = chapter.select(".code-switch")
    assert switch.has_attr("hidden"), "without a script the switch would be dead"
    assert not article("06b_more").select(".code-switch, details")


def test_the_answer_to_a_prediction_lies_under_a_veil(article: Any) -> None:
    veils = article("06_small").select("details.veil")
    assert [veil["data-prediction"] for veil in veils] == ["1", "1", "1"]
    assert "two" in veils[0].get_text()
    opened = article("06_small").select_one("div.cell:has(details.veil) > div.cell_input").get_text()
    assert "x = 1 + 1" in opened
    assert not {"seeds", "assert"} & set(opened.split()), "lines that answer lie below"
    assert "ten seeds gave a lot\nassert x == 2\ny = x\nprint" in veils[0].get_text()
    assert veils[1].select_one("figure#figure-6-1")
    assert veils[2].get_text().split()[-3:] == ["and", "stays", "so."], "the whole sentence"
    assert veils[2].select_one("#equation-6-9")
    assert not [veil for veil in veils if "next paragraph" in veil.get_text() or veil.select("#figure-6-2")]
    assert "show_source" not in veils[0].get_text(), "the code stays in view"


def test_the_bibliography_leads_back(article: Any) -> None:
    page = article("bibliography")
    assert [term.get_text() for term in page.select("dl.bibliography > dt")] == ["Alone (1999)", "Duan et al. (2016)"]
    entries = page.select("dl.bibliography > dd")
    assert not entries[0].select(".cited-in")
    assert addresses(entries[1], ".cited-in a")[0] == "06_small.html#cited-duan"
    assert re.fullmatch(r"glossary\.html#id\d+", addresses(entries[1], ".cited-in a")[1])
    assert article("06_small").select_one("#cited-duan").get_text() == "Duan et al. (2016)"
    assert addresses(entries[1], "p:not(.cited-in) a") == ["https://arxiv.org/abs/1611.02779"]


def test_an_entry_of_the_reference_has_source_example_and_use(article: Any) -> None:
    entry = article("api/ground").select_one("dl:has(> dt[id='metarl_lite.rng.generator'])")
    source = entry.select_one("a.source-link")
    assert re.search(r"/blob/(main|v[\d.]+)/metarl_lite/rng\.py#L\d+-L\d+$", source["href"])
    assert ">>> 1 + 1" in entry.get_text()
    assert addresses(entry, ".used-in a") == ["../06_small.html"]
    assert entry.select_one(".used-in").get_text().strip() == "Used in chapter 6."


def test_old_addresses_of_the_reference_lead_on(article: Any) -> None:
    index = article("api")
    place = index.find(id="metarl_lite.rng.generator")
    assert addresses(place) == ["api/ground.html#metarl_lite.rng.generator"]
    assert index.find(id="module-metarl_lite.rng") is not None
