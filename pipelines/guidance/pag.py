"""Perturbed-attention guidance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pipelines.errors import StudioError
from pipelines.guidance import guidances
from pipelines.guidance.cfg import Push
from pipelines.knobs import Scale, knob

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Guide, Predict, Run

Structure = Annotated[
    float,
    *knob(
        "Structure", "How strongly it turns away from a picture without a whole: 0 not, 3 well.", ge=0, le=10, step=0.1
    ),
]


@guidances.register("pag")
class PerturbedAttention(Push):
    """Turns away from the picture that a network paints when its parts cannot see each other: sounder shapes.

    Ahn et al. 2024, Equation 15 (arXiv:2403.17377): x0 + s (x0 - x0'), where x0' is estimated with the self-attention
    maps of the middle replaced by the identity, beside classifier-free guidance. Works without any prompt.
    """

    title = "PAG"
    off = {"scale": 1.0, "structure": 0.0}

    scale: Scale = 4.0
    structure: Structure = 3.0

    @property
    def evaluations(self) -> int:
        return super().evaluations + (self.structure > 0)

    def __call__(self, predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
        if self.structure > 0:
            raise StudioError("Perturbed-attention guidance has to know the network; it runs within `apply` only.")
        return super().__call__(predict, x, sigma, cond, uncond)

    @contextmanager
    def apply(self, run: Run) -> Iterator[Guide]:
        if self.structure == 0:
            yield self
            return
        plain = self.model_copy(update={"structure": 0.0})
        others: dict[Cond, Cond] = {}  # a condition of its own for the perturbed estimate, for whoever keeps score

        def guide(predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
            kept: list[Tensor] = []

            def listening(x: Tensor, sigma: Tensor, conds: Any) -> list[Tensor]:
                kept.extend(predict(x, sigma, conds))
                return kept

            guided = plain(listening, x, sigma, cond, uncond)
            with perturbed(layers):
                other = predict(x, sigma, [others.setdefault(cond, replace(cond))])[0]
            return guided + self.structure * (kept[-1] - other)

        layers = middle(run.net)
        yield guide


def middle(net: Any) -> list[Any]:
    """The self-attention layers in the middle of a network. Raises StudioError where none is told from the others."""
    inner = getattr(net, "mid_block", None)
    found = [layer for name, layer in net.named_modules() if name.endswith("attn1")]
    if inner is not None:
        found = [layer for name, layer in inner.named_modules() if name.endswith("attn1")]
    elif found:
        found = found[len(found) // 3 : -(-2 * len(found) // 3)]
    if not found:
        raise StudioError("Perturbed-attention guidance works on networks that attend to picture and words apart.")
    return found


@contextmanager
def perturbed(layers: list[Any]) -> Iterator[None]:
    """Each place attends to itself alone, as long as the block lasts."""
    own = [layer.processor for layer in layers]
    try:
        for layer in layers:
            layer.processor = ItselfAlone()
        yield
    finally:
        for layer, processor in zip(layers, own, strict=True):
            layer.processor = processor


class ItselfAlone:
    """An attention whose map is the identity: its answer is the values."""

    def __call__(self, attn: Any, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        answer = attn.to_out[0](attn.to_v(hidden_states))  # (B, T, D)
        return attn.to_out[1](answer) / attn.rescale_output_factor
