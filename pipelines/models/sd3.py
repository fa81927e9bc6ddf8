"""Stable Diffusion 3 and 3.5: a flow transformer, two CLIP encoders and, where the checkpoint has it, T5.

Esser et al. 2024 (arXiv:2403.03206).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.models import ModelSpec, family
from pipelines.models.autoencoders import autoencoder
from pipelines.models.flow import levels, predictor, qualities, stacked, transformer
from pipelines.models.texts import clip, t5
from pipelines.parts import json_file

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Predict

LENGTH = 256  # tokens that T5 reads
GUIDANCE = {"name": "cfg", "knobs": {"scale": 4.5}}


@family("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline")
def read(folder: Path, name: str, **facts: Any) -> ModelSpec:
    """A folder in the diffusers layout."""
    index = json_file(folder / "model_index.json")
    settings = json_file(folder / "transformer" / "config.json")
    coder = autoencoder(folder)
    has_t5 = (index.get("text_encoder_3") or [None])[0] is not None
    clips = (clip(folder), clip(folder, "text_encoder_2", "tokenizer_2"))
    texts = (*clips, t5(folder, "text_encoder_3", "tokenizer_3")) if has_t5 else clips
    patch = int(settings["patch_size"])
    known: dict[str, Any] = {"title": name, "summary": "A Stable Diffusion 3 checkpoint.", "licence": "not stated"}
    return ModelSpec(
        name=name,
        family="Stable Diffusion 3",
        texts=texts,
        asked=lambda prompt, _: [(prompt,), (prompt,), (prompt, LENGTH)][: len(texts)],
        joined=partial(joined, width=int(settings["joint_attention_dim"])),
        net=transformer(folder, "SD3Transformer2DModel"),
        side=int(settings["sample_size"]) * int(coder["factor"]),
        predictor=partial(_predictor, patch=patch),
        **known
        | coder
        | qualities((14, 28, 40), GUIDANCE)
        | levels(json_file(folder / "scheduler" / "scheduler_config.json"), patch * int(coder["factor"]))
        | facts,
    )


def joined(conds: Sequence[Cond], prompt: str, negative: bool, width: int) -> Cond:  # noqa: ARG001
    """CLIP's states side by side and widened to `width`, T5's behind them, zeros where there is none; both pooled."""
    import torch
    from torch.nn import functional

    from pipelines.types import Cond

    clips = [Cond(each.extras["penultimate"], each.extras["penultimate fill"]) for each in conds[:2]]
    length = max(each.tokens.shape[1] for each in clips)
    tokens = torch.cat([each.lengthened(length) for each in clips], -1)  # (1, T, 768 + 1280)
    fill = torch.cat([each.fill for each in clips], -1)
    tokens, fill = (functional.pad(each, (0, width - each.shape[-1])) for each in (tokens, fill))
    behind = conds[2].tokens if len(conds) > 2 else tokens.new_zeros(1, LENGTH, width)
    pooled = torch.cat([each.extras["pooled"] for each in conds[:2]], -1)
    return Cond(torch.cat([tokens, behind], 1), fill, {"pooled": pooled})


def _predictor(net: Any, beside: Tensor | None = None, *, patch: int) -> Predict:  # noqa: ARG001  # it reads no mask
    def velocity(x: Tensor, sigma: Tensor, tokens: Tensor, conds: Sequence[Cond]) -> Tensor:
        pooled = stacked(conds, "pooled").to(tokens)
        answer = net(x, tokens, pooled_projections=pooled, timestep=1000 * sigma, return_dict=False)
        return answer[0]  # type: ignore[no-any-return]

    return predictor(net, velocity, patch)
