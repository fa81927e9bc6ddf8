"""Estimates: learned from runs, in proportion to pixels, kept in a file that may be lost."""

from pathlib import Path

import pytest

from pipelines.estimate import Ledger
from pipelines.memory import Memory
from pipelines.models import ModelSpec
from pipelines.painting import expected
from pipelines.tasks import run
from pipelines.tasks.text_to_image import TextToImage
from pipelines.warming import warm
from tests.accounting import Host


def test_what_was_never_measured_is_not_guessed() -> None:
    assert Ledger().seconds("net", 100) is None


def test_an_estimate_is_in_proportion_to_pixels_of_the_nearest_size() -> None:
    ledger = Ledger()
    ledger.note("net", 100, 1.0)
    ledger.note("net", 400, 3.0)
    assert ledger.seconds("net", 100) == 1.0 and ledger.seconds("net", 800) == 6.0


@pytest.mark.parametrize(("runs", "known"), [((1.0, 3.0), 2.0), ((9.0, 1.0), 1.0), ((4.0, 2.0, 4.0), 3.0)])
def test_a_slower_run_counts_half_and_a_faster_one_in_full(
    tmp_path: Path, runs: tuple[float, ...], known: float
) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    for seconds in runs:
        ledger.note("net", 100, seconds)
    assert Ledger(tmp_path / "ledger.json").seconds("net", 100) == known


@pytest.mark.parametrize("content", ["", "[]", '{"net": 3}', '{"net": {"x": 1}}'])
def test_a_damaged_ledger_is_learned_again(tmp_path: Path, content: str) -> None:
    (tmp_path / "ledger.json").write_text(content)
    assert Ledger(tmp_path / "ledger.json").seconds("net", 100) is None


def test_a_warmed_model_has_an_estimate_that_grows_with_steps_and_pictures(toy: ModelSpec) -> None:
    memory = Memory(Host())
    assert expected(TextToImage(model="toy"), memory).seconds is None
    warm("toy")(memory)
    few, many = (
        expected(TextToImage(model="toy", steps=steps, width=64, height=64), memory).seconds for steps in (10, 40)
    )
    assert few and many and 2 < many / few < 4.01
    assert expected(TextToImage(model="toy", count=4), memory).seconds == pytest.approx(
        4 * (expected(TextToImage(model="toy"), memory).seconds or 0)
    )


def test_bytes_grow_with_the_picture(toy: ModelSpec) -> None:
    memory = Memory(Host())
    small, large = (expected(TextToImage(model="toy", width=side, height=side), memory).bytes for side in (64, 512))
    assert large > small > sum(memory.weight(part) for part in (toy.text, toy.net, toy.vae))


def test_a_run_left_early_teaches_nothing(toy: ModelSpec) -> None:
    memory = Memory(Host())
    running = run(TextToImage(model="toy", width=64, height=64), memory)
    for _ in range(4):
        next(running)
    running.close()
    assert memory.expected("net", "toy", 64, 64) is None
