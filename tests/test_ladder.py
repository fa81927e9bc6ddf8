"""What happens as memory gets shorter: each rung by itself, what it says, and that the picture stays the same."""

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn

from pipelines import rooms, stripes
from pipelines.events import Done, Failed, Finished, Remark
from pipelines.memory import Memory, Work
from pipelines.models import ModelSpec
from pipelines.models.lora import Worn, patched
from pipelines.models.lora_layouts import load_lora
from pipelines.needs import foretold, work_of
from pipelines.parts import Part
from pipelines.resident import Resident, Rung
from pipelines.runner import ONCE_MORE, Runner
from pipelines.shuttle import blocks_of, tensors_of
from pipelines.stripes import striped
from pipelines.tasks import run
from pipelines.tasks.text_to_image import TextToImage
from tests.accounting import Accounting, Host
from tests.tiny import adapters
from tests.tiny.checkpoints import stable_diffusion, text_encoder, tokenizer, unet

MB = 2**20
ASKED = {"model": "toy", "prompt": "a red cat", "steps": 2, "width": 64, "height": 64, "seed": 1}


class Bfloat(Accounting):
    """Everything in bfloat16, whose 8 bits are half."""

    def number_type(self, width: int) -> torch.dtype:
        return torch.bfloat16


def painted(memory: Memory) -> tuple[np.ndarray, str]:
    """The picture in [0, 1], and all that was said about memory."""
    events = list(run(TextToImage(**ASKED), memory))
    (picture,) = (each.painted.picture for each in events if isinstance(each, Finished))
    return np.asarray(picture) / 255, " ".join(each.text for each in events if isinstance(each, Remark))


def rungs(memory: Memory) -> dict[str, Rung | None]:
    return {each.part.name: each.rung for each in memory.residents()}


@pytest.fixture
def whole(toy: ModelSpec) -> np.ndarray:
    picture, said = painted(Memory(Accounting(), 100 * MB))
    assert said == ""
    return picture


def footprint(part: Part, rung: Rung) -> int:
    return Resident(part, torch.float32, Accounting(), lambda: None).footprint(rung)


def test_networks_that_do_not_fit_together_take_turns_and_paint_the_same_bytes(
    toy: ModelSpec, whole: np.ndarray
) -> None:
    memory = Memory(Accounting(), 4_500_000)  # the painter and room to work, but not the others with it
    picture, said = painted(memory)
    assert (picture == whole).all() and said == rooms.TAKE_TURNS
    assert memory.device.moved_in >= sum(memory.weight(part) for part in toy.parts())  # type: ignore[attr-defined]


