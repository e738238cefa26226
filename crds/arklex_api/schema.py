"""JSON Schemas of inputs, tool calls and approvals: validation with messages for people, and numbers as doubles.

CEL does not mix int and double, so where a schema says ``number`` a value becomes a double before any expression sees it
(semantics.md, "Expressions").
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from arklex_api.base import JSON
from arklex_api.paths import Steps


class SchemaError(ValueError):
    """A value that its schema refuses, the message names each field; or a schema that is none, wrong at ``steps``."""

    def __init__(self, message: str, steps: Steps = ()) -> None:
        super().__init__(message)
        self.steps = steps


class JsonSchema:
    """A JSON Schema (draft 2020-12 unless ``$schema`` says otherwise), compiled on use; a bad one raises SchemaError."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema

    @cached_property
    def _validator(self) -> Any:
        import jsonschema_rs

        try:
            return jsonschema_rs.validator_for(self.schema, retriever=_refuse_remote)
        except jsonschema_rs.ValidationError as error:
            raise SchemaError(f"not a valid JSON Schema: {error.message}", tuple(error.instance_path)) from error

    def check(self) -> None:
        """Raise SchemaError if the schema itself is not valid."""
        if self.schema:
            _ = self._validator

    def accept(self, value: JSON, what: str) -> JSON:
        """``value``, with doubles where the schema says number. Raises SchemaError naming fields below ``what``."""
        if not self.schema:
            return value
        errors = [self._message(what, error) for error in self._validator.iter_errors(value)]
        if errors:
            raise SchemaError("; ".join(errors[:10]))
        return as_doubles(self.schema, value)

    @staticmethod
    def _message(what: str, error: Any) -> str:
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
        return f"{what}{path}: {error.message}"


def _refuse_remote(uri: str) -> Any:
    """The library would fetch URLs and read files that a ``$ref`` names; a manifest must not make us do that."""
    raise ValueError(f"{uri} is outside the schema: put it into $defs")


def as_doubles(schema: Any, value: JSON) -> JSON:
    """``value`` with every integer that ``schema`` types as ``number`` turned into a float; follows properties and items."""
    if not isinstance(schema, dict):
        return value
    if type(value) is int:
        kinds = schema.get("type")
        wants_double = kinds == "number" or (isinstance(kinds, list) and "number" in kinds and "integer" not in kinds)
        return float(value) if wants_double else value
    if isinstance(value, dict):
        properties, rest = schema.get("properties", {}), schema.get("additionalProperties")
        return {key: as_doubles(properties.get(key, rest), item) for key, item in value.items()}
    if isinstance(value, list):
        heads = schema.get("prefixItems", [])
        return [as_doubles(heads[i] if i < len(heads) else schema.get("items"), item) for i, item in enumerate(value)]
    return value
