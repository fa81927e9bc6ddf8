"""What a picture shows, learned by heart before it is pulled: a few steps of low-rank weights on that picture alone, so
that a search for other noise keeps to it.

DragDiffusion, Shi et al. 2023, Section 3.1 (arXiv:2306.14435), whose rank and number of steps are the usual ones here.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipelines.errors import StudioError
from pipelines.events import Event, Stage
from pipelines.lessons import ATTENTION, as_lora, low_ranks
from pipelines.models.lora import Lora, Worn, patched

if TYPE_CHECKING:
    from pipelines.grounds import Ground

RANK = 16
RATE = 0.1  # over the network's width: 5e-4 for Pocket, and DragDiffusion's 2e-4 for networks thrice as wide
LOTS = 4  # noise levels that each step looks at, spread evenly


def learned(ground: Ground, steps: int, seed: int) -> Generator[Event, None, Lora]:
    """Weights of the painter's attention that know the picture of `ground`. Raises StudioError where no number came."""
    import re

    spec, memory = ground.spec, ground.memory
    yield Stage("Learning the picture by heart")
    with memory.use(spec.net) as net:
        layers = low_ranks(net, re.compile(ATTENTION), RANK, seed)
        weights = [each.requires_grad_(True) for low in layers.values() for each in (low.down, low.up)]
        adam = torch.optim.AdamW(weights, RATE / spec.net.width, weight_decay=1e-2)
        lora, chance = as_lora(layers), torch.Generator().manual_seed(seed)
        with kept(net, lora, spec.title), torch.enable_grad():
            for _ in range(steps):
                memory.check()
                adam.zero_grad()
                loss = error(ground, net, chance)
                if not bool(torch.isfinite(loss.detach())):
                    raise StudioError("Identity: the picture could not be learned; set it to 0.")
                loss.backward()  # type: ignore[no-untyped-call]
                adam.step()
    return lora.requires_grad_(False)


def error(ground: Ground, net: Any, chance: torch.Generator) -> Tensor:
    """The squared error of the picture's velocity at LOTS noise levels."""
    spec, latents = ground.spec, ground.latents
    predict, levels = spec.predictor(net, ground.beside), spec.table()
    total = latents.new_zeros(())
    for share in ((torch.arange(LOTS) + torch.rand(LOTS, generator=chance)) / LOTS).tolist():
        sigma = levels[int(share * len(levels))].clone().to(latents)
        noise = torch.randn(latents.shape, generator=chance).to(latents)
        (denoised,) = predict(spec.noised(latents, noise, sigma), sigma, [ground.cond])
        total = total + (denoised - latents).square().mean() * (spec.alpha(sigma) ** 2 + sigma**2) / sigma**2
    return total / LOTS


@contextmanager
def kept(net: Any, lora: Lora | None, title: str) -> Iterator[None]:
    """The network with what was learned by heart on it, until the block is left."""
    with patched(net, "net", [Worn("the picture", lora, 1.0)] if lora else [], title):
        yield
