"""All that changes while an adapter is learned: its weights, the optimiser's moments, how far it is. It knows no loss.

What is drawn at a step depends on (seed, mistrials, step) alone, never on a state carried along, so that going on after
an interruption gives what an uninterrupted training gives.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pipelines.errors import StudioError
from pipelines.workshop import Run, written

SOUND = 20  # steps between two states that are known to be sound
EXPLODED = 30.0  # times the usual norm of the gradient
MISTRIALS = 5  # after so many, the training is given up
POINTS = 200  # of the curve of losses


@dataclass
class Study:
    """Weights under AdamW with their clock, and the last state that was known to be sound."""

    weights: dict[str, Tensor]
    seed: int
    steps: int
    rate: float
    step: int = 0
    seconds: float = 0.0
    mistrials: int = 0  # each halves the rate
    norm: float = 0.0  # running mean of the gradient's
    proven: int = -1  # the step that was last painted
    losses: list[tuple[int, float]] = field(default_factory=list)
    _sound: dict[str, Any] = field(default_factory=dict, repr=False)
    _recent: list[float] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        for each in self.weights.values():
            each.requires_grad_(True)
        self.optimizer = torch.optim.AdamW(self.weights.values(), self.rate, betas=(0.9, 0.99), weight_decay=1e-4)
        self._sound = self._snapshot()

    def drawn(self) -> torch.Generator:
        """The chance of this step."""
        mixed = (self.seed * 1_000_003 + self.mistrials) * 1_000_003 + self.step
        return torch.Generator().manual_seed(mixed % 2**63)

    def at(self) -> float:
        """The rate of this step: up over a twentieth of the steps, then down as a cosine; halved by each mistrial."""
        early = (self.step + 1) / max(1, self.steps // 20)
        late = 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / self.steps)))
        return self.rate * min(1.0, early) * late * 0.5**self.mistrials

    def learn(self, losses: Callable[[torch.Generator], Iterable[Tensor]]) -> str:
        """One step down the sum of some losses, whose graphs are let go one by one, the gradient's norm cut at one.

        Where one is no number, or the gradient explodes, the last sound state comes back; returns a sentence about it.
        Raises StudioError where that has happened too often.
        """
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for loss in losses(self.drawn()):
            total += float(loss.detach())
            if not math.isfinite(total):
                return self._taken_back("the loss was no number")
            loss.backward()  # type: ignore[no-untyped-call]
        norm = float(torch.nn.utils.clip_grad_norm_(self.weights.values(), 1.0))
        if not math.isfinite(norm):
            return self._taken_back("the gradient was no number")
        if self.step > SOUND and norm > EXPLODED * self.norm:
            return self._taken_back("the gradient exploded")
        self.norm = norm if self.norm == 0 else 0.9 * self.norm + 0.1 * norm
        self.optimizer.param_groups[0]["lr"] = self.at()
        self.optimizer.step()
        self._noted(total)
        if self.step % SOUND == 0:
            self._sound = self._snapshot()
        return ""

    def save(self, run: Run) -> None:
        """Write everything into one file, which replaces the old one when it is complete. Raises StudioError."""
        said = {name: getattr(self, name) for name in CLOCK}
        written(
            run.state, self._tensors(), {"clock": json.dumps(said | {"losses": self.losses, "recent": self._recent})}
        )

    def load(self, run: Run) -> bool:
        """Go on from what `save` wrote; False where there is nothing. Raises StudioError where it does not fit."""
        from safetensors.torch import load_file

        from pipelines.models.headers import notes

        if not run.state.exists():
            return False
        kept = load_file(run.state)
        if {name for name in kept if name.startswith("weight ")} != {f"weight {name}" for name in self.weights}:
            raise StudioError("The checkpoint of this training was made by another version; begin anew.")
        said = json.loads(notes(run.state)["clock"])
        self._put(kept)
        for name in CLOCK:
            setattr(self, name, said[name])
        self.losses = [(int(step), float(loss)) for step, loss in said["losses"]]
        self._recent = said["recent"]
        self._sound = self._snapshot()
        return True

    def _noted(self, loss: float) -> None:
        self.step += 1
        self._recent.append(loss)
        if self.step % max(1, self.steps // POINTS) == 0:
            self.losses.append((self.step, sum(self._recent) / len(self._recent)))
            self._recent = []

    def _taken_back(self, why: str) -> str:
        failed, self.mistrials = self.step + 1, self.mistrials + 1
        self.step = self._sound["step"]
        self.losses = [each for each in self.losses if each[0] <= self.step]
        self._recent = []
        self._put(self._sound["tensors"])
        if self.mistrials > MISTRIALS:
            raise StudioError(f"This could not be learned: {why} again and again. Try a lower rate.")
        return f"Step {failed} led nowhere: {why}. Taken back to step {self.step}, at half the rate."

    def _snapshot(self) -> dict[str, Any]:
        return {"step": self.step, "tensors": {name: each.detach().clone() for name, each in self._tensors().items()}}

    def _tensors(self) -> dict[str, Tensor]:
        held = {f"weight {name}": each for name, each in self.weights.items()}
        for name, each in self.weights.items():
            held |= {f"{slot} {name}": kept for slot, kept in self.optimizer.state[each].items()}
        return held

    def _put(self, tensors: Mapping[str, Tensor]) -> None:
        self.optimizer.state.clear()
        with torch.no_grad():
            for name, each in self.weights.items():
                each.copy_(tensors[f"weight {name}"])
                slots = {slot: tensors.get(f"{slot} {name}") for slot in ("step", "exp_avg", "exp_avg_sq")}
                if slots["step"] is not None:
                    self.optimizer.state[each] = {
                        slot: kept.clone() if slot == "step" else kept.clone().to(each.device)
                        for slot, kept in slots.items()
                        if kept is not None
                    }


CLOCK = ("step", "seconds", "mistrials", "norm", "proven")
