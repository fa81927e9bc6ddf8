"""The network as one program: the same picture, its stand-in gone with the network, and aside where others change it."""

import copy
import gc
import weakref

import pytest
import torch

from pipelines.accelerators import accelerators
from pipelines.accelerators.compiled import is_bare, twin, twins
from pipelines.errors import StudioError
from pipelines.lessons import LAYERS, as_lora, low_ranks
from pipelines.models import ModelSpec
from pipelines.models.lora import Worn, patched
from pipelines.tasks import parse, run
from pipelines.types import Run
from tests.accounting import host
from tests.test_accelerators import apart, walked

TRACED = {"compiler": "aot_eager"}


@pytest.fixture
def walk(toy: ModelSpec):  # type: ignore[no-untyped-def]
    memory = host()
    with memory.use(toy.net) as net:
        yield Run(net, torch.cat([torch.logspace(1.1, -1, 4), torch.zeros(1)]), memory, toy)


def calls(net: torch.nn.Module) -> list[int]:
    """Grows by one each time that the network itself computes its middle."""
    seen: list[int] = []
    net.mid_block.register_forward_pre_hook(lambda *_: seen.append(1))  # type: ignore[union-attr, operator]
    return seen


def test_the_program_gives_what_the_network_gives_and_counts_alike(walk: Run) -> None:
    seen = calls(walk.net)
    plain = walked(walk, "compile", compiler="off")
    asked = len(seen)
    compiled = walked(walk, "compile", **TRACED)
    assert apart(compiled, plain) < 1e-3
    assert len(seen) == asked > 0  # the network itself was not asked again
    assert walk.memory.estimates == 2 * asked  # both conditions of each look


def test_it_stands_aside_for_what_changes_the_network(walk: Run) -> None:
    assert walk.spec
    plain = walked(walk, "compile", **TRACED)
    layers = low_ranks(walk.net, LAYERS, 4, 1)
    for low in layers.values():
        low.up.data.normal_(0, 0.1)
    with patched(walk.net, "net", [Worn("style", as_lora(layers), 1.0)], "toy"):
        assert not is_bare(walk.net)
        worn = walked(walk, "compile", **TRACED)
        assert torch.equal(worn, walked(walk, "compile", compiler="off"))
    assert apart(worn, plain) > 1e-3
    assert torch.equal(walked(walk, "compile", **TRACED), plain)
    for name in ("faster", "merging", "todo"):
        with accelerators[name]().apply(lambda *_: [], walk):
            assert not is_bare(walk.net), name
    assert is_bare(walk.net)


def test_the_stand_in_shares_weights_and_goes_with_the_network(walk: Run) -> None:
    net = copy.deepcopy(walk.net)
    other = twin(net, "aot_eager")
    assert other is twin(net, "aot_eager") and other is not net
    assert all(a is b for a, b in zip(net.parameters(), other.parameters(), strict=True))
    weight = weakref.ref(net.conv_in.weight)
    del net, other
    gc.collect()
    assert weight() is None


@pytest.mark.parametrize("order", [("stitching", "compile"), ("compile", "stitching")])
def test_what_answers_in_place_of_the_network_goes_before_it(toy: ModelSpec, order: tuple[str, str]) -> None:
    memory = host()
    small = {"name": "stitching", "knobs": {"share": 1.0, "small": "toy"}}
    chosen = [small if name == "stitching" else {"name": name, "knobs": TRACED} for name in order]
    twins.clear()
    request = {"task": "text_to_image", "model": "toy", "steps": 2, "width": 64, "height": 64, "seed": 1}
    list(run(parse({**request, "accelerators": chosen}), memory))
    assert not twins  # all steps were the small model's, and no program was made


def test_what_cannot_be_compiled_is_said_in_a_sentence(walk: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor.config as inductor

    torch.compiler.reset()
    twins.clear()
    monkeypatch.setattr(inductor.cpp, "cxx", ("no such compiler",))
    with pytest.raises(StudioError, match=r"torch\.compile cannot compile this model here"):
        walked(walk, "compile", compiler="inductor")
    torch.compiler.reset()
    twins.clear()
