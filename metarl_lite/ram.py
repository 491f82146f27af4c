"""Memory: what freed tensors leave behind, and what the machine has left.

Freed memory is kept for the next tensor, where the C library would hand it back to the system.

A meta-iteration makes and frees some twenty-five tensors of many megabytes. By default glibc returns each to the
system, and the next one is mapped, page by page, and zeroed anew: on 2-D navigation a tenth of the time, and none of it
arithmetic.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


@cache
def keep_freed_memory(limit: int = (1 << 31) - 1) -> bool:
    """Asks the C library to keep up to `limit` bytes that were freed; True where it did, False where it cannot.

    It holds for the whole process, and changes no result. Elsewhere than on Linux with glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # No piece is mapped by itself, however large: such a one goes back when it is freed.
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, limit))


def check_memory(needed: float, what: str, remedy: str) -> None:
    """Refuses what the machine has no memory for, before it is begun.

    Args:
        needed: bytes.
        what: what needs them, for the message.
        remedy: what to do.

    Raises:
        ValueError: if more is needed than is available; nothing is known, and nothing refused, off Linux.
    """
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return
    available = int(meminfo.read_text().split("MemAvailable:")[1].split()[0]) * 1024
    if needed > available:
        raise ValueError(
            f"{what} needs about {needed / 1e9:.3g} GB of memory, and "
            f"{available / 1e9:.3g} GB are available: {remedy}"
        )
