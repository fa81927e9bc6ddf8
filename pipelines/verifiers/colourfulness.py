"""How colourful a picture is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.verifiers import Case, Verifier, verifiers

if TYPE_CHECKING:
    from torch import Tensor


@verifiers.register("colourfulness")
class Colourfulness(Verifier):
    """Prefers vivid pictures of many colours.

    Hasler & Süsstrunk 2003, "Measuring colorfulness in natural images", Equation M3; deviation and mean of red against
    green and of yellow against blue, of 255 levels.
    """

    def __call__(self, seen: Tensor, case: Case) -> Tensor:
        import torch

        red, green, blue = ((seen.float().clamp(-1, 1) + 1) * 127.5).unbind(1)  # each (B, H, W)
        opponents = torch.stack([red - green, (red + green) / 2 - blue], 1).flatten(2)  # (B, 2, H W)
        spread = opponents.var(2, correction=0).sum(1).sqrt()
        return spread + 0.3 * opponents.mean(2).square().sum(1).sqrt()
