"""Bytes moved over the bus per request: ours against diffusers' model offload and its ComponentsManager, in one run.

All three replay one trace on one pretended accelerator (tests/bench/fakegpu.py), which runs unmodified accelerate and
diffusers hooks and counts what crosses. Weights are told from pictures by who moves them. `--waiting 3` has ours know
the three requests behind the one that runs, as the studio's queue does; offloading needs no budget and heeds none.

python -m tests.bench.traffic [--requests 200] [--budget 6 8 10 12] [--waiting 0 3] [--stay 0.6]
"""

# ruff: noqa: E402
import argparse
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tests.bench import fakegpu

fakegpu.install()  # before diffusers, which looks for accelerators when it is imported

import torch
from diffusers import ComponentsManager, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.autoencoders.vae import Decoder, Encoder
from torch import Tensor, nn
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

from pipelines.device import Device
from pipelines.memory import Memory
from pipelines.models import load_folder, models
from pipelines.needs import keys_of
from pipelines.resident import Resident
from pipelines.tasks import run
from pipelines.tasks.text_to_image import TextToImage
from tests.tiny.fleet import fleet

fakegpu.at_once(UNet2DConditionModel, Encoder, Decoder, CLIPEncoderLayer)

MB = 2**20
MARGIN = 400_000  # bytes left beside weights: what ours reckons with for a picture of 64x64
PROMPTS = ("a red cat", "a blue dog on the sea", "a green house", "a photo of the sky", "a cat and a dog")
Trace = Sequence[tuple[str, str, int]]  # checkpoint, prompt, seed


class Fake(Device):
    """The pretended accelerator, in float32."""

    is_host = False

    def __init__(self) -> None:
        self.torch, self.kind = torch.device(fakegpu.NAME, 0), fakegpu.NAME
        self.moved_in = 0

    def number_type(self, width: int) -> torch.dtype:
        return torch.float32

    def fetched(
        self, tensors: Sequence[Tensor], kinds: Sequence[torch.dtype], buffer: Tensor | None = None
    ) -> list[Tensor]:
        before = fakegpu.LEDGER.h2d
        copies = [each.to(kind).to(self.torch) for each, kind in zip(tensors, kinds, strict=True)]
        self.moved_in += fakegpu.LEDGER.h2d - before
        return copies

    def used(self) -> int:
        return fakegpu.LEDGER.used


def trace(names: Sequence[str], count: int, stay: float) -> Trace:
    """Requests of people who mostly stay with a checkpoint and a prompt, and sometimes change."""
    rng, asked = random.Random(0), []
    name, prompt = names[0], PROMPTS[0]
    for k in range(count):
        name = name if rng.random() < stay else rng.choice(names)
        prompt = prompt if rng.random() < 0.5 else rng.choice(PROMPTS)
        asked.append((name, prompt, k))
    return asked


