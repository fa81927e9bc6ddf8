"""Replay: the same picture again, pixel by pixel, or what changed since; through its whole chain."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from pipelines.__main__ import main
from pipelines.errors import StudioError
from pipelines.events import Done, Painted
from pipelines.library import Library
from pipelines.library.album import Kept, Wanted
from pipelines.library.intake import take_in
from pipelines.memory import Memory
from pipelines.models.adapters import adapter_of, adapters
from pipelines.models.headers import recognised
from pipelines.pictures import ORIGIN, opened, png
from pipelines.replay import compared, replay
from pipelines.runner import Runner
from pipelines.shelf import name_of
from pipelines.tasks import parse
from tests.accounting import Host
from tests.tiny.adapters import saved, trained
from tests.tiny.checkpoints import stable_diffusion

SMALL = {"model": "toy", "steps": 2, "width": 64, "height": 64}


@dataclass
class Desk:
    """A library with a runner that paints into it."""

    library: Library
    runner: Runner

    def paint(self, owner: str = "", **request: Any) -> Kept:
        job = self.runner.submit(parse(request), owner)
        ending = list(job.events(timeout=60))[-1]
        assert isinstance(ending, Done), ending
        return self.library.album.page(owner, Wanted())[0]


@pytest.fixture
def desk(toy: object, tmp_path: Path) -> Any:
    library = Library(tmp_path)
    runner = Runner(lambda: Memory(Host()), library)
    yield Desk(library, runner)
    runner.close()
    library.close()


def text(**more: Any) -> dict[str, Any]:
    return {"task": "text_to_image", "prompt": "a cat", "seed": 3, **SMALL, **more}


def chain(desk: Desk) -> Kept:
    """A sentence, then a part of it repainted."""
    first = desk.paint(**text())
    source = desk.library.shelf("").put(opened(first.file))
    assert source == first.pixels  # so that the library knows whose child comes of it
    mask = desk.library.shelf("").put(Image.new("L", (64, 64), 255))
    return desk.paint(task="inpaint", model="toy", prompt="a dog", source=source, mask=mask, seed=4, steps=2)


def test_a_picture_is_identical(desk: Desk) -> None:
    kept = desk.paint(**text(count=2))
    verdict = replay(kept.file, Memory(Host()), desk.library)
    assert verdict.identical and compared(verdict).startswith("Identical")
    assert verdict.chain == ("text to image",)


def test_a_chain_is_painted_from_its_beginning(desk: Desk) -> None:
    verdict = replay(chain(desk).file, Memory(Host()), desk.library)
    assert verdict.identical and verdict.chain == ("text to image", "inpaint")


def test_the_chain_is_found_by_the_library(desk: Desk) -> None:
    from pipelines.library.lineage import family

    kept = chain(desk)
    related = family(desk.library.album, "", kept.id)
    assert [each.task for each in related.members] == ["text_to_image", "inpaint"]
    assert {each.role for each in related.links} == {"source", "mask"} and len(related.brought) == 1


def test_a_chain_whose_beginning_is_gone_says_so(desk: Desk, tmp_path: Path) -> None:
    kept = chain(desk)
    for path in (tmp_path / "shelf").rglob("*.png"):
        path.unlink()
    with pytest.raises(StudioError, match="not here"):
        replay(kept.file, Memory(Host()), desk.library)


def altered(kept: Kept, folder: Path, **origin: Any) -> Path:
    """The same file with other pixels, as if they had been painted elsewhere."""
    picture = opened(kept.file)
    picture.putpixel((0, 0), (255, 0, 255))
    path = folder / "altered.png"
    path.write_bytes(png(Painted(picture, parse(kept.request)), {**kept.origin, **origin}))
    return path


def test_what_differs_is_said_with_what_changed_since(desk: Desk, tmp_path: Path) -> None:
    kept = desk.paint(**text())
    weights = {name: "0" * 32 for name in kept.origin["weights"]}
    verdict = replay(
        altered(kept, tmp_path, studio="0.0.1", weights=weights, device="cuda NVIDIA H100"), Memory(Host())
    )
    words = compared(verdict)
    assert not verdict.identical and verdict.share == 1 / 64**2 and verdict.most > 0
    for each in (
        "version of Palimpsest changed: 0.0.1 then",
        "weights of the model changed",
        "device changed: cuda NVIDIA H100",
    ):
        assert each in words
    assert "torch" not in words


def test_a_difference_that_nothing_explains_is_said_to_be_one(desk: Desk, tmp_path: Path) -> None:
    words = compared(replay(altered(desk.paint(**text()), tmp_path), Memory(Host())))
    assert words.startswith("Not identical") and "are the same as then" in words


def put_on(file: Path) -> None:
    if "style" in adapters:
        adapters.remove("style")
    adapters.add("style", adapter_of(file, "style", recognised(file)))


def test_an_adapter_that_is_another_now_is_said_to_have_changed(desk: Desk, tmp_path: Path, shelf: object) -> None:
    pipe = stable_diffusion(tmp_path / "elsewhere")
    trained(pipe)
    put_on(saved(pipe, tmp_path / "then.safetensors"))
    kept = desk.paint(**text(adapters=["style"]))
    assert list(kept.origin["adapters"]) == ["style"]
    assert replay(kept.file, Memory(Host()), desk.library).identical
    values = load_file(tmp_path / "then.safetensors")
    save_file({name: 3 * value for name, value in values.items()}, tmp_path / "now.safetensors")
    put_on(tmp_path / "now.safetensors")
    words = compared(replay(kept.file, Memory(Host()), desk.library))
    assert words.startswith("Not identical") and "The weights of an adapter changed: style" in words


def test_every_picture_says_by_what_it_was_painted(desk: Desk) -> None:
    kept = desk.paint(**text())
    origin = json.loads(Image.open(kept.file).info[ORIGIN])
    assert origin == kept.origin and {"studio", "torch", "diffusers", "device", "weights", "numbers", "job"} == set(
        origin
    )
    assert all(len(key) == 32 for key in origin["weights"].values()) and len(origin["weights"]) >= 3
    assert name_of(opened(kept.file)) == kept.pixels


def test_replay_on_the_command_line(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = desk.paint(**text())
    assert main(["replay", str(altered(kept, tmp_path)), "--device", "cpu", "--folder", str(tmp_path)]) == 1
    assert json.loads(capsys.readouterr().out)["identical"] is False
    assert main(["replay", str(tmp_path / "none.png")]) == 2


def test_a_file_taken_in_is_replayed_all_the_same(desk: Desk) -> None:
    kept = desk.paint(**text())
    moved = kept.file.rename(kept.file.with_name("moved.png"))
    assert take_in(desk.library.album, lambda job: "") == 1
    assert replay(moved, Memory(Host()), desk.library).identical
