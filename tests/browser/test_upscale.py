"""The tab Upscale in a real browser: pictures come, one of them broken, are enlarged, compared closely, and go on."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.live import Live

LANCZOS = {"upscaler": {"name": "lanczos", "knobs": {}}, "times": 2, "model": "toy"}


def png(seed: int = 0, size: tuple[int, int] = (60, 40)) -> bytes:
    """A PNG of blocks of colour, so that it can be told from others."""
    blocks = np.random.default_rng(seed).integers(0, 256, (size[1] // 10 or 1, size[0] // 10 or 1, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def file(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "image/png", "buffer": content}


@pytest.fixture
def afresh(studio: Live) -> Iterator[Live]:
    """A studio whose tab holds nothing and enlarges by interpolation."""
    studio.library.remember("", "tab Upscale", {})
    studio.library.remember("", "upscale", LANCZOS)
    yield studio


def opened(visit: Any, studio: Live, **settings: Any) -> Page:
    page: Page = visit(studio.url, **settings)
    page.get_by_role("tab", name="Upscale").click()
    page.wait_for_selector(".pile")
    page.wait_for_selector(".with-board .expectation:not([data-known=''])", state="attached")
    return page


def bring(page: Page, *files: dict[str, Any], count: int) -> None:
    page.set_input_files(".pile-files", list(files))
    page.wait_for_selector(f".pile[data-count='{count}']")


def generate(page: Page) -> None:
    page.locator("button.go:visible").click()
    page.wait_for_selector(".with-board .viewer[data-state=done]")


def names(page: Page) -> list[str]:
    return page.locator(".pile-title").all_inner_texts()


def test_pictures_with_a_broken_one_among_them_are_enlarged_compared_and_sent_on(
    afresh: Live, visit: Any, shots: Path
) -> None:
    page = opened(visit, afresh)
    bring(page, file("a.png", png(1)), file("torn.png", png(2)[:90]), file("b.png", png(3, (30, 50))), count=2)
    assert names(page) == ["a.png", "b.png"]
    expect(page.locator(".deeds .note:visible")).to_contain_text("torn.png: ")
    expect(page.locator(".pile-size").first).to_have_text("60 × 40 → 120 × 80")
    generate(page)
    expect(page.locator(".viewer:visible .status")).to_contain_text("2 of 2 pictures were enlarged.")
    made = afresh.library.album.latest("", ("upscale",), 2)
    assert {(each.width, each.height) for each in made} == {(120, 80), (60, 100)}

    expect(page.locator(".compare:visible")).to_be_visible()  # before and after, from the first
    stage, line = page.locator(".stage:visible"), page.locator(".compare-line:visible")
    for _ in range(3):
        page.locator(".zoom-in:visible").click()
    box, at = stage.bounding_box(), line.bounding_box()
    assert box and at and box["x"] < at["x"] < box["x"] + box["width"]  # the line stays in sight
    shown = page.locator(".shown:visible").bounding_box()
    assert shown and shown["width"] > box["width"]
    middle = box["y"] + box["height"] / 2  # the line itself reaches far above what the stage shows
    page.mouse.move(at["x"] + 1, middle)
    before = page.locator(".with-board .compare-slide").input_value()
    page.mouse.down()
    page.mouse.move(at["x"] - 60, middle)
    page.mouse.up()
    assert page.locator(".with-board .compare-slide").input_value() != before
    page.screenshot(path=shots / "close.png")
    page.locator(".zoom-fit:visible").click()
    expect(page.locator(".zoom-out:visible")).to_be_disabled()

    page.get_by_role("button", name="Send to Repaint").click()
    page.wait_for_selector(".canvas[data-picture]:not([data-picture=''])")


def test_pictures_come_by_folder_drop_and_paste_and_can_be_taken_out(afresh: Live, visit: Any, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(3):
        (folder / f"{k}.png").write_bytes(png(k))
    (folder / "notes.txt").write_text("not a picture")
    page = opened(visit, afresh)
    page.set_input_files(".pile-folder", str(folder))
    page.wait_for_selector(".pile[data-count='3']")
    assert names(page) == ["0.png", "1.png", "2.png"]
    page.get_by_role("button", name="Take 1.png out").click()
    page.wait_for_selector(".pile[data-count='2']")
    for kind, target in (("drop", "document.body"), ("paste", "document")):
        page.evaluate(
            f"""(bytes) => {{
                const carried = new DataTransfer();
                carried.items.add(new File([Uint8Array.from(bytes)], '{kind}.png', {{ type: 'image/png' }}));
                const how = {{ bubbles: true, cancelable: true }};
                {target}.dispatchEvent('{kind}' === 'drop' ? new DragEvent('drop', {{ ...how, dataTransfer: carried }})
                    : new ClipboardEvent('paste', {{ ...how, clipboardData: carried }}));
            }}""",
            list(png(7 if kind == "drop" else 8)),
        )
        page.wait_for_selector(f".pile[data-count='{3 if kind == 'drop' else 4}']")
    assert names(page) == ["0.png", "2.png", "drop.png", "paste.png"]
    page.get_by_role("button", name="Take all out").click()
    page.wait_for_selector(".pile[data-count='0']")


def test_a_job_is_found_again_after_a_reload_and_can_be_stopped(afresh: Live, visit: Any) -> None:
    long = {"upscaler": {"name": "latent_tiles", "knobs": {"creativity": 1}}, "steps": 150, "times": 8, "model": "toy"}
    afresh.library.remember("", "upscale", long)
    page = opened(visit, afresh)
    bring(page, file("a.png", png(1, (100, 100))), count=1)
    page.locator("button.go:visible").click()
    page.wait_for_selector(".with-board .viewer[data-state=working]")
    page.reload()
    page.get_by_role("tab", name="Upscale").click()
    page.wait_for_selector(".with-board .viewer[data-state=working]")
    expect(page.locator(".pile")).to_have_attribute("data-count", "1")
    page.locator("button.halt:visible").click()
    page.wait_for_selector(".with-board .viewer[data-state=stopped]")


def test_only_methods_that_paint_ask_for_words_and_a_result_comes_from_another_tab(afresh: Live, visit: Any) -> None:
    page = opened(visit, afresh)
    expect(page.locator("#upscale-knob-prompt:visible")).to_have_count(0)
    page.locator("#upscale-knob-upscaler input").click()
    page.get_by_role("option", name="Latent tiles").click()
    expect(page.locator("#upscale-knob-prompt:visible")).to_have_count(1)
    bring(page, file("a.png", png(5)), count=1)
    page.locator("#upscale-knob-upscaler input").click()
    page.get_by_role("option", name="Bicubic").click()
    generate(page)
    page.get_by_role("button", name="Use as picture").click()
    expect(page.locator(".pile-size")).to_contain_text("120 × 80 → 240 × 160")


def test_a_phone_shows_the_pictures_first_and_buttons_that_a_finger_hits(afresh: Live, visit: Any) -> None:
    page = opened(visit, afresh, width=390, height=844, has_touch=True)
    bring(page, file("a.png", png(1)), file("torn.png", png(2)[:90]), count=1)
    expect(page.locator(".pile-note")).to_contain_text("torn.png: ")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for name in (".face:visible", ".pile-head .act:visible", ".pile-gone"):
        for each in page.locator(name).all():
            box = each.bounding_box()
            assert box is None or min(box["width"], box["height"]) >= 44
