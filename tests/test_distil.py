"""Distillation of a Stable Diffusion checkpoint of toy width: from a folder of pictures to an adapter that paints."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, LCMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from safetensors import safe_open
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pipelines.training import distil
from pipelines.training.consistency import Lesson, boundary, draw_tops, endpoint, guided, segment_start, target_x0
from pipelines.training.consistency import Path as NoisePath

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220), "white": (240, 240, 240)}


def toy_checkpoint(folder: Path, prediction: str) -> Path:
    """A random Stable Diffusion checkpoint in the diffusers layout, 8x8 latents of 32x32 pictures."""
    torch.manual_seed(0)
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer({word: k for k, word in enumerate(words)}, [], model_max_length=16)
    text = CLIPTextConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=16, bos_token_id=len(words) - 2, eos_token_id=len(words) - 1,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(32, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32, attention_head_dim=16, norm_num_groups=8,
    )  # fmt: skip
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3,
        block_out_channels=[16, 16, 16], norm_num_groups=8, scaling_factor=1.0,
    )  # fmt: skip
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", prediction_type=prediction, clip_sample=False)
    pipe = StableDiffusionPipeline(
        vae, CLIPTextModel(text), tokenizer, unet, scheduler, None, None, requires_safety_checker=False
    )
    pipe.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two toy checkpoints and a folder of coloured pictures with their prompts."""
    home = tmp_path_factory.mktemp("distil")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for prediction in ("epsilon", "v_prediction"):
        toy_checkpoint(home / prediction, prediction)
    (home / "pictures").mkdir()
    for k in range(32):
        name, colour = list(COLOURS.items())[k % 4]
        Image.new("RGB", (48, 40), tuple(c + k // 4 for c in colour)).save(home / "pictures" / f"{k:02}.png")
        (home / "pictures" / f"{k:02}.txt").write_text(name)
    yield home
    torch.set_num_threads(threads)


def run(places: Path, kind: str, model: str, out: str, *more: str) -> list[dict[str, Any]]:
    """Distil and return the log."""
    folder, written = places / "runs" / Path(out).stem, places / out
    words = [kind, "--model", str(places / model), "--out", str(written), "--run", str(folder), "--sheet", "0"]
    words += ["--source", str(places / "pictures"), "--held-out", "8", "--batch", "8", "--check-every", "20"]
    distil.main([*words, "--rank", "8", "--rate", "3e-3", "--minutes", "5", "--scale", "3", *more])
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("kind", ["guidance", "lcm", "trajectory", "progressive"])
@pytest.mark.parametrize("model", ["epsilon", "v_prediction"])
def test_the_held_out_loss_falls(places: Path, kind: str, model: str) -> None:
    log = run(places, kind, model, f"{kind}-{model}.safetensors", "--steps", "40")
    held_out = [line["held_out"] for line in log if "held_out" in line]
    assert held_out[-1] < 0.95 * held_out[0]


def test_the_saved_adapter_changes_what_diffusers_paints(places: Path) -> None:
    written = places / "painting.safetensors"
    run(places, "lcm", "v_prediction", written.name, "--steps", "30", "--sheet", "2")
    assert Image.open(places / "runs" / "painting" / "sheet.png").size == (64, 128)
    pipe = StableDiffusionPipeline.from_pretrained(places / "v_prediction", safety_checker=None)
    pipe.scheduler = LCMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)

    def paint() -> torch.Tensor:
        seed = torch.Generator().manual_seed(0)
        painted = pipe("red", num_inference_steps=2, guidance_scale=1, generator=seed, output_type="latent")
        return torch.as_tensor(painted.images)

    before = paint()
    pipe.load_lora_weights(str(places), weight_name=written.name)
    assert (paint() - before).abs().max() > 0.01


def test_the_saved_adapter_is_the_student_that_was_trained(places: Path) -> None:
    written = places / "same.safetensors"
    run(places, "guidance", "epsilon", written.name, "--steps", "20")
    pipe = StableDiffusionPipeline.from_pretrained(places / "epsilon", safety_checker=None)
    x, t, states = torch.randn(2, 4, 8, 8), torch.tensor([300, 900]), torch.randn(2, 16, 32)
    factors = distil.load_adapter(written, distil.make_factors(pipe.unet, rank=8, seed=0))
    with torch.no_grad():
        ours = torch.func.functional_call(pipe.unet, distil.merged(pipe.unet, factors), (x, t, states)).sample
        pipe.load_lora_weights(str(places), weight_name=written.name)
        theirs = pipe.unet(x, t, states).sample
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_adapter_says_what_it_is(places: Path) -> None:
    run(places, "guidance", "epsilon", "said.safetensors", "--steps", "2")
    with safe_open(places / "said.safetensors", "pt") as file:
        said = file.metadata()
    assert (said["base"], said["method"], said["rank"], said["alpha"], said["steps"]) == (
        "epsilon", "guidance", "8", "8", "2",
    )  # fmt: skip


def test_a_resumed_run_ends_where_an_unbroken_one_does(places: Path) -> None:
    whole = run(places, "lcm", "epsilon", "whole.safetensors", "--steps", "20")
    settings = ("lcm", "epsilon", "broken.safetensors", "--steps", "20")
    stop = distil.Student.learn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distil.Student, "learn", lambda student, *rest: _crash_at(student, 10) or stop(student, *rest))
        with pytest.raises(KeyboardInterrupt):
            run(places, *settings)
    resumed = run(places, *settings)
    assert resumed[-1]["held_out"] == pytest.approx(whole[-1]["held_out"], rel=1e-4)
    assert max(line["step"] for line in resumed[:2]) <= 10


