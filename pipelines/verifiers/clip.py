"""How close a picture is to its prompt, as CLIP sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.errors import BadRequest
from pipelines.models.scorers import scorers
from pipelines.verifiers import Case, Verifier, verifiers

if TYPE_CHECKING:
    from torch import Tensor


@verifiers.register("clip")
class ClipScore(Verifier):
    """Prefers pictures that a CLIP of your models folder finds close to the prompt.

    Hessel et al. 2021, Equation 1 (arXiv:2104.08718), times 100 and not cut off at 0. The folder is one of
    transformers' layout, such as openai/clip-vit-base-patch32.
    """

    title = "CLIP score"

    def __call__(self, seen: Tensor, case: Case) -> Tensor:
        if not scorers:
            raise BadRequest("Judged by: there is no CLIP model in the models folder; choose another verifier.")
        with case.memory.use(next(iter(scorers.values()))) as score:
            found: Tensor = 100 * score(seen, case.prompt)
        return found
