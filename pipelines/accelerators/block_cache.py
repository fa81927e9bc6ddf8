"""The first-block cache that diffusers ships for transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from pipelines.accelerators import Accelerator, accelerators
from pipelines.errors import StudioError
from pipelines.knobs import knob

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Predict, Run

Tolerance = Annotated[
    float,
    *knob(
        "Tolerance",
        "How much the first block may change before the others are asked again: 0 never skips.",
        ge=0,
        le=0.5,
        step=0.01,
    ),
]


@accelerators.register("block_cache")
class BlockCache(Accelerator):
    """For transformers: where the first block hardly changes from step to step, the others stand as they were.

    diffusers' first-block cache, after TeaCache, Liu et al. 2024, Section 3.2 (arXiv:2411.19108); for networks of
    diffusers that can be cached, as that of Flux.
    """

    title = "Block cache (transformers)"
    off = {"tolerance": 0.0}

    tolerance: Tolerance = 0.1

    @contextmanager
    def apply(self, predict: Predict, run: Run) -> Iterator[Predict]:
        if self.tolerance == 0:
            yield predict
            return
        if not hasattr(run.net, "enable_cache"):
            raise StudioError(
                "The block cache is for transformers such as Flux; this model's network cannot be cached."
            )
        from diffusers.hooks import FirstBlockCacheConfig

        run.net.enable_cache(FirstBlockCacheConfig(threshold=self.tolerance))
        asked: dict[tuple[int, ...], str] = {}  # conditions, and the name under which their steps are remembered

        def cached(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
            name = asked.setdefault(tuple(id(cond) for cond in conds), f"question {len(asked)}")
            with run.net.cache_context(name):
                return predict(x, sigma, conds)

        try:
            yield cached
        finally:
            run.net.disable_cache()
            for module in run.net.modules():  # diffusers puts the class's own forward back into the instance
                if getattr(vars(module).get("forward"), "__func__", None) is type(module).forward:
                    del module.forward
