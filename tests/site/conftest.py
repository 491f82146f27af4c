"""The book is rendered once, served on this machine, and looked at with one browser that may ask nobody else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tools import chromium

from .checks import Traffic

if TYPE_CHECKING:  # where playwright is missing, the tests that need a browser are skipped, and the others run
    from playwright.sync_api import Browser, Page, Route

ROOT = Path(__file__).resolve().parents[2]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: pytest's output is for results."""


def serve(folder: Path) -> Iterator[str]:
    """Serves a folder on a free port of this machine until the generator is closed; yields the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass(frozen=True)
class Build:
    """One run of jupyter-book."""

    html: Path
    status: int
    lines: list[str]

    def complaints(self) -> list[str]:
        return [line for line in self.lines if "WARNING" in line or "ERROR" in line]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The book, rendered by the worker that asks first: the others wait for it."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    report = shared / "rendered.json"
    try:
        (shared / "rendering").mkdir()
    except FileExistsError:
        while not report.is_file():  # the guard of each test ends this, if it must
            time.sleep(0.5)
        known = json.loads(report.read_text(encoding="utf-8"))
        return Build(Path(known["html"]), known["status"], known["lines"])
    made = Build(shared, 1, ["ERROR: the rendering was broken off"])
    try:
        made = render(tmp_path_factory.mktemp("book"))
    finally:  # the others must not wait for what does not come
        known = {"html": str(made.html), "status": made.status, "lines": made.lines}
        (shared / "rendered.part").write_text(json.dumps(known), encoding="utf-8")
        (shared / "rendered.part").rename(report)
    return made


def render(out: Path) -> Build:
    """The book rendered into an empty folder, with warnings and unresolved references as errors."""
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(ROOT)]
    command += ["--path-output", str(out), "-W", "-n", "--keep-going"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr).splitlines()
    return Build(out / "_build" / "html", done.returncode, lines)


@pytest.fixture(scope="session")
def built(build: Build) -> Path:
    """The folder of the rendered pages, which are there in spite of warnings."""
    if not (build.html / "index.html").is_file():
        pytest.fail("there are no pages to look at: see test_book_renders_without_a_warning", pytrace=False)
    return build.html


@pytest.fixture(scope="session")
def address(built: Path) -> Iterator[str]:
    yield from serve(built)


def executable() -> str:
    """The browser; where it or playwright's driver does not start, tests are skipped, or fail where they must run."""
    path, lacks = chromium.look()
    if lacks and chromium.must_run():
        pytest.fail(chromium.explain(lacks), pytrace=False)
    if lacks:
        pytest.skip(chromium.explain(lacks))
    return path


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    return resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = executable()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Playwright hides scroll bars, which readers see, and for which a page has less room.
        seen = ["--hide-scrollbars"]
        launched = playwright.chromium.launch(executable_path=path, args=chromium.OPTIONS, ignore_default_args=seen)
        yield launched
        launched.close()


def _abort_outside(route: Route) -> None:
    if route.request.url.startswith(("http://127.0.0.1", "data:", "blob:", "file:")):
        route.continue_()
    else:
        route.abort("blockedbyclient")


@pytest.fixture(scope="session")
def page(browser: Browser) -> Iterator[Page]:
    """One tab for all tests. What goes to another host is refused, and seen by `Traffic`."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    context.route("**/*", _abort_outside)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def traffic(page: Page, address: str) -> Traffic:
    watcher = Traffic(origin=address)
    watcher.watch(page)
    return watcher
