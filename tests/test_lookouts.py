"""A page is served by one handler, the newest; it hears of changes, and now and then in any case."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from studio import lookouts
from studio.lookouts import Lookouts


def page(name: str) -> gr.Request:
    return SimpleNamespace(session_hash=name)  # type: ignore[return-value]


def test_a_page_that_asks_again_ends_its_older_handler_and_no_other() -> None:
    looks = Lookouts()
    with looks.serving(page("a")) as first, looks.serving(page("b")) as other:
        with looks.serving(page("a")) as second:
            assert (first(), second(), other()) == (False, True, True)
        assert not second() and other()
        looks.rest(page("b"))
        assert not other()


def test_a_handler_that_was_relieved_leaves_the_newer_one_alone() -> None:
    looks = Lookouts()
    older = looks.serving(page("a"))
    older.__enter__()
    with looks.serving(page("a")) as newer:
        older.__exit__(None, None, None)
        assert newer()


@pytest.mark.parametrize(("beat", "told"), [(60.0, [1, 2]), (0.0, [1, 1, 1, 2])])
def test_only_changes_are_told_and_the_beat(monkeypatch: pytest.MonkeyPatch, beat: float, told: list[int]) -> None:
    monkeypatch.setattr(lookouts, "BEAT", beat)
    values = iter([1, 1, 1, 2])

    async def heard() -> list[Any]:
        looks, found = Lookouts(), []
        async for before, now in looks.changes(page("a"), lambda: {"value": next(values)}, lambda _: 0.001):
            assert before == ({"value": found[-1]} if found else {})
            found.append(now["value"])
            if now["value"] == 2:
                looks.rest(page("a"))
        return found

    with ThreadPoolExecutor(1) as apart:  # browser tests before it may have left a loop in this thread
        assert apart.submit(asyncio.run, heard()).result() == told
