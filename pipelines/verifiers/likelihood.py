"""By how much the prompt makes a picture likelier: the painter's own density, with the words and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pipelines.knobs import knob
from pipelines.likelihood import evaluations, log_likelihood, signs
from pipelines.painting import noise_of
from pipelines.samplers import Path
from pipelines.verifiers import Case, Verifier, verifiers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond

Levels = Annotated[
    int, *knob("Levels", "Over how many noise levels it is followed: more is truer and slower.", ge=2, le=64, step=1)
]
LOW, HIGH = 0.05, 0.98  # shares of the training steps between which it is followed
PROBES = 1
SEED = 0  # of the probes, which all pictures and both sentences share


@verifiers.register("likelihood")
class Likelihood(Verifier):
    """Prefers pictures that the prompt makes likelier than the negative prompt does, in nats a number of the latents.

    The density along the deterministic flow: Song et al. 2021, Appendix D.2 (arXiv:2011.13456).
    """

    sees_latents = True

    levels: Levels = 8

    @property
    def evaluations(self) -> int:
        return 2 * evaluations(self.levels, PROBES)

    def __call__(self, seen: Tensor, case: Case) -> Tensor:
        import torch

        table = case.spec.table().to(seen.device)
        low, high = (table[int(share * (len(table) - 1))] for share in (LOW, HIGH))
        sigmas = list(torch.logspace(float(low.log10()), float(high.log10()), self.levels).to(seen))
        probes, path = signs(seen, PROBES, noise_of(SEED)), Path(case.spec.alpha)
        with case.lent() as predict:

            def under(cond: Cond) -> Tensor:
                return log_likelihood(lambda x, sigma: predict(x, sigma, [cond])[0], seen, sigmas, path, probes)

            return (under(case.cond) - under(case.uncond)) / seen[0].numel()
