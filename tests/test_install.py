"""`make` says how much it fetches before it does, takes PyTorch's CPU build where it is asked to, and names failures.

Nothing is fetched here: `make` runs in a copy of what it reads, with a pip and a uv that only write down their calls.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tools import install
from tools.set_repo import ROOT

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on this machine")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere pip's own PyTorch is the CPU build")

FAKE_PIP = """\
import os, sys
words = sys.argv[1:]
with open(os.environ["CALLS"], "a") as calls:
    print("pip", *words, sep="|", file=calls)
if words[0] == "config":
    print(os.environ.get("PIP_SAYS", ""))
elif os.environ.get("PIP_REFUSES", "nothing") in words[-1]:
    sys.exit("ERROR: No matching distribution found for " + words[-1])
"""
FAKE_UV = """\
import os, sys
words = sys.argv[1:]
with open(os.environ["CALLS"], "a") as calls:
    print("uv", *words, sep="|", file=calls)
when = "--dry-run" if "--dry-run" in words else "install"
if when == os.environ.get("UV_FAILS"):
    sys.exit(os.environ["UV_SAYS"])
"""
FAKE_BOOK = """\
import os, pathlib, sys
def main():
    page = pathlib.Path("_build/html", os.environ["LEAVES"])
    page.parent.mkdir(parents=True)
    page.touch()
    sys.exit("WARNING: a fault")
"""
UNREACHED = "error: Request failed after 1 retry in 1.3s\n  cause: Failed to fetch: cpu/torch/\n  cause: dns error"
UNKNOWN = "  x No solution found when resolving dependencies: there is no version of torch==2.13.0"


@dataclass
class House:
    """A folder in which `make` installs, with what its pip and uv were asked."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def make(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs `make` and gives what it said, its two streams in one."""
        return subprocess.run(
            ["make", *words], cwd=self.root, env=self.environment | environment, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def calls(self) -> list[str]:
        """What was installed in which order, without the question for pip's configuration."""
        path = self.root / "calls"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return [line for line in lines if not line.startswith("pip|config")]

    def has_torch(self, version: str) -> None:
        folder = self.root / "fakes" / f"torch-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n", encoding="utf-8")


@pytest.fixture
def house(tmp_path: Path) -> House:
    root = tmp_path / "a folder with spaces"
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "tools/__init__.py", "tools/install.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    for name, text in (("pip", FAKE_PIP), ("uv", FAKE_UV)):
        (root / "fakes" / name).mkdir(parents=True)
        (root / "fakes" / name / "__init__.py").touch()  # without it the real package would come first
        (root / "fakes" / name / "__main__.py").write_text(text, encoding="utf-8")
    python = root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    # -S: without what is installed for the tests, so that PyTorch is missing as in a new .venv.
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "MAKE", "TORCH"))}
    return House(root, kept | {"PYTHONPATH": str(root / "fakes"), "CALLS": str(root / "calls")})


@needs_make
@on_linux
def test_how_much_there_is_to_fetch_is_said_first_with_the_remedy(house: House) -> None:
    done = house.make("book")
    said = done.stdout.splitlines()
    assert re.match(r"About 2\.8 GB will be fetched \(5\.6 GB on disk\)", said[0]), done.stdout
    assert "    make book TORCH=cpu" in said[:5]
    assert said.index("    make book TORCH=cpu") < next(i for i, line in enumerate(said) if "Installing" in line)
    (call,) = house.calls()
    assert call.startswith("pip|install|")
    assert call.endswith("|--constraint|constraints.txt|--editable|.[book]")
    assert (house.root / ".venv/.installed-book").exists()


