"""The reference: one page to a room of the package, an index of all names, and to each name source, example and use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

from .package import Package, Scope
from .texts import pending

ROOM = re.compile(r"names of (the front|\w+)")
MODULE = re.compile(r"^\.\. automodule:: (\S+)", re.MULTILINE)
EXAMPLE = re.compile(r"^(?P<name>[A-Za-z_][\w.]*)\n(?P<code>(?:    .*\n|\n)+)", re.MULTILINE)


def examples(path: Path) -> dict[str, str]:
    """The examples by the name that they are of; each is a session in Python that runs by itself."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = {match["name"]: match["code"] for match in EXAMPLE.finditer(text)}
    return {name: re.sub(r"^    ", "", code, flags=re.MULTILINE).strip() for name, code in found.items()}


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

    Each bears the anchor that it had when the reference was one page, so that old links lead to it. `names of the
    front` are those that a reader imports from the package itself.
    """
    for comment in list(document.findall(lambda node: isinstance(node, nodes.comment | nodes.raw))):
        match = ROOM.search(comment.astext())
        if match is None:
            continue
        if match[1] == "the front":
            shown = nodes.paragraph("", "", classes=["names"])
            shown += separated([mention(full, name, page) for name, full in sorted(package.front.items())])
        else:
            shown = nodes.bullet_list("", classes=["names"])
            shown += [names_of(module, package, page) for module in modules_of(folder / f"{match[1]}.md")]
        comment.replace_self(shown)


def mention(full: str, shown: str, page: str) -> nodes.Node:
    """A name as a link to its entry."""
    return pending("py", "obj", full, page, nodes.literal("", shown, classes=["xref", "py", "py-obj"]))


def separated(items: list[nodes.Node]) -> list[nodes.Node]:
    """With commas between them."""
    return [node for item in items for node in (nodes.Text(", "), item)][1:]


def names_of(module: str, package: Package, page: str) -> nodes.list_item:
    """A module with its public names; the anchors of methods stand before their class."""
    own = [definition for definition in package.definitions.values() if definition.module == module]
    marks = []
    for definition in own:
        if definition.kind in ("module", "method"):
            continue
        below = [d.name for d in own if d.kind == "method" and d.name.startswith(f"{definition.name}.")]
        anchors = [nodes.inline("", "", ids=[name]) for name in below]
        link = mention(definition.name, definition.name.removeprefix(f"{module}."), page)
        marks.append(nodes.inline("", "", *anchors, link, ids=[definition.name]))
    title = mention(module, module.removeprefix(f"{package.name}."), page)
    head = nodes.inline("", "", title, ids=[f"module-{module}"])
    between = [nodes.Text(": ")] if marks else []
    return nodes.list_item("", nodes.paragraph("", "", head, *between, *separated(marks)))


def link_code(document: nodes.document, package: Package, scope: Scope, page: str) -> None:
    """Spans of code that name something public become links to its entry; not in headings, and not to themselves."""
    for code in list(document.findall(nodes.literal)):
        full = package.meant(code.astext(), scope)
        if full is None or "xref" in code["classes"] or within(code, full):
            continue
        shown = code.deepcopy()
        shown["classes"] = [*shown["classes"], "xref", "py", "py-obj"]
        code.replace_self(pending("py", "obj", full, page, shown))


def within(node: nodes.Node, full: str) -> bool:
    """Whether a node stands in a heading, in a link, in a signature, or in the entry of this very name."""
    while (node := node.parent) is not None:
        if isinstance(node, nodes.title | nodes.reference | addnodes.pending_xref | addnodes.desc_signature):
            return True
        if isinstance(node, addnodes.desc) and full in node.children[0].get("ids", []):
            return True
    return False
