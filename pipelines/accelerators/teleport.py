"""Gaussian teleportation: the first steps without the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from pipelines.accelerators import Accelerator, accelerators
from pipelines.knobs import knob
from pipelines.plans import PlanName, read
from pipelines.types import exploding

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Predict, Run

Share = Annotated[
    float, *knob("Share", "The share of the steps, from the start, that need no network.", ge=0, le=0.6, step=0.05)
]


@accelerators.register("teleport")
class Teleport(Accelerator):
    """Skips the network in the first steps, where all pictures of a model look like one cloud.

    Wang & Vastola 2024, Section 5 (arXiv:2412.09726): at high noise the score is that of a Gaussian, whose x0 has a
    closed form. The Gaussian is a plan, made once by `python -m pipelines.calibration gaussian`, its covariance
    diagonal in frequencies; without a plan nothing is skipped. Samplers walk through its estimates, so any will do.
    """

    title = "Gaussian teleportation"
    off = {"share": 0.0}

    share: Share = 0.2
    plan: PlanName = ""

    @contextmanager
    def apply(self, predict: Predict, run: Run) -> Iterator[Predict]:
        if self.share == 0 or not self.plan:
            yield predict
            return
        import torch

        tables = read(self.plan, "gaussian").tables
        mean, spectrum = (torch.tensor(tables[name], dtype=torch.float64) for name in ("mean", "spectrum"))
        until = round(self.share * (len(run.sigmas) - 1))
        alpha = run.spec.alpha if run.spec else exploding

        def skipping(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
            if run.step(sigma) >= until:
                return predict(x, sigma, conds)
            return [gaussian(x, sigma, alpha(sigma), mean[0].to(x), spectrum.to(x))] * len(conds)

        yield skipping


def gaussian(x: Tensor, sigma: Tensor, alpha: Tensor, mean: Tensor, spectrum: Tensor) -> Tensor:
    """E[x0 | x] of Gaussian latents: m + a P / (a^2 P + s^2) (x - a m) in each frequency. Equation 8."""
    import torch

    power = spectrum[rings(x.shape[-2], x.shape[-1], len(spectrum)).to(x.device)].permute(2, 0, 1)  # (C, h, w)
    centre = mean[:, None, None]
    apart = torch.fft.fft2(x - alpha * centre)
    return centre + torch.fft.ifft2(apart * (alpha * power / (alpha**2 * power + sigma**2))).real


def rings(height: int, width: int, count: int) -> Tensor:
    """Which ring of frequencies each place of a Fourier transform belongs to, (height, width); ring 0 is none."""
    import torch

    radius = (torch.fft.fftfreq(height)[:, None] ** 2 + torch.fft.fftfreq(width)[None] ** 2).sqrt()
    return (radius / 0.5**0.5 * (count - 1)).round().long()
