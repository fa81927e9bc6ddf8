"""HiDiffusion: pictures larger than a network was trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from pipelines.accelerators import Accelerator, accelerators
from pipelines.accelerators.patches import Grid, attending, replaced_forwards, unet_of
from pipelines.knobs import knob

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Predict, Run

Until = Annotated[
    float,
    *knob(
        "Until",
        "For what share of the steps the inner network sees the picture at its own size.",
        ge=0,
        le=1,
        step=0.05,
    ),
]
Windows = Annotated[
    bool, *knob("Windows", "On the finest level, places look within windows that move from step to step.", "toggle")
]
SHIFTS = (0.0, 0.25, 0.5, 0.75)  # of a window, in turn; the paper draws them by chance


@accelerators.register("hidiffusion")
class HiDiffusion(Accelerator):
    """One cat in place of two: large pictures with sound shapes.

    Zhang et al. 2024, Sections 3.2 and 3.3 (arXiv:2311.17528): the first down block's convolution strides as far as the
    picture is larger than the network's own, dilated by as much, and the matching up block enlarges by it again;
    self-attention of the finest level stays within shifted windows of half the sides. At the network's own size it does
    nothing.
    """

    title = "HiDiffusion"
    off = {"until": 0.0, "windows": False}

    until: Until = 0.5
    windows: Windows = True

    @contextmanager
    def apply(self, predict: Predict, run: Run) -> Iterator[Predict]:
        net, state = unet_of(run, "HiDiffusion"), Enlarged()
        own_side = run.spec.side // run.spec.factor if run.spec else int(net.config.sample_size)
        outermost = bool(getattr(net.down_blocks[0], "attentions", None))  # the finest attention sees the whole picture
        until = round(self.until * (len(run.sigmas) - 1))

        def larger(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
            state.step = run.step(sigma)
            state.grid.begin(x)
            times = 2 ** max(0, round(math.log2(max(x.shape[-2:]) / own_side)))
            state.times = times if state.step < until else 1
            state.windows = self.windows and times > 1 and (outermost or state.times == 1)
            return predict(x, sigma, conds)

        with ExitStack() as stack:
            if self.until > 0:
                stack.enter_context(replaced_forwards(resized(net, state)))
            if self.windows:
                stack.enter_context(attending(net, lambda own: Windowed(own, state)))
            yield larger


class Enlarged:
    """How a pass of the network goes: how many times too large its picture is, and whether it looks in windows."""

    def __init__(self) -> None:
        self.step, self.times, self.windows, self.grid = 0, 1, False, Grid()


def resized(net: Any, state: Enlarged) -> list[tuple[Any, Callable[..., Any]]]:
    """The outermost down- and upsampler that shrink and enlarge by `state.times` more; modules and their forwards."""
    from torch.nn import functional

    down = next(block for block in net.down_blocks if block.downsamplers).downsamplers[0]
    up = [block for block in net.up_blocks if block.upsamplers][-1].upsamplers[0]
    shrink, enlarge = down.forward, up.forward

    def shrunk(hidden_states: Tensor, *more: Any, **named: Any) -> Any:
        if state.times == 1:
            return shrink(hidden_states, *more, **named)
        conv, k = down.conv, state.times  # kernel 3, dilated by k, reaches k to each side
        return functional.conv2d(hidden_states, conv.weight, conv.bias, stride=2 * k, padding=k, dilation=k)

    def enlarged(hidden_states: Tensor, output_size: Any = None, *more: Any, **named: Any) -> Any:
        if state.times > 1 and output_size is None:
            hidden_states = functional.interpolate(hidden_states, scale_factor=float(state.times), mode="nearest")
        return enlarge(hidden_states, output_size, *more, **named)

    return [(down, shrunk), (up, enlarged)]


class Windowed:
    """Self-attention within windows of half the sides, on the finest level."""

    def __init__(self, own: Any, state: Enlarged) -> None:
        self.own, self.state = own, state

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Any = None, *more: Any, **named: Any
    ) -> Any:
        level, rows, columns = self.state.grid.of(hidden_states.shape[1])
        if not self.state.windows or level != 0 or encoder_hidden_states is not None or rows % 2 or columns % 2:
            return self.own(attn, hidden_states, encoder_hidden_states, *more, **named)
        share = SHIFTS[self.state.step % len(SHIFTS)]
        by = int(rows // 2 * share), int(columns // 2 * share)
        count, width = len(hidden_states), hidden_states.shape[-1]
        rolled = hidden_states.reshape(count, rows, columns, width).roll(by, (1, 2))
        parts = rolled.reshape(count, 2, rows // 2, 2, columns // 2, width)
        windows = parts.transpose(2, 3).reshape(count * 4, -1, width)
        answer = self.own(attn, windows, None, *more, **named)
        whole = answer.reshape(count, 2, 2, rows // 2, columns // 2, width).transpose(2, 3)
        return whole.reshape(count, rows, columns, width).roll((-by[0], -by[1]), (1, 2)).flatten(1, 2)
