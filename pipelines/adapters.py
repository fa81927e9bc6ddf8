"""What a request puts on the networks that are lent to it: LoRAs by a knob or by `<name:0.8>` in the prompt, coined
words, another autoencoder. All of it is off again when a block is left; the shared networks are never changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipelines.errors import BadCheckpoint, BadRequest
from pipelines.knobs import knob
from pipelines.models import ModelSpec, find
from pipelines.models.adapters import AdapterSpec, EmbeddingSpec, adapters, embeddings, refuse_strange, vaes
from pipelines.prompts import clauses, coined_id
from pipelines.styles import dressed

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from torch import nn

    from pipelines.localizing import Sought
    from pipelines.memory import Memory
    from pipelines.types import Predict

STRONGEST = 4.0
MENTION = re.compile(
    r"<(?P<kind>(?:lora|lyco):)?(?P<name>[^<>:]+)(?::(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+)))?>", re.IGNORECASE
)


class AdapterChoice(BaseModel):
    """A LoRA by name and how strongly it counts: 1 as it was made, below 0 the other way. "name:0.8" stands for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(max_length=200)]
    weight: Annotated[float, Field(ge=-STRONGEST, le=STRONGEST)] = 1.0

    @model_validator(mode="before")
    @classmethod
    def _spelled(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        name, colon, weight = value.rpartition(":")
        return {"name": name, "weight": weight} if colon else {"name": value}

    def __str__(self) -> str:
        return self.name if self.weight == 1 else f"{self.name}:{self.weight:g}"


Adapters = Annotated[
    tuple[AdapterChoice, ...],
    *knob(
        "Adapters",
        "LoRAs that change how the model paints. Type name:0.8 for another weight than 1.",
        "adapters",
        max_length=8,
    ),
]
VaeName = Annotated[
    str, *knob("Autoencoder", "What turns latents into pixels; empty for the model's own.", "vae", max_length=200)
]


class Asking(Protocol):
    """What a request says that matters here."""

    @property
    def model(self) -> str:
        """The checkpoint's name."""

    @property
    def prompt(self) -> str:
        """The prompt, mentions of adapters in it."""

    @property
    def adapters(self) -> tuple[AdapterChoice, ...]:
        """The adapters of the knob."""

    @property
    def vae(self) -> str:
        """The autoencoder's name, empty for the checkpoint's own."""


def chosen(request: Asking) -> ModelSpec:
    """The checkpoint that a request names, with the autoencoder it names. Raises UnknownName, BadCheckpoint."""
    spec = find(request.model)
    if not request.vae:
        return spec
    other = vaes[request.vae]
    if other.channels != spec.channels:
        raise BadCheckpoint(
            f"The autoencoder {other.name} has latents of {other.channels} channels; {spec.title} has {spec.channels}."
        )
    return replace(spec, vae=other.part, decode_keeping=None)


def plain(prompt: str) -> str:
    """A prompt without its mentions of adapters; a word that one was taught stands there with its kind."""
    bare = MENTION.sub(lambda each: "", prompt) if "<" in prompt else prompt

    def said(each: re.Match[str]) -> str:
        name = each["name"].strip()
        word = adapters[name].word if name in adapters else ""
        return each.group() if not _is_mention(each) else "" if _stands(word, bare) else word

    text = MENTION.sub(said, prompt)
    for spec in taught(text):
        kind = spec.phrase.removeprefix(spec.word)
        alone = re.compile(rf"(?<!\w){spec.word}(?!\w)(?!{re.escape(kind)}(?!\w))", re.IGNORECASE)
        text = spec.phrase.join(alone.split(text))
    return text


def taught(prompt: str) -> list[AdapterSpec]:
    """The adapters whose words stand in a prompt."""
    return [each for each in adapters.values() if _stands(each.word, prompt)]


def melting(prompt: str, composes: bool) -> str:
    """A sentence for a prompt that names several taught subjects in one breath; empty for others. Where guidance
    `composes`, what AND joins is another breath."""
    for part in [each.text for each in clauses(prompt)] if composes else [prompt]:
        words = [each.word for each in taught(plain(part))]
        if len(words) > 1:
            both = " and ".join(words[:2])
            return (
                f"{both} in one sentence often melt into one. Write AND between them, "
                f"as in 'a {words[0]} AND a {words[1]}', and choose the guidance Side by side."
            )
    return ""


def calmed(values: Mapping[str, Any], spec: ModelSpec) -> dict[str, Any]:
    """The values of a request (as JSON) for a prompt with a taught word: guided no more than such pictures stand."""
    guidance = values.get("guidance")
    knobs = guidance.get("knobs", {}) if isinstance(guidance, Mapping) else {}
    if not isinstance(guidance, Mapping) or float(knobs.get("scale", 0.0)) <= spec.taught_scale:
        return dict(values)
    return {**values, "guidance": {**guidance, "knobs": {**knobs, "scale": spec.taught_scale}}}


def _stands(word: str, text: str) -> bool:
    return bool(word) and re.search(rf"(?<!\w){word}(?!\w)", text, re.IGNORECASE) is not None


def worn(request: Asking, spec: ModelSpec) -> dict[str, float]:
    """The weight of each adapter that a request puts on `spec`, by knob and by mention; what it names twice adds up.
    One that was taught a word is also put on by that word, at 1 unless it is named otherwise.

    Raises UnknownName, BadRequest at a weight beyond 4, BadCheckpoint where one was made for another kind of model.
    """
    weights: dict[str, float] = {}
    prompt, _ = dressed(request.prompt, "", getattr(request, "styles", ()))
    named = [*((each.name, each.weight) for each in request.adapters), *_mentions(prompt)]
    woken = {each.name for each in taught(prompt)} - {name for name, _ in named}
    for name, weight in [*named, *((name, 1.0) for name in sorted(woken))]:
        adapters[name].refuse(spec.family, spec.title)
        weights[name] = weights.get(name, 0.0) + weight
        if abs(weights[name]) > STRONGEST:
            raise BadRequest(f"The weight of the adapter {name} is {weights[name]:g}; 4 is the most, -4 the least.")
        if not adapters[name].networks & {"net", *places(spec)}:
            raise BadCheckpoint(f"The adapter {name} changes a text encoder that {spec.title} does not have.")
    return {name: weight for name, weight in weights.items() if weight}


def places(spec: ModelSpec) -> list[str]:
    """What adapters call the text encoders of a checkpoint, in order: text, text_2 ..."""
    return ["text", *(f"text_{k}" for k in range(2, len(spec.texts) + 1))]


def coined(prompt: str, spec: ModelSpec) -> list[EmbeddingSpec]:
    """The embeddings whose names stand in a prompt as words. Raises BadCheckpoint where `spec` cannot read one."""
    found = [each for name, each in embeddings.items() if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", prompt, re.I)]
    refuse_strange(found, {part.width for part in spec.texts}, spec.title)
    return found


def marks(place: str, weights: Mapping[str, float], prompt: str, spec: ModelSpec) -> Hashable:
    """What tells a prompt that one encoder read from the same prompt read with other adapters or embeddings."""
    reads = [(adapters[name].part.key, weight) for name, weight in weights.items() if place in adapters[name].networks]
    return *reads, *(each.fingerprint for each in coined(prompt, spec))


@contextmanager
def painting_with(
    net: nn.Module, weights: Mapping[str, float], spec: ModelSpec, memory: Memory
) -> Iterator[Callable[[Predict], Predict]]:
    """A lent painter with the adapters on it, until the block is left. Raises BadCheckpoint where one does not fit.

    What it yields tells those that act only where their word is seen what is read: predict -> predict.
    """
    from pipelines.localizing import attending

    sought = {name: each for name in weights if (each := _sought(adapters[name])) is not None}
    with attending(net, sought) as attention, _on("net", net, weights, spec, memory, attention.masks()):
        yield attention.predicting if sought else lambda predict: predict


def _sought(spec: AdapterSpec) -> Sought | None:
    """What is looked for where an adapter acts only there, or only where it is said; None for those that act always."""
    from pipelines.localizing import Sought

    tokens, threshold, waits = (spec.ours.get(name) for name in ("tokens", "localized", "waits"))
    if not (isinstance(tokens, list) and tokens and all(isinstance(each, int) for each in tokens)):
        return None
    if isinstance(threshold, (int, float)) and threshold > 0:
        return Sought(tuple(tokens), float(threshold))
    coined = any(each != "net" for each in spec.networks)  # its word stands for vectors, and for tokens no longer
    return Sought((coined_id(spec.word),) if coined else tuple(tokens), 0.0) if waits is True else None


@contextmanager
def reading_with(
    text: Any, place: str, weights: Mapping[str, float], prompt: str, spec: ModelSpec, memory: Memory
) -> Iterator[None]:
    """A lent text encoder with the adapters on it and knowing the coined words of `prompt`, until the block is left."""
    from pipelines.models.clip_text import ClipText

    with ExitStack() as stack:
        if isinstance(text, ClipText):
            width = text.model.get_input_embeddings().weight.shape[1]
            vectors = {each.name: each.vectors() for each in coined(prompt, spec)}
            words = {name: own[width] for name, own in vectors.items() if width in own}
            brought = {
                adapters[name].word or name: (adapters[name].vectors(place), each) for name, each in weights.items()
            }
            words |= {name: own * each for name, (own, each) in brought.items() if own is not None}
            stack.enter_context(text.taught(words))
        stack.enter_context(_on(place, getattr(text, "model", text), weights, spec, memory))
        yield


@contextmanager
def _on(
    place: str,
    network: nn.Module,
    weights: Mapping[str, float],
    spec: ModelSpec,
    memory: Memory,
    masks: Mapping[str, Any] | None = None,
) -> Iterator[None]:
    from pipelines.models.lora import Worn, everywhere, patched

    with ExitStack() as stack:
        needed = {name: weight for name, weight in weights.items() if place in adapters[name].networks}
        lent = [
            Worn(name, stack.enter_context(memory.use(adapters[name].part)), each, (masks or {}).get(name, everywhere))
            for name, each in needed.items()
        ]
        stack.enter_context(patched(network, place, lent, spec.title))
        yield


def _mentions(prompt: str) -> Iterator[tuple[str, float]]:
    for each in filter(_is_mention, MENTION.finditer(prompt)):
        yield each["name"].strip(), float(each["weight"] or 1)


def _is_mention(each: re.Match[str]) -> bool:
    """`<name:0.8>`, `<lora:name:0.8>` and `<lora:name>` are; `<word>` is left to the tokenizer."""
    return bool(each["kind"] or each["weight"])
