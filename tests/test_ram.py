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


MACHINE = "MemTotal:       15625000 kB\nMemFree:          200000 kB\nMemAvailable:    1953125 kB\nBuffers: 1 kB\n"
WSL1 = "MemTotal:       15625000 kB\nMemFree:          200000 kB\nHighTotal:             0 kB\n"
V2, V1 = "0::/user.slice/job\n", "12:cpu:/a\n7:hugetlb,memory:/docker/1a2b\n0::/system\n"
ENDLESS_V1 = "9223372036854771712\n"


def group(folder: str, **files: str) -> dict[str, str]:
    """Files of a control group; `memory_max` stands for memory.max."""
    return {f"/sys/fs/cgroup{folder}/{name.replace('memory_', 'memory.')}": text for name, text in files.items()}


def told(monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    """A machine of which just these files can be read."""
    monkeypatch.setattr(ram, "_read", lambda path: files.get(path, ""))
    monkeypatch.setattr(ram, "_freed", lambda: 0)  # whatever the tests before have left behind


def test_what_does_not_fit_is_refused_with_both_numbers_and_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, {"/proc/meminfo": MACHINE})
    with pytest.raises(ValueError, match=r"^a game needs about 3 GB of memory, and 2 GB are available: play less\.$"):
        check_memory(3e9, "a game", "play less.")
    check_memory(1.9e9, "a game", "play less.")


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"/proc/meminfo": WSL1},
        {"/proc/meminfo": "", "/proc/self/cgroup": "what is this\n", "/proc/self/statm": "x y"},
        {"/proc/self/cgroup": V2, **group("/user.slice/job", memory_max="max\n", memory_high="max\n")},
        {"/proc/self/cgroup": V1, **group("/memory/docker/1a2b", memory_limit_in_bytes=ENDLESS_V1)},
        {"/proc/self/cgroup": V2, **group("/user.slice/job", memory_max="garbage", memory_current="1")},
        {"/proc/self/cgroup": "12:cpu:/a\n", **group("/memory", memory_limit_in_bytes="1000000000\n")},
    ],
)
def test_nothing_is_refused_where_nothing_is_known(monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    told(monkeypatch, files)
    assert ram.available_memory() is None
    check_memory(1e30, "a game", "play less.")


STAT = "anon 5\ninactive_file 100000000\nactive_file 7\ntotal_inactive_file 300000000\n"
GROUPS = {
    "version 2": (
        V2,
        group(
            "/user.slice/job", memory_max="1500000000\n", memory_current="900000000\n", memory_stat="inactive_file 1\n"
        ),
        600000001,
    ),
    "files can be dropped": (
        V2,
        group("/user.slice/job", memory_max="1500000000", memory_current="900000000", memory_stat=STAT),
        900000000,
    ),
    "the soft limit counts": (
        V2,
        group("/user.slice/job", memory_max="max", memory_high="1200000000", memory_current="200000000"),
        1000000000,
    ),
    "a group around it": (
        V2,
        group("/user.slice/job", memory_max="1500000000", memory_current="0")
        | group("/user.slice", memory_max="1400000000", memory_current="1000000000"),
        400000000,
    ),
    "the root of a container": (
        "0::/\n",
        group("", memory_max="500000000", memory_current="100000000"),
        400000000,
    ),
    "a path of the host": (
        "0::/kubepods/pod7/c3\n",
        group("", memory_max="500000000", memory_current="100000000"),
        400000000,
    ),
    "version 1": (
        V1,
        group(
            "/memory/docker/1a2b",
            memory_limit_in_bytes="800000000",
            memory_usage_in_bytes="600000000",
            memory_stat=STAT,
        ),
        500000000,
    ),
    "version 1 in a container": (
        V1,
        group("/memory", memory_limit_in_bytes="800000000", memory_usage_in_bytes="600000000"),
        200000000,
    ),
    "a hybrid": (
        "0::/x\n",
        group("/unified/x", memory_max="700000000", memory_current="100000000"),
        600000000,
    ),
    "more than all": (V2, group("/user.slice/job", memory_max="5", memory_current="9"), 0),
    "nothing said of what is used": (V2, group("/user.slice/job", memory_max="700000000"), 700000000),
    "larger than the machine": (V2, group("/user.slice/job", memory_max="99000000000"), 2000000000),
}


@pytest.mark.parametrize("case", GROUPS)
def test_the_smallest_limit_counts(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    lines, files, left = GROUPS[case]
    told(monkeypatch, {"/proc/meminfo": MACHINE, "/proc/self/cgroup": lines} | files)
    assert ram.available_memory() == left
    told(monkeypatch, {"/proc/meminfo": WSL1, "/proc/self/cgroup": lines} | files)  # the group alone
    assert ram.available_memory() == (99000000000 if case == "larger than the machine" else left)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux says how large the address space is")
def test_the_address_space_that_is_left_counts() -> None:
    code = "from metarl_lite import ram; print(ram.available_memory())"
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30)); {code}"
    done = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, check=True)
    assert 1e9 < float(done.stdout) < 6 << 30


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="only Linux says what is available")
def test_this_machine_is_asked() -> None:
    check_memory(1e6, "a small thing", "")
    with pytest.raises(ValueError, match=r"needs about 1e\+09 GB of memory, and [\d.]+ GB are available"):
        check_memory(1e18, "everything", "")


def test_a_file_that_is_not_ours_to_read_is_as_good_as_none(tmp_path: Path) -> None:
    assert ram._read(str(tmp_path)) == ram._read(str(tmp_path / "none")) == ""
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    assert ram._read(str(tmp_path / "bytes")) == ""


FREED = """
from metarl_lite import ram
import torch

print(ram.keep_freed_memory())
before = ram._freed()
tensors = [torch.ones(2_000_000) for _ in range(20)]  # 8 MB each
keep = torch.ones(10)
del tensors
print(ram._freed() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's book-keeping")
def test_what_was_freed_and_kept_can_be_had_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a run near its limit would be refused in its second iteration what it was given in its first."""
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    kept, freed = done.stdout.split()
    if kept != "True":
        pytest.skip("this C library has no such switch")
    assert 100e6 < int(freed) < 200e6
    told(monkeypatch, {"/proc/meminfo": MACHINE})
    monkeypatch.setattr(ram, "_freed", lambda: 1_500_000_000)
    check_memory(3e9, "a game", "play less.")
    with pytest.raises(ValueError, match=r"needs about 4 GB of memory, and 2 GB are available"):
        check_memory(4e9, "a game", "play less.")
