"""Teaches an autoencoder's decoder to keep what is not repainted, by one command, which goes on after a stop:

    python -m pipelines.training.keeping --minutes 12

Only the branch beside the decoder learns (Zhu et al. 2023, arXiv:2306.04632); the autoencoder stays as it is. Pictures
are drawn scenes and patterns under random masks, their latents a little noised. Writes FOLDER/vae/keeping.safetensors
of --model, or of --out.
"""

import argparse
import json
from pathlib import Path
from random import Random
from typing import Any

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor

from pipelines.device import Device
from pipelines.models.autoencoders import KEEPING
from pipelines.models.keeping import Keeping, made_for, shown
from pipelines.training import autoencoder
from pipelines.training.learner import Budget, Course, Learner, teach

EXAMINED = 24  # pictures


def masks(rng: Random, count: int, side: int) -> Tensor:
    """Random boxes, (count, 1, side, side), 1 within, and outside of one in four boxes."""
    made = torch.zeros(count, 1, side, side)
    for mask in made:
        width, height = (rng.randint(side // 8, side * 3 // 4) for _ in range(2))
        left, top = rng.randint(0, side - width), rng.randint(0, side - height)
        mask[:, top : top + height, left : left + width] = 1
        if rng.random() < 0.25:
            mask.copy_(1 - mask)
    return made


def repainted(vae: Any, branch: Any, pixels: Tensor, mask: Tensor, noise: Tensor | float = 0.0) -> Tensor:
    """Pixels as the decoder gives them back from their own latents, shown what the mask keeps of them."""
    with torch.no_grad():
        latents = vae.encode(pixels).latent_dist.mode() + noise
    with shown(vae.decoder, branch, pixels, mask):
        return torch.as_tensor(vae.decode(latents).sample)


def lesson(seed: int, step: int, batch: int, place: torch.device) -> tuple[Tensor, Tensor]:
    """Pixels and masks of a step."""
    pixels = autoencoder.lesson(seed, step, batch)
    return pixels.to(place), masks(Random(f"{seed} keeping {step}"), len(pixels), pixels.shape[-1]).to(place)


@torch.no_grad()
def examine(vae: Any, branch: Any, pixels: Tensor, mask: Tensor) -> dict[str, float]:
    """Decibels of what is kept and of what is not, with the branch and by the decoder alone."""
    kept, plain = repainted(vae, branch, pixels, mask), vae.decode(vae.encode(pixels).latent_dist.mode()).sample

    def decibels(given: Tensor, where: Tensor) -> float:
        error = ((given.float().clamp(-1, 1) - pixels) / 2).square() * where
        return round(float(-10 * (error.sum() / (3 * where.sum())).log10()), 3)

    return {
        "kept": decibels(kept, 1 - mask),
        "kept_plain": decibels(plain, 1 - mask),
        "within": decibels(kept, mask),
        "within_plain": decibels(plain, mask),
    }


def save_keeping(branch: Keeping, path: Path) -> None:
    """Write fp16 weights and the sizes they were made for."""
    widths, strides = ([getattr(layer, name) for layer in branch.layers] for name in ("out_channels", "stride"))
    said = {"widths": widths, "strides": [each[0] for each in strides]}
    notes = {"format": "pt"} | {name: ",".join(map(str, each)) for name, each in said.items()}
    state = {name: value.detach().cpu().half().contiguous() for name, value in branch.state_dict().items()}
    save_file(state, path, notes)


def train(asked: argparse.Namespace) -> dict[str, float]:
    """Learn to the end of the budget and write the averaged branch; what the last examination said."""
    torch.manual_seed(asked.seed)
    place = Device(asked.device).torch
    vae: Any = AutoencoderKL.from_pretrained(asked.model / "vae", torch_dtype=torch.float32)
    vae = vae.to(place).eval().requires_grad_(False)
    learner: Learner = Learner(made_for(vae.decoder).to(place))
    branch: Any = learner.net
    average: Any = learner.average
    rng = Random("keeping")
    exam = autoencoder.drawn("held_out", range(asked.examined)).to(place), masks(rng, asked.examined, 256).to(place)

    def loss(step: int) -> Tensor:
        pixels, mask = lesson(asked.seed, step, asked.batch, place)
        chance = torch.Generator().manual_seed(asked.seed * 1_000_003 + step)
        factor = 2 ** (len(vae.decoder.up_blocks) - 1)
        shape = (len(pixels), vae.config.latent_channels, *(side // factor for side in pixels.shape[-2:]))
        noise = autoencoder.NOISE * torch.randn(shape, generator=chance).to(place)
        with torch.autocast(place.type, torch.bfloat16, enabled=asked.precision == "bf16"):
            return autoencoder.picture_loss(repainted(vae, branch, pixels, mask, noise), pixels)

    def save(branch: Keeping) -> None:
        folder = (asked.out or asked.model) / "vae"
        folder.mkdir(parents=True, exist_ok=True)
        save_keeping(branch, folder / KEEPING)

    budget = Budget(asked.minutes, asked.steps, asked.rate)
    teach(
        Course("keeping", budget, loss, lambda: examine(vae, average, *exam), lambda: save(average), asked.run), learner
    )
    return examine(vae, average, *exam)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.training.keeping", description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("assets/pocket"), help="a checkpoint folder")
    parser.add_argument("--out", type=Path, help="a folder for the branch; the model's own if not given")
    parser.add_argument("--run", type=Path, default=Path("runs/keeping"), help="the folder of state and log")
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--steps", type=float, default=float("inf"))
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=16, help="crops of 128 pixels")
    parser.add_argument("--examined", type=int, default=EXAMINED, help="held-out scenes")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Run the command line; prints what the last examination said."""
    print(json.dumps(train(parse(words))))


if __name__ == "__main__":
    main()
