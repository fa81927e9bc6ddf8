"""The Models page: what lies where, adding, keeping, freeing, removing when asked back, and who may."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from pipelines.models import models
from studio.stockroom import ONLY_LOOK
from tests.browser.live import TOY, Live, live
from tests.tiny.checkpoints import stable_diffusion


@pytest.fixture
def stockroom(page: Page) -> Page:
    page.get_by_role("tab", name="Models").click()
    expect(page.locator(".stock-row").first).to_be_visible()
    return page


def row(page: Page, title: str) -> Any:
    return page.locator(".stock-row").filter(has=page.locator(".stock-title", has_text=title)).first


def test_a_model_shows_its_licence_its_networks_and_where_they_lie(stockroom: Page, studio: Live) -> None:
    memory = studio.runner.memory
    assert memory is not None
    with memory.use(models[TOY].vae):
        expect(row(stockroom, TOY).locator(".stock-title")).to_contain_text("in use")
    expect(row(stockroom, TOY).locator("li", has_text="Autoencoder")).to_contain_text("on the CPU")
    expect(row(stockroom, "Pocket")).to_contain_text("Apache-2.0")
    row(stockroom, TOY).get_by_role("button", name="Free").click()
    expect(row(stockroom, TOY).locator("li", has_text="Autoencoder")).to_contain_text("in its file")
    assert not memory.holds(models[TOY].vae)


def test_a_kept_model_says_so_and_can_be_let_go_again(stockroom: Page, studio: Live) -> None:
    memory = studio.runner.memory
    assert memory is not None
    row(stockroom, TOY).get_by_role("button", name="Keep").click()
    expect(row(stockroom, TOY).get_by_role("button", name="Kept")).to_have_attribute("aria-pressed", "true")
    assert all(memory.keeps(part) for part in models[TOY].parts())
    expect(row(stockroom, TOY).get_by_role("button", name="Kept")).to_be_focused()  # the keyboard is where it was
    row(stockroom, TOY).get_by_role("button", name="Kept").press("Enter")
    expect(row(stockroom, TOY).get_by_role("button", name="Keep")).to_have_attribute("aria-pressed", "false")


def test_a_folder_is_added_by_its_path_and_offered_in_the_picker(stockroom: Page, tmp_path: Path) -> None:
    stable_diffusion(tmp_path / "brought")
    stockroom.fill(".stock-add input", str(tmp_path))
    stockroom.get_by_role("button", name="Add", exact=True).click()
    expect(stockroom.locator(".stock-note")).to_have_text("Added brought.")
    stockroom.locator("#model input").click()
    expect(stockroom.get_by_role("option", name="brought")).to_be_visible()
    assert row(stockroom, "brought").get_by_role("button", name="Remove").count() == 0  # not the studio's own
    models.remove("brought")


def test_what_is_not_there_is_said_in_a_sentence(stockroom: Page) -> None:
    stockroom.fill(".stock-add input", "/no/such <img src=x onerror=alert(1)>")
    stockroom.get_by_role("button", name="Add", exact=True).click()
    expect(stockroom.locator(".stock-note[data-bad=true]")).to_contain_text("There is no '/no/such <img")


def test_files_are_deleted_only_after_asking_back(page: Page, studio: Live) -> None:
    folder = studio.library.folder / "models" / "spare"
    stable_diffusion(folder)
    page.get_by_role("tab", name="Models").click()
    page.get_by_role("button", name="Look for new files").click()
    remove = row(page, "spare").get_by_role("button", name="Remove")
    remove.click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert folder.exists()
    remove.click()
    page.get_by_role("button", name="Delete the files").click()
    expect(page.locator(".stock-note")).to_contain_text("spare was removed")
    assert not folder.exists() and "spare" not in models


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("shared"), host="0.0.0.0", auth="ann:secret") as studio:
        yield Live(studio.url.replace("0.0.0.0", "127.0.0.1"), studio.runner, studio.library)


def test_visitors_of_a_shared_studio_look_and_change_nothing(shared: Live, browser: Any) -> None:
    context = browser.new_context()
    context.request.post(f"{shared.url}login", form={"username": "ann", "password": "secret"})
    page = context.new_page()
    page.goto(shared.url)
    page.get_by_role("tab", name="Models").click()
    expect(page.locator(".stock-row").first).to_be_visible()
    expect(page.locator(".stock-add")).to_be_hidden()
    assert page.locator(".stock-row button").count() == 0
    said = page.evaluate(
        """async () => {
            const config = await (await fetch('config')).json();
            const wish = config.dependencies.find((each) => each.targets.some((target) => target[1] === 'wish')
                && each.outputs.length === 2);
            const body = { fn_index: wish.id, data: [null], event_data: { wish: 'remove', name: 'toy' }, session_hash: 'x' };
            const headers = { 'content-type': 'application/json' };
            return (await fetch('gradio_api/run/predict', { method: 'POST', headers, body: JSON.stringify(body) })).text();
        }"""
    )
    assert ONLY_LOOK in said
    assert (shared.library.folder / "models" / TOY).exists()
    context.close()