def test_a_decoder_short_of_memory_works_in_stripes_and_says_so(
    toy: ModelSpec, whole: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (stripes, rooms):
        monkeypatch.setattr(each, "PIXELS", 512)
    memory = Memory(Accounting(), 100 * MB)
    memory.ledger.note_peak(memory._rooms.work_name(toy.vae), 64 * 64, 200 * MB)  # as measured before
    picture, said = painted(memory)
    assert "The autoencoder works in stripes" in said and rungs(memory)["The autoencoder"] is Rung.STRIPED
    assert abs(picture - whole).max() <= 1e-3


def test_a_painter_in_eight_bits_fits_in_half_and_says_that_the_picture_differs(toy: ModelSpec) -> None:
    roomy, tight = Memory(Bfloat(), 100 * MB), Memory(Bfloat(), 1_700_000)
    whole, _ = painted(roomy)
    picture, said = painted(tight)
    assert "8-bit numbers" in said and "differs slightly" in said
    assert rungs(tight)["The painter"] in (Rung.SMALL, None)
    assert 0 < abs(picture - whole).mean() < 0.1


def test_a_painter_larger_than_the_budget_is_fetched_block_by_block_and_paints_the_same_bytes(
    toy: ModelSpec, whole: np.ndarray
) -> None:
    memory = Memory(Accounting(), 1_300_000)
    picture, said = painted(memory)
    assert (picture == whole).all() and "The painter is fetched block by block" in said
    assert memory.used() <= memory.budget < memory.weight(toy.net)


def test_what_fits_on_no_rung_is_refused_with_the_need_and_the_limit_before_anything_is_lent(toy: ModelSpec) -> None:
    device = Accounting()
    memory = Memory(device, 300_000)
    runner = Runner(lambda: memory)
    (ending,) = runner.submit(TextToImage(**ASKED)).events(timeout=60)
    told = runner.expect(TextToImage(**ASKED)).remark
    runner.close()
    assert isinstance(ending, Failed) and device.moved_in == 0 and told.endswith(ending.text)
    assert ending.text.startswith("The painter needs 0.4 MB at the least; models may use 0.3 MB here")
    assert all(each.lent == 0 for each in memory.residents())


@pytest.mark.parametrize(
    ("budget", "words"), [(100 * MB, ""), (4_500_000, "take turns"), (1_300_000, "block by block")]
)
def test_how_a_picture_will_be_fitted_in_is_told_before_it_is_begun(toy: ModelSpec, budget: int, words: str) -> None:
    device, asked = Accounting(), TextToImage(**ASKED)
    memory = Memory(device, budget)
    before = foretold(asked, memory, None).remark
    assert device.moved_in == 0 and memory.residents() == []
    _, said = painted(memory)
    assert words in before and words in said and bool(words) is (" · " in before)
    told = memory.foreseen(work_of(asked, memory, None))  # now that its blocks are known
    assert " ".join(told) in said


def test_a_decoder_that_was_short_of_memory_before_is_told_to_work_in_stripes(
    toy: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (stripes, rooms):
        monkeypatch.setattr(each, "PIXELS", 512)
    memory = Memory(Accounting(), 100 * MB)
    painted(memory)
    memory.ledger.note_peak(memory._rooms.work_name(toy.vae), 64 * 64, 200 * MB)
    assert "works in stripes" in memory.foreseen(work_of(TextToImage(**ASKED), memory, None))[0]


def test_nobody_is_refused_for_an_estimate(toy: ModelSpec, whole: np.ndarray) -> None:
    memory = Memory(Accounting(), 5 * MB)
    for part in toy.parts():
        memory.ledger.note_peak(memory._rooms.work_name(part), 64 * 64, 900 * MB)
    picture, _ = painted(memory)
    assert abs(picture - whole).max() <= 1e-3


@pytest.fixture
def shallow() -> Iterator[AutoencoderKL]:
    torch.manual_seed(0)
    made = AutoencoderKL(
        block_out_channels=(8, 16, 16), latent_channels=4, norm_num_groups=4, sample_size=64, layers_per_block=2,
        down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3,
    ).eval()  # fmt: skip
    for norm in (each for each in made.modules() if isinstance(each, nn.GroupNorm)):
        nn.init.normal_(norm.weight, 1, 0.3)
        nn.init.normal_(norm.bias, 0, 0.3)
    yield made


@pytest.mark.parametrize("size", [(96, 64), (72, 200)])
@torch.inference_mode()
def test_stripes_are_the_whole_picture_and_latents_to_rounding(
    shallow: AutoencoderKL, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripes, "PIXELS", 700)
    pixels, checked = torch.randn(2, 3, *size), []
    latents = shallow.encode(pixels).latent_dist.mode()
    decoded = shallow.decode(latents).sample
    with striped(shallow, lambda: checked.append(1)):
        assert torch.allclose(shallow.encode(pixels).latent_dist.mode(), latents, atol=1e-4)
        assert torch.allclose(shallow.decode(latents).sample, decoded, atol=1e-4)
    assert len(checked) > 50 and "forward" not in vars(shallow.decoder)


@torch.inference_mode()
def test_no_stripe_is_larger_than_it_may_be(shallow: AutoencoderKL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripes, "PIXELS", 1024)
    seen: list[int] = []
    for layer in (each for each in shallow.decoder.up_blocks[2].modules() if isinstance(each, nn.Conv2d)):
        layer.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[2] * given[0].shape[3]))
    with striped(shallow, lambda: None):
        shallow.decode(torch.randn(1, 4, 32, 32))
    assert seen and max(seen) <= 1024 + 2 * 128


def test_two_lendings_of_one_autoencoder_in_stripes_leave_it_as_it_was(toy: ModelSpec) -> None:
    memory = Memory(Accounting(), 100 * MB)
    memory.ledger.note_peak(memory._rooms.work_name(toy.vae), 4096, 200 * MB)
    with memory.working(Work(4096, {toy.vae.key: 1.5})), memory.use(toy.vae) as one, memory.use(toy.vae) as two:
        assert one is two and "forward" in vars(one.decoder)
    memory.free()
    assert "forward" not in vars(one.decoder)


