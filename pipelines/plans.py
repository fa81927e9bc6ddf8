"""Plans: what was searched or measured once for a checkpoint, kept as JSON beside it and named in requests.

A plan is called after its model and its file, `pocket/boss-8`. `python -m pipelines.calibration` makes them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import StudioError
from pipelines.knobs import knob

if TYPE_CHECKING:
    from pipelines.models import ModelSpec

Kind = Literal["levels", "solver", "statistics", "gaussian", "noise_shift"]
LARGEST = 4 * 2**20  # bytes of a plan's file; the largest made here has some hundred kilobytes

PlanName = Annotated[
    str,
    *knob(
        "Plan",
        "What was searched or measured for this model, by name; empty for none.",
        "plan",
        pattern=r"^([\w.-]+/[\w.-]+)?$",
        max_length=200,
    ),
]


class Plan(BaseModel):
    """Levels to visit, how each step is solved, or statistics by noise level; how they were found, and how well."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    method: str
    sigmas: list[float] = []  # (steps + 1,), falling, ends in 0
    steps: list[dict[str, Any]] = []  # how each step is solved, for a solver
    tables: dict[str, list[list[float]]] = {}  # statistics (levels, channels) by letter; `lambda` has one column
    figures: dict[str, float] = {}  # what was measured of it when it was made


def names(kind: Kind | None = None) -> list[str]:
    """The names of all plans of all known models, of one kind or of any."""
    from pipelines.models import models

    found = [
        (f"{name}/{file.stem}", file)
        for name, spec in models.items()
        if spec.plans
        for file in sorted(spec.plans.glob("*.json"))
    ]
    return [name for name, file in found if kind is None or _opened(name, file).kind == kind]


def read(name: str, *kinds: Kind) -> Plan:
    """The plan of that name. Raises StudioError where there is none, or it is of none of these kinds."""
    from pipelines.models import models

    model, _, stem = name.partition("/")
    folder = models[model].plans if model in models else None
    file = folder / f"{stem}.json" if folder else None
    if file is None or not file.is_file() or stem in ("", ".", ".."):
        raise StudioError(f"There is no plan called {name[:80]!r}; `python -m pipelines.calibration` makes them.")
    plan = _opened(name, file)
    if plan.kind not in kinds:
        raise StudioError(f"The plan {name} holds {plan.kind}, and {kinds[0]} were asked for.")
    return plan


def keep(spec: ModelSpec, stem: str, plan: Plan) -> Path:
    """Writes a plan beside its checkpoint; returns the file. Raises OSError."""
    if spec.plans is None:
        raise StudioError(f"{spec.title} has no folder to keep plans in.")
    spec.plans.mkdir(parents=True, exist_ok=True)
    path = spec.plans / f"{stem}.json"
    path.write_text(json.dumps(plan.model_dump(exclude_defaults=True)) + "\n", encoding="utf-8")
    return path


def _opened(name: str, file: Path) -> Plan:
    if file.stat().st_size > LARGEST:
        raise StudioError(f"The plan {name} is too large to be one.")
    try:
        return Plan.model_validate_json(file.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError):
        raise StudioError(f"The plan {name} is damaged.") from None
