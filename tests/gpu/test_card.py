"""The same traces on a real card: bytes, bandwidth, pictures. Skipped where there is no CUDA."""

import gc
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.device import Device
from pipelines.events import Finished, Remark
from pipelines.memory import Memory
from pipelines.models import ModelSpec, load_folder
from pipelines.resident import Resident, Rung
from pipelines.tasks import run
from pipelines.tasks.text_to_image import TextToImage
from tests.bench.checkpoints import sd15_size
from tests.bench.swap import away, measured, raw_copy, seconds, switched
from tests.test_traces import requested
from tests.tiny.fleet import fleet

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
MB = 2**20
ROUNDED = 64 * 1024  # bytes a part may take more than its weights: alignment, and the allocator's blocks of 512


@pytest.fixture
def card() -> Device:
    return Device("cuda")


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> list[ModelSpec]:
    folder = tmp_path_factory.mktemp("fleet")
    return [load_folder(folder / name, name) for name in fleet(folder)]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return load_folder(sd15_size(tmp_path_factory.mktemp("large") / "sd15"), "sd15")


def allocated() -> int:
    gc.collect()
    torch.cuda.synchronize()
    return int(torch.cuda.memory_allocated())


@pytest.mark.parametrize("budget", [5, 9, 14])
def test_over_a_trace_the_card_holds_what_the_registry_says(specs: list[ModelSpec], card: Device, budget: int) -> None:
    before, rng = allocated(), random.Random(budget)
    memory = Memory(card, budget * MB, ram=12 * MB)

    def seen() -> None:
        assert memory.used() <= budget * MB
        assert torch.cuda.memory_allocated() - before <= memory.used() + ROUNDED * len(memory.residents())

    for _ in range(200):
        requested(memory, rng.choice(specs), rng.choice((64, 128)), seen)
    memory.free()
    assert allocated() == before


def test_a_thousand_swaps_end_with_the_bytes_they_began_with(specs: list[ModelSpec], card: Device) -> None:
    before, rng = allocated(), random.Random(1)
    memory = Memory(card, 5 * MB, ram=8 * MB)
    for _ in range(1000):
        with memory.use(rng.choice(rng.choice(specs).parts())):
            pass
    memory.free()
    assert allocated() == before and memory.ram_used() == 0


def picture(memory: Memory) -> tuple[np.ndarray, str]:
    request = TextToImage(model="toy", prompt="a red cat", steps=3, width=64, height=64, seed=5)
    events = list(run(request, memory))
    (painted,) = (each.painted.picture for each in events if isinstance(each, Finished))
    return np.asarray(painted) / 255, " ".join(each.text for each in events if isinstance(each, Remark))


@pytest.mark.parametrize(("share", "words"), [(0.98, "take turns"), (0.3, "block by block")])
def test_a_small_card_paints_the_same_picture(toy: ModelSpec, card: Device, share: float, words: str) -> None:
    whole, _ = picture(Memory(card))
    tight = Memory(card, int(share * sum(Memory(card).weight(part) for part in toy.parts())))
    if share < 0.5:
        tight._rooms.failed |= {(toy.net.key, 64 * 64, rung) for rung in (Rung.WHOLE, Rung.SMALL)}
    same, said = picture(tight)
    assert abs(same - whole).max() <= 1e-3 and words in said


@pytest.mark.parametrize("rung", [Rung.SMALL, Rung.STREAMED])
def test_a_network_on_a_lower_rung_takes_what_is_reckoned(toy: ModelSpec, card: Device, rung: Rung) -> None:
    before = allocated()
    resident = Resident(toy.net, torch.bfloat16, card, lambda: None)
    resident.enter(rung)
    assert allocated() - before <= resident.footprint(rung) + ROUNDED * 4
    torch.cuda.reset_peak_memory_stats()
    with torch.inference_mode():
        x, tokens = (torch.randn(shape, device="cuda", dtype=torch.bfloat16) for shape in ((1, 4, 8, 8), (1, 5, 32)))
        answer = resident.module(x, torch.tensor(3.0, device="cuda"), tokens, return_dict=False)[0]
    assert answer.isfinite().all()
    resident.leave()
    del answer, x, tokens
    assert allocated() == before


def test_a_shortage_on_the_card_is_survived_one_rung_lower(toy: ModelSpec, card: Device) -> None:
    from pipelines.events import Done
    from pipelines.runner import Runner

    memory, load = Memory(card), toy.net.load
    raised: list[int] = []

    def loaded(kind: torch.dtype) -> torch.nn.Module:
        module = load(kind)

        def want(*_: object) -> None:
            if not raised:
                raised.append(1)
                torch.empty(1 << 50, dtype=torch.uint8, device="cuda")

        module.register_forward_pre_hook(want)
        return module

    object.__setattr__(toy.net, "load", loaded)
    runner = Runner(lambda: memory)
    job = runner.submit(TextToImage(model="toy", prompt="a cat", steps=2, width=64, height=64, seed=1))
    ending = list(job.events(timeout=120))[-1]
    runner.close()
    assert raised and isinstance(ending, Done)


def test_a_measured_peak_is_kept(toy: ModelSpec, card: Device) -> None:
    memory = Memory(card)
    picture(memory)
    assert (memory.ledger.peak(memory._rooms.work_name(toy.vae), 64 * 64) or 0) > 0


def test_weights_come_back_from_host_memory_at_the_speed_of_the_bus(
    large: ModelSpec, card: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = Memory(card)
    switched(memory, large)
    total = memory.used()
    away(memory)
    assert all(each._locked for each in memory.residents())
    warm = []
    for _ in range(5):
        warm.append(seconds(lambda: switched(memory, large)))
        away(memory)
    raw = min(raw_copy(card, total) for _ in range(5))
    with capsys.disabled():
        print(
            f"\nwarm {total / 2**30 / min(warm):.1f} GiB/s, raw {total / 2**30 / raw:.1f}, share {raw / min(warm):.0%}"
        )
    memory.free()
    assert memory.ram_used() == 0


def test_the_bench_runs(toy_folder: Path, card: Device) -> None:
    assert set(measured(card, toy_folder / "toy", 1)) == {"cold", "warm", "hot", "from_pretrained", "raw copy"}
