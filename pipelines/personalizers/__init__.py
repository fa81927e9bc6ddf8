"""Personalizers teach a model what a word means, from a handful of pictures. What they leave behind is an adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pipelines.knobs import knob
from pipelines.method import Method
from pipelines.registry import Registry, discover

if TYPE_CHECKING:
    from pipelines.pupil import Pupil, Subject

__all__ = ["PRIORS", "Personalizer", "Prior", "Rank", "personalizers"]

PRIORS = 8  # pictures of its kind that hold a method to what the model knew
Rank = Annotated[int, *knob("Rank", "How much can be learned: more holds more and is larger.", ge=1, le=128, step=1)]
Prior = Annotated[
    float,
    *knob("Prior", "How strongly the model is held to what it painted of this kind before.", ge=0, le=2, step=0.1),
]


class Personalizer(Method):
    """subject -> a pupil, which has the loss of a step and what is learned, to be written into an adapter."""

    says_kind: ClassVar[bool] = True  # captions have the kind behind the word
    pace: ClassVar[float] = 1.0  # its steps for one that a quality names
    waits: ClassVar[bool] = True  # what was learned changes nothing where the word is not in the prompt

    def priors(self) -> int:
        """How many pictures of the subject's kind the model paints first, to be held to them."""
        return 0

    def held(self, elements: int, width: int) -> int:
        """Bytes of an adapter in float32, of a network of so many weights and that middle width: two thin matrices
        beside each square one."""
        return round(elements * 4 * min(1.0, 2 * getattr(self, "rank", 8) / width))

    def __call__(self, subject: Subject) -> Pupil:
        raise TypeError(f"{type(self).__name__} does not say what it teaches")


personalizers: Registry[type[Personalizer]] = Registry("way to personalize")
discover(__name__, list(__path__))
