"""The device and its number types: the only file that names cuda, mps and cpu."""

import ctypes
import gc
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines.estimate import Ledger

GIB = 1024**3
HOST_SHARE = 0.75  # of the host's memory may hold models; the rest is for pictures, activations and the system
CARD_SHARE = 0.92  # of what is free on a card; the rest is for kernels' workspaces and the allocator's rounding
LEAST = GIB // 2  # bytes of a default budget, however little is free
ALIGNED = 256  # bytes; where a tensor may begin in a buffer, so that kernels read it in one go
ROUNDS = 6  # of the probe of number types
NARROW = 16  # channels; below, a layer is too small to time and too small to matter
ON_HOST = {str(kind): kind for kind in (torch.float32, torch.bfloat16)}  # the types that a CPU chooses from
SMALL = torch.float8_e4m3fn  # weights in 8 bits: 3 bits of mantissa, up to 448


class Device:
    """One place where networks run. Policy elsewhere asks it; tests replace it."""

    def __init__(self, name: str = "auto", ledger: Ledger | None = None) -> None:
        self.torch = torch.device(_best() if name == "auto" else name)
        self.kind = self.torch.type
        self._ledger = Ledger() if ledger is None else ledger

    @property
    def is_host(self) -> bool:
        """Host and device memory are the same, so nothing is ever copied."""
        return self.kind == "cpu"

    @property
    def holds_small(self) -> bool:
        """Whether weights may lie here in 8 bits."""
        return self.kind != "mps"

    def default_budget(self) -> int:
        """Bytes that weights and what networks work with may take here."""
        if self.kind == "cuda":
            return max(int(torch.cuda.mem_get_info(self.torch)[0] * CARD_SHARE), LEAST)
        if self.kind == "mps":  # its memory is the host's, and the system says how much of it is good to use
            return max(int(torch.mps.recommended_max_memory() * HOST_SHARE), LEAST)
        return host_budget()

    def number_type(self, width: int) -> torch.dtype:
        """The fastest type for a network whose typical layer is `width` channels wide: measured once on a CPU."""
        if self.kind == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        if self.kind == "mps":
            return torch.float16
        if width < NARROW:
            return torch.float32
        work = f"number type {width} {torch.backends.cpu.get_cpu_capability()} {torch.__version__}"
        return ON_HOST.get(self._ledger.settled(work, lambda: str(fastest_on_host(width))), torch.float32)

    def fetched(
        self, tensors: Sequence[Tensor], kinds: Sequence[torch.dtype], buffer: Tensor | None = None
    ) -> list[Tensor]:
        """Copies of host tensors here, in the number types given, side by side in one allocation. Where they are
        carved from a host `buffer` in these types, in one copy, too, which goes on in the background if it is locked.
        """
        there = torch.empty(room(tensors, kinds), dtype=torch.uint8, device=self.torch)
        copies = carved(there, tensors, kinds)
        if buffer is not None:
            there.copy_(buffer, non_blocking=True)
            return copies
        for copy, tensor in zip(copies, tensors, strict=True):
            copy.copy_(tensor, non_blocking=True)
        return copies

    def lock(self, buffer: Tensor) -> bool:
        """Keep a host buffer from being paged out, so that it is copied at full speed; False where that is no use."""
        if self.kind != "cuda":
            return False
        runtime: Any = torch.cuda
        return int(runtime.cudart().cudaHostRegister(buffer.data_ptr(), buffer.nbytes, 0)) == 0

    def unlock(self, buffer: Tensor) -> None:
        """Take back `lock`, once what is being copied from it has arrived."""
        if self.kind == "cuda":
            torch.cuda.synchronize(self.torch)
            runtime: Any = torch.cuda
            runtime.cudart().cudaHostUnregister(buffer.data_ptr())

    def peak(self) -> int | None:
        """The most bytes of tensors here since the last call, and begin anew; None where nobody counts them."""
        if self.kind != "cuda":
            return None
        most = torch.cuda.max_memory_allocated(self.torch)
        torch.cuda.reset_peak_memory_stats(self.torch)
        return most

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
        if self.kind == "mps":
            return torch.mps.current_allocated_memory()
        return psutil.Process().memory_info().rss

    def total(self) -> int:
        """Bytes of memory this device has."""
        if self.kind == "cuda":
            return torch.cuda.get_device_properties(self.torch).total_memory
        return psutil.virtual_memory().total


def host_budget() -> int:
    """Bytes of host memory that models may take: a share of the machine's, or of what a container is given."""
    total = psutil.virtual_memory().total
    for limit in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        try:
            total = min(total, int(limit.read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return max(int(total * HOST_SHARE), LEAST)


def room(tensors: Sequence[Tensor], kinds: Sequence[torch.dtype]) -> int:
    """Bytes of a buffer that holds these tensors in those types."""
    return sum(_aligned(each.numel() * kind.itemsize) for each, kind in zip(tensors, kinds, strict=True))


def carved(buffer: Tensor, like: Sequence[Tensor], kinds: Sequence[torch.dtype]) -> list[Tensor]:
    """Views of a buffer of bytes, with the shapes of `like` and the types given, one behind the other."""
    views, start = [], 0
    for each, kind in zip(like, kinds, strict=True):
        count = each.numel() * kind.itemsize
        views.append(buffer[start : start + count].view(kind).view(each.shape))
        start += _aligned(count)
    return views


def packed(tensors: Sequence[Tensor], kinds: Sequence[torch.dtype]) -> tuple[Tensor, list[Tensor]]:
    """Host tensors copied into one buffer, in the types given: the buffer, and the copies as views of it."""
    buffer = torch.empty(room(tensors, kinds), dtype=torch.uint8)
    views = carved(buffer, tensors, kinds)
    for view, tensor in zip(views, tensors, strict=True):
        view.copy_(tensor)
    return buffer, views


def is_shortage(error: BaseException) -> bool:
    """Whether what was raised means that memory ran out."""
    from accelerate.utils.memory import should_reduce_batch_size

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, Exception) and bool(should_reduce_batch_size(error))


def _aligned(count: int) -> int:
    return -(-count // ALIGNED) * ALIGNED


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
