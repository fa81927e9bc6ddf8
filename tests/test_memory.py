"""Lending, sharing, budget and eviction, through the public interface, on a device that counts."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipelines.errors import DoesNotFit
from pipelines.memory import Memory
from pipelines.notes import Notes, bytes_in
from pipelines.types import Cond
from tests.accounting import Accounting, Host, linear

MB = 2**20


def names(memory: Memory) -> list[str]:
    return sorted(each.part.key for each in memory.residents() if each.on_device)


def used_once(memory: Memory, *parts: object) -> None:
    for part in parts:
        with memory.use(part):  # type: ignore[arg-type]
            pass


def test_a_part_is_loaded_once_and_stays() -> None:
    memory = Memory(Accounting(), 10 * MB)
    with memory.use(linear("a", 4)) as first, memory.use(linear("a", 4)) as second:
        assert first is second
    assert memory.used() == 4 * MB and memory.holds(linear("a", 4))


def test_weights_of_a_loaded_part_want_no_gradient_and_do_not_train() -> None:
    with Memory(Accounting(), 10 * MB).use(linear("a", 1)) as net:
        assert not net.training and not any(each.requires_grad for each in net.parameters())


def test_the_smallest_idle_part_that_makes_enough_room_leaves() -> None:
    memory = Memory(Accounting(), 12 * MB)
    used_once(memory, linear("big", 6), linear("middle", 3), linear("small", 2), linear("new", 4))
    assert names(memory) == ["big", "new", "small"]


def test_of_equals_the_one_unused_for_longest_leaves() -> None:
    memory = Memory(Accounting(), 9 * MB)
    used_once(memory, linear("a", 3), linear("b", 3), linear("c", 3), linear("a", 3), linear("d", 3))
    assert names(memory) == ["a", "c", "d"]


def test_a_lent_part_is_never_evicted() -> None:
    memory = Memory(Accounting(), 8 * MB)
    with memory.use(linear("held", 4)) as net:
        weight = net.weight.clone()
        used_once(memory, linear("b", 4), linear("c", 4))
        assert names(memory) == ["c", "held"] and torch.equal(net.weight, weight)
        with (
            memory.use(linear("c", 4)),
            pytest.raises(DoesNotFit, match=r"8.0 MB of it are taken"),
            memory.use(linear("d", 2)),
        ):
            pass
    used_once(memory, linear("d", 8))
    assert names(memory) == ["d"]


def test_what_can_never_fit_is_refused_before_it_is_loaded() -> None:
    memory = Memory(Accounting(), 4 * MB)
    used_once(memory, linear("a", 3))
    with (
        pytest.raises(DoesNotFit, match=r"needs 5.0 MB at the least; models may use 4.0 MB"),
        memory.use(linear("huge", 5)),
    ):
        pass
    assert names(memory) == ["a"]


def test_the_budget_holds_over_a_long_trace() -> None:
    device, random = Accounting(), torch.Generator().manual_seed(0)
    memory = Memory(device, 10 * MB)
    for draw in torch.randint(1, 7, (200,), generator=random).tolist():
        with memory.use(linear(f"part {draw}", draw)):
            assert memory.used() <= 10 * MB
    assert device.moved_out == 0  # weights do not change, so none is ever copied back


def test_parts_come_back_when_a_block_is_left_by_an_error() -> None:
    memory = Memory(Accounting(), 5 * MB)
    with pytest.raises(ZeroDivisionError), memory.use(linear("a", 5)):
        raise ZeroDivisionError
    assert [each.lent for each in memory.residents()] == [0]
    used_once(memory, linear("b", 5))


def test_a_part_that_fails_to_load_leaves_nothing_behind() -> None:
    memory = Memory(Accounting(), 9 * MB)
    used_once(memory, linear("good", 4))
    with pytest.raises(ValueError, match="broken"), memory.use(linear("bad", 4, ValueError("broken"))):
        pass
    assert names(memory) == ["good"] and memory.used() == 4 * MB
    used_once(memory, linear("bad", 4))


def test_weights_are_the_same_after_they_left_and_came_back() -> None:
    memory = Memory(Accounting(), 4 * MB)
    with memory.use(linear("a", 4)) as net:
        weight = net.weight.clone()
    used_once(memory, linear("b", 4))
    with memory.use(linear("a", 4)) as net:
        assert torch.equal(net.weight, weight)


@pytest.mark.parametrize("device", [Host, Accounting])
def test_free_lets_go_of_all_that_is_idle_and_of_nothing_lent(device: type[Host]) -> None:
    memory = Memory(device(), 20 * MB)
    with memory.use(linear("idle", 4)) as net:
        gone = weakref.ref(net)
    del net
    with memory.use(linear("held", 4)):
        assert memory.free() == 4 * MB
        assert names(memory) == ["held"]
    gc.collect()
    assert gone() is None


def test_on_the_host_an_evicted_part_is_let_go() -> None:
    memory = Memory(Host(), 4 * MB)
    with memory.use(linear("a", 4)) as net:
        gone = weakref.ref(net)
    del net
    used_once(memory, linear("b", 4))
    gc.collect()
    assert gone() is None and memory.used() == 4 * MB


def test_recall_makes_a_thing_once() -> None:
    memory, made = Memory(Host(), MB), []
    for k in [*range(3), 2, 0]:
        memory.recall(k, lambda k=k: made.append(k))
    memory.free()
    memory.recall(0, lambda: made.append(0))
    assert made == [0, 1, 2, 0]


def encoded(prompt: int, size: int) -> Cond:
    return Cond(torch.full((1, size), float(prompt)), torch.zeros(1, size), {"pooled": torch.zeros(1, size)})


def test_as_many_encoded_prompts_are_remembered_as_fit_in_bytes_the_oldest_forgotten() -> None:
    notes, made = Notes(budget=10 * 3 * 4 * 100), []

    def ask(prompt: int, size: int = 100) -> Cond:
        return notes.recall(prompt, lambda: (made.append(prompt), encoded(prompt, size))[1])

    for prompt in [*range(10), 0]:
        ask(prompt)
    assert made == list(range(10)) and notes.bytes == notes.budget
    ask(10)
    assert ask(0).tokens[0, 0] == 0 and made == list(range(11))  # asked for lately, so it was 1 that went
    ask(1)
    assert made[-1] == 1
    ask(11, size=5000)  # alone more than all may take: given, not kept
    assert notes.bytes == notes.budget and ask(1).tokens[0, 0] == 1 and made[-1] == 11
    notes.clear()
    assert notes.bytes == 0


def test_bytes_are_counted_in_all_that_a_value_holds() -> None:
    cond = encoded(1, 10)
    assert bytes_in(cond) == 3 * 40 and bytes_in([(cond, "a cat"), {"k": cond.tokens}]) == 4 * 40
    assert bytes_in(replace(cond, parts=((1.0, cond),))) == 2 * 3 * 40


def test_arrays_are_counted_whole_and_not_number_by_number():
    class Watched(np.ndarray):
        def __iter__(self):
            raise AssertionError("walked through")

    maps = np.zeros((64, 128, 128), np.float32).view(Watched)
    assert bytes_in((maps, {"edges": maps[0]})) == maps.nbytes + maps[0].nbytes
