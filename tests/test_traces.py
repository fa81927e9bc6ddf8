"""The policy over long traces of mixed requests: budgets hold, nothing is held twice, nothing stays behind."""

import gc
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipelines.adapters import painting_with, reading_with
from pipelines.errors import BadCheckpoint, DoesNotFit
from pipelines.events import Cancelled, Done, Failed, Progress
from pipelines.memory import Memory, Work
from pipelines.models import ModelSpec, load_folder
from pipelines.models.adapters import adapter_of, adapters
from pipelines.models.headers import recognised
from pipelines.needs import work_of
from pipelines.parts import Part
from pipelines.resident import Rung
from pipelines.runner import Runner
from pipelines.tasks import parse
from pipelines.tasks.text_to_image import TextToImage
from tests.accounting import Accounting, Host, linear
from tests.tiny import adapters as tiny_adapters
from tests.tiny.checkpoints import stable_diffusion
from tests.tiny.fleet import fleet

MB = 2**20


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> list[ModelSpec]:
    folder = tmp_path_factory.mktemp("fleet")
    return [load_folder(folder / name, name) for name in fleet(folder)]


def work(spec: ModelSpec, side: int) -> Work:
    return Work(side * side, {part.key: maps for part, maps in zip(spec.parts(), (0.0, 0.25, 1.5), strict=True)})


def requested(memory: Memory, spec: ModelSpec, side: int = 64, seen: Callable[[], None] = lambda: None) -> None:
    """Lend what one picture needs, stage by stage."""
    with memory.working(work(spec, side)):
        for part in spec.parts():
            with memory.use(part):
                seen()


def weights(spec: ModelSpec) -> int:
    return sum(part.elements * 4 for part in spec.parts())


@pytest.mark.parametrize(("budget", "ram"), [(5, 60), (9, 12), (60, 60)])
def test_over_two_hundred_mixed_requests_neither_budget_is_exceeded_and_nothing_is_copied_back(
    specs: list[ModelSpec], budget: int, ram: int
) -> None:
    rng, device = random.Random(budget), Accounting()
    memory = Memory(device, budget * MB, ram=ram * MB)

    def seen() -> None:
        assert memory.used() <= budget * MB
        assert memory.ram_used() <= ram * MB

    spec = specs[0]
    for _ in range(220):
        spec = spec if rng.random() < 0.6 else rng.choice(specs)
        requested(memory, spec, rng.choice((64, 128)), seen)
    assert device.moved_out == 0 and all(each.lent == 0 for each in memory.residents())
    if budget == 60:  # all fits: each part comes once, however many checkpoints have it
        assert device.moved_in == sum(each.bytes for each in memory.residents()) < sum(map(weights, specs))
        assert len(memory.residents()) == len({part.key for spec in specs for part in spec.parts()})


def test_the_running_jobs_own_parts_leave_last(specs: list[ModelSpec]) -> None:
    memory = Memory(Accounting(), int(2.5 * weights(specs[5])))
    requested(memory, specs[5])
    requested(memory, specs[6])
    with memory.working(work(specs[7], 64)):
        for part in specs[7].parts():
            with memory.use(part):
                pass
        assert all(memory.holds(part) for part in specs[7].parts())


def test_a_kept_model_stays_whoever_else_needs_the_room(specs: list[ModelSpec]) -> None:
    memory = Memory(Accounting(), 6 * MB)
    for part in specs[0].parts():
        memory.keep(part)
    requested(memory, specs[0])
    requested(memory, specs[5])
    assert all(memory.holds(part) for part in specs[0].parts())
    assert memory.found(specs[5].net).rung is Rung.SMALL  # type: ignore[union-attr]
    for part in specs[0].parts():
        memory.keep(part, False)
    requested(memory, specs[5])
    assert memory.found(specs[5].net).rung is Rung.WHOLE  # type: ignore[union-attr]


def test_two_checkpoints_with_equal_text_encoder_and_autoencoder_hold_them_once(specs: list[ModelSpec]) -> None:
    memory = Memory(Accounting(), 60 * MB)
    for spec in specs[:4]:
        requested(memory, spec)
    assert len(memory.residents()) == 2 + 4
    assert memory.used() == pytest.approx(
        weights(specs[0]) + sum(memory.weight(spec.net) for spec in specs[1:4]), rel=1e-3
    )


TASKS = ("text_to_image", "inpaint", "outpaint", "repaint", "edit")