def _crash_at(student: distil.Student, step: int) -> None:
    if student.step == step:
        raise KeyboardInterrupt


def test_an_adapter_of_another_rank_is_refused(places: Path) -> None:
    run(places, "guidance", "epsilon", "eight.safetensors", "--steps", "1")
    with pytest.raises(ValueError, match="another rank"):
        run(places, "lcm", "epsilon", "four.safetensors", "--rank", "4", "--start", str(places / "eight.safetensors"))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_path_recovers_what_was_noised(prediction: str) -> None:
    path = NoisePath.of(torch.linspace(0.999, 0.01, 100), prediction)
    x0, noise, t = torch.randn(4, 4, 8, 8), torch.randn(4, 4, 8, 8), torch.tensor([1, 30, 70, 99])
    alpha, sigma = path.at(t)
    output = noise if prediction == "epsilon" else alpha * noise - sigma * x0
    x = path.noised(x0, noise, t)
    assert torch.allclose(path.x0(output, x, t), x0, atol=1e-4)
    s = t // 2
    assert torch.allclose(path.jump(x0, x, t, s), path.noised(x0, noise, s), atol=1e-4)
    assert torch.allclose(path.aim(path.jump(x0, x, t, s), x, t, s), x0, atol=1e-3)


def test_the_consistency_function_is_the_identity_at_the_clean_end() -> None:
    x, x0 = torch.randn(2, 1, 2, 2), torch.randn(2, 1, 2, 2)
    given = boundary(x, x0, torch.tensor([0, 999]))
    assert torch.equal(given[0], x[0])
    assert torch.allclose(given[1], x0[1], atol=1e-4)


def test_segments_begin_below_every_step() -> None:
    t = torch.arange(1, 1000)
    assert set(segment_start(t, 4, 1000).tolist()) == {0, 250, 500, 750}
    assert bool((segment_start(t, 4, 1000) < t).all())
    assert set(segment_start(t, 1, 1000).tolist()) == {0}


def test_a_progressive_lesson_is_where_the_teacher_arrives_in_several_steps() -> None:
    path = NoisePath.of(torch.linspace(0.9999, 0.001, 1000), "epsilon")
    t = draw_tops(6, 1000, 4, torch.Generator().manual_seed(0))
    assert set(t.tolist()) <= {249, 499, 749, 999}
    s = segment_start(t, 4, 1000)
    assert set((t - s).tolist()) <= {249}
    x, scale = torch.randn(6, 4, 8, 8), torch.ones(6, 1, 1, 1)
    lesson = Lesson(x, t, s, torch.zeros(6, 1, 1), torch.zeros(1, 1, 1), scale)
    asked: list[int] = []

    def teacher(x: torch.Tensor, t: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        asked.append(len(x))
        return torch.tanh(x) / 2

    wanted = target_x0("progressive", path, lesson, teacher, teacher, 20, moves=3)
    assert asked == [6, 6, 6]  # no guidance where the scale is 1
    torch.testing.assert_close(path.jump(wanted, x, t, s), endpoint(path, teacher, lesson, 3), atol=1e-4, rtol=1e-4)
    guided(teacher, x, t, lesson.cond, lesson.uncond, scale * 2)
    assert asked[-1] == 12


def test_a_few_step_adapter_teaches_one_of_fewer_steps(places: Path) -> None:
    run(places, "progressive", "v_prediction", "four.safetensors", "--steps", "5", "--segments", "4")
    more = ("--steps", "5", "--segments", "2", "--moves", "2", "--teacher", str(places / "four.safetensors"))
    lines = run(places, "progressive", "v_prediction", "two.safetensors", *more)
    assert lines[-1]["step"] == 5 and (places / "two.safetensors").exists()