@pytest.mark.parametrize("make", [unet, lambda: text_encoder(tokenizer())])
def test_blocks_are_apart_and_leave_what_callers_ask_about(make: type[nn.Module]) -> None:
    module = make()
    blocks = blocks_of(module)
    owned = [id(each) for block in blocks for each in tensors_of(block)]
    assert len(owned) == len(set(owned)) > 0
    assert id(next(module.parameters())) not in owned
    assert not any(
        isinstance(each, nn.Embedding) and each.num_embeddings > 255 for block in blocks for each in block.modules()
    )


@pytest.mark.parametrize("rung", [Rung.WHOLE, Rung.SMALL, Rung.STREAMED])
def test_leaving_gives_back_the_very_tensors_and_hooks_of_before(toy: ModelSpec, rung: Rung) -> None:
    resident = Resident(toy.net, torch.float32, Accounting(), lambda: None)
    before = [(each.data_ptr(), each.dtype) for each in tensors_of(resident.module)]
    for _ in range(2):
        resident.enter(rung)
        net: UNet2DConditionModel = resident.module  # type: ignore[assignment]
        with torch.inference_mode():
            net(torch.randn(1, 4, 8, 8), torch.tensor(3.0), torch.randn(1, 5, 32))
        resident.leave()
        assert [(each.data_ptr(), each.dtype) for each in tensors_of(resident.module)] == before
        assert not any(each._forward_hooks or each._forward_pre_hooks for each in resident.module.modules())


def test_a_streamed_network_stopped_inside_a_block_keeps_no_weights_of_it(toy: ModelSpec) -> None:
    resident = Resident(toy.net, torch.float32, Accounting(), lambda: None)
    resident.enter(Rung.STREAMED)
    net = resident.module
    at_rest = [each.data_ptr() for each in tensors_of(net)]
    hook = net.mid_block.resnets[0].conv2.register_forward_pre_hook(lambda *_: 1 / 0)  # type: ignore[union-attr,index]
    with torch.inference_mode(), pytest.raises(ZeroDivisionError):
        net(torch.randn(1, 4, 8, 8), torch.tensor(3.0), torch.randn(1, 5, 32))
    hook.remove()
    assert [each.data_ptr() for each in tensors_of(net)] == at_rest


def test_each_block_is_fetched_each_time_it_runs_and_nothing_comes_back(toy: ModelSpec) -> None:
    device = Accounting()
    resident = Resident(toy.net, torch.float32, device, lambda: None)
    resident.enter(Rung.STREAMED)
    blocks = sum(each.nbytes for block in blocks_of(resident.module) for each in tensors_of(block))
    for _ in range(2):
        before = device.moved_in
        with torch.inference_mode():
            resident.module(torch.randn(1, 4, 8, 8), torch.tensor(3.0), torch.randn(1, 5, 32))
        assert device.moved_in - before == blocks
    assert device.moved_out == 0


def test_on_the_host_streaming_casts_from_the_mapped_file_and_holds_one_block(toy: ModelSpec) -> None:
    class Half(Host):
        def number_type(self, width: int) -> torch.dtype:
            return torch.bfloat16

    resident = Resident(toy.net, torch.bfloat16, Half(), lambda: None)
    resident.enter(Rung.STREAMED)
    kinds = {each.dtype for block in blocks_of(resident.module) for each in tensors_of(block)}
    assert kinds == {torch.float32} and next(resident.module.parameters()).dtype is torch.bfloat16
    with torch.inference_mode():
        answer = resident.module(
            torch.randn(1, 4, 8, 8).bfloat16(), torch.tensor(3.0), torch.randn(1, 5, 32).bfloat16(), return_dict=False
        )[0]
    assert answer.isfinite().all() and resident.taken < resident.bytes


def hungry(memory: Memory, part: Part, most: int) -> None:
    """Have a part's network run out of memory wherever it lies on the device with more than `most` bytes."""
    load = part.load

    def loaded(kind: torch.dtype) -> nn.Module:
        module = load(kind)

        def want(*_: object) -> None:
            if memory.used() > most:
                raise torch.OutOfMemoryError("out of memory")

        module.register_forward_pre_hook(want)
        return module

    object.__setattr__(part, "load", loaded)


