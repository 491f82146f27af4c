"""Pictures of a memory draw what they say: trials whose memory is kept, the numbers that are read, the arms pulled."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle

from metarl_lite.lesson import plot
from metarl_lite.lesson.plot import memory as plot_memory
from metarl_lite.lesson.plot.style import COLOURS


def words(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize(("episodes", "steps"), [(3, 3), (2, 5)])
def test_a_memory_runs_through_a_trial_and_there_are_two(episodes: int, steps: int) -> None:
    _, ax = plot.figure()
    plot_memory.trials_diagram(ax, episodes, steps)
    boxes = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    dots = [place for scatter in ax.collections for place in np.asarray(scatter.get_offsets())]
    assert len(boxes) == 2 * episodes
    assert len(dots) == 2 * episodes * steps
    assert words(ax).count("h = 0") == 2, "one beginning to a trial, not one to an episode"
    assert [text for text in words(ax) if "task" in text] == [
        "trial 0: task A in every episode", "trial 1: task B in every episode",
    ]  # fmt: skip
    for row in (0.0, -3.0):  # the arrow of memory begins before the first episode and ends after the last
        memory = [a for a in ax.texts if getattr(a, "xy", None) == (11.2, row)]
        assert len(memory) == 1
        inside = [box for box in boxes if box.get_y() < row < box.get_y() + box.get_height()]
        assert len(inside) == episodes
        assert all(box.get_x() > 0.5 and box.get_x() + box.get_width() < 11.2 for box in inside)


def test_every_dot_lies_in_the_box_of_its_episode() -> None:
    _, ax = plot.figure()
    plot_memory.trials_diagram(ax, episodes=4, steps=2)
    boxes = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    for box, scatter in zip(boxes, ax.collections, strict=True):
        for x, y in np.asarray(scatter.get_offsets()):
            assert box.get_x() < x < box.get_x() + box.get_width()
            assert box.get_y() < y < box.get_y() + box.get_height()


def test_a_step_reads_the_last_reward_and_done_and_puts_out_policy_and_value() -> None:
    _, ax = plot.figure()
    plot_memory.step_diagram(ax)
    said = words(ax)
    for name in ("observation $o_j$", "last action $a_{j-1}$", "last reward $r_{j-1}$", "done $d_{j-1}$", "GRU",
                 "$h_j$", "$h_{j+1}$", "policy: $a_j$", "value: $V_j$", "task"):  # fmt: skip
        assert said.count(name) == 1, name


def test_what_is_read_has_a_row_to_a_number_and_a_line_to_an_end() -> None:
    inputs = torch.arange(18.0).reshape(6, 3)
    _, ax = plot.figure()
    plot_memory.read(ax, inputs, ["one", "two", "three"], steps=2)
    image = ax.images[0].get_array()
    assert image is not None
    np.testing.assert_array_equal(np.asarray(image), inputs.T.numpy())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one", "two", "three"]
    ends = [segment[0, 0] for segment in ax.collections[0].get_segments()]  # type: ignore[attr-defined]
    assert ends == [1.5, 3.5], "two inner ends of three episodes of two steps"


def test_wins_are_filled_and_losses_hollow_in_the_arms_colour() -> None:
    arms, wins = torch.tensor([[0, 1, 1], [4, 4, 0]]), torch.tensor([[1.0, 0, 1], [0, 0, 1]])
    _, ax = plot.figure()
    plot_memory.pulls(ax, arms, wins)
    circles = [patch for patch in ax.patches if isinstance(patch, Circle)]
    assert len(circles) == 6
    for circle, text, arm, won in zip(circles, ax.texts, arms.flatten().tolist(), wins.flatten().tolist(), strict=True):
        row, column = divmod(circles.index(circle), 3)
        assert circle.center == (column + 1, row)
        assert text.get_text() == str(arm)
        assert mpl.colors.to_hex(circle.get_edgecolor()).upper() == COLOURS[arm]
        assert mpl.colors.to_hex(circle.get_facecolor()).upper() == (COLOURS[arm] if won else "#FFFFFF")


def luminance(colour: object) -> float:
    """Relative luminance, as WCAG defines it."""
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in mpl.colors.to_rgb(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_number_in_a_circle_can_be_read() -> None:
    _, ax = plot.figure()
    plot_memory.pulls(ax, torch.arange(6)[None], torch.ones(1, 6))
    for circle, text in zip(ax.patches, ax.texts, strict=True):
        low, high = sorted((luminance(circle.get_facecolor()), luminance(text.get_color())))
        assert (high + 0.05) / (low + 0.05) >= 4.5
