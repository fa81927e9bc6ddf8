"""What upscaling holds beside the pictures, from 256 to 1024 to 4096 pixels a side; and how its tiles meet.

python -m tests.bench.upscaling [--methods lanczos compact ...] [--edges 256 1024 4096] [--times 4] [--model pocket]

Peaks are the process's own, by the kernel (Linux), less what it held before; `beside` is that less source and result
as Pillow keeps them, 4 bytes a pixel. Flat means that `beside` of the largest is no more than a tenth over that of the one before it, and
that is printed as a ratio. `seams` is the mean gradient across every 256th line, of that between them, over the same of
interpolation, which knows no tiles.
"""

from __future__ import annotations

import argparse
import gc
import re
from pathlib import Path
from typing import Any

from PIL import Image

from pipelines.device import Device
from pipelines.memory import Memory
from pipelines.tasks.upscale import Upscale
from pipelines.upscalers import Upscaler, upscalers
from tests.accounting import result_of
from tests.quality.autoencoder import photographs
from tests.quality.upscale import forget_the_peak, middle, peak, seams

MEGABYTE = 10**6


def held() -> float:
    """What the process holds now, in MB. Linux."""
    said = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(said[1]) / 1000 if said else float("nan")


def measured(method: Upscaler, source: Image.Image, times: int, request: Upscale, memory: Memory) -> dict[str, float]:
    """One enlargement: MB at the most beside what was held before, MB of the pictures, and the seams."""
    size = source.width * times, source.height * times
    gc.collect()
    memory.device.collect()
    before = held()
    forget_the_peak()
    large: Any = result_of(method(source, size, request, memory))
    most = peak() - before
    plain = source.resize(size, Image.Resampling.LANCZOS)
    pictures = 4 * (size[0] * size[1] + source.width * source.height) / MEGABYTE
    return {
        "peak": most,
        "pictures": pictures,
        "beside": most - pictures,
        "seams": seams(large, 256) / seams(plain, 256),
    }


def main(words: list[str] | None = None) -> None:
    """Print a line a method and a size, and the ratio of the last two."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["lanczos", "compact", "one_step", "latent_tiles", "inverse"])
    parser.add_argument("--edges", nargs="+", type=int, default=[256, 1024, 4096])
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(words)
    memory = Memory(Device(options.device))
    start = middle(next(iter(photographs().values())), 480)
    with torch.inference_mode():
        for name in options.methods:
            method = upscalers[name]()
            request = Upscale(model=options.model, steps=options.steps, seed=1)
            found = []
            for edge in (options.edges[0], *options.edges):  # the first once more: it loads what the others find there
                small = start.resize((edge // options.times,) * 2, Image.Resampling.LANCZOS)
                found.append(measured(method, small, options.times, request, memory))
            for edge, each in zip(options.edges, found[1:], strict=True):
                said = ", ".join(f"{what} {figure:.3f}" if what == "seams" else f"{what} {figure:.0f} MB" for what, figure in each.items())  # fmt: skip
                print(f"{name} to {edge}: {said}", flush=True)
            if len(found) > 2:
                print(
                    f"{name}: {found[-1]['beside'] / max(found[-2]['beside'], 1.0):.2f} times as much beside",
                    flush=True,
                )


if __name__ == "__main__":
    main()
