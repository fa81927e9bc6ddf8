"""Large pictures through a checkpoint tile by tile: read, predicted and decoded in memory that the tile decides.

An autoencoder looks at all of a tile, by its norms and its attention, so that two tiles never quite agree: they are
read with a border around them, and what is decoded fades from one into the next.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pipelines.frames import Box
from pipelines.tiles import Tile, overlapping, shifted

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.memory import Memory
    from pipelines.models import ModelSpec
    from pipelines.painting import Sampled
    from pipelines.types import Cond, Predict

STEP = 4  # latents that the sides of what a network reads are multiples of: two of its levels halve
BORDER = 8  # latents around a tile that an autoencoder reads besides


def filled(picture: Image.Image, step: int) -> Image.Image:
    """The picture with mirrored rows and columns at its right and lower edges, up to multiples of `step`."""
    right, down = -picture.width % step, -picture.height % step
    if not right and not down:
        return picture
    return Image.fromarray(np.pad(np.asarray(picture), ((0, down), (0, right), (0, 0)), mode="symmetric"))


def encoded(spec: ModelSpec, memory: Memory, picture: Image.Image) -> Tensor:
    """The latents (1, C, h, w) of an RGB picture whose sides are multiples of the model's factor."""
    import torch

    from pipelines.pictures import to_pixels

    size = picture.width // spec.factor, picture.height // spec.factor
    latents = torch.empty(1, spec.channels, size[1], size[0], device=memory.device.torch)
    with memory.use(spec.vae) as vae:
        for tile in overlapping(size, side_of(spec), BORDER):
            memory.check()
            left, top, right, bottom = (edge * spec.factor for edge in tile.outer)
            seen = picture.crop((left, top, right, bottom))
            _put(latents, tile.inner, _cut(spec.encode(vae, to_pixels(seen).to(latents.device)), tile.kept()))
    return latents


def decoded(spec: ModelSpec, memory: Memory, latents: Tensor) -> Image.Image:
    """The picture of latents (1, C, h, w); each tile fades in over its border to the left and above."""
    factor, (height, width) = spec.factor, latents.shape[-2:]
    tiles = overlapping((width, height), side_of(spec), BORDER)
    with memory.use(spec.vae) as vae:

        def part(tile: Tile) -> Image.Image:
            memory.check()
            return _decoded_tile(spec, vae, latents, tile)

        drawing = joined(tiles, factor, (width * factor, height * factor), part)
        while True:
            try:
                next(drawing)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]


def joined(
    tiles: Sequence[Tile],
    factor: int,
    size: tuple[int, int],
    part: Callable[[Tile], Image.Image],
    onto: Image.Image | None = None,
) -> Generator[int, None, Image.Image]:
    """A picture of a size from what `part` gives for each tile, `factor` pixels a unit: its inner box and its border to
    the left and above, over which it fades in; painted over `onto` where that is given. Yields how many tiles are
    done."""
    whole, beside = onto or Image.new("RGB", size), Image.new("RGB", (0, 0))
    for done, tile in enumerate(tiles, 1):
        piece = part(tile)
        left, top = ((tile.inner[axis] - tile.outer[axis]) * factor for axis in (0, 1))
        if left:  # first into the one beside it, in its own line, and then all of that into the line above
            _lay(beside, piece.crop((0, 0, left, piece.height)), (0, 0), left, upright=False)
            piece.paste(beside, (0, 0))
        following = tiles[done] if done < len(tiles) else tile
        ahead = (following.inner[0] - following.outer[0]) * factor
        beside = piece.crop((piece.width - ahead, 0, piece.width, piece.height))
        _lay(whole, piece, (tile.outer[0] * factor, tile.outer[1] * factor), top, upright=True)
        yield done
    return whole


