"""JSON Schemas for models: made an object, as they want it, and held against what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from arklex_api.base import JSON
from arklex_runtime.errors import TaskError


@dataclass(frozen=True, slots=True)
class Shape:
    """``schema`` is what the model is given, always an object; ``wrapped`` says that the value is its field ``value``."""

    schema: dict[str, JSON]
    wrapped: bool
    validator: Any

    def unwrap(self, answer: dict[str, JSON]) -> JSON:
        """The value that was asked for, out of the model's object."""
        return answer["value"] if self.wrapped else answer

    def problem(self, answer: dict[str, JSON]) -> str | None:
        """The first way in which ``answer`` breaks the schema, None where it holds."""
        for error in self.validator.iter_errors(answer):
            path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
            return f"{path.lstrip('.') or 'the answer'}: {error.message}"
        return None


def shape_of(schema: dict[str, JSON]) -> Shape:
    """The shape of ``schema``. Raises TaskError InvalidInput for what is no JSON Schema (2020-12)."""
    wrapped = schema.get("type") != "object"
    given = _wrap(schema) if wrapped else schema
    try:
        validator = jsonschema_rs.validator_for(given)
    except (ValueError, jsonschema_rs.ValidationError) as error:
        message = getattr(error, "message", str(error))
        raise TaskError("InvalidInput", f"with.schema is no JSON Schema: {message}", retryable=False) from None
    return Shape(given, wrapped, validator)


def _wrap(schema: dict[str, JSON]) -> dict[str, JSON]:
    """An object with the field ``value``; definitions stay at the root, where ``#/$defs/…`` looks for them."""
    inner = {key: value for key, value in schema.items() if key not in ("$defs", "definitions", "$schema")}
    outer = {key: value for key, value in schema.items() if key in ("$defs", "definitions", "$schema")}
    return {**outer, "type": "object", "properties": {"value": inner}, "required": ["value"], "additionalProperties": False}
