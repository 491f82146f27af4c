"""The player of films in a browser: still until asked, and without a script a picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from metarl_lite.lesson.page import player

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

COLOURS = [(200, 0, 0), (0, 150, 0), (0, 0, 180), (250, 200, 0)]
PIXEL = "c => Array.from(c.getContext('2d').getImageData(5, 5, 1, 1).data)"


def film(alt: str = "A square that changes its colour.") -> str:
    pixels = np.full((4, 40, 60, 3), 255, dtype=np.uint8)
    for frame, colour in zip(pixels, COLOURS, strict=True):
        frame[:20, :20] = colour
    return player([Image.fromarray(frame) for frame in pixels], alt, 20, 300, still=-1)


@pytest.fixture
def two_films(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(reduced_motion="reduce", color_scheme="dark")
    page = context.new_page()
    page.set_content(
        f"<body style='background:#111;color:#ddd'>{film()}{film('The same square, another time.')}{film()}"
    )
    yield page
    context.close()


def shown(page: Page, number: int) -> list[int]:
    """The colour that the canvas lays over the still picture; all zeros where it lets the still shine through."""
    return list(page.locator("canvas").nth(number).evaluate(PIXEL))


def test_nothing_moves_until_play_and_it_stops_at_the_end(two_films: Page) -> None:
    counter, button = two_films.locator("output").first, two_films.get_by_role("button").first
    two_films.wait_for_timeout(200)
    assert counter.inner_text() == "4 / 4"
    assert button.inner_text() == "Play"
    button.click()
    two_films.wait_for_function("document.querySelector('output').textContent === '4 / 4'")
    two_films.wait_for_function("document.querySelector('button').textContent === 'Play'")
    assert two_films.locator("output").nth(1).inner_text() == "4 / 4"


def test_the_slider_chooses_the_frame_of_its_own_film(two_films: Page) -> None:
    slider = two_films.get_by_role("slider", name="Frame of the animation")
    for number in (0, 1, 2):  # the first and the third are the same film: same id, separate controls
        for frame, colour in enumerate(COLOURS[:3]):
            slider.nth(number).fill(str(frame))
            assert two_films.locator("output").nth(number).inner_text() == f"{frame + 1} / 4"
            two_films.wait_for_timeout(50)
            assert shown(two_films, number) == [*colour, 255]
        assert slider.nth(number).get_attribute("aria-valuetext") == "frame 3 of 4"
        slider.nth(number).fill("3")
        assert shown(two_films, number) == [0, 0, 0, 0]


def test_the_keyboard_reaches_the_controls(two_films: Page) -> None:
    two_films.keyboard.press("Tab")
    assert two_films.evaluate("document.activeElement.textContent") == "Play"
    two_films.keyboard.press("Tab")
    two_films.keyboard.press("ArrowLeft")
    assert two_films.locator("output").first.inner_text() == "3 / 4"


def test_without_scripts_there_is_a_picture_and_no_dead_control(browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_content(film())
    assert page.get_by_role("img", name="A square that changes its colour.").is_visible()
    assert not page.get_by_role("button").is_visible()
    context.close()
