"""Sana: a flow transformer whose attention is linear, on latents 32 times smaller than the picture; Gemma reads words.

Xie et al. 2024 (arXiv:2410.10629).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.models import ModelSpec, family
from pipelines.models.autoencoders import autoencoder
from pipelines.models.flow import levels, predictor, qualities, stacked, transformer
from pipelines.models.texts import gemma
from pipelines.parts import json_file

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Predict

LENGTH = 300  # tokens that the transformer reads
GUIDANCE = {"name": "cfg", "knobs": {"scale": 4.5}}


@family("SanaPipeline", "SanaPAGPipeline")
def read(folder: Path, name: str, **facts: Any) -> ModelSpec:
    """A folder in the diffusers layout."""
    settings = json_file(folder / "transformer" / "config.json")
    scheduler = json_file(folder / "scheduler" / "scheduler_config.json")
    coder = autoencoder(folder)
    known: dict[str, Any] = {"title": name, "summary": "A Sana checkpoint.", "licence": "not stated"}
    sampler = "dpmpp_2m" if str(scheduler.get("_class_name", "")).startswith("DPMSolver") else "euler"
    return ModelSpec(
        name=name,
        family="Sana",
        texts=(gemma(folder),),
        asked=lambda prompt, negative: [(prompt, LENGTH, not negative)],
        net=transformer(folder, "SanaTransformer2DModel"),
        side=int(settings["sample_size"]) * int(coder["factor"]),
        predictor=partial(
            _predictor, patch=int(settings["patch_size"]), pace=float(settings.get("timestep_scale", 1.0))
        ),
        **known | coder | qualities((10, 20, 30), GUIDANCE, sampler) | levels(scheduler, int(coder["factor"])) | facts,
    )


def _predictor(net: Any, beside: Tensor | None = None, *, patch: int, pace: float) -> Predict:  # noqa: ARG001
    """`pace` scales the time that the network is told; it reads no mask beside x."""

    def velocity(x: Tensor, sigma: Tensor, tokens: Tensor, conds: Sequence[Cond]) -> Tensor:
        mask, time = stacked(conds, "mask"), 1000 * pace * sigma
        answer = net(x, tokens, encoder_attention_mask=mask, timestep=time, return_dict=False)[0]
        return answer[:, : x.shape[1]]  # type: ignore[no-any-return]  # where it learned a variance, that comes behind

    return predictor(net, velocity, patch)
