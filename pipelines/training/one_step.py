"""Teaches the built-in model to restore enlarged pictures in one step, by one command:

    python -m pipelines.training.one_step --minutes 120

On synthetic pictures only, enlarged two- and fourfold after damage; photographs are for judging only. Goes on after a
stop. Writes assets/upscale/one_step.safetensors, which belongs to the weights of assets/pocket that it was taught to.
The painter and the encoder learn low-rank changes; the decoder stays. After OSEDiff (arXiv:2406.08177), with its term
for pixels and one for latents; without its distillation, which wants a second painter that learns beside.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from pipelines.device import Device
from pipelines.memory import Memory
from pipelines.models import POCKET, ModelSpec, load_folder
from pipelines.models.lora import Lora, LowRank
from pipelines.models.one_step import restored, taught
from pipelines.painting import encoded
from pipelines.training.adapter import make_factors
from pipelines.training.autoencoder import decibels, picture_loss, to_pixels
from pipelines.training.damage import damaged
from pipelines.training.learner import Budget, Course, Learner, teach
from pipelines.training.upscale import whole
from pipelines.types import Cond
from pipelines.upscalers.one_step import FILE

TIMES = (2, 4)
EXAMINED = 16  # pictures a factor
LATENT = 0.3  # how much the latents weigh beside the pixels


@dataclass(frozen=True)
class Base:
    """The model that learns: its spec, its networks as they were lent, and the prompt that says nothing."""

    spec: ModelSpec
    net: Any
    vae: Any
    cond: Cond


@dataclass(frozen=True)
class Pairs:
    """Enlarged pixels and what they should be, (B, 3, H, W) both."""

    blurred: Tensor
    sharp: Tensor


def pairs(name: str, times: int, batch: int, edge: int) -> Pairs:
    """The pairs that a name stands for, the same on every machine; a third of them from clean pictures."""
    blurred, sharp = [], []
    for k in range(batch):
        rng = Random(f"{name} {k}")
        picture = whole(rng, edge)
        small = damaged(picture, times, 0.0 if k % 3 == 0 else rng.random(), rng)
        blurred.append(small.resize(picture.size, Image.Resampling.BICUBIC))
        sharp.append(picture)
    return Pairs(to_pixels(blurred), to_pixels(sharp))


def untaught(net: nn.Module, vae: Any, rank: int, seed: int) -> Lora:
    """Changes that change nothing yet, of the painter and of the autoencoder's encoder; they learn."""
    layers: dict[tuple[str, str], LowRank] = {}
    for place, network, prefix in (("net", net, ""), ("vae", vae.encoder, "encoder.")):
        factors = make_factors(network, rank, seed)
        for name in (each.removesuffix(".lora_A.weight") for each in factors if each.endswith(".lora_A.weight")):
            down, up = (factors[f"{name}.lora_{side}.weight"] for side in "AB")
            layers[place, f"{prefix}{name}".replace(".", "_")] = LowRank(down, up, 1.0, None)
    return Lora(layers).requires_grad_(True)


def painted(base: Base, lora: Lora, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Latents and pixels of what one evaluation makes of enlarged pixels."""
    with taught(base.net, base.vae, lora):
        latents = restored(base.spec, base.vae, base.spec.predictor(base.net), pixels, base.cond, 1.0)
        return latents, base.spec.decode(base.vae, latents)


def loss_of(base: Base, lora: Lora, each: Pairs) -> Tensor:
    """What pixels and latents are away from those of the sharp picture."""
    place = base.cond.tokens.device
    sharp = each.sharp.to(place)
    with torch.no_grad():
        wanted = base.spec.encode(base.vae, sharp)
    latents, pixels = painted(base, lora, each.blurred.to(place))
    return picture_loss(pixels, sharp) + LATENT * (latents - wanted).abs().mean()


@torch.no_grad()
def examine(base: Base, lora: Lora, held_out: Sequence[Pairs]) -> dict[str, float]:
    """The loss on pictures that are not learned from, and decibels, of interpolation too."""
    place = base.cond.tokens.device
    losses = [float(loss_of(base, lora, each)) for each in held_out]
    sharp = [each.sharp.to(place) for each in held_out]
    blurred = [each.blurred.to(place) for each in held_out]
    found = [decibels(painted(base, lora, given)[1], wanted) for given, wanted in zip(blurred, sharp, strict=True)]
    plain = [decibels(given, wanted) for given, wanted in zip(blurred, sharp, strict=True)]
    means = {"held_out": losses, "psnr": found, "psnr_bicubic": plain}
    return {name: round(sum(each) / len(each), 4) for name, each in means.items()}


def save_one_step(lora: Lora, path: Path, base: str) -> None:
    """Write the changes as fp16, and the key of the painter's part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        f"{place}.{layer}.{side}": value.cpu().half().contiguous()
        for place, layer in lora.places
        for side, value in lora.of(place)[layer].state_dict().items()
    }
    save_file(state, path, {"format": "pt", "base": base})


def train(asked: argparse.Namespace) -> dict[str, float]:
    """Learn to the end of the budget and write the average; what the last examination said."""
    torch.manual_seed(asked.seed)
    memory, read = Memory(Device(asked.device)), load_folder(asked.model, asked.model.name)
    exact = {part: replace(getattr(read, part), number_type=torch.float32) for part in ("net", "vae")}
    spec = replace(read, **exact)
    with memory.use(spec.net) as net, memory.use(spec.vae) as vae:
        net.requires_grad_(False)
        vae.requires_grad_(False)
        base = Base(spec, net, vae, encoded(spec, memory, ""))
        learner = Learner(untaught(net, vae, asked.rank, asked.seed))
        held_out = [pairs(f"held out {times}", times, asked.examined, asked.edge) for times in TIMES]
        taught_net: Any = learner.net
        average: Any = learner.average

        def loss(step: int) -> Tensor:
            given = pairs(f"{asked.seed} {step}", TIMES[step % len(TIMES)], asked.batch, asked.edge)
            return loss_of(base, taught_net, given)

        budget = Budget(asked.minutes, asked.steps, asked.rate)
        teach(
            Course(
                "one_step",
                budget,
                loss,
                lambda: examine(base, average, held_out),
                lambda: save_one_step(average, asked.out, read.net.key),
                asked.run,
            ),
            learner,
        )
        return examine(base, average, held_out)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.training.one_step", description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=POCKET, help="a checkpoint folder in the diffusers layout")
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--steps", type=float, default=float("inf"))
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--edge", type=int, default=192, help="of the pictures, a multiple of 64 for Pocket")
    parser.add_argument("--examined", type=int, default=EXAMINED, help="held-out pictures a factor")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--run", type=Path, default=Path("runs/one_step"), help="the folder of state and log")
    parser.add_argument("--out", type=Path, default=FILE)
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Run the command line; prints what the last examination said."""
    print(json.dumps(train(parse(words))))


if __name__ == "__main__":
    main()
