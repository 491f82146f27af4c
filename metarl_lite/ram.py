"""Memory: what freed tensors leave behind, and what the machine has left.

Freed memory is kept for the next tensor, where the C library would hand it back to the system.

A meta-iteration makes and frees some twenty-five tensors of many megabytes. By default glibc returns each to the
system, and the next one is mapped, page by page, and zeroed anew: on 2-D navigation a tenth of the time, and none of it
arithmetic.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
#: A limit so large is none; version 1 of control groups writes 2^63 - 4096.
ENDLESS = 2**62


@cache
def keep_freed_memory(limit: int = (1 << 31) - 1) -> bool:
    """Asks the C library to keep up to `limit` bytes that were freed; True where it did, False where it cannot.

    It holds for the whole process, and changes no result. Elsewhere than on Linux with glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # No piece is mapped by itself, however large: such a one goes back when freed.
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, limit))


def check_memory(needed: float, what: str, remedy: str) -> None:
    """Refuses what there is no memory for, before it is begun.

    Args:
        needed: bytes.
        what: what needs them, for the message.
        remedy: what to do.

    Raises:
        ValueError: if more is needed than is available; where nothing is known, nothing is refused.
    """
    # To look takes half a millisecond: too long where a few megabytes are needed.
    available = available_memory() if needed > 2**24 else None
    if available is not None and needed > available and needed > available + _freed():
        raise ValueError(
            f"{what} needs about {needed / 1e9:.3g} GB of memory, and "
            f"{available / 1e9:.3g} GB are available: {remedy}"
        )


def _freed() -> int:
    """Bytes that were freed and are kept, see `keep_freed_memory`: they are ours, whatever the system says."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):
        return 0
    mallinfo2.restype = _Mallinfo2
    return int(mallinfo2().size_8)  # fordblks, of glibc's malloc.h


class _Mallinfo2(ctypes.Structure):
    _fields_ = tuple((f"size_{i}", ctypes.c_size_t) for i in range(10))


def available_memory() -> float | None:
    """Bytes that this process can still have, by the smallest limit that is known; None where none is, as off Linux.

    Known may be what the machine has left, what the control groups of a container or a batch system allow (Docker,
    Binder, Slurm), and the address space that `ulimit -v` leaves.
    """
    known = [_of_the_machine(), _of_the_address_space()]
    known += [_of_the_group(folder) for folder in _groups()]
    return min((left for left in known if left is not None), default=None)


def _of_the_machine() -> float | None:
    found = re.search(
        r"^MemAvailable:\s+(\d+) kB", _read("/proc/meminfo"), re.MULTILINE
    )
    return None if found is None else int(found[1]) * 1024


def _of_the_address_space() -> float | None:
    used = _read("/proc/self/statm").split()
    if not used or not used[0].isdigit():  # then there may be no `resource` either
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    return max(0, limit - int(used[0]) * resource.getpagesize())


def _groups() -> Iterator[str]:
    """Folders of the control groups that this process is in, and of those around them, as far as they can be seen.

    A line of /proc/self/cgroup is `number:controllers:path`; version 2 names no controllers. In a container the path
    may be the host's, and the group that counts is then the one at the root.
    """
    lines = [line.split(":", 2) for line in _read("/proc/self/cgroup").splitlines()]
    for _, controllers, path in (line for line in lines if len(line) == 3):
        inside = PurePosixPath(path)
        if not controllers:
            roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        else:
            roots = ["/sys/fs/cgroup/memory"] * ("memory" in controllers.split(","))
        for root in roots:
            for group in (inside, *inside.parents):
                yield f"{root}{group}".rstrip("/")


def _of_the_group(folder: str) -> float | None:
    """What a control group of version 2 or 1 leaves: its limit less what it holds and could not drop."""
    names = ("memory.max", "memory.high", "memory.limit_in_bytes")
    limit = min(_count(f"{folder}/{name}", ENDLESS) for name in names)
    if limit >= ENDLESS:
        return None
    used = _count(f"{folder}/memory.current") or _count(
        f"{folder}/memory.usage_in_bytes"
    )
    stat = _read(f"{folder}/memory.stat")
    files = re.search(r"^total_inactive_file (\d+)", stat, re.MULTILINE) or re.search(
        r"^inactive_file (\d+)", stat, re.MULTILINE
    )
    return max(0, limit - max(0, used - (int(files[1]) if files else 0)))


def _count(path: str, otherwise: int = 0) -> int:
    """The number in a file; where there is none, or the word "max", what is said."""
    text = _read(path).strip()
    return int(text) if text.isdigit() else otherwise


def _read(path: str) -> str:
    """A file's text; nothing where there is no such file, or it is not ours to read."""
    try:
        return Path(path).read_text()
    except (OSError, ValueError):
        return ""
