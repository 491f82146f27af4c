"""Memory that is kept costs no page faults; what is computed stays the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from metarl_lite import ram
from metarl_lite.ram import check_memory

SCRIPT = """
import json, resource, sys
import torch
from metarl_lite.ram import keep_freed_memory

kept = keep_freed_memory() if sys.argv[1] == "keep" else None
for round in range(12):
    if round == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(2_000_000) for _ in range(5)]  # 8 MB each
    total = sum(t.sum().item() for t in tensors)
    del tensors
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(json.dumps({"kept": kept, "faults": faults, "total": total}))
"""


def run(mode: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


@pytest.mark.skipif(sys.platform != "linux", reason="the C library's switch is glibc's")
def test_kept_memory_is_used_again_without_page_faults() -> None:
    plain, keep = run("plain"), run("keep")
    if not keep["kept"]:
        pytest.skip("this C library has no such switch")
    assert keep["total"] == plain["total"] == 1e7
    assert keep["faults"] < 10_000  # ten rounds of 40 MB are 100,000 pages; by default some 78,000 are new


class Told:
    """Stands in for the path of /proc/meminfo: a machine with 2 GB to spare of 16, or one without such a file."""

    there = True

    def __init__(self, path: str) -> None:
        assert path == "/proc/meminfo"

    def exists(self) -> bool:
        return self.there

    def read_text(self) -> str:
        return "MemTotal:       15625000 kB\nMemFree:          200000 kB\nMemAvailable:    1953125 kB\nBuffers: 1 kB\n"


def test_what_does_not_fit_is_refused_with_both_numbers_and_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ram, "Path", Told)
    with pytest.raises(ValueError, match=r"^a game needs about 3 GB of memory, and 2 GB are available: play less\.$"):
        check_memory(3e9, "a game", "play less.")
    check_memory(1.9e9, "a game", "play less.")


def test_nothing_is_refused_where_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ram, "Path", type("Absent", (Told,), {"there": False}))
    check_memory(1e30, "a game", "play less.")


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="only Linux says what is available")
def test_this_machine_is_asked() -> None:
    check_memory(1e6, "a small thing", "")
    with pytest.raises(ValueError, match=r"needs about 1e\+09 GB of memory, and [\d.]+ GB are available"):
        check_memory(1e18, "everything", "")
