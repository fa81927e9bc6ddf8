"""Adapters on the page: picked from the list, given a weight, kept over a reload, and named where they do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from pipelines.models.adapters import adapter_of, adapters
from pipelines.models.headers import recognised
from tests.browser.live import Live, typed
from tests.browser.test_page import state, submitted, write
from tests.tiny import adapters as tiny
from tests.tiny.checkpoints import stable_diffusion


@pytest.fixture(autouse=True)
def styles(tmp_path: Path) -> Iterator[None]:
    """A LoRA that fits the toy, and one that does not."""
    pipe = stable_diffusion(tmp_path / "toy")
    tiny.trained(pipe, text=False)
    files = {
        "ink": tiny.saved(pipe, tmp_path / "ink.safetensors", text=False),
        "far": tiny.for_another_base(tmp_path / "far.safetensors"),
    }
    for name, path in files.items():
        adapters.add(name, adapter_of(path, name, recognised(path)))
    yield
    for name in files:
        adapters.remove(name)


def test_an_adapter_is_typed_or_picked_and_kept_over_a_reload(page: Page, studio: Live) -> None:
    write(page, "a red cat")
    page.get_by_role("button", name="Advanced").first.click()
    typed(page.locator("#knob-adapters input").first, "ink:0.5", page.locator("#knob-adapters").first)
    page.keyboard.press("Escape")
    request = submitted(page, studio)
    assert [str(each) for each in request.adapters] == ["ink:0.5"]
    page.reload()
    page.wait_for_selector(".expectation:not([data-known=''])")
    page.get_by_role("button", name="Advanced").first.click()
    expect(page.locator("#knob-adapters").first).to_contain_text("ink:0.5")
    page.locator("#knob-adapters input").first.click()
    expect(page.get_by_role("option", name="far")).to_be_visible()  # what a scan found since the page was built


def test_what_does_not_fit_or_is_not_here_is_said_by_name(page: Page, studio: Live) -> None:
    for prompt, sentence in (
        ("a cat <far:1>", "adapter far was made for SDXL"),
        ("a cat <inc:1>", "Did you mean 'ink'"),
    ):
        write(page, prompt)
        submitted(page, studio)
        state(page, "failed")
        expect(page.locator(".viewer")).to_contain_text(sentence)
