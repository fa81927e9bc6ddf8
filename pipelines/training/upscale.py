"""Trains the compact upscaler on synthetic pictures only, by one command:

    python -m pipelines.training.upscale --minutes 90

Dead leaves, drawn scenes, lettering and line art, shrunk and, half of them, damaged; photographs are for judging only.
Goes on after a stop. Writes assets/upscale/compact.safetensors.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from pipelines.models.compact import FILE, TIMES, Compact
from pipelines.training.autoencoder import decibels, to_pixels
from pipelines.training.damage import damaged
from pipelines.training.learner import Budget, Course, Learner, teach
from pipelines.training.patterns import pattern
from pipelines.training.scenes import draw, sample_scene, stream
from pipelines.training.strokes import line_art

SIDE = 48  # of the small pictures
EXAMINED = 24  # pictures a factor and a strength


@dataclass(frozen=True)
class Pairs:
    """Small pixels (B, 3, h, w), how damaged each is (B,), and what they should become (B, 3, times h, times w)."""

    small: Tensor
    restore: Tensor
    large: Tensor
    times: int


def whole(rng: Random, side: int) -> Image.Image:
    """A sharp synthetic picture, side x side."""
    kind = rng.random()
    if kind < 0.45:
        return pattern(rng, side)
    if kind < 0.7:
        return line_art(rng, side)
    edge = max(side, rng.choice((192, 256, 384, 512)))
    picture = draw(sample_scene(stream("train", rng.randrange(2**40))), edge, edge)
    left, top = rng.randint(0, edge - side), rng.randint(0, edge - side)
    return picture.crop((left, top, left + side, top + side))


def pairs(name: str, times: int, batch: int, side: int = SIDE, strength: float | None = None) -> Pairs:
    """The pairs that a name stands for, the same on every machine; half of them clean unless a strength is given."""
    small, restore, large = [], [], []
    for k in range(batch):
        rng = Random(f"{name} {k}")
        picture = whole(rng, side * times)
        worst = (0.0 if k % 2 else rng.random()) if strength is None else strength
        small.append(damaged(picture, times, worst, rng))
        restore.append(worst)
        large.append(picture)
    return Pairs(to_pixels(small), torch.tensor(restore), to_pixels(large), times)


def loss_of(net: Any, each: Pairs) -> Tensor:
    """The absolute error of pixels, as Charbonnier's smooth one, and of their differences, which keep edges crisp."""
    place = next(net.parameters()).device
    error = net(each.small.to(place), each.times, each.restore.to(place)) - each.large.to(place)
    slopes = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return (error.square() + 1e-6).sqrt().mean() + 0.25 * slopes


@torch.no_grad()
def examine(net: Any, held_out: list[Pairs]) -> dict[str, float]:
    """Decibels over interpolation, on pictures that are not learned from, by factor and damage."""
    from torch.nn import functional

    said, place = {}, next(net.parameters()).device
    for each in held_out:
        small, large = each.small.to(place), each.large.to(place)
        plain = functional.interpolate(small, scale_factor=float(each.times), mode="bicubic")
        gain = decibels(net(small, each.times, each.restore.to(place)), large) - decibels(plain, large)
        said[f"gain_x{each.times}_{float(each.restore[0]):g}"] = round(gain, 3)
    return said


def save_compact(net: Compact, path: Path) -> None:
    """Write fp16 weights and the sizes they were made for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().half().contiguous() for name, value in net.state_dict().items()}
    save_file(state, path, {"format": "pt", "width": str(net.width), "blocks": str(len(net.blocks))})


def train(asked: argparse.Namespace) -> dict[str, float]:
    """Learn to the end of the budget and write the average; what the last examination said."""
    torch.manual_seed(asked.seed)
    place = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    learner = Learner(Compact(asked.width, asked.blocks).to(place))
    held_out = [pairs(f"held out {n}", n, asked.examined, asked.side, s) for n in TIMES for s in (0.0, 0.6)]

    def loss(step: int) -> Tensor:
        return loss_of(learner.net, pairs(f"{asked.seed} {step}", TIMES[step % len(TIMES)], asked.batch, asked.side))

    average: Any = learner.average
    teach(
        Course(
            "compact",
            Budget(asked.minutes, asked.steps, asked.rate),
            loss,
            lambda: examine(average, held_out),
            lambda: save_compact(average, asked.out),
            asked.run,
        ),
        learner,
    )
    return examine(average, held_out)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.training.upscale", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=90.0)
    parser.add_argument("--steps", type=float, default=float("inf"))
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=SIDE, help="of the small pictures")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--examined", type=int, default=EXAMINED, help="held-out pictures a factor and a strength")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, default=Path("runs/upscale"), help="the folder of state and log")
    parser.add_argument("--out", type=Path, default=FILE)
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Run the command line; prints what was gained over interpolation on held-out pictures, in decibels."""
    print(json.dumps(train(parse(words))))


if __name__ == "__main__":
    main()
