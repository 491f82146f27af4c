"""Pictures of the grid with four buses: what is drawn is where it should be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from matplotlib.text import Annotation

from metarl_lite.lesson import plot
from metarl_lite.tasks.bus_grid import BusGrid


def test_every_bus_has_a_line_to_the_corner_of_its_task() -> None:
    _, ax = plot.figure()
    buses = torch.tensor([3, 1, 0, 2])
    plot.buses.world(ax, buses, "task")
    lines = [t for t in ax.texts if t.get_text() == ""]
    assert [tuple(map(int, t.xy)) for t in lines] == [tuple(c) for c in BusGrid.corners[buses].tolist()]
    assert [tuple(map(int, t.get_position())) for t in lines] == [tuple(c) for c in BusGrid.stops.tolist()]
    named = {t.get_text(): tuple(map(int, t.get_position())) for t in ax.texts if t.get_text()}
    assert named["S"] == (2, 2)
    assert named["M"] == (1, 4)
    assert ax.get_title() == "task"
    _, bare = plot.figure()
    plot.buses.world(bare)
    assert not [t for t in bare.texts if t.get_text() == ""]


def test_every_corner_has_its_number() -> None:
    _, ax = plot.figure()
    plot.buses.world(ax)
    for number, (column, row) in enumerate(BusGrid.corners.tolist()):
        (label,) = [t for t in ax.texts if t.get_text() == f"corner {number}"]
        x, y = label.get_position()
        assert x == column
        assert 0.2 < abs(y - row) < 0.5


def test_no_line_of_a_bus_runs_over_a_stop_the_start_or_the_map() -> None:
    """For every bus and corner: the path as matplotlib draws it, against the cells that are marked."""
    _, ax = plot.figure()
    for buses in ([0, 1, 2, 3], [1, 2, 3, 0], [2, 3, 0, 1], [3, 0, 1, 2]):
        ax.clear()
        plot.buses.world(ax, torch.tensor(buses))
        ax.figure.canvas.draw()
        for bus, line in enumerate(t for t in ax.texts if t.get_text() == ""):
            assert isinstance(line, Annotation)
            assert line.arrow_patch is not None
            style: Any = line.arrow_patch.get_connectionstyle()
            start, middle, end = map(torch.tensor, style.connect(line.get_position(), line.xy).vertices)
            share = torch.linspace(0, 1, 50).unsqueeze(1)
            path = (1 - share) ** 2 * start + 2 * share * (1 - share) * middle + share**2 * end
            rest = [BusGrid.stops[k] for k in range(4) if k != bus]
            away = torch.cdist(path.double(), torch.stack([*rest, BusGrid.start, BusGrid.map_cell]).double())
            assert away.min() > 0.35  # the map's square, 24 of about 50 points a cell, reaches 0.34 to its corner


def test_a_way_is_where_its_cells_are() -> None:
    _, ax = plot.figure()
    cells = torch.tensor([[2, 2], [1, 2], [1, 3], [1, 4]])
    plot.buses.way(ax, cells, "explorer", "adapted", shift=0.1)
    path, first, last = ax.lines
    assert path.get_xydata().ravel().tolist() == pytest.approx((cells + 0.1).flatten().tolist())
    assert first.get_xydata().ravel().tolist() == pytest.approx([2.1, 2.1])
    assert last.get_xydata().ravel().tolist() == pytest.approx([1.1, 4.1])
    assert ax.get_legend_handles_labels()[1] == ["explorer"]


def test_gains_are_bars_with_their_numbers() -> None:
    _, ax = plot.figure()
    plot.buses.gains(ax, torch.tensor([-0.01, 1.38]), ["right", "ride"])
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([-0.01, 1.38])
    assert [t.get_text() for t in ax.texts] == ["-0.01", "1.38"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["right", "ride"]