@pytest.mark.parametrize(
    ("most", "rung"), [(4_200_000, Rung.WHOLE), (2_000_000, Rung.SMALL), (1_000_000, Rung.STREAMED), (1000, None)]
)
def test_running_out_of_memory_steps_down_until_it_fits(
    toy: ModelSpec, whole: np.ndarray, most: int, rung: Rung | None
) -> None:
    memory = Memory(Accounting(), 100 * MB)
    hungry(memory, toy.net, most)
    with memory.use(toy.vae), memory.use(toy.texts[0]):
        pass  # idle, in the way
    runner = Runner(lambda: memory)
    job = runner.submit(TextToImage(**ASKED))
    events = list(job.events(timeout=60))
    texts = [each.text for each in events if isinstance(each, Remark)]
    again = list(runner.submit(TextToImage(**ASKED)).events(timeout=60))
    runner.close()
    gc.collect()
    if rung is None:
        assert isinstance(events[-1], Failed) and "not enough memory" in events[-1].text
        return
    assert isinstance(events[-1], Done) and ONCE_MORE in texts and rungs(memory)["The painter"] is rung
    picture = np.asarray(events[-1].result.pictures[0].picture) / 255
    assert abs(picture - whole).max() <= (0.2 if rung is Rung.SMALL else 1e-3)
    if rung is not Rung.WHOLE:  # it was learned: the next job of this size begins there
        assert ONCE_MORE not in [each.text for each in again if isinstance(each, Remark)]


def test_pictures_finished_before_memory_ran_out_are_not_made_twice(toy: ModelSpec) -> None:
    memory, device_calls = Memory(Accounting(), 100 * MB), []

    def run_out_once(*_: object) -> None:
        device_calls.append(1)
        if len(device_calls) == 7:  # in the second picture
            raise torch.OutOfMemoryError("out of memory")

    load = toy.net.load

    def loaded(kind: torch.dtype) -> nn.Module:
        module = load(kind)
        module.register_forward_pre_hook(run_out_once)
        return module

    object.__setattr__(toy.net, "load", loaded)
    runner = Runner(lambda: memory)
    events = list(runner.submit(TextToImage(**{**ASKED, "count": 3})).events(timeout=60))
    runner.close()
    seeds = [each.painted.request.seed for each in events if isinstance(each, Finished)]
    assert isinstance(events[-1], Done) and seeds == [1, 2, 3]


def test_a_measured_peak_is_reckoned_with_at_the_next_job(toy: ModelSpec) -> None:
    device = Accounting()
    memory = Memory(device, 100 * MB)
    device.work = 7 * MB
    painted(memory)
    assert memory.ledger.peak(memory._rooms.work_name(toy.net), 64 * 64) == 7 * MB
    with memory.working(Work(128 * 128, {toy.net.key: 0.25})):
        assert memory._rooms.peak(toy.net) == 4 * 7 * MB


def test_what_is_lent_around_another_part_is_not_blamed_for_it(toy: ModelSpec) -> None:
    device = Accounting()
    memory = Memory(device, 100 * MB)
    device.work = 7 * MB
    with memory.working(Work(4096, {})), memory.use(toy.vae), memory.use(toy.net):
        pass
    assert memory.ledger.peak(memory._rooms.work_name(toy.vae), 4096) is None
    assert memory.ledger.peak(memory._rooms.work_name(toy.net), 4096) == 7 * MB


@pytest.mark.parametrize("dora", [False, True])
def test_adapters_work_on_a_network_that_is_streamed(toy: ModelSpec, tmp_path: Path, dora: bool) -> None:
    theirs = stable_diffusion(tmp_path / "theirs")
    adapters.trained(theirs, dora=dora)
    lora = load_lora(adapters.saved(theirs, tmp_path / "peft.safetensors"), torch.float32)
    resident = Resident(toy.net, torch.float32, Accounting(), lambda: None)
    given = torch.randn(1, 4, 8, 8), torch.tensor(3.0), torch.randn(1, 5, 32)
    answers = []
    for rung in (Rung.WHOLE, Rung.STREAMED):
        resident.enter(rung)
        with torch.inference_mode(), patched(resident.module, "net", [Worn("toy", lora, 1.0)], "Toy"):
            answers.append(resident.module(*given, return_dict=False)[0])
        resident.leave()
    assert torch.equal(*answers)
