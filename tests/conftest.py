"""What holds for every test: one thread, no window, a longer guard for slow tests; which come first; a hint."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator

# Before torch is imported, here and in the kernels that the notebook tests start. tools/arithmetic.py asks for two.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ.get("METARL_TEST_THREADS", "1")
os.environ["TQDM_DISABLE"] = "1"  # a test's captured output needs no progress bars

import matplotlib
import pytest
import torch
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# Equality to the bit holds for one thread. Agg is chosen here and not through MPLBACKEND, which kernels would
# inherit: a notebook keeps Jupyter's own backend.
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
matplotlib.use("Agg")

SLOW_GUARD_S = 4 * 3600

HOLDS = """\
All of it holds. Next: `make book` renders the book, `make serve` shows it on localhost, `make bench` measures
time and memory, and CONTRIBUTING.md tells how to change a chapter."""
FAILS = """\
Something does not hold. The reasons are above, the names of the tests below. One of them alone:
    .venv/bin/python -m pytest -n 0 PATH::NAME"""


# Each notebook is run by a test of its own in here, which shares nothing with the others but a folder.
ONE_BY_ONE = "tests/notebooks/test_nbval.py"


class Spread(LoadFileScheduling):
    """A file stays on one worker, since its tests may share a browser; notebooks go to whichever worker is free."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(f"{ONE_BY_ONE}::") else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Spread | None:
    return Spread(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)  # when it is known what was chosen
@pytest.fixture
def shared_memory() -> None:
    """Skips a test of gymnasium's environments in processes of their own where processes may share nothing."""
    try:
        multiprocessing.Array("d", 1)
    except OSError as error:
        pytest.skip(f"this machine lets processes share nothing ({error}; look at /dev/shm): gymnasium needs that here")


@pytest.fixture(autouse=True)
def ctrl_c_interrupts() -> Iterator[None]:
    """Ctrl-C does what it does at a prompt, also where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_GUARD_S))
    items.sort(key=in_turn(items))


def in_turn(items: list[pytest.Item]) -> Callable[[pytest.Item], tuple[bool, int, int]]:
    """A key that brings long files to the front: those with slow tests, then those with many tests.

    How long a file takes is not known, and it cannot be divided; how long a notebook takes is recorded. So the
    notebooks come last, the longest first: they fill what the files have left uneven, down to the shortest one.
    """
    file = {item: item.nodeid.split("::", 1)[0] for item in items}
    slow = Counter(file[item] for item in items if item.get_closest_marker("slow"))
    tests = Counter(file.values())
    return lambda item: (file[item] == ONE_BY_ONE, -slow[file[item]], -tests[file[item]])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: pytest.ExitCode, config: pytest.Config
) -> None:
    # The hint comes before the closing line, which stays the last one. A run of chosen files needs no hint.
    if config.args_source == pytest.Config.ArgsSource.ARGS:
        return
    terminalreporter.section("next")
    terminalreporter.line(HOLDS if exitstatus == pytest.ExitCode.OK else FAILS)
