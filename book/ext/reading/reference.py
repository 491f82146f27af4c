"""The reference: one page to a room of the package, an index of all names, and to each name source, example and use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes

from .package import Package
from .texts import pending

ROOM = re.compile(r"names of (.+)")
MODULE = re.compile(r"^\.\. automodule:: (\S+)", re.MULTILINE)
EXAMPLE = re.compile(r"^(?P<name>[A-Za-z_][\w.]*)\n(?P<code>(?:    .*\n|\n)+)", re.MULTILINE)


def examples(path: Path) -> dict[str, str]:
    """The examples by the name that they are of; each is a session in Python that runs by itself."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return {match["name"]: re.sub(r"^    ", "", match["code"], flags=re.MULTILINE).strip() for match in EXAMPLE.finditer(text)}


def source_link(package: Package, full: str, repository: str, reference: str) -> str | None:
    """The lines of a definition on the repository's page."""
    definition = package.definitions.get(full)
    if definition is None:
        return None
    path = package.paths[definition.module].relative_to(package.folder.parent).as_posix()
    lines = "" if definition.kind == "module" else f"#L{definition.first}-L{definition.last}"
    return f"{repository}/blob/{reference}/{path}{lines}"


def link_sources(document: nodes.document, package: Package, repository: str, reference: str) -> None:
    """Each signature ends in a link to its source."""
    for signature in document.findall(addnodes.desc_signature):
        full = ".".join(filter(None, [signature.get("module"), signature.get("fullname")]))
        address = source_link(package, full, repository, reference)
        if address:
            label = nodes.inline("", "source", classes=["viewcode-link"])
            link = nodes.reference("", "", label, refuri=address, internal=False, classes=["source-link"])
            link["aria-label"] = f"source of {signature.get('fullname')}"
            only = addnodes.only("", link, expr="html")
            signature += only


def appendix(name: str, example: str | None, used_in: Mapping[str, str]) -> list[str]:
    """What is added to a docstring in reStructuredText: the example, and the chapters that use the name."""
    lines = []
    if example:
        lines += ["", ".. rubric:: Example", "", ".. code-block:: pycon", ""]
        lines += [f"    {line}" for line in example.splitlines()]
    if used_in:
        links = ", ".join(f":doc:`{label} </{page}>`" for page, label in used_in.items())
        lines += ["", ".. container:: used-in", "", f"    Used in {links}."]
    return [*lines, ""] if lines else []


def modules_of(page: Path) -> list[str]:
    """The modules that a page of the reference documents, in order."""
    return MODULE.findall(page.read_text(encoding="utf-8"))


def list_names(document: nodes.document, package: Package, folder: Path, page: str) -> None:
    """On the first page of the reference, a comment `names of tasks` becomes a list of the names in that room.

    Each bears the anchor that it had when the reference was one page, so that old links lead to it.
    """
    for comment in list(document.findall(lambda n: isinstance(n, nodes.comment | nodes.raw))):
        match = ROOM.search(comment.astext())
        if match is None:
            continue
        listed = nodes.bullet_list("", classes=["names"])
        for module in modules_of(folder / f"{match[1].split()[0].strip()}.md"):
            listed += names_of(module, package, page)
        comment.replace_self(listed)


def names_of(module: str, package: Package, page: str) -> nodes.list_item:
    """A module with its public names."""
    paragraph = nodes.paragraph()
    own = [d for d in package.definitions.values() if d.module == module]
    for definition in own:
        is_module = definition.kind == "module"
        if definition.kind == "method":
            continue
        short = definition.name.removeprefix(f"{package.name}." if is_module else f"{module}.")
        code = nodes.literal("", short, classes=["xref", "py", "py-obj"])
        anchor = f"module-{definition.name}" if is_module else definition.name
        methods = [d.name for d in own if d.kind == "method" and d.name.startswith(f"{definition.name}.")]
        mark = nodes.inline("", "", pending("py", "obj", definition.name, page, code), ids=[anchor])
        for method in methods:
            mark.insert(0, nodes.inline("", "", ids=[method]))
        paragraph += [mark, nodes.Text(": " if is_module and len(own) > 1 else ", ")]
    paragraph.children.pop()
    return nodes.list_item("", paragraph)


def link_code(document: nodes.document, package: Package, scope: Any, page: str) -> None:
    """Spans of code that name something public become links to its entry."""
    for code in list(document.findall(nodes.literal)):
        parents = []
        parent = code.parent
        while parent is not None:
            parents.append(parent)
            parent = parent.parent
        if any(isinstance(p, nodes.title | nodes.reference | addnodes.pending_xref) for p in parents):
            continue
        full = package.meant(code.astext(), scope)
        if full is None:
            continue
        shown = code.deepcopy()
        shown["classes"] = [*shown["classes"], "xref", "py", "py-obj"]
        code.replace_self(pending("py", "obj", full, page, shown))
