"""The linear patch code: what the built-in model's latents mean, fixed before any network is trained.

Principal components of 16x16 patches, half-whitened, so that coarse components lead. The autoencoder learns to write
and read these latents, and the painter can learn on them meanwhile, because they do not move.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

PATCH = 16
CHANNELS = 32


@dataclass(frozen=True)
class LinearCode:
    """Two 16x16 convolutions that are each other's inverse on the subspace they keep."""

    mean: Tensor  # (768,) of a patch
    write: Tensor  # (CHANNELS, 768) patch to latent
    read: Tensor  # (768, CHANNELS) latent to patch

    def encode(self, pixels: Tensor) -> Tensor:
        """Latents (B, 32, H/16, W/16) of root mean square about one, for pixels (B, 3, H, W) in [-1, 1]."""
        kernel = self.write.view(CHANNELS, 3, PATCH, PATCH)
        with torch.autocast(pixels.device.type, enabled=False):  # what is learned from must not be rounded
            return functional.conv2d(pixels, kernel, -self.write @ self.mean, stride=PATCH)

    def decode(self, latents: Tensor) -> Tensor:
        """The pixels (B, 3, H, W) that the latents determine; blocky, in about [-1, 1]."""
        patches = torch.einsum("pc,bchw->bphw", self.read, latents) + self.mean[:, None, None]
        return functional.pixel_shuffle(patches, PATCH)

    def to(self, device: torch.device) -> "LinearCode":
        """The same code on a device."""
        return LinearCode(self.mean.to(device), self.write.to(device), self.read.to(device))

    def save(self, path: Path) -> None:
        """Write the code as safetensors."""
        save_file({"mean": self.mean, "write": self.write, "read": self.read}, path)

    @classmethod
    def load(cls, path: Path) -> "LinearCode":
        """What `save` wrote."""
        return cls(**load_file(path))


def fit(batches: Iterable[Tensor]) -> LinearCode:
    """The code for pictures like these batches of pixels (B, 3, H, W) in [-1, 1]."""
    count, total, square = 0, torch.zeros(3 * PATCH**2), torch.zeros(3 * PATCH**2, 3 * PATCH**2)
    for pixels in batches:
        patches = functional.pixel_unshuffle(pixels, PATCH).permute(0, 2, 3, 1).reshape(-1, 3 * PATCH**2)
        count += len(patches)
        total += patches.sum(0)
        square += patches.T @ patches
    mean = total / count
    variance, axes = torch.linalg.eigh(square / count - torch.outer(mean, mean))
    variance, axes = variance[-CHANNELS:].flip(0), axes[:, -CHANNELS:].flip(1)
    signs = torch.where(axes.sum(0) < 0, -1.0, 1.0)  # bright is positive
    spread = variance.sqrt()
    gain = signs / (spread.sqrt() * spread.mean().sqrt())  # divided by the root of the deviation, mean square one
    return LinearCode(mean, (axes * gain).T.contiguous(), (axes / gain).contiguous())
