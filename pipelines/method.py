"""Methods are pydantic models: their fields are knobs, calling them is the maths.

A request remembers a method as a `Choice`; `OneOf(registry)` validates it and tells a form what to draw.
"""

import re
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import core_schema

from pipelines.registry import Registry
from pipelines.request import validated


class Method(BaseModel):
    """A published method with its knobs. The first sentence of the docstring is what the page says about it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""  # what people call it, where its name does not say

    @classmethod
    def summary(cls) -> str:
        """The first sentence of the docstring."""
        return re.split(r"\.\s", (cls.__doc__ or "").strip())[0].rstrip(".") + "."


class Choice(BaseModel):
    """How a request remembers a method: its name and every knob. A bare name stands for all defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    knobs: dict[str, Any] = {}

    def build(self, registry: Registry[Any]) -> Any:
        """The method itself, ready to be called. Raises UnknownName, and BadRequest naming the knob."""
        return validated(registry[self.name], self.knobs)


class OneOf:
    """Marks a field `Annotated[Choice, OneOf(registry)]` as a choice from a registry, and tells a form what to draw."""

    def __init__(self, registry: Registry[Any]) -> None:
        self.registry = registry

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        checked = core_schema.no_info_after_validator_function(self._complete, handler(source))
        return core_schema.no_info_before_validator_function(_bare_name, checked)

    def _complete(self, choice: Choice) -> Choice:
        """The same choice with every knob spelled out, so that a recipe does not depend on later defaults."""
        method = choice.build(self.registry)
        return Choice(name=choice.name, knobs=method.model_dump(mode="json"))


def _bare_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value
