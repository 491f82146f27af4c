"""Without a browser, or without playwright's driver, tests of pages are skipped with the command that mends it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import chromium
from tools.chromium import Lack
from tools.set_repo import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the drivers here are scripts of /bin/sh")

NODE = "node: error while loading shared libraries: libatomic.so.1: cannot open shared object file: No such file"
NO_BROWSER = Lack("no Chromium was found", ("chromium",), "python -m playwright install chromium")
NO_LIBRARY = Lack("playwright's driver does not start without libatomic.so.1", ("libatomic1",), "install libatomic")


def script(folder: Path, text: str) -> str:
    path = folder / "a script"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A machine without libatomic: playwright's node says so and ends."""
    node = script(tmp_path, f"echo '{NODE}' >&2; exit 127")
    monkeypatch.setenv("PLAYWRIGHT_NODEJS_PATH", node)
    monkeypatch.delenv("CI", raising=False)
    return node


# --- What is lacking ------------------------------------------------------------------------------


def test_a_driver_without_its_library_names_the_package(bare: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chromium, "find", lambda own: "/usr/bin/chromium")  # the driver is needed all the same
    path, lacks = chromium.look()
    assert path == ""
    assert [lack.packages for lack in lacks] == [("libatomic1",)]
    monkeypatch.setattr(chromium, "find", lambda own: None)
    assert [lack.packages for lack in chromium.look()[1]] == [("libatomic1",), ("chromium",)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("exit 1", "does not start"), ("exec sleep 20", "TimeoutError: no answer in 2 s"), (None, "Cannot launch Node")],
    ids=["ends", "hangs", "is not there"],
)
def test_a_driver_that_fails_in_another_way_is_reported_not_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, reason: str
) -> None:
    node = str(tmp_path / "none") if text is None else script(tmp_path, text)
    monkeypatch.setenv("PLAYWRIGHT_NODEJS_PATH", node)
    monkeypatch.setattr(chromium, "find", lambda own: "/usr/bin/chromium")
    if "Timeout" in reason:
        monkeypatch.setattr(chromium, "PATIENCE_S", 2)
    path, (lack,) = chromium.look()
    assert path == ""
    assert reason in lack.reason
    assert lack.otherwise.endswith("-m pip install --force-reinstall playwright")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("ModuleNotFoundError: No module named 'playwright'", "playwright is not installed (no module playwright)"),
        ("ImportError: libstdc++.so.6: cannot open shared object file: No such file", "without libstdc++.so.6"),
        ("", "it does not say why"),
    ],
)
def test_a_playwright_that_is_not_imported_is_reported(monkeypatch: pytest.MonkeyPatch, said: str, reason: str) -> None:
    monkeypatch.setattr(chromium, "_ask", lambda *_: subprocess.CompletedProcess([], 1, "", said))
    monkeypatch.setattr(chromium, "find", lambda own: "/usr/bin/chromium")
    assert reason in chromium.look()[1][0].reason


@pytest.mark.parametrize(
    ("said", "reason", "packages"),
    [
        ("chrome: error while loading shared libraries: libnss3.so: cannot open shared object file",
         "a browser does not start without libnss3.so", ("libnss3",)),
        ("playwright._impl._errors.Error: BrowserType.launch: Target closed\nCall log:\n  - launching",
         "a browser does not open (playwright._impl._errors.Error: BrowserType.launch: Target closed)", ()),
    ],
)  # fmt: skip
def test_a_browser_that_does_not_open_is_reported(
    monkeypatch: pytest.MonkeyPatch, said: str, reason: str, packages: tuple[str, ...]
) -> None:
    def ask(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], int(code == chromium.ASK_TO_LAUNCH), "its own", said)

    monkeypatch.setattr(chromium, "_ask", ask)
    monkeypatch.setattr(chromium, "find", lambda own: "a browser")
    path, (lack,) = chromium.look()
    assert (path, lack.reason, lack.packages) == ("", reason, packages)


@pytest.mark.parametrize(
    ("library", "package"),
    [("libatomic.so.1", "libatomic1"), ("libstdc++.so.6", "libstdc++6"), ("libgcc_s.so.1", "libgcc-s1"),
     ("libX11.so.6", "libx11-6"), ("libnss3.so", "libnss3"), ("libgbm.so.1", "libgbm1")],
)  # fmt: skip
def test_packages_are_named_by_the_rule_of_debian(library: str, package: str) -> None:
    assert chromium.debian_package(library) == package


# --- What is said and done about it ---------------------------------------------------------------


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that would have been run, on a machine with apt-get."""
    calls: list[str] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(" ".join(command))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(chromium.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(chromium.subprocess, "run", run)
    monkeypatch.delenv("CI", raising=False)
    return calls


def found(monkeypatch: pytest.MonkeyPatch, *rounds: list[Lack]) -> None:
    """What is lacking, before and after each round of installing."""
    left = iter(rounds)
    monkeypatch.setattr(chromium, "look", lambda: ("", next(left)))


def test_who_is_not_root_gets_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], commands: list[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found(monkeypatch, [NO_LIBRARY, NO_BROWSER])
    chromium.main()
    assert not commands
    out = capsys.readouterr().out
    assert out.startswith(
        "The browser tests are skipped: playwright's driver does not start without libatomic.so.1; no"
    )
    assert out.endswith("    sudo apt-get update && sudo apt-get install -y libatomic1 chromium\n")


def test_root_gets_all_that_is_missing_round_by_round(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], commands: list[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found(monkeypatch, [NO_LIBRARY, NO_BROWSER], [Lack("it", ("libnss3",))], [])
    chromium.main()
    assert commands == [
        "apt-get update", "apt-get install -y libatomic1 chromium", "apt-get update", "apt-get install -y libnss3",
    ]  # fmt: skip
    assert "skipped" not in capsys.readouterr().out


def test_what_no_package_mends_is_told_and_root_does_not_go_on_for_ever(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], commands: list[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("CI", "true")
    found(monkeypatch, *[[NO_BROWSER]] * (chromium.ROUNDS + 1))
    chromium.main()
    assert len(commands) == 2 * chromium.ROUNDS
    assert "The browser tests fail: no Chromium was found." in capsys.readouterr().out

    commands.clear()
    found(monkeypatch, [Lack("playwright is not installed", (), "python -m pip install playwright")])
    chromium.main()
    assert not commands
    assert capsys.readouterr().out.endswith("    python -m pip install playwright\n")


def test_where_there_is_no_apt_get_each_lack_has_its_own_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)
    said = chromium.explain([NO_LIBRARY, NO_BROWSER]).splitlines()
    assert said[1:] == ["    install libatomic", "    python -m playwright install chromium"]


@pytest.mark.parametrize(
    ("ci", "status", "summary"), [({}, 0, "4 skipped"), ({"CI": "true"}, 1, "4 errors")], ids=["reader", "ci"]
)
def test_a_driver_that_does_not_start_skips_the_tests_of_pages(
    bare: str, ci: dict[str, str], status: int, summary: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "tests/site/test_player.py"],
        cwd=ROOT, env=os.environ | ci, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout
    assert f"{summary} in" in done.stdout.splitlines()[-1]
    assert "playwright's driver does not start without libatomic.so.1" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_make_test_goes_on_without_a_driver(bare: str) -> None:
    drop = "import os; hasattr(os, 'geteuid') and setattr(os, 'geteuid', lambda: 1000); "
    code = drop + "from tools.chromium import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "The browser tests are skipped: playwright's driver does not start without libatomic.so.1" in done.stdout
    assert "libatomic" in done.stdout.splitlines()[1]
