"""LoRA, DoRA and their kin: small changes of a network's layers, put on a lent network by hooks and taken off again.

Weights and classes of the network are never touched, so taking off is exact. It knows no request.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from pipelines.errors import BadCheckpoint
from pipelines.models.sgm import sgm_name, sgm_names

logger = logging.getLogger(__name__)


class Gain(nn.Module, ABC):
    """What one layer's output gains, dW x; with a magnitude, DoRA's rescaling of the whole."""

    magnitude: nn.Parameter | None
    scale: float

    @abstractmethod
    def fits(self, layer: Any) -> bool:
        """Whether its shapes are those of a layer."""

    @abstractmethod
    def change(self, layer: Any, x: Tensor) -> Tensor:
        """scale * dW x, computed as the layer computes."""

    @abstractmethod
    def matrix(self) -> Tensor:
        """dW, (out, in * kernel)."""

    def norms(self, layer: Any) -> Tensor:
        """magnitude / |W + scale dW| of each output, (out,). Liu et al. 2024, Equation 5 (arXiv:2402.09353)."""
        assert self.magnitude is not None
        whole = layer.weight.float().flatten(1) + self.scale * self.matrix().float()
        return self.magnitude.float() / whole.norm(dim=1)


def answered(layer: Any, x: Tensor, weight: Tensor) -> Tensor:
    """What a layer would answer with other weights and no bias."""
    x = x.to(weight.dtype)
    if isinstance(layer, nn.Conv2d):
        return functional.conv2d(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
    return functional.linear(x, weight)


class LowRank(Gain):
    """LoRA: scale * up(down(x)). Hu et al. 2021, Section 4.1 (arXiv:2106.09685)."""

    def __init__(self, down: Tensor, up: Tensor, scale: float, magnitude: Tensor | None) -> None:
        super().__init__()
        self.down, self.up = (nn.Parameter(each, requires_grad=False) for each in (down, up))
        self.magnitude = None if magnitude is None else nn.Parameter(magnitude.flatten(), requires_grad=False)
        self.scale = scale

    def fits(self, layer: Any) -> bool:
        """Whether its shapes are those of a layer."""
        rows, columns = layer.weight.shape[:2]
        sized = self.down.shape[1] == columns and self.up.shape[0] == rows and self.down.shape[0] == self.up.shape[1]
        kernel = tuple(layer.weight.shape[2:]) or (1, 1)
        kept = self.magnitude is None or self.magnitude.numel() == rows
        return sized and kept and (tuple(self.down.shape[2:]) or (1, 1)) == kernel

    def change(self, layer: Any, x: Tensor) -> Tensor:
        """scale * up(down(x)), computed as the layer computes."""
        x = x.to(self.down.dtype)
        if isinstance(layer, nn.Conv2d):
            down, up = (each if each.dim() == 4 else each[..., None, None] for each in (self.down, self.up))
            return functional.conv2d(functional.conv2d(x, down, None, layer.stride, layer.padding), up) * self.scale
        return functional.linear(functional.linear(x, self.down.flatten(1)), self.up.flatten(1)) * self.scale

    def matrix(self) -> Tensor:
        """B A, in float32."""
        return self.up.flatten(1).float() @ self.down.flatten(1).float()


class Lora(nn.Module):
    """A LoRA file, loaded: its layers by the network they belong to ("net", "text", "text_2") and their plain name."""

    def __init__(self, layers: Mapping[tuple[str, str], Gain]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers.values())
        self.places = list(layers)

    def of(self, network: str) -> dict[str, Gain]:
        """The layers for one network, by plain name."""
        return {name: each for (place, name), each in zip(self.places, self.layers, strict=True) if place == network}  # type: ignore[misc]


def layers_by_name(network: nn.Module) -> dict[str, nn.Module]:
    """Every layer that a LoRA can change, by each plain name it goes by in the layouts."""
    blocks = sgm_names(network) if hasattr(network, "down_blocks") else {}
    named: dict[str, nn.Module] = {}
    for name, layer in network.named_modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            for each in filter(None, (sgm_name(name, blocks), name)):
                named[each.removeprefix("text_model.").replace(".", "_")] = layer
    return named


def everywhere(_: nn.Module) -> None:
    """No mask: a change acts on the whole of an answer."""


@dataclass(frozen=True)
class Worn:
    """A LoRA that is to be put on: its name for sentences, what it is made for, how strongly.

    `where` gives, for a layer, what multiplies its change: answer -> mask; it changes all of it by default.
    """

    name: str
    lora: Lora
    weight: float
    where: Callable[[nn.Module], Callable[[Tensor], Tensor] | None] = everywhere


@contextmanager
def patched(network: nn.Module, place: str, worn: Sequence[Worn], model: str) -> Iterator[None]:
    """`network` with every LoRA's layers for `place` added, until the block is left; then it is as it was.

    Raises BadCheckpoint naming the LoRA where none of its layers is found, or one has another shape.
    """
    named = layers_by_name(network) if worn else {}
    changes: dict[nn.Module, list[Change]] = {}
    for each in worn:
        for layer, change in _matches(each, place, named, model):
            changes.setdefault(layer, []).append((change, each.weight, each.where(layer)))
    # before all other hooks: a layer that memory streams loses its weights as it is left
    hooks = [layer.register_forward_hook(_hook(those), prepend=True) for layer, those in changes.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _matches(worn: Worn, place: str, named: dict[str, nn.Module], model: str) -> Iterator[tuple[nn.Module, Gain]]:
    own = worn.lora.of(place)
    found = [(named[name], change) for name, change in own.items() if name in named]
    if (own and not found) or not all(change.fits(layer) for layer, change in found):
        raise BadCheckpoint(f"The adapter {worn.name} does not fit {model}: it was made for another kind of model.")
    if len(found) < len(own):
        logger.warning("%s: %d of %d layers are not in %s", worn.name, len(own) - len(found), len(own), model)
    return iter(found)


Change = tuple[Gain, float, "Callable[[Tensor], Tensor] | None"]


def _hook(changes: Iterable[Change]) -> Any:
    norms: dict[Gain, Tensor] = {}

    def add(layer: Any, given: tuple[Tensor, ...], answer: Tensor) -> Tensor:
        total = answer
        for low, weight, where in changes:
            change = low.change(layer, given[0])
            if where is not None:
                change = change * where(answer)
            if low.magnitude is not None:
                if low not in norms:
                    norms[low] = low.norms(layer)
                change = _rescaled(layer, answer, change, norms[low])
            total = total + (weight * change).to(answer.dtype)
        return total

    return add


def _rescaled(layer: Any, answer: Tensor, change: Tensor, norms: Tensor) -> Tensor:
    """What DoRA adds to an answer: norms * (W x + change) - W x, the bias apart."""
    shape = (-1, 1, 1) if isinstance(layer, nn.Conv2d) else (-1,)
    bias = 0 if layer.bias is None else layer.bias.reshape(shape)
    bare = (answer - bias).float()
    return norms.reshape(shape) * (bare + change.float()) - bare
