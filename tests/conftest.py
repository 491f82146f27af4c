"""What holds for every test: one thread, no window, a longer guard for slow tests; a hint at the end."""

from __future__ import annotations

import os

# Before torch is imported, here and in the kernels that the notebook tests start. tools/arithmetic.py asks for two.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ.get("METARL_TEST_THREADS", "1")
os.environ["TQDM_DISABLE"] = "1"  # a test's captured output needs no progress bars

import matplotlib
import pytest
import torch

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_GUARD_S))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: pytest.ExitCode, config: pytest.Config
) -> None:
    # The hint comes before the closing line, which stays the last one. A run of chosen files needs no hint.
    if config.args_source == pytest.Config.ArgsSource.ARGS:
        return
    terminalreporter.section("next")
    terminalreporter.line(HOLDS if exitstatus == pytest.ExitCode.OK else FAILS)
