"""Low-rank weights kept beside a network that is never touched: a student is `functional_call` on merged weights.

Merging before the call costs one small product per layer and step, where the usual side branch costs two more layers
for every layer (on networks as narrow as Pocket that doubles the time). Knows no sampler, no loss and no training loop.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

# The layers of LCM-LoRA (Luo et al. 2023, arXiv:2311.05556): all attention, feed-forward and residual layers.
TARGETS = (
    "to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2",
    "conv_shortcut", "time_emb_proj", "downsamplers.0.conv", "upsamplers.0.conv",
)  # fmt: skip

Factors = dict[str, Tensor]


def targets(net: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """The layers of a UNet that an adapter changes, by their dotted name."""
    return {
        name: layer
        for name, layer in net.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and any(name.endswith("." + end) for end in TARGETS)
    }


def make_factors(net: nn.Module, rank: int, seed: int) -> Factors:
    """fp32 factors of a delta that is zero: `NAME.lora_A.weight` drawn, `NAME.lora_B.weight` zero. Linear layers have
    A (rank, in), B (out, rank); convolutions A (rank, in, k, k), B (out, rank, 1, 1), as peft keeps them.

    Hu et al. 2021 (arXiv:2106.09685).
    """
    generator = torch.Generator().manual_seed(seed)
    factors: Factors = {}
    for name, layer in targets(net).items():
        weight = layer.weight
        lower = torch.empty(rank, *weight.shape[1:])
        bound = lower[0].numel() ** -0.5
        factors[f"{name}.lora_A.weight"] = lower.uniform_(-bound, bound, generator=generator).to(weight.device)
        upper = torch.zeros(weight.shape[0], rank, *(1 for _ in weight.shape[2:]), device=weight.device)
        factors[f"{name}.lora_B.weight"] = upper
    return factors


def merged(net: nn.Module, factors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The changed weights W + B A for `torch.func.functional_call(net, ...)`; gradients flow to the factors."""
    weights = {}
    for name, layer in targets(net).items():
        lower, upper = factors[f"{name}.lora_A.weight"], factors[f"{name}.lora_B.weight"]
        delta = (upper.flatten(1) @ lower.flatten(1)).view_as(layer.weight)
        weights[f"{name}.weight"] = layer.weight + delta
    return weights


def save_adapter(path: Path, factors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write fp16 factors so that `StableDiffusionPipeline.load_lora_weights` reads them; all metadata values are text.
    The scale is one: alpha equals the rank."""
    tensors = {f"unet.{name}": value.detach().to("cpu", torch.float16).contiguous() for name, value in factors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {"format": "pt", **metadata})


def load_adapter(path: Path, like: Mapping[str, Tensor]) -> Factors:
    """The factors of a saved adapter as fp32 on the devices of `like`; raises ValueError where layers or shapes
    differ."""
    found = {name.removeprefix("unet."): value for name, value in load_file(path).items()}
    expected = {name: tuple(value.shape) for name, value in like.items()}
    if {name: tuple(value.shape) for name, value in found.items()} != expected:
        raise ValueError(f"{path.name} was made for another network or another rank.")
    return {name: found[name].to(value) for name, value in like.items()}


def peft_metadata(rank: int, names: list[str]) -> str:
    """The `lora_adapter_metadata` entry from which diffusers rebuilds the peft configuration, alpha included."""
    config = {"unet.r": rank, "unet.lora_alpha": rank, "unet.target_modules": names, "unet.bias": "none"}
    return json.dumps(config, sort_keys=True)
