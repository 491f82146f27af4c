"""Makes reading easier at build time: links with hover cards, numbers, folds and veils, the pages of the reference.

The notebooks stay plain CommonMark, since Colab and GitHub show them as they are; all of this is made of what they
say anyway.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util.nodes import make_refnode

from . import bibliography, cards, cells, citations, equations, figures, numbers, reference, terms
from .book import Book
from .package import Scope
from .texts import join

GLOSSARY, BIBLIOGRAPHY, REFERENCE = "book/glossary", "book/bibliography", "book/api"
#: Pages whose running text is left as it is.
AS_WRITTEN = (BIBLIOGRAPHY,)


def begin(app: Any, env: Any, docnames: list[str]) -> None:
    """Before the first page is read."""
    app.book = Book.read(Path(app.srcdir), env.get_domain("cite").bibdata.data.entries)
    for store in ("book_cards", "book_cited"):
        if not hasattr(env, store):
            setattr(env, store, {})


def read(app: Any, document: nodes.document) -> None:
    """When a page has been read."""
    env, book, page = app.env, app.book, app.env.docname
    join(document)
    made = {anchor: card for make in (cards.of_terms, cards.of_objects) for anchor, card in make(document)}
    env.book_cards[page] = made | equations.anchor_equations(document)
    if page == BIBLIOGRAPHY:
        env.book_cards[page] |= {f"cite-{key}": work.card() for key, work in book.library.works.items()}
    if page == REFERENCE:
        reference.list_names(document, book.package, book.root / REFERENCE, page)
    reference.link_sources(document, book.package, *home(app))
    if page in book.chapter:
        figures.number_figures(document, book.chapter[page], book.figures_before[page])
        cells.fold_cells(document)
        cells.veil_answers(document)
    reference.link_code(document, book.package, book.scopes.get(page, Scope()), page)
    if page in AS_WRITTEN:
        return
    if page.startswith(f"{REFERENCE}/"):
        citations.link_citations(document, book.library, page, strict=False)
        return
    env.book_cited[page] = citations.link_citations(document, book.library, page)
    numbers.link_numbers(document, book.numbers, page)
    if page != GLOSSARY:
        terms.link_terms(document, book.glossary, page)


def home(app: Any) -> tuple[str, str]:
    """The repository, and the name there of what is documented: the version's tag, or main where it has none yet."""
    release = app.config.release
    address = app.config.html_theme_options.get("repository_url", "").rstrip("/")
    return address, "main" if ".dev" in release or not release else f"v{release}"


def resolve(app: Any, env: Any, node: Any, shown: nodes.Element) -> nodes.Element | None:
    """The references that only this book knows: works, figures, equations."""
    kind, target, page = node["reftype"], node["reftarget"], node.get("refdoc", env.docname)
    if kind == "book-cite":
        for citation in env.get_domain("cite").citations:
            if citation.key == target:
                return make_refnode(app.builder, page, citation.bibliography_key.docname, citation.citation_id, shown)
    for name in ("figure", "equation"):
        there = getattr(app.book.numbers, f"{name}s")
        if kind == f"book-{name}" and target in there:
            return make_refnode(app.builder, page, there[target], numbers.anchor(name, target), shown)
    return None


def document_object(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Adds example and use to a docstring, when it is reStructuredText already."""
    if what != "module":
        lines += reference.appendix(name, app.book.examples.get(name), app.book.used_in.get(name, {}))


def finish(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """When a page is written, it gets the cards of its links."""
    if doctree is not None and "body" in context:
        found = cards.used(page, context["body"], app.env.book_cards, app.builder.get_target_uri)
        if found:
            context["body"] += cards.script(found)


def forget(app: Any, env: Any, page: str) -> None:
    """When a page is to be read anew."""
    for store in (getattr(env, "book_cards", {}), getattr(env, "book_cited", {})):
        store.pop(page, None)


def merge(app: Any, env: Any, pages: list[str], other: Any) -> None:
    """When another process has read some pages."""
    for name in ("book_cards", "book_cited"):
        getattr(env, name).update({page: getattr(other, name)[page] for page in pages if page in getattr(other, name)})


def setup(app: Any) -> dict[str, Any]:
    """Sphinx calls this once."""
    gc.set_threshold(
        100_000, 50, 1000
    )  # a build keeps what it makes; looking for garbage in it took a quarter of its time
    cells.setup(app)
    figures.setup(app)
    for transform in (equations.NumberEquations, bibliography.LinkBack):
        app.add_post_transform(transform)
    app.connect("env-before-read-docs", begin)
    app.connect("doctree-read", read, priority=400)
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-docstring", document_object, priority=950)
    app.connect("html-page-context", finish, priority=900)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
