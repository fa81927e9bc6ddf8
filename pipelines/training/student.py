"""All that changes while a student learns: its factors, two averages of them, the optimiser's moments and the clock.
Knows no loss and no network beyond the shapes of its factors."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipelines.training.adapter import Factors


@dataclass
class Student:
    """Learned fp32 factors with AdamW, the average that consistency is asked with, and the average that is saved."""

    factors: Factors
    target: Factors
    smooth: Factors
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0

    @classmethod
    def starting(cls, factors: Factors, rate: float) -> "Student":
        """A student whose averages equal the given factors."""
        learned = {name: value.requires_grad_() for name, value in factors.items()}
        copies = [{name: value.detach().clone() for name, value in learned.items()} for _ in range(2)]
        optimizer = torch.optim.AdamW(learned.values(), rate, betas=(0.9, 0.99), weight_decay=0.0)
        return cls(learned, copies[0], copies[1], optimizer)

    def learn(self, loss: Tensor, rate: float) -> None:
        """One step down the loss at this rate, the gradient's norm cut at one; then both averages follow: the target
        at 0.95 (Luo et al. 2023, arXiv:2310.04378), the saved one over the last tenth of the steps."""
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.factors.values(), 1.0)
        self.optimizer.step()
        self.step += 1
        values = [value.detach() for value in self.factors.values()]
        torch._foreach_lerp_(list(self.target.values()), values, 0.05)
        torch._foreach_lerp_(list(self.smooth.values()), values, max(0.001, 10 / (self.step + 10)))

    def save(self, run: Path) -> None:
        """Write state.safetensors and state.json into the run folder, the old ones replaced at the end."""
        state = {f"{part}.{name}": value for part, row in self._parts().items() for name, value in row.items()}
        for name, value in self.factors.items():
            state |= {f"{moment}.{name}": kept for moment, kept in self.optimizer.state[value].items()}
        run.mkdir(parents=True, exist_ok=True)
        save_file({name: value.detach().cpu().contiguous() for name, value in state.items()}, run / "state.part")
        (run / "state.part").replace(run / "state.safetensors")
        (run / "state.json").write_text(json.dumps({"step": self.step, "seconds": self.seconds}))

    def load(self, run: Path) -> None:
        """Go on from what `save` wrote; raises KeyError where it was another network's."""
        state = load_file(run / "state.safetensors")
        for part, row in self._parts().items():
            for name, value in row.items():
                value.data.copy_(state[f"{part}.{name}"])
        for name, value in self.factors.items():
            moments = {moment: state[f"{moment}.{name}"] for moment in ("exp_avg", "exp_avg_sq")}
            self.optimizer.state[value] = {moment: kept.to(value) for moment, kept in moments.items()}
            self.optimizer.state[value]["step"] = state[f"step.{name}"]
        clock = json.loads((run / "state.json").read_text())
        self.step, self.seconds = clock["step"], clock["seconds"]

    def _parts(self) -> dict[str, Factors]:
        return {"factors": self.factors, "target": self.target, "smooth": self.smooth}
