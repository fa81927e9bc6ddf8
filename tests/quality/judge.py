"""The judge: a small detector that says which things a picture shows, where, how large, and before what backdrop.

It is not the generator and shares nothing with it but the names of the world. Objects as points, one heat-map per
thing at an eighth of the picture: Zhou et al. 2019 (arXiv:1904.07850).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from pipelines.training.scenes import Item, Size, colours, places, strangers, things

WEIGHTS = Path(__file__).with_name("judge.safetensors")
NAMES = [*things, *strangers]
BACKDROPS = [*colours, *places]
SIDE = 256  # the shorter side of what the network sees
STRIDE = 8
BIG, SMALL = 0.485, 0.31  # longer side of a thing over the shorter side of the picture


@dataclass(frozen=True)
class Verdict:
    """What a picture shows, the surest first; positions and sizes as in a Scene."""

    items: tuple[Item, ...]
    scores: tuple[float, ...]  # 0..1, one per item
    backdrop: str

    def showing(self, thing: str) -> list[Item]:
        """The items that are this thing."""
        return [item for item in self.items if item.thing == thing]


def layer(inner: int, outer: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    convolution = nn.Conv2d(inner, outer, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outer), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two layers around which the input is added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(layer(width, width), layer(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Detector(nn.Module):
    """1.8 M parameters. (B, 3, H, W) in [-1, 1], H and W multiples of 32, to heat-map logits (B, things, H/8, W/8),
    centre offsets in cells and log size (B, 3, H/8, W/8), and backdrop logits (B, backdrops)."""

    def __init__(self) -> None:
        super().__init__()
        self.eighth = nn.Sequential(layer(3, 32, 2, 5), layer(32, 64, 2), layer(64, 96, 2), Residual(96), Residual(96))
        self.sixteenth = nn.Sequential(layer(96, 128, 2), Residual(128), Residual(128))
        self.last = nn.Sequential(layer(128, 128, 2), Residual(128))
        self.merge = layer(128, 96, kernel=1)
        self.top = Residual(96)
        self.heat = nn.Conv2d(96, len(NAMES), 1)
        self.box = nn.Conv2d(96, 3, 1)
        self.backdrop = nn.Linear(256, len(BACKDROPS))
        nn.init.constant_(self.heat.bias, -4.6)  # type: ignore[arg-type]  # a prior of one in a hundred

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine = self.eighth(pixels)
        middle = self.sixteenth(fine)
        coarse = self.last(middle)
        seen = torch.cat([middle.mean((2, 3)), coarse.mean((2, 3))], 1)
        middle = middle + functional.interpolate(coarse, scale_factor=2.0)
        fine = self.top(fine + functional.interpolate(self.merge(middle), scale_factor=2.0))
        return self.heat(fine), self.box(fine), self.backdrop(seen)


class Judge:
    """Looks at pictures of any size with trained weights."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        self.net = Detector().eval()
        self.net.load_state_dict({name: value.float() for name, value in load_file(weights).items()})

    @torch.inference_mode()
    def look(self, pictures: Sequence[Image.Image], threshold: float = 0.4) -> list[Verdict]:
        """One verdict per picture; things surer than `threshold` count."""
        verdicts = []
        for picture in pictures:
            heat, box, backdrop = self.net(to_pixels(picture)[None])
            items, scores = decode(heat[0].sigmoid(), box[0], threshold)
            verdicts.append(Verdict(items, scores, BACKDROPS[int(backdrop[0].argmax())]))
        return verdicts


def to_pixels(picture: Image.Image) -> Tensor:
    """What the network sees of a picture: (3, H, W) in [-1, 1], the shorter side 256, multiples of 32."""
    ratio = SIDE / min(picture.size)
    width, height = (round(edge * ratio / 32) * 32 for edge in picture.size)
    seen = picture.convert("RGB")
    if seen.size != (width, height):
        seen = seen.resize((width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(seen)).permute(2, 0, 1).float() / 127.5 - 1


def decode(heat: Tensor, box: Tensor, threshold: float) -> tuple[tuple[Item, ...], tuple[float, ...]]:
    """The peaks of the heat-maps, the highest first, none closer to a higher one than a third of its size."""
    best, which = heat.max(0)  # (H/8, W/8)
    peaks = (best > threshold) & (best == functional.max_pool2d(best[None], 3, 1, 1)[0])
    rows, columns = best.shape
    kept: list[tuple[float, Item]] = []
    cells = sorted(peaks.nonzero().tolist(), key=lambda cell: -float(best[cell[0], cell[1]]))
    for y, x in cells:
        dx, dy, log_size = (float(value) for value in box[:, y, x])
        scale = float(np.exp(log_size))
        item = Item(NAMES[int(which[y, x])], (x + dx) / columns, (y + dy) / rows, size_word(scale), scale)
        if all(_apart(item, other, rows, columns) for _, other in kept):
            kept.append((float(best[y, x]), item))
    return tuple(item for _, item in kept), tuple(score for score, _ in kept)


def _apart(item: Item, other: Item, rows: int, columns: int) -> bool:
    gap = ((item.x - other.x) * columns) ** 2 + ((item.y - other.y) * rows) ** 2
    return gap > (max(item.scale, other.scale) * min(rows, columns) / 3) ** 2


def size_word(scale: float) -> Size:
    """small, medium or big."""
    return "small" if scale < SMALL else "big" if scale > BIG else "medium"


def save_weights(net: nn.Module, path: Path = WEIGHTS) -> None:
    """Write fp16 weights, the old file replaced at the end."""
    state = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    part = path.with_suffix(".part")
    save_file(halves, part)
    part.replace(path)
