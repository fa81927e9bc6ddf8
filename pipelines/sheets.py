"""A picture laid out for repainting: what of it may change, how much, and how a painting is put back into it.

Outside of the mask nothing changes, to the byte: the painting never touches those pixels. It knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pipelines import masks, seams
from pipelines.frames import Frame, frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.masks import Mask

LIKE = 8.0  # levels; what differs by more than about this from the picture was painted anew


@dataclass(frozen=True, eq=False)
class Sheet:
    """`picture` is what the result is made of (RGB, or RGBA whose alpha stays), `mask` (H, W) how strongly each pixel
    may change, 0..255; `through` (H, W) how much of a painting shows, where that is not the mask's feathered edge."""

    picture: Image.Image
    mask: Mask
    feather: int = 0
    through: Mask | None = None
    margin: int = 0
    cover: int = 256  # of the mask: from here on a place begins as a smooth surface from what lies around it
    remarks: tuple[str, ...] = ()
    close: bool = False  # whether a small mask in a picture of the model's own size is painted close up

    @cached_property
    def shown(self) -> Mask:
        """How much of the painting each pixel shows, (H, W) of 0..255."""
        return masks.feathered(self.mask, self.feather) if self.through is None else self.through

    @property
    def strongest(self) -> float:
        """The most that any pixel may change, 0..1."""
        return float(self.mask.max()) / 255

    def frame(self, side: int, step: int, detail: float = 1.0) -> Frame:
        """What a model of that side would paint. Raises BadRequest for an empty mask."""
        return frame(self.picture.size, masks.box_of(self.mask), side, step, self.margin, detail, self.close)

    def part(self, frame: Frame) -> tuple[Image.Image, Mask]:
        """The picture's colours and the mask at the painting's outer size; what is to be covered is a smooth
        surface from what lies around it, so that nothing of it is seen."""
        left, top, right, bottom = frame.box
        picture, mask = self.picture.convert("RGB").crop(frame.box), self.mask[top:bottom, left:right]
        size = (frame.width, frame.height)
        if picture.size != size:
            picture, mask = picture.resize(size, Image.Resampling.LANCZOS), masks.resized(mask, size)
        if (mask >= self.cover).any():
            picture = seams.surrounded(picture, mask >= self.cover)
        return mirrored(picture, frame), np.pad(mask, _padding(frame), mode="symmetric")

    def composed(
        self, painting: Image.Image, frame: Frame, strength: float = 1.0, read: Image.Image | None = None
    ) -> Image.Image:
        """The picture with the painting in it: colours matched at the seam, soft only within the mask.

        With `read`, the picture as the autoencoder gives it back, what is painted as it was read keeps its detail.
        """
        left, top, right, bottom = frame.box
        below = self.picture.convert("RGB").crop(frame.box)
        shown = self.shown[top:bottom, left:right]
        inner = (0, 0, frame.width, frame.height)
        above = matched(painting.crop(inner), below, shown)
        if read:
            there = self.mask[top:bottom, left:right] < self.cover  # what is covered was not read as it is
            above = detailed(above, below, painting.crop(inner), read.crop(inner), there)
        share = shown.astype(np.float32)[..., None] / 255 * min(1.0, 6 * strength)  # weak ones lead to the picture
        under = np.asarray(below)
        mixed = (under + share * (np.asarray(above, np.float32) - under)).round().clip(0, 255).astype(np.uint8)
        part = Image.fromarray(np.where(share > 0, mixed, under))
        whole = self.picture.copy()
        if whole.mode == "RGBA":
            part.putalpha(whole.getchannel("A").crop(frame.box))
        whole.paste(part.convert(whole.mode), frame.box[:2])
        return whole

    def changed_outside(self, result: Image.Image) -> int:
        """How many bytes of the result differ from the picture where nothing may change."""
        differs = np.asarray(result) != np.asarray(self.picture)
        return int(differs[self.mask == 0].sum())

    def verdict(self, result: Image.Image, frame: Frame, name: str) -> str:
        """What can be said of a result: that nothing changed where nothing may, and how its seam shows."""
        if (self.mask > 0).all():
            return f"{name}: all of it could change, so there is no seam."
        seam = self.seam(result, frame)
        shows = "no seam to measure" if seam is None else f"seam energy {seam:.2f} (1 does not show)"
        return f"{name}: {self.changed_outside(result)} bytes changed outside the mask, {shows}."

    def seam(self, result: Image.Image, frame: Frame) -> float | None:
        """The seam's energy in the result, near what was painted; None where there is no seam."""
        left, top, right, bottom = frame.box
        return seams.energy(result.crop(frame.box), self.mask[top:bottom, left:right] > 0)


def laid_out(picture: Image.Image, mask: Mask | None, grow: int, feather: int, margin: int) -> Sheet:
    """A sheet of a picture and its mask; without one, of what is transparent, and where nothing is, of everything.

    Painting what is transparent makes it solid: it shows through as far as the picture does not cover it.
    """
    clear = masks.of_alpha(picture) if mask is None else None
    if clear is not None:
        alpha = np.asarray(picture.getchannel("A"))
        return Sheet(picture.convert("RGB"), clear, through=(255 - alpha).astype(np.uint8), margin=margin)
    coloured = picture.convert("RGB") if picture.mode == "L" else picture
    full = np.full((picture.height, picture.width), 255, np.uint8) if mask is None else masks.grown(mask, grow)
    return Sheet(coloured, full, feather, margin=margin)


def matched(painting: Image.Image, below: Image.Image, shown: Mask) -> Image.Image:
    """The painting at the size of what lies below it, its colours matched along the seam, at the coarser of the two."""
    coarse = painting.width < below.width or painting.height < below.height
    if not coarse and painting.size != below.size:
        painting = painting.resize(below.size, Image.Resampling.LANCZOS)
    seen = below.resize(painting.size, Image.Resampling.LANCZOS) if coarse else below
    region = masks.resized(shown, painting.size) > 0
    levels = seams.matched(np.asarray(painting, np.float32), np.asarray(seen, np.float32), region)
    result = Image.fromarray(levels.round().clip(0, 255).astype(np.uint8))
    return result.resize(below.size, Image.Resampling.LANCZOS) if coarse else result


def detailed(
    above: Image.Image, below: Image.Image, painting: Image.Image, read: Image.Image, there: NDArray[np.bool_]
) -> Image.Image:
    """The painting with what an autoencoder lost of the picture below where it is `there`, the less the more it differs
    from what was read; painting and reading are of one size, all else of another."""
    from scipy.ndimage import gaussian_filter

    apart = np.abs(np.asarray(painting, np.float32) - np.asarray(read, np.float32)).mean(-1)  # (h, w), levels
    same = np.exp(-((gaussian_filter(apart, 2) / LIKE) ** 2))
    share = np.asarray(Image.fromarray(same.astype(np.float32)).resize(below.size, Image.Resampling.BILINEAR))
    lost = np.asarray(below, np.float32) - np.asarray(read.resize(below.size, Image.Resampling.LANCZOS), np.float32)
    levels = np.asarray(above, np.float32) + (share * there)[..., None] * lost
    return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8))


def mirrored(picture: Image.Image, frame: Frame) -> Image.Image:
    """The picture filled up to the frame's outer size by mirroring at its right and lower edges."""
    levels = np.pad(np.asarray(picture), (*_padding(frame), (0, 0)), mode="symmetric")
    return Image.fromarray(levels)


def _padding(frame: Frame) -> tuple[tuple[int, int], tuple[int, int]]:
    return (0, frame.outer_height - frame.height), (0, frame.outer_width - frame.width)
