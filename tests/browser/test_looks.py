"""How the page lies on a screen: nothing beyond its edge, everything within reach, legible in both lights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.live import Live

SIZES = {"phone": (390, 844), "tablet": (820, 1180), "laptop": (1440, 900), "wide": (2200, 1200)}
TOUCH = 40  # CSS pixels of the smaller side of what a finger has to hit
CONTRAST = """() => {
  const light = (rgb) => {
    const [r, g, b] = rgb.map((each) => each / 255).map((each) => each <= .03928 ? each / 12.92 : ((each + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const behind = (each) => {
    for (; each; each = each.parentElement) {
      const colour = parts(getComputedStyle(each).backgroundColor);
      if (colour.length < 4 || colour[3] > .5) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const words = [...document.querySelectorAll('h1, h2, p, label span, button, summary b, a.act')]
    .filter((each) => each.offsetParent && each.textContent.trim() && !each.disabled && !each.closest('footer'));
  return words.map((each) => {
    const [a, b] = [light(parts(getComputedStyle(each).color).slice(0, 3)), light(behind(each))].sort((x, y) => y - x);
    return [each.textContent.trim().slice(0, 40), (a + .05) / (b + .05)];
  });
}"""


def overflow(page: Page) -> int:
    """Pixels by which the page is wider than its window."""
    width: int = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return width


def in_view(page: Page, selector: str) -> bool:
    box = page.locator(selector).first.bounding_box()
    size = page.viewport_size
    assert box is not None
    assert size is not None
    return (
        box["x"] >= 0 and box["x"] + box["width"] <= size["width"] and 0 <= box["y"] <= size["height"] - box["height"]
    )


@pytest.mark.parametrize("size", SIZES)
def test_all_that_matters_is_in_view_and_nothing_lies_beyond_the_edge(studio: Live, visit: Any, size: str) -> None:
    page = visit(studio.url, *SIZES[size])
    for selector in ("#knob-prompt textarea", ".go", ".gauge-bar", "[data-tool=light]"):
        assert in_view(page, selector), selector
    assert overflow(page) <= 0
    page.get_by_role("button", name="Advanced").click()
    expect(page.locator("#knob-seed input")).to_be_visible()
    assert overflow(page) <= 0
    if size in ("laptop", "wide"):
        assert in_view(page, ".stage")
        assert in_view(page, ".go")


def test_a_phone_has_one_column_and_targets_that_a_finger_hits(studio: Live, visit: Any) -> None:
    page = visit(studio.url, *SIZES["phone"], has_touch=True, is_mobile=True)
    rail, stage = page.locator(".rail").bounding_box(), page.locator(".stage").bounding_box()
    assert rail["x"] == pytest.approx(stage["x"], abs=4)
    assert stage["y"] >= rail["y"] + rail["height"]
    for selector in (".go", ".halt", ".tool", ".gauge-box summary", ".act.from", "#model .wrap", "[role=tab]"):
        box = page.locator(selector).first.bounding_box()
        assert min(box["width"], box["height"]) >= TOUCH, (selector, box)


@pytest.mark.parametrize("light", ["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(studio: Live, visit: Any, light: str) -> None:
    page = visit(f"{studio.url}?__theme={light}")
    page.wait_for_timeout(500)  # colours fade in
    ratios = page.evaluate(CONTRAST)
    assert len(ratios) > 12
    assert [each for each in ratios if each[1] < 4.5] == []


def test_the_light_is_chosen_once_and_stays(page: Page, shots: Path) -> None:
    def brightness(name: str) -> float:
        page.screenshot(path=str(shots / name))
        return Image.open(shots / name).convert("L").resize((1, 1)).getpixel((0, 0))  # type: ignore[return-value]

    was = brightness("light.png")
    page.get_by_role("button", name="Light or dark").click()
    page.wait_for_timeout(600)
    assert brightness("dark.png") < was - 100
    page.reload()
    page.wait_for_selector(".expectation:not([data-known=''])")
    page.wait_for_timeout(800)
    assert brightness("again.png") < was - 100


def test_everything_is_reached_by_keyboard_and_shows_its_focus(page: Page) -> None:
    reached = set()
    page.locator("h1").click()
    for _ in range(45):
        page.keyboard.press("Tab")
        what, width = page.evaluate(
            "[(document.activeElement.closest('[id^=knob]')?.id || document.activeElement.innerText"
            " || document.activeElement.getAttribute('aria-label') || '').trim().split('\\n')[0],"
            " parseFloat(getComputedStyle(document.activeElement.closest('.segmented label, .act') || document.activeElement).outlineWidth)]"
        )
        if what:
            assert width > 0, f"{what} does not show that it has the focus"
            reached.add(what)
    assert {"Generate", "knob-prompt", "knob-count", "Advanced", "Create", "Light or dark"} <= reached, reached


def test_a_list_of_shortcuts_opens_by_its_own_key(page: Page) -> None:
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("/")
    expect(page.locator("#knob-prompt textarea")).to_be_focused()


def test_the_gauge_tells_the_truth(page: Page, studio: Live) -> None:
    expect(page.locator(".gauge-level")).to_contain_text("/")
    assert studio.runner.memory is not None
    used, total = (float(each.split()[0]) for each in page.locator(".gauge-level").inner_text().split("/"))
    device = studio.runner.memory.device
    assert total == pytest.approx(device.total() / 2**30, abs=0.1)
    assert used == pytest.approx(device.used() / 2**30, abs=0.3)
