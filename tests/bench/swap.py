"""Seconds to switch models: cold (from the file), warm (from host memory), hot (on the device), against a plain
`from_pretrained` each time, and against the raw copy of as many bytes.

python -m tests.bench.swap [--device auto] [--size toy|sd15] [--rounds 5]
"""

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from pipelines.device import Device
from pipelines.memory import Memory
from pipelines.models import ModelSpec, load_folder
from tests.accounting import Accounting
from tests.bench.checkpoints import sd15_size
from tests.tiny.checkpoints import stable_diffusion

GIB = 1024**3


def switched(memory: Memory, spec: ModelSpec) -> None:
    """All that a picture needs is on the device."""
    for part in spec.parts():
        with memory.use(part):
            pass
    memory.device.wait()


def seconds(act: Callable[[], object]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def away(memory: Memory) -> None:
    """Off the device, and into host memory where that is another."""
    for each in memory.residents():
        each.settle()
        each.leave()
    memory.device.collect()


def measured(device: Device, folder: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of each way to have a checkpoint ready, round by round."""
    spec = load_folder(folder, "swapped")
    found: dict[str, list[float]] = {name: [] for name in ("cold", "warm", "hot", "from_pretrained", "raw copy")}
    for _ in range(rounds):
        memory = Memory(device)
        found["cold"].append(seconds(lambda: switched(memory, spec)))
        found["hot"].append(seconds(lambda: switched(memory, spec)))
        away(memory)
        found["warm"].append(seconds(lambda: switched(memory, spec)))
        kind, total = memory.number_type(spec.net), memory.used()
        memory.free()

        def plain(kind: torch.dtype = kind) -> None:
            pipe = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=kind, use_safetensors=True)
            pipe.to(device.torch)
            device.wait()

        found["from_pretrained"].append(seconds(plain))
        gc.collect()
        device.collect()
        found["raw copy"].append(raw_copy(device, total))
    return found


def raw_copy(device: Device, count: int) -> float:
    """Seconds to copy so many bytes from locked host memory to the device."""
    buffer = torch.ones(count, dtype=torch.uint8)
    device.lock(buffer)
    there = torch.empty(count, dtype=torch.uint8, device=device.torch)
    device.wait()
    try:

        def copy() -> None:
            there.copy_(buffer, non_blocking=True)
            device.wait()

        copy()
        return seconds(copy)
    finally:
        device.unlock(buffer)


def main() -> None:
    """Print medians, their ratios to from_pretrained, and the bandwidth of a warm switch against the raw copy's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", choices=("toy", "sd15"), default="toy")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    device = Accounting() if asked.device == "counting" else Device(asked.device)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "checkpoint"
        if asked.size == "sd15":
            sd15_size(folder)
        else:
            stable_diffusion(folder)
        found = {name: statistics.median(each) for name, each in measured(device, folder, asked.rounds).items()}
    plain = found["from_pretrained"]
    print(f"{asked.size} on {device.torch}, medians of {asked.rounds}")
    for name, each in found.items():
        print(f"{name:16} {each * 1000:9.2f} ms, {each / plain:.3f} of from_pretrained")
    print(f"a warm switch runs at {found['raw copy'] / found['warm']:.0%} of the raw copy")


if __name__ == "__main__":
    main()
