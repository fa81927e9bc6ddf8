"""What an adapter's file says about itself: the standard fields of other tools, and ours."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING

from pipelines import __version__
from pipelines.models.adapters import OURS
from pipelines.personalizers import personalizers
from pipelines.workshop import digest

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.memory import Memory
    from pipelines.models import ModelSpec
    from pipelines.pupil import Pupil
    from pipelines.study import Study
    from pipelines.tasks.personalize import Personalize

SIDE = 64  # pixels of a thumbnail
SHOWN = 4  # thumbnails


def notes_of(
    request: Personalize, spec: ModelSpec, pupil: Pupil, study: Study, pictures: list[Image]
) -> dict[str, str]:
    """The metadata of an adapter: text by name, in the fields of the ModelSpec standard and in ours."""
    small = [thumbnail(each) for each in pictures[:SHOWN]]
    localized = request.method.knobs.get("localized", 0)
    ours = {
        "word": request.word,
        "kind": request.kind,
        "phrase": request.phrase(),
        "model": spec.name,
        "weights": spec.net.key.partition(" ")[0],
        "family": spec.family,
        "tokens": tokens_of(request.phrase() if localized else request.word, spec, pupil.subject.memory),
        "waits": personalizers[request.method.name].waits,
        "localized": localized,
        "method": request.method.model_dump(mode="json"),
        "steps": study.step,
        "losses": [[step, round(loss, 5)] for step, loss in study.losses],
        "rate": study.rate,
        "batch": request.batch,
        "seed": request.seed,
        "pictures": len(pictures),
        "run": digest(request),
        "thumbnails": small,
        "studio": __version__,
    }
    return {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": request.word,
        "modelspec.description": f"{request.kind or 'A subject'}, taught to {spec.title} as {request.word}.",
        "modelspec.trigger_phrase": request.phrase(),
        "modelspec.license": request.licence or "not stated",
        "modelspec.thumbnail": small[0],
        "ss_base_model_version": spec.title,
        OURS: json.dumps(ours),
        **getattr(pupil, "notes", {}),
    }


def tokens_of(word: str, spec: ModelSpec, memory: Memory) -> list[int]:
    """The token numbers of a word in the first encoder that takes words; none where there is no such encoder."""
    from pipelines.models.clip_text import ClipText

    with memory.use(spec.texts[0]) as text:
        return list(text.tokenizer(word, add_special_tokens=False).input_ids) if isinstance(text, ClipText) else []


def thumbnail(picture: Image) -> str:
    """A small picture as a data URL."""
    small, file = picture.copy(), io.BytesIO()
    small.thumbnail((SIDE, SIDE))
    small.save(file, "WEBP", quality=70)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
