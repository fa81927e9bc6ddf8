"""A diffusers pipeline that enlarges, as a network that can be lent: a small picture becomes pixels in one call."""

import inspect
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pipelines.errors import BadRequest
from pipelines.models.whole_pipeline import WholePipeline


class EnlargingPipeline(WholePipeline):
    """(picture, prompt, negative prompt, steps, scale, noise level, seed) -> pixels (1, 3, H, W). Raises BadRequest."""

    def forward(self, picture: Any, *asked: Any) -> Tensor:
        """The sides of the picture are multiples of 64. Noise is drawn on the CPU, the same on every device."""
        if not isinstance(picture, Image.Image):
            raise BadRequest("Model: this one enlarges pictures, in the tab Upscale; choose another for painting.")
        prompt, negative, steps, scale, noise_level, seed = asked
        scheduler = self.components["scheduler"]
        fresh = type(scheduler).from_config(scheduler.config)  # one that no other call has advanced
        pipeline = self.kind(**{**self.components, "scheduler": fresh})
        pipeline.set_progress_bar_config(disable=True)
        values = {
            "prompt": prompt,
            "negative_prompt": negative,
            "guidance_scale": scale,
            "noise_level": noise_level,
            "num_inference_steps": steps,
            "generator": torch.Generator().manual_seed(seed),
            "output_type": "np",
        }
        taken = inspect.signature(pipeline.__call__).parameters
        try:
            images = pipeline(image=picture, **{name: each for name, each in values.items() if name in taken}).images
        except ValueError as error:
            raise BadRequest(f"The model's own pipeline refuses this request: {str(error)[:200]}") from None
        return torch.from_numpy(images).permute(0, 3, 1, 2).float() * 2 - 1
