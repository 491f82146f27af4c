"""Pictures: deterministic, small, with an alt text, and without a trace in matplotlib's state."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from metarl_lite.lesson import page, plot

ALT = "Return rises from -40 to -17 in five meta-iterations."
Bundle = tuple[dict[str, str], dict[str, Any]]


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[Bundle]:
    bundles: list[Bundle] = []
    monkeypatch.setattr(plot.charts, "publish", lambda data, metadata=None: bundles.append((data, metadata or {})))
    return bundles


def every_chart() -> Figure:
    """A figure in which every helper draws something, from tensors with grad, arrays and lists."""
    gen = torch.Generator().manual_seed(0)
    fig, axes = plot.figure(width=8, height=9, columns=2, rows=4)
    x, y = torch.arange(20), torch.randn(20, generator=gen, requires_grad=True)
    plot.curve(axes[0], x, y, "adapted", y - 1, y + 1, role="adapted")
    plot.curve(axes[0], range(3), [1.0, 2.0, 3.0], "next", markers=False)
    plot.reference(axes[0], 0.5, "oracle", role="oracle")
    plot.reference(axes[0], torch.tensor(-0.5), "chance", role="chance", at=0.01)
    plot.bars(axes[1], ["a", "b"], [-1.0, 2.0], [-2.0, 1.0], [0.0, 3.0])
    plot.bars(axes[2], ["a", "b"], torch.tensor([0.2, 0.4]), points=True, role=["before", 3])
    plot.histogram(axes[3], torch.randn(50, generator=gen), "samples", role="before")
    plot.heat(axes[4], [[1.0, float("nan")], [0.0, 3.0]], digits=1, rows=["r", "s"], columns=["c", "d"], bar="p")
    plot.batch(axes[5], torch.randn(2, 3, 5, generator=gen), bar="reward")
    plot.batch(axes[6], torch.rand(3, 5, generator=gen), limits=(0.0, 1.0))
    plot.trajectories(axes[7], torch.randn(3, 9, 2, generator=gen), goal=[0.1, 0.2], label="paths")
    return fig


def decoded(data: dict[str, str]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data["image/png"])))


def test_show_publishes_a_png_with_its_alt_text(published: list[Bundle]) -> None:
    fig, ax = plot.figure()
    plot.curve(ax, [0, 1], [0, 1], "line")
    plot.show(fig, ALT)
    data, metadata = published[0]
    assert metadata["image/png"] == {"alt": ALT, "width": 560}
    assert data["text/plain"] == f"[Figure: {ALT}]"
    picture = decoded(data)
    assert picture.format == "PNG"
    assert picture.size == (840, 510)
    assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_the_same_figure_gives_the_same_small_png_without_dates(published: list[Bundle]) -> None:
    plot.show(every_chart(), ALT)
    plot.show(every_chart(), ALT)
    assert published[0] == published[1]
    assert len(published[0][0]["image/png"]) < 80_000
    assert decoded(published[0][0]).info.keys() <= {"dpi", "transparency"}


def test_charts_draw_the_data() -> None:
    fig = every_chart()
    axes = fig.axes
    low, high = axes[0].lines[0].get_ydata(), axes[0].lines[1].get_ydata()
    assert np.asarray(low).shape == (20,)
    np.testing.assert_array_equal(np.asarray(high), [1.0, 2.0, 3.0])
    assert [bar.get_width() for bar in axes[1].patches] == [-1.0, 2.0]
    assert [text.get_text().strip() for text in axes[1].texts] == ["-1.00", "2.00"]
    assert [text.get_text() for text in axes[4].texts] == ["1.0", "0.0", "3.0"]
    assert axes[5].images[0].get_array().shape == (6, 5)  # type: ignore[union-attr]
    assert [label.get_text() for label in axes[5].get_yticklabels()] == ["task 0", "task 1"]


def test_signed_values_get_a_scale_that_is_even_about_zero() -> None:
    _, ax = plot.figure()
    plot.heat(ax, [[-1.0, 3.0]])
    assert ax.images[0].get_clim() == (-3.0, 3.0)


def test_a_role_looks_the_same_wherever_it_is_drawn_and_curves_differ_without_colour() -> None:
    looks = [plot.look(number) for number in range(6)]
    assert len({str(one["linestyle"]) for one in looks}) == len({one["marker"] for one in looks}) == 6
    assert plot.look("adapted") == looks[0]
    _, ax = plot.figure()
    for number in range(3):
        plot.reference(ax, number, "a line between does not count")
        plot.curve(ax, [0, 1], [0, number])
    curves = [line for line in ax.lines if line.get_gid() == "curve"]
    assert [line.get_color() for line in curves] == [one["color"] for one in looks[:3]]


def test_an_unknown_role_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"role 'orakel' is unknown; use one of adapted, .*oracle"):
        plot.look("orakel")


def test_one_legend_below_holds_each_label_once(published: list[Bundle]) -> None:
    fig, axes = plot.figure(columns=2)
    for ax in axes:
        plot.curve(ax, [0, 1], [0, 1], "adapted", role="adapted")
        plot.curve(ax, [0, 1], [1, 0], "before", role="before")
    plot.show(fig, ALT)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["adapted", "before"]


@pytest.mark.parametrize("alt", ["", "A curve.", "  spaced      out    "])
def test_a_poor_alt_text_is_refused_with_an_example(alt: str) -> None:
    fig, _ = plot.figure()
    with pytest.raises(ValueError, match=r"at least 20 characters .* such as 'Return after one step"):
        plot.show(fig, alt)
    with pytest.raises(ValueError, match="at least 20 characters"):
        plot.animate(lambda ax, t: None, 3, alt)


def test_matplotlib_is_left_as_it_was(published: list[Bundle]) -> None:
    before = dict(mpl.rcParams)
    plot.show(every_chart(), ALT)
    plot.animate(lambda ax, t: ax.plot([0, t]), 2, ALT)
    assert dict(mpl.rcParams) == before


def test_pyplot_is_never_imported_and_a_script_gets_the_alt_text() -> None:
    script = (
        "import sys; from metarl_lite.lesson import plot; fig, ax = plot.figure(); plot.curve(ax, [0, 1], [0, 1]);"
        f"plot.show(fig, {ALT!r}); assert 'matplotlib.pyplot' not in sys.modules and 'IPython' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"[Figure: {ALT}]\n"


# --- Films --------------------------------------------------------------------------------------------------------


def film(published: list[Bundle], frames: Any = 5, **options: Any) -> str:
    def draw(ax: Any, t: int) -> None:
        ax.plot([0, t], [0, t])
        ax.set(xlim=(0, 5), ylim=(0, 5), title=f"step {t}")

    plot.animate(draw, frames, ALT, **options)
    return published[-1][0]["text/html"]


def films(html: str) -> list[str]:
    match = re.search(r"var frames = (\[.*?\])", html)
    assert match
    return list(json.loads(match[1]))


def test_a_film_is_one_deterministic_piece_of_html_without_network(published: list[Bundle]) -> None:
    html = film(published)
    assert html == film(published)
    assert published[0][0]["text/plain"] == f"[Animation: {ALT}]"
    assert "$" not in re.sub(r"base64,[^\"]*", "", html)
    assert "http" not in html
    assert f'alt="{ALT}"' in html
    assert len(films(html)) == 5
    assert 'aria-label="Frame of the animation"' in html
    assert re.search(r'id="(mrl-[0-9a-f]{12})"', html)
    assert film(published, frames=4) != html


def test_forty_frames_stay_below_200_kb(published: list[Bundle]) -> None:
    gen = torch.Generator().manual_seed(0)
    path = torch.randn(3, 40, 2, generator=gen).mul(0.03).cumsum(dim=1)
    plot.animate(lambda ax, t: plot.trajectories(ax, path[:, : t + 1], [0.3, 0.3]), 40, ALT)
    assert len(published[0][0]["text/html"]) < 200_000


@pytest.mark.parametrize(("still", "empty"), [(-1, 4), (0, 0), (2, 2)])
def test_the_still_frame_is_the_picture_and_the_others_are_what_differs(
    published: list[Bundle], still: int, empty: int
) -> None:
    html = film(published, still=still)
    assert [place for place, data in enumerate(films(html)) if not data] == [empty]
    assert f"now = {empty}," in html


def test_frame_over_still_is_the_frame_that_was_drawn() -> None:
    gen = np.random.default_rng(0)
    colours = np.array([[255, 255, 255], [0, 114, 178], [213, 94, 0]], dtype=np.uint8)
    frames = [Image.fromarray(colours[gen.integers(0, 3, (40, 30))]) for _ in range(4)]
    html = page.player(frames, 'an "alt" of <words> and $W', 100, 300, still=1)
    assert "an &quot;alt&quot; of &lt;words&gt; and $W" in html
    match = re.search(r'src="data:image/png;base64,([^"]*)"', html)
    assert match
    still = Image.open(io.BytesIO(base64.b64decode(match[1]))).convert("RGBA")
    for frame, data in zip(frames, films(html), strict=True):
        shown = still.copy()
        if data:
            shown.alpha_composite(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))
        np.testing.assert_array_equal(np.asarray(shown.convert("RGB")), np.asarray(frame))


def test_frames_may_be_items_and_axes_several(published: list[Bundle]) -> None:
    seen = []

    def draw(axes: Any, item: str) -> None:
        seen.append(item)
        assert len(axes) == 2

    plot.animate(draw, ["a", "b"], ALT, columns=2)
    assert seen == ["a", "b"]
    with pytest.raises(ValueError, match="no frames"):
        plot.animate(draw, [], ALT)
