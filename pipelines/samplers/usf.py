"""One update that holds many solvers, and a plan that says which each step is."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pipelines.errors import StudioError
from pipelines.plans import PlanName, read
from pipelines.samplers import Path, Sampler, Step, samplers

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Denoise, Sampling

PLAIN: dict[str, Any] = {"predicts": "x0", "memory": 2, "corrects": False}


@samplers.register("usf")
class Usf(Sampler):
    """Solves every step as a search for this model found best. Liu et al. 2023, Algorithm 1 (arXiv:2312.07243).

    A plan's step says what is extended, x0 or eps, through how many estimates, and whether it is corrected when the
    next one is there; it has its own levels for the schedule `planned`. Without a plan each step extends x0 through
    two estimates.
    """

    title = "Searched solver (USF)"
    order = 2

    plan: PlanName = ""

    def __call__(self, denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
        steps = read(self.plan, "solver").steps if self.plan else [PLAIN] * (len(sigmas) - 1)
        if len(steps) != len(sigmas) - 1:
            raise StudioError(f"Steps: the plan {self.plan} was searched for {len(steps)}.")
        return solved(steps, denoise, x, sigmas, path)


def solved(steps: list[dict[str, Any]], denoise: Denoise, x: Tensor, sigmas: Tensor, path: Path) -> Sampling:
    """The walk whose steps are solved as `steps` say."""
    from pipelines.samplers.polynomials import Past, log_snrs

    lams, before = log_snrs(sigmas, path), x
    clean, noise = Past(3), Past(3)
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        yield Step(i, denoised)
        if sigma_next == 0:
            return denoised
        eps = (x - path.alpha(sigma) * denoised) / sigma
        if i and steps[i - 1]["corrects"] and math.isfinite(lams[i - 1]):
            own, latest = (noise, eps) if steps[i - 1]["predicts"] == "eps" else (clean, denoised)
            count = min(steps[i - 1]["memory"], len(own.lams))
            nodes, values = [*own.lams[:count], lams[i]], [*own.values[:count], latest]
            x = carried(steps[i - 1], before, nodes, values, sigmas[i - 1], sigma, lams[i], path)
        clean.add(lams[i], denoised)
        noise.add(lams[i], eps)
        before = x
        own = noise if steps[i]["predicts"] == "eps" else clean
        count = min(steps[i]["memory"], len(own.lams))
        x = carried(steps[i], x, own.lams[:count], own.values[:count], sigma, sigma_next, lams[i + 1], path)
    return x


def carried(
    step: dict[str, Any],
    x: Tensor,
    nodes: list[float],
    values: list[Tensor],
    sigma: Tensor,
    sigma_next: Tensor,
    end: float,
    path: Path,
) -> Tensor:
    """x over one step: Equation 9, the exponential integral of the polynomial through `values`, of x0 or of eps."""
    from pipelines.samplers.polynomials import mixed, weights

    alpha, alpha_next = path.alpha(sigma), path.alpha(sigma_next)
    if not math.isfinite(nodes[0]):  # from pure noise: the value is all there is
        return alpha_next * values[0] + sigma_next * x / sigma if step["predicts"] == "x0" else x
    if step["predicts"] == "x0":
        return sigma_next / sigma * x + alpha_next * mixed(weights(nodes, nodes[0], end, growth=1), values)
    return alpha_next / alpha * x - sigma_next * mixed(weights(nodes, nodes[0], end, growth=-1), values)
