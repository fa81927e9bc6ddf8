"""What a request can put on a checkpoint: LoRAs, coined words, other autoencoders. Registries that a scan fills."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import BadCheckpoint
from pipelines.models.headers import BASES, TEXT_WIDTHS, Known
from pipelines.parts import Header, Part, header
from pipelines.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

__all__ = ["AdapterSpec", "EmbeddingSpec", "VaeSpec", "adapters", "embeddings", "vaes"]

FAMILIES = {  # of a ModelSpec -> the bases whose adapters it takes; a family that is not here is judged by shapes
    "Stable Diffusion": ("sd1", "sd2"), "SDXL": ("sdxl",), "SDXL refiner": ("refiner",),
    "Stable Diffusion 3": ("sd3",), "FLUX.1": ("flux",),
}  # fmt: skip
OURS = "palimpsest"  # the field of a file's metadata that holds what only we say, as JSON
WORD = re.compile(r"[a-z][a-z0-9]{2,31}")  # that can be taught
TRIGGERS = ("modelspec.trigger_phrase", "ss_trigger_words", "trigger_words")  # of a file's metadata


@dataclass(frozen=True, eq=False)
class AdapterSpec:
    """A LoRA: `part` is lent as a `Lora`, `base` a key of BASES, `networks` those it changes: net, text, text_2."""

    name: str
    path: Path
    base: str
    part: Part
    networks: frozenset[str]
    words: str = ""  # that wake it, as its maker says
    notes: dict[str, str] = field(default_factory=dict)

    @cached_property
    def ours(self) -> dict[str, Any]:
        """What the studio that taught it wrote into its file: word, kind, model ...; nothing in files of others."""
        try:
            said = json.loads(self.notes.get(OURS, "{}"))
        except (ValueError, RecursionError):
            return {}
        return said if isinstance(said, dict) else {}

    @property
    def word(self) -> str:
        """The word that stands for what it was taught here, by which prompts put it on; empty for files of others."""
        word = self.ours.get("word", "")
        return word if isinstance(word, str) and WORD.fullmatch(word) else ""

    @property
    def phrase(self) -> str:
        """What stands for the subject in captions: the word, and where it was taught with it, the kind."""
        said = self.ours.get("phrase")
        return said if isinstance(said, str) and said.startswith(self.word) and len(said) <= 120 else self.word

    def vectors(self, place: str) -> Tensor | None:
        """What the word stands for in one text encoder (text, text_2), (n, D); None where that was not taught."""
        from pipelines.models.lora_layouts import bundle

        return bundle(self.path, place) if place in self.networks else None

    def refuse(self, family: str, title: str) -> None:
        """Raises BadCheckpoint where the base that the header names is none of a checkpoint's family."""
        refuse_base("adapter", self.name, self.base, family, title)


@dataclass(frozen=True, eq=False)
class EmbeddingSpec:
    """A textual inversion: the word `name` in a prompt stands for its vectors."""

    name: str
    path: Path
    base: str
    fingerprint: str

    def vectors(self) -> dict[int, Tensor]:
        """Its tables (n, D), by their width D."""
        from safetensors.torch import load_file

        tables = (each if each.dim() == 2 else each[None] for each in load_file(self.path).values())
        return {each.shape[1]: each for each in tables}


@dataclass(frozen=True, eq=False)
class VaeSpec:
    """An autoencoder of its own: `part` is lent in place of a checkpoint's where `channels` of latents agree."""

    name: str
    path: Path
    part: Part
    channels: int


adapters: Registry[AdapterSpec] = Registry("adapter")
embeddings: Registry[EmbeddingSpec] = Registry("embedding")
vaes: Registry[VaeSpec] = Registry("autoencoder")


def refuse_base(noun: str, name: str, base: str, family: str, title: str) -> None:
    """Raises BadCheckpoint where something made for `base` is asked of a checkpoint of another family."""
    if base and family in FAMILIES and base not in FAMILIES[family]:
        raise BadCheckpoint(f"The {noun} {name} was made for {BASES[base]}, and {title} is a {family} model.")


def adapter_of(path: Path, name: str, known: Known, networks: frozenset[str] = frozenset()) -> AdapterSpec:
    """The LoRA in a file that `recognised` took for one; which networks it changes is read from its keys where it is
    not said. Raises BadCheckpoint at a layout that is not known."""
    from pipelines.models.sections import guarded

    networks = networks or _networks(known.header)
    title, seen = f"The adapter {name}", known.header
    load = guarded(title, path, partial(_lora, path))
    part = Part(title, seen.fingerprint, seen.elements, _width(seen), load, check=lambda: header(path))
    words = next((known.notes[each] for each in TRIGGERS if known.notes.get(each)), "")
    return AdapterSpec(name, path, known.base, part, networks, words[:200], known.notes)


def embedding_of(path: Path, name: str, known: Known) -> EmbeddingSpec:
    """The textual inversion in a file that `recognised` took for one."""
    return EmbeddingSpec(name, path, known.base, known.header.fingerprint)


def vae_of(path: Path, name: str, known: Known) -> VaeSpec:
    """The autoencoder in a file that `recognised` took for one. Raises BadCheckpoint at one of no known shape."""
    from pipelines.models.sections import section
    from pipelines.models.shapes import vae_settings
    from pipelines.models.single_file import AUTOENCODER, vae_part

    prefixes = (AUTOENCODER, "vae.", "")
    prefix = next(each for each in prefixes if f"{each}decoder.conv_in.weight" in known.header.shapes)
    try:
        settings = vae_settings(
            section(path, prefix).shapes, scale=1.0
        )  # its scale is that of the checkpoint it serves
    except (KeyError, ValueError, IndexError, TypeError):
        raise BadCheckpoint(f"{path.name} is an autoencoder of a shape the studio does not know.") from None
    return VaeSpec(name, path, vae_part(path, prefix, settings), settings["latent_channels"])


def refuse_strange(specs: Iterable[EmbeddingSpec], widths: set[int], title: str) -> None:
    """Raises BadCheckpoint where a coined word has no vectors of any of a checkpoint's `widths`."""
    for spec in specs:
        own = {shape[-1] for shape in header(spec.path).shapes.values()}
        if not own & widths:
            made = BASES[TEXT_WIDTHS.get(next(iter(own)), "")]
            raise BadCheckpoint(f"The embedding {spec.name} was made for {made}; {title} cannot read it.")


def _networks(known: Header) -> frozenset[str]:
    from pipelines.models.lora_layouts import split

    return frozenset(split(key)[0][0] for key in known.shapes)


def _width(known: Header) -> int:
    """The typical number of channels that its layers read; 1 where its shapes do not say."""
    widths = sorted(max(shape) for shape in known.shapes.values() if len(shape) > 1)
    return widths[len(widths) // 2] if widths else 1


def _lora(path: Path, number_type: torch.dtype) -> nn.Module:
    from pipelines.models.lora_layouts import load_lora

    return load_lora(path, number_type)
