"""Rules of the house that a reader relies on: imports point one way, matplotlib has one home, modules stay short."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

import metarl_lite
from metarl_lite.algorithms.maml import maml_iteration
from metarl_lite.algorithms.rl2 import rl2_iteration

PACKAGE = Path(metarl_lite.__file__).parent
ROOT = PACKAGE.parent
FENCED = re.compile(r"^```(?:python|diff)\n(.*?)^```", re.DOTALL | re.MULTILINE)
#: The house from the ground up. A module imports what stands on a lower floor, or to its left on its own.
FLOORS = [
    "given types rng ram",
    "tasks: leaves base finite promises door bandits two_step tabular navigation bus_grid physics families "
    "gym_door gym_actions gym_copies gym_rehearsal gym_tasks gym_rendering gym_handshake gym_env gym_vector gym checks",
    "oracles: bandits gittins bayes tabular posterior navigation grid bus_grid two_step meta_gradient supports "
    "estimators imitation",
    "policies: layers distributions base mlp through_time gru keyed belief wrapped seat player",
    "returns rollout losses optim",
    "checkpoint state training",
    "algorithms: configs footprint checks inner relatives outer maml actor_critic rl2",
    "evaluate: curves learners intervals beliefs two_step probe",
    "apps: imitators imitation demonstrations one_shot one_shot_training explorer bus_grid",
    "records: results actors published",
    "experiments: base maml initialisations rl2 rl2_mdps columns contenders scoreboard versus "
    "bus_grid imitation one_shot",
    "lesson: page show plot.style plot.charts plot.beliefs plot.memory plot.trials plot.probe plot.buses plot "
    "exercises.words exercises.compare exercises.base exercises.guard exercises.outcome "
    + " ".join(f"exercises.{path.stem}" for path in sorted((PACKAGE / "lesson/exercises").glob("ch*.py")))
    + " exercises check",
]
FILES = sorted(PACKAGE.rglob("*.py"))


def modules_of(floor: str) -> list[str]:
    """The modules of a floor from left to right; a room's own `__init__`, which may import them all, comes last."""
    room, colon, names = floor.partition(": ")
    return [f"{room}.{name}" for name in names.split()] + [room] if colon else floor.split()


ORDER = [module for floor in FLOORS for module in modules_of(floor)] + ["", "__main__"]


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
    assert upward("from .algorithms.maml import maml", "rollout") == {"algorithms.maml"}
    assert upward("from ..algorithms.inner import adapt", "tasks.base") == {"algorithms.inner"}
    assert upward("from .maml import maml", "algorithms.inner") == {"algorithms.maml"}
    assert upward("from metarl_lite.lesson import plot", "algorithms.maml") == {"lesson.plot"}
    assert not upward("from ..types import Params", "algorithms.maml")


@pytest.mark.parametrize("path", sorted((PACKAGE / "oracles").glob("*.py")), ids=lambda p: p.name)
def test_an_oracle_is_independent_of_what_it_judges(path: Path) -> None:
    rooms = {name.split(".")[0] for name in imported(path.read_text(), module_name(path), path.name == "__init__.py")}
    assert rooms <= {"oracles", "tasks", "rng", "types", "given"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_room_says_in_a_sentence_what_lives_there(path: Path) -> None:
    sentence = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0]
    assert len(sentence.split()) >= 8, sentence
    assert sentence.endswith("."), sentence


def test_no_folder_is_named_like_a_public_function() -> None:
    # `metarl_lite.maml` would be the function, and `metarl_lite.maml.inner` out of reach.
    folders = {path.parent.name for path in PACKAGE.rglob("__init__.py")} - {PACKAGE.name}
    assert not folders & set(metarl_lite.__all__)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "book/api.md"])
