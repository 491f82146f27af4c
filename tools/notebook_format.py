"""How a notebook is stored: without what execution leaves behind by accident, so that a diff shows what changed."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

from tools.contents import ROOT
from tools.setup_cell import setup_cell

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE_INFO = {
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "pygments_lexer": "ipython3",
}
# Roots that a path on a reader's or an author's machine begins with; a URL or a fraction such as 1/2 has none.
ABSOLUTE_PATH = re.compile(
    r"(?<![\w:/.~-])/(?:home|root|tmp|var|usr|opt|mnt|srv|etc|work|Users|private|Volumes|content|kaggle)/[\w.@/-]*"
    r"|file:///?[\w.@/-]+|(?<![\w])[A-Za-z]:\\[\w.\\-]+"
)
ENCODED = re.compile(r"(?<=base64,)[A-Za-z0-9+/=\s]+|(?<=[\"'])[A-Za-z0-9+/=]{40,}(?=[\"'])")


def parse(content: str) -> Any:
    """The notebook that this text holds, in the newest format.

    Raises:
        ValueError: it holds none.
    """
    try:
        return nbformat.reads(content, as_version=4)
    except Exception as error:  # of what is no notebook nbformat raises whatever it happens upon
        raise ValueError(f"this is no notebook: {error}") from error


def text(value: Any) -> str:
    """nbformat stores text as a string or as a list of lines."""
    return "".join(value) if isinstance(value, list) else str(value)


def output_texts(output: Any) -> list[str]:
    """Everything in an output that a reader may see as text; pictures are left out."""
    if output["output_type"] == "stream":
        return [text(output["text"])]
    if output["output_type"] == "error":
        return [text(output["traceback"])]
    shown = [text(value) for kind, value in output["data"].items() if not kind.startswith("image/")]
    return [ENCODED.sub("", value) for value in shown]


def absolute_paths(output: Any) -> list[str]:
    """Paths in an output that exist on one machine only."""
    here = re.escape(str(ROOT))
    found = []
    for shown in output_texts(output):
        found += ABSOLUTE_PATH.findall(shown) + re.findall(rf"{here}[\w./-]*", shown)
    return found


def alts(cell: Any) -> list[str]:
    """The alternative texts of the pictures among a cell's outputs; an empty one where it is missing."""
    pictures = [o for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    return [o.get("metadata", {}).get("image/png", {}).get("alt", "") for o in pictures]


def normalise(notebook: Any, seconds: float | None = None, yardstick_ms: float | None = None) -> Any:
    """A copy of the notebook in the one form in which notebooks are stored.

    Cells get ids by place; of their metadata only tags survive, and in a code cell Colab's `cellView`, which folds it
    there; the alt text of the figure is added, which myst-nb reads from the cell. Consecutive streams become one. The
    seconds are recorded for the whole notebook, and beside them what a matrix product took on the same machine, so
    that readers can compare theirs.
    """
    result = copy.deepcopy(notebook)
    result["nbformat"], result["nbformat_minor"] = 4, 5
    kept = dict(result["metadata"].get("metarl_lite", {}))
    if seconds is not None:
        kept["seconds"] = round(seconds, 1)
    if yardstick_ms is not None:
        kept["yardstick_ms"] = round(yardstick_ms, 1)
    result["metadata"] = {"kernelspec": dict(KERNELSPEC), "language_info": dict(LANGUAGE_INFO)}
    if kept:
        result["metadata"]["metarl_lite"] = kept
    for place, cell in enumerate(result["cells"], start=1):
        tags = cell["metadata"].get("tags")
        cell["id"] = f"cell-{place:02d}"
        folded = cell["metadata"].get("cellView") if cell["cell_type"] == "code" else None
        cell["metadata"] = ({"tags": tags} if tags else {}) | ({"cellView": folded} if folded else {})
        cell["source"] = text(cell["source"]).strip("\n")
        cell.pop("attachments", None)
        if cell["cell_type"] == "code":
            if "setup" in (tags or []):
                cell["source"] = setup_cell()
            cell["outputs"] = _merge_streams(cell["outputs"])
            shown = [alt for alt in alts(cell) if alt]
            if shown:
                cell["metadata"]["mystnb"] = {"image": {"alt": shown[0]}}
    result = nbformat.from_dict(result)
    nbformat.validate(result)
    return result


def _merge_streams(outputs: list[Any]) -> list[Any]:
    merged: list[Any] = []
    for output in outputs:
        output = {key: value for key, value in output.items() if key != "transient"}
        last = merged[-1] if merged else None
        if output["output_type"] == last_type(last) == "stream" and output["name"] == last["name"]:
            last["text"] = text(last["text"]) + text(output["text"])
        else:
            merged.append(output)
    return merged


def last_type(output: Any) -> str:
    """The type of an output, "" for none."""
    return "" if output is None else str(output["output_type"])


def dumps(notebook: Any) -> str:
    """The stored form as text: keys sorted, one space of indentation, a newline at the end."""
    return str(nbformat.writes(notebook)).rstrip("\n") + "\n"


def same_but_for_seconds(old: str, new: str) -> bool:
    """The two stored notebooks differ at most in recorded seconds, and in these by less than a fifth."""
    try:
        before, after = json.loads(old), json.loads(new)
        first, second = before["metadata"].get("metarl_lite", {}), after["metadata"].get("metarl_lite", {})
        a, b = first.pop("seconds"), second.pop("seconds")
        first.pop("yardstick_ms", None), second.pop("yardstick_ms", None)
    except (ValueError, KeyError, TypeError):
        return False
    return before == after and abs(a - b) < 0.2 * max(a, b, 1e-9)


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Whatever the system says about a file beside it, the message is about this one.

    Raises:
        OSError: what was raised inside, with the file that could not be written.
    """
    try:
        yield
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from error


def write(path: Path, content: str) -> None:
    """The file is replaced at once or not at all.

    Raises:
        OSError: it cannot be written; it is as it was, and nothing lies beside it.
    """
    with write_errors(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # a disk may say only now that it is full
            os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
