"""Faster Diffusion: the encoder of a UNet looks at some steps only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from pipelines.accelerators import Accelerator, accelerators
from pipelines.accelerators.patches import Answers, asked_by, remembering, unet_of
from pipelines.knobs import knob
from pipelines.types import exploding

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Predict, Run

Longest = Annotated[
    int,
    *knob(
        "In a row",
        "How many steps may pass on what the network saw before: 0 none, more is faster.",
        ge=0,
        le=15,
        step=1,
    ),
]
Texture = Annotated[
    float,
    *knob("Texture", "How much of the first noise is put back late, against smoothness.", ge=0, le=0.02, step=0.001),
]
KEYS = (0, 1, 2, 3, 5, 10, 15, 25, 35)  # of 50 steps, Section 3.3


@accelerators.register("faster")
class FasterDiffusion(Accelerator):
    """The first half of the network looks at few steps; the others pass on what it saw.

    Li et al. 2024, Section 3.2 (arXiv:2312.09608): between key steps the down blocks and the middle answer as they did,
    the up blocks are computed. The noise put back is Section 3.4's, alpha z_T in the second half of the walk.
    """

    title = "Faster Diffusion"
    off = {"longest": 0, "texture": 0.0}

    longest: Longest = 9  # 1.41 times as fast on Pocket at 50 steps; 5: 1.34
    texture: Texture = 0.003

    @contextmanager
    def apply(self, predict: Predict, run: Run) -> Iterator[Predict]:
        net, memory = unet_of(run, "Faster Diffusion"), Answers()
        steps = len(run.sigmas) - 1
        keys = key_steps(steps, self.longest)
        alpha = run.spec.alpha if run.spec else exploding
        first: dict[str, Tensor] = {}

        def passing(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
            step = run.step(sigma)
            noise = first.setdefault("noise", x / x.std())
            memory.ask(asked_by(conds), reuse=step not in keys)
            if self.texture > 0 and step >= steps / 2:
                x = x + self.texture * (alpha(sigma) ** 2 + sigma**2).sqrt() * noise
            return predict(x, sigma, conds)

        with remembering([*net.down_blocks, net.mid_block], memory):
            yield passing


def key_steps(steps: int, longest: int) -> set[int]:
    """The steps computed in full: the paper's, scaled to so many steps, and none further apart than allowed."""
    wanted = {round(key * steps / 50) for key in KEYS}
    keys: set[int] = set()
    since = longest
    for step in range(steps):
        if step in wanted or since >= longest:
            keys.add(step)
            since = 0
        else:
            since += 1
    return keys
