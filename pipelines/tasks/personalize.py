"""A model learns what a word means, from a handful of pictures; what it learned becomes an adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from pipelines.collages import PLACES
from pipelines.knobs import LONGEST_PROMPT, ModelName, knob
from pipelines.method import Choice, OneOf
from pipelines.models import Preset
from pipelines.models.adapters import WORD
from pipelines.personalizers import personalizers
from pipelines.request import Request
from pipelines.tasks import Running, task

if TYPE_CHECKING:
    from pipelines.estimate import Expectation
    from pipelines.memory import Memory, Work
    from pipelines.shelf import Shelf

MOST = 30  # pictures of a subject
PRESETS = (  # what the page's qualities set in the form
    Preset("Quick", {"steps": 500}),
    Preset("Good", {"steps": 1200}),
    Preset("Thorough", {"steps": 3000}),
)


def presets_of(method: str) -> tuple[Preset, ...]:
    """What the qualities set for a way to personalize. Raises UnknownName."""
    pace = personalizers[method].pace
    return tuple(Preset(each.name, {"steps": round(pace * each.values["steps"])}) for each in PRESETS)


def spelled(word: str) -> str:
    """A word that can be taught, or nothing yet. Raises ValueError."""
    if word and not WORD.fullmatch(word):
        raise ValueError("it takes 3 to 32 letters and digits, the first a letter, no capitals, such as zorp")
    return word


Pictures = Annotated[
    tuple[Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")], ...],
    *knob(
        "Pictures",
        "1 to 30 pictures of the subject, best on different backgrounds.",
        "hidden",
        advanced=False,
        max_length=MOST,
    ),
]
Captions = Annotated[
    tuple[Annotated[str, Field(max_length=LONGEST_PROMPT)], ...],
    *knob(
        "Captions",
        "What each picture shows, in order, {} being the subject, such as: {} on a beach. May be left empty.",
        "hidden",
        max_length=MOST,
    ),
]
Word = Annotated[
    str,
    AfterValidator(spelled),
    *knob(
        "Word",
        "The name the subject gets, a word that means nothing yet; by it the subject is asked for in prompts.",
        "text",
        advanced=False,
        max_length=32,
    ),
]
Kind = Annotated[
    str,
    *knob(
        "Kind",
        "What the subject is, in a word or two the model knows, such as: dog.",
        "text",
        advanced=False,
        max_length=80,
        pattern="^[^<>:()\\[\\]\\\\]*$",
    ),
]
Way = Annotated[Choice, OneOf(personalizers), *knob("Method", "How the subject is taught.")]
Lessons = Annotated[int, *knob("Steps", "How many steps are taught: more is truer and slower.", ge=1, le=20000, step=1)]
Rate = Annotated[float, *knob("Rate", "How far each step goes; 0 leaves it to the method.", "number", ge=0, le=1)]
Batch = Annotated[int, *knob("Batch", "How many pictures each step looks at.", ge=1, le=8, step=1)]
Places = Annotated[
    int,
    *knob(
        "Places",
        "In how many places that the model paints the subject is set, cut out of its pictures, so that its word is not "
        "learned for where it was seen; 0 learns from the pictures as they are.",
        ge=0,
        le=len(PLACES),
        step=1,
    ),
]
Mirrored = Annotated[bool, *knob("Mirrored", "Learn from the mirrored pictures, too; not where left is not right.")]
Samples = Annotated[
    tuple[Annotated[str, Field(max_length=LONGEST_PROMPT)], ...],
    *knob("Samples", "Prompts that are painted on the way, {} in them being the subject.", "hidden", max_length=4),
]
Every = Annotated[int, *knob("Samples every", "After how many steps samples are painted.", ge=1, le=20000, step=1)]
Licence = Annotated[
    str, *knob("Licence", "Under what terms others may use what is learned; kept in its file.", "text", max_length=400)
]


class Personalize(Request):
    """Teaches a model your subject, so that a word stands for it in every prompt."""

    task: Literal["personalize"] = "personalize"
    model: ModelName = "pocket"
    pictures: Pictures = ()
    captions: Captions = ()
    word: Word = ""
    kind: Kind = ""
    method: Way = Choice(name="dreambooth_lora")
    steps: Lessons = 800
    rate: Rate = 0.0
    batch: Batch = 4
    places: Places = 20
    mirrored: Mirrored = False
    samples: Samples = ("a {}", "a {} on a beach")
    every: Every = 50
    licence: Licence = ""

    def phrase(self) -> str:
        """What stands for the subject in captions and samples: its word, and its kind where the method says it."""
        return f"{self.word} {self.kind}".strip() if personalizers[self.method.name].says_kind else self.word

    def work(self) -> Work:
        """What it will lend, for room to be made before it runs."""
        from pipelines.verdict import lent

        return lent(self)

    def expected(self, memory: Memory, shelf: Shelf | None) -> Expectation:
        """What it will cost here. Raises StudioError with the sentence that keeps it from being begun."""
        from pipelines.shelf import NoShelf
        from pipelines.verdict import expectation

        return expectation(self, memory, shelf or NoShelf())


@task(Personalize, gradients=True, makes_way=True)
def personalize(request: Personalize, memory: Memory, shelf: Shelf) -> Running:
    """Yields `Lesson` after every step, `Proof` now and then, `Taught` once the adapter is in the registry."""
    from pipelines.course import taught

    return (yield from taught(request, memory, shelf))