def unpainted(picture: Image.Image, tiles: Sequence[Tile], factor: int) -> Callable[[Tile], Image.Image]:
    """Tile -> its outer box of a picture as it was, while `joined` paints over it, line by line: of what the tiles to
    the right and below will read of a tile's inside, strips are kept."""
    above: dict[int, Image.Image] = {}  # by the upper edge of the inner boxes that they lie on
    beside = Image.new("RGB", (0, 0))
    borders = [max(tile.inner[axis] - tile.outer[axis] for tile in tiles) * factor for axis in (0, 1)]

    def read(tile: Tile) -> Image.Image:
        nonlocal above, beside
        left, top, right, bottom = (edge * factor for edge in tile.outer)
        start, lower = tile.inner[1] * factor, tile.inner[3] * factor
        if lower not in above:  # the first of its line
            above = {edge: strip for edge, strip in above.items() if edge == start}
            above[lower] = picture.crop((0, max(0, lower - borders[1]), picture.width, lower))
        seen = picture.crop((left, top, right, bottom))
        if top < start:
            seen.paste(above[start].crop((left, 0, right, start - top)), (0, 0))
        if left < tile.inner[0] * factor:
            seen.paste(beside, (0, 0))
        end = tile.inner[2] * factor - left
        beside = seen.crop((end - borders[0], 0, end, seen.height))
        return seen

    return read


def _decoded_tile(spec: ModelSpec, vae: Any, latents: Tensor, tile: Tile) -> Image.Image:
    """A tile's inner box and its border to the left and above, as a picture."""
    from pipelines.pictures import to_pictures

    pixels = spec.decode(vae, _cut(latents, tile.outer))
    right, down = (spec.factor * edge for edge in tile.kept()[2:])
    return to_pictures(pixels[..., :down, :right])[0]


def tiled(predict: Predict, side: int, rng: Random) -> Predict:
    """The same network, asked tile by tile of a grid that lies elsewhere at each call."""
    import torch

    def whole(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
        found: list[Tensor] = []
        for box in shifted((x.shape[-1], x.shape[-2]), side, STEP, rng):
            parts = predict(_cut(x, box), sigma, conds)
            found = found or [torch.empty(x.shape, dtype=each.dtype, device=x.device) for each in parts]
            for latents, part in zip(found, parts, strict=True):
                _put(latents, box, part)
        return found

    return whole


def side_of(spec: ModelSpec) -> int:
    """The side of a tile in latents: that of the pictures the model was trained on."""
    return max(2 * STEP, spec.side // spec.factor // STEP * STEP)


def _lay(below: Image.Image, part: Image.Image, corner: tuple[int, int], fade: int, upright: bool) -> None:
    """Puts a part over a picture; over its first `fade` columns, or rows, it fades in."""
    edge = part.height if upright else part.width
    ramp = np.full(edge, 255, np.uint8)
    ramp[:fade] = np.linspace(0, 255, fade + 2)[1:-1].round()
    mask = np.tile(ramp[:, None] if upright else ramp, (1, part.width) if upright else (part.height, 1))
    below.paste(part, corner, Image.fromarray(mask))


def _cut(x: Tensor, box: Box) -> Tensor:
    left, top, right, bottom = box
    return x[..., top:bottom, left:right]


def _put(x: Tensor, box: Box, part: Tensor) -> None:
    left, top, right, bottom = box
    x[..., top:bottom, left:right] = part


def levels(request: Sampled, spec: ModelSpec, strength: float) -> Tensor:
    """The noise levels of a walk over tiles that begins at a strength, 0..1: that level, and those below it."""
    import torch

    from pipelines.grounds import NEAR, sigma_at
    from pipelines.schedules import schedules

    sigmas: Tensor = request.schedule.build(schedules)(spec.sized(spec.side, spec.side), request.steps)
    first = sigma_at(spec, torch.tensor(strength))
    if first < sigmas[0]:
        sigmas = torch.cat([first[None].to(sigmas), sigmas[sigmas < NEAR * first]])
    return sigmas
