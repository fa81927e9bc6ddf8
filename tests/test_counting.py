"""Estimates of x0 are counted where they are made: one for each condition, of whichever network answers."""

from collections.abc import Iterator

import pytest

from pipelines.events import Finished
from pipelines.guidance import guidances
from pipelines.memory import Memory
from pipelines.models import ModelSpec
from pipelines.samplers import samplers
from pipelines.tasks import parse, run
from tests.accounting import host

SMALL = {"task": "text_to_image", "model": "toy", "width": 64, "height": 64, "seed": 1, "prompt": "a cat"}


@pytest.fixture
def memory(toy: ModelSpec) -> Iterator[Memory]:
    yield host()


def asked(memory: Memory, **values: object) -> tuple[int, int]:
    """How many estimates a picture took, and how many its request had foretold."""
    request, before = parse({**SMALL, **values}), memory.estimates
    assert any(isinstance(event, Finished) for event in run(request, memory))
    return memory.estimates - before, request.evaluations()


@pytest.mark.parametrize("name", [name for name in samplers if name not in ("dpm_v3", "usf")])
def test_every_sampler_asks_for_as_many_as_it_foretells(name: str, memory: Memory) -> None:
    took, foretold = asked(memory, sampler=name, steps=6)
    assert took == foretold


@pytest.mark.parametrize(
    "name", [name for name in guidances if name not in ("distilled", "auto", "interval", "conform")]
)
def test_guidance_asks_for_as_many_as_it_foretells(name: str, memory: Memory) -> None:
    took, foretold = asked(memory, guidance=name, steps=6)
    assert took == foretold


def test_contrast_asks_for_no_more_than_it_foretells_and_for_nothing_where_one_thing_is_named(memory: Memory) -> None:
    alone, _ = asked(memory, guidance="conform", steps=25)
    several, most = asked(memory, guidance="conform", steps=25, prompt="a red cat and a blue dog")
    assert alone == 50 < several <= most


def test_a_scale_of_one_needs_half_of_what_guidance_needs(memory: Memory) -> None:
    plain, guided = (asked(memory, steps=5, guidance={"name": "cfg", "knobs": {"scale": s}})[0] for s in (1.0, 5.0))
    assert (plain, guided) == (5, 10)


def test_what_is_left_out_is_not_counted(memory: Memory) -> None:
    took, foretold = asked(memory, steps=20, accelerators=["sada"])
    assert took < foretold == 40


def test_a_second_network_counts_as_the_first(memory: Memory) -> None:
    assert asked(memory, steps=5, accelerators=[{"name": "stitching", "knobs": {"small": "toy"}}])[0] == 10
    assert asked(memory, steps=5, guidance={"name": "auto", "knobs": {"weaker": "toy"}})[0] == 10
