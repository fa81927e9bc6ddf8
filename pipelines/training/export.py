"""From a run folder to a checkpoint folder that diffusers loads: averaged weights, fp16, safetensors, shards."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from pipelines.training.autoencoder import seal
from pipelines.training.growing import deepened
from pipelines.training.painter import POCKET, SMALL, Painter, Size, make_scheduler, make_text, make_unet

SHARD = "14MB"  # no file of the repository may be larger than 16
Net = TypeVar("Net", bound=nn.Module)


def averaged(state: Path, net: Net) -> Net:
    """The network with the average weights of a learner's file; raises RuntimeError where it was another network's."""
    kept = load_file(state)
    net.load_state_dict({k.removeprefix("average."): v for k, v in kept.items() if k.startswith("average.")})
    return net.eval()


def painter(state: Path, tokenizer: CLIPTokenizer, size: Size = POCKET) -> Painter:
    """The painter as it is in a learner's file."""
    return averaged(state, Painter(make_unet(size), make_text(tokenizer, size)))


def take(net: Painter, folder: Path) -> None:
    """Give an untrained painter the weights of a finished model, to go on from; raises RuntimeError for other sizes."""
    take_unet(net, folder)
    net.text.load_state_dict(CLIPTextModel.from_pretrained(folder / "text_encoder", use_safetensors=True).state_dict())


def take_unet(net: Painter, folder: Path) -> None:
    """Give a painter the UNet of a finished model alone, as far as it has the same layers, and layers that the finished
    one lacks as good as none; raises RuntimeError for other widths."""
    theirs = UNet2DConditionModel.from_pretrained(folder / "unet", use_safetensors=True).state_dict()
    net.unet.load_state_dict(deepened(theirs, net.unet))


@torch.no_grad()
def blended(learned: Painter, before: Painter, share: float) -> Painter:
    """A painter `share` of the way from what it was before a training to what it is behind it, which may paint better
    than either. Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (arXiv:2109.01903)."""
    for weight, old in zip(learned.parameters(), before.parameters(), strict=True):
        weight.copy_(old.lerp(weight, share))
    return learned


def export(learned: Painter, vae: AutoencoderKL, tokenizer: CLIPTokenizer, out: Path) -> None:
    """Write the whole pipeline, weights in fp16, so that diffusers loads it in fp32 unless told otherwise."""
    pipe: Any = StableDiffusionPipeline(
        vae=seal(vae),
        text_encoder=learned.text,
        tokenizer=tokenizer,
        unet=learned.unet,
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.to(torch.float16).save_pretrained(out, max_shard_size=SHARD)
    note = out / "text_encoder" / "config.json"  # transformers would load in the type noted there
    note.write_text(note.read_text().replace('"float16"', '"float32"'))


def export_small(state: Path, learned: Painter, out: Path) -> None:
    """Write the small UNet, which shares everything else with the large one, and its scheduler."""
    small = averaged(state, Painter(make_unet(SMALL), learned.text))
    small.unet.half().save_pretrained(out / "unet", max_shard_size=SHARD)
    make_scheduler().save_pretrained(out / "scheduler")
