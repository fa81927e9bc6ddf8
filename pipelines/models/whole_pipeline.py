"""A diffusers pipeline as a network that can be lent: words become pixels in one call."""

import inspect
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.utils import logging
from torch import Tensor, nn

from pipelines.errors import BadRequest


class WholePipeline(nn.Module):
    """(prompt, negative prompt, width, height, steps, seed) -> pixels (1, 3, H, W). Raises BadRequest at bad sizes."""

    def __init__(self, kind: type[diffusers.DiffusionPipeline], components: dict[str, Any]) -> None:
        super().__init__()
        self.kind, self.components = kind, components
        self.networks = nn.ModuleDict({name: each for name, each in components.items() if isinstance(each, nn.Module)})

    @classmethod
    def load(cls, folder: Path, kind: str, number_type: torch.dtype) -> "WholePipeline":
        """From a checkpoint in the diffusers layout."""
        logging.disable_progress_bar()
        pipeline = getattr(diffusers, kind).from_pretrained(
            folder, torch_dtype=number_type, local_files_only=True, use_safetensors=True
        )
        return cls(type(pipeline), pipeline.components)

    def forward(self, prompt: str, negative: str, width: int, height: int, steps: int, seed: int) -> Tensor:
        """Noise is drawn on the CPU, so that it is the same on every device."""
        scheduler = self.components["scheduler"]
        fresh = type(scheduler).from_config(scheduler.config)  # one that no other call has advanced
        pipeline = self.kind(**{**self.components, "scheduler": fresh})
        pipeline.set_progress_bar_config(disable=True)
        taken = inspect.signature(pipeline.__call__).parameters
        where_taken = {"negative_prompt": negative, "use_resolution_binning": False}
        try:
            images = pipeline(
                prompt=prompt,
                width=width,
                height=height,
                num_inference_steps=steps,
                generator=torch.Generator().manual_seed(seed),
                output_type="pt",
                **{name: value for name, value in where_taken.items() if name in taken},
            ).images
        except ValueError as error:
            raise BadRequest(f"The model's own pipeline refuses this request: {str(error)[:200]}") from None
        return images.float() * 2 - 1  # type: ignore[no-any-return]
