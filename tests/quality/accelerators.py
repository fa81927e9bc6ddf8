"""Every accelerator on Pocket against the same walk without it: speed-up, evaluations, distance; side by side, in turns.

    python -m tests.quality.accelerators                         # 50 steps, three seeds, all rows
    python -m tests.quality.accelerators --rows sada todo@2 --seeds 1 2 --out runs/accelerators.json
    python -m tests.quality.accelerators --small pocket-small    # T-Stitch needs a smaller Pocket

Each pair is painted by one process, one after the other, the second first in every other pair. Speed-ups are medians
of the ratios pair by pair, of processor seconds; a row that is not met stays in the table as not met.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from pipelines.distances import distance
from pipelines.errors import StudioError
from pipelines.events import Finished
from pipelines.memory import Memory
from pipelines.models import models
from pipelines.stock import Stock
from pipelines.tasks import parse, run

PROMPTS = ("a red balloon over the sea", "a panda in the snow", "a cat and a dog in a meadow")
SMALL = "pocket-small"  # the name of a smaller Pocket, where one is installed
MOST_APART = 12.0  # decibels of PSNR; two pictures of other seeds are nearer to 8


@dataclass(frozen=True)
class Row:
    """An accelerator at some knobs, at a multiple of the native size, and the speed-up that it should reach."""

    name: str
    accelerator: str
    times: int = 1
    wanted: float | None = None
    knobs: tuple[tuple[str, Any], ...] = ()


ROWS = (
    Row("sada", "sada", wanted=1.8),
    Row("faster", "faster", wanted=1.35),
    Row("stitching", "stitching", wanted=1.3, knobs=(("share", 0.4),)),
    Row("inheritance", "inheritance"),
    Row("teleport", "teleport"),
    Row("compile", "compile"),
    *(Row(f"{name}@{times}", name, times) for name in ("todo", "hidiffusion", "merging") for times in (2, 4)),
)


@dataclass
class Painting:
    """One picture and what it took: wall and processor seconds, and estimates of x0."""

    picture: Image.Image
    wall: float
    processor: float
    evaluations: int


def request(row: Row, prompt: str, seed: int, asked: argparse.Namespace, accelerated: bool) -> Any:
    """The request of a row, with its accelerator or without."""
    side = models["pocket"].side * row.times
    knobs = dict(row.knobs) | ({"small": asked.small} if row.accelerator == "stitching" else {})
    values: dict[str, Any] = {"task": "text_to_image", "model": "pocket", "prompt": prompt, "seed": seed}
    values |= {"steps": asked.steps, "sampler": asked.sampler, "width": side, "height": side}
    return parse({**values, "accelerators": [{"name": row.accelerator, "knobs": knobs}] if accelerated else []})


def painted(asked: Any, memory: Memory) -> Painting:
    """Paint a request."""
    before, wall, processor = memory.estimates, time.perf_counter(), time.process_time()
    (done,) = (each.painted for each in run(asked, memory) if isinstance(each, Finished))
    spent = time.perf_counter() - wall, time.process_time() - processor
    return Painting(done.picture, *spent, memory.estimates - before)


def pairs(row: Row, asked: argparse.Namespace, memory: Memory) -> Iterator[tuple[Painting, Painting]]:
    """(without, with) for each seed, the order turned in every other pair; the first pair only warms both up."""
    for k, seed in enumerate([asked.seeds[0], *asked.seeds]):
        prompt = PROMPTS[seed % len(PROMPTS)]
        order = (False, True) if k % 2 else (True, False)
        both = {how: painted(request(row, prompt, seed, asked, how), memory) for how in order}
        if k:
            yield both[False], both[True]


def figures(row: Row, asked: argparse.Namespace, memory: Memory) -> dict[str, Any]:
    """What a row came to: medians over the pairs. Without figures, and with the reason, where it cannot run."""
    try:
        measured = list(pairs(row, asked, memory))
    except StudioError as error:
        return {"row": row.name, "why": str(error)}
    apart = [each for a, b in measured if (each := distance(a.picture, b.picture))]
    median = statistics.median
    speed = median(a.processor / b.processor for a, b in measured)
    psnr = median(each.psnr for each in apart)
    return {
        "row": row.name,
        "speed-up": speed,
        "wall": median(a.wall / b.wall for a, b in measured),
        "seconds": median(b.processor for _, b in measured),
        "evaluations": [median(each.evaluations for each in side) for side in zip(*measured, strict=True)],
        "psnr": psnr,
        "ssim": median(each.ssim for each in apart),
        "gmsd": median(each.gmsd for each in apart),
        "wanted": row.wanted,
        "met": None if row.wanted is None else speed >= row.wanted and psnr >= MOST_APART,
    }


def line(found: dict[str, Any]) -> str:
    """A row of the table."""
    if "why" in found:
        return f"{found['row']:<14} not run: {found['why']}"
    wanted = "" if found["wanted"] is None else f">= {found['wanted']:.2f}"
    met = {None: "", True: "met", False: "NOT MET"}[found["met"]]
    before, after = found["evaluations"]
    return (
        f"{found['row']:<14} {found['speed-up']:>7.2f}x {found['wall']:>6.2f}x {wanted:>8}  {before:>5.0f} {after:>5.0f}"
        f"  {found['psnr']:>6.1f} {found['ssim']:>6.3f} {found['gmsd']:>6.3f}  {met}"
    )


def main() -> None:
    """Measure the rows that were asked for, print each as it is there, and write all to a file where one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--sampler", default="ddim")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rows", nargs="+", choices=[row.name for row in ROWS], default=[row.name for row in ROWS])
    parser.add_argument("--small", default=SMALL, help="the name of a smaller Pocket, for T-Stitch")
    parser.add_argument("--models", type=Path, help="a folder of models, where the smaller Pocket may lie")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.models:
        Stock(asked.models).rescan()
    memory, found = Memory(), []
    print(f"Pocket, {asked.steps} steps of {asked.sampler}, guided, {len(asked.seeds)} seeds, {memory.device.torch}")
    print(
        f"{'accelerator':<14} {'speed-up':>8} {'wall':>7} {'wanted':>8}  {'asked':>5} {'with':>5}  {'PSNR':>6} {'SSIM':>6} {'GMSD':>6}"
    )
    for row in ROWS:
        if row.name in asked.rows:
            found.append(figures(row, asked, memory))
            print(line(found[-1]), flush=True)
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
