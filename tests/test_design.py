"""Rules of the house that a reader relies on: imports point one way, matplotlib has one home, modules stay short."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import metarl_lite

PACKAGE = Path(metarl_lite.__file__).parent
ORDER = [
    "types", "rng", "memory", "tasks.base", "tasks.bandits", "tasks.two_step", "tasks.tabular", "tasks.navigation",
    "tasks.physics", "tasks.families", "tasks.gym_tasks", "tasks.gym_env", "tasks.gym", "tasks", "layers",
    "distributions", "policies", "recurrent", "rollout", "returns", "losses", "optim", "checkpoint", "published",
    "oracles.bandits", "oracles.gittins", "oracles.bayes", "oracles.tabular", "oracles.posterior",
    "oracles.navigation", "oracles.grid", "oracles.meta_gradient", "oracles.estimators", "oracles", "inner",
    "relatives", "outer", "maml", "actor_critic", "rl2", "belief", "probe", "evaluate", "page", "style", "plot",
    "plot_beliefs", "plot_memory", "plot_trials", "plot_probe", "exercises.compare", "exercises.base",
    "exercises.ch00", "exercises.ch01", "exercises.ch02", "exercises.ch03", "exercises.ch04", "exercises.ch05",
    "exercises.ch06", "exercises.ch07", "exercises.ch08", "exercises.ch09", "exercises.ch10", "exercises.ch11",
    "exercises.ch12", "exercises.ch13", "exercises", "check", "", "experiments.base", "experiments.maml",
    "experiments.rl2", "experiments.rl2_mdps", "experiments", "__main__",
]  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__")


def imported(source: str, module: str, is_package: bool) -> set[str]:
    """Modules of the package that a source imports at its top level, by their names within the package."""
    found = set()
    inside = module.split(".") if module else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = inside if is_package else inside[:-1]
                base = base[: len(base) - (node.level - 1)]
            elif node.module and node.module.split(".")[0] == "metarl_lite":
                base = []
            else:
                continue
            tail = (node.module or "").split(".") if node.module else []
            tail = tail[1:] if not node.level else tail
            stem = ".".join([*base, *tail])
            below = {".".join(filter(None, [stem, alias.name])) for alias in node.names}
            found |= {name for name in below if name in ORDER} or {stem}
        elif isinstance(node, ast.Import):
            found |= {
                a.name.removeprefix("metarl_lite").strip(".") for a in node.names if a.name.startswith("metarl_lite")
            }
    return found


def upward(source: str, module: str, is_package: bool = False) -> set[str]:
    """Imports of a module that stands at the same height or above."""
    height = ORDER.index(module)
    return {name for name in imported(source, module, is_package) if ORDER.index(name) >= height}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    module = module_name(path)
    assert module in ORDER, f"give {module} a place in ORDER"
    assert not upward(path.read_text(), module, path.name == "__init__.py")


def test_an_import_that_points_up_is_found() -> None:
    assert upward("from .maml import adapt", "rollout") == {"maml"}
    assert upward("from ..maml import adapt", "tasks.base") == {"maml"}
    assert upward("from metarl_lite import plot", "maml") == {"plot"}
    assert not upward("from .types import Params", "maml")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_plot_imports_matplotlib(path: Path) -> None:
    if not module_name(path).startswith("plot"):
        assert "matplotlib" not in {n.split(".")[0] for n in all_imports(path.read_text())}


def all_imports(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_and_functions_are_short_enough_to_be_read(path: Path) -> None:
    source = path.read_text()
    assert source.count("\n") <= 300
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            has_doc = ast.get_docstring(node) is not None
            first = node.body[1] if has_doc and len(node.body) > 1 else node.body[0]
            length = (node.end_lineno or 0) - first.lineno + 1
            assert length <= 40, f"{node.name} has {length} lines"


@pytest.mark.parametrize("name", metarl_lite.__all__)
def test_public_names_are_there_and_documented(name: str) -> None:
    assert (getattr(metarl_lite, name).__doc__ or "").strip(), name
