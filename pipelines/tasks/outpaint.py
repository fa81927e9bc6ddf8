"""A picture grows past its edges."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pipelines.errors import BadRequest
from pipelines.grounds import repainted, walked
from pipelines.knobs import Strength, knob
from pipelines.pictures import LARGEST
from pipelines.repainting import Margin, Repainted
from pipelines.tasks import Running, task

if TYPE_CHECKING:
    from pipelines.memory import Memory
    from pipelines.sheets import Sheet
    from pipelines.shelf import Shelf

SOFT = 8  # pixels beside the picture over which its edge goes over into the new area
FURTHEST = 4096  # pixels that one side may grow by
_side: dict[str, Any] = {"ge": 0, "le": FURTHEST, "step": 8, "advanced": False}

Left = Annotated[int, *knob("Left", "Pixels to add on the left.", "number", **_side)]
Top = Annotated[int, *knob("Top", "Pixels to add above.", "number", **_side)]
Right = Annotated[int, *knob("Right", "Pixels to add on the right.", "number", **_side)]
Bottom = Annotated[int, *knob("Bottom", "Pixels to add below.", "number", **_side)]
Shape = Annotated[
    Literal["as it is", "1:1", "4:3", "3:4", "3:2", "2:3", "16:9", "9:16", "2:1", "1:2"],
    *knob(
        "Shape",
        "Width to height of the result: the side that is short of it grows, to both ends alike.",
        advanced=False,
    ),
]


class Outpaint(Repainted):
    """Grows a picture past its edges and keeps what is there to the byte."""

    task: Literal["outpaint"] = "outpaint"
    left: Left = 0
    top: Top = 0
    right: Right = 0
    bottom: Bottom = 0
    shape: Shape = "as it is"
    strength: Strength = 1.0
    margin: Margin = 128

    def sheet(self, shelf: Shelf) -> Sheet:
        """The picture amid its new area, which begins with the colours along its edges. Raises BadRequest."""
        import numpy as np
        from PIL import Image

        from pipelines.sheets import laid_out

        picture = self.opened(shelf)
        left, top, right, bottom = sides(self, picture.size)
        width, height = picture.width + left + right, picture.height + top + bottom
        if (width, height) == picture.size:
            raise BadRequest("Left, top, right, bottom: say how far the picture should grow.")
        if width * height > LARGEST:
            raise BadRequest(
                f"Left, top, right, bottom: {width} x {height} pixels are more than the {LARGEST // 10**6} megapixels "
                "that the studio paints."
            )
        grown = np.pad(np.asarray(picture), ((top, bottom), (left, right), (0, 0)), mode="edge")
        mask = np.full((height, width), 255, np.uint8)
        mask[top : top + picture.height, left : left + picture.width] = 0
        if picture.mode == "RGBA":
            grown[..., 3] = np.where(mask, 255, grown[..., 3])
        return replace(laid_out(Image.fromarray(grown), mask, 0, SOFT, self.margin), cover=1)


def sides(request: Outpaint, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The pixels that a picture of `size` grows by: left, top, right, bottom."""
    left, top, right, bottom = request.left, request.top, request.right, request.bottom
    if request.shape == "as it is":
        return left, top, right, bottom
    across, down = map(int, request.shape.split(":"))
    width, height = size[0] + left + right, size[1] + top + bottom
    wider, higher = max(0, -(-height * across // down) - width), max(0, -(-width * down // across) - height)
    return left + wider // 2, top + higher // 2, right + wider - wider // 2, bottom + higher - higher // 2


@task(Outpaint)
def outpaint(request: Outpaint, memory: Memory, shelf: Shelf) -> Running:
    """Paints the new area beside the source, which is pinned and kept."""
    return repainted(request, memory, shelf, walked)
