"""Pulling in a real browser: arrows are placed, moved and deleted, a thing is carried and pasted, a drag runs and stops,
and the next goes on from what it made.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from pipelines.events import Event, Progress
from pipelines.job import Job
from tests.browser.live import Live

SIDE = 64
BOARD = "#canvas-drag"


def scene(seed: int = 0) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def afresh(studio: Live) -> Iterator[Live]:
    """A studio whose tab holds nothing."""
    for name in ("tab Drag", "drag", "move"):
        studio.library.remember("", name, {})
    yield studio


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which a step takes so long that a drag does not end before somebody stops it."""
    say = Job.say

    def late(job: Job, event: Event) -> None:
        say(job, event)
        if isinstance(event, Progress):
            time.sleep(0.4)

    monkeypatch.setattr(Job, "say", late)


def opened(visit: Any, studio: Live, mode: str = "Drag", **settings: Any) -> Page:
    page: Page = visit(studio.url, **settings)
    page.get_by_role("tab", name="Drag").click()
    page.wait_for_selector(f"{BOARD} .canvas")
    page.wait_for_selector(".with-board:visible .expectation:not([data-known=''])", state="attached")
    if mode != "Drag":
        page.locator("#mode-drag").get_by_label(mode).check(force=True)
        kind = "look" if mode == "Appearance" else "thing"
        page.wait_for_selector(f"{BOARD} .canvas[data-pulls={kind}]")
    return page


def bring(page: Page, seed: int = 0) -> None:
    was = page.locator(f"{BOARD} .canvas").get_attribute("data-picture")
    page.set_input_files(f"{BOARD} .open .file", {"name": "a.png", "mimeType": "image/png", "buffer": scene(seed)})
    changed(page, was)


def changed(page: Page, was: str | None) -> None:
    """Wait until another picture is on the canvas."""
    page.wait_for_function(
        "([where, was]) => { const { picture, scale } = document.querySelector(`${where} .canvas`).dataset;"
        "return picture && scale && picture !== was }",
        arg=[BOARD, was or ""],
    )


def at(page: Page, x: int, y: int) -> tuple[float, float]:
    """Where the middle of a pixel of the picture is on the screen."""
    held = page.evaluate(f"({{ ...document.querySelector('{BOARD} .canvas').dataset }})")
    box = page.locator(f"{BOARD} .board canvas").bounding_box()
    return box["x"] + float(held["left"]) + (x + 0.5) * float(held["scale"]), box["y"] + float(held["top"]) + (y + 0.5) * float(held["scale"])  # type: ignore[index]  # fmt: skip


