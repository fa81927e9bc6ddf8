"""Our seconds against those of a bare diffusers script for the same picture, at the same number type, in turns.

python -m tests.bench.overhead [--size pocket|sd15] [--steps 20] [--pairs 7]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline

from pipelines.device import Device
from pipelines.events import Finished
from pipelines.memory import Memory
from pipelines.models import POCKET, load_folder, models
from pipelines.tasks import run
from pipelines.tasks.text_to_image import TextToImage
from tests.bench.checkpoints import sd15_size

PROMPT = "a red cat on the sea"


def ours(memory: Memory, steps: int) -> Callable[[], object]:
    """One picture by the studio: request, events, previews and all."""
    request = TextToImage(
        model="bench", prompt=PROMPT, steps=steps, sampler="euler", schedule="own", seed=1, width=256, height=256
    )
    return lambda: [each.painted.picture for each in run(request, memory) if isinstance(each, Finished)]


def bare(folder: Path, memory: Memory, steps: int) -> Callable[[], object]:
    """The same picture by diffusers' own pipeline, each network in the type the studio runs it in."""
    spec = models["bench"]
    pipe = StableDiffusionPipeline.from_pretrained(
        folder, torch_dtype=memory.number_type(spec.net), use_safetensors=True
    )
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return lambda: (
        pipe(
            PROMPT,
            num_inference_steps=steps,
            guidance_scale=5.0,
            width=256,
            height=256,
            generator=torch.Generator().manual_seed(1),
        ).images
    )


def seconds(paint: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of one picture."""
    wall, processor = time.perf_counter(), time.process_time()
    paint()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    """Paint in turns and print medians, least seconds and the median of the ratios pair by pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("pocket", "sd15"), default="pocket")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = POCKET if asked.size == "pocket" else sd15_size(Path(scratch) / "sd15")
        models.add("bench", load_folder(folder, "bench"))
        memory = Memory(Device("cpu"))
        spec = models["bench"]
        kinds = {part.name: str(memory.number_type(part)) for part in spec.parts()}
        mine, theirs = ours(memory, asked.steps), bare(folder, memory, asked.steps)
        for paint in (mine, theirs):
            paint()
        pairs = [
            (seconds(mine), seconds(theirs)) if k % 2 else (seconds(theirs), seconds(mine))[::-1]
            for k in range(asked.pairs)
        ]
    print(f"{asked.size}, 256x256, {asked.steps} steps of euler, guided, {torch.get_num_threads()} threads, {kinds}")
    for i, clock in enumerate(("wall", "processor")):
        one, other = ([pair[side][i] for pair in pairs] for side in (0, 1))
        ratio = statistics.median(a / b for a, b in zip(one, other, strict=True))
        print(
            f"{clock:9} studio {statistics.median(one):.2f} s (least {min(one):.2f}), diffusers {statistics.median(other):.2f} s (least {min(other):.2f}), ratio {ratio:.3f}"
        )


if __name__ == "__main__":
    main()
