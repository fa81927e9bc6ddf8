"""Verifiers: each prefers what it says it prefers, on pictures whose order is known."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from pipelines.errors import BadRequest
from pipelines.models import ModelSpec, models
from pipelines.models.scorers import scan_scorers, scorers
from pipelines.painting import encoded
from pipelines.pictures import to_pictures
from pipelines.shelf import FolderShelf
from pipelines.types import Predict
from pipelines.verifiers import Case, verifiers
from pipelines.verifiers.classifier import errors, recognised, spread
from tests.accounting import host
from tests.tiny.checkpoints import tokenizer

NOISE = torch.Generator().manual_seed(0)
PICTURE = torch.nn.functional.interpolate(
    torch.rand(1, 3, 8, 8, generator=NOISE) * 2 - 1, (64, 64), mode="bicubic"
).clamp(-1, 1)


@pytest.fixture
def case(toy: ModelSpec, tmp_path: Path) -> Iterator[Case]:
    memory = host()
    with memory.use(toy.net) as net:

        @contextmanager
        def lent() -> Iterator[Predict]:
            yield toy.predictor(net)

        cond, uncond = (encoded(toy, memory, prompt) for prompt in ("a red cat", ""))
        yield Case("a red cat", cond, uncond, toy, memory, FolderShelf(tmp_path), lent)


def score(name: str, seen: Tensor, case: Case, **knobs: object) -> list[float]:
    with torch.inference_mode():
        found = verifiers[name](**knobs)(seen, case)
    assert found.shape == (len(seen),)
    return found.tolist()


def test_colour_scores_more_than_grey_and_grey_nothing(case: Case) -> None:
    grey = PICTURE.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    scores = score("colourfulness", torch.cat([grey, (grey + PICTURE) / 2, PICTURE]), case)
    assert scores[0] == pytest.approx(0, abs=1e-3) and scores == sorted(scores)
    red_and_green = torch.tensor([1.0, -1, -1, -1, 1, -1]).reshape(2, 3, 1).expand(-1, -1, 32).permute(1, 0, 2)[None]
    assert score("colourfulness", red_and_green, case)[0] == pytest.approx(255 + 0.3 * 127.5, rel=1e-3)  # by hand


def test_a_blurred_picture_is_less_sharp(case: Case) -> None:
    edges = torch.nn.functional.interpolate(PICTURE[..., ::8, ::8], (64, 64))
    blurred = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(edges, (2,) * 4, mode="reflect"), 5, 1)
    fine, coarse = score("sharpness", torch.cat([edges, blurred]), case)
    assert fine > 2 * coarse


def test_a_plain_picture_takes_fewer_bytes_than_noise(case: Case) -> None:
    both = torch.cat([torch.zeros(1, 3, 64, 64), torch.rand(1, 3, 64, 64, generator=NOISE) * 2 - 1])
    simple, rich = (score("compressibility", both, case, wants=wants) for wants in ("simple", "rich"))
    assert simple[0] > simple[1] and rich == [-each for each in simple]


def test_the_picture_itself_is_the_likest_and_a_shifted_one_liker_than_another(case: Case) -> None:
    name = case.shelf.put(to_pictures(PICTURE)[0])
    others = [PICTURE, PICTURE.roll(3, 3), -PICTURE]
    scores = score("likeness", torch.cat(others), case, like=name)
    assert scores[0] == pytest.approx(0, abs=0.01) and scores[0] > scores[1] > scores[2]
    assert score("likeness", torch.nn.functional.interpolate(PICTURE, (96, 128)), case, like=name)[0] > scores[1]
    with pytest.raises(BadRequest, match="choose the one"):
        score("likeness", PICTURE, case)


def test_the_error_of_eps_is_that_of_its_definition_and_shares_its_noises(case: Case) -> None:
    x0 = torch.randn(2, case.spec.channels, 8, 8, generator=NOISE)

    def knowing(x: Tensor, sigma: Tensor, conds: list) -> list[Tensor]:
        return [x0, x0 + sigma]  # off by one in eps

    found = errors(knowing, x0, [case.cond, case.uncond], case.spec, range(4), 8)
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    assert score("classifier", x0, case) == score("classifier", x0, case)


def test_the_classifier_asks_as_often_as_it_says_and_drops_the_unlikely_early(case: Case) -> None:
    asked: list[int] = []
    x0, conds = torch.randn(1, case.spec.channels, 8, 8, generator=NOISE), [case.cond] * 12

    def counting(x: Tensor, sigma: Tensor, given: list) -> list[Tensor]:
        asked.append(len(given))
        return [x0 + sigma * (0.1 if number == 0 else 1.0) for number, _ in enumerate(given)]

    assert recognised(counting, x0, conds, case.spec) == 0
    assert sum(asked) == 4 * 12 + 12 * 8 + 48 * 2 < 64 * 12 / 3
    assert sorted(spread(64)) == list(range(64)) and spread(4) == [0, 2, 1, 3]


def test_clip_prefers_the_picture_that_its_words_stand_for(case: Case, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no CLIP"):
        score("clip", PICTURE, case)
    torch.manual_seed(0)
    words = tokenizer()
    ends = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = CLIPConfig(
        text_config={"vocab_size": len(words), **ends, **small},
        vision_config={"image_size": 32, "patch_size": 8, **small},
        projection_dim=16,
    )
    model = CLIPModel(config).eval()
    model.save_pretrained(tmp_path / "models" / "clip")
    words.save_pretrained(tmp_path / "models" / "clip")
    scan_scorers([tmp_path / "models"])
    try:
        assert list(scorers) == ["clip"]
        with torch.inference_mode():
            text = model.get_text_features(**words(["a red cat"], return_tensors="pt"))
            text = text if torch.is_tensor(text) else text.pooler_output
        pixels = PICTURE.clone().requires_grad_()
        with torch.enable_grad(), case.memory.use(scorers["clip"]) as net:
            net(pixels, "a red cat").sum().backward()
        towards = (pixels + 0.05 * pixels.grad.sign()).detach().clamp(-1, 1)
        worse, better = score("clip", torch.cat([PICTURE, towards]), case)
        assert text.shape[-1] == 16 and -100 <= worse < better <= 100
    finally:
        scan_scorers([])


def test_pocket_knows_its_own_backdrops_by_the_error_of_its_guesses() -> None:
    """SYSTEMS.md A57, small: more right than chance by far, on drawn scenes. `tests.quality.systems` has the figure."""
    from tests.quality.recognition import accuracy

    assert accuracy(models["pocket"], host(), count=6, among=5) >= 0.5
