"""Rows of `tests.quality.systems` about how much faster the built-in model paints with an accelerator."""

from __future__ import annotations

import math
import statistics
import time

from tests.quality.lab import row


def painted(accelerator: dict | None, steps: int = 50, seeds: int = 3, side: int = 256) -> tuple[float, list[bytes]]:
    """Seconds of the network a picture, as a median, and the pictures, of the built-in model."""
    from pipelines.device import Device
    from pipelines.events import Finished
    from pipelines.memory import Memory
    from pipelines.tasks import parse, run

    memory, seconds, pictures = Memory(Device("auto")), [], []
    chosen = [accelerator] if accelerator else []
    for seed in range(seeds + 1):  # the first loads and is not counted
        request = {"task": "text_to_image", "prompt": "a panda in the snow", "seed": seed, "steps": steps}
        begun = time.perf_counter()
        done = [
            event.painted.picture
            for event in run(parse({**request, "width": side, "height": side, "accelerators": chosen}), memory)
            if isinstance(event, Finished)
        ]
        seconds.append(time.perf_counter() - begun)
        pictures.append(done[0].tobytes())
    return statistics.median(seconds[1:]), pictures[1:]


def against_plain(accelerator: dict, wanted: float, side: int = 256) -> tuple[str, bool]:
    """How many times as fast as the same run without, and how far apart the pictures are."""
    import numpy as np

    plain, reference = painted(None, side=side)
    quick, ours = painted(accelerator, side=side)
    apart = [
        np.square(np.frombuffer(a, np.uint8).astype(float) - np.frombuffer(b, np.uint8)).mean()
        for a, b in zip(ours, reference, strict=True)
    ]
    distance = 10 * math.log10(255**2 / max(1e-9, statistics.mean(apart)))
    return f"{plain / quick:.2f} times, {distance:.1f} dB", plain / quick >= wanted


@row("A36", "SADA: >= 1.8 times as fast at 50 steps", pocket=True)
def sada() -> tuple[str, bool]:
    return against_plain({"name": "sada", "knobs": {}}, 1.8)


@row("A37", "Faster Diffusion: >= 1.35 times as fast at 50 steps", pocket=True)
def faster() -> tuple[str, bool]:
    return against_plain({"name": "faster", "knobs": {}}, 1.35)


@row("A38", "ToDo: >= 1.5 times as fast at four times native size", pocket=True)
def todo() -> tuple[str, bool]:
    return against_plain({"name": "todo", "knobs": {}}, 1.5, side=1024)


@row("A40", "feature inheritance: >= 1.4 times as fast at 50 steps", pocket=True)
def inheritance() -> tuple[str, bool]:
    return against_plain({"name": "inheritance", "knobs": {"depth": 2}}, 1.4)


@row("A42", "HiDiffusion: >= 1.4 times as fast at twice native size", pocket=True)
def hidiffusion() -> tuple[str, bool]:
    return against_plain({"name": "hidiffusion", "knobs": {}}, 1.4, side=512)
