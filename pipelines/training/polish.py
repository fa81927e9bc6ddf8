"""Teaches the built-in model's autoencoder to read what its painter writes, by one command, which goes on after a stop:

    python -m pipelines.training.polish --minutes 25

A painter's latents are never quite those of a picture: it leaves halos around things and a little of every patch's
own pattern. So one step in two goes on with the autoencoder's own lessons, and in the other a scene's latents are
noised a little, walked down again by the painter, and read as the scene. Writes FOLDER/vae of --model, or of --out.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTokenizer

from pipelines.device import Device
from pipelines.training import autoencoder, export, painter
from pipelines.training.captions import caption
from pipelines.training.learner import Budget, Course, Learner, teach
from pipelines.training.linear_code import LinearCode
from pipelines.training.painter import Painter
from pipelines.training.scenes import Split, draw, sample_scene, stream
from pipelines.training.sheet import sheet

SCALE = 3.0  # of guidance, as in the model's presets
WALK = 3  # steps down from where the noise reaches
NEAREST, FARTHEST = 40, 440  # of the painter's thousand times: sigma 0.2 to 1.7, where what is what is settled
EXAMINED = 12  # scenes


@dataclass(frozen=True)
class Hand:
    """How the painter writes: its networks and words, and the code of the latents."""

    painter: Painter
    tokenizer: CLIPTokenizer
    code: LinearCode
    device: torch.device

    @torch.no_grad()
    def scenes(self, split: Split, indices: list[int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Latents as the painter writes them, and the pixels (B, 3, 256, 256) they should be read as."""
        drawn = [sample_scene(stream(split, index), split) for index in indices]
        sentences = [caption(scene, Random(f"polish {index}")) for scene, index in zip(drawn, indices, strict=True)]
        pixels = autoencoder.to_pixels([draw(scene) for scene in drawn]).to(self.device)
        tokens = painter.tokenize(self.tokenizer, [*[""] * len(drawn), *sentences]).to(self.device)
        start = int(torch.randint(NEAREST, FARTHEST, (1,), generator=generator))
        return walked(self.painter, self.code.encode(pixels), tokens, start, generator), pixels


@torch.no_grad()
def walked(net: Any, latents: Tensor, tokens: Tensor, start: int, generator: torch.Generator) -> Tensor:
    """Latents (B, C, h, w) noised to time `start` and brought back by WALK guided steps of DDIM; `tokens` (2B, L) are
    of no words, then of the sentences. Song et al. 2021, Equation 12 (arXiv:2010.02502)."""
    alphas = painter.make_scheduler().alphas_cumprod.to(latents)
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    x = alphas[start].sqrt() * latents + (1 - alphas[start]).sqrt() * noise
    denoised = latents
    for time, time_next in pairwise(torch.linspace(start, 0, WALK + 1).long().tolist()):
        alpha, sigma = alphas[time].sqrt(), (1 - alphas[time]).sqrt()
        times = torch.full((len(tokens),), time, device=latents.device)
        without, with_words = net(torch.cat([x, x]), times, tokens).chunk(2)
        denoised = alpha * x - sigma * without.lerp(with_words, SCALE)
        noise = (x - alpha * denoised) / sigma
        x = alphas[time_next].sqrt() * denoised + (1 - alphas[time_next]).sqrt() * noise
    return denoised


def loss_of(net: AutoencoderKL, hand: Hand, asked: argparse.Namespace, step: int) -> Tensor:
    """The loss of a step; every other is of the painter's latents."""
    generator = torch.Generator().manual_seed(asked.seed * 1_000_003 + step)
    if step % 2:
        rng = Random(f"{asked.seed} polish {step}")
        latents, pixels = hand.scenes("train", [rng.randrange(2**40) for _ in range(asked.scenes)], generator)
        return autoencoder.picture_loss(net.decode(latents).sample, pixels)
    pixels = autoencoder.lesson(asked.seed, step, asked.batch).to(hand.device)
    return autoencoder.Regression(net, hand.code).loss(pixels, step % 4 == 0, generator)


@torch.no_grad()
def examine(net: Any, hand: Hand, given: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Decibels of held-out scenes: as the encoder writes them, and as the painter does."""
    found = autoencoder.examine(net, hand.code, given[1])
    return {"psnr": found["psnr"], "psnr_painted": autoencoder.decibels(net.decode(given[0]).sample, given[1])}


def train(asked: argparse.Namespace) -> dict[str, float]:
    """Learn to the end of the budget and write the averaged autoencoder; what the last examination said."""
    torch.manual_seed(asked.seed)
    device = Device(asked.device).torch
    tokenizer = CLIPTokenizer.from_pretrained(asked.model / "tokenizer")
    size = painter.SIZES[asked.size]
    net = Painter(painter.make_unet(size), painter.make_text(tokenizer, size))
    export.take(net, asked.model)
    hand = Hand(
        net.to(device).eval(), tokenizer, LinearCode.load(asked.model / "linear_code.safetensors").to(device), device
    )
    learner = Learner(AutoencoderKL.from_pretrained(asked.model / "vae").to(device))
    exam = hand.scenes("held_out", list(range(EXAMINED)), torch.Generator().manual_seed(0))
    numbers: Callable[[], Any] = partial(torch.autocast, device.type, torch.bfloat16, enabled=asked.precision == "bf16")
    network, average = learner.net, learner.average

    def loss(step: int) -> Tensor:
        with numbers():
            return loss_of(network, hand, asked, step)  # type: ignore[arg-type]

    def graded() -> dict[str, float]:
        with numbers():
            return examine(average, hand, exam)

    @torch.no_grad()
    def show() -> None:
        read: Any = average
        sheet(lambda latents: read.decode(latents).sample, exam[0].cpu()).save(asked.run / "polish.png")

    budget = Budget(asked.minutes, asked.steps, asked.rate)
    teach(Course("polish", budget, loss, graded, show, asked.run), learner)
    vae: Any = average
    autoencoder.seal(vae).to(torch.float16).save_pretrained((asked.out or asked.model) / "vae")
    return examine(vae.float(), hand, exam)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.training.polish", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--model", type=Path, default=Path("assets/pocket"), help="as `pipelines.training.pocket` made it"
    )
    parser.add_argument("--out", type=Path, help="a folder for another autoencoder; the model's own if not given")
    parser.add_argument("--run", type=Path, default=Path("runs/polish"), help="the folder of state, log and sheet")
    parser.add_argument("--size", choices=painter.SIZES, default="pocket", help="of the painter")
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--steps", type=float, default=float("inf"))
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--batch", type=int, default=16, help="crops of 128 pixels")
    parser.add_argument("--scenes", type=int, default=4, help="of the painter's latents, 256 pixels each")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Run the command line; prints what the last examination said."""
    print(json.dumps(train(parse(words))))


if __name__ == "__main__":
    main()
