"""Pictures of what a memory knows draw the data that they are given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from metarl_lite.lesson import plot
from metarl_lite.lesson.plot import probe as plot_probe


def texts(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_readings_show_the_spread_at_each_true_value() -> None:
    _, ax = plot.figure()
    exact = torch.tensor([0.5, 0.25]).repeat_interleave(101)
    read = torch.cat([torch.linspace(0, 1, 101), torch.linspace(0.2, 0.4, 101)]).requires_grad_()
    plot_probe.readings(ax, exact, read, "probe")
    diagonal, points = ax.lines
    assert np.asarray(diagonal.get_xdata()).tolist() == np.asarray(diagonal.get_ydata()).tolist() == [0.25, 0.5]
    np.testing.assert_allclose(points.get_xydata(), [[0.25, 0.3], [0.5, 0.5]], atol=1e-6)
    segments = np.array([path.vertices for path in ax.collections[0].get_paths()])  # [2, 2, 2]
    np.testing.assert_allclose(segments[..., 1], [[0.21, 0.39], [0.05, 0.95]], atol=1e-6)


def test_a_map_has_its_columns_along_x_and_its_rows_upwards() -> None:
    _, ax = plot.figure()
    values = torch.zeros(3, 3)
    values[2, 0], values[0, 1], values[1, 1] = 1.0, 0.25, 1.5  # column 2, row 0: the lower right corner
    plot_probe.grid_map(ax, values, at=(0, 1), goal=(2, 0))
    image = np.asarray(ax.images[0].get_array())
    assert (image[0, 2], image[1, 0]) == (1.0, 0.25)
    assert ax.images[0].origin == "lower"
    assert ax.images[0].get_clim() == (0.0, 1.0)
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert (written[2, 0], written[0, 1], written[1, 1], written[0, 0]) == ("1.00", ".25", "1.50", ".00")
    assert np.asarray(ax.lines[0].get_xydata()).tolist() == [[0, 1]]
    frame: Any = ax.patches[0]
    assert frame.get_center() == pytest.approx((2, 0))


def test_a_search_has_a_row_to_a_map_and_a_column_to_a_step() -> None:
    exact = torch.arange(20.0).reshape(5, 4) / 20  # [L, S], 2 x 2 cells
    fig = plot_probe.search({"exact": exact, "read": exact + 0.01}, [0, 3], torch.tensor([2, 0, 0, 1, 0]), [1, 0])
    assert len(fig.axes) == 4
    assert [ax.get_title() for ax in fig.axes] == ["before step 1", "before step 4", "", ""]
    assert [ax.get_ylabel() for ax in fig.axes] == ["exact", "", "read", ""]
    np.testing.assert_allclose(np.asarray(fig.axes[1].images[0].get_array()), exact[3].reshape(2, 2).T)
    assert np.asarray(fig.axes[3].images[0].get_array())[0, 0] == pytest.approx(0.61)
    assert np.asarray(fig.axes[0].lines[0].get_xydata()).tolist() == [[1, 0]]  # cell 2 is column 1, row 0
    assert np.asarray(fig.axes[1].lines[0].get_xydata()).tolist() == [[0, 1]]


def test_beliefs_mark_the_arm_that_is_pulled() -> None:
    _, ax = plot.figure()
    plot_probe.beliefs(ax, torch.tensor([[0.5, 0.5], [0.5, 0.67], [0.5, 0.5]]), torch.tensor([[1], [1], [0]]))
    np.testing.assert_allclose(np.asarray(ax.images[0].get_array()), [[0.5, 0.5, 0.5], [0.5, 0.67, 0.5]])
    assert np.asarray(ax.lines[0].get_xydata()).tolist() == [[0, 1], [1, 1], [2, 0]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1", "2"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "3"]


def test_bars_of_staying_pair_common_and_rare() -> None:
    table = torch.tensor([[0.9, 0.2], [0.3, 0.8]])
    fig = plot_probe.stays({"one": table, "two": 1 - table})
    first, second = fig.axes
    bars = sorted(first.patches, key=lambda bar: bar.get_x())
    assert [bar.get_height() for bar in bars] == pytest.approx([0.9, 0.2, 0.3, 0.8])
    assert [bar.get_hatch() or "" for bar in bars] == ["", "//", "", "//"]
    assert len({to_hex(bar.get_facecolor()) for bar in bars}) == 2
    assert sorted(texts(first)) == ["0.20", "0.30", "0.80", "0.90"]
    assert (first.get_title(), second.get_title(), first.get_ylabel()) == ("one", "two", "probability of staying")
    assert first.get_legend_handles_labels()[1] == ["common transition", "rare transition"]


def test_effects_are_points_that_differ_without_colour() -> None:
    _, ax = plot.figure()
    plot_probe.effects(
        ax, torch.tensor([[0.5, 0.1], [0.6, 0.2]]), [[0.6, -0.3]], {"best": (0.67, -0.4), "RL2": (0.66, -0.3)}
    )
    without, with_model, best, mine, zero = ax.lines
    assert np.asarray(without.get_xydata()) == pytest.approx(np.array([[0.5, 0.1], [0.6, 0.2]]))
    assert np.asarray(with_model.get_xydata()).tolist() == [[0.6, -0.3]]
    assert np.asarray(mine.get_xydata()).tolist() == [[0.66, -0.3]]
    assert len({line.get_marker() for line in (without, with_model, best, mine)}) == 4
    assert np.asarray(zero.get_ydata()).tolist() == [0, 0]
    assert ax.get_legend_handles_labels()[1] == ["without a model", "with a model", "best", "RL2"]
