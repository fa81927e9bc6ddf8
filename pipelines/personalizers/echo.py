"""Subject transfer to few steps: many-step and few-step painters learn a subject from each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pipelines.knobs import knob
from pipelines.personalizers import PRIORS, Personalizer, Prior, Rank, personalizers

if TYPE_CHECKING:
    from pipelines.pupil import Pupil, Subject

Fast = Annotated[
    str,
    *knob(
        "Few-step adapter",
        "The adapter that makes the model paint in few steps, worn while the few-step painter learns; empty for "
        "the one that a preset of about as many steps wears, if there is one.",
        "text",
        max_length=200,
    ),
]
Looks = Annotated[int, *knob("Few steps", "In how many steps the few-step painter paints.", ge=1, le=8, step=1)]
Echo = Annotated[
    float, *knob("Echo", "How much the painters learn from each other, beside the pictures.", ge=0, le=2, step=0.1)
]


@personalizers.register("echo")
class EchoTransfer(Personalizer):
    """One adapter for many steps and few: both painters learn the pictures, and each what the other makes of them.
    After EchoDistill, Yang et al. 2025 (arXiv:2510.20512)."""

    title = "Transfer to few steps"

    fast: Fast = ""
    looks: Looks = 4
    rank: Rank = 48
    prior: Prior = 1.0
    echo: Echo = 0.5

    def priors(self) -> int:
        """How many pictures of the subject's kind the model paints first, to be held to them."""
        return PRIORS if self.prior else 0

    def __call__(self, subject: Subject) -> Pupil:
        from pipelines.echoing import EchoPupil

        pupil = EchoPupil.starting(subject, self.rank, self.prior)
        pupil.fast, pupil.looks, pupil.echo = self.fast, self.looks, self.echo
        return pupil
