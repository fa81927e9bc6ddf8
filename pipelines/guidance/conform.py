"""CONFORM: what belongs together is seen together, and what does not apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from pipelines.errors import StudioError
from pipelines.guidance import guidances
from pipelines.guidance.cfg import Push, norm
from pipelines.guidance.interval import End
from pipelines.guidance.tfg import KEPT_MAPS, differentiable, landing
from pipelines.knobs import knob
from pipelines.types import Path, exploding

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Guide, Predict, Run

Things = Annotated[
    str,
    *knob(
        "Things",
        "What should be apart, each with its words, as `red cat | blue dog`; empty takes them from the prompt.",
        "text",
        max_length=300,
    ),
]
Strength = Annotated[
    float, *knob("Strength", "How far the picture is moved at each step: 0 not at all.", ge=0, le=5, step=0.1)
]
Refined = Annotated[
    int, *knob("Refines", "How often the picture is moved at some of the first steps.", ge=1, le=20, step=1)
]
TEMPERATURE = 0.5  # of the contrast, Section 4
REFINED = (0.0, 0.2, 0.4)  # shares of the walk that are refined; steps 0, 10 and 20 of 50 in the paper
SHARE = 0.03  # of the length of x that a move of strength 1 is; at 0.1 pictures come apart before words do
USUAL = 25  # steps of a walk, of which some are refined
HALVINGS = 3  # of a move that would not lower the loss, before it is given up


@guidances.register("conform")
class Conform(Push):
    """Keeps several things of a prompt apart, each with its own words: neither is missing, colours stay where said.

    Meral et al. 2024, Equations 3 to 5 (arXiv:2312.06059): a contrast over cross-attention maps, those of a thing and
    its words and of the step before attracting, those of other things repelling. x is moved down its slope before the
    step, which is handed on as the x0 that leads there: exact for Euler and DDIM. A move that does not lower the loss
    is halved or left out.
    """

    title = "CONFORM"
    off = {"scale": 1.0, "strength": 0.0}

    things: Things = ""
    strength: Strength = 1.0
    refines: Refined = 5
    end: End = 0.5

    @property
    def held(self) -> float:
        return 1.0 if self.strength == 0 else KEPT_MAPS

    def asked(self, prompt: str) -> float:
        if self.strength == 0:
            return self.evaluations
        looks = 1 + HALVINGS  # of a move at the most: one at the slope, the others at what came of it
        return self.evaluations + looks * (self.end + len(REFINED) * (self.refines - 1) / USUAL)

    @contextmanager
    def apply(self, run: Run) -> Iterator[Guide]:
        if self.strength == 0:
            yield self
            return
        contrast, steps = Contrast(run, self.things), len(run.sigmas) - 1
        refined = {round(share * steps) for share in REFINED}
        path = Path(run.spec.alpha if run.spec else exploding)

        def guide(predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
            step = run.step(sigma)
            if step >= self.end * steps or not contrast.places:
                return self(predict, x, sigma, cond, uncond)
            at = x
            for _ in range(self.refines if step in refined else 1):
                at, lower = contrast.lowered(predict, at, sigma, cond, self.strength * (1 - 0.5 * step / steps))
                if not lower:
                    break
            contrast.keep()
            denoised = self(predict, at, sigma, cond, uncond)
            sigma_next = run.sigmas[step + 1]
            if at is x or sigma_next == 0:
                return denoised
            below = path.alpha(sigma_next) * denoised
            below = below + sigma_next * (at - path.alpha(sigma) * denoised) / sigma
            return landing(x, below, sigma, sigma_next, path)

        yield guide


class Contrast:
    """The loss of one walk: where its words are seen now, and where they were a step ago."""

    def __init__(self, run: Run, things: str) -> None:
        from pipelines.attention_maps import groups_of, places_of

        self.net = run.net
        self.places = places_of(groups_of(run.prompt, things), run.prompt, tokenizer_of(run))
        self.places = self.places if len(self.places) > 1 else []  # one thing has nothing to be apart from
        self.conds: dict[int, Cond] = {}
        self.before: Tensor | None = None
        self.latest: Tensor | None = None

    def keep(self) -> None:
        """The step is over: what is seen now was seen a step ago."""
        self.before = self.latest

    def lowered(self, predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, strength: float) -> tuple[Tensor, bool]:
        """x moved down the slope of the loss, and whether that lowered it."""
        import torch

        seen = self.conds.setdefault(id(cond), differentiable(cond))
        with torch.inference_mode(False), torch.enable_grad():
            at = x.detach().clone().requires_grad_()
            loss = self.loss(self.maps(predict, at, sigma.clone(), seen))
            (slope,) = torch.autograd.grad(loss, at)
        move = strength * SHARE * norm(x) * slope / norm(slope).clamp(min=1e-12)
        for _ in range(HALVINGS):
            moved = x - move
            maps = self.maps(predict, moved, sigma, seen)
            if float(self.loss(maps)) < float(loss):
                self.latest = maps.detach()
                return moved, True
            move = move / 2
        self.latest = self.maps(predict, x, sigma, seen).detach() if self.latest is None else self.latest
        return x, False

    def maps(self, predict: Predict, x: Tensor, sigma: Tensor, cond: Cond) -> Tensor:
        """How much each place sees each token, (places, T)."""
        from pipelines.attention_maps import looking_at_words, merged_maps

        noted: list[Tensor] = []
        with looking_at_words(self.net, noted):
            predict(x, sigma, [cond])
        if not noted:
            raise StudioError("CONFORM found no map of at most 16 x 16 places; paint a smaller picture.")
        return merged_maps(noted)

    def loss(self, maps: Tensor) -> Tensor:
        """InfoNCE over the maps of all words. Equation 3."""
        return contrasted(maps, self.before, self.places)


def contrasted(maps: Tensor, before: Tensor | None, places: Sequence[Sequence[int]]) -> Tensor:
    """The mean of -log e^{s+/T} / (e^{s+/T} + sum e^{s-/T}) over all pairs that belong together, by cosines s."""
    import torch
    from torch.nn.functional import normalize

    rows, owners = [], []
    for source in (maps, before):
        for owner, tokens in enumerate(places):
            for token in tokens if source is not None else ():
                rows.append(source[:, token])  # type: ignore[index]
                owners.append(owner)
    features = normalize(torch.stack(rows), dim=1)
    alike = (features @ features.T / TEMPERATURE).exp()
    group = torch.tensor(owners, device=maps.device)
    same = (group[:, None] == group[None]).float()
    apart = (alike * (1 - same)).sum(1, keepdim=True)
    pairs = same - torch.eye(len(rows), device=maps.device)
    if pairs.sum() == 0:  # one word each, and no step before: they only repel
        return (apart + 1).log().mean()
    return -((alike / (alike + apart)).log() * pairs).sum() / pairs.sum()


def tokenizer_of(run: Run) -> object:
    """What cuts prompts for the run's first text encoder. Raises StudioError where that is no CLIP."""
    if run.spec is None or not run.spec.texts:
        raise StudioError("CONFORM has to know the checkpoint.")
    with run.memory.use(run.spec.texts[0]) as text:
        tokenizer = getattr(text, "tokenizer", None)
    if tokenizer is None or not hasattr(run.net, "mid_block"):
        raise StudioError(f"CONFORM works on UNets that read CLIP's words, and {run.spec.title} is none.")
    return tokenizer
