"""Pictures of a subject, as a training wants them: upright squares around what they show, each one different.

Pure functions of pictures; it knows no files, no model and no page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from PIL import Image as Images
from PIL.Image import Image, Resampling

from pipelines.errors import BadPicture
from pipelines.likeness import ALIKE, distance, look

if TYPE_CHECKING:
    import numpy as np

MOST = 30  # pictures of one subject
FEW = 3  # pictures below which a subject is hard to tell from its background
SMALLEST = 32  # pixels of the shorter side; below that nothing can be learned
LARGEST = 1024  # pixels of a square that is kept: what the largest models here are trained on
SMALL = 64  # pixels of the sides of the copy in which the content is looked for
FLAT = 2.0  # levels of 255; a picture whose brightness varies less shows nothing
NEAR = 12  # bits of 64 by which two pictures of much the same differ; ALIKE are duplicates
SAME_PLACE = 20  # bits; pictures whose median distance is below it stand before much the same background


@dataclass(frozen=True)
class Gathered:
    """Squares that can be learned from, by the names of their files, and a sentence for each that was left out."""

    pictures: tuple[tuple[str, Image], ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What a review has to know of a square: its perceptual hash, and its side in pixels."""

    look: int
    side: int


@dataclass(frozen=True)
class Review:
    """What a person should know of the pictures before they train: of each by its name, and of all together."""

    each: Mapping[str, tuple[str, ...]]
    together: tuple[str, ...]


def gathered(
    sources: Iterable[tuple[str, Callable[[], Image]]], known: Sequence[tuple[str, Seen]] = (), most: int = MOST
) -> Gathered:
    """The pictures that `sources` open, as squares; what cannot be used is named and left out, and so is what shows the
    same as one of them or as one that is `known`. No source is opened once there are `most`."""
    kept: list[tuple[str, Image]] = []
    looks = [(name, each.look) for name, each in known]
    left_out, beyond = [], 0
    for name, opened in sources:
        if len(looks) >= most:
            beyond += 1
            continue
        try:
            picture = square(opened())
        except BadPicture as error:
            left_out.append(f"{name} was left out: {_lowered(str(error))}")
            continue
        own = look(picture)
        twin = next((other for other, each in looks if distance(own, each) <= ALIKE), None)
        if twin is not None:
            left_out.append(f"{name} was left out: it shows the same as {twin}.")
            continue
        looks.append((name, own))
        kept.append((name, picture))
    if beyond:
        left_out.append(f"{most} pictures are the most; {beyond} more {'was' if beyond == 1 else 'were'} left out.")
    return Gathered(tuple(kept), tuple(left_out))


def seen(square: Image) -> Seen:
    """What a review has to know of a square."""
    return Seen(look(square), square.width)


def review(pictures: Mapping[str, Seen], side: int) -> Review:
    """What may spoil a training on some squares, for a model whose pictures are `side` pixels wide."""
    each = {name: tuple(_doubts(name, pictures, side)) for name in pictures}
    names = list(pictures)
    apart = [distance(pictures[a].look, pictures[b].look) for k, a in enumerate(names) for b in names[:k]]
    together = []
    if 0 < len(names) < FEW:
        together.append("Three pictures or more, in different places, teach a subject better than these few.")
    if apart and median(apart) < SAME_PLACE:
        together.append("The pictures are much alike, so their background may be learned along with the subject.")
    return Review(each, tuple(together))


def square(picture: Image) -> Image:
    """An upright picture as an RGB square around what it shows, what is transparent white, its side at most LARGEST.

    Raises BadPicture where it is too small or shows nothing.
    """
    width, height = picture.size
    if min(picture.size) < SMALLEST:
        raise BadPicture(f"It has {width} x {height} pixels, and {SMALLEST} x {SMALLEST} are the least.")
    clear = "A" in picture.getbands() or "transparency" in picture.info
    plain = _on_white(picture.convert("RGBA")) if clear else picture.convert("RGB")
    left, top = _corner(plain)
    edge = min(plain.size)
    cut = plain.crop((left, top, left + edge, top + edge))
    if _spread(cut) < FLAT:
        raise BadPicture("It is of one colour, and there is nothing to learn from it.")
    return cut.resize((LARGEST, LARGEST), Resampling.LANCZOS) if edge > LARGEST else cut


def _corner(picture: Image) -> tuple[int, int]:
    """Left and top of the largest square that holds most of the content, of several the one nearest the middle."""
    import numpy as np

    width, height = picture.size
    spare = abs(width - height)
    if not spare:
        return 0, 0
    along = content(picture).sum(0 if width > height else 1)  # along the longer side
    edge = max(1, round(SMALL * min(width, height) / max(width, height)))
    held = np.convolve(along, np.ones(edge), "valid")
    best = np.flatnonzero(held >= held.max() * (1 - 1e-3))
    start = best[np.abs(best - (len(held) - 1) / 2).argmin()]
    offset = round(int(start) / max(len(held) - 1, 1) * spare)
    return (offset, 0) if width > height else (0, offset)


def content(picture: Image, side: int = SMALL) -> np.ndarray[Any, Any]:
    """How much each part of a small square copy stands out, (side, side): what is left of a picture whose cosine
    transform keeps its signs only, blurred. Hou, Harel and Koch 2012, "Image Signature", Eq. 4 and 5 (TPAMI 34)."""
    import numpy as np
    from scipy.fft import dctn, idctn
    from scipy.ndimage import gaussian_filter

    levels = np.asarray(picture.convert("LAB").resize((side, side), Resampling.BOX), np.float64)
    bare = [idctn(np.sign(dctn(levels[..., k], norm="ortho")), norm="ortho") ** 2 for k in range(3)]
    strength: np.ndarray[Any, Any] = sum(gaussian_filter(each, 0.05 * side) for each in bare)
    return strength


def _spread(picture: Image) -> float:
    """The deviation of the levels of a picture, of the colour that varies most."""
    import numpy as np

    return float(np.asarray(picture, np.float64).std(axis=(0, 1)).max())


def _on_white(picture: Image) -> Image:
    return Images.alpha_composite(Images.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _doubts(name: str, pictures: Mapping[str, Seen], side: int) -> Iterable[str]:
    this = pictures[name]
    if this.side < side:
        yield f"Small: {this.side} pixels across, and the model paints {side}; it may be learned soft."
    if any(other != name and distance(this.look, each.look) <= NEAR for other, each in pictures.items()):
        yield "Much like another of these."


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
