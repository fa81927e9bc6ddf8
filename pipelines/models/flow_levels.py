"""Noise levels of flow models, as their scheduler's settings name them; diffusers computes them."""

from typing import Any

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

SHIFTS = {"base_image_seq_len": 256, "max_image_seq_len": 4096, "base_shift": 0.5, "max_shift": 1.15}


def flow_table(config: dict[str, Any]) -> Tensor:
    """sigma of each training step, (T,), rising, ends in 1; shifted where the shift does not depend on the size."""
    total = int(config.get("num_train_timesteps", 1000))
    even = torch.arange(1, total + 1) / total
    shift = 1.0 if config.get("use_dynamic_shifting") else float(config.get("flow_shift", config.get("shift", 1.0)))
    return shift * even / (1 + (shift - 1) * even)


def flow_grid(config: dict[str, Any], steps: int, tokens: int, even: bool) -> Tensor:
    """The noise levels of a picture of so many tokens, (steps + 1,), falling, ends in 0.

    `even` starts from equal steps of 1 / steps before it shifts, in place of even training steps. The shift by size
    is Esser et al. 2024, Section 5.3.2 (arXiv:2403.03206).
    """
    if config.get("_class_name") == "DPMSolverMultistepScheduler":
        solver = DPMSolverMultistepScheduler.from_config(config)
        solver.set_timesteps(steps)
        return solver.sigmas.float()  # type: ignore[no-any-return]
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(config)
    scheduler.set_timesteps(
        steps,
        sigmas=np.linspace(1.0, 1 / steps, steps) if even else None,
        mu=_mu(config, tokens) if config.get("use_dynamic_shifting") else None,
    )
    return scheduler.sigmas.float()  # type: ignore[no-any-return]


def _mu(config: dict[str, Any], tokens: int) -> float:
    """The logarithm of the shift, a line through two sizes."""
    least, most, low, high = (float(config.get(name) or usual) for name, usual in SHIFTS.items())
    return low + (tokens - least) * (high - low) / (most - least)
