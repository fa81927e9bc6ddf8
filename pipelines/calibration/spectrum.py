"""The Gaussian that latents resemble: their mean and how much each frequency varies, a channel at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.plans import Plan

if TYPE_CHECKING:
    from torch import Tensor

RINGS = 24  # of frequencies, from none to the highest of a diagonal


def measured(latents: Tensor) -> Plan:
    """Mean (1, C) and variance by ring of frequencies (RINGS, C) of latents (N, C, h, w), as a plan.

    Wang & Vastola 2024, Section 3 (arXiv:2412.09726), with the covariance taken as diagonal in the Fourier basis, so
    that it fits pictures of every size.
    """
    import torch

    from pipelines.accelerators.teleport import rings

    latents = latents.double()
    mean = latents.mean([0, 2, 3])
    power = torch.fft.fft2(latents - mean[:, None, None], norm="ortho").abs().square().mean(0)  # (C, h, w)
    where = rings(latents.shape[-2], latents.shape[-1], RINGS).to(power.device)
    there = torch.unique(where)  # small latents lack some rings, which take after the nearest that is there
    nearest = there[(torch.arange(RINGS, device=there.device)[:, None] - there).abs().argmin(1)]
    spectrum = torch.stack([power[:, where == ring].mean(1) for ring in nearest])
    return Plan(kind="gaussian", method="teleport", tables={"mean": [mean.tolist()], "spectrum": spectrum.tolist()})
