"""The page in a real browser: write, start, watch, stop, come back, restore."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.live import Live, chosen

VIEWER = ".viewer"


def write(page: Page, prompt: str) -> None:
    page.fill("#knob-prompt textarea", prompt)


def state(page: Page, *wanted: str) -> None:
    page.wait_for_selector(",".join(f"{VIEWER}[data-state={each}]" for each in wanted))


def quick(page: Page) -> None:
    """The least work that still is a picture."""
    chosen(page.get_by_label("Draft"))
    expect(page.get_by_label("Draft")).to_be_checked()


def generate(page: Page) -> None:
    page.get_by_role("button", name="Generate").click()


def submitted(page: Page, studio: Live) -> Any:
    """The request of the job that Generate puts in line; there may be ended jobs of earlier tests."""
    before = studio.runner.jobs("")[-1:]
    generate(page)
    for _ in range(200):
        if studio.runner.jobs("")[-1:] != before:
            return studio.runner.jobs("")[-1].request
        page.wait_for_timeout(50)
    raise TimeoutError("Generate put no job in line")


def note(page: Page) -> Any:
    return page.locator(".note")


def drop(page: Page, content: bytes, name: str = "picture.png") -> None:
    """Drop a file on the middle of the page."""
    page.evaluate(
        """([content, name]) => {
            const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
            const carried = new DataTransfer();
            carried.items.add(new File([bytes], name, { type: 'image/png' }));
            for (const kind of ['dragenter', 'dragover', 'drop'])
                document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true }));
        }""",
        [base64.b64encode(content).decode(), name],
    )


def shown_file(page: Page) -> bytes:
    """The picture on the stage, as the download link fetches it."""
    href = page.locator(".save").get_attribute("href")
    return page.request.get(f"{page.url.split('?')[0]}{href}").body()


def paint(page: Page, prompt: str) -> None:
    """Write, start, and wait for the picture."""
    write(page, prompt)
    quick(page)
    page.locator("#knob-prompt textarea").press("Control+Enter")
    expect(page.locator(".shot:not(.live)").first).to_have_attribute("aria-label", re.compile(prompt), timeout=30_000)
    state(page, "done")


def test_an_example_paints_at_once(page: Page) -> None:
    page.get_by_role("button", name="a panda in the snow").click()
    expect(page.locator("#knob-prompt textarea")).to_have_value("a panda in the snow")
    state(page, "done")
    expect(page.locator(".words")).to_have_text("a panda in the snow")


def test_a_sentence_becomes_a_picture(page: Page, studio: Live) -> None:
    write(page, "a red cat on the sea")
    page.evaluate(
        "window.seen = []; new MutationObserver(() => seen.push(document.querySelector('.shown').getAttribute('src') || ''))"
        ".observe(document.querySelector('.shown'), { attributes: true })"
    )
    expect(page.locator(".expectation")).not_to_be_empty()
    page.locator("#knob-prompt textarea").press("Control+Enter")
    state(page, "working")
    expect(page.get_by_role("button", name="Stop")).to_be_enabled()
    state(page, "done")
    expect(page.locator(".words")).to_have_text("a red cat on the sea")
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    assert any(each.startswith("data:image/jpeg") for each in page.evaluate("seen")), "no preview was shown"
    page.wait_for_function("document.querySelector('.shown').naturalWidth === 96")
    made = Image.open(io.BytesIO(shown_file(page)))
    recipe = json.loads(made.text["palimpsest"])  # type: ignore[attr-defined]
    assert (made.size, recipe["prompt"]) == ((96, 96), "a red cat on the sea")
    assert f"seed {recipe['seed']}" in page.locator(".facts").inner_text()


def test_stop_ends_a_running_job_and_the_next_one_runs(page: Page, studio: Live) -> None:
    job = studio.long_job()
    state(page, "working")
    page.keyboard.press("Escape")
    state(page, "stopped")
    assert job.ending is not None
    paint(page, "a dog")


def test_stop_takes_a_waiting_job_out_of_the_line_and_leaves_the_others(page: Page, studio: Live) -> None:
    other = studio.long_job("somebody else")
    write(page, "a house")
    generate(page)
    state(page, "waiting")
    expect(page.locator(".status")).to_contain_text("Next in line")
    page.get_by_role("button", name="Stop").click()
    state(page, "stopped")
    assert other.ending is None


def test_a_page_that_comes_back_finds_its_job_and_its_settings(page: Page, studio: Live, visit: Any) -> None:
    write(page, "a blue house in the sky")
    chosen(page.get_by_label("Portrait"))
    expect(page.get_by_label("Portrait")).to_be_checked()
    page.wait_for_timeout(4000)
    job = studio.long_job()
    state(page, "working")
    page.reload()
    state(page, "working")
    expect(page.locator("#knob-prompt textarea")).to_have_value("a blue house in the sky")
    expect(page.get_by_label("Portrait")).to_be_checked()
    phone = visit(studio.url, 390, 844)
    state(phone, "working")
    expect(phone.locator("#knob-prompt textarea")).to_have_value("a blue house in the sky")
    page.wait_for_function("document.querySelector('.shown').src.startsWith('data:image/jpeg')")
    phone.get_by_role("button", name="Stop").click()
    state(page, "stopped")
    assert job.ending is not None


def test_a_job_outlives_its_page(studio: Live, visit: Any) -> None:
    first = visit(studio.url)
    paint(first, "a cat")
    write(first, "a dog in the sea")
    generate(first)
    first.close()
    second = visit(studio.url)
    expect(second.locator(".shot:not(.live)").first).to_have_attribute("aria-label", re.compile("a dog in the sea"))


def test_a_dropped_picture_brings_its_settings_back(page: Page, studio: Live) -> None:
    paint(page, "a green dog")
    picture = shown_file(page)
    seed = json.loads(Image.open(io.BytesIO(picture)).text["palimpsest"])["seed"]  # type: ignore[attr-defined]
    chosen(page.get_by_label("Best"))
    write(page, "something else")
    page.wait_for_timeout(3000)
    drop(page, picture)
    expect(note(page)).to_contain_text(f"seed {seed}")
    expect(page.locator("#knob-prompt textarea")).to_have_value("a green dog")
    expect(page.get_by_label("Draft")).to_be_checked()
    generate(page)
    expect(page.locator(".shot:not(.live)")).to_have_count(page.locator(".shot:not(.live)").count() + 1)
    state(page, "done")
    assert Image.open(io.BytesIO(shown_file(page))).tobytes() == Image.open(io.BytesIO(picture)).tobytes()


def plain() -> bytes:
    """A PNG without a recipe."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


