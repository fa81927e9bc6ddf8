"""The painting network itself as a judge: by which words does it guess best what a noised picture was?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

from pipelines.knobs import knob
from pipelines.painting import noise_of
from pipelines.verifiers import Case, Verifier, verifiers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.models import ModelSpec
    from pipelines.types import Cond, Predict

Looks = Annotated[
    int, *knob("Looks", "At how many noise levels it guesses: more is surer and slower.", ge=1, le=64, step=1)
]
LOW, HIGH = 0.1, 0.95  # shares of the training steps between which it looks; below, no words are needed to guess
SEED = 0  # of the noises, which all pictures and all words share
STAGES = ((4, 8), (16, 2))  # looks, and how many candidates the next stage still looks at
SURE = 64  # looks at the last two


@verifiers.register("classifier")
class DiffusionClassifier(Verifier):
    """Prefers pictures that the model itself recognises by the prompt, and not without it.

    Li et al. 2023, Equation 4 (arXiv:2303.16203): the error of eps under the negative prompt less that under the
    prompt, as a mean over noise levels, with the same noises for both and for all pictures.
    """

    title = "The model itself"
    sees_latents = True

    looks: Looks = 8

    @property
    def evaluations(self) -> int:
        return 2 * self.looks

    def __call__(self, seen: Tensor, case: Case) -> Tensor:
        with case.lent() as predict:
            found = errors(predict, seen, [case.uncond, case.cond], case.spec, range(self.looks), self.looks)
        return found[0] - found[1]


def errors(
    predict: Predict, latents: Tensor, conds: Sequence[Cond], spec: ModelSpec, looks: Iterable[int], of: int
) -> Tensor:
    """The squared error of eps for x0 `latents` (B, C, h, w) under each condition, (n, B), as a mean over some of the
    `of` noise levels that are looked at. Equation 4."""
    import torch

    table = spec.table().to(latents.device)
    numbers, found = list(looks), latents.new_zeros(len(conds), len(latents))
    for k in numbers:
        sigma = table[int((LOW + (HIGH - LOW) * (k + 0.5) / of) * (len(table) - 1))]
        noise = noise_of(SEED + k)(latents[:1])
        estimates = torch.stack(predict(spec.noised(latents, noise, sigma), sigma, conds))  # (n, B, C, h, w)
        found += ((spec.alpha(sigma) / sigma) ** 2 * (estimates - latents).square()).mean([2, 3, 4]).float()
    return found / len(numbers)


def recognised(predict: Predict, latents: Tensor, conds: Sequence[Cond], spec: ModelSpec) -> int:
    """Which condition explains one picture's latents (1, C, h, w) best. The unlikely leave early: Algorithm 2."""
    left, order = list(range(len(conds))), spread(SURE)
    total, done = [0.0] * len(conds), 0
    for until, kept in (*STAGES, (SURE, 1)):
        found = errors(predict, latents, [conds[k] for k in left], spec, order[done:until], SURE)[:, 0]
        for k, error in zip(left, found.tolist(), strict=True):
            total[k] += error * (until - done)
        left, done = sorted(left, key=total.__getitem__)[:kept], until
        if len(left) == 1:
            break
    return left[0]


def spread(count: int) -> list[int]:
    """0 .. count - 1 so that every beginning of the list is spread over all of them; count is a power of two."""
    bits = count.bit_length() - 1
    return [int(f"{k:0{bits}b}"[::-1], 2) for k in range(count)] if bits else [0]
