"""Writes the tables of book/scoreboard.md from what is recorded: `python -m tools.scoreboard` (`--check` compares).

The record is made by `python -m metarl_lite reproduce scoreboard`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from metarl_lite.experiments.columns import COLUMNS, Column, share
from metarl_lite.experiments.contenders import Budget, held_out
from metarl_lite.experiments.scoreboard import ROWS, Cell, summary
from metarl_lite.records.results import recorded

PAGE = Path(__file__).resolve().parents[1] / "book" / "scoreboard.md"
BEGIN, END = "<!-- begin: {} -->", "<!-- end: {} -->"


def written(text: str, record: dict[str, Any]) -> str:
    """The page with its tables as the record has them."""
    for name, table in (("games", games()), ("board", board(record)), ("notes", notes(record))):
        begin, end = BEGIN.format(name), END.format(name)
        head, rest = text.split(begin)
        _, tail = rest.split(end)
        text = f"{head}{begin}\n\n{table}\n\n{end}{tail}"
    return text


def row(*entries: str) -> str:
    """A line of a table."""
    return "| " + " | ".join(entries) + " |"


# --- What is played ---------------------------------------------------------------------------------------------------


def games() -> str:
    """The columns: the game, what the two ends of the scale are, and the share of who is told the task."""
    lines = [
        row("Task", "What is played", "0", "1", "which is", "Task told"),
        row(*["---"] * 2, *["--:"] * 2, "---", "--:"),
    ]
    for column in COLUMNS.values():
        low, high = ends(column)
        told = "1" if column.known is None else f"{(column.known - low) / (high - low):.2f}"
        lines.append(row(column.title, column.game, f"{low:.2f}", f"{high:.2f}", column.optimum, told))
    return "\n".join(lines)


def ends(column: Column) -> tuple[float, float]:
    """What the best earns that learns nothing, and the optimum, on average over the test tasks."""
    low, high = (
        torch.as_tensor(x, dtype=torch.float64).mean().item() for x in column.bounds(held_out(column, Budget()))
    )
    assert abs(share(high, column.bounds(held_out(column, Budget())))[0] - 1) < 1e-6
    return low, high


# --- The board --------------------------------------------------------------------------------------------------------


def board(record: dict[str, Any]) -> str:
    """Rows by columns; a cell has the share, its standard error, and the steps of one training."""
    found, letters, hardly = summary(record), reasons(), hardly_trained(record)
    lines = [row("", *(column.title for column in COLUMNS.values())), row("---", *["--:"] * len(COLUMNS))]
    for name, algorithm in ROWS.items():
        entries = []
        for key in COLUMNS:
            entry = algorithm.entry(key)
            if isinstance(entry, str):
                entries.append(f"–<sup>{letters[entry]}</sup>")
            elif (name, key) in hardly:
                entries.append("…")
            else:
                entries.append(shown(found[name, key]) if (name, key) in found else "not recorded")
        lines.append(row(name, *entries))
    return "\n".join([*rehearsal(record), *lines])


def shown(cell: Cell) -> str:
    """A cell as it stands in the table."""
    small = f"±&nbsp;{spread(cell.error)}" + (f"<br>{short(cell.steps)}".replace(" ", "&nbsp;") if cell.steps else "")
    one = "<sup>1</sup>" if cell.steps and cell.seeds == 1 else ""
    return f"{number(cell.share)}{one}<br><small>{small}</small>"


def number(value: float) -> str:
    """Two digits after the point, or one of what is large; no minus before a nought."""
    text = f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"
    return text.replace("-", "−") if float(text) else text.replace("-", "")


def spread(error: float) -> str:
    """A standard error with at least one digit that is not a nought."""
    return number(error) if error >= 0.00995 else f"{error:.3f}"


def short(steps: int) -> str:
    """Steps in thousands or millions, with two digits or more."""
    for unit, name in ((10**6, "M"), (10**3, "k")):
        if steps >= unit:
            return f"{steps / unit:.1f} {name}" if steps < 9.95 * unit else f"{steps / unit:.0f} {name}"
    return str(steps)


def rehearsal(record: dict[str, Any]) -> list[str]:
    """A warning above a table whose agents were hardly trained."""
    iterations = record["config"]["iterations"]
    if iterations is None:
        return []
    return [
        f"**A rehearsal.** Where … stands, the record has agents that were trained for {iterations} iterations only, "
        "to try the machinery; what they reach says nothing, and is left out. All others are what they will be.",
        "",
    ]


def hardly_trained(record: dict[str, Any]) -> set[tuple[str, str]]:
    """Row and column of the cells that a rehearsal has cut short: those trained for this record before the test."""
    if record["config"]["iterations"] is None:
        return set()
    found = set()
    for key, run in record["runs"].items():
        name, column = key.rsplit(", seed ", 1)[0].rsplit(" on ", 1)
        if run["env_steps"] and "source" not in run and name != "from scratch":
            found.add((name, column))
    return found


def reasons() -> dict[str, str]:
    """A letter for each reason for an empty cell, in the order of the table."""
    found = [entry for r in ROWS.values() for key in COLUMNS if isinstance(entry := r.entry(key), str)]
    return {reason: "abcdefgh"[i] for i, reason in enumerate(dict.fromkeys(found))}


def notes(record: dict[str, Any]) -> str:
    """What the letters mean, and which cells are read from other records."""
    lines = [f"- <sup>{letter}</sup> {reason[0].upper()}{reason[1:]}." for reason, letter in reasons().items()]
    lines.append("- <sup>1</sup> One training: the error is that over test tasks alone.")
    sources: dict[str, list[str]] = {}
    for key, run in record["runs"].items():
        name, column = key.rsplit(", seed ", 1)[0].rsplit(" on ", 1)
        place = f"{name} on {COLUMNS[column].title}"
        if "source" in run and place not in sources.setdefault(run["source"].split(":")[0], []):
            sources[run["source"].split(":")[0]].append(place)
    said = "; ".join(f"`{source}`: {', '.join(places)}" for source, places in sources.items())
    return "\n".join([*lines, f"- Agents or numbers of other records. {said}."])


def main() -> None:
    """Writes the page, or says that it is not what the record says."""
    text = PAGE.read_text(encoding="utf-8")
    new = written(text, recorded("scoreboard"))
    if "--check" in sys.argv[1:]:
        if new != text:
            raise SystemExit("book/scoreboard.md is not what is recorded: python -m tools.scoreboard")
        return
    PAGE.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
