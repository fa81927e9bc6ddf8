"""What a training learns from: the subject's pictures, the subject set in other places, and what the model painted.

All of it is kept in the run, so that going on after an interruption reads the very same.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.collages import PLACES, collages
from pipelines.cutouts import cutouts
from pipelines.events import Event, Stage
from pipelines.painting import encoded, paint_one
from pipelines.personalizers import personalizers
from pipelines.pictures import to_pictures, to_pixels
from pipelines.pupil import PLAIN, Subject, said

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from pipelines.memory import Memory
    from pipelines.models import ModelSpec
    from pipelines.tasks.personalize import Personalize
    from pipelines.tasks.text_to_image import TextToImage
    from pipelines.workshop import Run

COLLAGES = 60  # of a subject in other places
FEWEST = 4  # steps of a draft that shows what a model knows
WEIGHED = 4.0  # how much more the subject counts than what is around it in a collage

Going = Generator[Event, None, Any]


def prepared(request: Personalize, spec: ModelSpec, memory: Memory, pictures: list[Image], run: Run) -> Going:
    """The subject, with all that is learned from; nothing is read or painted twice."""
    kinds = tuple(said(PLAIN[k % len(PLAIN)], request.kind) for k in range(count_of(request)))
    latents, counts, captions = yield from studied(request, spec, memory, pictures, run)
    prior = yield from painted(request, spec, memory, run, "prior", kinds)
    place = memory.device.torch
    return Subject(
        spec=spec,
        memory=memory,
        word=request.word,
        kind=request.kind,
        phrase=request.phrase(),
        steps=request.steps,
        latents=latents.to(place),
        counts=counts.to(place),
        captions=captions,
        prior=prior.to(place),
        kinds=kinds,
        mirrored=request.mirrored,
        batch=request.batch,
        seed=request.seed or 0,
    )


def count_of(request: Personalize) -> int:
    """How many pictures of the subject's kind the model paints for it."""
    return request.method.build(personalizers).priors() if request.kind else 0


def studied(request: Personalize, spec: ModelSpec, memory: Memory, pictures: list[Image], run: Run) -> Going:
    """(latents, counts, captions): of collages where the subject can be cut out, else of the pictures as they are; with
    captions that a person wrote, of both."""
    import torch

    own = tuple((each,) for each in request.captions) or (PLAIN,) * len(pictures)
    yield Stage("Reading the pictures")
    cuts = cutouts(pictures) if request.places else []
    said_of: list[tuple[str, ...]] = [] if cuts and not request.captions else list(own)
    learned = [each.resize((spec.side, spec.side)) for each in pictures] if said_of else []
    masks: list[Image | None] = [None] * len(learned)
    if cuts:
        places = PLACES[: request.places]
        grounds = yield from decoded(spec, memory, (yield from painted(request, spec, memory, run, "place", places)))
        for each in collages(cuts, grounds, COLLAGES, spec.factor, request.seed or 0):
            learned.append(each.picture)
            masks.append(each.mask)
            said_of.append((f"a {{}} {places[each.ground]}",))
    latents = run.found("pictures")
    if latents is None:
        yield Stage("Reading the pictures")
        latents = run.put("pictures", torch.cat([latents_of(each, spec, memory) for each in learned]))
    shape = latents.shape[-2:]
    return latents, torch.cat([counted(each, shape) for each in masks]), tuple(said_of)


def latents_of(picture: Image, spec: ModelSpec, memory: Memory) -> Tensor:
    """A picture as the model paints it, (1, C, h, w)."""
    with memory.use(spec.vae) as vae:
        latents: Tensor = spec.encode(vae, to_pixels(picture).to(memory.device.torch)).float()
    return latents


def counted(mask: Image | None, shape: Sequence[int]) -> Tensor:
    """How much each place of a picture counts, (1, 1, h, w), 1 in the mean: more where its subject is."""
    import numpy as np
    import torch
    from torch.nn import functional

    if mask is None:
        return torch.ones(1, 1, *shape)
    shown = torch.from_numpy(np.asarray(mask, np.float32) / 255)[None, None]
    there = functional.adaptive_avg_pool2d(shown, (shape[0], shape[1])) > 0.05
    counts = 1 + WEIGHED * there.float()
    return counts / counts.mean()


def painted(
    request: Personalize, spec: ModelSpec, memory: Memory, run: Run, name: str, prompts: Sequence[str]
) -> Going:
    """Latents (m, C, h, w) of what the model paints of some prompts, before it is taught."""
    import torch

    rows: list[Tensor] = []
    for k, prompt in enumerate(prompts):
        latents = run.found(f"{name} {k}")
        if latents is None:
            yield Stage(f"Painting what it knows: {k + 1} of {len(prompts)}")
            single = sample(request, spec, prompt)
            single = single.model_copy(update={"seed": (single.seed or 0) + 1 + k})
            cond, uncond = encoded(spec, memory, prompt), encoded(spec, memory, "", negative=True)
            walk = paint_one(single, spec, memory, cond, uncond, k + 1, len(prompts))
            latents = run.put(f"{name} {k}", (yield from walk))
        rows.append(latents)
    return torch.cat(rows) if rows else torch.empty(0)


def decoded(spec: ModelSpec, memory: Memory, latents: Tensor) -> Going:
    """The pictures of latents, one by one."""
    pictures: list[Image] = []
    for k in range(len(latents)):
        yield Stage("Reading the pictures")
        with memory.use(spec.vae) as vae:
            pictures.append(to_pictures(spec.decode(vae, latents[k : k + 1].to(memory.device.torch)))[0])
    return pictures


def sample(request: Personalize, spec: ModelSpec, prompt: str) -> TextToImage:
    """The request that paints a sample of the seed of this training, as the checkpoint's own draft would be."""
    from pipelines.tasks.text_to_image import TextToImage

    draft = next((each.values for each in spec.presets if each.values.get("steps", FEWEST) >= FEWEST), {})
    known = spec.defaults | draft
    values = {name: each for name, each in known.items() if name in TextToImage.model_fields}
    return TextToImage(
        **values | {"model": spec.name, "prompt": prompt, "seed": request.seed, "width": spec.side, "height": spec.side}
    )