def drag(page: Page, start: tuple[int, int], end: tuple[int, int]) -> None:
    page.mouse.move(*at(page, *start))
    page.mouse.down()
    page.mouse.move(*at(page, (start[0] + end[0]) // 2, (start[1] + end[1]) // 2))
    page.mouse.move(*at(page, *end))
    page.mouse.up()


def holds(page: Page, field: str, value: str, task: str = "drag") -> None:
    """The form holds a value: what was drawn has reached the server, and come back."""
    expect(page.locator(f"#{task}-knob-{field} textarea, #{task}-knob-{field} input").first).to_have_value(value)


def test_arrows_are_placed_moved_deleted_and_brought_back(afresh: Live, visit: Any) -> None:
    page = opened(visit, afresh)
    bring(page)
    drag(page, (10, 12), (30, 20))
    holds(page, "arrows", "10,12 > 30,20")
    for place in ((40, 40), (50, 44)):  # by two taps, as a finger does
        page.mouse.click(*at(page, *place))
    holds(page, "arrows", "10,12 > 30,20; 40,40 > 50,44")
    drag(page, (30, 20), (34, 30))
    holds(page, "arrows", "10,12 > 34,30; 40,40 > 50,44")
    page.get_by_role("button", name="Delete arrow").click()
    holds(page, "arrows", "40,40 > 50,44")
    page.locator(f"{BOARD} .board canvas").focus()
    page.keyboard.press("Control+z")
    holds(page, "arrows", "10,12 > 34,30; 40,40 > 50,44")
    drag(page, (50, 44), (200, 44))
    holds(page, "arrows", f"10,12 > 34,30; 40,40 > {SIDE - 1},44")  # over the edge is at the edge


def test_arrows_by_keyboard_alone(afresh: Live, visit: Any) -> None:
    page = opened(visit, afresh)
    bring(page, 1)
    page.locator(f"{BOARD} .board canvas").focus()
    for key in ("ArrowRight", " ", "ArrowDown", "ArrowDown", " "):  # 2 pixels a step, from the middle
        page.keyboard.press(key)
    holds(page, "arrows", "34,32 > 34,36")
    page.keyboard.press("Delete")
    holds(page, "arrows", "")


def test_a_drag_runs_and_the_next_goes_on_from_its_result(afresh: Live, visit: Any) -> None:
    page = opened(visit, afresh)
    bring(page, 2)
    first = page.locator(f"{BOARD} .canvas").get_attribute("data-picture")
    drag(page, (20, 20), (36, 30))
    page.get_by_role("button", name="Generate").locator("visible=true").click()  # before the arrow was sent
    changed(page, first)
    (made,) = afresh.library.album.latest("", ("drag",), 1)
    assert made.request["arrows"] == "20,20 > 36,30" and made.request["things"]  # it says what was found there
    holds(page, "arrows", "")
    page.get_by_role("button", name="Earlier picture").locator("visible=true").click()
    expect(page.locator(f"{BOARD} .canvas")).to_have_attribute("data-picture", first or "")
    holds(page, "arrows", "20,20 > 36,30")


def test_who_stops_goes_on_from_the_best_so_far(afresh: Live, visit: Any, slow: None) -> None:
    page = opened(visit, afresh)
    bring(page, 3)
    first = page.locator(f"{BOARD} .canvas").get_attribute("data-picture")
    afresh.library.remember("", "drag", {**afresh.library.recall("", "drag"), "steps": 150})
    page.reload()
    page.get_by_role("tab", name="Drag").click()
    changed(page, "")
    drag(page, (20, 20), (36, 30))
    page.get_by_role("button", name="Generate").locator("visible=true").click()
    page.wait_for_selector("#viewer-drag .points:not([hidden])", state="attached")
    expect(page.locator("#viewer-drag .status")).to_contain_text("px to go")
    page.get_by_role("button", name="Stop").locator("visible=true").click()
    expect(page.locator("#viewer-drag .status")).to_contain_text("what there was is kept", timeout=60_000)
    changed(page, first)


def test_a_thing_is_pointed_at_carried_and_made_larger(afresh: Live, visit: Any) -> None:
    page = opened(visit, afresh, "Move")
    bring(page, 4)
    page.mouse.click(*at(page, 30, 30))
    page.wait_for_function(f"document.querySelector('{BOARD} .board-facts').textContent.includes('pull it')")
    drag(page, (30, 30), (40, 36))
    page.wait_for_function(f"/to \\d+, \\d+/.test(document.querySelector('{BOARD} .board-facts').textContent)")
    page.locator(f"{BOARD} .board canvas").focus()
    page.keyboard.press("]")
    expect(page.locator(f"{BOARD} .board-facts")).to_contain_text("1.1 times as large")
    page.get_by_role("button", name="Generate").locator("visible=true").click()
    page.wait_for_selector("#viewer-drag .viewer[data-state=done]", state="attached")
    request = afresh.runner.jobs("")[-1].request
    assert request.task == "move" and request.mask and request.to and request.size == pytest.approx(1.1)


def test_a_thing_is_taken_along_into_another_picture(afresh: Live, visit: Any) -> None:
    page = opened(visit, afresh, "Move")
    bring(page, 5)
    source = page.locator(f"{BOARD} .canvas").get_attribute("data-picture")
    page.mouse.click(*at(page, 30, 30))
    page.get_by_role("button", name="Take along").click()
    expect(page.locator(f"{BOARD} .begin")).to_be_visible()
    bring(page, 6)
    expect(page.locator(f"{BOARD} .board-facts")).to_contain_text("pull it")
    page.get_by_role("button", name="Generate").locator("visible=true").click()
    page.wait_for_selector("#viewer-drag .viewer[data-state=done]", state="attached")
    request = afresh.runner.jobs("")[-1].request
    assert request.gesture == "paste" and request.other == source and request.mask


def test_a_thing_takes_on_the_look_of_one_in_another_picture(afresh: Live, visit: Any) -> None:
    page = opened(visit, afresh, "Appearance")
    bring(page, 5)
    source = page.locator(f"{BOARD} .canvas").get_attribute("data-picture")
    page.mouse.click(*at(page, 30, 30))
    page.get_by_role("button", name="Take as reference").click()
    expect(page.locator(f"{BOARD} .board-facts")).to_contain_text("select what should look like the reference")
    expect(page.locator(f"{BOARD} .board-facts")).not_to_contain_text("masked")
    bring(page, 6)
    page.mouse.click(*at(page, 30, 30))
    expect(page.locator(f"{BOARD} .board-facts")).to_contain_text("% masked")
    page.get_by_role("button", name="Generate").locator("visible=true").click()
    page.wait_for_selector("#viewer-drag .viewer[data-state=done]", state="attached")
    request = afresh.runner.jobs("")[-1].request
    assert request.task == "appearance" and request.other == source and request.look and request.mask
    assert request.source != source


def test_a_phone_pulls_with_a_finger_and_hits_every_tool(afresh: Live, visit: Any) -> None:
    page = opened(visit, afresh, width=390, height=844, has_touch=True, is_mobile=True)
    bring(page, 7)
    for place in ((10, 12), (30, 20)):
        page.touchscreen.tap(*at(page, *place))
    holds(page, "arrows", "10,12 > 30,20")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    small = page.evaluate(
        f"[...document.querySelectorAll('{BOARD} button, {BOARD} summary')].filter((each) => each.offsetParent)"
        ".map((each) => [each.getAttribute('aria-label') || each.textContent, each.getBoundingClientRect()])"
        ".filter(([, box]) => Math.min(box.width, box.height) < 43).map(([name]) => name)"
    )
    assert small == []
