"""Personalize in a real browser: pictures in, a toy taught for real, followed, paused, found again, kept, used, removed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from pipelines.models.adapters import adapters
from pipelines.tasks.personalize import Personalize
from pipelines.training.backdrops import Backdrop
from pipelines.training.scenes import Item, Scene, draw, places, strangers
from tests.browser.live import Live, chosen
from tests.browser.test_looks import CONTRAST, SIZES, overflow

THING = next(iter(strangers))
WORD, KIND = (f"#personalize-knob-{name} :is(input, textarea)" for name in ("word", "kind"))
SLOW = 120_000  # milliseconds for what the device has to do first


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Three good ones, then one again, a damaged one and a single pixel."""
    names = []
    for k, place in enumerate(list(places)[:3]):
        names.append(tmp_path / f"{place}.png")
        draw(Scene((Item(THING, 0.5, 0.5),), Backdrop(place, k)), 300, 200).save(names[-1])
    again, damaged, dot = tmp_path / "again.jpg", tmp_path / "damaged.png", tmp_path / "dot.png"
    Image.open(names[0]).resize((240, 160)).save(again)
    damaged.write_bytes(names[1].read_bytes()[:900])
    Image.new("RGB", (1, 1)).save(dot)
    return [str(each) for each in (*names, again, damaged, dot)]


@pytest.fixture
def atelier(page: Page, studio: Live) -> Page:
    for each in studio.library.adapters.all(""):
        studio.library.adapters.erase("", each.id)
    return opened(page)


def opened(page: Page) -> Page:
    """The tab, with the settings of last time."""
    page.get_by_role("tab", name="Personalize").click()
    page.wait_for_selector(".course[data-state]")
    expect(page.locator(WORD)).to_be_visible()
    page.wait_for_selector(".expectation:visible:not([data-known=''])")
    return page


def bring(page: Page, pictures: list[str]) -> None:
    page.locator("#tray .file").set_input_files(pictures)
    expect(page.locator(".tray-picture")).to_have_count(3)


def describe(page: Page, word: str, kind: str = "cat", steps: int = 8) -> None:
    """Word and kind, and how many steps, under Advanced."""
    page.fill(WORD, word)
    page.fill(KIND, kind)
    if not page.locator("#personalize-knob-steps").is_visible():
        page.locator(".advanced button.label-wrap:visible").click()
    for name, value in (("steps", steps), ("every", 4)):
        page.locator(f"#personalize-knob-{name} input[type=number]").fill(str(value))
        page.keyboard.press("Tab")


def start(page: Page) -> None:
    page.get_by_role("button", name="Start the training").click()


def deed(page: Page, name: str) -> Locator:
    """A button of the training that the page shows; the queue has some of the same name."""
    return page.locator(".course-deeds").get_by_role("button", name=name, exact=True)


def state(page: Page, name: str) -> None:
    expect(page.locator(".course")).to_have_attribute("data-state", name, timeout=SLOW)


def test_another_way_takes_as_many_steps_as_its_quality_says(atelier: Page) -> None:
    atelier.locator(".advanced button.label-wrap:visible").click()
    quality, steps = (
        atelier.locator(".segmented:visible"),
        atelier.locator("#personalize-knob-steps input[type=number]"),
    )
    chosen(quality.get_by_label("Good"))
    expect(steps).to_have_value("1920")
    for way, count in (("Textual inversion", "1800"), ("Personalized residuals", "1920")):
        atelier.locator("#personalize-knob-method input").first.click()
        atelier.get_by_role("option", name=way).click()
        expect(steps).to_have_value(count)
    expect(quality.get_by_label("Good")).to_be_checked()


def test_pictures_are_shown_with_what_is_wrong_with_them_and_taken_away(atelier: Page, pictures: list[str]) -> None:
    bring(atelier, pictures)
    words = atelier.locator(".tray-words")
    for said in ("again.jpg was left out: it shows the same as", "damaged.png was left out: the picture is damaged",
                 "dot.png was left out: it has 1 x 1 pixels"):  # fmt: skip
        expect(words).to_contain_text(said)
    atelier.get_by_role("button", name=f"Remove {next(iter(places))}.png").click()
    expect(atelier.locator(".tray-picture")).to_have_count(2)
    expect(words).to_contain_text("Three pictures or more")
    atelier.get_by_role("button", name="Remove all").click()
    expect(atelier.locator(".tray-picture")).to_have_count(0)


