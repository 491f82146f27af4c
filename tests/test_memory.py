"""Memory that is kept costs no page faults; what is computed stays the same."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, resource, sys
import torch
from metarl_lite.memory import keep_freed_memory

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
