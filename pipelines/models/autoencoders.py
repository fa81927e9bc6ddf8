"""Autoencoders between pixels and latents, as families lend them. They know no network that paints on the latents."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import BadCheckpoint
from pipelines.models.networks import middle, network
from pipelines.parts import Part, header, json_file

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor, nn

KEEPING = "keeping.safetensors"  # in the autoencoder's folder, where its decoder can be shown the kept picture
PLAIN, ASYMMETRIC, DEEP = "AutoencoderKL", "AsymmetricAutoencoderKL", "AutoencoderDC"
WIDTHS = {PLAIN: "block_out_channels", ASYMMETRIC: "down_block_out_channels", DEEP: "encoder_block_out_channels"}


def autoencoder(folder: Path) -> dict[str, Any]:
    """The fields of a `ModelSpec` that a checkpoint's folder `vae` decides. Raises BadCheckpoint, KeyError."""
    settings = json_file(folder / "vae" / "config.json")
    kind = settings.get("_class_name", PLAIN)
    if kind not in WIDTHS:
        raise BadCheckpoint(f"{folder.name} has a {str(kind)[:60]} for an autoencoder, which the studio does not know.")
    widths = settings[WIDTHS[kind]]
    part = network("The autoencoder", folder / "vae", kind, middle(widths))
    branch = folder / "vae" / KEEPING
    if kind != PLAIN or not branch.exists():
        return coder(part, settings)
    return coder(_with_branch(part, branch), settings) | {
        "decode_keeping": partial(_decode_shown, scale=_scale(settings), shift=_shift(settings))
    }


def _with_branch(part: Part, path: Path) -> Part:
    """The autoencoder with what shows its decoder the kept picture, as its `keeping`. Raises BadCheckpoint."""
    read = header(path)

    def load(number_type: torch.dtype) -> nn.Module:
        from pipelines.models.keeping import load_keeping

        vae: Any = part.load(number_type)
        vae.keeping = load_keeping(path).to(number_type)
        return vae  # type: ignore[no-any-return]

    key = f"{part.key} keeping {read.fingerprint}"
    checks = part.check
    return replace(
        part, key=key, elements=part.elements + read.elements, load=load, check=lambda: (checks(), header(path))
    )


def coder(part: Part, settings: dict[str, Any]) -> dict[str, Any]:
    """The fields of a `ModelSpec` that an autoencoder from anywhere decides. Raises KeyError."""
    kind = settings.get("_class_name", PLAIN)
    widths = settings[WIDTHS[kind]]
    scale, shift = _scale(settings), _shift(settings)
    factor = 2 ** (len(widths) - 1)
    encode: Callable[..., Tensor] = partial(_encode, scale=scale, shift=shift)
    if kind == DEEP:
        encode = partial(_encode_deep, scale=scale, factor=factor)
    return {
        "vae": part,
        "channels": int(settings["latent_channels"]),
        "factor": factor,
        "decode": partial(_decode, scale=scale, shift=shift),
        "encode": encode,
        "decode_keeping": partial(_decode_keeping, scale=scale) if kind == ASYMMETRIC else None,
    }


def _scale(settings: dict[str, Any]) -> float:
    return float(settings.get("scaling_factor") or 0.18215)


def _shift(settings: dict[str, Any]) -> float:
    return float(settings.get("shift_factor") or 0)


def _decode_shown(vae: Any, latents: Tensor, pixels: Tensor, mask: Tensor, scale: float, shift: float) -> Tensor:
    from pipelines.models.keeping import decode_keeping

    return decode_keeping(vae, latents, pixels, mask, scale, shift)


def _decode(vae: Any, latents: Tensor, scale: float, shift: float) -> Tensor:
    kind = next(vae.parameters()).dtype
    return vae.decode((latents / scale + shift).to(kind), return_dict=False)[0].float()  # type: ignore[no-any-return]


def _decode_keeping(vae: Any, latents: Tensor, pixels: Tensor, mask: Tensor, scale: float) -> Tensor:
    """Pixels that the decoder itself keeps where `mask` (B, 1, H, W) is 0. Zhu et al. 2023 (arXiv:2306.04632)."""
    kind = next(vae.parameters()).dtype
    seen, kept = (each.to(latents.device, kind) for each in (pixels, mask))
    return vae.decode((latents / scale).to(kind), image=seen, mask=kept, return_dict=False)[0].float()  # type: ignore[no-any-return]


def _encode(vae: Any, pixels: Tensor, scale: float, shift: float) -> Tensor:
    kind = next(vae.parameters()).dtype
    return (vae.encode(pixels.to(kind)).latent_dist.mode().float() - shift) * scale  # type: ignore[no-any-return]


def _encode_deep(vae: Any, pixels: Tensor, scale: float, factor: int) -> Tensor:
    """Latents of a deep compression autoencoder, Chen et al. 2024 (arXiv:2410.10733); sides are rounded up."""
    from torch.nn import functional

    kind = next(vae.parameters()).dtype
    down, right = (-side % factor for side in pixels.shape[-2:])
    whole = functional.pad(pixels, (0, right, 0, down), "replicate") if down or right else pixels
    return vae.encode(whole.to(kind), return_dict=False)[0].float() * scale  # type: ignore[no-any-return]