@needs_make
@pytest.mark.parametrize(
    ("leaves", "said"),
    [("index.html", "The pages are in _build/html, but with the faults above"), ("nothing", "The book did not render")],
)
def test_a_book_with_faults_is_not_called_one_that_did_not_render(house: House, leaves: str, said: str) -> None:
    for name, text in (
        ("tools/contents.py", ""),
        ("fakes/jupyter_book/__init__.py", ""),
        ("fakes/jupyter_book/cli/__init__.py", ""),
        ("fakes/jupyter_book/cli/main.py", FAKE_BOOK),
    ):
        (house.root / name).parent.mkdir(parents=True, exist_ok=True)
        (house.root / name).write_text(text, encoding="utf-8")
    done = house.make("book", LEAVES=leaves)
    assert done.returncode != 0
    assert "WARNING: a fault" in done.stdout
    assert said in done.stdout
    assert "The book is ready" not in done.stdout


@needs_make
@on_linux
def test_a_pip_that_is_told_where_else_to_look_may_fetch_less(house: House) -> None:
    configured = house.make("setup", PIP_SAYS=":env:.find-links='folder'\nglobal.extra-index-url='one'")
    assert "It is less if pip finds a CPU build by its extra-index-url and find-links." in configured.stdout
    (house.root / ".venv/.installed-test").unlink()
    typed = house.make("setup", "PIP_FLAGS=--find-links 'a folder'")
    assert "It is less if pip finds a CPU build by its find-links." in typed.stdout
    assert "|--find-links|a folder|" in house.calls()[-1]


@needs_make
@on_linux
def test_torch_cpu_fetches_the_cpu_build_by_uv_and_the_rest_by_pip(house: House) -> None:
    done = house.make("setup", "TORCH=cpu")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("About 0.4 GB (1.6 GB on disk) will be fetched, with PyTorch's CPU build.")
    assert "2.9 GB" not in done.stdout
    get_uv, asked, fetched, rest = house.calls()
    assert get_uv.endswith("|--constraint|constraints.txt|uv>=0.7")
    words = "|--torch-backend|cpu|--no-deps|--constraint|constraints.txt|torch>=2.6"
    assert fetched.startswith("uv|pip|install|--python|")
    assert fetched.endswith(words)
    assert asked == f"{fetched}|--dry-run"
    assert rest.endswith("|--constraint|constraints.txt|--editable|.[test,cli]")


@needs_make
@on_linux
def test_where_the_index_is_not_reached_pip_goes_on_and_that_is_said(house: House) -> None:
    done = house.make("setup", "TORCH=cpu", UV_FAILS="--dry-run", UV_SAYS=UNREACHED)
    assert done.returncode == 0, done.stdout
    assert "      cause: dns error\nSo PyTorch's own index was not reached.\nGoing on with pip alone." in done.stdout
    assert "About 2.9 GB will be fetched" in done.stdout
    assert 'make setup PIP_FLAGS="--find-links FOLDER"' in done.stdout
    assert [call.split("|")[0] for call in house.calls()] == ["pip", "uv", "pip"]


@needs_make
@on_linux
@pytest.mark.parametrize(
    ("fails", "says", "advice"),
    [
        ("--dry-run", UNKNOWN, "'make book TORCH=cpu CONSTRAINTS=' the newest build"),
        ("install", "error: No space left on device", "'make book TORCH=cpu' tries again"),
    ],
    ids=["no such build", "not installed"],
)
def test_another_failure_is_shown_and_nothing_larger_is_fetched_in_its_place(
    house: House, fails: str, says: str, advice: str
) -> None:
    done = house.make("book", "TORCH=cpu", UV_FAILS=fails, UV_SAYS=says)
    assert done.returncode != 0
    assert says in done.stdout
    assert advice in done.stdout
    assert "not reached" not in done.stdout
    assert house.calls()[-1].startswith("uv|")
    assert not (house.root / ".venv/.installed-book").exists()


@needs_make
@on_linux
def test_without_uv_pip_goes_on_and_that_is_said(house: House) -> None:
    done = house.make("setup", "TORCH=cpu", PIP_REFUSES="uv>=")
    assert done.returncode == 0, done.stdout
    assert "ERROR: No matching distribution found for uv>=0.7" in done.stdout
    assert "pip did not get uv, which fetches PyTorch's CPU build; pip's reason is above." in done.stdout
    assert [call.split("|")[-1] for call in house.calls()] == ["uv>=0.7", ".[test,cli]"]


