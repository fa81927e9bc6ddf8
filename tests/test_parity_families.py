"""Every family against diffusers' own pipeline: the same checkpoint, the same noise, the same latents and pixels."""

from pathlib import Path as Folder
from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines.memory import Memory
from pipelines.models import ModelSpec, load_folder
from pipelines.models.flux import packed
from pipelines.painting import conditions, noise_of, paint
from pipelines.samplers import Path
from pipelines.tasks.text_to_image import TextToImage
from tests.accounting import host, result_of
from tests.tiny import checkpoints

STEPS, SCALE = 6, 4.0
WORDS = {"prompt": "a red cat", "negative_prompt": "a dog"}


def asked(**values: Any) -> TextToImage:
    """Plain guidance, an Euler walk."""
    plain = {"sampler": "euler", "guidance": {"name": "cfg", "knobs": {"scale": SCALE}}, "seed": 1}
    return TextToImage(**{"model": "toy", "width": 64, "height": 96, "steps": STEPS, **WORDS, **plain, **values})


@torch.inference_mode()
def ours(spec: ModelSpec, noise: Tensor, request: TextToImage, first: float = 0.0) -> Tensor:
    """The last latents of our loop over the checkpoint's own noise levels."""
    memory: Memory = host()
    sigmas = spec.sized(request.width, request.height).own(request.steps)
    x = noise * first if first else spec.start(noise, sigmas[0])
    cond, uncond = result_of(conditions(request, spec, memory))
    return result_of(paint(request, spec, memory, x, sigmas, cond, uncond, Path(spec.alpha, noise_of(1))))


def noise_for(spec: ModelSpec) -> Tensor:
    return torch.randn(spec.latent_shape(64, 96), generator=torch.Generator().manual_seed(3))


SDXL: dict[str, dict[str, Any]] = {
    "sdxl": {},
    "without a middle, as KOALA": {"middle": False},
    "trailing, as Turbo": {"timestep_spacing": "trailing"},
    "v prediction": {"prediction_type": "v_prediction", "timestep_spacing": "linspace"},
}


@pytest.mark.parametrize("negative", ["a dog", ""])
@pytest.mark.parametrize("kind", SDXL)
def test_sdxl_paints_as_in_diffusers(kind: str, negative: str, tmp_path: Folder) -> None:
    pipe, spec = checkpoints.sdxl(tmp_path / "toy", **SDXL[kind]), load_folder(tmp_path / "toy", "toy")
    noise = noise_for(spec)
    theirs = pipe(
        "a red cat", negative_prompt=negative or None, latents=noise, width=64, height=96, num_inference_steps=STEPS,
        guidance_scale=SCALE, output_type="latent",
    ).images  # fmt: skip
    mine = ours(spec, noise, asked(negative_prompt=negative), first=float(pipe.scheduler.init_noise_sigma))
    assert float((mine - theirs).abs().max()) < 1e-4


def test_the_refiner_goes_on_as_in_diffusers(tmp_path: Folder) -> None:
    pipe, spec = checkpoints.sdxl(tmp_path / "toy", refines=True), load_folder(tmp_path / "toy", "toy")
    clean, noise, request = noise_for(spec), noise_for(spec).flip(0, 2), asked()
    memory, sigmas = host(), spec.sized(64, 96).own(10)[7:]  # strength 0.3 of 10 steps
    pipe.prepare_latents = lambda *_, **__: clean + sigmas[0] * noise
    with torch.inference_mode():
        theirs = pipe(
            "a red cat", negative_prompt="a dog", image=clean, strength=0.3, num_inference_steps=10,
            guidance_scale=SCALE, output_type="latent", original_size=(96, 64), target_size=(96, 64),
        ).images  # fmt: skip
        cond, uncond = result_of(conditions(request, spec, memory))
        walk = Path(spec.alpha, noise_of(1))
        mine = result_of(paint(request, spec, memory, spec.noised(clean, noise, sigmas[0]), sigmas, cond, uncond, walk))
    assert float((mine - theirs).abs().max()) < 1e-4


