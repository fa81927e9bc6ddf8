"""Our loop against diffusers' own pipeline: the same checkpoint, the same noise, the same latents."""

from collections.abc import Iterator
from pathlib import Path as Folder

import diffusers
import pytest
import torch
from diffusers import StableDiffusionPipeline

from pipelines.memory import Memory
from pipelines.models import ModelSpec, load_folder
from pipelines.painting import conditions, noise_of, paint
from pipelines.samplers import Path
from pipelines.tasks.text_to_image import TextToImage
from tests.accounting import host, result_of
from tests.tiny.checkpoints import stable_diffusion

STEPS, SEED = 20, 7
BOTH_HAVE = {
    "euler": ("EulerDiscreteScheduler", {}, {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}, {}),
    "heun": ("HeunDiscreteScheduler", {}, {}),
    "ddim": ("DDIMScheduler", {}, {}),
    "ddim at eta 0.6": ("DDIMScheduler", {}, {"eta": 0.6}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}, {}),
    "dpmpp_2m on karras": ("EulerDiscreteScheduler", {"use_karras_sigmas": True}, {}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, {}),
    "unipc": ("UniPCMultistepScheduler", {"solver_order": 2}, {}),
    "deis": ("DEISMultistepScheduler", {"solver_order": 3}, {}),
    "ddpm": ("DDPMScheduler", {}, {}),
    "ddpm of large spread": ("DDPMScheduler", {"variance_type": "fixed_large", "steps_offset": 0}, {"spread": "large"}),
    "lcm": ("LCMScheduler", {}, {}),
}  # third order is not among them: diffusers weighs the second difference half as much as the integral of the polynomial


def sigmas_of(scheduler: object, table: torch.Tensor) -> torch.Tensor:
    """The noise levels that diffusers' scheduler visits, in sigma, ending in 0."""
    if hasattr(scheduler, "sigmas") and len(scheduler.sigmas):
        return torch.as_tensor(scheduler.sigmas).float().unique_consecutive()
    return torch.cat([table[scheduler.timesteps.long().unique_consecutive()], torch.zeros(1)])


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def checkpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[StableDiffusionPipeline, ModelSpec]:
    folder: Folder = tmp_path_factory.mktemp(request.param)
    pipe = stable_diffusion(folder / "toy", prediction=request.param)
    return pipe, load_folder(folder / "toy", "toy", title="Toy")


@pytest.fixture
def own_scheduler(checkpoint: tuple[StableDiffusionPipeline, ModelSpec]) -> Iterator[None]:
    """Gives the checkpoint its own scheduler back: settings of one kind would be taken over by the next."""
    pipe, _ = checkpoint
    scheduler = pipe.scheduler
    yield
    pipe.scheduler = scheduler


@torch.inference_mode()
def ours(spec: ModelSpec, memory: Memory, sampler: object, sigmas: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    request = TextToImage(
        model="toy",
        prompt="a red cat",
        negative_prompt="a dog",
        sampler=sampler,
        seed=SEED,
        guidance={"name": "cfg", "knobs": {"scale": 5}},
    )
    cond, uncond = result_of(conditions(request, spec, memory))
    return result_of(paint(request, spec, memory, x, sigmas, cond, uncond, Path(spec.alpha, noise_of(SEED))))


@pytest.mark.usefixtures("own_scheduler")
@pytest.mark.parametrize("name", BOTH_HAVE)
def test_latents_equal_those_of_diffusers(name: str, checkpoint: tuple[StableDiffusionPipeline, ModelSpec]) -> None:
    assert apart(name, *BOTH_HAVE[name], *checkpoint) < 1e-4


def test_plms_equals_that_of_diffusers(tmp_path: Folder) -> None:
    """On eps alone: diffusers extends a v-model's v where the paper extends eps."""
    pipe = stable_diffusion(tmp_path / "toy")
    settings = {"skip_prk_steps": True, "set_alpha_to_one": True}
    assert apart("plms", "PNDMScheduler", settings, {}, pipe, load_folder(tmp_path / "toy", "toy", title="Toy")) < 1e-4


def apart(name: str, kind: str, settings: dict, knobs: dict, pipe: StableDiffusionPipeline, spec: ModelSpec) -> float:
    """How far our latents are from those of diffusers' pipeline, as a share."""
    sampler = {"name": "euler" if "karras" in name else name.split()[0], "knobs": knobs}
    pipe.scheduler = getattr(diffusers, kind).from_config(pipe.scheduler.config, **settings)
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    theirs = pipe(
        "a red cat", negative_prompt="a dog", num_inference_steps=STEPS, guidance_scale=5.0, latents=noise, width=32, height=32,
        generator=torch.Generator().manual_seed(SEED), output_type="latent", **({"eta": knobs["eta"]} if "eta" in knobs else {}),
    ).images  # fmt: skip
    sigmas = sigmas_of(pipe.scheduler, spec.table())
    exploding = pipe.scheduler.init_noise_sigma != 1
    x = noise * (pipe.scheduler.init_noise_sigma if exploding else (sigmas[0] ** 2 + 1).sqrt())
    mine = ours(spec, host(), sampler, sigmas, x)
    theirs = theirs * (sigmas[-1] ** 2 + 1).sqrt()  # where a scheduler ends above 0, its x is still scaled
    return float((mine - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
def test_own_grid_equals_that_of_diffusers(spacing: str, tmp_path: Folder) -> None:
    pipe = stable_diffusion(tmp_path / "toy", timestep_spacing=spacing)
    scheduler = diffusers.EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    for steps in (1, 7, 25):
        scheduler.set_timesteps(steps)
        torch.testing.assert_close(
            load_folder(tmp_path / "toy", "toy").own(steps), scheduler.sigmas, rtol=1e-4, atol=1e-5
        )


def test_karras_and_exponential_grids_equal_those_of_diffusers(
    checkpoint: tuple[StableDiffusionPipeline, ModelSpec],
) -> None:
    from pipelines.schedules import schedules

    pipe, spec = checkpoint
    low, high = spec.ends()
    for name in ("karras", "exponential"):
        settings = {f"use_{each}_sigmas": each == name for each in ("karras", "exponential")}
        scheduler = diffusers.EulerDiscreteScheduler.from_config(
            {**pipe.scheduler.config, **settings, "sigma_min": low, "sigma_max": high}
        )
        scheduler.set_timesteps(25)
        torch.testing.assert_close(schedules[name]()(spec, 25), scheduler.sigmas, rtol=1e-4, atol=1e-5)


def test_decoded_pictures_equal_those_of_diffusers(checkpoint: tuple[StableDiffusionPipeline, ModelSpec]) -> None:
    from pipelines.pictures import to_pictures

    pipe, spec = checkpoint
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode(), host().use(spec.vae) as vae:
        mine = to_pictures(spec.decode(vae, latents))[0]
        theirs = pipe.image_processor.postprocess(pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample)[0]
    assert mine.tobytes() == theirs.tobytes()
