"""Every upscaler beside bicubic and Lanczos: PSNR, SSIM and a perceptual figure, on photographs that none learned from.

python -m tests.quality.upscale [--methods lanczos compact ...] [--times 2 4] [--side 256] [--out FILE]

Photographs are those in scikit-image's package, their middle squares. `clean` is antialiased bicubic, as `compact` is
asked with restore 0; `damaged` is blur, noise and JPEG of one strength, with restore at that strength. Of scenes, a
judge says how many of their things it sees where they are (`python -m tests.quality.exam`). The perceptual figure is GMSD, the deviation of gradient similarity (Xue et al. 2013, arXiv:1308.3052), 0 for equal pictures: no
network's opinion. It also prints seconds, the seams of tiles, what `inverse` leaves unexplained, peaks of memory.
"""

import argparse
import json
import re
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import convolve, gaussian_filter

from pipelines.device import Device
from pipelines.errors import StudioError
from pipelines.evidence import residual
from pipelines.memory import Memory
from pipelines.shelf import FolderShelf
from pipelines.tasks import parse, run
from pipelines.training.damage import damaged
from pipelines.training.scenes import Scene, draw
from pipelines.upscalers import upscalers
from tests.accounting import result_of
from tests.quality.autoencoder import photographs
from tests.quality.judge import Judge
from tests.quality.lessons import held_out_scenes

KINDS = {"clean": 0.0, "damaged": 0.6, "badly damaged": 1.0}  # strengths
PICTURES = ("photographs", "scenes")
RESTORING = ("compact", "one_step")  # are told the strength


def middle(picture: Image.Image, side: int) -> Image.Image:
    """The middle square, no larger than `side`, at a multiple of 24, so that it shrinks evenly."""
    edge = min(side, *picture.size) // 24 * 24
    left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
    return picture.crop((left, top, left + edge, top + edge))


def grey(picture: Image.Image) -> Any:
    """Brightness, (H, W) of 0..255."""
    return np.asarray(picture.convert("L"), np.float64)


