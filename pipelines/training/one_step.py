"""Teaches the built-in model to restore enlarged pictures in one step, by one command:

    python -m pipelines.training.one_step --minutes 120

On synthetic pictures only, enlarged two- and fourfold by the compact network after damage; photographs are for
judging only. Goes on after a stop. Writes assets/upscale/one_step.safetensors, which belongs to the weights of
assets/pocket that it was taught to. Low-rank changes of the painter and what stands before and behind it learn
together, by pixels, by how alike gradients are, and by latents, those of the sharp picture. After OSEDiff
(arXiv:2406.08177), without its distillation, which wants a second painter that learns beside.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from PIL.Image import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from pipelines.device import Device
from pipelines.memory import Memory
from pipelines.models import POCKET, ModelSpec, load_folder
from pipelines.models.compact import compact_part
from pipelines.models.lora import Lora, LowRank, Worn, patched
from pipelines.models.one_step import Ends, restored
from pipelines.painting import encoded
from pipelines.training.adapter import make_factors
from pipelines.training.autoencoder import decibels, picture_loss, to_pixels
from pipelines.training.damage import damaged
from pipelines.training.learner import Budget, Course, Learner, teach
from pipelines.training.scenes import draw, sample_scene, stream
from pipelines.training.upscale import whole
from pipelines.types import Cond
from pipelines.upscalers.one_step import FILE

TIMES = (2, 4)
EXAMINED = 16  # pictures a factor
SCENES = 0.5  # share of drawn scenes at the size that the painter knows, beside those among the others
FITTED = 24  # pictures that patches of pixels and of latents are fitted to
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


class Taught(nn.Module):
    """All that is learned."""

    def __init__(self, lora: Lora, ends: Ends) -> None:
        super().__init__()
        self.lora, self.ends = lora, ends


@dataclass(frozen=True)
class Pairs:
    """Small pixels (B, 3, h, w), how damaged each is (B,), and what they should become (B, 3, times h, times w)."""

    small: Tensor
    restore: Tensor
    sharp: Tensor
    times: int


def scene(rng: Random, edge: int) -> Image:
    """A piece of a drawn scene, edge x edge."""
    picture = draw(sample_scene(stream("train", rng.randrange(2**40))), 256, 256)
    left, top = (rng.randint(0, 256 - edge) for _ in range(2))
    return picture.crop((left, top, left + edge, top + edge))


def pairs(name: str, times: int, batch: int, edge: int) -> Pairs:
    """The pairs that a name stands for, the same on every machine; half of them are damaged."""
    small, restore, sharp = [], [], []
    for k in range(batch):
        rng = Random(f"{name} {k}")
        known = rng.random() < SCENES
        picture = scene(rng, edge) if known else whole(rng, edge)
        # of what the painter knows it can make out more, so that is damaged worse
        strength = 0.0 if k % 2 == 0 else rng.random() ** (0.25 if known else 0.5)
        small.append(damaged(picture, times, strength, rng))
        restore.append(strength)
        sharp.append(picture)
    return Pairs(to_pixels(small), torch.tensor(restore), to_pixels(sharp), times)


@torch.no_grad()
def fitted(spec: ModelSpec, vae: Any, edge: int) -> Ends:
    """Ends that read and write the latents of an autoencoder as far as patch by patch and linearly it can be done."""
    ends, factor = Ends(spec.channels, spec.factor), spec.factor
    side = edge // factor * factor
    pixels = to_pixels([whole(Random(f"fitted {k}"), side) for k in range(FITTED)]).to(next(vae.parameters()).device)
    latents = torch.cat([spec.encode(vae, each[None]) for each in pixels])
    halves = functional.pixel_unshuffle(pixels, 2)
    weight, bias = _line(functional.pixel_unshuffle(pixels, factor), latents)
    ends.read.weight.copy_(weight.T.view_as(ends.read.weight))
    ends.read.bias.copy_(bias)  # type: ignore[union-attr]
    weight, bias = _line(latents, functional.pixel_unshuffle(halves, factor // 2))
    ends.write.weight.copy_(weight.view_as(ends.write.weight))
    ends.write.bias.copy_(bias.view(12, -1).mean(1))  # type: ignore[union-attr]
    return ends


def _line(given: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (c, C) and bias (C,) of the best line from (B, c, h, w) to (B, C, h, w), a little held to zero."""
    x, y = (each.movedim(1, -1).flatten(0, -2).double() for each in (given, wanted))
    mean, target = x.mean(0), y.mean(0)
    x = x - mean
    square = x.T @ x
    square.diagonal().add_(1e-3 * square.diagonal().mean())
    weight = torch.linalg.solve(square, x.T @ (y - target))
    return weight.float(), (target - mean @ weight).float()


def untaught(net: nn.Module, ends: Ends, rank: int, seed: int) -> Taught:
    """Changes of the painter that change nothing yet, and its ends."""
    factors = make_factors(net, rank, seed)
    layers: dict[tuple[str, str], LowRank] = {}
    for name in (each.removesuffix(".lora_A.weight") for each in factors if each.endswith(".lora_A.weight")):
        down, up = (factors[f"{name}.lora_{side}.weight"] for side in "AB")
        layers["net", name.replace(".", "_")] = LowRank(down, up, 1.0, None)
    return Taught(Lora(layers), ends.to(next(net.parameters()).device)).requires_grad_(True)


def painted(base: Base, ours: Taught, each: Pairs) -> tuple[Tensor, Tensor, Tensor]:
    """The enlarged pixels, the pixels and the latents of what one evaluation makes of them."""
    place = base.cond.tokens.device
    with torch.no_grad():
        plain = base.compact(each.small.to(place), each.times, each.restore.to(place)).clamp(-1, 1)
    with patched(base.net, "net", [Worn("one step", ours.lora, 1.0)], "the painter"):
        predict = base.spec.predictor(base.net)
        return plain, *restored(ours.ends, predict, plain, base.cond, each.restore.to(place))


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
    plain, pixels, latents = painted(base, ours, each)
    said = {"pixels": picture_loss(pixels, sharp), "unlike": unlike(pixels, sharp)}
    said |= {"latents": (latents - wanted).abs().mean(), "unlike_compact": unlike(plain, sharp)}
    both = {"psnr": pixels.detach(), "psnr_compact": plain}
    return said | {name: torch.tensor(decibels(at, sharp)) for name, at in both.items()}


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
    state |= {f"ends.{name}": value for name, value in ours.ends.state_dict().items()}
    notes = {"format": "pt", "base": base, **ours.ends.notes()}
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
        learner = Learner(untaught(net, fitted(spec, vae, asked.edge), asked.rank, asked.seed))
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
