"""A picture is edited by a changed prompt: walked up into noise as what it shows, and down again as what it should."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pipelines.adapters import plain, worn
from pipelines.beginnings import CENTRED
from pipelines.centring import away_of, seen_from
from pipelines.events import Remark
from pipelines.grounds import levels, repainted, sigma_at, timed
from pipelines.guidance import guidances
from pipelines.inversion import ROUNDS, cycled, descended, disagreeing, inverted, numbered
from pipelines.knobs import LONGEST_PROMPT, Eta, Strength, knob
from pipelines.method import Choice
from pipelines.painting import GuidanceChoice, SamplerChoice, checked, encoded, narrated, noise_of, predicting
from pipelines.repainting import Masked
from pipelines.samplers import Path, samplers
from pipelines.tasks import Running, task

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.events import Event
    from pipelines.grounds import Ground
    from pipelines.inversion import Pair
    from pipelines.memory import Memory
    from pipelines.shelf import Shelf
    from pipelines.types import Cond, Denoise, Guide, Predict, Sampling

LOOKS = 4  # noises through which two prompts are compared
LOOKED_AT = 0.5  # of the way up the noise levels, as in DiffEdit

Shown = Annotated[
    str,
    *knob(
        "What it shows now",
        "The picture in words. The closer the prompt is to them, the less changes.",
        "lines",
        advanced=False,
        max_length=LONGEST_PROMPT,
    ),
]
Inversion = Annotated[
    Literal["cycle", "ddim", "cfgpp"],
    *knob(
        "Inversion",
        "How the picture becomes noise: cycle keeps the most, ddim walks up and comes down by the sampler, cfgpp also "
        "under guidance. cycle and cfgpp have steps of their own, whatever the sampler.",
    ),
]
Localized = Annotated[
    bool,
    *knob(
        "Where they differ",
        "Without a mask, only what the two descriptions see differently may change: sharper and surer elsewhere.",
        "toggle",
    ),
]
Pull = Annotated[float, *knob("Pull", "Under cfgpp, how far the prompt pulls: its lambda.", ge=0, le=1, step=0.05)]


class Edit(Masked):
    """Changes what a changed prompt changes, and leaves what both prompts say."""

    keeps_detail = True

    task: Literal["edit"] = "edit"
    shown: Shown = ""
    inversion: Inversion = "cycle"
    strength: Strength = 1.0  # of 100 other scenes changed: by ddim 86 % at 1, 81 % at 0.8; by cfgpp 85, 72
    eta: Eta = 1.0
    pull: Pull = 0.3  # of those changed, at strength 0.8: 72 % at 0.3, 64 % at 0.4, 52 % at 0.6
    localized: Localized = True
    sampler: SamplerChoice = Choice(name="ddim")
    guidance: GuidanceChoice = Choice(name="cfg", knobs={"scale": 2.0})  # things changed: 84 % at 2, 73 % at 3

    def walking(self, steps: int) -> int:
        """How many estimates an edit of so many steps asks of the network, on its way up and down."""
        first = 2 * LOOKS if self.localized and not self.mask else 0
        if self.inversion == "cycle":
            return first + int(steps * (1 + self.guidance.build(guidances).asked(self.prompt)))
        if self.inversion == "cfgpp":
            return first + steps * 2 * (ROUNDS + 1)
        return first + steps * ROUNDS + super().walking(steps)


@task(Edit)
def edit(request: Edit, memory: Memory, shelf: Shelf) -> Running:
    """Guidance pushes away from what the picture shows, so that the same prompt twice changes nothing at any scale."""
    if request.inversion != "ddim" and request.sampler.name != "ddim":
        said = f"{request.inversion} has steps of its own: the sampler {request.sampler.name} was left aside."
        yield Remark(f"{said} The inversion ddim uses it.")
    return (yield from repainted(request, memory, shelf, edited))


def edited(request: Edit, ground: Ground, picture: int, pictures: int) -> Generator[Event, None, Tensor]:
    """Latents (1, C, h, w) of one edit, by the inversion that the request names."""
    sigmas = levels(request, ground, request.strength)
    sent = predicting(request, ground.spec, ground.memory, ground.latents, sigmas, ground.beside)
    steps = (len(sigmas) - 1) * (1 if request.inversion == "cycle" else 2)
    with timed(request, ground, len(sigmas) - 1), sent as (predict, look, guide):
        if request.localized and not request.mask:
            ground = replace(ground, mask=ground.mask * differing(request, ground, predict))
        predict = in_the_middle(request, ground, predict, sigmas)
        walk = walks[request.inversion](request, ground, predict, guide, sigmas)
        latents = yield from narrated(walk, look, steps, picture, pictures)
    return checked(latents, ground.spec)


def in_the_middle(request: Edit, ground: Ground, predict: Predict, sigmas: Tensor) -> Predict:
    """The same, with what may change in the middle of the view as long as it is settled what will be there."""
    away = away_of(ground.mask > 0)
    if away == (0, 0) or request.accelerators or ground.spec.inpaints:
        return predict
    return seen_from(away, predict, float(sigmas[round(CENTRED * (len(sigmas) - 1))]))


def cycle(request: Edit, ground: Ground, predict: Predict, guide: Guide, sigmas: Tensor) -> Sampling:
    """Two paths with the same noises, side by side."""
    shown, target = prompts(request, ground, predict, guide)
    path = Path(ground.spec.alpha, noise_of(request.seed or 0))
    return cycled(shown, target, ground.latents, sigmas, path, request.eta, ground.mask)


def ddim(request: Edit, ground: Ground, predict: Predict, guide: Guide, sigmas: Tensor) -> Sampling:
    """Up under the prompt of what is there, down by the request's sampler."""
    shown, target = prompts(request, ground, predict, guide)
    path = Path(ground.spec.alpha, noise_of(request.seed or 0))

    def kept(x: Tensor, sigma: Tensor) -> Tensor:
        return ground.latents.lerp(target(x, sigma), ground.mask)

    up = partial(inverted, lambda x, sigma: (shown(x, sigma),) * 2, ground.latents, sigmas, path)
    return numbered(up, lambda x: request.sampler.build(samplers)(kept, x, sigmas, path))