def test_five_tasks_on_one_checkpoint_hold_its_weights_once(toy: ModelSpec, tmp_path: Path) -> None:
    from PIL import Image

    from pipelines.shelf import FolderShelf
    from pipelines.tasks import run

    shelf, memory = FolderShelf(tmp_path), Memory(Accounting(), 60 * MB)
    source = shelf.put(Image.new("RGB", (64, 64), "teal"))
    mask = shelf.put(Image.new("L", (64, 64), 255))
    for task in TASKS:
        asked: dict[str, Any] = {"task": task, "model": "toy", "prompt": "a cat", "steps": 2, "seed": 1}
        asked |= {"width": 64, "height": 64} if task == "text_to_image" else {"source": source}
        asked |= {"mask": mask} if task == "inpaint" else {}
        asked |= {"right": 16} if task == "outpaint" else {}
        for _ in run(parse(asked), memory, shelf):
            assert len(memory.residents()) <= 3
    assert memory.used() == pytest.approx(weights(toy), rel=1e-3)


def test_only_what_is_short_leaves_and_only_that_comes_back(specs: list[ModelSpec]) -> None:
    device = Accounting()
    memory = Memory(device, 8 * MB)
    first = specs[5].net
    with memory.use(first) as net:
        weights_before = [each.clone() for each in net.parameters()]
    requested(memory, specs[6])
    left = memory.found(first)
    assert left is not None and 0 < left.taken < left.bytes and not memory.holds(first)
    assert 8 * MB - memory.used() < MB  # no more left than had to
    before, waited = device.moved_in, left.taken
    with memory.use(first) as net:
        assert device.moved_in - before == left.bytes - waited
        assert all(map(torch.equal, net.parameters(), weights_before))
    assert memory.holds(first) and device.moved_out == 0
    memory.free()
    assert memory.used() == 0


def test_what_the_waiting_jobs_need_leaves_last(specs: list[ModelSpec]) -> None:
    def resident_after(*waiting: ModelSpec) -> dict[str, int]:
        memory = Memory(Accounting(), 10 * MB)
        for spec in specs[5:7]:
            requested(memory, spec)
        memory.await_jobs([[part.key for part in spec.parts()] for spec in waiting])
        requested(memory, specs[7])
        return {each.part.key: each.taken for each in memory.residents()}

    older, newer = specs[5].net.key, specs[6].net.key
    alone, told = resident_after(), resident_after(specs[5])
    assert alone[older] < alone[newer] and told[older] > told[newer]
    both = resident_after(specs[5], specs[6])  # the one that comes first stays
    assert both[older] > both[newer]


def test_the_runner_tells_memory_what_waits(toy: ModelSpec, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[list[frozenset[str]]] = []
    monkeypatch.setattr(Memory, "await_jobs", lambda _, needs: told.append(list(needs)))
    asked = TextToImage(model="toy", prompt="a cat", steps=2, width=64, height=64, seed=1)
    jobs = [runner.submit(asked.model_copy(update={"steps": 2 + k})) for k in range(3)]
    for job in jobs:
        list(job.events(timeout=60))
    own = frozenset(part.key for part in toy.parts())
    assert told[-1] == [] and own in [each for needs in told for each in needs]


def broken_copy(specs: list[ModelSpec]) -> Any:
    def refuse(number_type: torch.dtype) -> nn.Module:
        raise BadCheckpoint("The weights are damaged.")

    from dataclasses import replace

    return replace(specs[5].net, key="broken", load=refuse)


@pytest.mark.parametrize("device", [Accounting, Host])
def test_a_checkpoint_that_fails_to_load_leaves_the_old_one_where_it_was(
    specs: list[ModelSpec], device: type[Host]
) -> None:
    memory = Memory(device(), 5 * MB)
    requested(memory, specs[0])
    before = memory.used()
    with pytest.raises(BadCheckpoint), memory.use(broken_copy(specs)):
        pass
    assert memory.used() == before and all(memory.holds(part) for part in specs[0].parts())


def test_what_comes_a_second_time_comes_from_host_memory_and_is_locked_there(specs: list[ModelSpec]) -> None:
    device = Accounting()
    memory = Memory(device, 5 * MB, ram=20 * MB)
    for spec in (specs[5], specs[6], specs[5]):
        requested(memory, spec)
    net = memory.found(specs[5].net)
    assert net is not None and device.locked >= net.bytes and memory.ram_used() == device.locked
    memory.free()
    assert device.locked == memory.ram_used() == memory.used() == 0


def test_a_master_goes_back_to_its_file_where_host_memory_is_short(specs: list[ModelSpec]) -> None:
    device = Accounting()
    memory = Memory(device, 5 * MB, ram=5 * MB)
    for _ in range(3):
        for spec in specs[5:8]:
            requested(memory, spec)
            assert device.locked == memory.ram_used() <= 5 * MB
    assert device.locked > 0


def test_a_part_that_takes_memory_as_it_loads_gives_up_its_master_while_it_is_on_the_device() -> None:
    memory = Memory(Accounting(), 20 * MB, ram=5 * MB)
    for key in ("a", "b", "c"):
        with memory.use(linear(key, 4)):
            assert memory.ram_used() <= 5 * MB
    assert memory.used() == 12 * MB
    with memory.use(linear("d", 12)):  # evicted ones have no master: they are opened again
        assert memory.used() <= 20 * MB
    with memory.use(linear("a", 4)) as net:
        assert net.weight.isfinite().all()


def counted() -> Counter[str]:
    gc.collect()
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, (nn.Module, torch.Tensor)))


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A LoRA of both networks, and a DoRA, for the fleet's checkpoints."""
    names = ["lora", "dora"]
    for name in names:
        folder = tmp_path_factory.mktemp(name)
        pipe = stable_diffusion(folder / "theirs")
        tiny_adapters.trained(pipe, dora=name == "dora")
        path = tiny_adapters.saved(pipe, folder / f"{name}.safetensors")
        adapters.add(name, adapter_of(path, name, recognised(path)))
    yield names
    for name in names:
        adapters.remove(name)