@pytest.mark.parametrize("kind", ["as it is", "without T5", "shifted by size"])
def test_stable_diffusion_3_paints_as_in_diffusers(kind: str, tmp_path: Folder) -> None:
    settings = {"without T5": {"with_t5": False}, "shifted by size": {"use_dynamic_shifting": True}}.get(kind, {})
    pipe, spec = checkpoints.sd3(tmp_path / "toy", **settings), load_folder(tmp_path / "toy", "toy")
    noise = noise_for(spec)
    theirs = pipe(
        **WORDS, latents=noise, width=64, height=96, num_inference_steps=STEPS, guidance_scale=SCALE, output_type="latent"
    ).images  # fmt: skip
    assert float((ours(spec, noise, asked()) - theirs).abs().max()) < 1e-4


@pytest.mark.parametrize(("guided", "true_scale"), [(True, 1.0), (True, SCALE), (False, 1.0)])
def test_flux_paints_as_in_diffusers(guided: bool, true_scale: float, tmp_path: Folder) -> None:
    pipe, spec = checkpoints.flux(tmp_path / "toy", guided=guided), load_folder(tmp_path / "toy", "toy")
    noise = noise_for(spec)
    theirs = pipe(
        **WORDS, latents=packed(noise), width=64, height=96, num_inference_steps=STEPS, true_cfg_scale=true_scale, guidance_scale=3.5,
        max_sequence_length=512 if guided else 256, output_type="latent",
    ).images  # fmt: skip
    guidance = {"name": "cfg", "knobs": {"scale": true_scale}} if true_scale > 1 else spec.defaults["guidance"]
    mine = ours(spec, noise, asked(guidance=guidance))
    assert float((packed(mine) - theirs).abs().max()) < 1e-4


def test_flux_dev_reads_how_strongly_to_follow(tmp_path: Folder) -> None:
    pipe, spec = checkpoints.flux(tmp_path / "toy"), load_folder(tmp_path / "toy", "toy")
    noise = noise_for(spec)
    theirs = pipe("a red cat", latents=packed(noise), width=64, height=96, num_inference_steps=STEPS, guidance_scale=7.0, output_type="latent").images  # fmt: skip
    mine = ours(spec, noise, asked(guidance={"name": "distilled", "knobs": {"scale": 7.0}}))
    assert float((packed(mine) - theirs).abs().max()) < 1e-4
    assert float((mine - ours(spec, noise, asked(guidance="distilled"))).abs().max()) > 1e-3


@pytest.mark.parametrize("solver", [True, False])
def test_sana_paints_as_in_diffusers(solver: bool, tmp_path: Folder) -> None:
    """Where diffusers' solver tells the network whole times only, it is made to tell those of its noise levels."""
    pipe, spec = checkpoints.sana(tmp_path / "toy", solver=solver), load_folder(tmp_path / "toy", "toy")
    cut = pipe.scheduler.set_timesteps

    def set_timesteps(*given: Any, **named: Any) -> None:
        cut(*given, **named)
        pipe.scheduler.timesteps = 1000 * pipe.scheduler.sigmas[:-1]

    pipe.scheduler.set_timesteps = set_timesteps
    noise = noise_for(spec)
    theirs = pipe(
        **WORDS, latents=noise, width=64, height=96, num_inference_steps=STEPS, guidance_scale=SCALE, output_type="latent",
        use_resolution_binning=False,
    ).images  # fmt: skip
    mine = ours(spec, noise, asked(sampler=spec.defaults["sampler"]), first=float(solver))
    assert float((mine - theirs).abs().max()) < 1e-4


@pytest.mark.parametrize("name", checkpoints.FAMILIES)
def test_pixels_of_the_whole_way_equal_those_of_diffusers(name: str, tmp_path: Folder) -> None:
    pipe, spec = checkpoints.FAMILIES[name](tmp_path / "toy"), load_folder(tmp_path / "toy", "toy")
    latents = noise_for(spec)
    with torch.inference_mode(), host().use(spec.vae) as vae:
        mine = spec.decode(vae, latents)
        scaled = latents / pipe.vae.config.scaling_factor + (getattr(pipe.vae.config, "shift_factor", None) or 0)
        theirs = pipe.vae.decode(scaled).sample
    assert float((mine - theirs).abs().max()) < 1e-5
