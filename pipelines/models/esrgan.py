"""Enlargers that communities share as one safetensors file: ESRGAN's kind, and the compact ones of Real-ESRGAN.

Wang et al. 2018 (arXiv:1809.00219) and 2021 (arXiv:2107.10833). Sizes are read off the file's shapes; names are those
of the first release or of the later one, which most training tools write.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from pipelines.errors import BadCheckpoint, BadRequest
from pipelines.models.enlargers import enlarging
from pipelines.parts import Part, header

if TYPE_CHECKING:
    from pipelines.models import ModelSpec
    from pipelines.models.headers import Known

SIDE = 192  # pixels of the tiles that they read
SLOPE = 0.2  # of leaky ReLUs
LESS = 0.2  # of what a block found is added to what it read
DEEPEST = 200  # blocks, or layers of a compact one; more is no network of these kinds
FIRST = re.compile(r"^(params(_ema)?|module)\.")  # what training tools put before all names
OLD = (  # names of the first release -> of the later one
    (r"^model\.0\.", "conv_first."), (r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3."),
    (r"^model\.1\.sub\.\d+\.(weight|bias)$", r"conv_body.\1"),
)  # fmt: skip


class Dense(nn.Module):
    """Five convolutions, each of which reads what all before it found."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        for k in range(5):
            setattr(self, f"conv{k + 1}", nn.Conv2d(width + k * growth, width if k == 4 else growth, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        found = [x]
        for k in range(5):
            seen = getattr(self, f"conv{k + 1}")(torch.cat(found, 1))
            found.append(seen if k == 4 else functional.leaky_relu(seen, SLOPE))
        return x + LESS * found[-1]


class Residual(nn.Module):
    """Three of those, around which the input is added."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (Dense(width, growth) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.rdb3(self.rdb2(self.rdb1(x)))
        return x + LESS * changed


class Enlarger(nn.Module):
    """(picture, ...) -> pixels (1, 3, H, W) in [-1, 1]; what else is asked of published upscalers says nothing here."""

    def forward(self, picture: Any, *_: Any) -> Tensor:
        """An RGB picture, enlarged."""
        if not isinstance(picture, Image.Image):
            raise BadRequest("Model: this one enlarges pictures, in the tab Upscale; choose another for painting.")
        like = next(self.parameters())
        levels = torch.frombuffer(bytearray(picture.convert("RGB").tobytes()), dtype=torch.uint8)
        pixels = levels.view(1, picture.height, picture.width, 3).permute(0, 3, 1, 2).to(like) / 255
        return self.enlarged(pixels).float().clamp(0, 1) * 2 - 1

    def enlarged(self, pixels: Tensor) -> Tensor:
        """Pixels (1, 3, h, w) in [0, 1] to (1, 3, times h, times w)."""
        raise TypeError(f"{type(self).__name__} does not say how it enlarges")


class Esrgan(Enlarger):
    """Dense blocks at the size of the picture, folded where it is to become less than four times as large."""

    def __init__(self, width: int, growth: int, blocks: int, fold: int, doublings: int) -> None:
        super().__init__()
        self.fold, self.doublings = fold, doublings
        self.conv_first = nn.Conv2d(3 * fold**2, width, 3, padding=1)
        self.body = nn.ModuleList(Residual(width, growth) for _ in range(blocks))
        self.conv_body, self.conv_hr = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.conv_last = nn.Conv2d(width, 3, 3, padding=1)
        for k in range(doublings):
            setattr(self, f"conv_up{k + 1}", nn.Conv2d(width, width, 3, padding=1))

    def enlarged(self, pixels: Tensor) -> Tensor:
        first = self.conv_first(functional.pixel_unshuffle(pixels, self.fold))
        x = first
        for block in self.body:
            x = block(x)
        x = first + self.conv_body(x)
        for k in range(self.doublings):
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = functional.leaky_relu(getattr(self, f"conv_up{k + 1}")(x), SLOPE)
        return self.conv_last(functional.leaky_relu(self.conv_hr(x), SLOPE))  # type: ignore[no-any-return]


class CompactEsrgan(Enlarger):
    """Convolutions in a row with a slope for each channel, then the missing pixels by a shuffle."""

    def __init__(self, width: int, layers: int, times: int) -> None:
        super().__init__()
        self.times = times
        body: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.PReLU(width)]
        for _ in range(layers):
            body += [nn.Conv2d(width, width, 3, padding=1), nn.PReLU(width)]
        self.body = nn.Sequential(*body, nn.Conv2d(width, 3 * times**2, 3, padding=1))

    def enlarged(self, pixels: Tensor) -> Tensor:
        plain = functional.interpolate(pixels, scale_factor=float(self.times), mode="nearest")
        return plain + functional.pixel_shuffle(self.body(pixels), self.times)


def read_enlarger(path: Path, name: str, known: Known, **facts: Any) -> ModelSpec:
    """The enlarger in a file; its header is read, no weights. Raises BadCheckpoint."""
    made, times = _untrained(path, known.header.shapes)
    width = next(made.parameters()).shape[0]
    part = Part(
        "The enlarger",
        f"enlarger {known.header.fingerprint}",
        known.header.elements,
        width,
        partial(_load, path),
        stored=known.header.types,
        check=lambda: header(path),
    )
    said = {"licence": known.notes.get("modelspec.license", "not stated")[:80]} | facts
    return enlarging(name, "ESRGAN", part, times, SIDE, said)


def named(name: str) -> str:
    """A weight's name as the later release has it."""
    bare = FIRST.sub("", name)
    for old, later in OLD:
        bare = re.sub(old, later, bare)
    return bare


def tails(names: Mapping[str, Any]) -> dict[str, str]:
    """What the first release numbered behind its blocks: doublings, a convolution, and the last."""
    found = {int(match[1]) for name in names if (match := re.match(r"model\.(\d+)\.weight$", FIRST.sub("", name)))}
    last = sorted(found - {0, 1})
    ends = [*(f"conv_up{k + 1}" for k in range(len(last) - 2)), "conv_hr", "conv_last"]
    return {f"model.{number}.": f"{end}." for number, end in zip(last, ends[-len(last) :], strict=True)} if last else {}


def renamed(state: Mapping[str, Any]) -> dict[str, Any]:
    """Weights, or their shapes, under the names of the later release."""
    if any(name.startswith("params_ema.") for name in state):  # beside `params.`, which are those of the last step
        state = {name: value for name, value in state.items() if not name.startswith("params.")}
    late, given = tails(state), {}
    for name, value in state.items():
        bare = named(name)
        start = next((start for start in late if bare.startswith(start)), "")
        given[late[start] + bare.removeprefix(start) if start else bare] = value
    return given


def _untrained(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Enlarger, int]:
    """A network of the sizes that shapes tell, on no device, and how many times it enlarges."""
    try:
        known = renamed(shapes)
        with torch.device("meta"):
            net, times = _esrgan(known) if "conv_first.weight" in known else _compact(known)
        own = {name: tuple(each.shape) for name, each in net.state_dict().items()}
    except (KeyError, ValueError, IndexError, TypeError, RuntimeError, ArithmeticError):
        known, own, net, times = {}, {}, Enlarger(), 0
    if not own or own != {name: tuple(each) for name, each in known.items()}:
        raise BadCheckpoint(f"{path.name} is an enlarger of a kind that the studio does not know.")
    if times < 2:
        raise BadCheckpoint(f"{path.name} changes pictures and makes none larger; the studio has no use for it.")
    return net, times


def _esrgan(known: Mapping[str, tuple[int, ...]]) -> tuple[Enlarger, int]:
    width, colours = known["conv_first.weight"][:2]
    growth = known["body.0.rdb1.conv1.weight"][0]
    blocks = 1 + max(int(name.split(".")[1]) for name in known if name.startswith("body."))
    doublings = sum(name.startswith("conv_up") and name.endswith(".weight") for name in known)
    fold = math.isqrt(colours // 3)
    if blocks > DEEPEST or not 1 <= fold <= 4 or 3 * fold**2 != colours or doublings > 3 or 2**doublings % fold:
        raise ValueError("no such network")
    return Esrgan(width, growth, blocks, fold, doublings), max(1, 2**doublings // fold)


def _compact(known: Mapping[str, tuple[int, ...]]) -> tuple[Enlarger, int]:
    last = max(int(name.split(".")[1]) for name in known)
    times = math.isqrt(known[f"body.{last}.weight"][0] // 3)
    if last > DEEPEST or not 1 <= times <= 8:
        raise ValueError("no such network")
    return CompactEsrgan(known["body.0.weight"][0], (last - 2) // 2, times), times


def _load(path: Path, number_type: torch.dtype) -> nn.Module:
    state = renamed(load_file(path))
    net, _ = _untrained(path, {name: tuple(each.shape) for name, each in state.items()})
    net.load_state_dict({name: each.to(number_type) for name, each in state.items()}, assign=True)
    return net.eval().requires_grad_(False)
