"""The built-in model, its smaller sister, and the adapters that let it paint in few steps, as far as they are there."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from pipelines.models import POCKET, ModelSpec, Preset, load_folder, models
from pipelines.parts import json_file

SMALL = POCKET.with_name("pocket-small")
ADAPTERS = POCKET.with_name("adapters")
GENTLE = {"guidance": {"name": "cfg", "knobs": {"scale": 3.0}}}  # things right: 83 % at 3, 74 % at 5, 80 % at 2
TAUGHT = 1.5  # guidance of a subject it was taught: of 24 pictures of two, 18 are right, 11 at 2
LIVELY = {"sampler": "euler_ancestral"}  # things right: 94 %, by dpmpp_2m 90 %; two and three of them 76 %, 70 %
PAINTER = frozenset({"net"})  # what the adapters that ship change; to read it from their keys would need torch
FEW = {1: "1 step", 2: "2 steps", 4: "Instant"}  # steps -> what the preset is called


def register() -> None:
    """Put the built-in model, and what belongs to it, into the registries; headers are read, no weights."""
    from pipelines.models.adapters import adapter_of, adapters
    from pipelines.models.headers import recognised

    for path in sorted(ADAPTERS.glob("*.safetensors")):
        adapters.add(path.stem, adapter_of(path, path.stem, recognised(path), PAINTER))
    spec = load_folder(
        POCKET,
        "pocket",
        title="Pocket",
        licence="Apache-2.0",
        words=partial(whole_words, POCKET / "tokenizer" / "tokenizer.json"),
        summary="The small model that ships with the studio; it paints the drawn world it was raised on.",
    )
    usual = tuple(Preset(each.name, each.values | LIVELY) for each in spec.presets)
    few = tuple(_few(steps, name) for steps, name in FEW.items() if _adapter(steps).exists())
    pocket = replace(spec, defaults=spec.defaults | LIVELY | GENTLE, presets=(*few, *usual), taught_scale=TAUGHT)
    models.add(pocket.name, pocket)
    if SMALL.exists():
        models.add(SMALL.name, _small(pocket, usual))


@cache
def whole_words(tokenizer: Path) -> frozenset[str]:
    """The words of a byte-pair tokenizer (its tokenizer.json) that are one token each. Raises BadCheckpoint."""
    known = json_file(tokenizer)["model"]["vocab"]
    return frozenset(each.removesuffix("</w>") for each in known if each.endswith("</w>"))


def _adapter(steps: int) -> Path:
    return ADAPTERS / f"pocket-{steps}-step{'s' if steps > 1 else ''}.safetensors"


def _few(steps: int, name: str) -> Preset:
    """A walk of so many even steps, the guidance within the adapter."""
    worn = [{"name": _adapter(steps).stem, "weight": 1.0}]
    walk = {"sampler": "ddim", "schedule": "trailing", "guidance": {"name": "cfg", "knobs": {"scale": 1.0}}}
    return Preset(name, {"steps": steps, **walk, "adapters": worn})


def _small(pocket: ModelSpec, presets: tuple[Preset, ...]) -> ModelSpec:
    """The same words and latents by a smaller network; all else is the large one's, and held once."""
    from pipelines.models.unet import unet

    facts: dict[str, Any] = {"title": "Pocket small", "net": unet(SMALL), "plans": SMALL / "plans", "presets": presets}
    return replace(
        pocket,
        name=SMALL.name,
        summary="Pocket's smaller sister: a third of the time, for drafts, for T-Stitch and for autoguidance.",
        **facts,
    )
