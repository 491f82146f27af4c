"""Find a Chromium for the browser tests, and get what they lack where that needs nobody's password.

    python -m tools.chromium

is what `make test` runs before the tests. It never calls sudo: root gets installed what is missing, everybody
else the command. Without a browser, or without playwright's driver, the page tests are skipped, except where CI is
set, as on GitHub: there they fail.

Playwright is asked in a process of its own. Its driver is a programme that needs libraries which a bare machine may
lack; when it does not start, it leaves open pipes and futures behind, which would fail some later test.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
ELSEWHERE = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
)
# A container has no user namespaces for the sandbox and a small /dev/shm; only our own pages are opened.
OPTIONS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
PATIENCE_S = 60
ROUNDS = 3  # of installing: a programme names one missing library at a time

ASK_FOR_ITS_OWN = """
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    print(playwright.chromium.executable_path)
"""
ASK_TO_LAUNCH = """
import sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    playwright.chromium.launch(executable_path=sys.argv[1], args=sys.argv[2:]).close()
"""
MISSING_LIBRARY = re.compile(r"([^\s/]+\.so[\d.]*): cannot open shared object file")
MISSING_MODULE = re.compile(r"No module named '?([\w.]+)")
ERROR = re.compile(r"(?:[\w.]*Error|Exception)\b.*")


@dataclass(frozen=True)
class Lack:
    """One thing that the browser tests lack."""

    reason: str
    packages: tuple[str, ...] = ()  # Debian's, where apt-get can mend it
    otherwise: str = ""  # a command or advice for where it cannot


# --- Looking --------------------------------------------------------------------------------------


def look() -> tuple[str, list[Lack]]:
    """The path of a browser that playwright has opened and closed, or what is lacking; one of the two is empty."""
    asked = _ask(ASK_FOR_ITS_OWN)
    lacks = [_of_the_driver(asked.stderr)] if asked.returncode else []
    path = find(asked.stdout.strip())
    if path is None:
        own = f"{_python()} -m playwright install chromium"
        lacks.append(Lack("no Chromium was found", ("chromium",), own))
    if path is None or lacks:
        return "", lacks
    opened = _ask(ASK_TO_LAUNCH, path, *OPTIONS)
    return ("", [_of_the_browser(path, opened.stderr)]) if opened.returncode else (path, [])


def find(playwrights_own: str = "") -> str | None:
    """A Chromium that starts: the one in CHROMIUM, on the PATH, in its usual place, or playwright's own."""
    candidates = [*filter(None, map(shutil.which, NAMES)), *ELSEWHERE, playwrights_own]
    return os.environ.get("CHROMIUM") or next(filter(_starts, filter(None, candidates)), None)


def _starts(path: str) -> bool:
    # Ubuntu has a script in the browser's place that only says how to get it; Windows prints no version.
    if sys.platform == "win32":
        return Path(path).is_file()
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _ask(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"TimeoutError: no answer in {PATIENCE_S} s")


def _of_the_driver(said: str) -> Lack:
    if library := MISSING_LIBRARY.search(said):
        return _of_a_library("playwright's driver", library[1])
    if module := MISSING_MODULE.search(said):
        return Lack(
            f"playwright is not installed (no module {module[1]})", (), f"{_python()} -m pip install playwright"
        )
    again = f"{_python()} -m pip install --force-reinstall playwright"
    return Lack(f"playwright's driver does not start ({_error(said)})", (), again)


def _of_the_browser(path: str, said: str) -> Lack:
    if library := MISSING_LIBRARY.search(said):
        return _of_a_library(path, library[1])
    reason = f"{path} does not open ({_error(said)})"
    if "CHROMIUM" in os.environ:
        return Lack(reason, (), f"set CHROMIUM to the path of a Chromium, or unset it (now it is {path})")
    return Lack(reason, (), f"{_python()} -m playwright install chromium, and CHROMIUM set to the path that it prints")


def _of_a_library(programme: str, library: str) -> Lack:
    advice = f"install the package that has {library}"
    return Lack(f"{programme} does not start without {library}", (debian_package(library),), advice)


def debian_package(library: str) -> str:
    """The package of a shared library, by Debian's rule: libatomic.so.1 is in libatomic1, libX11.so.6 in libx11-6."""
    name, _, version = library.lower().replace("_", "-").partition(".so")
    return f"{name}{'-' if name[-1].isdigit() and version else ''}{version.lstrip('.')}"


def _error(said: str) -> str:
    found = ERROR.findall(said)
    return found[-1] if found else "it does not say why"


# --- Telling, and mending -------------------------------------------------------------------------


def must_run() -> bool:
    """Whether the browser tests fail instead of being skipped: where CI is set, as on GitHub."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


def explain(lacks: Sequence[Lack]) -> str:
    """A sentence, and under it what to type on this machine, by somebody who may."""
    outcome = "fail" if must_run() else "are skipped"
    packages = _packages(lacks) if shutil.which("apt-get") else []
    lines = [" && ".join(f"sudo {' '.join(step)}" for step in _apt(packages))] if packages else []
    lines += [lack.otherwise for lack in lacks if not (packages and lack.packages)]
    reasons = "; ".join(lack.reason for lack in lacks)
    return "\n    ".join([f"The browser tests {outcome}: {reasons}. To have them run:", *lines])


def _packages(lacks: Sequence[Lack]) -> list[str]:
    return [package for lack in lacks for package in lack.packages]


def _apt(packages: Sequence[str]) -> list[list[str]]:
    return [["apt-get", "update"], ["apt-get", "install", "-y", *packages]]


def _python() -> str:
    """How to type this Python: .venv/bin/python where it is below the folder one is in."""
    here, python = Path.cwd(), Path(sys.executable)
    return shlex.quote(str(python.relative_to(here) if python.is_relative_to(here) else python))


def _install(packages: Sequence[str]) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in _apt(packages):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stdout[-2000:], done.stderr[-2000:], sep="\n", file=sys.stderr)
            return False
    return True


def main() -> None:
    """Say nothing where the browser tests can run; otherwise install what they lack, or print how to."""
    may = hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None
    _, lacks = look()
    for _ in range(ROUNDS):
        packages = _packages(lacks)
        if not (may and packages):
            break
        print(f"Installing {' and '.join(packages)} for the browser tests; this takes a minute ...", flush=True)
        if not _install(packages):
            break
        _, lacks = look()
    if lacks:
        print(explain(lacks), flush=True)


if __name__ == "__main__":
    main()
