"""Exact densities that solvers and searches are held to: x0 of a Gaussian mixture, at the noise levels of SD 1.5."""

import math

import torch
from torch import Tensor

from pipelines.calibration.subject import Subject
from pipelines.models.noise import sigma_table
from pipelines.samplers import Path
from pipelines.types import Denoise, straight

STABLE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def mixture(modes: int = 6, channels: int = 16, deviation: float = 0.25, seed: int = 0) -> Denoise:
    """x0 of a mixture of `modes` normal distributions over (channels, 1, 1), exactly."""
    at = means(modes, channels, seed)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        flat, spread = x.flatten(1), deviation**2 + sigma**2
        weights = (-(torch.cdist(flat, at) ** 2) / (2 * spread)).softmax(-1)  # (B, modes)
        mean = weights @ at
        return (mean + deviation**2 / spread * (flat - mean)).reshape(x.shape)

    return denoise


def means(modes: int = 6, channels: int = 16, seed: int = 0) -> Tensor:
    """Where the modes of `mixture` lie, (modes, channels)."""
    return torch.randn(modes, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def samples(count: int, modes: int = 6, channels: int = 16, deviation: float = 0.25, seed: int = 4) -> Tensor:
    """Drawn from `mixture`, (count, channels, 1, 1)."""
    generator = torch.Generator().manual_seed(seed)
    at = means(modes, channels)[torch.randint(modes, (count,), generator=generator)]
    noise = torch.randn(count, channels, dtype=torch.float64, generator=generator)
    return (at + deviation * noise).view(count, channels, 1, 1)


def log_density(x: Tensor, modes: int = 6, deviation: float = 0.25) -> Tensor:
    """log p of `mixture`, (B,), exactly."""
    flat, at = x.flatten(1), means(modes, x[0].numel())
    each = -(torch.cdist(flat, at) ** 2) / (2 * deviation**2) - 0.5 * flat.shape[1] * math.log(
        2 * math.pi * deviation**2
    )
    return each.logsumexp(1) - math.log(modes)


def guided(positive: Denoise, negative: Denoise, scale: float) -> Denoise:
    """Classifier-free guidance between two densities."""
    return lambda x, sigma: negative(x, sigma).lerp(positive(x, sigma), scale)


def exact(denoise: Denoise, count: int = 128, seed: int = 1, channels: int = 16) -> Subject:
    """`count` starting points at the highest noise level of Stable Diffusion 1.5."""
    table = sigma_table(STABLE).double()
    noise = torch.randn(count, channels, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return Subject(denoise, noise * (table[-1] ** 2 + 1).sqrt(), Path(), (float(table[0]), float(table[-1])))


def flowing(denoise: Denoise, count: int = 128, seed: int = 1, channels: int = 16) -> Subject:
    """The same density on the straight path of flow models: `count` starting points of pure noise."""

    def straightened(x: Tensor, sigma: Tensor) -> Tensor:
        sigma = sigma.clamp(max=1 - 1e-6)  # x / (1 - s) = x0 + s / (1 - s) eps
        return denoise(x / (1 - sigma), sigma / (1 - sigma))

    noise = torch.randn(count, channels, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return Subject(straightened, noise, Path(straight), (0.002, 1.0))


def converged(subject: Subject, steps: int = 400) -> Tensor:
    """Where the ODE ends, by many steps of third order."""
    from pipelines.samplers import samplers

    return subject.walked(samplers["dpmpp_3m"](), subject.fine(steps))
