"""The canvas in a real browser: what is drawn is what is sent, to the pixel; pictures come, are painted, and go on."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.live import Live, chosen

WIDTH, HEIGHT = 96, 72
TAB = "tab Repaint"


def scene(seed: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT), mode: str = "RGB") -> bytes:
    """A PNG of noise, so that no two places are alike."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], len(mode)), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise, mode).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def afresh(studio: Live) -> Iterator[Live]:
    """A studio whose repaint tab holds nothing."""
    for name in (TAB, "inpaint", "outpaint", "repaint", "edit"):
        studio.library.remember("", name, {})
    yield studio


def opened(visit: Any, studio: Live, **settings: Any) -> Page:
    page: Page = visit(studio.url, **settings)
    page.get_by_role("tab", name="Repaint").click()
    page.wait_for_selector(".canvas")
    page.wait_for_selector(".with-board .expectation:not([data-known=''])", state="attached")
    return page


def bring(page: Page, content: bytes, name: str = "scene.png") -> None:
    before = page.locator(".canvas").get_attribute("data-picture")
    page.set_input_files(".open .file", {"name": name, "mimeType": "image/png", "buffer": content})
    page.wait_for_function(
        "(was) => { const now = document.querySelector('.canvas').dataset.picture; return now && now !== was }",
        arg=before,
        timeout=60_000,
    )
    page.wait_for_selector(".canvas[data-scale]")