@needs_make
@pytest.mark.parametrize("words", [[], ["TORCH=cpu"]], ids=["plain", "cpu"])
def test_a_pytorch_that_is_there_is_not_fetched_again_and_nothing_else_is_claimed(
    house: House, words: list[str]
) -> None:
    house.has_torch("2.13.0+cpu")
    done = house.make("setup", *words)
    assert done.stdout.startswith("PyTorch 2.13.0+cpu is in .venv already and stays.")
    assert "will be fetched" not in done.stdout
    (call,) = house.calls()
    assert call.endswith("|--editable|.[test,cli]")


@needs_make
@on_linux
def test_a_pytorch_other_than_the_tested_one_is_replaced_unless_the_newest_will_do(house: House) -> None:
    house.has_torch("2.11.0")
    assert "About 2.9 GB will be fetched" in house.make("setup").stdout
    (house.root / ".venv/.installed-test").unlink()
    done = house.make("setup", "CONSTRAINTS=", "TORCH=cpu")
    assert done.stdout.startswith("PyTorch 2.11.0 is in .venv already and stays.")
    assert "To have the CPU build in its place: rm -r .venv && make setup TORCH=cpu" in done.stdout
    assert "--constraint" not in house.calls()[-1]


@needs_make
def test_an_unknown_build_of_torch_is_refused_with_what_is_allowed(house: House) -> None:
    done = house.make("book", "TORCH=gpu")
    assert done.returncode != 0
    assert "TORCH=gpu is not known. TORCH=cpu takes PyTorch's CPU build" in done.stdout
    assert not house.calls()


@needs_make
def test_a_failed_installation_says_where_the_reason_is_and_how_to_go_on(house: House) -> None:
    done = house.make("serve", PIP_REFUSES=".[book]")
    assert done.returncode != 0
    assert "ERROR: No matching distribution found for .[book]" in done.stdout
    assert "'make serve' goes on from here." in done.stdout
    assert "make serve CONSTRAINTS=" in done.stdout
    assert not (house.root / ".venv/.installed-book").exists()


@pytest.mark.parametrize("extras", install.REST_GB)
def test_on_a_mac_the_cpu_build_is_the_only_one(extras: str) -> None:
    said = [install.announcement(extras, None, cpu, "make book", system="darwin") for cpu in (False, True)]
    assert said[0] == said[1]
    assert re.fullmatch(r"About 0\.[23] GB will be fetched, once for all commands\.", said[0])


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-29T21:57:02,1   Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (526.7 MB)",
        "  Downloading https://mirror.example/packages/torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (526.7 MB)",
    ],
)
def test_large_downloads_are_named_by_what_pip_writes_down(line: str) -> None:
    assert install.LARGE_DOWNLOAD.findall(line) == [("torch", "526")]
    assert not install.LARGE_DOWNLOAD.findall(line.replace("526.7 MB", "15.4 MB"))
    assert not install.LARGE_DOWNLOAD.findall(line.replace("526.7 MB", "876 kB"))


@needs_make
def test_large_downloads_are_named_as_they_begin(house: House) -> None:
    fake = house.root / "fakes/pip/__main__.py"
    line = "  Downloading torch-2.13.0-cp311-none-any.whl (526.7 MB)"
    told = f"""
if "--log" in words:
    import time
    with open(words[words.index("--log") + 1], "a") as log:
        print({line!r}, file=log, flush=True)
        time.sleep(1.5)
"""
    fake.write_text(FAKE_PIP + told, encoding="utf-8")
    assert "    torch, 526 MB ..." in house.make("book").stdout.splitlines()


def test_the_version_of_uv_is_a_tested_one() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("uv==") for line in pins), "make TORCH=cpu takes uv from constraints.txt"
