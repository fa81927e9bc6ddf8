"""What a distillation learns on: latents with the tokens of their prompts, from the drawn world, from a folder of
pictures, or painted by the teacher itself. Knows no adapter and no loss."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

BATCH = 64
Pictures = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]  # (B, H, W, 3)


@dataclass(frozen=True)
class Examples:
    """Latents (N, C, H, W) fp16, scaled as the UNet sees them, and the tokens of their prompts (N, L) int64."""

    latents: Tensor
    tokens: Tensor

    def split(self, held_out: int) -> tuple["Examples", "Examples"]:
        """All but the last `held_out`, and those."""
        if held_out * 2 > len(self.tokens):
            raise ValueError(f"{len(self.tokens)} examples are too few to hold out {held_out}.")
        return (
            Examples(self.latents[:-held_out], self.tokens[:-held_out]),
            Examples(self.latents[-held_out:], self.tokens[-held_out:]),
        )

    def save(self, path: Path) -> None:
        """Write them as one safetensors file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"latents": self.latents.contiguous(), "tokens": self.tokens.contiguous()}, path)

    @classmethod
    def load(cls, path: Path) -> "Examples":
        """Read what `save` wrote."""
        found = load_file(path)
        return cls(found["latents"], found["tokens"])


def tokenize(pipe: Any, prompts: list[str]) -> Tensor:
    """The padded and cut tokens of prompts, (N, L)."""
    length = pipe.tokenizer.model_max_length
    ids = pipe.tokenizer(prompts, padding="max_length", max_length=length, truncation=True).input_ids
    return torch.tensor(ids)


@torch.no_grad()
def encode(pipe: Any, pixels: Tensor, device: torch.device) -> Tensor:
    """The scaled posterior means of pixels (B, 3, H, W) in [-1, 1], fp16 on the CPU."""
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu"):
        means = pipe.vae.encode(pixels.to(device)).latent_dist.mean
    shift = getattr(pipe.vae.config, "shift_factor", None) or 0.0
    return ((means.float() - shift) * pipe.vae.config.scaling_factor).to("cpu", torch.float16)


def _draw_some(seed_and_count: tuple[int, int]) -> tuple[Pictures, list[str]]:
    from pipelines.training.scenes import caption, draw, sample_scene

    seed, count = seed_and_count
    rng = Random(f"distil {seed}")
    scenes = [sample_scene(rng, split="train") for _ in range(count)]
    return np.stack([np.asarray(draw(scene)) for scene in scenes]), [caption(scene, rng) for scene in scenes]


def from_scenes(count: int, seed: int) -> Iterator[tuple[Pictures, list[str]]]:
    """Batches of drawn scenes, (B, H, W, 3) uint8, with captions, rendered on all cores."""
    jobs = [(seed * 1_000_003 + start, min(BATCH, count - start)) for start in range(0, count, BATCH)]
    with get_context("spawn").Pool(min(len(jobs), os.cpu_count() or 1)) as pool:
        yield from pool.imap(_draw_some, jobs)


def from_folder(folder: Path, side: int) -> Iterator[tuple[Pictures, list[str]]]:
    """Batches of the pictures in a folder, the middle square scaled to `side`; the prompt of `cat.png` stands in
    `cat.txt`, and a picture without one is learned under the empty prompt."""
    names = sorted(p for p in folder.iterdir() if p.suffix.lower() in {".png", ".jpg", ".jpeg", ".webp"})
    if not names:
        raise ValueError(f"There are no pictures in {folder}.")
    for start in range(0, len(names), BATCH):
        some = names[start : start + BATCH]
        texts = [name.with_suffix(".txt") for name in some]
        prompts = [text.read_text().strip() if text.exists() else "" for text in texts]
        yield np.stack([_square(name, side) for name in some]), prompts


def _square(name: Path, side: int) -> Pictures:
    with Image.open(name) as picture:
        edge = min(picture.size)
        left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
        middle = picture.convert("RGB").crop((left, top, left + edge, top + edge))
        return np.asarray(middle.resize((side, side), Image.Resampling.LANCZOS))


def encode_all(pipe: Any, batches: Iterable[tuple[Pictures, list[str]]], count: int | None) -> Examples:
    """Encode pictures and prompts, batch by batch; `count` is for the bar alone."""
    device = pipe.vae.device
    latents, tokens = [], []
    with tqdm(total=count, desc="encode", unit="picture") as bar:
        for pictures, prompts in batches:
            pixels = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1  # (B, 3, H, W)
            latents.append(encode(pipe, pixels, device))
            tokens.append(tokenize(pipe, prompts))
            bar.update(len(prompts))
    return Examples(torch.cat(latents), torch.cat(tokens))


def from_teacher(pipe: Any, prompts: list[str], count: int, scale: float, seed: int, steps: int = 20) -> Examples:
    """Data-free: what the teacher paints for prompts taken in turn, in `steps` guided steps."""
    latents, chosen = [], [prompts[k % len(prompts)] for k in range(count)]
    pipe.set_progress_bar_config(disable=True)
    for start in tqdm(range(0, count, BATCH), desc="teacher paints"):
        generator = torch.Generator().manual_seed(seed + start)
        some = chosen[start : start + BATCH]
        painted = pipe(some, num_inference_steps=steps, guidance_scale=scale, generator=generator, output_type="latent")
        latents.append(painted.images.to("cpu", torch.float16))
    return Examples(torch.cat(latents), tokenize(pipe, chosen))
