"""Importance-based token merging."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from pipelines.accelerators import Accelerator, accelerators
from pipelines.accelerators.patches import Grid, attending, unet_of
from pipelines.knobs import knob

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pipelines.types import Cond, Predict, Run

Ratio = Annotated[
    float,
    *knob("Merged", "What share of the places on the finest level attend together: 0 none.", ge=0, le=0.7, step=0.05),
]
DESTINATIONS = 0.25  # of all tokens
POOL = 0.5  # the more important share of tokens, from which destinations are drawn


@accelerators.register("merging")
class ImportanceMerging(Accelerator):
    """Large pictures faster: places the prompt cares little about attend together.

    Wu et al. 2025, Section 3 (arXiv:2411.16720): a token's importance is |x0_c - x0_u| of the step before; destinations
    are drawn from the important ones, the least important of the others merge into the most alike, and get its answer.
    Without a negative prompt's estimate all are equally important.
    """

    title = "Token merging"
    off = {"ratio": 0.0}

    ratio: Ratio = 0.5

    @contextmanager
    def apply(self, predict: Predict, run: Run) -> Iterator[Predict]:
        if self.ratio == 0:
            yield predict
            return
        import torch

        net, state = unet_of(run, "Token merging"), Importance(torch.Generator().manual_seed(0))

        def merging(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
            state.grid.begin(x)
            estimates = predict(x, sigma, conds)
            if len(estimates) > 1:
                state.latest = (estimates[-1] - estimates[0]).norm(dim=1, keepdim=True).mean(0, keepdim=True)
            return estimates

        with attending(net, lambda own: Merged(own, state, self.ratio)):
            yield merging


class Importance:
    """How much the prompt changed each place in the step before, (1, 1, h, w), and the draw of destinations."""

    def __init__(self, source: torch.Generator) -> None:
        self.source, self.grid = source, Grid()
        self.latest: Tensor | None = None

    def of(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """One figure a token, (T,); a breath of chance settles ties."""
        import torch
        from torch.nn import functional

        chance = torch.rand(rows * columns, generator=self.source).to(like.device)
        if self.latest is None:
            return chance
        pooled = functional.adaptive_avg_pool2d(self.latest, (rows, columns)).flatten()
        return pooled + 1e-6 * chance

    def split(self, rows: int, columns: int, ratio: float, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Indices of tokens: (destinations, merged, kept as they are), of (T,) together."""
        import torch

        order = self.of(rows, columns, like).argsort(descending=True)
        count = len(order)
        pool = torch.randperm(int(count * POOL), generator=self.source).to(like.device)
        is_destination = torch.zeros(count, dtype=torch.bool, device=like.device)
        is_destination[order[pool[: int(count * DESTINATIONS)]]] = True
        others = order[~is_destination[order]]
        kept = len(others) - min(len(others), int(count * ratio))
        return is_destination.nonzero()[:, 0], others[kept:], others[:kept]


class Merged:
    """A self-attention of fewer tokens on the finest level."""

    def __init__(self, own: Any, state: Importance, ratio: float) -> None:
        self.own, self.state, self.ratio = own, state, ratio

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Any = None, *more: Any, **named: Any
    ) -> Any:
        level, rows, columns = self.state.grid.of(hidden_states.shape[1])
        if level != 0 or encoder_hidden_states is not None:
            return self.own(attn, hidden_states, encoder_hidden_states, *more, **named)
        to, merged, kept = self.state.split(rows, columns, self.ratio, hidden_states)
        fewer, nearest = joined(hidden_states, to, merged, kept)
        answer = self.own(attn, fewer, None, *more, **named)
        whole = hidden_states.new_empty(*hidden_states.shape[:2], answer.shape[-1])
        whole[:, to], whole[:, kept] = answer[:, : len(to)], answer[:, len(to) :]
        whole[:, merged] = answer.gather(1, nearest[..., None].expand(-1, -1, answer.shape[-1]))
        return whole


def joined(tokens: Tensor, to: Tensor, merged: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Destinations as means of themselves and of those most like them, then the kept; and where each merged went."""
    from torch.nn import functional

    unit = functional.normalize(tokens, dim=-1)
    nearest = (unit[:, merged] @ unit[:, to].transpose(1, 2)).argmax(-1)  # (B, merged)
    index = nearest[..., None].expand(-1, -1, tokens.shape[-1])
    means = tokens[:, to].scatter_reduce(1, index, tokens[:, merged], "mean", include_self=True)
    import torch

    return torch.cat([means, tokens[:, kept]], 1), nearest