@contextmanager
def worn_by(memory: Memory, spec: ModelSpec, part: Part, weights: dict[str, float]) -> Iterator[None]:
    """A part lent with adapters on it, as a task has it."""
    with ExitStack() as stack:
        net = stack.enter_context(memory.use(part))
        if part is spec.net:
            stack.enter_context(painting_with(net, weights, spec, memory))
        elif part in spec.texts:
            stack.enter_context(reading_with(net, "text", weights, "a cat", spec, memory))
        yield


@pytest.mark.parametrize(("swaps", "ram"), [(1000, 60), (60, 6)])  # with little host memory, files are opened again
def test_a_thousand_swaps_with_adapters_and_breaks_end_as_they_began(
    specs: list[ModelSpec], styles: list[str], swaps: int, ram: int
) -> None:
    rng, device = random.Random(3), Accounting()
    memory, endings = Memory(device, 5 * MB, ram=ram * MB), Counter[str]()
    requested(memory, specs[0])
    memory.free()
    before = counted()
    for _ in range(swaps):
        spec, side = rng.choice(specs), rng.choice((32, 64, 300))
        memory.budget = rng.choice((1, 3, 5)) * MB
        weights = {name: rng.uniform(-1, 1) for name in styles if rng.random() < 0.3}
        device.runs_out = rng.random() < 0.005
        try:
            with memory.working(work(spec, side)):
                for part in rng.sample(spec.parts(), rng.randint(1, 3)):
                    with worn_by(memory, spec, part, weights):
                        assert memory.used() <= max(memory.budget, 5 * MB)
                        endings["worn"] += bool(weights)
                        if rng.random() < 0.2:
                            raise KeyboardInterrupt  # as a stop does, anywhere
        except (KeyboardInterrupt, DoesNotFit) as error:
            endings[type(error).__name__] += 1
        except torch.OutOfMemoryError:
            memory.step_down(again=rng.random() < 0.5)
        assert all(each.lent == 0 for each in memory.residents())
        assert memory.used() == sum(each.taken for each in memory.residents())
    assert min(endings["worn"], endings["KeyboardInterrupt"]) > swaps / 10
    memory.free()
    assert memory.used() == memory.ram_used() == device.locked == 0 and memory.residents() == []
    assert counted() == before


@pytest.fixture
def runner() -> Iterator[Runner]:
    runner = Runner(lambda: Memory(Accounting(), 4_500_000, ram=5 * MB))
    yield runner
    runner.close()


def test_jobs_that_end_in_every_way_leave_the_bytes_of_what_is_resident(toy: ModelSpec, runner: Runner) -> None:
    asked = TextToImage(model="toy", prompt="a cat", steps=3, width=64, height=64, seed=1)
    list(runner.submit(asked).events(timeout=60))
    memory = runner.memory
    assert memory is not None
    at_rest = memory.used(), memory.ram_used()
    endings: list[type] = []
    for k in range(6):
        request = asked if k % 3 else asked.model_copy(update={"adapters": [], "model": "toy" if k % 2 else "nobody"})
        job = runner.submit(request)
        for event in job.events(timeout=60):
            if k % 3 == 1 and isinstance(event, Progress):
                runner.stop(job)
        endings.append(type(job.ending))
        assert all(each.lent == 0 for each in memory.residents())
        assert memory.used() == sum(each.taken for each in memory.residents()) <= memory.budget
    list(runner.submit(asked).events(timeout=60))
    assert (memory.used(), memory.ram_used())[0] == at_rest[0]
    assert {Done, Cancelled, Failed} >= set(endings) >= {Done, Failed}


def test_admission_reckons_with_pixels_parts_and_what_is_lent_beside(toy: ModelSpec) -> None:
    memory = Memory(Accounting())
    told = work_of(TextToImage(model="toy", width=128, height=64), memory, None)
    assert told.pixels == 128 * 64 and set(told.maps) == {part.key for part in toy.parts()}
    assert told.maps[toy.vae.key] > told.maps[toy.net.key] > told.maps[toy.texts[0].key] == 0
    assert work_of(TextToImage(model="nobody"), memory, None) == Work()
