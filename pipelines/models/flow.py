"""What flow models share: x = (1 - sigma) x0 + sigma eps, networks that answer eps - x0, their levels and parts.

Lipman et al. 2023 (arXiv:2210.02747); Esser et al. 2024 (arXiv:2403.03206). It knows no text encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.models import Preset
from pipelines.models.networks import network
from pipelines.parts import Part, json_file
from pipelines.types import straight

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Predict

# (x, sigma (n B,), tokens (n B, T, D), a condition for each row) -> eps - x0, like x
Velocity = Callable[["Tensor", "Tensor", "Tensor", Sequence["Cond"]], "Tensor"]


def transformer(folder: Path, kind: str) -> Part:
    """The painter of a checkpoint in the diffusers layout, a diffusers class. Raises BadCheckpoint, KeyError."""
    settings = json_file(folder / "transformer" / "config.json")
    width = int(settings["num_attention_heads"]) * int(settings["attention_head_dim"])
    return network("The painter", folder / "transformer", kind, width)


def levels(scheduler: dict[str, Any], pixels_of_a_token: int, even: bool = False) -> dict[str, Any]:
    """The fields of a `ModelSpec` that a scheduler's settings decide; `even` as in `flow_grid`."""

    def grid(steps: int, width: int, height: int) -> Tensor:
        from pipelines.models.flow_levels import flow_grid

        return flow_grid(scheduler, steps, (width // pixels_of_a_token) * (height // pixels_of_a_token), even)

    return {"table": cache(partial(_table, scheduler)), "grid": grid, "alpha": straight}


def qualities(steps: tuple[int, int, int], guidance: dict[str, Any] | str, sampler: str = "euler") -> dict[str, Any]:
    """Presets and defaults of a family, walked on its own levels."""
    rest = {"sampler": sampler, "schedule": "own", "guidance": guidance}
    names = ("Draft", "Balanced", "Best")
    presets = tuple(Preset(name, {"steps": count, **rest}) for name, count in zip(names, steps, strict=True))
    return {"presets": presets, "defaults": presets[1].values}


def predictor(net: Any, velocity: Velocity, patch: int = 1) -> Predict:
    """x0 = x - sigma u of a network's velocity u, asked for all conditions at once.

    Latents whose sides are no multiple of `patch` are lengthened by their edge for the network's eyes.
    """
    import torch
    from torch.nn import functional

    from pipelines.models.unet import singles

    kind = next(net.parameters()).dtype

    def predict(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
        length = max(each.tokens.shape[1] for each in conds)
        tokens = torch.cat([each.lengthened(length).expand(len(x), -1, -1) for each in conds])  # (n B, T, D)
        down, right = (-side % patch for side in x.shape[-2:])
        seen = functional.pad(x, (0, right, 0, down), "replicate") if down or right else x
        batch = seen.repeat(len(conds), 1, 1, 1).to(kind)
        rows = [row for each in conds for row in singles(each, len(x))]
        u = velocity(batch, sigma.flatten().expand(len(x)).repeat(len(conds)), tokens.to(kind), rows)[
            ..., : x.shape[-2], : x.shape[-1]
        ]
        return [x - sigma * each for each in u.float().chunk(len(conds))]

    return predict


def stacked(conds: Sequence[Cond], name: str) -> Tensor:
    """What every condition has in `extras` under a name, (n, ...)."""
    import torch

    return torch.cat([each.extras[name] for each in conds])


def _table(scheduler: dict[str, Any]) -> Tensor:
    from pipelines.models.flow_levels import flow_table

    return flow_table(scheduler)