def psnr(given: Image.Image, wanted: Image.Image) -> float:
    """In dB, over all colours."""
    error = np.square(np.asarray(given, float) - np.asarray(wanted, float)).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def ssim(given: Image.Image, wanted: Image.Image) -> float:
    """Of the brightness, as Wang et al. 2004 define it: a Gaussian window of 1.5."""
    x, y = grey(given), grey(wanted)
    mean_x, mean_y = (gaussian_filter(each, 1.5, truncate=3.5) for each in (x, y))
    var_x, var_y, both = (
        gaussian_filter(a * b, 1.5, truncate=3.5) - c * d
        for a, b, c, d in ((x, x, mean_x, mean_x), (y, y, mean_y, mean_y), (x, y, mean_x, mean_y))
    )
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    map_ = (2 * mean_x * mean_y + c1) * (2 * both + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return float(map_[5:-5, 5:-5].mean())


def gmsd(given: Image.Image, wanted: Image.Image) -> float:
    """The deviation of the similarity of gradients, Prewitt's at half the size; lower is better."""
    kernel = np.array([[1, 0, -1]] * 3) / 3

    def slopes(picture: Image.Image) -> Any:
        half = grey(picture.reduce(2))
        return np.hypot(convolve(half, kernel), convolve(half, kernel.T))

    a, b = slopes(given), slopes(wanted)
    return float(((2 * a * b + 170) / (a**2 + b**2 + 170)).std())


def asked(name: str, strength: float, times: int, model: str, steps: int) -> dict[str, Any]:
    """The request of one cell of the table."""
    knobs = {"restore": strength} if name in RESTORING else {}
    method = {"name": name, "knobs": knobs}
    return {"task": "upscale", "upscaler": method, "times": times, "seed": 1, "model": model, "steps": steps}


def enlarged(request: dict[str, Any], small: Image.Image, memory: Memory, shelf: FolderShelf) -> Image.Image:
    """One result. Raises StudioError where the method cannot run here."""
    found = result_of(run(parse({**request, "source": shelf.put(small)}), memory, shelf))
    return found.pictures[0].picture  # type: ignore[return-value]


def seams(large: Image.Image, every: int) -> float:
    """The mean gradient across lines every so many pixels, of that between them; 1 where no seam shows."""
    levels = grey(large)
    ratios = []
    for turned in (levels, levels.T):
        across = np.abs(np.diff(turned, axis=1)).mean(0)
        at = np.zeros(len(across), bool)
        at[every - 1 :: every] = True
        if at.any():
            ratios.append(across[at].mean() / across[~at].mean())
    return float(np.mean(ratios)) if ratios else 1.0


def peak() -> float:
    """The most that this process held since the last `forget_the_peak`, in MB. Linux."""
    said = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(said[1]) / 1000 if said else float("nan")


def forget_the_peak() -> None:
    """Begin to count anew from what is held now. Linux."""
    Path("/proc/self/clear_refs").write_text("5")


def rows(options: argparse.Namespace, memory: Memory, shelf: FolderShelf) -> list[dict[str, Any]]:
    """The table: one row a method, a factor, a damage and a kind of pictures."""
    scenes = held_out_scenes(options.scenes)
    kinds = {
        "photographs": [middle(each, options.side) for each in photographs().values()],
        "scenes": [draw(each) for each in scenes],
    }
    table, judge = [], Judge()
    for title, pictures in ((each, kinds[each]) for each in options.pictures):
        for times in options.times:
            for damage, strength in ((each, KINDS[each]) for each in options.damages):
                given = [damaged(each, times, strength, Random(k)) for k, each in enumerate(pictures)]
                for name in options.methods:
                    row = {"pictures": title, "count": len(pictures), "times": times, "damage": damage, "method": name}
                    request = asked(name, strength, times, options.model, options.steps)
                    try:
                        found, figures = measured(request, given, pictures, memory, shelf)
                        right = {"judged right": seen_right(judge, found, scenes)} if title == "scenes" else {}
                        table.append(row | figures | right)
                    except StudioError as reason:
                        table.append(row | {"refused": str(reason)})
                    print(" | ".join(f"{key} {value}" for key, value in table[-1].items()), flush=True)
    return table


def seen_right(judge: Judge, pictures: list[Image.Image], scenes: list[Scene]) -> float:
    """The share of the scenes' things that a judge sees where they are, by half of what they measure."""
    right = [
        any(np.hypot(each.x - item.x, each.y - item.y) < item.scale / 2 for each in look.showing(item.thing))
        for look, scene in zip(judge.look(pictures), scenes, strict=True)
        for item in scene.items
    ]
    return round(float(np.mean(right)), 4)


def measured(
    request: dict[str, Any], given: list[Image.Image], wanted: list[Image.Image], memory: Memory, shelf: FolderShelf
) -> tuple[list[Image.Image], dict[str, float]]:
    """The results, and the means of one row."""
    begun = time.perf_counter()
    found = [enlarged(request, each, memory, shelf) for each in given]
    seconds = (time.perf_counter() - begun) / max(1, len(given))
    pairs = list(zip(found, wanted, strict=True))
    measures = {"psnr": psnr, "ssim": ssim, "gmsd": gmsd}
    means = {name: round(float(np.mean([measure(*pair) for pair in pairs])), 4) for name, measure in measures.items()}
    left = max(residual(large, small) for large, small in zip(found, given, strict=True))
    return found, {**means, "residual": round(left, 5), "seconds": round(seconds, 2)}


def memory_and_seams(options: argparse.Namespace, memory: Memory, shelf: FolderShelf) -> None:
    """Prints what the process held at its most, for growing results, and how the borders of tiles show in them."""
    start = middle(next(iter(photographs().values())), 512)
    for name in options.methods:
        for edge in (256, 1024, 4096)[: options.sizes]:
            small = start.resize((edge // 4, edge // 4), Image.Resampling.LANCZOS)
            forget_the_peak()
            try:
                large = enlarged(asked(name, 0.0, 4, options.model, options.steps), small, memory, shelf)
            except StudioError as reason:
                print(f"{name}: {reason}")
                break
            own = 3 * (large.width * large.height + small.width * small.height) / 2**20
            print(f"{name} to {edge}: peak {peak():.0f} MB, pictures {own:.0f} MB, seams {seams(large, 768):.3f}")


def main(words: list[str] | None = None) -> None:
    """Print the table and write it to --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(upscalers))
    parser.add_argument("--times", nargs="+", type=int, default=[2, 4])
    parser.add_argument("--pictures", nargs="+", choices=PICTURES, default=PICTURES)
    parser.add_argument("--damages", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--side", type=int, default=240)
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sizes", type=int, default=2, help="how many of 256, 1024 and 4096 to measure memory at")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(words)
    memory = Memory(Device(options.device))
    with tempfile.TemporaryDirectory() as folder:
        shelf = FolderShelf(Path(folder))
        table = rows(options, memory, shelf)
        memory_and_seams(options, memory, shelf)
    if options.out:
        options.out.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
