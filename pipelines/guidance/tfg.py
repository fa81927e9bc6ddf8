"""Training-free guidance: towards the low of any energy, beside the prompt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from pipelines.energies import Measure, energies
from pipelines.guidance import guidances
from pipelines.guidance.cfg import Push, norm
from pipelines.guidance.interval import Begin, End, Stride
from pipelines.knobs import knob
from pipelines.method import Choice, OneOf
from pipelines.types import Path, exploding

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Guide, Predict, Run

EnergyChoice = Annotated[Choice, OneOf(energies), *knob("Leans towards", "What the picture should come nearer to.")]
Way = Annotated[
    Literal["mpgd", "universal", "dps", "freedom", "tfg"],
    *knob(
        "Way",
        "mpgd moves the estimate itself and costs nothing; universal looks through the network first; dps and freedom "
        "move the noisy picture; tfg does both. All but mpgd need gradients of the network.",
    ),
]
Strength = Annotated[
    float,
    *knob("Strength", "How far each step goes: 0 not, 1 all the way that the slope promises.", ge=0, le=5, step=0.05),
]
Rounds = Annotated[int, *knob("Rounds", "How often each step is taken down the energy.", ge=1, le=20, step=1)]
Repeats = Annotated[
    int,
    *knob(
        "Repeats", "How often a step is noised and taken again: time travel, for Euler and DDIM.", ge=1, le=10, step=1
    ),
]
Even = Annotated[
    bool,
    *knob("Even out", "Measures steps by the slope, so that one strength fits all; else as the papers write them."),
]
Smoothing = Annotated[
    float, *knob("Smoothing", "Under tfg, the noise in which the energy is averaged, of sigma.", ge=0, le=1, step=0.05)
]
KEPT_MAPS = 6.0  # times the maps of one pass, where gradients go through the network
FEW = 4  # draws that the smoothed energy is a mean over
TRAVELLED = (0.3, 0.7)  # shares of the walk in which freedom travels back: its semantic stage


@dataclass(frozen=True)
class Parts:
    """Which steps of Algorithm 1 a way consists of."""

    variance: bool  # a gradient with respect to x, through the network
    mean: bool  # gradients with respect to x0
    moves_x: bool  # whether the first moves x of the next level, or x0 as universal guidance does
    smooth: bool = False


WAYS = {
    "mpgd": Parts(False, True, False),
    "universal": Parts(True, True, False),
    "dps": Parts(True, False, True),
    "freedom": Parts(True, False, True),
    "tfg": Parts(True, True, True, smooth=True),
}


@guidances.register("tfg")
class TrainingFree(Push):
    """Leans the picture towards a colour, a layout, another picture or a classifier's words, beside the prompt.

    TFG, Ye et al. 2024, Algorithm 1 (arXiv:2409.15761), of which MPGD (arXiv:2311.16424), universal guidance, Bansal et
    al. 2023 (arXiv:2302.07121), DPS (arXiv:2209.14687) and FreeDoM, Yu et al. 2023 (arXiv:2303.09833), are cases. What
    moves x is handed on as the x0 to which the plain step would lead there: exact for Euler and DDIM. Where it leans
    is its interval and every so many steps, as the cheap guidance of Shrestha & Xie 2023 (arXiv:2312.13253).
    """

    title = "Towards an energy (TFG)"
    off = {"scale": 1.0, "strength": 0.0}

    energy: EnergyChoice = Choice(name="colour")
    way: Way = "mpgd"
    strength: Strength = 0.5
    rounds: Rounds = 1
    repeats: Repeats = 1
    smoothing: Smoothing = 0.1
    even: Even = True
    begin: Begin = 0.0
    end: End = 0.8
    every: Stride = 1

    def asked(self, prompt: str) -> float:
        leaning = max(0.0, self.end - self.begin) / self.every
        return self.evaluations * (1 + leaning * (self.repeats - 1))

    @property
    def held(self) -> float:
        return 1.0 if self.strength == 0 or not WAYS[self.way].variance else KEPT_MAPS

    @contextmanager
    def apply(self, run: Run) -> Iterator[Guide]:
        if self.strength == 0:
            yield self
            return
        steps = len(run.sigmas) - 1
        first, last = round(self.begin * steps), round(self.end * steps)
        with self.energy.build(energies).of(run) as measure:
            walk = Leaning(self, run, measure)

            def guide(predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
                step = run.step(sigma)
                if not first <= step < last or (step - first) % self.every:
                    return self(predict, x, sigma, cond, uncond)
                return walk.leant(predict, x, sigma, cond, uncond)

            yield guide


class Leaning:
    """One walk of training-free guidance."""

    def __init__(self, method: TrainingFree, run: Run, measure: Measure) -> None:
        self.method, self.run, self.measure = method, run, measure
        self.parts = WAYS[method.way]
        self.path = Path(run.spec.alpha if run.spec else exploding)
        self.conds: dict[int, Cond] = {}  # by the id of the one that it stands for

    def leant(self, predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
        """x0 that is nearer to what is wanted."""
        sigma_next = self.run.sigmas[self.run.step(sigma) + 1]
        repeats = self.method.repeats if self._travels(sigma) and float(sigma_next) > 0 else 1
        at = x
        for again in range(repeats):
            denoised, moved = self._moved(predict, at, sigma, cond, uncond)
            if moved is None and again == repeats - 1 and at is x:
                return denoised
            below = self._stepped(at, denoised, sigma, sigma_next)
            below = below if moved is None else below - moved
            if again < repeats - 1:
                at = self._noised_again(below, sigma_next, sigma)
        return landing(x, below, sigma, sigma_next, self.path)

    def _travels(self, sigma: Tensor) -> bool:
        share = self.run.step(sigma) / max(1, len(self.run.sigmas) - 1)
        return self.method.way != "freedom" or TRAVELLED[0] <= share <= TRAVELLED[1]

    def _moved(
        self, predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond
    ) -> tuple[Tensor, Tensor | None]:
        """x0 after the steps that it takes itself, and by how much the next x is moved down, if it is."""
        if not self.parts.variance:
            return self._descended(self.method(predict, x, sigma, cond, uncond)), None
        denoised, energy, slope, through = self._slopes(predict, x, sigma, cond, uncond)
        moved = None
        if self.parts.moves_x:
            moved = self._length(energy, slope, through) * through
        else:  # eps' = eps + s sqrt(1 - abar) grad, as x0
            far = self._length(energy, slope, through) if self.method.even else self.method.strength * sigma**2
            denoised = denoised - far * through
        return (self._descended(denoised) if self.parts.mean else denoised), moved

    def _slopes(
        self, predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x0, its energy, and the energy's gradients with respect to x0 and, through the network, to x."""
        import torch

        conds = [self.conds.setdefault(id(each), differentiable(each)) for each in (cond, uncond)]
        with torch.inference_mode(False), torch.enable_grad():
            at = x.detach().clone().requires_grad_()
            denoised = self.method(predict, at, sigma.clone(), *conds)
            energy = self._measured(denoised)
            slope, through = torch.autograd.grad(energy.sum(), [denoised, at])
        return denoised.detach(), energy.detach(), slope, through

    def _descended(self, denoised: Tensor) -> Tensor:
        """x0 after its rounds down the energy."""
        import torch

        for _ in range(self.method.rounds):
            with torch.inference_mode(False), torch.enable_grad():
                at = denoised.detach().clone().requires_grad_()
                energy = self._measured(at)
                (slope,) = torch.autograd.grad(energy.sum(), at)
            denoised = denoised - self._length(energy.detach(), slope, slope) * slope
        return denoised

    def _measured(self, denoised: Tensor) -> Tensor:
        if not self.parts.smooth or self.method.smoothing == 0:
            return self.measure(denoised)
        import torch

        drawn = torch.Generator().manual_seed(0)
        noises = (torch.randn(denoised.shape, generator=drawn).to(denoised) for _ in range(FEW))
        spread = self.method.smoothing * denoised.detach().std()
        total = self.measure(denoised)
        for noise in noises:
            total = total + self.measure(denoised + spread * noise)
        return total / (FEW + 1)

    def _length(self, energy: Tensor, one: Tensor, other: Tensor) -> Tensor:
        """How far to go along `other`: as far as, along `one`, an energy that is a square falls to 0; by strength."""
        if not self.method.even:
            return energy.new_tensor(self.method.strength)
        across = norm(one) * norm(other)  # (B, 1, 1, 1)
        return 2 * self.method.strength * energy[:, None, None, None] / across.clamp(min=1e-12)

    def _stepped(self, x: Tensor, denoised: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        noise = (x - self.path.alpha(sigma) * denoised) / sigma
        return self.path.alpha(sigma_next) * denoised + sigma_next * noise

    def _noised_again(self, x: Tensor, sigma: Tensor, sigma_back: Tensor) -> Tensor:
        import torch

        ratio = self.path.alpha(sigma_back) / self.path.alpha(sigma)
        drawn = torch.Generator().manual_seed(int(1e6 * float(sigma_back)) % 2**31)
        noise = torch.randn(x.shape, generator=drawn).to(x)
        return ratio * x + (sigma_back**2 - (ratio * sigma) ** 2).clamp(min=0).sqrt() * noise


def landing(x: Tensor, below: Tensor, sigma: Tensor, sigma_next: Tensor, path: Path) -> Tensor:
    """The x0 to which the plain step from x at sigma ends in `below` at sigma_next."""
    ratio = sigma_next / sigma
    return (below - ratio * x) / (path.alpha(sigma_next) - path.alpha(sigma) * ratio)


def differentiable(cond: Cond) -> Cond:
    """A condition through which gradients may go, though it was read where none were kept."""
    import torch

    with torch.inference_mode(False):
        extras = {name: each.clone() for name, each in cond.extras.items()}
        return replace(cond, tokens=cond.tokens.clone(), fill=cond.fill.clone(), extras=extras)
