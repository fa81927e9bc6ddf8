"""Every family on a toy of its real classes: words to picture through the task, shared parts, refusals in a sentence."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LCMScheduler, StableDiffusionInpaintPipeline
from PIL import Image

from pipelines.errors import BadCheckpoint, StudioError
from pipelines.events import Finished
from pipelines.guidance import guidances
from pipelines.memory import Memory
from pipelines.models import ModelSpec, load_folder, models
from pipelines.models.unet import guidance_seen
from pipelines.painting import all_masked, conditions, noise_of, paint
from pipelines.request import Request
from pipelines.samplers import Path as Walk
from pipelines.samplers import samplers
from pipelines.shelf import FolderShelf
from pipelines.tasks import parse, run
from pipelines.tasks.text_to_image import TextToImage
from pipelines.types import Cond
from tests.accounting import Host, host, result_of
from tests.test_text_to_image import pictures
from tests.tiny.checkpoints import FAMILIES, flux, sana, sd3, sdxl, stable_diffusion

NINE = {"model": "nine", "steps": 4, "width": 64, "height": 64, "seed": 5, "prompt": "a red cat", "sampler": "ddim"}


@pytest.fixture(scope="module")
def nine(tmp_path_factory: pytest.TempPathFactory) -> tuple[StableDiffusionInpaintPipeline, ModelSpec]:
    folder = tmp_path_factory.mktemp("nine") / "nine"
    return stable_diffusion(folder, inpaints=True, asymmetric=True), load_folder(folder, "nine")


@torch.inference_mode()
@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_a_nine_channel_network_paints_as_in_diffusers(
    nine: tuple[StableDiffusionInpaintPipeline, ModelSpec], kept: float
) -> None:
    pipe, spec = nine
    mask = (torch.linspace(0, 1, 64).expand(1, 1, 64, 64) >= kept).float()
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 2 - 1
    noise, memory = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(1)), host()
    with memory.use(spec.vae) as vae:
        masked = spec.encode(vae, pixels * (mask < 0.5))
    theirs = pipe(
        "a red cat", image=(pixels + 1) / 2, mask_image=mask, masked_image_latents=masked, latents=noise, height=64, width=64,
        num_inference_steps=4, guidance_scale=5.0, output_type="latent", strength=1.0,
    ).images  # fmt: skip
    request = TextToImage(**NINE)
    table = spec.table()
    sigmas = torch.cat([table[pipe.scheduler.timesteps.long()], torch.zeros(1)])
    cond, uncond = result_of(conditions(request, spec, memory))
    x = noise * (sigmas[0] ** 2 + 1).sqrt()
    beside = torch.cat([mask[:, :, ::2, ::2], masked], 1) if kept else None
    mine = result_of(
        paint(request, spec, memory, x, sigmas, cond, uncond, Walk(spec.alpha, noise_of(5)), beside=beside)
    )
    assert float((mine - theirs).abs().max()) < 1e-4


@torch.inference_mode()
def test_by_default_all_is_masked_and_what_lies_below_is_grey(
    nine: tuple[StableDiffusionInpaintPipeline, ModelSpec],
) -> None:
    pipe, spec = nine
    beside = all_masked(spec, host(), torch.zeros(1, 4, 16, 16))
    grey = pipe.vae.encode(torch.zeros(1, 3, 32, 32)).latent_dist.mode() * 0.18215
    assert bool((beside[:, :1] == 1).all()) and torch.allclose(beside[:, 1:], grey)


@torch.inference_mode()
def test_an_asymmetric_decoder_reads_the_picture_it_keeps(
    nine: tuple[StableDiffusionInpaintPipeline, ModelSpec], toy: ModelSpec
) -> None:
    pipe, spec = nine
    latents, pixels = torch.randn(1, 4, 16, 16), torch.rand(1, 3, 32, 32) * 2 - 1
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 16:] = 1
    with host().use(spec.vae) as vae:
        assert spec.decode_keeping is not None
        mine = spec.decode_keeping(vae, latents, pixels, mask)
        plain = spec.decode(vae, latents)
    theirs = pipe.vae.decode(latents / 0.18215, image=pixels, mask=mask).sample
    assert torch.allclose(mine, theirs, atol=1e-5) and not torch.allclose(mine, plain, atol=1e-2)
    assert toy.decode_keeping is None


def test_a_nine_channel_checkpoint_paints_from_words(
    nine: tuple[StableDiffusionInpaintPipeline, ModelSpec],
) -> None:
    try:
        models.add("nine", nine[1])
        assert len(set(pictures(host(), **NINE | {"count": 2}))) == 2
    finally:
        models.remove("nine")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("families")
    for name, build in FAMILIES.items():
        build(folder / name)
    return folder


@pytest.fixture
def specs(folders: Path) -> Iterator[dict[str, ModelSpec]]:
    """One checkpoint of every family, registered under its name for one test."""
    known = {name: models.add(name, load_folder(folders / name, name)) for name in FAMILIES}
    yield known
    for name in FAMILIES:
        models.remove(name)


SMALL = {"steps": 2, "width": 64, "height": 72, "seed": 1, "prompt": "a red cat", "schedule": "own"}


@pytest.mark.parametrize("name", FAMILIES)
def test_words_become_pictures_of_the_size_asked_for(name: str, specs: dict[str, ModelSpec]) -> None:
    memory = host()
    for width, height in ((64, 96), (72, 88), (88, 64)):  # 72 and 88 are multiples of 8 and of no more
        (pixels,) = pictures(memory, **SMALL | {"model": name, "width": width, "height": height})
        assert len(pixels) == width * height * 3
    ways: list[dict[str, Any]] = [{}, {"seed": 2}, {"prompt": "a dog"}, {"negative_prompt": "a house"}]
    assert len({pictures(memory, **SMALL | {"model": name} | way)[0] for way in ways}) == len(ways)


@pytest.mark.parametrize("name", FAMILIES)
def test_long_and_weighted_prompts_are_read_to_their_end(name: str, specs: dict[str, ModelSpec]) -> None:
    memory, long = host(), ", ".join(["a red cat on the sea"] * 20)
    read = {prompt: pictures(memory, **SMALL | {"model": name, "prompt": prompt})[0] for prompt in (f"{long}, a dog", f"{long}, a house", "a red (cat:1.4)", "a red cat")}  # fmt: skip
    assert len(set(read.values())) == (4 if name != "sana" else 3)  # Sana reads weights as plain words


@pytest.mark.parametrize("sampler", samplers)
def test_every_sampler_walks_a_flow(sampler: str, specs: dict[str, ModelSpec]) -> None:
    """From pure noise, at sigma 1."""
    for knobs in ({}, *({"eta": eta} for eta in (0.0, 0.5) if "eta" in samplers[sampler].model_fields)):
        choice = {"name": sampler, "knobs": knobs}
        assert len(pictures(host(), **SMALL | {"model": "sana", "sampler": choice, "steps": 3})) == 1


@pytest.mark.parametrize("guidance", guidances)
def test_every_guidance_steers_a_flow_or_says_why_not(guidance: str, specs: dict[str, ModelSpec]) -> None:
    for name in ("flux", "sana"):
        try:
            assert len(pictures(host(), **SMALL | {"model": name, "guidance": guidance})) == 1
        except StudioError as refusal:  # such as one that needs a UNet, or a second model
            assert str(refusal).endswith(".") and guidance not in ("cfg", "distilled")


@pytest.mark.parametrize("name", FAMILIES)
def test_presets_are_requests_and_the_usual_one_is_the_default(name: str, specs: dict[str, ModelSpec]) -> None:
    spec = specs[name]
    asked: list[Request] = [parse({"task": "text_to_image", "model": name, **each.values}) for each in spec.presets]
    assert [each.name for each in spec.presets] == ["Draft", "Balanced", "Best"] and len(asked) == 3
    assert spec.presets[1].values.items() <= spec.defaults.items()


@pytest.mark.parametrize("name", FAMILIES)
def test_what_two_checkpoints_have_in_common_is_held_once(name: str, folders: Path, tmp_path: Path, specs: dict[str, ModelSpec]) -> None:  # fmt: skip
    place = "transformer" if (folders / name / "transformer").exists() else "unet"
    pipe = FAMILIES[name](tmp_path / "twin")
    with torch.no_grad():
        next(getattr(pipe, place).parameters()).add_(1)
    pipe.save_pretrained(tmp_path / "twin")
    memory = host()
    try:
        twin = models.add("twin", load_folder(tmp_path / "twin", "twin"))
        assert pictures(memory, **SMALL | {"model": name}) != pictures(memory, **SMALL | {"model": "twin"})
    finally:
        models.remove("twin")
    parts = {each.part.key for each in memory.residents()}
    assert parts >= {part.key for part in (*specs[name].parts(), *twin.parts())}
    assert len({part.key for part in (*specs[name].parts(), *twin.parts())}) == len(twin.parts()) + 1


def test_t5_is_shared_between_families(tmp_path: Path) -> None:
    pipe, other = sd3(tmp_path / "sd3"), flux(tmp_path / "flux")
    other.text_encoder_2, other.tokenizer_2 = pipe.text_encoder_3, pipe.tokenizer_3
    other.save_pretrained(tmp_path / "flux")
    assert load_folder(tmp_path / "sd3", "sd3").texts[2] == load_folder(tmp_path / "flux", "flux").texts[1]


def rewritten(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def weights(folder: Path) -> Path:
    return next(file for part in ("unet", "transformer") for file in (folder / part).glob("*.safetensors"))


DAMAGES = {
    "cut off": lambda folder: weights(folder).write_bytes(weights(folder).read_bytes()[:-1000]),
    "an unknown family": lambda folder: rewritten(folder / "model_index.json", _class_name="NovelPipeline"),
    "no text encoder": lambda folder: (folder / "text_encoder" / "model.safetensors").unlink(),
    "settings of another network": lambda folder: (weights(folder).parent / "config.json").write_text("{}"),
    "settings of odd types": lambda folder: rewritten(folder / "vae" / "config.json", latent_channels="four"),
    "an unknown autoencoder": lambda folder: rewritten(folder / "vae" / "config.json", _class_name="AutoencoderNovel"),
}  # fmt: skip


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_damaged_folder_is_refused_in_a_sentence_before_anything_loads(name: str, how: str, tmp_path: Path) -> None:
    FAMILIES[name](tmp_path / "bad")
    DAMAGES[how](tmp_path / "bad")
    with pytest.raises(BadCheckpoint) as refusal:
        load_folder(tmp_path / "bad", "bad")
    assert str(refusal.value).endswith(".") and "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_folder_that_names_another_family_is_refused(name: str, folders: Path, tmp_path: Path) -> None:
    FAMILIES[name](tmp_path / "bad")
    for other in FAMILIES:
        kind = json.loads((folders / other / "model_index.json").read_text())["_class_name"]
        rewritten(tmp_path / "bad" / "model_index.json", _class_name=kind)
        if other != name:
            with pytest.raises(BadCheckpoint):
                load_folder(tmp_path / "bad", "bad")


def test_an_autoencoder_that_leaves_the_range_of_float16_runs_in_float32(specs: dict[str, ModelSpec]) -> None:
    spec, half = specs["sdxl"], Host()
    half.number_type = lambda width: torch.float16  # as on a card without bfloat16
    memory = Memory(half)
    assert memory.number_type(spec.vae) == torch.float32 and memory.number_type(spec.net) == torch.float16
    half.number_type = lambda width: torch.bfloat16
    assert memory.number_type(spec.vae) == torch.bfloat16


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_paints_in_bfloat16(name: str, specs: dict[str, ModelSpec]) -> None:
    half = Host()
    half.number_type = lambda width: torch.bfloat16
    coarse = pictures(Memory(half), **SMALL | {"model": name})[0]
    fine = pictures(host(), **SMALL | {"model": name})[0]
    off = [abs(a - b) for a, b in zip(coarse, fine, strict=True)]
    assert coarse != fine and sum(off) / len(off) < 6  # of 255


REPAINTED = {"inpaint": {}, "repaint": {"strength": 0.5}, "outpaint": {"left": 8}, "edit": {"shown": "a dog"}}


@pytest.mark.parametrize("task", REPAINTED)
@pytest.mark.parametrize("name", [*FAMILIES, "refiner"])
def test_pictures_are_repainted_with_every_family(name: str, task: str, specs: dict[str, ModelSpec], tmp_path: Path) -> None:  # fmt: skip
    if name == "refiner":
        sdxl(tmp_path / name, refines=True)
        models.add(name, load_folder(tmp_path / name, name))
    shelf = FolderShelf(tmp_path / "shelf")
    source = shelf.put(Image.effect_mandelbrot((64, 64), (-2, -1.5, 1, 1.5), 20).convert("RGB"))
    request = parse({"task": task, "model": name, "source": source, "seed": 1, "steps": 3, "prompt": "a red cat", **REPAINTED[task]})  # fmt: skip
    try:
        made = [each.painted.picture for each in run(request, host(), shelf) if isinstance(each, Finished)]
    finally:
        if name == "refiner":
            models.remove(name)
    assert len(made) == 1 and made[0] is not None
    assert made[0].size == ((72, 64) if task == "outpaint" else (64, 64))


def test_sdxl_reads_sizes_of_a_condition(specs: dict[str, ModelSpec]) -> None:
    spec, memory, x = specs["sdxl"], host(), torch.randn(1, 4, 32, 32)
    cond = result_of(conditions(TextToImage(model="sdxl", seed=1), spec, memory))[0]
    small = Cond(cond.tokens, cond.fill, {**cond.extras, "size": torch.tensor([32.0, 32, 0, 0, 64, 64])})
    same = Cond(cond.tokens, cond.fill, {**cond.extras, "size": torch.tensor([64.0, 64, 0, 0, 64, 64])})
    with torch.inference_mode(), memory.use(spec.net) as net:
        whole, said, other = spec.predictor(net)(x, torch.tensor(3.0), [cond, same, small])
    assert torch.equal(whole, said) and not torch.allclose(whole, other)


@pytest.mark.parametrize("steps", [1, 4, 8, 50])
def test_levels_of_a_latent_consistency_model_are_those_of_diffusers(steps: int, tmp_path: Path) -> None:
    pipe = stable_diffusion(tmp_path / "toy")
    pipe.scheduler = LCMScheduler.from_config(pipe.scheduler.config)
    pipe.save_pretrained(tmp_path / "toy")
    spec = load_folder(tmp_path / "toy", "toy")
    pipe.scheduler.set_timesteps(steps)
    torch.testing.assert_close(spec.own(steps)[:-1], spec.table()[pipe.scheduler.timesteps])
    assert spec.defaults["sampler"] == "lcm" and spec.defaults["guidance"]["knobs"] == {"scale": 1.0}


def test_what_a_distilled_unet_reads_of_the_scale_is_that_of_diffusers(tmp_path: Path) -> None:
    pipe = stable_diffusion(tmp_path / "toy")
    rows = [Cond(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), {"guidance": torch.tensor(scale)}) for scale in (3.0, 8.5)]
    assert guidance_seen(pipe.unet, rows) is None
    pipe.unet.register_to_config(time_cond_proj_dim=16)
    seen = guidance_seen(pipe.unet, rows)
    assert seen is not None
    torch.testing.assert_close(seen, pipe.get_guidance_scale_embedding(torch.tensor([2.0, 7.5]), 16), atol=1e-4, rtol=0)


def test_turbo_settings_ask_for_few_steps_and_no_guidance(tmp_path: Path) -> None:
    sdxl(tmp_path / "toy", timestep_spacing="trailing")
    spec = load_folder(tmp_path / "toy", "toy")
    assert [each.values["steps"] for each in spec.presets] == [1, 4, 8] and spec.defaults["schedule"] == "own"


def test_networks_of_other_makings_are_refused(tmp_path: Path) -> None:
    sdxl(tmp_path / "edm")
    rewritten(tmp_path / "edm" / "scheduler" / "scheduler_config.json", _class_name="EDMEulerScheduler")
    flux(tmp_path / "fill")
    rewritten(tmp_path / "fill" / "transformer" / "config.json", in_channels=384)
    for name in ("edm", "fill"):
        with pytest.raises(BadCheckpoint):
            load_folder(tmp_path / name, name)


def test_larger_pictures_of_flux_dev_start_at_more_noise(tmp_path: Path) -> None:
    flux(tmp_path / "toy")
    sana(tmp_path / "sana")
    spec, fixed = load_folder(tmp_path / "toy", "toy"), load_folder(tmp_path / "sana", "sana")
    assert float(spec.sized(64, 64).own(4)[1]) > float(spec.sized(32, 32).own(4)[1]) and spec.side == 64
    assert torch.equal(fixed.sized(1024, 1024).own(4), fixed.sized(256, 256).own(4))
