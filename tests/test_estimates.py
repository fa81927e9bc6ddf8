"""Estimates: learned from runs, in proportion to pixels, kept in a file that may be lost."""

from pathlib import Path

import pytest
import torch

from pipelines.device import Device
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
    assert large > small > sum(memory.weight(part) for part in toy.parts())


def test_a_run_left_early_teaches_nothing(toy: ModelSpec) -> None:
    memory = Memory(Host())
    running = run(TextToImage(model="toy", width=64, height=64), memory)
    for _ in range(4):
        next(running)
    running.close()
    assert memory.expected("net", "toy", 64, 64) is None


def test_what_a_clock_decided_once_holds_on_this_machine(tmp_path: Path) -> None:
    """A busy moment would decide otherwise, and the same request would paint another picture after a restart."""
    file, answers = tmp_path / "ledger.json", iter(["bfloat16", "float32"])
    assert Ledger(file).settled("number type 96", lambda: next(answers)) == "bfloat16"
    assert Ledger(file).settled("number type 96", lambda: next(answers)) == "bfloat16"
    assert Ledger(file).settled("number type 32", lambda: next(answers)) == "float32"
    file.write_text('{"seconds": {}, "peaks": {}}')  # as an earlier version wrote it
    assert Ledger(file).settled("number type 96", lambda: "float32") == "float32"


def test_a_device_asks_the_clock_once_for_a_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([torch.bfloat16, torch.float32])
    monkeypatch.setattr("pipelines.device.fastest_on_host", lambda width: next(answers))
    first = Device("cpu", Ledger(tmp_path / "ledger.json"))
    assert first.number_type(96) == first.number_type(96) == torch.bfloat16
    assert Device("cpu", Ledger(tmp_path / "ledger.json")).number_type(96) == torch.bfloat16
    assert Device("cpu").number_type(96) == torch.float32
