"""CONFORM: the contrast by hand, losses that only fall, words found in prompts, and a network left as it was."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from pipelines.attention_maps import groups_of, looking_at_words, merged_maps, places_of
from pipelines.errors import StudioError
from pipelines.guidance import guidances
from pipelines.guidance.conform import TEMPERATURE, Contrast, contrasted
from pipelines.models import ModelSpec
from pipelines.painting import encoded
from pipelines.types import Run
from tests.accounting import host

SIGMAS = torch.tensor([14.0, 6.0, 3.0, 1.0, 0.3, 0.0])
PROMPT = "a red cat and a blue dog in the sea"
X = 6 * torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def run(toy: ModelSpec) -> Iterator[Run]:
    memory = host()
    with memory.use(toy.net) as net:
        yield Run(net, SIGMAS, memory, toy, prompt=PROMPT)


def test_things_are_found_in_a_prompt_or_named() -> None:
    assert groups_of(PROMPT) == [["red", "cat"], ["blue", "dog"], ["sea"]]
    assert groups_of("a lion with a crown, a frog") == [["lion"], ["crown"], ["frog"]]
    assert groups_of("a cat to the left of a hat in front of a tree") == [["cat"], ["hat"], ["tree"]]
    assert groups_of(PROMPT, "red cat | dog") == [["red", "cat"], ["dog"]]


def test_words_are_where_the_tokenizer_puts_them(run: Run) -> None:
    assert run.spec
    with run.memory.use(run.spec.texts[0]) as text:
        ids = text.tokenizer(PROMPT)["input_ids"]
        for group, places in zip(groups_of(PROMPT), places_of(groups_of(PROMPT), PROMPT, text.tokenizer), strict=True):
            wanted = [token for word in group for token in text.tokenizer(word, add_special_tokens=False)["input_ids"]]
            assert [ids[place] for place in places] == wanted


def test_the_contrast_is_that_of_the_paper_by_hand() -> None:
    """Two words of one thing alike, one of another across: -log(e^2 / (e^2 + e^0)) with a temperature of a half."""
    maps = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    one = torch.tensor(1.0)
    wanted = -(torch.exp(one / TEMPERATURE) / (torch.exp(one / TEMPERATURE) + 1)).log()
    torch.testing.assert_close(contrasted(maps, None, [[0, 1], [2]]), wanted)
    mixed = torch.tensor([[1.0, 0.5, 0.4], [0.0, 0.5, 0.6]])
    assert contrasted(mixed, None, [[0, 1], [2]]) > wanted
    assert contrasted(mixed, maps, [[0], [2]]) > contrasted(maps, maps, [[0], [2]])


def test_the_loss_only_falls_within_a_refinement(run: Run) -> None:
    """SYSTEMS.md A25."""
    assert run.spec
    contrast, cond = Contrast(run, ""), encoded(run.spec, run.memory, PROMPT)
    predict, x, losses = run.spec.predictor(run.net), X, []
    with torch.inference_mode():
        for _ in range(6):
            losses.append(float(contrast.loss(contrast.maps(predict, x, SIGMAS[1], cond))))
            x, _ = contrast.lowered(predict, x, SIGMAS[1], cond, 1.0)
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]


def test_the_network_is_as_it_was_and_one_thing_alone_is_left_alone(run: Run) -> None:
    assert run.spec
    before = dict(run.net.attn_processors)
    predict, cond, uncond = run.spec.predictor(run.net), *(encoded(run.spec, run.memory, each) for each in (PROMPT, ""))
    method = guidances["conform"](scale=2, refines=2)
    plain = guidances["cfg"](scale=2)(predict, X, SIGMAS[1], cond, uncond)
    with torch.inference_mode(), method.apply(run) as guide:
        assert not torch.equal(guide(predict, X, SIGMAS[1], cond, uncond), plain)
        late = guide(predict, X, SIGMAS[4], cond, uncond)
    torch.testing.assert_close(late, guidances["cfg"](scale=2)(predict, X, SIGMAS[4], cond, uncond))
    with torch.inference_mode(), method.apply(replace(run, prompt="a red cat")) as guide:
        assert torch.equal(guide(predict, X, SIGMAS[1], cond, uncond), plain)
    assert before == run.net.attn_processors and all(each.grad is None for each in run.net.parameters())


def test_maps_are_shares_of_what_a_place_sees(run: Run) -> None:
    assert run.spec
    maps: list[torch.Tensor] = []
    with looking_at_words(run.net, maps):
        run.spec.predictor(run.net)(X, SIGMAS[1], [encoded(run.spec, run.memory, PROMPT)])
    seen = merged_maps(maps)
    torch.testing.assert_close(seen.sum(1), torch.ones(len(seen)))


def test_networks_without_words_across_are_refused(run: Run) -> None:
    with pytest.raises(StudioError, match="cross-attention"), looking_at_words(torch.nn.Linear(2, 2), []):
        pass
