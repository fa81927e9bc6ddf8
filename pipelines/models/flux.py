"""FLUX.1: a flow transformer on latents packed two by two, T5 for words and CLIP for the whole prompt.

Its dev version reads how strongly to follow the prompt, its schnell version is distilled to a few steps.
"""

from __future__ import annotations

import math
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

LENGTH, SHORT = 512, 256  # tokens that T5 reads for dev and for schnell
PATCH = 2  # latent pixels of a side of a token
FOLLOWS = 3.5  # how strongly dev follows the prompt, unless a request asks for another scale
TOKENS = 4096  # of the largest pictures it was trained on, where its settings do not say
ONE_LOOK = {"name": "cfg", "knobs": {"scale": 1.0}}
WITHIN = {"name": "distilled", "knobs": {"scale": FOLLOWS}}


@family("FluxPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline")
def read(folder: Path, name: str, **facts: Any) -> ModelSpec:
    """A folder in the diffusers layout."""
    settings = json_file(folder / "transformer" / "config.json")
    coder = autoencoder(folder)
    guided = bool(settings.get("guidance_embeds", False))
    length = LENGTH if guided else SHORT
    scheduler = json_file(folder / "scheduler" / "scheduler_config.json")
    of_a_token = PATCH * int(coder["factor"])  # pixels of its side
    known: dict[str, Any] = {"title": name, "summary": "A FLUX.1 checkpoint.", "licence": "not stated"}
    if int(settings["in_channels"]) != coder["channels"] * PATCH**2:
        raise ValueError("this transformer reads more than latents")
    return ModelSpec(
        name=name,
        family="FLUX.1",
        texts=(clip(folder), t5(folder, "text_encoder_2", "tokenizer_2")),
        asked=lambda prompt, _: [(prompt,), (prompt, length)],
        joined=joined,
        net=transformer(folder, "FluxTransformer2DModel"),
        side=math.isqrt(int(scheduler.get("max_image_seq_len") or TOKENS)) * of_a_token,
        predictor=partial(_predictor, guided=guided),
        **known
        | coder
        | (qualities((14, 28, 50), WITHIN) if guided else qualities((2, 4, 8), ONE_LOOK))
        | levels(scheduler, of_a_token, even=True)
        | facts,
    )


def joined(conds: Sequence[Cond], prompt: str, negative: bool) -> Cond:  # noqa: ARG001
    """T5's states; "pooled" is CLIP's."""
    from pipelines.types import Cond

    whole, words = conds
    return Cond(words.tokens, words.fill, {"pooled": whole.extras["pooled"]})


def _predictor(net: Any, beside: Tensor | None = None, *, guided: bool) -> Predict:  # noqa: ARG001  # it reads no mask
    import torch

    def velocity(x: Tensor, sigma: Tensor, tokens: Tensor, conds: Sequence[Cond]) -> Tensor:
        height, width = (side // PATCH for side in x.shape[-2:])
        usual = sigma.new_tensor(FOLLOWS)
        scales = torch.stack([each.extras.get("guidance", usual).to(usual).reshape(()) for each in conds])
        answer = net(
            packed(x),
            encoder_hidden_states=tokens,
            pooled_projections=stacked(conds, "pooled").to(tokens),
            timestep=sigma,
            guidance=scales if guided else None,
            img_ids=places(height, width).to(tokens),
            txt_ids=tokens.new_zeros(tokens.shape[1], 3),
            return_dict=False,
        )
        return unpacked(answer[0], height, width)

    return predictor(net, velocity, PATCH)


def packed(latents: Tensor) -> Tensor:
    """Latents (B, C, 2 h, 2 w) as tokens (B, h w, 4 C), each of two by two."""
    batch, channels, height, width = latents.shape
    blocks = latents.reshape(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return blocks.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpacked(tokens: Tensor, height: int, width: int) -> Tensor:
    """Tokens (B, h w, 4 C) as latents (B, C, 2 h, 2 w)."""
    blocks = tokens.reshape(len(tokens), height, width, -1, PATCH, PATCH)
    return blocks.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def places(height: int, width: int) -> Tensor:
    """Where each token stands, (h w, 3): 0, its row, its column."""
    import torch

    return torch.cartesian_prod(torch.zeros(1), torch.arange(height).float(), torch.arange(width).float())
