"""Stable Diffusion 1.x and 2.x, and Pocket: a UNet on latents, one CLIP text encoder, a KL autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import BadCheckpoint
from pipelines.models import ModelSpec, Preset
from pipelines.parts import Part, folder_part, header, json_file

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from pipelines.types import Cond, Predict

PIPELINES = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline")
PRESETS = (
    Preset("Draft", {"steps": 10, "sampler": "dpmpp_2m", "schedule": "karras"}),
    Preset("Balanced", {"steps": 20, "sampler": "dpmpp_2m", "schedule": "karras"}),
    Preset("Best", {"steps": 40, "sampler": "dpmpp_2m", "schedule": "karras"}),
)


def load_folder(folder: Path, name: str, **facts: Any) -> ModelSpec:
    """A checkpoint folder in the diffusers layout as a `ModelSpec`; reads headers and settings, no weights.

    `facts` are fields of the spec that the folder does not know, such as title and licence. Raises BadCheckpoint.
    """
    kind = json_file(folder / "model_index.json").get("_class_name")
    if kind not in PIPELINES:
        raise BadCheckpoint(f"{folder.name} is a {str(kind)[:60]}; this reads {PIPELINES[0]} checkpoints.")
    net, vae = (json_file(folder / part / "config.json") for part in ("unet", "vae"))
    scheduler = json_file(folder / "scheduler" / "scheduler_config.json")
    if net.get("in_channels") != net.get("out_channels"):
        raise BadCheckpoint(
            f"{folder.name} is an inpainting checkpoint ({net.get('in_channels')} channels), "
            "which cannot paint from words alone."
        )
    try:
        return _spec(folder, name, net, vae, scheduler, facts)
    except (KeyError, TypeError, ValueError, IndexError):
        raise BadCheckpoint(f"The settings in {folder.name} are not those of a Stable Diffusion checkpoint.") from None


def _spec(
    folder: Path, name: str, net: dict[str, Any], vae: dict[str, Any], scheduler: dict[str, Any], facts: dict[str, Any]
) -> ModelSpec:
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    table = cache(partial(_table, scheduler))
    words = tuple(sorted(path for path in (folder / "tokenizer").glob("*") if path.is_file()))
    scale, shift = float(vae.get("scaling_factor") or 0.18215), float(vae.get("shift_factor") or 0)
    known = {
        "title": name,
        "summary": f"A checkpoint in {folder.name}.",
        "licence": "not stated",
        "presets": PRESETS,
    } | facts
    text_width = json_file(folder / "text_encoder" / "config.json")["hidden_size"]
    return ModelSpec(
        name=name,
        family="Stable Diffusion",
        text=folder_part("The text encoder", folder / "text_encoder", text_width, partial(_text, folder), words),
        net=folder_part("The painter", folder / "unet", _width(net), partial(_net, folder)),
        vae=folder_part("The autoencoder", folder / "vae", _width(vae), partial(_vae, folder)),
        preview=_preview_part(folder),
        channels=int(vae["latent_channels"]),
        factor=factor,
        side=int(net["sample_size"]) * factor,
        table=table,
        grid=lambda steps: _grid(table(), steps, scheduler),
        predictor=partial(predictor, prediction=scheduler.get("prediction_type", "epsilon"), table=table),
        decode=partial(_decode, scale=scale, shift=shift),
        encode=partial(_encode, scale=scale, shift=shift),
        **known,
    )


def _width(settings: dict[str, Any]) -> int:
    """The channels of a network's middle level."""
    widths = sorted(settings["block_out_channels"])
    return int(widths[len(widths) // 2])


def predictor(net: Any, prediction: str, table: Any) -> Predict:
    """x0 from what the network answers: eps, v or x0 itself. The network sees x / sqrt(sigma^2 + 1)."""
    import torch

    from pipelines.models.noise import timestep

    kind = next(net.parameters()).dtype
    levels = table()

    def predict(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
        scale = (sigma**2 + 1).sqrt()
        length = max(each.tokens.shape[1] for each in conds)
        tokens = torch.cat([each.lengthened(length).repeat_interleave(len(x), 0) for each in conds])  # (n B, T, D)
        batch = (x / scale).repeat(len(conds), 1, 1, 1).to(kind)
        at = timestep(sigma, levels.to(sigma.device)).expand(len(batch))
        answer = net(batch, at, encoder_hidden_states=tokens.to(kind), return_dict=False)[0].float()
        return [clean(x, each, sigma, prediction) for each in answer.chunk(len(conds))]

    return predict


def clean(x: Tensor, answer: Tensor, sigma: Tensor, prediction: str) -> Tensor:
    """x0 at sigma from a network's answer. Salimans & Ho 2022, Appendix D (arXiv:2202.00512), with x unscaled."""
    if prediction == "epsilon":
        return x - sigma * answer
    if prediction == "v_prediction":
        return x / (sigma**2 + 1) - sigma / (sigma**2 + 1).sqrt() * answer
    if prediction == "sample":
        return answer
    raise BadCheckpoint(f"This checkpoint predicts {prediction[:40]!r}, which the studio does not know.")


def _preview_part(folder: Path) -> Part | None:
    file = folder / "preview" / "preview.safetensors"
    if not file.exists():
        return None
    known = header(file)
    return Part("The preview decoder", known.fingerprint, known.elements, 1, partial(_preview, file))


def _preview(file: Path, number_type: torch.dtype) -> nn.Module:
    from pipelines.models.preview_decoder import load_decoder

    return load_decoder(file, number_type)


def _table(scheduler: dict[str, Any]) -> Tensor:
    from pipelines.models.noise import sigma_table

    return sigma_table(scheduler)


def _grid(table: Tensor, steps: int, scheduler: dict[str, Any]) -> Tensor:
    from pipelines.models.noise import own_grid

    return own_grid(table, steps, scheduler)


def _decode(vae: Any, latents: Tensor, scale: float, shift: float) -> Tensor:
    kind = next(vae.parameters()).dtype
    return vae.decode((latents / scale + shift).to(kind), return_dict=False)[0].float()  # type: ignore[no-any-return]


def _encode(vae: Any, pixels: Tensor, scale: float, shift: float) -> Tensor:
    kind = next(vae.parameters()).dtype
    return (vae.encode(pixels.to(kind)).latent_dist.mode().float() - shift) * scale  # type: ignore[no-any-return]


def _text(folder: Path, number_type: torch.dtype) -> nn.Module:
    from pipelines.models.clip_text import ClipText

    return ClipText.load(folder, number_type)


def _net(folder: Path, number_type: torch.dtype) -> nn.Module:
    from diffusers import UNet2DConditionModel
    from diffusers.utils import logging

    logging.disable_progress_bar()
    return UNet2DConditionModel.from_pretrained(
        folder / "unet", torch_dtype=number_type, local_files_only=True, use_safetensors=True
    )  # type: ignore[no-any-return]


def _vae(folder: Path, number_type: torch.dtype) -> nn.Module:
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(
        folder / "vae", torch_dtype=number_type, local_files_only=True, use_safetensors=True
    )  # type: ignore[no-any-return]
