"""One Chromium for all browser tests and one studio for each file of them, so that none stands on what another left; a page that fails on script errors and on foreign requests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.live import Live, live

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
expect.set_options(timeout=60_000)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


def chromium() -> str | None:
    """A Chromium of this machine; None leaves it to the one that Playwright installed."""
    named = os.environ.get("CHROMIUM")
    return named or next((path for path in map(shutil.which, NAMES) if path), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("studio")) as studio:
        yield studio


@pytest.fixture
def studio(served: Live) -> Iterator[Live]:
    yield served
    served.rest()


Open = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    """Opens a page in a context of its own, as another person or device would."""
    contexts, wrong = [], []

    def opened(url: str, width: int = 1440, height: int = 900, **settings: object) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)  # a busy machine is slow, not wrong
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: _is_ours(request.url, url.split("?")[0]) or wrong.append(request.url))
        page.goto(url)
        page.wait_for_selector(".viewer")
        page.wait_for_selector(".expectation:not([data-known=''])")  # the settings of last time are in the form
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def _is_ours(url: str, ours: str) -> bool:
    return url.startswith((ours, "data:", "blob:"))


@pytest.fixture
def page(studio: Live, visit: Open) -> Page:
    return visit(studio.url)


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """A folder for pictures of the page."""
    return tmp_path
