"""Teaches the built-in model to restore enlarged pictures in one step, by one command:

    python -m pipelines.training.one_step --minutes 120

On synthetic pictures only, enlarged two- and fourfold by the compact network after damage; photographs are for
judging only. Goes on after a stop. Writes assets/upscale/one_step.safetensors, which belongs to the weights of
assets/pocket that it was taught to. The painter learns low-rank changes by what it should have seen, in latents, the
convolutions behind it by pixels and by how alike gradients are. After OSEDiff (arXiv:2406.08177), without its
distillation, which wants a second painter that learns beside.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from pipelines.device import Device
from pipelines.memory import Memory
from pipelines.models import POCKET, ModelSpec, load_folder
from pipelines.models.compact import compact_part
from pipelines.models.lora import Lora, LowRank
from pipelines.models.one_step import Finish, Taught, imagined, taught
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
GRADIENTS = 4.0  # and how alike gradients are


@dataclass(frozen=True)
class Base:
    """The model that learns: its spec, its networks as they were lent, the network that enlarges, an empty prompt."""

    spec: ModelSpec
    net: Any
    vae: Any
    compact: Any
    cond: Cond


@dataclass(frozen=True)
class Pairs:
    """Small pixels (B, 3, h, w), how damaged each is (B,), and what they should become (B, 3, times h, times w)."""

    small: Tensor
    restore: Tensor
    sharp: Tensor
    times: int


def pairs(name: str, times: int, batch: int, edge: int) -> Pairs:
    """The pairs that a name stands for, the same on every machine; half of them from clean pictures."""
    small, restore, sharp = [], [], []
    for k in range(batch):
        rng = Random(f"{name} {k}")
        picture = whole(rng, edge)
        strength = 0.0 if k % 2 == 0 else rng.random()
        small.append(damaged(picture, times, strength, rng))
        restore.append(strength)
        sharp.append(picture)
    return Pairs(to_pixels(small), torch.tensor(restore), to_pixels(sharp), times)


def untaught(net: nn.Module, rank: int, seed: int) -> Taught:
    """Changes that change nothing yet, of the painter, and convolutions that leave the picture as it is; they learn."""
    factors = make_factors(net, rank, seed)
    layers: dict[tuple[str, str], LowRank] = {}
    for name in (each.removesuffix(".lora_A.weight") for each in factors if each.endswith(".lora_A.weight")):
        down, up = (factors[f"{name}.lora_{side}.weight"] for side in "AB")
        layers["net", name.replace(".", "_")] = LowRank(down, up, 1.0, None)
    return Taught(Lora(layers), Finish().to(next(net.parameters()).device)).requires_grad_(True)


def painted(base: Base, ours: Taught, each: Pairs) -> tuple[Tensor, Tensor, Tensor]:
    """The enlarged pixels, the latents of what one evaluation makes of them, and the pixels of both put together."""
    place = base.cond.tokens.device
    with torch.no_grad():
        plain = base.compact(each.small.to(place), each.times, each.restore.to(place)).clamp(-1, 1)
    with taught(base.net, ours.lora):
        latents = imagined(base.spec, base.vae, base.spec.predictor(base.net), plain, base.cond)
    with torch.no_grad():
        seen = base.spec.decode(base.vae, latents.detach())
    return plain, latents, ours.finish(plain, seen, each.restore.to(place))


def unlike(one: Tensor, other: Tensor) -> Tensor:
    """How unlike the gradients of two pictures (B, 3, H, W) in [-1, 1] are: 1 minus the mean of their similarity, and
    its deviation, over brightness at half the size. Xue et al. 2013, "GMSD" (arXiv:1308.3052)."""
    kernel = one.new_tensor([[1.0, 0, -1]] * 3)[None, None] / 3
    weights = one.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)

    def slopes(pixels: Tensor) -> Tensor:
        grey = functional.avg_pool2d((pixels * weights).sum(1, keepdim=True) * 127.5, 2)
        across, down = (functional.conv2d(grey, each) for each in (kernel, kernel.transpose(2, 3)))
        return (across.square() + down.square() + 1e-3).sqrt()

    a, b = slopes(one), slopes(other)
    alike = (2 * a * b + 170) / (a.square() + b.square() + 170)
    return 1 - alike.mean() + alike.flatten(1).std(1).mean()


def errors(base: Base, ours: Taught, each: Pairs) -> dict[str, Tensor]:
    """What pixels, gradients and latents are away from those of the sharp picture."""
    sharp = each.sharp.to(base.cond.tokens.device)
    with torch.no_grad():
        wanted = base.spec.encode(base.vae, sharp)
    plain, latents, pixels = painted(base, ours, each)
    said = {"pixels": picture_loss(pixels, sharp), "unlike": unlike(pixels, sharp)}
    said |= {"latents": (latents - wanted).abs().mean(), "unlike_compact": unlike(plain, sharp)}
    return said | {name: torch.tensor(decibels(at, sharp)) for name, at in (("psnr", pixels), ("psnr_compact", plain))}


def loss_of(base: Base, ours: Taught, each: Pairs) -> Tensor:
    """The weighted sum of what is to fall."""
    said = errors(base, ours, each)
    return said["pixels"] + GRADIENTS * said["unlike"] + LATENT * said["latents"]


@torch.no_grad()
def examine(base: Base, ours: Taught, held_out: Sequence[Pairs]) -> dict[str, float]:
    """The errors on pictures that are not learned from; decibels and unlikeness of the compact network alone, too."""
    found = [errors(base, ours, each) for each in held_out]
    return {name: round(sum(float(each[name]) for each in found) / len(found), 4) for name in found[0]}


def save_one_step(ours: Taught, path: Path, base: str) -> None:
    """Write what was learned as fp16, and the key of the painter's part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        f"{place}.{layer}.{side}": value
        for place, layer in ours.lora.places
        for side, value in ours.lora.of(place)[layer].state_dict().items()
    }
    state |= {f"finish.{name}": value for name, value in ours.finish.state_dict().items()}
    width, blocks = ours.finish.conv_in.out_channels, len(ours.finish.blocks)
    notes = {"format": "pt", "base": base, "width": str(width), "blocks": str(blocks)}
    save_file({name: value.detach().cpu().half().contiguous() for name, value in state.items()}, path, notes)


def train(asked: argparse.Namespace) -> dict[str, float]:
    """Learn to the end of the budget and write the average; what the last examination said."""
    torch.manual_seed(asked.seed)
    memory, read = Memory(Device(asked.device)), load_folder(asked.model, asked.model.name)
    exact = {part: replace(getattr(read, part), number_type=torch.float32) for part in ("net", "vae")}
    spec, enlarging = replace(read, **exact), replace(compact_part(), number_type=torch.float32)
    with memory.use(spec.net) as net, memory.use(spec.vae) as vae, memory.use(enlarging) as compact:
        net.requires_grad_(False)
        vae.requires_grad_(False)
        base = Base(spec, net, vae, compact, encoded(spec, memory, ""))
        learner = Learner(untaught(net, asked.rank, asked.seed))
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
