"""Eight toy checkpoints that share parts as published ones do."""

from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from tests.tiny.checkpoints import autoencoder, stable_diffusion, text_encoder, tokenizer, unet


def fleet(folder: Path, inner: int = 64) -> list[str]:
    """A base, three fine-tunes that share its encoder and autoencoder, the base behind another autoencoder, and three
    strangers, saved in `folder`; returns their names. With `inner` layers of 1500, text encoders are in
    proportion to painters: between those of SD 1.5 and of SDXL."""
    base = stable_diffusion(folder / "base")
    base.text_encoder = encoder(inner)
    names = [_saved(base, folder / "base")]
    for k in range(3):
        torch.manual_seed(20 + k)
        names.append(_saved(base, folder / f"tune-{k}", unet=unet().eval()))
    torch.manual_seed(30)
    names.append(_saved(base, folder / "other-vae", vae=autoencoder().eval()))
    for k in range(3):
        torch.manual_seed(40 + k)
        own = {"unet": unet().eval(), "vae": autoencoder().eval(), "text_encoder": encoder(inner)}
        names.append(_saved(base, folder / f"own-{k}", **own))
    return names


def encoder(inner: int) -> CLIPTextModel:
    """A text encoder whose inner layers are so wide."""
    settings = text_encoder(tokenizer()).config.to_dict()
    return CLIPTextModel(CLIPTextConfig(**{**settings, "intermediate_size": inner})).eval()


def _saved(base: Any, folder: Path, **changed: nn.Module) -> str:
    components = {**base.components, **changed}
    StableDiffusionPipeline(**components, requires_safety_checker=False).save_pretrained(folder)
    return folder.name