def bomb() -> bytes:
    """A PNG that is small as a file and 400 megapixels as a picture."""
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    return file.getvalue()


WRONG = {
    "broken.png": (b"\x89PNG\r\n\x1a\n broken", "not a picture"),
    "bomb.png": (bomb(), "larger than"),
    "plain.png": (plain(), "no recipe"),
    "empty.png": (b"", "not a picture|did not arrive"),
    "text.png": (b"no picture at all", "not a picture"),
}


def test_what_is_no_picture_of_ours_gets_one_sentence(page: Page) -> None:
    for name, (content, sentence) in WRONG.items():
        drop(page, content, name)
        expect(note(page)).to_have_text(re.compile(sentence))
    write(page, "a cat")
    expect(note(page)).to_be_empty()


def test_a_prompt_of_ten_thousand_characters_is_refused_with_its_field_and_kept(page: Page) -> None:
    write(page, "x" * 10_000)
    generate(page)
    expect(note(page)).to_contain_text("Prompt:")
    expect(page.locator("#knob-prompt textarea")).to_have_value("x" * 10_000)
    write(page, "short")
    expect(note(page)).to_be_empty()


def test_a_failure_is_one_sentence_and_the_next_job_runs(
    page: Page, studio: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.models import models

    with monkeypatch.context() as broken:
        broken.setattr(type(models["toy"]), "start", lambda *_: 1 / 0)
        write(page, "a cat")
        generate(page)
        state(page, "failed")
        expect(page.locator(".status")).to_contain_text("Something broke")
    paint(page, "a cat again")


def test_a_preset_sets_the_knobs_and_a_knob_makes_it_custom(page: Page) -> None:
    page.get_by_role("button", name="Advanced").click()
    steps = page.locator("#knob-steps input[type=number]")
    chosen(page.get_by_label("Draft"))
    expect(steps).to_have_value("10")
    chosen(page.get_by_label("Landscape"))
    expect(page.locator("#knob-width input[type=number]")).to_have_value("120")
    expect(page.locator("#knob-height input[type=number]")).to_have_value("72")
    steps.fill("11")
    steps.press("Tab")
    expect(page.get_by_label("Custom")).to_be_checked()
    chosen(page.get_by_label("Balanced"))
    expect(steps).to_have_value("20")
    expect(page.get_by_label("Custom")).to_have_count(0)


def test_a_method_shows_its_own_knobs_and_they_reach_the_request(page: Page, studio: Live) -> None:
    page.get_by_role("button", name="Advanced").click()
    expect(page.locator("#knob-sampler-heun-churn")).to_have_count(0)
    page.locator("#knob-sampler input").click()
    page.get_by_role("option", name="Heun").click()
    churn = page.locator("#knob-sampler-heun-churn input[type=number]")
    churn.fill("12")
    churn.press("Tab")
    write(page, "a cat")
    page.wait_for_timeout(300)
    assert submitted(page, studio).sampler.knobs["churn"] == 12
    page.reload()
    page.get_by_role("button", name="Advanced").click()
    expect(churn).to_have_value("12")


def test_the_recipe_runs_again_from_the_strip(page: Page, studio: Live) -> None:
    paint(page, "the sky")
    write(page, "something else")
    page.get_by_role("button", name="Reuse settings").click()
    expect(page.locator("#knob-prompt textarea")).to_have_value("the sky")
    page.get_by_role("button", name="Recipe", exact=True).click()
    assert json.loads(page.locator(".recipe pre").inner_text())["prompt"] == "the sky"


def test_pictures_are_kept_as_files_with_their_requests(page: Page, studio: Live) -> None:
    paint(page, "a red house")
    newest = max(studio.library.pictures.rglob("*.png"), key=lambda each: Path(each).stat().st_mtime_ns)
    assert newest.read_bytes() == shown_file(page)


def turn(page: Page, visibility: str) -> None:
    """Put the page into the background, or bring it back."""
    page.evaluate(
        "(state) => { Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')) }",
        visibility,
    )


def test_a_page_in_the_background_rests_and_catches_up_when_it_is_looked_at(page: Page, studio: Live) -> None:
    turn(page, "hidden")
    page.wait_for_timeout(3500)
    job = studio.long_job()
    page.wait_for_timeout(800)
    assert page.locator(VIEWER).get_attribute("data-job") != job.id
    turn(page, "visible")
    expect(page.locator(VIEWER)).to_have_attribute("data-job", job.id)
    state(page, "working")


def own_threads() -> int:
    """Threads less the workers of the server's pools, which are few, are kept, and start when they are first needed."""
    return sum(not each.name.startswith(("AnyIO worker", "asyncio_")) for each in threading.enumerate())


def test_pages_leave_no_threads_behind(studio: Live, visit: Any) -> None:
    visit(studio.url).close()
    before = own_threads()
    for _ in range(3):
        visit(studio.url).close()
    assert own_threads() <= before
