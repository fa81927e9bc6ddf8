"""Several people at one studio: nobody sees or stops what is somebody else's, and who leaves for good leaves no job."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from studio import viewer
from tests.browser.live import Live, chosen, live
from tests.browser.test_page import generate, quick, state, write


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("shared"), host="0.0.0.0", auth="ann:secret") as studio:
        yield Live(studio.url.replace("0.0.0.0", "127.0.0.1"), studio.runner, studio.library)


@pytest.fixture
def enter(shared: Live, browser: Any) -> Iterator[Any]:
    """Opens the page as somebody new, through the door."""
    contexts = []

    def entered() -> Page:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        contexts.append(context)
        context.request.post(f"{shared.url}login", form={"username": "ann", "password": "secret"})
        page = context.new_page()
        page.goto(shared.url)
        page.wait_for_selector(".expectation:not([data-known=''])")
        return page  # type: ignore[no-any-return]

    yield entered
    for context in contexts:
        context.close()
    shared.rest()


def test_two_people_at_once_see_only_their_own_work(enter: Any, shared: Live) -> None:
    ann, bob = enter(), enter()
    write(ann, "the cat of ann")
    quick(ann)
    generate(ann)
    write(bob, "the dog of bob")
    quick(bob)
    generate(bob)
    for page, prompt in ((ann, "the cat of ann"), (bob, "the dog of bob")):
        state(page, "done")
        expect(page.locator(".shot")).to_have_count(1)
        expect(page.locator(".words")).to_have_text(prompt)
    assert len({job.owner for job in shared.runner.jobs()}) == 2
    ann.reload()
    expect(ann.locator("#knob-prompt textarea")).to_have_value("the cat of ann")
    expect(ann.locator(".shot")).to_have_count(1)


def test_nobody_can_stop_the_job_of_somebody_else(enter: Any, shared: Live) -> None:
    job = shared.long_job("somebody else")
    page = enter()
    page.evaluate("(job) => { document.querySelector('.viewer').dataset.job = job }", job.id)
    page.keyboard.press("Escape")
    posted = page.evaluate(
        """async (job) => {
            const config = await (await fetch('config')).json();
            const stop = config.dependencies.find((each) => each.targets.some((target) => target[1] === 'stop'));
            const body = { fn_index: stop.id, data: [], event_data: { job }, session_hash: 'x' };
            const headers = { 'content-type': 'application/json' };
            return (await fetch('gradio_api/run/predict', { method: 'POST', headers, body: JSON.stringify(body) })).status;
        }""",
        job.id,
    )
    assert posted == 200  # the handler ran, and found no such job of ours
    page.wait_for_timeout(500)
    assert job.ending is None


def test_a_job_is_stopped_once_its_last_page_is_gone(enter: Any, shared: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "GRACE", 0.5)
    page = enter()
    write(page, "a cat")
    chosen(page.get_by_label("Best"))
    generate(page)
    state(page, "working")
    job = shared.runner.jobs()[-1]
    page.close()
    for _ in job.events(timeout=20):
        pass
    assert type(job.ending).__name__ == "Cancelled"
