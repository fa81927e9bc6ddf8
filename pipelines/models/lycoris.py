"""LoHa and LoKr: changes of a layer's weights that are written as a product of small matrices, but not of low rank.

Hadamard: Hyeon-Woo et al. 2021, Proposition 1 (arXiv:2108.06098). Kronecker: Yeh et al. 2023, Section 3
(arXiv:2309.14859).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.models.lora import Gain, answered

ROLES = (
    "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a",
    "lokr_w2_b",
)  # fmt: skip


class Product(Gain):
    """What one layer's output gains: scale * dW x. dW is composed anew at each use, so that it takes no memory between.

    Raises KeyError where one of its matrices is missing.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], alpha: Tensor | None, number_type: torch.dtype, magnitude: Tensor | None
    ) -> None:
        super().__init__()
        own = {
            role: nn.Parameter(tensors[role].to(number_type), requires_grad=False) for role in ROLES if role in tensors
        }
        self.factors = nn.ParameterDict(own)
        self.magnitude = None if magnitude is None else nn.Parameter(magnitude.flatten(), requires_grad=False)
        self.is_hadamard = "hada_w1_a" in own
        inner = [own[role] for role in ("hada_w1_b", "lokr_w1_b", "lokr_w2_b") if role in own]
        rank = len(inner[0]) if inner else 0  # of two whole factors, alpha says nothing
        self.scale = float(alpha) / rank if alpha is not None and rank else 1.0
        self.matrix()

    def fits(self, layer: Any) -> bool:
        """Whether dW is of the size of a layer's weights."""
        rows, count = len(layer.weight), layer.weight.numel()
        return tuple(self.matrix().shape) == (rows, count // rows)

    def change(self, layer: Any, x: Tensor) -> Tensor:
        """scale * dW x, computed as the layer computes."""
        return answered(layer, x, self.matrix().reshape(layer.weight.shape) * self.scale)

    def matrix(self) -> Tensor:
        """dW, (out, in * kernel): the product element by element, or that of Kronecker, of two that are small."""
        if self.is_hadamard:
            return self._factor("hada_w1") * self._factor("hada_w2")
        one, other = self._factor("lokr_w1"), self._factor("lokr_w2")
        kernel = (1,) * (other.dim() - one.dim())
        return torch.kron(one.reshape(*one.shape, *kernel), other).flatten(1)

    def _factor(self, name: str) -> Tensor:
        """One of the two, kept whole or as a product of its own."""
        if name in self.factors:
            return self.factors[name]
        if not {f"{name}_a", f"{name}_b"} <= set(self.factors.keys()):
            raise KeyError(name)
        return self.factors[f"{name}_a"] @ self.factors[f"{name}_b"]
