"""Sphinx extension of the book: the index of its search, one entry for each section, term and public name.

search.js (in book/static) loads it as a script, which works without a server, ranks the entries and shows where they
say it. An entry has an anchor, a heading, what is said below it, its code, and whether it is of the API reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from readable import SECRET, folded, text_of
from sphinx import addnodes

NAME = re.compile(r"[A-Za-z_]\w{2,}")
Entry = tuple[str, str, str, str, int]  # anchor, heading, text, code, 1 for a name of the API
ELSEWHERE = (nodes.section, nodes.title, addnodes.desc, addnodes.glossary)  # these have entries of their own
#: Words that readers use and a page does not, or not often enough.
ALSO = {
    "book/how_to_use": "install installation setup requirements run locally colab binder jupyter windows pip conda gpu",
    "book/map": "overview taxonomy related work sim-to-real in-context transformers offline survey which algorithm",
    "book/00_primer": "prerequisites background refresher lstm recurrent network autograd pytorch markov decision",
    "book/teachers": "course syllabus lecture instructor grading assignment licence reuse",
    "book/scoreboard": "results benchmark comparison leaderboard table performance",
    "book/errata": "changelog mistakes corrections bug version",
    "book/03_measuring_adaptation": "confidence interval statistics seeds evaluation significance",
    "book/06_outer_loop": "maml meta-gradient initialisation create_graph",
    "book/11_rl2_from_the_inside": "rl2 hidden state memory recurrent",
    "book/13_what_the_memory_knows": "hidden state task inference latent variable",
    "book/notation": "symbols dimensions letters shapes",
    "book/bibliography": "references papers citations literature",
    "book/intro": "cite citation bibtex licence author audience prerequisites",
}


def entries(doctree: Any) -> list[Entry]:
    """The entries of a page, the page itself first."""
    found: list[Entry] = []
    for section in doctree.findall(nodes.section):
        title = next(iter(section.findall(nodes.title)), None)
        anchor = section["ids"][0] if section["ids"] else ""
        said, code = [], []
        for child, summary in folded(section):
            if isinstance(child, ELSEWHERE) or (summary and SECRET.match(summary)):
                continue
            text = text_of(child)
            said.append("" if text.startswith("Open in Colab") else text)
            code += [
                block.astext() for block in child.findall(nodes.literal_block) if not _within(block, "cell_output")
            ]
        names_used = (
            NAME.findall("\n".join(code)) if found else []
        )  # a notebook begins with its imports: they tell nothing
        found.append((anchor, text_of(title) if title else "", " ".join(filter(None, said)), " ".join(names_used), 0))
    return found + list(terms(doctree)) + list(names(doctree))


def _within(node: Any, kind: str) -> bool:
    while node is not None:
        if isinstance(node, nodes.Element) and kind in node.get("classes", []):
            return True
        node = node.parent
    return False


def terms(doctree: Any) -> Iterator[Entry]:
    """What a glossary explains."""
    for item in doctree.findall(nodes.definition_list_item):
        term = next(iter(item.findall(nodes.term)), None)
        if term is not None and term["ids"]:
            said = " ".join(text_of(child) for child in item.children if isinstance(child, nodes.definition))
            yield term["ids"][0], text_of(term), said, "", 0


def names(doctree: Any) -> Iterator[Entry]:
    """The public names that a reference page documents, with the first sentence on each."""
    for desc in doctree.findall(addnodes.desc):
        signature = next(iter(desc.findall(addnodes.desc_signature)), None)
        if signature is None or not signature["ids"] or desc["domain"] != "py":
            continue
        content = next((child for child in desc.children if isinstance(child, addnodes.desc_content)), None)
        first = next((c for c in content.children if isinstance(c, nodes.paragraph)), None) if content else None
        yield signature["ids"][0], signature.get("fullname", ""), text_of(first) if first else "", "", 1


def collect(app: Any, doctree: Any) -> None:
    """A page was read: its entries go into the environment, which outlives this run."""
    if not hasattr(app.env, "book_entries"):
        app.env.book_entries = {}
    app.env.book_entries[app.env.docname] = entries(doctree)


def purge(app: Any, env: Any, docname: str) -> None:
    """A page has changed or gone: so have its entries."""
    getattr(env, "book_entries", {}).pop(docname, None)


def merge(app: Any, env: Any, docnames: list[str], other: Any) -> None:
    """Pages that another process has read."""
    env.book_entries = {**getattr(env, "book_entries", {}), **getattr(other, "book_entries", {})}


def write(app: Any, error: Exception | None) -> None:
    """The index, as a script."""
    if error or app.builder.name != "html":
        return
    pages = [
        {"page": name, "title": text_of(app.env.titles[name]), "also": ALSO.get(name, ""), "entries": found}
        for name, found in sorted(app.env.book_entries.items())
    ]
    text = json.dumps(pages, ensure_ascii=False, separators=(",", ":"))
    Path(app.outdir, "_static", "search_index.js").write_text(f"const BOOK_INDEX = {text};\n", encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this once."""
    app.connect("doctree-read", collect)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
