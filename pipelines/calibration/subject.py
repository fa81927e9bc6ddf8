"""A checkpoint as the searches see it: a guided estimate of x0 for many starting points, and where they should end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.samplers import Path, Sampler, samplers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.memory import Memory
    from pipelines.models import ModelSpec
    from pipelines.types import Denoise

FINE = 100  # steps of a reference walk


@dataclass(frozen=True)
class Subject:
    """`denoise` for `starts` (N, C, h, w) at sigmas[0] of every grid between `ends`."""

    denoise: Denoise
    starts: Tensor
    path: Path
    ends: tuple[float, float]
    resized: Callable[[Tensor, int], Tensor] | None = None  # latents -> those of the same pictures at another side

    def walked(self, sampler: Sampler, sigmas: Tensor) -> Tensor:
        """Where a sampler takes the starting points."""
        walk = sampler(self.denoise, self.starts, sigmas.to(self.starts), self.path)
        while True:
            try:
                next(walk)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    def fine(self, steps: int = FINE, rho: float = 7.0) -> Tensor:
        """A fine grid between its ends, (steps + 1,), ends in 0; for flows in equal steps, else Karras et al.'s."""
        import torch

        low, high = self.ends
        power = 1.0 if high <= 1 else 1 / rho
        ramp = torch.linspace(high**power, low**power, steps, dtype=torch.float64) ** (1 / power)
        return torch.cat([ramp, ramp.new_zeros(1)]).to(self.starts)

    def reference(self, steps: int = FINE) -> Tensor:
        """Where the ODE takes the starting points, by a fine walk of second order."""
        return self.walked(samplers["dpmpp_2m"](), self.fine(steps))

    def error(self, end: Tensor, reference: Tensor) -> float:
        """The median over starting points of the mean squared distance."""
        return float((end - reference).square().flatten(1).mean(1).median())


@contextmanager
def subject(
    spec: ModelSpec, memory: Memory, prompts: Sequence[str], scale: float, count: int, seed: int, side: int = 0
) -> Iterator[Subject]:
    """`count` starting points a prompt of a checkpoint, guided by `scale`; its network is lent meanwhile."""
    import torch
    from torch.nn import functional

    from pipelines.guidance.cfg import ClassifierFree
    from pipelines.painting import encoded, noise_of

    conds = [encoded(spec, memory, prompt) for prompt in prompts]
    uncond = encoded(spec, memory, "", negative=True)
    guide = ClassifierFree(scale=scale)
    noise, device = noise_of(seed), memory.device.torch
    shape = (len(prompts) * count, *spec.latent_shape(side or spec.side, side or spec.side)[1:])
    high = torch.tensor(spec.ends()[1], device=device)
    with memory.use(spec.net) as net:
        predict = spec.predictor(net)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            rows = x.chunk(len(conds))
            return torch.cat([guide(predict, row, sigma, cond, uncond) for row, cond in zip(rows, conds, strict=True)])

        def resized(latents: Tensor, side: int) -> Tensor:
            with memory.use(spec.vae) as vae:
                pictures = [spec.decode(vae, each[None]) for each in latents]
                smaller = [functional.interpolate(each, (side, side), mode="area") for each in pictures]
                return torch.cat([spec.encode(vae, each) for each in smaller])

        starts = spec.start(noise(torch.empty(shape, device=device)), high)
        yield Subject(denoise, starts, Path(spec.alpha, noise), spec.ends(), resized)
