"""A second process that learns along on a core of its own and hands over a gradient whenever it has one.

The first never waits for it, so it may run on a core that is now and then taken by something else. A gradient comes a
step or two late, as in Recht et al. 2011 (arXiv:1106.5730), and counts as much as the first's own. A run with a partner
is not reproducible to the bit.
"""

import os
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing import get_context

Lessons = tuple[nn.Module, Callable[[int], Tensor]]  # a network and its loss at a step
PATIENCE = 5.0  # seconds between looks whether the first is still there
SEEDS = 500_000_000  # the partner's steps are numbered from here, so that its examples are its own


class Partner:
    """The process and what it shares with the first: the weights it is to use, its gradient, and whose turn it is."""

    def __init__(self, build: Callable[[], Lessons], net: nn.Module, core: int) -> None:
        context = get_context("spawn")
        size = sum(weight.numel() for weight in _learned(net))
        self.weights, self.gradient = _shared(size), _shared(size)
        self.wanted, self.ready = context.Event(), context.Event()
        shared = (os.getpid(), build, core, self.weights, self.gradient, self.wanted, self.ready)
        self.process: Any = context.Process(target=_work, args=shared, daemon=True)
        self.process.start()
        self.taken = 0  # gradients it has given

    def add(self, net: nn.Module) -> None:
        """Average the partner's gradient into the network's, if there is one, and give it the weights of now."""
        if self.ready.is_set():
            for weight, gradient in _pieces(net, self.gradient):
                if weight.grad is not None and bool(torch.isfinite(gradient).all()):
                    weight.grad.add_(gradient).mul_(0.5)
            self.ready.clear()
            self.taken += 1
        elif self.wanted.is_set():
            return
        torch.cat([weight.detach().flatten() for weight in _learned(net)], out=self.weights)
        self.wanted.set()


def _shared(size: int) -> Tensor:
    return torch.zeros(size).share_memory_()  # type: ignore[no-untyped-call]


def _learned(net: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in net.parameters() if weight.requires_grad]


def _pieces(net: nn.Module, flat: Tensor) -> Iterator[tuple[nn.Parameter, Tensor]]:
    learned = _learned(net)
    parts = torch.split(flat, [weight.numel() for weight in learned])
    yield from ((weight, part.view_as(weight)) for weight, part in zip(learned, parts, strict=True))


def _work(
    first: int, build: Callable[[], Lessons], core: int, weights: Tensor, gradient: Tensor, wanted: Event, ready: Event
) -> None:
    """The partner's life: take weights, find a gradient, hand it over, in the lowest place of the machine."""
    os.sched_setaffinity(0, {core})
    os.nice(40)
    torch.set_num_threads(1)
    net, loss = build()
    step = SEEDS
    while os.getppid() == first:  # the first may be killed, and end nobody
        if not wanted.wait(PATIENCE):
            continue
        with torch.no_grad():
            for weight, value in _pieces(net, weights):
                weight.copy_(value)
        net.zero_grad(set_to_none=True)
        loss(step).backward()  # type: ignore[no-untyped-call]
        none = (torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in _learned(net))
        torch.cat([slope.flatten() for slope in none], out=gradient)
        step += 1
        wanted.clear()
        ready.set()
