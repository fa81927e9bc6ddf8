"""Pictures whose edges meet when they are laid side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pipelines.accelerators import Accelerator, accelerators
from pipelines.accelerators.patches import replaced_forwards
from pipelines.knobs import knob

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.types import Cond, Predict, Run

Ways = Annotated[
    Literal["both", "across", "down", "no"],
    *knob("Repeats", "Which edges meet: left and right (across), top and bottom (down), both, or none."),
]
SEED = 0  # of the shifts, which are the same for every picture


@accelerators.register("seamless")
class Seamless(Accelerator):
    """A texture that can be laid side by side: what leaves at one edge comes in at the other.

    Vecchio et al. 2024, StableMaterials, feature rolling (arXiv:2406.09293): convolutions are padded with the other
    edge, those of the decoder too, and the picture lies elsewhere at every look of the network. It is cut half a latent
    from where the decoder's blocks meet, for steps between blocks are larger than within (1.3 of the mean on Pocket).
    """

    title = "Seamless texture"
    off = {"repeats": "no"}

    repeats: Ways = "both"

    @property
    def axes(self) -> list[int]:
        """Of (B, C, h, w), those along which it repeats."""
        return {"both": [2, 3], "down": [2], "across": [3], "no": []}[self.repeats]

    @contextmanager
    def apply(self, predict: Predict, run: Run) -> Iterator[Predict]:
        if not self.axes:
            yield predict
            return
        import torch

        chance = torch.Generator().manual_seed(SEED)

        def rolled(x: Tensor, sigma: Tensor, conds: Sequence[Cond]) -> list[Tensor]:
            shifts = [int(torch.randint(x.shape[axis], (1,), generator=chance)) for axis in self.axes]
            back = [-shift for shift in shifts]
            return [each.roll(back, self.axes) for each in predict(x.roll(shifts, self.axes), sigma, conds)]

        with self._meeting(run.net):
            yield rolled

    def decoding(self, decode: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
        if not self.axes:
            return decode

        def around(vae: Any, latents: Tensor) -> Tensor:
            with self._meeting(vae):
                pixels = decode(vae, latents)
            half = pixels.shape[-1] // latents.shape[-1] // 2
            return pixels.roll([half] * len(self.axes), self.axes)

        return around

    def _meeting(self, net: Any) -> AbstractContextManager[None]:
        """The convolutions of a network see the other edge, as long as the block lasts."""
        from torch import nn

        layers = [each for each in net.modules() if isinstance(each, nn.Conv2d) and any(_edges(each))]
        return replaced_forwards([(layer, self._round(layer)) for layer in layers])

    def _round(self, layer: Any) -> Callable[[Tensor], Tensor]:
        """A convolution whose padding is the other edge, along the axes that repeat."""
        rows, columns = _edges(layer)

        def forward(x: Tensor) -> Tensor:
            from torch.nn.functional import conv2d, pad

            around = (columns, columns, 0, 0) if 3 in self.axes else (0, 0, 0, 0)
            x = pad(pad(x, around, mode="circular"), (0, 0, rows, rows) if 2 in self.axes else (0, 0, 0, 0), "circular")
            rest = (0 if 2 in self.axes else rows, 0 if 3 in self.axes else columns)
            return conv2d(x, layer.weight, layer.bias, layer.stride, rest, layer.dilation, layer.groups)

        return forward


def _edges(layer: Any) -> tuple[int, int]:
    """How many zeros a convolution adds above and beside; none where it does not say how many."""
    return (0, 0) if isinstance(layer.padding, str) else layer.padding
