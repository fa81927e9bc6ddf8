"""SuperDiff: prompts superposed by how likely the picture is under each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

from pipelines.guidance import guidances
from pipelines.guidance.cfg import Push
from pipelines.knobs import knob
from pipelines.prompts import clauses
from pipelines.types import exploding

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Guide, Predict, Run

Joining = Annotated[
    Literal["both", "either"], *knob("Joins", "Both prompts equally in one picture, or whichever it leans to.")
]
Decision = Annotated[
    float, *knob("Decision", "How firmly `either` settles for the likelier prompt.", ge=0, le=10, step=0.1)
]


@guidances.register("superdiff")
class SuperDiff(Push):
    """Keeps a picture equally likely under every prompt that AND joins, or lets it choose one.

    Skreta et al. 2025, Propositions 1 to 3 (arXiv:2412.17762): d log q_i = -|ds|/s |eps_i|^2 - <dx, eps_i>/s along the
    reverse SDE, so it needs a sampler with fresh noise. `both` solves for the mixture that makes the expected log q_i
    of the next step equal; what chance adds is made good one step later. As a plain function it mixes evenly.
    """

    title = "SuperDiff"
    composes = True

    joins: Joining = "both"
    decision: Decision = 1.0

    def asked(self, prompt: str) -> float:
        count = len(clauses(prompt))
        return count if self.scale == 1 else 1 + count

    def __call__(self, predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
        return self._guided(predict, x, sigma, cond, uncond, lambda _, estimates: estimates.mean(0))

    @contextmanager
    def apply(self, run: Run) -> Iterator[Guide]:
        odds = Odds(run)

        def guide(predict: Predict, x: Tensor, sigma: Tensor, cond: Cond, uncond: Cond) -> Tensor:
            def mixed(negative: Tensor, estimates: Tensor) -> Tensor:
                odds.follow(x, sigma, estimates)
                weigh = odds.equal(x, sigma, negative, estimates, self.scale) if self.joins == "both" else None
                shares = (self.decision * odds.logs).softmax(0) if weigh is None else weigh  # (n, B)
                return (shares[..., None, None, None] * estimates).sum(0)

            return self._guided(predict, x, sigma, cond, uncond, mixed)

        yield guide

    def _guided(
        self,
        predict: Predict,
        x: Tensor,
        sigma: Tensor,
        cond: Cond,
        uncond: Cond,
        mixed: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        import torch

        parts = [part for weight, part in cond.parts if weight > 0] or [cond]
        if self.scale == 1:
            estimates = predict(x, sigma, parts)
            return estimates[0] if len(parts) == 1 else mixed(estimates[0], torch.stack(estimates))
        negative, *estimates = predict(x, sigma, [uncond, *parts])
        return negative.lerp(mixed(negative, torch.stack(estimates)), self.scale)


class Odds:
    """log q_i of a walk under each of its prompts, (n, B), up to a constant that all share."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.alpha = run.spec.alpha if run.spec else exploding
        self.logs: Tensor
        self.before: tuple[Tensor, Tensor, Tensor] | None = None  # x and s in units of x0, eps of each prompt

    def follow(self, x: Tensor, sigma: Tensor, estimates: Tensor) -> None:
        """Take a step of the walk into account. Theorem 1 for the exploding path, to which others are scaled."""
        alpha = self.alpha(sigma).clamp(min=1e-6)
        x, sigma = x / alpha, sigma / alpha
        eps = (x - estimates) / sigma  # (n, B, C, h, w)
        if self.before is None:
            self.logs = eps.flatten(2).sum(2) * 0
        else:
            x_before, sigma_before, eps_before = self.before
            moved = inner(x - x_before, eps_before) / sigma_before
            self.logs = self.logs - (sigma_before - sigma) / sigma_before * inner(eps_before, eps_before) - moved
        self.before = x, sigma, eps

    def equal(self, x: Tensor, sigma: Tensor, negative: Tensor, estimates: Tensor, scale: float) -> Tensor:
        """Shares (n, B) that bring all log q_i together in the next step, in the mean over its noise.

        d log q_i = |ds|/s (2 <eps, eps_i> - |eps_i|^2) with eps = eps_u + scale (sum_j k_j eps_j - eps_u): linear in k.
        """
        import torch

        alpha = self.alpha(sigma).clamp(min=1e-6)
        sigma_next = self.run.sigmas[self.run.step(sigma) + 1]
        rate = 1 - sigma_next / self.alpha(sigma_next) / (sigma / alpha)
        eps = (x / alpha - estimates) * alpha / sigma
        pushed = (1 - scale) * (x / alpha - negative) * alpha / sigma
        gram = torch.stack([inner(eps, each) for each in eps])  # (n, n, B)
        fixed = self.logs + rate * (2 * inner(pushed, eps) - inner(eps, eps))
        rows = 2 * rate * scale * (gram[1:] - gram[:1])  # n - 1 equations: log q_i = log q_0
        one = torch.ones_like(gram[:1])
        left = torch.cat([rows, one]).permute(2, 0, 1)  # (B, n, n)
        right = torch.cat([fixed[:1] - fixed[1:], torch.ones_like(fixed[:1])]).T[..., None]
        return torch.linalg.lstsq(left, right).solution[..., 0].T.clamp(-1, 2)


def inner(one: Tensor, other: Tensor) -> Tensor:
    """<one, other> over channels and place."""
    return (one * other).sum([-3, -2, -1])
