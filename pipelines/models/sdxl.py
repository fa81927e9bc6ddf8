"""SDXL, its refiner and networks in its pipeline, such as KOALA: a UNet that also reads sizes, two CLIP encoders.

Podell et al. 2023 (arXiv:2307.01952).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import BadCheckpoint
from pipelines.models import ModelSpec, family
from pipelines.models.autoencoders import autoencoder
from pipelines.models.texts import clip
from pipelines.models.unet import levels, predictor, takes_a_mask, unet
from pipelines.parts import Part, json_file

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond

BEAUTIFUL, UGLY = 6.0, 2.5  # aesthetic scores that the refiner reads with the prompt and the negative prompt


@family(
    "StableDiffusionXLPipeline",
    "StableDiffusionXLImg2ImgPipeline",
    "StableDiffusionXLInpaintPipeline",
    "KoalaPipeline",
)
def read(folder: Path, name: str, **facts: Any) -> ModelSpec:
    """A folder in the diffusers layout; the refiner has the second text encoder only."""
    index = json_file(folder / "model_index.json")
    places = [(f"text_encoder{k}", f"tokenizer{k}") for k in ("", "_2") if (index.get(f"text_encoder{k}") or [None])[0]]
    return checkpoint(
        name,
        tuple(clip(folder, *place) for place in places),
        unet(folder),
        json_file(folder / "unet" / "config.json"),
        autoencoder(folder),
        json_file(folder / "scheduler" / "scheduler_config.json"),
        refines=bool(index.get("requires_aesthetics_score", False)),
        zeros=bool(index.get("force_zeros_for_empty_prompt", True)),
        **facts,
    )


def checkpoint(
    name: str,
    texts: tuple[Part, ...],
    net: Part,
    settings: dict[str, Any],
    coder: dict[str, Any],
    scheduler: dict[str, Any],
    refines: bool = False,
    zeros: bool = True,
    **facts: Any,
) -> ModelSpec:
    """The spec of parts from anywhere: `settings` are the UNet's, `coder` what the autoencoder decides of a spec.

    `refines` for the refiner, which reads an aesthetic score; `zeros` where no negative prompt is read as zeros.
    """
    if settings.get("addition_embed_type") != "text_time":
        raise BadCheckpoint(f"The painter in {name} does not read sizes, as those of SDXL do.")
    summary = "Refines pictures: give it one, and a low strength." if refines else "An SDXL checkpoint."
    known: dict[str, Any] = {"title": name, "summary": summary, "licence": "not stated"}
    from_noise = levels(scheduler)
    factor = int(coder["factor"])
    return ModelSpec(
        name=name,
        family="SDXL refiner" if refines else "SDXL",
        texts=texts,
        asked=lambda prompt, _: [(prompt,)] * len(texts),
        joined=partial(joined, zeros=zeros, refines=refines),
        net=net,
        side=int(settings["sample_size"]) * factor,
        inpaints=takes_a_mask(name, settings, coder["channels"]),
        predictor=partial(
            predictor,
            prediction=scheduler.get("prediction_type", "epsilon"),
            table=from_noise["table"],
            added=Sizes(factor, refines),
        ),
        **known | coder | from_noise | facts,
    )


def joined(conds: Sequence[Cond], prompt: str, negative: bool, zeros: bool, refines: bool) -> Cond:
    """The states before the last of all encoders side by side; "pooled" of the last encoder."""
    import torch

    from pipelines.types import Cond

    both = [Cond(each.extras["penultimate"], each.extras["penultimate fill"]) for each in conds]
    length = max(each.tokens.shape[1] for each in both)
    tokens = torch.cat([each.lengthened(length) for each in both], -1)
    fill = torch.cat([each.fill for each in both], -1)
    extras = {"pooled": conds[-1].extras["pooled"], "ids": conds[0].extras["ids"]}
    if refines:
        extras["aesthetic"] = tokens.new_tensor(UGLY if negative else BEAUTIFUL)
    if negative and zeros and not prompt:
        tokens, fill = torch.zeros_like(tokens), torch.zeros_like(fill)
        extras["pooled"] = torch.zeros_like(extras["pooled"])
    return Cond(tokens, fill, extras)


@dataclass(frozen=True)
class Sizes:
    """What the UNet reads beside the tokens: pooled text, and sizes in pixels. Section 2.2 (arXiv:2307.01952).

    A condition may name its own "size" (6,): height and width of the original, top and left of the crop, height and
    width of the target; by default the picture is whole and as large as it is painted.
    """

    factor: int
    refines: bool

    def __call__(self, x: Tensor, conds: Sequence[Cond]) -> dict[str, Tensor]:
        """text_embeds (n, P) and time_ids (n, 6), or (n, 5) with the aesthetic score of the refiner."""
        import torch

        height, width = (side * self.factor for side in x.shape[-2:])
        whole = x.new_tensor([height, width, 0, 0, height, width])
        rows = torch.stack([each.extras.get("size", whole) for each in conds])  # (n, 6)
        if self.refines:
            score = torch.stack([each.extras["aesthetic"] for each in conds]).to(rows)[:, None]
            rows = torch.cat([rows[:, :4], score], 1)
        return {"text_embeds": torch.cat([each.extras["pooled"] for each in conds]), "time_ids": rows}
