"""How sharp a picture is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.verifiers import Case, Verifier, verifiers

if TYPE_CHECKING:
    from torch import Tensor


@verifiers.register("sharpness")
class Sharpness(Verifier):
    """Prefers pictures with crisp edges.

    The variance of the Laplacian of brightness. Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield
    microscopy".
    """

    def __call__(self, seen: Tensor, case: Case) -> Tensor:
        import torch
        from torch.nn import functional

        weights = seen.new_tensor([0.299, 0.587, 0.114])
        grey = ((seen.clamp(-1, 1) + 1) * 127.5 * weights[:, None, None]).sum(1, keepdim=True).float()
        kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], device=seen.device)[None, None]
        return functional.conv2d(grey, kernel).flatten(1).var(1)
