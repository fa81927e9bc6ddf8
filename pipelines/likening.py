"""How a thing comes to look like another: it begins in the other's colours, and on the way down the network's own
features are pulled to those of the other, while self-attention keeps reading the source.

The mean features of the two regions, as in DragonDiffusion's appearance replacing, Mou et al. 2023, Section 3.3
(arXiv:2307.02421), and their spread beside it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.grounds import levels, timed
from pipelines.inversion import inverted, noise_in, numbered
from pipelines.painting import checked, narrated, noise_of, predicting
from pipelines.samplers import Path

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from pipelines.events import Event
    from pipelines.grounds import Ground
    from pipelines.masks import Mask
    from pipelines.shelf import Shelf
    from pipelines.tasks.appearance import Appearance
    from pipelines.types import Sampling

KEPT = 0.1  # how much the features themselves, place by place, count beside their likeness to the reference


def likened(
    request: Appearance, ground: Ground, picture: int, pictures: int, shelf: Shelf
) -> Generator[Event, None, Tensor]:
    """Latents (1, C, h, w) of `ground` with what is masked looking like the reference."""
    import torch

    from pipelines.pulling import Bank, Grip, beside, maps_of, shown_by

    spec, memory, bank = ground.spec, ground.memory, Bank()
    sigmas = levels(request, ground, request.depth)
    other, there = reference(request, ground, shelf)
    free, whole = ground.mask > 0, begun(request, ground, shelf)
    sent = predicting(request, spec, memory, ground.latents, sigmas, ground.beside)
    with timed(request, ground, len(sigmas) - 1), sent as (predict, look, guide), memory.use(spec.net) as net:
        seen = shown_by(net, spec, memory, gradients=True)
        path, drawn = Path(spec.alpha, noise_of(request.seed or 0)), noise_of(request.seed or 0)(other)

        def maps(x: Tensor, sigma: Tensor) -> list[Tensor]:
            return maps_of(predict, seen, x, sigma, ground.cond)

        def worth(now: Sequence[Tensor], before: Sequence[Tensor], sigma: Tensor) -> Tensor:
            with torch.no_grad():
                wanted = maps(spec.noised(other, drawn, sigma), sigma)
            return unlike(now, wanted, before, free, there)

        grip = Grip(
            source=lambda x, sigma: predict(x, sigma, [ground.cond])[0],
            result=lambda x, sigma: guide(predict, x, sigma, ground.cond, ground.uncond),
            maps=maps, bank=bank, path=path, free=free, worth=worth,
            handles=other.new_zeros(0, 2), targets=other.new_zeros(0, 2),
        )  # fmt: skip

        def down(top: Tensor) -> Sampling:
            eps = noise_in(top, ground.latents, sigmas[0], path)
            return beside(grip, top, path.alpha(sigmas[0]) * whole + sigmas[0] * eps, sigmas, request.pull)

        up = partial(inverted, lambda x, sigma: (grip.source(x, sigma),) * 2, ground.latents, sigmas, path)
        with bank.held_by(net):
            latents = yield from narrated(numbered(up, down), look, 2 * (len(sigmas) - 1), picture, pictures)
    return checked(latents, spec)


def begun(request: Appearance, ground: Ground, shelf: Shelf) -> Tensor:
    """Latents (1, C, h, w) of the picture with the reference's colours where it may change."""
    from pipelines.pictures import to_pixels

    sheet, (other, look) = request.sheet(shelf), request.example(shelf)
    picture = recoloured(sheet.picture, request.thing(shelf), other, look)
    part, _ = replace(sheet, picture=picture).part(request.frame(shelf))
    with ground.memory.use(ground.spec.vae) as vae:
        return ground.spec.encode(vae, to_pixels(part).to(ground.latents.device))


