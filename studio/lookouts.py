"""Pages that are told of something for as long as they look: one handler a page, the newest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from studio.form import QUIET

BEAT = 4.0  # seconds after which a page hears something in any case; one that left is noticed by it
Told = dict[str, Any]
LINE: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}


class Lookouts:
    """Who looks. A page that asks again, as after a broken line, ends the handler that served it before."""

    def __init__(self) -> None:
        self._handlers: dict[str, object] = {}  # session of a page -> the handler that serves it now

    @contextmanager
    def serving(self, request: gr.Request) -> Iterator[Callable[[], bool]]:
        """For as long as a handler serves a page: a question whether it still does."""
        page, handler = str(request.session_hash), object()
        self._handlers[page] = handler
        try:
            yield lambda: self._handlers.get(page) is handler
        finally:
            if self._handlers.get(page) is handler:
                del self._handlers[page]

    async def changes(
        self, request: gr.Request, look: Callable[[], Told], pause: Callable[[Told], float]
    ) -> AsyncIterator[tuple[Told, Told]]:
        """What a page was told last and what is so now, whenever they differ or a BEAT has passed. `look` runs in a
        thread; `pause` says how many seconds to wait for the next look."""
        before: Told = {}
        spoke = 0.0
        with self.serving(request) as is_on:
            while is_on():
                now = await asyncio.to_thread(look)
                if now != before or time.monotonic() - spoke > BEAT:
                    yield before, now
                    before, spoke = now, time.monotonic()
                await asyncio.sleep(pause(now))

    def rest(self, request: gr.Request) -> None:
        """A page is in the background: it needs no news, and no connection of the six that a browser has for us."""
        self._handlers.pop(str(request.session_hash), None)

    def wire(self, sheet: Any, follow: Callable[..., Any], outputs: Any) -> None:
        """Wire what asks for news: it sends back attach (it is looked at) and rest (no more)."""
        sheet.attach(follow, None, outputs, trigger_mode="multiple", **LINE)
        sheet.rest(self.rest, None, None, **QUIET)
