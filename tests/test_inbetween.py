"""In-betweens: ends that are the pictures themselves, noise that stays noise, strips and pictures that move."""

import io
from pathlib import Path

import pytest
import torch
from PIL import Image

from pipelines.between import CLIPPED, blended, corrected, slerp
from pipelines.errors import BadRequest
from pipelines.events import Finished, Painted
from pipelines.library import Library
from pipelines.models import ModelSpec
from pipelines.pictures import png, recipe
from pipelines.shelf import FolderShelf
from pipelines.tasks import parse, run
from pipelines.types import Cond
from tests.accounting import host

SMALL = {
    "task": "inbetween", "model": "toy", "steps": 4, "width": 64, "height": 64, "seed": 11, "prompt": "a red cat",
    "last": "a blue dog", "frames": 4, "shows": "pictures",
}  # fmt: skip


def painted(shelf: FolderShelf | None = None, **values: object) -> list[Painted]:
    events = run(parse({**SMALL, **values}), host(), shelf)
    return [each.painted for each in events if isinstance(each, Finished)]


def bytes_of(pictures: list[Painted]) -> list[bytes]:
    return [each.picture.tobytes() for each in pictures if each.picture]


def test_noise_between_two_noises_is_noise() -> None:
    one, other = torch.randn(2, 1, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    for share in (0.0, 0.25, 0.5, 1.0):
        assert float(slerp(one, other, share).std()) == pytest.approx(1, abs=0.02)
    assert float(one.lerp(other, 0.5).std()) < 0.75
    torch.testing.assert_close(slerp(one, other, 0.0), one)
    torch.testing.assert_close(slerp(one, other, 1.0), other)
    torch.testing.assert_close(slerp(one, one, 0.5), one)


def test_a_blend_of_prompts_of_other_lengths_ends_at_each() -> None:
    short, long = (
        Cond(torch.full((1, n, 4), float(n)), torch.full((1, 1, 4), 0.5), {"pooled": torch.full((1, 2), float(n))})
        for n in (2, 3)
    )
    assert torch.equal(blended(short, long, 1.0).tokens, long.tokens)
    assert torch.equal(blended(short, long, 0.0).tokens, short.lengthened(3))
    assert torch.equal(blended(short, long, 0.5).extras["pooled"], torch.full((1, 2), 2.5))


def test_corrected_noise_is_the_picture_at_its_ends_and_clipped_between() -> None:
    """SYSTEMS.md A49: of what is beyond two deviations, nothing is left halfway."""
    noises = tuple(torch.randn(2, 1, 4, 32, 32, generator=torch.Generator().manual_seed(1)))
    pictures = tuple(torch.randn(2, 1, 4, 32, 32, generator=torch.Generator().manual_seed(2)))
    alpha, sigma = torch.tensor(1.0), torch.tensor(3.0)
    for share, which in ((0.0, 0), (1.0, 1)):
        torch.testing.assert_close(
            corrected(noises, pictures, share, alpha, sigma), pictures[which] + 3 * noises[which], rtol=1e-4, atol=1e-4
        )
    halfway = corrected(noises, (pictures[0] * 0,) * 2, 0.5, alpha, sigma) / 3
    assert float(halfway.abs().max()) <= 2**0.5 * CLIPPED + 1e-4
    mixed = corrected((noises[0] * 0,) * 2, (pictures[0] * 0 + 1,) * 2, 0.5, alpha, sigma)
    torch.testing.assert_close(mixed, torch.full_like(mixed, 1.2))


def test_the_ends_are_the_plain_pictures_of_their_prompts(toy: ModelSpec) -> None:
    frames = painted()
    assert len({*bytes_of(frames)}) == 4
    others = [painted(last="", prompt=prompt, frames=2)[0] for prompt in ("a red cat", "a blue dog")]
    assert bytes_of(others) == [bytes_of(frames)[0], bytes_of(frames)[3]]


def test_each_frame_is_painted_alone_by_its_own_request(toy: ModelSpec) -> None:
    frames = painted(last_seed=12, sampler="euler_ancestral")
    again = [next(each.painted for each in run(one.request, host()) if isinstance(each, Finished)) for one in frames]
    assert bytes_of(frames) == bytes_of(again)


def test_a_strip_shows_all_side_by_side_and_an_animation_one_after_another(toy: ModelSpec, tmp_path: Path) -> None:
    frames = painted()
    (strip,) = painted(shows="strip")
    assert strip.picture and strip.picture.size == (256, 64)
    assert strip.picture.crop((64, 0, 128, 64)).tobytes() == bytes_of(frames)[1]
    (moving,) = painted(shows="animation")
    file = png(moving)
    with Image.open(io.BytesIO(file)) as opened:
        assert opened.n_frames == 6  # there and back, the ends once
        opened.seek(2)
        assert opened.convert("RGB").tobytes() == bytes_of(frames)[2]
    assert recipe(io.BytesIO(file)) == moving.request.model_dump(mode="json")
    kept = Library(tmp_path).keep(moving)
    assert kept.file
    with Image.open(kept.file) as opened:
        assert opened.n_frames == 6


def test_between_two_pictures_the_ends_come_back(toy: ModelSpec, tmp_path: Path) -> None:
    shelf = FolderShelf(tmp_path)
    with pytest.raises(BadRequest, match="both pictures"):
        painted(shelf, source=shelf.put(Image.new("RGB", (64, 64), "red")))
    names = [shelf.put(Image.linear_gradient("L").rotate(turn).resize((80, 64)).convert("RGB")) for turn in (0, 90)]
    plain = {"guidance": {"name": "cfg", "knobs": {"scale": 1}}, "sampler": "ddim", "steps": 30, "frames": 3}
    frames = painted(shelf, source=names[0], last_source=names[1], **plain)
    assert len(frames) == 3 and len({*bytes_of(frames)}) == 3
    # the toy's decoder is random: what inversion gives back is judged by a walk of no strength beside it
    still = painted(shelf, source=names[0], last_source=names[0], prompt="a red cat", last="", **plain)
    assert bytes_of(still)[0] == bytes_of(still)[2] == bytes_of(frames)[0]
