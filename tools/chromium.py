"""Find a Chromium for the browser tests, and get one where that needs nobody's password.

    python -m tools.chromium

is what `make test` runs before the tests. It never calls sudo: root gets the browser installed, everybody
else the command. Without a browser the page tests are skipped, except where CI is set, as on GitHub: there they fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
ELSEWHERE = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
)
APT = ("apt-get update", "apt-get install -y chromium")


def find() -> str | None:
    """A Chromium that starts: the one in CHROMIUM, on the PATH, in its usual place, or playwright's own."""
    named = os.environ.get("CHROMIUM")
    return named or next(filter(_starts, _candidates()), None)


def _candidates() -> Iterator[str]:
    yield from filter(None, map(shutil.which, NAMES))
    yield from ELSEWHERE
    yield from _playwrights_own()


def how_to_get_one() -> str:
    """The command for this machine, to be typed by somebody who may."""
    own = "python -m playwright install chromium"
    return f"sudo {APT[0]} && sudo {APT[1]}   (or, with no sudo: {own})" if shutil.which("apt-get") else own


def _playwrights_own() -> list[str]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return []
    with sync_playwright() as playwright:
        return [playwright.chromium.executable_path]


def _starts(path: str) -> bool:
    # Ubuntu has a script in the browser's place that only says how to get it; Windows prints no version.
    if sys.platform == "win32":
        return Path(path).is_file()
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _install() -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in APT:
        done = subprocess.run(command.split(), env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stdout[-2000:], done.stderr[-2000:], sep="\n", file=sys.stderr)
            return False
    return True


def main() -> None:
    """Say nothing where there is a browser; otherwise install it, or print how to."""
    if find():
        return
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if is_root and shutil.which("apt-get"):
        print(
            f"Installing Chromium for the browser tests ({' && '.join(APT)}); this takes a minute ...",
            flush=True,
        )
        if _install() and find():
            return
    outcome = "fail" if os.environ.get("CI") else "are skipped"
    print(
        f"No Chromium was found, so the browser tests {outcome}. To get one:\n    {how_to_get_one()}",
        flush=True,
    )


if __name__ == "__main__":
    main()
