"""Restoring in one step: a toy learns it, one evaluation is one, and what was taught to another model is refused."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pipelines.errors import BadCheckpoint
from pipelines.events import Painted, Progress
from pipelines.evidence import residual
from pipelines.memory import Memory
from pipelines.models import ModelSpec
from pipelines.models.lora import Lora, LowRank, Worn, patched
from pipelines.models.one_step import load_one_step, one_step_part
from pipelines.painting import encoded
from pipelines.shelf import FolderShelf
from pipelines.tasks import parse, run
from pipelines.training import one_step as training
from pipelines.training.one_step import save_one_step
from pipelines.training.scenes import draw, sample_scene, stream
from pipelines.upscalers import one_step, upscalers
from tests.accounting import result_of
from tests.quality.upscale import seams
from tests.tiny.checkpoints import stable_diffusion

WORDS = ["--rank", "4", "--batch", "2", "--edge", "64", "--examined", "2", "--device", "cpu", "--rate", "0.003"]


@pytest.fixture
def weights(toy: ModelSpec, memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Changes of random numbers, for the toy in the place of the built-in model."""
    file = tmp_path / "one_step.safetensors"
    with memory.use(toy.net) as net, memory.use(toy.vae) as vae:
        ours = training.untaught(net, training.fitted(toy, vae, 64), 4, 1)
        for change in ours.lora.layers:
            change.up.data.normal_(0, 0.03)  # type: ignore[union-attr, operator]
        ours.ends.finish.conv_out.weight.data.normal_(0, 0.03)
        save_one_step(ours, file, toy.net.key)
    monkeypatch.setattr(one_step, "FILE", file)
    monkeypatch.setattr(one_step, "BASE", "toy")
    monkeypatch.setattr(upscalers, "_entries", {**upscalers, "one_step": one_step.OneStep})
    yield file


def picture(edge: int = 30) -> Image.Image:
    return draw(sample_scene(stream("train", 3)), 256, 256).resize((edge, edge))


def enlarged(memory: Memory, shelf: FolderShelf, start: Image.Image, creativity: float = 0.7) -> Image.Image:
    method = {"name": "one_step", "knobs": {"creativity": creativity}}
    request = {"task": "upscale", "times": 2, "seed": 1, "upscaler": method, "source": shelf.put(start)}
    (made,) = result_of(run(parse(request), memory, shelf)).pictures
    assert isinstance(made, Painted) and made.picture is not None
    return made.picture


def test_a_toy_that_is_taught_loses_less_on_what_it_has_not_seen_and_goes_on_after_a_stop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stable_diffusion(tmp_path / "toy")
    out = tmp_path / "one_step.safetensors"
    words = [*WORDS, "--model", str(tmp_path / "toy"), "--run", str(tmp_path / "run"), "--out", str(out)]

    def held_out(steps: int) -> float:
        training.main([*words, "--steps", str(steps)])
        return float(json.loads(capsys.readouterr().out.splitlines()[-1])["latents"])

    before, half = held_out(1), held_out(10)
    assert held_out(20) < half < before
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "one_step.jsonl").read_text().splitlines()]
    assert steps == sorted(steps) and steps[-1] == 20


