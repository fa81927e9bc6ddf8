"""Personalized Residuals: the last layer of every transformer learns a residual, which acts where the word is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pipelines.knobs import knob
from pipelines.personalizers import Personalizer, Rank, personalizers

if TYPE_CHECKING:
    from pipelines.pupil import Pupil, Subject

Localized = Annotated[
    float,
    *knob(
        "Localized",
        "How much of the strongest attention a place must pay the word to be changed; 0 changes the whole picture.",
        ge=0,
        le=0.95,
        step=0.05,
    ),
]

Wide = Annotated[
    bool,
    *knob(
        "Wide",
        "Learn beside the last layers of the blocks between the transformers, too, which act all over a picture whose "
        "prompt has the word; a small network has too few transformers.",
    ),
]


@personalizers.register("residuals")
class Residuals(Personalizer):
    """Small residuals that act only where the word is seen, so that the place around stays the model's own. Ham et al.
    2024 (arXiv:2405.12978)."""

    title = "Personalized residuals"
    waits: ClassVar[bool] = False  # `localized` says where
    pace: ClassVar[float] = 1.6  # of 16 pictures of two subjects 15 were right, with 500 steps 11

    rank: Rank = 48
    localized: Localized = 0.3
    wide: Wide = True

    def __call__(self, subject: Subject) -> Pupil:
        from pipelines.lessons import RESIDUALS, WIDE, LoraPupil

        return LoraPupil.starting(subject, self.rank, 0.0, WIDE if self.wide else RESIDUALS)
