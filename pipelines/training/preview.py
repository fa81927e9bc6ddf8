"""A tiny decoder for live previews of any checkpoint's latents: 65,000 parameters, half-size pictures, by one command.

    python -m pipelines.training.preview --model assets/pocket --source scenes --minutes 3

Writes preview/preview.safetensors into the checkpoint folder. After TAESD (Bohan 2023, github.com/madebyollin/taesd),
but with all layers at the latents' size, so that a preview costs a few hundredths of a step. Knows no UNet.
"""

import argparse
import json
import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from pipelines.models.preview_decoder import FILE, make_decoder
from pipelines.training.examples import Pictures, encode, from_folder, from_scenes


def fit_linear(latents: Tensor, pixels: Tensor) -> nn.Sequential:
    """The best linear decoder of latents (B, C, h, w) to pixels (B, 3, n h, n w), in closed form: least squares from
    each latent to its n x n patch. A preview for an autoencoder that nobody trained one for."""
    enlarged = pixels.shape[-1] // latents.shape[-1]
    rows = torch.cat([latents, torch.ones_like(latents[:, :1])], 1).permute(0, 2, 3, 1).flatten(0, 2)  # (N, C + 1)
    wanted = functional.pixel_unshuffle(pixels, enlarged).permute(0, 2, 3, 1).flatten(0, 2)  # (N, 3 n n)
    found = torch.linalg.lstsq(rows.double(), wanted.double()).solution.float()
    layer = nn.Conv2d(latents.shape[1], wanted.shape[1], 1)
    layer.weight.data.copy_(found[:-1].T[:, :, None, None])
    layer.bias.data.copy_(found[-1])  # type: ignore[union-attr]
    return nn.Sequential(layer, nn.PixelShuffle(enlarged)).requires_grad_(False)


def save_decoder(decoder: nn.Sequential, path: Path) -> None:
    """Write fp16 weights and the sizes they were made for."""
    first, shuffle = decoder[0], decoder[-1]
    width = first.out_channels if len(decoder) > 2 else 0
    said = {"channels": first.in_channels, "width": width, "enlarged": shuffle.upscale_factor}
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().half().contiguous() for name, value in decoder.state_dict().items()}
    save_file(state, path, {"format": "pt"} | {name: str(value) for name, value in said.items()})


def gather(pipe: Any, batches: Iterable[tuple[Pictures, list[str]]], enlarged: int) -> tuple[Tensor, Tensor]:
    """Latents (N, C, h, w) and the pictures they came from, shrunk to (N, 3, enlarged h, enlarged w); on the CPU."""
    device, latents, wanted = pipe.vae.device, [], []
    for pictures, _ in tqdm(batches, desc="encode"):
        pixels = torch.from_numpy(np.array(pictures)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        found = encode(pipe, pixels, device)
        latents.append(found.float())
        wanted.append(functional.interpolate(pixels, size=enlarged * found.shape[-1], mode="area").cpu())
    return torch.cat(latents), torch.cat(wanted)


def train(decoder: nn.Sequential, latents: Tensor, pixels: Tensor, seconds: float, seed: int) -> Iterator[float]:
    """Adam on the L1 distance of pixels and of their differences, the rate falling to zero; yields the loss.

    Every other latent is a little noised, as an unfinished x0 is."""
    optimizer = torch.optim.Adam(decoder.parameters(), 2e-3)
    generator, began = torch.Generator().manual_seed(seed), time.monotonic()
    while (fraction := (time.monotonic() - began) / seconds) < 1:
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 + math.cos(math.pi * fraction))
        rows = torch.randint(len(latents), (16,), generator=generator)
        x, wanted = latents[rows], pixels[rows]
        noise = torch.randn(x.shape, generator=generator) * 0.1
        x[::2] += noise[::2]
        given = decoder(x.to(next(decoder.parameters())))
        wanted = wanted.to(given)
        loss = (given - wanted).abs().mean()
        for axis in (2, 3):
            loss = loss + 0.5 * (given.diff(dim=axis) - wanted.diff(dim=axis)).abs().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield float(loss.detach())


def psnr(given: Tensor, wanted: Tensor) -> float:
    """In dB, over pixels in [-1, 1]; the mean over pictures."""
    errors = (given.clamp(-1, 1) - wanted).square().mean((1, 2, 3))
    return float((10 * (4 / errors).log10()).mean())


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.training.preview", description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="a checkpoint folder in the diffusers layout")
    parser.add_argument("--source", default="scenes", help="`scenes`, or a folder of pictures")
    parser.add_argument("--count", type=int, default=1500, help="how many scenes")
    parser.add_argument("--minutes", type=float, default=3.0, help="of training, encoding not counted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help=f"MODEL/{FILE} if not given")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Run the command line; keeps the better of a trained and a linear decoder, and prints both PSNRs on the held-out
    tenth."""
    from diffusers import StableDiffusionPipeline

    asked = parse(words)
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    pipe = StableDiffusionPipeline.from_pretrained(asked.model, dtype=torch.float32, safety_checker=None).to(device)
    factor, side = pipe.vae_scale_factor, pipe.unet.config.sample_size * pipe.vae_scale_factor
    drawn = asked.source == "scenes"
    batches = from_scenes(asked.count, asked.seed) if drawn else from_folder(Path(asked.source), side)
    latents, pixels = gather(pipe, batches, max(1, factor // 2))
    held_out = max(1, len(latents) // 10)
    decoder = make_decoder(latents.shape[1], max(1, factor // 2)).to(device)
    with tqdm(desc="preview", unit="step") as bar:
        for loss in train(decoder, latents[:-held_out], pixels[:-held_out], asked.minutes * 60, asked.seed):
            bar.update()
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
    learned, known = slice(None, -held_out), slice(-held_out, None)
    linear = fit_linear(latents[learned], pixels[learned])
    with torch.no_grad():
        found = [psnr(each(latents[known]), pixels[known]) for each in (decoder.cpu(), linear)]
    kept = decoder if found[0] > found[1] else linear  # where latents are a linear code, no network reads them better
    save_decoder(kept, asked.out or asked.model / FILE)
    said = {
        "psnr": round(found[0], 2),
        "psnr_linear": round(found[1], 2),
        "kept": "linear" if kept is linear else "deep",
    }
    print(json.dumps(said | {"parameters": sum(value.numel() for value in kept.parameters())}))


if __name__ == "__main__":
    main()
