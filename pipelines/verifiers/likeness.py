"""How like a picture is to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pipelines.knobs import knob
from pipelines.pictures import to_pixels
from pipelines.verifiers import Case, Verifier, verifiers

if TYPE_CHECKING:
    from torch import Tensor

Like = Annotated[
    str, *knob("Like", "The picture that results should be like.", "reference", pattern="^([0-9a-f]{32})?$")
]
SIDES = (4, 8, 16, 32, 64)  # pixels of the copies that are compared: from the lie of the colours to what is where


@verifiers.register("likeness")
class Likeness(Verifier):
    """Prefers pictures like one that you choose, in the lie of its colours and shapes.

    The root of the mean squared distance of copies of several sizes, as a mean: what is a little elsewhere is still
    alike in the small ones. A pyramid as in Burt & Adelson 1983, "The Laplacian Pyramid as a Compact Image Code".
    """

    like: Like = ""

    def __call__(self, seen: Tensor, case: Case) -> Tensor:
        return -distance(seen.float(), to_pixels(case.reference(self.like)).to(seen.device))


def distance(pixels: Tensor, reference: Tensor) -> Tensor:
    """How far pixels (B, 3, H, W) are from those of another picture (1, 3, h, w), whatever its size: (B,), 0..2."""
    import torch
    from torch.nn import functional

    each = []
    for side in SIDES:
        one, other = (functional.interpolate(which, (side, side), mode="area") for which in (pixels, reference))
        each.append((one - other).square().mean([1, 2, 3]).clamp(min=1e-12).sqrt())
    return torch.stack(each).mean(0)
