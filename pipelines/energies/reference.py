"""The colours and the softness of another picture, wherever in it they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipelines.energies import Energy, Measure, Named, energies, pixels_of, small

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Run


@energies.register("reference")
class Reference(Energy):
    """How far the palette is from that of a picture that you choose, and how lively it is from place to place.

    Means and Gram matrices of colours and of their differences between neighbours: Gatys et al. 2016, "Image Style
    Transfer Using Convolutional Neural Networks", Equation 3, on the colours themselves.
    """

    picture: Named = ""

    @contextmanager
    def of(self, run: Run) -> Iterator[Measure]:
        from torch.nn.functional import interpolate

        show, pixels = small(run), pixels_of(run, self.picture)

        def measure(latents: Tensor) -> Tensor:
            target = figures(interpolate(pixels, latents.shape[-2:], mode="area"))
            return (figures(show(latents)) - target).square().mean(1)

        yield measure


def figures(seen: Tensor) -> Tensor:
    """What a palette consists of, (B, 21): mean colours, and how colours and their steps go together."""
    import torch

    steps = [seen[..., 1:, :] - seen[..., :-1, :], seen[..., :, 1:] - seen[..., :, :-1]]
    mean = seen.mean([2, 3])
    grams = []
    for each in (seen - mean[..., None, None], torch.cat([step.flatten(2) for step in steps], 2)[..., None]):
        flat = each.flatten(2)  # (B, 3, n)
        grams.append((flat @ flat.transpose(1, 2) / flat.shape[2]).flatten(1))
    return torch.cat([mean, *grams], 1)