def point(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a point of the picture is on the screen: it fits the board, in its middle."""
    box = page.locator(".board canvas").bounding_box()
    assert box is not None
    scale = min((box["width"] - 28) / WIDTH, (box["height"] - 28) / HEIGHT, 40)
    left, top = (box["width"] - WIDTH * scale) / 2, (box["height"] - HEIGHT * scale) / 2
    assert float(page.locator(".canvas").get_attribute("data-scale") or 0) == pytest.approx(scale)
    return box["x"] + left + x * scale, box["y"] + top + y * scale


def drag(page: Page, a: tuple[float, float], b: tuple[float, float]) -> None:
    page.mouse.move(*a)
    page.mouse.down()
    page.mouse.move((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
    page.mouse.move(*b)
    page.mouse.up()


def mask(page: Page, studio: Live) -> np.ndarray:
    """The mask as the server has it."""
    page.wait_for_timeout(100)
    page.wait_for_selector(".canvas[data-mask=kept]")
    page.wait_for_timeout(700)  # a stroke is sent once the hand rests
    page.wait_for_selector(".canvas[data-mask=kept]")
    name = studio.library.recall("", TAB)["mask"]
    return np.asarray(studio.library.shelf("").open(name)) if name else np.zeros((HEIGHT, WIDTH), np.uint8)


def agreed(page: Page, studio: Live, wanted: np.ndarray, tries: int = 10) -> bool:
    """Whether the server's mask becomes the one that is wanted; a page that is slow takes its time to send it."""
    return any(np.array_equal(mask(page, studio), wanted) for _ in range(tries))


def boxed(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    wanted = np.zeros((HEIGHT, WIDTH), np.uint8)
    for x0, y0, x1, y1 in boxes:
        wanted[y0:y1, x0:x1] = 255
    return wanted


@pytest.mark.parametrize("ratio", [1, 2])
def test_what_is_drawn_is_what_is_sent_to_the_pixel(afresh: Live, visit: Any, ratio: int) -> None:
    page = opened(visit, afresh, device_scale_factor=ratio)
    bring(page, scene(10 + ratio))
    page.get_by_role("button", name="Rectangle").click()
    drag(page, point(page, 10, 8), point(page, 30, 20))
    assert agreed(page, afresh, boxed((10, 8, 30, 20)))
    page.keyboard.down("Alt")
    drag(page, point(page, 20, 0), point(page, 96, 12))
    page.keyboard.up("Alt")
    assert agreed(page, afresh, boxed((10, 8, 20, 12), (10, 12, 30, 20)))
    corner = point(page, 90, 66)
    page.mouse.move(*corner)
    page.mouse.wheel(0, -900)  # zoom in at the corner: a pixel of the picture becomes a large square
    page.wait_for_function("Number(document.querySelector('.canvas').dataset.scale) > 12")
    held = page.evaluate("({ ...document.querySelector('.canvas').dataset })")
    box = page.locator(".board canvas").bounding_box()
    at = [(box["x"] + float(held["left"]) + x * float(held["scale"]), box["y"] + float(held["top"]) + y * float(held["scale"])) for x, y in ((89.3, 65.6), (91.2, 68.4))]  # fmt: skip
    drag(page, *at)
    assert agreed(page, afresh, boxed((10, 8, 20, 12), (10, 12, 30, 20), (89, 66, 91, 68)))


def test_a_brush_of_a_known_size_covers_the_pixels_within_its_radius(afresh: Live, visit: Any) -> None:
    page = opened(visit, afresh)
    bring(page, scene(20))
    assert page.locator(".size-says").inner_text() == "9 px"
    page.mouse.move(*point(page, 40, 30))
    page.mouse.down()
    page.mouse.up()
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    assert np.array_equal(mask(page, afresh) > 0, (x - 40) ** 2 + (y - 30) ** 2 <= 4.5**2)


def test_all_of_it_by_keyboard(afresh: Live, visit: Any) -> None:
    page = opened(visit, afresh)
    bring(page, scene(21))
    page.locator(".board canvas").focus()
    page.keyboard.press("r")
    for key in ("Shift+ArrowLeft", " ", "ArrowRight", "ArrowRight", "ArrowDown", " "):  # 3 pixels a step, Shift 1
        page.keyboard.press(key)
    drawn = boxed((47, 36, 53, 39))
    assert agreed(page, afresh, drawn)
    for key, wanted in (("i", 255 - drawn), ("Delete", boxed()), ("Control+z", 255 - drawn), ("Control+z", drawn), ("Control+Shift+z", 255 - drawn), ("f", boxed((0, 0, WIDTH, HEIGHT)))):  # fmt: skip
        page.keyboard.press(key)
        assert agreed(page, afresh, wanted), key
    assert "100.0 percent" in page.locator(".canvas .said").inner_text()


def test_a_picture_is_repainted_compared_and_worked_on(afresh: Live, visit: Any) -> None:
    page = opened(visit, afresh)
    bring(page, scene(1))
    first = page.locator(".canvas").get_attribute("data-picture")
    chosen(page.locator(".with-board").get_by_label("Draft"))
    page.fill("#inpaint-knob-prompt textarea", "a cat")
    page.get_by_role("button", name="Rectangle").click()
    drag(page, point(page, 20, 20), point(page, 60, 50))
    page.locator("#inpaint-knob-prompt textarea").press("Control+Enter")  # before the mask was sent
    page.wait_for_selector(".with-board .viewer[data-state=done]", timeout=60_000)
    expect(page.locator(".with-board .status")).to_contain_text("0 bytes changed outside")
    request = afresh.runner.jobs("")[-1].request
    assert np.array_equal(np.asarray(afresh.library.shelf("").open(request.mask)), boxed((20, 20, 60, 50)))
    made = Image.open(io.BytesIO(page.request.get(f"{page.url.split('?')[0]}{page.locator('.with-board .save').get_attribute('href')}").body()))  # fmt: skip
    before, after = np.asarray(Image.open(io.BytesIO(scene(1)))), np.asarray(made)
    kept = boxed((20, 20, 60, 50)) == 0
    assert np.array_equal(after[kept], before[kept])
    assert not np.array_equal(after, before)
    page.locator(".with-board .compares").click()
    slider = page.get_by_role("slider", name=re.compile("Compare"))
    expect(slider).to_be_focused()
    page.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("100 %"))
    page.get_by_role("button", name="Use as picture").click()
    expect(page.locator(".canvas")).not_to_have_attribute("data-picture", first or "")
    page.get_by_role("button", name="Earlier picture").click()
    expect(page.locator(".canvas")).to_have_attribute("data-picture", first or "")
    assert agreed(page, afresh, boxed((20, 20, 60, 50)))


def test_picture_mask_and_mode_are_there_after_a_reload(afresh: Live, visit: Any) -> None:
    page = opened(visit, afresh)
    bring(page, scene(2))
    page.locator(".board canvas").focus()
    page.keyboard.press("f")
    mask(page, afresh)
    name = page.locator(".canvas").get_attribute("data-picture")
    page.locator("#mode-inpaint").get_by_label("Edit").check(force=True)
    expect(page.locator("#edit-knob-shown textarea")).to_be_visible()
    for field in ("mask", "source"):
        expect(page.locator(f"#inpaint-knob-{field}")).to_be_hidden()
    page.wait_for_timeout(500)
    page.reload()
    page.wait_for_selector(".expectation:not([data-known=''])")
    page.get_by_role("tab", name="Repaint").click()
    expect(page.locator(".canvas")).to_have_attribute("data-picture", name or "")
    expect(page.locator("#mode-inpaint").get_by_label("Edit")).to_be_checked()
    expect(page.locator(".board-facts")).to_contain_text("100.0 % masked")


def test_the_frame_grows_by_its_handles_and_says_so_in_the_fields(afresh: Live, visit: Any) -> None:
    page = opened(visit, afresh)
    bring(page, scene(3))
    page.locator("#mode-inpaint").get_by_label("Outpaint").check(force=True)
    handle = page.get_by_role("slider", name="Grow on the right")
    handle.focus()
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("#outpaint-knob-right input")).to_have_value("64")
    box = page.get_by_role("slider", name="Grow above").bounding_box()
    drag(page, (box["x"] + 22, box["y"] + 22), (box["x"] + 22, box["y"] - 20))
    expect(page.locator("#outpaint-knob-top input")).not_to_have_value("0")
    top = int(page.locator("#outpaint-knob-top input").input_value())
    expect(page.locator(".board-crop")).to_contain_text(f"{WIDTH + 64} × {HEIGHT + top} pixels")