def test_the_picture_of_the_house_shows_its_floors(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    picture = text.split("```text\nmetarl_lite/\n")[1].split("```")[0]
    names = [line[:35].split() for line in picture.splitlines()]
    floors = [[f"{floor.split(':')[0]}/"] if ":" in floor else floor.split() for floor in FLOORS]
    assert names == [["__main__"], ["__init__"], *reversed(floors)]


def test_no_room_of_the_picture_is_empty() -> None:
    assert {module_name(path) for path in FILES} == set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_plot_imports_matplotlib(path: Path) -> None:
    if not module_name(path).startswith("lesson.plot"):
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
            length = lines_without_docstring(node)
            assert length <= 40, f"{node.name} has {length} lines"


def lines_without_docstring(node: ast.FunctionDef) -> int:
    """The lines of a function's body; signature and docstring are not counted."""
    has_doc = ast.get_docstring(node) is not None
    first = node.body[1] if has_doc and len(node.body) > 1 else node.body[0]
    return (node.end_lineno or 0) - first.lineno + 1


@pytest.mark.parametrize("iteration", [maml_iteration, rl2_iteration])
def test_an_iteration_as_a_reader_sees_it_fits_a_slide(iteration: Callable[..., object]) -> None:
    (node,) = ast.parse(inspect.getsource(iteration)).body
    assert isinstance(node, ast.FunctionDef)
    assert lines_without_docstring(node) <= 25


#: Rooms whose source no lesson shows.
NOT_SHOWN = ("experiments/", "lesson/exercises/", "lesson/plot/", "lesson/page.py")
SHOWN = [p for p in FILES if not str(p.relative_to(PACKAGE)).startswith(NOT_SHOWN)]
COLUMNS = 88  # what the column of a page holds at 1280 pixels


def docstring_lines(tree: ast.AST) -> set[int]:
    kinds = (ast.FunctionDef, ast.ClassDef, ast.Module)
    documented = [n for n in ast.walk(tree) if isinstance(n, kinds) and ast.get_docstring(n) is not None]
    spans = [range(n.body[0].lineno, (n.body[0].end_lineno or 0) + 1) for n in documented]
    return {line for span in spans for line in span}


@pytest.mark.parametrize("path", SHOWN, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_source_that_may_be_shown_fits_the_page(path: Path) -> None:
    source = path.read_text()
    inside = docstring_lines(ast.parse(source))
    wide = [n for n, line in enumerate(source.splitlines(), 1) if len(line) > COLUMNS and n not in inside]
    assert not wide, f"lines {wide} are wider than {COLUMNS} columns"


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("*.ipynb")), ids=lambda p: p.stem)
def test_cells_and_the_source_they_show_fit_the_page(path: Path) -> None:
    for count, cell in enumerate(nbformat.read(path, as_version=4).cells):
        blocks = [cell.source] if cell.cell_type == "code" else FENCED.findall(cell.source)
        for output in cell.get("outputs", []):
            blocks += FENCED.findall(output.get("data", {}).get("text/markdown", ""))
        wide = [line for block in blocks for line in block.splitlines() if len(line) > COLUMNS]
        assert not wide, f"cell {count}: {wide[0]}"


@pytest.mark.parametrize("name", metarl_lite.__all__)
def test_public_names_are_there_and_documented(name: str) -> None:
    assert (getattr(metarl_lite, name).__doc__ or "").strip(), name


@pytest.mark.parametrize(("module", "name"), [("maml", "maml_iteration"), ("rl2", "rl2_iteration")])
def test_what_a_lesson_shows_of_an_algorithm_is_short(module: str, name: str) -> None:
    tree = ast.parse((PACKAGE / "algorithms" / f"{module}.py").read_text())
    (function,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name]
    assert ast.get_docstring(function)
    length = (function.end_lineno or 0) - function.body[1].lineno + 1
    assert 5 <= length <= 25, f"{name} has {length} lines"


#: What an iteration finds made: it is made once, before the first.
MADE_ONCE = {
    "ClippedAdam",
    "Adam",
    "TrustRegion",
    "Proximal",
    "State",
    "identity",
    "asdict",
    "OUTER",
    "deepcopy",
    "copy",
}


@pytest.mark.parametrize(("module", "name"), [("maml", "maml_iteration"), ("rl2", "rl2_iteration")])
def test_nothing_is_made_anew_in_an_iteration(module: str, name: str) -> None:
    tree = ast.parse((PACKAGE / "algorithms" / f"{module}.py").read_text())
    (function,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name]
    body = [node for statement in function.body for node in ast.walk(statement)]
    names = {node.id for node in body if isinstance(node, ast.Name)}
    methods = {node.attr for node in body if isinstance(node, ast.Attribute)}
    assert not names & MADE_ONCE
    assert not methods & {"replace", "params", "for_tasks", "with_rates", "identity"}