def cfgpp(request: Edit, ground: Ground, predict: Predict, _: Guide, sigmas: Tensor) -> Sampling:
    """Up and down towards a prompt, with the noise of the negative one."""
    path = Path(ground.spec.alpha)
    there = now(request, ground)

    def pulled(prompt: Cond) -> Pair:
        def both(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
            negative, positive = predict(x, sigma, [ground.uncond, prompt])
            return negative.lerp(positive, request.pull), negative

        return both

    def kept(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        denoised, away = pulled(ground.cond)(x, sigma)
        return ground.latents.lerp(denoised, ground.mask), ground.latents.lerp(away, ground.mask)

    up = partial(inverted, pulled(there), ground.latents, sigmas, path)
    return numbered(up, lambda x: descended(kept, x, sigmas, path))


def differing(request: Edit, ground: Ground, predict: Predict) -> Tensor:
    """Where what the picture shows and what it should show disagree, (1, 1, h, w), looked at through several noises."""
    import torch

    spec, noise, pair = ground.spec, noise_of(0), [now(request, ground), ground.cond]
    sigma = sigma_at(spec, torch.tensor(LOOKED_AT)).to(ground.latents.device)
    looks = (spec.noised(ground.latents, noise(ground.latents), sigma) for _ in range(LOOKS))
    found = [predict(x, sigma, pair) for x in looks]
    return disagreeing([(one, other) for one, other in found])


def now(request: Edit, ground: Ground) -> Cond:
    """What the picture shows before the edit, as the network reads it."""
    return encoded(ground.spec, ground.memory, plain(request.shown), weights=worn(request, ground.spec))


def prompts(request: Edit, ground: Ground, predict: Predict, guide: Guide) -> tuple[Denoise, Denoise]:
    """x0 by what the picture shows, and by what it should; the latter pushed away from the negative prompt, if any."""
    there = now(request, ground)
    away = ground.uncond if request.said()[1] else there
    return (
        lambda x, sigma: predict(x, sigma, [there])[0],
        lambda x, sigma: guide(predict, x, sigma, ground.cond, away),
    )


walks = {"cycle": cycle, "ddim": ddim, "cfgpp": cfgpp}