def test_one_step_is_one_evaluation_a_tile(
    toy: ModelSpec, weights: Path, memory: Memory, shelf: FolderShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    monkeypatch.setattr(one_step, "SIDE", toy.side // toy.factor)
    with memory.use(one_step_part(weights, toy)) as ours:
        hook = ours.net.register_forward_pre_hook(lambda *_: counted.append(1))
        try:
            enlarged(memory, shelf, picture(toy.side // 2))
            assert len(counted) == 1
            counted.clear()
            request = {"task": "upscale", "times": 2, "upscaler": "one_step", "source": shelf.put(picture(toy.side))}
            events = list(run(parse(request), memory, shelf))
        finally:
            hook.remove()
    assert len(counted) == 4
    assert [event.step for event in events if isinstance(event, Progress)] == [1, 2, 3, 4]


def test_tiles_meet_without_a_seam(
    toy: ModelSpec, weights: Path, memory: Memory, shelf: FolderShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_step, "SIDE", toy.side // toy.factor)
    start = draw(sample_scene(stream("train", 5)), 256, 256).resize((toy.side, toy.side))
    large = enlarged(memory, shelf, start, 1.0)
    plain = start.resize(large.size, Image.Resampling.LANCZOS)
    assert seams(large, toy.side) <= 1.05 * seams(plain, toy.side)


def test_the_slider_goes_from_the_picture_to_what_was_learned(
    toy: ModelSpec, weights: Path, memory: Memory, shelf: FolderShelf
) -> None:
    start = picture()
    found = [enlarged(memory, shelf, start, creativity) for creativity in (0.0, 0.5, 1.0)]
    left = [residual(each, start) for each in found]
    assert left[0] < left[1] < left[2]
    away = [np.abs(np.asarray(each, int) - np.asarray(found[0], int)).mean() for each in found]
    assert 0 == away[0] < away[1] < away[2]


def test_the_changes_are_in_the_weights_of_a_copy_and_the_painter_is_as_it_was(
    toy: ModelSpec, weights: Path, memory: Memory, shelf: FolderShelf
) -> None:
    x = torch.randn(1, toy.channels, 8, 8)
    with memory.use(toy.vae) as vae, memory.use(toy.net) as net:
        before, sigma, cond = toy.decode(vae, x), torch.tensor(0.5), encoded(toy, memory, "")
        ours = load_one_step(weights, toy.net)
        (plain,) = toy.predictor(net)(x, sigma, [cond])
        (changed,) = toy.predictor(ours.net)(x, sigma, [cond])
        assert not torch.allclose(changed, plain, atol=1e-3)
        state = load_file(weights)
        layers = {
            ("net", name.split(".")[1]): LowRank(state[name].float(), state[name[:-4] + "up"].float(), 1.0, None)
            for name in state
            if name.startswith("net.") and name.endswith("down")
        }
        with patched(net, "net", [Worn("one step", Lora(layers), 1.0)], "the painter"):
            assert torch.allclose(toy.predictor(net)(x, sigma, [cond])[0], changed, atol=1e-4)
        assert torch.equal(toy.predictor(net)(x, sigma, [cond])[0], plain)
        enlarged(memory, shelf, picture())
        assert torch.equal(toy.predictor(net)(x, sigma, [cond])[0], plain)
        assert torch.equal(toy.decode(vae, x), before)


def test_what_was_taught_to_another_model_is_refused(toy: ModelSpec, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="another state of the built-in model"):
        load_one_step(weights, replace(toy.net, key="another"))
    with pytest.raises(BadCheckpoint, match="is missing"):
        one_step_part(tmp_path / "none.safetensors", toy)
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(BadCheckpoint, match="damaged"):
        load_one_step(tmp_path / "cut.safetensors", toy.net)


def test_ends_read_and_write_what_an_autoencoder_does_as_far_as_a_line_can(toy: ModelSpec, memory: Memory) -> None:
    with memory.use(toy.vae) as vae, torch.no_grad():
        ends = training.fitted(toy, vae, 64)
        pixels = training.pairs("ends", 2, 4, 64).sharp
        wanted = toy.encode(vae, pixels)
        assert (ends.read(pixels) - wanted).square().mean() < 0.9 * wanted.var()
        back = torch.nn.functional.pixel_shuffle(ends.write(wanted), 2)
        blank = torch.zeros_like(wanted)
        nothing = torch.nn.functional.pixel_shuffle(ends.write(blank), 2)
        assert (back - pixels).square().mean() < (nothing - pixels).square().mean()


def test_a_method_without_weights_is_no_choice() -> None:
    assert ("one_step" in upscalers) == one_step.FILE.exists()
    assert ("compact" in upscalers) == one_step.FILE.with_name("compact.safetensors").exists()
