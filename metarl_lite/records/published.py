"""Tables that others have published, to lay our numbers beside: the values, where they stand, how sure they are."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from .results import recorded

#: What sets a row of a table apart: (n, k) for bandits, (n,) for decision processes.
Row = tuple[int, ...]


def recorded_runs(name: str) -> dict[str, dict[str, Any]]:
    """The runs of one of our records by name: as many as are recorded so far, and none before the first."""
    try:
        runs: dict[str, dict[str, Any]] = recorded(name)["runs"]
    except ValueError:
        return {}
    return runs


@dataclass(frozen=True)
class Published:
    """A table of mean total rewards, each over the same number of tasks.

    Attributes:
        source: the paper.
        where: the section and table there.
        instances: tasks that each mean is taken over.
        means: by row, and in it by method, as printed.
        errors: by row the standard error of one such mean. The paper does not print it: it is the standard deviation of
            the total reward of one trial, by simulation of the stated tasks, divided by the root of `instances`.
        record: the name of our own record of the same tasks.
        digits: decimals that are printed.
    """

    source: str
    where: str
    instances: int
    means: dict[Row, dict[str, float]]
    errors: dict[Row, float]
    record: str
    digits: int = 1

    def ours(self) -> dict[Row, dict[str, Any]]:
        """Our runs by row, as many as are recorded so far: those of a name such as "n=10, k=5" are in row (10, 5)."""
        runs = recorded_runs(self.record).items()
        by_row = {
            tuple(int(size) for size in re.findall(r"\w=(\d+)", name)): run
            for name, run in runs
        }
        return {row: by_row[row] for row in self.means if row in by_row}

    def distance(
        self, row: Row, method: str, value: float, error: float = 0.0
    ) -> float:
        r"""How far a published mean lies above a value, in standard errors of their difference.

        $$ z = \frac{\bar x - v}{\sqrt{s^2 + u^2 / 12 + s_v^2}} $$

        where $\bar x$ is the mean as printed, s its standard error, u the unit of its last digit, $s_v$ = `error` the
        standard error of the value. Rounding adds the variance of a number that is uniform over a unit. The two means
        are taken to be independent, that is over different tasks. By chance alone z is beyond 2, on either side, once
        in twenty times.

        Raises:
            ValueError: for a row or a method that the table does not have.
        """
        return (self._mean(row, method) - value) / math.hypot(self._error(row), error)

    def difference(self, row: Row, method: str, rival: str) -> tuple[float, float]:
        r"""What a method earned more than a rival, and the standard error $\sqrt{2 (s^2 + u^2 / 12)}$ of that.

        If both were run on the same tasks, which the paper does not say, the error is smaller.

        Raises:
            ValueError: for a row or a method that the table does not have.
        """
        return self._mean(row, method) - self._mean(row, rival), math.sqrt(
            2
        ) * self._error(row)

    def best_rival(self, row: Row, method: str = "rl2") -> str:
        """The method, other than this one, that has the highest published mean in a row."""
        self._mean(row, method)
        return max(
            (name for name in self.means[row] if name != method),
            key=self.means[row].__getitem__,
        )

    def beside_ours(self, rival: str) -> str:
        """The table of RL2 as text: published, and the best rival there; ours, and the paired difference to a rival.

        The z is that of two printed columns, RL2 less the best rival there, as two independent means. After each own
        mean stands its standard error over tasks, and the steps of its training in millions, with those of the agents
        that its run went on from. Rows that are not recorded yet say so.
        """
        sizes = ("n", "k")[: len(next(iter(self.means)))]
        head = (
            "".join(f"{size:>4}" for size in sizes)
            + "     RL²  best rival there     z  "
        )
        lines = ["published".rjust(len(head) - 15).ljust(len(head)) + "ours"]
        lines += [head + f"           RL²         minus {rival} steps (M)"]
        ours = self.ours()
        for row in self.means:
            best, (gap, error) = (
                self.best_rival(row),
                self.difference(row, "rl2", self.best_rival(row)),
            )
            text = (
                "".join(f"{size:4}" for size in row) + f"{self._mean(row, 'rl2'):8.1f}"
            )
            text += f"{self._mean(row, best):9.1f} {best:8}{gap / error:+6.1f}  "
            lines.append(
                text + (_own(ours[row], rival) if row in ours else "not yet recorded")
            )
        return "\n".join(lines)

    def _mean(self, row: Row, method: str) -> float:
        if row not in self.means or method not in self.means[row]:
            rows, methods = list(self.means), list(next(iter(self.means.values())))
            raise ValueError(
                f"no cell {row!r}, {method!r} in {self.where}: rows are {rows}, "
                f"methods {methods}."
            )
        return self.means[row][method]

    def _error(self, row: Row) -> float:
        return math.sqrt(self.errors[row] ** 2 + 10 ** (-2 * self.digits) / 12)


def _own(run: dict[str, Any], rival: str) -> str:
    """What is recorded of a run, for a line of the table."""
    mean, other = run["return"], run["others"].get(rival)
    digits = 3 if mean[0] < 10 else 2
    text = f"{mean[0]:9.{digits}f} ± {mean[1]:.{digits}f}"
    text += (
        "{:+9.{d}f} ± {:.{d}f}".format(*other["difference"], d=digits)
        if other
        else 17 * " "
    )
    return text + f"{run['total_steps'] / 1e6:8.0f}"


def _table(methods: str, rows: dict[Row, str]) -> dict[Row, dict[str, float]]:
    """Means by row and method, from lines of text as they stand in the paper."""
    names = methods.split()
    return {
        row: dict(zip(names, map(float, line.split()), strict=True))
        for row, line in rows.items()
    }


RL2_PAPER = "Duan et al. (2016)"
#: Bernoulli bandits: n pulls of k arms.
BANDITS = Published(
    RL2_PAPER,
    "section 3.1, table 1",
    1000,
    _table(
        "random gittins thompson ots ucb1 epsilon-greedy greedy rl2",
        {
            (10, 5): "5.0 6.6 5.7 6.5 6.7 6.6 6.6 6.7",
            (10, 10): "5.0 6.6 5.5 6.2 6.7 6.6 6.6 6.7",
            (10, 50): "5.1 6.5 5.2 5.5 6.6 6.5 6.5 6.8",
            (100, 5): "49.9 78.3 74.7 77.9 78.0 75.4 74.8 78.7",
            (100, 10): "49.9 82.8 76.7 81.4 82.4 77.4 77.1 83.5",
            (100, 50): "49.8 85.2 64.5 67.7 84.3 78.3 78.0 84.9",
            (500, 5): "249.8 405.8 402.0 406.7 405.8 388.2 380.6 401.6",
            (500, 10): "249.0 437.8 429.5 438.9 437.1 408.0 395.0 432.5",
            (500, 50): "249.6 463.7 427.2 437.6 457.6 413.6 402.8 438.9",
        },
    ),
    {
        (10, 5): 0.07, (10, 10): 0.07, (10, 50): 0.07,
        (100, 5): 0.51, (100, 10): 0.37, (100, 50): 0.30,
        (500, 5): 2.4, (500, 10): 1.5, (500, 50): 0.75,
    },
    "rl2-bandits",
)  # fmt: skip
#: Random decision processes of ten states and five actions: n episodes of ten steps.
MDPS = Published(
    RL2_PAPER,
    "section 3.2, table 2",
    1000,
    _table(
        "random psrl opsrl ucrl2 beb epsilon-greedy greedy rl2",
        {
            (10,): "100.1 138.1 144.1 146.6 150.2 132.8 134.8 156.2",
            (25,): "250.2 408.8 425.2 424.1 427.8 377.3 368.8 445.7",
            (50,): "499.7 904.4 930.7 918.9 917.8 823.3 769.3 936.1",
            (75,): "749.9 1417.1 1449.2 1427.6 1422.6 1293.9 1172.9 1428.8",
            (100,): "999.4 1939.5 1973.9 1942.1 1935.1 1778.2 1578.5 1913.7",
        },
    ),
    {(10,): 0.8, (25,): 1.8, (50,): 3.6, (75,): 5.3, (100,): 7.0},
    "rl2-mdps",
)
