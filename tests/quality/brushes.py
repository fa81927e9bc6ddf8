"""Two ways to paint an exercise: with the studio's own code, or with diffusers' pipeline, which takes adapters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image

POCKET = Path(__file__).parents[2] / "assets" / "pocket"
Brush = Callable[[str, int], Image]  # (prompt, seed) -> picture


@dataclass(frozen=True)
class Settings:
    """How to paint; the scale is the guidance's."""

    steps: int = 25
    sampler: str = "dpmpp_2m"
    scale: float = 3.0
    negative: str = ""
    adapters: Sequence[Path] = field(default=())
    values: Mapping[str, Any] = field(default_factory=dict)  # of the studio's request, over all else


@dataclass
class Studio:
    """The studio's text_to_image, in this process."""

    settings: Settings

    @cached_property
    def memory(self) -> Any:
        from pipelines.memory import Memory

        return Memory()

    def __call__(self, prompt: str, seed: int) -> Image:
        from pipelines.tasks import parse, run

        asked = self.settings
        guidance = {"name": "cfg", "knobs": {"scale": asked.scale}}
        request = parse(
            {"task": "text_to_image", "model": "pocket", "prompt": prompt, "negative_prompt": asked.negative,
             "steps": asked.steps, "sampler": {"name": asked.sampler}, "guidance": guidance, "seed": seed, **asked.values}
        )  # fmt: skip
        running = run(request, self.memory)
        while True:
            try:
                next(running)
            except StopIteration as end:
                picture: Image = end.value.pictures[0].picture
                return picture


@dataclass
class Diffusers:
    """StableDiffusionPipeline with its own schedulers; the only one of the two that takes `adapters` from files."""

    settings: Settings
    folder: Path = POCKET

    @cached_property
    def pipe(self) -> Any:
        import diffusers

        schedulers = {
            "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
            "ddim": (diffusers.DDIMScheduler, {"timestep_spacing": "trailing"}),
            "euler": (diffusers.EulerDiscreteScheduler, {}),
            "lcm": (diffusers.LCMScheduler, {}),
            "tcd": (diffusers.TCDScheduler, {}),
        }  # fmt: skip
        pipe = diffusers.StableDiffusionPipeline.from_pretrained(self.folder, dtype=torch.float32, safety_checker=None)
        kind, options = schedulers[self.settings.sampler]
        pipe.scheduler = kind.from_config(pipe.scheduler.config, **options)
        pipe.set_progress_bar_config(disable=True)
        for k, adapter in enumerate(self.settings.adapters):
            pipe.load_lora_weights(str(adapter.parent), weight_name=adapter.name, adapter_name=f"adapter_{k}")
        if self.settings.adapters:
            pipe.set_adapters([f"adapter_{k}" for k in range(len(self.settings.adapters))])
            pipe.fuse_lora()  # this pipe serves nobody else; side branches would cost as much as the layers
        return pipe

    @torch.inference_mode()
    def __call__(self, prompt: str, seed: int) -> Image:
        asked = self.settings
        picture: Image = self.pipe(
            prompt, negative_prompt=asked.negative or None, num_inference_steps=asked.steps,
            guidance_scale=asked.scale, generator=torch.Generator().manual_seed(seed),
        ).images[0]  # fmt: skip
        return picture
