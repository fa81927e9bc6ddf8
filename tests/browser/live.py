"""A studio that serves, on a toy checkpoint: the real page, runner, memory and networks, at toy width."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, expect

from pipelines.library import Library
from pipelines.models import models
from pipelines.runner import Runner
from pipelines.tasks.text_to_image import TextToImage
from studio.settings import Settings

TOY = "toy"
QUICK = {"model": TOY, "width": 64, "height": 64, "steps": 3}
LONG = {"model": TOY, "width": 384, "height": 384, "steps": 150}


@dataclass(frozen=True)
class Live:
    """Where a studio answers, and what is behind it."""

    url: str
    runner: Runner
    library: Library

    def long_job(self, owner: str = "") -> Any:
        """A job that runs until it is stopped, as far as a test can tell."""
        return self.runner.submit(TextToImage(**LONG), owner)

    def rest(self) -> None:
        """Stop whatever runs, and wait until the lane is free."""
        for job in self.runner.jobs():
            self.runner.stop(job)
        for job in self.runner.jobs():
            for _ in job.events(timeout=60):
                pass


@contextmanager
def live(folder: Path, **settings: Any) -> Iterator[Live]:
    """Serve a studio whose data lie in `folder`, with a checkpoint called toy. `settings` are those of the studio."""
    from studio.layout import build, launch
    from tests.tiny.checkpoints import stable_diffusion

    chosen = Settings(folder=folder, port=0, device="cpu", **settings)
    uploads = os.environ.get("GRADIO_TEMP_DIR")
    chosen.prepare()
    stable_diffusion(chosen.checkpoints / TOY)
    known = TOY in models
    stock = chosen.stock()
    stock.rescan()
    answers = threading.Event()

    def make_memory() -> Any:
        answers.wait()
        return chosen.memory()

    library = chosen.library()
    runner = Runner(make_memory, library)
    blocks = build(runner, library, TOY, chosen.shared, stock)
    url = launch(blocks, chosen)
    answers.set()
    runner.restore()
    library.settle()
    try:
        yield Live(url, runner, library)
    finally:
        runner.close()
        library.close()
        blocks.close(verbose=False)
        if uploads:  # another studio of this process goes on
            os.environ["GRADIO_TEMP_DIR"] = uploads
        if not known:  # else it belongs to another studio, which still serves
            models.remove(TOY)


def chosen(radio: Locator) -> None:
    """Choose one of several; a page that is being drawn anew may lose a click, and a person clicks again."""
    for _ in range(5):
        radio.click(force=True)
        try:
            expect(radio).to_be_checked(timeout=4000)
        except AssertionError:
            continue
        return
    expect(radio).to_be_checked()


def typed(box: Locator, text: str, shown: Locator) -> None:
    """Type a value of one's own into a list and press Enter, until `shown` has it; a page that is being drawn anew may
    lose what is typed, and a person types again."""
    for _ in range(5):
        box.fill(text)
        box.press("Enter")
        try:
            expect(shown).to_contain_text(text, timeout=4000)
        except AssertionError:
            continue
        return
    expect(shown).to_contain_text(text)
