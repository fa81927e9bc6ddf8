"""Noise levels of checkpoints that were trained on discrete steps, read from their scheduler's settings."""

from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler
from torch import Tensor

KEPT = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
LEAST_ALPHA = 2**-24  # stands for an alpha of exactly 0, whose sigma would be infinite


def sigma_table(config: dict[str, Any]) -> Tensor:
    """sigma = sqrt((1 - abar) / abar) of each training step, (T,), rising. Karras et al. 2022, Table 1, VP."""
    settings = {key: config[key] for key in KEPT if config.get(key) is not None}
    abar = DDPMScheduler(**settings).alphas_cumprod.clamp(min=LEAST_ALPHA)
    return ((1 - abar) / abar).sqrt()


def own_grid(table: Tensor, steps: int, config: dict[str, Any]) -> Tensor:
    """The noise levels that the checkpoint's `timestep_spacing` names, (steps + 1,), falling, ends in 0.

    Lin et al. 2024, Table 2 (arXiv:2305.08891), as diffusers' EulerDiscreteScheduler computes them.
    """
    total = len(table)
    spacing, offset = config.get("timestep_spacing", "leading"), int(config.get("steps_offset", 0))
    at: np.ndarray[Any, Any]
    skipped = int(config.get("original_inference_steps", 50)) if config.get("_class_name") == "LCMScheduler" else 0
    if steps <= skipped:  # Luo et al. 2023, Section 4.3: some of the levels that the distillation skipped between
        taught = np.arange(skipped, 0, -1) * (total // skipped) - 1
        at = taught[np.floor(np.linspace(0, skipped, steps, endpoint=False)).astype(int)]
    elif spacing == "linspace" or steps > total:
        at = np.linspace(0, total - 1, steps)[::-1]
    elif spacing == "leading":
        at = (np.arange(steps) * (total // steps)).round()[::-1] + offset
    else:
        at = np.arange(total, 0, -total / steps).round()[:steps] - 1
    levels = np.interp(at, np.arange(total), table.double().numpy())
    return torch.tensor([*levels, 0.0], dtype=torch.float32)


def timestep(sigma: Tensor, table: Tensor) -> Tensor:
    """The training step whose noise is `sigma`, between two steps in proportion in log sigma; () float32."""
    logs = table.log()
    at = torch.searchsorted(logs, sigma.log()).clamp(1, len(table) - 1)
    low, high = logs[at - 1], logs[at]
    share = ((sigma.log() - low) / (high - low)).clamp(0, 1)
    return at - 1 + share