def test_what_keeps_it_from_being_begun_is_said_before_and_when_it_is_tried(
    atelier: Page, pictures: list[str], studio: Live
) -> None:
    start(atelier)
    expect(atelier.locator(".note:visible")).to_contain_text(re.compile("Word:|Pictures:"))
    atelier.fill(WORD, "No Word!")
    expect(atelier.locator(".note:visible")).to_contain_text("Word:")
    assert all(job.request.task != "personalize" or job.ending for job in studio.runner.jobs())


def test_a_toy_is_taught_paused_found_again_compared_used_and_removed(
    atelier: Page, pictures: list[str], studio: Live, shots: Path
) -> None:
    bring(atelier, pictures)
    describe(atelier, "zorp", steps=400)
    start(atelier)
    expect(atelier.locator(".course-title")).to_have_text("zorp, cat", timeout=SLOW)
    expect(atelier.locator(".course-curve")).to_be_visible(timeout=SLOW)
    expect(atelier.locator(".course-proofs .course-shot").first).to_be_visible(timeout=SLOW)
    deed(atelier, "Pause").click()
    state(atelier, "paused")

    atelier.reload()
    atelier.wait_for_selector(".viewer")
    page = opened(atelier)
    state(page, "paused")
    expect(page.locator(".tray-picture")).to_have_count(3)
    expect(page.locator(WORD)).to_have_value("zorp")
    before = len(page.locator(".curve-raw").get_attribute("d") or "")
    deed(page, "Go on").click()
    state(page, "working")
    page.wait_for_function(f"document.querySelector('.curve-raw').getAttribute('d').length > {before}", timeout=SLOW)
    deed(page, "Stop and keep").click()
    state(page, "done")
    expect(page.locator(".course-compare .course-shot").first).to_be_visible(timeout=SLOW)
    page.screenshot(path=str(shots / "done.png"))
    assert "zorp" in adapters

    expect(page.locator(".course-adapter")).to_contain_text("zorp")
    page.get_by_role("button", name="Use in Create: zorp").click()
    expect(page.locator("#knob-prompt textarea")).to_have_value("a zorp cat")
    page.locator(".advanced button.label-wrap:visible").click()
    expect(page.locator("#knob-adapters")).to_contain_text("zorp")

    opened(page)
    with page.expect_download() as sent:
        page.get_by_role("button", name="Export for kohya: zorp").click()
    assert sent.value.suggested_filename == "zorp-kohya.safetensors"
    page.get_by_role("button", name="Remove: zorp").click()
    page.get_by_role("button", name="Remove it").click()
    expect(page.locator(".course-told")).to_have_text("zorp was removed.")
    expect(page.locator(".course-adapter")).to_have_count(0)
    assert "zorp" not in adapters


def test_a_stopped_training_leaves_nothing(atelier: Page, pictures: list[str], studio: Live) -> None:
    bring(atelier, pictures)
    describe(atelier, "quib", steps=400)
    start(atelier)
    expect(atelier.locator(".course-title")).to_have_text("quib, cat", timeout=SLOW)  # no longer the one before
    expect(atelier.locator(".course-curve")).to_be_visible(timeout=SLOW)
    deed(atelier, "Stop").click()
    atelier.get_by_role("button", name="Throw it away").click()
    state(atelier, "stopped")
    job = studio.runner.jobs()[-1]
    assert isinstance(job.request, Personalize)
    assert "quib" not in adapters
    assert not studio.library.adapters.all("")
    expect(deed(atelier, "Go on")).to_be_hidden()


@pytest.mark.parametrize(("size", "light"), [("phone", "light"), ("laptop", "dark")])
def test_the_tab_fits_its_screen_and_its_words_stand_out(
    studio: Live, visit: Any, pictures: list[str], size: str, light: str
) -> None:
    page = opened(visit(f"{studio.url}?__theme={light}", *SIZES[size]))
    bring(page, pictures)
    assert overflow(page) <= 0
    page.wait_for_timeout(500)  # colours fade in
    assert [each for each in page.evaluate(CONTRAST) if each[1] < 4.5] == []
