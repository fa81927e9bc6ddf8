"""The tab Compare in a real browser: axes, what it will cost, cells as they finish, stop, continue, reload, take away."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from pipelines.pictures import recipe
from pipelines.tasks import parse
from tests.browser.conftest import Open
from tests.browser.live import QUICK, Live

SEVERAL = {"x": "steps", "x_values": "1, 2, 3", "y": "sampler", "y_values": "euler, heun"}


def compare(page: Page) -> None:
    page.get_by_role("tab", name="Compare").click()
    page.wait_for_selector("#grid .chip", state="attached")


def grid(page: Page) -> Any:
    return page.locator("#grid")


def painted(page: Page) -> Any:
    return grid(page).locator(".matrix-cell img")


def deeds(page: Page) -> Any:
    return page.locator(".desk", has=page.locator("#grid"))


def put(studio: Live, **values: Any) -> Any:
    """A grid in line, small enough to wait for."""
    return studio.runner.submit(parse({"task": "compare", **QUICK, "seed": 3, "prompt": "a cat", **SEVERAL, **values}))


def test_axes_say_what_they_cost_and_what_is_wrong_with_them(page: Page, studio: Live) -> None:
    compare(page)
    page.locator("#compare-knob-x_values textarea, #compare-knob-x_values input").first.fill("2, 4")
    expect(deeds(page).locator(".expectation")).to_contain_text("2 pictures · 12 network evaluations")
    page.locator("#compare-knob-x_values textarea, #compare-knob-x_values input").first.fill("2, many")
    expect(deeds(page).locator(".note")).to_contain_text("X values: steps")
    before = len(studio.runner.jobs())
    deeds(page).get_by_role("button", name="Start").click()
    page.wait_for_timeout(500)
    assert len(studio.runner.jobs()) == before


def test_a_knob_offers_its_names_and_they_are_added(page: Page, studio: Live) -> None:
    compare(page)
    page.locator("#compare-knob-x input").fill("Sampler")
    page.get_by_role("option", name="Sampler", exact=True).click()
    values = page.locator("#compare-knob-x_values textarea, #compare-knob-x_values input").first
    expect(values).to_have_value("euler, heun, dpmpp_2m, unipc")
    page.locator("#compare-pick-x input").fill("dei")
    page.get_by_role("option", name="deis", exact=True).click()
    expect(values).to_have_value("euler, heun, dpmpp_2m, unipc, deis")


def test_cells_appear_with_figures_and_open_in_create(page: Page, studio: Live) -> None:
    put(studio)
    compare(page)
    expect(painted(page)).to_have_count(6)
    expect(grid(page).locator(".matrix-head.reference")).to_have_text("Steps 1")
    expect(grid(page).locator(".matrix-words").first).to_contain_text("2 evaluations")
    expect(grid(page).locator(".matrix-words").first).to_contain_text("99.0 dB · SSIM 1.000 · GMSD 0.000")
    expect(grid(page).locator(".matrix-quality circle")).to_have_count(4)
    expect(grid(page).locator(".matrix-times rect")).to_have_count(3)
    grid(page).locator(".matrix-cell").nth(5).click()
    facts = grid(page).locator(".matrix-facts")
    expect(facts).to_contain_text("heun")
    expect(facts).to_contain_text("10")  # heun asks twice a step but at the last, under guidance
    page.get_by_role("button", name="Open in Create").click()
    expect(page.locator("#knob-prompt textarea")).to_have_value("a cat")
    assert studio.library.recall("", "text_to_image")["sampler"]["name"] == "heun"


def test_a_stopped_grid_is_there_after_a_reload_and_continues(page: Page, studio: Live, visit: Open) -> None:
    compare(page)
    job = put(studio, x_values="1, 2, 150", y="", y_values="", seed=4, width=256, height=256)
    expect(painted(page)).to_have_count(2)
    deeds(page).get_by_role("button", name="Stop").click()
    expect(grid(page).locator(".status")).to_contain_text("Stopped")
    again = visit(studio.url)
    compare(again)
    expect(painted(again)).to_have_count(2)
    before = {each.file for each in studio.library.album.latest("", ["text_to_image"], 50)}
    grid(again).get_by_role("button", name="Continue").click()
    again.wait_for_selector("#grid .matrix[data-state=working]")
    (now,) = (each for each in studio.runner.jobs() if each.ending is None)
    assert now.id != job.id and [each.steps for each in now.request.wanted()] == [150]
    assert before == {each.file for each in studio.library.album.latest("", ["text_to_image"], 50)}


@pytest.mark.parametrize("kind", ["Picture", "CSV", "JSON"])
def test_a_grid_is_taken_away(page: Page, studio: Live, shots: Path, kind: str) -> None:
    put(studio)
    compare(page)
    expect(painted(page)).to_have_count(6)
    with page.expect_download() as download:
        grid(page).get_by_role("button", name=kind, exact=True).click()
    file = shots / download.value.suggested_filename
    download.value.save_as(file)
    if kind == "Picture":
        assert parse(recipe(file)).x_values == "1, 2, 3"  # type: ignore[attr-defined]
    elif kind == "CSV":
        assert [row["Sampler"] for row in csv.DictReader(file.open())] == ["euler"] * 3 + ["heun"] * 3
    else:
        assert len(json.loads(file.read_text())["cells"]) == 6


def test_the_grid_fits_a_phone(studio: Live, visit: Open) -> None:
    put(studio)
    phone = visit(studio.url, width=390, height=844)
    compare(phone)
    expect(painted(phone)).to_have_count(6)
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    phone.locator("#grid .matrix-cell").first.click()
    expect(phone.get_by_role("button", name="Open in Create")).to_be_visible()
