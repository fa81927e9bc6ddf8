"""A deeper UNet that begins as what a shallower one knows: what is added leaves its input as it is until it learns.

Net2Net's deepening (Chen et al. 2016, arXiv:1511.05641), for blocks that add to what passes through them.
"""

import re
from collections.abc import Mapping

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

Weights = Mapping[str, Tensor]
_LAYER = re.compile(r"((down|up)_blocks\.\d+)\.(resnets|attentions)\.(\d+)\.(.+)")
_LAST = ("conv2.weight", "conv2.bias", "proj_out.weight", "proj_out.bias", "conv_shortcut.bias")


def deepened(theirs: Weights, net: UNet2DConditionModel) -> dict[str, Tensor]:
    """The weights for a net out of those of one of the same widths and as many or fewer layers a block. What the net
    lacks is left out, and what neither has nor adds is missing. Raises RuntimeError where it has fewer layers."""
    mine = net.state_dict()
    found = {}
    for name, value in mine.items():
        layer = _LAYER.match(name)
        number = None if layer is None else _origin(theirs, mine, layer)
        if layer is not None and number is None:
            found[name] = _silent(layer[5], value)
            continue
        old = name if layer is None else f"{layer[1]}.{layer[3]}.{number}.{layer[5]}"
        if old in theirs:
            found[name] = theirs[old]
    return found


def _origin(theirs: Weights, mine: Weights, layer: re.Match[str]) -> int | None:
    """Which of their layers is this one of mine, None for an added one. On the way up the first layer has widths of
    its own, and the last ones take what blocks above have left, so that added layers come second."""
    number, had = int(layer[4]), _count(theirs, layer[1])
    added = _count(mine, layer[1]) - had
    if added < 0:
        raise RuntimeError(f"{layer[1]} has {had} layers there and {had + added} here; a network can only grow.")
    if layer[2] == "down":
        return number if number < had else None
    return number if number == 0 else number - added if number > added else None


def _count(weights: Weights, block: str) -> int:
    """Residual layers of a block."""
    prefix = f"{block}.resnets."
    return len({name.removeprefix(prefix).split(".")[0] for name in weights if name.startswith(prefix)})


def _silent(name: str, value: Tensor) -> Tensor:
    """A weight of an added layer, untrained, by which the layer hands on its input; of what a way up joins to it,
    nothing."""
    if name == "conv_shortcut.weight":
        return torch.eye(*value.shape[:2]).to(value)[:, :, None, None]
    return torch.zeros_like(value) if name in _LAST else value
