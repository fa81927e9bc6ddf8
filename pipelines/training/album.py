"""Drawn scenes as latents, rendered once by all cores and kept in one file per shape; sentences are made afresh."""

import argparse
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pipelines.training.autoencoder import to_pixels
from pipelines.training.linear_code import CHANNELS, PATCH, LinearCode
from pipelines.training.sampling import SORTS, sort_of
from pipelines.training.scenes import Split, caption, draw, sample_scene, stream
from pipelines.training.world import Scene

Shape = tuple[int, int]  # width, height
SHAPES: dict[Shape, float] = {(256, 256): 0.8, (320, 192): 0.1, (192, 320): 0.1}
CHUNK = 250
THINGS = 4.0  # what a place of the largest thing counts beside one of the backdrop
LARGEST = 144 / 256  # of the shorter side; of a smaller thing each place counts more, so that it is learned as well


class Examples(NamedTuple):
    """What is learned from in one step."""

    latents: Tensor  # (B, 32, H/16, W/16) fp32
    sentences: list[str]
    where: Tensor  # (B, 1, H/16, W/16) fp32, what each place counts


def importance(scene: Scene, width: int, height: int) -> np.ndarray:
    """THINGS and more where a thing lies, 1 elsewhere, (H/16, W/16) fp32: backdrops are most of a picture and easily
    learned, small things least of it and hardly."""
    y, x = np.mgrid[: height // PATCH, : width // PATCH] * PATCH + PATCH / 2
    where = np.ones(x.shape, np.float32)
    for item in scene.items:
        half = item.scale * min(width, height) / 2 + PATCH / 2
        there = (abs(x - item.x * width) < half) & (abs(y - item.y * height) < half)
        where[there] = THINGS * max(1.0, LARGEST / item.scale)
    return where


@dataclass(frozen=True)
class Page:
    """The scenes of one shape: number k of it is drawn from the stream of its split at `first + k`."""

    shape: Shape
    split: Split
    first: int
    latents: np.ndarray  # (N, 32, H/16, W/16) fp16, on disk

    def scene(self, number: int) -> Scene:
        """What is drawn under this number."""
        return sample_scene(stream(self.split, self.first + number), self.split, None, *self.shape)

    def take(self, numbers: list[int], rng: Random) -> Examples:
        """The examples of these numbers."""
        width, height = self.shape
        scenes = [self.scene(number) for number in numbers]
        where = torch.from_numpy(np.stack([importance(scene, width, height) for scene in scenes]))[:, None]
        return Examples(
            torch.from_numpy(self.latents[numbers]).float(), [caption(scene, rng) for scene in scenes], where
        )


@dataclass(frozen=True)
class Album:
    """Pages of several shapes."""

    pages: tuple[Page, ...]

    def batch(self, seed: int, step: int, size: int, shares: Mapping[str, float] = {}) -> Examples:
        """The examples of a step, all of one shape; shapes come as often as SHAPES says. Of the scenes of a sort only
        its share (above 0; 1 if not given) is taken."""
        rng = Random(f"{seed} album {step}")
        page = rng.choices(self.pages, [SHAPES[page.shape] for page in self.pages])[0]
        numbers: list[int] = []
        while len(numbers) < size:
            number = rng.randrange(len(page.latents))
            if not shares or rng.random() < shares.get(sort_of(page.scene(number)), 1.0):
                numbers.append(number)
        return page.take(numbers, rng)


def shares(text: str) -> dict[str, float]:
    """Sorts of scenes and the share of each, above 0 and at most 1. Raises ArgumentTypeError."""
    try:
        pairs = [each.split("=") for each in text.split(",")]
        given = {SORTS[SORTS.index(sort)]: float(share) for sort, share in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not like pair=0.7,trio=1 of {', '.join(SORTS)}") from None
    if not all(0 < share <= 1 for share in given.values()):
        raise argparse.ArgumentTypeError(f"{text!r}: shares lie above 0 and are at most 1")
    return given


def make_album(folder: Path, split: Split, count: int, code: LinearCode, workers: int | None = None) -> Album:
    """The album of `count` scenes in the folder; what is already drawn is not drawn again."""
    pages, first = [], 0
    for shape, share in SHAPES.items():
        number = max(CHUNK, round(count * share / CHUNK) * CHUNK)
        path = folder / f"{split}-{shape[0]}x{shape[1]}-{number}.npy"
        if not path.exists():
            _draw_page(path, shape, split, first, number, code, workers)
        pages.append(Page(shape, split, first, np.load(path, mmap_mode="r")))
        first += 10_000_000
    return Album(tuple(pages))


def _draw_page(
    path: Path, shape: Shape, split: Split, first: int, number: int, code: LinearCode, workers: int | None
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    size = (number, CHANNELS, shape[1] // PATCH, shape[0] // PATCH)
    page = np.lib.format.open_memmap(unfinished, "w+", np.float16, size)
    jobs = [(shape, split, first + start, code) for start in range(0, number, CHUNK)]
    with tqdm(total=number, desc=f"draw {path.stem}", unit="scene") as bar:
        for start, latents in enumerate(_drawn(jobs, workers or os.cpu_count() or 1)):
            page[start * CHUNK : (start + 1) * CHUNK] = latents
            bar.update(CHUNK)
    page.flush()
    unfinished.replace(path)


def _drawn(jobs: list[tuple[Shape, Split, int, LinearCode]], workers: int) -> Iterator[np.ndarray]:
    if workers == 1:
        yield from map(_draw_chunk, jobs)
        return
    with get_context("spawn").Pool(min(workers, len(jobs))) as pool:
        yield from pool.imap(_draw_chunk, jobs)


def _draw_chunk(job: tuple[Shape, Split, int, LinearCode]) -> np.ndarray:
    (width, height), split, first, code = job
    torch.set_num_threads(1)
    chunk = []
    for start in range(first, first + CHUNK, 50):
        scenes = [sample_scene(stream(split, k), split, None, width, height) for k in range(start, start + 50)]
        chunk.append(code.encode(to_pixels([draw(scene, width, height) for scene in scenes])).half().numpy())
    return np.concatenate(chunk)