@contextmanager
def weights_counted() -> Iterator[dict[str, int]]:
    """Bytes that modules move each way, by `.to` and by ourselves."""
    moved = {"in": 0, "out": 0}

    def wrapped(apply: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            before = fakegpu.LEDGER.h2d, fakegpu.LEDGER.d2h
            answer = apply(*given, **named)
            if not depth[0]:
                moved["in"] += fakegpu.LEDGER.h2d - before[0]
                moved["out"] += fakegpu.LEDGER.d2h - before[1]
            return answer

        def outermost(*given: Any, **named: Any) -> Any:
            if depth[0]:
                return apply(*given, **named)
            try:
                return counted(*given, **named)
            finally:
                depth[0] = 0

        depth = [0]
        return outermost

    usual = nn.Module.to, Resident.enter, Resident.leave
    nn.Module.to, Resident.enter, Resident.leave = (wrapped(each) for each in usual)  # type: ignore[method-assign,assignment]
    try:
        yield moved
    finally:
        nn.Module.to, Resident.enter, Resident.leave = usual  # type: ignore[method-assign]


def ours(folder: Path, asked: Trace, budget: int, waiting: int) -> int:
    """Replay on the studio, `waiting` requests in its queue; returns the most bytes of weights at once."""
    memory, most = Memory(Fake(), budget), 0
    usual = torch.inference_mode
    torch.inference_mode = lambda on=True: torch.no_grad() if on else nullcontext()  # type: ignore  # it cannot pretend
    requests = [TextToImage(model=name, prompt=words, seed=k, steps=1, width=64, height=64) for name, words, k in asked]
    for k, request in enumerate(requests):
        memory.await_jobs([keys_of(each) for each in requests[k + 1 : k + 1 + waiting]])
        for _ in run(request, memory):
            most = max(most, memory.used())
    torch.inference_mode = usual  # type: ignore[misc]
    memory.free()
    return most


def offloaded(folder: Path, asked: Trace, budget: int) -> int:
    """Replay on pipelines with `enable_model_cpu_offload`, one for each checkpoint."""
    pipes = {}
    for name in dict.fromkeys(each[0] for each in asked):
        pipes[name] = _pipe(folder / name)
        pipes[name].enable_model_cpu_offload(device=fakegpu.NAME)
    _replay(pipes, asked)
    return 0


def managed(folder: Path, asked: Trace, budget: int) -> int:
    """Replay on pipelines whose components a ComponentsManager moves, within the same budget."""
    pipes, manager = {}, ComponentsManager()
    for name in dict.fromkeys(each[0] for each in asked):
        pipes[name] = _pipe(folder / name)
        for part in ("text_encoder", "unet", "vae"):
            manager.add(f"{name}-{part}", getattr(pipes[name], part))
    fakegpu.LEDGER.budget = budget
    manager.enable_auto_cpu_offload(device=fakegpu.NAME, memory_reserve_margin=str(MARGIN // 1000) + "KB")
    _replay(pipes, asked)
    manager.disable_auto_cpu_offload()
    return 0


def _pipe(folder: Path) -> Any:
    pipe = StableDiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _replay(pipes: dict[str, Any], asked: Trace) -> None:
    for name, prompt, seed in asked:
        generator = torch.Generator().manual_seed(seed)
        pipes[name](prompt, num_inference_steps=1, width=64, height=64, generator=generator)


def replayed(way: Callable[..., int], folder: Path, asked: Trace, budget: float, *more: int) -> tuple[float, float]:
    """Megabytes of weights that cross for a request each way, in and out."""
    fakegpu.LEDGER.budget = 1 << 62
    with weights_counted() as moved:
        most = way(folder, asked, int(budget * MB), *more)
    assert most <= budget * MB, most
    return moved["in"] / len(asked) / MB, moved["out"] / len(asked) / MB


def main() -> None:
    """Print megabytes per request for each, and the ratio to the better of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument(
        "--budget", type=float, nargs="+", default=[6, 8, 10, 12], help="megabytes; all weights are about 30"
    )
    parser.add_argument("--waiting", type=int, nargs="+", default=[0, 3], help="requests in the queue behind")
    parser.add_argument("--stay", type=float, default=0.6, help="how often a request stays with the checkpoint before")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        names = fleet(folder, inner=1500)
        for name in names:
            models.add(name, load_folder(folder / name, name))
        asked = trace(names, said.requests, said.stay)
        offload = replayed(offloaded, folder, asked, 0)
        print(f"{len(asked)} requests, MB of weights a request in / out: model offload {told(offload)}", flush=True)
        for budget in said.budget:
            theirs = replayed(managed, folder, asked, budget)
            rows = [f"{budget:g} MB: ComponentsManager {told(theirs)}"]
            for waiting in said.waiting:
                own = replayed(ours, folder, asked, budget, waiting)
                ratio = own[0] / min(offload[0], theirs[0])
                rows.append(f"ours, {waiting} waiting {told(own)}, ratio {ratio:.2f}")
            print("; ".join(rows), flush=True)


def told(moved: tuple[float, float]) -> str:
    """Megabytes in and out."""
    return f"{moved[0]:.2f} / {moved[1]:.2f}"


if __name__ == "__main__":
    main()
