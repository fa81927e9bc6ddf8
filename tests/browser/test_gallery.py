"""The gallery and the queue in a real browser: paint, find, open, reuse, compare, delete, restore, go on after an end."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin
from playwright.sync_api import Page, expect

from pipelines.events import Painted
from pipelines.library import Library
from pipelines.library.album import Wanted
from pipelines.tasks.text_to_image import TextToImage
from tests.browser.live import QUICK, Live, live
from tests.browser.test_page import drop, note, paint, state

PROMPT = "[id$=knob-prompt] textarea"


def keep(studio: Live, prompt: str, seed: int = 1) -> str:
    """A picture in the library that nobody had to wait for."""
    request = TextToImage(**QUICK, prompt=prompt, seed=seed)
    studio.library.keep(Painted(Image.effect_noise((96, 64), 20 + seed).convert("RGB"), request))
    return studio.library.album.ids("", Wanted(words=prompt))[0]


def gallery(page: Page, words: str = "") -> None:
    """Open the gallery, at what somebody searches."""
    page.get_by_role("tab", name="Gallery").click()
    page.wait_for_selector(".album-count:not(:empty)")
    if words:
        page.get_by_role("searchbox", name="Search in prompts").fill(words)
        page.wait_for_timeout(500)  # it looks once the hand rests, and lets go of what was chosen


def cells(page: Page) -> Any:
    return page.locator(".album-cell")


def test_what_was_painted_is_found_opened_and_used_again(page: Page, studio: Live) -> None:
    paint(page, "a vermilion fox")
    page.fill(PROMPT, "something else")
    gallery(page, "VERMILION")
    expect(cells(page)).to_have_count(1)
    page.locator(".album-face").click()
    expect(page.locator(".album-prompt")).to_have_text("a vermilion fox")
    expect(page.locator(".album-knobs dl").first).to_contain_text("steps")
    expect(page.locator(".album-facts")).to_contain_text("toy")
    page.get_by_role("button", name="Again, new seed").click()
    expect(page.locator(".album-said")).to_have_text("It is in line.")
    page.get_by_role("button", name="Settings to Create").click()
    expect(page.locator(PROMPT).first).to_have_value("a vermilion fox")
    state(page, "done")
    gallery(page)
    expect(cells(page)).to_have_count(2)


def test_favourites_bin_and_back_and_gone_for_good(page: Page, studio: Live) -> None:
    for k in range(3):
        keep(studio, f"an umber stone {k}", k)
    gallery(page, "umber stone")
    expect(cells(page)).to_have_count(3)
    cells(page).first.locator(".album-face").focus()
    page.keyboard.press("f")
    expect(page.locator(".album-cell.loved")).to_have_count(1)
    page.get_by_role("button", name="Favourites").click()
    expect(cells(page)).to_have_count(1)
    page.get_by_role("button", name="Favourites").click()
    expect(cells(page)).to_have_count(3)
    for k in (0, 1):
        cells(page).nth(k).locator(".album-box").check()
    page.get_by_role("toolbar").get_by_role("button", name="To the bin").click()
    expect(cells(page)).to_have_count(1)
    page.get_by_role("button", name=re.compile(r"^Bin")).click()
    expect(cells(page)).to_have_count(2)
    cells(page).first.locator(".album-box").check()
    page.get_by_role("toolbar").get_by_role("button", name="Restore").click()
    expect(cells(page)).to_have_count(1)
    files = [each.file for each in studio.library.album.page("", Wanted(words="umber stone", binned=True))]
    page.on("dialog", lambda dialog: dialog.accept())
    cells(page).first.locator(".album-box").check()
    page.get_by_role("toolbar").get_by_role("button", name="Delete for good").click()
    expect(cells(page)).to_have_count(0)
    assert len(files) == 1 and not files[0].exists()
    page.get_by_role("button", name=re.compile(r"^Bin")).click()
    expect(cells(page)).to_have_count(2)


def test_two_are_compared_and_a_choice_is_carried_away(page: Page, studio: Live) -> None:
    for k in range(2):
        keep(studio, f"a cerulean door {k}", k)
    gallery(page, "cerulean door")
    expect(cells(page)).to_have_count(2)
    for k in (0, 1):
        cells(page).nth(k).locator(".album-box").check()
    page.get_by_role("toolbar").get_by_role("button", name="Compare").click()
    slide = page.get_by_label("How much of the first picture is shown")
    expect(slide).to_be_focused()
    slide.press("End")
    assert page.locator(".album-two").evaluate("(each) => each.style.getPropertyValue('--share')") == "100%"
    apart = page.locator(".album-apart")
    expect(apart).to_contain_text("a cerulean door 0  →  a cerulean door 1")
    expect(apart).to_contain_text("0  →  1")
    expect(apart.locator("dd").last).to_contain_text("steps, sampler")  # what both have
    page.keyboard.press("Escape")
    with page.expect_download() as fetched:
        page.get_by_role("toolbar").get_by_role("button", name="Zip").click()
    with zipfile.ZipFile(Path(fetched.value.path())) as archive:
        assert len(archive.namelist()) == 2
    with page.expect_download() as fetched:
        page.get_by_role("toolbar").get_by_role("button", name="Contact sheet").click()
    assert Image.open(Path(fetched.value.path())).width > 2 * 256
    assert fetched.value.suggested_filename == "contact-sheet.png"


def test_the_keyboard_walks_the_grid_and_the_large_picture(page: Page, studio: Live) -> None:
    for k in range(4):
        keep(studio, f"a viridian lamp {k}", k)
    gallery(page, "viridian lamp")
    expect(cells(page)).to_have_count(4)
    page.locator(".album-face").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(".album-prompt")).to_have_text("a viridian lamp 2")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".album-prompt")).to_have_text("a viridian lamp 1")
    page.keyboard.press("Escape")
    expect(page.locator(".album-large")).not_to_be_visible()
    page.keyboard.press("Space")
    expect(page.locator(".album-chosen")).to_have_text("1 chosen")


def test_a_replay_says_identical(page: Page, studio: Live) -> None:
    paint(page, "an ochre boat")
    gallery(page, "ochre boat")
    page.locator(".album-face").first.click()
    page.get_by_role("button", name="Replay").click()
    expect(page.locator(".album-said")).to_have_text("Identical: every pixel is the same.", timeout=30_000)


def test_a_family_is_a_tree_to_walk(page: Page, studio: Live) -> None:
    from pipelines.tasks import tasks

    keep(studio, "a parent picture", 5)
    parent = studio.library.album.page("", Wanted(words="a parent picture"))[0]
    mask = studio.library.shelf("").put(Image.new("L", (8, 8), 255))
    request = tasks["inpaint"].request(model="toy", prompt="a child picture", source=parent.pixels, mask=mask, seed=1)
    studio.library.keep(Painted(Image.new("RGB", (8, 8)), request), origin={"adapters": {"oils": "0" * 32}})
    gallery(page, "a child picture")
    page.locator(".album-face").first.click()
    kin = page.locator(".album-tree button")
    expect(kin).to_have_text(
        ["text to image: a parent picture", "inpaint: a child picture · with a mask, oils"]
    )  # and nothing of a mask beside them
    expect(page.locator(".album-tree span.album-kin")).to_have_count(0)
    kin.first.click()
    expect(page.locator(".album-prompt")).to_have_text("a parent picture")
    page.keyboard.press("Escape")


def test_what_looks_nearly_the_same_is_shown_beside_a_large_picture(page: Page, studio: Live) -> None:
    picture = Image.radial_gradient("L").convert("RGB")
    for k, prompt in enumerate(("a first moon", "a second moon")):
        studio.library.keep(Painted(picture.point(lambda level, k=k: level + k), TextToImage(**QUICK, prompt=prompt)))
    gallery(page, "a first moon")
    expect(cells(page)).to_have_count(1)
    page.locator(".album-face").first.click()
    likes = page.locator(".album-like")
    expect(likes).to_have_count(1)
    likes.click()
    expect(page.locator(".album-prompt")).to_have_text("a second moon")
    page.keyboard.press("Escape")


def test_a_prompt_is_text_wherever_it_stands(page: Page, studio: Live) -> None:
    keep(studio, "<img src=x onerror='window.hurt=1'> sepia", 1)
    gallery(page, "sepia")
    page.locator(".album-face").first.click()
    expect(page.locator(".album-prompt")).to_have_text("<img src=x onerror='window.hurt=1'> sepia")
    page.wait_for_timeout(300)
    assert page.evaluate("window.hurt") is None


def test_the_gallery_fits_a_phone(studio: Live, visit: Any) -> None:
    keep(studio, "a small screen")
    page = visit(studio.url, 390, 844)
    gallery(page, "a small screen")
    page.locator(".album-face").first.click()
    expect(page.locator(".album-prompt")).to_have_text("a small screen")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    heights = page.locator(".album-acts .act:visible").evaluate_all(
        "(all) => all.map((each) => each.getBoundingClientRect().height)"
    )
    assert min(heights) >= 44


def test_the_line_is_ordered_paused_and_cleared(page: Page, studio: Live) -> None:
    running = studio.long_job()
    first, second = (
        studio.runner.submit(TextToImage(**QUICK, prompt=prompt)) for prompt in ("one waits", "another waits")
    )
    page.locator(".line-box summary").click()
    rows = page.locator(".line-parts li")
    expect(rows.filter(has_text="another waits")).to_have_count(1)
    page.get_by_role("button", name="Move to the front: another waits").click()
    expect(rows.nth(1)).to_contain_text("another waits")
    assert studio.runner.position(second) < studio.runner.position(first)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".line-count")).to_have_text("2 paused")
    studio.runner.stop(running)
    time.sleep(0.5)
    assert first.ending is second.ending is None
    page.locator(".line-parts").get_by_role("button", name="Go on").click()
    for job in (first, second):
        for _ in job.events(timeout=30):
            pass
    again = studio.runner.submit(TextToImage(**QUICK, prompt="retried"))
    studio.runner.stop(again)
    page.get_by_role("button", name="Try again: retried").click()
    for _ in range(200):
        if studio.runner.jobs()[-1] is not again:
            break
        page.wait_for_timeout(50)
    assert studio.runner.jobs()[-1].request == again.request


def test_after_an_end_the_strip_is_full_and_one_button_goes_on(tmp_path: Path, visit: Any) -> None:
    """What a studio before left: a picture, and two jobs in line."""
    before = Library(tmp_path)
    before.keep(
        Painted(Image.effect_noise((64, 64), 50).convert("RGB"), TextToImage(**QUICK, prompt="of before", seed=2))
    )
    for k in range(2):
        request = TextToImage(**QUICK, prompt=f"left {k}", seed=k)
        before.tickets.add(f"{k}" * 32, "", request.to_json(), time.time(), k)
    before.tickets.begin("0" * 32)
    before.close()
    with live(tmp_path) as studio:
        page = visit(studio.url)
        expect(page.locator(".shot:not(.live)")).to_have_count(1)
        expect(page.locator(".line-left p")).to_have_text("2 jobs wait from before the studio was ended.")
        page.locator(".line-left").get_by_role("button", name="Go on").click()
        expect(page.locator(".shot:not(.live)")).to_have_count(3, timeout=40_000)
        expect(page.locator(".line-left")).not_to_be_visible()


def test_a_picture_of_another_tool_fills_the_form(page: Page, studio: Live) -> None:
    text, file = PngImagePlugin.PngInfo(), io.BytesIO()
    text.add_text(
        "parameters",
        "a teal tower\nNegative prompt: fog\nSteps: 7, Sampler: Euler a, CFG scale: 4, Seed: 11, Size: 128x96, Model: far away, Clip skip: 2",
    )
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=text)
    drop(page, file.getvalue())
    expect(page.locator(PROMPT).first).to_have_value("a teal tower")
    expect(note(page).first).to_contain_text("Not taken over: Clip skip: 2; Model: far away, which is not here")


@pytest.mark.parametrize(
    "words",
    [
        {"words": 5, "task": ["x"], "since": {"a": 1}, "start": -4, "asked": 1},
        {"since": "9999-99-99", "until": "0000-01-01", "start": 10**30},
    ],
)
def test_whatever_a_page_asks_gets_an_answer(studio: Live, words: dict[str, Any]) -> None:
    from studio.albums import page as shown

    keep(studio, "asked for")
    assert json.dumps(shown(studio.library, "", words))


def test_a_library_that_is_nearly_full_warns_beside_generate(studio: Live, visit: Any) -> None:
    keep(studio, "one of many")
    studio.library.quota = round(studio.library.room().used * 1.05)
    try:
        line = visit(studio.url).locator(".expectation").first
        expect(line).to_contain_text("The library is nearly full")
        expect(line).to_have_attribute("data-known", "warned")
    finally:
        studio.library.quota = None
