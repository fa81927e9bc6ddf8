"""Sparse fine-tuning: the painter's least weights learn the subject."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pipelines.knobs import knob
from pipelines.personalizers import PRIORS, Personalizer, Prior, personalizers

if TYPE_CHECKING:
    from pipelines.pupil import Pupil, Subject

Share = Annotated[
    float, *knob("Share", "The share of all weights that learn, the least ones.", ge=0.01, le=0.5, step=0.01)
]
LowRank = Annotated[
    float,
    *knob("Low rank", "How firmly each layer's change is held to a low rank: more learns less by heart.", ge=0, le=1),
]


@personalizers.register("sara")
class Sara(Personalizer):
    """The least weights, which do next to nothing, learn the subject; all others stay as they are. Hu et al. 2025
    (arXiv:2409.06633).

    The change is held to a low rank by its nuclear norm, and in the second half those weights learn on that are little
    still. Gradients are dense while a layer is passed; the optimiser's moments are of the learned weights alone.
    """

    title = "Sparse (SaRA)"

    share: Share = 0.15
    low_rank: LowRank = 1e-4
    prior: Prior = 1.0

    def priors(self) -> int:
        """How many pictures of the subject's kind the model paints first, to be held to them."""
        return PRIORS if self.prior else 0

    def held(self, elements: int, width: int) -> int:
        """Bytes of an adapter: the share of the weights, each with its place."""
        return round(elements * 8 * self.share)

    def __call__(self, subject: Subject) -> Pupil:
        from pipelines.sparing import SparsePupil

        return SparsePupil.sparing(subject, self.share, self.low_rank, self.prior)
