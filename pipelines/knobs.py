"""The knobs: one annotated alias per meaning, with type, limits and a sentence a painter understands.

A form draws itself from these; it does not know what they do.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

Control = Literal[
    "text",
    "lines",
    "slider",
    "number",
    "seed",
    "toggle",
    "model",
    "hidden",
    "picture",
    "pictures",
    "mask",
    "adapters",
    "styles",
    "vae",
    "plan",
    "reference",
    "axis",
    "values",
]


@dataclass(frozen=True)
class Knob:
    """How a field is drawn: the word on its label, its control, its slider step, and whether it is advanced."""

    label: str
    control: Control = "slider"
    step: float | None = None
    advanced: bool = True


def knob(label: str, description: str, control: Control = "slider", **limits: Any) -> tuple[Any, Knob]:
    """A pydantic field and the way to draw it. `step` and `advanced` go to the drawing, the rest to pydantic."""
    drawing = {key: limits.pop(key) for key in ("step", "advanced") if key in limits}
    return Field(description=description, **limits), Knob(label, control, **drawing)


LONGEST_PROMPT = 4000  # characters; about 900 tokens, more than any text encoder here keeps apart

_prompt = knob(
    "Prompt",
    "What the picture shows. (word:1.3) stresses, (word:0.7) softens.",
    "lines",
    advanced=False,
    max_length=LONGEST_PROMPT,
)
_negative = knob("Negative prompt", "What the picture should not show.", "lines", max_length=LONGEST_PROMPT)
_steps = knob("Steps", "How many steps the painting takes: more is finer and slower.", ge=1, le=150, step=1)
_seed = knob(
    "Seed",
    "The number the noise is drawn from: the same seed paints the same picture. Empty draws one.",
    "seed",
    ge=0,
    lt=2**32,
)
_count = knob("Pictures", "How many pictures, each with its own seed.", ge=1, le=16, step=1, advanced=False)
_side: dict[str, Any] = {"ge": 64, "le": 2048, "multiple_of": 8, "step": 8}
_width = knob("Width", "Width of the picture in pixels.", **_side)
_height = knob("Height", "Height of the picture in pixels.", **_side)
_scale = knob(
    "Scale", "How strictly the picture follows the prompt: 1 not at all, 20 to the letter.", ge=1, le=20, step=0.1
)
_fraction = knob("Fraction", "A share between none and all.", ge=0, le=1, step=0.01)
_strength = knob("Strength", "How much may change: 0 nothing, 1 everything.", ge=0, le=1, step=0.01, advanced=False)
_eta = knob("Eta", "How much fresh noise each step adds: 0 none, 1 as much as the theory has.", ge=0, le=2, step=0.05)
_s_tmin = knob(
    "Noise down to",
    "Below this noise level no fresh noise is added (s_tmin). Repainting at a low strength keeps small things better "
    "without.",
    ge=0,
    le=100,
    step=0.1,
)
_model = knob("Model", "The checkpoint that paints.", "model", advanced=False, max_length=200)
_name: dict[str, Any] = {"advanced": False, "pattern": "^([0-9a-f]{32})?$"}  # of a picture on the shelf; empty for none
_source = knob("Picture", "The picture to start from.", "picture", **_name)
_mask = knob("Mask", "White where the picture may change; empty for everywhere.", "mask", **_name)

Prompt = Annotated[str, *_prompt]
NegativePrompt = Annotated[str, *_negative]
Steps = Annotated[int, *_steps]
Seed = Annotated[int | None, *_seed]
Count = Annotated[int, *_count]
Width = Annotated[int, *_width]
Height = Annotated[int, *_height]
Scale = Annotated[float, *_scale]
Fraction = Annotated[float, *_fraction]
Strength = Annotated[float, *_strength]
Eta = Annotated[float, *_eta]
NoiseDownTo = Annotated[float, *_s_tmin]
ModelName = Annotated[str, *_model]
Source = Annotated[str, *_source]
Mask = Annotated[str, *_mask]
