"""Adapters go out, come back and are mixed, and paint what they painted before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from pipelines.adapters import painting_with
from pipelines.errors import BadCheckpoint, BadRequest
from pipelines.exchange import exported, mixed, taken_in
from pipelines.memory import Memory
from pipelines.models import ModelSpec
from pipelines.models.adapters import adapters
from pipelines.shelf import FolderShelf
from tests.test_personalize import asked, forget, picture, taught
from tests.tiny import adapters as tiny


@pytest.mark.parametrize("method", ["dreambooth_lora", "residuals", "textual_inversion", "sara"])
@pytest.mark.parametrize("layout", ["diffusers", "kohya"])
def test_an_adapter_that_went_out_and_came_back_paints_the_same(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf, tmp_path: Path, method: str, layout: str
) -> None:
    taught(asked(shelf, rate=0.05, steps=2, method=method, licence="CC0"), memory, shelf)
    before, notes = picture(memory, "a zorp in a house"), adapters["zorp"].notes
    (tmp_path / "out.safetensors").write_bytes(exported(adapters["zorp"], layout))  # type: ignore[arg-type]
    forget()
    memory.free()
    back = taken_in(tmp_path / "out.safetensors", shelf.workshop())
    assert back.name == "zorp" and back.ours["method"]["name"] == method
    assert back.notes["modelspec.license"] == "CC0" == notes["modelspec.license"]
    assert picture(memory, "a zorp in a house") == before


@pytest.mark.parametrize("layout", ["diffusers", "kohya"])
def test_diffusers_reads_our_files_as_we_do(
    toy: ModelSpec, toy_folder: Path, memory: Memory, shelf: FolderShelf, tmp_path: Path, layout: str
) -> None:
    taught(asked(shelf, rate=0.05, steps=3), memory, shelf)
    (tmp_path / "out.safetensors").write_bytes(exported(adapters["zorp"], layout))  # type: ignore[arg-type]
    pipe = StableDiffusionPipeline.from_pretrained(toy_folder / "toy", safety_checker=None)
    given = {"encoder_hidden_states": torch.randn(1, 77, 32), "timestep": torch.tensor([500])}
    x = torch.randn(1, 4, 32, 32)
    with torch.inference_mode(), memory.use(toy.net) as net:
        bare = pipe.unet(x, **given).sample
        pipe.load_lora_weights(str(tmp_path), weight_name="out.safetensors")
        theirs = pipe.unet(x, **given).sample
        with painting_with(net, {"zorp": 1.0}, toy, memory):
            ours = net(x, **given).sample
    assert float((ours - theirs).abs().max()) < 1e-5 < float((bare - theirs).abs().max())


def test_a_soup_of_one_is_that_one_and_a_share_of_none_was_never_there(
    toy: ModelSpec, memory: Memory, shelf: FolderShelf
) -> None:
    taught(asked(shelf, rate=0.05, steps=2), memory, shelf)
    taught(asked(shelf, rate=0.05, steps=2, word="blick", seed=9), memory, shelf)
    soup = mixed({"zorp": 1.0, "blick": 0.0}, "soup", shelf.workshop())
    own, mine = load_file(adapters["zorp"].path), load_file(soup.path)
    assert own.keys() == mine.keys() and all(torch.equal(own[name], mine[name]) for name in own)
    assert soup.ours["mixed"] == {"zorp": 1.0}


def test_a_soup_paints_as_its_parts_worn_together(toy: ModelSpec, memory: Memory, shelf: FolderShelf) -> None:
    taught(asked(shelf, rate=0.05, steps=2), memory, shelf)
    taught(asked(shelf, rate=0.05, steps=2, word="blick", seed=9), memory, shelf)
    mixed({"zorp": 0.7, "blick": 0.4}, "soup", shelf.workshop())
    given = {"encoder_hidden_states": torch.randn(1, 77, 32), "timestep": torch.tensor([500])}
    x, answers = torch.randn(1, 4, 32, 32), []
    for weights in ({"zorp": 0.7, "blick": 0.4}, {"soup": 1.0}, {"zorp": 0.7}):
        with torch.inference_mode(), memory.use(toy.net) as net, painting_with(net, weights, toy, memory):
            answers.append(net(x, **given).sample)
    assert float((answers[0] - answers[1]).abs().max()) < 1e-5 < float((answers[0] - answers[2]).abs().max())


def test_what_does_not_go_together_is_said(toy: ModelSpec, memory: Memory, shelf: FolderShelf, tmp_path: Path) -> None:
    taught(asked(shelf, steps=1, method="textual_inversion"), memory, shelf)
    with pytest.raises(BadCheckpoint, match="brings a word of its own"):
        mixed({"zorp": 1.0}, "soup", shelf.workshop())
    with pytest.raises(BadRequest, match="weight other than 0"):
        mixed({"zorp": 0.0}, "soup", shelf.workshop())
    with pytest.raises(BadRequest, match="already"):
        mixed({"zorp": 1.0}, "zorp", shelf.workshop())
    foreign = tiny.for_another_base(tmp_path / "foreign.safetensors")
    taken_in(foreign, shelf.workshop())
    with pytest.raises(BadCheckpoint, match="taught here, to one and the same model"):
        mixed({"foreign": 1.0}, "soup", shelf.workshop())
    (tmp_path / "junk.safetensors").write_bytes(b"no such thing")
    with pytest.raises(BadCheckpoint):
        taken_in(tmp_path / "junk.safetensors", shelf.workshop())
    assert "soup" not in adapters and "junk" not in adapters
