"""What a notebook shows is published here: MIME bundles, small PNGs with an alt text, films as HTML players.

A player is one self-contained piece of HTML: no network, no autoplay, a still picture where no script runs.
It holds the still frame once, and of every other frame only the pixels that differ from it (a transparent PNG
to be drawn over the still), which makes a film of 40 frames a matter of 50 to 150 KB.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[Any]
PAGE = """<div id="$ID" class="mrl-player" style="max-width:$WIDTHpx;margin:0.5em 0">
<div style="position:relative;line-height:0;background:#fff">
<img src="data:image/png;base64,$STILL" alt="$ALT" class="dark-light" style="width:100%;height:auto;margin:0;\
padding:0!important;border:0!important;filter:none!important">
<canvas width="$W" height="$H" aria-hidden="true" style="position:absolute;left:0;top:0;width:100%;\
height:100%"></canvas>
</div>
<div class="mrl-controls" role="group" aria-label="Animation controls" hidden \
style="gap:0.6em;align-items:center;padding:0.3em 0;font-family:sans-serif;font-size:14px">
<button type="button" style="min-width:5em;min-height:2.2em;padding:0.2em 0.8em;font:inherit;color:inherit;\
background:transparent;border:1px solid currentColor;border-radius:4px;cursor:pointer">Play</button>
<input type="range" min="0" max="$LAST" value="$START" step="1" aria-label="Frame of the animation" \
style="flex:1;min-width:4em">
<output style="min-width:5em;text-align:right">$NUMBER / $COUNT</output>
</div>
<script>
(function () {
  var frames = $FRAMES, interval = $INTERVAL;
  document.querySelectorAll('[id="$ID"]:not([data-ready])').forEach(function (root) {
    root.setAttribute('data-ready', '');
    var canvas = root.querySelector('canvas'), pen = canvas.getContext('2d');
    var controls = root.querySelector('.mrl-controls'), button = root.querySelector('button');
    var slider = root.querySelector('input'), counter = root.querySelector('output');
    var still = root.querySelector('img'), films = [], now = $START, timer = null;
    function draw() {
      pen.clearRect(0, 0, canvas.width, canvas.height);
      if (frames[now]) { pen.drawImage(still, 0, 0); }
      if (films[now] && films[now].complete) { pen.drawImage(films[now], 0, 0); }
      slider.value = now;
      slider.setAttribute('aria-valuetext', 'frame ' + (now + 1) + ' of ' + frames.length);
      counter.textContent = (now + 1) + ' / ' + frames.length;
    }
    frames.forEach(function (data, index) {
      if (!data) { films.push(null); return; }
      var film = new Image();
      film.onload = function () { if (index === now) { draw(); } };
      film.src = 'data:image/png;base64,' + data;
      films.push(film);
    });
    function stop() { clearInterval(timer); timer = null; button.textContent = 'Play'; }
    function next() { if (now >= frames.length - 1) { stop(); } else { now += 1; draw(); } }
    button.addEventListener('click', function () {
      if (timer !== null) { stop(); return; }
      if (now >= frames.length - 1) { now = 0; draw(); }
      button.textContent = 'Pause';
      timer = setInterval(next, interval);
    });
    slider.addEventListener('input', function () { stop(); now = Number(slider.value); draw(); });
    controls.hidden = false;
    controls.style.display = 'flex';
    draw();
  });
})();
</script>
</div>"""


def player(
    frames: Sequence[Image.Image],
    alt: str,
    interval_ms: int,
    width: int,
    still: int,
    colours: int = 64,
) -> str:
    """Pictures of one size become an HTML player with a button, a slider and a frame counter.

    Nothing moves before the reader presses Play, and it stops at the end, which is what a reader who prefers
    reduced motion needs. The id is a hash of the content, so the same frames give the same bytes.

    Args:
        frames: RGB pictures of one size.
        alt: alternative text of the still frame.
        interval_ms: milliseconds from frame to frame.
        width: greatest width on the page, in CSS pixels.
        still: index of the frame that is shown first, and without scripts (negative: from the end).
        colours: size of the palette that all frames share (at most 255).
    """
    still %= len(frames)
    pixels, palette = _one_palette(frames, colours)
    base = pixels[still]
    films = [
        ""
        if np.array_equal(p, base)
        else _encode(np.where(p == base, colours, p), palette, colours)
        for p in pixels
    ]
    values: dict[str, Any] = {
        "STILL": _encode(base, palette), "ALT": html.escape(alt), "WIDTH": width,
        "W": frames[0].width, "H": frames[0].height, "LAST": len(frames) - 1,
        "START": still, "NUMBER": still + 1, "COUNT": len(frames), "INTERVAL": int(interval_ms),
        "FRAMES": json.dumps(films, separators=(",", ":")),
    }  # fmt: skip
    values["ID"] = "mrl-" + hashlib.sha256(json.dumps(values).encode()).hexdigest()[:12]
    return re.sub(r"\$([A-Z]+)", lambda match: str(values[match[1]]), PAGE)


def publish(data: dict[str, str], metadata: dict[str, Any] | None = None) -> None:
    """A bundle of MIME types goes to the notebook; without a notebook its plain text is printed."""
    ipython = sys.modules.get("IPython")  # a plain script need not have it
    if ipython is None or ipython.get_ipython() is None:
        print(data["text/plain"])
    else:
        ipython.display.display(data, raw=True, metadata=metadata or {})


def require_alt(alt: str) -> None:
    """An alt text of 20 characters or more passes; a shorter one raises a ValueError with an example."""
    if len(" ".join(alt.split())) < 20:
        raise ValueError(
            f"the alt text is {alt!r}; write at least 20 characters that say what the "
            "picture shows, such as 'Return after one step rises from -38 to -18 "
            "within 100 meta-iterations.'"
        )


def small_png(picture: Image.Image, colours: int = 128) -> str:
    """A picture in a palette of its own, as a base64 PNG without dates: the same picture, the same bytes."""
    pixels, palette = _one_palette([picture.convert("RGB")], colours)
    return _encode(pixels[0], palette)


def _one_palette(
    frames: Sequence[Image.Image], colours: int
) -> tuple[list[Pixels], list[int]]:
    """All frames in the palette of a sample of them: equal pixels have equal numbers in every frame."""
    sample = [
        frames[index]
        for index in np.linspace(0, len(frames) - 1, min(8, len(frames))).astype(int)
    ]
    strip = Image.new("RGB", (sample[0].width, sample[0].height * len(sample)))
    for place, frame in enumerate(sample):
        strip.paste(frame, (0, place * frame.height))
    common = strip.quantize(
        colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
    )
    palette = np.asarray((common.getpalette() or [])[: 3 * colours]).reshape(
        -1, 3
    )  # [colours, 3]
    palette[(palette >= 245).all(axis=1)] = (
        255  # the background is white, not an average of nearly white
    )
    common.putpalette(palette.ravel().tolist())
    pixels = [
        np.asarray(frame.quantize(palette=common, dither=Image.Dither.NONE))
        for frame in frames
    ]
    return pixels, palette.ravel().tolist() + [255] * (3 * (colours - len(palette)))


def _encode(pixels: Pixels, palette: list[int], transparent: int | None = None) -> str:
    picture = Image.fromarray(pixels.astype(np.uint8))
    picture.putpalette([*palette, 255, 255, 255])
    buffer = io.BytesIO()
    options: dict[str, Any] = (
        {} if transparent is None else {"transparency": transparent}
    )
    picture.save(buffer, format="PNG", optimize=True, **options)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
