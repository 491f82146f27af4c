"""The public names of a package, read from its source without running it: what is defined where, and by which names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

#: A name, a dotted name, or a call of one, as in `adapt`, `GRUPolicy.unroll`, `rollout(tasks, ...)`.
NAMED = re.compile(r"(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:\(.*\))?", re.DOTALL)


@dataclass
class Scope:
    """The names that a page uses: what its imports mean, and what it defines itself."""

    imports: dict[str, str] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Definition:
    """Where something public is defined."""

    name: str  # in full
    module: str
    kind: str  # module, class, function, method, data
    first: int  # lines of the file
    last: int


class Package:
    """All modules of one package."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.name
        files = sorted(folder.rglob("*.py"))
        self.paths = {self._module(path): path for path in files}
        self.trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in self.paths.items()}

    def _module(self, path: Path) -> str:
        parts = [self.name, *path.relative_to(self.folder).with_suffix("").parts]
        return ".".join(part for part in parts if part != "__init__")

    @cached_property
    def definitions(self) -> dict[str, Definition]:
        """What has a place in the reference: modules, and public classes, functions, methods and constants."""
        found = [Definition(module, module, "module", 1, 1) for module in self.trees]
        for module, tree in self.trees.items():
            found += defined(tree.body, module, module, self.paths[module].read_text(encoding="utf-8").splitlines())
        return {definition.name: definition for definition in found}

    @cached_property
    def imports(self) -> dict[str, dict[str, str]]:
        """For each module, what the names that it imports from the package are in full."""
        return {
            module: imported(tree, module, self.paths[module].name == "__init__.py")
            for module, tree in self.trees.items()
        }

    @cached_property
    def front(self) -> dict[str, str]:
        """The names that a reader imports from the package itself."""
        return {name: self.canonical(full) for name, full in self.imports[self.name].items()}

    @cached_property
    def telling(self) -> dict[str, str]:
        """Names that say by themselves what they are: they are made of several words, and only one thing has them."""
        seen: dict[str, list[str]] = {}
        for full, definition in self.definitions.items():
            if definition.kind in ("class", "function"):
                seen.setdefault(full.rsplit(".", 1)[-1], []).append(full)
        looks = re.compile(r"[a-z0-9]+_\w+|(?:[A-Z]+[a-z0-9]+){2,}|[A-Z]{2,}[a-z]\w*")
        return {name: full[0] for name, full in seen.items() if len(full) == 1 and looks.fullmatch(name)}

    def canonical(self, full: str, depth: int = 8) -> str:
        """The name under which something is defined: metarl_lite.adapt is metarl_lite.algorithms.inner.adapt.

        Where a room has a module and imports a function of the same name from it, the name means the function.
        """
        room, _, last = full.rpartition(".")
        source = self.imports.get(room, {}).get(last)
        if source and source != full and depth and self.paths[room].name == "__init__.py":
            return self.canonical(source, depth - 1)
        if full in self.definitions or not depth:
            return full
        module, rest = full, []
        while module and module not in self.trees:
            module, _, last = module.rpartition(".")
            rest.insert(0, last)
        source = self.imports.get(module, {}).get(rest[0]) if rest else None
        return self.canonical(".".join([source, *rest[1:]]), depth - 1) if source else full

    def meant(self, code: str, scope: Scope) -> str | None:
        """The full name of what a span of code names on a page with these imports; None for anything else.

        A name that the page gives to something of its own is its own.
        """
        match = NAMED.fullmatch(code.strip())
        if match is None:
            return None
        head, _, tail = match["name"].partition(".")
        if head in scope.own or head.startswith("_"):
            return None
        start = scope.imports.get(head) or (self.name if head == self.name else None)
        start = start or self.telling.get(head) or (None if scope.imports else self.front.get(head))
        if start is None and f"{self.name}.{head}" in self.trees and tail:
            start = f"{self.name}.{head}"  # oracles.grid
        if start is None:
            return None
        full = self.canonical(f"{start}.{tail}" if tail else start)
        while full not in self.definitions and "." in full and full != start:  # RL2Config.epochs is said of RL2Config
            full = full.rpartition(".")[0]
        return full if full in self.definitions and full != self.name else None


def defined(body: list[ast.stmt], module: str, inside: str, lines: list[str]) -> Iterator[Definition]:
    """The public definitions of a module or class that autodoc lists: those that are documented."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            if node.name.startswith("_") or ast.get_docstring(node) is None:
                continue
            kind = "class" if isinstance(node, ast.ClassDef) else "method" if inside != module else "function"
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield Definition(f"{inside}.{node.name}", module, kind, first, node.end_lineno or node.lineno)
            if isinstance(node, ast.ClassDef):
                yield from defined(node.body, module, f"{inside}.{node.name}", lines)
        elif inside == module and (name := constant(node)) and lines[node.lineno - 2].lstrip().startswith("#:"):
            yield Definition(f"{inside}.{name}", module, "data", node.lineno, node.end_lineno or node.lineno)


def constant(node: ast.stmt) -> str | None:
    """The name that an assignment gives to one thing."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return None


def imported(tree: ast.AST, module: str, is_room: bool) -> dict[str, str]:
    """What a module's names from other modules are in full."""
    inside = module.split(".")
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level + is_room] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names |= {alias.asname or alias.name: f"{stem}.{alias.name}" for alias in node.names}
    return names


def scope_of(cells: list[str], package: Package) -> Scope:
    """What the names in the code cells of a notebook mean; cells that are no Python are passed over."""
    scope = Scope()
    for source in cells:
        try:
            tree = ast.parse(source)
        except SyntaxError:
            continue
        found = {name: full for name, full in imported(tree, "", False).items() if full.startswith(package.name + ".")}
        scope.imports |= {name: package.canonical(full) for name, full in found.items()}
        scope.own |= set(given(tree))
    scope.own -= set(scope.imports)
    return scope


def given(tree: ast.AST) -> Iterator[str]:
    """The names that a piece of code gives to things of its own, the arguments of its functions among them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


def uses(cells: list[str], package: Package) -> set[str]:
    """The public names that a notebook's code calls, shows or otherwise names, in full."""
    scope, found = scope_of(cells, package), set()
    for source in cells:
        try:
            tree = ast.parse(source)
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Name | ast.Attribute) and (name := dotted(node)):
                head, _, tail = name.partition(".")
                if head in scope.imports:
                    found.add(package.canonical(f"{scope.imports[head]}.{tail}" if tail else scope.imports[head]))
    known = package.definitions
    return {name for name in found if name in known and known[name].kind != "module"}


def dotted(node: ast.expr) -> str | None:
    """`a.b.c` as it was written."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (start := dotted(node.value)):
        return f"{start}.{node.attr}"
    return None
