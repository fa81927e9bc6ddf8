"""A subject cut out of its pictures: what they all show, once laid over each other, is the subject; the rest is where.

Co-segmentation, Rother et al. 2006 ("Cosegmentation of Image Pairs by Histogram Matching", CVPR), by agreement of
aligned pictures in place of histograms. Pure functions of pictures; it knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image as Images
from PIL.Image import Image, Resampling

from pipelines.subjects import content

if TYPE_CHECKING:
    import numpy as np

    Levels = np.ndarray[Any, Any]

SIDE = 96  # pixels of the copies that are laid over each other
SCALES = tuple(1.12**k for k in range(-6, 7))  # how much larger a subject may be in one picture than in another
FINER = (0.95, 0.975, 1.0, 1.025, 1.05)  # times the best of these
SALIENT = 0.5  # of the strongest content, what a search looks for first
ALIKE = 45.0  # levels of 255 over three colours; what differs less is the same thing seen again
LEAST, MOST = 0.02, 0.5  # of a picture's area that a subject may take
EDGE = 0.03  # of a picture's edge that a subject may touch
ROUNDS = 2  # of looking for what was found
SURE = 0.8  # of how sure the surest is; what is less is not kept
KEPT = 2  # cutouts
LIKE = 0.85  # intersection over union with what half of the pictures find; less is a part of a subject, or more
SUPPORT = 0.3  # of the pictures; what so many of them find belongs to the subject


@dataclass(frozen=True)
class Placed:
    """How a picture is laid over another: its pixel (x, y) lies at scale * (x, y) + (dx, dy)."""

    scale: float
    dx: float
    dy: float
    missed: float  # such levels by which what was looked for differs


def cutouts(pictures: Sequence[Image]) -> list[Image]:
    """RGBA pictures of the subject alone, trimmed, the surest first; none where it cannot be told what they share."""
    if len(pictures) < 2:
        return []
    found = masks([levels(each) for each in pictures], [content(each, SIDE) for each in pictures])
    return [cut(pictures[k], mask) for k, mask in found]


def masks(seen: Sequence[Levels], strong: Sequence[Levels]) -> list[tuple[int, Levels]]:
    """(picture, where its subject is), the surest first: what is found again in the others, and larger than others, and
    as far as there are such, what is found alike in all of them."""
    rated: list[tuple[float, int, Levels]] = []
    for k in range(len(seen)):
        others = [each for j, each in enumerate(seen) if j != k]
        mask: Levels | None = (strong[k] > SALIENT * strong[k].max()).astype("float64")
        sure = 0.0
        for _ in range(ROUNDS):
            if mask is not None:
                mask, sure = shared(seen[k], mask, others, strong[k])
        if mask is not None:
            rated.append((sure, k, mask))
    rated.sort(key=lambda each: -each[0])
    shares = {k: finding(seen, rated, k) for _, k, _ in rated}
    alike = [
        (sure, k, (shares[k] >= SUPPORT).astype("float64"))
        for sure, k, mask in rated
        if overlap(shares[k] >= 0.5, mask > 0) >= LIKE
    ]
    rated = alike or rated
    return [(k, mask) for sure, k, mask in rated if sure > SURE * rated[0][0]][:KEPT]


def finding(seen: Sequence[Levels], rated: Sequence[tuple[float, int, Levels]], which: int) -> Levels:
    """What share of the pictures found a subject at each place of one of them, each laid over it as that lies and
    counted as sure as it is."""
    import numpy as np

    ((own, mask),) = ((sure, mask) for sure, k, mask in rated if k == which)
    total, weight = mask * (own + 1e-6), own + 1e-6
    for sure, k, other in rated:
        if k != which:
            placed = found(seen[which], mask, seen[k])
            total = total + sure * laid(np.repeat(other[..., None], 3, -1), placed)[..., 0]
            weight += sure
    return total / weight  # type: ignore[no-any-return]


def overlap(one: Levels, other: Levels) -> float:
    """Intersection over union of two regions."""
    return float((one & other).sum() / max(1, (one | other).sum()))


def levels(picture: Image) -> Levels:
    """A small copy, (SIDE, SIDE, 3), 0 to 255."""
    import numpy as np

    return np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Resampling.BOX), np.float64)


def cut(picture: Image, mask: Levels) -> Image:
    """A picture where the mask is, trimmed, with a soft edge."""
    alpha = Images.fromarray((mask * 255).astype("uint8")).resize(picture.size, Resampling.BICUBIC)
    alpha = alpha.point(lambda level: max(0, min(255, (level - 96) * 4)))
    whole = picture.convert("RGB").copy()
    whole.putalpha(alpha)
    return whole.crop(alpha.getbbox())


def shared(seen: Levels, mask: Levels, others: Sequence[Levels], strong: Levels) -> tuple[Levels | None, float]:
    """Where a picture shows what the others show, (SIDE, SIDE) of 0 and 1, and how sure that is; None where it cannot
    be told. `mask` is where to look."""
    import numpy as np
    from scipy.ndimage import uniform_filter

    apart = []
    for other in others:
        placed = found(seen, mask, other)
        distance = np.sqrt(((laid(other, placed) - seen) ** 2).sum(-1))
        apart.append(uniform_filter(distance, 3, mode="nearest"))
    middle = np.sort(np.stack(apart), 0)[len(apart) // 2]
    kept = sound(middle < ALIKE, strong)
    if kept is None:
        return None, 0.0
    missed = float(np.mean([each[kept > 0].mean() for each in apart]))
    return kept, max(0.0, 1 - missed / ALIKE) * float(kept.sum()) ** 0.5


def found(seen: Levels, mask: Levels, other: Levels) -> Placed:
    """How another picture is to be laid over this one, so that what is masked here differs least."""
    coarse = min((matched(seen, mask, other, each) for each in SCALES), key=lambda each: each.missed)
    fine = (matched(seen, mask, other, each / coarse.scale) for each in FINER)
    return min(fine, key=lambda each: each.missed)


def matched(seen: Levels, mask: Levels, other: Levels, scale: float) -> Placed:
    """The best place in another picture for what is masked here, `scale` times as large there."""
    import numpy as np
    from scipy.ndimage import zoom
    from scipy.signal import fftconvolve

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = int(rows[0]), int(columns[0])
    box = np.s_[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
    part = np.stack([zoom(seen[box][..., c], scale, order=1, mode="nearest", grid_mode=True) for c in range(3)], -1)
    weight = zoom(mask[box], scale, order=1, mode="nearest", grid_mode=True)
    if max(weight.shape) > SIDE or min(weight.shape) < 6:
        return Placed(1 / scale, 0, 0, float("inf"))
    flip = np.s_[::-1, ::-1]
    error = (weight[..., None] * part**2).sum() + sum(
        fftconvolve(other[..., c] ** 2, weight[flip], "valid")
        - 2 * fftconvolve(other[..., c], (weight * part[..., c])[flip], "valid")
        for c in range(3)
    )
    y, x = np.unravel_index(int(error.argmin()), error.shape)
    missed = float(np.sqrt(max(error[y, x], 0.0) / weight.sum()))
    half = 0.5 / scale - 0.5  # pixels have their middle at a half
    return Placed(1 / scale, left - x / scale + half, top - y / scale + half, missed)


def laid(other: Levels, placed: Placed) -> Levels:
    """Another picture as it lies over this one, its edge going on beyond it."""
    import numpy as np
    from scipy.ndimage import affine_transform

    step = 1 / placed.scale
    start = (-placed.dy * step, -placed.dx * step)
    return np.stack(
        [affine_transform(other[..., c], (step, step), start, order=1, mode="nearest") for c in range(3)], -1
    )


def sound(agreed: Levels, strong: Levels) -> Levels | None:
    """The connected part that holds most of what stands out, its holes filled; None where it is no subject's size."""
    import numpy as np
    from scipy.ndimage import binary_closing, binary_fill_holes, binary_opening, binary_propagation, label

    parts, count = label(binary_opening(agreed))
    if not count:
        return None
    held = [float(strong[parts == k + 1].sum()) for k in range(count)]
    core = parts == 1 + int(np.argmax(held))
    whole = binary_propagation(core, mask=binary_closing(np.pad(agreed, 3), iterations=2)[3:-3, 3:-3] | agreed)
    for mask in (whole, core):  # what hangs together by a thread may be the place
        mask = binary_fill_holes(mask)
        edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean()
        if LEAST < mask.mean() < MOST and edge < EDGE:
            return mask.astype(np.float64)
    return None
