"""JSON Schemas for models: made an object, as they want it, and held against what comes back."""

from __future__ import annotations

from dataclasses import dataclass

from arklex_api.base import JSON
from arklex_api.schema import JsonSchema, SchemaError
from arklex_runtime.errors import TaskError


@dataclass(frozen=True, slots=True)
class Shape:
    """``schema`` is what the model is given, always an object; ``wrapped`` says that the value is its field ``value``."""

    schema: dict[str, JSON]
    wrapped: bool
    checker: JsonSchema

    def unwrap(self, answer: dict[str, JSON]) -> JSON:
        """The value that was asked for, out of the model's object."""
        return answer["value"] if self.wrapped else answer

    def problem(self, answer: dict[str, JSON]) -> str | None:
        """How ``answer`` breaks the schema, None where it holds."""
        try:
            self.checker.accept(answer, "answer")
        except SchemaError as error:
            return str(error)
        return None


def shape_of(schema: dict[str, JSON]) -> Shape:
    """The shape of ``schema``. Raises TaskError InvalidInput for what is no JSON Schema (2020-12)."""
    wrapped = schema.get("type") != "object"
    given = _wrap(schema) if wrapped else schema
    checker = JsonSchema(given)
    try:
        checker.check()
    except SchemaError as error:
        raise TaskError("InvalidInput", f"with.schema is {error}", retryable=False) from None
    return Shape(given, wrapped, checker)


def _wrap(schema: dict[str, JSON]) -> dict[str, JSON]:
    """An object with the field ``value``; definitions stay at the root, where ``#/$defs/…`` looks for them."""
    inner = {key: value for key, value in schema.items() if key not in ("$defs", "definitions", "$schema")}
    outer = {key: value for key, value in schema.items() if key in ("$defs", "definitions", "$schema")}
    return {**outer, "type": "object", "properties": {"value": inner}, "required": ["value"], "additionalProperties": False}
