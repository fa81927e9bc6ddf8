"""UNets trained on discrete noise levels, as in Stable Diffusion and SDXL: from their answer to x0, and their levels.

It knows no text encoder; what a network reads beside tokens a family hands over as `added`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import BadCheckpoint
from pipelines.models import Preset
from pipelines.models.networks import middle, network
from pipelines.parts import Part, json_file

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.memory import Memory
    from pipelines.models import ModelSpec
    from pipelines.types import Cond, Predict

Added = Callable[["Tensor", Sequence["Cond"]], dict[str, "Tensor"]]  # (x, a condition for each row) -> inputs
PREDICTIONS = ("epsilon", "v_prediction", "sample")
USUAL = tuple(
    Preset(name, {"steps": steps, "sampler": "dpmpp_2m", "schedule": "karras"})
    for name, steps in (("Draft", 10), ("Balanced", 20), ("Best", 40))
)
DISTILLED_SCALE = 8.0  # of latent consistency models, where a request asks for none
ONE_LOOK = {"name": "cfg", "knobs": {"scale": 1.0}}  # distilled networks have their guidance within


def unet(folder: Path) -> Part:
    """The painter of a checkpoint in the diffusers layout. Raises BadCheckpoint, KeyError."""
    widths = json_file(folder / "unet" / "config.json")["block_out_channels"]
    return network("The painter", folder / "unet", "UNet2DConditionModel", middle(widths))


def levels(scheduler: dict[str, Any]) -> dict[str, Any]:
    """The fields of a `ModelSpec` that a scheduler's settings decide. Raises BadCheckpoint."""
    prediction = scheduler.get("prediction_type", "epsilon")
    kind = str(scheduler.get("_class_name", ""))
    if prediction not in PREDICTIONS or kind.startswith("EDM"):
        raise BadCheckpoint(
            f"This checkpoint predicts {str(prediction)[:40]!r} for {kind[:60] or 'no scheduler'}, "
            "which the studio does not know."
        )
    table = cache(partial(_table, scheduler))
    return {
        "table": table,
        "grid": lambda steps, *_: _grid(table(), steps, scheduler),
        "presets": presets(scheduler),
        "defaults": {"guidance": "cfg"} | presets(scheduler)[1].values,
    }


def presets(scheduler: dict[str, Any]) -> tuple[Preset, ...]:
    """Qualities as the scheduler's settings hint at: few steps and no guidance for distilled networks."""
    kind = str(scheduler.get("_class_name", ""))
    if kind == "LCMScheduler":
        return _few("lcm", (2, 4, 8))
    trailing = scheduler.get("timestep_spacing") == "trailing" and not scheduler.get("rescale_betas_zero_snr")
    if trailing and kind.startswith("Euler") and scheduler.get("prediction_type", "epsilon") == "epsilon":
        return _few("euler_ancestral" if "Ancestral" in kind else "euler", (1, 4, 8))
    return USUAL


def _few(sampler: str, steps: tuple[int, int, int]) -> tuple[Preset, ...]:
    few = {"sampler": sampler, "schedule": "own", "guidance": ONE_LOOK}
    return tuple(
        Preset(name, {"steps": count, **few}) for name, count in zip(("Draft", "Balanced", "Best"), steps, strict=True)
    )


def takes_a_mask(name: str, net: dict[str, Any], channels: int) -> bool:
    """Whether a UNet reads a mask and a masked picture's latents beside x. Raises BadCheckpoint at other inputs."""
    if net["in_channels"] not in (channels, 2 * channels + 1):
        raise BadCheckpoint(
            f"The painter in {name} reads {net['in_channels']} channels; of {channels} latent channels, "
            f"{channels} or {2 * channels + 1} (with a mask) were expected."
        )
    return int(net["in_channels"]) != channels