def test_a_result_is_sent_from_another_tab(afresh: Live, visit: Any) -> None:
    page = visit(afresh.url)
    chosen(page.get_by_label("Draft"))
    page.fill("#knob-prompt textarea", "a dog")
    page.locator("#knob-prompt textarea").press("Control+Enter")
    page.wait_for_selector(".viewer[data-state=done]", timeout=60_000)
    page.get_by_role("button", name="Send to Repaint").click()
    expect(page.get_by_role("tab", name="Repaint")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".board-facts")).to_contain_text("96 × 96")


def arrive(page: Page, kind: str, content: bytes) -> None:
    """Drop a file on the page, or paste it."""
    page.evaluate(
        """([kind, content]) => {
            const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
            const carried = new DataTransfer();
            carried.items.add(new File([bytes], 'x.png', { type: 'image/png' }));
            const event = kind === 'paste'
                ? new ClipboardEvent('paste', { clipboardData: carried, bubbles: true, cancelable: true })
                : new DragEvent('drop', { dataTransfer: carried, bubbles: true, cancelable: true });
            document.body.dispatchEvent(event);
        }""",
        [kind, base64.b64encode(content).decode()],
    )


def test_pictures_come_by_drop_and_paste_and_what_is_none_gets_a_sentence(afresh: Live, visit: Any) -> None:
    page = opened(visit, afresh)
    arrive(page, "drop", scene(4, (50, 40)))
    expect(page.locator(".board-facts")).to_contain_text("50 × 40")
    arrive(page, "paste", scene(5, (60, 40), "RGBA"))
    expect(page.locator(".board-facts")).to_contain_text("60 × 40")
    page.locator(".mask-menu summary").click()
    page.get_by_role("button", name="From what is transparent").click()
    expect(page.locator(".board-facts")).to_contain_text(re.compile(r"[45]\d\.\d % masked"))
    arrive(page, "drop", b"no picture at all")
    expect(page.locator(".with-board .note")).to_contain_text("not a picture")
    expect(page.locator(".canvas-veil")).to_be_hidden()


def test_a_phone_shows_the_picture_first_and_tools_that_a_finger_hits(afresh: Live, visit: Any) -> None:
    page = opened(visit, afresh, width=390, height=844, has_touch=True, is_mobile=True)
    bring(page, scene(6))
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.locator(".board").bounding_box()["y"] < page.locator(".with-board .rail").bounding_box()["y"]
    small = page.evaluate(
        "[...document.querySelectorAll('.canvas button, .canvas summary, .canvas label.act')].filter((each) => each.offsetParent)"
        ".map((each) => [each.getAttribute('aria-label') || each.textContent, each.getBoundingClientRect()])"
        ".filter(([, box]) => Math.min(box.width, box.height) < 43).map(([name]) => name)"
    )
    assert small == []
