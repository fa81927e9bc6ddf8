"""How much a picture has to say, in bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Annotated, Literal

from pipelines.knobs import knob
from pipelines.verifiers import Case, Verifier, verifiers

if TYPE_CHECKING:
    from torch import Tensor

Simplicity = Annotated[
    Literal["simple", "rich"], *knob("Wants", "Pictures that say much in few bytes, or ones full of detail.")
]
JPEG = 95  # quality at which bytes are counted


@verifiers.register("compressibility")
class Compressibility(Verifier):
    """Prefers pictures that are simple to the eye, or rich, by the kilobytes of their JPEG.

    Black et al. 2023, Section 5.1 (arXiv:2305.13301).
    """

    wants: Simplicity = "simple"

    def __call__(self, seen: Tensor, case: Case) -> Tensor:
        from pipelines.pictures import to_pictures

        sizes = []
        for picture in to_pictures(seen):
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=JPEG)
            sizes.append(file.tell() / 1000)
        return seen.new_tensor(sizes) * (-1 if self.wants == "simple" else 1)
