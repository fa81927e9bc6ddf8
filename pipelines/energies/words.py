"""Words that a classifier reads in the picture: CLIP, as the one that knows any words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from pipelines.energies import Energy, Measure, energies, model_of
from pipelines.errors import BadRequest
from pipelines.knobs import knob
from pipelines.models.scorers import scorers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Run

Words = Annotated[str, *knob("Words", "What a classifier should see in the picture.", "text", max_length=300)]


@energies.register("words")
class Classified(Energy):
    """How far CLIP, of your models folder, is from seeing what you say.

    The spherical distance of Crowson et al. 2022, Section 3 (arXiv:2204.08583), through the decoder.
    """

    title = "Words (CLIP)"

    words: Words = "a painting"

    @contextmanager
    def of(self, run: Run) -> Iterator[Measure]:
        if not scorers:
            raise BadRequest("Guidance: there is no CLIP model in the models folder; choose another energy.")
        spec = model_of(run)
        with run.memory.use(spec.vae) as vae, run.memory.use(next(iter(scorers.values()))) as score:

            def measure(latents: Tensor) -> Tensor:
                cosine = score(spec.decode(vae, latents), self.words).clamp(-1 + 1e-6, 1 - 1e-6)
                return 2 * ((1 - cosine) / 2).sqrt().asin().square()

            yield measure
