"""What a painter sees in a picture, and the thing under a click, selected by it.

Features of a noised picture from within the network, averaged over noises: DIFT, Tang et al. 2023 (arXiv:2306.03881).
Their places are large, so that beside them stands how deep each pixel lies behind edges of colour. Of the places that
are like the one clicked, or as deep, at every threshold, the connected part wins whose rim is most like edges and
which is most unlike what lies around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pipelines.errors import BadRequest, StudioError
from pipelines.painting import all_masked, encoded, noise_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from pipelines.memory import Memory
    from pipelines.models import ModelSpec

    Region = NDArray[np.bool_]  # (h, w)
    Map = NDArray[np.float32]  # (h, w), how alike, -1..1

SIDE = 128  # places of the longer edge at which things are selected
SHARE = 0.15  # of the way up the training steps: enough noise that the network looks for things
NOISES = 4
THRESHOLDS = np.linspace(-0.3, 0.9, 25)
SMALLEST, LARGEST = 0.004, 0.5  # of the picture that a thing takes
CLEAR, STRONG = 0.85, 0.97  # of all places have a weaker edge than a clear one, and than a strong one
BORDER, SIZE = 2.0, 0.03  # what it costs to run along the picture's border, and what it is worth to be e times as large
RING = 5  # places around a region that it is compared with
RELUCTANCE = 10.0  # of a walker before a step of colour whose square is the picture's mean
LEAST_STEP = 1e-4  # of a walker's steps goes over any edge


@dataclass(frozen=True)
class Click:
    """A place in the picture, in its pixels, whose thing is added to the selection or taken from it."""

    x: int
    y: int
    adds: bool = True


@dataclass(frozen=True, eq=False)
class Seen:
    """Features of a picture of `size`: each (C, h, w) of unit length at every place; edges (h, w) of 0..1, `depths`."""

    size: tuple[int, int]
    features: tuple[NDArray[np.float32], ...]
    edges: NDArray[np.float32]
    depths: NDArray[np.float32]


def seen(picture: Image.Image, spec: ModelSpec, memory: Memory) -> Seen:
    """What the network of `spec` sees in a picture. Raises StudioError for networks that show no maps."""
    import torch
    from torch.nn.functional import interpolate

    from pipelines.device import on_host

    rows, columns = (max(1, round(edge * SIDE / max(picture.size))) for edge in (picture.height, picture.width))
    maps = []
    with torch.inference_mode():
        for each in activations(picture.convert("RGB"), spec, memory):
            fine = interpolate(on_host(each)[None], size=(rows, columns), mode="bilinear")[0]  # (C, h, w)
            centred = fine - fine.mean((1, 2), keepdim=True)
            maps.append((centred / centred.norm(dim=0, keepdim=True).clamp(min=1e-6)).numpy())
    small = picture.convert("RGB").resize((columns, rows), Image.Resampling.BOX)
    return Seen(picture.size, tuple(maps), edges(small), depths(small))


def activations(picture: Image.Image, spec: ModelSpec, memory: Memory) -> list[Tensor]:
    """Latents of an RGB picture, and the maps of its last level but one on the way up, each (C, h, w) float32."""
    import torch

    from pipelines.pictures import to_pixels

    step = 4 * spec.factor
    ratio = spec.side / max(picture.size)
    width, height = (max(step, round(edge * ratio / step) * step) for edge in picture.size)
    pixels = to_pixels(picture.resize((width, height), Image.Resampling.LANCZOS)).to(memory.device.torch)
    with memory.use(spec.vae) as vae:
        latents = spec.encode(vae, pixels)
    cond, table = encoded(spec, memory, ""), spec.table().to(latents.device)
    sigma = table[int(SHARE * (len(table) - 1))]
    beside = all_masked(spec, memory, latents) if spec.inpaints else None
    drawn = noise_of(0)(latents.expand(NOISES, -1, -1, -1))
    kept: list[Tensor] = []
    with memory.use(spec.net) as net:
        hooks = [
            layer.register_forward_hook(lambda layer, given, output: kept.append(_first(output)))
            for layer in layers(net, spec)
        ]
        try:
            spec.predictor(net, beside)(spec.noised(latents, drawn, sigma), sigma, [cond])
        finally:
            for hook in hooks:
                hook.remove()
    return [latents[0], *(each.float().mean(0) for each in kept if torch.is_tensor(each))]


def layers(net: Any, spec: ModelSpec) -> list[Any]:
    """The level whose maps tell things apart best, and its last attention. Raises StudioError."""
    blocks: Any = getattr(net, "up_blocks", [])
    if len(blocks) < 2:
        raise StudioError(
            f"{spec.title} shows no maps to select things by; choose a model with a UNet, such as Pocket."
        )
    level = blocks[-2]
    return [*list(getattr(level, "attentions", None) or [])[-1:], level]


def edges(picture: Image.Image) -> NDArray[np.float32]:
    """How clear an edge each place of an RGB picture lies on, 0..1."""
    from scipy.ndimage import gaussian_filter, sobel

    smooth = gaussian_filter(np.asarray(picture, np.float32), (1, 1, 0))
    strength = np.sqrt(sum((sobel(smooth, axis) ** 2).sum(-1) for axis in (0, 1)))
    clear, strong = (max(float(np.quantile(strength, share)), 1e-6) for share in (CLEAR, STRONG))
    clear = max(clear, strong / 4)  # in a picture of flat colours most places have none at all
    return 0.8 * np.minimum(strength / clear, 1) + 0.2 * np.minimum(strength / strong, 1)


def depths(picture: Image.Image) -> NDArray[np.float32]:
    """How long (h, w) a walker that shuns steps of colour takes from each pixel to leave an RGB picture: what an edge
    encloses lies deep and level, and a gap in the edge drains little of it.

    The Poisson equation of Gorelick et al. 2006, "Shape Representation and Classification Using the Poisson Equation"
    (IEEE TPAMI 28(12)), on the graph of Grady 2006, "Random Walks for Image Segmentation" (IEEE TPAMI 28(11)), eq. 1.
    """
    from scipy.ndimage import gaussian_filter
    from scipy.sparse import coo_array, diags_array
    from scipy.sparse.linalg import spsolve

    smooth = gaussian_filter(np.asarray(picture, np.float32), (0.5, 0.5, 0))
    places = np.arange(smooth[..., 0].size).reshape(smooth.shape[:2])
    steps = [np.square(np.diff(smooth, axis=axis)).sum(-1).ravel() for axis in (0, 1)]
    step = np.concatenate(steps)
    ease = np.exp(-RELUCTANCE * step / max(float(step.mean()), 1.0) if step.size else step) + LEAST_STEP
    begins = np.concatenate([places[:-1].ravel(), places[:, :-1].ravel()])
    ends = np.concatenate([places[1:].ravel(), places[:, 1:].ravel()])
    ways = coo_array((ease, (begins, ends)), shape=(places.size, places.size))
    ways = (ways + ways.T).tocsr()
    outside = np.zeros(places.shape)
    for side in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        outside[side] += 1
    walk = diags_array(ways.sum(1) + outside.ravel()) - ways
    return spsolve(walk.tocsc(), np.ones(places.size)).reshape(places.shape).astype(np.float32)


def selected(sight: Seen, clicks: Sequence[Click]) -> Image.Image:
    """A mask, mode L, of the things under the clicks, taken in order. Raises BadRequest for a click outside."""
    rows, columns = sight.edges.shape
    width, height = sight.size
    chosen = np.zeros((rows, columns), bool)
    for click in clicks:
        if not (0 <= click.x < width and 0 <= click.y < height):
            raise BadRequest(f"({click.x}, {click.y}) lies outside of the picture.")
        thing = thing_at(sight, click.y * rows // height, click.x * columns // width)
        chosen = chosen | thing if click.adds else chosen & ~thing
    soft = Image.fromarray(chosen.astype(np.uint8) * 255).resize(sight.size, Image.Resampling.BILINEAR)
    mask = soft.point(lambda level: 255 if level >= 128 else 0)
    for click in clicks:  # what was clicked is meant, however small
        mask.putpixel((click.x, click.y), 255 if click.adds else 0)
    return mask


def thing_at(sight: Seen, row: int, column: int) -> Region:
    """The region of the thing at a place; the place and what touches it where no region has an edge."""
    best, found = -np.inf, None
    maps = likenesses(sight, row, column)
    for alike in maps:
        for region in regions(alike, row, column):
            worth = outline(region, sight.edges) + contrast(region, maps[0])
            if worth > best:
                best, found = worth, region
    if found is not None:
        return found
    spot = np.zeros(sight.edges.shape, bool)
    spot[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = True
    return spot


def likenesses(sight: Seen, row: int, column: int) -> list[Map]:
    """How alike each place is to one by the features, all of them taken together; and whether it lies as deep."""
    each = [np.einsum("chw,c->hw", maps, maps[:, row, column]) for maps in sight.features]
    return [np.mean(each, 0), np.minimum(sight.depths / sight.depths[row, column], 1)]


def regions(alike: Map, row: int, column: int) -> Iterator[Region]:
    """The connected regions around a place that are alike enough, without holes, one a threshold; none twice."""
    from scipy.ndimage import binary_fill_holes, label

    last = 0
    for threshold in THRESHOLDS[::-1]:
        if alike[row, column] <= threshold:
            continue
        parts, _ = label(alike > threshold)
        region = binary_fill_holes(parts == parts[row, column])
        size = int(region.sum())
        if size != last and SMALLEST <= size / region.size <= LARGEST:
            yield region
        last = size


def outline(region: Region, edges: NDArray[np.float32]) -> float:
    """What a region is worth as a thing: clear edges all along its rim, away from the border, and rather whole."""
    from scipy.ndimage import binary_erosion

    rim = region & ~binary_erosion(region, border_value=1)
    if not rim.any():
        return -np.inf
    border = np.concatenate([region[0], region[-1], region[:, 0], region[:, -1]]).mean()
    return float(edges[rim].mean() - BORDER * border + SIZE * np.log(region.mean()))


def contrast(region: Region, alike: Map) -> float:
    """How much more a region is like the place clicked than what lies around it is: two things that touch, taken for
    one, are less so than either."""
    from scipy.ndimage import binary_dilation

    ring = binary_dilation(region, iterations=RING) & ~region
    return float(alike[region].mean() - alike[ring].mean()) if ring.any() else 0.0


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, tuple) else output