def all_masked(spec: ModelSpec, memory: Memory, x: Tensor) -> Tensor:
    """What an inpainting network reads where nothing is to be kept: ones, and the latents of a grey picture."""
    import torch

    def encode() -> Tensor:
        with memory.use(spec.vae) as vae:
            return spec.encode(vae, torch.zeros(1, 3, *(spec.factor * side for side in x.shape[-2:]), device=x.device))

    grey = memory.recall(("grey", spec.vae.key, *x.shape[-2:]), encode)
    return torch.cat([torch.ones_like(grey[:, :1]), grey], 1)  # (1, 1 + C, h, w)


def predictor(
    net: Any, beside: Tensor | None = None, *, prediction: str, table: Callable[[], Tensor], added: Added | None = None
) -> Predict:
    """x0 from what the network answers: eps, v or x0 itself. The network sees x / sqrt(sigma^2 + 1).

    `beside` (1, 1 + C, h, w) is what an inpainting network sees beside it: mask, 1 = repaint, and masked latents.
    """
    import torch

    from pipelines.models.noise import timestep

    kind = next(net.parameters()).dtype
    known = table()

    def predict(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
        scale = (sigma**2 + 1).sqrt()
        length = max(each.tokens.shape[1] for each in conds)
        tokens = torch.cat([each.lengthened(length).expand(len(x), -1, -1) for each in conds])  # (n B, T, D)
        seen = x / scale if beside is None else torch.cat([x / scale, beside.to(x).expand(len(x), -1, -1, -1)], 1)
        batch = seen.repeat(len(conds), 1, 1, 1).to(kind)
        at = timestep(sigma.flatten(), known.to(sigma.device)).expand(len(x)).repeat(len(conds))
        rows = [row for each in conds for row in singles(each, len(x))]
        scales = guidance_seen(net, rows)
        answer = net(
            batch,
            at,
            encoder_hidden_states=tokens.to(kind),
            timestep_cond=None if scales is None else scales.to(kind),
            added_cond_kwargs=added(x, rows) if added else None,  # sizes in float32, as bfloat16 rounds them
            return_dict=False,
        )[0].float()
        return [clean(x, each, sigma, prediction) for each in answer.chunk(len(conds))]

    return predict


def singles(cond: Cond, count: int) -> list[Cond]:
    """A condition for each of `count` rows: the same one, or its own rows apart where it has so many."""
    if len(cond.tokens) == 1:
        return [cond] * count
    return [
        replace(cond, tokens=cond.tokens[k : k + 1], extras={name: own[k : k + 1] for name, own in cond.extras.items()})
        for k in range(count)
    ]


def guidance_seen(net: Any, rows: Sequence[Cond]) -> Tensor | None:
    """What a guidance-distilled network reads of the scale in `extras`, (n, D); None where it reads none.

    Meng et al. 2023, Section 3 (arXiv:2210.03142); the embedding is that of Luo et al. 2023 (arXiv:2310.04378).
    """
    import torch

    width = getattr(net.config, "time_cond_proj_dim", None)
    if width is None:
        return None
    usual = rows[0].tokens.new_tensor(DISTILLED_SCALE)
    scales = torch.stack([each.extras.get("guidance", usual).reshape(()) for each in rows]) - 1
    rates = torch.exp(
        torch.arange(width // 2, device=scales.device) * -(torch.tensor(10000.0).log() / (width // 2 - 1))
    )
    angles = 1000 * scales[:, None] * rates
    return torch.nn.functional.pad(torch.cat([angles.sin(), angles.cos()], 1), (0, width % 2))


def clean(x: Tensor, answer: Tensor, sigma: Tensor, prediction: str) -> Tensor:
    """x0 at sigma from a network's answer. Salimans & Ho 2022, Appendix D (arXiv:2202.00512), with x unscaled."""
    if prediction == "epsilon":
        return x - sigma * answer
    if prediction == "v_prediction":
        return x / (sigma**2 + 1) - sigma / (sigma**2 + 1).sqrt() * answer
    return answer


def _table(scheduler: dict[str, Any]) -> Tensor:
    from pipelines.models.noise import sigma_table

    return sigma_table(scheduler)


def _grid(table: Tensor, steps: int, scheduler: dict[str, Any]) -> Tensor:
    from pipelines.models.noise import own_grid

    return own_grid(table, steps, scheduler)
