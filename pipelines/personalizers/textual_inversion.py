"""Textual inversion: the word gets vectors of its own; in the pivotal form, low-rank weights learn around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pipelines.knobs import knob
from pipelines.personalizers import Personalizer, Rank, personalizers

if TYPE_CHECKING:
    from pipelines.pupil import Pupil, Subject

Vectors = Annotated[int, *knob("Vectors", "How many vectors the word stands for.", ge=1, le=16, step=1)]
Pivot = Annotated[
    float, *knob("Pivot", "The share of the steps in which the word learns; then the painter does.", ge=0.05, le=1)
]


@personalizers.register("textual_inversion")
class TextualInversion(Personalizer):
    """The word itself learns what it stands for, then the painter around it. Gal et al. 2022 (arXiv:2208.01618), the
    second stage after Roich et al. 2021 (arXiv:2106.05744)."""

    title = "Textual inversion"
    says_kind: ClassVar[bool] = False
    pace: ClassVar[float] = 1.5

    vectors: Vectors = 4
    pivot: Pivot = 0.2
    rank: Rank = 48

    def __call__(self, subject: Subject) -> Pupil:
        from pipelines.coining import WordPupil

        rank = self.rank if self.pivot < 1 else 0
        return WordPupil.coining(subject, self.vectors, rank, round(self.pivot * subject.steps))
