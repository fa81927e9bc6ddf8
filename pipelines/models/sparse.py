"""Changes of some weights of a layer, one by one: a matrix that is zero nearly everywhere. It knows no request."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.models.lora import Gain, answered

ROLES = ("sparse_values", "sparse_places", "sparse_shape")
DENSE = "diff"  # how LyCORIS calls the whole of dW


class Sparse(Gain):
    """dW of `shape`, which has `values` (n,) at its flat `places` (n,) and is zero elsewhere. It is composed anew at
    each use, so that it takes no memory between."""

    scale = 1.0

    def __init__(self, values: Tensor, places: Tensor, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.values = nn.Parameter(values, requires_grad=False)
        self.register_buffer("places", places.to(torch.int32))
        self.magnitude, self.shape = None, shape

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor], number_type: torch.dtype) -> Sparse:
        """From a file's tensors. Raises KeyError where one is missing or is not what it should be."""
        values, places, shape = (tensors[role] for role in ROLES)
        if values.dim() != 1 or places.shape != values.shape or shape.dim() != 1:
            raise KeyError("sparse_values")
        return cls(values.to(number_type), places, tuple(int(each) for each in shape))

    @classmethod
    def dense(cls, whole: Tensor, number_type: torch.dtype) -> Sparse:
        """From all of dW."""
        flat = whole.flatten()
        places = flat.nonzero().flatten()
        return cls(flat[places].to(number_type), places, tuple(whole.shape))

    def tensors(self) -> dict[str, Tensor]:
        """What a file holds of it, by role."""
        return dict(zip(ROLES, (self.values.detach(), self.at, torch.tensor(self.shape)), strict=True))

    @property
    def at(self) -> Tensor:
        """The places, (n,) int32."""
        return self.get_buffer("places")

    def fits(self, layer: Any) -> bool:
        """Whether dW is of the size of a layer's weights, and every place is one of them."""
        at, size = self.at, layer.weight.numel()
        return self.shape == tuple(layer.weight.shape) and (not len(at) or bool((at.min() >= 0) & (at.max() < size)))

    def change(self, layer: Any, x: Tensor) -> Tensor:
        """dW x, computed as the layer computes."""
        return answered(layer, x, self.matrix().view(self.shape))

    def matrix(self) -> Tensor:
        """dW, (out, in * kernel)."""
        none = self.values.new_zeros(math.prod(self.shape))
        return none.scatter(0, self.at.long(), self.values).view(self.shape[0], -1)
