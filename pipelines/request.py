"""A request is a value: one frozen model per task is the form, the API schema and the PNG's metadata."""

import json
import secrets
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import BadRequest
from pipelines.knobs import Seed

SEEDS = 2**32


class Request(BaseModel):
    """What somebody asked for. Nothing changes it after it was made; the seed is drawn before it runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    task: str
    seed: Seed = None

    def with_seed(self) -> Self:
        """The same request with a seed, drawn now if there is none."""
        return self if self.seed is not None else self.model_copy(update={"seed": secrets.randbelow(SEEDS)})

    def to_json(self) -> str:
        """The whole request on one line."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False)


def sentence(error: ValidationError, request: type[BaseModel]) -> str:
    """One sentence naming the first field that pydantic objects to, in the words of the page."""
    first = error.errors(include_url=False, include_context=False)[0]
    fields = [str(part) for part in first["loc"]]
    problem = first["msg"].removeprefix("Value error, ")
    if not fields:
        return f"The request does not hold together: {problem}."
    return f"{label(request, fields[0])}: {problem[:1].lower()}{problem[1:]}{_given(first)}."


def label(request: type[BaseModel], name: str) -> str:
    """The word on the page for a field of a request; the field's own name where it has none."""
    declared = request.model_fields.get(name)
    marks = declared.metadata if declared else []
    return next((mark.label for mark in marks if hasattr(mark, "label")), name)


def validated(request: type[BaseModel], values: dict[str, Any]) -> Any:
    """An instance of `request`. Raises BadRequest with a sentence naming the field."""
    try:
        return request(**values)
    except ValidationError as error:
        raise BadRequest(sentence(error, request)) from None


def _given(problem: Any) -> str:
    value = problem.get("input")
    return f" (it is {str(value)[:40]!r})" if isinstance(value, (int, float, str)) else ""
