"""The device and its number types: the only file that names cuda, mps and cpu."""

import ctypes
import gc
import time
from functools import cache

import psutil
import torch
from torch import Tensor, nn
from torch.nn import functional

GIB = 1024**3
HOST_SHARE = 0.75  # of the host's memory may hold models; the rest is for pictures, activations and the system
ROUNDS = 6  # of the probe of number types
NARROW = 16  # channels; below, a layer is too small to time and too small to matter
CARD_RESERVE = 1.5 * GIB  # left free on a card for activations; the VAE decode of 1024 px was estimated at 1.61 GB


class Device:
    """One place where networks run. Policy elsewhere asks it; tests replace it."""

    def __init__(self, name: str = "auto") -> None:
        self.torch = torch.device(_best() if name == "auto" else name)
        self.kind = self.torch.type

    @property
    def is_host(self) -> bool:
        """Host and device memory are the same, so nothing is ever copied."""
        return self.kind == "cpu"

    def default_budget(self) -> int:
        """Bytes of weights that may stay here."""
        if self.kind == "cuda":
            return int(torch.cuda.mem_get_info(self.torch)[0] - CARD_RESERVE)
        return int(psutil.virtual_memory().total * HOST_SHARE)

    def number_type(self, width: int) -> torch.dtype:
        """The fastest type for a network whose typical layer is `width` channels wide: measured on a CPU."""
        if self.kind == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        if self.kind == "mps":
            return torch.float16
        return fastest_on_host(width) if width >= NARROW else torch.float32

    def put(self, module: nn.Module) -> None:
        """Move the weights of `module` here."""
        module.to(self.torch)

    def collect(self) -> None:
        """Give freed memory back to the system."""
        gc.collect()
        if self.kind == "cuda":
            torch.cuda.empty_cache()
        elif self.kind == "mps":
            torch.mps.empty_cache()
        _trim()

    def wait(self) -> None:
        """Return when all work given to the device is done."""
        if self.kind == "cuda":
            torch.cuda.synchronize(self.torch)
        elif self.kind == "mps":
            torch.mps.synchronize()

    def used(self) -> int:
        """Bytes of this device's memory in use by this process."""
        if self.kind == "cuda":
            return torch.cuda.memory_allocated(self.torch)
        return psutil.Process().memory_info().rss

    def total(self) -> int:
        """Bytes of memory this device has."""
        if self.kind == "cuda":
            return torch.cuda.get_device_properties(self.torch).total_memory
        return psutil.virtual_memory().total


def on_host(tensor: Tensor) -> Tensor:
    """The same numbers in host memory, for what is made of them there."""
    return tensor.cpu()


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _trim() -> None:
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):  # no glibc: the allocator gives memory back by itself
        return


@cache
@torch.inference_mode()
def fastest_on_host(width: int) -> torch.dtype:
    """bfloat16 where one convolution and one attention of this width run faster in it than in float32, by a clock.

    CPUs with AMX or avx512-bf16 run an SD-1.5-size network three times faster in bfloat16; others run it slower.
    """
    layers = {kind: _Layers(width, kind) for kind in (torch.float32, torch.bfloat16)}
    seconds = dict.fromkeys(layers, float("inf"))
    for _ in range(ROUNDS):  # in turns, so that a busy moment hits both; the least of each counts
        for kind, each in layers.items():
            seconds[kind] = min(seconds[kind], each.seconds())
    return torch.bfloat16 if seconds[torch.bfloat16] < seconds[torch.float32] else torch.float32


class _Layers:
    """What a network of this kind spends its time on, once each, on two pictures of 32x32."""

    def __init__(self, width: int, kind: torch.dtype) -> None:
        self.norm, self.conv = nn.GroupNorm(8, width, dtype=kind), nn.Conv2d(width, width, 3, padding=1, dtype=kind)
        self.wide = nn.Linear(width, 4 * width, dtype=kind)
        self.x = torch.randn(2, width, 32, 32).to(kind)

    def seconds(self) -> float:
        """How long one pass takes."""
        start = time.perf_counter()
        seen = self.conv(functional.silu(self.norm(self.x)))
        small = functional.avg_pool2d(seen, 2).flatten(2).mT[:, None]  # (2, 1, 256, width)
        self.wide(functional.scaled_dot_product_attention(small, small, small))
        return time.perf_counter() - start
