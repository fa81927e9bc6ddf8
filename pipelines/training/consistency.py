"""What a few-step student is asked for: from a noised picture, a target x0 that the teacher and an average of the
student itself agree on. Pure functions of tensors; knows no file, no adapter and no training loop.

Here a *step* `t` is an index into the checkpoint's own noise schedule, 0 the cleanest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["lcm", "trajectory", "progressive", "guidance"]
# (x, t, token states) -> x0. x, x0: (B, C, H, W); t: (B,) int64; token states: (B, L, D)
Estimate = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Path:
    """The variance-preserving path of a checkpoint: x = alpha x0 + sigma eps, alpha^2 + sigma^2 = 1."""

    alphas: Tensor  # (T,)
    sigmas: Tensor  # (T,)
    prediction: str  # "epsilon" or "v_prediction"

    @classmethod
    def of(cls, alphas_cumprod: Tensor, prediction: str) -> "Path":
        """The path of a schedule's cumulative alphas, (T,)."""
        if prediction not in ("epsilon", "v_prediction"):
            raise ValueError(f"Cannot distil a network that predicts {prediction!r}; eps and v are known.")
        return cls(alphas_cumprod.sqrt(), (1 - alphas_cumprod).clamp(min=1e-8).sqrt(), prediction)

    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma at steps t, each (B, 1, 1, 1)."""
        return self.alphas[t].view(-1, 1, 1, 1), self.sigmas[t].view(-1, 1, 1, 1)

    def noised(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x at steps t."""
        alpha, sigma = self.at(t)
        return alpha * x0 + sigma * noise

    def x0(self, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The estimate of x0 that a network's output stands for."""
        alpha, sigma = self.at(t)
        if self.prediction == "v_prediction":
            return alpha * x - sigma * output
        return (x - sigma * output) / alpha.clamp(min=1e-4)

    def jump(self, x0: Tensor, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """x at step s on the line through x at t and x0: one DDIM step. Song et al. 2020, Eq. 12 (arXiv:2010.02502)."""
        alpha, sigma = self.at(t)
        alpha_s, sigma_s = self.at(s)
        return alpha_s * x0 + sigma_s * (x - alpha * x0) / sigma

    def aim(self, x_s: Tensor, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """The x0 from which `jump` reaches x_s: its inverse, for s < t."""
        alpha, sigma = self.at(t)
        alpha_s, sigma_s = self.at(s)
        return (x_s - sigma_s / sigma * x) / (alpha_s - sigma_s * alpha / sigma)


def guided(teacher: Estimate, x: Tensor, t: Tensor, cond: Tensor, uncond: Tensor, scale: Tensor) -> Tensor:
    """The teacher's x0 with classifier-free guidance, two evaluations in one batch, one where the scale is 1
    everywhere; scale: (B, 1, 1, 1).

    Ho and Salimans 2022 (arXiv:2207.12598).
    """
    if bool((scale == 1).all()):
        return teacher(x, t, cond)
    both = teacher(torch.cat([x, x]), torch.cat([t, t]), torch.cat([cond, uncond.expand_as(cond)]))
    with_prompt, without = both.chunk(2)
    return without + scale * (with_prompt - without)


def boundary(x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
    """c_skip x + c_out x0, which is x at t = 0, with the constants of diffusers' LCMScheduler (sigma 0.5, time x 10).

    Luo et al. 2023, Eq. 9 (arXiv:2310.04378).
    """
    scaled = t.view(-1, 1, 1, 1) * 10.0
    return 0.25 / (scaled**2 + 0.25) * x + scaled / (scaled**2 + 0.25).sqrt() * x0


def segment_start(t: Tensor, segments: int, steps: int) -> Tensor:
    """The lower end of the segment that holds t, when `steps` noise levels are cut into equal segments."""
    edges = torch.arange(segments, device=t.device) * steps // segments  # 0 first
    return edges[torch.bucketize(t - 1, edges, right=True) - 1]


def draw_steps(count: int, steps: int, skip: int, generator: torch.Generator) -> Tensor:
    """`count` random steps in 1 .. steps - 1, the noisiest (where every picture starts) `skip` times as often."""
    drawn = torch.randint(1, steps + skip, (count,), generator=generator, device=generator.device)
    return drawn.clamp(max=steps - 1)


def draw_tops(count: int, steps: int, segments: int, generator: torch.Generator) -> Tensor:
    """`count` random tops of segments: where a walk of that many even steps stands, each as often as the others."""
    tops = steps * torch.arange(1, segments + 1, device=generator.device) // segments - 1
    return tops[torch.randint(segments, (count,), generator=generator, device=generator.device)]


@dataclass(frozen=True)
class Lesson:
    """One batch for the student: x at t under a prompt, and where its consistency function must arrive."""

    x: Tensor  # (B, C, H, W)
    t: Tensor  # (B,)
    s: Tensor  # (B,) the step that it jumps to; 0 but for trajectory segments
    cond: Tensor  # (B, L, D)
    uncond: Tensor  # (1, L, D)
    scale: Tensor  # (B, 1, 1, 1)


def target_x0(
    kind: Kind, path: Path, lesson: Lesson, teacher: Estimate, target: Estimate, skip: int, moves: int = 1
) -> Tensor:
    """The x0 that the student should give at x, t. One guided DDIM step of the teacher over at most `skip` steps to u,
    then the target network from u:

    - `guidance`: the teacher's guided x0 itself. Meng et al. 2022, Eq. 5 (arXiv:2210.03142), at a fixed scale.
    - `lcm`: the target's consistency function at u. Luo et al. 2023, Algorithm 1 (arXiv:2310.04378).
    - `trajectory`: the target's jump from u to the segment's start. Ren et al. 2024, Eq. 8 (arXiv:2404.13686).
    - `progressive`: the teacher's own walk of `moves` even steps to the segment's start, and no target network.
      Salimans and Ho 2022, Algorithm 2, where it is two steps (arXiv:2202.00512).
    """
    x, t, s = lesson.x, lesson.t, lesson.s
    if kind == "progressive":
        return path.aim(endpoint(path, teacher, lesson, moves), x, t, s)
    x0 = guided(teacher, x, t, lesson.cond, lesson.uncond, lesson.scale)
    if kind == "guidance":
        return x0
    u = torch.maximum(t - skip, s)
    x_u = path.jump(x0, x, t, u)
    x0_u = target(x_u, u, lesson.cond)
    if kind == "lcm":
        return boundary(x_u, x0_u, u)
    return path.aim(path.jump(x0_u, x_u, u, s), x, t, s)


def distance(estimate: Tensor, wanted: Tensor, sigma: Tensor) -> Tensor:
    """Mean pseudo-Huber distance (Song and Dhariwal 2023, Eq. 7, arXiv:2310.14189), weighted by 1/sigma^2 up to five as
    for a v-predicting network, so that the last, clean steps count too; sigma: (B, 1, 1, 1)."""
    limit = 0.01  # latents have unit scale
    huber = ((estimate - wanted).float() ** 2 + limit**2).sqrt() - limit
    return (huber / sigma.clamp(min=5**-0.5) ** 2).mean()


@torch.no_grad()
def endpoint(path: Path, teacher: Estimate, lesson: Lesson, moves: int) -> Tensor:
    """Where the guided teacher itself arrives from x at t after `moves` even DDIM steps to the lesson's s."""
    x, t, span = lesson.x, lesson.t, lesson.t - lesson.s
    for left in range(moves, 0, -1):
        x0 = guided(teacher, x, t, lesson.cond, lesson.uncond, lesson.scale)
        u = lesson.s + span * (left - 1) // moves
        x, t = path.jump(x0, x, t, u), u
    return x
