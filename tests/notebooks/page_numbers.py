"""A plugin of nbval's pytest: what the cell of page numbers prints is compared with what is stored, within 5 %.

Such a cell carries the tags `page-numbers` and `nbval-ignore-output`: it prints what this page has measured, to more
digits than hold on every processor. Its words must be the same, its numbers nearly so.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Generator
from typing import Any

import pytest

TOLERANCE = 0.05
NUMBER = re.compile(r"[-−+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: Any) -> Generator[None, Any, Any]:
    """After nbval has run the cell."""
    result = yield
    if "page-numbers" in item.cell.metadata.get("tags", []):
        stored, printed = printed_text(item.cell.outputs), printed_text(item.test_outputs)
        assert not differences(stored, printed), "\n".join(differences(stored, printed))
    return result


def printed_text(outputs: list[Any]) -> str:
    """What a cell printed, streams joined."""
    return "".join(output["text"] for output in outputs if output["output_type"] == "stream")


def differences(stored: str, printed: str) -> list[str]:
    """Lines whose words differ, or whose numbers differ by more than the tolerance."""
    found = []
    for old, new in itertools.zip_longest(stored.splitlines(), printed.splitlines(), fillvalue=""):
        words = NUMBER.sub("#", old).split() == NUMBER.sub("#", new).split()
        if not words or not all(map(near, numbers(old), numbers(new))):
            found.append(f"stored: {old!r}, printed now: {new!r}")
    return found


def numbers(line: str) -> list[float]:
    """The numbers of a line; a typographic minus is one."""
    return [float(text.replace("−", "-")) for text in NUMBER.findall(line)]


def near(old: float, new: float) -> bool:
    """Within 5 % of the greater; the same sign, so that a change of sign is seen."""
    return abs(old - new) <= TOLERANCE * max(abs(old), abs(new))
