"""All that changes while a network learns, and the loop that changes it. Knows no loss and no data.

Randomness is drawn from (seed, step), never from a state carried along, so that going on after an interruption gives
what an uninterrupted run gives.
"""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from pipelines.training.partner import Partner


@dataclass(frozen=True)
class Budget:
    """How long to learn: so many minutes of this machine or so many steps, whichever comes first."""

    minutes: float = math.inf
    steps: float = math.inf
    rate: float = 1e-3
    warm_up: int = 100  # steps, or a twentieth of the budget if that is shorter
    settle: float = 0.4  # the last share of the budget, in which the rate falls to zero

    def fraction(self, step: int, seconds: float) -> float:
        """How much of the budget is used, 1 at its end."""
        return max(step / self.steps, seconds / 60 / self.minutes)

    def rate_at(self, step: int, seconds: float) -> float:
        """Warm-up, then the full rate, then down as 1 - sqrt: Hägele et al. 2024 (arXiv:2405.18392)."""
        fraction = self.fraction(step, seconds)
        early = max((step + 1) / self.warm_up, fraction * 20)
        late = max(0.0, (fraction - 1 + self.settle) / self.settle)
        return self.rate * min(1.0, early) * (1 - math.sqrt(min(1.0, late)))


def _is_matrix(name: str, weight: nn.Parameter) -> bool:
    """Whether a weight maps features to features: neither a bias or norm, nor an embedding, nor the first or last."""
    outer = ("embedding", "conv_in", "conv_out")
    return weight.requires_grad and weight.ndim >= 2 and not any(word in name for word in outer)


@dataclass
class Learner:
    """A network, its average over the last tenth of the steps, its optimisers and its clock.

    Matrices, convolutions among them, learn by Muon (Jordan et al. 2024; at AdamW's rate by Liu et al. 2025,
    arXiv:2502.16982), everything else by AdamW.
    """

    net: nn.Module
    average: nn.Module = field(init=False)
    optimizers: tuple[torch.optim.Optimizer, ...] = field(init=False)
    step: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.average = copy.deepcopy(self.net).eval().requires_grad_(False)
        self._matrices = [weight for name, weight in self.net.named_parameters() if _is_matrix(name, weight)]
        self._views = [nn.Parameter(weight.data.view(len(weight), -1)) for weight in self._matrices]
        inside = {id(weight) for weight in self._matrices}
        rest = [each for each in self.net.parameters() if each.requires_grad and id(each) not in inside]
        fused = next(self.net.parameters()).device.type in ("cpu", "cuda")
        adam = torch.optim.AdamW(rest, betas=(0.9, 0.99), weight_decay=0.01, fused=fused) if rest else None
        muon = torch.optim.Muon(self._views, weight_decay=0.01, adjust_lr_fn="match_rms_adamw") if self._views else None
        self.optimizers = tuple(each for each in (adam, muon) if each is not None)

    def learn(self, loss: Tensor, rate: float, partner: Partner | None = None) -> bool:
        """One step down the loss, the gradient's norm cut at one; False, and no step, where loss or gradient is not
        finite."""
        self.net.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if partner:
            partner.add(self.net)
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.step += 1
        if not bool(torch.isfinite(norm)):
            return False
        for weight, view in zip(self._matrices, self._views, strict=True):
            view.grad = None if weight.grad is None else weight.grad.view(len(weight), -1)
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
        weights = [weight.detach() for weight in self.net.parameters()]
        torch._foreach_lerp_(list(self.average.parameters()), weights, max(0.0005, 10 / (self.step + 10)))
        return True

    def save(self, path: Path) -> None:
        """Write everything into one file, which replaces the old one when it is complete."""
        state = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        state |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for k, optimizer in enumerate(self.optimizers):
            for number, slots in optimizer.state_dict()["state"].items():
                state |= {f"optimizer.{k}.{number}.{slot}": value for slot, value in slots.items()}
        clock = {"clock": json.dumps({"step": self.step, "seconds": self.seconds})}
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        save_file({name: value.detach().cpu().contiguous().clone() for name, value in state.items()}, unfinished, clock)
        unfinished.replace(path)

    def load(self, path: Path) -> None:
        """Go on from what `save` wrote; raises RuntimeError where it was another network's."""
        state = load_file(path)
        for prefix, module in (("net.", self.net), ("average.", self.average)):
            module.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        for k, optimizer in enumerate(self.optimizers):
            slots: dict[int, dict[str, Tensor]] = {}
            for name in (name for name in state if name.startswith(f"optimizer.{k}.")):
                _, _, number, slot = name.split(".")
                slots.setdefault(int(number), {})[slot] = state[name]
            optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
        clock = json.loads(read_metadata(path)["clock"])
        self.step, self.seconds = clock["step"], clock["seconds"]


def read_metadata(path: Path) -> dict[str, str]:
    """The notes in the header of a safetensors file."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return dict(header["__metadata__"])


@dataclass(frozen=True)
class Course:
    """What is to be learned: the loss of a step, the loss on held-out examples, and what to do now and then."""

    name: str
    budget: Budget
    loss: Callable[[int], Tensor]  # of the net in training, for the examples of this step
    examine: Callable[[], dict[str, float]]  # of the average
    show: Callable[[], None]  # a sample sheet
    run: Path
    partner: Partner | None = None
    examine_every: int = 200
    save_seconds: float = 120.0
    show_seconds: float = 900.0

    @property
    def state(self) -> Path:
        """Where the learner is kept."""
        return self.run / f"{self.name}.safetensors"


def teach(course: Course, learner: Learner) -> None:
    """Learn to the end of the budget, with a bar, a log of JSON lines, and the state kept; goes on from a kept one."""
    if course.state.exists():
        learner.load(course.state)
    course.run.mkdir(parents=True, exist_ok=True)
    saved = shown = learner.seconds
    try:
        with (course.run / f"{course.name}.jsonl").open("a") as log, tqdm(desc=course.name, unit="step") as bar:
            for line in _lines(course, learner):
                bar.update(learner.step - bar.n)
                bar.set_postfix({key: f"{value:.4g}" for key, value in line.items() if key != "step"})
                print(json.dumps(line), file=log, flush=True)
                if learner.seconds > saved + course.save_seconds:
                    learner.save(course.state)
                    saved = learner.seconds
                if learner.seconds > shown + course.show_seconds:
                    course.show()
                    shown = learner.seconds
    finally:
        learner.save(course.state)
    course.show()


def _lines(course: Course, learner: Learner) -> Iterator[dict[str, float]]:
    budget, failures, losses = course.budget, 0, []
    began = time.monotonic() - learner.seconds
    while budget.fraction(learner.step, learner.seconds) < 1:
        losses.append(course.loss(learner.step))
        took = learner.learn(losses[-1], budget.rate_at(learner.step, learner.seconds), course.partner)
        failures = 0 if took else failures + 1
        if failures > 20:
            raise ArithmeticError(f"{course.name}: the loss has not been finite for 20 steps.")
        learner.seconds = time.monotonic() - began
        if learner.step % 20 == 0:
            line = {"step": learner.step, "seconds": round(learner.seconds, 1)}
            line["loss"] = round(float(torch.stack([loss.detach() for loss in losses]).mean()), 5)
            losses.clear()
            if course.partner:
                line["partner"] = course.partner.taken
            yield line | (course.examine() if learner.step % course.examine_every == 0 else {})
    yield {"step": learner.step, "seconds": round(learner.seconds, 1), **course.examine()}