def reference(request: Appearance, ground: Ground, shelf: Shelf) -> tuple[Tensor, Tensor]:
    """Latents (1, C, a, b) of the reference, what is around its part cut away, and where the part is in them,
    (1, 1, a, b)."""
    import torch
    from PIL import Image
    from torch.nn.functional import adaptive_max_pool2d

    from pipelines import masks
    from pipelines.pictures import to_pixels
    from pipelines.repainting import step_of
    from pipelines.sheets import Sheet

    picture, mask = request.example(shelf)
    frame = Sheet(picture, mask, margin=request.margin).frame(ground.spec.side, step_of(ground.spec))
    size = (frame.outer_width, frame.outer_height)
    part = picture.convert("RGB").crop(frame.box).resize(size, Image.Resampling.LANCZOS)
    left, top, right, bottom = frame.box
    shown = torch.from_numpy(masks.resized(mask[top:bottom, left:right], size) > 127).to(ground.latents.device)
    with ground.memory.use(ground.spec.vae) as vae:
        latents = ground.spec.encode(vae, to_pixels(part).to(ground.latents.device))
    rows, columns = latents.shape[-2:]
    return latents, adaptive_max_pool2d(shown[None, None].float(), (rows, columns)) > 0


def recoloured(picture: Image, mask: Mask, other: Image, look: Mask) -> Image:
    """A picture whose colours under its mask have the mean and covariance that another's have under its own, carried
    there by the linear map that moves them least; where there is one colour only, shifted.

    Pitie and Kokaram 2007, "The linear Monge-Kantorovitch linear colour mapping for example-based colour transfer",
    Equation 3.
    """
    import numpy as np
    from PIL import Image as Pictures

    def root(covariance: Any, power: float) -> Any:
        values, vectors = np.linalg.eigh(covariance)
        return (vectors * np.maximum(values, 1.0) ** power) @ vectors.T  # one level is the least that is a spread

    levels = np.asarray(picture.convert("RGB"), float)
    mine, theirs = levels[mask > 127], np.asarray(other.convert("RGB"), float)[look > 127]
    if not len(mine) or not len(theirs):
        return picture
    here, there = (np.cov(each.T) if len(each) > 1 else np.eye(3) for each in (mine, theirs))
    straight, back = root(here, 0.5), root(here, -0.5)
    carry = back @ root(straight @ (there + np.eye(3)) @ straight, 0.5) @ back
    share = (mask / 255.0)[..., None]
    moved = (levels - mine.mean(0)) @ carry.T + theirs.mean(0)
    return Pictures.fromarray((levels + share * (moved - levels)).round().clip(0, 255).astype(np.uint8))


def unlike(
    now: Sequence[Tensor], wanted: Sequence[Tensor], before: Sequence[Tensor], here: Tensor, there: Tensor
) -> Tensor:
    """How unlike maps (1, C, a, b) are, on average `here`, to the wanted ones on average `there`, and, KEPT times as
    much, place by place to those before. E = 1 / (1 + 4 S), S = (1 + cos) / 2, as in DiffEditor (arXiv:2402.02583)."""
    from torch.nn.functional import cosine_similarity, interpolate

    total = now[0].new_zeros(())
    for mine, theirs, old in zip(now, wanted, before, strict=True):
        inside, beyond = (
            interpolate(region.float(), each.shape[-2:], mode="area")
            for region, each in ((here, mine), (there, theirs))
        )
        alike = (1 + cosine_similarity(moments(mine, inside), moments(theirs, beyond))[0]) / 2
        same = (1 + (cosine_similarity(mine, old) * inside[:, 0]).sum() / inside.sum().clamp(min=1e-6)) / 2
        total = total + 1 / (1 + 4 * alike) + KEPT / (1 + 4 * same)
    return total / len(now)


def moments(maps: Tensor, weights: Tensor) -> Tensor:
    """Mean and deviation of maps (1, C, a, b) under weights (1, 1, a, b), (1, 2 C)."""
    import torch

    share = weights / weights.sum().clamp(min=1e-6)
    mean = (maps * share).sum((2, 3))
    spread = ((maps - mean[..., None, None]).square() * share).sum((2, 3))
    return torch.cat([mean, (spread + 1e-6).sqrt()], 1)
