"""The repository agrees with itself: one address, one version, bounds that hold, no stray traces."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from metarl_lite.lesson import exercises
from tools import contents, set_repo
from tools.set_repo import ROOT, Address
from tools.setup_cell import is_development, reference

NOTEBOOKS = [path.name for path in contents.notebooks()]


@cache
def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@cache
def version() -> str:
    tree = ast.parse((ROOT / "metarl_lite/__init__.py").read_text(encoding="utf-8"))
    values = [n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__version__"]
    return ast.literal_eval(values[0])


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def ours(root: Path = ROOT) -> list[Path]:
    """Text files of the repository without what is vendored, as .gitattributes has it."""
    lines = (root / ".gitattributes").read_text(encoding="utf-8").splitlines()
    vendored = tuple(line.split("**")[0] for line in lines if "linguist-vendored" in line)
    assert vendored
    return [p for p in set_repo.text_files(root) if not p.relative_to(root).as_posix().startswith(vendored)]


# Pictures, in notebooks and in animations, are base64: any short word turns up in them sooner or later.
PICTURE = re.compile(r"(?:[A-Za-z0-9+/=]{60,}(?:\\n)?)+")


@cache
def words(path: Path) -> str:
    return PICTURE.sub("", path.read_bytes().decode(errors="replace"))


# --- One address ----------------------------------------------------------------------------------

SLUG = r"([\w-]+/[\w.-]*[\w-])"
# These forms lead to our own repository wherever they occur; links to others have the form of `github` alone.
ALWAYS_OURS = {
    "colab": rf"colab\.research\.google\.com/github/{SLUG}",
    "binder": rf"mybinder\.org/v2/gh/{SLUG}",
    "pip": rf"git\+https://github\.com/{SLUG}",
    "ssh": rf"git@github\.com:{SLUG}",
    "viewer": rf"nbviewer\.org/github/{SLUG}",
    "raw": rf"raw\.githubusercontent\.com/{SLUG}",
}
GITHUB = rf"(?<!git\+https://)\bgithub\.com/{SLUG}"
PAGES = r"\b([\w-]+\.github\.io(?:/[\w.-]*[\w-])?)"
PLACEHOLDER = "OWNER/NAME"


def addresses(kind: str, root: Path = ROOT) -> dict[str, set[str]]:
    """What is addressed in this form, and where. Of github.com and github.io, what is or looks like ours."""
    address = set_repo.current(root)
    like_ours = {address.owner.lower(), address.name.lower(), "metarl-lite", "metarl_lite", "metarl"}
    form = ALWAYS_OURS.get(kind) or {"github": GITHUB, "pages": PAGES}[kind]
    found: dict[str, set[str]] = {}
    for path in ours(root):
        for slug in re.findall(form, words(path)):
            slug = slug.removesuffix(".git")
            parts = slug.lower().removesuffix(".github.io").replace(".github.io/", "/").split("/")
            if slug != PLACEHOLDER and (kind in ALWAYS_OURS or like_ours & set(parts)):
                found.setdefault(slug, set()).add(path.relative_to(root).as_posix())
    return found


@pytest.mark.parametrize("kind", ["github", "pages", *ALWAYS_OURS])
def test_every_form_of_the_address_agrees_with_the_one_place(kind: str) -> None:
    address = set_repo.current()
    right = address.pages if kind == "pages" else str(address)
    found = addresses(kind)
    wrong = {slug: sorted(files) for slug, files in found.items() if slug != right}
    assert not wrong, f"pyproject.toml says {address.url}; `make set-repo` rewrites the others: {wrong}"
    if kind in {"github", "pages", "colab", "binder", "pip"}:
        assert right in found, f"no address of the kind {kind!r} is left: has its form changed?"


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("_config.yml", r"^\s+url: {url}$"),
        ("CITATION.cff", r'^repository-code: "{url}"$'),
        ("CITATION.cff", r'^url: "https://{pages}"$'),
        ("README.md", r"git clone {url} metarl_lite\b"),
        ("README.md", r"<https://{pages}/>"),
        ("README.md", r"\(https://mybinder\.org/v2/gh/{slug}/main"),
        ("README.md", r"git\+{url}@{reference}`"),
        ("CONTRIBUTING.md", r"git clone {url} metarl_lite\b"),
        (".github/ISSUE_TEMPLATE/config.yml", r"^\s+url: {url}#"),
        ("LICENSE-TEXT", r"^\s+{url}, CC BY 4\.0$"),
    ],
)
def test_the_address_stands_where_it_is_looked_for(name: str, pattern: str) -> None:
    address = set_repo.current()
    values = {"url": address.url, "pages": address.pages, "slug": str(address), "reference": reference(version())}
    for key, value in values.items():
        pattern = pattern.replace("{" + key + "}", re.escape(value))
    assert re.search(pattern, read(name), re.MULTILINE), f"{name} has no {pattern}"


def test_all_chapters_are_there() -> None:
    # A chapter that was lost would have to be lost in four places: there is no list of them but the contents.
    assert contents.faults() == []
    assert set(exercises.chapters()) - {0} == set(contents.chapters()) - {0}  # a primer needs none
    assert re.findall(r"\]\(book/(\w+\.ipynb)\) \| \[open in Colab\]", read("README.md")) == NOTEBOOKS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_opens_itself_in_colab_and_installs_its_own_version(name: str) -> None:
    address = set_repo.current()
    notebook = nbformat.read(ROOT / "book" / name, as_version=4)
    first = next(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    everything = "\n".join(cell.source for cell in notebook.cells)
    own = f"https://colab.research.google.com/github/{address}/blob/main/book/{name}"
    assert f"({own})" in first or f'"{own}"' in first, f"{name}: the first cell has no badge to {own}"
    other = set(re.findall(r"https://colab\.research\.google\.com/\S+\.ipynb", everything)) - {own}
    assert not other, f"{name}: a badge opens another notebook: {other}"
    installs = re.findall(r"git\+https://[^\s\"']+", everything)
    own_version = f"git+{address.url}@{reference(version())}"
    assert installs == [own_version], f"{name} installs {installs}, not {own_version}; run `make execute`"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_readme_links_every_chapter_and_its_colab_copy(name: str) -> None:
    row = rf"\]\(book/{name}\) \| \[open in Colab\]\(https://colab\.research\.google\.com/\S+/blob/main/book/{name}\)"
    assert re.search(row, read("README.md"))


def copy_of_the_repository(folder: Path) -> Path:
    for path in ours():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return folder


@pytest.mark.parametrize("git", [True, False], ids=["clone", "archive"])
def test_set_repo_rewrites_all_of_them(tmp_path: Path, git: bool) -> None:
    root = copy_of_the_repository(tmp_path / "a folder with spaces")
    if git:
        subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    old, new = set_repo.current(), Address("Ada-Ex", "meta.book")
    before = {path: path.read_bytes() for path in ours(root)}
    changed = set_repo.set_repo(new.url + "/", root)

    assert set_repo.current(root) == new
    assert not [p for p in ours(root) if re.search(re.escape(str(old)), words(p), re.IGNORECASE)]
    assert not [p for p in ours(root) if old.pages in words(p)]
    for kind in ["github", "pages", *ALWAYS_OURS]:
        right = new.pages if kind == "pages" else str(new)
        assert set(addresses(kind, root)) <= {right}, kind
    assert {p.relative_to(root) for p, data in before.items() if p.read_bytes() != data} == set(changed)
    assert not set_repo.set_repo(new.url, root), "a second time changes nothing"

    words.cache_clear()
    set_repo.set_repo(old.url, root)
    assert {path: path.read_bytes() for path in ours(root)} == before, "and there is a way back"


def test_set_repo_leaves_other_repositories_alone() -> None:
    old, new = Address("ann", "book"), Address("bob", "bob.github.io")
    same = "github.com/ann/book2 github.com/ann/book-x github.com/ann/book.js ann.github.io/books"
    assert set_repo.rewrite(same, old, new) == (same, 0)
    text = "https://github.com/ann/book. https://github.com/Ann/Book.git@v1 (https://ann.github.io/book/)"
    moved = "https://github.com/{0}. https://github.com/{0}.git@v1 (https://bob.github.io/)".format("bob/bob.github.io")
    assert set_repo.rewrite(text, old, new) == (moved, 3)


@pytest.mark.parametrize(
    "url",
    ["", "ann/book", "http://github.com/ann/book", "https://gitlab.com/ann/book", "https://github.com/ann",
     "https://github.com/ann/book/tree/main", "https://github.com/-ann/book", "https://github.com/ann/..",
     "https://github.com/ann/my book"],
)  # fmt: skip
def test_a_wrong_url_is_refused_with_the_form_it_should_have(url: str) -> None:
    with pytest.raises(ValueError, match=r"make set-repo URL=https://github.com/OWNER/NAME") as error:
        Address.parse(url)
    assert repr(url) in str(error.value)


# --- One version, and bounds that hold ------------------------------------------------------------


def test_versions_agree() -> None:
    assert yaml.safe_load(read("CITATION.cff"))["version"] == version()
    heading = re.findall(r"^## (.*)$", read("CHANGELOG.md"), re.MULTILINE)[0]
    assert heading.split()[0] == version().partition(".dev")[0]
    assert ("not released" in heading) == is_development(version()), f"{version()} is headed {heading!r}"
    assert re.findall(r"^\s+version = \{(.+)\},$", read("README.md"), re.MULTILINE) == [version()]
    assert pyproject()["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "metarl_lite.__version__"}


def pins(name: str) -> dict[str, str]:
    lines = [line for line in read(name).splitlines() if line and not line.startswith("#")]
    assert lines == sorted(lines, key=str.lower), f"{name} is not sorted"
    found = dict(re.fullmatch(r"([\w.-]+)==([\w.!]+)", line).groups() for line in lines)  # type: ignore[union-attr]
    return {canonicalize_name(key): value for key, value in found.items()}


def requirements(*extras: str) -> dict[str, Requirement]:
    project = pyproject()["project"]
    listed = [
        *project["dependencies"],
        *(r for extra in extras for r in project["optional-dependencies"][extra]),
    ]
    found = [Requirement(line) for line in listed]
    return {canonicalize_name(r.name): r for r in found if r.name != "metarl_lite"}


@pytest.mark.parametrize(("name", "requirement"), requirements("book", "test", "cli").items())
def test_the_tested_versions_are_within_the_bounds(name: str, requirement: Requirement) -> None:
    assert requirement.specifier, f"{name} has no lower bound"
    assert name in pins("constraints.txt"), f"{name} has no tested version in constraints.txt"
    assert requirement.specifier.contains(pins("constraints.txt")[name])


@pytest.mark.parametrize(("name", "requirement"), requirements().items())
def test_colab_is_within_the_bounds(name: str, requirement: Requirement) -> None:
    colab = pins("tests/colab.txt")
    if name in colab:
        assert requirement.specifier.contains(colab[name])
    else:  # on Colab too, of a version that we did not write down
        assert name in {"tqdm", "safetensors"}


def test_environment_yml_asks_for_the_same_as_pyproject() -> None:
    listed = yaml.safe_load(read("environment.yml"))["dependencies"]
    assert listed[-1] == {"pip": ["-e .[book]"]}
    conda = {re.split("[=<>]", line)[0]: line for line in listed[:-1]}
    other_names = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}
    for name, requirement in requirements().items():
        there = other_names.get(name, name)
        assert conda[there] == f"{there}{requirement.specifier}"


def needed(roots: set[str]) -> set[str]:
    """All installed distributions that these lead to."""
    seen: set[str] = set()
    queue = [(name, "") for name in roots]
    while queue:
        name, extra = queue.pop()
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        if name in seen and not extra:
            continue
        seen.add(name)
        for requirement in map(Requirement, lines):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                below = canonicalize_name(requirement.name)
                queue += [(below, e) for e in requirement.extras] + ([(below, "")] if below not in seen else [])
    return seen


@pytest.mark.skipif(
    sys.platform != "linux" or sys.version_info[:2] != (3, 11),
    reason="the pins were made on Linux, Python 3.11",
)
def test_the_tested_versions_are_complete() -> None:
    # What pip itself brings is no pin, and neither is what PyTorch's build for GPUs adds.
    not_pinned = re.compile(r"pip|setuptools|wheel|triton|nvidia-.*|cuda-.*")
    missing = {name for name in needed(set(requirements("book", "test", "cli"))) if not not_pinned.fullmatch(name)}
    assert not missing - set(pins("constraints.txt"))


# --- No stray traces ------------------------------------------------------------------------------

# In pieces, so that this file does not hold what it looks for.
MACHINE_PATH = re.compile(
    r"(?:(?<![\w.:/~)\]}>-])|(?<=file://))/(?:" + "|".join(["work", "tmp", "root", "home", "Users"]) + r")/\w"
    r"|[A-Z]:\\{1,2}Users"
)
# Notebooks must not hold one either, and the tests of that have invented ones.
EXAMPLES_OF_PATHS = {Path("tests/test_execute.py"), Path("tests/notebooks/miniature.py")}
REGISTRIES = re.compile(r"\b(?:pypi|pythonhosted|npmjs|anaconda|download\.pytorch|crates)\.(?:org|com|io)\b")
UNFINISHED = re.compile(r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")


@pytest.mark.parametrize(
    ("what", "pattern"),
    [("a machine's path", MACHINE_PATH), ("a registry's host", REGISTRIES), ("a note to self", UNFINISHED)],
    ids=["path", "registry", "unfinished"],
)
def test_no_file_holds(what: str, pattern: re.Pattern[str]) -> None:
    files = [path for path in ours() if pattern is not MACHINE_PATH or path.relative_to(ROOT) not in EXAMPLES_OF_PATHS]
    found = [(path.relative_to(ROOT).as_posix(), hit[0]) for path in files for hit in pattern.finditer(words(path))]
    assert not found, f"{what}: {found}"


def test_the_patterns_find_what_they_look_for() -> None:
    for path in ["/" + "home/ann/x.py", '"/' + 'tmp/x"', "file:///" + "work/x", "C:" + "\\Users\\ann"]:
        assert MACHINE_PATH.search(path), path
    for fine in ["https://example.com/home/x", "book/tmp/x", "1/2", "~/home/x", "the /home page"]:
        assert not MACHINE_PATH.search(fine), fine
    assert REGISTRIES.search("https://" + "pypi" + ".org/simple")
    assert UNFINISHED.search("# TO" + "DO: later")


# --- What the files promise -----------------------------------------------------------------------


def test_licences_are_there() -> None:
    assert read("LICENSE").startswith("MIT License")
    assert "Creative Commons Attribution 4.0 International Public License" in read("LICENSE-TEXT")
    assert pyproject()["project"]["license"] == "MIT"
    vendored = [line.split("**")[0] for line in read(".gitattributes").splitlines() if "linguist-vendored" in line]
    for folder in vendored:
        assert f"`{folder}`" in read("THIRD_PARTY.md")
        assert (ROOT / folder / "LICENSE").is_file()


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "THIRD_PARTY.md", "CHANGELOG.md"])
def test_relative_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", read(name))
    assert not [link for link in links if not (ROOT / link).exists()]


def test_makefile_help_tells_of_every_command() -> None:
    makefile = read("Makefile")
    commands = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()  # type: ignore[index]
    told = re.findall(r'^\t@echo "make ([\w-]+) ', makefile, re.MULTILINE)
    assert sorted(told) == sorted(set(commands) - {"help"})


def test_nothing_that_runs_calls_sudo() -> None:
    lines = [line for name in ("Makefile", ".ci/run") for line in read(name).splitlines() if "sudo" in line]
    assert all(line.lstrip("\t@ ").startswith(("echo", "#")) for line in lines)
